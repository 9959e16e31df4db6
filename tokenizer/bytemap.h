/* GPT-2's way to write any byte as a printable character, used in vocab.json and merges.txt.
 *
 *   bytes 33-126, 161-172, 174-255      the character of the same number
 *   the other 68, in order              U+0100, U+0101 … U+0143:   space ─▶ Ġ,  newline ─▶ Ċ */
#ifndef LORY_TOKENIZER_BYTEMAP_H
#define LORY_TOKENIZER_BYTEMAP_H

#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

enum { BYTEMAP_CHARS = 0x144 }; /* all mapped characters are below */

/* The character of a byte. */
uint32_t bytemap_char(uint8_t byte);
/* The byte of a character, or -1 if it stands for none. */
int bytemap_byte(uint32_t cp);
/* The 256 bytes in the order of their characters: the alphabet of a trained vocabulary. */
const uint8_t *bytemap_order(void);

/* Appends bytes[0..n) as mapped characters in UTF-8 (at most 2 bytes each). */
int bytemap_write(struct buf *out, const void *bytes, size_t n, struct err *err);
/* Appends the bytes that the characters of text[0..n) stand for. Returns 0 and leaves `out` as it
 * was if a character stands for none (or is not UTF-8), 1 if all do; or a negative code. */
int bytemap_read(struct buf *out, const char *text, size_t n, struct err *err);

#endif
