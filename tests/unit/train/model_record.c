/* A micro-batch that is replayed gives the bits of one done operation by operation, whatever of it
 * is another: tokens, labels, positions, segments, dropout's samples, the scale, the weights. Runs
 * where op_device() records: under the emulator, and on a GPU. */
#include "golden_help.h"
#include "train/model_inside.h"
#include "train/optimizer.h"

const struct backend *op_device(void);

enum { B = 3, T = 9, V = 35, L = 2, C = 24, NH = 3, ROUNDS = 6 };

struct side {
    struct device *device;
    struct model *model;
    struct optimizer optimizer;
    struct param *p;
    size_t n;
};

static void open_side(struct side *s, enum dtype dtype, bool no_record, enum recompute again) {
    struct device_opts opts = {.dtype = dtype, .no_record = no_record};
    struct model_config c = model_config_gpt2;
    struct err err = {0};
    c.V = V, c.P = T + 3, c.L = L, c.C = C, c.NH = NH, c.inner = 40;
    c.init_range = 0.1f;
    c.embd_pdrop = c.attn_pdrop = c.resid_pdrop = 0.2f;
    check_ok(op_device()->open(&s->device, &opts, &err), &err);
    check_ok(model_new(&s->model, &c, op_device(), s->device, dtype, true, &err), &err);
    check_ok(model_init(s->model, 3, &err), &err);
    model_set_recompute(s->model, again);
    check_ok(model_plan(s->model, B, T, true, NULL, &err), &err);
    check_ok(optimizer_new(&s->optimizer, s->model, op_device(), s->device, &err), &err);
    s->n = model_params(s->model, &s->p);
}

static void close_side(struct side *s) {
    optimizer_free(&s->optimizer);
    model_free(s->model);
    op_device()->close(s->device);
}

/* One micro-batch that differs from those of other rounds, and a step with its gradients. */
static void one_round(struct side *s, int round, bool packed, int rows, struct step_scalars *ret) {
    int32_t tokens[B * T], labels[B * T], pos[B * T], start[B * T];
    struct err err = {0};
    uint64_t targets;
    int cut = 1 + round; /* where the second text of a row begins */
    for (int i = 0; i < B * T; i++) {
        tokens[i] = (i * 17 + round * 31 + i / 5) % V;
        labels[i] = (i + round) % 7 == 3 ? LABEL_IGNORED : (i * 5 + round) % V;
        start[i] = i % T < cut ? 0 : cut;
        pos[i] = i % T - start[i];
    }
    struct model_batch b = {.B = rows,
                            .T = T,
                            .tokens = tokens,
                            .labels = labels,
                            .pos = packed ? pos : NULL,
                            .start = packed ? start : NULL,
                            .dropout = true,
                            .dropout_key = 5,
                            .sample0 = 100 + 3 * (uint64_t)round};
    model_zero_grads(s->model);
    check_ok(model_forward_backward(s->model, &b, 0.5f / (float)(1 + round), NULL, &targets, &err),
             &err);
    *ret = (struct step_scalars){.lr = 1e-2f,
                                 .beta1 = 0.9f,
                                 .beta2 = 0.95f,
                                 .eps = 1e-8f,
                                 .grad_scale = 1,
                                 .targets = (double)targets,
                                 .step = (uint64_t)round + 1};
    check_ok(optimizer_step(&s->optimizer, ret, &err), &err);
    assert_int_equal(ret->skipped, 0);
}

static void assert_same(const struct side *a, const struct side *b, bool gradients, int round) {
    for (size_t i = 0; i < a->n; i++) {
        size_t n = a->p[i].n;
        float *x = mem_array(n, sizeof *x), *y = mem_array(n, sizeof *y);
        op_device()->download(a->device, x, gradients ? a->p[i].grad : a->p[i].master, n * 4);
        op_device()->download(b->device, y, gradients ? b->p[i].grad : b->p[i].master, n * 4);
        if (memcmp(x, y, n * 4)) fail_msg("round %d: %s differs", round, a->p[i].name);
        free(x);
        free(y);
    }
}

/* Makes the device move the memory that operations use beside their arguments. */
static void need_more_work(struct side *s) {
    enum { ROWS = 40, WORDS = 1000 };
    const struct backend *ops = op_device();
    void *x = NULL, *w = NULL, *loss = NULL, *labels = NULL;
    struct err err = {0};
    check_ok(ops->alloc(s->device, &x, ROWS * C * 4, &err), &err);
    check_ok(ops->alloc(s->device, &w, WORDS * C * 4, &err), &err);
    check_ok(ops->alloc(s->device, &loss, ROWS * 4, &err), &err);
    check_ok(ops->alloc(s->device, &labels, ROWS * 4, &err), &err);
    ops->classifier(s->device, loss, NULL, NULL, x, w, labels, ROWS, C, WORDS, NULL);
    check_ok(ops->sync(s->device, &err), &err);
    ops->free(s->device, x);
    ops->free(s->device, w);
    ops->free(s->device, loss);
    ops->free(s->device, labels);
}

static void compare(enum dtype dtype, bool packed, enum recompute again) {
    struct side plain, kept;
    open_side(&plain, dtype, true, again);
    open_side(&kept, dtype, false, again);
    const struct recording *first = NULL;
    for (int round = 0; round < ROUNDS; round++) {
        struct step_scalars a, b;
        if (round == 4) need_more_work(&kept);
        one_round(&plain, round, packed, B, &a);
        one_round(&kept, round, packed, B, &b);
        assert_same(&plain, &kept, true, round);
        assert_same(&plain, &kept, false, round);
        assert_true(a.loss_sum == b.loss_sum && a.loss_sum > 0 && a.grad_norm == b.grad_norm);
        const struct recording *now = kept.model->recordings[0].kept.made;
        assert_null(plain.model->recordings[0].kept.made);
        assert_true((now != NULL) == (round > 0)); /* a pass for preparations, then recorded */
        if (round == 1) first = now;
        if (round == 2 || round == 3) assert_ptr_equal(now, first);
    }
    close_side(&plain);
    close_side(&kept);
}

static void replayed_as_done(void **state) {
    (void)state;
    compare(DTYPE_BF16, false, RECOMPUTE_GELU);
    compare(DTYPE_F32, true, RECOMPUTE_BLOCK);
}

/* A step whose last micro-batch is shorter has two forms; a third is done without. */
static void forms_are_told_apart(void **state) {
    (void)state;
    struct side plain, kept;
    open_side(&plain, DTYPE_BF16, true, RECOMPUTE_NONE);
    open_side(&kept, DTYPE_BF16, false, RECOMPUTE_NONE);
    for (int round = 0; round < 3; round++) {
        struct step_scalars a, b;
        for (int rows = 1; rows <= 3; rows++) {
            one_round(&plain, round, rows == 2, rows, &a);
            one_round(&kept, round, rows == 2, rows, &b);
            assert_same(&plain, &kept, true, round);
            assert_true(a.loss_sum == b.loss_sum);
        }
    }
    assert_int_equal(kept.model->recordings[0].form.B, 1);
    assert_int_equal(kept.model->recordings[1].form.B, 2);
    close_side(&plain);
    close_side(&kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(replayed_as_done),
                                       cmocka_unit_test(forms_are_told_apart)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
