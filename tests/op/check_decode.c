/* Cached attention and logits; the cached form against the whole one. */
#include <stdlib.h>
#include <string.h>
#include "harness.h"

struct decode_case {
    int B, P, C, NH, V;
    bool starts;
};

/* Rows of the two products of a few rows, each alone: the same bits as together; on a GPU where its
 * own products take the sizes. */
enum { FEW = 8 };
#ifdef OP_DEVICE
static const size_t few_multiple = 8;
#else
static const size_t few_multiple = 1;
#endif
static void check_alone(struct dev *v, const void *x, const void *w, const float *logits_there,
                        int rows, int K, int N) {
    size_t n = (size_t)N, row = (size_t)K * dtype_bytes(v->dtype);
    void *y = dev_zero(v, (size_t)rows * n), *one = dev_zero(v, n);
    float *z = dev_zero(v, n);
    v->be->linear_forward(v->d, y, NULL, x, w, NULL, rows, K, N, ACT_NONE);
    float *all = dev_get(v, y, (size_t)rows * n, true);
    float *logits = dev_get(v, logits_there, (size_t)rows * n, false);
    for (int r = 0; r < rows; r++) {
        const char *mine = (const char *)x + (size_t)r * row;
        v->be->linear_forward(v->d, one, NULL, mine, w, NULL, 1, K, N, ACT_NONE);
        v->be->logits(v->d, z, mine, w, 1, K, N);
        float *alone = dev_get(v, one, n, true), *its = dev_get(v, z, n, false);
        expect(memcmp(alone, all + (size_t)r * n, n * sizeof *alone) == 0 &&
                   memcmp(its, logits + (size_t)r * n, n * sizeof *its) == 0,
               "%s: row %d of %d has other bits alone", v->name, r, rows);
        free(alone);
        free(its);
    }
    free(all);
    free(logits);
}

static void run(struct dev *v, const void *one_case, struct out *o) {
    const struct decode_case *k = one_case;
    size_t B = (size_t)k->B, P = (size_t)k->P, C = (size_t)k->C, V = (size_t)k->V;
    void *kc = dev_random(v, 1, B * P * C, 1), *vc = dev_random(v, 2, B * P * C, 1);
    void *qkv = dev_random(v, 3, B * 3 * C, 1), *y = dev_zero(v, B * C),
         *w = dev_random(v, 4, V * C, 1);
    int32_t *past = dev_ints_below(v, 5, B, k->P), *start = dev_ints_below(v, 6, B, 1);
    if (k->starts) start = dev_ints(v, (int32_t[8]){0}, B);
    v->be->attention_decode(v->d, y, kc, vc, qkv, past, k->starts ? start : NULL, k->B, k->P, k->C,
                            k->NH, 0.3f);
    out_act(o, v, "y", y, B * C, 4 * tol_sum(P), tol_bf16(1));
    out_act(o, v, "k cache", kc, B * P * C, 0, 0);
    out_act(o, v, "v cache", vc, B * P * C, 0, 0);
    float *logits = dev_zero(v, B * V);
    void *x = dev_random(v, 7, B * C, 1);
    v->be->logits(v->d, logits, x, w, k->B, k->C, k->V);
    out_f32(o, v, "logits", logits, B * V, 2 * tol_sum(C), 2 * tol_sum(C));
    if (B <= FEW && C % few_multiple == 0 && V % few_multiple == 0)
        check_alone(v, x, w, logits, k->B, k->C, k->V);
}

