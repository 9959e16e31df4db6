/* shard export: the files that other trainers read. */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/signals.h"
#include "stream/shard_export.h"
#include "stream/shard_index.h"
#include "tools/common.h"
#include "tools/shard.h"

struct exporting {
    const char *format, *path;
    const char *output, *tok, *split, *eot;
    uint64_t eot_id; /* UINT32_MAX: not given */
    struct tokenizer *tokenizer;
    cJSON *done;
};

/* train or valid, as the readers of the format call it. */
static const char *name_of(const char *format, const char *split) {
    return !strcmp(format, "nanogpt") && !strcmp(split, "valid") ? "val" : split;
}

/* The tokenizer of -t, else the one beside the shards; it has to be the one they were made with. */
static int open_tokenizer(struct exporting *e, const char *path, const struct shard_set *set,
                          struct err *err) {
    char digest[SHA256_HEX];
    char *beside = path_join(path, "tokenizer");
    if (!beside) return err_nomem(err, strlen(path));
    const char *from = e->tok ? e->tok : file_kind(beside) == FILE_FOLDER ? beside : NULL;
    int rc = from ? tokenizer_open(&e->tokenizer, from, NULL, err)
                  : err_set(err, ERR_USAGE, "text needs the tokenizer: name it with -t");
    if (rc == 0) rc = tokenizer_digest(e->tokenizer, digest, err);
    if (rc == 0 && *set->tokenizer_digest && strcmp(digest, set->tokenizer_digest))
        rc = err_set(err, ERR_DATA, "%s: is not the tokenizer that %s was made with", from, path);
    free(beside);
    return rc;
}

static int eot_of(const struct exporting *e, const char *path, const struct shard_set *set,
                  struct shard_export *x, struct err *err) {
    struct shard_index index;
    x->eot_id = e->eot_id != UINT32_MAX ? (uint32_t)e->eot_id : set->eot_id;
    int rc = file_kind(path) == FILE_FOLDER ? shard_index_load(&index, path, err) : 0;
    if (rc < 0) return rc;
    x->eot = rc ? index.eot : SHARD_EOT_BEFORE; /* llm.c's own: before */
    if (rc) shard_index_release(&index);
    return *e->eot ? shard_eot_parse(&x->eot, e->eot, err) : 0;
}

/* Nothing of any split is written where one would be written over what is read. */
static int check_set(struct exporting *e, struct tool *t, const struct shard_set *set,
                     const char *name) {
    char *to = path_join(e->output, name);
    int rc =
        to ? shard_export_check(e->format, set, to, &t->err) : err_nomem(&t->err, strlen(name));
    free(to);
    return rc;
}

static int export_set(struct exporting *e, struct tool *t, const struct shard_set *set,
                      const char *name) {
    const char *format = e->format, *path = e->path;
    struct shard_export x = {.set = set,
                             .tokenizer_name = e->tok ? e->tok : "unknown",
                             .threads = tool_threads(t),
                             .log = &t->log};
    char *to = path_join(e->output, name);
    int rc = to ? eot_of(e, path, set, &x, &t->err) : err_nomem(&t->err, strlen(name));
    if (rc == 0 && !strcmp(format, "jsonl") && !e->tokenizer)
        rc = open_tokenizer(e, path, set, &t->err);
    x.path = to;
    x.tokenizer = e->tokenizer;
    if (rc == 0) rc = shard_export(format, &x, &t->err);
    free(to);
    if (rc < 0) return rc;
    struct shard_counts c = {x.documents, x.tokens, set->text_bytes, set->targets, set->masked};
    cJSON_AddItemToObject(e->done, name, shard_counts_tree(&c));
    if (!t->json && !t->quiet) shard_print_counts(t, name, &c);
    return 0;
}

/* Whether a folder's index.json lists no files for a split. */
static bool is_empty(const char *path, const char *split) {
    struct shard_index x;
    bool empty = false;
    if (shard_index_load(&x, path, NULL) > 0) {
        const struct shard_index_split *s = shard_index_split(&x, split);
        empty = !s || !s->n;
        shard_index_release(&x);
    }
    return empty;
}

typedef int each_fn(struct exporting *e, struct tool *t, const struct shard_set *set,
                    const char *name);

