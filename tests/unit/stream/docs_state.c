/* A stream gone on from any of its states gives what was left, whatever the order and the
 * threads. */
#include "docs_help.h"

enum { STATES = 400 };

struct seen {
    struct docs *d;
    struct buf texts;
    struct buf states[STATES];
    size_t at[STATES]; /* texts.n when it was taken */
    size_t n;
};

static int see_and_save(void *ctx, struct batch *b, int thread, struct err *err) {
    struct seen *s = ctx;
    int rc = see(&s->texts, b, thread, err);
    if (rc < 0 || s->n == STATES) return rc;
    rc = docs_save(s->d, b, &s->states[s->n], err);
    if (rc > 0) s->at[s->n++] = s->texts.n;
    return rc < 0 ? rc : 0;
}

static int stream(struct seen *s, const char *dir, const struct docs_opts *o, struct err *err) {
    struct source_list list = {0};
    s->n = s->texts.n = 0;
    int rc = source_resolve(&list, dir, NULL, NULL, err);
    if (rc == 0) rc = docs_open(&s->d, &list, o, err);
    if (rc == 0) {
        rc = docs_run(s->d, o->threads, NULL, see_and_save, s, err);
        docs_close(s->d, NULL);
    }
    source_list_release(&list);
    return rc;
}

static void release(struct seen *s) {
    for (size_t i = 0; i < STATES; i++) buf_release(&s->states[i]);
    buf_release(&s->texts);
}

/* Seven files: gzip, zstd and plain, one of text, one empty, one with bad records and long ones. */
static void put_files(const char *dir) {
    struct buf b = {0}, packed = {0};
    char name[32];
    for (int s = 0; s < 7; s++) {
        b.n = packed.n = 0;
        for (int i = 0; i < 90 && s != 4; i++) {
            buf_printf(&b, NULL, "{\"text\": \"%d:%d\", \"x\": \"", s, i);
            for (int k = 0; k < (i * 37 % 50) * (i % 40 == 7 ? 40 : 1); k++)
                buf_str(&b, "xy", NULL);
            buf_str(&b, i % 30 == 11 ? "\", bad}\n" : "\"}\n", NULL);
        }
        if (s % 3 == 0) {
            add_gzip(&packed, b.v, b.n / 2);
            add_gzip(&packed, b.v + b.n / 2, b.n - b.n / 2);
        } else if (s % 3 == 1)
            add_zstd(&packed, b.v, b.n);
        else
            add(&packed, b.v, b.n);
        snprintf(name, sizeof name, "%d.jsonl", s);
        put(dir, name, packed.v, packed.n);
    }
    put_text(dir, "3b.txt", "a text");
    buf_release(&b);
    buf_release(&packed);
}

static void check_every(const char *dir, struct docs_opts o, uint64_t every, size_t least) {
    struct seen whole = {0}, rest = {0};
    struct err err = {0};
    o.on_error = "skip";
    o.state_every = every;
    o.batch_bytes = every + every / 2;
    check_ok(stream(&whole, dir, &o, &err), &err);
    assert_true(whole.n >= least);
    for (size_t i = 0; i < whole.n; i++) {
        o.threads = 1 + (int)(i % 3);
        o.state = whole.states[i].v;
        o.state_bytes = whole.states[i].n;
        for (size_t k = 0; k < STATES; k++) rest.states[k].n = 0;
        check_ok(stream(&rest, dir, &o, &err), &err);
        assert_int_equal(rest.texts.n, whole.texts.n - whole.at[i]);
        assert_memory_equal(rest.texts.v, whole.texts.v + whole.at[i], rest.texts.n);
        /* and the states that follow are the same, so that a second stop is as good as the first */
        assert_int_equal(rest.n, whole.n - i - 1);
        for (size_t k = 0; k < rest.n && k < 3; k++)
            assert_int_equal(rest.at[k], whole.at[i + 1 + k] - whole.at[i]);
    }
    release(&whole);
    release(&rest);
}

static void check(const char *dir, struct docs_opts o, size_t least) {
    check_every(dir, o, 400, least);
}

static void in_order(void **state) {
    struct docs_opts o = docs_defaults;
    put_files(*state);
    check(*state, o, 40);
    o.skip = 50, o.take = 300;
    check(*state, o, 20);
}

static void of_what_stays_far(void **state) {
    struct docs_opts o = docs_defaults;
    put_files(*state);
    docs_stay_far(&o);
    o.spill = "/tmp";
    check(*state, o, 40);
    o.skip = 50, o.take = 300;
    check(*state, o, 20);
}

