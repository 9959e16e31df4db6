/* bpe-train: text into a vocabulary.
 *
 *   sources ─▶ documents ─▶ words (a table per thread) ─▶ merges ─▶ tok/, training.json last */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/pool.h"
#include "base/version.h"
#include "tokenizer/pattern.h"
#include "tokenizer/train.h"
#include "tools/input.h"
#include "tools/outputs.h"

#define TRAINING "training.json"

struct options {
    uint64_t vocab, min_frequency, max_token_length, limit_alphabet, memory;
    struct strs special; /* as given */
    bool no_special;
    const char *output, *mode, *pattern, *counts_out, *nested, *tie, *like, *extend, *alphabet;
    struct strs from_counts;
};

/* One vocabulary to make. */
struct made {
    uint32_t vocab;
    char *folder;
    struct tokenizer *tokenizer;
    struct bpe_train_result result;
};

struct run {
    struct tool *t;
    struct options *o;
    struct input *in;
    char (*hash)[XXH128_HEX]; /* (in->list) empty: not a local file */
    struct words *words;
    struct docs *docs;
    struct pool *pool;
    struct strs specials;
    struct tokenizer *like; /* --like or --extend, or NULL */
    char *spill_dir;        /* beside what is written: /tmp may well lie in memory */
    struct made *made;      /* (n_made) by rising size; none with --vocab 0 */
    size_t n_made;
    struct docs_totals totals;
    uint64_t distinct, pieces;
    double begun, seconds;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ------------------------------------------------------------------ counting */

static void show_counting(struct run *r) {
    struct docs_totals n;
    char detail[96];
    docs_totals(r->docs, &n);
    snprintf(detail, sizeof detail, "%llu texts, %.1f MB of text, %llu distinct words",
             (unsigned long long)n.documents, (double)n.text_bytes / 1e6,
             (unsigned long long)words_distinct(r->words));
    bool known = n.stored_total > 0;
    log_progress(&r->t->log, &(struct progress){.stage = "counting words",
                                                .done = known ? n.stored_bytes : n.text_bytes,
                                                .total = n.stored_total,
                                                .unit = "B",
                                                .detail = detail});
}

/* A count does not care about order. */
static int count_batches(void *ctx, size_t item, int thread, struct err *err) {
    struct run *r = ctx;
    struct batch *b;
    (void)item;
    int rc;
    while ((rc = docs_next(r->docs, &b, err)) > 0) {
        for (size_t i = 0; i < b->n && rc >= 0; i++) {
            const struct text_part p = doc_part(&b->v[i]);
            rc = words_add_part(r->words, thread, b->lane, &p, err);
        }
        docs_release(r->docs, b);
        if (rc < 0) {
            docs_stop(r->docs);
            break;
        }
        show_counting(r);
    }
    return rc;
}

static int count_documents(struct run *r, struct err *err) {
    struct docs_opts opts = r->in->opts;
    opts.any_order = true;
    opts.cut_texts = opts.cut_records = words_cut(r->words);
    opts.cut_anywhere = words_stream(r->words);
    int rc = docs_open(&r->docs, &r->in->list, &opts, err);
    if (rc < 0) return rc;
    rc = pool_run(r->pool, (size_t)pool_threads(r->pool), count_batches, r, err);
    docs_totals(r->docs, &r->totals);
    int closed = docs_close(r->docs, rc < 0 ? NULL : err);
    r->docs = NULL;
    return rc < 0 ? rc : closed;
}

/* The sources, or files of counts, also those among the operands: --from-counts *.tsv */
static int name_inputs(struct run *r, struct err *err) {
    struct strs *counts = &r->o->from_counts;
    int rc = 0;
    if (!counts->n) return input_resolve(r->in, r->t, "corpus");
    for (size_t i = 0; i < r->t->operands->n && rc == 0; i++)
        rc = strs_push(counts, r->t->operands->v[i], err);
    return rc;
}

/* Whether `path` is read. */
static int check_output(void *ctx, const char *path, struct err *err) {
    const struct run *r = ctx;
    const char *like = r->o->extend ? r->o->extend : r->o->like;
    int rc = input_check_output(&r->in->list, path, err);
    for (size_t i = 0; i < r->o->from_counts.n && rc == 0; i++)
        rc = output_check(path, r->o->from_counts.v[i], err);
    return rc == 0 && like ? input_check_tokenizer(like, path, err) : rc;
}

static int check_outputs(struct run *r, struct err *err) {
    static const char *const more[] = {TRAINING, NULL};
    int rc = r->o->counts_out ? check_output(r, r->o->counts_out, err) : 0;
    for (size_t i = 0; i < r->n_made && rc == 0; i++) {
        rc = output_each(r->made[i].folder, tokenizer_files, check_output, r, err);
        if (rc == 0) rc = output_each(r->made[i].folder, more, check_output, r, err);
    }
    return rc;
}

static int count(struct run *r, struct err *err) {
    struct options *o = r->o;
    struct words_opts w = {.pattern = o->pattern,
                           .like = r->like,
                           .lines = strcmp(o->mode, "lines") == 0,
                           .threads = pool_threads(r->pool),
                           .memory = o->memory,
                           .spill_dir = r->spill_dir};
    int rc = o->memory ? file_mkdirs(r->spill_dir, err) : 0;
    if (rc == 0) rc = words_new(&r->words, &w, err);
    if (rc < 0) return rc;
    if (!o->from_counts.n) rc = count_documents(r, err);
    for (size_t i = 0; i < o->from_counts.n && rc == 0; i++)
        rc = words_read_counts(r->words, o->from_counts.v[i], err);
    if (rc == 0) rc = words_finish(r->words, r->pool, err);
    if (rc < 0) return rc;
    r->distinct = words_distinct(r->words);
    r->pieces = words_total(r->words);
    return o->counts_out ? words_write_counts(r->words, o->counts_out, err) : 0;
}

/* ------------------------------------------------------------------ training.json */

static int hash_file(void *ctx, size_t i, int thread, struct err *err) {
    struct run *r = ctx;
    const char *path = r->in->list.v[i].path;
    (void)thread;
    return file_kind(path) == FILE_REGULAR ? xxh128_file(path, r->hash[i], err) : 0;
}

static int add_counts_files(cJSON *list, const struct strs *files, struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < files->n && rc == 0; i++) {
        char hash[XXH128_HEX];
        uint64_t bytes;
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "name", files->v[i]);
        if (file_kind(files->v[i]) != FILE_REGULAR) continue;
        rc = file_bytes(files->v[i], &bytes, err);
        if (rc == 0) rc = xxh128_file(files->v[i], hash, err);
        if (rc < 0) return rc;
        cJSON_AddNumberToObject(o, "bytes", (double)bytes);
        cJSON_AddStringToObject(o, "xxh128", hash);
    }
    return rc;
}

