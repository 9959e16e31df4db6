/* Tables and archives: CSV by RFC 4180, Parquet as pyarrow writes it, members of ZIP files; and
 * whatever damage does to them, it is an error that names the file. */
#include <cjson/cJSON.h>
#include "docs_help.h"

static int see_lines(void *ctx, struct batch *b, int thread, struct err *err) {
    (void)thread, (void)err;
    for (size_t i = 0; i < b->n; i++)
        buf_printf(ctx, NULL, "%.*s\n", (int)b->v[i].line_n, b->v[i].line ? b->v[i].line : "");
    return 0;
}

/* The records of a source as they would be written. */
static int read_lines(const char *source, const struct docs_opts *o, struct buf *to,
                      struct err *err) {
    struct source_list list = {0};
    struct docs *d;
    to->n = 0;
    int rc = source_resolve(&list, source, NULL, NULL, err);
    if (rc == 0) rc = docs_open(&d, &list, o, err);
    if (rc == 0) {
        rc = docs_run(d, o->threads, NULL, see_lines, to, err);
        docs_close(d, NULL);
    }
    source_list_release(&list);
    return rc;
}

/* ------------------------------------------------------------------ CSV */

static void csv(void **state) {
    static const struct {
        const char *name, *in, *out, *error;
    } cases[] = {
        {"a.csv", "text,n\nplain,1\r\n\"a, b\",2\n",
         "{\"text\": \"plain\", \"n\": \"1\"}\n"
         "{\"text\": \"a, b\", \"n\": \"2\"}\n",
         NULL},
        {"b.csv", "\xef\xbb\xbftext\n\"two\nlines \"\"quoted\"\"\"\n\n\r\nlast",
         "{\"text\": \"two\\nlines \\\"quoted\\\"\"}\n{\"text\": \"last\"}\n", NULL},
        {"c.tsv", "text\tb\n\"tab\tin\"\t\\\n", "{\"text\": \"tab\\u0009in\", \"b\": \"\\\\\"}\n",
         NULL},
        {"d.csv", "text,,x\n,\"\",3\n", "{\"text\": \"\", \"column_2\": \"\", \"x\": \"3\"}\n",
         NULL},
        {"e.csv", "text\n", "", NULL},
        {"f.csv", "text,b\na,b,c\n", "", "f.csv:1:1: 3 fields, the header has 2 (line 2)"},
        {"g.csv", "text,b\nx,\"y\"z\n", "", "g.csv:1:1: text behind a closing quote (line 2)"},
        {"h.csv", "text,b\nx,y\nx,\"y\n\n", "", "h.csv:3:1: a quote is opened and never closed"},
        {"i.csv", "", "", "i.csv:1:1: empty: a header is wanted"},
        {"j.csv", "a,b,a\n", "", "j.csv:1:1: two columns are called \"a\""},
        {"k.csv", "text\n\xff\n", "", "k.csv:1:11: "},
        {"l.csv", "q\nx\n", "{\"q\": \"x\"}\n", NULL},
        /* rows that end with a lone CR */
        {"m.csv", "text,b\rx,\"1\r2\"\r\ry,3",
         "{\"text\": \"x\", \"b\": \"1\\u000d2\"}\n{\"text\": \"y\", \"b\": \"3\"}\n", NULL},
        /* a quote within a field that does not begin with one */
        {"n.csv", "text,b\n5\" disk,x\n6\",\"y\"\n",
         "{\"text\": \"5\\\" disk\", \"b\": \"x\"}\n{\"text\": \"6\\\"\", \"b\": \"y\"}\n", NULL},
        {"o.csv", "\xff\xfet", "", "o.csv:1:1: not UTF-8 but UTF-16"},
    };
    struct docs_opts o = docs_defaults;
    struct buf got = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        const char *path = put_text(*state, cases[i].name, cases[i].in);
        int rc = read_lines(path, &o, &got, &err);
        if (cases[i].error) {
            assert_int_equal(rc, ERR_DATA);
            if (!strstr(err.msg, cases[i].error)) fail_msg("%s: %s", cases[i].name, err.msg);
            continue;
        }
        check_ok(rc, &err);
        assert_string_equal(got.n ? buf_cstr(&got) : "", cases[i].out);
    }
    buf_release(&got);
}

/* Rows longer than every buffer, with a bad one between: left out, and kept as it stood. */
static void csv_of_many_rows(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf b = {0}, got = {0}, bad = {0};
    struct err err = {0};
    char reject[64];
    buf_str(&b, "id,text\n", NULL);
    for (int i = 0; i < 200; i++) {
        if (i == 77) buf_str(&b, "77,\"one\ntwo\",three\n", NULL);
        buf_printf(&b, NULL, "%d,\"", i);
        for (int k = 0; k < i * 50; k++) buf_str(&b, k % 9 ? "word " : "\"\"\n,", NULL);
        buf_str(&b, "\"\n", NULL);
    }
    const char *path = put(*state, "many.csv", b.v, b.n);
    snprintf(reject, sizeof reject, "%s/bad", (char *)*state);
    o.on_error = reject;
    o.threads = 3;
    check_ok(read_lines(path, &o, &got, &err), &err);
    size_t lines = 0;
    for (size_t i = 0; i < got.n; i++) lines += got.v[i] == '\n';
    assert_int_equal(lines, 200);
    check_ok(file_read(reject, 1000, &bad, &err), &err);
    assert_string_equal(buf_cstr(&bad), "77,\"one\ntwo\",three\n");
    o.on_error = "stop";
    o.max_record = 3000;
    assert_int_equal(read_lines(path, &o, &got, &err), ERR_DATA);
    buf_release(&b);
    buf_release(&got);
    buf_release(&bad);
}

