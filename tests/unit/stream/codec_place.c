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
    assert_ok(codec_open_feed(ret, "it", feed, &err), err);
}

static void read_places(const struct buf *stored, size_t step, struct places *to) {
    struct memory_feed f = {stored->v, stored->n, 0, 5000};
    struct codec *c;
    struct err err = {0};
    char *v = malloc(step);
    assert_non_null(v);
    open_over(&c, &f, false);
    to->n = 0;
    for (long got = 1; got > 0 && to->n < 64;) {
        for (size_t had = 0; got > 0 && had < step; had += (size_t)got)
            got = codec_read(c, v, step - had, &err);
        to->v[to->n].n = 0;
        if (got > 0 && codec_save(c, &to->v[to->n], &err) == 1) to->plain[to->n++] = codec_tell(c);
    }
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

static void check_places(const struct buf *stored, const struct buf *plain, size_t least) {
    struct places p = {0};
    struct buf rest = {0};
    read_places(stored, plain->n / 40 + 1, &p);
    assert_true(p.n >= least);
    for (size_t i = 0; i < p.n; i++) {
        assert_int_equal(read_from(stored, &p.v[i], i % 2, &rest), 0);
        assert_int_equal(rest.n, plain->n - p.plain[i]);
        assert_memory_equal(rest.v, plain->v + p.plain[i], rest.n);
    }
    if (p.n) { /* the checksum covers what came before the place, too */
        stored->v[stored->n - 6] ^= 1;
        int rc = read_from(stored, &p.v[p.n - 1], true, &rest);
        stored->v[stored->n - 6] ^= 1;
        assert_true(rc == ERR_DATA || plain->n == stored->n);
    }
    for (size_t i = 0; i < 64; i++) buf_release(&p.v[i]);
    buf_release(&rest);
}

static void in_gzip(void **state) {
    struct buf plain = {0}, stored = {0};
    (void)state;
    make_text(&plain, 3 << 20, 1);
    add_gzip(&stored, plain.v, plain.n);
    check_places(&stored, &plain, 5);
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
    check_places(&stored, &plain, 5);
    buf_release(&stored);
    buf_release(&plain);
}

/* Between frames only; and a plain file anywhere. */
static void in_zstd_and_plain(void **state) {
    struct buf plain = {0}, stored = {0};
    (void)state;
    make_text(&plain, 1 << 20, 3);
    size_t frame = plain.n / 40 + 1;
    for (size_t at = 0, n; at < plain.n; at += n) {
        n = plain.n - at < frame ? plain.n - at : frame;
        add_zstd(&stored, plain.v + at, n);
    }
    check_places(&stored, &plain, 30);
    check_places(&plain, &plain, 38);
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
        cmocka_unit_test(in_gzip),
        cmocka_unit_test(in_many_members),
        cmocka_unit_test(in_zstd_and_plain),
        cmocka_unit_test(foreign_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
