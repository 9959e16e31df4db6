/* GPT-2s of odd kinds against transformers: logits, losses, the norm of every gradient, greedy ids,
 * on each backend. */
#include "golden_help.h"
#include "train/generate.h"

#define ODD GOLDEN "/odd-models"
enum { B = 2, T = 24, PROMPT = 5 };
static const char *const names[] = {"untied",   "scaled",     "upcast",
                                    "unscaled", "many-files", "old-names"};
static const struct backend *ops;

/* One of the models, with what is known of it; g->json is the whole golden.json. */
static const cJSON *open_odd(struct golden *g, const char *name) {
    struct model_config c;
    struct device_opts opts = {.dtype = DTYPE_F32, .threads = 2};
    struct err err = {0};
    char dir[256];
    *g = (struct golden){.ops = ops};
    snprintf(dir, sizeof dir, "%s/%s", ODD, name);
    check_ok(ops->open(&g->device, &opts, &err), &err);
    check_ok(model_config_load(&c, dir, &err), &err);
    check_ok(model_check_files(&c, dir, &err), &err);
    check_ok(model_new(&g->model, &c, ops, g->device, DTYPE_F32, true, &err), &err);
    check_ok(model_load(g->model, dir, &err), &err);
    check_ok(safetensors_open(&g->want, ODD "/golden.safetensors", &err), &err);
    check_ok(json_load(&g->json, ODD "/golden.json", &err), &err);
    return json_get(g->json, name);
}

static void *get(const struct golden *g, const char *name, const char *what, size_t *ret_n) {
    char key[128];
    snprintf(key, sizeof key, "%s.%s", name, what);
    return golden_get(g, key, ret_n);
}

static double norm(const struct golden *g, const struct param *p) {
    float *v = malloc(p->n * sizeof *v);
    double sum = 0;
    assert_non_null(v);
    g->ops->download(g->device, v, p->grad, p->n * sizeof *v);
    for (size_t i = 0; i < p->n; i++) sum += (double)v[i] * v[i];
    free(v);
    return sqrt(sum);
}

static void numbers_are_those_of_transformers(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        struct golden g;
        struct err err = {0};
        const cJSON *known = open_odd(&g, names[k]);
        /* transformers itself computed this one in float32 */
        double tolerance = strcmp(names[k], "upcast") ? 3e-6 : 2e-5, sum, want = 0;
        uint64_t targets;
        size_t n;
        int32_t *own = get(&g, names[k], "labels", NULL), *labels = shifted(own, B, T);
        struct model_batch b = {.B = B, .T = T, .labels = labels};
        int32_t *tokens = get(&g, names[k], "input_ids", NULL);
        b.tokens = tokens;
        float *logits = get(&g, names[k], "logits", &n), *got = malloc(n * sizeof *got);
        check_ok(model_plan(g.model, B, T, true, NULL, &err), &err);
        check_ok(model_logits(g.model, &b, got, &err), &err);
        double d = distance(got, logits, n);
        if (!(d < tolerance)) fail_msg("%s: logits differ by %g", names[k], d);
        model_zero_grads(g.model);
        check_ok(model_forward_backward(g.model, &b, 1.0f / 40, &sum, &targets, &err), &err);
        assert_int_equal(targets, 40); /* 23 and 17 */
        check_ok(json_f64(known, "loss", &want, "golden", &err), &err);
        if (!(fabs(sum / 40 - want) < tolerance * want))
            fail_msg("%s: loss %.9g, not %.9g", names[k], sum / 40, want);
        struct param *p;
        size_t n_params = model_params(g.model, &p);
        for (size_t i = 0; i < n_params; i++) {
            check_ok(json_f64(json_get(known, "grad_norms"), p[i].name, &want, "golden", &err),
                     &err);
            double have = norm(&g, &p[i]);
            if (!(fabs(have - want) < 10 * tolerance * want))
                fail_msg("%s: gradient of %s: norm %.9g, not %.9g", names[k], p[i].name, have,
                         want);
        }
        free(own);
        free(labels);
        free(tokens);
        free(logits);
        free(got);
        golden_close(&g);
    }
}

static void greedy_ids_are_those_of_transformers(void **state) {
    static const struct sampling greedy = {.greedy = true, .temperature = 1, .top_p = 1};
    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        struct golden g;
        struct generator *gen;
        struct err err = {0};
        struct u32s out = {0};
        uint32_t ids[T];
        int n = 0;
        const cJSON *x, *list = json_get(open_odd(&g, names[k]), "greedy");
        cJSON_ArrayForEach(x, list) ids[n++] = (uint32_t)x->valueint;
        assert_int_equal(n, T);
        check_ok(generator_new(&gen, g.model, 1, 0, &err), &err);
        check_ok(
            generate(gen, ids, PROMPT, T - PROMPT, -1, &greedy, NULL, NULL, NULL, &out, NULL, &err),
            &err);
        assert_int_equal(out.n, T - PROMPT);
        for (int i = 0; i < T - PROMPT; i++)
            if (out.v[i] != ids[PROMPT + i])
                fail_msg("%s: id %d is %u, not %u", names[k], i, out.v[i], ids[PROMPT + i]);
        u32s_release(&out);
        generator_free(gen);
        golden_close(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_are_those_of_transformers),
                                       cmocka_unit_test(greedy_ids_are_those_of_transformers)};
    ops = backend_ref();
    int failed = cmocka_run_group_tests_name("ref", tests, NULL, NULL);
    ops = backend_cpu();
    return failed + cmocka_run_group_tests_name("cpu", tests, NULL, NULL);
}
