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
    uint64_t newline[SCAN_WORDS]; /* 10 and 13                              */
    uint64_t upper[SCAN_WORDS];   /* A-Z                                     */
    uint64_t wide[SCAN_WORDS];    /* 128-255: classes to be found otherwise  */
    uint64_t tail[SCAN_WORDS];    /* bytes of a wide space but the first; the caller's */
    bool wide_space;              /* the caller's                            */
};

/* Fills the masks of p[0..n), n <= 64 * SCAN_WORDS; bits behind n are 0. True if `wide` has a
 * bit. */
typedef bool (*scan_masks_fn)(struct scan_masks *m, const uint8_t *p, size_t n);
bool scan_masks_plain(struct scan_masks *m, const uint8_t *p, size_t n);
/* The fastest of this machine; all of them agree. */
scan_masks_fn scan_masks_best(void);
/* The i-th one that this machine can run, or NULL; for tests. */
scan_masks_fn scan_masks_at(int i);

/* Writes from + i to `o` for every bit i of start[0..words), in order, and returns where it
 * stopped. Up to eight elements behind that are written, too. */
uint32_t *scan_write_starts(const uint64_t *start, size_t words, uint32_t from, uint32_t *o);

#endif
