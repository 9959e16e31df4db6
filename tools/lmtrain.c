/* lmtrain: trains a GPT-2 on token shards, from scratch or from given weights.
 *
 *   options, recipe ─▶ shards ─▶ shape of the model ─▶ plan ─▶ trainer_run ─▶ run/
 *
 * Everything is resolved and checked here before the run's folder is touched; what makes a run
 * continue bit for bit is in train/trainer.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/signals.h"
#include "stream/shard.h"
#include "tools/backend.h"
#include "tools/common.h"
#include "train/config.h"
#include "train/trainer.h"

struct options {
    struct strs train, valid;
    const char *output, *tokenizer, *resume;
    const char *model, *recipe;
    bool from_scratch, dry_run;
    uint64_t layers, width, heads, vocab, seq_len;
    const char *window, *order;
    uint64_t batch, accumulate, batch_tokens, steps, tokens;
    double epochs;
    double lr, min_lr, beta1, beta2, eps, weight_decay, clip, dropout, init_range;
    uint64_t warmup;
    const char *schedule, *warmup_style;
    struct opt_steps eval_every, save_every;
    uint64_t keep, eval_tokens, eval_steps;
    const char *dtype, *device;
};

/* What is worked out from the options and the shards. */
struct plan {
    struct options *o;
    struct opt *table;
    struct tool *tool;
    struct shard_set train_set, valid_set;
    struct loader train, valid;
    bool has_valid;
    struct model_config config;
    const char *init_dir; /* NULL: new weights */
    char *tokenizer_dir;
    int T, B;
    uint64_t accumulate, steps;
    struct backend_choice choice;
    struct trainer_opts t;
};

/* ------------------------------------------------------------------ options */

static struct opt *find(struct opt *table, const char *name) {
    for (struct opt *p = table; p->type != OPT_END; p++)
        if (p->type != OPT_GROUP && !strcmp(p->name, name)) return p;
    return NULL;
}

static bool given(const struct plan *p, const char *name) {
    const struct opt *o = find(p->table, name);
    return o && o->given;
}

/* A recipe is a list of options as one would give them; what is given besides wins. */
static const struct recipe {
    const char *name;
    struct {
        const char *option, *value;
    } set[20];
} recipes[] = {
    {"codeparrot-small",
     {{"batch", "12"},
      {"accumulate", "1"},
      {"lr", "5e-4"},
      {"schedule", "cosine"},
      {"warmup", "2000"},
      {"warmup-style", "hf"},
      {"min-lr", "0"},
      {"beta1", "0.9"},
      {"beta2", "0.999"},
      {"eps", "1e-8"},
      {"weight-decay", "0.1"},
      {"clip", "1"},
      {"steps", "150000"},
      {"eval-every", "15000"},
      {"save-every", "15000"},
      {"window", "hf"}}},
    {"hf-trainer",
     {{"batch", "8"},
      {"accumulate", "1"},
      {"lr", "5e-5"},
      {"schedule", "linear"},
      {"warmup", "0"},
      {"warmup-style", "hf"},
      {"min-lr", "0"},
      {"beta1", "0.9"},
      {"beta2", "0.999"},
      {"eps", "1e-8"},
      {"weight-decay", "0"},
      {"clip", "1"},
      {"epochs", "3"},
      {"eval-every", "500"},
      {"save-every", "500"},
      {"window", "hf"}}},
    {"llmc",
     {{"batch-tokens", "524288"},
      {"batch", "4"},
      {"lr", "6e-4"},
      {"schedule", "cosine"},
      {"warmup", "700"},
      {"warmup-style", "llmc"},
      {"min-lr", "0"},
      {"beta1", "0.9"},
      {"beta2", "0.95"},
      {"eps", "1e-8"},
      {"weight-decay", "0.1"},
      {"clip", "1"},
      {"epochs", "1"},
      {"eval-every", "250"},
      {"save-every", "5000"},
      {"dropout", "0"},
      {"window", "gpt"}}},
};
enum { RECIPES = sizeof recipes / sizeof *recipes, RECIPE_LINES = 20 };

