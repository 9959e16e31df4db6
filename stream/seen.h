/* A set of 128-bit digests: which texts have been met. 16 bytes each at a load of at most 3/4, so
 * ten million texts take 256 MB. One thread at a time. */
#ifndef LORY_STREAM_SEEN_H
#define LORY_STREAM_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct digest128 {
    uint64_t lo, hi;
};

struct seen { /* zero is the empty set */
    struct digest128 *v;
    size_t cap, n;
};

/* Digest of the text with all white space (Unicode's, as Python's `\s`) left out: CodeParrot's idea
 * of equal files. `room` holds n bytes. */
struct digest128 spaceless_digest(const char *text, size_t n, char *room);
/* The same of a text that comes in pieces, none of which ends within a character. */
struct spaceless_stream;
struct spaceless_stream *spaceless_begin(void); /* NULL: no memory */
int spaceless_add(struct spaceless_stream *s, const char *v, size_t n, struct err *err);
struct digest128 spaceless_end(struct spaceless_stream *s); /* frees s */
/* The text without its white space, in `room` (n bytes); returns its length. */
size_t spaceless(const char *text, size_t n, char *room);

/* Adds d. 1: it was not there; 0: it was; or ERR_NOMEM. */
int seen_add(struct seen *s, struct digest128 d, struct err *err);
void seen_release(struct seen *s);

#endif
