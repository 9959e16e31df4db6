/* shard: documents into token shards; what a folder of shards holds; whether it is whole. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "stream/shard_encode.h"
#include "stream/shard_index.h"
#include "tools/common.h"
#include "tools/input.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double per(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

/* ------------------------------------------------------------------ shard */

struct options {
    const char *tok, *output, *valid, *eot;
    uint64_t seq_len, shard_tokens;
    double valid_fraction;
    bool fraction_given;
};

/* What a run reads and writes. */
struct run {
    struct tool *t;
    struct options *o;
    struct input *in;                        /* the training sources                             */
    struct source_list valid;                /* the files of the validation set                  */
    double fraction;                         /* > 0: part of the training sources, by hash       */
    struct docs_totals *of_train, *of_valid; /* what came of each file             */
    struct tokenizer *tokenizer;
    struct shard_writer *writer;
    struct shard_encode e;
    double seconds;
};

static bool same_file(const struct source_file *a, const struct source_file *b) {
    if (!strcmp(a->path, b->path)) return strcmp(a->path, "-") != 0;
    char *x = realpath(a->path, NULL), *y = realpath(b->path, NULL);
    bool same = x && y && !strcmp(x, y);
    free(x);
    free(y);
    return same;
}

/* Takes list->v[i] out of the list. */
static struct source_file take_file(struct source_list *list, size_t i) {
    struct source_file f = list->v[i];
    memmove(&list->v[i], &list->v[i + 1], (--list->n - i) * sizeof f);
    return f;
}

/* A list of one file, which is taken over. */
static int list_of(struct source_list *to, struct source_file f, struct err *err) {
    to->v = mem_array(1, sizeof f);
    if (!to->v) return err_nomem(err, sizeof f);
    to->v[0] = f;
    to->n = to->cap = 1;
    return 0;
}

/* --valid SOURCE may name files of the training sources: they are read once, for validation. */
static int name_valid(struct run *r, struct err *err) {
    struct source_list *train = &r->in->list;
    int rc = input_resolve_one(r->in, r->t, r->o->valid, &r->valid);
    for (size_t i = 0; rc == 0 && i < train->n;) {
        size_t j = 0;
        while (j < r->valid.n && !same_file(&train->v[i], &r->valid.v[j])) j++;
        if (j == r->valid.n) {
            i++;
            continue;
        }
        log_info(&r->t->log, "%s: for validation, not for training", train->v[i].name);
        struct source_list gone = {0};
        rc = list_of(&gone, take_file(train, i), err);
        source_list_release(&gone);
    }
    if (rc == 0 && !train->n)
        rc = err_set(err, ERR_USAGE, "--valid takes all files; nothing is left to train on");
    return rc;
}

static int resolve(struct run *r, struct err *err) {
    struct source_list *train = &r->in->list;
    struct options *o = r->o;
    if (o->valid && o->fraction_given)
        return err_set(err, ERR_USAGE, "--valid and --valid-fraction exclude each other");
    int rc = input_resolve(r->in, r->t, "corpus");
    if (rc < 0) return rc;
    if (o->valid)
        rc = name_valid(r, err);
    else if (o->fraction_given)
        r->fraction = o->valid_fraction;
    else if (train->n == 1)
        r->fraction = 0.01;
    else
        rc = list_of(&r->valid, take_file(train, train->n - 1), err);
    if (rc < 0) return rc;
    r->of_train = mem_array(train->n, sizeof *r->of_train);
    r->of_valid = mem_array(r->valid.n + 1, sizeof *r->of_valid);
    return r->of_train && r->of_valid ? 0 : err_nomem(err, train->n);
}

static int open_writer(struct run *r, struct err *err) {
    char digest[SHA256_HEX];
    struct options *o = r->o;
    struct shard_opts s = {
        .seq_len = o->seq_len, .shard_tokens = o->shard_tokens, .tokenizer_digest = digest};
    int rc = shard_eot_parse(&s.eot, o->eot, err);
    if (rc == 0) rc = tokenizer_open(&r->tokenizer, o->tok, NULL, err);
    if (rc < 0) return rc;
    tokenizer_digest(r->tokenizer, digest);
    s.vocab = tokenizer_size(r->tokenizer);
    s.eot_id = tokenizer_eot(r->tokenizer);
    r->e.eot = s.eot != SHARD_EOT_NONE;
    if (r->e.eot && s.eot_id == TOKENIZER_NO_ID)
        return err_set(err, ERR_USAGE, "%s: has no token %s; add one, or use --eot none", o->tok,
                       TOKENIZER_EOT);
    return shard_writer_open(&r->writer, o->output, &s, err);
}

