/* bpe-train: text into a vocabulary.
 *
 *   sources ─▶ documents ─▶ words (a table per thread) ─▶ merges ─▶ tok/, training.json last */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "tools/bpe-train_parts.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ------------------------------------------------------------------ counting */

static void show_counting(struct bpe_run *r) {
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
    struct bpe_run *r = ctx;
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

static int count_documents(struct bpe_run *r, struct err *err) {
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

static int count(struct bpe_run *r, struct err *err) {
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

/* ------------------------------------------------------------------ training */

/* Tokens behind the vocabulary, which --vocab does not count: added ones of --like. */
static uint32_t count_kept(const struct tokenizer *t) {
    const struct special *s;
    uint32_t n = tokenizer_specials(t, &s), size = tokenizer_size(t), kept = 0;
    while (kept < n && s[n - kept - 1].id == size - kept - 1 && !s[n - kept - 1].special) kept++;
    return kept;
}

static void warn_of_size(const struct bpe_run *r, const struct made *m) {
    uint32_t kept = r->o->like ? count_kept(m->tokenizer) : 0;
    uint32_t size = tokenizer_size(m->tokenizer) - kept;
    if (kept)
        log_info(&r->t->log, "%u added tokens of --like come behind the vocabulary: %u in all",
                 kept, size + kept);
    if (m->result.ran_out)
        log_warn(&r->t->log, "the text has no more pairs to merge%s: %u tokens instead of %u",
                 r->o->min_frequency > 1 ? " that occur so often" : "", size, m->vocab);
    else if (size > m->vocab)
        log_warn(&r->t->log, "%u tokens instead of %u: special tokens and the alphabet are needed",
                 size, m->vocab);
}

static int learn(struct bpe_run *r, struct err *err) {
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

/* From the counted words to the folders. */
static int train(struct bpe_run *r) {
    struct err *err = &r->t->err;
    int rc = learn(r, err);
    for (size_t i = 0; i < r->n_made && rc == 0; i++)
        rc = tokenizer_save(r->made[i].tokenizer, r->made[i].folder, err);
    if (rc == 0) rc = bpe_hash(r, err);
    r->seconds = now() - r->begun;
    return rc < 0 ? rc : bpe_record(r, err);
}

/* ------------------------------------------------------------------ the whole */

static void run_release(struct bpe_run *r) {
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
    struct bpe_run r = {.t = t, .o = o, .in = in, .begun = now()};
    int rc = bpe_plan(&r, vocab_given, &t->err);
    if (rc == 0) rc = pool_new(&r.pool, tool_threads(t), &t->err);
    if (rc == 0) rc = count(&r, &t->err);
    r.seconds = now() - r.begun;
    if (rc == 0 && r.n_made) rc = train(&r);
    if (rc == 0) rc = bpe_report(&r);
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
         "pattern, special tokens and settings of this tokenizer, not GPT-2's; its other added "
         "tokens come behind those of --vocab"},
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
         .max = 0x7fffffff},
        {"tie", 0, OPT_CHOICE, &o.tie, "ORDER",
         "of the bytes' ids, which decide among equal counts: HF's, or by value as rustbpe's",
         .choices = "hf|bytes"},
        {"pattern", 0, OPT_STR, &o.pattern, "NAME|REGEX",
         "how text is cut: gpt2 (the default), cl100k, o200k, llama3, qwen2, qwen3.5, starcoder, "
         "or an expression; of several, a line each, each cuts what the one before left"},
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
