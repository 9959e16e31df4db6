/* Affine maps, GELU in both forms, all three gradients. */
#include <stdlib.h>
#include <string.h>
#include "harness.h"

struct linear_case {
    int rows, K, N;
    enum act act;
    bool bias, in_place_pre;
};

/* How much the vendor's own slope of GELU differs (5.2e-6 in all where 3.6e-6 was allowed). */
#ifdef OP_DEVICE
static const double slope_of_device = 4e-6;
#else
static const double slope_of_device = 0;
#endif

/* The activation taken again of what was stored: the same bits. */
static void check_again(struct dev *v, const void *y, const void *pre, size_t n, enum act act) {
    void *again = dev_zero(v, n);
    v->be->act_forward(v->d, again, pre, n, act);
    float *a = dev_get(v, y, n, true), *b = dev_get(v, again, n, true);
    expect(memcmp(a, b, n * sizeof *a) == 0, "act_forward on %s: other bits than linear_forward",
           v->name);
    free(a);
    free(b);
}

static void run(struct dev *v, const void *one_case, struct out *o) {
    const struct linear_case *k = one_case;
    size_t rows = (size_t)k->rows, K = (size_t)k->K, N = (size_t)k->N;
    void *x = dev_random(v, 1, rows * K, 1), *w = dev_random(v, 2, K * N, 1 / sqrtf((float)K));
    void *b = k->bias ? dev_random(v, 3, N, 1) : NULL;
    void *y = dev_zero(v, rows * N), *pre = k->act != ACT_NONE ? dev_zero(v, rows * N) : NULL;
    v->be->linear_forward(v->d, y, pre, x, w, b, k->rows, k->K, k->N, k->act);
    out_act(o, v, "y", y, rows * N, tol_sum(K) * 2, tol_bf16(pre ? 2 : 1));
    if (pre) {
        out_act(o, v, "pre", pre, rows * N, tol_sum(K), tol_bf16(1));
        check_again(v, y, pre, rows * N, k->act);
    }

    void *dy = dev_random(v, 4, rows * N, 1), *prev = dev_random(v, 5, rows * K, 2);
    void *dx = dev_zero(v, rows * K);
    float *dw = dev_random_f32(v, 6, K * N, 1), *db = dev_random_f32(v, 7, N, 1);
    v->be->linear_backward(v->d, dx, dw, k->bias ? db : NULL, dy, x, w,
                           k->act != ACT_NONE ? prev : NULL, k->act, k->rows, k->K, k->N);
    out_act(o, v, "dx", dx, rows * K, tol_sum(N) * 2 + (k->act ? slope_of_device : 0), tol_bf16(1));
    out_f32(o, v, "dw", dw, K * N, tol_sum(rows), tol_sum(rows) * 2);
    if (k->bias) out_f32(o, v, "db", db, N, tol_sum(rows), tol_sum(rows));
}

/* --- the reference against differences. dy is the slope at `pre`, so the activation's own slope
 * is that of the next map's dx: two maps in a row, 3 x 4 -> act -> 5 -> 2. */
enum { R = 3, A = 4, M = 5, Z = 2 };
static struct dev ref;
static enum act act;
static float x[R * A], w1[A * M], b1[M], w2[M * Z], b2[Z], pre[R * M], mid[R * M], y[R * Z],
    wy[R * Z];

static double loss(void *ctx) {
    (void)ctx;
    ref.be->linear_forward(ref.d, mid, pre, x, w1, b1, R, A, M, act);
    ref.be->linear_forward(ref.d, y, NULL, mid, w2, b2, R, M, Z, ACT_NONE);
    return weighted(y, wy, R * Z);
}

static void slope_of(const char *name, float *v, const float *grad, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double s = op_slope(loss, NULL, &v[i]);
        expect(fabs(s - grad[i]) < 3e-4 * (1 + fabs(s)),
               "linear slope %s[%zu], act %d: %g, differences say %g", name, i, act, grad[i], s);
    }
}

static void slopes(void) {
    float *inputs[] = {x, w1, b1, w2, b2, wy};
    const size_t n[] = {R * A, A * M, M, M * Z, Z, R * Z};
    dev_open_ref(&ref);
    for (int i = 0; i < 6; i++) {
        struct arr a = arr_random(20 + (uint64_t)i, n[i], 1);
        for (size_t j = 0; j < n[i]; j++) inputs[i][j] = a.v[j];
        free(a.v);
    }
    for (act = ACT_NONE; act <= ACT_GELU_ERF; act++) {
        float dx[R * A], dmid[R * M], dw1[A * M] = {0}, db1[M] = {0}, dw2[M * Z] = {0},
                                              db2[Z] = {0};
        loss(NULL);
        ref.be->linear_backward(ref.d, dmid, dw2, db2, wy, mid, w2, pre, act, R, M, Z);
        ref.be->linear_backward(ref.d, dx, dw1, db1, dmid, x, w1, NULL, ACT_NONE, R, A, M);
        slope_of("x", x, dx, R * A);
        slope_of("w1", w1, dw1, A * M);
        slope_of("b1", b1, db1, M);
        slope_of("w2", w2, dw2, M * Z);
        slope_of("b2", b2, db2, Z);
    }
    dev_close(&ref);
}

