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
    assert_ok(json_load(&o, GOLDEN "/trainer-run/golden.json", &err), err);
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
    struct schedule s = {
        .kind = SCHEDULE_WSD, .style = WARMUP_LLMC, .lr = 1, .warmup = 4, .steps = 100};
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cosine_as_trainer_logged_it),
        cmocka_unit_test(linear_and_constant),
        cmocka_unit_test(warmup_and_wsd_as_llmc),
        cmocka_unit_test(warmup_longer_than_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
