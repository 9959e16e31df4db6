/* Residual and LayerNorm: a row stays in L1 between its passes. Mathematics: ref/norm.c.
 *
 * dg and db are summed per fixed block of rows, the blocks' sums in order, so that any number of
 * threads gives the same bits. */
#include "train/cpu/ops.h"

enum { BLOCK = 64 }; /* rows per partial sum */

struct rows {
    size_t T, C;
    const struct dropout *drop;
};

INLINE void forward_row(void *y, void *sum, float *mean, float *rstd, const void *x,
                        const void *add, const void *g, const void *b, const struct rows *s,
                        size_t r, float eps, float *keep, bool bf16) {
    size_t C = s->C, e = r * C;
    if (s->drop && add) dropout_row(keep, s->drop, (int)(r / s->T), (uint64_t)(r % s->T) * C, C);
    vf total = {0};
    for (size_t c = 0; c < C; c += VL) {
        int w = lanes(c, C);
        vf v = ld(x, e + c, w, bf16);
        if (add) {
            vf a = ld(add, e + c, w, bf16);
            if (s->drop) a *= ld(keep, c, w, false); /* beyond C anything, also NaN */
            v += a;
            st(sum, e + c, w, bf16, v);
        }
        total += v;
    }
    /* What backward will read: with bf16 the statistics are of the rounded sum. */
    const void *in = add ? sum : x;
    if (add && bf16) {
        total = (vf){0};
        for (size_t c = 0; c < C; c += VL) total += ld(in, e + c, lanes(c, C), bf16);
    }
    float m = vf_sum(total) / (float)C;
    vf square = {0};
    for (size_t c = 0; c < C; c += VL) {
        int w = lanes(c, C);
        vf v = ld(in, e + c, w, bf16) - m;
        if (w < VL)
            for (int i = w; i < VL; i++) v[i] = 0;
        square += v * v;
    }
    float rs = 1 / sqrtf(vf_sum(square) / (float)C + eps);
    for (size_t c = 0; c < C; c += VL) {
        int w = lanes(c, C);
        vf n = (ld(in, e + c, w, bf16) - m) * rs;
        st(y, e + c, w, bf16, n * ld(g, c, w, bf16) + ld(b, c, w, bf16));
    }
    mean[r] = m;
    rstd[r] = rs;
}

struct forward {
    void *y, *sum;
    float *mean, *rstd;
    const void *x, *add, *g, *b;
    struct rows rows;
    float eps;
    bool bf16;
};

static void forward_one(const struct forward *f, size_t r, float *keep) {
    if (f->bf16)
        forward_row(f->y, f->sum, f->mean, f->rstd, f->x, f->add, f->g, f->b, &f->rows, r, f->eps,
                    keep, true);
    else
        forward_row(f->y, f->sum, f->mean, f->rstd, f->x, f->add, f->g, f->b, &f->rows, r, f->eps,
                    keep, false);
}

void cpu_norm_forward(struct device *d, void *y, void *sum, float *mean, float *rstd, const void *x,
                      const void *add, const void *g, const void *b, int B, int T, int C, float eps,
                      struct dropout drop) {
    struct forward f = {y,   sum,    mean, rstd, x, add, g, b, {(size_t)T, (size_t)C, NULL},
                        eps, d->bf16};
    size_t rows = (size_t)B * (size_t)T, row = round_up((size_t)C, 16);
    float *keep = cpu_work(d, WORK_THREAD, (size_t)d->threads * row * sizeof *keep);
    if (!keep) return;
    if (drop.p > 0) f.rows.drop = &drop;
    if (rows < ROWS_TO_SHARE) {
        for (size_t r = 0; r < rows; r++) forward_one(&f, r, keep);
        return;
    }
#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (size_t r = 0; r < rows; r++) forward_one(&f, r, keep + (size_t)omp_get_thread_num() * row);
}

