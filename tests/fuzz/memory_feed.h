/* Stored bytes in memory, and reading a codec to its end. At most 4 MiB are unpacked: bombs are the
 * caller's to bound. */
#ifndef LORY_TESTS_FUZZ_MEMORY_FEED_H
#define LORY_TESTS_FUZZ_MEMORY_FEED_H

#include "stream/codec.h"
#include "tests/fuzz/fuzz.h"

enum { MEMORY_MOST = 4 << 20 };

struct memory_feed {
    const uint8_t *v;
    size_t n, at, piece; /* gives at most `piece` bytes at a time */
};

static inline long memory_read(void *ctx, void *bytes, size_t n, struct err *err) {
    struct memory_feed *m = ctx;
    (void)err;
    if (n > m->n - m->at) n = m->n - m->at;
    if (n > m->piece) n = m->piece;
    if (n) memcpy(bytes, m->v + m->at, n);
    m->at += n;
    return (long)n;
}

static inline void memory_close(void *ctx) {
    (void)ctx;
}

static inline struct feed memory_feed(struct memory_feed *m) {
    return (struct feed){.read = memory_read, .close = memory_close, .ctx = m};
}

/* Appends the plain bytes, `step` at a time, up to MEMORY_MOST; the failure, or 0. */
static inline int memory_unpack(struct codec *c, size_t step, struct buf *out, struct err *err) {
    while (out->n < MEMORY_MOST) {
        FUZZ_CHECK(buf_reserve(out, step, NULL) == 0, "out of memory");
        long got = codec_read(c, out->v + out->n, step, err);
        FUZZ_CHECK(got <= (long)step, "%ld bytes into %zu", got, step);
        if (got <= 0) return (int)got;
        out->n += (size_t)got;
    }
    return 0;
}

#endif
