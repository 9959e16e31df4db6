/* Counting pieces: against a list of (piece, count) made by hand or by search. */
#include "tests/unit/test.h"

#include <cmocka.h>
#include "base/pool.h"
#include "base/rng.h"
#include "tokenizer/train.h"

static struct words *new_words(const char *pattern, bool lines, int threads) {
    struct words *w;
    struct words_opts o = {.pattern = pattern, .lines = lines, .threads = threads};
    assert_int_equal(words_new(&w, &o, NULL), 0);
    return w;
}

static void finish(struct words *w, int threads) {
    struct pool *pool;
    assert_int_equal(pool_new(&pool, threads, NULL), 0);
    assert_int_equal(words_finish(w, pool, NULL), 0);
    pool_free(pool);
}

/* Count of one piece by search; fails if it stands twice. */
static uint64_t count_of(const struct words *w, const void *piece, size_t n) {
    uint64_t found = 0;
    for (uint64_t i = 0; i < words_distinct(w); i++) {
        uint64_t count;
        size_t len;
        const char *p = words_get(w, i, &len, &count);
        if (len != n || memcmp(p, piece, n) != 0) continue;
        assert_int_equal(found, 0);
        found = count;
    }
    return found;
}

static uint64_t count_str(const struct words *w, const char *piece) {
    return count_of(w, piece, strlen(piece));
}

static void documents_and_lines(void **state) {
    (void)state;
    const char *text = "a b\n\n  b\r\nc";
    struct words *w = new_words(NULL, false, 1);
    assert_int_equal(words_add(w, 0, text, strlen(text), NULL), 0);
    finish(w, 1);
    /* a| b|\n\n |" b"|\r|\n|c */
    assert_int_equal(words_total(w), 7);
    assert_int_equal(count_str(w, "\n\n "), 1);
    assert_int_equal(count_str(w, " b"), 2);
    words_free(w);
    w = new_words(NULL, true, 1);
    assert_int_equal(words_add(w, 0, text, strlen(text), NULL), 0);
    finish(w, 1);
    /* a| b|\n   \n   " "|" b"|\r\n   c     a line's end is white space up to its end */
    assert_int_equal(words_total(w), 8);
    assert_int_equal(count_str(w, "\n"), 2);
    assert_int_equal(count_str(w, " b"), 2);
    assert_int_equal(count_str(w, "\r\n"), 1);
    words_free(w);
}

static void nothing_counted(void **state) {
    (void)state;
    struct words *w = new_words(NULL, false, 3);
    assert_int_equal(words_add(w, 1, "", 0, NULL), 0);
    assert_int_equal(words_add_count(w, 2, "", 0, 5, NULL), 0);
    assert_int_equal(words_add_count(w, 2, "x", 1, 0, NULL), 0);
    finish(w, 3);
    assert_int_equal(words_distinct(w), 0);
    assert_int_equal(words_total(w), 0);
    words_free(w);
}

/* Lengths around the border between a slot's own bytes and the arena, and bytes that are zero. */
static void every_length_keeps_its_own_count(void **state) {
    (void)state;
    char piece[300];
    struct words *w = new_words(NULL, false, 2);
    for (int round = 0; round < 2; round++)
        for (size_t n = 1; n < sizeof piece; n++)
            for (int byte = 0; byte < 2; byte++) {
                memset(piece, byte ? 'x' : 0, n);
                assert_int_equal(words_add_count(w, round, piece, n, n + 1000 * (size_t)byte, NULL),
                                 0);
            }
    finish(w, 2);
    assert_int_equal(words_distinct(w), 2 * (sizeof piece - 1));
    for (size_t n = 1; n < sizeof piece; n++)
        for (int byte = 0; byte < 2; byte++) {
            memset(piece, byte ? 'x' : 0, n);
            assert_int_equal(count_of(w, piece, n), 2 * (n + 1000 * (size_t)byte));
        }
    words_free(w);
}

enum { TEXTS = 3000, PIECES = 50000 };

struct job {
    struct words *w;
};

