/* What a character is (Unicode 16.0, tables made by gen_unicode.py), and how UTF-8 spells it.
 *
 *   UNICODE_IN(unicode_cat(cp), UNICODE_L)      is it a letter?
 *
 * Unicode 16 because HF tokenizers and tiktoken have it; a later one would cut some texts
 * otherwise. */
#ifndef LORY_TOKENIZER_UNICODE_H
#define LORY_TOKENIZER_UNICODE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* General categories; CW is a control that is white space (tab, newline …). */
enum unicode_cat {
    CAT_CN,
    CAT_LU,
    CAT_LL,
    CAT_LT,
    CAT_LM,
    CAT_LO,
    CAT_MN,
    CAT_MC,
    CAT_ME,
    CAT_ND,
    CAT_NL,
    CAT_NO,
    CAT_PC,
    CAT_PD,
    CAT_PS,
    CAT_PE,
    CAT_PI,
    CAT_PF,
    CAT_PO,
    CAT_SM,
    CAT_SC,
    CAT_SK,
    CAT_SO,
    CAT_ZS,
    CAT_ZL,
    CAT_ZP,
    CAT_CC,
    CAT_CW,
    CAT_CF,
    CAT_CS,
    CAT_CO,
    CAT_COUNT
};

/* Sets of categories. UPPER and LOWER are o200k's two halves of a word; they overlap. */
#define UNICODE_IN(cat, set) ((set) >> (cat)&1u)
#define UNICODE_L            ((1u << (CAT_LO + 1)) - (1u << CAT_LU)) /* Lu Ll Lt Lm Lo */
#define UNICODE_M            (1u << CAT_MN | 1u << CAT_MC | 1u << CAT_ME)
#define UNICODE_N            (1u << CAT_ND | 1u << CAT_NL | 1u << CAT_NO)
#define UNICODE_SPACE        (1u << CAT_ZS | 1u << CAT_ZL | 1u << CAT_ZP | 1u << CAT_CW)
#define UNICODE_UPPER        (1u << CAT_LU | 1u << CAT_LT | 1u << CAT_LM | 1u << CAT_LO | UNICODE_M)
#define UNICODE_LOWER        (1u << CAT_LL | 1u << CAT_LM | 1u << CAT_LO | UNICODE_M)

/* What a byte that is not part of a valid character decodes to: in no set above. */
#define UNICODE_BAD 0xffffffffu

extern const uint8_t unicode_block[0x110000 / 256];
extern const uint8_t unicode_cats[];

static inline enum unicode_cat unicode_cat(uint32_t cp) {
    if (cp >= 0x110000) return CAT_CN;
    return (enum unicode_cat)unicode_cats[unicode_block[cp >> 8] << 8 | (cp & 255)];
}

/* Decodes the character at p, which lies before `end`; returns its length. A byte that begins no
 * valid character (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF, nothing cut
 * off) has length 1 and *cp = UNICODE_BAD. */
static inline size_t unicode_decode(const uint8_t *p, const uint8_t *end, uint32_t *cp) {
    size_t left = (size_t)(end - p);
    uint32_t c = p[0];
    *cp = c;
    if (c < 0x80) return 1;
    if (left >= 4) { /* most of Asia, in few steps */
        uint32_t x;
        memcpy(&x, p, sizeof x);
        uint32_t u = (x & 0xf) << 12 | (x >> 2 & 0xfc0) | (x >> 16 & 0x3f);
        if ((x & 0xc0c0f0) == 0x8080e0 && u >= 0x800 && u < 0xd800) {
            *cp = u;
            return 3;
        }
    }
    *cp = UNICODE_BAD;
    if (c < 0xc2 || c > 0xf4 || left < 2 || (p[1] & 0xc0) != 0x80) return 1;
    if (c < 0xe0) {
        *cp = (c & 0x1f) << 6 | (p[1] & 0x3fu);
        return 2;
    }
    if (left < 3 || (p[2] & 0xc0) != 0x80) return 1;
    if (c < 0xf0) {
        uint32_t u = (c & 0xf) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
        if (u < 0x800 || (u >= 0xd800 && u < 0xe000)) return 1;
        *cp = u;
        return 3;
    }
    if (left < 4 || (p[3] & 0xc0) != 0x80) return 1;
    uint32_t u = (c & 7) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    if (u < 0x10000 || u > 0x10ffff) return 1;
    *cp = u;
    return 4;
}

/* Writes cp (a scalar value) as UTF-8 and returns its length, 1 … 4. */
static inline size_t unicode_encode(uint32_t cp, char out[4]) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)((0xf00u >> n & 0xf0) | cp);
    return n;
}

#endif
