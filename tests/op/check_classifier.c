/* Softmax cross-entropy: odd vocabularies, ignored labels, rows beyond one chunk. */
#include <stdlib.h>
#include "harness.h"

struct classifier_case {
    int rows, C, V;
    int ignored; /* of 8 labels, how many are ignored */
    float scale_x;
};

static void run(struct dev *v, const void *one_case, struct out *o) {
    const struct classifier_case *k = one_case;
    size_t rows = (size_t)k->rows, C = (size_t)k->C, V = (size_t)k->V;
    void *x = dev_random(v, 1, rows * C, k->scale_x), *w = dev_random(v, 2, V * C, 1);
    int32_t *host = ints_below(3, rows, k->V), *ignore = ints_below(4, rows, 8);
    for (size_t r = 0; r < rows; r++)
        if (ignore[r] < k->ignored) host[r] = LABEL_IGNORED;
    int32_t *labels = dev_ints(v, host, rows);
    free(host);
    free(ignore);
    float *loss = dev_zero(v, rows), *loss_only = dev_zero(v, rows),
          *dw = dev_random_f32(v, 5, V * C, 0.1f);
    void *dx = dev_random(v, 6, rows * C, 1);
    const float *scale = dev_bytes(v, &(float){0.7f}, sizeof *scale);
    v->be->classifier(v->d, loss, dx, dw, x, w, labels, k->rows, k->C, k->V, scale);
    v->be->classifier(v->d, loss_only, NULL, NULL, x, w, labels, k->rows, k->C, k->V, NULL);
    double sum = 1, *sum_there = dev_bytes(v, &sum, sizeof sum);
    v->be->loss_sum(v->d, sum_there, loss, rows);
    v->be->loss_sum(v->d, sum_there, loss, rows);
    v->be->download(v->d, &sum, sum_there, sizeof sum);
    out_f32(o, v, "loss", loss, rows, 2 * tol_sum(C), 2 * tol_sum(C));
    out_f32(o, v, "loss alone", loss_only, rows, 2 * tol_sum(C), 2 * tol_sum(C));
    float *losses = dev_get(v, loss, rows, false);
    double want = 1;
    for (size_t r = 0; r < rows; r++) want += 2.0 * losses[r];
    expect(fabs(sum - want) <= 1e-13 * want, "%s: the losses' sum is %.17g, not %.17g", v->name,
           sum, want);
    free(losses);
    /* bf16: dlogits are rounded before both products, dx after */
    out_act(o, v, "dx", dx, rows * C, 8 * tol_sum(C), tol_bf16(2));
    out_f32(o, v, "dw", dw, V * C, 8 * tol_sum(C + rows), tol_bf16(1));
}

/* --- the reference against differences: 3 rows (one ignored), C 4, V 5 */
enum { R = 3, C = 4, V = 5 };
static struct dev ref;
static float x[R * C], w[V * C], losses[R];
static const int32_t LABELS[R] = {4, LABEL_IGNORED, 1};
static const float SCALE = 0.3f;

static double loss(void *ctx) {
    (void)ctx;
    ref.be->classifier(ref.d, losses, NULL, NULL, x, w, LABELS, R, C, V, NULL);
    return SCALE * ((double)losses[0] + losses[1] + losses[2]);
}

static void slopes(void) {
    float dx[R * C], dw[V * C] = {0};
    struct arr a = arr_random(1, R * C, 1), b = arr_random(2, V * C, 1);
    for (int i = 0; i < R * C; i++) x[i] = a.v[i];
    for (int i = 0; i < V * C; i++) w[i] = b.v[i];
    free(a.v);
    free(b.v);
    dev_open_ref(&ref);
    ref.be->classifier(ref.d, losses, dx, dw, x, w, LABELS, R, C, V, &SCALE);
    expect(losses[1] == 0, "an ignored label has loss %g", losses[1]);
    for (int i = 0; i < R * C; i++) {
        double s = op_slope(loss, NULL, &x[i]);
        expect(fabs(s - dx[i]) < 1e-4, "classifier slope x[%d]: %g, differences say %g", i, dx[i],
               s);
    }
    for (int i = 0; i < V * C; i++) {
        double s = op_slope(loss, NULL, &w[i]);
        expect(fabs(s - dw[i]) < 1e-4, "classifier slope w[%d]: %g, differences say %g", i, dw[i],
               s);
    }
    dev_close(&ref);
}

static void quick(void) {
    static const struct classifier_case cases[] = {
        {5, 16, 33, 0, 1},      {1, 8, 515, 0, 1},      {70, 33, 515, 2, 0.5f},
        {3, 20, 1, 0, 1},       {530, 12, 70, 1, 1},    {9, 16, 64, 8, 1}, /* every label ignored */
        {6, 64, 100, 0, 8},                                                /* nearly certain rows */
        {2, 8, 50257, 0, 0.3f}, {2, 8, 60001, 0, 0.3f}, /* a row within and beyond 227 KB */
        {530, 64, 70, 1, 0.5f}, /* split for the matrix units, but for the last, small chunk */
    };
    op_check("classifier", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

static void full(void) {
    static const struct classifier_case cases[] = {{600, 64, 8192, 1, 0.3f},
                                                   {20, 48, 50257, 0, 0.3f},
                                                   {530, 20, 16400, 1, 0.5f},
                                                   {40, 300, 14200, 1, 0.5f}}; /* w in parts */
    op_check("classifier", run, cases, sizeof cases / sizeof *cases, sizeof *cases);
}

struct timed {
    int rows, C, V;
    void *x, *w, *dx;
    float *loss, *dw;
    int32_t *labels;
    const float *scale;
};
static void time_all(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->classifier(v->d, t->loss, t->dx, t->dw, t->x, t->w, t->labels, t->rows, t->C, t->V,
                      t->scale);
}
static void time_loss(struct dev *v, void *ctx) {
    struct timed *t = ctx;
    v->be->classifier(v->d, t->loss, NULL, NULL, t->x, t->w, t->labels, t->rows, t->C, t->V, NULL);
}
static struct timed setup(struct dev *v, int rows, int Cn, int Vn) {
    size_t rc = (size_t)rows * (size_t)Cn, vc = (size_t)Vn * (size_t)Cn;
    return (struct timed){rows,
                          Cn,
                          Vn,
                          dev_random(v, 1, rc, 1),
                          dev_random(v, 2, vc, 0.02f),
                          dev_zero(v, rc),
                          dev_zero(v, (size_t)rows),
                          dev_zero(v, vc),
                          dev_ints_below(v, 3, (size_t)rows, Vn),
                          dev_bytes(v, &(float){1e-3f}, sizeof(float))};
}
static void bench(struct dev *v) {
    static const struct { int rows, C, V; } shapes[] = {{2048, 320, 8192}, {512, 768, 50257}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        double flops = 2.0 * shapes[i].rows * shapes[i].C * shapes[i].V;
        char what[64];
        struct timed t = setup(v, shapes[i].rows, shapes[i].C, shapes[i].V);
        snprintf(what, sizeof what, "classifier %d x %d x %d", t.rows, t.C, t.V);
        op_bench(v, what, time_all, &t, 3 * flops, 0);
        t = setup(v, shapes[i].rows, shapes[i].C, shapes[i].V);
        snprintf(what, sizeof what, "classifier, loss only %d x %d x %d", t.rows, t.C, t.V);
        op_bench(v, what, time_loss, &t, flops, 0);
    }
}

int main(int argc, char **argv) {
    return op_main(argc, argv, &(struct op_program){slopes, quick, full, bench});
}
