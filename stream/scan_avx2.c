/* 32 bytes at a time; built with -mavx2, called only where the processor has it. */
#include "stream/scan.h"

#if defined(__AVX2__)

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

#include "stream/scan_loop.h"

const struct scan scan_avx2 = {find_end, unescape, utf8, "avx2"};

#else
typedef int scan_avx2_not_built;
#endif