/* Options that say the same thing in other words: if one is given, a recipe's other does not count.
 * */
static bool answered(const struct plan *p, const char *option) {
    static const char *const groups[][3] = {{"steps", "epochs", "tokens"},
                                            {"accumulate", "batch-tokens", "accumulate"}};
    if (given(p, option)) return true;
    for (size_t g = 0; g < 2; g++) {
        bool in = false, any = false;
        for (size_t i = 0; i < 3; i++) {
            in |= !strcmp(groups[g][i], option);
            any |= given(p, groups[g][i]);
        }
        if (in && any) return true;
    }
    return false;
}

static int set_option(struct opt *o, const char *value, struct err *err) {
    switch (o->type) {
    case OPT_U64: return parse_u64(value, o->to, err);
    case OPT_F64: return parse_f64(value, o->to, err);
    case OPT_CHOICE: *(const char **)o->to = value; return 0;
    case OPT_STEPS: return parse_u64(value, &((struct opt_steps *)o->to)->steps, err);
    default: return err_set(err, ERR_OTHER, "a recipe cannot set --%s", o->name);
    }
}

static int apply_recipe(struct plan *p, struct err *err) {
    const struct recipe *r = NULL;
    for (int i = 0; p->o->recipe && i < RECIPES; i++)
        if (!strcmp(recipes[i].name, p->o->recipe)) r = &recipes[i];
    int rc = 0;
    for (int i = 0; r && rc == 0 && i < RECIPE_LINES && r->set[i].option; i++) {
        struct opt *o = find(p->table, r->set[i].option);
        bool skip = answered(p, r->set[i].option);
        if (o && !skip) rc = set_option(o, r->set[i].value, err);
    }
    return rc;
}

/* ------------------------------------------------------------------ shards */

static int open_set(struct shard_set *set, const struct strs *paths, const char *split,
                    struct err *err) {
    return shard_set_open(set, (const char *const *)paths->v, paths->n, split, err);
}

static int open_shards(struct plan *p, struct err *err) {
    const struct options *o = p->o;
    if (!o->train.n) {
        err_set(err, ERR_USAGE, "--train is missing");
        return err_hint(err, "name the shards to train on: --train shards/");
    }
    int rc = open_set(&p->train_set, &o->train, "train", err);
    if (rc < 0) return err_prefix(err, "--train");
    p->has_valid = o->valid.n > 0;
    if (p->has_valid) rc = open_set(&p->valid_set, &o->valid, "valid", err);
    if (rc < 0) return err_prefix(err, "--valid");
    const char *a = p->train_set.tokenizer_digest, *b = p->valid_set.tokenizer_digest;
    if (p->has_valid && *a && *b && strcmp(a, b))
        return err_set(err, ERR_USAGE, "--train and --valid were made by different tokenizers");
    return 0;
}

/* The tokenizer to put beside the model: -t, or what lies with the shards, or with the model. */
static int find_tokenizer(struct plan *p, struct err *err) {
    const char *first = p->o->train.v[0];
    char *dir = file_kind(first) == FILE_FOLDER ? strdup(first) : path_dir(first);
    char *beside = dir ? path_join(dir, "tokenizer") : NULL, *json = NULL;
    if (!beside) return err_nomem(err, strlen(first));
    const char *found = p->o->tokenizer;
    if (!found && file_kind(beside) == FILE_FOLDER) found = beside;
    if (!found && p->init_dir) found = p->init_dir;
    if (found) json = path_join(found, "tokenizer.json");
    if (p->o->tokenizer && (!json || file_kind(json) != FILE_REGULAR))
        err_set(err, ERR_USAGE, "--tokenizer %s: holds no tokenizer.json", found);
    else if (json && file_kind(json) == FILE_REGULAR)
        p->tokenizer_dir = strdup(found);
    free(dir);
    free(beside);
    free(json);
    return p->o->tokenizer && !p->tokenizer_dir ? ERR_USAGE : 0;
}

/* ------------------------------------------------------------------ the model's shape */

