/* Causal self-attention over segments (Vaswani et al. 2017), one row of scores at a time.
 *
 *   s_j = scale q_i·k_j,   p_j = exp(s_j - lse),   lse = log sum exp(s_j),   start_i <= j <= i
 *   y_i = sum_j keep_ij p_j v_j                    y_i = 0, lse = 0 where start_i > i
 *
 * backward (Dao et al. 2022, appendix B.2), with D_i = y_i·dy_i = sum_j p_j dp_j:
 *   dp_j = keep_ij dy_i·v_j,   ds_j = p_j (dp_j - D_i)
 *   dq_i = scale sum_j ds_j k_j,   dk_j += scale ds_j q_i,   dv_j += keep_ij p_j dy_i */
#include "train/ref/ref.h"

static double dot(const float *a, const float *b, int n) {
    double s = 0;
    for (int i = 0; i < n; i++) s += (double)a[i] * b[i];
    return s;
}

void ref_attention_forward(struct device *d, void *y_, float *lse, const void *qkv_,
                           const int32_t *start, int B, int T, int C, int NH, float scale,
                           struct dropout drop) {
    float *y = y_;           /* (B,T,C) */
    const float *qkv = qkv_; /* (B,T,3,NH,HS) */
    int HS = C / NH;
    double *s = ref_scratch(d, (size_t)T + HS), *out = s + T;
    if (!s) return;
    for (int b = 0; b < B; b++)
        for (int h = 0; h < NH; h++)
            for (int i = 0; i < T; i++) {
                size_t row = (size_t)b * T + i;
                const float *q = qkv + row * 3 * C + (size_t)h * HS;
                const float *k0 = qkv + (size_t)b * T * 3 * C + C + (size_t)h * HS, *v0 = k0 + C;
                int first = start ? start[row] : 0;
                double max = -INFINITY, sum = 0;
                for (int j = first; j <= i; j++) {
                    s[j] = scale * dot(q, k0 + (size_t)j * 3 * C, HS);
                    if (s[j] > max) max = s[j];
                }
                for (int j = first; j <= i; j++) sum += exp(s[j] - max);
                for (int c = 0; c < HS; c++) out[c] = 0;
                for (int j = first; j <= i; j++) {
                    double p = exp(s[j] - max) / sum;
                    p *= ref_keep(&drop, b, dropout_attention_row(T, h, i) + (uint64_t)j);
                    for (int c = 0; c < HS; c++) out[c] += p * v0[(size_t)j * 3 * C + c];
                }
                for (int c = 0; c < HS; c++) y[row * C + (size_t)h * HS + c] = (float)out[c];
                lse[((size_t)b * NH + h) * T + i] = first <= i ? (float)(max + log(sum)) : 0;
            }
    free(s);
}

/* One head: dq, dk, dv (T,HS) in double, zero on entry. */
static void head_backward(double *dq, double *dk, double *dv, const float *dy, const float *y,
                          const float *lse, const float *q0, const int32_t *start, int b, int h,
                          int T, int C, int HS, float scale, const struct dropout *drop) {
    for (int i = 0; i < T; i++) {
        const float *q = q0 + (size_t)i * 3 * C, *dyi = dy + (size_t)i * C;
        double D = dot(dyi, y + (size_t)i * C, HS);
        for (int j = start ? start[i] : 0; j <= i; j++) {
            const float *k = q0 + (size_t)j * 3 * C + C, *v = k + C;
            double p = exp(scale * dot(q, k, HS) - lse[i]);
            double keep = ref_keep(drop, b, dropout_attention_row(T, h, i) + (uint64_t)j);
            double ds = scale * p * (keep * dot(dyi, v, HS) - D);
            for (int c = 0; c < HS; c++) {
                dq[(size_t)i * HS + c] += ds * k[c];
                dk[(size_t)j * HS + c] += ds * q[c];
                dv[(size_t)j * HS + c] += keep * p * dyi[c];
            }
        }
    }
}

void ref_attention_backward(struct device *d, void *dqkv_, const void *dy_, const void *y_,
                            const float *lse, const void *qkv_, const int32_t *start, int B, int T,
                            int C, int NH, float scale, struct dropout drop) {
    float *dqkv = dqkv_; /* (B,T,3,NH,HS) */
    const float *dy = dy_, *y = y_, *qkv = qkv_;
    int HS = C / NH;
    size_t n = (size_t)T * HS;
    double *acc = ref_scratch(d, 3 * n); /* dq, dk, dv of one head */
    if (!acc) return;
    for (int b = 0; b < B; b++)
        for (int h = 0; h < NH; h++) {
            size_t at = (size_t)b * T * C + (size_t)h * HS;
            size_t at3 = (size_t)b * T * 3 * C + (size_t)h * HS;
            memset(acc, 0, 3 * n * sizeof *acc);
            head_backward(acc, acc + n, acc + 2 * n, dy + at, y + at,
                          lse + ((size_t)b * NH + h) * T, qkv + at3,
                          start ? start + (size_t)b * T : NULL, b, h, T, C, HS, scale, &drop);
            for (int which = 0; which < 3; which++)
                for (int t = 0; t < T; t++)
                    for (int c = 0; c < HS; c++)
                        dqkv[at3 + ((size_t)t * 3 + which) * C + c] =
                            (float)acc[which * n + (size_t)t * HS + c];
        }
    free(acc);
}
