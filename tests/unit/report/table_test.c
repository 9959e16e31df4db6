/* Tables: columns line up on a terminal, whatever the script of the cells. */
#include "tests/unit/test.h"
#include "report/table.h"

static void columns_line_up(void **state) {
    (void)state;
    struct table *t;
    struct err e = {0};
    struct buf out = {0};
    check_ok(table_new(&t, "name|n|x|share", "lrrl", &e), &e);
    table_str(t, "数据", &e);
    table_u64(t, 1234567, &e);
    table_f64(t, 3.14159, 2, &e);
    table_share(t, 1, 8, &e);
    table_str(t, "e\xCC\x81", &e); /* e and a combining accent: one column */
    table_u64(t, 0, &e);
    table_f64(t, 1.0 / 0.0, 2, &e);
    table_share(t, 1, 0, &e);
    table_str(t, "row cut short", &e);
    check_ok(table_text(t, &out, &e), &e);
    assert_string_equal(buf_cstr(&out), "name                   n     x  share\n"
                                        "-------------  ---------  ----  ------\n"
                                        "数据           1,234,567  3.14  12.5 %\n"
                                        "e\xCC\x81                      0     -  -\n"
                                        "row cut short                   \n");
    table_free(t);
    buf_release(&out);
}

static void widths_of_characters(void **state) {
    (void)state;
    static const struct {
        const char *s;
        size_t columns;
    } cases[] = {{"", 0},  {"abc", 3},  {"é", 1},        {"한글", 4}, {"ｆ", 2},
                 {"😀", 2}, {"\t\n", 0}, {"\xFF\xC3", 2}, {"…", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(text_columns(cases[i].s, strlen(cases[i].s)), cases[i].columns);
}

static void thousands(void **state) {
    (void)state;
    char text[28];
    text_thousands(UINT64_MAX, text);
    assert_string_equal(text, "18,446,744,073,709,551,615");
    text_thousands(999, text);
    assert_string_equal(text, "999");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_line_up),
        cmocka_unit_test(widths_of_characters),
        cmocka_unit_test(thousands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
