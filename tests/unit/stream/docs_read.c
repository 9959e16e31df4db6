/* Documents come out the same, and fail the same, for any number of threads and size of batches. */
#include "stream_help.h"
#include <pthread.h>
#include "stream/docs.h"

/* ------------------------------------------------------------------ running */

struct seen {
    struct buf text;       /* "file:line:text\n" of every document in the order of writing */
    uint64_t next, n_last; /* next batch number; batches that ended a file */
    uint64_t documents;
    bool keep_place, followed, see_whole;
    struct buf whole; /* what docs_far_text() tells with the first part */
};

static int see(void *ctx, struct batch *b, int thread, struct err *err) {
    struct seen *s = ctx;
    (void)thread;
    if (b->seq != s->next++) return err_set(err, ERR_OTHER, "batch %d out of order", (int)b->seq);
    s->n_last += b->last_of_file;
    for (size_t i = 0; i < b->n; i++) {
        const struct doc *d = &b->v[i];
        if (s->keep_place) buf_printf(&s->text, NULL, "%u:%d:", b->file, (int)d->line_no);
        buf_append(&s->text, d->text, d->n, NULL);
        buf_char(&s->text, '\n', NULL);
        s->documents++;
    }
    return 0;
}

struct told {
    struct buf lines;
};

static void hear(void *ctx, enum log_level level, const char *text) {
    struct told *t = ctx;
    if (level == LOG_WARN) buf_printf(&t->lines, NULL, "%s\n", text);
}

/* Reads `source` with the options; what was seen and, as text, how it ended. */
static int run(const char *source, const struct docs_opts *o, int threads, struct seen *s,
               struct docs_totals *totals, struct err *err) {
    struct source_list list = {0};
    struct docs_opts opts = *o;
    struct docs *d;
    opts.threads = threads;
    s->text.n = 0;
    s->next = s->n_last = s->documents = 0;
    int rc = source_resolve(&list, source, NULL, NULL, err);
    if (rc == 0) rc = docs_open(&d, &list, &opts, err);
    if (rc == 0) {
        rc = docs_run(d, threads, NULL, see, s, err);
        struct docs_totals sum = {0}, one;
        docs_totals(d, totals);
        for (uint32_t i = 0; i < list.n; i++) {
            docs_totals_of(d, i, &one);
            sum.documents += one.documents;
            sum.text_bytes += one.text_bytes;
        }
        if (rc == 0) assert_int_equal(sum.documents, totals->documents);
        assert_int_equal(docs_close(d, NULL), 0);
    }
    source_list_release(&list);
    return rc;
}

/* Three files of 40 records each, the middle one gzip, lines of very different lengths. */
static void make_corpus(const char *dir) {
    for (int f = 0; f < 3; f++) {
        struct buf b = {0}, z = {0};
        char name[32];
        for (int i = 0; i < 40; i++) {
            buf_printf(&b, NULL, "{\"id\": %d, \"text\": \"%d-%d\\n", i, f, i);
            for (int k = 0; k < i * i % 300; k++) buf_char(&b, (char)('a' + k % 26), NULL);
            buf_str(&b, i == 39 && f == 0 ? "\"}" : "\"}\n", NULL);
        }
        snprintf(name, sizeof name, "f%d.json%s", f, f == 1 ? ".gz" : "");
        if (f == 1) add_gzip(&z, b.v, b.n);
        put(dir, name, f == 1 ? z.v : b.v, f == 1 ? z.n : b.n);
        buf_release(&b);
        buf_release(&z);
    }
}

static const int threads[] = {1, 2, 8};
static const uint64_t batches[] = {1, 64, 1000, 1 << 20};

