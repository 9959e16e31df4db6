/* The model beyond the golden numbers: gradients against differences of the loss, with dropout,
 * packing, an output matrix of its own and the other switches of a configuration; first values;
 * bf16. */
#include "golden_help.h"
#include "train/cpu/cpu.h"
#include "train/model_inside.h"

enum { B = 2, T = 12, V = 37 };

static struct model_config small(void) {
    struct model_config c = model_config_gpt2;
    c.V = V;
    c.P = 16;
    c.L = 3;
    c.C = 24;
    c.NH = 3;
    c.inner = 40;
    c.init_range = 0.2f;
    c.embd_pdrop = c.attn_pdrop = c.resid_pdrop = 0;
    return c;
}

struct fixture {
    const struct backend *ops;
    struct device *device;
    struct model *model;
    int32_t tokens[B * T], labels[B * T], pos[B * T], start[B * T];
    struct model_batch batch;
};

static void open_fixture(struct fixture *f, const struct model_config *c, const struct backend *ops,
                         enum dtype dtype, bool packed) {
    struct device_opts opts = {.dtype = dtype, .threads = 2};
    struct err err = {0};
    f->ops = ops;
    check_ok(ops->open(&f->device, &opts, &err), &err);
    check_ok(model_new(&f->model, c, ops, f->device, dtype, true, &err), &err);
    check_ok(model_init(f->model, 11, &err), &err);
    check_ok(model_plan(f->model, B, T, true, NULL, &err), &err);
    for (int i = 0; i < B * T; i++) {
        f->tokens[i] = (i * 17 + i / 5) % V;
        f->labels[i] = i % 7 == 3 ? LABEL_IGNORED : (i * 5 + 2) % V;
        f->start[i] = i % T < 5 ? 0 : 5; /* two texts in a row */
        f->pos[i] = i % T - f->start[i];
    }
    f->batch = (struct model_batch){.B = B,
                                    .T = T,
                                    .tokens = f->tokens,
                                    .labels = f->labels,
                                    .pos = packed ? f->pos : NULL,
                                    .start = packed ? f->start : NULL,
                                    .dropout = true,
                                    .dropout_key = 5,
                                    .sample0 = 3};
}

static void close_fixture(struct fixture *f) {
    model_free(f->model);
    f->ops->close(f->device);
}

static double loss_at(struct fixture *f) {
    struct err err = {0};
    double sum;
    uint64_t targets;
    check_ok(model_loss(f->model, &f->batch, &sum, &targets, &err), &err);
    return sum;
}

/* A direction in the space of one tensor: signs from a hash of the place. */
static float direction(size_t i, size_t k) {
    return (i * 2654435761u + k * 40503u) >> 7 & 1 ? 1.0f : -1.0f;
}

/* For each tensor: the slope of the loss along a direction, by central differences (Richardson's
 * of two steps), against gradient times direction. */
static void check_slopes(const struct model_config *c, bool packed, double tolerance) {
    struct fixture f;
    struct err err = {0};
    struct param *p;
    double sum;
    uint64_t targets;
    open_fixture(&f, c, backend_ref(), DTYPE_F32, packed);
    check_ok(model_forward_backward(f.model, &f.batch, 1, &sum, &targets, &err), &err);
    assert_true(fabs(sum - loss_at(&f)) < 1e-6);
    size_t n_params = model_params(f.model, &p);
    for (size_t i = 0; i < n_params; i++) {
        double slope = 0, at[4];
        static const float steps[4] = {4e-3f, -4e-3f, 8e-3f, -8e-3f};
        float *keep = malloc(p[i].n * sizeof *keep);
        memcpy(keep, p[i].master, p[i].n * sizeof *keep);
        float unit = 1 / sqrtf((float)p[i].n);
        for (size_t k = 0; k < p[i].n; k++)
            slope += (double)p[i].grad[k] * (double)(direction(i, k) * unit);
        for (int s = 0; s < 4; s++) {
            for (size_t k = 0; k < p[i].n; k++)
                p[i].master[k] = keep[k] + steps[s] * direction(i, k) * unit;
            at[s] = loss_at(&f);
        }
        memcpy(p[i].master, keep, p[i].n * sizeof *keep);
        free(keep);
        double d1 = (at[0] - at[1]) / 8e-3, d2 = (at[2] - at[3]) / 16e-3, d = (4 * d1 - d2) / 3;
        if (fabs(d - slope) > tolerance * (1 + fabs(slope)))
            fail_msg("%s: slope %.8g, gradient says %.8g", p[i].name, d, slope);
    }
    close_fixture(&f);
}