/* Text i: words w<k> for k = i, 2i, 3i … so that texts share words; some longer than a slot. */
static int add_text(void *ctx, size_t i, int thread, struct err *err) {
    struct job *job = ctx;
    struct buf text = {0};
    for (size_t k = i + 1; k < PIECES; k += (i + 1) * 7)
        buf_printf(&text, NULL, k % 3 ? " q%zuq" : " a-rather-long-word-of-its-own-%zu", k);
    int rc = words_add(job->w, thread, text.v, text.n, err);
    buf_release(&text);
    return rc;
}

static void same_for_any_number_of_threads(void **state) {
    (void)state;
    struct words *w[2];
    for (int k = 0; k < 2; k++) {
        int threads = k ? 4 : 1;
        struct pool *pool;
        struct job job = {.w = w[k] = new_words("\\S+|\\s+", false, threads)};
        assert_int_equal(pool_new(&pool, threads, NULL), 0);
        assert_int_equal(pool_run(pool, TEXTS, add_text, &job, NULL), 0);
        assert_true(words_distinct(w[k]) > 0);
        assert_int_equal(words_finish(w[k], pool, NULL), 0);
        pool_free(pool);
    }
    assert_int_equal(words_total(w[0]), words_total(w[1]));
    assert_int_equal(words_distinct(w[0]), words_distinct(w[1]));
    for (uint64_t i = 0; i < words_distinct(w[0]); i += 97) {
        uint64_t count;
        size_t n;
        const char *p = words_get(w[0], i, &n, &count);
        assert_int_equal(count_of(w[1], p, n), count);
    }
    words_free(w[0]);
    words_free(w[1]);
}

static void counts_from_a_file(void **state) {
    const char *path = in(*state, "words.tsv");
    static const char good[] = "3000000000\tab\n5\t\\x20c\\x5c\r\n\n7\tab";
    assert_int_equal(file_write(path, good, sizeof good - 1, NULL), 0);
    struct words *w = new_words(NULL, false, 1);
    assert_int_equal(words_read_counts(w, path, NULL), 0);
    finish(w, 1);
    assert_int_equal(words_distinct(w), 2);
    assert_int_equal(count_str(w, "ab"), 3000000007);
    assert_int_equal(count_str(w, " c\\"), 5);
    words_free(w);
}

static void bad_counts_are_located(void **state) {
    static const struct {
        const char *text, *place;
    } bad[] = {{"1\ta\nx\tb\n", "words.tsv:2:1:"},
               {"1 a\n", "words.tsv:1:2:"},
               {"12\tab\\x2\n", "words.tsv:1:6:"},
               {"12\t\n", "words.tsv:1:4:"},
               {"99999999999999999999\ta\n", "words.tsv:1:"}};
    const char *path = in(*state, "words.tsv");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {0};
        struct words *w = new_words(NULL, false, 1);
        assert_int_equal(file_write(path, bad[i].text, strlen(bad[i].text), NULL), 0);
        assert_int_equal(words_read_counts(w, path, &err), ERR_DATA);
        if (!strstr(err.msg, bad[i].place)) fail_msg("no %s in: %s", bad[i].place, err.msg);
        words_free(w);
    }
    struct words *w = new_words(NULL, false, 1);
    assert_int_equal(words_read_counts(w, in(*state, "none"), NULL), ERR_IO);
    words_free(w);
}

/* All byte values, both kinds of slots, and a word that is the beginning of another. */
static void counts_written_are_the_counts_read(void **state) {
    const char *path = in(*state, "out.tsv"), *again = in(*state, "again.tsv");
    struct words *w = new_words(NULL, false, 2), *back = new_words(NULL, false, 1);
    char piece[300];
    for (size_t i = 0; i < sizeof piece; i++) piece[i] = (char)(255 - i % 256);
    for (size_t n = sizeof piece; n > 0; n--)
        assert_int_equal(words_add_count(w, n & 1, piece + n / 3, n - n / 3, n << 32, NULL), 0);
    assert_int_equal(words_add_count(w, 0, " a\\", 3, 7, NULL), 0);
    assert_int_equal(words_add_count(w, 0, " a", 2, 1, NULL), 0);
    finish(w, 2);
    assert_int_equal(words_write_counts(w, path, NULL), 0);
    struct buf one = {0}, two = {0};
    assert_int_equal(file_read(path, 1 << 20, &one, NULL), 0);
    assert_ptr_equal(strstr(buf_cstr(&one), "1\t\\x20a\n7\t\\x20a\\x5c\n"), one.v);
    for (int twice = 0; twice < 2; twice++)
        assert_int_equal(words_read_counts(back, path, NULL), 0);
    finish(back, 1);
    assert_int_equal(words_total(back), 2 * words_total(w));
    assert_int_equal(words_distinct(back), words_distinct(w));
    for (uint64_t i = 0; i < words_distinct(w); i++) {
        size_t n;
        uint64_t count;
        const char *p = words_get(w, i, &n, &count);
        assert_int_equal(count_of(back, p, n), 2 * count);
    }
    words_free(back);
    back = new_words(NULL, false, 1);
    assert_int_equal(words_read_counts(back, path, NULL), 0);
    finish(back, 1);
    assert_int_equal(words_write_counts(back, again, NULL), 0);
    assert_int_equal(file_read(again, 1 << 20, &two, NULL), 0);
    assert_string_equal(buf_cstr(&one), buf_cstr(&two));
    words_free(w);
    words_free(back);
    buf_release(&one);
    buf_release(&two);
}