/* Decoding T positions one by one gives what attention_forward gives at once. */
static void step_by_step(const struct backend *be) {
    enum { T = 37, C = 40, NH = 2, HS = C / NH };
    struct dev v = {.be = be};
    struct device_opts opts = {.dtype = DTYPE_F32, .threads = 2};
    struct err err = {0};
    if (be->open(&v.d, &opts, &err) < 0) exit(1);
    float *qkv = dev_random(&v, 1, 3 * T * C, 1), *whole = dev_zero(&v, T * C),
          *lse = dev_zero(&v, T * NH);
    float *kc = dev_zero(&v, T * C), *vc = dev_zero(&v, T * C), *one = dev_zero(&v, C);
    be->attention_forward(v.d, whole, lse, qkv, NULL, 1, T, C, NH, 0.2f, (struct dropout){0});
    double worst = 0;
    for (int32_t t = 0; t < T; t++) {
        be->attention_decode(v.d, one, kc, vc, qkv + t * 3 * C, &t, NULL, 1, T, C, NH, 0.2f);
        for (int c = 0; c < C; c++) {
            double d = fabs(one[c] - whole[t * C + c]);
            if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
        }
    }
    expect(worst < 2e-6, "%s: decoding differs from attention by %g", be->name, worst);
    dev_close(&v);
}

static void slopes(void) {
    step_by_step(backend_ref());
    step_by_step(backend_cpu());
}

static void quick(void) {
    static const struct decode_case cases[] = {
        {1, 1, 8, 1, 5, false},      {3, 50, 60, 3, 515, false}, {8, 20, 64, 2, 70, true},
        {11, 9, 33, 3, 101, false},  {7, 3, 332, 4, 611, false}, {2, 40, 200, 1, 70, false},
        {6, 5, 1072, 4, 136, false}, {4, 7, 64, 1, 40, false}};
    op_check("decode", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

/* A model's matrices in turn, more than a cache holds, and a plain read of as many bytes. */
enum { LAYERS = 16, WIDTH = 768, INNER = 3072, VOCAB = 50257, PAST = 1000 };
struct timed {
    void *x, *y, *w, *b, *k, *v;
    float *logits;
    int32_t *past;
};
static void time_logits(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->logits(v->d, t->logits, t->x, t->w, 1, WIDTH, VOCAB);
}
static void time_layers(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    for (size_t l = 0; l < LAYERS; l++)
        v->be->linear_forward(v->d, t->y, NULL, t->x,
                              (char *)t->w + l * (size_t)WIDTH * INNER * dtype_bytes(v->dtype),
                              t->b, 1, WIDTH, INNER, ACT_NONE);
}
static void time_read(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    size_t n = (size_t)LAYERS * WIDTH * INNER * dtype_bytes(v->dtype) / sizeof(float);
    struct param_slice p = {.grad = t->w, .n = n};
    struct step_scalars s = {.grad_scale = 1};
    v->be->grad_norm(v->d, &s, &p, 1);
}
static void time_attention(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->attention_decode(v->d, t->y, t->k, t->v, t->b, t->past, NULL, 1, PAST + 1, WIDTH, 12,
                            0.125f);
}
static void bench(struct dev *v) {
    static const struct {
        const char *name;
        void (*fn)(struct dev *, void *);
        size_t n; /* elements read */
    } timed[] = {
        {"a plain read", time_read, (size_t)LAYERS * WIDTH * INNER},
        {"16 of linear 1 x 768 x 3072", time_layers, (size_t)LAYERS * WIDTH * INNER},
        {"logits 1 x 768 x 50257", time_logits, (size_t)VOCAB * WIDTH},
        {"attention of one to 1000, width 768", time_attention, (size_t)PAST * WIDTH * 2},
    };
    for (size_t i = 0; i < sizeof timed / sizeof *timed; i++) {
        size_t cache = (size_t)(PAST + 1) * WIDTH;
        struct timed t = {dev_random(v, 1, WIDTH, 1),
                          dev_zero(v, INNER),
                          dev_random(v, 2, (size_t)VOCAB * WIDTH, 1), /* the layers too */
                          dev_random(v, 3, INNER, 1),
                          dev_random(v, 4, cache, 1),
                          dev_random(v, 5, cache, 1),
                          dev_zero(v, VOCAB),
                          dev_ints(v, (int32_t[1]){PAST}, 1)};
        op_bench(v, timed[i].name, timed[i].fn, &t, 2 * (double)timed[i].n,
                 (double)timed[i].n * (double)dtype_bytes(v->dtype));
    }
}

int main(int argc, char **argv) {
    return op_main(argc, argv, &(struct op_program){slopes, quick, NULL, bench});
}