static void slopes_plain(void **state) {
    struct model_config c = small();
    (void)state;
    check_slopes(&c, false, 2e-3);
}

/* The masks are functions of the place, so the loss is as smooth with them as without. */
static void slopes_with_dropout(void **state) {
    struct model_config c = small();
    (void)state;
    c.embd_pdrop = 0.3f;
    c.attn_pdrop = 0.2f;
    c.resid_pdrop = 0.4f;
    check_slopes(&c, false, 2e-3);
}

static void slopes_packed_untied_scaled_by_layer(void **state) {
    struct model_config c = small();
    (void)state;
    c.tied = false;
    c.scale_by_layer = true;
    c.act = ACT_GELU_ERF;
    c.attn_pdrop = 0.2f;
    check_slopes(&c, true, 2e-3);
}

/* scale_attn_by_inverse_layer_idx is q / (layer + 1), scale_attn_weights = false is q * sqrt(HS):
 * the same loss as from queries that were made so much larger or smaller. */
static void attention_is_scaled_as_configured(void **state) {
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct model_config c = small();
        struct fixture f, g;
        struct param *p;
        open_fixture(&f, &c, backend_ref(), DTYPE_F32, false);
        c.scale_by_layer = which == 0;
        c.scale_attn = which == 0;
        open_fixture(&g, &c, backend_ref(), DTYPE_F32, false);
        size_t n = model_params(f.model, &p);
        for (size_t i = 0; i < n; i++) {
            int layer;
            char rest[64];
            if (sscanf(p[i].name, "transformer.h.%d.%63s", &layer, rest) != 2) continue;
            if (strncmp(rest, "attn.c_attn", 11) != 0) continue;
            float factor = which == 0 ? 1.0f / (float)(layer + 1) : sqrtf(24 / 3);
            size_t width = (size_t)p[i].dims[p[i].n_dims - 1];
            for (size_t k = 0; k < p[i].n; k++) /* of q, k, v the first third */
                if (k % width < width / 3) p[i].master[k] *= factor;
        }
        assert_true(fabs(loss_at(&f) - loss_at(&g)) < 1e-5);
        close_fixture(&f);
        close_fixture(&g);
    }
}

/* Rows of one batch, or two batches of one row: masks go by the sample's number, not by the
 * batch. */
static void dropout_does_not_depend_on_the_batch(void **state) {
    struct model_config c = small();
    struct fixture f;
    struct err err = {0};
    double whole, part, sum = 0;
    uint64_t targets;
    (void)state;
    c.embd_pdrop = c.attn_pdrop = c.resid_pdrop = 0.3f;
    open_fixture(&f, &c, backend_ref(), DTYPE_F32, false);
    whole = loss_at(&f);
    struct model_batch one = f.batch;
    one.B = 1;
    for (int b = 0; b < B; b++) {
        check_ok(model_loss(f.model, &one, &part, &targets, &err), &err);
        sum += part;
        one.tokens += T;
        one.labels += T;
        one.sample0++;
    }
    assert_true(sum == whole);
    f.batch.dropout_key++;
    assert_true(loss_at(&f) != whole);
    f.batch.dropout = false;
    double plain = loss_at(&f);
    f.batch.dropout_key++;
    assert_true(loss_at(&f) == plain);
    close_fixture(&f);
}

