/* --order hf5 and hf4 give what `datasets` gave, record for record
 * (tests/golden/datasets-order). */
#include "docs_help.h"

/* Shard s holds the records s:0 … s:(6+s). */
static void put_shards(const char *dir, int n) {
    for (int s = 0; s < n; s++) {
        struct buf b = {0};
        char name[32];
        for (int i = 0; i < 7 + s; i++) buf_printf(&b, NULL, "{\"text\": \"%d:%d\"}\n", s, i);
        snprintf(name, sizeof name, "%02d.jsonl", s);
        put(dir, name, b.v, b.n);
        buf_release(&b);
    }
}

/* "hf5 shards=5 buffer=10 seed=1 epoch=2 skip=0 take=0 : 4:0 4:1 …" */
static void check_line(char *line) {
    static const struct {
        int threads;
        uint64_t batch_bytes;
    } ways[] = {{1, 1 << 20}, {1, 1}, {3, 100}, {8, 40}};
    struct docs_opts o = docs_defaults;
    struct buf got = {0};
    struct err err = {0};
    char order[8];
    int shards;
    unsigned long long buffer, seed, epoch, skip, take;
    void *dir = NULL;
    assert_int_equal(sscanf(line,
                            "%7s shards=%d buffer=%llu seed=%llu epoch=%llu skip=%llu take=%llu",
                            order, &shards, &buffer, &seed, &epoch, &skip, &take),
                     7);
    const char *want = strstr(line, " : ") + 2;
    o.order = order, o.shuffle_buffer = buffer, o.seed = seed, o.epoch = epoch;
    o.skip = skip, o.take = take;
    assert_int_equal(folder_setup(&dir), 0);
    put_shards(dir, shards);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        o.threads = ways[i].threads;
        o.batch_bytes = ways[i].batch_bytes;
        check_ok(read_all(dir, &o, &got, &err), &err);
        if (strcmp(buf_cstr(&got), want))
            fail_msg("%d threads, batches of %d: wanted %s\n got %s", o.threads, (int)o.batch_bytes,
                     line, got.v);
    }
    buf_release(&got);
    folder_teardown(&dir);
}

static void as_datasets(void **state) {
    char line[4096];
    int lines = 0;
    FILE *f = fopen(GOLDEN "/datasets-order/orders.txt", "r");
    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        check_line(line);
        lines++;
    }
    fclose(f);
    assert_true(lines > 20);
}

/* One bad record of many files read at once: it ends the stream behind the same record every
 * time. */
static void a_bad_record_among_groups(void **state) {
    static const uint64_t batches[] = {1 << 20, 1, 150, 200, 300, 400, 600, 1000};
    struct docs_opts o = docs_defaults;
    struct buf first = {0}, got = {0};
    struct err err = {0};
    o.order = "hf5";
    o.shuffle_buffer = 10;
    for (int bad = 0; bad < 12; bad++) {
        char name[16], where[32];
        put_shards(*state, 12);
        snprintf(name, sizeof name, "%02d.jsonl", bad);
        snprintf(where, sizeof where, "%s:5:10: field", name);
        put_text(*state, name,
                 "{\"text\": \"0\"}\n{\"text\": \"1\"}\n{\"text\": \"2\"}\n"
                 "{\"text\": \"3\"}\n{\"text\": 4}\n{\"text\": \"5\"}\n");
        for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
            o.batch_bytes = batches[i];
            o.threads = 1 + (int)(i % 4);
            assert_int_equal(read_all(*state, &o, &got, &err), ERR_DATA);
            assert_non_null(strstr(err.msg, where));
            if (i == 0) first.n = 0, buf_append(&first, got.v, got.n, NULL);
            assert_string_equal(buf_cstr(&got), buf_cstr(&first));
        }
        assert_true(first.n > 10);
    }
    buf_release(&first);
    buf_release(&got);
}

/* Many more bytes than the queues hold, in files of which all are read at once. */
static void larger_than_the_queues(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf b = {0}, got = {0};
    struct err err = {0};
    char name[32];
    for (int s = 0; s < 23; s++) {
        b.n = 0;
        for (int i = 0; i < 400; i++) {
            buf_printf(&b, NULL, "{\"text\": \"%d:%d\", \"x\": \"", s, i);
            for (int k = 0; k < 1000; k++) buf_char(&b, 'x', NULL);
            buf_str(&b, "\"}\n", NULL);
        }
        snprintf(name, sizeof name, "%02d.jsonl", s);
        put(*state, name, b.v, b.n);
    }
    o.order = "hf5";
    o.shuffle_buffer = 100;
    o.batch_bytes = 30000;
    check_ok(read_all(*state, &o, &got, &err), &err);
    size_t words = 0;
    for (size_t i = 0; i < got.n; i++) words += got.v[i] == ' ';
    assert_int_equal(words, 23 * 400);
    buf_release(&b);
    buf_release(&got);
}

static void what_is_refused(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf got = {0};
    struct err err = {0};
    put_shards(*state, 1);
    o.order = "hf6";
    assert_int_equal(read_all(*state, &o, &got, &err), ERR_USAGE);
    o.order = "hf5";
    o.shuffle_buffer = 1ull << 32;
    assert_int_equal(read_all(*state, &o, &got, &err), ERR_USAGE);
    assert_string_equal(err.msg, "with this order a buffer has at most 4294967295 records");
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_datasets),
        in_folder(a_bad_record_among_groups),
        in_folder(larger_than_the_queues),
        in_folder(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
