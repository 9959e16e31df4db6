/* See utf8.h: the table of well-formed sequences of the Unicode standard (D92), in code. */
#include "base/utf8.h"

int utf8_step(const unsigned char *p, size_t n) {
    unsigned c = p[0], lo = 0x80, hi = 0xBF;
    int want;
    if (c < 0x80) return 1;
    if (c < 0xC2 || c > 0xF4) return -1;
    want = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (c == 0xE0) lo = 0xA0; /* overlong */
    if (c == 0xED) hi = 0x9F; /* surrogates */
    if (c == 0xF0) lo = 0x90; /* overlong */
    if (c == 0xF4) hi = 0x8F; /* above U+10FFFF */
    for (int i = 1; i < want; i++) {
        if ((size_t)i >= n || p[i] < lo || p[i] > hi) return -i;
        lo = 0x80;
        hi = 0xBF;
    }
    return want;
}
