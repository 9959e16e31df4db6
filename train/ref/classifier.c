/* Softmax cross-entropy over the vocabulary, with the tied output matrix w (V,C).
 *
 *   z = x w^T,   loss = log sum_v exp(z_v) - z_label                   per row; 0 if ignored
 *   dz_v = scale (softmax(z)_v - [v = label]),   dx = dz w,   dw += dz^T x
 *
 * One row of logits at a time.
 *
 *   loss_sum  sum = sum + (loss_0 + loss_1 + …) */
#include "train/ref/ref.h"

void ref_classifier(struct device *d, float *loss, void *dx_, float *dw, const void *x_,
                    const void *w_, const int32_t *labels, int rows, int C, int V,
                    const float *scale) {
    float *dx = dx_;              /* (rows,C) */
    const float *x = x_, *w = w_; /* (rows,C), (V,C) */
    double *z = ref_scratch(d, (size_t)V + C), *dxr = z + V;
    /* dw in double over all rows; added to what is there at the end */
    double *dws = dx && dw ? ref_scratch(d, (size_t)V * C) : NULL;
    if (!z || (dx && dw && !dws)) {
        free(z);
        return;
    }
    for (size_t r = 0; r < (size_t)rows; r++) {
        const float *xr = x + r * C;
        loss[r] = 0;
        if (dx) memset(dx + r * C, 0, (size_t)C * sizeof *dx);
        if (labels[r] == LABEL_IGNORED) continue;
        double max = -INFINITY, sum = 0;
        for (size_t v = 0; v < (size_t)V; v++) {
            z[v] = 0;
            for (int c = 0; c < C; c++) z[v] += (double)xr[c] * w[v * C + c];
            if (z[v] > max) max = z[v];
        }
        for (int v = 0; v < V; v++) sum += exp(z[v] - max);
        loss[r] = (float)(log(sum) + max - z[labels[r]]);
        if (!dx) continue;
        memset(dxr, 0, (size_t)C * sizeof *dxr);
        for (size_t v = 0; v < (size_t)V; v++) {
            double dz = *scale * (exp(z[v] - max) / sum - ((int32_t)v == labels[r]));
            for (int c = 0; c < C; c++) dxr[c] += dz * w[v * C + c];
            if (dws)
                for (int c = 0; c < C; c++) dws[v * C + c] += dz * xr[c];
        }
        for (int c = 0; c < C; c++) dx[r * C + c] = (float)dxr[c];
    }
    for (size_t e = 0; dws && e < (size_t)V * C; e++) dw[e] = (float)(dw[e] + dws[e]);
    free(dws);
    free(z);
}

void ref_loss_sum(struct device *d, double *sum, const float *loss, size_t n) {
    (void)d;
    double s = 0;
    for (size_t r = 0; r < n; r++) s += loss[r];
    *sum += s;
}
