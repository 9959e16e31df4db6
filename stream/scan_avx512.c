/* 64 bytes at a time, for processors with VBMI2 (Ice Lake, Zen 4 and later).
 *
 * Source code has an escape every 30 bytes or so, and stopping at each costs more than all the
 * rest. So unescape() does the simple ones of a block at once: which backslashes begin an escape is
 * arithmetic on the mask, the letters behind them go through a table of 128 bytes, and the
 * backslashes are squeezed out by a compress instruction. It stops only for \u, the end and errors.
 * 2.7 GB/s (AVX2) -> 8.0 on Python text. */
#include "stream/scan.h"

#if defined(__AVX512VBMI2__)

#include "stream/utf8_avx2.h"

enum { STEP = 64 };
#define SPECIAL(p) specials(p)
#define HIGH(p)    _mm512_movepi8_mask(_mm512_loadu_si512(p))
#define COPY(d, p) _mm512_storeu_si512((d), _mm512_loadu_si512((p)))

static inline uint64_t specials(const char *p) {
    __m512i v = _mm512_loadu_si512(p);
    return _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('"')) |
           _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\\')) |
           _mm512_cmplt_epu8_mask(v, _mm512_set1_epi8(0x20));
}

#define BLOCKS
#include "stream/scan_loop.h"

static inline uint64_t low_bits(size_t k) {
    return k == 64 ? ~(uint64_t)0 : ((uint64_t)1 << k) - 1;
}

/* Of each run of backslashes, every other one begins an escape, from the first on: a subtraction
 * carries through the runs (simdjson's way). *escaped are the places behind them. */
static inline uint64_t escapes(uint64_t slashes, uint64_t *escaped) {
    const uint64_t odd = 0xaaaaaaaaaaaaaaaau;
    uint64_t both = (((slashes << 1) | odd) - slashes) ^ odd;
    *escaped = both ^ slashes;
    return both & slashes;
}

static inline size_t block(char *dst, const char *src, size_t *written, bool *stop,
                           uint64_t *seen) {
    const __m512i low = _mm512_loadu_si512(simple_escape);
    const __m512i high = _mm512_loadu_si512(simple_escape + 64);
    __m512i v = _mm512_loadu_si512(src);
    uint64_t slashes = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\\'));
    uint64_t quotes = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('"'));
    uint64_t end = _mm512_cmplt_epu8_mask(v, _mm512_set1_epi8(0x20)), escaped;
    uint64_t begin = escapes(slashes, &escaped);
    size_t k = 64 - (size_t)(begin >> 63); /* a letter in the next block: its backslash waits */
    __m512i simple = _mm512_permutex2var_epi8(low, v, high); /* by the lower 7 bits */
    uint64_t not_ascii = _mm512_movepi8_mask(v);
    uint64_t none = _mm512_testn_epi8_mask(simple, simple) | not_ascii;
    *seen |= not_ascii;
    end |= (quotes & ~escaped) | (escaped & none) >> 1;
    *stop = (end & low_bits(k)) != 0;
    if (*stop) k = (size_t)__builtin_ctzll(end);
    uint64_t keep = ~begin & low_bits(k);
    v = _mm512_mask_mov_epi8(v, escaped, simple);
    _mm512_storeu_si512(dst, _mm512_maskz_compress_epi8(keep, v));
    *written = (size_t)__builtin_popcountll(keep);
    return k;
}

const struct scan scan_bytes_avx512 = {find_end, unescape, utf8, "avx512"};

#else
typedef int scan_avx512_not_built;
#endif