/* HF's first values: their spread by kind, and the same numbers from the same seed on any
 * backend. */
static void first_values(void **state) {
    struct model_config c = small();
    struct fixture f, g;
    struct param *p, *q;
    (void)state;
    c.C = 96;
    c.inner = 384;
    open_fixture(&f, &c, backend_ref(), DTYPE_F32, false);
    open_fixture(&g, &c, backend_cpu(), DTYPE_F32, false);
    size_t n = model_params(f.model, &p);
    assert_int_equal(model_params(g.model, &q), n);
    assert_int_equal(n, 4 + 12 * 3);
    for (size_t i = 0; i < n; i++) {
        double mean = 0, square = 0;
        bool out = path_ends(p[i].name, "c_proj.weight");
        double want = p[i].n_dims == 1 ? 0 : out ? 0.2 / sqrt(6) : 0.2;
        for (size_t k = 0; k < p[i].n; k++) mean += (double)p[i].master[k] / (double)p[i].n;
        for (size_t k = 0; k < p[i].n; k++)
            square += pow((double)p[i].master[k] - mean, 2) / (double)p[i].n;
        assert_true(fabs(sqrt(square) - want) < 0.05 * want + 1e-9);
        bool norm = strstr(p[i].name, "ln_") && path_ends(p[i].name, "weight");
        assert_true(fabs(mean - (norm ? 1 : 0)) < 0.02);
        assert_int_equal(p[i].decay, p[i].n_dims == 2);
        assert_memory_equal(p[i].master, q[i].master, p[i].n * sizeof(float));
    }
    close_fixture(&f);
    close_fixture(&g);
}

/* bf16 products: losses and gradients of the fast backend near those of fp32, for 8 bits of
 * mantissa. */
static void bf16_is_near_fp32(void **state) {
    struct model_config c = small();
    struct fixture f, g;
    struct err err = {0};
    struct param *p, *q;
    double a, b;
    uint64_t targets;
    (void)state;
    c.C = 96;
    c.inner = 384;
    c.resid_pdrop = 0.1f;
    open_fixture(&f, &c, backend_ref(), DTYPE_F32, true);
    open_fixture(&g, &c, backend_cpu(), DTYPE_BF16, true);
    check_ok(model_forward_backward(f.model, &f.batch, 0.1f, &a, &targets, &err), &err);
    check_ok(model_forward_backward(g.model, &g.batch, 0.1f, &b, &targets, &err), &err);
    if (fabs(a - b) > 0.01 * a) fail_msg("loss %g, not %g", b, a);
    size_t n = model_params(f.model, &p);
    model_params(g.model, &q);
    for (size_t i = 0; i < n; i++) {
        size_t third = path_ends(p[i].name, "c_attn.bias") ? p[i].n / 3 : 0; /* key biases: 0 */
        memset(p[i].grad + third, 0, third * sizeof(float));
        memset(q[i].grad + third, 0, third * sizeof(float));
        double d = distance(q[i].grad, p[i].grad, p[i].n);
        if (!(d < 0.05)) fail_msg("%s differs by %g", p[i].name, d);
    }
    close_fixture(&f);
    close_fixture(&g);
}

/* Training in bf16 keeps no copy of every layer's matrices: one place, filled from the masters
 * before each use, to the bits that a model of whole copies has. */
