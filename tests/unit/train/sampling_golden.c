/* Sampling against transformers' logits processors, and the edges they have. */
#include "golden_help.h"
#include "train/generate.h"

enum { V = 515 };
static double work[2 * V];
static const struct sampling plain = {.temperature = 1, .top_p = 1};

static void probabilities_are_those_of_transformers(void **state) {
    static const struct {
        const char *name;
        struct sampling s;
        float penalty;
    } cases[] = {
        {"temperature_0.4", {.temperature = 0.4f, .top_p = 1}, 0},
        {"top_k_50", {.temperature = 1, .top_k = 50, .top_p = 1}, 0},
        {"top_p_0.95", {.temperature = 1, .top_p = 0.95f}, 0},
        {"min_p_0.05", {.temperature = 1, .top_p = 1, .min_p = 0.05f}, 0},
        {"repetition_1.3", {.temperature = 1, .top_p = 1}, 1.3f},
        {"all", {.temperature = 0.4f, .top_k = 50, .top_p = 0.95f}, 1.3f},
    };
    struct golden g;
    struct err err = {0};
    (void)state;
    check_ok(golden_open(&g, backend_ref(), false, &err), &err);
    int32_t *ids = golden_get(&g, "input_ids", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[64];
        float probs[V], *logits = golden_get(&g, "warp.logits", NULL);
        snprintf(name, sizeof name, "warp.%s", cases[i].name);
        float *want = golden_get(&g, name, NULL);
        struct sampling_rules rules = {.repetition_penalty = cases[i].penalty};
        assert_true(sampling_obey(&rules, logits, V, (uint32_t *)ids + 32, 32, 32, probs));
        sampling_warp(&cases[i].s, logits, V, probs, work);
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
    sampling_warp(&s, logits, 4, probs, work);
    assert_int_equal(sampling_draw(probs, 4, 0.999), 2);
    sampling_warp(&s, equal, 3, probs, work);
    assert_int_equal(sampling_draw(probs, 3, 0), 1);
}

/* transformers keeps what equals the k-th; top-p keeps one id even if p is 0. */
static void ties_and_extremes(void **state) {
    struct sampling s = plain;
    float a[5] = {1, 3, 3, 2, 3}, b[3] = {1, 2, 3}, probs[5];
    (void)state;
    s.top_k = 2;
    sampling_warp(&s, a, 5, probs, work);
    assert_true(probs[1] > 0.33f && probs[2] > 0.33f && probs[4] > 0.33f && probs[3] == 0);
    s.top_k = 0;
    s.top_p = 0;
    sampling_warp(&s, b, 3, probs, work);
    assert_true(probs[2] == 1 && probs[1] == 0 && probs[0] == 0);
}

static int by_logit(const void *a, const void *b, void *z) {
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    float x = ((const float *)z)[i], y = ((const float *)z)[j];
    return x != y ? (x > y) - (x < y) : (i > j) - (i < j);
}

/* As the processor is written: all of them sorted, the least removed while together at most 1 - p.
 */
static void top_p_sorted(float p, float *z, int n, bool *ret_gone) {
    uint32_t order[V];
    double sum = 0, below = 0;
    for (int i = 0; i < n; i++) sum += exp(z[i] - 3);
    for (int i = 0; i < n; i++) order[i] = (uint32_t)i;
    qsort_r(order, (size_t)n, sizeof *order, by_logit, z);
    for (int k = 0; k < n; k++) {
        below += exp(z[order[k]] - 3) / sum;
        ret_gone[order[k]] = k + 1 < n && below <= 1 - (double)p;
    }
}

/* Spread out, with many equals, all equal, one nearly certain, most of them impossible. */
static void top_p_without_sorting(void **state) {
    static const float ps[] = {0, 0.1f, 0.37f, 0.5f, 0.8f, 0.95f, 0.999f};
    static const int sizes[] = {1, 2, 3, 17, 100, V};
    struct rng rng = {.key = 3};
    (void)state;
    for (int round = 0; round < 40; round++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            for (size_t i = 0; i < sizeof ps / sizeof *ps; i++) {
                struct sampling s = plain;
                float z[V], probs[V];
                bool gone[V];
                int n = sizes[k], kind = round % 5;
                for (int v = 0; v < n; v++) {
                    float x = (float)(3 * rng_normal(&rng));
                    z[v] = kind == 1 ? floorf(x) : kind == 2 ? 1.25f : x;
                    if (kind == 3 && v == n / 2) z[v] = 40;
                    if (kind == 4 && v % 7 != 1 && v) z[v] = -INFINITY;
                }
                s.top_p = ps[i];
                top_p_sorted(ps[i], z, n, gone);
                sampling_warp(&s, z, n, probs, work);
                for (int v = 0; v < n; v++)
                    if (gone[v] != (probs[v] == 0))
                        fail_msg("round %d, %d of them, p %g: id %d has %g", round, n, ps[i], v,
                                 probs[v]);
            }
}

/* Of 100,000 draws each id must come as often as its probability says (4 standard deviations). */
static void draws_follow_the_probabilities(void **state) {
    const float probs[5] = {0.5f, 0, 0.25f, 0.2f, 0.05f};
    int count[5] = {0};
    struct rng rng = {.key = 7};
    (void)state;
    for (int i = 0; i < 100000; i++) count[sampling_draw(probs, 5, rng_unit(&rng))]++;
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
        cmocka_unit_test(top_p_without_sorting),
        cmocka_unit_test(draws_follow_the_probabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
