/* Stops in a text that grows: whatever its pieces, the answer of a search through all of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/rng.h"
#include "tools/gen_stop.h"

static const char *const block[] = {"\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif"};

static struct stops make(const char *const *strings, size_t n, const char *regex) {
    struct stops s = {0};
    struct err err = {0};
    for (size_t i = 0; i < n; i++) assert_int_equal(stops_add_string(&s, strings[i], &err), 0);
    if (regex && stops_add_regex(&s, regex, &err) < 0) fail_msg("%s", err.msg);
    return s;
}

/* Feeds v in pieces of the given size; where it ended, or n. What was called settled must be
 * before that. */
static size_t feed(const struct stops *s, const char *v, size_t n, size_t piece,
                   const char **ret_by) {
    struct err err = {0};
    size_t at, open = 0;
    for (size_t have = piece < n ? piece : n;; have = have + piece < n ? have + piece : n) {
        size_t was = open;
        assert_int_equal(stops_find(s, v, have, open, true, &at, &open, ret_by, &err), 0);
        assert_true(open >= was && at >= was && open <= have);
        if (at < have) return at;
        if (have == n) break;
    }
    assert_int_equal(stops_find(s, v, n, open, false, &at, &open, ret_by, &err), 0);
    return at;
}

static void first_block_ends_where_it_should(void **state) {
    static const struct {
        const char *text;
        size_t at;
        const char *by;
    } cases[] = {
        {"    return 1\n\n\ndef f():", 14, "\ndef"},
        {"\nprint(1)\nclass A", 0, "\nprint"},
        {"a\n    if x:\n  # no\n", 19, NULL},
        {"x\n@d", 1, "\n@"},
        {"x\nde\nprin\ni", 11, NULL},
        {"", 0, NULL},
    };
    (void)state;
    struct stops s = make(block, 6, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 1; piece < 9; piece++) {
            const char *by;
            assert_int_equal(feed(&s, cases[i].text, strlen(cases[i].text), piece, &by),
                             cases[i].at);
            assert_true(by == cases[i].by || (by && strcmp(by, cases[i].by) == 0));
        }
    stops_release(&s);
}

static void an_expression_waits_until_it_is_decided(void **state) {
    static const struct {
        const char *regex, *text;
        size_t at;
    } cases[] = {
        {"\\n(class|def)\\b", "a\ndefault\ndef f", 9}, /* \b needs the byte behind */
        {"\\n{3,}", "a\n\nb\n\n\n\nc", 4},
        {"(?<=x)y", "yxy", 2}, /* sees what is before */
        {"b+$", "abb", 1},     /* $ only when nothing more comes */
        {"q*", "aaa", 3},      /* the empty match is none */
        {"a.*b|c", "xxcxaxx", 2},
        {"(?:2!)+|z", "a2!\xff", 1}, /* a byte that is no character */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stops s = make(NULL, 0, cases[i].regex);
        for (size_t piece = 1; piece < 9; piece++) {
            const char *by;
            size_t got = feed(&s, cases[i].text, strlen(cases[i].text), piece, &by);
            if (got != cases[i].at)
                fail_msg("%s in pieces of %zu: ends at %zu", cases[i].regex, piece, got);
        }
        stops_release(&s);
    }
}

/* An early match that is not complete yet beats a later one that is. */
static void the_earliest_wins(void **state) {
    const char *strings[] = {"cd", "bcde"}, *by;
    (void)state;
    struct stops s = make(strings, 2, NULL);
    for (size_t piece = 1; piece < 8; piece++) {
        assert_int_equal(feed(&s, "abcdef", 6, piece, &by), 1);
        assert_int_equal(feed(&s, "abcdxf", 6, piece, &by), 2);
        assert_int_equal(feed(&s, "abcd", 4, piece, &by), 2);
    }
    stops_release(&s);
}

/* Random texts of few letters: any pieces give the answer of one search. */
static void pieces_do_not_matter(void **state) {
    const char *strings[] = {"aab", "ba\n", "bbbb"};
    struct rng r = {.key = 5};
    (void)state;
    struct stops s = make(strings, 3, "a\\nb+a|\\n\\n(?=a)");
    for (int round = 0; round < 3000; round++) {
        char v[24];
        size_t n = (size_t)rng_below(&r, sizeof v), at, open;
        struct err err = {0};
        const char *by;
        for (size_t i = 0; i < n; i++) v[i] = "ab\n"[rng_below(&r, 3)];
        assert_int_equal(stops_find(&s, v, n, 0, false, &at, &open, &by, &err), 0);
        for (size_t piece = 1; piece < 6; piece++) assert_int_equal(feed(&s, v, n, piece, &by), at);
    }
    stops_release(&s);
}

static void a_wrong_expression_is_refused(void **state) {
    struct stops s = {0};
    struct err err = {0};
    (void)state;
    assert_int_equal(stops_add_regex(&s, "a(b", &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "\"a(b\" is wrong at byte 3"));
    err = (struct err){0};
    assert_int_equal(stops_add_regex(&s, "(a+)+$", &err), 0);
    char text[41];
    memset(text, 'a', sizeof text);
    text[40] = 'b';
    size_t at, open;
    const char *by;
    assert_int_equal(stops_find(&s, text, 41, 0, false, &at, &open, &by, &err), ERR_DATA);
    stops_release(&s);
}

/* Python: "…".rstrip() */
static void white_space_is_pythons(void **state) {
    (void)state;
    assert_int_equal(stops_strip("a \t\r\n\v\f\x1c\x1f", 9), 1);
    assert_int_equal(stops_strip("a\xc2\xa0 \xe3\x80\x80\n", 8), 1);
    assert_int_equal(stops_strip("a\xe2\x80\x8b", 4), 4); /* zero width space is none */
    assert_int_equal(stops_strip(" \n", 2), 0);
    assert_int_equal(stops_strip("", 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_block_ends_where_it_should),
        cmocka_unit_test(an_expression_waits_until_it_is_decided),
        cmocka_unit_test(the_earliest_wins),
        cmocka_unit_test(pieces_do_not_matter),
        cmocka_unit_test(a_wrong_expression_is_refused),
        cmocka_unit_test(white_space_is_pythons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
