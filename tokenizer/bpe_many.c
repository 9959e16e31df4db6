/* Merging many short pieces side by side, a merge of each in turn.
 *
 * Of pieces never seen before each merge waits twice: for the lowest of the piece's ranks, and for
 * the ranks of the pairs that the merge brings about, which lie in tables of megabytes. One piece
 * alone waits out both, one after the other; a batch of them waits together:
 *
 *   lowest    the lowest pair of each piece; those that have none are done
 *   begin     each merges it, and asks memory for the bits of its new pairs in the filter
 *   sieve     pairs that the filter lets pass ask for their slots
 *   answer    the ranks of these
 *
 * The steps have no branch that depends on a piece, but for a third slot of the table of pairs. As
 * in bpe.c the ranks of a piece's pairs stand by the places of their left symbols, `vectors` of
 * eight numbers, and all ones where there is no pair. */
#include "tokenizer/bpe.h"

#ifdef __x86_64__
#include <immintrin.h>

enum { EIGHT = 8, AT_BITS = 4 };
#define NONE   PAIRS_NONE
#define AVX2   __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))
#define INLINE AVX2 __attribute__((always_inline)) static inline
_Static_assert(BPE_MANY_BYTES == 1 << AT_BITS, "places of a piece");

/* A piece on its way. */
struct small {
    uint32_t sym[BPE_MANY_BYTES]; /* by the place of their first byte                   */
    uint32_t key[BPE_MANY_BYTES]; /* rank << AT_BITS | place of the pair, or NONE       */
    uint32_t alive;               /* bits: a symbol begins here                         */
};

/* A pair that may be in the table. */
struct question {
    uint64_t key, hash;
    uint8_t piece, at;
};

struct many {
    struct small piece[BPE_MANY];
    size_t n_active, n_questions;
    uint8_t active[BPE_MANY]; /* pieces that have a pair … */
    uint32_t low[BPE_MANY];   /* … and the lowest of them  */
    struct question question[2 * BPE_MANY];
};

