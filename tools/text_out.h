/* A model's text for people: well-formed UTF-8, whatever bytes it is made of and wherever they are
 * cut. Each maximal part of a character that is not whole is a U+FFFD, as in transformers' decode
 * (Python's errors="replace"). What goes to a terminal holds no control character but newlines and
 * tabs, so that a text cannot steer it: ESC is ^[, and U+0080 to U+009F are U+FFFD. One thread. */
#ifndef LORY_TOOLS_TEXT_OUT_H
#define LORY_TOOLS_TEXT_OUT_H

#include <stdbool.h>
#include <stdio.h>
#include "base/buf.h"
#include "base/err.h"

struct text_out {
    FILE *to;
    bool terminal;
    struct buf held;  /* the beginning of a character whose end has not come */
    struct buf clean; /* scratch */
};

/* Writes what is certain of the text so far; errors of `to` are its own. ERR_NOMEM. */
int text_out_add(struct text_out *t, const char *v, size_t n, struct err *err);
/* The text ends here: writes what was held. Another may begin. */
int text_out_end(struct text_out *t, struct err *err);
void text_out_release(struct text_out *t); /* fine on a zeroed one */

#endif
