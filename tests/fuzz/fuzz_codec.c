/* A stored file: gzip, zstd or plain. The first two bytes say in which steps it is read; any other
 * steps must give the same bytes and the same verdict. At most 4 MiB are unpacked: bombs are the
 * caller's to bound. */
#include "stream/codec.h"
#include "tests/fuzz/fuzz.h"

enum { MOST = 4 << 20 };

struct memory {
    const uint8_t *v;
    size_t n, at, piece;
};

static long memory_read(void *ctx, void *bytes, size_t n, struct err *err) {
    struct memory *m = ctx;
    (void)err;
    if (n > m->n - m->at) n = m->n - m->at;
    if (n > m->piece) n = m->piece;
    if (n) memcpy(bytes, m->v + m->at, n);
    m->at += n;
    return (long)n;
}

static void memory_close(void *ctx) {
    (void)ctx;
}

/* All plain bytes up to MOST; the failure, or 0. */
static int unpack(const uint8_t *data, size_t n, size_t piece, size_t step, struct buf *out) {
    struct memory m = {data, n, 0, piece};
    struct codec *c = NULL;
    struct err err = {0};
    long got = 0;
    int rc = codec_open_feed(&c, "fuzz", (struct feed){memory_read, memory_close, &m}, &err);
    while (rc == 0 && out->n < MOST) {
        FUZZ_CHECK(buf_reserve(out, step, NULL) == 0, "out of memory");
        got = codec_read(c, out->v + out->n, step, &err);
        FUZZ_CHECK(got <= (long)step, "%ld bytes into %zu", got, step);
        if (got <= 0) break;
        out->n += (size_t)got;
    }
    if (rc == 0) rc = got < 0 ? (int)got : 0;
    fuzz_told(rc, &err);
    codec_close(c);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct buf one = {0}, two = {0};
    size_t piece = 1 + fuzz_byte(&data, &n), step = 1 + 97u * fuzz_byte(&data, &n);
    int a = unpack(data, n, 1 << 16, 1 << 16, &one);
    int b = unpack(data, n, piece, step, &two);
    if (one.n < MOST && two.n < MOST) {
        FUZZ_CHECK(a == b, "at once %d, in steps %d", a, b);
        FUZZ_CHECK(a < 0 || (one.n == two.n && (!one.n || !memcmp(one.v, two.v, one.n))),
                   "other bytes");
    }
    buf_release(&one);
    buf_release(&two);
    return 0;
}
