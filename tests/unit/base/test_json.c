/* JSON: what cJSON would let pass or lose must be refused, with its place; what Python writes must
 * come out again byte for byte. */
#include "tests/unit/test.h"
#include "base/json.h"

static int parse(const char *text, size_t n, cJSON **ret, struct err *e) {
    *ret = NULL;
    return json_parse(ret, text, n, "t.json", e);
}

static void refuses(const char *text, size_t n, const char *words) {
    cJSON *tree;
    struct err e = {0};
    int rc = parse(text, n, &tree, &e);
    if (rc == 0) cJSON_Delete(tree);
    check_fails(rc, ERR_CORRUPT, &e, words);
}

static void faults_have_a_place(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{\"a\": 1} x", "t.json:1:10: something stands behind"},
        {"{\"a\":\n 1,}", "t.json:2:4: a key"},
        {"[1,\n2,\n x]", "t.json:3:2: not a JSON value"},
        {"[1 2]", "t.json:1:4: ',' or ']' is missing"},
        {"{\"a\" 1}", "t.json:1:6: ':' is missing"},
        {"\"abc", "t.json:1:1: the string does not end"},
        {"", "t.json:1:1: the text ends too early"},
        {"[", "t.json:1:2: the text ends too early"},
        {"[01]", "t.json:1:3:"},
        {"[1.]", "a digit is missing"},
        {"[-]", "a digit is missing"},
        {"[1e999]", "t.json:1:2: number too large"},
        {"[NaN]", "not a JSON value"},
        {"[nul]", "unknown word"},
        {"[\"\\q\"]", "unknown escape"},
        {"[\"\\u00g0\"]", "four hexadecimal digits"},
        {"[\"a\\u0000b\"]", "t.json:1:4: NUL"},
        {"[\"\\ud800x\"]", "half of a surrogate pair"},
        {"[\"\\udc00\"]", "half of a surrogate pair"},
        {"[\"a\tb\"]", "t.json:1:4: control character"},
        {"[\"\xC0\xAF\"]", "invalid UTF-8"},
        {"[\"\xED\xA0\x80\"]", "invalid UTF-8"},
        {"[\"\xF4\x90\x80\x80\"]", "invalid UTF-8"},
        {"[\"\xE2\x82\"]", "t.json:1:3: invalid UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuses(cases[i][0], strlen(cases[i][0]), cases[i][1]);
    refuses("[\"a\0b\"]", 7, "NUL in a string");
    refuses("[1]\0", 4, "something stands behind");
}

/* cJSON reads numbers through 64 bytes and would go on in the middle of a longer one. */
static void long_numbers_are_refused(void **state) {
    (void)state;
    char text[80];
    memset(text, '1', sizeof text);
    refuses(text, 64, "more than 63 characters");
    cJSON *tree;
    struct err e = {0};
    check_ok(parse(text, 63, &tree, &e), &e);
    cJSON_Delete(tree);
}

static void duplicates_are_found_anywhere(void **state) {
    (void)state;
    refuses("{\"a\": 1, \"b\": {\"a\": 1},\n \"c\": [{\"x\": 0, \"\\u0078\": 1}]}", 54,
            "t.json:2:17: duplicate key \"x\"");
    refuses("{\"a\":1,\"a\":1}", 13, "t.json:1:8: duplicate key \"a\"");
    cJSON *tree;
    struct err e = {0};
    check_ok(parse("{\"a\":1,\"A\":{\"a\":2},\"\":[]}", 25, &tree, &e), &e);
    cJSON_Delete(tree);
}

static void depth_is_bounded(void **state) {
    (void)state;
    enum { N = 100000 };
    char *text = malloc(2 * N);
    memset(text, '[', N);
    memset(text + N, ']', N);
    refuses(text, 2 * N, "t.json:1:65: nested deeper than 64");
    cJSON *tree;
    struct err e = {0};
    check_ok(parse(text + N - 64, 128, &tree, &e), &e);
    cJSON_Delete(tree);
    free(text);
}

/* The size of a tokenizer.json; quadratic look-up of its keys would take minutes, and the test's
 * timeout would end it. */
static void large_objects_are_quick(void **state) {
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    cJSON *tree;
    buf_char(&b, '{', &e);
    for (int i = 0; i < 200000; i++)
        buf_printf(&b, &e, "%s\"\xC4\xA0key%d\": %d", i ? ", " : "", i, i);
    buf_char(&b, '}', &e);
    check_ok(parse(b.v, b.n, &tree, &e), &e);
    struct buf again = {0};
    check_ok(json_text(&again, tree, false, &e), &e);
    assert_int_equal(again.n, b.n);
    assert_memory_equal(again.v, b.v, b.n);
    cJSON_Delete(tree);
    b.n--; /* the last key once more */
    buf_str(&b, ", \"\xC4\xA0key199999\": 0}", &e);
    refuses(b.v, b.n, "duplicate key \"\xC4\xA0key199999\"");
    buf_release(&b);
    buf_release(&again);
}

/* json.dumps(x, indent=2, ensure_ascii=False) of Python 3. */
static void text_is_pythons(void **state) {
    (void)state;
    static const char text[] =
        "{\n  \"a\": [\n    1,\n    -2.5,\n    1e-05,\n    0.1,\n"
        "    1000000000000000019884624838656,\n    true,\n    null\n  ],\n"
        "  \"b\": {},\n  \"c\": [],\n  \"é\\\"\\\\\\n\\u0001/\x7F\": \"😀\"\n}";
    cJSON *tree;
    struct err e = {0};
    struct buf b = {0};
    check_ok(parse(text, sizeof text - 1, &tree, &e), &e);
    check_ok(json_text(&b, tree, true, &e), &e);
    assert_string_equal(buf_cstr(&b), text);
    buf_release(&b);
    check_ok(json_text(&b, json_get(tree, "a"), false, &e), &e);
    assert_string_equal(buf_cstr(&b),
                        "[1, -2.5, 1e-05, 0.1, 1000000000000000019884624838656, true, null]");
    buf_release(&b);
    cJSON_Delete(tree);
}

static void numbers_read_back_the_same(void **state) {
    (void)state;
    static const double x[] = {0.1,  1.0 / 3,       5e-324, 1.7976931348623157e308,
                               -0.0, 123456789.125, 2e-5,   9007199254740993.0,
                               3,    1e31,          1e33};
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
        struct buf b = {0};
        struct err e = {0};
        check_ok(json_number(&b, x[i], &e), &e);
        if (strtod(buf_cstr(&b), NULL) != x[i]) fail_msg("%.17g became %s", x[i], b.v);
        buf_release(&b);
    }
    struct buf b = {0};
    json_number(&b, strtod("nan", NULL), NULL);
    json_number(&b, strtod("inf", NULL), NULL);
    assert_string_equal(buf_cstr(&b), "nullnull");
    buf_release(&b);
}

