/* Classes of bytes as bit masks, 64 bytes a word: bit i of word w is byte 64 w + i. */
#ifndef LORY_TOKENIZER_SCAN_MASKS_H
#define LORY_TOKENIZER_SCAN_MASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCAN_WORDS = 64 };

struct scan_masks {
    uint64_t letter[SCAN_WORDS];  /* A-Z a-z                                 */
    uint64_t number[SCAN_WORDS];  /* 0-9                                     */
    uint64_t space[SCAN_WORDS];   /* 9-13 and 32                             */
    uint64_t blank[SCAN_WORDS];   /* 32                                      */
    uint64_t quote[SCAN_WORDS];   /* the apostrophe                          */
    uint64_t slash[SCAN_WORDS];   /* the slash                               */
    uint64_t newline[SCAN_WORDS]; /* 10 and 13                               */
    uint64_t upper[SCAN_WORDS];   /* A-Z                                     */
    uint64_t wide[SCAN_WORDS];    /* 128-255: classes to be found otherwise  */
    /* scan_wide_fn's, which adds to those above; all of a character has its bit. */
    uint64_t both[SCAN_WORDS]; /* upper and lower: letters without case, and marks */
    uint64_t mark[SCAN_WORDS]; /* marks                                            */
    uint64_t tail[SCAN_WORDS]; /* bytes of a character but the first               */
    uint64_t odd[SCAN_WORDS];  /* bytes of none                                    */
};

/* Fills the masks of p[0..n), n <= 64 * SCAN_WORDS; bits behind n are 0. True if `wide` has a
 * bit. */
typedef bool (*scan_masks_fn)(struct scan_masks *m, const uint8_t *p, size_t n);
bool scan_masks_plain(struct scan_masks *m, const uint8_t *p, size_t n);
/* The fastest of this machine; all of them agree. */
scan_masks_fn scan_masks_best(void);
/* The i-th one that this machine can run, or NULL; for tests. */
scan_masks_fn scan_masks_at(int i);

/* Adds what is outside ASCII to the masks of p[0..n), which does not end within a character. */
typedef void (*scan_wide_fn)(struct scan_masks *m, const uint8_t *p, size_t n);
void scan_wide_plain(struct scan_masks *m, const uint8_t *p, size_t n);
/* One that is much faster, or NULL. */
scan_wide_fn scan_wide_fast(void);
/* `to`, or less if that is within a character of text[0..n). */
size_t scan_whole(const uint8_t *text, size_t to, size_t n);

/* Bits of `first`, each with the tail behind it; `before`: what came out for the word before. */
static inline uint64_t scan_with_tails(uint64_t first, uint64_t tail, uint64_t before) {
    return first | (tail & ~(tail + ((first << 1 | before >> 63) & tail)));
}

/* A start on the last byte of a space of several bytes belongs on its first. */
void scan_move_to_first(const struct scan_masks *m, uint64_t *start, size_t words);

/* Bit i: between byte i of word w and the next one, which is in m[0..words), is a place as
 * scan_sure() has them; neither is odd. For o200k marks are letters, none of them behind anything
 * else; and it also cuts between a small letter and a capital, unless the small one is the first
 * letter of a contraction ('lL): no other alternative goes on behind a small letter with a
 * capital. `wide`: there are characters outside ASCII. */
static inline uint64_t scan_sure_bits(const struct scan_masks *m, size_t words, size_t w,
                                      bool o200k, bool wide) {
    const size_t v = w + 1 < words ? w + 1 : w;
    const uint64_t L = m->letter[w], N = m->number[w], S = m->space[w], U = m->upper[w];
    const uint64_t letter = L >> 1 | m->letter[v] << 63, /* the next one is … */
        number = N >> 1 | m->number[v] << 63, quote = m->quote[w] >> 1 | m->quote[v] << 63,
                   white = (S & ~m->newline[w]) >> 1 | (m->space[v] & ~m->newline[v]) << 63;
    uint64_t sure = (L & ~(letter | quote)) | (N & ~number) | (~(L | N | S) & (number | white));
    if (o200k) {
        uint64_t begun = m->quote[w] << 1 | (w ? m->quote[w - 1] >> 63 : 0);
        uint64_t small = L & ~(U | (wide ? m->both[w] : 0));
        sure |= small & ~begun & (U >> 1 | m->upper[v] << 63);
    }
    return sure;
}

/* Writes from + i to `o` for every bit i of start[0..words), in order, and returns where it
 * stopped. Up to eight elements behind that are written, too. */
uint32_t *scan_write_starts(const uint64_t *start, size_t words, uint32_t from, uint32_t *o);

#endif
