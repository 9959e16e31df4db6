/* Merging many short pieces side by side, a merge of each in turn.
 *
 * Symbol j of LANES pieces stands in row j, and so do the ranks of the pairs that begin there:
 *
 *   lane     0     1     2   …       lane      0     1     2   …
 *   sym[0]   ab    x     q           rank[0]   17    -     902
 *   sym[1]   c     y     u           rank[1]   230   4     11
 *   sym[2]   d     z     it          rank[2]   -     -     -
 *
 * The lowest of each piece is found and merged, and what is behind moves one row up, in all lanes
 * at once and without a branch: some instructions for a piece, where alone it takes a hundred. That
 * brings about two pairs whose ranks are not known. Of most the filter says, for all lanes at once,
 * too, that they have none; the others are looked up one by one. Groups take turns, so that memory
 * answers one while others are merged; pieces of about one length share a group, as that takes as
 * long as the longest of them. */
#include "tokenizer/bpe.h"

#ifdef __x86_64__
#include <immintrin.h>

enum {
    LANES = 16,
    PLACES = BPE_MANY_BYTES,
    GROUPS = (BPE_MANY + LANES - 1) / LANES,
    NO_RANK = 0x7FFFFFFF, /* all are below */
};
#define NONE PAIRS_NONE

/* Pieces side by side. Where a piece has no symbol or no pair there is NONE. */
struct group {
    int places; /* rows in use, without the last, of NONE: 4, 8, 12, 16, 24, 32 */
    uint32_t sym[PLACES + 1][LANES], rank[PLACES + 1][LANES];
    uint32_t text[PLACES / 4 + 1][LANES], n[LANES]; /* at first: four bytes in a number */
    /* Of the last merge of each: */
    uint32_t around[3][LANES]; /* the symbol before the new one, this, and the one behind */
    uint32_t hash[2][LANES];   /* of these two pairs                                      */
    uint32_t may[2];           /* bits: the filter lets the pair pass                     */
    uint32_t at[LANES];        /* row of the new symbol                                   */
};

#define AVX2   __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))
#define INLINE __attribute__((always_inline)) static inline

/* Longer pieces first. */
AVX2 static void sort(const struct bpe_short *v, size_t n, uint8_t *order) {
    uint8_t at[PLACES + 2] = {0};
    for (size_t i = 0; i < n; i++) at[PLACES - v[i].n + 1]++;
    for (int i = 0; i < PLACES; i++) at[i + 1] = (uint8_t)(at[i + 1] + at[i]);
    for (size_t i = 0; i < n; i++) order[at[PLACES - v[i].n]++] = (uint8_t)i;
}

/* As few places as hold n symbols; and the next fewer, or 0. */
static inline int places_for(uint32_t n) {
    return n <= 16 ? (int)(n + 3) & ~3 : n <= 24 ? 24 : PLACES;
}
static inline int fewer_places(int places) {
    return places > 16 ? places - 8 : places - 4;
}

/* Takes v[which[0]] … v[which[n-1]], n <= LANES, none longer than the first. */
AVX2 static void take(struct group *g, const struct bpe_short *v, const uint8_t *which, size_t n) {
    g->places = places_for(v[*which].n);
    const int numbers = g->places / 4;
    memset(g->text, 0, ((size_t)numbers + 1) * sizeof *g->text);
    memset(g->n, 0, sizeof g->n);
    for (size_t i = 0; i < n; i++) {
        const struct bpe_short *piece = &v[which[i]];
        uint32_t four[PLACES / 4];
        memcpy(four, piece->text, sizeof four);
        for (int j = 0; j < numbers; j++) g->text[j][i] = four[j];
        g->n[i] = piece->n;
    }
}

/* Asks memory for the pairs that the filter let pass. */
AVX2 static void expect(const struct pairs *p, const struct group *g) {
    for (int k = 0; k < 2; k++)
        for (uint32_t left = g->may[k]; left; left &= left - 1)
            __builtin_prefetch(&p->slot[pairs_home(p, g->hash[k][__builtin_ctz(left)])]);
}

/* Looks them up. */
AVX2 static void answer(const struct pairs *p, struct group *g) {
    for (int k = 0; k < 2; k++)
        for (uint32_t left = g->may[k]; left; left &= left - 1) {
            int i = __builtin_ctz(left);
            uint64_t key = pairs_key(p, g->around[k][i], g->around[k + 1][i]);
            g->rank[g->at[i] - !k][i] = pairs_from(p, key, pairs_home(p, g->hash[k][i]));
        }
}

/* Rows to columns: the symbols of four lanes from `place` on. */
AVX2 INLINE void turn(const struct group *g, int place, size_t lane, __m128i to[4]) {
    __m128i row[4];
    for (int j = 0; j < 4; j++)
        row[j] = _mm_loadu_si128((const __m128i *)(const void *)&g->sym[place + j][lane]);
    __m128i a = _mm_unpacklo_epi32(row[0], row[1]), b = _mm_unpacklo_epi32(row[2], row[3]);
    __m128i c = _mm_unpackhi_epi32(row[0], row[1]), d = _mm_unpackhi_epi32(row[2], row[3]);
    to[0] = _mm_unpacklo_epi64(a, b);
    to[1] = _mm_unpackhi_epi64(a, b);
    to[2] = _mm_unpacklo_epi64(c, d);
    to[3] = _mm_unpackhi_epi64(c, d);
}