/* Counts all texts on `threads` threads within `memory` and writes the counts. */
static void count_within(const char *folder, uint64_t memory, int threads, const char *path) {
    struct words_opts o = {
        .pattern = "\\S+|\\s+", .threads = threads, .memory = memory, .spill_dir = folder};
    struct pool *pool;
    struct job job;
    struct err err = {0};
    check_ok(words_new(&job.w, &o, &err), &err);
    assert_int_equal(pool_new(&pool, threads, NULL), 0);
    check_ok(pool_run(pool, TEXTS, add_text, &job, &err), &err);
    for (size_t n = 1; n < 300; n++) { /* all lengths, and bytes that are zero */
        char piece[300] = {0};
        check_ok(words_add_count(job.w, 0, piece, n, n, &err), &err);
    }
    check_ok(words_finish(job.w, pool, &err), &err);
    check_ok(words_write_counts(job.w, path, &err), &err);
    words_free(job.w);
    pool_free(pool);
}

/* From a bound that each text breaks to one that only the growth of the last table breaks. */
static void same_within_any_memory(void **state) {
    char *folder = strdup(in(*state, "spill"));
    assert_int_equal(file_mkdirs(folder, NULL), 0);
    struct buf want = {0}, got = {0};
    count_within(folder, 0, 2, in(*state, "all.tsv"));
    assert_int_equal(file_read(in(*state, "all.tsv"), 1 << 24, &want, NULL), 0);
    for (uint64_t memory = 1 << 14; memory <= 16 << 20; memory *= 4)
        for (int threads = 1; threads < 4; threads += 2) {
            count_within(folder, memory, threads, in(*state, "bound.tsv"));
            got.n = 0;
            assert_int_equal(file_read(in(*state, "bound.tsv"), 1 << 24, &got, NULL), 0);
            assert_string_equal(buf_cstr(&got), buf_cstr(&want));
        }
    struct strs names = {0};
    assert_int_equal(file_list(folder, &names, NULL), 0);
    assert_int_equal(names.n, 0); /* nothing is left */
    strs_release(&names);
    free(folder);
    buf_release(&want);
    buf_release(&got);
}

static void no_place_for_words_is_an_error(void **state) {
    struct words_opts o = {.threads = 1, .memory = 1 << 10, .spill_dir = in(*state, "nowhere")};
    struct words *w;
    struct err err = {0};
    int rc = 0;
    assert_int_equal(words_new(&w, &o, NULL), 0);
    for (int i = 0; i < 5000 && rc == 0; i++)
        rc = words_add_count(w, 0, (char *)&i, sizeof i, 1, &err);
    check_fails(rc, ERR_IO, &err, "nowhere");
    words_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_and_lines),
        cmocka_unit_test(nothing_counted),
        cmocka_unit_test(every_length_keeps_its_own_count),
        cmocka_unit_test(same_for_any_number_of_threads),
        cmocka_unit_test(counts_from_a_file),
        cmocka_unit_test(bad_counts_are_located),
        cmocka_unit_test(counts_written_are_the_counts_read),
        cmocka_unit_test(same_within_any_memory),
        cmocka_unit_test(no_place_for_words_is_an_error),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
