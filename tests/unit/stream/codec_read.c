/* What a codec must read, and what it must refuse: members, frames, padding, and damage
 * anywhere. */
#include "stream_help.h"
#include <zlib.h>
#include "stream/codec_parts.h"

static const char text[] = "one\ntwo\nthree\n";
enum { N = sizeof text - 1 };

/* Decodes with several sizes of pieces: what comes out must not depend on them. */
static void reads(const struct buf *stored, const void *want, size_t n) {
    static const size_t pieces[] = {1, 7, 1 << 20};
    struct buf out = {0};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            struct err err = {0};
            check_ok(decode("x", stored->v, stored->n, pieces[i], pieces[j], &out, &err), &err);
            assert_int_equal(out.n, n);
            if (n) assert_memory_equal(out.v, want, n);
        }
    buf_release(&out);
}

static void refuses(const struct buf *stored, const char *why) {
    struct buf out = {0};
    for (size_t piece = 1; piece < 1 << 20; piece *= 97) {
        struct err err = {0};
        int rc = decode("f.gz", stored->v, stored->n, piece, 4096, &out, &err);
        if (rc != ERR_DATA || !strstr(err.msg, why) || strncmp(err.msg, "f.gz: ", 6))
            fail_msg("wanted '%s', got %d '%s'", why, rc, err.msg);
    }
    buf_release(&out);
}

static void plain(void **state) {
    (void)state;
    struct buf b = {0};
    reads(&b, "", 0);
    add(&b, text, N);
    reads(&b, text, N);
    b.n = 1;
    reads(&b, text, 1);
    buf_release(&b);
}

/* A member may be empty, in front too (bgzip ends every file with one). */
static void gzip_members(void **state) {
    (void)state;
    struct buf b = {0};
    add_gzip(&b, text, 5);
    add_gzip(&b, "", 0);
    add_gzip(&b, text + 5, N - 5);
    reads(&b, text, N);
    b.n = 0;
    add_gzip(&b, "", 0);
    reads(&b, "", 0);
    add_gzip(&b, text, N);
    add_gzip(&b, "", 0);
    reads(&b, text, N);
    buf_release(&b);
}

/* Every field a header may have, one of them longer than any buffer. */
static void gzip_header_fields(void **state) {
    (void)state;
    struct buf b = {0}, member = {0};
    add_gzip(&member, text, N);
    add(&b, member.v, 10);
    b.v[3] = 2 | 4 | 8 | 16;
    add(&b,
        "\x05\x00"
        "extra",
        7);
    for (int i = 0; i < 600000; i++) add(&b, "n", 1);
    add(&b, "\0comment\0", 9);
    uint32_t crc = (uint32_t)crc32_z(0, (void *)b.v, b.n);
    add(&b, (char[]){(char)crc, (char)(crc >> 8)}, 2);
    size_t header_n = b.n;
    add(&b, member.v + 10, member.n - 10);
    struct buf out = {0};
    struct err err = {0};
    check_ok(decode("x", b.v, b.n, 1000, 4096, &out, &err), &err);
    assert_int_equal(out.n, N);
    b.v[header_n - 1] ^= 1;
    assert_int_equal(decode("x", b.v, b.n, 1000, 4096, &out, &err), ERR_DATA);
    assert_non_null(strstr(err.msg, "header checksum"));
    buf_release(&out);
    buf_release(&member);
    buf_release(&b);
}

static void gzip_padding_and_garbage(void **state) {
    (void)state;
    static const char zeros[700];
    struct buf b = {0};
    add_gzip(&b, text, N);
    add(&b, zeros, sizeof zeros);
    reads(&b, text, N);
    add(&b, "x", 1);
    refuses(&b, "garbage behind the last gzip member at byte");
    b.n = 0;
    add_gzip(&b, text, N);
    size_t n = b.n;
    add(&b, "garbage", 7);
    refuses(&b, "garbage behind");
    b.n = n;
    add(&b, "\x1f", 1); /* a member that begins and does not go on */
    refuses(&b, "garbage behind");
    b.n = n;
    add(&b, "\x1f\x8b", 2);
    refuses(&b, "truncated");
    buf_release(&b);
}

static void gzip_checks_its_sums(void **state) {
    (void)state;
    struct buf b = {0};
    add_gzip(&b, text, N);
    b.v[b.n - 8] ^= 1;
    refuses(&b, "bad gzip checksum");
    b.v[b.n - 8] ^= 1;
    b.v[b.n - 1] ^= 1;
    refuses(&b, "bad gzip length");
    buf_release(&b);
}