static int add_sources(cJSON *tree, const struct run *r, struct err *err) {
    cJSON *list = cJSON_AddArrayToObject(tree, "sources");
    for (size_t i = 0; i < r->in->list.n; i++) {
        const struct source_file *f = &r->in->list.v[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "name", f->name);
        if (f->bytes) cJSON_AddNumberToObject(o, "bytes", (double)f->bytes);
        if (r->hash && *r->hash[i]) cJSON_AddStringToObject(o, "xxh128", r->hash[i]);
        if (f->sha256) cJSON_AddStringToObject(o, "sha256", f->sha256);
        if (f->etag) cJSON_AddStringToObject(o, "etag", f->etag);
    }
    return add_counts_files(list, &r->o->from_counts, err);
}

static void add_options(cJSON *tree, const struct run *r, const struct made *m) {
    const struct options *o = r->o;
    cJSON *t = cJSON_AddObjectToObject(tree, "options");
    cJSON_AddNumberToObject(t, "vocab", m->vocab);
    cJSON *s = cJSON_AddArrayToObject(t, "special");
    for (size_t i = 0; i < r->specials.n; i++)
        cJSON_AddItemToArray(s, cJSON_CreateString(r->specials.v[i]));
    cJSON_AddNumberToObject(t, "min_frequency", (double)o->min_frequency);
    cJSON_AddNumberToObject(t, "max_token_length", (double)o->max_token_length);
    cJSON_AddStringToObject(t, "mode", o->mode);
    cJSON_AddStringToObject(t, "tie", o->tie);
    cJSON_AddStringToObject(t, "initial_alphabet", o->alphabet);
    cJSON_AddNumberToObject(t, "limit_alphabet", (double)o->limit_alphabet);
    cJSON_AddStringToObject(t, "pattern", tokenizer_pattern(m->tokenizer));
    if (o->like) cJSON_AddStringToObject(t, "like", o->like);
    if (o->extend) cJSON_AddStringToObject(t, "extend", o->extend);
    const struct docs_opts *d = &r->in->opts;
    if (d->field) cJSON_AddStringToObject(t, "field", d->field);
    if (d->skip) cJSON_AddNumberToObject(t, "skip", (double)d->skip);
    if (d->take) cJSON_AddNumberToObject(t, "take", (double)d->take);
}

