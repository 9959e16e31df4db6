/* Tables in plain text, for terminals and logs.
 *
 *     struct table *t;
 *     table_new(&t, "tokenizer|V|bytes/token", "lrr", err);
 *     table_str(t, "tok/", err); table_u64(t, 32768, err); table_f64(t, 3.214, 2, err);    one row
 *     table_text(t, &out, err);
 *
 *       tokenizer       V  bytes/token
 *       ---------  ------  -----------
 *       tok/       32,768         3.21
 *
 * Cells are aligned by the columns they take on a terminal: wide characters take two, marks
 * none. */
#ifndef LORY_REPORT_TABLE_H
#define LORY_REPORT_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

struct table;

/* `heads` are separated by '|'; `align` has an 'l' or 'r' for each. */
int table_new(struct table **ret, const char *heads, const char *align, struct err *err);
void table_free(struct table *t); /* NULL is fine */
/* The next cell, row by row. */
int table_str(struct table *t, const char *s, struct err *err);
int table_u64(struct table *t, uint64_t x, struct err *err);           /* 1,234,567          */
int table_f64(struct table *t, double x, int digits, struct err *err); /* "-" if not finite   */
int table_share(struct table *t, uint64_t part, uint64_t all, struct err *err); /* 12.3 %      */
/* Appends the table; a row that is not full is filled up with empty cells. */
int table_text(const struct table *t, struct buf *out, struct err *err);

/* Appends it as an HTML table. */
int table_html(const struct table *t, struct buf *out, struct err *err);

/* Columns that s[0..n) takes on a terminal; control characters take none. */
size_t text_columns(const char *s, size_t n);
/* x with commas between its thousands. */
void text_thousands(uint64_t x, char ret[28]);

#endif
