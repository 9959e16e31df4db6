/* Gradient norm, AdamW, cast: against the reference and PyTorch's rule worked by hand. */
#include <stdlib.h>
#include <string.h>
#include "harness.h"

struct step_case {
    size_t n[3];
    float clip, grad_scale, spike;
    bool bad; /* one gradient is NaN */
    double loss, targets, loss_spike;
};

static void run(struct dev *v, const void *one_case, struct out *o) {
    const struct step_case *k = one_case;
    struct param_slice p[3];
    struct step_scalars s = {.lr = 1e-2f,
                             .beta1 = 0.9f,
                             .beta2 = 0.95f,
                             .eps = 1e-8f,
                             .weight_decay = 0.1f,
                             .clip = k->clip,
                             .grad_scale = k->grad_scale,
                             .spike = k->spike,
                             .step = 3,
                             .loss_sum = k->loss,
                             .targets = k->targets,
                             .loss_spike = k->loss_spike};
    for (uint64_t i = 0; i < 3; i++) {
        struct arr v2 = arr_random(40 + i, k->n[i], 1), g = arr_random(50 + i, k->n[i], 1);
        for (size_t e = 0; e < v2.n; e++) v2.v[e] *= v2.v[e];
        if (k->bad && i == 1) g.v[g.n / 2] = NAN;
        p[i] = (struct param_slice){dev_random_f32(v, 10 + i, k->n[i], 1),
                                    dev_f32(v, g),
                                    dev_random_f32(v, 30 + i, k->n[i], 0.1f),
                                    dev_f32(v, v2),
                                    v->dtype == DTYPE_BF16 ? dev_zero(v, k->n[i]) : NULL,
                                    k->n[i],
                                    i != 1};
        free(v2.v);
        free(g.v);
    }
    struct step_scalars *scalars = dev_f32(v, (struct arr){(float *)&s, sizeof s / sizeof(float)});
    v->be->grad_norm(v->d, scalars, p, 3);
    v->be->adamw(v->d, scalars, p, 3);
    v->be->download(v->d, &s, scalars, sizeof s);
    float seen[2] = {s.skipped ? 0 : s.grad_norm, (float)s.skipped};
    void *where = dev_f32(v, (struct arr){seen, 2});
    out_f32(o, v, "norm", where, 2, 0x1p-20, 0x1p-20);
    out_f32(o, v, "w0", p[0].master, k->n[0], 0x1p-20, 0x1p-20);
    out_f32(o, v, "w1", p[1].master, k->n[1], 0x1p-20, 0x1p-20);
    out_f32(o, v, "m0", p[0].m, k->n[0], 0x1p-20, 0x1p-20);
    out_f32(o, v, "v0", p[0].v, k->n[0], 0x1p-20, 0x1p-20);
    const void *copy = p[0].act ? p[0].act : p[0].master; /* untouched when skipped */
    out_act(o, v, "act", s.skipped ? dev_zero(v, k->n[0]) : copy, k->n[0], 0x1p-20, tol_bf16(1));
    void *cast = dev_zero(v, k->n[2]);
    v->be->cast(v->d, cast, p[2].grad, k->n[2]);
    out_act(o, v, "cast", cast, k->n[2], 0, tol_bf16(1));
}

/* torch.optim.AdamW([1.0, -2.0], lr 0.1, wd 0.01, eps 1e-8), two steps with gradients (0.5, -1),
 * (0.25, 4): by hand from the update rule. m1 = .05, v1 = .00025: the first step is lr sign(g). */