static void add_counts(cJSON *tree, const struct run *r) {
    cJSON_AddNumberToObject(tree, "texts", (double)r->totals.documents);
    cJSON_AddNumberToObject(tree, "text_bytes", (double)r->totals.text_bytes);
    cJSON_AddNumberToObject(tree, "bad_records", (double)r->totals.bad_records);
    cJSON_AddNumberToObject(tree, "words", (double)r->pieces);
    cJSON_AddNumberToObject(tree, "distinct_words", (double)r->distinct);
}

static void add_result(cJSON *tree, const struct made *m) {
    cJSON_AddNumberToObject(tree, "vocab", tokenizer_size(m->tokenizer));
    cJSON_AddNumberToObject(tree, "merges", (double)m->result.merges);
    cJSON_AddNumberToObject(tree, "last_count", (double)m->result.last_count);
}

static int save_training(struct run *r, const struct made *m, struct err *err) {
    char date[32], digest[SHA256_HEX];
    time_t t = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &utc));
    cJSON *tree = cJSON_CreateObject();
    char *path = path_join(m->folder, TRAINING);
    int rc = tree && path ? 0 : err_nomem(err, sizeof *tree);
    if (rc == 0) rc = tokenizer_digest(m->tokenizer, digest, err);
    if (rc == 0) {
        cJSON_AddStringToObject(tree, "version", LORY_VERSION);
        cJSON_AddStringToObject(tree, "time", date);
        cJSON_AddNumberToObject(tree, "seconds", r->seconds);
        cJSON_AddStringToObject(tree, "tokenizer_digest", digest);
        rc = add_sources(tree, r, err);
        add_options(tree, r, m);
        cJSON *counts = cJSON_AddObjectToObject(tree, "counts");
        add_counts(counts, r);
        add_result(counts, m);
        if (rc == 0) rc = tool_json_whole(tree, err);
        if (rc == 0) rc = json_save(path, tree, true, err);
    }
    cJSON_Delete(tree);
    free(path);
    return rc;
}

/* ------------------------------------------------------------------ training */

/* Those of --like (or <|endoftext|>), then those given. The trainer passes over repeats. */
static int collect_specials(struct run *r, struct err *err) {
    const struct options *o = r->o;
    const struct special *old;
    uint32_t n = r->like ? tokenizer_specials(r->like, &old) : 0;
    if (o->extend) n = 0; /* they are there, and so they stay */
    int rc = r->like || o->no_special ? 0 : strs_push(&r->specials, TOKENIZER_EOT, err);
    for (uint32_t i = 0; rc == 0 && i < n && !o->no_special; i++)
        if (old[i].special) rc = strs_push(&r->specials, old[i].text, err);
    for (size_t i = 0; rc == 0 && i < o->special.n; i++) {
        bool known = false;
        for (size_t k = 0; k < r->specials.n; k++)
            known |= strcmp(r->specials.v[k], o->special.v[i]) == 0;
        if (!known) rc = strs_push(&r->specials, o->special.v[i], err);
    }
    return rc;
}

