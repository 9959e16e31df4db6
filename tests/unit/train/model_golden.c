/* The model against transformers: losses, logits and every gradient of a small GPT-2. */
#include "golden_help.h"

enum { B = 2, T = 32 };
static const struct backend *ops;

/* The batch with the given labels (a golden tensor); caller frees tokens and labels. */
static struct model_batch batch_of(const struct golden *g, const char *labels) {
    struct model_batch b = {.B = B, .T = T};
    int32_t *own = golden_get(g, labels, NULL);
    b.tokens = golden_get(g, "input_ids", NULL);
    b.labels = shifted(own, B, T);
    free(own);
    return b;
}

static void batch_free(struct model_batch *b) {
    free((void *)b->tokens);
    free((void *)b->labels);
}

static void losses_are_those_of_transformers(void **state) {
    static const char *const keys[2][2] = {{"input_ids", "loss_full"},
                                           {"labels_masked", "loss_masked"}};
    struct golden g;
    struct err err = {0};
    (void)state;
    check_ok(golden_open(&g, ops, false, &err), &err);
    check_ok(model_plan(g.model, B, T, false, NULL, &err), &err);
    for (int i = 0; i < 2; i++) {
        struct model_batch b = batch_of(&g, keys[i][0]);
        double sum, want = 0;
        uint64_t targets;
        check_ok(json_f64(g.json, keys[i][1], &want, "golden", &err), &err);
        check_ok(model_loss(g.model, &b, &sum, &targets, &err), &err);
        assert_int_equal(targets, i == 0 ? 62 : 48);
        if (fabs(sum / (double)targets - want) > 2e-6)
            fail_msg("%s: %.9g, not %.9g", keys[i][1], sum / (double)targets, want);
        batch_free(&b);
    }
    golden_close(&g);
}

static void logits_are_those_of_transformers(void **state) {
    struct golden g;
    struct err err = {0};
    size_t n;
    (void)state;
    check_ok(golden_open(&g, ops, false, &err), &err);
    check_ok(model_plan(g.model, B, T, false, NULL, &err), &err);
    struct model_batch b = batch_of(&g, "input_ids");
    float *want = golden_get(&g, "logits", &n), *got = malloc(n * sizeof *got);
    check_ok(model_logits(g.model, &b, got, &err), &err);
    if (distance(got, want, n) > 2e-6) fail_msg("logits differ by %g", distance(got, want, n));
    free(want);
    free(got);
    batch_free(&b);
    golden_close(&g);
}

/* Row 0 begins with 7 paddings: positions count from the first real token, attention starts there.
 * What comes out at the paddings themselves means nothing. */
static void left_padding_by_pos_and_start(void **state) {
    struct golden g;
    struct err err = {0};
    int32_t pos[B * T], start[B * T];
    size_t n, V = 515, skip = 7;
    (void)state;
    check_ok(golden_open(&g, ops, false, &err), &err);
    check_ok(model_plan(g.model, B, T, false, NULL, &err), &err);
    for (int i = 0; i < B * T; i++) {
        start[i] = i < T ? (int32_t)skip : 0;
        pos[i] = i % T > start[i] ? i % T - start[i] : 0;
    }
    float *want = golden_get(&g, "leftpad.logits", &n), *got = malloc(n * sizeof *got);
    int32_t *tokens = golden_get(&g, "leftpad.input_ids", NULL);
    struct model_batch b = {.B = B, .T = T, .tokens = tokens, .pos = pos, .start = start};
    check_ok(model_logits(g.model, &b, got, &err), &err);
    double d = distance(got + skip * V, want + skip * V, n - skip * V);
    if (d > 2e-6) fail_msg("logits differ by %g", d);
    free(tokens);
    free(want);
    free(got);
    golden_close(&g);
}

/* The key biases' gradient is zero in exact arithmetic (the softmax does not see them), so a
 * relative distance of it would compare rounding. */
static void drop_key_bias(float *v, const struct param *p) {
    if (path_ends(p->name, "c_attn.bias")) memset(v + p->n / 3, 0, p->n / 3 * sizeof *v);
}

