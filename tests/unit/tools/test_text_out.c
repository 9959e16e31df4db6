/* Texts of any bytes, whole and in pieces: what is written is what Python's decode makes of it. */
#include "tests/unit/test.h"
#include "tools/text_out.h"

#define BAD "\xEF\xBF\xBD"

/* What is written of v[0..n) when it comes `step` bytes at a time. */
static void assert_written(const char *v, size_t n, size_t step, bool terminal, const char *want) {
    char *got = NULL;
    size_t got_n = 0;
    struct err err = {0};
    struct text_out t = {.to = open_memstream(&got, &got_n), .terminal = terminal};
    assert_non_null(t.to);
    for (size_t i = 0; i < n; i += step) {
        check_ok(text_out_add(&t, v + i, n - i < step ? n - i : step, &err), &err);
        fflush(t.to); /* never half a character on the way */
        assert_true(got_n == 0 || ((unsigned char)got[got_n - 1] < 0xC0));
    }
    check_ok(text_out_end(&t, &err), &err);
    fclose(t.to);
    text_out_release(&t);
    if (strcmp(got, want)) fail_msg("%zu bytes at a time: \"%s\", not \"%s\"", step, got, want);
    free(got);
}

/* Bytes that are no character's reached whoever read the text. */
static void lone_bytes_were_written(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"plain \xC3\xA9 \xF0\x9F\x98\x80", "plain \xC3\xA9 \xF0\x9F\x98\x80"},
        {"a\xC3", "a" BAD},
        {"a\xE2\x82z\xE2\x82", "a" BAD "z" BAD},
        {"\xF0\x9F\x98\xE2\x82\xAC", BAD "\xE2\x82\xAC"},
        {"\x80\xBF\xFF", BAD BAD BAD},
        {"\xE0\x80\x80", BAD BAD BAD},
        {"\xED\xA0\x80", BAD BAD BAD},
        {"\xF4\x8F\xBF", BAD},
        {"\xF4\x90\x80\x80", BAD BAD BAD BAD},
        {"\xC3\xC3\xA9", BAD "\xC3\xA9"},
        {"\x1B[2J\r", "\x1B[2J\r"}, /* no terminal: as it is */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step <= 5; step++)
            assert_written(cases[i][0], strlen(cases[i][0]), step, false, cases[i][1]);
}

/* A text could clear the screen, rename the window, or write over what stood before it. */
static void a_text_steered_the_terminal(void **state) {
    (void)state;
    static const char text[] = "a\n\tb\x1B[2J\r\x7F\0c\xC2\x9B"
                               "0m\xC2\xA0\xC3\xA9\xC2";
    for (size_t step = 1; step <= 5; step++)
        assert_written(text, sizeof text - 1, step, true,
                       "a\n\tb^[[2J^M^?^@c" BAD "0m\xC2\xA0\xC3\xA9" BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lone_bytes_were_written),
        cmocka_unit_test(a_text_steered_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