static void warn_of_size(const struct run *r, const struct made *m) {
    uint32_t size = tokenizer_size(m->tokenizer);
    if (m->result.ran_out)
        log_warn(&r->t->log, "the text has no more pairs to merge%s: %u tokens instead of %u",
                 r->o->min_frequency > 1 ? " that occur so often" : "", size, m->vocab);
    else if (size > m->vocab)
        log_warn(&r->t->log, "%u tokens instead of %u: special tokens and the alphabet are needed",
                 size, m->vocab);
}

static int learn(struct run *r, struct err *err) {
    const struct options *o = r->o;
    struct bpe_train_opts b = {.specials = (const char *const *)r->specials.v,
                               .n_specials = r->specials.n,
                               .min_frequency = o->min_frequency,
                               .max_token_length = (uint32_t)o->max_token_length,
                               .seen_alphabet = strcmp(o->alphabet, "none") == 0,
                               .limit_alphabet = (uint32_t)o->limit_alphabet,
                               .byte_order = strcmp(o->tie, "bytes") == 0,
                               .pattern = o->pattern,
                               .like = o->like ? r->like : NULL,
                               .extend = o->extend ? r->like : NULL};
    struct tokenizer **t = mem_array(r->n_made, sizeof *t);
    uint32_t *sizes = mem_array(r->n_made, sizeof *sizes);
    struct bpe_train_result *res = mem_array(r->n_made, sizeof *res);
    int rc = t && sizes && res ? 0 : err_nomem(err, r->n_made * sizeof *res);
    for (size_t i = 0; i < r->n_made && rc == 0; i++) sizes[i] = r->made[i].vocab;
    if (rc == 0)
        rc = bpe_train_nested(t, sizes, r->n_made, r->words, &b, r->pool, &r->t->log, res, err);
    for (size_t i = 0; i < r->n_made && rc == 0; i++) {
        r->made[i].tokenizer = t[i];
        r->made[i].result = res[i];
        warn_of_size(r, &r->made[i]);
    }
    free(t);
    free(sizes);
    free(res);
    return rc;
}

static int hash_files(struct run *r) {
    if (!r->in->list.n) return 0;
    r->hash = mem_array(r->in->list.n, sizeof *r->hash);
    if (!r->hash) return err_nomem(&r->t->err, r->in->list.n * sizeof *r->hash);
    return pool_run(r->pool, r->in->list.n, hash_file, r, &r->t->err);
}

/* From the counted words to the folders. */
static int train(struct run *r) {
    struct err *err = &r->t->err;
    int rc = learn(r, err);
    for (size_t i = 0; i < r->n_made && rc == 0; i++)
        rc = tokenizer_save(r->made[i].tokenizer, r->made[i].folder, err);
    if (rc == 0) rc = hash_files(r);
    r->seconds = now() - r->begun;
    for (size_t i = 0; i < r->n_made && rc == 0; i++) rc = save_training(r, &r->made[i], err);
    return rc;
}

/* ------------------------------------------------------------------ what to make */

static int add_made(struct run *r, uint64_t vocab, char *folder, struct err *err) {
    struct made *m = mem_resize(r->made, r->n_made + 1, sizeof *m);
    if (m) r->made = m;
    if (!m || !folder) {
        free(folder);
        return err_nomem(err, sizeof *m);
    }
    m[r->n_made++] = (struct made){.vocab = (uint32_t)vocab, .folder = folder};
    return 0;
}

/* tok-12500, or 12500 in the folder that was asked for. */
static char *nested_folder(const struct options *o, uint64_t vocab) {
    struct buf b = {0};
    int rc = buf_printf(&b, NULL, o->output ? "%s/%llu" : "%s-%llu", o->output ? o->output : "tok",
                        (unsigned long long)vocab);
    if (rc == 0 && buf_cstr(&b)) return b.v;
    buf_release(&b);
    return NULL;
}

