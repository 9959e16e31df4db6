/* Generation: transformers' greedy ids, and the cache against a model that reads everything
 * again. */
#include "golden_help.h"
#include "train/generate.h"

static const struct sampling greedy = {.greedy = true, .temperature = 1, .top_p = 1};
static const struct backend *ops;

static void open_both(struct golden *g, struct generator **gen, int B) {
    struct err err = {0};
    check_ok(golden_open(g, ops, false, &err), &err);
    check_ok(generator_new(gen, g->model, B, 0, &err), &err);
}

static void close_both(struct golden *g, struct generator *gen) {
    generator_free(gen);
    golden_close(g);
}

static void greedy_ids_are_those_of_transformers(void **state) {
    struct golden g;
    struct generator *gen;
    struct err err = {0};
    struct u32s out = {0};
    enum finish finish;
    uint32_t ids[30];
    int n = 0;
    (void)state;
    open_both(&g, &gen, 1);
    const cJSON *x, *list = json_get(g.json, "greedy");
    cJSON_ArrayForEach(x, list) ids[n++] = (uint32_t)x->valueint;
    assert_int_equal(n, 30);
    check_ok(generate(gen, ids, 6, 24, -1, &greedy, NULL, NULL, NULL, &out, &finish, &err), &err);
    assert_int_equal(finish, FINISH_LENGTH);
    assert_int_equal(out.n, 24);
    for (int i = 0; i < 24; i++)
        if (out.v[i] != ids[6 + i]) fail_msg("id %d is %u, not %u", i, out.v[i], ids[6 + i]);
    u32s_release(&out);
    close_both(&g, gen);
}

static void ends_at_eos_without_it(void **state) {
    struct golden g;
    struct generator *gen;
    struct err err = {0};
    struct u32s out = {0};
    enum finish finish;
    uint32_t prompt[6];
    (void)state;
    open_both(&g, &gen, 1);
    const cJSON *list = json_get(g.json, "greedy");
    for (int i = 0; i < 6; i++) prompt[i] = (uint32_t)cJSON_GetArrayItem(list, i)->valueint;
    int64_t eos = cJSON_GetArrayItem(list, 10)->valueint;
    check_ok(generate(gen, prompt, 6, 24, eos, &greedy, NULL, NULL, NULL, &out, &finish, &err),
             &err);
    assert_int_equal(finish, FINISH_STOP);
    assert_int_equal(out.n, 4);
    /* or at any of a list */
    out.n = 0;
    uint32_t ends[2] = {508, (uint32_t)eos};
    struct gen_row row = {
        .prompt = prompt, .n = 6, .max_new = 24, .ends = ends, .n_ends = 2, .out = &out};
    check_ok(generate_rows(gen, &row, 1, -1, &greedy, NULL, NULL, &err), &err);
    assert_int_equal(row.finish, FINISH_STOP);
    assert_int_equal(out.n, 4);
    u32s_release(&out);
    close_both(&g, gen);
}

/* The next id of a text, read whole. */
static uint32_t next_of(struct golden *g, const uint32_t *text, size_t n) {
    enum { V = 515 };
    int32_t tokens[48];
    struct err err = {0};
    struct model_batch b = {.B = 1, .T = (int)n, .tokens = tokens};
    uint32_t best = 0;
    float *logits = malloc(n * V * sizeof *logits);
    assert_non_null(logits);
    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)text[i];
    check_ok(model_plan(g->model, 1, (int)n, false, NULL, &err), &err);
    check_ok(model_logits(g->model, &b, logits, &err), &err);
    for (uint32_t v = 1; v < V; v++)
        if (logits[(n - 1) * V + v] > logits[(n - 1) * V + best]) best = v;
    free(logits);
    return best;
}

