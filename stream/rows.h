/* Tables as streams of JSON lines: whatever has rows and named columns (CSV, Parquet) is read like
 * JSONL, one object a row, so that fields, --where, shuffling and states work on it.
 *
 *   table ─▶ next() appends some lines ─▶ codec ─▶ the caller
 *
 * A row that is no row (a CSV line with too many fields) is the line
 *     \x01 MESSAGE \x01 the row as it stood, each newline in it as \x1e
 * for which docs_extract.c makes a bad record. */
#ifndef LORY_STREAM_ROWS_H
#define LORY_STREAM_ROWS_H

#include "base/buf.h"
#include "base/err.h"
#include "stream/codec.h"

enum { ROWS_BAD = 1, ROWS_NEWLINE = 0x1e };

struct cursor;
struct rows {
    /* Appends lines, some dozens of KB: 1; 0 at the end (nothing appended); or a negative code. */
    int (*next)(void *ctx, struct buf *lines, struct err *err);
    void (*close)(void *ctx);
    /* Stored bytes read so far. */
    uint64_t (*stored)(void *ctx);
    /* Where next() will go on: as in struct decoder of codec_parts.h. */
    int (*save)(void *ctx, struct buf *to, struct err *err);
    int (*resume)(void *ctx, struct cursor *from, struct err *err);
    void *ctx;
};

/* A codec over rows; it closes them, also on failure. */
int rows_codec(struct codec **ret, const char *name, struct rows rows, struct err *err);

/* Whether a codec is one. */
bool codec_has_rows(const struct codec *c);

/* Appends v[0..n) as a JSON string. The bytes are not looked at beyond escaping: whether they are
 * UTF-8 is told by whoever reads the line. */
int rows_quote(struct buf *to, const char *v, size_t n, struct err *err);

#endif