static bool shaped(const struct plan *p) {
    return given(p, "layers") || given(p, "width") || given(p, "heads");
}

/* config of --model, or GPT-2's; and where its weights are. */
static int base_config(struct plan *p, struct err *err) {
    const struct options *o = p->o;
    bool folder = o->model && file_kind(o->model) == FILE_FOLDER;
    p->config = model_config_gpt2;
    if (!o->model) return 0;
    int rc = folder ? model_config_load(&p->config, o->model, err)
                    : model_config_preset(&p->config, o->model, err);
    if (rc < 0 || o->from_scratch || shaped(p)) return rc;
    if (!folder) {
        err_set(err, ERR_USAGE, "--model %s names a shape, not weights", o->model);
        return err_hint(err, "add --from-scratch, or give a folder with model.safetensors");
    }
    p->init_dir = o->model;
    return 0;
}

/* A shape of one's own: layers, width, heads (64 wide unless told). */
static void reshape(struct plan *p) {
    struct model_config *c = &p->config;
    const struct options *o = p->o;
    if (given(p, "layers")) c->L = (int)o->layers;
    if (given(p, "width")) {
        c->C = (int)o->width;
        c->inner = 4 * c->C;
        if (!given(p, "heads") && c->C % c->NH)
            c->NH = c->C % 64 ? 1 : c->C / 64;
        else if (!given(p, "heads") && c->C % 64 == 0)
            c->NH = c->C / 64;
    }
    if (given(p, "heads")) c->NH = (int)o->heads;
}

/* V: --vocab, else the shards', else the model's. */
static int choose_vocab(struct plan *p, struct err *err) {
    uint32_t shards = p->train_set.vocab;
    if (p->has_valid && p->valid_set.vocab > shards) shards = p->valid_set.vocab;
    uint64_t wanted = given(p, "vocab") ? p->o->vocab : 0, have = (uint64_t)p->config.V;
    if (p->init_dir && wanted && wanted != have)
        return err_set(err, ERR_USAGE, "--vocab %" PRIu64 ", but %s has %" PRIu64, wanted,
                       p->init_dir, have);
    uint64_t V = p->init_dir ? have : wanted ? wanted : shards ? shards : have;
    if (shards > V)
        return err_set(err, ERR_USAGE,
                       "the shards have a vocabulary of %" PRIu32 ", the model one of %" PRIu64,
                       shards, V);
    p->config.V = (int)V;
    if (p->init_dir) return 0;
    int64_t *ids[2] = {&p->config.bos, &p->config.eos};
    for (int i = 0; i < 2; i++) {
        if (p->train_set.eot_id != UINT32_MAX) *ids[i] = p->train_set.eot_id;
        if (*ids[i] >= (int64_t)V) *ids[i] = -1;
    }
    return 0;
}

/* T: --seq-len, else the shards', else the model's context. */
static int choose_length(struct plan *p, struct err *err) {
    uint64_t T = p->o->seq_len;
    if (!T) T = p->train_set.seq_len ? p->train_set.seq_len : (uint64_t)p->config.P;
    if (p->init_dir && T > (uint64_t)p->config.P)
        return err_set(err, ERR_USAGE, "--seq-len %" PRIu64 " is more than the %d of %s", T,
                       p->config.P, p->init_dir);
    /* Positions that are never trained would only be there to go wrong. */
    if (!p->init_dir && (!p->o->model || T > (uint64_t)p->config.P)) p->config.P = (int)T;
    p->T = (int)T;
    return 0;
}

static int choose_shape(struct plan *p, struct err *err) {
    int rc = base_config(p, err);
    if (rc == 0 && !p->init_dir) reshape(p);
    if (rc == 0) rc = choose_vocab(p, err);
    if (rc == 0) rc = choose_length(p, err);
    if (rc == 0 && given(p, "dropout"))
        p->config.embd_pdrop = p->config.attn_pdrop = p->config.resid_pdrop = (float)p->o->dropout;
    if (rc == 0 && given(p, "init-range")) {
        if (p->init_dir)
            return err_set(err, ERR_USAGE, "--init-range is for a new model; %s has its weights",
                           p->init_dir);
        p->config.init_range = (float)p->o->init_range;
    }
    return rc < 0 ? rc : model_config_check(&p->config, ERR_USAGE, "the model", err);
}

