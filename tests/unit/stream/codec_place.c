/* Places in compressed streams: going on from any of them gives the rest, byte for byte, and damage
 * behind them is still found. */
#include "stream_help.h"

static int memory_seek(void *ctx, uint64_t to, struct err *err) {
    struct memory_feed *f = ctx;
    (void)err;
    f->at = to < f->n ? (size_t)to : f->n;
    return 0;
}

/* Places after every `step` bytes read, where there are any. */
struct places {
    struct buf v[64];
    uint64_t plain[64];
    size_t n;
};

static void open_over(struct codec **ret, struct memory_feed *f, bool seeks) {
    struct err err = {0};
    struct feed feed = {memory_read, memory_close, f, seeks ? memory_seek : NULL};
    check_ok(codec_open_feed(ret, "it", feed, &err), &err);
}

static void read_places(const struct buf *stored, size_t step, struct places *to) {
    struct memory_feed f = {stored->v, stored->n, 0, 5000};
    struct codec *c;
    struct err err = {0};
    char *v = malloc(step);
    assert_non_null(v);
    open_over(&c, &f, false);
    codec_keep_places(c);
    to->n = 0;
    size_t since = 0;
    for (long got = 1; got > 0 && to->n < 64;) {
        got = codec_read(c, v, step, &err);
        since += got > 0 ? (size_t)got : 0;
        if (got <= 0 || since < step) continue;
        to->v[to->n].n = 0;
        if (codec_save(c, &to->v[to->n], &err) < 1) continue;
        to->plain[to->n++] = codec_tell(c);
        since = 0;
    }
    assert_int_equal(err.code, 0);
    codec_close(c);
    free(v);
}

/* The rest from a place: 0 or the failure. */
static int read_from(const struct buf *stored, const struct buf *place, bool seeks,
                     struct buf *rest) {
    struct memory_feed f = {stored->v, stored->n, 0, 3000};
    struct codec *c;
    struct err err = {0};
    open_over(&c, &f, seeks);
    assert_int_equal(codec_resume(c, place->v, place->n, &err), 1);
    long got = 1;
    for (rest->n = 0; got > 0; rest->n += got > 0 ? (size_t)got : 0) {
        assert_int_equal(buf_reserve(rest, 7000, NULL), 0);
        got = codec_read(c, rest->v + rest->n, 7000, &err);
    }
    codec_close(c);
    return (int)got;
}

/* From place to place, each in a stream that was entered at the one before. */
static void check_chain(const struct buf *stored, const struct buf *plain,
                        const struct buf *first) {
    struct buf place = {0}, next = {0};
    struct err err = {0};
    char *v = malloc(plain->n + 1);
    size_t n = 0;
    assert_non_null(v);
    check_ok(buf_append(&place, first->v, first->n, &err), &err);
    for (bool ended = false; !ended; n++) {
        struct memory_feed f = {stored->v, stored->n, 0, 3000};
        struct codec *c;
        int saved = 0;
        open_over(&c, &f, true);
        codec_keep_places(c);
        assert_int_equal(codec_resume(c, place.v, place.n, &err), 1);
        while (!ended && saved == 0) {
            uint64_t at = codec_tell(c);
            long got = codec_read(c, v, plain->n - at + 1, &err);
            assert_true(got >= 0);
            assert_memory_equal(v, plain->v + at, got);
            ended = got == 0;
            next.n = 0;
            saved = ended ? 0 : codec_save(c, &next, &err);
        }
        if (ended) assert_int_equal(codec_tell(c), plain->n);
        struct buf swap = place;
        place = next;
        next = swap;
        codec_close(c);
    }
    assert_true(n > 1);
    buf_release(&place);
    buf_release(&next);
    free(v);
}

static void check_places(const struct buf *stored, const struct buf *plain, size_t least,
                         bool summed) {
    struct places p = {0};
    struct buf rest = {0};
    read_places(stored, plain->n / 40 + 1, &p);
    assert_true(p.n >= least);
    for (size_t i = 0; i < p.n; i++) {
        assert_int_equal(read_from(stored, &p.v[i], i % 2, &rest), 0);
        assert_int_equal(rest.n, plain->n - p.plain[i]);
        assert_memory_equal(rest.v, plain->v + p.plain[i], rest.n);
    }
    if (p.n > 1) check_chain(stored, plain, &p.v[0]);
    while (p.n > 1 && p.plain[p.n - 1] == plain->n) p.n--;
    if (summed) { /* the checksum covers what came before the place, too */
        stored->v[stored->n - 6] ^= 1;
        int rc = read_from(stored, &p.v[p.n - 1], true, &rest);
        stored->v[stored->n - 6] ^= 1;
        assert_int_equal(rc, ERR_DATA);
    }
    for (size_t i = 0; i < 64; i++) buf_release(&p.v[i]);
    buf_release(&rest);
}

