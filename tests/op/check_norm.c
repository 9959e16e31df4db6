/* Residual + LayerNorm. */
#include <stdlib.h>
#include <string.h>
#include "harness.h"

struct norm_case {
    int B, T, C;
    bool add;
    float p;
    bool bias; /* `add` came from a map with one */
};

/* Whatever memory operations share between them is full of NaNs from now on. */
static void leave_nans(struct dev *v) {
    enum { T = 64, C = 64 };
    static const struct dropout none = {0};
    static uint8_t ones[3 * T * C * sizeof(float)];
    memset(ones, 0xFF, sizeof ones);
    v->be->attention_forward(v->d, dev_zero(v, T * C), dev_zero(v, T),
                             dev_bytes(v, ones, sizeof ones), NULL, 1, T, C, 1, 1, none);
}

/* Widths that fill no vector, with dropout: nans_beyond_a_row_stay_there. */
static void run(struct dev *v, const void *one_case, struct out *o) {
    const struct norm_case *k = one_case;
    leave_nans(v);
    size_t rows = (size_t)k->B * (size_t)k->T, C = (size_t)k->C, n = rows * C;
    struct dropout drop = {k->p, 77, 1000, 3, dev_bytes(v, &(uint64_t){900}, 8)};
    void *x = dev_random(v, 1, n, 2), *add = k->add ? dev_random(v, 2, n, 1) : NULL;
    void *g = dev_random(v, 3, C, 1), *b = dev_random(v, 4, C, 1);
    void *y = dev_zero(v, n), *sum = dev_zero(v, n);
    float *mean = dev_zero(v, rows), *rstd = dev_zero(v, rows);
    v->be->norm_forward(v->d, y, sum, mean, rstd, x, add, g, b, k->B, k->T, k->C, 1e-5f, drop);
    double t = tol_sum(C), h = tol_bf16(2);
    out_act(o, v, "y", y, n, t, h);
    if (add) out_act(o, v, "sum", sum, n, t, h);
    out_f32(o, v, "mean", mean, rows, t * 8, h);
    out_f32(o, v, "rstd", rstd, rows, t, h);

    void *dy = dev_random(v, 5, n, 1), *dsum = dev_random(v, 6, n, 1), *dadd = dev_zero(v, n);
    float *dg = dev_random_f32(v, 7, C, 1), *db = dev_random_f32(v, 8, C, 1);
    float *add_db = k->bias ? dev_random_f32(v, 9, C, 1) : NULL;
    v->be->norm_backward(v->d, dsum, add ? dadd : NULL, dg, db, add_db, dy, add ? sum : x, mean,
                         rstd, g, k->B, k->T, k->C, drop);
    out_act(o, v, "dsum", dsum, n, t, h);
    if (add) out_act(o, v, "dadd", dadd, n, t, h);
    if (add_db) out_f32(o, v, "add_db", add_db, C, tol_sum(rows) + t, h);
    out_f32(o, v, "dg", dg, C, tol_sum(rows), h);
    out_f32(o, v, "db", db, C, tol_sum(rows), tol_sum(rows));
}

/* --- the reference against differences: 3 rows of 5 */
enum { R = 3, W = 5, N = R * W };
static struct dev ref;
static float x[N], add[N], g[W], b[W], wy[N], ws[N], y[N], sum[N], mean[R], rstd[R];
static const struct dropout DROP = {0.3f, 5, 9, 1, NULL};

static double loss(void *ctx) {
    (void)ctx;
    ref.be->norm_forward(ref.d, y, sum, mean, rstd, x, add, g, b, 1, R, W, 1e-5f, DROP);
    return weighted(y, wy, N) + weighted(sum, ws, N);
}

static void fill(float *to, uint64_t seed, size_t n) {
    struct arr a = arr_random(seed, n, 1);
    for (size_t i = 0; i < n; i++) to[i] = a.v[i];
    free(a.v);
}

