/* Batches are written in their order and once, whoever works on them; the first failure ends it. */
#include "docs_help.h"

/* Sixty records, in batches of one or a few. */
static void make_corpus(const char *dir) {
    struct buf b = {0};
    for (int i = 0; i < 60; i++)
        buf_printf(&b, NULL, "{\"text\": \"%d-%.*s\"}\n", i, i * 7 % 50,
                   "..................................................");
    put(dir, "f.jsonl", b.v, b.n);
    buf_release(&b);
}

struct asked {
    struct buf text;
    uint64_t next;
    bool fails;
    const struct batch *at_hand[8]; /* of each thread, where it waits until that is written */
};

/* What `made` of a batch holds: memory of its own, and whose it is. */
struct made {
    const struct batch *of;
    char *room;
};

static void made_release(void *made) {
    free(((struct made *)made)->room);
}

static const struct docs_made made_of_ours = {sizeof(struct made), made_release};

static int make(void *ctx, struct batch *b, int thread, struct err *err) {
    struct asked *a = ctx;
    struct made *m = b->made;
    if (b->seq % 3 == 0) usleep(200); /* the others are done before it */
    if (a->fails && b->seq >= 3) return err_set(err, ERR_OTHER, "work on batch %d", (int)b->seq);
    a->at_hand[thread] = b;
    if (!m) return 0;
    if (m->of) return err_set(err, ERR_OTHER, "made into what is not written yet");
    if (!m->room) m->room = malloc(1);
    m->of = b;
    return 0;
}

static int write_next(void *ctx, struct batch *b, int thread, struct err *err) {
    struct asked *a = ctx;
    struct made *m = b->made;
    if (b->seq != a->next++) return err_set(err, ERR_OTHER, "batch %d out of order", (int)b->seq);
    if (m ? m->of != b : a->at_hand[thread] != b)
        return err_set(err, ERR_OTHER, "of another batch");
    if (m) m->of = NULL;
    return see(&a->text, b, thread, err);
}

static int run(const char *dir, int threads, bool ahead, struct asked *a, struct err *err) {
    struct docs_opts o = docs_defaults;
    struct source_list list = {0};
    struct docs *d;
    o.batch_bytes = 100;
    o.threads = threads;
    a->text.n = 0;
    a->next = 0;
    check_ok(source_resolve(&list, dir, NULL, NULL, err), err);
    check_ok(docs_open(&d, &list, &o, err), err);
    int rc = ahead ? docs_run_ahead(d, threads, make, write_next, &made_of_ours, a, err)
                   : docs_run(d, threads, make, write_next, a, err);
    docs_close(d, NULL);
    source_list_release(&list);
    return rc;
}

static const int threads[] = {1, 2, 3, 8};

/* Each batch once, and in order, whether threads wait for their turn or go on with the next. */
static void in_order(void **state) {
    struct asked want = {0}, a = {0};
    struct err err = {0};
    make_corpus(*state);
    check_ok(run(*state, 1, false, &want, &err), &err);
    assert_true(want.next > 20);
    for (int i = 0; i < 16; i++) {
        check_ok(run(*state, threads[i % 4], i / 4 % 2, &a, &err), &err);
        assert_int_equal(a.next, want.next);
        assert_int_equal(a.text.n, want.text.n);
        assert_memory_equal(a.text.v, want.text.v, want.text.n);
    }
    buf_release(&a.text);
    buf_release(&want.text);
}

/* What comes before it is written, and nothing behind it. */
static void failing_work_ends_the_run(void **state) {
    struct asked a = {.fails = true};
    make_corpus(*state);
    for (int i = 0; i < 32; i++) {
        struct err err = {0};
        assert_int_equal(run(*state, threads[i % 4], i / 4 % 2, &a, &err), ERR_OTHER);
        assert_string_equal(err.msg, "work on batch 3");
        assert_int_equal(a.next, 3);
    }
    buf_release(&a.text);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        in_folder(in_order),
        in_folder(failing_work_ends_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
