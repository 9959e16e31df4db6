/* Learning rates: the very numbers that transformers logs, and llm.c's formulas. */
#include "run_help.h"
#include "base/json.h"
#include "train/schedule.h"

static void cosine_as_trainer_logged_it(void **state) {
    struct schedule s = {
        .kind = SCHEDULE_COSINE, .style = WARMUP_HF, .lr = 2e-3, .warmup = 3, .steps = 12};
    struct err err = {0};
    cJSON *o;
    uint64_t i = 0;
    (void)state;
    check_ok(json_load(&o, GOLDEN "/trainer-run/golden.json", &err), &err);
    const cJSON *rate;
    cJSON_ArrayForEach(rate, json_get(o, "learning_rate")) {
        double got = schedule_lr(&s, i++);
        if (fabs(got - rate->valuedouble) > 1e-18)
            fail_msg("step %" PRIu64 ": %.17g, not %.17g", i, got, rate->valuedouble);
    }
    assert_int_equal(i, 12);
    cJSON_Delete(o);
}

static void assert_lr(const struct schedule *s, uint64_t step, double want) {
    double got = schedule_lr(s, step);
    if (fabs(got - want) > 1e-15) fail_msg("update %" PRIu64 ": %.17g, not %.17g", step, got, want);
}

static void linear_and_constant(void **state) {
    struct schedule s = {.kind = SCHEDULE_LINEAR, .lr = 1, .warmup = 4, .steps = 10};
    (void)state;
    assert_lr(&s, 0, 0);
    assert_lr(&s, 3, 0.75);
    assert_lr(&s, 4, 1);
    assert_lr(&s, 7, 0.5);
    assert_lr(&s, 10, 0);
    assert_lr(&s, 99, 0);
    s.min_lr = 0.2;
    assert_lr(&s, 7, 0.6); /* f (1 - r) + r, as cosine_with_min_lr */
    assert_lr(&s, 99, 0.2);
    s.kind = SCHEDULE_CONSTANT;
    assert_lr(&s, 2, 0.5);
    assert_lr(&s, 99, 1);
}

/* llm.c: warmup lr * (step + 1) / W; wsd: the last fifth falls by 1 - sqrt(x). */
static void warmup_and_wsd_as_llmc(void **state) {
    struct schedule s = {.kind = SCHEDULE_WSD,
                         .style = WARMUP_LLMC,
                         .lr = 1,
                         .warmup = 4,
                         .steps = 100,
                         .shape = DECAY_SQRT};
    (void)state;
    assert_lr(&s, 0, 0.25);
    assert_lr(&s, 3, 1);
    assert_lr(&s, 80, 1);
    assert_lr(&s, 85, 0.5);
    assert_lr(&s, 100, 0);
}

static void warmup_longer_than_the_run(void **state) {
    struct schedule s = {.kind = SCHEDULE_COSINE, .lr = 1, .warmup = 100, .steps = 10};
    (void)state;
    assert_lr(&s, 9, 0.09);
    assert_lr(&s, 200, 0);
    s.warmup = 0;
    assert_lr(&s, 0, 1);
    assert_lr(&s, 5, 0.5);
}

