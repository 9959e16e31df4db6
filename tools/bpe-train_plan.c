/* What bpe-train is to make, and of what; all that can be refused before a word is counted. */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "tokenizer/pattern.h"
#include "tools/bpe-train_parts.h"
#include "tools/outputs.h"

/* ------------------------------------------------------------------ vocabularies */

static int add_made(struct bpe_run *r, uint64_t vocab, char *folder, struct err *err) {
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

static int plan_nested(struct bpe_run *r, struct err *err) {
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

static int open_like(struct bpe_run *r, struct err *err) {
    const struct options *o = r->o;
    int rc = tokenizer_open(&r->like, o->extend ? o->extend : o->like,
                            &(struct tokenizer_open_opts){.log = &r->t->log}, err);
    for (size_t i = 0; i < r->n_made && rc == 0 && o->extend; i++)
        if (r->made[i].vocab <= tokenizer_size(r->like))
            return err_set(err, ERR_USAGE, "%s has %u tokens already: it cannot be extended to %u",
                           o->extend, tokenizer_size(r->like), r->made[i].vocab);
    return rc;
}

static int choose_sizes(struct bpe_run *r, bool vocab_given, struct err *err) {
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

/* Those of --like (or <|endoftext|>), then those given. The trainer passes over repeats. */
static int collect_specials(struct bpe_run *r, struct err *err) {
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

/* ------------------------------------------------------------------ inputs and outputs */

/* The sources, or files of counts, also those among the operands: --from-counts *.tsv */
static int name_inputs(struct bpe_run *r, struct err *err) {
    struct strs *counts = &r->o->from_counts;
    int rc = 0;
    if (!counts->n) return input_resolve(r->in, r->t, "corpus");
    for (size_t i = 0; i < r->t->operands->n && rc == 0; i++)
        rc = strs_push(counts, r->t->operands->v[i], err);
    return rc;
}

/* Whether `path` is read. */
static int check_output(void *ctx, const char *path, struct err *err) {
    const struct bpe_run *r = ctx;
    const char *like = r->o->extend ? r->o->extend : r->o->like;
    int rc = input_check_output(&r->in->list, path, err);
    for (size_t i = 0; i < r->o->from_counts.n && rc == 0; i++)
        rc = output_check(path, r->o->from_counts.v[i], err);
    return rc == 0 && like ? input_check_tokenizer(like, path, err) : rc;
}

static int check_outputs(struct bpe_run *r, struct err *err) {
    static const char *const more[] = {TRAINING, NULL};
    int rc = r->o->counts_out ? check_output(r, r->o->counts_out, err) : 0;
    for (size_t i = 0; i < r->n_made && rc == 0; i++) {
        rc = output_each(r->made[i].folder, tokenizer_files, check_output, r, err);
        if (rc == 0) rc = output_each(r->made[i].folder, more, check_output, r, err);
    }
    return rc;
}

int bpe_plan(struct bpe_run *r, bool vocab_given, struct err *err) {
    const struct options *o = r->o;
    int rc = choose_sizes(r, vocab_given, err);
    if (rc == 0) r->spill_dir = path_dir(r->n_made ? r->made->folder : o->counts_out);
    if (rc == 0 && !r->spill_dir) rc = err_nomem(err, 1);
    if (rc == 0 && (o->like || o->extend)) rc = open_like(r, err);
    if (rc == 0) rc = collect_specials(r, err);
    if (rc == 0) rc = name_inputs(r, err);
    return rc < 0 ? rc : check_outputs(r, err);
}
