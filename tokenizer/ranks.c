/* Which merges ranks of tokens mean: see ranks.h. */
#include "tokenizer/ranks.h"

#include <stdlib.h>
#include "tokenizer/bpe.h"
#include "tokenizer/finder.h"
#include "tokenizer/splits.h"

/* ------------------------------------------------------------------ what comes to pass */

/* Tokens whose bytes are merged side by side, and what they come to. */
struct beside {
    size_t n;
    uint32_t id[BPE_MANY];
    struct bpe_short piece[BPE_MANY];
    struct bpe_short_ids ids[BPE_MANY];
};

/* The bytes of token `id` have come to these two. */
static void made(struct tokenizer *t, uint32_t id, uint32_t left, uint32_t right) {
    const struct split *l = &t->split[left], *r = &t->split[right];
    const uint32_t since = id + 1;
    bool unsure = vocab_length(t, id) > SPLITS_BYTES || since < l->since || since < r->since;
    unsure |= l->since == SPLITS_UNSURE || r->since == SPLITS_UNSURE;
    t->split[id] = (struct split){left, right, unsure ? SPLITS_UNSURE : since, 0};
    pairs_set(&t->pairs, left, right, id);
}

static void learn_pair_of_bytes(struct tokenizer *t, uint32_t id) {
    const uint8_t *p = t->bytes + t->start[id];
    const uint32_t left = t->byte_id[p[0]], right = t->byte_id[p[1]];
    if (left == TOKENIZER_NO_ID || right == TOKENIZER_NO_ID) return;
    t->byte_ranks[p[0] << 8 | p[1]] = id;
    made(t, id, left, right);
}

/* All of a `b`, which have one length. */
static void learn_beside(struct tokenizer *t, bpe_many_fn many, struct beside *b) {
    uint8_t where[BPE_MANY];
    for (size_t i = 0; i < b->n; i++) where[i] = (uint8_t)i;
    many(t, b->piece, b->n, b->ids, where);
    for (size_t i = 0; i < b->n; i++)
        if (b->ids[i].n == 2) pairs_expect(&t->pairs, b->ids[i].id[0], b->ids[i].id[1]);
    for (size_t i = 0; i < b->n; i++)
        if (b->ids[i].n == 2) made(t, b->id[i], b->ids[i].id[0], b->ids[i].id[1]);
    b->n = 0;
}

/* Tokens v[0..n) of `len` bytes, side by side. */
static void learn_short(struct tokenizer *t, bpe_many_fn many, const uint32_t *v, size_t n,
                        size_t len) {
    struct beside b = {.n = 0};
    for (size_t i = 0; i < n; i++) {
        struct bpe_short *piece = &b.piece[b.n];
        memcpy(piece->text, t->bytes + t->start[v[i]], len);
        piece->n = (uint32_t)len;
        b.id[b.n++] = v[i];
        if (b.n == BPE_MANY) learn_beside(t, many, &b);
    }
    if (b.n) learn_beside(t, many, &b);
}

static bool has_bytes(const struct tokenizer *t, const uint8_t *p, size_t n) {
    bool has = true;
    for (size_t i = 0; i < n; i++) has &= t->byte_id[p[i]] != TOKENIZER_NO_ID;
    return has;
}

/* The same, one by one. */
static int learn_each(struct tokenizer *t, const uint32_t *v, size_t n, size_t len,
                      struct err *err) {
    struct bpe_scratch scratch = {0};
    struct u32s ids = {0};
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        const uint8_t *p = t->bytes + t->start[v[i]];
        if (!has_bytes(t, p, len)) continue;
        ids.n = 0;
        rc = bpe_merge_whole(t, &scratch, p, len, &ids, err);
        if (rc >= 0 && ids.n == 2) made(t, v[i], ids.v[0], ids.v[1]);
    }
    bpe_scratch_release(&scratch);
    u32s_release(&ids);
    return rc;
}

static bool all_made(const struct tokenizer *t) {
    for (uint32_t id = 0; id < t->n; id++)
        if (t->kind[id] & TOKEN_MODEL && t->split[id].since == SPLITS_NEVER) return false;
    return true;
}

/* Tokens v[0..n) of `len` bytes, of whose parts all is known. */
static int learn(struct tokenizer *t, const uint32_t *v, size_t n, size_t len, struct err *err) {
    const bpe_many_fn many = bpe_many_at(t, 0);
    if (len == 2) {
        for (size_t i = 0; i < n; i++) learn_pair_of_bytes(t, v[i]);
        return 0;
    }
    if (!many || len > BPE_MANY_BYTES) return learn_each(t, v, n, len, err);
    learn_short(t, many, v, n, len);
    return 0;
}

/* Keeps those of v[0..n) that merging may make; returns how many. */
static size_t keep_longer_than_bytes(const struct tokenizer *t, uint32_t *v, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        v[kept] = v[i];
        kept += t->kind[v[i]] & TOKEN_MODEL && vocab_length(t, v[i]) > 1;
    }
    return kept;
}

