/* Seams: places in a piece across which no token can lie, so that the two sides merge as if each
 * stood alone.
 *
 *   unquestionably ─▶ un|q|uestionably      "nq" and "qu": no token holds "nq"; "qu" many do
 *   今日は天気     ─▶ 今日|は|天|気          the characters on both sides are looked at
 *
 * A merge across a place makes a token that lies across it. A place is a seam if no token of the
 * vocabulary holds
 *   - the byte before it followed by the byte behind it; or else, behind characters of several
 *     bytes,
 *   - the end of the character before it, from any of its bytes on (or that end begins the token),
 *     followed by the beginning of the character behind it, up to any of its bytes (or that ends
 *     the token).
 * This holds for every vocabulary, also for those whose merges do not compose: it asks for tokens,
 * not for merges. It says nothing about pieces that are tokens by decree (ignore_merges): those
 * have to be looked up whole first. */
#ifndef LORY_TOKENIZER_SEAMS_H
#define LORY_TOKENIZER_SEAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/err.h"

enum { SEAMS_FILTER_BITS = 20 };

struct seams {
    uint64_t joined[65536 / 64]; /* bit (a << 8 | b): a token holds byte a before byte b       */
    uint64_t partly[65536 / 64]; /* the same, where b begins a character, and of the two
                                  * characters that meet there the token may not hold all      */
    uint64_t *filter;            /* (1 << SEAMS_FILTER_BITS bits) by hash of seams_context():
                                  * a token holds these bytes on both sides. Now and then a
                                  * bit is set by another one: that is a seam missed, no more  */
};

/* Adds what the token p[0..n) joins; `s` begins as zeros. */
int seams_add(struct seams *s, const uint8_t *p, size_t n, struct err *err);
void seams_release(struct seams *s);

static inline bool seams_get(const uint64_t *bits, uint64_t at) {
    return bits[at >> 6] >> (at & 63) & 1;
}
static inline bool seams_joined(const struct seams *s, uint8_t a, uint8_t b) {
    return seams_get(s->joined, (uint64_t)a << 8 | b);
}
static inline bool seams_partly(const struct seams *s, uint8_t a, uint8_t b) {
    return seams_get(s->partly, (uint64_t)a << 8 | b);
}

/* Bytes of the character that ends before p (at most `room`, of which there is one), and of the one
 * that begins at p. Four at most, whatever the bytes. */
static inline size_t seams_before(const uint8_t *p, size_t room) {
    size_t n = 1;
    while (n < 4 && n < room && (p[-(ptrdiff_t)n] & 0xc0) == 0x80) n++;
    return n;
}
static inline size_t seams_behind(const uint8_t *p, size_t room) {
    size_t n = 1;
    while (n < 4 && n < room && (p[n] & 0xc0) == 0x80) n++;
    return n;
}

/* left[0..n) before right[0..m), up to four bytes each, as a number; never 0 when right[0] is
 * not. */
static inline uint64_t seams_context(const uint8_t *left, size_t n, const uint8_t *right,
                                     size_t m) {
    uint64_t key = 0;
    for (size_t i = 0; i < m; i++) key |= (uint64_t)right[i] << (56 - 8 * i);
    for (size_t i = 0; i < n; i++) key |= (uint64_t)left[i] << (8 * (n - 1 - i));
    return key;
}

static inline uint64_t seams_bit(uint64_t context) {
    return context * 0x9E3779B97F4A7C15u >> (64 - SEAMS_FILTER_BITS);
}
/* May a token hold these bytes on both sides of a place? */
static inline bool seams_held(const struct seams *s, uint64_t context) {
    return seams_get(s->filter, seams_bit(context));
}

/* True if no token lies across the place in p[0..n) before p[at], 0 < at < n. */
bool seams_at(const struct seams *s, const uint8_t *p, size_t n, size_t at);

/* The two characters around the place before p[at], first byte lowest, if they are of three bytes
 * each, as most of Asia's, and no stray byte follows; else 0. */
static inline uint64_t seams_wide(const uint8_t *p, size_t n, size_t at) {
    uint32_t left, right; /* they overlap */
    if (at < 3 || n - at < 3) return 0;
    memcpy(&left, p + at - 3, sizeof left);
    memcpy(&right, p + at - 1, sizeof right);
    uint64_t x = left | (uint64_t)right << 16;
    if ((x & 0xC0C0F0C0C0F0) != 0x8080E08080E0) return 0;
    return n - at > 3 && p[at + 3] >> 6 == 2 ? 0 : x;
}
/* seams_at() for such a place. */
static inline bool seams_at_wide(const struct seams *s, uint64_t wide, const uint8_t *p, size_t n,
                                 size_t at) {
    uint64_t x = __builtin_bswap64(wide); /* left, right, and two zeros */
    bool seam = !seams_held(s, x << 24 | x >> 40);
    if (__builtin_expect(seam & seams_partly(s, p[at - 1], p[at]), 0)) seam = seams_at(s, p, n, at);
    return seam;
}

#endif