static void quick(void) {
    static const struct linear_case cases[] = {
        {64, 64, 96, ACT_GELU_TANH, true, false},
        {1, 1, 1, ACT_NONE, true, false},
        {7, 33, 70, ACT_GELU_TANH, true, false},
        {8, 515, 31, ACT_NONE, false, false},
        {13, 77, 101, ACT_GELU_ERF, true, false},
        {100, 35, 33, ACT_GELU_TANH, true, false},
        {5, 64, 320, ACT_GELU_ERF, true, false},
        {131, 9, 330, ACT_NONE, true, false},
        {12, 900, 40, ACT_GELU_TANH, true, false},
        {17, 512, 48, ACT_NONE, true, false},
        {900, 12, 20, ACT_NONE, true, false},
        {8, 70, 700, ACT_NONE, true, false},
        {1, 40, 4200, ACT_NONE, true, false},
        {3, 530, 70, ACT_NONE, true, false},
        {800, 20, 660, ACT_NONE, true, false}, /* x^T packed once for several tiles of dy */
        {9, 24, 40, ACT_GELU_TANH, true, false},
        {2, 1600, 48, ACT_GELU_TANH, true, false},
        {3, 2600, 72, ACT_GELU_ERF, true, false},
        {1, 4104, 24, ACT_NONE, false, false},
        /* split for the matrix units: panels, steps and tiles that are not whole; several blocks */
        {97, 70, 129, ACT_GELU_TANH, true, false},
        {64, 333, 65, ACT_NONE, true, false},
        {650, 81, 355, ACT_GELU_ERF, true, false},
        {111, 700, 96, ACT_NONE, false, false},
    };
    op_check("linear", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

static void full(void) {
    static const struct linear_case cases[] = {
        {37, 1600, 4800, ACT_GELU_TANH, true, false}, /* w in parts: forward by columns, dx by K */
        {2100, 1040, 24, ACT_NONE, true, false},      /* x^T in parts */
        {512, 320, 1280, ACT_GELU_ERF, true, false},  {300, 1024, 515, ACT_NONE, true, false},
        {1030, 768, 200, ACT_GELU_TANH, true, false},
    };
    op_check("linear", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

struct timed {
    int rows, K, N;
    enum act act;
    void *x, *w, *b, *y, *pre, *dx, *prev;
    float *dw, *db;
};

static void time_forward(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->linear_forward(v->d, t->y, t->act ? t->pre : NULL, t->x, t->w, t->b, t->rows, t->K, t->N,
                          t->act);
}
static void time_dx(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->linear_backward(v->d, t->dx, NULL, NULL, t->y, t->x, t->w, t->prev, ACT_GELU_TANH,
                           t->rows, t->K, t->N);
}
static void time_dw(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->linear_backward(v->d, NULL, t->dw, t->db, t->y, t->x, t->w, NULL, ACT_NONE, t->rows,
                           t->K, t->N);
}

static struct timed setup(struct dev *v, int rows, int K, int N, enum act with) {
    size_t a = (size_t)rows * (size_t)K, c = (size_t)rows * (size_t)N, kn = (size_t)K * (size_t)N;
    return (struct timed){rows,
                          K,
                          N,
                          with,
                          dev_random(v, 1, a, 1),
                          dev_random(v, 2, kn, 1),
                          dev_random(v, 3, (size_t)N, 1),
                          dev_random(v, 4, c, 1),
                          dev_zero(v, c),
                          dev_zero(v, a),
                          dev_random(v, 5, a, 1),
                          dev_zero(v, kn),
                          dev_zero(v, (size_t)N)};
}

static void bench(struct dev *v) {
    static const struct {
        int rows, K, N;
        enum act act;
    } shapes[] = {
        {2048, 320, 960, ACT_NONE},       {2048, 320, 320, ACT_NONE},
        {2048, 320, 1280, ACT_GELU_TANH}, {2048, 1280, 320, ACT_NONE},
        {1024, 768, 3072, ACT_GELU_TANH}, {1, 768, 3072, ACT_GELU_TANH},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        void (*const fns[])(struct dev *, void *) = {time_forward, time_dx, time_dw};
        static const char *const names[] = {"forward", "dx", "dw+db"};
        for (int f = 0; f < 3; f++) {
            struct timed t = setup(v, shapes[i].rows, shapes[i].K, shapes[i].N, shapes[i].act);
            char what[64];
            snprintf(what, sizeof what, "linear %s %d x %d x %d%s", names[f], t.rows, t.K, t.N,
                     t.act ? " gelu" : "");
            double mkn = (double)t.rows * t.K * t.N;
            op_bench(v, what, fns[f], &t, 2 * mkn,
                     ((double)t.rows * (t.K + t.N) + (double)t.K * t.N) *
                         (double)dtype_bytes(v->dtype));
        }
    }
}

int main(int argc, char **argv) {
    return op_main(argc, argv, &(struct op_program){slopes, quick, full, bench});
}