/* ------------------------------------------------------------------ the length of the run */

static int choose_batch(struct plan *p, struct err *err) {
    struct options *o = p->o;
    uint64_t micro = o->batch * (uint64_t)p->T;
    p->B = (int)o->batch;
    p->accumulate = o->accumulate;
    if (!o->batch_tokens) return 0;
    if (given(p, "accumulate"))
        return err_set(err, ERR_USAGE, "--accumulate and --batch-tokens say the same: give one");
    p->accumulate = o->batch_tokens / micro;
    if (o->batch_tokens % micro == 0) return 0;
    err_set(err, ERR_USAGE,
            "--batch-tokens %" PRIu64 " is no multiple of --batch %d x --seq-len %d = %" PRIu64,
            o->batch_tokens, p->B, p->T, micro);
    return err_hint(err, "the nearest are %" PRIu64 " and %" PRIu64, p->accumulate * micro,
                    (p->accumulate + 1) * micro);
}

static int choose_steps(struct plan *p, struct err *err) {
    const struct options *o = p->o;
    if (given(p, "steps") + given(p, "epochs") + given(p, "tokens") > 1)
        return err_set(err, ERR_USAGE, "--steps, --epochs and --tokens exclude each other");
    uint64_t samples = (uint64_t)p->B * p->accumulate, tokens = samples * (uint64_t)p->T;
    p->steps = o->steps;
    if (given(p, "steps")) return 0;
    if (o->epochs > 0) {
        double steps = o->epochs * (double)p->train.n / (double)samples;
        if (steps > 1e15) return err_set(err, ERR_USAGE, "--epochs %g is too much", o->epochs);
        p->steps = steps < 1 ? 1 : (uint64_t)steps;
    } else if (o->tokens) {
        p->steps = o->tokens / tokens + (o->tokens % tokens != 0);
    }
    return 0;
}

/* Warmup as told; the default, made for long runs, takes at most a tenth of a short one. */
static uint64_t warmup(const struct plan *p) {
    uint64_t tenth = p->steps / 10;
    if (given(p, "warmup") || p->o->recipe || tenth >= p->o->warmup) return p->o->warmup;
    return tenth;
}

static struct schedule choose_schedule(const struct plan *p) {
    const struct options *o = p->o;
    struct schedule s = {.lr = o->lr, .min_lr = o->min_lr, .steps = p->steps, .warmup = warmup(p)};
    s.kind = !strcmp(o->schedule, "linear")     ? SCHEDULE_LINEAR
             : !strcmp(o->schedule, "constant") ? SCHEDULE_CONSTANT
             : !strcmp(o->schedule, "wsd")      ? SCHEDULE_WSD
                                                : SCHEDULE_COSINE;
    s.style = !strcmp(o->warmup_style, "llmc") ? WARMUP_LLMC : WARMUP_HF;
    return s;
}

static int open_loaders(struct plan *p, struct err *err) {
    enum window window = !strcmp(p->o->window, "hf") ? WINDOW_HF : WINDOW_GPT;
    bool shuffled = !strcmp(p->o->order, "shuffled");
    int rc =
        loader_open(&p->train, &p->train_set, p->T, window, shuffled, p->tool->seed, false, err);
    if (rc < 0) return err_prefix(err, "--train");
    if (p->has_valid) rc = loader_open(&p->valid, &p->valid_set, p->T, window, false, 0, true, err);
    return rc < 0 ? err_prefix(err, "--valid") : 0;
}

static uint64_t eval_windows(const struct plan *p) {
    const struct options *o = p->o;
    if (given(p, "eval-steps")) return o->eval_steps * (uint64_t)p->B;
    return (o->eval_tokens + (uint64_t)p->T - 1) / (uint64_t)p->T;
}

static int signal_now(void *ctx) {
    (void)ctx;
    return signals_stop();
}

