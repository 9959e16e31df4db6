/* Pages and plots: text cannot become markup, numbers that are none are left out, and everything
 * lies within the drawing. */
#include <math.h>
#include "tests/unit/test.h"
#include "report/html.h"
#include "report/svg.h"

static void text_is_never_markup(void **state) {
    struct html *h;
    struct table *t;
    struct buf out = {0};
    struct err e = {0};
    (void)state;
    check_ok(html_new(&h, "<script>", &e), &e);
    check_ok(table_new(&t, "a&b|n", "lr", &e), &e);
    table_str(t, "</td>\x01\xFF\xED\xA0\x80", &e);
    table_u64(t, 7, &e);
    html_para(h, "\"x\"");
    html_pre(h, "a\n<b>", 5);
    html_table(h, t);
    check_ok(html_end(h, &out, &e), &e);
    buf_cstr(&out);
    assert_null(strstr(out.v, "<script>"));
    assert_non_null(strstr(out.v, "<title>&lt;script&gt;</title>"));
    assert_non_null(strstr(out.v, "<p>&quot;x&quot;</p>"));
    assert_non_null(strstr(out.v, "<pre>a\n&lt;b&gt;</pre>"));
    assert_non_null(strstr(out.v, "<th>a&amp;b</th><th class=\"r\">n</th>"));
    assert_non_null(strstr(out.v, "<td>&lt;/td&gt;\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                                  "\xEF\xBF\xBD</td><td class=\"r\">7</td></tr>"));
    assert_null(strstr(out.v, "http")); /* self-contained */
    table_free(t);
    buf_release(&out);
}

/* Every coordinate of a path lies in the frame. */
static void inside(const struct buf *svg, size_t want_points) {
    const char *at = strstr(svg->v, " d=\"");
    size_t points = 0;
    assert_non_null(at);
    for (at += 4; *at != '"'; points++) {
        char *end;
        assert_true(*at == 'M' || *at == 'L');
        double x = strtod(at + 1, &end), y = strtod(end + 1, &end);
        assert_true(x >= 0 && x <= 720 && y >= 0 && y <= 300);
        at = end;
    }
    assert_int_equal(points, want_points);
}

static void curves_stay_in_the_frame(void **state) {
    (void)state;
    const double y[] = {3, NAN, 2, INFINITY, 1, 0.5, 0, -1},
                 x[] = {1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7};
    const struct svg_series s[] = {{"a", x, y, 8}, {"b", NULL, y, 1}};
    const struct svg_axes straight = {"<t>", "x", "y", false, false},
                          logs = {"t", NULL, NULL, true, true};
    struct buf out = {0};
    struct err e = {0};
    check_ok(svg_lines(&out, &straight, s, 2, &e), &e);
    buf_cstr(&out);
    inside(&out, 6);
    assert_non_null(strstr(out.v, "&lt;t&gt;"));
    out.n = 0;
    check_ok(svg_lines(&out, &logs, s, 1, &e), &e);
    buf_cstr(&out);
    inside(&out, 4); /* 0 and -1 have no logarithm */
    out.n = 0;
    check_ok(svg_lines(&out, &straight, NULL, 0, &e), &e);
    buf_release(&out);
}

/* A million points are as many as the drawing can show; the highest is among them. */
static void long_curves_are_thinned(void **state) {
    enum { MANY = 1000000 };
    double *y = calloc(MANY, sizeof *y);
    struct buf out = {0};
    struct err e = {0};
    (void)state;
    y[654321] = 5;
    check_ok(svg_lines(&out, &(struct svg_axes){.title = ""},
                       &(struct svg_series){"", NULL, y, MANY}, 1, &e),
             &e);
    assert_true(out.n < 100000);
    assert_non_null(strstr(buf_cstr(&out), " 34.0")); /* the top */
    free(y);
    buf_release(&out);
}

static void bars_have_labels_and_values(void **state) {
    (void)state;
    const char *const labels[] = {"1", "2", "<3>"};
    const double y[] = {4, NAN, 2};
    struct buf out = {0};
    struct err e = {0};
    check_ok(svg_bars(&out, &(struct svg_axes){.title = "bars"}, labels, 3,
                      &(struct svg_series){"s", NULL, y, 3}, 1, &e),
             &e);
    buf_cstr(&out);
    assert_non_null(strstr(out.v, "<title>4</title>"));
    assert_non_null(strstr(out.v, "&lt;3&gt;"));
    assert_null(strstr(out.v, "nan"));
    buf_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_never_markup),
        cmocka_unit_test(curves_stay_in_the_frame),
        cmocka_unit_test(long_curves_are_thinned),
        cmocka_unit_test(bars_have_labels_and_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
