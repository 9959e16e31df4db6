/* Merging the bytes of one piece, always the pair of the lowest rank, the leftmost of equals.
 *
 * Short pieces (nearly all): for every symbol that has a right neighbour the rank of the two, and
 * where it stands, in one number; the smallest of these numbers is the next merge.
 *
 *   sym    h   e   l   l   o
 *   key    3.0 7.1 2.2 9.3 -      2.2 is lowest: "ll" ─▶ sym h e ll - o, the keys around anew
 *   alive  1   1   1   0   1      a bit for each place that still begins a symbol
 *
 * The square of the length, but of a length of 64 at most, and eight numbers at a time.
 *
 * Long pieces of few runs (a million times one character): see bpe_runs.c. Other long pieces: the
 * symbols in a doubly linked list over the byte positions, all pairs in a heap keyed by
 * rank << 32 | position; entries whose pair has changed since are recognised by rank[position] and
 * dropped. n log n; the encoder has cut them at their seams before (seams.h). */
#include <stdlib.h>
#include "tokenizer/bpe.h"

enum { SHORT = 64, AT_BITS = 6, SCRATCH_KEEP = 1 << 20 /* elements */ };
#define NONE PAIRS_NONE /* no pair here, no neighbour */

static int no_token(uint8_t byte, size_t at, struct err *err) {
    return err_set(err, ERR_DATA,
                   "byte 0x%02X at offset %zu of a piece has no token in this vocabulary", byte,
                   at);
}

/* ------------------------------------------------------------------ short */

/* The symbols of a short piece by the place of their first byte. */
struct short_piece {
    uint32_t sym[SHORT];
    uint32_t key[SHORT]; /* rank << AT_BITS | place, or NONE */
    uint64_t alive;
};

/* Looks up the pair of the symbols at `at` and `next`. */
static inline void look(const struct tokenizer *t, struct short_piece *s, unsigned at,
                        unsigned next) {
    uint32_t rank = pairs_get(&t->pairs, s->sym[at], s->sym[next]);
    s->key[at] = rank == PAIRS_NONE ? NONE : rank << AT_BITS | at;
}

/* 1 < n <= SHORT. The loop over `key` is what the compiler makes vectors of. */
static inline __attribute__((always_inline)) void merge_all(const struct tokenizer *t,
                                                            struct short_piece *s, size_t n) {
    s->alive = ~0ull >> (64 - n);
    size_t whole = (n + 7) / 8 * 8;
    for (;;) {
        uint32_t low = NONE;
        for (size_t i = 0; i < whole; i++) low = s->key[i] < low ? s->key[i] : low;
        if (low == NONE) break;
        unsigned at = low & (SHORT - 1);
        uint64_t behind = s->alive >> at >> 1, before = s->alive & ((1ull << at) - 1);
        unsigned gone = at + 1 + (unsigned)__builtin_ctzll(behind);
        s->sym[at] = vocab_merged(t, low >> AT_BITS);
        s->alive &= ~(1ull << gone);
        s->key[gone] = NONE;
        behind &= behind - 1;
        if (behind)
            look(t, s, at, at + 1 + (unsigned)__builtin_ctzll(behind));
        else
            s->key[at] = NONE;
        if (before) look(t, s, 63 - (unsigned)__builtin_clzll(before), at);
    }
}

static void merge_all_plain(const struct tokenizer *t, struct short_piece *s, size_t n) {
    merge_all(t, s, n);
}

#ifdef __x86_64__
__attribute__((target("avx2,bmi,lzcnt"))) static void merge_all_avx2(const struct tokenizer *t,
                                                                     struct short_piece *s,
                                                                     size_t n) {
    merge_all(t, s, n);
}
#endif

static int merge_short(const struct tokenizer *t, const uint8_t *piece, size_t n, struct u32s *out,
                       struct err *err) {
    struct short_piece s;
    int rc = u32s_reserve(out, n, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < n; i++) {
        s.sym[i] = t->byte_id[piece[i]];
        if (s.sym[i] == TOKENIZER_NO_ID) return no_token(piece[i], i, err);
    }
    for (size_t i = 0; i + 1 < n; i++) {
        uint32_t rank = t->byte_pairs[piece[i] << 8 | piece[i + 1]];
        s.key[i] = rank == PAIRS_NONE ? NONE : rank << AT_BITS | (uint32_t)i;
    }
    for (size_t i = n - 1; i < (n + 7) / 8 * 8; i++) s.key[i] = NONE;
#ifdef __x86_64__
    /* processors with BMI1 have LZCNT, whose name clang does not know here */
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi"))
        merge_all_avx2(t, &s, n);
    else
#endif
        merge_all_plain(t, &s, n);
    for (uint64_t x = s.alive; x; x &= x - 1) out->v[out->n++] = s.sym[__builtin_ctzll(x)];
    return 0;
}

/* ------------------------------------------------------------------ long */