/* Calls run() in every way and wants the same text and the same end each time. */
static void same_every_way(const char *source, struct docs_opts o, struct seen *first,
                           struct docs_totals *first_totals, struct err *first_err) {
    struct seen s = {.keep_place = first->keep_place};
    struct docs_totals totals;
    struct err err = {0};
    o.batch_bytes = 1 << 20;
    int rc = run(source, &o, 1, first, first_totals, first_err);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++) {
            o.batch_bytes = batches[j];
            err.msg[0] = 0;
            int again = run(source, &o, threads[i], &s, &totals, &err);
            if (again != rc || (rc < 0 && strcmp(err.msg, first_err->msg)))
                fail_msg("%d threads, batches of %d: %d '%s', not %d '%s'", threads[i],
                         (int)batches[j], again, err.msg, rc, first_err->msg);
            if (s.text.n != first->text.n ||
                (s.text.n && memcmp(s.text.v, first->text.v, s.text.n)))
                fail_msg("%d threads, batches of %d: other documents", threads[i], (int)batches[j]);
            assert_int_equal(totals.documents, first_totals->documents);
            assert_int_equal(totals.bad_records, first_totals->bad_records);
        }
    buf_release(&s.text);
}

/* ------------------------------------------------------------------ tests */

static void in_order_for_any_threads_and_batches(void **state) {
    struct seen s = {.keep_place = true};
    struct docs_totals totals;
    struct err err = {0};
    make_corpus(*state);
    same_every_way(*state, docs_defaults, &s, &totals, &err);
    assert_int_equal(err.code, 0);
    assert_int_equal(totals.documents, 120);
    assert_int_equal(s.n_last, 3);
    assert_non_null(strstr(buf_cstr(&s.text), "0:1:0-0\n"));
    assert_non_null(strstr(buf_cstr(&s.text), "1:40:1-39\n"));
    assert_int_equal(totals.stored_bytes, totals.stored_total);
    buf_release(&s.text);
}

/* Bad records in two places of two files, the first of them late in its batch. */
static void put_bad(const char *dir) {
    struct buf b = {0};
    make_corpus(dir);
    for (int i = 1; i <= 200; i++) {
        if (i == 42)
            buf_str(&b, "{\"text\": \"cut off\n", NULL);
        else if (i == 43)
            buf_str(&b, "{\"text\": 7}\n", NULL);
        else if (i == 150)
            buf_str(&b, "not json\n", NULL);
        else
            buf_printf(&b, NULL, "{\"text\": \"line %d\"}\n", i);
    }
    put(dir, "g0.jsonl", b.v, b.n);
    put(dir, "g1.jsonl", "nothing good here\n", 18);
    buf_release(&b);
}

static void the_first_bad_record_stops(void **state) {
    struct seen s = {0};
    struct docs_totals totals;
    struct err err = {0};
    put_bad(*state);
    for (int again = 0; again < 5; again++) {
        same_every_way(*state, docs_defaults, &s, &totals, &err);
        assert_non_null(strstr(err.msg, "g0.jsonl:42:18: bad JSON"));
        assert_int_equal(totals.documents, 120 + 41);
        assert_int_equal(totals.bad_records, 1);
    }
    buf_release(&s.text);
}

/* Documents as sorted lines. */
static void sort_seen(struct seen *s) {
    struct strs lines = {0};
    struct buf sorted = {0};
    for (char *line = (char *)buf_cstr(&s->text), *end; (end = strchr(line, '\n'));
         line = end + 1) {
        *end = 0;
        strs_push(&lines, line, NULL);
    }
    strs_sort(lines.v, lines.n);
    for (size_t i = 0; i < lines.n; i++) buf_printf(&sorted, NULL, "%s\n", lines.v[i]);
    buf_release(&s->text);
    s->text = sorted;
    strs_release(&lines);
}

static int see_any(void *ctx, struct batch *b, int thread, struct err *err) {
    struct seen *s = ctx;
    s->next = b->seq;
    return see(ctx, b, thread, err);
}

/* Reads list in any order; the documents, sorted. */
static int run_any(const struct source_list *list, struct docs_opts o, struct seen *s,
                   struct docs_totals *totals, struct err *err) {
    struct docs *d;
    o.any_order = true;
    s->text.n = s->n_last = s->documents = 0;
    int rc = docs_open(&d, list, &o, err);
    if (rc < 0) return rc;
    rc = docs_run(d, o.threads, NULL, see_any, s, err);
    docs_totals(d, totals);
    assert_int_equal(docs_close(d, NULL), 0);
    sort_seen(s);
    return rc;
}

