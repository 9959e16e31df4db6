/* Merging the bytes of one piece, always the pair of the lowest rank, the leftmost of equals.
 *
 * Short pieces (nearly all): for every symbol that has a right neighbour the rank of the two, and
 * where it stands, in one number; the smallest of these numbers is the next merge.
 *
 *   sym    h   e   l   l   o
 *   key    3.0 7.1 2.2 9.3 -      2.2 is lowest: "ll" ─▶ sym h e ll - o, the keys around anew
 *   alive  1   1   1   0   1      a bit for each place that still begins a symbol
 *
 * The square of the length, but of a length of 64 at most, and eight numbers at a time. Many such
 * pieces at once: see bpe_many.c.
 *
 * Long pieces of few runs (a million times one character): see bpe_runs.c. Other long pieces, after
 * the encoder has cut them at their seams (seams.h), go in rounds (bpe_rounds.c), or in short
 * windows where rounds do not come to an end (bpe_windows.c). Where a short window is not enough:
 * the symbols in a doubly linked list over the byte positions, all pairs in a heap keyed by rank <<
 * 32 | position; entries whose pair has changed since are recognised by rank[position] and dropped.
 * n log n. */
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
    bool no_whole; /* together they are none: the last two do not merge, and are not looked up */
};

/* The key of the pair of the symbols at `at` and `next`. */
static inline uint32_t look(const struct tokenizer *t, const struct short_piece *s, unsigned at,
                            unsigned next) {
    uint32_t rank = pairs_get(&t->pairs, s->sym[at], s->sym[next]);
    return rank == PAIRS_NONE ? NONE : rank << AT_BITS | at;
}

/* What a merge changes: the keys of three places. */
struct change {
    unsigned gone;     /* no symbol begins here any more     */
    unsigned at, left; /* left == at: there is none          */
    uint32_t at_key, left_key;
};

/* Carries out the merge of key `low`. */
static inline struct change merge_one(const struct tokenizer *t, struct short_piece *s,
                                      uint32_t low) {
    unsigned at = low & (SHORT - 1);
    uint64_t behind = s->alive >> at >> 1, before = s->alive & ((1ull << at) - 1);
    struct change c = {.at = at, .left = at, .at_key = NONE, .left_key = NONE};
    c.gone = at + 1 + (unsigned)__builtin_ctzll(behind);
    s->sym[at] = vocab_merged(t, low >> AT_BITS);
    s->alive &= ~(1ull << c.gone);
    behind &= behind - 1;
    if (before) c.left = 63 - (unsigned)__builtin_clzll(before);
    uint64_t others = s->alive & (s->alive - 1);
    if (s->no_whole && !(others & (others - 1))) return c;
    if (behind) c.at_key = look(t, s, at, at + 1 + (unsigned)__builtin_ctzll(behind));
    c.left_key = before ? look(t, s, c.left, at) : c.at_key;
    return c;
}

/* 1 < n <= SHORT. */
static void merge_all_plain(const struct tokenizer *t, struct short_piece *s, size_t n) {
    for (;;) {
        uint32_t low = NONE;
        for (size_t i = 0; i < n; i++) low = s->key[i] < low ? s->key[i] : low;
        if (low == NONE) break;
        struct change c = merge_one(t, s, low);
        s->key[c.gone] = NONE;
        s->key[c.at] = c.at_key;
        s->key[c.left] = c.left_key;
    }
}

#ifdef __x86_64__
#include <immintrin.h>

/* The keys stay in `vectors` registers: a number stored alone and read back as part of a vector
 * would make the processor wait. */
__attribute__((target("avx2,bmi,lzcnt"), always_inline)) static inline void merge_vectors(
    const struct tokenizer *t, struct short_piece *s, int vectors) {
    const __m256i eight = _mm256_set1_epi32(8);
    __m256i key[SHORT / 8];
    for (int i = 0; i < vectors; i++)
        key[i] = _mm256_loadu_si256((const __m256i *)(const void *)(s->key + 8 * i));
    for (;;) {
        __m256i least = key[0];
        for (int i = 1; i < vectors; i++) least = _mm256_min_epu32(least, key[i]);
        __m128i x =
            _mm_min_epu32(_mm256_castsi256_si128(least), _mm256_extracti128_si256(least, 1));
        x = _mm_min_epu32(x, _mm_shuffle_epi32(x, 0x4E));
        x = _mm_min_epu32(x, _mm_shuffle_epi32(x, 0xB1));
        uint32_t low = (uint32_t)_mm_cvtsi128_si32(x);
        if (low == NONE) break;
        struct change c = merge_one(t, s, low);
        const __m256i gone = _mm256_set1_epi32((int)c.gone), at = _mm256_set1_epi32((int)c.at),
                      left = _mm256_set1_epi32((int)c.left),
                      at_key = _mm256_set1_epi32((int)c.at_key),
                      left_key = _mm256_set1_epi32((int)c.left_key);
        __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        for (int i = 0; i < vectors; i++) {
            key[i] = _mm256_or_si256(key[i], _mm256_cmpeq_epi32(place, gone));
            key[i] = _mm256_blendv_epi8(key[i], at_key, _mm256_cmpeq_epi32(place, at));
            key[i] = _mm256_blendv_epi8(key[i], left_key, _mm256_cmpeq_epi32(place, left));
            place = _mm256_add_epi32(place, eight);
        }
    }
}

