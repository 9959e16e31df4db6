/* 32 bytes at a time; built with -mavx2, called only where the processor has it.
 *
 * unescape() does the simple escapes of a block at once, as the version for AVX-512 does (see
 * there). What AVX2 lacks is an instruction that squeezes bytes out: a table says for each pattern
 * of eight bytes where those that stay go. 2.6 GB/s -> 4.6 on Python text (Zen 3). */
#include "stream/scan.h"

#if defined(__AVX2__)

#include <string.h>
#include "stream/utf8_avx2.h"

enum { STEP = 32 };
#define SPECIAL(p) specials(p)
#define COPY(d, p) _mm256_storeu_si256((void *)(d), _mm256_loadu_si256((const void *)(p)))

static inline unsigned long long specials(const char *p) {
    __m256i v = _mm256_loadu_si256((const void *)p);
    __m256i quote = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('"'));
    __m256i slash = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'));
    const __m256i last = _mm256_set1_epi8(0x1f);
    __m256i control = _mm256_cmpeq_epi8(_mm256_max_epu8(v, last), last);
    __m256i any = _mm256_or_si256(_mm256_or_si256(quote, slash), control);
    return (unsigned)_mm256_movemask_epi8(any);
}

#define BLOCKS
#include "stream/scan_loop.h"