static void in_any_order_the_same_documents(void **state) {
    struct seen want = {.keep_place = true}, s = {.keep_place = true};
    struct docs_totals totals, again;
    struct docs_opts o = docs_defaults;
    struct source_list list = {0};
    struct err err = {0};
    make_corpus(*state);
    put(*state, "f3.txt", "a text\nof two lines", 19);
    assert_int_equal(run(*state, &o, 1, &want, &totals, &err), 0);
    sort_seen(&want);
    check_ok(source_resolve(&list, *state, NULL, NULL, &err), &err);
    for (int i = 0; i < 60; i++) {
        o.threads = threads[i % 3];
        o.batch_bytes = batches[i % 4];
        check_ok(run_any(&list, o, &s, &again, &err), &err);
        assert_int_equal(s.n_last, 4);
        assert_int_equal(s.text.n, want.text.n);
        assert_memory_equal(s.text.v, want.text.v, want.text.n);
        assert_memory_equal(&again, &totals, sizeof totals);
    }
    source_list_release(&list);
    buf_release(&want.text);
    buf_release(&s.text);
}

/* Both files fail, and the second one long before the first: that is the one to be told. */
static void in_any_order_the_same_failure(void **state) {
    enum { N = 40000 };
    struct seen s = {0};
    struct docs_totals totals;
    struct docs_opts o = docs_defaults;
    struct source_list list = {0};
    struct err err = {0};
    struct buf b = {0}, z = {0};
    for (int i = 0; i < N; i++) buf_str(&b, "{\"text\": \"good\"}\n", NULL);
    buf_str(&b, "{\"text\": \"cut off\n", NULL);
    add_gzip(&z, b.v, b.n);
    put(*state, "f0.jsonl.gz", z.v, z.n);
    put(*state, "f1.jsonl", "nothing good here\n", 18);
    check_ok(source_resolve(&list, *state, NULL, NULL, &err), &err);
    for (int i = 0; i < 30; i++) {
        o.threads = threads[i % 3];
        assert_int_equal(run_any(&list, o, &s, &totals, &err), ERR_DATA);
        assert_non_null(strstr(err.msg, "f0.jsonl.gz:40001:18: bad JSON"));
        assert_int_equal(totals.documents, N);
        assert_int_equal(totals.bad_records, 1);
    }
    source_list_release(&list);
    buf_release(&b);
    buf_release(&z);
    buf_release(&s.text);
}

/* The field is that of the first file, though the second is read sooner. */
static void in_any_order_the_same_field(void **state) {
    enum { N = 40000 };
    const char *second = "{\"b\": \"second\", \"a\": \"first\"}\n";
    struct docs_opts o = docs_defaults;
    struct source_list list = {0};
    struct err err = {0};
    struct buf b = {0}, z = {0};
    for (int i = 0; i < N; i++) buf_str(&b, "{\"a\": \"first\", \"b\": \"second\"}\n", NULL);
    add_gzip(&z, b.v, b.n);
    put(*state, "f0.jsonl.gz", z.v, z.n);
    put(*state, "f1.jsonl", second, strlen(second));
    check_ok(source_resolve(&list, *state, NULL, NULL, &err), &err);
    o.batch_bytes = 1 << 20;
    for (int i = 0; i < 30; i++) {
        struct seen s = {0};
        struct docs_totals totals;
        o.threads = 2 + i % 2;
        check_ok(run_any(&list, o, &s, &totals, &err), &err);
        assert_int_equal(totals.text_bytes, (N + 1) * strlen("first"));
        buf_release(&s.text);
    }
    source_list_release(&list);
    buf_release(&b);
    buf_release(&z);
}