__attribute__((target("avx2,bmi,lzcnt"))) static void merge_all_avx2(const struct tokenizer *t,
                                                                     struct short_piece *s,
                                                                     size_t n) {
    if (n <= 8)
        merge_vectors(t, s, 1);
    else if (n <= 16)
        merge_vectors(t, s, 2);
    else if (n <= 32)
        merge_vectors(t, s, 4);
    else
        merge_vectors(t, s, 8);
}
#endif

static int merge_short(const struct tokenizer *t, const uint8_t *piece, size_t n, bool no_whole,
                       struct u32s *out, struct err *err) {
    struct short_piece s;
    s.no_whole = no_whole;
    int rc = u32s_reserve(out, n, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < n; i++) {
        s.sym[i] = t->byte_id[piece[i]];
        if (s.sym[i] == TOKENIZER_NO_ID) return no_token(piece[i], i, err);
    }
    size_t whole = n <= 16 ? (n + 7) / 8 * 8 : n <= 32 ? 32 : SHORT;
    memset(s.key, 0xFF, 8 * sizeof *s.key);
    if (n > 8) memset(s.key + 8, 0xFF, (whole - 8) * sizeof *s.key);
    for (size_t i = 0; i + 1 < n; i++) {
        uint32_t rank = t->byte_ranks[piece[i] << 8 | piece[i + 1]];
        s.key[i] = rank == PAIRS_NONE ? NONE : rank << AT_BITS | (uint32_t)i;
    }
    s.alive = ~0ull >> (64 - n);
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
        v->rank = i + 1 < n ? t->byte_ranks[piece[i] << 8 | piece[i + 1]] : NONE;
        if (v->rank != NONE) s->heap.v[s->heap.n++] = (uint64_t)v->rank << 32 | i;
    }
    for (size_t i = s->heap.n / 4 + 1; i-- > 0;)
        if (i < s->heap.n) sift_down(s->heap.v, s->heap.n, i);
    return rc;
}

static int merge_long(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                      size_t n, struct u32s *out, struct err *err) {
    int rc = list_bytes(t, s, piece, n, err);
    s->slow += n;
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

static bool is_short(const struct tokenizer *t, size_t n) {
    enum { RANK_BITS = 32 - AT_BITS };
    return n <= SHORT && t->n_merges >> RANK_BITS == 0 && t->n >> RANK_BITS == 0;
}

int bpe_merge_whole(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                    size_t n, struct u32s *out, struct err *err) {
    if (n == 0) return 0;
    if (n == 1 && t->byte_id[*piece] != TOKENIZER_NO_ID)
        return u32s_push(out, t->byte_id[*piece], err);
    if (is_short(t, n)) return merge_short(t, piece, n, false, out, err);
    return merge_long(t, s, piece, n, out, err);
}

int bpe_try_longest(const struct tokenizer *t, const struct bpe_scratch *s, const uint8_t *piece,
                    size_t n, struct u32s *out, struct err *err) {
    size_t n_ids;
    if (!s->longest || n > BPE_LONGEST_MOST) return 0;
    int rc = u32s_reserve(out, n, err);
    if (rc < 0) return rc;
    if (!bpe_merge_longest(t, s->longest, piece, n, out->v + out->n, &n_ids)) return 0;
    out->n += n_ids;
    return 1;
}

int bpe_merge_alone(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                    size_t n, struct u32s *out, struct err *err) {
    int rc = bpe_try_longest(t, s, piece, n, out, err);
    return rc == 0 ? bpe_merge_whole(t, s, piece, n, out, err) : rc < 0 ? rc : 0;
}

int bpe_merge_no_token(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                       size_t n, struct u32s *out, struct err *err) {
    if (n > 1 && is_short(t, n)) return merge_short(t, piece, n, t->by_rank, out, err);
    return bpe_merge(t, s, piece, n, out, err);
}

int bpe_merge(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece, size_t n,
              struct u32s *out, struct err *err) {
    if (n <= SHORT) return bpe_merge_whole(t, s, piece, n, out, err);
    int rc = bpe_merge_runs(t, piece, n, out, err);
    return rc == 0 ? bpe_merge_windows(t, s, piece, n, out, err) : rc < 0 ? rc : 0;
}

void bpe_scratch_release(struct bpe_scratch *s) {
    free(s->node);
    s->node = NULL;
    s->nodes = 0;
    u64s_release(&s->heap);
}