/* ---- what index.json records of the run */

static void note_files(cJSON *to, const struct source_list *list, const struct docs_totals *of,
                       const char *split) {
    for (size_t i = 0; i < list->n; i++) {
        cJSON *f = cJSON_CreateObject();
        cJSON_AddStringToObject(f, "name", list->v[i].name);
        if (list->v[i].bytes) cJSON_AddNumberToObject(f, "bytes", (double)list->v[i].bytes);
        if (list->v[i].etag) cJSON_AddStringToObject(f, "etag", list->v[i].etag);
        if (list->v[i].sha256) cJSON_AddStringToObject(f, "sha256", list->v[i].sha256);
        cJSON_AddStringToObject(f, "split", split);
        cJSON_AddNumberToObject(f, "documents", (double)of[i].documents);
        cJSON_AddNumberToObject(f, "text_bytes", (double)of[i].text_bytes);
        cJSON_AddItemToArray(to, f);
    }
}

/* Options that decide what is in the shards; threads do not. */
static cJSON *options_tree(const struct run *r) {
    const struct options *o = r->o;
    const struct docs_opts *d = &r->in->opts;
    cJSON *v = cJSON_CreateObject();
    cJSON_AddNumberToObject(v, "seed", (double)r->t->seed);
    cJSON_AddNumberToObject(v, "valid_fraction", r->fraction);
    cJSON_AddNumberToObject(v, "shard_tokens", (double)o->shard_tokens);
    cJSON_AddNumberToObject(v, "shuffle_buffer", (double)d->shuffle_buffer);
    cJSON_AddNumberToObject(v, "skip", (double)d->skip);
    cJSON_AddNumberToObject(v, "take", (double)d->take);
    cJSON_AddStringToObject(v, "format", d->format);
    cJSON_AddStringToObject(v, "on_error", d->on_error);
    if (d->field) cJSON_AddStringToObject(v, "field", d->field);
    return v;
}

static int note(struct run *r, const char *key, cJSON *tree, struct err *err) {
    struct buf b = {0};
    int rc = tree ? json_text(&b, tree, false, err) : err_nomem(err, 0);
    if (rc == 0) rc = buf_cstr(&b) ? shard_writer_note(r->writer, key, b.v, err) : ERR_NOMEM;
    cJSON_Delete(tree);
    buf_release(&b);
    return rc;
}

static int note_run(struct run *r, struct err *err) {
    cJSON *files = cJSON_CreateArray();
    note_files(files, &r->in->list, r->of_train, r->fraction > 0 ? "by hash" : "train");
    note_files(files, &r->valid, r->of_valid, "valid");
    int rc = note(r, "sources", files, err);
    return rc < 0 ? rc : note(r, "options", options_tree(r), err);
}

/* ---- the run */

static int encode_list(struct run *r, const struct source_list *list, const char *split,
                       struct docs_totals *of, double fraction, struct err *err) {
    r->e.split = split;
    r->e.files = of;
    r->e.valid_fraction = fraction;
    return list->n ? shard_encode(&r->e, list, err) : 0;
}

static int encode_all(struct run *r, struct err *err) {
    r->e.writer = r->writer;
    r->e.tokenizer = r->tokenizer;
    r->e.docs = r->in->opts;
    r->e.seed = r->t->seed;
    r->e.log = &r->t->log;
    int rc = encode_list(r, &r->in->list, "train", r->of_train, r->fraction, err);
    if (rc < 0) return rc;
    /* The validation set is whole and in its own order, whatever part of the rest is asked for. */
    r->e.docs.skip = r->e.docs.take = r->e.docs.shuffle_buffer = 0;
    r->e.docs.order = "source";
    return encode_list(r, &r->valid, "valid", r->of_valid, 0, err);
}