static void skipping_counts_and_tells(void **state) {
    struct told told = {0};
    struct log log = {.line = hear, .ctx = &told};
    struct docs_opts o = docs_defaults;
    struct seen s = {0};
    struct docs_totals totals;
    struct err err = {0};
    put_bad(*state);
    o.on_error = "skip";
    same_every_way(*state, o, &s, &totals, &err);
    assert_int_equal(totals.documents, 120 + 197);
    assert_int_equal(totals.bad_records, 4);
    o.log = &log;
    check_ok(run(*state, &o, 8, &s, &totals, &err), &err);
    const char *at42 = strstr(buf_cstr(&told.lines), "g0.jsonl:42:18: bad JSON");
    const char *at43 = strstr(buf_cstr(&told.lines), "g0.jsonl:43:10: field \"text\" is a number");
    const char *at150 = strstr(buf_cstr(&told.lines), "g0.jsonl:150:1: not a JSON object");
    assert_true(at42 && at42 < at43 && at43 < at150);
    assert_non_null(strstr(told.lines.v, "4 bad records left out"));
    buf_release(&told.lines);
    buf_release(&s.text);
}

static void rejected_records_go_to_a_file_in_order(void **state) {
    struct docs_opts o = docs_defaults;
    struct seen s = {0};
    struct docs_totals totals;
    struct err err = {0};
    char rejects[1024], *dir = *state;
    snprintf(rejects, sizeof rejects, "%s/.rejects", dir);
    put_bad(dir);
    o.on_error = rejects;
    for (int i = 0; i < 12; i++) {
        struct buf got = {0};
        o.batch_bytes = batches[i % 4];
        check_ok(run(dir, &o, threads[i / 4], &s, &totals, &err), &err);
        check_ok(file_read(rejects, 1 << 20, &got, &err), &err);
        assert_string_equal(buf_cstr(&got), "{\"text\": \"cut off\n{\"text\": 7}\nnot json\n"
                                            "nothing good here\n");
        buf_release(&got);
    }
    buf_release(&s.text);
}

/* A damaged file in the middle: what stands before the damage is delivered, a record that breaks
 * off is not; with skip the next file goes on. */
static void a_truncated_file(void **state) {
    struct docs_opts o = docs_defaults;
    struct seen s = {0};
    struct docs_totals totals;
    struct err err = {0};
    struct buf b = {0}, z = {0};
    for (int i = 0; i < 100; i++) buf_printf(&b, NULL, "{\"text\": \"%d\"}\n", i * 7919);
    add_gzip(&z, b.v, b.n);
    put(*state, "a.json.gz", z.v, z.n - 9);
    put_text(*state, "b.json", "{\"text\": \"after\"}\n");
    same_every_way(*state, o, &s, &totals, &err);
    assert_non_null(strstr(err.msg, "a.json.gz: truncated"));
    assert_true(totals.documents > 80 && totals.documents <= 100);
    o.on_error = "skip";
    same_every_way(*state, o, &s, &totals, &err);
    assert_non_null(strstr(buf_cstr(&s.text), "after\n"));
    assert_int_equal(totals.bad_records, 1);
    buf_release(&s.text);
    buf_release(&b);
    buf_release(&z);
}

static void a_missing_file_later_on(void **state) {
    struct source_list list = {0};
    struct docs *d;
    struct batch *batch;
    struct err err = {0};
    const char *path = put_text(*state, "a.json", "{\"text\": \"a\"}\n");
    check_ok(source_resolve(&list, path, NULL, NULL, &err), &err);
    struct source_file gone = {.name = "gone", .path = (char *)in(*state, "gone")};
    check_ok(source_add(&list, &gone, &err), &err);
    check_ok(docs_open(&d, &list, &docs_defaults, &err), &err);
    int rc;
    while ((rc = docs_next(d, &batch, &err)) > 0) docs_release(d, batch);
    assert_int_equal(rc, ERR_IO);
    assert_int_equal(docs_next(d, &batch, &err), ERR_IO);
    docs_close(d, NULL);
    source_list_release(&list);
}

static void blank_lines_bom_and_cr(void **state) {
    struct seen s = {.keep_place = true};
    struct docs_totals totals;
    struct err err = {0};
    put_text(*state, "a.jsonl",
             "\xef\xbb\xbf\n{\"text\": \"a\"}\r\n\r\n  \n{\"text\": \"b\"}\n\n{\"text\": \"c\"}");
    same_every_way(*state, docs_defaults, &s, &totals, &err);
    assert_string_equal(buf_cstr(&s.text), "0:2:a\n0:5:b\n0:7:c\n");
    buf_release(&s.text);
}

