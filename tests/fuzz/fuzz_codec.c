/* A stored file: gzip, zstd or plain. The first two bytes say in which steps it is read; any other
 * steps must give the same bytes and the same verdict. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_feed.h"

/* All plain bytes; the failure, or 0. */
static int unpack(const uint8_t *data, size_t n, size_t piece, size_t step, struct buf *out) {
    struct memory_feed m = {data, n, 0, piece};
    struct codec *c = NULL;
    struct err err = {0};
    int rc = codec_open_feed(&c, "fuzz", memory_feed(&m), &err);
    if (rc == 0) rc = memory_unpack(c, step, out, &err);
    fuzz_told(rc, &err);
    codec_close(c);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct buf one = {0}, two = {0};
    size_t piece = 1 + fuzz_byte(&data, &n), step = 1 + 97u * fuzz_byte(&data, &n);
    int a = unpack(data, n, 1 << 16, 1 << 16, &one);
    int b = unpack(data, n, piece, step, &two);
    if (one.n < MEMORY_MOST && two.n < MEMORY_MOST) {
        FUZZ_CHECK(a == b, "at once %d, in steps %d", a, b);
        FUZZ_CHECK(a < 0 || (one.n == two.n && (!one.n || !memcmp(one.v, two.v, one.n))),
                   "other bytes");
    }
    buf_release(&one);
    buf_release(&two);
    return 0;
}
