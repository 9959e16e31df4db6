/* The loss by windows that overlap, against one target at a time. */
#include "golden_help.h"
#include "base/rng.h"
#include "train/sliding.h"

enum { MOST = 131, V = 515 };

/* The loss of token j, predicted from its window's beginning on; false: it is no target. */
static bool one_target(struct model *m, const uint32_t *ids, int n, int T, int stride, int j,
                       double *ret) {
    int32_t tokens[MOST] = {0}, labels[MOST];
    uint64_t targets = 0;
    int b = 0;
    while (b + T <= j) b += stride; /* the first window that holds j */
    for (int t = 0; t < T; t++) {
        tokens[t] = b + t < n ? (int32_t)ids[b + t] : 0;
        labels[t] = b + t + 1 == j ? (int32_t)ids[j] : LABEL_IGNORED;
    }
    struct model_batch batch = {.B = 1, .T = T, .tokens = tokens, .labels = labels};
    struct err err = {0};
    if (b == j) return false;
    check_ok(model_loss(m, &batch, ret, &targets, &err), &err);
    assert_int_equal(targets, 1);
    return true;
}

static void every_target_once(void **state) {
    static const int lengths[] = {1, 2, 11, 12, 13, MOST}, strides[] = {1, 5, 11, 12};
    enum { T = 12 };
    uint32_t ids[MOST];
    struct golden g;
    struct err err = {0};
    struct rng rng = {.key = 5};
    (void)state;
    for (int i = 0; i < MOST; i++) ids[i] = (uint32_t)(rng_unit(&rng) * V);
    check_ok(golden_open(&g, backend_ref(), false, &err), &err);
    check_ok(model_plan(g.model, 4, T, false, NULL, &err), &err);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t k = 0; k < sizeof strides / sizeof *strides; k++) {
            struct sliding s = {.path = "ids", .n = (uint64_t)lengths[i], .T = T, .ids = ids};
            struct evaluate_opts o = {.B = 4};
            struct evaluate_result r = {0};
            double want = 0, loss;
            uint64_t targets = 0;
            s.stride = strides[k];
            for (int j = 0; j < lengths[i]; j++)
                if (one_target(g.model, ids, lengths[i], T, strides[k], j, &loss))
                    want += loss, targets++;
            check_ok(evaluate_sliding(g.model, &s, &o, &r, &err), &err);
            if (r.targets != targets || fabs(r.sum - want) > 1e-5 * want)
                fail_msg("%d tokens, stride %d: %g over %d, not %g over %d", lengths[i], strides[k],
                         r.sum, (int)r.targets, want, (int)targets);
            assert_int_equal(r.windows, sliding_windows(&s));
        }
    golden_close(&g);
}

static void an_id_out_of_range_is_placed(void **state) {
    uint32_t ids[20] = {0};
    struct golden g;
    struct err err = {0};
    struct sliding s = {.path = "some.bin", .n = 20, .T = 12, .stride = 5, .ids = ids};
    struct evaluate_opts o = {.B = 4};
    struct evaluate_result r = {0};
    (void)state;
    ids[17] = V;
    check_ok(golden_open(&g, backend_ref(), false, &err), &err);
    check_ok(model_plan(g.model, 4, 12, false, NULL, &err), &err);
    assert_int_equal(evaluate_sliding(g.model, &s, &o, &r, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "some.bin: token 17 has id 515"));
    golden_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_target_once),
        cmocka_unit_test(an_id_out_of_range_is_placed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
