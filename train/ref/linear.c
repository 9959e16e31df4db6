/* Affine map with activation; w is (K,N) as HF's Conv1D keeps it.
 *
 *   pre = x w + b,   y = act(pre)
 *
 * backward, for dy = d loss / d pre of this map:
 *   dx = (dy w^T) * prev_act'(prev_pre),   dw += x^T dy,   db += sum of the rows of dy */
#include "train/ref/ref.h"

void ref_linear_forward(struct device *d, void *y_, void *pre_, const void *x_, const void *w_,
                        const void *b_, int rows, int K, int N, enum act act) {
    float *y = y_, *pre = pre_;            /* (rows,N) */
    const float *x = x_, *w = w_, *b = b_; /* (rows,K), (K,N), (N) */
    double *sum = ref_scratch(d, (size_t)N);
    if (!sum) return;
    for (size_t r = 0; r < (size_t)rows; r++) {
        for (int n = 0; n < N; n++) sum[n] = b ? b[n] : 0;
        for (size_t k = 0; k < (size_t)K; k++)
            for (int n = 0; n < N; n++) sum[n] += (double)x[r * K + k] * w[k * N + n];
        for (int n = 0; n < N; n++) {
            float sum32 = (float)sum[n];
            if (pre) pre[r * N + n] = sum32;
            y[r * N + n] = (float)ref_act(sum32, act);
        }
    }
    free(sum);
}

void ref_act_forward(struct device *d, void *y_, const void *pre_, size_t n, enum act act) {
    float *y = y_;
    const float *pre = pre_;
    if (d->first.code) return;
    for (size_t i = 0; i < n; i++) y[i] = (float)ref_act(pre[i], act);
}

static void linear_dw(struct device *d, float *dw, const float *dy, const float *x, int rows, int K,
                      int N) {
    double *sum = ref_scratch(d, (size_t)N);
    if (!sum) return;
    for (size_t k = 0; k < (size_t)K; k++) {
        for (int n = 0; n < N; n++) sum[n] = dw[k * N + n];
        for (size_t r = 0; r < (size_t)rows; r++)
            for (int n = 0; n < N; n++) sum[n] += (double)x[r * K + k] * dy[r * N + n];
        for (int n = 0; n < N; n++) dw[k * N + n] = (float)sum[n];
    }
    free(sum);
}

void ref_linear_backward(struct device *d, void *dx_, float *dw, float *db, const void *dy_,
                         const void *x_, const void *w_, const void *prev_pre_, enum act prev_act,
                         int rows, int K, int N) {
    float *dx = dx_;                         /* (rows,K) */
    const float *dy = dy_, *x = x_, *w = w_; /* (rows,N), (rows,K), (K,N) */
    const float *prev_pre = prev_pre_;       /* (rows,K) */
    for (size_t r = 0; dx && r < (size_t)rows; r++)
        for (size_t k = 0; k < (size_t)K; k++) {
            double sum = 0;
            for (size_t n = 0; n < (size_t)N; n++) sum += (double)dy[r * N + n] * w[k * N + n];
            if (prev_pre) sum *= ref_act_slope(prev_pre[r * K + k], prev_act);
            dx[r * K + k] = (float)sum;
        }
    if (dw) linear_dw(d, dw, dy, x, rows, K, N);
    for (size_t n = 0; db && n < (size_t)N; n++) {
        double sum = db[n];
        for (size_t r = 0; r < (size_t)rows; r++) sum += dy[r * N + n];
        db[n] = (float)sum;
    }
}