static void bad_utf8_is_replaced(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"a\xFFz", "\"a\xEF\xBF\xBDz\""},
        {"\xE2\x82", "\"\xEF\xBF\xBD\""},
        {"\xE2\x82\xAC", "\"\xE2\x82\xAC\""},
        {"\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {"\xF0\x9F\x98x", "\"\xEF\xBF\xBDx\""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = {0};
        json_quote(&b, cases[i][0], strlen(cases[i][0]), NULL);
        assert_string_equal(buf_cstr(&b), cases[i][1]);
        buf_release(&b);
    }
}

static void getters_check_types(void **state) {
    (void)state;
    static const char text[] =
        "{\"n\": 7, \"x\": 0.5, \"s\": \"t\", \"t\": true, \"z\": null, \"neg\": -1, "
        "\"big\": 1e300}";
    cJSON *o;
    struct err e = {0};
    uint64_t n = 99;
    double x = 99;
    bool t = false;
    const char *s = NULL;
    check_ok(parse(text, sizeof text - 1, &o, &e), &e);
    check_ok(json_u64(o, "n", 10, &n, "f", &e), &e);
    assert_int_equal(n, 7);
    check_ok(json_u64(o, "missing", 10, &n, "f", &e), &e);
    check_ok(json_u64(o, "z", 10, &n, "f", &e), &e);
    assert_int_equal(n, 7);
    static const char *const bad[] = {"x", "s", "t", "neg", "big"};
    for (int i = 0; i < 5; i++)
        check_fails(json_u64(o, bad[i], UINT64_MAX, &n, "f", &e), ERR_CORRUPT, &e, bad[i]);
    check_fails(json_u64(o, "n", 6, &n, "f.json", &e), ERR_CORRUPT, &e, "f.json: \"n\"");
    check_ok(json_f64(o, "x", &x, "f", &e), &e);
    assert_true(x == 0.5);
    check_fails(json_f64(o, "s", &x, "f", &e), ERR_CORRUPT, &e, "not a number");
    check_ok(json_bool(o, "t", &t, "f", &e), &e);
    assert_true(t);
    check_fails(json_bool(o, "n", &t, "f", &e), ERR_CORRUPT, &e, "not true or false");
    check_ok(json_str(o, "s", &s, "f", &e), &e);
    assert_string_equal(s, "t");
    check_fails(json_str(o, "n", &s, "f", &e), ERR_CORRUPT, &e, "not a string");
    assert_null(json_get(NULL, "n"));
    cJSON_Delete(o);
}