INLINE __m256i load8x32(const uint32_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
INLINE void store8x32(uint32_t *p, __m256i x) {
    _mm256_storeu_si256((__m256i *)(void *)p, x);
}
INLINE __m256i places(int v) {
    const __m256i first = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_add_epi32(first, _mm256_set1_epi32(v * EIGHT));
}

INLINE __m256i gather(const uint32_t *table, __m256i at) {
    return _mm256_i32gather_epi32((const int *)(const void *)table, at, sizeof *table);
}

/* The bytes of a piece as symbols, and the ranks of their pairs. */
INLINE void set_bytes(const struct tokenizer *t, struct small *s, const struct bpe_short *piece,
                      int vectors) {
    __m128i left = _mm_loadu_si128((const __m128i *)(const void *)piece->text);
    __m128i right = _mm_srli_si128(left, 1);
    const __m256i none = _mm256_set1_epi32((int)NONE);
    const __m256i last = _mm256_set1_epi32((int)piece->n - 2);
    for (int v = 0; v < vectors; v++) {
        __m256i x = _mm256_cvtepu8_epi32(left), y = _mm256_cvtepu8_epi32(right);
        __m256i rank = gather(t->byte_ranks, _mm256_or_si256(_mm256_slli_epi32(x, 8), y));
        __m256i no =
            _mm256_or_si256(_mm256_cmpeq_epi32(rank, none), _mm256_cmpgt_epi32(places(v), last));
        __m256i key = _mm256_or_si256(_mm256_slli_epi32(rank, AT_BITS), places(v));
        store8x32(s->key + v * EIGHT, _mm256_or_si256(key, no));
        store8x32(s->sym + v * EIGHT, gather(t->byte_id, x));
        left = _mm_srli_si128(left, EIGHT);
        right = _mm_srli_si128(right, EIGHT);
    }
    s->alive = (1u << piece->n) - 1;
}

INLINE uint32_t lowest(const struct small *s, int vectors) {
    __m256i least = load8x32(s->key);
    if (vectors == 2) least = _mm256_min_epu32(least, load8x32(s->key + EIGHT));
    __m128i x = _mm_min_epu32(_mm256_castsi256_si128(least), _mm256_extracti128_si256(least, 1));
    x = _mm_min_epu32(x, _mm_shuffle_epi32(x, 0x4E));
    x = _mm_min_epu32(x, _mm_shuffle_epi32(x, 0xB1));
    return (uint32_t)_mm_cvtsi128_si32(x);
}

/* Writes `key` at place `at`. Not as a number: the next vector that is loaded would wait for it. */
INLINE void set_key(struct small *s, uint32_t at, uint32_t key, int vectors) {
    for (int v = 0; v < vectors; v++) {
        uint32_t *p = s->key + v * EIGHT;
        __m256i here = _mm256_cmpeq_epi32(places(v), _mm256_set1_epi32((int)at));
        store8x32(p, _mm256_blendv_epi8(load8x32(p), _mm256_set1_epi32((int)key), here));
    }
}

/* Notes the pair of the symbols at `at` and `next`, if there `is` one, and asks for its bit in the
 * filter. */
INLINE void ask(const struct tokenizer *t, struct many *m, size_t piece, uint32_t at, uint32_t next,
                bool is) {
    const struct small *s = &m->piece[piece];
    uint64_t key = pairs_key(&t->pairs, s->sym[at], s->sym[next]), hash = pairs_hash(key);
    m->question[m->n_questions] = (struct question){key, hash, (uint8_t)piece, (uint8_t)at};
    m->n_questions += is;
    __builtin_prefetch(&t->pairs.filter[pairs_bit(&t->pairs, hash) >> 6]);
}

/* Drops the questions that the filter answers, and asks for the slots of the others. */
INLINE void sieve(const struct tokenizer *t, struct many *m) {
    size_t kept = 0;
    for (size_t i = 0; i < m->n_questions; i++) {
        const struct question q = m->question[i];
        bool may = pairs_may(&t->pairs, q.hash);
        m->question[kept] = q;
        kept += may;
    }
    m->n_questions = kept;
    for (size_t i = 0; i < kept; i++)
        __builtin_prefetch(&t->pairs.slot[pairs_home(&t->pairs, m->question[i].hash)]);
}

/* Carries out the merge of key `low`. With no_whole the last two symbols do not merge. */
INLINE void begin(const struct tokenizer *t, struct many *m, size_t piece, uint32_t low,
                  bool no_whole, int vectors) {
    struct small *s = &m->piece[piece];
    uint32_t at = low & (BPE_MANY_BYTES - 1);
    uint32_t behind = s->alive & ~0u << at << 1, before = s->alive & ((1u << at) - 1);
    uint32_t gone = (uint32_t)__builtin_ctz(behind);
    s->sym[at] = vocab_merged(t, low >> AT_BITS);
    s->alive &= ~(1u << gone);
    behind &= behind - 1;
    uint32_t next = behind ? (uint32_t)__builtin_ctz(behind) : at;
    uint32_t left = before ? 31 - (uint32_t)__builtin_clz(before) : at;
    for (int v = 0; v < vectors; v++) {
        uint32_t *p = s->key + v * EIGHT;
        __m256i x = _mm256_cmpeq_epi32(places(v), _mm256_set1_epi32((int)gone));
        __m256i y = _mm256_cmpeq_epi32(places(v), _mm256_set1_epi32((int)at));
        __m256i z = _mm256_cmpeq_epi32(places(v), _mm256_set1_epi32((int)left));
        x = _mm256_or_si256(_mm256_or_si256(x, y), z);
        store8x32(p, _mm256_or_si256(load8x32(p), x));
    }
    uint32_t others = s->alive & (s->alive - 1);
    bool looks = !no_whole | ((others & (others - 1)) != 0);
    ask(t, m, piece, at, next, looks & (behind != 0));
    ask(t, m, piece, left, at, looks & (before != 0));
}

/* The rank of a pair, or NONE. */
INLINE uint32_t answer(const struct pairs *p, const struct question *q) {
    const size_t first = pairs_home(p, q->hash), second = pairs_next(p, first);
    const uint64_t x = p->slot[first], y = p->slot[second], mask = (1ull << p->rank_bits) - 1;
    const bool x_free = x == UINT64_MAX, y_free = y == UINT64_MAX;
    const bool x_is = !x_free & (x >> p->rank_bits == q->key);
    const bool y_is = !y_free & (y >> p->rank_bits == q->key);
    if (__builtin_expect(!(x_free | x_is | y_free | y_is), 0))
        return pairs_from(p, q->key, pairs_next(p, second));
    uint32_t rank = (uint32_t)(y & mask);
    rank = x_free | !(y_is | x_is) ? NONE : rank;
    return x_is ? (uint32_t)(x & mask) : rank;
}

INLINE void merge_all(const struct tokenizer *t, struct many *m, bool no_whole, int vectors) {
    for (;;) {
        size_t kept = 0;
        for (size_t i = 0; i < m->n_active; i++) {
            uint8_t piece = m->active[i];
            uint32_t low = lowest(&m->piece[piece], vectors);
            m->active[kept] = piece;
            m->low[kept] = low;
            kept += low != NONE;
        }
        if (!kept) break;
        m->n_active = kept;
        m->n_questions = 0;
        for (size_t i = 0; i < kept; i++) begin(t, m, m->active[i], m->low[i], no_whole, vectors);
        sieve(t, m);
        for (size_t i = 0; i < m->n_questions; i++) {
            const struct question *q = &m->question[i];
            uint32_t rank = answer(&t->pairs, q);
            set_key(&m->piece[q->piece], q->at, rank == NONE ? NONE : rank << AT_BITS | q->at,
                    vectors);
        }
    }
}

/* The symbols that are left, one after the other. */
INLINE void put(const struct small *s, struct bpe_short_ids *out, int vectors) {
    uint32_t *to = out->id;
    for (int v = 0; v < vectors; v++) {
        uint32_t alive = s->alive >> v * EIGHT & 0xff;
        uint64_t bytes = _pdep_u64(alive, 0x0101010101010101) * 0xff;
        uint64_t which = _pext_u64(0x0706050403020100, bytes);
        __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)which));
        store8x32(to, _mm256_permutevar8x32_epi32(load8x32(s->sym + v * EIGHT), order));
        to += _mm_popcnt_u32(alive);
    }
    out->n = (uint32_t)(to - out->id);
}