static void empty_inputs(void **state) {
    struct seen s = {0};
    struct docs_totals totals;
    struct err err = {0};
    put_text(*state, "a.jsonl", "");
    put_text(*state, "b.jsonl", "\n\n");
    same_every_way(*state, docs_defaults, &s, &totals, &err);
    assert_int_equal(err.code, 0);
    assert_int_equal(totals.documents, 0);
    assert_int_equal(s.n_last, 2);
    buf_release(&s.text);
}

static void text_files_are_one_document_each(void **state) {
    struct docs_opts o = docs_defaults;
    struct seen s = {.keep_place = true};
    struct docs_totals totals;
    struct err err = {0};
    struct buf big = {0};
    put_text(*state, "a.txt", "one\ntwo\n");
    put_text(*state, "b.py", "{\"text\": 1}\n");
    put_text(*state, "c", "{\"text\": \"by its first byte\"}\n");
    put_text(*state, "d", "no JSON");
    same_every_way(*state, o, &s, &totals, &err);
    assert_string_equal(buf_cstr(&s.text), "0:1:one\ntwo\n\n1:1:{\"text\": 1}\n\n"
                                           "2:1:by its first byte\n3:1:no JSON\n");
    make_text(&big, 3 << 20, 3);
    put(*state, "e.txt", big.v, big.n);
    put_text(*state, "f.txt", "ab\ncd\xff");
    same_every_way(in(*state, "[ef].txt"), o, &s, &totals, &err);
    assert_non_null(strstr(err.msg, "f.txt:2:3: not UTF-8"));
    assert_int_equal(totals.text_bytes, big.n);
    buf_release(&big);
    buf_release(&s.text);
}

static int keep(void *ctx, const char *v, size_t n, struct err *err) {
    return buf_append(ctx, v, n, err);
}

/* The parts of a text: where they are cut, and that nothing is lost. */
static int see_parts(void *ctx, struct batch *b, int thread, struct err *err) {
    struct seen *s = ctx;
    (void)thread;
    for (size_t i = 0; i < b->n; i++) {
        const struct doc *d = &b->v[i];
        assert_int_equal(d->continues, s->documents > 0);
        if (s->see_whole && d->goes_on && !d->continues)
            assert_int_equal(docs_far_text(d, keep, &s->whole, err), 0);
        assert_int_equal(d->follows, s->followed);
        s->followed = d->followed;
        if (d->continues && !d->follows) {
            char last = s->text.v[s->text.n - 1];
            assert_true(last == '\n' || (d->text[0] == ' ' && last >= 'a' && last <= 'z'));
        }
        buf_append(&s->text, d->text, d->n, NULL);
        s->documents = d->goes_on ? s->documents + 1 : 0;
        s->next += !d->goes_on;
        s->n_last++;
    }
    return 0;
}

static void texts_may_be_cut(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf want = {0};
    for (int i = 0; i < 900; i++)
        buf_printf(&want, NULL, i % 7 ? "word%c \xC3\xA9t\xC3\xA9\n" : "x %c  .. \n", 'a' + i % 26);
    for (int i = 0; i < 3000; i++) buf_char(&want, '.', NULL); /* longer than a part */
    put(*state, "t.txt", want.v, want.n);
    for (size_t bytes = 1; bytes < 20000; bytes = 3 * bytes + 1)
        for (int n = 1; n <= 4; n++) {
            struct seen s = {.see_whole = n > 2};
            struct source_list list = {0};
            struct docs_totals sum;
            struct docs *d;
            struct err e = {0};
            o.batch_bytes = bytes;
            o.threads = n;
            o.cut_texts = true;
            o.see_whole = s.see_whole;
            o.spill = "/tmp";
            o.cut_anywhere = bytes % 2;
            assert_int_equal(source_resolve(&list, in(*state, "t.txt"), NULL, NULL, &e), 0);
            assert_int_equal(docs_open(&d, &list, &o, &e), 0);
            assert_int_equal(docs_run(d, n, NULL, see_parts, &s, &e), 0);
            docs_totals(d, &sum);
            docs_close(d, NULL);
            source_list_release(&list);
            assert_int_equal(s.text.n, want.n);
            assert_memory_equal(s.text.v, want.v, want.n);
            assert_int_equal(s.next, 1);
            assert_int_equal(sum.documents, 1);
            assert_int_equal(sum.text_bytes, want.n);
            assert_true(s.n_last > (bytes < 1000 ? 10 : 0));
            assert_int_equal(s.whole.n, s.see_whole && s.n_last > 1 ? want.n : 0);
            if (s.whole.n) assert_memory_equal(s.whole.v, want.v, want.n);
            buf_release(&s.whole);
            buf_release(&s.text);
        }
    buf_release(&want);
}

