/* One byte -> eight bits, and whether it is a slash. Plain: a table. AVX-512 (VBMI): the same table
 * in two registers, looked up 64 bytes at a time. AVX2: comparisons of ranges. */
#include <string.h>
#include "tokenizer/scan_masks.h"

enum {
    LETTER = 1,
    NUMBER = 2,
    SPACE = 4,
    BLANK = 8,
    QUOTE = 16,
    NEWLINE = 32,
    UPPER = 64,
    WIDE = 128
};

#define X5(c)  c, c, c, c, c
#define X26(c) X5(c), X5(c), X5(c), X5(c), X5(c), c
static const uint8_t table[128] = {[9] = SPACE,
                                   [10] = SPACE | NEWLINE,
                                   SPACE,
                                   SPACE,
                                   SPACE | NEWLINE,
                                   [' '] = SPACE | BLANK,
                                   ['\''] = QUOTE,
                                   ['0'] = X5(NUMBER),
                                   X5(NUMBER),
                                   ['A'] = X26(LETTER | UPPER),
                                   ['a'] = X26(LETTER)};

bool scan_masks_plain(struct scan_masks *m, const uint8_t *p, size_t n) {
    uint64_t any = 0;
    for (size_t w = 0; 64 * w < n; w++) {
        uint64_t letter = 0, number = 0, space = 0, blank = 0, quote = 0, slash = 0, newline = 0,
                 upper = 0, wide = 0;
        for (size_t i = 0; i < 64 && 64 * w + i < n; i++) {
            uint8_t byte = p[64 * w + i];
            uint64_t c = byte < 128 ? table[byte] : WIDE;
            letter |= (c & 1) << i;
            number |= (c >> 1 & 1) << i;
            space |= (c >> 2 & 1) << i;
            blank |= (c >> 3 & 1) << i;
            quote |= (c >> 4 & 1) << i;
            newline |= (c >> 5 & 1) << i;
            upper |= (c >> 6 & 1) << i;
            slash |= (uint64_t)(byte == '/') << i;
            wide |= (c >> 7) << i;
        }
        m->letter[w] = letter, m->number[w] = number, m->space[w] = space;
        m->blank[w] = blank, m->quote[w] = quote, m->slash[w] = slash;
        m->newline[w] = newline, m->upper[w] = upper, m->wide[w] = wide;
        any |= wide;
    }
    return any != 0;
}

#ifdef __x86_64__
#include <immintrin.h>

__attribute__((target("avx512f,avx512bw,avx512vbmi"))) static bool masks_avx512(
    struct scan_masks *m, const uint8_t *p, size_t n) {
    const __m512i lo = _mm512_loadu_si512(table), hi = _mm512_loadu_si512(table + 64);
    uint64_t any = 0;
    for (size_t w = 0; 64 * w < n; w++) {
        size_t left = n - 64 * w;
        __mmask64 in = left >= 64 ? ~0ull : ~0ull >> (64 - left);
        __m512i x = _mm512_maskz_loadu_epi8(in, p + 64 * w);
        uint64_t wide = _mm512_movepi8_mask(x);
        __m512i c = _mm512_permutex2var_epi8(lo, x, hi); /* looks at 7 bits */
        m->letter[w] = _mm512_test_epi8_mask(c, _mm512_set1_epi8(LETTER)) & ~wide;
        m->number[w] = _mm512_test_epi8_mask(c, _mm512_set1_epi8(NUMBER)) & ~wide;
        m->space[w] = _mm512_test_epi8_mask(c, _mm512_set1_epi8(SPACE)) & ~wide;
        m->blank[w] = _mm512_test_epi8_mask(c, _mm512_set1_epi8(BLANK)) & ~wide;
        m->quote[w] = _mm512_test_epi8_mask(c, _mm512_set1_epi8(QUOTE)) & ~wide;
        m->slash[w] = _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8('/'));
        m->newline[w] = _mm512_test_epi8_mask(c, _mm512_set1_epi8(NEWLINE)) & ~wide;
        m->upper[w] = _mm512_test_epi8_mask(c, _mm512_set1_epi8(UPPER)) & ~wide;
        m->wide[w] = wide;
        any |= wide;
    }
    return any != 0;
}