static void slopes(void) {
    dev_open_ref(&ref);
    float *inputs[] = {x, add, g, b, wy, ws};
    for (int i = 0; i < 6; i++) fill(inputs[i], 10 + (uint64_t)i, i == 2 || i == 3 ? W : N);
    loss(NULL);
    float dsum[N], dadd[N], dg[W] = {0}, db[W] = {0};
    for (int i = 0; i < N; i++) dsum[i] = ws[i];
    ref.be->norm_backward(ref.d, dsum, dadd, dg, db, NULL, wy, sum, mean, rstd, g, 1, R, W, DROP);
    for (int i = 0; i < N; i++) {
        double dx = op_slope(loss, NULL, &x[i]), da = op_slope(loss, NULL, &add[i]);
        expect(fabs(dx - dsum[i]) < 2e-3, "norm slope x[%d]: %g, differences say %g", i, dsum[i],
               dx);
        expect(fabs(da - dadd[i]) < 2e-3, "norm slope add[%d]: %g, differences say %g", i, dadd[i],
               da);
    }
    for (int i = 0; i < W; i++) {
        double sg = op_slope(loss, NULL, &g[i]), sb = op_slope(loss, NULL, &b[i]);
        expect(fabs(sg - dg[i]) < 2e-4, "norm slope g[%d]: %g, differences say %g", i, dg[i], sg);
        expect(fabs(sb - db[i]) < 2e-4, "norm slope b[%d]: %g, differences say %g", i, db[i], sb);
    }
    dev_close(&ref);
}

static void quick(void) {
    static const struct norm_case cases[] = {
        {2, 3, 64, true, 0, true},   {1, 1, 1, true, 0, false},      {1, 70, 33, true, 0.1f, true},
        {3, 43, 20, false, 0, true}, {1, 1, 1600, true, 0.5f, true}, {2, 65, 320, true, 0, false},
    };
    op_check("norm", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

static void full(void) {
    static const struct norm_case cases[] = {{4, 256, 768, true, 0.1f, true},
                                             {2, 1024, 1600, true, 0, true}};
    op_check("norm", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

struct timed {
    void *x, *add, *g, *b, *y, *sum, *dy, *dsum;
    float *mean, *rstd, *dg, *db;
};
enum { ROWS = 2048, WIDE = 768 };

static void time_forward(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->norm_forward(v->d, t->y, t->sum, t->mean, t->rstd, t->x, t->add, t->g, t->b, 1, ROWS,
                        WIDE, 1e-5f, (struct dropout){0});
}
static void time_backward(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->norm_backward(v->d, t->dsum, NULL, t->dg, t->db, NULL, t->dy, t->sum, t->mean, t->rstd,
                         t->g, 1, ROWS, WIDE, (struct dropout){0});
}

static struct timed setup(struct dev *v) {
    size_t n = (size_t)ROWS * WIDE;
    struct timed t = {.x = dev_random(v, 1, n, 1),
                      .add = dev_random(v, 2, n, 1),
                      .g = dev_random(v, 3, WIDE, 1),
                      .b = dev_random(v, 4, WIDE, 1),
                      .y = dev_zero(v, n),
                      .sum = dev_zero(v, n),
                      .dy = dev_random(v, 5, n, 1),
                      .dsum = dev_zero(v, n),
                      .mean = dev_zero(v, ROWS),
                      .rstd = dev_zero(v, ROWS),
                      .dg = dev_zero(v, WIDE),
                      .db = dev_zero(v, WIDE)};
    return t;
}

static void bench(struct dev *v) {
    double n = (double)ROWS * WIDE, bytes = n * (double)dtype_bytes(v->dtype);
    struct timed t = setup(v);
    op_bench(v, "norm forward 2048 x 768", time_forward, &t, 8 * n, 4 * bytes);
    t = setup(v);
    time_forward(v, &t);
    op_bench(v, "norm backward 2048 x 768", time_backward, &t, 14 * n, 4 * bytes);
}

int main(int argc, char **argv) {
    return op_main(argc, argv, &(struct op_program){slopes, quick, full, bench});
}