static void a_bad_byte_of_a_later_part_has_its_place(void **state) {
    struct docs_opts o = docs_defaults;
    const char text[] = "one two\nthree four five \xFF six\n";
    put(*state, "t.txt", text, sizeof text - 1);
    for (int cuts = 0; cuts < 4; cuts++)
        for (size_t bytes = 1; bytes < 40; bytes += 3) {
            struct seen s = {0};
            struct docs_totals sum;
            struct err e = {0};
            o.batch_bytes = bytes;
            o.cut_texts = cuts > 0;
            o.cut_anywhere = cuts == 2;
            o.see_whole = cuts == 3;
            o.spill = "/tmp";
            assert_int_equal(run(in(*state, "t.txt"), &o, 1, &s, &sum, &e), ERR_DATA);
            assert_non_null(strstr(e.msg, "t.txt:2:17: not UTF-8"));
            buf_release(&s.text);
        }
}

/* A record above the bound is bad like any other: counted once, located, and the next is read. */
static void long_records(void **state) {
    struct docs_opts o = docs_defaults;
    struct seen s = {.keep_place = true};
    struct docs_totals totals;
    struct err err = {0};
    struct buf b = {0};
    buf_str(&b, "{\"text\": \"a\"}\n{\"text\": \"", NULL);
    for (int i = 0; i < 5000; i++) buf_char(&b, 'x', NULL);
    buf_str(&b, "\"}\n{\"text\": \"b\"}\n{\"text\": \"", NULL);
    for (int i = 0; i < 5000; i++) buf_char(&b, 'x', NULL);
    put(*state, "a.jsonl", b.v, b.n);
    o.max_record = 1000;
    same_every_way(*state, o, &s, &totals, &err);
    assert_non_null(strstr(err.msg, "a.jsonl:2:1: the record is longer than 1000 bytes"));
    o.on_error = "skip";
    same_every_way(*state, o, &s, &totals, &err);
    assert_string_equal(buf_cstr(&s.text), "0:1:a\n0:3:b\n");
    assert_int_equal(totals.bad_records, 2);
    buf_release(&b);
    buf_release(&s.text);
}

static void the_field_is_named_or_found(void **state) {
    struct docs_opts o = docs_defaults;
    struct seen s = {0};
    struct docs_totals totals;
    struct err err = {0};
    put_text(*state, "a.jsonl", "{\"repo_name\": \"r\", \"text\": \"t\"}\n");
    same_every_way(*state, o, &s, &totals, &err);
    assert_string_equal(buf_cstr(&s.text), "t\n");
    o.field = "repo_name";
    same_every_way(*state, o, &s, &totals, &err);
    assert_string_equal(buf_cstr(&s.text), "r\n");
    o.field = "content";
    same_every_way(*state, o, &s, &totals, &err);
    assert_non_null(strstr(err.msg,
                           "a.jsonl:1:1: no string field \"content\" (record has repo_name, text); "
                           "choose another with --field text, or --on-error skip"));
    buf_release(&s.text);
}