/* ------------------------------------------------------------------ Parquet */

static const char *const files[] = {"dictionary-snappy-v1", "plain-none-v1", "dictionary-lz4-v2",
                                    "delta-zstd-v2", "plain-gzip-v1"};
enum { FILES = sizeof files / sizeof *files };

static const char *golden(const char *name) {
    static char path[1024];
    snprintf(path, sizeof path, GOLDEN "/tables/%s.parquet", name);
    return path;
}

/* Both are lists of JSON objects. Numbers are compared as numbers: 1e3 is 1000. */
static void same_rows(const char *name, struct buf *got, struct buf *want) {
    char *a = (char *)buf_cstr(got), *b = (char *)buf_cstr(want);
    size_t row = 0;
    for (char *an, *bn; *a && *b; a = an, b = bn, row++) {
        an = strchr(a, '\n') + 1, bn = strchr(b, '\n') + 1;
        an[-1] = bn[-1] = 0;
        cJSON *x = cJSON_Parse(a), *y = cJSON_Parse(b);
        if (!cJSON_Compare(x, y, true)) fail_msg("%s: row %zu\n%s\n%s", name, row, a, b);
        cJSON_Delete(x);
        cJSON_Delete(y);
    }
    assert_true(!*a && !*b && row > 100);
}

static void as_pyarrow(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf got = {0}, want = {0};
    struct err err = {0};
    (void)state;
    o.field = "licence";
    for (size_t i = 0; i < FILES; i++) {
        want.n = 0;
        check_ok(file_read(GOLDEN "/tables/rows.jsonl", 1 << 20, &want, &err), &err);
        check_ok(read_lines(golden(files[i]), &o, &got, &err), &err);
        same_rows(files[i], &got, &want);
    }
    buf_release(&got);
    buf_release(&want);
}

/* For the text alone, only the columns that text and choice need are read. */
static void needed_columns(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf got = {0};
    struct err err = {0};
    (void)state;
    o.text_only = true;
    o.on_error = "skip"; /* every fifth text is null */
    assert_int_equal(strs_push(&o.where, "licence=bsd", NULL), 0);
    assert_int_equal(strs_push(&o.where, "id=7", NULL), 0);
    check_ok(read_lines(golden("delta-zstd-v2"), &o, &got, &err), &err);
    assert_string_equal(buf_cstr(&got),
                        "{\"id\": 7, \"text\": \"\xc3\xa9\xe4\xba\xac\xf0\x9f\x98\x80 \\\"q\\\" "
                        "\\\\ \\n\\u0009\\u0001\", \"licence\": \"bsd\"}\n");
    strs_release(&o.where);
    buf_release(&got);
}

/* Every byte of small files changed, and cut everywhere: rows, or an error that names the file. */
static void damaged_parquet(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf whole = {0}, got = {0};
    struct rng rng = {.key = 5};
    o.field = "licence";
    o.on_error = "stop";
    o.max_record = 1 << 20;
    for (size_t f = 0; f < FILES; f++) {
        struct err err = {0};
        whole.n = 0;
        check_ok(file_read(golden(files[f]), 1 << 20, &whole, &err), &err);
        for (int i = 0; i < 150; i++) {
            size_t n = i % 4 ? whole.n : (size_t)rng_below(&rng, whole.n), at[3];
            char was[3];
            /* Mostly in the footer, where lengths and offsets are. */
            for (int k = 0; k < 3; k++) {
                at[k] = i % 2 ? (size_t)rng_below(&rng, whole.n)
                              : whole.n - 1 - (size_t)rng_below(&rng, whole.n < 1500 ? 9 : 1500);
                was[k] = whole.v[at[k]];
                whole.v[at[k]] = (char)rng_below(&rng, 256);
            }
            const char *path = put(*state, "d.parquet", whole.v, n);
            int rc = read_lines(path, &o, &got, &err);
            if (rc < 0 && (rc == ERR_NOMEM || !strstr(err.msg, "d.parquet")))
                fail_msg("%s", err.msg);
            for (int k = 3; k-- > 0;) whole.v[at[k]] = was[k];
        }
    }
    buf_release(&whole);
    buf_release(&got);
}

/* ------------------------------------------------------------------ ZIP */

static void members(void **state) {
    struct docs_opts o = docs_defaults;
    struct source_list list = {0};
    struct buf got = {0}, whole = {0};
    struct err err = {0};
    check_ok(source_resolve(&list, GOLDEN "/tables/data.zip", NULL, NULL, &err), &err);
    assert_int_equal(list.n, 3);
    assert_string_equal(list.v[1].name, GOLDEN "/tables/data.zip/b/two.jsonl");
    source_list_release(&list);
    check_ok(read_all(GOLDEN "/tables/data.zip", &o, &got, &err), &err);
    assert_string_equal(buf_cstr(&got), " 1 2 3");
    check_ok(file_read(GOLDEN "/tables/data.zip", 1 << 20, &whole, &err), &err);
    for (size_t n = 0; n < whole.n; n += 7) { /* cut anywhere */
        const char *path = put(*state, "cut.zip", whole.v, n);
        int rc = read_all(path, &o, &got, &err);
        assert_true(rc == ERR_DATA || rc == ERR_IO);
        assert_non_null(strstr(err.msg, "cut.zip"));
    }
    buf_release(&got);
    buf_release(&whole);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        in_folder(csv),
        in_folder(csv_of_many_rows),
        cmocka_unit_test(as_pyarrow),
        cmocka_unit_test(needed_columns),
        in_folder(damaged_parquet),
        in_folder(members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
