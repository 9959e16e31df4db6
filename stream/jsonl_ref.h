/* The slow twin of jsonl_field(): by recursive descent, a byte at a time, as the grammar is written
 * (RFC 8259). It defines which lines are accepted and what their text is. */
#ifndef LORY_STREAM_JSONL_REF_H
#define LORY_STREAM_JSONL_REF_H

#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"

/* 0 and the text appended to `out`, or ERR_DATA (no message), or ERR_NOMEM. */
int jsonl_field_ref(const char *line, size_t n, const char *field, size_t field_n, struct buf *out);

#endif
