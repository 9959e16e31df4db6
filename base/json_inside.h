/* What the three files of json.h share. */
#ifndef LORY_BASE_JSON_INSIDE_H
#define LORY_BASE_JSON_INSIDE_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/utf8.h"

enum { JSON_DEPTH = 64, JSON_NUMBER_BYTES = 63 /* cJSON reads a number through 64 bytes */ };

/* What is wrong with a text, and where. */
struct json_fault {
    const char *why; /* NULL: nothing */
    size_t at;       /* byte offset   */
};
/* Checks text[0..n) against RFC 8259 and the limits of json.h (duplicate keys apart). Stops at the
 * key with the number `stop_at_key` (from 0, in the order of the text) as if it were a fault;
 * UINT64_MAX for never. */
struct json_fault json_check(const char *text, size_t n, uint64_t stop_at_key);

#endif