static int by_vocab(const void *x, const void *y) {
    const struct made *a = x, *b = y;
    return (a->vocab > b->vocab) - (a->vocab < b->vocab);
}

static int plan_nested(struct run *r, struct err *err) {
    char *list = strdup(r->o->nested), *rest = NULL;
    int rc = list ? 0 : err_nomem(err, strlen(r->o->nested));
    for (char *s = list; rc == 0 && (s = strtok_r(s, ",", &rest)); s = NULL) {
        uint64_t vocab;
        rc = parse_u64(s, &vocab, err);
        if (rc == 0 && (vocab == 0 || vocab > 0x7fffffff))
            rc = err_set(err, ERR_USAGE, "%s is no size of a vocabulary", s);
        if (rc == 0) rc = add_made(r, vocab, nested_folder(r->o, vocab), err);
    }
    free(list);
    if (rc == 0 && r->n_made == 0) rc = err_set(err, ERR_USAGE, "no sizes");
    if (rc < 0) return err_prefix(err, "--nested");
    qsort(r->made, r->n_made, sizeof *r->made, by_vocab);
    for (size_t i = 1; i < r->n_made; i++)
        if (r->made[i].vocab == r->made[i - 1].vocab)
            return err_set(err, ERR_USAGE, "--nested: %u stands there twice", r->made[i].vocab);
    return 0;
}

/* --extend takes all of a tokenizer, or nothing. */
static int check_extend(const struct options *o, struct err *err) {
    const char *other = NULL;
    if (o->like) other = "--like";
    if (o->pattern) other = "--pattern";
    if (o->no_special) other = "--no-special";
    if (strcmp(o->tie, "hf") != 0) other = "--tie";
    if (strcmp(o->alphabet, "bytes") != 0) other = "--initial-alphabet";
    if (o->limit_alphabet) other = "--limit-alphabet";
    return other ? err_set(err, ERR_USAGE, "--extend and %s exclude each other", other) : 0;
}

static int open_like(struct run *r, struct err *err) {
    const struct options *o = r->o;
    int rc = tokenizer_open(&r->like, o->extend ? o->extend : o->like,
                            &(struct tokenizer_open_opts){.log = &r->t->log}, err);
    for (size_t i = 0; i < r->n_made && rc == 0 && o->extend; i++)
        if (r->made[i].vocab <= tokenizer_size(r->like))
            return err_set(err, ERR_USAGE, "%s has %u tokens already: it cannot be extended to %u",
                           o->extend, tokenizer_size(r->like), r->made[i].vocab);
    return rc;
}

static int plan(struct run *r, bool vocab_given, struct err *err) {
    const struct options *o = r->o;
    int rc = o->extend ? check_extend(o, err) : 0;
    if (rc == 0 && o->pattern && (rc = pattern_check_names(o->pattern, err)) < 0)
        err_prefix(err, "--pattern");
    if (rc < 0) return rc;
    if (o->nested && vocab_given)
        return err_set(err, ERR_USAGE, "--nested and --vocab exclude each other");
    if (o->nested) return plan_nested(r, err);
    if (o->vocab) return add_made(r, o->vocab, strdup(o->output ? o->output : "tok"), err);
    if (!o->counts_out)
        return err_set(err, ERR_USAGE, "--vocab 0 only counts: where to, --counts-out?");
    return 0;
}

/* ------------------------------------------------------------------ the whole */

static int report_json(struct run *r) {
    cJSON *o = cJSON_CreateObject();
    if (!o) return err_nomem(&r->t->err, sizeof *o);
    if (r->n_made == 1) cJSON_AddStringToObject(o, "output", r->made->folder);
    if (r->o->counts_out) cJSON_AddStringToObject(o, "counts_out", r->o->counts_out);
    add_counts(o, r);
    if (r->n_made == 1) add_result(o, r->made);
    cJSON *list = r->n_made > 1 ? cJSON_AddArrayToObject(o, "vocabularies") : NULL;
    for (size_t i = 0; list && i < r->n_made; i++) {
        cJSON *m = cJSON_CreateObject();
        cJSON_AddItemToArray(list, m);
        cJSON_AddStringToObject(m, "output", r->made[i].folder);
        add_result(m, &r->made[i]);
    }
    cJSON_AddNumberToObject(o, "seconds", r->seconds);
    return tool_print_json(r->t, o);
}