/* Bytes b with first <= b < first + count, as a mask of 32 bits (count <= 127). */
__attribute__((target("avx2"))) static inline uint64_t range32(__m256i x, int first, int count) {
    __m256i shifted = _mm256_add_epi8(x, _mm256_set1_epi8((char)(-128 - first)));
    return (uint32_t)_mm256_movemask_epi8(
        _mm256_cmpgt_epi8(_mm256_set1_epi8((char)(-128 + count)), shifted));
}

__attribute__((target("avx2"))) static inline uint64_t equal32(__m256i x, char byte) {
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, _mm256_set1_epi8(byte)));
}

__attribute__((target("avx2"))) static bool masks_avx2(struct scan_masks *m, const uint8_t *p,
                                                       size_t n) {
    uint64_t any = 0;
    uint8_t rest[64] = {0};
    for (size_t w = 0; 64 * w < n; w++) {
        const uint8_t *q = p + 64 * w;
        if (n - 64 * w < 64) q = memcpy(rest, q, n - 64 * w);
        uint64_t v[9] = {0};
        for (int half = 0; half < 2; half++) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(q + 32 * half));
            uint64_t blank = equal32(x, ' ');
            v[0] |= range32(_mm256_or_si256(x, _mm256_set1_epi8(0x20)), 'a', 26) << 32 * half;
            v[1] |= range32(x, '0', 10) << 32 * half;
            v[2] |= (range32(x, 9, 5) | blank) << 32 * half;
            v[3] |= blank << 32 * half;
            v[4] |= equal32(x, '\'') << 32 * half;
            v[5] |= (equal32(x, '\n') | equal32(x, '\r')) << 32 * half;
            v[6] |= range32(x, 'A', 26) << 32 * half;
            v[7] |= (uint64_t)(uint32_t)_mm256_movemask_epi8(x) << 32 * half;
            v[8] |= equal32(x, '/') << 32 * half;
        }
        m->letter[w] = v[0], m->number[w] = v[1], m->space[w] = v[2];
        m->blank[w] = v[3], m->quote[w] = v[4], m->newline[w] = v[5];
        m->upper[w] = v[6], m->wide[w] = v[7], m->slash[w] = v[8];
        any |= v[7];
    }
    return any != 0;
}
#endif

scan_masks_fn scan_masks_at(int i) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && i-- == 0) return masks_avx2;
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw") && i-- == 0)
        return masks_avx512;
#endif
    return i == 0 ? scan_masks_plain : NULL;
}

scan_masks_fn scan_masks_best(void) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw"))
        return masks_avx512;
    if (__builtin_cpu_supports("avx2")) return masks_avx2;
#endif
    return scan_masks_plain;
}

static inline __attribute__((always_inline)) uint32_t *write_starts(const uint64_t *start,
                                                                    size_t words, uint32_t from,
                                                                    uint32_t *o) {
    for (size_t w = 0; w < words; w++, from += 64) {
        uint64_t x = start[w];
        uint32_t *next = o + __builtin_popcountll(x);
        while (x) { /* eight at a time: the count is not predictable, the groups mostly are */
            for (int i = 0; i < 8; i++, x &= x - 1)
                o[i] = from + (uint32_t)__builtin_ctzll(x | 1ull << 63);
            o += 8;
        }
        o = next;
    }
    return o;
}

#ifdef __x86_64__
__attribute__((target("popcnt,bmi"))) static uint32_t *write_starts_bmi(const uint64_t *start,
                                                                        size_t words, uint32_t from,
                                                                        uint32_t *o) {
    return write_starts(start, words, from, o);
}
#endif

uint32_t *scan_write_starts(const uint64_t *start, size_t words, uint32_t from, uint32_t *o) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi"))
        return write_starts_bmi(start, words, from, o);
#endif
    return write_starts(start, words, from, o);
}
