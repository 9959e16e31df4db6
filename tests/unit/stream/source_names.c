/* What a SOURCE names, and in which order. */
#include "stream_help.h"
#include "stream/source.h"

static void wants(const char *source, const char *dir, const char *names) {
    struct source_list l = {0};
    struct err err = {0};
    struct buf got = {0};
    check_ok(source_resolve(&l, source, NULL, NULL, &err), &err);
    for (size_t i = 0; i < l.n; i++) buf_printf(&got, NULL, "%s ", l.v[i].path + strlen(dir) + 1);
    assert_string_equal(buf_cstr(&got), names);
    buf_release(&got);
    source_list_release(&l);
}

static void refuses(const char *source, int code, const char *why) {
    struct source_list l = {0};
    struct err err = {0};
    int rc = source_resolve(&l, source, NULL, NULL, &err);
    if (rc != code || !strstr(err.msg, why)) fail_msg("%s: %d '%s'", source, rc, err.msg);
    source_list_release(&l);
}

static void folders_and_globs(void **state) {
    const char *dir = *state;
    static const char *const names[] = {"b.json",      "B.json", "a.json.gz", ".hidden",
                                        "file[1].txt", "f10.x",  "f9.x"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) put_text(dir, names[i], "x");
    assert_int_equal(file_mkdirs(in(dir, "folder"), NULL), 0);
    wants(dir, dir, "B.json a.json.gz b.json f10.x f9.x file[1].txt ");
    wants(in(dir, "*.json"), dir, "B.json b.json ");
    wants(in(dir, "f[0-9]*"), dir, "f10.x f9.x ");
    wants(in(dir, "{b,a}.json*"), dir, "a.json.gz b.json ");
    wants(in(dir, "file[1].txt"), dir, "file[1].txt "); /* exists as it stands */
    refuses(in(dir, "*.none"), ERR_USAGE, "matches no file");
    refuses(in(dir, "folder"), ERR_USAGE, "no files");
    refuses(in(dir, "nowhere/"), ERR_IO, "nowhere/: no such file or folder");
    refuses("", ERR_USAGE, "empty name");
    refuses("hf://datasets/a/b", ERR_USAGE, "Hub");
}

/* s3://bucket/a.jsonl was "no such file or folder". */
static void addresses_that_are_not_read(void **state) {
    (void)state;
    refuses("s3://bucket/a.jsonl", ERR_USAGE, "only https://, http:// and hf://");
    refuses("gs://bucket/*.jsonl", ERR_USAGE, "only https://, http:// and hf://");
    refuses("a/b://c", ERR_IO, "no such file or folder");
}

static void what_is_known_of_a_file(void **state) {
    struct source_list l = {0};
    struct err err = {0};
    check_ok(source_resolve(&l, put_text(*state, "a", "12345"), NULL, NULL, &err), &err);
    check_ok(source_resolve(&l, "-", NULL, NULL, &err), &err);
    check_ok(source_resolve(&l, "https://host/a.gz", NULL, NULL, &err), &err);
    assert_int_equal(l.n, 3);
    assert_int_equal(l.v[0].bytes, 5);
    assert_string_equal(l.v[1].name, "stdin");
    assert_string_equal(l.v[1].path, "-");
    assert_string_equal(l.v[2].path, "https://host/a.gz");
    assert_int_equal(l.v[2].bytes, 0);
    source_list_release(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(folders_and_globs, folder_setup, folder_teardown),
        cmocka_unit_test(addresses_that_are_not_read),
        cmocka_unit_test_setup_teardown(what_is_known_of_a_file, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
