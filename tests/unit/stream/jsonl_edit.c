/* Members of a line that is a mapping of a file are those of the line in memory. */
#include "stream_help.h"
#include <fcntl.h>
#include <sys/mman.h>
#include "stream/jsonl_edit.h"

/* A string of about n bytes, with quotes and backslashes escaped in every row. */
static void add_string(struct buf *b, size_t n, struct rng *rng) {
    static const char *const bits[] = {"word", "\\\"", "\\\\", "\\\\\\\"", "{",
                                       "}",    "[",    ", ",   ": ",       "\\u0022"};
    buf_char(b, '"', NULL);
    for (size_t end = b->n + n; b->n < end;)
        buf_str(b, bits[rng_below(rng, sizeof bits / sizeof *bits)], NULL);
    buf_char(b, '"', NULL);
}

static void add_spaces(struct buf *b, struct rng *rng) {
    size_t n = rng_below(rng, 3);
    if (rng_below(rng, 20) == 0) n = (1 << 20) + rng_below(rng, 100);
    while (n--) buf_char(b, " \t\r"[rng_below(rng, 3)], NULL);
}

/* An object of a few MiB: some members are long, some have long keys, some are nested. */
static void make_line(struct buf *b, uint64_t seed) {
    struct rng rng = {.key = seed};
    size_t members = rng_below(&rng, 12);
    b->n = 0;
    add_spaces(b, &rng);
    buf_char(b, '{', NULL);
    for (size_t i = 0; i < members; i++) {
        static const size_t sizes[] = {5, 3000, 1 << 20, 2500000};
        if (i) buf_char(b, ',', NULL);
        add_spaces(b, &rng);
        if (rng_below(&rng, 3))
            buf_printf(b, NULL, rng_below(&rng, 2) ? "\"key%d\"" : "\"k\\u0065y%d\"", (int)i);
        else
            add_string(b, sizes[rng_below(&rng, 3)], &rng);
        add_spaces(b, &rng);
        buf_char(b, ':', NULL);
        add_spaces(b, &rng);
        bool nested = rng_below(&rng, 3) == 0;
        if (nested) buf_str(b, "[{\"a\": ", NULL);
        add_string(b, sizes[rng_below(&rng, 4)], &rng);
        if (nested) buf_str(b, "}, []]", NULL);
    }
    buf_char(b, '}', NULL);
    add_spaces(b, &rng);
}

static int append(void *ctx, const char *v, size_t n, struct err *err) {
    return buf_append(ctx, v, n, err);
}

static void same_members(const struct buf *line, const char *mapped) {
    struct jsonl_member a, b;
    size_t at = 0, at_mapped = 0;
    for (;;) {
        bool more = jsonl_next(line->v, line->n, &at, &a);
        assert_int_equal(jsonl_next_mapped(mapped, line->n, &at_mapped, &b), more);
        assert_int_equal(at_mapped, at);
        if (!more) break;
        assert_int_equal(b.key - mapped, a.key - line->v);
        assert_int_equal(b.key_n, a.key_n);
        assert_int_equal(b.value - mapped, a.value - line->v);
        assert_int_equal(b.value_n, a.value_n);
        assert_memory_equal(b.value, a.value, a.value_n); /* it comes again */
    }
}

static void a_mapped_line_is_the_line(void **state) {
    static const char *const without[] = {"key3", "key0", "none", "key1"};
    struct buf line = {0}, want = {0}, got = {0};
    struct err err = {0};
    for (uint64_t seed = 1; seed <= 10; seed++) {
        make_line(&line, seed);
        int fd = open(put(*state, "line", line.v, line.n), O_RDONLY);
        char *v = mmap(NULL, line.n, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        assert_true(v != MAP_FAILED);
        same_members(&line, v);
        for (size_t n = 0; n <= 4; n += 4) {
            want.n = got.n = 0;
            check_ok(jsonl_open(line.v, line.n, without, n, &want, &err), &err);
            check_ok(jsonl_open_mapped(v, line.n, without, n, append, &got, &err), &err);
            assert_int_equal(got.n, want.n);
            assert_memory_equal(got.v, want.v, want.n);
        }
        munmap(v, line.n);
    }
    buf_release(&line);
    buf_release(&want);
    buf_release(&got);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {in_folder(a_mapped_line_is_the_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
