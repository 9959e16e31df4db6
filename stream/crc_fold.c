/* CRC-32 of gzip by carry-less products, 128 bytes at a time (Gopal and others, "Fast CRC
 * Computation for Generic Polynomials Using PCLMULQDQ Instruction", 2009), for processors with
 * products of two pairs at once (VPCLMULQDQ: Zen 3, Ice Lake and later).
 *
 * Bits are reflected: the first bit of a block is its highest power of x. A lane of 128 bits that
 * stands D bits before another is the same modulo the polynomial as its two halves times
 * x^(D+32) and x^(D-32), each modulo the polynomial, added to that other lane. The constants are
 * those remainders, reflected and shifted by one. */
#include "stream/crc_fold.h"

#if defined(__VPCLMULQDQ__)

#include <immintrin.h>

static inline __m256i load(const uint8_t *p) {
    return _mm256_loadu_si256((const void *)p);
}

/* Both lanes of v by D bits, onto `to`. */
static inline __m256i fold(__m256i v, __m256i by, __m256i to) {
    __m256i low = _mm256_clmulepi64_epi128(v, by, 0x00),
            high = _mm256_clmulepi64_epi128(v, by, 0x11);
    return _mm256_xor_si256(_mm256_xor_si256(low, high), to);
}

static inline __m128i fold_one(__m128i v, __m128i to) {
    const __m128i by = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0); /* D = 128 */
    __m128i low = _mm_clmulepi64_si128(v, by, 0x00), high = _mm_clmulepi64_si128(v, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), to);
}

void crc_fold(uint32_t state, const uint8_t *p, size_t n, uint8_t ret[16]) {
    const __m256i by =
        _mm256_set_epi64x(0x14a7fe880, 0x1e88ef372, 0x14a7fe880, 0x1e88ef372); /* D = 1024 */
    __m256i v[4] = {load(p), load(p + 32), load(p + 64), load(p + 96)};
    v[0] = _mm256_xor_si256(v[0], _mm256_setr_epi32((int)state, 0, 0, 0, 0, 0, 0, 0));
    for (p += 128, n -= 128; n >= 128; p += 128, n -= 128)
        for (int i = 0; i < 4; i++) v[i] = fold(v[i], by, load(p + 32 * i));
    __m128i one = _mm256_castsi256_si128(v[0]);
    for (int i = 0; i < 4; i++) {
        if (i) one = fold_one(one, _mm256_castsi256_si128(v[i]));
        one = fold_one(one, _mm256_extracti128_si256(v[i], 1));
    }
    for (; n; p += 16, n -= 16) one = fold_one(one, _mm_loadu_si128((const void *)p));
    _mm_storeu_si128((void *)ret, one);
}

#else
typedef int crc_fold_not_built;
#endif
