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
 * A token costs as much, however long it is: this is for pieces of long words, rules and blanks. */
#include <stdlib.h>
#include "tokenizer/bpe.h"
#include "tokenizer/pages.h"
#include "tokenizer/splits.h"

enum {
    BACK_MOST = 64, /* times one token back, and for every so many bytes once more: */
    BACK_SHARE = 4,
    NO_ID = 0xFFFFFF /* of 24 bits */
};

/* `shorter` in a split: the longest token with which this one begins << 8 | its own length. */
static inline size_t length(const struct split *s) {
    return s->shorter & 255;
}
static inline uint32_t shorter(const struct split *s) {
    return s->shorter >> 8;
}

/* ------------------------------------------------------------------ the table */

/* Tokens of more than TRIE_DEPTH bytes that have the first TRIE_DEPTH in common: their lengths.
 * Rules and blanks are tokens of up to 128 equal bytes, of nearly every length: one of these is the
 * longest that the run in the text has room for. A token that goes on otherwise is longer than the
 * run. So few have to be asked for. */
struct long_tokens {
    uint8_t begin[TRIE_DEPTH];
    uint64_t equal[4], others[4]; /* bits by length: of equal bytes all of it, or not */
};
enum { LONG_MOST = 255 };

static inline uint64_t hash_begin(const uint8_t *p) {
    uint64_t a, b;
    memcpy(&a, p, sizeof a);
    memcpy(&b, p + sizeof a, sizeof b);
    const uint64_t h = (a ^ b >> 29 ^ b << 35) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}
static inline bool no_tokens(const struct long_tokens *l) {
    return !(l->equal[0] | l->equal[1] | l->equal[2] | l->equal[3] | l->others[0] | l->others[1] |
             l->others[2] | l->others[3]);
}
/* Those that begin as p does, or the place where they belong. */
static inline struct long_tokens *find_begin(const struct longest *l, const uint8_t *p) {
    size_t i = hash_begin(p) & l->long_mask;
    while (!no_tokens(&l->long_tokens[i]) && memcmp(l->long_tokens[i].begin, p, TRIE_DEPTH))
        i = (i + 1) & l->long_mask;
    return &l->long_tokens[i];
}
/* How many of p[0..n) are equal from the first on. */
static inline size_t run_length(const uint8_t *p, size_t n) {
    size_t i = 1;
    while (i < n && p[i] == *p) i++;
    return i;
}
/* The largest number below `end` of which the bit is set, or 0. */
static inline size_t bit_below(const uint64_t v[4], size_t end) {
    size_t w = end < 256 ? end / 64 : 4;
    uint64_t x = w < 4 ? v[w] & ((1ull << end % 64) - 1) : 0;
    while (!x && w) x = v[--w];
    return x ? w * 64 + 63 - (size_t)__builtin_clzll(x) : 0;
}

static int fill_long(struct longest *l, const struct tokenizer *t, struct err *err) {
    size_t n_long = 0, cap = 16;
    for (uint32_t id = 0; id < t->n; id++) n_long += vocab_length(t, id) > TRIE_DEPTH;
    while (cap < 2 * n_long) cap *= 2;
    l->long_tokens = mem_array(cap, sizeof *l->long_tokens);
    if (!l->long_tokens) return err_nomem(err, cap * sizeof *l->long_tokens);
    l->long_mask = cap - 1;
    for (uint32_t id = 0; id < t->n; id++) {
        size_t n;
        const uint8_t *p = vocab_token(t, id, &n);
        if (n <= TRIE_DEPTH || n > LONG_MOST) continue;
        struct long_tokens *v = find_begin(l, p);
        memcpy(v->begin, p, TRIE_DEPTH);
        (run_length(p, n) == n ? v->equal : v->others)[n / 64] |= 1ull << n % 64;
    }
    return 0;
}

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
    if (rc >= 0) rc = fill_long(l, t, err);
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
    if (l) {
        free(l->of);
        free(l->long_tokens);
    }
    free(l);
}

/* ------------------------------------------------------------------ the search */

/* The longest token beyond TRIE_DEPTH bytes that p[0..most) begins with, or TOKENIZER_NO_ID. */
static __attribute__((noinline)) uint32_t find_long(const struct tokenizer *t,
                                                    const struct longest *l, const uint8_t *p,
                                                    size_t most) {
    const struct long_tokens *v = find_begin(l, p);
    const size_t run = run_length(p, most), equal = bit_below(v->equal, run + 1);
    for (size_t n = most + 1; (n = bit_below(v->others, n)) > run;) {
        uint32_t id = finder_get(&t->finder, t, p, n);
        if (id != TOKENIZER_NO_ID) return id;
    }
    return equal ? finder_get(&t->finder, t, p, equal) : TOKENIZER_NO_ID;
}

/* The longest token that p[0..n) begins with, n > 0. */
static inline uint32_t find(const struct tokenizer *t, const struct longest *l, const uint8_t *p,
                            size_t n) {
    const struct trie *trie = l->trie;
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
        uint32_t id = find_long(t, l, p, trie_base(node) < n ? trie_base(node) : n);
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
    uint32_t id = find(t, l, piece, n);
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
            if (at < n) id = find(t, l, piece + at, n - at);
        } else {
            if (!n_ids || ++back > BACK_MOST + n / BACK_SHARE) return false;
            dead[at / 64] |= 1ull << at % 64;
            s = &l->of[out[--n_ids]];
            at -= length(s);
            id = shorter(s);
        }
    }
    *ret_n = n_ids;
    return true;
}