static bool save_now(void *ctx) {
    (void)ctx;
    return signals_take_save();
}

static void fill_trainer(struct plan *p) {
    const struct options *o = p->o;
    p->t = (struct trainer_opts){.run = o->output,
                                 .init_dir = p->init_dir,
                                 .model_name = o->model ? o->model : "gpt2",
                                 .tokenizer_dir = p->tokenizer_dir,
                                 .B = p->B,
                                 .accumulate = p->accumulate,
                                 .steps = p->steps,
                                 .schedule = choose_schedule(p),
                                 .beta1 = o->beta1,
                                 .beta2 = o->beta2,
                                 .eps = o->eps,
                                 .weight_decay = o->weight_decay,
                                 .clip = o->clip,
                                 .seed = p->tool->seed,
                                 .dtype = p->choice.opts.dtype,
                                 .eval_every = o->eval_every,
                                 .save_every = o->save_every,
                                 .keep = o->keep,
                                 .eval_windows = eval_windows(p),
                                 .stop = signal_now,
                                 .save = save_now};
    p->t.resume_never = !strcmp(o->resume, "never");
    if (strcmp(o->resume, "auto") && !p->t.resume_never) p->t.resume_from = o->resume;
}

/* ------------------------------------------------------------------ what is going to happen */

static cJSON *plan_json(const struct plan *p, uint64_t params, uint64_t bytes) {
    uint64_t step_tokens = (uint64_t)p->B * p->accumulate * (uint64_t)p->T;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "parameters", (double)params);
    cJSON_AddNumberToObject(o, "layers", p->config.L);
    cJSON_AddNumberToObject(o, "width", p->config.C);
    cJSON_AddNumberToObject(o, "heads", p->config.NH);
    cJSON_AddNumberToObject(o, "vocab", p->config.V);
    cJSON_AddNumberToObject(o, "seq_len", p->T);
    cJSON_AddNumberToObject(o, "windows", (double)p->train.n);
    cJSON_AddNumberToObject(o, "tokens_per_step", (double)step_tokens);
    cJSON_AddNumberToObject(o, "steps", (double)p->steps);
    cJSON_AddNumberToObject(o, "tokens", (double)step_tokens * (double)p->steps);
    cJSON_AddNumberToObject(o, "memory_bytes", (double)bytes);
    cJSON_AddNumberToObject(o, "checkpoint_bytes", (double)params * 12);
    return o;
}

static void say_plan(const struct plan *p, uint64_t params, uint64_t bytes) {
    const struct log *log = &p->tool->log;
    const struct model_config *c = &p->config;
    uint64_t samples = (uint64_t)p->B * p->accumulate;
    log_info(log, "%.1f M parameters: %d layers, width %d, %d heads, vocabulary %d, context %d",
             (double)params / 1e6, c->L, c->C, c->NH, c->V, c->P);
    log_info(log, "%.1f M tokens in %" PRIu64 " windows of %d; %" PRIu64 " more in tails",
             (double)p->train.targets / 1e6, p->train.n, p->T, p->train.tail_tokens);
    log_info(log,
             "%" PRIu64 " steps of %" PRIu64 " tokens (%d x %" PRIu64 " x %d) = %.3g epochs; "
             "warmup %" PRIu64,
             p->steps, samples * (uint64_t)p->T, p->B, p->accumulate, p->T,
             (double)p->steps * (double)samples / (double)p->train.n, p->t.schedule.warmup);
    log_info(log, "%.2f GB of memory; %.1f MB a checkpoint", (double)bytes / 1e9,
             (double)params * 12 / 1e6);
}

/* Weights, gradients, two moments, the bf16 copy, activations. */
static uint64_t memory_bytes(const struct plan *p, uint64_t params) {
    enum dtype dtype = p->choice.opts.dtype;
    uint64_t each = 16 + (dtype == DTYPE_BF16 ? 2 : 0);
    return params * each + model_plan_bytes(&p->config, dtype, p->B, p->T, true);
}

