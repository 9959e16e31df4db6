/* The two loops over every byte of a corpus: is it UTF-8, and where does a JSON string end.
 *
 * Each has a plain version that says what is meant and versions for AVX2 and AVX-512 that are
 * chosen at run time; all give the same answers. */
#ifndef LORY_STREAM_SCAN_H
#define LORY_STREAM_SCAN_H

#include <stdbool.h>
#include <stddef.h>

enum scan_end {
    SCAN_QUOTE,   /* at the closing quote                      */
    SCAN_OPEN,    /* the bytes ended first                     */
    SCAN_CONTROL, /* at a byte below 0x20                      */
    SCAN_ESCAPE   /* at the backslash of an escape that is none */
};

struct scan {
    enum scan_end (*find_end)(const char *src, size_t n, size_t *at, bool *escaped, bool *high);
    enum scan_end (*unescape)(char *dst, const char *src, size_t n, size_t *at, size_t *dst_n,
                              bool *high);
    bool (*utf8)(const char *p, size_t n);
    const char *name;
};

/* find_end: walks src[0..n), the inside of a JSON string, to its closing quote; *at is where it
 * stands in the end. *escaped becomes true if there was a backslash, *high if there was a byte that
 * is not ASCII (perhaps a little behind the end): only then can it be other than UTF-8.
 * unescape: the same, writing the text to dst, which has room for n + SCAN_SLACK bytes; *dst_n of
 * them are used. Lone surrogates become U+FFFD.
 * utf8: true if p[0..n) is valid UTF-8 (no surrogates, shortest forms, up to U+10FFFF). */
extern const struct scan scan_bytes_plain, scan_bytes_avx2, scan_bytes_avx512;
enum { SCAN_SLACK = 64 };

/* The best one for this processor. */
const struct scan *scan_best(void);
/* Offset of the first byte that is not UTF-8; n if there is none. */
size_t utf8_error(const char *p, size_t n);

#endif