int ranks_learn(struct tokenizer *t, struct err *err) {
    uint32_t *order;
    int rc = splits_by_length(t, &order, err);
    if (rc < 0) return rc;
    for (uint32_t id = 0; id < t->n; id++) t->split[id].since = SPLITS_NEVER;
    for (int b = 0; b < 256; b++)
        if (t->byte_id[b] != TOKENIZER_NO_ID) t->split[t->byte_id[b]].since = 0;
    const size_t n = keep_longer_than_bytes(t, order, t->n);
    for (size_t from = 0, to; from < n && rc >= 0; from = to) {
        const size_t len = (size_t)vocab_length(t, order[from]);
        for (to = from + 1; to < n && vocab_length(t, order[to]) == len;) to++;
        rc = learn(t, order + from, to - from, len, err);
    }
    if (rc >= 0) t->all_made = all_made(t);
    free(order);
    return rc;
}

/* ------------------------------------------------------------------ all splits */

/* A cut of a token, and the keys of both parts. */
struct cut {
    uint32_t id, at;
    struct finder_key left, right;
};

/* Cuts that wait until memory has answered for all of them, and the splits found so far. */
struct cuts {
    struct cut v[64];
    size_t n;
    struct merge *merge;
    uint64_t n_merges, cap;
};

enum { CUTS_MOST = sizeof((struct cuts *)0)->v / sizeof(struct cut), CUTS_AT_ONCE = 16 };

/* Looks the cuts up. The splits of a token are sorted by (left, right); its lefts differ. */
static void find_cuts(const struct tokenizer *t, struct cuts *c) {
    const struct finder *f = &t->finder;
    for (const struct cut *k = c->v; k < c->v + c->n; k++) {
        size_t len;
        const uint8_t *p = vocab_token(t, k->id, &len);
        uint32_t l = finder_probe(f, t, &k->left, p, k->at), r;
        if (l == TOKENIZER_NO_ID) continue;
        r = finder_probe(f, t, &k->right, p + k->at, len - k->at);
        if (r == TOKENIZER_NO_ID) continue;
        struct merge *m = c->merge + c->n_merges++;
        for (; m > c->merge && m[-1].result == k->id && m[-1].left > l; m--) *m = m[-1];
        *m = (struct merge){.left = l, .right = r, .result = k->id};
    }
    c->n = 0;
}

/* Adds the cuts at from … to of a token, at most CUTS_AT_ONCE, of which both parts may be tokens:
 * most are told by the filter, without a branch. Asks for the slots of the others. */
static void add_cuts(const struct tokenizer *t, struct cuts *c, uint32_t id, size_t from,
                     size_t to) {
    const struct finder *f = &t->finder;
    size_t len, n_left = 0;
    const uint8_t *p = vocab_token(t, id, &len);
    struct cut *v = c->v + c->n, *end = v;
    for (size_t at = from; at < to; at++) {
        v[n_left] = (struct cut){.id = id, .at = (uint32_t)at, .left = finder_key(p, at)};
        n_left += finder_may(f, &v[n_left].left);
    }
    for (size_t i = 0; i < n_left; i++) {
        *end = v[i];
        end->right = finder_key(p + end->at, len - end->at);
        finder_expect(f, &end->left);
        finder_expect(f, &end->right);
        end += finder_may(f, &end->right);
    }
    c->n = (size_t)(end - c->v);
}

static int add_token(const struct tokenizer *t, struct cuts *c, uint32_t id, struct err *err) {
    const uint64_t len = vocab_length(t, id), most = c->n_merges + c->n + len;
    if (most > c->cap) {
        uint64_t to = 2 * most + t->n;
        struct merge *more = mem_resize(c->merge, to, sizeof *more);
        if (!more) return err_nomem(err, to * sizeof *more);
        c->merge = more;
        c->cap = to;
    }
    for (size_t from = 1; from < len; from += CUTS_AT_ONCE) {
        if (c->n + CUTS_AT_ONCE > CUTS_MOST) find_cuts(t, c);
        add_cuts(t, c, id, from, len - from < CUTS_AT_ONCE ? len : from + CUTS_AT_ONCE);
    }
    return 0;
}

int ranks_list(const struct tokenizer *t, struct merge **ret, uint64_t *ret_n, struct err *err) {
    struct cuts c = {.n = 0};
    int rc = 0;
    for (uint32_t id = 0; id < t->n && rc >= 0; id++)
        if (t->kind[id] & TOKEN_MODEL) rc = add_token(t, &c, id, err);
    if (rc < 0) {
        free(c.merge);
        return rc;
    }
    find_cuts(t, &c);
    *ret = c.merge;
    *ret_n = c.n_merges;
    return 0;
}