static void in_gzip(void **state) {
    struct buf plain = {0}, stored = {0};
    (void)state;
    make_text(&plain, 3 << 20, 1);
    add_gzip(&stored, plain.v, plain.n);
    check_places(&stored, &plain, 5, true);
    buf_release(&stored);
    buf_release(&plain);
}

static void in_many_members(void **state) {
    struct buf plain = {0}, stored = {0};
    (void)state;
    make_text(&plain, 1 << 20, 2);
    for (size_t at = 0, n; at < plain.n; at += n) {
        n = plain.n - at < 50001 ? plain.n - at : 50001;
        add_gzip(&stored, plain.v + at, n);
    }
    check_places(&stored, &plain, 5, true);
    buf_release(&stored);
    buf_release(&plain);
}

/* Within a frame, whatever its window, its tables and its matches are; also from a stream that was
 * itself entered in the middle. */
static void in_one_zstd_frame(void **state) {
    static const int levels[] = {-5, 1, 3, 9, 19};
    struct buf plain = {0};
    (void)state;
    make_text(&plain, 3 << 19, 5);
    for (size_t i = 0; i < 300000; i++) /* what cannot be packed, and what hardly needs to be */
        plain.v[500000 + i] = (char)(i < 150000 ? i * 2654435761u >> 13 : i % 3000 ? 'a' : 'b');
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        for (int log = 10; log <= 18; log += 4) {
            struct buf stored = {0};
            ZSTD_CCtx *c = ZSTD_createCCtx();
            ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, levels[i]);
            ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, log);
            ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, (log ^ (int)i) & 1);
            ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, (int)i & 1);
            assert_int_equal(buf_reserve(&stored, ZSTD_compressBound(plain.n), NULL), 0);
            stored.n = ZSTD_compress2(c, stored.v, ZSTD_compressBound(plain.n), plain.v, plain.n);
            assert_false(ZSTD_isError(stored.n));
            ZSTD_freeCCtx(c);
            check_places(&stored, &plain, log == 18 ? 1 : 5, (log ^ (int)i) & 1);
            buf_release(&stored);
        }
    buf_release(&plain);
}

/* Between frames; and a plain file anywhere. */
static void in_zstd_and_plain(void **state) {
    struct buf plain = {0}, stored = {0};
    (void)state;
    make_text(&plain, 1 << 20, 3);
    size_t frame = plain.n / 40 + 1;
    for (size_t at = 0, n; at < plain.n; at += n) {
        n = plain.n - at < frame ? plain.n - at : frame;
        add_zstd(&stored, plain.v + at, n);
    }
    check_places(&stored, &plain, 30, true);
    check_places(&plain, &plain, 30, false);
    buf_release(&stored);
    buf_release(&plain);
}

/* A place of another library, or none: refused, and the stream reads from its beginning. */
static void foreign_places(void **state) {
    struct buf plain = {0}, stored = {0}, out = {0};
    struct places p = {0};
    struct err err = {0};
    (void)state;
    make_text(&plain, 200000, 4);
    add_gzip(&stored, plain.v, plain.n);
    read_places(&stored, 30000, &p);
    assert_true(p.n > 0);
    p.v[0].v[60] ^= 1; /* in the library's name, or the window's length */
    const struct {
        const char *v;
        size_t n;
    } bad[] = {{p.v[0].v, 20}, {"", 0}, {"z12345678", 9}, {p.v[0].v, p.v[0].n - 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct memory_feed f = {stored.v, stored.n, 0, 3000};
        struct codec *c;
        open_over(&c, &f, true);
        assert_int_equal(codec_resume(c, bad[i].v, bad[i].n, &err), 0);
        out.n = 0;
        assert_int_equal(buf_reserve(&out, plain.n + 1, NULL), 0);
        for (long got = 1; got > 0; out.n += (size_t)got) {
            got = codec_read(c, out.v + out.n, plain.n + 1 - out.n, &err);
            assert_true(got >= 0);
        }
        assert_int_equal(out.n, plain.n);
        assert_memory_equal(out.v, plain.v, out.n);
        codec_close(c);
    }
    for (size_t i = 0; i < 64; i++) buf_release(&p.v[i]);
    buf_release(&out);
    buf_release(&stored);
    buf_release(&plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_gzip),           cmocka_unit_test(in_many_members),
        cmocka_unit_test(in_one_zstd_frame), cmocka_unit_test(in_zstd_and_plain),
        cmocka_unit_test(foreign_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
