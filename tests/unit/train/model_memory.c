/* What a device is said to need before anything is allocated is what training then takes: under the
 * emulator, whose memory can be counted and made small. */
#include <inttypes.h>
#include "golden_help.h"
#include "train/optimizer.h"

const struct backend *op_device(void);

enum { V = 130, L = 2, C = 32, NH = 2, T = 24 };

static struct model_config small(void) {
    struct model_config c = model_config_gpt2;
    c.V = V, c.P = T, c.L = L, c.C = C, c.NH = NH, c.inner = 4 * C;
    return c;
}

static uint64_t free_now(void) {
    uint64_t left = 0;
    struct err err = {0};
    check_ok(op_device()->memory(0, &left, &err), &err);
    return left;
}

/* A model of B rows on an open device, and two steps of it. ERR_NOMEM if it does not fit. */
static int train(struct device *d, enum dtype dtype, int B, uint64_t *ret_left) {
    struct model_config c = small();
    struct model *m = NULL;
    struct optimizer o = {0};
    struct err err = {0};
    int32_t *tokens = mem_array((size_t)B * T, sizeof *tokens); /* all 0 */
    int rc = model_new(&m, &c, op_device(), d, dtype, true, &err);
    if (rc == 0) rc = optimizer_new(&o, m, op_device(), d, &err);
    if (rc == 0) rc = model_plan(m, B, T, true, NULL, &err);
    uint64_t planned = rc == 0 ? free_now() : 0, targets;
    for (int step = 0; rc == 0 && step < 2; step++) {
        struct model_batch b = {.B = B, .T = T, .tokens = tokens, .labels = tokens};
        struct step_scalars s = {.grad_scale = 1, .step = 1};
        rc = model_forward_backward(m, &b, 1, NULL, &targets, &err);
        if (rc == 0) rc = optimizer_step(&o, &s, &err);
        if (rc == 0 && step == 0) *ret_left = free_now();
    }
    /* nothing but the optimizer's list of chunks is wanted after the plan */
    if (rc == 0 && planned - *ret_left > 64 * 1024)
        fail_msg("%" PRIu64 " more", planned - *ret_left);
    if (rc == 0) assert_int_equal(free_now(), *ret_left);
    if (rc < 0) assert_non_null(strstr(err.msg, "GPU memory"));
    if (o.backend) optimizer_free(&o);
    model_free(m);
    free(tokens);
    return rc;
}

/* Of several sizes and both types: at most what was said, and not much less. */
static void it_takes_what_was_said(void **state) {
    (void)state;
    const uint64_t driver = (1u << 30) / 128; /* the part of it that no program can count */
    for (int B = 1; B <= 4; B += 3)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            struct device_opts opts = {.dtype = bf16 ? DTYPE_BF16 : DTYPE_F32};
            struct model_config c = small();
            struct device *d;
            struct model_memory said;
            struct err err = {0};
            uint64_t left = 0;
            check_ok(op_device()->open(&d, &opts, &err), &err);
            uint64_t before = free_now();
            check_ok(
                model_memory(&said, &c, op_device(), d, opts.dtype, B, T, RECOMPUTE_NONE, &err),
                &err);
            assert_int_equal(free_now(), before); /* saying takes nothing */
            assert_int_equal(train(d, opts.dtype, B, &left), 0);
            uint64_t taken = before - left;
            if (taken > said.total - driver || taken < (said.total - driver) / 10 * 9)
                fail_msg("B %d: %" PRIu64 " bytes taken, %" PRIu64 " said", B, taken,
                         said.total - driver);
            op_device()->close(d);
        }
}

/* The largest batch trains in a device that has just so much left, and a much larger one is refused
 * with what is missing. */
static void the_largest_batch_fits(void **state) {
    (void)state;
    const uint64_t room = 10u << 20;
    struct device_opts opts = {.dtype = DTYPE_BF16};
    struct model_config c = small();
    struct device *d;
    struct err err = {0};
    struct model_memory at, beyond;
    void *taken = NULL;
    uint64_t left = 0;
    int B = 0;
    check_ok(op_device()->open(&d, &opts, &err), &err);
    check_ok(op_device()->alloc(d, &taken, free_now() - room, &err), &err);
    uint64_t there = free_now();
    check_ok(
        model_largest_batch(&B, &c, op_device(), d, opts.dtype, T, RECOMPUTE_NONE, there, &err),
        &err);
    check_ok(model_memory(&at, &c, op_device(), d, opts.dtype, B, T, RECOMPUTE_NONE, &err), &err);
    check_ok(model_memory(&beyond, &c, op_device(), d, opts.dtype, B + 1, T, RECOMPUTE_NONE, &err),
             &err);
    assert_true(at.total <= there && there < beyond.total);
    assert_int_equal(train(d, opts.dtype, B, &left), 0);
    int much = 8 * B;
    assert_int_equal(train(d, opts.dtype, much, &left), ERR_NOMEM);
    op_device()->free(d, taken);
    op_device()->close(d);
    int none = 1;
    check_ok(model_largest_batch(&none, &c, op_device(), NULL, opts.dtype, T, RECOMPUTE_NONE, 1000,
                                 &err),
             &err);
    assert_int_equal(none, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_takes_what_was_said),
                                       cmocka_unit_test(the_largest_batch_fits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
