/* One string field out of one JSON line, without building a tree: the hot loop of every program
 * that reads a corpus. The whole line is validated as strictly as a full parser would (compared
 * with cJSON in the tests), so that a record that is accepted here is accepted everywhere. */
#ifndef LORY_STREAM_JSONL_H
#define LORY_STREAM_JSONL_H

#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"

/* Finds the member `field` of the object in line[0..n) and appends its text, unescaped, to `out`.
 * A string without escapes is not copied: *ret points into `line`; otherwise into `out` (valid
 * until `out` grows again). Lone surrogates become U+FFFD. "\u0000" is a NUL byte in the text.
 * ERR_DATA with err->column (from 1) for: not an object, bad JSON, bad UTF-8, no such field ("no
 * string field \"content\""), a field that is no string, a field twice. */
int jsonl_field(const char *line, size_t n, const char *field, size_t field_n, struct buf *out,
                const char **ret, size_t *ret_n, struct err *err);

/* The field to read when none was named: "content", else "text", else the first string member.
 * *ret is malloc'd. */
int jsonl_guess_field(const char *line, size_t n, char **ret, struct err *err);

/* The same for a line that is a shared mapping of a file, which may be larger than memory: pages
 * are given back behind the place that is looked at. *ret points to the text as it stands in the
 * line, with its escapes. */
int jsonl_field_mapped(const char *line, size_t n, const char *field, size_t field_n,
                       const char **ret, size_t *ret_n, struct err *err);
int jsonl_guess_field_mapped(const char *line, size_t n, char **ret, struct err *err);

#endif