static int make_plan(struct plan *p, struct err *err) {
    int rc = apply_recipe(p, err);
    if (rc == 0)
        rc = backend_choose(&p->choice, p->o->device, p->o->dtype, tool_threads(p->tool), err);
    if (rc == 0) rc = open_shards(p, err);
    if (rc == 0) rc = choose_shape(p, err);
    if (rc == 0) rc = find_tokenizer(p, err);
    if (rc == 0) rc = open_loaders(p, err);
    if (rc == 0) rc = choose_batch(p, err);
    if (rc == 0) rc = choose_steps(p, err);
    if (rc == 0) fill_trainer(p);
    return rc;
}

static void release_plan(struct plan *p) {
    loader_close(&p->train);
    loader_close(&p->valid);
    shard_set_close(&p->train_set);
    shard_set_close(&p->valid_set);
    free(p->tokenizer_dir);
}

/* ------------------------------------------------------------------ the run */

static int say_result(struct plan *p, const struct trainer_result *r) {
    struct tool *t = p->tool;
    char eval[64] = "";
    if (isfinite(r->eval_loss)) snprintf(eval, sizeof eval, ", evaluation loss %.4f", r->eval_loss);
    log_info(&t->log, "%s: %" PRIu64 " steps, loss %.4f%s, %.0f s%s", p->o->output, r->step,
             r->loss, eval, r->seconds, r->was_complete ? "; it was complete already" : "");
    if (!t->json) return 0;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "run", p->o->output);
    cJSON_AddNumberToObject(o, "step", (double)r->step);
    cJSON_AddNumberToObject(o, "tokens", (double)r->tokens);
    cJSON_AddNumberToObject(o, "skipped", (double)r->skipped);
    cJSON_AddNumberToObject(o, "resumed_from", (double)r->resumed);
    cJSON_AddNumberToObject(o, "loss", r->loss);
    if (isfinite(r->eval_loss)) {
        cJSON_AddNumberToObject(o, "eval_loss", r->eval_loss);
        cJSON_AddNumberToObject(o, "perplexity", exp(r->eval_loss));
    }
    if (r->best_step) {
        cJSON_AddNumberToObject(o, "best_step", (double)r->best_step);
        cJSON_AddNumberToObject(o, "best_loss", r->best_loss);
    }
    cJSON_AddNumberToObject(o, "seconds", r->seconds);
    return tool_print_json(t, o);
}

static int train(struct plan *p, struct err *err) {
    struct device *device = NULL;
    struct model *model = NULL;
    struct buf yaml = {0};
    struct trainer_result r = {0};
    const struct backend *b = p->choice.backend;
    int rc = opt_yaml(&p->tool->program, &yaml, err);
    p->t.config_yaml = rc == 0 ? buf_cstr(&yaml) : NULL;
    if (rc == 0) rc = b->open(&device, &p->choice.opts, err);
    if (rc == 0) log_info(&p->tool->log, "%s", b->describe(device));
    if (rc == 0) rc = model_new(&model, &p->config, b, device, p->choice.opts.dtype, true, err);
    if (rc == 0)
        rc = trainer_run(model, b, device, &p->train, p->has_valid ? &p->valid : NULL, &p->t, &r,
                         &p->tool->log, err);
    if (rc == 0) rc = say_result(p, &r);
    model_free(model);
    b->close(device);
    buf_release(&yaml);
    return rc;
}

static int run(struct options *o, struct opt *table, struct tool *t) {
    struct plan p = {.o = o, .table = table, .tool = t};
    if (t->operands->n)
        return err_set(&t->err, ERR_USAGE, "unexpected \"%s\"; shards are given with --train",
                       t->operands->v[0]);
    int rc = make_plan(&p, &t->err);
    if (rc == 0) {
        uint64_t params = model_config_params(&p.config), bytes = memory_bytes(&p, params);
        if (!p.has_valid) log_info(&t->log, "no --valid: nothing will be evaluated");
        say_plan(&p, params, bytes);
        if (!o->dry_run)
            rc = train(&p, &t->err);
        else
            rc = tool_print_json(t, plan_json(&p, params, bytes));
    }
    release_plan(&p);
    return rc;
}

