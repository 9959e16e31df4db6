/* A stored file as a stream of plain bytes: gzip (all members), zstd (all frames) or plain, told
 * apart by their first bytes, not by the name.
 *
 * Stored bytes come from a `struct feed` (a local file, standard input, HTTP). Damage is ERR_DATA
 * with the file's name and the offset in the stored bytes: truncated, bad checksum, garbage behind
 * the last member (zero padding is fine). zstd windows above 128 MiB are refused by name. One
 * thread at a time. */
#ifndef LORY_STREAM_CODEC_H
#define LORY_STREAM_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "stream/source.h"

/* Where stored bytes come from. read() gives 1..n bytes, 0 at the end, or a negative code. seek(),
 * which may be NULL, goes to an offset from the beginning. */
struct feed {
    long (*read)(void *ctx, void *bytes, size_t n, struct err *err);
    void (*close)(void *ctx);
    void *ctx;
    int (*seek)(void *ctx, uint64_t to, struct err *err);
};

struct codec;

/* Opens a file of a list; http(s) addresses go through stream/http.h. `resumed`: codec_resume()
 * follows, so that no more than the beginning of an address need be fetched before. */
int codec_open(struct codec **ret, const struct source_file *file, const struct hub *hub,
               bool resumed, struct err *err);
/* The same over a feed the caller made; the codec closes it. */
int codec_open_feed(struct codec **ret, const char *name, struct feed feed, struct err *err);
/* 1..n plain bytes, 0 at the end of the stream, or a negative code. */
long codec_read(struct codec *c, void *bytes, size_t n, struct err *err);
/* Stored bytes consumed so far: for progress against source_file.bytes. */
uint64_t codec_stored(const struct codec *c);
/* Plain bytes given so far. */
uint64_t codec_tell(const struct codec *c);

/* codec_save() will be called: before the first read. Some decoders have to be watched for that. */
void codec_keep_places(struct codec *c);
/* A place to go on from, appended to `to` (about 90 KB inside a gzip member; the window inside a
 * zstd frame, up to 8 MiB; few bytes otherwise). 1; 0 if there is none at this very byte (zlib:
 * only between blocks; zstd: between frames, and at a block four windows behind the last place,
 * unless the window is larger than 8 MiB); or a negative code. */
int codec_save(struct codec *c, struct buf *to, struct err *err);
/* Goes there, in a stream just opened, without decoding what comes before (nor reading it, if the
 * feed can seek). 1, and codec_tell() is what it was; 0 if the place was saved by another library
 * and is of no use here: nothing has happened; or a negative code. */
int codec_resume(struct codec *c, const void *place, size_t n, struct err *err);
void codec_close(struct codec *c); /* NULL is fine */

/* Writing: compressed by the end of the name, ".gz" or ".zst", plain otherwise. */
struct codec_writer;
int codec_writer_open(struct codec_writer **ret, const char *path, struct err *err);
/* One of many in a folder that was swept (outfile_open_swept). */
int codec_writer_open_swept(struct codec_writer **ret, const char *path, struct err *err);
/* A file made over several runs (outfile_resume): `at` is what codec_writer_cut() gave. */
int codec_writer_resume(struct codec_writer **ret, const char *path, uint64_t at, struct err *err);
/* Ends the gzip member or zstd frame; what follows begins another. The bytes written stand on the
 * disk if `sync`. *ret_at becomes their number. */
int codec_writer_cut(struct codec_writer *w, bool sync, uint64_t *ret_at, struct err *err);
int codec_write(struct codec_writer *w, const void *bytes, size_t n, struct err *err);
int codec_writer_commit(struct codec_writer *w, struct err *err); /* frees w */
void codec_writer_abort(struct codec_writer *w);                  /* frees w; NULL is fine */

#endif
