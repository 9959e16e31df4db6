/* JSON lines with other members: a record as it stands, but for the members named.
 *
 * For lines that stream/jsonl.h has found good; what is not touched stays byte for byte. */
#ifndef LORY_STREAM_JSONL_EDIT_H
#define LORY_STREAM_JSONL_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"

/* One member of an object as it is written. Pointers into the line. */
struct jsonl_member {
    const char *key; /* between the quotes, escapes as written */
    size_t key_n;
    const char *value;
    size_t value_n;
};

/* The member behind *at (0 for the first): true, and *at is moved on; false at the end. */
bool jsonl_next(const char *line, size_t n, size_t *at, struct jsonl_member *ret);
/* The same of a line that is a shared mapping of a file, which may be larger than memory: pages are
 * given back behind the place that is looked at. */
bool jsonl_next_mapped(const char *line, size_t n, size_t *at, struct jsonl_member *ret);

/* The text of what stands between two quotes: v[0..n) itself where it has no escapes, else what
 * `room`, which is emptied, then holds. What is not a JSON string stays as it is. */
int jsonl_text(const char *v, size_t n, struct buf *room, const char **ret, size_t *ret_n,
               struct err *err);

/* The same of a member's value: a string with escapes stands in `room` written in the one way of
 * json_quote(), so that values are equal if and only if their bytes are; all else as it stands. */
int jsonl_value(const struct jsonl_member *m, struct buf *room, const char **ret, size_t *ret_n,
                struct err *err);

/* Appends the object without the members of these names and without its closing brace, so that the
 * caller can add members (`jsonl_begin_member`) and the brace. */
int jsonl_open(const char *line, size_t n, const char *const *without, size_t n_without,
               struct buf *out, struct err *err);
/* The same of such a mapping, piece by piece. `put` ends it with a code below 0. */
typedef int (*jsonl_put)(void *ctx, const char *v, size_t n, struct err *err);
int jsonl_open_mapped(const char *line, size_t n, const char *const *without, size_t n_without,
                      jsonl_put put, void *ctx, struct err *err);
/* Appends `, "key": ` (the comma only if a member stands before it). */
int jsonl_begin_member(struct buf *out, const char *key, struct err *err);

#endif
