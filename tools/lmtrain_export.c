/* lmtrain export: a trained model as the file of another trainer. */
#include <inttypes.h>
#include <string.h>
#include "base/file.h"
#include "tools/lmtrain_parts.h"
#include "tools/open_model.h"
#include "tools/outputs.h"
#include "train/llmc_model.h"

struct exporting {
    const char *output, *dtype;
};

static int say(struct tool *t, const struct exporting *e, const struct open_model *m,
               enum dtype stored) {
    uint64_t bytes = 0;
    int rc = file_bytes(e->output, &bytes, &t->err);
    if (rc < 0) return rc;
    if (!t->json) {
        log_info(&t->log, "%s: %.1f M parameters of %s, %s, %.1f MB", e->output,
                 (double)model_config_params(&m->config) / 1e6, m->dir,
                 stored == DTYPE_BF16 ? "bf16" : "fp32", (double)bytes / 1e6);
        return 0;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", m->dir);
    cJSON_AddStringToObject(o, "file", e->output);
    cJSON_AddStringToObject(o, "dtype", stored == DTYPE_BF16 ? "bf16" : "fp32");
    cJSON_AddNumberToObject(o, "parameters", (double)model_config_params(&m->config));
    cJSON_AddNumberToObject(o, "bytes", (double)bytes);
    return tool_print_json(t, o);
}

/* The file of a model, or in its folder what makes one. */
static int check_output(const char *output, const char *model, struct err *err) {
    struct strs names = {0};
    int rc = output_check(output, model, err);
    if (rc == 0 && file_kind(model) == FILE_FOLDER) rc = file_list(model, &names, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        const char *one[] = {names.v[i], NULL};
        if (path_ends(*one, ".safetensors") || path_ends(*one, ".json"))
            rc = output_check_names(output, model, one, err);
    }
    strs_release(&names);
    return rc;
}

static int run_export(struct tool *t, const struct exporting *e) {
    const struct strs *v = t->operands;
    struct open_model m = {0};
    struct err *err = &t->err;
    if (v->n < 1 || v->n > 2)
        return err_set(err, ERR_USAGE, "wanted: export FORMAT [MODEL] -o FILE");
    if (strcmp(v->v[0], "llmc"))
        return err_set(err, ERR_USAGE, "there is no format %s; there is llmc", v->v[0]);
    if (!*e->output) return err_set(err, ERR_USAGE, "name the file to write with -o");
    int rc =
        open_model(&m, v->n > 1 ? v->v[1] : "run", "cpu", "fp32", tool_threads(t), &t->log, err);
    enum dtype stored = !strcmp(e->dtype, "auto")   ? m.config.dtype
                        : !strcmp(e->dtype, "bf16") ? DTYPE_BF16
                                                    : DTYPE_F32;
    if (rc == 0) rc = check_output(e->output, m.dir, err);
    if (rc == 0) rc = llmc_save(m.model, e->output, stored, err);
    if (rc == 0) rc = say(t, e, &m, stored);
    open_model_close(&m);
    return rc;
}

int lmtrain_export(int argc, char **argv) {
    struct exporting e = {.output = "", .dtype = "auto"};
    struct opt opts[] = {{"Exporting", .type = OPT_GROUP},
                         TOOL_OUTPUT(&e.output, "file to write"),
                         {"dtype", 0, OPT_CHOICE, &e.dtype, "TYPE",
                          "of the weights; auto: as they are stored", "auto|fp32|bf16"},
                         {0}};
    struct program p = {
        .name = "lmtrain export",
        .summary = "write a model as the file of another trainer",
        .usage = "FORMAT [MODEL] -o FILE [--dtype TYPE]",
        .opts = opts,
        .text =
            "FORMAT is llmc: the .bin that train_gpt2 of llm.c takes with -e (version 3 is fp32, 5 "
            "bf16). MODEL is a run (default: run), a checkpoint, any folder of a GPT-2, "
            "hf://NS/NAME, or such a file. What transformers loads needs no export: runs and "
            "checkpoints are its folders.",
        .examples =
            "lmtrain export llmc run/ -o model.bin --dtype bf16\tfor ./train_gpt2cu -e "
            "model.bin\n"
            "lmtrain export llmc hf://openai-community/gpt2 -o gpt2_124M.bin\tGPT-2 itself"};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_export(&t, &e);
    return tool_end(&t, rc);
}
