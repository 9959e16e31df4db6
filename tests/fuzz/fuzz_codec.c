/* A stored file: gzip, zstd or plain. The first two bytes say in which steps it is read; any other
 * steps must give the same bytes and the same verdict, and so must going on from a place within. */
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

/* The same, with places kept: *place is the last one, if there is any, behind *at plain bytes. */
static int unpack_and_save(const uint8_t *data, size_t n, size_t piece, size_t step,
                           struct buf *out, struct buf *place, size_t *at) {
    struct memory_feed m = {data, n, 0, piece};
    struct codec *c = NULL;
    struct buf here = {0};
    struct err err = {0};
    int rc = codec_open_feed(&c, "fuzz", memory_feed(&m), &err);
    if (rc == 0) codec_keep_places(c);
    for (long got = 1; rc == 0 && got > 0 && out->n < MEMORY_MOST;) {
        FUZZ_CHECK(buf_reserve(out, step, NULL) == 0, "out of memory");
        got = codec_read(c, out->v + out->n, step, &err);
        rc = got < 0 ? (int)got : 0;
        out->n += got > 0 ? (size_t)got : 0;
        here.n = 0;
        if (got <= 0 || codec_save(c, &here, &err) < 1) continue;
        place->n = 0;
        FUZZ_CHECK(buf_append(place, here.v, here.n, NULL) == 0, "out of memory");
        *at = out->n;
    }
    fuzz_told(rc, &err);
    codec_close(c);
    buf_release(&here);
    return rc;
}

/* Whether going on from a place gives what follows it. */
static void check_place(const uint8_t *data, size_t n, const struct buf *place, const char *rest,
                        size_t rest_n) {
    struct memory_feed m = {data, n, 0, 1 << 16};
    struct codec *c = NULL;
    struct buf got = {0};
    struct err err = {0};
    FUZZ_CHECK(codec_open_feed(&c, "fuzz", memory_feed(&m), &err) == 0, "%s", err.msg);
    FUZZ_CHECK(codec_resume(c, place->v, place->n, &err) == 1, "%s", err.msg);
    FUZZ_CHECK(memory_unpack(c, 1 << 16, &got, &err) == 0, "%s", err.msg);
    FUZZ_CHECK(got.n == rest_n && (!rest_n || !memcmp(got.v, rest, rest_n)), "other bytes");
    codec_close(c);
    buf_release(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct buf one = {0}, two = {0}, place = {0};
    size_t at = 0, piece = 1 + fuzz_byte(&data, &n), step = 1 + 97u * fuzz_byte(&data, &n);
    int a = unpack(data, n, 1 << 16, 1 << 16, &one);
    int b = unpack_and_save(data, n, piece, step, &two, &place, &at);
    if (one.n < MEMORY_MOST && two.n < MEMORY_MOST) {
        FUZZ_CHECK(a == b, "at once %d, in steps %d", a, b);
        FUZZ_CHECK(a < 0 || (one.n == two.n && (!one.n || !memcmp(one.v, two.v, one.n))),
                   "other bytes");
    }
    if (a == 0 && b == 0 && place.n && two.n < MEMORY_MOST)
        check_place(data, n, &place, two.v + at, two.n - at);
    buf_release(&one);
    buf_release(&two);
    buf_release(&place);
    return 0;
}
