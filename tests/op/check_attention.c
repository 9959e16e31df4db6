/* Attention over odd lengths, segments, left padding, dropout. */
#include <stdlib.h>
#include "harness.h"

enum starts { NONE, SEGMENTS, PADDED };

struct attention_case {
    int B, T, C, NH;
    enum starts starts;
    float p;
};

/* Segments of uneven lengths; or rows whose first positions are padding (they see nothing). */
static int32_t *make_starts(const struct attention_case *k) {
    if (k->starts == NONE) return NULL;
    int32_t *s = ints_below(9, (size_t)k->B * (size_t)k->T, 1);
    for (int b = 0; b < k->B; b++)
        for (int t = 0; t < k->T; t++) {
            int length = 8 + 11 * (b + 1), pad = k->T / 3 + b;
            s[b * k->T + t] = k->starts == SEGMENTS ? t / length * length : pad;
        }
    return s;
}

static void run(struct dev *v, const void *one_case, struct out *o) {
    const struct attention_case *k = one_case;
    size_t n = (size_t)k->B * (size_t)k->T * (size_t)k->C,
           heads = (size_t)k->B * (size_t)k->T * (size_t)k->NH;
    size_t HS = (size_t)(k->C / k->NH), T = (size_t)k->T;
    float scale = 1 / sqrtf((float)HS);
    struct dropout drop = {k->p, 123, 7, 2, dev_bytes(v, &(uint64_t){900}, 8)};
    int32_t *host = make_starts(k), *start = dev_ints(v, host, (size_t)k->B * T);
    free(host);
    void *qkv = dev_random(v, 1, 3 * n, 1), *y = dev_zero(v, n), *dy = dev_random(v, 2, n, 1);
    void *dqkv = dev_random(v, 3, 3 * n, 1);
    float *lse = dev_zero(v, heads);
    v->be->attention_forward(v->d, y, lse, qkv, start, k->B, k->T, k->C, k->NH, scale, drop);
    /* bf16: P is rounded before the product with V, y after it. */
    out_act(o, v, "y", y, n, 4 * tol_sum(HS + T), tol_bf16(2));
    out_f32(o, v, "lse", lse, heads, 4 * tol_sum(HS + T), tol_sum(HS + T) * 4);
    v->be->attention_backward(v->d, dqkv, dy, y, lse, qkv, start, k->B, k->T, k->C, k->NH, scale,
                              drop);
    /* bf16: D comes from the rounded y, dS is rounded, the result too. */
    out_act(o, v, "dqkv", dqkv, 3 * n, 4 * tol_sum(HS + T), tol_bf16(4));
}

/* --- the reference against differences: B 1, T 4, two heads of 3 */
enum { T = 4, C = 6, HEADS = 2, N = T * C };
static struct dev ref;
static float qkv[3 * N], y[N], wy[N], lse[T * HEADS];
static const int32_t START[T] = {0, 0, 2, 2};
static const int32_t *start;
static struct dropout drop;

static double loss(void *ctx) {
    (void)ctx;
    ref.be->attention_forward(ref.d, y, lse, qkv, start, 1, T, C, HEADS, 0.6f, drop);
    return weighted(y, wy, N);
}

static void slopes(void) {
    struct arr a = arr_random(1, 3 * N, 1), b = arr_random(2, N, 1);
    for (int i = 0; i < 3 * N; i++) qkv[i] = a.v[i];
    for (int i = 0; i < N; i++) wy[i] = b.v[i];
    free(a.v);
    free(b.v);
    dev_open_ref(&ref);
    for (int variant = 0; variant < 3; variant++) {
        float d[3 * N];
        start = variant ? START : NULL;
        drop = (struct dropout){variant == 2 ? 0.4f : 0, 3, 4, 5, NULL};
        loss(NULL);
        ref.be->attention_backward(ref.d, d, wy, y, lse, qkv, start, 1, T, C, HEADS, 0.6f, drop);
        for (int i = 0; i < 3 * N; i++) {
            double s = op_slope(loss, NULL, &qkv[i]);
            expect(fabs(s - d[i]) < 3e-4,
                   "attention slope qkv[%d], variant %d: %g, differences say %g", i, variant, d[i],
                   s);
        }
    }
    dev_close(&ref);
}

static void quick(void) {
    static const struct attention_case cases[] = {
        {1, 1, 8, 1, NONE, 0},          {2, 64, 64, 2, NONE, 0},
        {1, 101, 40, 2, NONE, 0},       {2, 99, 30, 2, SEGMENTS, 0},
        {2, 130, 64, 1, PADDED, 0},     {1, 97, 48, 3, NONE, 0.1f},
        {3, 50, 42, 2, SEGMENTS, 0.3f}, {1, 200, 33, 3, SEGMENTS, 0.1f},
        {2, 47, 80, 1, PADDED, 0.5f},   {1, 200, 128, 2, SEGMENTS, 0.1f},
        {1, 257, 64, 1, NONE, 0},       {1, 9, 1600, 25, SEGMENTS, 0},
    };
    op_check("attention", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

static void full(void) {
    static const struct attention_case cases[] = {
        {2, 515, 128, 2, NONE, 0}, {1, 1024, 64, 1, SEGMENTS, 0.1f}, {1, 300, 160, 1, PADDED, 0}};
    op_check("attention", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

struct timed {
    int B, T, C, NH;
    float p;
    void *qkv, *y, *dy, *dqkv;
    float *lse;
};
static void time_forward(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->attention_forward(v->d, t->y, t->lse, t->qkv, NULL, t->B, t->T, t->C, t->NH, 0.125f,
                             (struct dropout){t->p, 1, 2, 3, NULL});
}
static void time_backward(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->attention_backward(v->d, t->dqkv, t->dy, t->y, t->lse, t->qkv, NULL, t->B, t->T, t->C,
                              t->NH, 0.125f, (struct dropout){t->p, 1, 2, 3, NULL});
}
static struct timed setup(struct dev *v, int B, int Tn, int Cn, int NH, float p) {
    size_t n = (size_t)B * (size_t)Tn * (size_t)Cn;
    return (struct timed){B,
                          Tn,
                          Cn,
                          NH,
                          p,
                          dev_random(v, 1, 3 * n, 1),
                          dev_zero(v, n),
                          dev_random(v, 2, n, 1),
                          dev_zero(v, 3 * n),
                          dev_zero(v, n)};
}
static void bench(struct dev *v) {
    static const struct {
        int B, T, C, NH;
        float p;
    } shapes[] = {{8, 256, 320, 5, 0}, {8, 256, 320, 5, 0.1f}, {1, 1024, 768, 12, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int B = shapes[i].B, Tn = shapes[i].T, Cn = shapes[i].C;
        double flops = 2.0 * B * Tn * Tn * Cn; /* two causal products */
        char what[64];
        struct timed t = setup(v, B, Tn, Cn, shapes[i].NH, shapes[i].p);
        snprintf(what, sizeof what, "attention forward B%d T%d C%d p%.1f", B, Tn, Cn, shapes[i].p);
        op_bench(v, what, time_forward, &t, flops, 0);
        t = setup(v, B, Tn, Cn, shapes[i].NH, shapes[i].p);
        time_forward(v, &t);
        snprintf(what, sizeof what, "attention backward B%d T%d C%d p%.1f", B, Tn, Cn, shapes[i].p);
        op_bench(v, what, time_backward, &t, 2.5 * flops, 0);
    }
}

int main(int argc, char **argv) {
    return op_main(argc, argv, &(struct op_program){slopes, quick, full, bench});
}