static int report(struct run *r) {
    if (r->t->json) return report_json(r);
    if (r->t->quiet) return 0;
    FILE *out = tool_out(r->t);
    for (size_t i = 0; i < r->n_made || i == 0; i++) {
        const struct made *m = r->n_made ? &r->made[i] : NULL;
        fprintf(out, "%s: %llu texts, %.1f MB, %llu distinct words",
                m ? m->folder : r->o->counts_out, (unsigned long long)r->totals.documents,
                (double)r->totals.text_bytes / 1e6, (unsigned long long)r->distinct);
        if (m)
            fprintf(out, ", %llu merges, %u tokens", (unsigned long long)m->result.merges,
                    tokenizer_size(m->tokenizer));
        fprintf(out, ", %.1f s\n", r->seconds);
    }
    return 0;
}

static void run_release(struct run *r) {
    for (size_t i = 0; i < r->n_made; i++) {
        tokenizer_free(r->made[i].tokenizer);
        free(r->made[i].folder);
    }
    free(r->made);
    free(r->spill_dir);
    tokenizer_free(r->like);
    words_free(r->words);
    strs_release(&r->specials);
    free(r->hash);
    pool_free(r->pool);
}

static int run_train(struct tool *t, struct options *o, struct input *in, bool vocab_given) {
    struct run r = {.t = t, .o = o, .in = in, .begun = now()};
    int rc = plan(&r, vocab_given, &t->err);
    if (rc == 0) rc = pool_new(&r.pool, tool_threads(t), &t->err);
    if (rc == 0) r.spill_dir = path_dir(r.n_made ? r.made->folder : o->counts_out);
    if (rc == 0 && !r.spill_dir) rc = err_nomem(&t->err, 1);
    if (rc == 0 && (o->like || o->extend)) rc = open_like(&r, &t->err);
    if (rc == 0) rc = collect_specials(&r, &t->err);
    if (rc == 0) rc = name_inputs(&r, &t->err);
    if (rc == 0) rc = check_outputs(&r, &t->err);
    if (rc == 0) rc = count(&r, &t->err);
    r.seconds = now() - r.begun;
    if (rc == 0 && r.n_made) rc = train(&r);
    if (rc == 0) rc = report(&r);
    run_release(&r);
    return rc;
}

static const char text[] = "Counts the words of all documents (cut by GPT-2's pattern unless told "
                           "otherwise) and merges the "
                           "most frequent pair of tokens again and again, until the vocabulary is "
                           "full. The result is that "
                           "of HF tokenizers' train_new_from_iterator() for the same texts, "
                           "whatever the number of threads.\n"
                           "The output folder opens in transformers' AutoTokenizer, in tokenizers "
                           "and in tiktoken. The size "
                           "includes special tokens and the 256 bytes.";
static const char examples[] =
    "bpe-train --vocab 32768\tcorpus/ into tok/\n"
    "bpe-train --vocab 50257 --special '<|pad|>' data/*.jsonl.zst -o tok/\tanother special token\n"
    "bpe-train --like llama/tokenizer.json --vocab 64k\tLlama's pattern and special tokens\n"
    "bpe-train --extend gpt2/ --vocab 60000 corpus/\tGPT-2's vocabulary and 9743 tokens more\n"
    "bpe-train --nested 12500,32768,50257\ttok-12500/, tok-32768/ and tok-50257/ from one run\n"
    "bpe-train --mode lines --min-frequency 2 text/\tas HF's train() from text files\n"
    "bpe-train part-1/ --vocab 0 --counts-out 1.tsv\tcounts only, to be spread over machines\n"
    "bpe-train --from-counts *.tsv --vocab 8192\tfrom all counted words, added up";