static void sift_down(uint64_t *heap, size_t n, size_t at) {
    uint64_t x = heap[at];
    for (;;) {
        size_t child = 4 * at + 1, best = child;
        if (child >= n) break;
        for (size_t c = child + 1; c < child + 4 && c < n; c++)
            if (heap[c] < heap[best]) best = c;
        if (heap[best] >= x) break;
        heap[at] = heap[best];
        at = best;
    }
    heap[at] = x;
}

static int heap_push(struct u64s *h, uint64_t x, struct err *err) {
    int rc = u64s_push(h, x, err);
    if (rc < 0) return rc;
    size_t at = h->n - 1;
    while (at > 0 && h->v[(at - 1) / 4] > x) {
        h->v[at] = h->v[(at - 1) / 4];
        at = (at - 1) / 4;
    }
    h->v[at] = x;
    return 0;
}

static uint64_t heap_pop(struct u64s *h) {
    uint64_t top = h->v[0];
    h->v[0] = h->v[--h->n];
    if (h->n) sift_down(h->v, h->n, 0);
    return top;
}

/* A symbol by the place of its first byte. */
struct bpe_node {
    uint32_t sym, rank; /* of the symbol and its right neighbour, or NONE */
    uint32_t next, prev;
};

/* Looks up the pair that begins at `at` and enters it. */
static int enter(const struct tokenizer *t, struct bpe_scratch *s, size_t at, struct err *err) {
    struct bpe_node *v = &s->node[at];
    v->rank = v->next == NONE ? NONE : pairs_get(&t->pairs, v->sym, s->node[v->next].sym);
    return v->rank == NONE ? 0 : heap_push(&s->heap, (uint64_t)v->rank << 32 | at, err);
}

static int list_bytes(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                      size_t n, struct err *err) {
    if (n > s->nodes) {
        free(s->node);
        s->nodes = 0;
        s->node = mem_array(n, sizeof *s->node);
        if (!s->node) return err_nomem(err, n * sizeof *s->node);
        s->nodes = n;
    }
    s->heap.n = 0;
    int rc = u64s_reserve(&s->heap, n, err);
    for (size_t i = 0; i < n && rc == 0; i++) { /* all at once, then one heap: linear */
        struct bpe_node *v = &s->node[i];
        v->sym = t->byte_id[piece[i]];
        if (v->sym == TOKENIZER_NO_ID) return no_token(piece[i], i, err);
        v->next = i + 1 < n ? (uint32_t)i + 1 : NONE;
        v->prev = i ? (uint32_t)i - 1 : NONE;
        v->rank = i + 1 < n ? t->byte_pairs[piece[i] << 8 | piece[i + 1]] : NONE;
        if (v->rank != NONE) s->heap.v[s->heap.n++] = (uint64_t)v->rank << 32 | i;
    }
    for (size_t i = s->heap.n / 4 + 1; i-- > 0;)
        if (i < s->heap.n) sift_down(s->heap.v, s->heap.n, i);
    return rc;
}

static int merge_long(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                      size_t n, struct u32s *out, struct err *err) {
    int rc = list_bytes(t, s, piece, n, err);
    while (rc >= 0 && s->heap.n) {
        uint64_t top = heap_pop(&s->heap);
        uint32_t at = (uint32_t)top;
        struct bpe_node *v = &s->node[at];
        if (v->rank != top >> 32) continue; /* that pair is gone */
        struct bpe_node *right = &s->node[v->next];
        v->sym = vocab_merged(t, v->rank);
        v->next = right->next;
        right->rank = NONE;
        if (v->next != NONE) s->node[v->next].prev = at;
        rc = enter(t, s, at, err);
        if (rc >= 0 && v->prev != NONE) rc = enter(t, s, v->prev, err);
    }
    for (uint32_t at = 0; rc >= 0 && at != NONE; at = s->node[at].next)
        rc = u32s_push(out, s->node[at].sym, err);
    if (s->nodes > SCRATCH_KEEP) bpe_scratch_release(s);
    return rc;
}

int bpe_merge(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece, size_t n,
              struct u32s *out, struct err *err) {
    enum { RANK_BITS = 32 - AT_BITS };
    if (n == 0) return 0;
    if (n == 1 && t->byte_id[*piece] != TOKENIZER_NO_ID)
        return u32s_push(out, t->byte_id[*piece], err);
    if (n <= SHORT && t->n_merges >> RANK_BITS == 0 && t->n >> RANK_BITS == 0)
        return merge_short(t, piece, n, out, err);
    int rc = bpe_merge_runs(t, piece, n, out, err);
    return rc == 0 ? merge_long(t, s, piece, n, out, err) : rc < 0 ? rc : 0;
}

void bpe_scratch_release(struct bpe_scratch *s) {
    free(s->node);
    s->node = NULL;
    s->nodes = 0;
    u64s_release(&s->heap);
}
