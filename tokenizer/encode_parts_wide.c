/* Telling characters of two and three bytes from other parts: one by one without a branch, and with
 * AVX-512 sixteen at once. */
#include "tokenizer/encode_parts.h"

/* Part i. */
static inline void sort_one(const struct wide_char *wide, const uint8_t *p, struct parts *v,
                            size_t i, size_t *others, uint64_t *unknown) {
    static const uint8_t none[3];
    const uint32_t n = v->edge[i + 1] - v->edge[i];
    const uint8_t *two = n == 2 ? p + v->edge[i] : none, *three = n == 3 ? p + v->edge[i] : none;
    const uint32_t code = n == 2 ? wide_at_two(two) : wide_at_three(three);
    const bool is = (((two[0] & 0xe0) == 0xc0) & ((two[1] & 0xc0) == 0x80)) |
                    (((three[0] & 0xf0) == 0xe0) & ((three[1] & 0xc0) == 0x80) &
                     ((three[2] & 0xc0) == 0x80) & (code >= WIDE_THREE));
    const struct wide_char *c = &wide[code];
    v->a.ids[i] = c->id;
    v->a.n_ids[i] = c->n;
    v->a.which[*others] = (uint8_t)i;
    *others += !is;
    *unknown |= (uint64_t)(is & !c->n) << i;
}

static size_t sort_plain(const struct wide_char *wide, const uint8_t *p, size_t n, struct parts *v,
                         uint64_t *ret_unknown) {
    size_t others = 0;
    (void)n;
    *ret_unknown = 0;
    for (size_t i = 0; i < v->n; i++) sort_one(wide, p, v, i, &others, ret_unknown);
    return others;
}

#ifdef __x86_64__
#include <immintrin.h>

enum { AT_ONCE = 16, ENTRY = 4 /* numbers */ };
_Static_assert(sizeof(struct wide_char) == ENTRY * sizeof(uint32_t) &&
                   (int)AT_ONCE <= (int)PARTS_SPARE,
               "entries are gathered, and sixteen written at once");
#define AVX512 __attribute__((target("avx2,bmi,popcnt,avx512f,avx512dq,avx512vl")))

AVX512 static inline __m512i all(uint32_t x) {
    return _mm512_set1_epi32((int)x);
}

/* Six bits of each number, from `from` on, moved to bit `to`. */
AVX512 static inline __m512i six(__m512i x, unsigned from, unsigned to) {
    return _mm512_slli_epi32(_mm512_and_si512(_mm512_srli_epi32(x, from), all(63)), to);
}

/* Parts i ... i+15 of `of`; there are four bytes from each on. */
AVX512 static inline void sort16(const struct wide_char *wide, const uint8_t *p, struct parts *v,
                                 size_t i, __mmask16 of, size_t *others, uint64_t *unknown) {
    const __m512i from = _mm512_maskz_loadu_epi32(of, v->edge + i);
    const __m512i to = _mm512_maskz_loadu_epi32(of, v->edge + i + 1);
    const __m512i bytes = _mm512_sub_epi32(to, from);
    __mmask16 two = _mm512_mask_cmpeq_epi32_mask(of, bytes, all(2)),
              three = _mm512_mask_cmpeq_epi32_mask(of, bytes, all(3));
    const __m512i x = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), two | three, from, p, 1);
    three = _mm512_mask_cmpeq_epi32_mask(three, _mm512_and_si512(x, all(0xC0C0F0)), all(0x8080E0));
    const __m512i lead = _mm512_slli_epi32(_mm512_and_si512(x, all(15)), 12);
    __m512i code = _mm512_or_si512(lead, _mm512_or_si512(six(x, 8, 6), six(x, 16, 0)));
    three = _mm512_mask_cmpge_epu32_mask(three, code, all(WIDE_THREE));
    if (two) { /* rare where characters have three bytes */
        two = _mm512_mask_cmpeq_epi32_mask(two, _mm512_and_si512(x, all(0xC0E0)), all(0x80C0));
        const __m512i lead_of_two = _mm512_slli_epi32(_mm512_and_si512(x, all(31)), 6);
        code = _mm512_mask_or_epi32(code, two, lead_of_two, six(x, 8, 0));
    }
    const __mmask16 is = two | three;
    const __m512i n_at = _mm512_add_epi32(_mm512_slli_epi32(code, 2), all(ENTRY - 1));
    const __m512i n_ids = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), is, n_at, wide, 4);
    _mm512_mask_storeu_epi32(v->a.n_ids + i, of, n_ids);
    const __m512i low = _mm512_cvtepu32_epi64(_mm512_castsi512_si256(code));
    const __m512i high = _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(code, 1));
    const __m512i base = _mm512_set1_epi64((intptr_t)wide);
    _mm512_mask_storeu_epi64(v->a.ids + i, (__mmask8)of,
                             _mm512_add_epi64(base, _mm512_slli_epi64(low, 4)));
    _mm512_mask_storeu_epi64(v->a.ids + i + 8, (__mmask8)(of >> 8),
                             _mm512_add_epi64(base, _mm512_slli_epi64(high, 4)));
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __mmask16 other = of & ~is;
    const __m512i which = _mm512_add_epi32(lane, all((uint32_t)i));
    _mm_storeu_si128((__m128i *)(void *)(v->a.which + *others),
                     _mm512_cvtepi32_epi8(_mm512_maskz_compress_epi32(other, which)));
    *others += (size_t)__builtin_popcount(other);
    *unknown |= (uint64_t)_mm512_mask_testn_epi32_mask(is, n_ids, n_ids) << i;
}

AVX512 static size_t sort_avx512(const struct wide_char *wide, const uint8_t *p, size_t n,
                                 struct parts *v, uint64_t *ret_unknown) {
    size_t others = 0, many = v->n;
    *ret_unknown = 0;
    while (many && v->edge[many - 1] + 4 > n) many--;
    for (size_t i = 0; i < many; i += AT_ONCE) {
        const size_t left = many - i;
        const __mmask16 of = (__mmask16)(left < AT_ONCE ? (1u << left) - 1 : 0xFFFF);
        sort16(wide, p, v, i, of, &others, ret_unknown);
    }
    _mm256_zeroupper();
    for (; many < v->n; many++) sort_one(wide, p, v, many, &others, ret_unknown);
    return others;
}

parts_sort_fn parts_sort_at(int i) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && i-- == 0)
        return sort_avx512;
    return i == 0 ? sort_plain : NULL;
}
#else

parts_sort_fn parts_sort_at(int i) {
    return i == 0 ? sort_plain : NULL;
}

#endif
