/* stderr as all programs use it: messages above, at most one progress line below.
 *
 *     bpe-train: options from lory.yaml
 *     bpe-train: warning: 3 bad records skipped
 *     counting words  43% [########............] 312.5/726.4 MB  88.1 MB/s  ETA 5s
 *
 * On a terminal the line is redrawn at most ten times a second; elsewhere a plain line appears
 * every ten seconds. Any thread may speak. */
#ifndef LORY_TOOLS_CONSOLE_H
#define LORY_TOOLS_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"
#include "base/log.h"

struct console;

/* `quiet` and `verbose` are looked at whenever something is said, so flags may come later. `tty`:
 * draw a bar; `color`: escape sequences for colour. NULL: no memory. */
struct console *console_new(const char *name, const bool *quiet, const bool *verbose, bool tty,
                            bool color);
/* Clears the progress line and frees. NULL is fine. */
void console_free(struct console *c);
/* The log that speaks through `c`. */
struct log console_log(struct console *c);
/* Takes the progress line away, before something else writes to the terminal. */
void console_clear(struct console *c);

/* Appends a text from outside, perhaps a name, for a terminal: control characters spelled out. */
void console_safe(struct buf *b, const char *text);

/* One progress line of at most `width` columns (0: unlimited), with a bar or without. `rate` in
 * units a second, 0 if unknown. Always ends with a NUL. Apart from the console so that it can be
 * tested. */
void progress_text(char *out, size_t n, const struct progress *p, double rate, size_t width,
                   bool bar);

#endif
