/* Where a text that is still being written ends: before the first match of any stop string or
 * regular expression (PCRE2, Perl's syntax, UTF-8). The answer is that of a search through the
 * finished text, whatever pieces it came in. One thread. */
#ifndef LORY_TOOLS_GEN_STOP_H
#define LORY_TOOLS_GEN_STOP_H

#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"

struct stop_rule;

struct stops {
    struct stop_rule *v;
    size_t n;
};

/* The text must outlive `s`. ERR_USAGE: an empty string; an expression that does not compile, with
 * where and why. */
int stops_add_string(struct stops *s, const char *text, struct err *err);
int stops_add_regex(struct stops *s, const char *regex, struct err *err);
void stops_release(struct stops *s); /* fine on a zeroed one */

/* Looks through v[0..n). A match may begin at `from` or later; start with 0, go on with the last
 * *ret_open. `more`: the text may grow, so what could become a match keeps its end open.
 * v holds whole characters (decode_whole()).
 * *ret_at: where the text ends, or n. *ret_open: what stands before can no longer be part of a
 * match. *ret_by: what the rule was written as, or NULL. ERR_DATA: an expression took too long. */
int stops_find(const struct stops *s, const char *v, size_t n, size_t from, bool more,
               size_t *ret_at, size_t *ret_open, const char **ret_by, struct err *err);

/* Length without white space at the end, as Python's str.rstrip() sees it in UTF-8. */
size_t stops_strip(const char *v, size_t n);

#endif