/* Byte i of entry m is the place of the i-th bit that is set in m. */
// clang-format off
static const uint64_t squeeze[256] = {
    0x8080808080808080, 0x8080808080808000, 0x8080808080808001, 0x8080808080800100,
    0x8080808080808002, 0x8080808080800200, 0x8080808080800201, 0x8080808080020100,
    0x8080808080808003, 0x8080808080800300, 0x8080808080800301, 0x8080808080030100,
    0x8080808080800302, 0x8080808080030200, 0x8080808080030201, 0x8080808003020100,
    0x8080808080808004, 0x8080808080800400, 0x8080808080800401, 0x8080808080040100,
    0x8080808080800402, 0x8080808080040200, 0x8080808080040201, 0x8080808004020100,
    0x8080808080800403, 0x8080808080040300, 0x8080808080040301, 0x8080808004030100,
    0x8080808080040302, 0x8080808004030200, 0x8080808004030201, 0x8080800403020100,
    0x8080808080808005, 0x8080808080800500, 0x8080808080800501, 0x8080808080050100,
    0x8080808080800502, 0x8080808080050200, 0x8080808080050201, 0x8080808005020100,
    0x8080808080800503, 0x8080808080050300, 0x8080808080050301, 0x8080808005030100,
    0x8080808080050302, 0x8080808005030200, 0x8080808005030201, 0x8080800503020100,
    0x8080808080800504, 0x8080808080050400, 0x8080808080050401, 0x8080808005040100,
    0x8080808080050402, 0x8080808005040200, 0x8080808005040201, 0x8080800504020100,
    0x8080808080050403, 0x8080808005040300, 0x8080808005040301, 0x8080800504030100,
    0x8080808005040302, 0x8080800504030200, 0x8080800504030201, 0x8080050403020100,
    0x8080808080808006, 0x8080808080800600, 0x8080808080800601, 0x8080808080060100,
    0x8080808080800602, 0x8080808080060200, 0x8080808080060201, 0x8080808006020100,
    0x8080808080800603, 0x8080808080060300, 0x8080808080060301, 0x8080808006030100,
    0x8080808080060302, 0x8080808006030200, 0x8080808006030201, 0x8080800603020100,
    0x8080808080800604, 0x8080808080060400, 0x8080808080060401, 0x8080808006040100,
    0x8080808080060402, 0x8080808006040200, 0x8080808006040201, 0x8080800604020100,
    0x8080808080060403, 0x8080808006040300, 0x8080808006040301, 0x8080800604030100,
    0x8080808006040302, 0x8080800604030200, 0x8080800604030201, 0x8080060403020100,
    0x8080808080800605, 0x8080808080060500, 0x8080808080060501, 0x8080808006050100,
    0x8080808080060502, 0x8080808006050200, 0x8080808006050201, 0x8080800605020100,
    0x8080808080060503, 0x8080808006050300, 0x8080808006050301, 0x8080800605030100,
    0x8080808006050302, 0x8080800605030200, 0x8080800605030201, 0x8080060503020100,
    0x8080808080060504, 0x8080808006050400, 0x8080808006050401, 0x8080800605040100,
    0x8080808006050402, 0x8080800605040200, 0x8080800605040201, 0x8080060504020100,
    0x8080808006050403, 0x8080800605040300, 0x8080800605040301, 0x8080060504030100,
    0x8080800605040302, 0x8080060504030200, 0x8080060504030201, 0x8006050403020100,
    0x8080808080808007, 0x8080808080800700, 0x8080808080800701, 0x8080808080070100,
    0x8080808080800702, 0x8080808080070200, 0x8080808080070201, 0x8080808007020100,
    0x8080808080800703, 0x8080808080070300, 0x8080808080070301, 0x8080808007030100,
    0x8080808080070302, 0x8080808007030200, 0x8080808007030201, 0x8080800703020100,
    0x8080808080800704, 0x8080808080070400, 0x8080808080070401, 0x8080808007040100,
    0x8080808080070402, 0x8080808007040200, 0x8080808007040201, 0x8080800704020100,
    0x8080808080070403, 0x8080808007040300, 0x8080808007040301, 0x8080800704030100,
    0x8080808007040302, 0x8080800704030200, 0x8080800704030201, 0x8080070403020100,
    0x8080808080800705, 0x8080808080070500, 0x8080808080070501, 0x8080808007050100,
    0x8080808080070502, 0x8080808007050200, 0x8080808007050201, 0x8080800705020100,
    0x8080808080070503, 0x8080808007050300, 0x8080808007050301, 0x8080800705030100,
    0x8080808007050302, 0x8080800705030200, 0x8080800705030201, 0x8080070503020100,
    0x8080808080070504, 0x8080808007050400, 0x8080808007050401, 0x8080800705040100,
    0x8080808007050402, 0x8080800705040200, 0x8080800705040201, 0x8080070504020100,
    0x8080808007050403, 0x8080800705040300, 0x8080800705040301, 0x8080070504030100,
    0x8080800705040302, 0x8080070504030200, 0x8080070504030201, 0x8007050403020100,
    0x8080808080800706, 0x8080808080070600, 0x8080808080070601, 0x8080808007060100,
    0x8080808080070602, 0x8080808007060200, 0x8080808007060201, 0x8080800706020100,
    0x8080808080070603, 0x8080808007060300, 0x8080808007060301, 0x8080800706030100,
    0x8080808007060302, 0x8080800706030200, 0x8080800706030201, 0x8080070603020100,
    0x8080808080070604, 0x8080808007060400, 0x8080808007060401, 0x8080800706040100,
    0x8080808007060402, 0x8080800706040200, 0x8080800706040201, 0x8080070604020100,
    0x8080808007060403, 0x8080800706040300, 0x8080800706040301, 0x8080070604030100,
    0x8080800706040302, 0x8080070604030200, 0x8080070604030201, 0x8007060403020100,
    0x8080808080070605, 0x8080808007060500, 0x8080808007060501, 0x8080800706050100,
    0x8080808007060502, 0x8080800706050200, 0x8080800706050201, 0x8080070605020100,
    0x8080808007060503, 0x8080800706050300, 0x8080800706050301, 0x8080070605030100,
    0x8080800706050302, 0x8080070605030200, 0x8080070605030201, 0x8007060503020100,
    0x8080808007060504, 0x8080800706050400, 0x8080800706050401, 0x8080070605040100,
    0x8080800706050402, 0x8080070605040200, 0x8080070605040201, 0x8007060504020100,
    0x8080800706050403, 0x8080070605040300, 0x8080070605040301, 0x8007060504030100,
    0x8080070605040302, 0x8007060504030200, 0x8007060504030201, 0x0706050403020100,
};
// clang-format on

static inline uint32_t bits_of(__m256i v) {
    return (uint32_t)_mm256_movemask_epi8(v);
}

/* 0xff in the bytes whose bit is set. */
static inline __m256i bytes_of(uint32_t bits) {
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                            2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), spread);
    return _mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit);
}

/* What each byte stands for behind a backslash; 0: nothing. `"`, `\` and `/` are themselves; the
 * letters lie in 0x60..0x7f, where the low half tells them apart. */