int main(int argc, char **argv) {
    struct options o = {.vocab = 32768, .mode = "docs", .tie = "hf", .alphabet = "bytes"};
    struct input in = {.opts = docs_defaults};
    enum { VOCAB = 1 }; /* its place in the table */
    struct opt opts[48] = {
        {"Vocabulary", .type = OPT_GROUP},
        {"vocab", 0, OPT_U64, &o.vocab, "N",
         "tokens in all: specials and the 256 bytes included (0: count only)", .max = 0x7fffffff},
        {"nested", 0, OPT_STR, &o.nested, "N,N…",
         "several sizes from one run, into tok-N/ each, or into N/ in --output"},
        {"like", 0, OPT_STR, &o.like, "TOK",
         "pattern, special tokens and settings of this tokenizer, not GPT-2's"},
        {"extend", 0, OPT_STR, &o.extend, "TOK",
         "keep this vocabulary as it is and go on, to --vocab tokens in all"},
        {"special", 0, OPT_STRS, &o.special, "TEXT",
         "a special token after <|endoftext|>, or after those of --like (repeatable)"},
        {"no-special", 0, OPT_FLAG, &o.no_special, NULL, "no special tokens but those given"},
        {"min-frequency", 0, OPT_U64, &o.min_frequency, "N", "merge only pairs that occur so often",
         .max = 1e18},
        {"max-token-length", 0, OPT_U64, &o.max_token_length, "N",
         "tokens stay shorter than this many bytes (0: no limit)", .max = 0x7fffffff},
        {"initial-alphabet", 0, OPT_CHOICE, &o.alphabet, "WHICH",
         "tokens from the start: all 256 bytes, or none but those that occur",
         .choices = "bytes|none"},
        {"limit-alphabet", 0, OPT_U64, &o.limit_alphabet, "N",
         "only the N most frequent bytes; of equals those first in HF's order; others are left out",
         .max = 256},
        {"tie", 0, OPT_CHOICE, &o.tie, "ORDER",
         "of the bytes' ids, which decide among equal counts: HF's, or by value as rustbpe's",
         .choices = "hf|bytes"},
        {"pattern", 0, OPT_STR, &o.pattern, "NAME|REGEX",
         "how text is cut: gpt2 (the default), cl100k, o200k, llama3, qwen2, starcoder, or an "
         "expression; of several, a line each, each cuts what the one before left"},
        {"mode", 0, OPT_CHOICE, &o.mode, "UNIT", "a text is a document, or each line of one",
         .choices = "docs|lines"},
        {"from-counts", 0, OPT_STRS, &o.from_counts, "FILE",
         "lines COUNT<TAB>WORD (\\xHH for a byte) instead of sources; operands are such files too"},
        {"counts-out", 0, OPT_STR, &o.counts_out, "FILE",
         "also write the words and their counts, for --from-counts"},
        {"memory", 0, OPT_U64, &o.memory, "SIZE",
         "for counted words; those that are more go to disk, beside the output (0: no bound)",
         .min = 0, .max = 1e18},
        TOOL_OUTPUT(&o.output, "folder to write (tok)"),
        {"Reading", .type = OPT_GROUP},
        {"docs", 0, OPT_U64, &in.opts.take, "N", "the same as --take: stop after N documents",
         .max = 1e18}};
    size_t n = 0;
    while (opts[n].type != OPT_END) n++;
    docs_option_rows(opts + n, sizeof opts / sizeof *opts - n - 1, &in.opts);
    in.opts.text_only = true;
    struct program p = {.name = "bpe-train",
                        .summary = "trains a byte-level BPE tokenizer",
                        .usage = "[SOURCE…] --vocab 32768 [-o tok/]",
                        .text = text,
                        .examples = examples,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_train(&t, &o, &in, opts[VOCAB].given);
    input_release(&in);
    return tool_end(&t, rc);
}
