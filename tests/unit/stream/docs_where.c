/* --where and --sample leave out the same records for any number of threads and any order. */
#include "docs_help.h"

/* What is read with these conditions. */
static char *with(const char *dir, struct docs_opts o, const char *one, const char *two) {
    static struct buf got;
    struct err err = {0};
    char *v[] = {(char *)one, (char *)two};
    o.where = (struct strs){v, two ? 2 : one ? 1 : 0, 0};
    if (read_all(dir, &o, &got, &err) < 0) return strdup(err.msg);
    return strdup(buf_cstr(&got));
}

#define expect(conditions, want)                                                                   \
    do {                                                                                           \
        char *got = conditions;                                                                    \
        assert_string_equal(got, want);                                                            \
        free(got);                                                                                 \
    } while (0)

static void fields_of_all_kinds(void **state) {
    const char *dir = *state;
    struct docs_opts o = docs_defaults;
    put_text(dir, "a.jsonl",
             "{\"text\": \"1\", \"lang\": \"C\", \"n\": 3, \"ok\": true}\n"
             "{\"lang\": \"C++\", \"n\": 30, \"text\": \"2\", \"ok\": false, \"x\": null}\n"
             "  { \"x\" : {\"lang\": \"C\", \"n\": [3, \"}\", {}]} , \"text\":\"3\"}\n"
             "{\"x\": \"\\\"lang\\\": \\\"C\\\"\", \"text\": \"4\", \"lang\": \"\\u0043\"}\n"
             "{\"text\": \"5\", \"lang\":\"\", \"n\":3}\r\n");
    expect(with(dir, o, NULL, NULL), " 1 2 3 4 5");
    expect(with(dir, o, "lang=C", NULL), " 1 4");
    expect(with(dir, o, "lang=C++", NULL), " 2");
    expect(with(dir, o, "lang=", NULL), " 5");
    expect(with(dir, o, "n=3", NULL), " 1 5");
    expect(with(dir, o, "lang=C", "n=3"), " 1");
    expect(with(dir, o, "ok=true", NULL), " 1");
    expect(with(dir, o, "x=null", NULL), " 2");
    expect(with(dir, o, "x={\"lang\": \"C\", \"n\": [3, \"}\", {}]}", NULL), " 3");
    expect(with(dir, o, "x=\"lang\": \"C\"", NULL), " 4");
    expect(with(dir, o, "gone=1", NULL), "");
    o.shuffle_buffer = 2;
    o.skip = 1;
    o.take = 1;
    char *one = with(dir, o, "lang=C", NULL);
    assert_true(!strcmp(one, " 1") || !strcmp(one, " 4"));
    free(one);
}

/* What is left out may lack the text, and does not choose the field; but it has to be JSON. */
static void records_left_out(void **state) {
    const char *dir = *state;
    struct docs_opts o = docs_defaults;
    put_text(dir, "a.jsonl",
             "{\"kind\": \"meta\"}\n"
             "{\"kind\": \"meta\", \"text\": 7}\n"
             "{\"body\": \"1\", \"kind\": \"post\"}\n");
    o.field = "body";
    expect(with(dir, o, "kind=post", NULL), " 1");
    put_text(dir, "a.jsonl",
             "{\"content\": \"x\", \"kind\": \"meta\"}\n"
             "{\"text\": \"1\", \"kind\": \"post\"}\n");
    o.field = NULL;
    expect(with(dir, o, "kind=post", NULL), " 1");
    for (const char *const *bad = (const char *const[]){"{\"kind\": \"meta\"", "{\"kind\": ", "7",
                                                        "{\"kind\": \"meta\", \"x\": tru}",
                                                        "{\"kind\"}", "{\"kin", "{", NULL};
         *bad; bad++) {
        put_text(dir, "a.jsonl", *bad);
        char *got = with(dir, o, "kind=post", NULL);
        assert_non_null(strstr(got, "a.jsonl:1:"));
        free(got);
    }
}

static void what_is_refused(void **state) {
    const char *dir = *state;
    put_text(dir, "a.jsonl", "{\"text\": \"1\"}\n");
    expect(with(dir, docs_defaults, "text", NULL), "--where text: wanted is FIELD=VALUE");
    expect(with(dir, docs_defaults, "=1", NULL), "--where =1: wanted is FIELD=VALUE");
    put_text(dir, "b.txt", "text");
    char *got = with(in(dir, "b.txt"), docs_defaults, "a=b", NULL);
    assert_non_null(strstr(got, "b.txt: a text file has no fields for --where to look at"));
    free(got);
}

static size_t count(const char *text) {
    size_t n = 0;
    for (; *text; text++) n += *text == ' ';
    return n;
}

/* By text and seed alone: other files, orders and threads take the same; a larger share takes
 * more. */
static void samples(void **state) {
    const char *dir = *state;
    struct docs_opts o = docs_defaults;
    struct buf v[2] = {0};
    for (int i = 0; i < 5000; i++) buf_printf(&v[i % 2], NULL, "{\"text\": \"%d\"}\n", i);
    put(dir, "a.jsonl", v[0].v, v[0].n);
    put(dir, "b.jsonl", v[1].v, v[1].n);
    char *all = with(dir, o, NULL, NULL);
    assert_int_equal(count(all), 5000);
    o.sample = 0.1;
    char *tenth = with(dir, o, NULL, NULL);
    assert_in_range(count(tenth), 400, 600);
    o.threads = 3;
    o.batch_bytes = 77;
    expect(with(dir, o, NULL, NULL), tenth);
    char *b = with(in(dir, "b.jsonl"), o, NULL, NULL);
    assert_int_equal(count(b) < count(tenth), 1);
    assert_string_equal(tenth + strlen(tenth) - strlen(b), b);
    o.shuffle_buffer = 100;
    char *shuffled = with(dir, o, NULL, NULL);
    assert_int_equal(count(shuffled), count(tenth));
    assert_string_not_equal(shuffled, tenth);
    o.shuffle_buffer = 0;
    o.seed = 2;
    char *other = with(dir, o, NULL, NULL);
    assert_string_not_equal(other, tenth);
    o.sample = 0;
    expect(with(dir, o, NULL, NULL), "");
    char *made[] = {all, tenth, b, shuffled, other};
    for (int i = 0; i < 5; i++) free(made[i]);
    buf_release(&v[0]);
    buf_release(&v[1]);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        in_folder(fields_of_all_kinds),
        in_folder(records_left_out),
        in_folder(what_is_refused),
        in_folder(samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
