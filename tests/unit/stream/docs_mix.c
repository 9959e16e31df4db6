/* Sources mixed as interleave_datasets() mixes them (tests/golden/datasets-order), and the shuffle
 * through files. */
#include "docs_help.h"
#include "stream/mix.h"

static int see_one(void *ctx, const struct doc *doc, struct err *err) {
    (void)err;
    buf_printf(ctx, NULL, " %.*s", (int)doc->n, doc->text);
    return 0;
}

static size_t numbers(const char *text, double *to) {
    size_t n = 0;
    for (char *end; *text; text = *end ? end + 1 : end) to[n++] = strtod(text, &end);
    return n;
}

static int mix(const char *dir, const double *sizes, size_t n, const struct mix_opts *o,
               struct buf *got, struct err *err) {
    struct source_list lists[4] = {{0}};
    struct docs_opts docs = docs_defaults;
    char name[32];
    got->n = 0;
    for (size_t s = 0; s < n; s++) {
        struct buf b = {0};
        for (int i = 0; i < (int)sizes[s]; i++)
            buf_printf(&b, NULL, "{\"text\": \"%zu:%d\"}\n", s, i);
        snprintf(name, sizeof name, "%zu.jsonl", s);
        const char *path = put(dir, name, b.v ? b.v : "", b.n);
        check_ok(source_resolve(&lists[s], path, NULL, NULL, err), err);
        buf_release(&b);
    }
    docs.batch_bytes = 40;
    int rc = mix_documents(lists, n, &docs, o, see_one, got, err);
    for (size_t s = 0; s < n; s++) source_list_release(&lists[s]);
    return rc;
}

/* "sizes=7,30,3 p=0.5,0.3,0.2 end=all_exhausted seed=1 : 0:0 …" */
static void check_line(const char *dir, const char *line) {
    char sizes_text[64], p_text[64] = "", end[64];
    unsigned long long seed;
    double sizes[4], p[4];
    struct buf got = {0};
    struct err err = {0};
    if (sscanf(line, "sizes=%63s p=%63s end=%63s seed=%llu", sizes_text, p_text, end, &seed) != 4) {
        *p_text = 0;
        assert_int_equal(sscanf(line, "sizes=%63s p= end=%63s seed=%llu", sizes_text, end, &seed),
                         3);
    }
    size_t n = numbers(sizes_text, sizes);
    struct mix_opts o = {.seed = seed,
                         .end = !strcmp(end, "first_exhausted") ? MIX_FIRST
                                : !strcmp(end, "all_exhausted") ? MIX_ALL
                                                                : MIX_EACH};
    if (*p_text) {
        assert_int_equal(numbers(p_text, p), n);
        o.probabilities = p;
    }
    check_ok(mix(dir, sizes, n, &o, &got, &err), &err);
    const char *want = strstr(line, " : ") + 2;
    if (strcmp(got.n ? buf_cstr(&got) : "", want)) fail_msg("wanted %s\n got %s", line, got.v);
    buf_release(&got);
}

static void as_datasets(void **state) {
    static char line[1 << 16];
    int lines = 0;
    FILE *f = fopen(GOLDEN "/datasets-order/mixes.txt", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        check_line(*state, line);
        lines++;
    }
    fclose(f);
    assert_true(lines > 25);
}

static void bad_probabilities(void **state) {
    static const double sizes[] = {3, 3}, bad[][2] = {{0.5, 0.4}, {1.5, -0.5}, {0, 0}};
    struct buf got = {0};
    struct err err = {0};
    for (size_t i = 0; i < 3; i++) {
        struct mix_opts o = {.probabilities = bad[i]};
        assert_int_equal(mix(*state, sizes, 2, &o, &got, &err), ERR_USAGE);
    }
    buf_release(&got);
}

static void empty_and_cut(void **state) {
    static const double sizes[] = {0, 4, 2};
    struct buf got = {0};
    struct err err = {0};
    struct mix_opts o = {.end = MIX_EACH, .skip = 1, .take = 4};
    check_ok(mix(*state, sizes, 3, &o, &got, &err), &err);
    assert_string_equal(buf_cstr(&got), " 2:0 1:1 2:1 1:2");
    o = (struct mix_opts){.end = MIX_ALL};
    check_ok(mix(*state, sizes, 1, &o, &got, &err), &err); /* nothing but an empty source */
    assert_int_equal(got.n, 0);
    buf_release(&got);
}

/* All records once, in an order that depends on seed and epoch alone. */
static void perfect(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf got = {0}, again = {0}, other = {0};
    struct err err = {0};
    char name[32];
    for (int s = 0; s < 12; s++) {
        struct buf b = {0};
        for (int i = 0; i < 300; i++) buf_printf(&b, NULL, "{\"text\": \"%d:%d\"}\n", s, i);
        snprintf(name, sizeof name, "%d.jsonl", s);
        put(*state, name, b.v, b.n);
        buf_release(&b);
    }
    o.perfect = true;
    o.spill = "/tmp";
    o.batch_bytes = 900;
    check_ok(read_all(*state, &o, &got, &err), &err);
    o.threads = 3;
    check_ok(read_all(*state, &o, &again, &err), &err);
    o.epoch = 1;
    check_ok(read_all(*state, &o, &other, &err), &err);
    assert_string_equal(buf_cstr(&got), buf_cstr(&again));
    assert_string_not_equal(buf_cstr(&got), buf_cstr(&other));
    char *words[3601];
    size_t n = 0;
    for (char *w = got.v; n < 3601 && (w = strchr(w, ' '));) {
        *w++ = 0;
        words[n++] = w;
    }
    assert_int_equal(n, 3600);
    size_t ascents = 0; /* half of all neighbours, if the order is random */
    for (size_t i = 1; i < n; i++) ascents += strcmp(words[i - 1], words[i]) < 0;
    assert_in_range(ascents, 1700, 1900);
    strs_sort(words, n);
    for (size_t i = 1; i < n; i++) assert_string_not_equal(words[i - 1], words[i]);
    o.order = "hf5";
    assert_int_equal(read_all(*state, &o, &other, &err), ERR_USAGE);
    o.order = "source";
    o.spill = "/nowhere";
    assert_int_equal(read_all(*state, &o, &other, &err), ERR_IO);
    buf_release(&got);
    buf_release(&again);
    buf_release(&other);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        in_folder(as_datasets),
        in_folder(bad_probabilities),
        in_folder(empty_and_cut),
        in_folder(perfect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