INLINE void merge_some(const struct tokenizer *t, const struct bpe_short *v, const uint8_t *which,
                       size_t n, bool no_whole, struct bpe_short_ids *out, const uint8_t *where,
                       int vectors) {
    struct many m;
    m.n_active = n;
    for (size_t i = 0; i < n; i++) {
        m.active[i] = (uint8_t)i;
        set_bytes(t, &m.piece[i], &v[which[i]], vectors);
    }
    merge_all(t, &m, no_whole, vectors);
    for (size_t i = 0; i < n; i++) put(&m.piece[i], &out[where[which[i]]], vectors);
}

bool bpe_many_can(const struct tokenizer *t) {
    enum { RANK_BITS = 32 - AT_BITS };
    return t->all_bytes && t->n_merges >> RANK_BITS == 0 && t->n >> RANK_BITS == 0 &&
           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}

AVX2 void bpe_merge_many(const struct tokenizer *t, const struct bpe_short *v, size_t n,
                         bool no_token, struct bpe_short_ids *out, const uint8_t *where) {
    const bool no_whole = no_token && t->by_rank;
    uint8_t narrow[BPE_MANY], wide[BPE_MANY];
    size_t n_narrow = 0, n_wide = 0;
    for (size_t i = 0; i < n; i++) {
        narrow[n_narrow] = wide[n_wide] = (uint8_t)i;
        n_narrow += v[i].n <= EIGHT;
        n_wide += v[i].n > EIGHT;
    }
    if (n_narrow) merge_some(t, v, narrow, n_narrow, no_whole, out, where, 1);
    if (n_wide) merge_some(t, v, wide, n_wide, no_whole, out, where, 2);
}
#else

bool bpe_many_can(const struct tokenizer *t) {
    (void)t;
    return false;
}

void bpe_merge_many(const struct tokenizer *t, const struct bpe_short *v, size_t n, bool no_token,
                    struct bpe_short_ids *out, const uint8_t *where) {
    (void)t, (void)v, (void)n, (void)no_token, (void)out, (void)where;
}

#endif