/* What get_scheduler() of transformers 5.24 gives update by update, lr 1e-3. */
static void every_schedule_as_transformers(void **state) {
    enum { MOST = 16 };
    static const struct {
        struct schedule s;
        int n;
        double want[MOST];
    } cases[] = {
        {{.kind = SCHEDULE_RESTARTS, .warmup = 3, .steps = 15, .cycles = 3},
         16,
         {0.0, 0.0003333333333333333, 0.0006666666666666666, 0.001, 0.0008535533905932737, 0.0005,
          0.00014644660940672628, 0.001, 0.0008535533905932737, 0.0005, 0.00014644660940672628,
          0.001, 0.0008535533905932737, 0.0005, 0.00014644660940672628, 0.0}},
        {{.kind = SCHEDULE_POLYNOMIAL, .min_lr = 1e-5, .warmup = 3, .steps = 12, .power = 2},
         13,
         {0.0, 0.0003333333333333333, 0.0006666666666666666, 0.001, 0.0007922222222222222,
          0.000608888888888889, 0.0004500000000000001, 0.00031555555555555563,
          0.00020555555555555553, 0.00012000000000000002, 5.888888888888888e-05,
          2.2222222222222237e-05, 1e-05}},
        {{.kind = SCHEDULE_INVERSE_SQRT, .warmup = 3, .steps = 12},
         12,
         {0.0, 0.0003333333333333333, 0.0006666666666666666, 0.001, 0.0008660254037844387,
          0.0007745966692414834, 0.0007071067811865475, 0.000654653670707977, 0.0006123724356957945,
          0.0005773502691896259, 0.0005477225575051661, 0.0005222329678670935}},
        {{.kind = SCHEDULE_INVERSE_SQRT, .steps = 12},
         3,
         {0.001, 0.0009999500037496877, 0.0009999000149975006}},
        {{.kind = SCHEDULE_COSINE, .min_lr = 1e-4, .warmup = 3, .steps = 12},
         13,
         {0.0, 0.0003333333333333333, 0.0006666666666666666, 0.001, 0.0009728616793536587,
          0.00089471999940354, 0.0007750000000000001, 0.0006281416799501187, 0.00047185832004988137,
          0.00032500000000000015, 0.00020528000059645996, 0.00012713832064634127, 0.0001}},
        {{.kind = SCHEDULE_COSINE_WARMUP_MIN_LR, .min_lr = 1e-4, .warmup = 3, .steps = 12},
         12,
         {0.0003333333333333333, 0.0006666666666666666, 0.001, 0.0009728616793536587,
          0.00089471999940354, 0.0007750000000000001, 0.0006281416799501187, 0.00047185832004988137,
          0.00032500000000000015, 0.00020528000059645996, 0.00012713832064634127, 0.0001}},
        {{.kind = SCHEDULE_WARMUP_STABLE_DECAY,
          .min_lr = 1e-4,
          .warmup = 3,
          .steps = 12,
          .decay_steps = 4,
          .shape = DECAY_COSINE},
         13,
         {0.0001, 0.0004, 0.0007, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.0008681980515339464,
          0.00055, 0.00023180194846605365, 0.0001}},
        {{.kind = SCHEDULE_WARMUP_STABLE_DECAY,
          .warmup = 3,
          .steps = 12,
          .decay_steps = 4,
          .shape = DECAY_SQRT},
         13,
         {0.0, 0.0003333333333333333, 0.0006666666666666666, 0.001, 0.001, 0.001, 0.001, 0.001,
          0.001, 0.0005, 0.00029289321881345245, 0.0001339745962155614, 0.0}},
        {{.kind = SCHEDULE_WARMUP_STABLE_DECAY,
          .warmup = 3,
          .steps = 12,
          .decay_steps = 4,
          .shape = DECAY_LINEAR},
         13,
         {0.0, 0.0003333333333333333, 0.0006666666666666666, 0.001, 0.001, 0.001, 0.001, 0.001,
          0.001, 0.00075, 0.0005, 0.00025, 0.0}},
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct schedule s = cases[c].s;
        s.lr = 1e-3;
        for (int i = 0; i < cases[c].n; i++) {
            double got = schedule_lr(&s, (uint64_t)i), want = cases[c].want[i];
            if (fabs(got - want) > 1e-18)
                fail_msg("%s (case %zu), update %d: %.17g, not %.17g", schedule_names[s.kind], c, i,
                         got, want);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cosine_as_trainer_logged_it),
        cmocka_unit_test(linear_and_constant),
        cmocka_unit_test(warmup_and_wsd_as_llmc),
        cmocka_unit_test(warmup_longer_than_the_run),
        cmocka_unit_test(every_schedule_as_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