static inline __m256i simple_of(__m256i v, __m256i quote, __m256i slash) {
    const __m256i of_6 = _mm256_setr_epi8(0, 0, '\b', 0, 0, 0, '\f', 0, 0, 0, 0, 0, 0, 0, '\n', 0,
                                          0, 0, '\b', 0, 0, 0, '\f', 0, 0, 0, 0, 0, 0, 0, '\n', 0);
    const __m256i of_7 = _mm256_setr_epi8(0, 0, '\r', 0, '\t', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                          0, '\r', 0, '\t', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    __m256i high = _mm256_and_si256(v, _mm256_set1_epi8((char)0xf0));
    __m256i is_6 = _mm256_cmpeq_epi8(high, _mm256_set1_epi8(0x60));
    __m256i is_7 = _mm256_cmpeq_epi8(high, _mm256_set1_epi8(0x70));
    __m256i self =
        _mm256_or_si256(_mm256_or_si256(quote, slash), _mm256_cmpeq_epi8(v, _mm256_set1_epi8('/')));
    __m256i letters = _mm256_or_si256(_mm256_and_si256(_mm256_shuffle_epi8(of_6, v), is_6),
                                      _mm256_and_si256(_mm256_shuffle_epi8(of_7, v), is_7));
    return _mm256_or_si256(letters, _mm256_and_si256(v, self));
}

/* Writes the bytes of v whose bit is set; at most 8 bytes behind them are overwritten, too. */
static inline size_t put_kept(char *dst, __m256i v, uint32_t keep) {
    size_t d = 0;
    for (int half = 0; half < 2; half++) {
        __m128i x = half ? _mm256_extracti128_si256(v, 1) : _mm256_castsi256_si128(v);
        uint32_t low = keep >> 16 * half & 0xff, high = keep >> (16 * half + 8) & 0xff;
        __m128i a = _mm_loadl_epi64((const void *)&squeeze[low]);
        __m128i b = _mm_loadl_epi64((const void *)&squeeze[high]);
        _mm_storel_epi64((void *)(dst + d), _mm_shuffle_epi8(x, a));
        d += (size_t)__builtin_popcount(low);
        _mm_storel_epi64((void *)(dst + d), _mm_shuffle_epi8(_mm_srli_si128(x, 8), b));
        d += (size_t)__builtin_popcount(high);
    }
    return d;
}

/* Does one block, as block() of scan_avx512.c: which backslashes begin an escape is told by a
 * subtraction that carries through their runs. */
static inline size_t block(char *dst, const char *src, size_t *written, bool *stop) {
    const uint32_t odd = 0xaaaaaaaau;
    __m256i v = _mm256_loadu_si256((const void *)src);
    __m256i slash = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'));
    __m256i quote = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('"'));
    const __m256i last = _mm256_set1_epi8(0x1f);
    uint32_t slashes = bits_of(slash);
    uint32_t end = bits_of(_mm256_cmpeq_epi8(_mm256_max_epu8(v, last), last));
    uint32_t both = (((slashes << 1) | odd) - slashes) ^ odd;
    uint32_t begin = both & slashes, escaped = both ^ slashes;
    __m256i simple = simple_of(v, quote, slash);
    uint32_t none = bits_of(_mm256_cmpeq_epi8(simple, _mm256_setzero_si256()));
    end |= (bits_of(quote) & ~escaped) | (escaped & none) >> 1;
    v = _mm256_blendv_epi8(v, simple, bytes_of(escaped));
    /* Rare, and so a branch: where the next block begins must not wait for all of the above. */
    if (__builtin_expect((end | begin >> 31) != 0, 0)) {
        bool waits = begin >> 31; /* a letter in the next block: its backslash waits */
        uint32_t low = waits ? UINT32_MAX >> 1 : UINT32_MAX;
        size_t k = waits ? 31 : 32;
        *stop = (end & low) != 0;
        if (*stop) k = (size_t)__builtin_ctz(end);
        if (*stop) low = ((uint32_t)1 << k) - 1;
        *written = put_kept(dst, v, ~begin & low);
        return k;
    }
    *stop = false;
    *written = put_kept(dst, v, ~begin);
    return 32;
}

const struct scan scan_bytes_avx2 = {find_end, unescape, utf8, "avx2"};

#else
typedef int scan_avx2_not_built;
#endif
