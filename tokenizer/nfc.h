/* Normalization form C (Unicode Standard Annex 15), as the normalizer "NFC" of a tokenizer.json
 * asks for: "e" and U+0301 become "é". Properties of characters are libunistring's.
 *
 *   text    a b e ◌́ c …        steady characters are copied, a stretch from the one before an
 *               └─┬─┘           unsteady character to the next steady one is decomposed, ordered
 *   out     a b  é  c …         and composed
 *
 * HF's normalizer has the tables of Unicode 9: marks that are newer stay where they are, there and
 * here. Bytes that are not UTF-8 stay as they are. */
#ifndef LORY_TOKENIZER_NFC_H
#define LORY_TOKENIZER_NFC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

struct nfc; /* read-only tables; any number of threads */

int nfc_new(struct nfc **ret, struct err *err);
void nfc_free(struct nfc *f); /* NULL is fine */

/* True if text[0..n) holds steady characters only, and so is in form C. */
bool nfc_is(const struct nfc *f, const char *text, size_t n);

/* Appends text[0..n) in form C to `out`. `places`, if not NULL, gets two numbers for every byte
 * written: start and end, in text, of what HF says it was made of (of a composed character: its
 * first part alone). n < 4 GiB; O(n log n). */
int nfc_write(const struct nfc *f, const char *text, size_t n, struct buf *out, struct u32s *places,
              struct err *err);

/* The last place in text[0..n) before which and from which on a text has its form C by itself: the
 * form of the whole is that of text[0..ret) and that of the rest. 0: none but the beginning. What
 * is behind it is a character and those that may join it or change places with it: marks, vowels
 * and finals of Hangul. n does not end inside a character. */
size_t nfc_sure(const struct nfc *f, const char *text, size_t n);

#endif
