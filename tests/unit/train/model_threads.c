/* Whole steps of models with odd shapes, on every instruction set this processor has: the same bits
 * for any number of threads, and gradients near the reference's. */
#include "golden_help.h"
#include "train/cpu/cpu.h"
#include "train/optimizer.h"

struct shape {
    int B, T, V, L, C, NH, inner;
};
static const struct shape shapes[] = {
    {2, 13, 67, 2, 35, 5, 91}, {1, 101, 300, 1, 66, 3, 130}, {3, 50, 1031, 2, 40, 1, 77}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

struct run {
    const struct backend *ops;
    struct device *device;
    struct model *model;
    struct param *p;
    size_t n;
    double loss;
};

/* `steps` steps of AdamW, or with 0 one pass that leaves its gradients. */
static void run_open(struct run *r, const struct backend *ops, enum dtype dtype, int threads,
                     const struct shape *s, int steps) {
    struct model_config c = model_config_gpt2;
    struct device_opts opts = {.dtype = dtype, .threads = threads};
    struct optimizer o;
    struct err err = {0};
    uint64_t targets;
    c.V = s->V, c.P = s->T, c.L = s->L, c.C = s->C, c.NH = s->NH, c.inner = s->inner;
    c.init_range = 0.1f;
    c.embd_pdrop = c.attn_pdrop = c.resid_pdrop = 0.1f;
    r->ops = ops;
    check_ok(ops->open(&r->device, &opts, &err), &err);
    check_ok(model_new(&r->model, &c, ops, r->device, dtype, true, &err), &err);
    check_ok(model_init(r->model, 3, &err), &err);
    check_ok(model_plan(r->model, s->B, s->T, true, NULL, &err), &err);
    check_ok(optimizer_new(&o, r->model, ops, r->device, &err), &err);
    int32_t *tokens = malloc((size_t)(s->B * s->T) * sizeof *tokens);
    assert_non_null(tokens);
    struct model_batch b = {
        .B = s->B, .T = s->T, .tokens = tokens, .labels = tokens, .dropout = true};
    for (int k = 0; k < (steps ? steps : 1); k++) {
        for (int i = 0; i < s->B * s->T; i++) tokens[i] = (i * i + 7 * k) % s->V;
        struct step_scalars v = {.lr = 1e-2f,
                                 .beta1 = 0.9f,
                                 .beta2 = 0.95f,
                                 .eps = 1e-8f,
                                 .weight_decay = 0.1f,
                                 .clip = 1,
                                 .grad_scale = 1,
                                 .step = (uint64_t)k + 1};
        b.sample0 = (uint64_t)(k * s->B);
        model_zero_grads(r->model);
        check_ok(model_forward_backward(r->model, &b, 1.0f / (float)(s->B * s->T), &r->loss,
                                        &targets, &err),
                 &err);
        if (steps) check_ok(optimizer_step(&o, &v, &err), &err);
    }
    r->n = model_params(r->model, &r->p);
    optimizer_free(&o);
    free(tokens);
}

static void run_close(struct run *r) {
    model_free(r->model);
    r->ops->close(r->device);
}

static void any_number_of_threads_gives_the_same_bits(void **state) {
    static const int counts[] = {2, 3, 5};
    (void)state;
    for (int isa = 0; isa < CPU_ISAS; isa++)
        for (int s = 0; cpu_backend(isa) && s < SHAPES; s++)
            for (int bf16 = 0; bf16 < 2; bf16++) {
                enum dtype dtype = bf16 ? DTYPE_BF16 : DTYPE_F32;
                struct run one, many;
                run_open(&one, cpu_backend(isa), dtype, 1, &shapes[s], 2);
                for (size_t t = 0; t < sizeof counts / sizeof *counts; t++) {
                    run_open(&many, cpu_backend(isa), dtype, counts[t], &shapes[s], 2);
                    assert_true(one.loss == many.loss);
                    for (size_t i = 0; i < one.n; i++)
                        if (memcmp(one.p[i].master, many.p[i].master, one.p[i].n * sizeof(float)))
                            fail_msg("%s, %s, shape %d, %d threads: %s differs", cpu_isa_name(isa),
                                     bf16 ? "bf16" : "fp32", s, counts[t], one.p[i].name);
                    run_close(&many);
                }
                run_close(&one);
            }
}

static void gradients_are_the_references(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        struct run want, got;
        run_open(&want, backend_ref(), DTYPE_F32, 1, &shapes[s], 0);
        for (int isa = 0; isa < CPU_ISAS; isa++) {
            if (!cpu_backend(isa)) continue;
            run_open(&got, cpu_backend(isa), DTYPE_F32, 2, &shapes[s], 0);
            assert_true(fabs(got.loss - want.loss) < 1e-5 * want.loss);
            for (size_t i = 0; i < want.n; i++) {
                size_t third = path_ends(want.p[i].name, "c_attn.bias") ? want.p[i].n / 3 : 0;
                memset(want.p[i].grad + third, 0, third * sizeof(float)); /* of keys: 0 but noise */
                memset(got.p[i].grad + third, 0, third * sizeof(float));
                double d = distance(got.p[i].grad, want.p[i].grad, want.p[i].n);
                if (!(d < 2e-5))
                    fail_msg("%s, shape %d: %s differs by %g", cpu_isa_name(isa), s, want.p[i].name,
                             d);
            }
            run_close(&got);
        }
        run_close(&want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(gradients_are_the_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
