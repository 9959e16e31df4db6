/* Splits and configurations by names, as datasets 5.2.0 tells them apart (compared with it by
 * tests/diff/test_sources.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "stream/layout.h"

/* "a|b|c" to a list. */
static void list_of(struct strs *to, const char *names) {
    for (const char *p = names; *p;) {
        size_t n = strcspn(p, "|");
        char one[128];
        assert_true(n < sizeof one);
        memcpy(one, p, n);
        one[n] = 0;
        assert_int_equal(strs_push(to, one, NULL), 0);
        p += n + (p[n] == '|');
    }
}

/* The files of a split joined by "|", or the error. */
static void check(const char *names, const char *readme, const char *config, const char *split,
                  const char *want) {
    struct strs paths = {0};
    struct layout l;
    struct u32s files = {0};
    struct buf got = {0};
    struct err err = {0};
    list_of(&paths, names);
    int rc = layout_read(&l, &paths, readme, readme ? strlen(readme) : 0, &err);
    if (rc == 0) {
        rc = layout_pick(&l, config, split, &files, &err);
        layout_release(&l);
    }
    for (size_t i = 0; rc == 0 && i < files.n; i++)
        buf_printf(&got, NULL, "%s%s", i ? "|" : "", paths.v[files.v[i]]);
    if (rc < 0) buf_str(&got, err.msg, NULL);
    assert_string_equal(got.n ? buf_cstr(&got) : "", want);
    strs_release(&paths);
    u32s_release(&files);
    buf_release(&got);
}

static void patterns(void **state) {
    (void)state;
    assert_true(layout_match("**", "a/b/c.json"));
    assert_true(layout_match("**/train[-._ 0-9]*", "x/y/train-1.json"));
    assert_true(layout_match("**/train[-._ 0-9]*", "train.json"));
    assert_false(layout_match("**/train[-._ 0-9]*", "trainer.json"));
    assert_true(layout_match("**/train/**", "train/x"));
    assert_false(layout_match("*.json", "a/b.json"));
    assert_true(layout_match("./a/*.json", "a/b.json"));
    assert_false(layout_match("**", ".hidden"));
    assert_false(layout_match("**", "x/.git/y"));
    assert_true(layout_match(".git/*", ".git/y"));
    assert_false(layout_match("**", "__pycache__/y"));
    assert_false(layout_match("**", "README.md"));
    assert_true(layout_match("**/README.md", "README.md"));
}

static void by_names(void **state) {
    (void)state;
    check("data/test-00000-of-00001.parquet|data/train-00000-of-00002.parquet|"
          "data/train-00001-of-00002.parquet|other.parquet",
          NULL, NULL, "train",
          "data/train-00000-of-00002.parquet|data/train-00001-of-00002.parquet");
    check("a/test/x.jsonl|a/train/y.jsonl", NULL, NULL, "test", "a/test/x.jsonl");
    check("a/test/x.jsonl|a/train/y.jsonl", NULL, NULL, NULL, "a/train/y.jsonl|a/test/x.jsonl");
    check("file-1.json.gz|file-2_validation.json.gz", NULL, NULL, "validation",
          "file-2_validation.json.gz");
    check("a.json|b.json|LICENSE.txt", NULL, NULL, "train", "a.json|b.json");
    check("a.json", NULL, NULL, "test", "no split \"test\"; there is: train");
    check("eval/test/x.json|train/y.json", NULL, NULL, "test", "eval/test/x.json"); /* once */
}

static void by_readme(void **state) {
    static const char card[] = "---\nlicense: mit\nconfigs:\n"
                               "- config_name: en\n  data_files: en/*.jsonl\n"
                               "- config_name: de\n  data_files:\n"
                               "  - split: train\n    path: de/a.jsonl\n"
                               "  - split: test\n    path: [de/b.jsonl, en/b.jsonl]\n---\n# text\n";
    static const char names[] = "README.md|de/a.jsonl|de/b.jsonl|en/a.jsonl|en/b.jsonl";
    (void)state;
    check(names, card, "en", NULL, "en/a.jsonl|en/b.jsonl");
    check(names, card, "de", "test", "de/b.jsonl|en/b.jsonl");
    check(names, card, NULL, NULL,
          "no configuration \"default\"; there is: en, de; choose one with --data-config");
    check(names, card, "fr", NULL, "no configuration \"fr\"; there is: en, de");
    check(names, "---\nconfigs:\n- data_files: x\n---\n", NULL, NULL,
          "README.md: configs: each wants a config_name");
    check(names, "---\nconfigs: 3\n---\n", NULL, NULL, "README.md: configs: a list is wanted");
    check(names, "---\nconfigs:\n- config_name: x\n  data_files: [[y]]\n---\n", NULL, NULL,
          "README.md: configs: a path is no text");
    check(names, "---\nlicense: mit\n---\n", NULL, "train",
          "de/a.jsonl|de/b.jsonl|en/a.jsonl|en/b.jsonl");
    check(names, "# no front matter", NULL, "train", "de/a.jsonl|de/b.jsonl|en/a.jsonl|en/b.jsonl");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(by_names),
        cmocka_unit_test(by_readme),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