/* 48 positions are full after 48 ids; then the younger 24 are read again, until they are full, … */
static void a_full_context_goes_on_with_its_younger_half(void **state) {
    enum { PROMPT = 40, NEW = 80, P = 48 };
    struct golden g;
    struct generator *gen;
    struct err err = {0};
    struct u32s out = {0};
    uint32_t text[PROMPT + NEW];
    size_t from = 0, n = PROMPT;
    (void)state;
    open_both(&g, &gen, 1);
    for (size_t i = 0; i < PROMPT; i++) text[i] = (uint32_t)(i * 37 % 500);
    check_ok(generate(gen, text, n, NEW, -1, &greedy, NULL, NULL, NULL, &out, NULL, &err), &err);
    assert_int_equal(out.n, NEW);
    for (size_t i = 0; i < NEW; i++) {
        if (n - from > P) from = n - P / 2;
        text[n] = next_of(&g, text + from, n - from);
        if (text[n] != out.v[i]) fail_msg("id %zu is %u, not %u", i, out.v[i], text[n]);
        n++;
    }
    u32s_release(&out);
    close_both(&g, gen);
}

/* Rows of different lengths, two of them sharing a prompt, say what each says alone. */
static void rows_do_not_see_each_other(void **state) {
    enum { ROWS = 4 };
    static const size_t lengths[ROWS] = {5, 17, 17, 45};
    static const int news[ROWS] = {30, 7, 40, 20};
    struct golden g;
    struct generator *gen;
    struct err err = {0};
    struct u32s together[ROWS] = {{0}}, alone = {0};
    struct gen_row rows[ROWS];
    uint32_t text[64];
    (void)state;
    open_both(&g, &gen, ROWS);
    for (size_t i = 0; i < 64; i++) text[i] = (uint32_t)(i * i * 11 % 509);
    for (int b = 0; b < ROWS; b++)
        rows[b] = (struct gen_row){
            .prompt = text, .n = lengths[b], .max_new = news[b], .out = &together[b]};
    check_ok(generate_rows(gen, rows, ROWS, -1, &greedy, NULL, NULL, &err), &err);
    for (int b = 0; b < ROWS; b++) {
        alone.n = 0;
        check_ok(generate(gen, text, lengths[b], news[b], -1, &greedy, NULL, NULL, NULL, &alone,
                          NULL, &err),
                 &err);
        assert_int_equal(together[b].n, news[b]);
        assert_memory_equal(together[b].v, alone.v, alone.n * sizeof *alone.v);
        u32s_release(&together[b]);
    }
    u32s_release(&alone);
    close_both(&g, gen);
}

static int stop_at_third(void *ctx, uint32_t id) {
    (void)id;
    return ++*(int *)ctx == 3;
}

static void the_caller_can_end_it(void **state) {
    struct golden g;
    struct generator *gen;
    struct err err = {0};
    struct u32s out = {0};
    enum finish finish;
    uint32_t prompt[2] = {1, 600};
    int seen = 0;
    (void)state;
    open_both(&g, &gen, 1);
    check_ok(
        generate(gen, prompt, 1, 9, -1, &greedy, NULL, stop_at_third, &seen, &out, &finish, &err),
        &err);
    assert_int_equal(finish, FINISH_CALLER);
    assert_int_equal(out.n, 3);
    assert_int_equal(generate(gen, prompt, 2, 9, -1, &greedy, NULL, NULL, NULL, &out, NULL, &err),
                     ERR_DATA); /* 600 is not in the vocabulary */
    assert_int_equal(generate(gen, prompt, 0, 9, -1, &greedy, NULL, NULL, NULL, &out, NULL, &err),
                     ERR_USAGE);
    u32s_release(&out);
    close_both(&g, gen);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_ids_are_those_of_transformers),
        cmocka_unit_test(ends_at_eos_without_it),
        cmocka_unit_test(a_full_context_goes_on_with_its_younger_half),
        cmocka_unit_test(rows_do_not_see_each_other),
        cmocka_unit_test(the_caller_can_end_it),
    };
    ops = backend_ref();
    int failed = cmocka_run_group_tests_name("ref", tests, NULL, NULL);
    ops = backend_cpu();
    return failed + cmocka_run_group_tests_name("cpu", tests, NULL, NULL);
}
