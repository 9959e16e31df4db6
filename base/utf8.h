/* Characters of UTF-8, one after the other. Thread-safe. */
#ifndef LORY_BASE_UTF8_H
#define LORY_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the character at p[0..n), n > 0, if it is well-formed UTF-8 (no overlong forms, no
 * surrogates, at most U+10FFFF); else minus the bytes of the longest piece that begins like one. */
int utf8_step(const unsigned char *p, size_t n);

#endif
