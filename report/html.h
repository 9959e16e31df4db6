/* One HTML page in memory, self-contained: its looks are inside, it loads nothing and runs nothing.
 *
 *     struct html *h;
 *     html_new(&h, "Fertility", err);
 *     html_heading(h, "In numbers");
 *     html_table(h, table);                        report/table.h
 *     svg_bars(html_body(h), …);                   report/svg.h
 *     html_end(h, &out, err);                      the page; frees h
 *
 * The first failure sticks and is told by html_end(). Texts are escaped here; bytes that are no
 * UTF-8 become U+FFFD. The same calls give the same bytes. */
#ifndef LORY_REPORT_HTML_H
#define LORY_REPORT_HTML_H

#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"
#include "report/table.h"

struct html;

int html_new(struct html **ret, const char *title, struct err *err);
void html_free(struct html *h); /* NULL is fine; for a page that is not wanted after all */
void html_heading(struct html *h, const char *text);
void html_para(struct html *h, const char *text);
/* Fixed width, blanks and newlines as they are. */
void html_pre(struct html *h, const char *text, size_t n);
void html_table(struct html *h, const struct table *t);
/* What drawings and markup of the caller's own are appended to, and a failure of that. */
struct buf *html_body(struct html *h);
void html_failed(struct html *h, int rc, const struct err *err);
/* Appends the page to `out` and frees h, whatever happened. */
int html_end(struct html *h, struct buf *out, struct err *err);

/* Appends s[0..n) as text of an element or of a quoted attribute. */
int html_text(struct buf *out, const char *s, size_t n, struct err *err);

#endif