/* sums: of dg, db and add_db, `room` floats each. */
INLINE void backward_row(void *dsum, void *dadd, float *sums, size_t room, const void *dy,
                         const void *sum, float mean, float rstd, const void *g,
                         const struct rows *s, size_t r, float *keep, bool bf16) {
    size_t C = s->C, e = r * C;
    if (s->drop && dadd) dropout_row(keep, s->drop, (int)(r / s->T), (uint64_t)(r % s->T) * C, C);
    float *dg = sums, *db = dg + room, *add_db = db + room;
    vf avg = {0}, avg_n = {0};
    for (size_t c = 0; c < C; c += VL) {
        int w = lanes(c, C);
        vf n = (ld(sum, e + c, w, bf16) - mean) * rstd, y = ld(dy, e + c, w, bf16);
        vf dn = y * ld(g, c, w, bf16); /* 0 in the lanes beyond C */
        avg += dn;
        avg_n += dn * n;
        stf(dg + c, ldf(dg + c) + y * n);
        stf(db + c, ldf(db + c) + y);
    }
    float a = vf_sum(avg) / (float)C, an = vf_sum(avg_n) / (float)C;
    for (size_t c = 0; c < C; c += VL) {
        int w = lanes(c, C);
        vf n = (ld(sum, e + c, w, bf16) - mean) * rstd;
        vf dn = ld(dy, e + c, w, bf16) * ld(g, c, w, bf16);
        vf v = ld(dsum, e + c, w, bf16) + rstd * (dn - a - n * an);
        st(dsum, e + c, w, bf16, v);
        v = ld(dsum, e + c, w, bf16); /* as stored; 0 in the lanes beyond C */
        if (dadd) {
            st(dadd, e + c, w, bf16, s->drop ? v * ldf(keep + c) : v);
            v = ld(dadd, e + c, w, bf16);
        }
        stf(add_db + c, ldf(add_db + c) + v);
    }
}

void cpu_norm_backward(struct device *d, void *dsum, void *dadd, float *dg, float *db,
                       float *add_db, const void *dy, const void *sum, const float *mean,
                       const float *rstd, const void *g, int B, int T, int C_,
                       struct dropout drop) {
    struct rows s = {(size_t)T, (size_t)C_, drop.p > 0 ? &drop : NULL};
    size_t rows = (size_t)B * (size_t)T, C = (size_t)C_, row = round_up(C, 16);
    size_t blocks = (rows + BLOCK - 1) / BLOCK;
    float *keep = cpu_work(d, WORK_THREAD, (size_t)d->threads * row * sizeof *keep);
    float *part = cpu_work(d, WORK_SUMS, blocks * 3 * row * sizeof *part);
    if (!keep || !part) return;
#pragma omp parallel num_threads(d->threads)
    {
        float *mine = keep + (size_t)omp_get_thread_num() * row;
#pragma omp for schedule(static)
        for (size_t k = 0; k < blocks; k++) {
            float *sums = part + k * 3 * row;
            memset(sums, 0, 3 * row * sizeof *sums);
            for (size_t r = k * BLOCK; r < rows && r < (k + 1) * BLOCK; r++) {
                if (d->bf16)
                    backward_row(dsum, dadd, sums, row, dy, sum, mean[r], rstd[r], g, &s, r, mine,
                                 true);
                else
                    backward_row(dsum, dadd, sums, row, dy, sum, mean[r], rstd[r], g, &s, r, mine,
                                 false);
            }
        }
#pragma omp for schedule(static) nowait
        for (size_t c = 0; c < C; c += VL) {
            float *const to[] = {dg, db, add_db};
            int w = lanes(c, C);
            for (size_t i = 0; i < 3; i++) {
                vf total = {0};
                if (!to[i]) continue;
                for (size_t k = 0; k < blocks; k++) total += ldf(part + (k * 3 + i) * row + c);
                st(to[i], c, w, false, ld(to[i], c, w, false) + total);
            }
        }
    }
}