static void shuffled(void **state) {
    struct docs_opts o = docs_defaults;
    put_files(*state);
    o.shuffle_buffer = 20;
    check(*state, o, 5);
    o.shuffle_bytes = 900; /* full by bytes long before */
    o.epoch = 3, o.take = 400;
    check(*state, o, 10);
}

static void through_files(void **state) {
    struct docs_opts o = docs_defaults;
    put_files(*state);
    o.perfect = true;
    o.spill = *state;
    check(*state, o, 5);
}

static void as_datasets(void **state) {
    struct docs_opts o = docs_defaults;
    put_files(*state);
    o.shuffle_buffer = 20;
    o.order = "hf5";
    check(*state, o, 5);
    o.order = "hf4";
    o.skip = 10;
    check(*state, o, 5);
}

/* "the file has become shorter" was said of every table that was entered at a seek point. */
static void in_tables(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf b = {0}, packed = {0};
    buf_str(&b, "id,text\n", NULL);
    for (int i = 0; i < 3000; i++) {
        buf_printf(&b, NULL, "%d,\"", i);
        for (int k = 0; k < i * 37 % 300; k++) buf_str(&b, k % 90 ? "xy" : "\"\"\n,", NULL);
        buf_str(&b, i % 100 == 11 ? "\" bad\n" : "\"\n", NULL);
    }
    add_gzip(&packed, b.v, b.n / 2);
    add_gzip(&packed, b.v + b.n / 2, b.n - b.n / 2);
    put(*state, "a.csv", b.v, b.n);
    put(*state, "b.csv.gz", packed.v, packed.n);
    check_every(*state, o, 20000, 30);
    o.shuffle_buffer = 100;
    check_every(*state, o, 20000, 10);
    buf_release(&b);
    buf_release(&packed);
}

static void in_row_groups(void **state) {
    static const char *const names[] = {"dictionary-snappy-v1", "delta-zstd-v2", "many-rows"};
    struct docs_opts o = docs_defaults;
    struct err err = {0};
    for (size_t i = 0; i < 3; i++) {
        struct buf b = {0};
        char from[1024], to[64];
        snprintf(from, sizeof from, GOLDEN "/tables/%s.parquet", names[i]);
        snprintf(to, sizeof to, "%s.parquet", names[i]);
        check_ok(file_read(from, 1 << 20, &b, &err), &err);
        put(*state, to, b.v, b.n);
        buf_release(&b);
    }
    o.field = "licence";
    check_every(*state, o, 40000, 10);
}

static void of_other_options(void **state) {
    struct docs_opts o = docs_defaults;
    struct seen s = {0};
    struct err err = {0};
    put_files(*state);
    o.on_error = "skip", o.state_every = 400, o.batch_bytes = 700;
    check_ok(stream(&s, *state, &o, &err), &err);
    o.state = s.states[3].v;
    for (o.state_bytes = 0; o.state_bytes < s.states[3].n; o.state_bytes += 1 + s.states[3].n / 50)
        assert_true(stream(&s, *state, &o, &err) < 0); /* cut off */
    o.state_bytes = s.states[3].n;
    o.seed++;
    assert_int_equal(stream(&s, *state, &o, &err), ERR_USAGE);
    o.seed--;
    o.on_error = "rejects";
    assert_int_equal(stream(&s, *state, &o, &err), ERR_USAGE);
    o.on_error = "skip";
    put_text(*state, "0.jsonl", "{\"text\": \"other\"}\n");
    assert_int_equal(stream(&s, *state, &o, &err), ERR_USAGE);
    release(&s);
}

/* A buffer that is full by its bytes holds fewer records, and loses none. */
static void bounded_by_bytes(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf small = {0}, large = {0};
    struct err err = {0};
    put_files(*state);
    o.on_error = "skip";
    o.shuffle_buffer = 1000;
    check_ok(read_all(*state, &o, &large, &err), &err);
    o.shuffle_bytes = 3000;
    check_ok(read_all(*state, &o, &small, &err), &err);
    assert_int_equal(small.n, large.n);
    assert_memory_not_equal(small.v, large.v, small.n);
    buf_release(&small);
    buf_release(&large);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        in_folder(in_order),    in_folder(shuffled),         in_folder(through_files),
        in_folder(as_datasets), in_folder(of_other_options), in_folder(bounded_by_bytes),
        in_folder(in_tables),   in_folder(in_row_groups),    in_folder(of_what_stays_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
