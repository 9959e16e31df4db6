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
 *     the token); or else, where tokens that hold these two hold both whole,
 *   - these two with what stands beside them: a token that begins before them holds the character
 *     before them, too, and one that ends behind them the one behind.
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
    uint16_t partly[64][256];    /* [b - 0xc0][a]: where b begins a character, and of the two
                                  * that meet there tokens may not hold all. Bit 4 (i-1) + k-1:
                                  * one holds i bytes of the left and k of the right one       */
    uint64_t *filter;            /* (1 << SEAMS_FILTER_BITS bits) by hash of seams_context():
                                  * a token holds these bytes on both sides. Now and then a
                                  * bit is set by another one: that is a seam missed, no more  */
    uint64_t *nearer;            /* (as many) before seams_unspaced() only: by hash of the context
                                  * with seams_with() of what stands beside the two in a token */
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

/* Of it the last i bytes of the left and the first k of the right: way 4 (i-1) + k-1. */
static inline uint64_t seams_part(uint64_t context, uint32_t way) {
    return context & (~0ull << (56 - 8 * (way & 3)) | ~0ull >> (56 - 8 * (way >> 2)));
}

#define SEAMS_BY       0x9E3779B97F4A7C15u
#define SEAMS_BY_OTHER 0xE7037ED1A0B428DBu
static inline uint64_t seams_bit(uint64_t context) {
    return context * SEAMS_BY >> (64 - SEAMS_FILTER_BITS);
}
/* May a token hold these bytes on both sides of a place? */
static inline bool seams_held(const struct seams *s, uint64_t context) {
    return seams_get(s->filter, seams_bit(context));
}

/* May a token lie across the place before p[0], where a character begins, that does not hold all of
 * the one of `left` bytes before it, or of `right` behind it? Mostly there is one way to ask for,
 * or none, and which cannot be foreseen. */
static inline bool seams_partly(const struct seams *s, uint64_t context, const uint8_t *p,
                                size_t left, size_t right) {
    const uint32_t ways = ((1u << right) - 1) * 0x1111 & ((1u << 4 * left) - 1);
    uint32_t bits = s->partly[*p - 0xc0][p[-1]] & ways,
             at = (uint32_t)__builtin_ctz(bits | 1 << 15);
    bool held = (bits != 0) & seams_held(s, seams_part(context, at));
    while (__builtin_expect(bits & (bits - 1), 0)) {
        bits &= bits - 1;
        held |= seams_held(s, seams_part(context, (uint32_t)__builtin_ctz(bits)));
    }
    return held;
}