/* The first record may be the odd one out; the field of the others is wanted, and its lack told. */
static void an_odd_first_record(void **state) {
    struct seen s = {0};
    struct docs_totals totals;
    struct err err = {0};
    put_text(*state, "a.jsonl", "{\"texd\": \"x\"}\n{\"text\": \"t\"}\n{\"text\": \"t\"}\n");
    assert_int_equal(run(*state, &docs_defaults, 2, &s, &totals, &err), ERR_DATA);
    assert_non_null(strstr(err.msg, "a.jsonl:1:1: no string field \"text\""));
    buf_release(&s.text);
}

/* ------------------------------------------------------------------ skip, take, shuffle */

static void skip_and_take(void **state) {
    struct docs_opts o = docs_defaults;
    struct seen all = {0}, s = {0};
    struct docs_totals totals;
    struct err err = {0};
    make_corpus(*state);
    check_ok(run(*state, &o, 1, &all, &totals, &err), &err);
    for (uint64_t skip = 0; skip < 130; skip += 37)
        for (uint64_t take = 1; take < 130; take += 41) {
            o.skip = skip;
            o.take = take;
            same_every_way(*state, o, &s, &totals, &err);
            uint64_t left = skip < 120 ? 120 - skip : 0;
            assert_int_equal(totals.documents, take < left ? take : left);
            if (s.text.n) assert_non_null(memmem(all.text.v, all.text.n, s.text.v, s.text.n));
        }
    buf_release(&s.text);
    buf_release(&all.text);
}

static void sort_lines(struct buf *b) {
    char *line[512], *save, *v = strdup(buf_cstr(b));
    size_t n = 0;
    for (char *t = strtok_r(v, "\n", &save); t; t = strtok_r(NULL, "\n", &save)) line[n++] = t;
    strs_sort(line, n);
    b->n = 0;
    for (size_t i = 0; i < n; i++) buf_printf(b, NULL, "%s\n", line[i]);
    free(v);
}

static void shuffling_is_a_permutation_of_the_seed(void **state) {
    struct docs_opts o = docs_defaults;
    struct seen all = {0}, s = {0}, other = {0};
    struct docs_totals totals;
    struct err err = {0};
    make_corpus(*state);
    check_ok(run(*state, &o, 1, &all, &totals, &err), &err);
    sort_lines(&all.text);
    for (uint64_t buffer = 1; buffer < 300; buffer = 3 * buffer + 1) {
        o.shuffle_buffer = buffer;
        o.seed = 1;
        same_every_way(*state, o, &s, &totals, &err);
        assert_int_equal(totals.documents, 120);
        o.seed = 2;
        check_ok(run(*state, &o, 2, &other, &totals, &err), &err);
        if (buffer > 1) assert_memory_not_equal(s.text.v, other.text.v, s.text.n);
        sort_lines(&s.text);
        assert_int_equal(s.text.n, all.text.n);
        assert_memory_equal(s.text.v, all.text.v, s.text.n);
    }
    buf_release(&s.text);
    buf_release(&all.text);
    buf_release(&other.text);
}

/* skip and take count what comes out of the buffer, as in datasets. */
static void shuffled_skip_and_take(void **state) {
    struct docs_opts o = docs_defaults;
    struct seen all = {0}, s = {0};
    struct docs_totals totals;
    struct err err = {0};
    make_corpus(*state);
    put_text(*state, "z.txt", "a text file among them");
    o.shuffle_buffer = 30;
    check_ok(run(*state, &o, 1, &all, &totals, &err), &err);
    assert_int_equal(totals.documents, 121);
    o.skip = 17;
    o.take = 60;
    same_every_way(*state, o, &s, &totals, &err);
    assert_int_equal(totals.documents, 60);
    assert_non_null(memmem(all.text.v, all.text.n, s.text.v, s.text.n));
    buf_release(&s.text);
    buf_release(&all.text);
}

/* ------------------------------------------------------------------ stopping */

static void *stop_soon(void *ctx) {
    usleep(20000);
    docs_stop(ctx);
    return NULL;
}

/* A pipe that holds some records and stays open. */
struct silent {
    int ends[2];
    struct source_list list;
    struct docs *docs;
};