/* The symbols that are left of the pieces that take() took. */
AVX2 static void put(const struct group *g, const uint8_t *which, size_t n,
                     struct bpe_short_ids *out, const uint8_t *where) {
    const __m128i none = _mm_set1_epi32((int)NONE);
    for (size_t i = 0; i < n; i += 4) {
        const size_t some = n - i < 4 ? n - i : 4;
        for (size_t k = 0; k < some; k++) out[where[which[i + k]]].n = 0;
        for (int j = 0; j < g->places; j += 4) {
            __m128i four[4];
            turn(g, j, i, four);
            for (size_t k = 0; k < some; k++) {
                struct bpe_short_ids *o = &out[where[which[i + k]]];
                int no = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(four[k], none)));
                _mm_storeu_si128((__m128i *)(void *)&o->id[j], four[k]);
                o->n += 4 - (uint32_t)_mm_popcnt_u32((uint32_t)no);
            }
        }
    }
}

/* ------------------------------------------------------------------ half a group at a time */

typedef uint32_t vec_avx2 __attribute__((vector_size(32)));
typedef __m256i mask_avx2;
enum { WIDTH_avx2 = 8 };

AVX2 INLINE vec_avx2 load_avx2(const uint32_t *p) {
    return (vec_avx2)_mm256_loadu_si256((const __m256i *)(const void *)p);
}
AVX2 INLINE void store_avx2(uint32_t *p, vec_avx2 x) {
    _mm256_storeu_si256((__m256i *)(void *)p, (__m256i)x);
}
AVX2 INLINE vec_avx2 set_avx2(uint32_t x) {
    return (vec_avx2)_mm256_set1_epi32((int)x);
}
AVX2 INLINE vec_avx2 min_avx2(vec_avx2 x, vec_avx2 y) {
    return (vec_avx2)_mm256_min_epu32((__m256i)x, (__m256i)y);
}
AVX2 INLINE vec_avx2 gather_avx2(const uint32_t *table, vec_avx2 at) {
    const int *p = (const int *)(const void *)table;
    return (vec_avx2)_mm256_i32gather_epi32(p, (__m256i)at, sizeof *table);
}
AVX2 INLINE mask_avx2 equal_avx2(vec_avx2 x, vec_avx2 y) {
    return _mm256_cmpeq_epi32((__m256i)x, (__m256i)y);
}
AVX2 INLINE mask_avx2 more_avx2(vec_avx2 x, vec_avx2 y) { /* of numbers below 2^31 */
    return _mm256_cmpgt_epi32((__m256i)x, (__m256i)y);
}
AVX2 INLINE mask_avx2 not_avx2(mask_avx2 m) {
    return ~m;
}
AVX2 INLINE vec_avx2 pick_avx2(mask_avx2 m, vec_avx2 yes, vec_avx2 no) {
    return (vec_avx2)_mm256_blendv_epi8((__m256i)no, (__m256i)yes, m);
}
AVX2 INLINE uint32_t bits_avx2(mask_avx2 m) {
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(m));
}

#define LANE(x)    x##_avx2
#define LANE_LEVEL AVX2
#define LANE_OP    AVX2 INLINE
#include "tokenizer/bpe_lanes.h"
#undef LANE
#undef LANE_LEVEL
#undef LANE_OP

/* ------------------------------------------------------------------ a group at a time */

#define AVX512 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f")))
typedef uint32_t vec_avx512 __attribute__((vector_size(64)));
typedef __mmask16 mask_avx512;
enum { WIDTH_avx512 = 16 };

AVX512 INLINE vec_avx512 load_avx512(const uint32_t *p) {
    return (vec_avx512)_mm512_loadu_si512(p);
}
AVX512 INLINE void store_avx512(uint32_t *p, vec_avx512 x) {
    _mm512_storeu_si512(p, (__m512i)x);
}
AVX512 INLINE vec_avx512 set_avx512(uint32_t x) {
    return (vec_avx512)_mm512_set1_epi32((int)x);
}
AVX512 INLINE vec_avx512 min_avx512(vec_avx512 x, vec_avx512 y) {
    return (vec_avx512)_mm512_min_epu32((__m512i)x, (__m512i)y);
}
AVX512 INLINE vec_avx512 gather_avx512(const uint32_t *table, vec_avx512 at) {
    return (vec_avx512)_mm512_i32gather_epi32((__m512i)at, table, sizeof *table);
}
AVX512 INLINE mask_avx512 equal_avx512(vec_avx512 x, vec_avx512 y) {
    return _mm512_cmpeq_epi32_mask((__m512i)x, (__m512i)y);
}
AVX512 INLINE mask_avx512 more_avx512(vec_avx512 x, vec_avx512 y) {
    return _mm512_cmpgt_epi32_mask((__m512i)x, (__m512i)y);
}
AVX512 INLINE mask_avx512 not_avx512(mask_avx512 m) {
    return (mask_avx512)~m;
}
AVX512 INLINE vec_avx512 pick_avx512(mask_avx512 m, vec_avx512 yes, vec_avx512 no) {
    return (vec_avx512)_mm512_mask_mov_epi32((__m512i)no, m, (__m512i)yes);
}
AVX512 INLINE uint32_t bits_avx512(mask_avx512 m) {
    return m;
}

#define LANE(x)    x##_avx512
#define LANE_LEVEL AVX512
#define LANE_OP    AVX512 INLINE
#include "tokenizer/bpe_lanes.h"

/* ------------------------------------------------------------------ which */

bpe_many_fn bpe_many_at(const struct tokenizer *t, int i) {
    if (!t->all_bytes || t->n_merges >= NO_RANK / 3 || t->n >= NO_RANK) return NULL;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") ||
        !__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("popcnt"))
        return NULL;
    if (__builtin_cpu_supports("avx512f") && i-- == 0) return merge_many_avx512;
    return i == 0 ? merge_many_avx2 : NULL;
}
#else

bpe_many_fn bpe_many_at(const struct tokenizer *t, int i) {
    (void)t, (void)i;
    return NULL;
}

#endif
