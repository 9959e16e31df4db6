/* UTF-8 by table lookup, 32 bytes at a time (Keiser and Lemire, "Validating UTF-8 in less than one
 * instruction per byte", 2021). For each byte and the one before it, three tables of 16 entries, by
 * the high and low nibble of the first and the high nibble of the second, each give a set of the
 * errors that are still possible; an error is one that all three agree on. Third and fourth bytes
 * are checked by the lead two and three places before. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#include "stream/scan.h"

enum {
    TOO_SHORT = 1 << 0,      /* a lead byte or ASCII where a continuation was due */
    TOO_LONG = 1 << 1,       /* a continuation behind ASCII                       */
    OVERLONG_3 = 1 << 2,     /* e0 80..9f                                         */
    TOO_LARGE = 1 << 3,      /* f4 90..bf, f5..                                   */
    SURROGATE = 1 << 4,      /* ed a0..bf                                         */
    OVERLONG_2 = 1 << 5,     /* c0, c1                                            */
    TOO_LARGE_1000 = 1 << 6, /* f5.. 80..8f                                   */
    OVERLONG_4 = 1 << 6,     /* f0 80..8f                                         */
    TWO_CONTS = 1 << 7,      /* two continuations: fine only behind a long lead   */
    CARRY = TOO_SHORT | TOO_LONG | TWO_CONTS
};

#define LOOKUP(table, nibbles) _mm256_shuffle_epi8(table, nibbles)
#define TABLE(...)             _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)
#define B(x)                   (char)(x)

/* The last n bytes of `before`, then `now` without its last n. */
#define SHIFTED(now, before, n)                                                                    \
    _mm256_alignr_epi8(now, _mm256_permute2x128_si256(before, now, 0x21), 16 - (n))

static inline __m256i high_nibbles(__m256i v) {
    return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(0x0f));
}

static inline __m256i errors_of_two(__m256i now, __m256i prev1) {
    const __m256i first_high = TABLE(
        TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
        B(TWO_CONTS), B(TWO_CONTS), B(TWO_CONTS), B(TWO_CONTS), TOO_SHORT | OVERLONG_2, TOO_SHORT,
        TOO_SHORT | OVERLONG_3 | SURROGATE, TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4);
    const __m256i first_low = TABLE(
        B(CARRY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4), B(CARRY | OVERLONG_2), B(CARRY), B(CARRY),
        B(CARRY | TOO_LARGE), B(CARRY | TOO_LARGE | TOO_LARGE_1000),
        B(CARRY | TOO_LARGE | TOO_LARGE_1000), B(CARRY | TOO_LARGE | TOO_LARGE_1000),
        B(CARRY | TOO_LARGE | TOO_LARGE_1000), B(CARRY | TOO_LARGE | TOO_LARGE_1000),
        B(CARRY | TOO_LARGE | TOO_LARGE_1000), B(CARRY | TOO_LARGE | TOO_LARGE_1000),
        B(CARRY | TOO_LARGE | TOO_LARGE_1000), B(CARRY | TOO_LARGE | TOO_LARGE_1000 | SURROGATE),
        B(CARRY | TOO_LARGE | TOO_LARGE_1000), B(CARRY | TOO_LARGE | TOO_LARGE_1000));
    const __m256i second_high = TABLE(
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
        B(TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4),
        B(TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE),
        B(TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE),
        B(TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE), TOO_SHORT, TOO_SHORT,
        TOO_SHORT, TOO_SHORT);
    __m256i low = _mm256_and_si256(prev1, _mm256_set1_epi8(0x0f));
    return _mm256_and_si256(
        _mm256_and_si256(LOOKUP(first_high, high_nibbles(prev1)), LOOKUP(first_low, low)),
        LOOKUP(second_high, high_nibbles(now)));
}

/* Errors of `now`, given the block before it. */
static inline __m256i utf8_errors(__m256i now, __m256i before) {
    __m256i two = errors_of_two(now, SHIFTED(now, before, 1));
    __m256i third = _mm256_subs_epu8(SHIFTED(now, before, 2), _mm256_set1_epi8(B(0xe0 - 0x80)));
    __m256i fourth = _mm256_subs_epu8(SHIFTED(now, before, 3), _mm256_set1_epi8(B(0xf0 - 0x80)));
    __m256i due = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(B(0x80)));
    return _mm256_xor_si256(due, two);
}

static bool utf8(const char *p, size_t n) {
    __m256i before = _mm256_setzero_si256(), error = before;
    size_t i = 0;
    for (; n - i >= 64; i += 64) {
        __m256i a = _mm256_loadu_si256((const void *)(p + i));
        __m256i b = _mm256_loadu_si256((const void *)(p + i + 32));
        /* ASCII, and nothing left open: the last three bytes before were ASCII too */
        if (!_mm256_movemask_epi8(_mm256_or_si256(a, b)) &&
            !((uint32_t)_mm256_movemask_epi8(before) >> 29)) {
            before = b;
            continue;
        }
        error = _mm256_or_si256(error, utf8_errors(a, before));
        error = _mm256_or_si256(error, utf8_errors(b, a));
        before = b;
    }
    /* The tail, padded with zeros, one zero at least: it shows a sequence that was cut off. */
    char tail[96] = {0};
    memcpy(tail, p + i, n - i);
    for (size_t k = 0; k < n - i + 1; k += 32) {
        __m256i now = _mm256_loadu_si256((const void *)(tail + k));
        error = _mm256_or_si256(error, utf8_errors(now, before));
        before = now;
    }
    return _mm256_testz_si256(error, error);
}
