/* Merging a piece without merging: at each place the longest token that goes with the one before,
 * and if none does, one token back.
 *
 *   piece   abstract    "abs" is the longest, then "tract"; but alone the bytes of these two become
 *                       others, and nor does "abs" go with shorter ones; "ab", then "stract": done
 *
 * Two tokens go together if their bytes become these two: nothing goes across before both are there
 * (splits_meet()), and then they are no pair. Ids of which all neighbours go together are what the
 * whole becomes, whatever way they were found: the first merge across a boundary in the whole would
 * be there with the two around it alone, too, as splits.h tells. So up to any place of the piece
 * there is one such sequence at most, and where the search came to nothing it need not go again.
 * Where it takes long, or would need a token of which nothing is sure, the piece is merged.
 *
 * A token costs as much, however long it is: this is for pieces of long words. */
#include <stdlib.h>
#include "tokenizer/bpe.h"
#include "tokenizer/pages.h"
#include "tokenizer/splits.h"

enum { BACK_MOST = 64, NO_ID = 0xFFFFFF /* of 24 bits */ };

/* `shorter` in a split: the longest token with which this one begins << 8 | its own length. */
static inline size_t length(const struct split *s) {
    return s->shorter & 255;
}
static inline uint32_t shorter(const struct split *s) {
    return s->shorter >> 8;
}

/* ------------------------------------------------------------------ the table */

/* The longest token with which token `id`, which is in the tree, begins. */
static uint32_t find_shorter(const struct tokenizer *t, const struct trie *trie, uint32_t id) {
    size_t n;
    const uint8_t *p = vocab_token(t, id, &n);
    while (--n > TRIE_DEPTH) {
        uint32_t other = finder_get(&t->finder, t, p, n);
        if (other != TOKENIZER_NO_ID) return other;
    }
    return trie->shorter[id];
}

static int fill(struct longest *l, const struct tokenizer *t, struct err *err) {
    int rc = vocab_trie(&l->trie, t, err);
    if (rc < 0 || !l->trie || !l->trie->slot || !t->all_bytes || t->n > NO_ID) return rc;
    l->of = pages_array(t->n, sizeof *l->of);
    if (!l->of) return err_nomem(err, t->n * sizeof *l->of);
    rc = splits_find(t, l->of, err);
    for (uint32_t id = 0; id < t->n && rc >= 0; id++) {
        struct split *s = &l->of[id];
        const uint64_t n = vocab_length(t, id);
        bool has = n > 1 && n <= SPLITS_BYTES && t->kind[id] & TOKEN_MODEL &&
                   (n > TRIE_DEPTH || s->since != SPLITS_NEVER);
        s->shorter = (has ? find_shorter(t, l->trie, id) : NO_ID) << 8 | (uint8_t)n;
    }
    return rc;
}

int longest_new(struct longest **ret, const struct tokenizer *t, struct err *err) {
    struct longest *l = calloc(1, sizeof *l);
    if (!l) return err_nomem(err, sizeof *l);
    int rc = fill(l, t, err);
    if (rc < 0 || !l->trie) {
        longest_free(l);
        return rc;
    }
    *ret = l;
    return 0;
}

void longest_free(struct longest *l) {
    if (l) free(l->of);
    free(l);
}

/* ------------------------------------------------------------------ the search */

/* The longest token beyond TRIE_DEPTH bytes that p[0..most) begins with, or TOKENIZER_NO_ID. */
static __attribute__((noinline)) uint32_t find_long(const struct tokenizer *t, const uint8_t *p,
                                                    size_t most) {
    for (; most > TRIE_DEPTH; most--) {
        uint32_t id = finder_get(&t->finder, t, p, most);
        if (id != TOKENIZER_NO_ID) return id;
    }
    return TOKENIZER_NO_ID;
}

/* The longest token that p[0..n) begins with, n > 0. */
static inline uint32_t find(const struct tokenizer *t, const struct trie *trie, const uint8_t *p,
                            size_t n) {
    const size_t most = n < TRIE_DEPTH ? n : TRIE_DEPTH;
    if (n == 1) return t->byte_id[*p];
    uint64_t node = trie->two[p[0] << 8 | p[1]];
    uint32_t order = trie_order(node);
    size_t depth = 2;
    while (depth < most && trie_children(node) >> (p[depth] & 7) & 1) {
        uint64_t child = trie->slot[trie_base(node) + p[depth]];
        if (trie_label(child) != p[depth]) break;
        node = child;
        order = trie_order(node) == TRIE_NONE ? order : trie_order(node);
        depth++;
    }
    if (__builtin_expect(depth == TRIE_DEPTH && trie_children(node), 0)) {
        uint32_t id = find_long(t, p, trie_base(node) < n ? trie_base(node) : n);
        if (id != TOKENIZER_NO_ID) return id;
    }
    if (order == TRIE_NONE) return t->byte_id[*p];
    return t->by_rank ? order - 1 : vocab_merged(t, order - 1);
}

bool bpe_merge_longest(const struct tokenizer *t, const struct longest *l, const uint8_t *piece,
                       size_t n, uint32_t *out, size_t *ret_n) {
    uint64_t dead[BPE_LONGEST_MOST / 64 + 1]; /* bits: from here on the search came to nothing */
    size_t n_ids = 0, at = 0, back = 0;
    memset(dead, 0, (n / 64 + 1) * sizeof *dead);
    uint32_t id = find(t, l->trie, piece, n);
    while (at < n) {
        const struct split *s = NULL;
        for (; id != NO_ID; id = shorter(s)) {
            s = &l->of[id];
            size_t end = at + length(s);
            if (s->since >= SPLITS_UNSURE || dead[end / 64] >> end % 64 & 1) continue;
            if (!n_ids || (pairs_get(&t->pairs, out[n_ids - 1], id) == PAIRS_NONE &&
                           splits_meet(l->of, &t->pairs, out[n_ids - 1], id)))
                break;
        }
        if (__builtin_expect(id != NO_ID, 1)) {
            out[n_ids++] = id;
            at += length(s);
            if (at < n) id = find(t, l->trie, piece + at, n - at);
        } else {
            if (!n_ids || ++back > BACK_MOST) return false;
            dead[at / 64] |= 1ull << at % 64;
            s = &l->of[out[--n_ids]];
            at -= length(s);
            id = shorter(s);
        }
    }
    *ret_n = n_ids;
    return true;
}