/* Cut anywhere, the file is refused; what came before is the beginning of the text, and as much of
 * it for small reads as for large ones. */
static void truncated_anywhere(const struct buf *whole, const struct buf *want, const char *name) {
    struct buf out = {0};
    for (size_t n = 0; n < whole->n; n++) {
        struct err err = {0};
        decode(name, whole->v, n, 1 << 20, 1 << 16, &out, &err);
        size_t large = out.n;
        int rc = decode(name, whole->v, n, 1 << 20, 333, &out, &err);
        if (out.n != large) fail_msg("%s cut to %zu: %zu bytes or %zu", name, n, out.n, large);
        if (rc != ERR_DATA || !strstr(err.msg, "truncated"))
            fail_msg("%s cut to %zu of %zu: %d '%s'", name, n, whole->n, rc, err.msg);
        assert_true(out.n <= want->n);
        if (out.n) assert_memory_equal(out.v, want->v, out.n);
    }
    buf_release(&out);
}

/* A flipped bit is noticed, or harmless (the time in a gzip header): never another text. */
static void flipped_anywhere(struct buf *whole, const struct buf *want, const char *name) {
    struct buf out = {0};
    size_t noticed = 0;
    for (size_t bit = 0; bit < 8 * whole->n; bit++) {
        struct err err = {0};
        whole->v[bit / 8] ^= (char)(1 << bit % 8);
        int rc = decode(name, whole->v, whole->n, 1 << 20, 1 << 16, &out, &err);
        whole->v[bit / 8] ^= (char)(1 << bit % 8);
        if (bit < 32) continue; /* no longer a file of that kind: plain bytes */
        if (rc == 0 && (out.n != want->n || memcmp(out.v, want->v, out.n)))
            fail_msg("%s, bit %zu: another text of %zu bytes", name, bit, out.n);
        if (rc < 0) assert_int_equal(rc, ERR_DATA);
        noticed += rc < 0;
    }
    assert_true(noticed > 7 * whole->n);
    buf_release(&out);
}

static void gzip_damage(void **state) {
    (void)state;
    struct buf want = {0}, b = {0};
    make_text(&want, 3000, 1);
    add_gzip(&b, want.v, want.n);
    truncated_anywhere(&b, &want, "t.gz");
    flipped_anywhere(&b, &want, "t.gz");
    buf_release(&want);
    buf_release(&b);
}

static void zstd_damage(void **state) {
    (void)state;
    struct buf want = {0}, b = {0};
    make_text(&want, 3000, 1);
    add_zstd(&b, want.v, want.n);
    truncated_anywhere(&b, &want, "t.zst");
    flipped_anywhere(&b, &want, "t.zst");
    buf_release(&want);
    buf_release(&b);
}

/* Frames, empty ones and skippable ones, in front, between and at the end. */
static void zstd_frames(void **state) {
    (void)state;
    static const char skippable[] = "\x50\x2a\x4d\x18\x05\0\0\0hello", zeros[99];
    struct buf b = {0};
    add(&b, skippable, 13);
    add_zstd(&b, text, 5);
    add_zstd(&b, "", 0);
    add(&b, skippable, 13);
    add_zstd(&b, text + 5, N - 5);
    reads(&b, text, N);
    add(&b, skippable, 13);
    reads(&b, text, N);
    add(&b, zeros, sizeof zeros);
    reads(&b, text, N);
    add(&b, "x", 1);
    refuses(&b, "garbage behind the last zstd frame");
    buf_release(&b);
}

/* Without a checksum behind it, the last block's text is still inside when the input has ended. */
static void zstd_last_block(void **state) {
    (void)state;
    struct buf want = {0}, b = {0};
    make_text(&want, 300, 4);
    assert_int_equal(buf_reserve(&b, ZSTD_compressBound(want.n), NULL), 0);
    b.n = ZSTD_compress(b.v, b.cap, want.v, want.n, 3);
    assert_false(ZSTD_isError(b.n));
    reads(&b, want.v, want.n);
    buf_release(&want);
    buf_release(&b);
}

/* A frame that says 8,613 bytes and has none: libzstd does not mind if its last block is empty. One
 * that says none and has none is fine. */
static void zstd_frame_has_the_size_it_says(void **state) {
    (void)state;
    static const char promised[] = "\x28\xb5\x2f\xfd\x40\x18\xa5\x20\x01\0\0",
                      none[] = "\x28\xb5\x2f\xfd\x20\0\x01\0\0";
    struct buf b = {0};
    add(&b, none, sizeof none - 1);
    reads(&b, "", 0);
    b.n = 0;
    add(&b, promised, sizeof promised - 1);
    refuses(&b, "the frame has not the size it says");
    buf_release(&b);
}

