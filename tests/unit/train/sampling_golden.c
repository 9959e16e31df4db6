/* Sampling against transformers' logits processors, and the edges they have. */
#include "golden_help.h"
#include "train/generate.h"

enum { V = 515 };
static const struct sampling plain = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};

static void probabilities_are_those_of_transformers(void **state) {
    static const struct {
        const char *name;
        struct sampling s;
    } cases[] = {
        {"temperature_0.4", {.temperature = 0.4f, .top_p = 1, .repetition_penalty = 1}},
        {"top_k_50", {.temperature = 1, .top_k = 50, .top_p = 1, .repetition_penalty = 1}},
        {"top_p_0.95", {.temperature = 1, .top_p = 0.95f, .repetition_penalty = 1}},
        {"min_p_0.05", {.temperature = 1, .top_p = 1, .min_p = 0.05f, .repetition_penalty = 1}},
        {"repetition_1.3", {.temperature = 1, .top_p = 1, .repetition_penalty = 1.3f}},
        {"all", {.temperature = 0.4f, .top_k = 50, .top_p = 0.95f, .repetition_penalty = 1.3f}},
    };
    struct golden g;
    struct err err = {0};
    (void)state;
    assert_ok(golden_open(&g, backend_ref(), false, &err), err);
    int32_t *ids = golden_get(&g, "input_ids", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[64];
        float probs[V], *logits = golden_get(&g, "warp.logits", NULL);
        snprintf(name, sizeof name, "warp.%s", cases[i].name);
        float *want = golden_get(&g, name, NULL);
        sampling_warp(&cases[i].s, logits, V, (uint32_t *)ids + 32, 32, probs);
        for (int v = 0; v < V; v++) {
            if ((probs[v] == 0) != (want[v] == 0))
                fail_msg("%s: id %d has %g, not %g", name, v, probs[v], want[v]);
            if (fabsf(probs[v] - want[v]) > 2e-6f)
                fail_msg("%s: id %d has %.9g, not %.9g", name, v, probs[v], want[v]);
        }
        free(logits);
        free(want);
    }
    free(ids);
    golden_close(&g);
}

/* Two logits one step apart give the same probability in fp32; greedy must still see the larger. */
static void greedy_takes_the_largest_logit(void **state) {
    struct sampling s = plain;
    float logits[4] = {1, 2, nextafterf(2, 3), 0}, equal[3] = {5, 7, 7}, probs[4];
    (void)state;
    s.greedy = true;
    sampling_warp(&s, logits, 4, NULL, 0, probs);
    assert_int_equal(sampling_draw(&s, probs, 4, NULL), 2);
    sampling_warp(&s, equal, 3, NULL, 0, probs);
    assert_int_equal(sampling_draw(&s, probs, 3, NULL), 1);
}

/* transformers keeps what equals the k-th; top-p keeps one id even if p is 0. */
static void ties_and_extremes(void **state) {
    struct sampling s = plain;
    float a[5] = {1, 3, 3, 2, 3}, b[3] = {1, 2, 3}, probs[5];
    (void)state;
    s.top_k = 2;
    sampling_warp(&s, a, 5, NULL, 0, probs);
    assert_true(probs[1] > 0.33f && probs[2] > 0.33f && probs[4] > 0.33f && probs[3] == 0);
    s.top_k = 0;
    s.top_p = 0;
    sampling_warp(&s, b, 3, NULL, 0, probs);
    assert_true(probs[2] == 1 && probs[1] == 0 && probs[0] == 0);
}

/* Of 100,000 draws each id must come as often as its probability says (4 standard deviations). */
static void draws_follow_the_probabilities(void **state) {
    const float probs[5] = {0.5f, 0, 0.25f, 0.2f, 0.05f};
    int count[5] = {0};
    struct rng rng = {.key = 7};
    (void)state;
    for (int i = 0; i < 100000; i++) count[sampling_draw(&plain, probs, 5, &rng)]++;
    for (int v = 0; v < 5; v++) {
        double mean = 100000.0 * (double)probs[v], sd = sqrt(mean * (1 - (double)probs[v]));
        if (fabs(count[v] - mean) > 4 * sd) fail_msg("id %d came %d times", v, count[v]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probabilities_are_those_of_transformers),
        cmocka_unit_test(greedy_takes_the_largest_logit),
        cmocka_unit_test(ties_and_extremes),
        cmocka_unit_test(draws_follow_the_probabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
