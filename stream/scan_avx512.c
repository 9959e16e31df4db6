/* 64 bytes at a time; built with -mavx512bw -mavx512vl, called only where the processor has them. */
#include "stream/scan.h"

#if defined(__AVX512BW__)

#include "stream/utf8_avx2.h"

enum { STEP = 64 };
#define SPECIAL(p) specials(p)
#define COPY(d, p) _mm512_storeu_si512((d), _mm512_loadu_si512((p)))

static inline unsigned long long specials(const char *p) {
    __m512i v = _mm512_loadu_si512(p);
    return _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('"')) |
           _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\\')) |
           _mm512_cmplt_epu8_mask(v, _mm512_set1_epi8(0x20));
}

#include "stream/scan_loop.h"

const struct scan scan_avx512 = {find_end, unescape, utf8, "avx512"};

#else
typedef int scan_avx512_not_built;
#endif