/* Bytes of a character by its first one; 0: it is none. */
static inline size_t seams_length(uint8_t lead) {
    return lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* The character p[0..n) on one side of two others. */
enum seams_side { SEAMS_BEFORE = 1, SEAMS_BEHIND };
static inline uint64_t seams_tag(enum seams_side side, size_t n) {
    return (uint64_t)side << 3 | n;
}
static inline uint64_t seams_other(const uint8_t *p, size_t n, enum seams_side side) {
    uint64_t key = seams_tag(side, n);
    for (size_t i = 0; i < n; i++) key = key << 8 | p[i];
    return key;
}
/* What it adds to a context; nothing, if it is 0. */
static inline uint64_t seams_with(uint64_t other) {
    return other * SEAMS_BY_OTHER;
}
/* Does a token hold `context` alone, behind the one, before the other, or between both? */
static inline bool seams_any_near(const struct seams *s, uint64_t context, uint64_t before,
                                  uint64_t behind) {
    const uint64_t one = context ^ seams_with(before), other = seams_with(behind);
    return seams_get(s->nearer, seams_bit(context)) | seams_get(s->nearer, seams_bit(one)) |
           seams_get(s->nearer, seams_bit(context ^ other)) |
           seams_get(s->nearer, seams_bit(one ^ other));
}
/* May a token that holds the characters of `left` bytes before p[at] and of `right` behind it,
 * `context`, lie across the place in p[0..n)? No token ends within these two. */
bool seams_near(const struct seams *s, uint64_t context, const uint8_t *p, size_t n, size_t at,
                size_t left, size_t right);

/* Is it a letter of a script of few letters without blanks between words: Thai, Lao, Tibetan,
 * Burmese, Khmer? There most two letters are in some token. */
static inline bool seams_unspaced(const uint8_t *p, size_t n) {
    if (n < 3) return false;
    return (p[0] == 0xe0 && p[1] >= 0xb8) ||
           (p[0] == 0xe1 && ((p[1] & 0xfe) == 0x9e || (p[1] & 0xfe) == 0x80));
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
/* The same for characters of two bytes, as context. */
static inline uint64_t seams_two(const uint8_t *p, size_t n, size_t at) {
    uint32_t x;
    if (at < 2 || n - at < 2) return 0;
    memcpy(&x, p + at - 2, sizeof x);
    if ((x & 0xC0E0C0E0) != 0x80C080C0) return 0;
    x = __builtin_bswap32(x); /* left, right */
    return n - at > 2 && p[at + 2] >> 6 == 2 ? 0 : (uint64_t)x << 48 | x >> 16;
}
/* seams_at() for such a place. */
static inline bool seams_at_two(const struct seams *s, uint64_t context, const uint8_t *p,
                                size_t at) {
    return !(seams_held(s, context) | seams_partly(s, context, p + at, 2, 2));
}

/* seams_near() for a place between characters of three; mostly there are more on both sides. */
static inline bool seams_near_wide(const struct seams *s, uint64_t context, const uint8_t *p,
                                   size_t n, size_t at) {
    const uint64_t three = 0xC0C0F0, is_three = 0x8080E0;
    uint32_t before, behind; /* and a byte behind each, of which nothing depends */
    if (at < 6 || n - at < 7) return seams_near(s, context, p, n, at, 3, 3);
    memcpy(&before, p + at - 6, sizeof before);
    memcpy(&behind, p + at + 3, sizeof behind);
    if ((before & three) != is_three || (behind & three) != is_three)
        return seams_near(s, context, p, n, at, 3, 3);
    return seams_any_near(s, context,
                          seams_tag(SEAMS_BEFORE, 3) << 24 | __builtin_bswap32(before) >> 8,
                          seams_tag(SEAMS_BEHIND, 3) << 24 | __builtin_bswap32(behind) >> 8);
}
/* seams_at() for such a place. */
static inline bool seams_at_wide(const struct seams *s, uint64_t wide, const uint8_t *p, size_t n,
                                 size_t at) {
    uint64_t x = __builtin_bswap64(wide); /* left, right, and two zeros */
    const uint64_t context = x << 24 | x >> 40;
    bool seam = !seams_held(s, context);
    if (seams_unspaced(p + at, n - at)) /* none of the answers can be foreseen */
        return (seam | !seams_near_wide(s, context, p, n, at)) &
               !seams_partly(s, context, p + at, 3, 3);
    if (__builtin_expect(seam & (s->partly[p[at] - 0xc0][p[at - 1]] != 0), 0))
        seam = !seams_partly(s, context, p + at, 3, 3);
    return seam;
}

/* seams_at_wide() of the places before p[at], p[at + 3], …, 3 <= at < n, as far as seams_wide() has
 * them, and can ask cheaply, SEAMS_RUN at most (seams_wide.c). Writes which of them are seams to
 * end[0..*ret_seams), and returns of how many places that is; 0: *ret_seams is not set. */
enum { SEAMS_RUN = 8 };
typedef size_t (*seams_run_fn)(const struct seams *s, const uint8_t *p, size_t n, size_t at,
                               uint32_t end[SEAMS_RUN], size_t *ret_seams);
/* The i-th one that this machine can run, of which the first is the fastest, or NULL. */
seams_run_fn seams_run_at(int i);

#endif
