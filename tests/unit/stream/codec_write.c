/* What is written can be read, is the same every time, and is whole or not there. */
#include "stream_help.h"

static void write_all(const char *path, const struct buf *b, size_t step) {
    struct codec_writer *w;
    struct err err = {0};
    check_ok(codec_writer_open(&w, path, &err), &err);
    for (size_t i = 0; i < b->n; i += step)
        check_ok(codec_write(w, b->v + i, step < b->n - i ? step : b->n - i, &err), &err);
    check_ok(codec_writer_commit(w, &err), &err);
}

static void slurp(struct buf *b, const char *path) {
    struct err err = {0};
    b->n = 0;
    check_ok(file_read(path, 1 << 30, b, &err), &err);
}

static void round_trips(void **state) {
    static const char *const names[] = {"a.jsonl", "a.jsonl.gz", "a.jsonl.zst"};
    static const char *const magic[] = {"", "\x1f\x8b", "\x28\xb5\x2f\xfd"};
    static const size_t sizes[] = {0, 1, 5000, 2 << 20};
    struct buf want = {0}, stored = {0}, again = {0}, out = {0};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++) {
            struct err err = {0};
            const char *path = in(*state, names[i]);
            want.n = 0;
            make_text(&want, sizes[j], 7);
            if (!sizes[j]) want.n = 0;
            write_all(path, &want, 700001);
            slurp(&stored, path);
            if (want.n || i) assert_memory_equal(stored.v, magic[i], strlen(magic[i]));
            check_ok(decode(path, stored.v, stored.n, 1 << 20, 1 << 16, &out, &err), &err);
            assert_int_equal(out.n, want.n);
            if (want.n) assert_memory_equal(out.v, want.v, want.n);
            write_all(path, &want, 700001);
            slurp(&again, path);
            assert_int_equal(again.n, stored.n);
            if (stored.n) assert_memory_equal(again.v, stored.v, stored.n);
        }
    buf_release(&want);
    buf_release(&stored);
    buf_release(&again);
    buf_release(&out);
}

static void aborted_leaves_nothing(void **state) {
    struct codec_writer *w;
    struct err err = {0};
    struct strs names = {0};
    check_ok(codec_writer_open(&w, in(*state, "a.gz"), &err), &err);
    check_ok(codec_write(w, "text", 4, &err), &err);
    codec_writer_abort(w);
    codec_writer_abort(NULL);
    check_ok(file_list(*state, &names, &err), &err);
    assert_int_equal(names.n, 0);
}

/* A disk that fills up: the bytes come out of the compressor late, the failure must still be
 * told. */
static void full_disk_is_told(void **state) {
    struct codec_writer *w;
    struct err err = {0};
    (void)state;
    check_ok(codec_writer_open(&w, "/dev/full", &err), &err);
    int rc = codec_write(w, "text", 4, &err);
    if (rc == 0)
        rc = codec_writer_commit(w, &err);
    else
        codec_writer_abort(w);
    assert_int_equal(rc, ERR_IO);
    assert_non_null(strstr(err.msg, "/dev/full"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trips, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(aborted_leaves_nothing, folder_setup, folder_teardown),
        cmocka_unit_test(full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
