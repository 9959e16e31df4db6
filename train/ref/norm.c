/* Residual addition and LayerNorm over the last axis (Ba, Kiros, Hinton 2016).
 *
 *   s = x + keep * add
 *   y = g * (s - mean) * rstd + b         mean and variance over C, rstd = 1 / sqrt(variance + eps)
 *
 * backward, with n = (s - mean) * rstd and dn = dy * g:
 *   ds = rstd * (dn - avg(dn) - n * avg(dn * n)),   dg = sum over rows of dy * n,   db = sum of dy
 *   dadd = keep * dsum,   add_db = sum over rows of dadd
 *
 * ds is added to dsum (two paths meet in the residual), dg, db and add_db are added to. */
#include "train/ref/ref.h"

void ref_norm_forward(struct device *d, void *y_, void *sum_, float *mean, float *rstd,
                      const void *x_, const void *add_, const void *g_, const void *b_, int B,
                      int T, int C, float eps, struct dropout drop) {
    float *y = y_, *sum = sum_;       /* (rows,C) */
    const float *x = x_, *add = add_; /* (rows,C) */
    const float *g = g_, *b = b_;     /* (C)      */
    (void)d;
    for (size_t r = 0; r < (size_t)B * T; r++) {
        const float *s = x + r * C;
        if (add) {
            for (int c = 0; c < C; c++) {
                double keep = ref_keep(&drop, (int)(r / T), (uint64_t)(r % T) * C + c);
                sum[r * C + c] = (float)(x[r * C + c] + keep * add[r * C + c]);
            }
            s = sum + r * C;
        }
        double m = 0, v = 0;
        for (int c = 0; c < C; c++) m += s[c];
        m /= C;
        for (int c = 0; c < C; c++) v += (s[c] - m) * (s[c] - m);
        double rs = 1 / sqrt(v / C + eps);
        for (int c = 0; c < C; c++) y[r * C + c] = (float)(g[c] * (s[c] - m) * rs + b[c]);
        mean[r] = (float)m;
        rstd[r] = (float)rs;
    }
}

void ref_norm_backward(struct device *d, void *dsum_, void *dadd_, float *dg, float *db,
                       float *add_db, const void *dy_, const void *sum_, const float *mean,
                       const float *rstd, const void *g_, int B, int T, int C,
                       struct dropout drop) {
    float *dsum = dsum_, *dadd = dadd_;          /* (rows,C) */
    const float *dy = dy_, *sum = sum_;          /* (rows,C) */
    const float *g = g_;                         /* (C)      */
    double *acc = ref_scratch(d, 3 * (size_t)C); /* dg, db, add_db */
    if (!acc) return;
    for (size_t r = 0; r < (size_t)B * T; r++) {
        double avg = 0, avg_n = 0;
        for (int c = 0; c < C; c++) {
            double n = ((double)sum[r * C + c] - mean[r]) * rstd[r];
            double dn = (double)dy[r * C + c] * g[c];
            avg += dn;
            avg_n += dn * n;
            acc[c] += dy[r * C + c] * n;
            acc[C + c] += dy[r * C + c];
        }
        avg /= C;
        avg_n /= C;
        for (int c = 0; c < C; c++) {
            double n = ((double)sum[r * C + c] - mean[r]) * rstd[r];
            double dn = (double)dy[r * C + c] * g[c];
            dsum[r * C + c] = (float)(dsum[r * C + c] + rstd[r] * (dn - avg - n * avg_n));
            if (dadd)
                dadd[r * C + c] = (float)(dsum[r * C + c] *
                                          ref_keep(&drop, (int)(r / T), (uint64_t)(r % T) * C + c));
            acc[2 * C + c] += (dadd ? dadd : dsum)[r * C + c];
        }
    }
    for (int c = 0; c < C; c++) {
        dg[c] = (float)(dg[c] + acc[c]);
        db[c] = (float)(db[c] + acc[C + c]);
        if (add_db) add_db[c] = (float)(add_db[c] + acc[2 * C + c]);
    }
    free(acc);
}