static const char text[] =
    "Shards are made by shard; those of llm.c are read as they are. The run's folder becomes a "
    "model "
    "itself when the run is finished: it holds checkpoints that transformers loads, metrics.jsonl, "
    "and "
    "event files for TensorBoard.\n\n"
    "A run that was stopped goes on with the same command, from its newest whole checkpoint, to "
    "the same "
    "result bit for bit. Ctrl-C and SIGTERM save first; SIGUSR1 saves and goes on.";
static const char examples[] =
    "lmtrain --train shards/ --valid shards/\tGPT-2 from scratch, or on with the run in run/\n"
    "lmtrain --train shards/ --layers 8 --width 320 --epochs 1 -o small/\ta small model\n"
    "lmtrain --model gpt2-dir/ --train shards/ --lr 5e-5 --epochs 3\tgoes on from given weights";

int main(int argc, char **argv) {
    backend_spin_less(argv);
    struct options o = {.output = "run",
                        .resume = "auto",
                        .window = "gpt",
                        .order = "shuffled",
                        .batch = 12,
                        .accumulate = 1,
                        .steps = 150000,
                        .lr = 5e-4,
                        .beta1 = 0.9,
                        .beta2 = 0.999,
                        .eps = 1e-8,
                        .weight_decay = 0.1,
                        .clip = 1,
                        .warmup = 2000,
                        .schedule = "cosine",
                        .warmup_style = "hf",
                        .eval_every = {.steps = 15000},
                        .save_every = {.steps = 15000},
                        .keep = 3,
                        .eval_tokens = 1000000,
                        .dtype = "auto",
                        .device = "auto",
                        .layers = 12,
                        .width = 768,
                        .heads = 12};
    struct opt opts[] = {
        {"Data", .type = OPT_GROUP},
        {"train", 0, OPT_STRS, &o.train, "DIR",
         "shards to train on: a folder, or .bin files (repeatable)"},
        {"valid", 0, OPT_STRS, &o.valid, "DIR", "shards to evaluate on (repeatable)"},
        {"tokenizer", 't', OPT_STR, &o.tokenizer, "TOK",
         "tokenizer to put beside the model (default: the shards')"},
        {"seq-len", 0, OPT_U64, &o.seq_len, "T", "tokens of a window (default: the shards')",
         .min = 1, .max = 1 << 20},
        {"window", 0, OPT_CHOICE, &o.window, "KIND",
         "T+1 tokens and T targets, or T and T-1 as transformers", "gpt|hf"},
        {"order", 0, OPT_CHOICE, &o.order, "ORDER", "order of the windows", "shuffled|sequential"},
        {"Model", .type = OPT_GROUP},
        {"model", 'm', OPT_STR, &o.model, "DIR",
         "weights to begin with, or the name of a shape (gpt2, gpt2-xl, d12 …)"},
        {"from-scratch", 0, OPT_FLAG, &o.from_scratch, NULL, "take only the shape of --model"},
        {"layers", 0, OPT_U64, &o.layers, "L", "layers of a new model", .min = 1, .max = 1024},
        {"width", 0, OPT_U64, &o.width, "C", "width of a new model", .min = 1, .max = 65536},
        {"heads", 0, OPT_U64, &o.heads, "N", "attention heads of a new model", .min = 1,
         .max = 1024},
        {"vocab", 0, OPT_U64, &o.vocab, "V", "vocabulary (default: the shards', else the model's)",
         .min = 1, .max = 1 << 24},
        {"dropout", 0, OPT_F64, &o.dropout, "P",
         "probability in all three places (default: the model's)", .min = 0, .max = 0.999},
        {"init-range", 0, OPT_F64, &o.init_range, "X",
         "standard deviation of a new model's weights; narrow ones like more than 0.02",
         .min = 1e-6, .max = 10},
        {"Steps", .type = OPT_GROUP},
        {"recipe", 0, OPT_CHOICE, &o.recipe, "NAME",
         "a whole set of the options below, as others train", "codeparrot-small|hf-trainer|llmc"},
        {"batch", 0, OPT_U64, &o.batch, "B", "windows at a time", .min = 1, .max = 1 << 20},
        {"accumulate", 0, OPT_U64, &o.accumulate, "N", "batches to a step", .min = 1,
         .max = 1 << 20},
        {"batch-tokens", 0, OPT_U64, &o.batch_tokens, "N",
         "tokens of a step, instead of --accumulate", .min = 1, .max = 1e12},
        {"steps", 0, OPT_U64, &o.steps, "N", "steps of the run", .min = 1, .max = 1e12},
        {"epochs", 0, OPT_F64, &o.epochs, "X", "length of the run in passes over the data",
         .min = 0, .max = 1e6},
        {"tokens", 0, OPT_U64, &o.tokens, "N", "length of the run in tokens", .min = 1,
         .max = 1e15},
        {"Optimizer", .type = OPT_GROUP},
        {"lr", 0, OPT_F64, &o.lr, "X", "peak learning rate", .min = 0, .max = 1e30},
        {"schedule", 0, OPT_CHOICE, &o.schedule, "KIND", "fall of the learning rate",
         "cosine|linear|constant|wsd"},
        {"warmup", 0, OPT_U64, &o.warmup, "N",
         "steps of warmup (default: 2000, at most a tenth of the run)", .min = 0, .max = 1e12},
        {"warmup-style", 0, OPT_CHOICE, &o.warmup_style, "KIND",
         "first step with lr 0 (hf) or lr/N (llmc)", "hf|llmc"},
        {"min-lr", 0, OPT_F64, &o.min_lr, "X", "learning rate at the end", .min = 0, .max = 1e30},
        {"beta1", 0, OPT_F64, &o.beta1, "X", "decay of AdamW's first moment", .min = 0, .max = 1},
        {"beta2", 0, OPT_F64, &o.beta2, "X", "decay of AdamW's second moment", .min = 0, .max = 1},
        {"eps", 0, OPT_F64, &o.eps, "X", "AdamW's epsilon", .min = 0, .max = 1},
        {"weight-decay", 0, OPT_F64, &o.weight_decay, "X", "of all but biases and LayerNorm",
         .min = 0, .max = 1e6},
        {"clip", 0, OPT_F64, &o.clip, "X", "largest gradient norm; 0: any", .min = 0, .max = 1e30},
        {"Run", .type = OPT_GROUP},
        TOOL_OUTPUT(&o.output, "folder of the run"),
        {"resume", 0, OPT_STR, &o.resume, "auto|never|DIR",
         "go on with the run in -o, refuse to, or branch off DIR"},
        {"eval-every", 0, OPT_STEPS, &o.eval_every, "STEPS|TIME", "time between evaluations"},
        {"eval-tokens", 0, OPT_U64, &o.eval_tokens, "N",
         "tokens of an evaluation; at the end always all", .min = 1, .max = 1e15},
        {"eval-steps", 0, OPT_U64, &o.eval_steps, "N",
         "batches of an evaluation, instead of --eval-tokens", .min = 1, .max = 1e12},
        {"save-every", 0, OPT_STEPS, &o.save_every, "STEPS|TIME",
         "time between checkpoints; every 30 minutes besides"},
        {"keep", 0, OPT_U64, &o.keep, "N", "newest checkpoints to keep, besides the best; 0: all",
         .min = 0, .max = 1e9},
        {"dry-run", 0, OPT_FLAG, &o.dry_run, NULL, "print the plan as JSON and stop"},
        {"device", 0, OPT_CHOICE, &o.device, "NAME", "where to compute", "auto|cpu|cuda|ref"},
        {"dtype", 0, OPT_CHOICE, &o.dtype, "TYPE", "type of the products", "auto|fp32|bf16"},
        {0}};
    struct program p = {.name = "lmtrain",
                        .summary = "trains a GPT-2 on token shards",
                        .usage = "--train DIR [--valid DIR] [--model DIR] [-o run/]",
                        .text = text,
                        .examples = examples,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) {
        signals_install();
        rc = run(&o, opts, &t);
    }
    return tool_end(&t, rc);
}
