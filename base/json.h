/* JSON for configuration files, artefacts and replies: cJSON, made strict.
 *
 * json_parse() refuses what cJSON lets pass or loses: nesting deeper than 64, duplicate keys, NUL
 * in a string (\u0000), numbers that overflow, invalid UTF-8, anything behind the value. (Corpus
 * lines do not come here: stream/jsonl.h.) The tree is cJSON's own; read it with the getters below,
 * which check types, or by iterating; write with json_text(). Not thread-safe per tree. */
#ifndef LORY_BASE_JSON_H
#define LORY_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

/* Parses text[0..n). ERR_CORRUPT with `what`, line and column and what is wrong; ERR_NOMEM. Caller
 * owns *ret: cJSON_Delete. `what` is the name for messages (usually the path). */
int json_parse(cJSON **ret, const char *text, size_t n, const char *what, struct err *err);
/* json_parse of a whole file (at most 1 GiB). ERR_IO if it cannot be read. */
int json_load(cJSON **ret, const char *path, struct err *err);

/* Member `key` of an object (case matters), or NULL. */
const cJSON *json_get(const cJSON *object, const char *key);
/* Typed members. A missing key or null leaves *ret as it is and returns 0; a wrong type or range is
 * ERR_CORRUPT naming `what` and the key. Strings are borrowed from the tree. */
int json_u64(const cJSON *o, const char *key, uint64_t max, uint64_t *ret, const char *what,
             struct err *err);
int json_f64(const cJSON *o, const char *key, double *ret, const char *what, struct err *err);
int json_bool(const cJSON *o, const char *key, bool *ret, const char *what, struct err *err);
int json_str(const cJSON *o, const char *key, const char **ret, const char *what, struct err *err);

/* Building a tree that is going to be a file: what there is no memory for makes *ok false, and it
 * stays so; it is asked once, before the tree is used. `o` may be NULL: no memory either. (cJSON's
 * own calls say so one by one, and a member that nobody asked about is missing.) */
void json_put_number(cJSON *o, const char *key, double x, bool *ok);
void json_put_str(cJSON *o, const char *key, const char *text, bool *ok);
/* Returns the new object or array, which is o's; NULL: no memory. */
cJSON *json_put_object(cJSON *o, const char *key, bool *ok);
cJSON *json_put_array(cJSON *o, const char *key, bool *ok);
/* Takes `item` over, also on failure; key NULL: o is an array. */
void json_put_item(cJSON *o, const char *key, cJSON *item, bool *ok);

/* Appends the tree as text: indented by two blanks, or in one line. Doubles so that they read back
 * the same; whole numbers without a fraction; keys in the order they were added; UTF-8 as it is. */
int json_text(struct buf *out, const cJSON *tree, bool pretty, struct err *err);
/* json_text to a file, atomically, with a newline at the end. */
int json_save(const char *path, const cJSON *tree, bool pretty, struct err *err);

/* Appends s[0..n) as a JSON string with quotes. Invalid UTF-8 becomes U+FFFD. */
int json_quote(struct buf *out, const char *s, size_t n, struct err *err);
/* Appends x so that it reads back the same ("1e-05", "0.1", "3"); null for NaN and infinities. */
int json_number(struct buf *out, double x, struct err *err);

#endif
