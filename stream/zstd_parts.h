/* What zstd_tables.c, zstd_trace.c and codec_zstd.c share: entering a zstd frame in its middle.
 *
 *   frame:  header | block | block | block | … | checksum
 *                          ^
 * A decoder at a block's beginning knows the last bytes it wrote (the window), the last three
 * distances of matches, and four tables: of literals (Huffman), of the lengths of literals, of
 * distances, of the lengths of matches (FSE). libzstd does not tell any of it. But a dictionary
 * holds the same things (RFC 8878, 5), and blocks say in their headers which tables they bring. So
 * they are followed from outside, and a frame of our own, with that dictionary, goes on with the
 * blocks of the old one. */
#ifndef LORY_STREAM_ZSTD_PARTS_H
#define LORY_STREAM_ZSTD_PARTS_H

#include <stdbool.h>
#include "stream/cursor_parts.h"

/* ------------------------------------------------------------------ zstd_tables.c */

enum fse_kind { FSE_LITERALS, FSE_DISTANCES, FSE_MATCHES, FSE_KINDS };
enum { FSE_SYMBOLS_MAX = 53, FSE_LOG_MAX = 9, HUFFMAN_BYTES_MAX = 128, DISTANCES = 3 };

/* How often each symbol comes, of 2^log; -1: less than once. */
struct fse {
    int16_t counts[FSE_SYMBOLS_MAX];
    size_t n;
    int log; /* 0: the one symbol `only`, in no bits; a dictionary cannot say that */
    uint8_t only;
};

struct zstd_tables {
    uint8_t huffman[HUFFMAN_BYTES_MAX]; /* its description, as it stood */
    size_t huffman_n;                   /* 0: there was none yet        */
    struct fse fse[FSE_KINDS];
};

/* The sequences of a block: "copy so many literals, then so much from so far behind". */
struct zstd_sequences {
    uint32_t n;
    const uint8_t *bits; /* read from the end */
    size_t bytes;
};

/* As a frame begins. */
void zstd_tables_begin(struct zstd_tables *t);
/* Takes what the compressed block v[0..n) brings; *ret points into it. False: it is none. */
bool zstd_tables_read(struct zstd_tables *t, const uint8_t *v, size_t n,
                      struct zstd_sequences *ret);
/* The last three distances behind the sequences, given those before; 0: not known. False: these are
 * no sequences. */
bool zstd_distances(const struct zstd_tables *t, const struct zstd_sequences *s,
                    uint32_t last[DISTANCES]);
/* As in a dictionary, appended: 1, 0 if there they cannot stand, or a negative code; and back. */
int zstd_tables_put(const struct zstd_tables *t, struct buf *to, struct err *err);
bool zstd_tables_get(struct zstd_tables *t, struct cursor *from);

/* ------------------------------------------------------------------ zstd_trace.c */

struct zstd_trace;
struct zstd_trace *zstd_trace_new(void);    /* NULL: no memory */
void zstd_trace_free(struct zstd_trace *t); /* NULL is fine */
/* A frame begins. */
void zstd_trace_begin(struct zstd_trace *t);
/* So many bytes at most go to the decoder now, so that it stops at each block's beginning. */
size_t zstd_trace_next(const struct zstd_trace *t);
/* These went to it, these came out. */
int zstd_trace_in(struct zstd_trace *t, const uint8_t *v, size_t n, struct err *err);
void zstd_trace_out(struct zstd_trace *t, const uint8_t *v, size_t n);
/* Appends what the decoder knows, where it has given all that it was given: 1; 0: it cannot be told
 * here, or it was not long ago; or a negative code. */
int zstd_trace_save(struct zstd_trace *t, struct buf *to, struct err *err);

enum { ZSTD_TRACE_HEADER = 6 };
/* Goes on from there: 1, and header and *dictionary (borrowed from `from`) are what the decoder
 * gets before the next block; or 0: it is none. */
int zstd_trace_resume(struct zstd_trace *t, struct cursor *from, uint8_t header[ZSTD_TRACE_HEADER],
                      const uint8_t **dictionary, size_t *n);
/* A frame that was gone on with ends without its checksum as far as the decoder knows. Bytes of it
 * that follow, 0 or 4, and whether they fit. */
size_t zstd_trace_sum_bytes(const struct zstd_trace *t);
bool zstd_trace_sum_fits(const struct zstd_trace *t, const uint8_t sum[4]);

#endif
