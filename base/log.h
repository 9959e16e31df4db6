/* How libraries speak without printing: through callbacks that the program passes down.
 *
 * A NULL `struct log *` is silent. The program's own log (tools/) prefixes its name, honours -q and
 * -v, and keeps the progress line below the messages. Callbacks may come from any thread. */
#ifndef LORY_BASE_LOG_H
#define LORY_BASE_LOG_H

#include <stdarg.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Where a long job stands. Numbers the job does not know are 0. */
struct progress {
    const char *stage;    /* "counting words", "merges", "training"                  */
    uint64_t done, total; /* in `unit`s; total 0 = unknown                           */
    const char *unit;     /* "B" prints as MB with MB/s; anything else as a plain count */
    const char *detail;   /* "loss 3.214, lr 5e-4", or NULL; borrowed for the call   */
};

struct log {
    void (*line)(void *ctx, enum log_level level, const char *text);
    void (*progress)(void *ctx, const struct progress *p);
    void *ctx;
};

void log_printf(const struct log *log, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void log_progress(const struct log *log, const struct progress *p);

#define log_warn(log, ...)  log_printf(log, LOG_WARN, __VA_ARGS__)
#define log_info(log, ...)  log_printf(log, LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_printf(log, LOG_DEBUG, __VA_ARGS__)

#endif
