/* The progress line at every width: DuckDB's divided by a width of zero when piped
 * (duckdb#22716). */
#include "tests/unit/test.h"
#include "tools/console.h"

static const char *text(const struct progress *p, double rate, size_t width, bool bar) {
    static char out[512];
    progress_text(out, sizeof out, p, rate, width, bar);
    return out;
}

static void lines_read_well(void **state) {
    (void)state;
    struct progress p = {"counting words", 312500000, 726400000, "B", "loss 3.2"};
    assert_string_equal(text(&p, 88.1e6, 0, true),
                        "counting words  43% [########............]  312.5/726.4 MB  88.1 MB/s"
                        "  ETA 5s  loss 3.2");
    p = (struct progress){"training", 1200, 20000, "steps", NULL};
    assert_string_equal(text(&p, 2.5, 0, false),
                        "training  6%  1200/20000 steps  2.50/s  ETA 2h05m");
    p = (struct progress){"reading", 5, 0, "documents", NULL};
    assert_string_equal(text(&p, 0, 0, true), "reading  5 documents");
    p = (struct progress){"merges", 999, 1000, NULL, NULL};
    assert_string_equal(text(&p, 1, 0, false), "merges  99%  999/1000  1.00/s  ETA 1s");
}

static void odd_numbers_do_no_harm(void **state) {
    (void)state;
    struct progress p = {NULL, UINT64_MAX, 1, "B", ""};
    assert_non_null(strstr(text(&p, 1e300, 0, true), "100%"));
    p = (struct progress){"x", 0, UINT64_MAX, "s", NULL};
    text(&p, 1e-300, 0, true);
    text(&p, strtod("nan", NULL), 0, true);
    text(&p, -1, 0, true);
}

static void every_width_and_size_fits(void **state) {
    (void)state;
    struct progress p = {"żółw 😀", 5, 10, "kroków", "détail"};
    for (size_t width = 1; width < 100; width++) {
        const char *s = text(&p, 3, width, true);
        size_t columns = 0;
        for (const char *c = s; *c; c++) columns += ((unsigned char)*c & 0xC0) != 0x80;
        assert_true(columns <= width);
    }
    for (size_t n = 0; n < 80; n++) {
        char *exact = malloc(n ? n : 1); /* the sanitizer watches its end */
        progress_text(exact, n, &p, 3, 0, true);
        assert_true(n == 0 || strlen(exact) < n);
        free(exact);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_read_well),
        cmocka_unit_test(odd_numbers_do_no_harm),
        cmocka_unit_test(every_width_and_size_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
