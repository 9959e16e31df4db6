/* Errors are values: a code, and a message that says what, where and what to do.
 *
 * A function that can fail returns 0 or a negative ERR_ code and describes the failure in its last
 * parameter, `struct err *err`, which it touches only on failure. Library code never prints or
 * exits.
 *
 *     int rc = shard_open(&s, path, err);
 *     if (rc < 0) return err_prefix(err, "resume");      -> "resume: train-00000.bin: ..."
 *
 * Messages: lower case, no full stop, the problem first, the name of the thing before it, the place
 * as `file:line:column:`, a hint after "; ". `err` may be NULL where the caller only wants the
 * code. */
#ifndef LORY_BASE_ERR_H
#define LORY_BASE_ERR_H

#include <stdarg.h>
#include <stdint.h>

/* The absolute values are the programs' exit codes. */
enum {
    ERR_OTHER = -1,
    ERR_USAGE = -2,    /* flags, configuration                        */
    ERR_DATA = -3,     /* bad input data                              */
    ERR_IO = -4,       /* reading, writing, disk full                 */
    ERR_NET = -5,      /* network or authorisation                    */
    ERR_CORRUPT = -6,  /* an artefact does not keep its format        */
    ERR_NOMEM = -7,    /* out of memory                               */
    ERR_DIVERGED = -8, /* training diverged                           */
    ERR_PEER = -9,     /* another rank failed                         */
    ERR_PIPE = -100,   /* the reader of our output went away: quiet   */
    ERR_STOPPED = -130 /* interrupted by a signal; state saved first  */
};

enum { ERR_MSG_BYTES = 1024 };

struct err {
    int code;                /* 0, or one of ERR_                       */
    uint64_t line, column;   /* of a text input, from 1; 0 if unknown   */
    uint64_t byte;           /* offset in the input, from 0             */
    char msg[ERR_MSG_BYTES]; /* cut (with "...") if longer              */
};

/* Fills *err and returns `code`. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, with ": " and the text of the present errno; ERR_NOMEM for ENOMEM, ERR_PIPE for
 * EPIPE, else ERR_IO. */
int err_errno(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ERR_NOMEM with the number of bytes that could not be had. */
int err_nomem(struct err *err, uint64_t bytes);

/* Puts `fmt...` and ": " before the message there is; returns its code. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds "; " and `fmt...` after the message there is; returns its code. */
int err_hint(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets the place that err_set's caller knows: line and column from 1, byte offset from 0. */
void err_place(struct err *err, uint64_t line, uint64_t column, uint64_t byte);

#endif
