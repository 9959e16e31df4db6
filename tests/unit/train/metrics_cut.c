/* metrics.jsonl: lines that read back the same, and each step once however often a run resumes. */
#include "run_help.h"
#include "train/metrics.h"

static struct metrics *opened(const char *dir, uint64_t step) {
    struct metrics *m;
    struct err err = {0};
    char *path = path_join(dir, "metrics.jsonl");
    check_ok(metrics_open(&m, path, step, NULL, &err), &err);
    free(path);
    return m;
}

static void add(struct metrics *m, uint64_t step, double loss) {
    struct metrics_step s = {.step = step, .loss = loss, .lr = 1e-5, .grad_norm = 0.1};
    struct metrics_eval e = {.step = step, .loss = loss, .part_loss = loss / 2, .targets = 9};
    struct err err = {0};
    s.skipped = isnan(loss);
    check_ok(metrics_add_step(m, &s, "", &err), &err);
    if (step % 3 == 0) check_ok(metrics_add_eval(m, &e, &err), &err);
}

static void lines_read_back_the_same(void **state) {
    char *dir = tmp_make();
    struct metrics *m = opened(dir, 0);
    (void)state;
    add(m, 1, 0.1 + 0.2);
    add(m, 2, NAN);
    add(m, 3, 1e-300);
    metrics_close(m);
    m = opened(dir, 99);
    const struct metrics_steps *s = metrics_get_steps(m);
    const struct metrics_evals *e = metrics_get_evals(m);
    assert_int_equal(s->n, 3);
    assert_true(s->v[0].loss == 0.1 + 0.2 && s->v[0].lr == 1e-5 && !s->v[0].skipped);
    assert_true(isnan(s->v[1].loss) && s->v[1].skipped);
    assert_true(s->v[2].loss == 1e-300);
    assert_int_equal(e->n, 1);
    assert_true(e->v[0].loss == 1e-300 && e->v[0].part_loss == 5e-301 && e->v[0].targets == 9);
    metrics_close(m);
    tmp_remove(dir);
}

static void each_step_stands_once(void **state) {
    static const uint64_t resumes[][2] = {{0, 7}, {0, 5}, {3, 3}, {3, 9}, {6, 8}, {6, 12}};
    char *dir = tmp_make();
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        struct metrics *m = opened(dir, resumes[i][0]);
        for (uint64_t s = resumes[i][0] + 1; s <= resumes[i][1]; s++) add(m, s, (double)i);
        metrics_close(m);
    }
    struct metrics *m = opened(dir, 12);
    const struct metrics_steps *s = metrics_get_steps(m);
    assert_int_equal(s->n, 12);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(s->v[i].step, i + 1);
        assert_true(s->v[i].loss == (i < 3 ? 1 : i < 6 ? 3 : 5)); /* of the run that was kept */
    }
    assert_int_equal(metrics_get_evals(m)->n, 4);
    metrics_close(m);
    tmp_remove(dir);
}

static void a_torn_line_and_strange_ones_go(void **state) {
    static const char text[] = "{\"step\":1,\"loss\":1}\nhello\n{\"step\":2,\"loss\":2}\n"
                               "{\"step\":2,\"loss\":7}\n{\"loss\":3}\n{\"step\":3,\"lo";
    static const char want[] = "{\"step\":1,\"loss\":1}\n{\"step\":2,\"loss\":2}\n";
    char *dir = tmp_make();
    (void)state;
    spill(dir, "metrics.jsonl", text, sizeof text - 1);
    metrics_close(opened(dir, 5));
    struct buf b = slurp(dir, "metrics.jsonl");
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
    tmp_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_read_back_the_same),
        cmocka_unit_test(each_step_stands_once),
        cmocka_unit_test(a_torn_line_and_strange_ones_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
