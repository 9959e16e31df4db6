/* What the tests of codecs, JSON lines and documents share: a folder of their own, files put into
 * it, bytes packed with the libraries themselves. */
#ifndef LORY_TESTS_STREAM_HELP_H
#define LORY_TESTS_STREAM_HELP_H

#include <zlib.h>
#include <zstd.h>
#include "base/buf.h"
#include "base/rng.h"
#include "stream/codec.h"
#include "tests/unit/test.h"

static inline const char *put(const char *dir, const char *name, const void *v, size_t n) {
    const char *path = in(dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(v, 1, n, f), n);
    fclose(f);
    return path;
}

static inline const char *put_text(const char *dir, const char *name, const char *text) {
    return put(dir, name, text, strlen(text));
}

/* Appends one gzip member. */
static inline void add_gzip(struct buf *to, const void *v, size_t n) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, n) + 64;
    assert_int_equal(buf_reserve(to, room, NULL), 0);
    z.next_in = (void *)v;
    z.avail_in = (uInt)n;
    z.next_out = (void *)(to->v + to->n);
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    to->n += room - z.avail_out;
    deflateEnd(&z);
}

/* Appends one zstd frame with its checksum. */
static inline void add_zstd(struct buf *to, const void *v, size_t n) {
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    size_t room = ZSTD_compressBound(n);
    assert_int_equal(buf_reserve(to, room, NULL), 0);
    size_t got = ZSTD_compress2(c, to->v + to->n, room, v, n);
    assert_false(ZSTD_isError(got));
    to->n += got;
    ZSTD_freeCCtx(c);
}

static inline void add(struct buf *to, const void *v, size_t n) {
    assert_int_equal(buf_append(to, v, n, NULL), 0);
}

/* A feed over bytes in memory that gives at most `piece` at a time. */
struct memory_feed {
    const char *v;
    size_t n, at, piece;
};

static inline long memory_read(void *ctx, void *bytes, size_t n, struct err *err) {
    struct memory_feed *f = ctx;
    (void)err;
    if (n > f->n - f->at) n = f->n - f->at;
    if (n > f->piece) n = f->piece;
    if (n) memcpy(bytes, f->v + f->at, n);
    f->at += n;
    return (long)n;
}

static inline void memory_close(void *ctx) {
    (void)ctx;
}

/* Reads all of v[0..n) through a codec, `piece` stored bytes and `step` plain bytes at a time;
 * returns 0 or the failure. */
static inline int decode(const char *name, const void *v, size_t n, size_t piece, size_t step,
                         struct buf *out, struct err *err) {
    struct memory_feed f = {v, n, 0, piece};
    struct codec *c;
    out->n = 0;
    int rc = codec_open_feed(&c, name, (struct feed){memory_read, memory_close, &f, NULL}, err);
    if (rc < 0) return rc;
    for (;;) {
        assert_int_equal(buf_reserve(out, step, NULL), 0);
        long got = codec_read(c, out->v + out->n, step, err);
        if (got <= 0) rc = (int)got;
        if (got <= 0) break;
        out->n += (size_t)got;
    }
    struct err again = {0};
    if (rc < 0) assert_int_equal(codec_read(c, out->v, 1, &again), rc); /* a failure stays */
    codec_close(c);
    return rc;
}

/* Text that compresses, with some of everything. */
static inline void make_text(struct buf *b, size_t n, uint64_t seed) {
    static const char *const words[] = {"def ", "return ", "self.", "x = ", "\n", "    ",
                                        "京",   "é",       "(0)",   "#",    "\t", "for i in "};
    struct rng rng = {.key = seed};
    while (b->n < n) {
        const char *w = words[rng_below(&rng, sizeof words / sizeof *words)];
        add(b, w, strlen(w));
    }
}

#endif
