/* Parts of pieces on their way to ids: for encode_parts.c, and its steps for AVX-512. */
#ifndef LORY_TOKENIZER_ENCODE_PARTS_H
#define LORY_TOKENIZER_ENCODE_PARTS_H

#include "tokenizer/encode_inside.h"

enum { PARTS_SPARE = 16 /* behind arrays of which sixteen are written at once */ };

/* What parts become, in their order, as far as it is known; which[k]: where part k of those that
 * are no character of the table stands here. */
struct answers {
    const uint32_t *ids[BATCH];
    uint32_t n_ids[BATCH];
    uint8_t which[BATCH + PARTS_SPARE];
};

/* Part i is p[edge[i] .. edge[i+1]). */
struct parts {
    size_t n;
    uint32_t edge[BATCH + 1];
    struct answers a;
    struct batch rest; /* those that are no character of the table */
    bool wait;         /* some do, or others have come before them */
};

/* The entries of the characters at p of two and of three bytes: their code points. Three bytes that
 * spell one of two are none. */
enum { WIDE_THREE = 0x800 /* the first one of three */ };
static inline uint32_t wide_at_two(const uint8_t *p) {
    return (uint32_t)(p[0] & 31) << 6 | (p[1] & 63);
}
static inline uint32_t wide_at_three(const uint8_t *p) {
    return (uint32_t)(p[0] & 15) << 12 | (uint32_t)(p[1] & 63) << 6 | (p[2] & 63);
}

#endif
