/* Errors as values: see err.h. Everything is formatted into the fixed buffer of the struct, so that
 * reporting a failure can never fail itself. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Marks a message that did not fit. */
static void cut(char *msg, int wanted) {
    if (wanted >= ERR_MSG_BYTES) memcpy(msg + ERR_MSG_BYTES - 4, "...", 4);
}

static int vset(struct err *err, int code, const char *fmt, va_list ap) {
    if (!err) return code;
    char msg[ERR_MSG_BYTES]; /* the arguments may point into err->msg */
    int n = vsnprintf(msg, sizeof msg, fmt, ap);
    cut(msg, n);
    memset(err, 0, sizeof *err);
    err->code = code;
    memcpy(err->msg, msg, sizeof msg);
    return code;
}

int err_set(struct err *err, int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vset(err, code, fmt, ap);
    va_end(ap);
    return code;
}

int err_errno(struct err *err, const char *fmt, ...) {
    int no = errno, code = no == ENOMEM ? ERR_NOMEM : no == EPIPE ? ERR_PIPE : ERR_IO;
    char what[ERR_MSG_BYTES / 2], why[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    const char *text = strerror_r(no, why, sizeof why); /* the GNU form: may not use `why` */
    return err_set(err, code, "%s: %s", what, text);
}

int err_nomem(struct err *err, uint64_t bytes) {
    return err_set(err, ERR_NOMEM, "out of memory: %llu bytes wanted", (unsigned long long)bytes);
}

int err_prefix(struct err *err, const char *fmt, ...) {
    if (!err) return ERR_OTHER;
    char front[ERR_MSG_BYTES / 2], msg[2 * ERR_MSG_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(front, sizeof front, fmt, ap);
    va_end(ap);
    int n = snprintf(msg, sizeof msg, "%s: %s", front, err->msg);
    memcpy(err->msg, msg, ERR_MSG_BYTES - 1);
    err->msg[ERR_MSG_BYTES - 1] = 0;
    cut(err->msg, n);
    return err->code;
}

int err_hint(struct err *err, const char *fmt, ...) {
    if (!err) return ERR_OTHER;
    char hint[ERR_MSG_BYTES / 2], msg[2 * ERR_MSG_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(hint, sizeof hint, fmt, ap);
    va_end(ap);
    int n = snprintf(msg, sizeof msg, "%s; %s", err->msg, hint);
    memcpy(err->msg, msg, ERR_MSG_BYTES - 1);
    err->msg[ERR_MSG_BYTES - 1] = 0;
    cut(err->msg, n);
    return err->code;
}

void err_place(struct err *err, uint64_t line, uint64_t column, uint64_t byte) {
    if (!err) return;
    err->line = line;
    err->column = column;
    err->byte = byte;
}
