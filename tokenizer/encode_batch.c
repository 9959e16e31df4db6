/* The keys of a batch of pieces, and the lines they belong to: see encode_cache.h. With AVX-512 of
 * eight pieces at a time: the 16 bytes from each beginning are gathered, and what is behind its end
 * is masked away. */
#include "tokenizer/encode_cache.h"

static void fill_plain(const struct caches *c, struct batch *b, const uint8_t *text, size_t n,
                       size_t from, const uint32_t *ends, size_t n_ends) {
    for (size_t i = 0; i < n_ends; from = ends[i++])
        if (ends[i] > from) batch_add(c, b, text + from, ends[i] - from, text + n);
}

#ifdef __x86_64__
#include <immintrin.h>

enum { AT_ONCE = 8 };
#define AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx2,bmi,bmi2,popcnt")))

/* Of 64-bit numbers the lowest n bytes are ones, n <= 8. */
AVX512 static inline __m512i low_bytes(__m512i n) {
    const __m512i bits = _mm512_sub_epi64(_mm512_set1_epi64(64), _mm512_slli_epi64(n, 3));
    return _mm512_srlv_epi64(_mm512_set1_epi64(-1), bits); /* by 64: zero */
}

/* short_line_of() of eight. */
AVX512 static inline __m512i lines_of(const struct short_cache *c, __m512i low, __m512i high) {
    __m512i h = _mm512_mullo_epi64(high, _mm512_set1_epi64((long long)SHORT_BY_HIGH));
    h = _mm512_mullo_epi64(_mm512_xor_si512(low, h), _mm512_set1_epi64((long long)SHORT_BY));
    h = _mm512_srl_epi64(h, _mm_cvtsi32_si128(64 - c->bits));
    enum { LINE_AT = 6 };
    _Static_assert(sizeof(struct short_line) == 1 << LINE_AT, "in bytes");
    return _mm512_add_epi64(_mm512_set1_epi64((intptr_t)c->line), _mm512_slli_epi64(h, LINE_AT));
}

/* Notes which of the eight from `first` on are for the middle cache. */
AVX512 static inline void note_middles(struct batch *b, size_t first, uint32_t which) {
    const uint64_t each = _pdep_u64(which, 0x0101010101010101) * 255; /* bits -> bytes */
    const uint64_t v = _pext_u64(0x0706050403020100, each) + first * 0x0101010101010101;
    memcpy(b->middle + b->n_middles, &v, sizeof v);
    b->n_middles += (size_t)__builtin_popcount(which);
}

/* batch_add() of the eight that begin at text + at and have n bytes; there are 16 from each on. */
AVX512 static inline void add_eight(const struct caches *c, struct batch *b, const uint8_t *text,
                                    __m512i at, __m512i n) {
    const __m512i eight = _mm512_set1_epi64(8);
    const __mmask8 is_short = _mm512_cmple_epu64_mask(n, _mm512_set1_epi64(SHORT_BYTES));
    const __m512i keep_low = low_bytes(_mm512_min_epu64(n, eight));
    const __m512i keep_high = low_bytes(_mm512_sub_epi64(_mm512_max_epu64(n, eight), eight));
    __m512i low = _mm512_i64gather_epi64(at, text, 1);
    __m512i high = _mm512_i64gather_epi64(at, text + 8, 1);
    low = _mm512_maskz_and_epi64(is_short, low, keep_low);
    high = _mm512_or_si512(_mm512_and_si512(high, keep_high), _mm512_slli_epi64(n, 56));
    high = _mm512_mask_mov_epi64(_mm512_set1_epi64((long long)NO_KEY), is_short, high);
    const size_t first = b->size;
    _mm512_storeu_si512(&b->p[first], _mm512_add_epi64(_mm512_set1_epi64((intptr_t)text), at));
    _mm256_storeu_si256((__m256i *)(void *)&b->n[first], _mm512_cvtepi64_epi32(n));
    _mm512_storeu_si512(&b->low[first], low);
    _mm512_storeu_si512(&b->high[first], high);
    _mm512_storeu_si512(&b->line[first], lines_of(&c->shorts, low, high));
    for (size_t i = first; i < first + AT_ONCE; i++) __builtin_prefetch(b->line[i]);
    b->size += AT_ONCE;
    note_middles(
        b, first,
        _mm512_mask_cmple_epu64_mask((__mmask8)~is_short, n, _mm512_set1_epi64(MIDDLE_BYTES)));
}

AVX512 static void fill_avx512(const struct caches *c, struct batch *b, const uint8_t *text,
                               size_t n, size_t from, const uint32_t *ends, size_t n_ends) {
    const __m256i one_back = _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6);
    size_t i = 0;
    for (; i + AT_ONCE <= n_ends && n - ends[i + AT_ONCE - 2] >= 16; i += AT_ONCE) {
        const __m256i end = _mm256_loadu_si256((const __m256i *)(const void *)(ends + i));
        __m256i at = _mm256_permutevar8x32_epi32(end, one_back);
        at = _mm256_mask_set1_epi32(at, 1, (int)(uint32_t)from);
        const __m256i bytes = _mm256_sub_epi32(end, at);
        if (_mm256_testn_epi32_mask(bytes, bytes)) break; /* an empty one */
        add_eight(c, b, text, _mm512_cvtepu32_epi64(at), _mm512_cvtepu32_epi64(bytes));
        from = ends[i + AT_ONCE - 1];
    }
    _mm256_zeroupper();
    fill_plain(c, b, text, n, from, ends + i, n_ends - i);
}

batch_fill_fn batch_fill_at(int i) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && i-- == 0)
        return fill_avx512;
    return i == 0 ? fill_plain : NULL;
}
#else

batch_fill_fn batch_fill_at(int i) {
    return i == 0 ? fill_plain : NULL;
}

#endif