static void open_silent(struct silent *s, const void *text, size_t n, const struct docs_opts *o) {
    char path[64];
    struct err err = {0};
    *s = (struct silent){0};
    assert_int_equal(pipe(s->ends), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", s->ends[0]);
    assert_int_equal(write(s->ends[1], text, n), n);
    check_ok(source_resolve(&s->list, path, NULL, NULL, &err), &err);
    check_ok(docs_open(&s->docs, &s->list, o, &err), &err);
}

/* Closed while its reader waits: the writing end is open all the time. */
static void close_silent(struct silent *s) {
    assert_int_equal(docs_close(s->docs, NULL), 0);
    source_list_release(&s->list);
    close(s->ends[0]);
    close(s->ends[1]);
}

/* Those who wait for a pipe nobody writes to are let go at once: who asks for a batch by
 * docs_stop(), the reader by docs_close(). */
static void stop_wakes_those_who_wait(void **state) {
    struct silent s;
    struct batch *b;
    struct err err = {0};
    pthread_t thread;
    (void)state;
    open_silent(&s, "{\"text\": \"a\"}\n{\"te", 18, &docs_defaults);
    assert_int_equal(docs_next(s.docs, &b, &err), 1);
    assert_int_equal(b->n, 1);
    docs_release(s.docs, b);
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, s.docs), 0);
    assert_int_equal(docs_next(s.docs, &b, &err), ERR_STOPPED);
    pthread_join(thread, NULL);
    close_silent(&s);
}

/* What has come is handed out without waiting for more, record by record if they come so, and
 * these in pieces. */
static void a_slow_pipe(void **state) {
    struct buf z = {0};
    struct docs_opts o = docs_defaults;
    struct silent s;
    struct batch *b;
    struct err err = {0};
    (void)state;
    open_silent(&s, "{\"text\": \"0\"}\n", 14, &o);
    for (int i = 0; i < 20; i++) {
        char line[32];
        assert_int_equal(docs_next(s.docs, &b, &err), 1);
        assert_int_equal(b->n, 1);
        assert_int_equal(b->v[0].text[0], "0123456789"[i % 10]);
        assert_int_equal(b->v[0].line_no, i + 1);
        docs_release(s.docs, b);
        snprintf(line, sizeof line, "{\"text\": \"%d\"}\n", (i + 1) % 10);
        assert_int_equal(write(s.ends[1], line, 5), 5);
        usleep(2000);
        assert_int_equal(write(s.ends[1], line + 5, 9), 9);
    }
    close_silent(&s);
    add_gzip(&z, "{\"text\": \"a\"}\n{\"text\": \"b\"}\n", 28); /* the next member is awaited */
    o.take = 1;
    open_silent(&s, z.v, z.n, &o);
    assert_int_equal(docs_next(s.docs, &b, &err), 1);
    assert_int_equal(b->n, 1);
    docs_release(s.docs, b);
    assert_int_equal(docs_next(s.docs, &b, &err), 0);
    close_silent(&s);
    buf_release(&z);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        in_folder(in_order_for_any_threads_and_batches),
        in_folder(the_first_bad_record_stops),
        in_folder(in_any_order_the_same_documents),
        in_folder(in_any_order_the_same_failure),
        in_folder(in_any_order_the_same_field),
        in_folder(skipping_counts_and_tells),
        in_folder(rejected_records_go_to_a_file_in_order),
        in_folder(a_truncated_file),
        in_folder(a_missing_file_later_on),
        in_folder(blank_lines_bom_and_cr),
        in_folder(empty_inputs),
        in_folder(text_files_are_one_document_each),
        in_folder(texts_may_be_cut),
        in_folder(a_bad_byte_of_a_later_part_has_its_place),
        in_folder(long_records),
        in_folder(the_field_is_named_or_found),
        in_folder(an_odd_first_record),
        in_folder(skip_and_take),
        in_folder(shuffling_is_a_permutation_of_the_seed),
        in_folder(shuffled_skip_and_take),
        cmocka_unit_test(stop_wakes_those_who_wait),
        cmocka_unit_test(a_slow_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