static void by_hand(const struct backend *be) {
    struct device_opts opts = {.dtype = DTYPE_F32, .threads = 1};
    struct device *d;
    struct err err = {0};
    if (be->open(&d, &opts, &err) < 0) exit(1);
    float w[2] = {1, -2}, m[2] = {0}, v[2] = {0}, g[2] = {0.5f, -1};
    struct step_scalars s = {.lr = 0.1f,
                             .beta1 = 0.9f,
                             .beta2 = 0.999f,
                             .eps = 1e-8f,
                             .weight_decay = 0.01f,
                             .grad_scale = 1,
                             .step = 1};
    struct param_slice p = {w, g, m, v, NULL, 2, true};
    be->grad_norm(d, &s, &p, 1);
    expect(fabs(s.grad_norm - sqrt(1.25)) < 1e-6, "%s: norm %g", be->name, s.grad_norm);
    be->adamw(d, &s, &p, 1);
    expect(fabs(w[0] - 0.899) < 1e-6 && fabs(w[1] + 1.898) < 1e-6, "%s: first step %g %g", be->name,
           w[0], w[1]);
    g[0] = 0.25f, g[1] = 4, s.step = 2;
    be->adamw(d, &s, &p, 1);
    /* m = .07, .31 (over .19); v = .00031225, .016999 (over .001999) */
    double w0 = 0.899 * 0.999 - 0.1 * (0.07 / 0.19) / (sqrt(0.00031225 / 0.001999) + 1e-8);
    double w1 = -1.898 * 0.999 - 0.1 * (0.31 / 0.19) / (sqrt(0.016999 / 0.001999) + 1e-8);
    expect(fabs(w[0] - w0) < 1e-5 && fabs(w[1] - w1) < 1e-5,
           "%s: second step %.7g %.7g, expected %.7g %.7g", be->name, w[0], w[1], w0, w1);
    /* A skipped step changes nothing. */
    g[0] = INFINITY;
    be->grad_norm(d, &s, &p, 1);
    float was = w[1];
    be->adamw(d, &s, &p, 1);
    expect(s.skipped == 1 && w[1] == was, "%s: an infinite norm was not skipped", be->name);
    be->close(d);
}

/* A large piece is zeroed by several threads: all of it, and nothing beside it. */
static void zero_is_exact(const struct backend *be) {
    enum { N = (5 << 20) / 4 + 3 };
    struct dev v = {.be = be};
    struct device_opts opts = {.dtype = DTYPE_F32, .threads = 3};
    struct err err = {0};
    if (be->open(&v.d, &opts, &err) < 0) exit(1);
    float *p = dev_random_f32(&v, 1, N + 2, 1), before = p[0], behind = p[N + 1];
    be->zero(v.d, p + 1, N * sizeof *p);
    size_t left = 0;
    for (size_t i = 1; i <= N; i++) left += p[i] != 0;
    expect(left == 0, "%s: zero left %zu elements", be->name, left);
    expect(p[0] == before && p[N + 1] == behind, "%s: zero went too far", be->name);
    dev_close(&v);
}

static void slopes(void) {
    by_hand(backend_ref());
    by_hand(backend_cpu());
    zero_is_exact(backend_ref());
    zero_is_exact(backend_cpu());
}

static void quick(void) {
    static const struct step_case cases[] = {
        {{100, 7, 1}, 0, 1, 0, false, 0, 0, 0},
        {{70000, 515, 33}, 1, 1, 0, false, 90, 30, 0},
        {{1, 1, 1}, 1, 0.1f, 0, false, 90, 30, 3}, /* just what is allowed */
        {{64, 64, 64}, 1, 1, 0.5f, false, 0, 0, 0},
        {{64, 20, 64}, 1, 1, 0, true, 0, 0, 0},
        {{64, 20, 64}, 1, 1, 0, false, 90, 30, 2.999}, /* a loss too high */
        {{64, 20, 64}, 1, 1, 0, false, NAN, 30, 0},
        {{64, 20, 64}, 1, 1, 0, false, INFINITY, 30, 0},
    };
    op_check("step", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

static void full(void) {
    static const struct step_case cases[] = {
        {{3000001, 65536, 200000}, 1, 0.5f, 0, false, 1, 1, 0}};
    op_check("step", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

static void time_adamw(struct dev *v, void *ctx) {
    struct step_scalars s = {.lr = 1e-3f,
                             .beta1 = 0.9f,
                             .beta2 = 0.95f,
                             .eps = 1e-8f,
                             .clip = 1,
                             .grad_scale = 1,
                             .grad_norm = 1,
                             .step = 5};
    v->be->adamw(v->d, &s, ctx, 1);
}
static void time_norm(struct dev *v, void *ctx) {
    struct step_scalars s = {.grad_scale = 1};
    v->be->grad_norm(v->d, &s, ctx, 1);
}
static struct param_slice setup(struct dev *v) {
    size_t n = 12800000;
    return (struct param_slice){dev_zero(v, n),
                                dev_zero(v, n),
                                dev_zero(v, n),
                                dev_zero(v, n),
                                v->dtype == DTYPE_BF16 ? dev_zero(v, n) : NULL,
                                n,
                                true};
}
static void bench(struct dev *v) {
    struct param_slice p = setup(v);
    op_bench(v, "adamw 12.8M", time_adamw, &p, 0, 12.8e6 * 28);
    p = setup(v);
    op_bench(v, "grad_norm 12.8M", time_norm, &p, 0, 12.8e6 * 4);
}

int main(int argc, char **argv) {
    return op_main(argc, argv, &(struct op_program){slopes, quick, full, bench});
}