static void compare_gradients(const struct golden *g, const char *tag, bool *found_any) {
    struct param *p;
    size_t n_params = model_params(g->model, &p);
    for (size_t i = 0; i < n_params; i++) {
        char name[160];
        snprintf(name, sizeof name, "grad_%s.%s", tag, p[i].name);
        if (!safetensors_find(&g->want, name)) continue;
        float *want = golden_get(g, name, NULL), *got = malloc(p[i].n * sizeof *got);
        g->ops->download(g->device, got, p[i].grad, p[i].n * sizeof *got);
        drop_key_bias(want, &p[i]);
        drop_key_bias(got, &p[i]);
        double d = distance(got, want, p[i].n);
        if (!(d < 1e-5)) fail_msg("%s differs by %g", name, d);
        *found_any = true;
        free(want);
        free(got);
    }
}

static void gradients(const char *labels, const char *tag, int expected_targets, int parts) {
    struct golden g;
    struct err err = {0};
    double sum, total = 0;
    uint64_t targets, all = 0;
    bool found = false;
    check_ok(golden_open(&g, ops, true, &err), &err);
    check_ok(model_plan(g.model, B, T, true, NULL, &err), &err);
    struct model_batch b = batch_of(&g, labels);
    model_zero_grads(g.model);
    for (int i = 0; i < parts; i++) {
        struct model_batch part = b;
        part.B = B / parts;
        part.tokens += i * part.B * T;
        part.labels += i * part.B * T;
        float scale = 1.0f / (float)expected_targets;
        check_ok(model_forward_backward(g.model, &part, scale, &sum, &targets, &err), &err);
        total += sum;
        all += targets;
    }
    assert_int_equal(all, expected_targets);
    assert_true(total > 0);
    compare_gradients(&g, tag, &found);
    assert_true(found);
    batch_free(&b);
    golden_close(&g);
}

static void every_gradient(void **state) {
    (void)state;
    gradients("input_ids", "full", 62, 1);
}

static void gradients_with_masked_labels(void **state) {
    (void)state;
    gradients("labels_masked", "masked", 48, 1);
}

static void two_micro_batches_add_up(void **state) {
    (void)state;
    gradients("input_ids", "full", 62, 2);
}

/* A token beyond the vocabulary would read behind the embedding. */
static void tokens_out_of_range_are_refused(void **state) {
    struct golden g;
    struct err err = {0};
    double sum;
    uint64_t targets;
    (void)state;
    check_ok(golden_open(&g, ops, false, &err), &err);
    check_ok(model_plan(g.model, B, T, false, NULL, &err), &err);
    struct model_batch b = batch_of(&g, "input_ids");
    int32_t *tokens = (int32_t *)b.tokens, *labels = (int32_t *)b.labels;
    int32_t keep = tokens[5];
    tokens[5] = 515;
    assert_int_equal(model_loss(g.model, &b, &sum, &targets, &err), ERR_DATA);
    tokens[5] = -1;
    assert_int_equal(model_loss(g.model, &b, &sum, &targets, &err), ERR_DATA);
    tokens[5] = keep;
    labels[3] = 515;
    assert_int_equal(model_loss(g.model, &b, &sum, &targets, &err), ERR_DATA);
    b.B = 3;
    assert_true(model_loss(g.model, &b, &sum, &targets, &err) < 0);
    batch_free(&b);
    golden_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_those_of_transformers),
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(left_padding_by_pos_and_start),
        cmocka_unit_test(every_gradient),
        cmocka_unit_test(gradients_with_masked_labels),
        cmocka_unit_test(two_micro_batches_add_up),
        cmocka_unit_test(tokens_out_of_range_are_refused),
    };
    ops = backend_ref();
    int failed = cmocka_run_group_tests_name("ref", tests, NULL, NULL);
    ops = backend_cpu();
    return failed + cmocka_run_group_tests_name("cpu", tests, NULL, NULL);
}
