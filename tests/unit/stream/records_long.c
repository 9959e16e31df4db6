/* Records that come in pieces: files are those of whole records, whatever the pieces; what is long
 * leaves while it comes. */
#include "stream_help.h"
#include "stream/records.h"

enum { LONG = 9 << 20 };

static void slurp(struct buf *b, const char *path) {
    struct err err = {0};
    b->n = 0;
    check_ok(file_read(path, 1 << 30, b, &err), &err);
}

/* A short record, a long one, a short one, one that is not quite long. */
static const size_t sizes[] = {100, LONG, 50, 3 << 20, LONG + 1, 7};
enum { RECORDS = sizeof sizes / sizeof *sizes };

static void write_all(const char *path, const struct buf *text, size_t piece, int threads) {
    const struct records_opts o = {.per_file = 4, .threads = threads};
    struct records *w;
    struct err err = {0};
    const char *v = text->v;
    check_ok(records_open(&w, path, &o, &err), &err);
    for (int i = 0; i < RECORDS; v += sizes[i++] + 1) {
        if (!piece)
            check_ok(records_add(w, v, sizes[i], &err), &err);
        else {
            for (size_t at = 0, n; at < sizes[i]; at += n) {
                n = sizes[i] - at < piece ? sizes[i] - at : piece;
                check_ok(records_put(w, v + at, n, &err), &err);
            }
            check_ok(records_end(w, &err), &err);
        }
    }
    assert_int_equal(records_bytes(w), text->n);
    check_ok(records_commit(w, &err), &err);
}

static void make_all(struct buf *text) {
    for (int i = 0; i < RECORDS; i++) {
        size_t from = text->n;
        make_text(text, from + sizes[i], (uint64_t)i + 3);
        text->n = from + sizes[i];
        for (size_t k = from; k < text->n; k++)
            if (text->v[k] == '\n') text->v[k] = ' ';
        buf_char(text, '\n', NULL);
    }
}

static void read_back(const char *path, struct buf *stored, struct buf *out) {
    struct err err = {0};
    slurp(stored, path);
    check_ok(decode(path, stored->v, stored->n, 1 << 20, 1 << 16, out, &err), &err);
}

static void pieces_are_the_whole(void **state) {
    static const char *const names[] = {"r.jsonl", "r.jsonl.gz", "r.jsonl.zst"};
    struct buf text = {0}, want = {0}, got = {0}, out = {0};
    make_all(&text);
    for (int i = 0; i < 3; i++) {
        const char *path = in(*state, names[i]);
        write_all(path, &text, 0, 2);
        read_back(path, &want, &out);
        assert_int_equal(out.n, text.n);
        assert_memory_equal(out.v, text.v, text.n);
        for (size_t piece = 777777; piece < 2 * LONG; piece *= 5) {
            write_all(path, &text, piece, 1);
            slurp(&got, path);
            assert_int_equal(got.n, want.n);
            assert_memory_equal(got.v, want.v, want.n);
        }
    }
    buf_release(&text);
    buf_release(&want);
    buf_release(&got);
    buf_release(&out);
}

/* gzip's bytes are those of zlib over whole blocks: a block ends behind the record that makes it
 * one MiB or more; the last of a file may be empty. */
static void a_long_block_is_one_member(void **state) {
    struct buf text = {0}, want = {0}, got = {0};
    size_t at = 0, n = 0;
    make_all(&text);
    for (int i = 0; i < RECORDS; i++) {
        n += sizes[i] + 1;
        bool last = i == 3 || i == RECORDS - 1; /* of a file of four records */
        if (n < 1 << 20 && !last) continue;
        add_gzip(&want, text.v + at, n);
        at += n;
        n = 0;
        if (!last) continue;
        write_all(in(*state, "out/"), &text, 0, 1);
        slurp(&got, in(*state,
                       i == 3 ? "out/file-000000000001.json.gz" : "out/file-000000000002.json.gz"));
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.v, want.v, want.n);
        want.n = 0;
    }
    buf_release(&text);
    buf_release(&want);
    buf_release(&got);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        in_folder(pieces_are_the_whole),
        in_folder(a_long_block_is_one_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
