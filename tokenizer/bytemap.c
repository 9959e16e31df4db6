/* The map is arithmetic, so there is no table to fill and nothing to initialise. */
#include "tokenizer/bytemap.h"
#include "tokenizer/unicode.h"

uint32_t bytemap_char(uint8_t byte) {
    if (byte <= 32) return 0x100u + byte;
    if (byte >= 127 && byte <= 160) return 0x100u + 33 + (byte - 127u);
    if (byte == 173) return 0x143;
    return byte;
}

int bytemap_byte(uint32_t cp) {
    if (cp >= BYTEMAP_CHARS) return -1;
    if (cp == 0x143) return 173;
    if (cp >= 0x121) return (int)(127 + cp - 0x121);
    if (cp >= 0x100) return (int)(cp - 0x100);
    return bytemap_char((uint8_t)cp) == cp ? (int)cp : -1;
}

#define B4(x)  (x), (x) + 1, (x) + 2, (x) + 3
#define B12(x) B4(x), B4((x) + 4), B4((x) + 8)
#define B16(x) B12(x), B4((x) + 12)

const uint8_t *bytemap_order(void) {
    static const uint8_t order[256] = {
        B16(33),  B16(49),  B16(65),  B16(81),  B16(97),  B12(113), 125, 126, /* 33 … 126   */
        B12(161),                                                             /* 161 … 172  */
        B16(174), B16(190), B16(206), B16(222), B16(238), 254,      255,      /* 174 … 255  */
        B16(0),   B16(16),  32,                                               /* 0 … 32     */
        B16(127), B16(143), 159,      160,      173                           /* 127 … 160  */
    };
    return order;
}

int bytemap_write(struct buf *out, const void *bytes, size_t n, struct err *err) {
    const uint8_t *p = bytes;
    int rc = n > SIZE_MAX / 2 ? err_nomem(err, n) : buf_reserve(out, 2 * n, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < n; i++) out->n += unicode_encode(bytemap_char(p[i]), out->v + out->n);
    return 0;
}

int bytemap_read(struct buf *out, const char *text, size_t n, struct err *err) {
    const uint8_t *p = (const uint8_t *)text, *end = p + n;
    int rc = buf_reserve(out, n, err);
    if (rc < 0) return rc;
    size_t was = out->n;
    while (p < end) {
        uint32_t cp;
        if (*p > 32 && *p < 127) { /* itself: most of them */
            out->v[out->n++] = (char)*p++;
            continue;
        }
        p += unicode_decode(p, end, &cp);
        int b = bytemap_byte(cp);
        if (b < 0) {
            out->n = was;
            return 0;
        }
        out->v[out->n++] = (char)b;
    }
    return 1;
}