static void bf16_layers_share_a_copy(void **state) {
    struct model_config c = small();
    struct fixture f;
    struct model *whole;
    struct model_memory three, six;
    struct err err = {0};
    struct param *p, *q;
    double sum;
    uint64_t targets;
    (void)state;
    open_fixture(&f, &c, backend_cpu(), DTYPE_BF16, false);
    check_ok(model_new(&whole, &c, f.ops, f.device, DTYPE_BF16, false, &err), &err);
    size_t n = model_params(f.model, &p);
    model_params(whole, &q);
    for (size_t i = 0; i < n; i++) {
        for (size_t e = 0; e < p[i].n; e++) p[i].master[e] *= 1.3f;
        memcpy(q[i].master, p[i].master, p[i].n * sizeof(float));
        model_narrow(whole, &q[i]);
    }
    model_cast(f.model);
    f.batch.dropout = false;
    check_ok(model_plan(whole, B, T, false, NULL, &err), &err);
    check_ok(model_loss(whole, &f.batch, &sum, &targets, &err), &err);
    assert_true(loss_at(&f) == sum);
    model_free(whole);
    close_fixture(&f);

    check_ok(model_memory(&three, &c, backend_cpu(), NULL, DTYPE_BF16, B, T, RECOMPUTE_GELU, &err),
             &err);
    c.L = 6;
    check_ok(model_memory(&six, &c, backend_cpu(), NULL, DTYPE_BF16, B, T, RECOMPUTE_GELU, &err),
             &err);
    assert_true(six.copies - three.copies < (six.weights - three.weights) / 4);
}

/* A model in bf16 that is only asked has room for one master, and answers as one with all. */
static void bf16_masters_are_for_training(void **state) {
    struct model_config c = small();
    struct fixture f;
    struct model *asked;
    struct err err = {0};
    struct param *p;
    double sum;
    uint64_t targets;
    (void)state;
    open_fixture(&f, &c, backend_cpu(), DTYPE_BF16, false);
    check_ok(model_init(f.model, 5, &err), &err);
    check_ok(model_new(&asked, &c, f.ops, f.device, DTYPE_BF16, false, &err), &err);
    check_ok(model_init(asked, 5, &err), &err);
    size_t n = model_params(asked, &p), most = 0;
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(p[i].master, p[0].master);
        if (p[i].n > most) most = p[i].n;
    }
    assert_true(asked->params_bytes < most * sizeof(float) + 4096);
    model_cast(asked); /* there is nothing to refresh from */
    f.batch.dropout = false;
    check_ok(model_plan(asked, B, T, false, NULL, &err), &err);
    check_ok(model_loss(asked, &f.batch, &sum, &targets, &err), &err);
    assert_true(loss_at(&f) == sum);
    model_free(asked);
    close_fixture(&f);
}

/* Gradients of logits are written over them, in either type. A right factor that is widened is
 * packed where fp32's is not. */
static void bf16_logits_have_no_second_room(void **state) {
    size_t bytes[2] = {0}, right[2] = {0};
    bool widened = false;
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct model_config c = small();
        struct fixture f;
        struct err err = {0};
        double sum;
        uint64_t targets;
        c.V = 5000;
        open_fixture(&f, &c, backend_cpu(), bf16 ? DTYPE_BF16 : DTYPE_F32, false);
        check_ok(model_forward_backward(f.model, &f.batch, 1, &sum, &targets, &err), &err);
        right[bf16] = f.device->work[WORK_PACK].bytes;
        for (int i = 0; i < WORK_KINDS; i++) /* left factors: packed for other units */
            if (i != WORK_PACK && i != WORK_LEFT && i != WORK_THREAD)
                bytes[bf16] += f.device->work[i].bytes;
        widened |= strstr(f.ops->describe(f.device), "widened") != NULL;
        close_fixture(&f);
    }
    assert_true(bytes[1] <= bytes[0]);
    if (!widened) assert_true(bytes[1] + right[1] <= bytes[0] + right[0]);
}

/* What a plan said of B rows of T tokens before there was a model. */
static uint64_t activation_bytes(const struct model_config *c, enum dtype dtype,
                                 enum recompute level) {
    struct model_memory r;
    struct err err = {0};
    check_ok(model_memory(&r, c, backend_cpu(), NULL, dtype, B, T, level, &err), &err);
    assert_int_equal(r.workspace, 0);
    assert_int_equal(r.total, r.weights + r.gradients + r.moments + r.copies + r.activations);
    return r.activations;
}

