/* Embedding: repeated tokens, one that comes very often, given positions, dropout. */
#include <stdlib.h>
#include "harness.h"

struct embed_case {
    int B, T, C, V;
    bool pos;
    float p;
    bool often; /* two of three tokens are the same one */
};

static void run(struct dev *v, const void *one_case, struct out *o) {
    const struct embed_case *k = one_case;
    size_t rows = (size_t)k->B * (size_t)k->T, C = (size_t)k->C, V = (size_t)k->V,
           P = (size_t)k->T + 3;
    struct dropout drop = {k->p, 42, 6, 0, dev_bytes(v, &(uint64_t){900}, 8)};
    void *wte = dev_random(v, 1, V * C, 1), *wpe = dev_random(v, 2, P * C, 1),
         *x = dev_zero(v, rows * C);
    int32_t *ids = ints_below(3, rows, k->V);
    for (size_t r = 0; k->often && r < rows; r++)
        if (r % 3) ids[r] = k->V / 2;
    int32_t *tokens = dev_bytes(v, ids, rows * sizeof *ids);
    free(ids);
    int32_t *pos = k->pos ? dev_ints_below(v, 4, rows, (int32_t)P) : NULL;
    v->be->embed_forward(v->d, x, tokens, pos, wte, wpe, k->B, k->T, k->C, drop);
    out_act(o, v, "x", x, rows * C, 0x1p-23, tol_bf16(1));
    float *dwte = dev_random_f32(v, 5, V * C, 1), *dwpe = dev_random_f32(v, 6, P * C, 1);
    void *dx = dev_random(v, 7, rows * C, 1);
    v->be->embed_backward(v->d, dwte, dwpe, dx, tokens, pos, k->B, k->T, k->C, k->V, drop);
    out_f32(o, v, "dwte", dwte, V * C, tol_sum(rows), tol_sum(rows));
    out_f32(o, v, "dwpe", dwpe, P * C, tol_sum(rows), tol_sum(rows));
}

/* --- the reference against differences: it is linear, so they are exact but for rounding */
enum { B = 2, T = 3, C = 3, V = 4, N = B * T * C };
static struct dev ref;
static float wte[V * C], wpe[T * C], x[N], wx[N];
static const int32_t TOKENS[B * T] = {1, 3, 1, 0, 1, 3};
static const struct dropout DROP = {0.3f, 1, 2, 3, NULL};

static double loss(void *ctx) {
    (void)ctx;
    ref.be->embed_forward(ref.d, x, TOKENS, NULL, wte, wpe, B, T, C, DROP);
    return weighted(x, wx, N);
}

static void slopes(void) {
    struct arr a = arr_random(1, N, 1);
    for (int i = 0; i < N; i++) wx[i] = a.v[i];
    free(a.v);
    float dwte[V * C] = {0}, dwpe[T * C] = {0};
    dev_open_ref(&ref);
    ref.be->embed_backward(ref.d, dwte, dwpe, wx, TOKENS, NULL, B, T, C, V, DROP);
    for (int i = 0; i < V * C; i++)
        expect(fabs(op_slope(loss, NULL, &wte[i]) - dwte[i]) < 1e-5, "embed slope wte[%d]", i);
    for (int i = 0; i < T * C; i++)
        expect(fabs(op_slope(loss, NULL, &wpe[i]) - dwpe[i]) < 1e-5, "embed slope wpe[%d]", i);
    dev_close(&ref);
}

static void quick(void) {
    static const struct embed_case cases[] = {
        {1, 1, 1, 1, false, 0, false},     {2, 37, 33, 515, false, 0, false},
        {2, 40, 64, 5, true, 0.1f, false}, {3, 11, 20, 70, false, 0.5f, false},
        {1, 3, 1600, 50, true, 0, false},  {3, 601, 24, 70, false, 0.1f, true},
        {5, 211, 17, 2, false, 0, true},   {1500, 2, 8, 9, true, 0.1f, false}};
    op_check("embed", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

static void full(void) {
    static const struct embed_case cases[] = {{4, 1024, 320, 8192, false, 0.1f, false},
                                              {128, 1024, 40, 999, false, 0.1f, true}};
    op_check("embed", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

struct timed {
    void *wte, *wpe, *x;
    float *dwte, *dwpe;
    int32_t *tokens;
};
static void time_forward(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->embed_forward(v->d, t->x, t->tokens, NULL, t->wte, t->wpe, 8, 256, 320,
                         (struct dropout){0});
}
static void time_backward(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->embed_backward(v->d, t->dwte, t->dwpe, t->x, t->tokens, NULL, 8, 256, 320, 8192,
                          (struct dropout){0});
}
static struct timed setup(struct dev *v) {
    return (struct timed){dev_random(v, 1, 8192 * 320, 1), dev_random(v, 2, 256 * 320, 1),
                          dev_zero(v, 2048 * 320),         dev_zero(v, 8192 * 320),
                          dev_zero(v, 256 * 320),          dev_ints_below(v, 3, 2048, 8192)};
}
static void bench(struct dev *v) {
    double bytes = 2048.0 * 320 * (double)dtype_bytes(v->dtype);
    struct timed t = setup(v);
    op_bench(v, "embed forward 2048 x 320", time_forward, &t, 0, 3 * bytes);
    t = setup(v);
    op_bench(v, "embed backward 2048 x 320", time_backward, &t, 0, bytes + 2 * 2048.0 * 320 * 8);
}

int main(int argc, char **argv) {
    return op_main(argc, argv, &(struct op_program){slopes, quick, full, bench});
}