/* The splits there are, or the one asked for; a single file has none. */
static int each_split(struct exporting *e, struct tool *t, each_fn *each) {
    static const char *const splits[] = {"train", "valid"};
    bool folder = file_kind(e->path) == FILE_FOLDER;
    int rc = 0, found = 0;
    for (int i = 0; rc == 0 && i < (folder ? 2 : 1); i++) {
        struct shard_set set;
        if (*e->split && strcmp(e->split, splits[i]) && folder) continue;
        int opened = shard_set_open(&set, &e->path, 1, splits[i], &t->err);
        bool absent = opened == ERR_IO || (opened == ERR_DATA && is_empty(e->path, splits[i]));
        if (absent && folder && !*e->split) continue;
        if (opened < 0) return opened;
        found++;
        rc = each(e, t, &set, name_of(e->format, splits[i]));
        shard_set_close(&set);
    }
    return rc < 0 || found ? rc : t->err.code;
}

/* shard verify would find fault with .bin files that an index.json does not name. */
static int check_output(const struct exporting *e, struct err *err) {
    struct shard_index x;
    if (strcmp(e->format, "megatron") != 0 && strcmp(e->format, "nanogpt") != 0) return 0;
    int rc = shard_index_load(&x, e->output, err);
    if (rc <= 0) return rc;
    shard_index_release(&x);
    return err_set(err, ERR_USAGE, "%s: is a folder of shards; name another one with -o",
                   e->output);
}

static int run_export(struct exporting *e, struct tool *t) {
    const struct strs *v = t->operands;
    if (v->n < 1 || v->n > 2)
        return err_set(&t->err, ERR_USAGE, "wanted: export FORMAT [PATH] -o OUT");
    if (!*e->output) return err_set(&t->err, ERR_USAGE, "name the folder to write with -o");
    signals_install();
    e->done = cJSON_CreateObject();
    e->format = v->v[0];
    e->path = v->n > 1 ? v->v[1] : "shards";
    int rc = check_output(e, &t->err);
    if (rc == 0) rc = each_split(e, t, check_set);
    if (rc == 0) rc = file_mkdirs(e->output, &t->err);
    if (rc == 0) rc = each_split(e, t, export_set);
    tokenizer_free(e->tokenizer);
    if (rc == 0 && t->json) return tool_print_json(t, e->done);
    cJSON_Delete(e->done);
    return rc;
}

int shard_export_main(int argc, char **argv) {
    struct exporting e = {.output = "", .split = "", .eot = "", .eot_id = UINT32_MAX};
    struct opt opts[] = {
        {"Exporting", .type = OPT_GROUP},
        TOOL_OUTPUT(&e.output, "folder to write"),
        {"split", 0, OPT_STR, &e.split, "NAME", "only train, or only valid"},
        {"tokenizer", 't', OPT_STR, &e.tok, "TOK", "for jsonl (default: beside the shards)"},
        {"eot-id", 0, OPT_U64, &e.eot_id, "N",
         "the token that parts documents, where no index says so (default: not known)",
         .max = UINT32_MAX},
        {"eot", 0, OPT_STR, &e.eot, "WHERE", "and where it stands: after, before or none"},
        {0}};
    struct program p = {
        .name = "shard export",
        .summary = "write shards as the files of other trainers",
        .usage = "FORMAT [PATH] -o OUT",
        .opts = opts,
        .text =
            "FORMAT is megatron (NAME.bin, NAME.idx), nanogpt (train.bin, val.bin), datatrove "
            "(NAME.ds, .ds.index, .ds.metadata) or jsonl (NAME.jsonl.gz, the text again). Prompts "
            "and completions stay apart in jsonl, and in datatrove's .ds.loss. PATH "
            "is a folder of shards (default: shards) or one file; it may also be llm.c's, "
            "nanoGPT's or Megatron's own.",
        .examples = "shard export megatron shards/ -o megatron/\tfor --data-path megatron/train\n"
                    "shard export jsonl fineweb_train_000001.bin --eot-id 50256 -t gpt2/ -o text/\t"
                    "what is in a file of llm.c"};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_export(&e, &t);
    return tool_end(&t, rc);
}