/* The tokenizer goes along, so that a trainer can put it beside its checkpoints. */
static int finish(struct run *r, struct err *err) {
    char *dir = path_join(r->o->output, "tokenizer");
    if (!dir) return err_nomem(err, 0);
    int rc = note_run(r, err);
    if (rc == 0) rc = tokenizer_save_beside_model(r->tokenizer, dir, err);
    struct shard_writer *w = r->writer;
    if (rc == 0) {
        r->writer = NULL; /* finish frees it in any case */
        rc = shard_writer_finish(w, err);
    }
    if (rc < 0) file_remove(dir, NULL);
    free(dir);
    return rc;
}

static cJSON *counts_tree(const struct shard_counts *c) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "documents", (double)c->documents);
    cJSON_AddNumberToObject(o, "tokens", (double)c->tokens);
    cJSON_AddNumberToObject(o, "text_bytes", (double)c->text_bytes);
    cJSON_AddNumberToObject(o, "bytes_per_token", per(c->text_bytes, c->tokens));
    return o;
}

static void print_counts(struct tool *t, const char *split, const struct shard_counts *c) {
    fprintf(tool_out(t), "%-6s %12llu documents %14llu tokens %8.1f MB of text %6.3f bytes/token\n",
            split, (unsigned long long)c->documents, (unsigned long long)c->tokens,
            (double)c->text_bytes / 1e6, per(c->text_bytes, c->tokens));
}

static int report(struct run *r) {
    struct tool *t = r->t;
    uint64_t bytes = r->e.train.text_bytes + r->e.valid.text_bytes;
    double rate = r->seconds > 0 ? (double)bytes / 1e6 / r->seconds : 0;
    if (r->e.bad_records)
        log_warn(&t->log, "%llu bad records left out", (unsigned long long)r->e.bad_records);
    if (!r->e.valid.documents) log_warn(&t->log, "the validation split is empty");
    if (t->json) {
        cJSON *o = cJSON_CreateObject(), *splits = cJSON_AddObjectToObject(o, "splits");
        cJSON_AddItemToObject(splits, "train", counts_tree(&r->e.train));
        cJSON_AddItemToObject(splits, "valid", counts_tree(&r->e.valid));
        cJSON_AddNumberToObject(o, "bad_records", (double)r->e.bad_records);
        cJSON_AddNumberToObject(o, "seconds", r->seconds);
        cJSON_AddNumberToObject(o, "mb_per_second", rate);
        return tool_print_json(t, o);
    }
    if (t->quiet) return 0;
    print_counts(t, "train", &r->e.train);
    print_counts(t, "valid", &r->e.valid);
    fprintf(tool_out(t), "%s: %.1f s, %.1f MB/s of text\n", r->o->output, r->seconds, rate);
    return 0;
}

static int run_shard(struct tool *t, struct options *o, struct input *in) {
    struct run r = {.t = t, .o = o, .in = in};
    double begun = now();
    signals_install();
    int rc = resolve(&r, &t->err);
    if (rc == 0) rc = open_writer(&r, &t->err);
    if (rc == 0) rc = encode_all(&r, &t->err);
    if (rc == 0 && !r.e.train.documents)
        rc = err_set(&t->err, ERR_DATA, "the sources hold no documents to train on");
    if (rc == 0) rc = finish(&r, &t->err);
    r.seconds = now() - begun;
    if (rc == 0) rc = report(&r);
    shard_writer_abort(r.writer);
    tokenizer_free(r.tokenizer);
    source_list_release(&r.valid);
    free(r.of_train);
    free(r.of_valid);
    return rc;
}

static const char shard_text[] =
    "Reads documents, encodes them and writes folders of token shards in the format of llm.c, with "
    "an index of documents beside each shard and an index.json written last.\n"
    "Which documents are the validation set: those of --valid; else --valid-fraction of all, "
    "chosen "
    "by a keyed hash of their text, so that equal documents are never in both sets; else the last "
    "of several files; of a single file, 1 % by the same hash.";
static const char shard_examples[] =
    "shard --seq-len 1024\tcorpus/ and tok/ into shards/\n"
    "shard corpus/ --valid held-out.jsonl.zst -o shards/\ta validation set of its own\n"
    "shard hf://datasets/NS/NAME/data/*.json.gz -t tok/\tstraight from the Hub\n"
    "shard info shards/\twhat is in it\n"
    "shard verify shards/\tcheck every byte against index.json";

