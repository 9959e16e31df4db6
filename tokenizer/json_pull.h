/* Reading a large JSON text value by value, without a tree: vocabularies have a hundred thousand
 * members.
 *
 *     size_t i = 0;
 *     pull_open(&p, '{');
 *     while ((rc = pull_key(&p, &i, &key, &n)) > 0)
 *         if (…) pull_u64(&p, &x); else pull_skip(&p, &slice, &slice_n);
 *
 * Strict as json.h: RFC 8259, valid UTF-8, no lone surrogates, nesting at most 64. Every
 * function returns a negative code after a failure, described with path, line and column in
 * *err. */
#ifndef LORY_TOKENIZER_JSON_PULL_H
#define LORY_TOKENIZER_JSON_PULL_H

#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

struct pull {
    const char *start, *at, *end;
    const char *what; /* path for messages */
    struct buf text;  /* the last string that had escapes */
    struct err *err;
};

/* Checks that text[0..n) is UTF-8 and stands before its first value. */
int pull_begin(struct pull *p, const char *text, size_t n, const char *what, struct err *err);
void pull_release(struct pull *p);
/* The first byte of the next value: '{' '[' '"' 't' 'n' '-' '0'…; 0 at the end. */
char pull_peek(struct pull *p);
/* Enters an object ('{') or array ('['). */
int pull_open(struct pull *p, char bracket);
/* The next member's key, or item: 1; 0 behind the closing bracket. *i counts them, 0 at first. */
int pull_key(struct pull *p, size_t *i, const char **ret, size_t *ret_n);
int pull_item(struct pull *p, size_t *i);
/* Strings are borrowed until the next call that reads one. */
int pull_string(struct pull *p, const char **ret, size_t *ret_n);
int pull_u64(struct pull *p, uint64_t *ret);
/* Skips a value of any kind; ret (may be NULL) gets its text. */
int pull_skip(struct pull *p, const char **ret, size_t *ret_n);
/* Nothing but white space may follow. */
int pull_end(struct pull *p);
/* ERR_CORRUPT at the present place. */
int pull_fail(struct pull *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
