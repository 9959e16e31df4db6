/* Messages are formatted here, so that a callback only ever sees finished text: see log.h. */
#include "base/log.h"

#include <stdio.h>

enum { LINE_BYTES = 2048 };

void log_printf(const struct log *log, enum log_level level, const char *fmt, ...) {
    if (!log || !log->line) return;
    char text[LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log->line(log->ctx, level, text);
}

void log_progress(const struct log *log, const struct progress *p) {
    if (log && log->progress) log->progress(log->ctx, p);
}