/* A frame header that asks for a window of 2^30: refused by name, before the memory is taken. */
static void zstd_window_is_bounded(void **state) {
    (void)state;
    static const char header[] = "\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00";
    struct buf b = {0};
    add(&b, header, sizeof header - 1);
    refuses(&b, "window of more than 128 MiB");
    buf_release(&b);
}

/* Several blocks, windows and buffers long, in odd pieces. */
static void large_streams(void **state) {
    (void)state;
    struct buf want = {0}, b = {0}, out = {0};
    struct err err = {0};
    make_text(&want, 3 << 20, 2);
    add_gzip(&b, want.v, want.n);
    check_ok(decode("g", b.v, b.n, 65537, 99991, &out, &err), &err);
    assert_int_equal(out.n, want.n);
    assert_memory_equal(out.v, want.v, want.n);
    b.n = 0;
    add_zstd(&b, want.v, want.n);
    check_ok(decode("z", b.v, b.n, 65537, 99991, &out, &err), &err);
    assert_int_equal(out.n, want.n);
    assert_memory_equal(out.v, want.v, want.n);
    buf_release(&want);
    buf_release(&b);
    buf_release(&out);
}

/* Each gzip and zstd file cut at each buffer's length: where the input buffer is refilled in a
 * trailer. */
static void trailers_across_buffers(void **state) {
    (void)state;
    struct buf b = {0}, want = {0}, out = {0};
    for (int i = 0; i < 40; i++) {
        add_gzip(&b, text, N);
        add(&want, text, N);
    }
    for (size_t piece = 1; piece < 80; piece++) {
        struct err err = {0};
        check_ok(decode("g", b.v, b.n, piece, 64, &out, &err), &err);
        assert_int_equal(out.n, want.n);
        assert_memory_equal(out.v, want.v, want.n);
    }
    buf_release(&b);
    buf_release(&want);
    buf_release(&out);
}

static void other_formats_are_named(void **state) {
    (void)state;
    struct buf b = {0};
    add(&b, "PAR1xxxx", 8);
    refuses(&b, "Parquet");
    b.n = 0;
    add(&b, "BZh91AY", 7);
    refuses(&b, "bzip2");
    buf_release(&b);
}

static void files_tell_where_they_are(void **state) {
    struct buf out = {0}, b = {0};
    struct codec *c;
    struct err err = {0};
    make_text(&out, 1 << 20, 3);
    add_gzip(&b, out.v, out.n);
    struct source_file file = {.name = "a", .path = (char *)put(*state, "a", b.v, b.n)};
    check_ok(codec_open(&c, &file, NULL, false, &err), &err);
    while (codec_read(c, out.v, 1000, &err) > 0) assert_true(codec_stored(c) <= b.n);
    assert_int_equal(codec_stored(c), b.n);
    codec_close(c);
    file.path = (char *)in(*state, "none");
    assert_int_equal(codec_open(&c, &file, NULL, false, &err), ERR_IO);
    buf_release(&out);
    buf_release(&b);
}

/* By whatever the processor has, beside zlib: every length, any place, and sums that go on. */
static void sums_are_zlibs(void **state) {
    enum { MAX = 1500 };
    uint8_t v[MAX + 64];
    (void)state;
    for (size_t i = 0; i < sizeof v; i++) v[i] = (uint8_t)(i * i * 31 >> 3);
    for (size_t n = 0; n <= MAX; n++) {
        const uint8_t *p = v + n % 61;
        uint32_t want = (uint32_t)crc32_z(0, p, n), before = (uint32_t)crc32_z(0, p, n / 3);
        assert_int_equal(inflate_crc(0, p, n), want);
        assert_int_equal(inflate_crc(before, p + n / 3, n - n / 3), want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),
        cmocka_unit_test(gzip_members),
        cmocka_unit_test(gzip_header_fields),
        cmocka_unit_test(gzip_padding_and_garbage),
        cmocka_unit_test(gzip_checks_its_sums),
        cmocka_unit_test(gzip_damage),
        cmocka_unit_test(zstd_damage),
        cmocka_unit_test(zstd_frames),
        cmocka_unit_test(zstd_last_block),
        cmocka_unit_test(zstd_frame_has_the_size_it_says),
        cmocka_unit_test(zstd_window_is_bounded),
        cmocka_unit_test(large_streams),
        cmocka_unit_test(sums_are_zlibs),
        cmocka_unit_test(trailers_across_buffers),
        cmocka_unit_test(other_formats_are_named),
        cmocka_unit_test_setup_teardown(files_tell_where_they_are, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