/* Computing again gives the gradients of keeping, to the bit, in less memory: on either backend,
 * with dropout, packed, also where bf16 rounds what is stored. */
static void recomputing_changes_no_bit(void **state) {
    const struct backend *backends[] = {backend_ref(), backend_cpu(), backend_cpu()};
    (void)state;
    for (int which = 0; which < 3; which++) {
        struct model_config c = small();
        struct fixture f[3];
        struct param *p[3];
        double sum[3];
        uint64_t targets, bytes[3];
        size_t n = 0;
        c.embd_pdrop = c.attn_pdrop = c.resid_pdrop = 0.2f;
        for (int level = 0; level < 3; level++) {
            struct err err = {0};
            open_fixture(&f[level], &c, backends[which], which == 2 ? DTYPE_BF16 : DTYPE_F32, true);
            model_set_recompute(f[level].model, (enum recompute)level);
            check_ok(model_plan(f[level].model, B, T, true, &bytes[level], &err), &err);
            assert_int_equal(bytes[level], activation_bytes(&c, which == 2 ? DTYPE_BF16 : DTYPE_F32,
                                                            (enum recompute)level));
            for (int i = 0; i < 2; i++) /* twice: nothing stale from the first */
                check_ok(model_forward_backward(f[level].model, &f[level].batch, 0.5f, &sum[level],
                                                &targets, &err),
                         &err);
            n = model_params(f[level].model, &p[level]);
        }
        assert_true(bytes[RECOMPUTE_BLOCK] < bytes[RECOMPUTE_GELU]);
        assert_true(bytes[RECOMPUTE_GELU] < bytes[RECOMPUTE_NONE]);
        for (int level = 1; level < 3; level++) {
            assert_true(sum[level] == sum[0]);
            for (size_t i = 0; i < n; i++)
                if (memcmp(p[level][i].grad, p[0][i].grad, p[0][i].n * sizeof(float)) != 0)
                    fail_msg("level %d, backend %d: %s differs", level, which, p[0][i].name);
        }
        for (int level = 0; level < 3; level++) close_fixture(&f[level]);
    }
}

/* A plan must hold what it says, and a batch that was not planned is refused, not computed. */
static void plans_are_kept_to(void **state) {
    struct model_config c = small();
    struct fixture f;
    struct err err = {0};
    double sum;
    uint64_t targets, bytes = 0;
    (void)state;
    open_fixture(&f, &c, backend_ref(), DTYPE_F32, false);
    check_ok(model_plan(f.model, B, T, true, &bytes, &err), &err);
    assert_int_equal(bytes, activation_bytes(&c, DTYPE_F32, RECOMPUTE_NONE));
    assert_true(activation_bytes(&c, DTYPE_BF16, RECOMPUTE_NONE) < bytes);
    assert_true(model_plan(f.model, 1, 17, true, NULL, &err) < 0); /* the context is 16 */
    check_ok(model_plan(f.model, 1, T, true, NULL, &err), &err);
    assert_true(model_loss(f.model, &f.batch, &sum, &targets, &err) < 0);
    check_ok(model_plan(f.model, B, T, false, NULL, &err), &err);
    assert_true(model_forward_backward(f.model, &f.batch, 1, &sum, &targets, &err) < 0);
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slopes_plain),
        cmocka_unit_test(slopes_with_dropout),
        cmocka_unit_test(slopes_packed_untied_scaled_by_layer),
        cmocka_unit_test(attention_is_scaled_as_configured),
        cmocka_unit_test(dropout_does_not_depend_on_the_batch),
        cmocka_unit_test(first_values),
        cmocka_unit_test(bf16_is_near_fp32),
        cmocka_unit_test(bf16_layers_share_a_copy),
        cmocka_unit_test(bf16_masters_are_for_training),
        cmocka_unit_test(bf16_logits_have_no_second_room),
        cmocka_unit_test(recomputing_changes_no_bit),
        cmocka_unit_test(plans_are_kept_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