static void files_are_saved_and_loaded(void **state) {
    struct err e = {0};
    cJSON *o = cJSON_CreateObject(), *back;
    cJSON_AddNumberToObject(o, "loss", 3.25);
    check_ok(json_save(in(*state, "r.json"), o, true, &e), &e);
    check_fails(json_save("/dev/full", o, true, &e), ERR_IO, &e, "/dev/full");
    cJSON_Delete(o);
    check_ok(json_load(&back, in(*state, "r.json"), &e), &e);
    cJSON_Delete(back);
    check_ok(file_write(in(*state, "bom.json"), "\xEF\xBB\xBF{}", 5, &e), &e);
    check_ok(json_load(&back, in(*state, "bom.json"), &e), &e);
    cJSON_Delete(back);
    check_fails(json_load(&back, in(*state, "none"), &e), ERR_IO, &e, "No such file");
    check_ok(file_write(in(*state, "empty"), "", 0, &e), &e);
    check_fails(json_load(&back, in(*state, "empty"), &e), ERR_CORRUPT, &e,
                "empty:1:1: the text ends");
}

/* An index.json without some of its members was written when memory was short (and exit 0). */
static void a_member_that_is_missing_is_told(void **state) {
    bool ok = true;
    (void)state;
    cJSON *o = cJSON_CreateObject(), *list;
    json_put_number(o, "a", 1, &ok);
    json_put_str(json_put_object(o, "b", &ok), "c", "x", &ok);
    list = json_put_array(o, "d", &ok);
    json_put_item(list, NULL, cJSON_CreateNull(), &ok);
    assert_true(ok);
    struct buf text = {0};
    struct err err = {0};
    assert_int_equal(json_text(&text, o, false, &err), 0);
    assert_string_equal(buf_cstr(&text), "{\"a\": 1, \"b\": {\"c\": \"x\"}, \"d\": [null]}");
    buf_release(&text);
    json_put_item(o, "e", NULL, &ok); /* what cJSON_Create… gives without memory */
    assert_false(ok);
    for (int i = 0; i < 4; i++) {
        ok = true;
        if (i == 0) json_put_number(NULL, "a", 1, &ok);
        if (i == 1) json_put_str(NULL, "a", "x", &ok);
        if (i == 2) assert_null(json_put_object(NULL, "a", &ok));
        if (i == 3) assert_null(json_put_array(NULL, "a", &ok));
        assert_false(ok);
        json_put_number(o, "f", 1, &ok); /* one that goes well does not mend it */
        assert_false(ok);
    }
    cJSON_Delete(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_that_is_missing_is_told),
        cmocka_unit_test(faults_have_a_place),
        cmocka_unit_test(long_numbers_are_refused),
        cmocka_unit_test(duplicates_are_found_anywhere),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(large_objects_are_quick),
        cmocka_unit_test(text_is_pythons),
        cmocka_unit_test(numbers_read_back_the_same),
        cmocka_unit_test(bad_utf8_is_replaced),
        cmocka_unit_test(getters_check_types),
        cmocka_unit_test_setup_teardown(files_are_saved_and_loaded, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
