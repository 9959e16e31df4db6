/* Going on from a vocabulary that exists (HF has no such thing; asked for in tokenizers#627, #839):
 *
 *   id    0 … n-1                    n …              …
 *         the old vocabulary         new specials     new merges
 *
 * All old ids and merges stay as they are. Words begin as the old tokenizer encodes them, and new
 * merges follow the old ones in rank, so a text is encoded as before with some neighbours joined.
 * A pair that spells an old token is passed over: the old vocabulary had its way with that text. */
#include <stdlib.h>
#include "tokenizer/bytemap.h"
#include "tokenizer/merges_vocab.h"
#include "tokenizer/vocab.h"

static int copy_tokens(struct merges_vocab *v, const struct tokenizer *old, struct err *err) {
    const struct merge *merges;
    uint64_t n_merges;
    int rc = buf_append(&v->bytes, old->bytes, old->start[old->n], err);
    if (rc == 0) rc = u64s_append(&v->start, old->start, (size_t)old->n + 1, err);
    for (uint32_t id = 0; id < old->n && rc == 0; id++) {
        uint64_t len = old->start[id + 1] - old->start[id];
        if (len > v->longest) v->longest = (size_t)len;
        rc = u32s_push(&v->len, (uint32_t)len, err);
    }
    if (rc == 0) rc = tokenizer_merges(old, &merges, &n_merges, err);
    if (rc == 0 && !(v->merge = mem_array(n_merges + 1, sizeof *v->merge)))
        rc = err_nomem(err, n_merges * sizeof *v->merge);
    if (rc < 0) return rc;
    if (n_merges) memcpy(v->merge, merges, n_merges * sizeof *v->merge);
    v->n = old->n;
    v->n_merges = v->cap_merges = v->old_merges = n_merges;
    for (int b = 0; b < 256; b++) {
        v->byte_id[b] = old->byte_id[b];
        if (v->byte_id[b] == TOKENIZER_NO_ID)
            return err_set(err, ERR_USAGE,
                           "the vocabulary has no token for the byte %02x: it cannot be extended",
                           (unsigned)b);
    }
    return 0;
}

static bool is_special(const struct tokenizer *old, uint32_t id) {
    for (uint32_t i = 0; i < old->n_specials; i++)
        if (old->specials[i].id == id) return true;
    return false;
}

/* A special that the old vocabulary has is no new one. */
static int check_special(const struct tokenizer *old, const char *text, bool *ret_known,
                         struct err *err) {
    struct buf spelt = {0};
    uint32_t id = tokenizer_named(old, text);
    *ret_known = id != TOKENIZER_NO_ID && is_special(old, id);
    if (*ret_known) return 0;
    int rc = bytemap_read(&spelt, text, strlen(text), err);
    if (rc > 0) id = tokenizer_find(old, spelt.v, spelt.n);
    buf_release(&spelt);
    if (rc < 0 || id == TOKENIZER_NO_ID) return rc < 0 ? rc : 0;
    return err_set(err, ERR_USAGE, "the special token %s is already an ordinary token, %u", text,
                   id);
}

int merges_vocab_extend(struct merges_vocab *v, const struct bpe_train_opts *opts,
                        struct err *err) {
    const struct tokenizer *old = opts->extend;
    v->old = old;
    int rc = copy_tokens(v, old, err);
    for (size_t i = 0; rc == 0 && i < opts->n_specials; i++) {
        bool known;
        rc = check_special(old, opts->specials[i], &known, err);
        if (rc == 0 && !known) rc = merges_vocab_add_special(v, opts->specials[i], err);
    }
    if (rc == 0 && !(v->joined = mem_array(v->longest, 1))) rc = err_nomem(err, v->longest);
    if (rc == 0) rc = merges_vocab_build(v, opts, &v->base, err);
    return rc == 0 ? encoder_new(&v->encoder, v->base, err) : rc;
}

bool merges_vocab_taken(const struct merges_vocab *v, uint32_t left, uint32_t right) {
    size_t nl = (size_t)(v->start.v[left + 1] - v->start.v[left]);
    size_t nr = (size_t)(v->start.v[right + 1] - v->start.v[right]);
    if (!v->old) return false;
    if (merges_vocab_spells_special(v, left, right)) return true;
    if (nl + nr > v->longest) return false;
    memcpy(v->joined, v->bytes.v + v->start.v[left], nl);
    memcpy(v->joined + nl, v->bytes.v + v->start.v[right], nr);
    return tokenizer_find(v->old, v->joined, nl + nr) != TOKENIZER_NO_ID;
}

/* ------------------------------------------------------------------ making it */

static int set_tokens(struct tokenizer *t, const struct merges_vocab *v, struct err *err) {
    uint8_t *bytes = mem_array(v->bytes.n, 1), *kind = mem_array(v->n, 1);
    uint64_t *start = mem_array((size_t)v->n + 1, sizeof *start);
    uint32_t n_old = v->old->n;
    if (!bytes || !kind || !start) {
        free(bytes);
        free(kind);
        free(start);
        return err_nomem(err, v->bytes.n);
    }
    if (v->bytes.n) memcpy(bytes, v->bytes.v, v->bytes.n);
    memcpy(start, v->start.v, ((size_t)v->n + 1) * sizeof *start);
    memcpy(kind, v->old->kind, n_old);
    for (uint32_t id = n_old + (uint32_t)v->special.n; id < v->n; id++) kind[id] = TOKEN_MODEL;
    return vocab_set_tokens(t, v->n, bytes, start, kind, err);
}

static int set_specials(struct tokenizer *t, const struct merges_vocab *v, struct err *err) {
    const struct tokenizer *old = v->old;
    uint32_t n = old->n_specials;
    struct special *list = mem_array(n + v->special.n + 1, sizeof *list);
    if (!list) return err_nomem(err, n * sizeof *list);
    if (n) memcpy(list, old->specials, n * sizeof *list);
    for (size_t i = 0; i < v->special.n; i++)
        list[n++] =
            (struct special){.id = old->n + (uint32_t)i, .text = v->special.v[i], .special = true};
    int rc = vocab_set_specials(t, list, n, err);
    free(list);
    return rc;
}

int merges_vocab_build_extended(const struct merges_vocab *v, struct tokenizer **ret,
                                struct err *err) {
    struct tokenizer *t = vocab_new();
    *ret = NULL;
    if (!t) return err_nomem(err, sizeof *t);
    int rc = set_tokens(t, v, err);
    if (rc == 0) rc = set_specials(t, v, err);
    struct merge *m = rc == 0 ? mem_array(v->n_merges + 1, sizeof *m) : NULL;
    if (rc == 0 && !m) rc = err_nomem(err, v->n_merges * sizeof *m);
    if (m && v->n_merges) memcpy(m, v->merge, v->n_merges * sizeof *m);
    if (rc == 0) rc = vocab_set_merges(t, m, v->n_merges, err);
    if (rc == 0) rc = vocab_set_pattern(t, tokenizer_pattern(v->old), err);
    if (rc == 0) rc = merges_vocab_like(t, v->old, err);
    t->ignore_merges = v->old->ignore_merges;
    if (rc == 0)
        *ret = t;
    else
        tokenizer_free(t);
    return rc;
}