static int shard_main(int argc, char **argv) {
    struct options o = {.tok = "tok",
                        .output = "shards",
                        .eot = "after",
                        .seq_len = 1024,
                        .shard_tokens = 100000000,
                        .valid_fraction = 0.01};
    struct input in = {.opts = docs_defaults};
    struct opt opts[16 + INPUT_ROWS] = {
        {"Shards", .type = OPT_GROUP},
        {"seq-len", 0, OPT_U64, &o.seq_len, "N", "tokens in a training sequence, for the trainer",
         .min = 1, .max = 1 << 24},
        {"tokenizer", 't', OPT_STR, &o.tok, "TOK", "the tokenizer: a folder or a file"},
        TOOL_OUTPUT(&o.output, "folder to write"),
        {"eot", 0, OPT_CHOICE, &o.eot, "WHERE", "where <|endoftext|> stands", "after|before|none"},
        {"shard-tokens", 0, OPT_U64, &o.shard_tokens, "N",
         "cut shards at about N tokens, at a document's end", .min = 1, .max = INT32_MAX},
        {"Validation", .type = OPT_GROUP},
        {"valid", 0, OPT_STR, &o.valid, "SOURCE", "the validation set"},
        {"valid-fraction", 0, OPT_F64, &o.valid_fraction, "F",
         "share of the documents for validation, by keyed hash; 0: none", .min = 0, .max = 0.5},
        {"Reading", .type = OPT_GROUP},
    };
    enum { FRACTION = 8, OWN = 10 };
    docs_option_rows(opts + OWN, INPUT_ROWS, &in.opts);
    struct program p = {.name = "shard",
                        .summary = "write token shards for training",
                        .usage = "[SOURCE…] --seq-len N [-t tok/] [-o shards/] [--valid SOURCE]\n"
                                 "info PATH\nverify PATH",
                        .text = shard_text,
                        .examples = shard_examples,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    o.fraction_given = opts[FRACTION].given;
    if (rc == 0) rc = run_shard(&t, &o, &in);
    input_release(&in);
    return tool_end(&t, rc);
}

/* ------------------------------------------------------------------ info */

static void info_text(struct tool *t, const struct shard_index *x, const char *dir) {
    FILE *to = tool_out(t);
    fprintf(to, "%s: vocabulary %u, u%u tokens, end of text %s", dir, x->vocab, 8 * x->token_bytes,
            shard_eot_name(x->eot));
    if (x->eot_id != UINT32_MAX) fprintf(to, " (%u)", x->eot_id);
    fprintf(to, ", sequences of %llu\ntokenizer %s\n", (unsigned long long)x->seq_len,
            *x->tokenizer_digest ? x->tokenizer_digest : "unknown");
    for (size_t i = 0; i < x->n; i++) {
        const struct shard_index_split *s = &x->v[i];
        struct shard_counts c = {s->documents, s->tokens, s->text_bytes};
        print_counts(t, s->name, &c);
        for (size_t j = 0; t->verbose && j < s->n; j++)
            fprintf(to, "  %s %llu tokens, %llu documents, sha256 %s\n", s->v[j].name,
                    (unsigned long long)s->v[j].tokens, (unsigned long long)s->v[j].documents,
                    s->v[j].sha256);
    }
}

static cJSON *info_tree(const struct shard_index *x) {
    cJSON *o = cJSON_CreateObject(), *splits;
    cJSON_AddNumberToObject(o, "vocab", x->vocab);
    cJSON_AddNumberToObject(o, "token_bytes", x->token_bytes);
    cJSON_AddStringToObject(o, "eot", shard_eot_name(x->eot));
    if (x->eot_id != UINT32_MAX) cJSON_AddNumberToObject(o, "eot_id", x->eot_id);
    cJSON_AddNumberToObject(o, "seq_len", (double)x->seq_len);
    cJSON_AddStringToObject(o, "tokenizer_digest", x->tokenizer_digest);
    splits = cJSON_AddObjectToObject(o, "splits");
    for (size_t i = 0; i < x->n; i++) {
        const struct shard_index_split *s = &x->v[i];
        struct shard_counts c = {s->documents, s->tokens, s->text_bytes};
        cJSON *v = counts_tree(&c);
        cJSON_AddNumberToObject(v, "shards", (double)s->n);
        cJSON_AddItemToObject(splits, s->name, v);
    }
    return o;
}

/* A folder or file of llm.c: only counts are known. */
static int info_plain(struct tool *t, const char *path) {
    static const char *const splits[] = {"train", "valid"};
    cJSON *o = cJSON_CreateObject(), *to = cJSON_AddObjectToObject(o, "splits");
    int rc = 0, found = 0;
    bool folder = file_kind(path) == FILE_FOLDER;
    for (int i = 0; rc == 0 && i < (folder ? 2 : 1); i++) {
        struct shard_set s;
        int opened = shard_set_open(&s, &path, 1, splits[i], &t->err);
        if (opened == ERR_IO && folder) continue;
        rc = opened;
        if (rc < 0) break;
        found++;
        struct shard_counts c = {.tokens = s.tokens};
        cJSON_AddItemToObject(to, folder ? splits[i] : path_base(path), counts_tree(&c));
        if (!t->json)
            fprintf(tool_out(t), "%s: %llu tokens in %zu shards of u%u, no index.json\n",
                    folder ? splits[i] : path, (unsigned long long)s.tokens, s.n,
                    8 * s.v[0].token_bytes);
        shard_set_close(&s);
    }
    if (rc == 0 && !found) rc = t->err.code;
    if (rc == 0 && t->json) return tool_print_json(t, o);
    cJSON_Delete(o);
    return rc;
}

static int run_info(struct tool *t) {
    const char *dir = t->operands->n ? t->operands->v[0] : "shards";
    struct shard_index x;
    if (t->operands->n > 1) return err_set(&t->err, ERR_USAGE, "one folder at a time");
    int rc = file_kind(dir) == FILE_FOLDER ? shard_index_load(&x, dir, &t->err) : 0;
    if (rc < 0) return rc;
    if (rc == 0) return info_plain(t, dir);
    rc = 0;
    if (t->json)
        rc = tool_print_json(t, info_tree(&x));
    else
        info_text(t, &x, dir);
    shard_index_release(&x);
    return rc;
}

static int info_main(int argc, char **argv) {
    struct opt opts[] = {{0}};
    struct program p = {
        .name = "shard info",
        .summary = "what a folder of shards holds",
        .usage = "[PATH]",
        .opts = opts,
        .text = "PATH is a folder of shards (default: shards), or one .bin file, also of "
                "llm.c. -v lists the files."};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_info(&t);
    return tool_end(&t, rc);
}

/* ------------------------------------------------------------------ verify */

static void print_fault(void *ctx, const char *text) {
    fprintf(tool_out(ctx), "%s\n", text);
}

static void add_fault(void *ctx, const char *text) {
    cJSON_AddItemToArray(ctx, cJSON_CreateString(text));
}

static int run_verify(struct tool *t) {
    const char *dir = t->operands->n ? t->operands->v[0] : "shards";
    if (t->operands->n > 1) return err_set(&t->err, ERR_USAGE, "one folder at a time");
    cJSON *faults = cJSON_CreateArray();
    int rc = t->json ? shard_verify(dir, add_fault, faults, &t->log, &t->err)
                     : shard_verify(dir, print_fault, t, &t->log, &t->err);
    if (!t->json || (rc < 0 && rc != ERR_CORRUPT)) {
        cJSON_Delete(faults);
        if (rc == 0 && !t->quiet && !t->json)
            fprintf(tool_out(t), "%s: as its index.json says\n", dir);
        return rc;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToObject(o, "faults", faults);
    int printed = tool_print_json(t, o);
    return rc < 0 ? rc : printed;
}

static int verify_main(int argc, char **argv) {
    struct opt opts[] = {{0}};
    struct program p = {
        .name = "shard verify",
        .summary = "check shards against their index.json",
        .usage = "[PATH]",
        .opts = opts,
        .text = "Checks the sha256 of every file, that every token is in the vocabulary, "
                "the ends of documents and all counts. Exit status 6 if anything is wrong."};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_verify(&t);
    return tool_end(&t, rc);
}

int main(int argc, char **argv) {
    static const struct subcommand subs[] = {
        {"info", "what a folder of shards holds", info_main},
        {"verify", "check shards against their index.json", verify_main},
        {0}};
    static const struct family f = {"shard", "write token shards for training", subs, shard_main};
    return tool_dispatch(&f, argc, argv);
}
