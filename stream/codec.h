/* A stored file as a stream of plain bytes: gzip (all members), zstd (all frames) or plain, told
 * apart by their first bytes, not by the name.
 *
 * Stored bytes come from a `struct feed` (a local file, standard input, HTTP). Damage is ERR_DATA
 * with the file's name and the offset in the stored bytes: truncated, bad checksum, garbage behind
 * the last member (zero padding is fine). zstd windows above 128 MiB are refused by name. One
 * thread at a time. */
#ifndef LORY_STREAM_CODEC_H
#define LORY_STREAM_CODEC_H

#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "stream/source.h"

/* Where stored bytes come from. read() gives 1..n bytes, 0 at the end, or a negative code. */
struct feed {
    long (*read)(void *ctx, void *bytes, size_t n, struct err *err);
    void (*close)(void *ctx);
    void *ctx;
};

struct codec;

/* Opens a file of a list; http(s) addresses go through stream/http.h. */
int codec_open(struct codec **ret, const struct source_file *file, const struct hub *hub,
               struct err *err);
/* The same over a feed the caller made; the codec closes it. */
int codec_open_feed(struct codec **ret, const char *name, struct feed feed, struct err *err);
/* 1..n plain bytes, 0 at the end of the stream, or a negative code. */
long codec_read(struct codec *c, void *bytes, size_t n, struct err *err);
/* Stored bytes consumed so far: for progress against source_file.bytes. */
uint64_t codec_stored(const struct codec *c);
void codec_close(struct codec *c); /* NULL is fine */

/* Writing: compressed by the end of the name, ".gz" or ".zst", plain otherwise. */
struct codec_writer;
int codec_writer_open(struct codec_writer **ret, const char *path, struct err *err);
int codec_write(struct codec_writer *w, const void *bytes, size_t n, struct err *err);
int codec_writer_commit(struct codec_writer *w, struct err *err); /* frees w */
void codec_writer_abort(struct codec_writer *w);                  /* frees w; NULL is fine */

#endif
