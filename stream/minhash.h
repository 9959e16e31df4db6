/* Which documents are nearly equal: MinHash signatures, as CodeParrot and datasketch compute them.
 *
 *   text ─▶ words [A-Za-z_0-9]+ ─▶ set ─▶ h = first 4 bytes of SHA-1(word), little-endian
 *        ─▶ for k in 0 … 255: min over the set of ((a_k h + b_k) mod 2^64 mod (2^61 - 1)) mod 2^32
 *        ─▶ 13 bands of 19 values (LSH for a threshold of 0.85): a 64-bit key each
 *
 * a and b are numpy's RandomState(1), as in datasketch (minhash.py); the product wraps at 64 bits
 * before the reduction, as numpy's does. Two documents meet if they share a key: at a Jaccard
 * similarity of .8 with a probability of .17, at .85 of .45, at .9 of .85, at .95 of .998. */
#ifndef LORY_STREAM_MINHASH_H
#define LORY_STREAM_MINHASH_H

#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "stream/docs.h"

enum { MINHASH_VALUES = 256, MINHASH_BANDS = 13, MINHASH_ROWS = 19, MINHASH_WORDS_MIN = 10 };

struct minhasher; /* scratch; one per thread */
int minhasher_new(struct minhasher **ret, struct err *err);
void minhasher_free(struct minhasher *m); /* NULL is fine */

/* The words of a text as a set: 64-bit hashes, ascending, in *ret (borrowed until the next call).
 * *ret_words: how many there were with repeats. `ret` and `ret_n` may be NULL. */
int minhash_words(struct minhasher *m, const char *text, size_t n, const uint64_t **ret,
                  size_t *ret_n, uint64_t *ret_words, struct err *err);
/* The same of a document, which may stay far (docs_stay_far); then no more than a word is held. */
int minhash_doc(struct minhasher *m, const struct doc *doc, const uint64_t **ret, size_t *ret_n,
                uint64_t *ret_words, struct err *err);
/* The signature of the text that minhash_words() has just taken apart. */
void minhash_signature(struct minhasher *m, uint32_t ret[MINHASH_VALUES]);
/* The keys of its bands. Keys of different bands never meet but by chance (2^-64). */
void minhash_bands(const uint32_t signature[MINHASH_VALUES], uint64_t ret[MINHASH_BANDS]);

/* |a ∩ b| / |a ∪ b| of two ascending lists; 1 for two empty ones. */
double minhash_jaccard(const uint64_t *a, size_t a_n, const uint64_t *b, size_t b_n);

#endif
