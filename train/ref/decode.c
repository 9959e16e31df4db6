/* Generation: attention of one new position per row against the cache, and plain logits.
 *
 *   k_cache[b,:,n] = k_b, v_cache[b,:,n] = v_b,   n = n_past[b]
 *   y_b = sum_j softmax_j(scale q_b·k_cache[b,:,j]) v_cache[b,:,j],   start[b] <= j <= n */
#include "train/ref/ref.h"

void ref_attention_decode(struct device *d, void *y_, void *k_cache, void *v_cache,
                          const void *qkv_, const int32_t *n_past, const int32_t *start, int B,
                          int P, int C, int NH, float scale) {
    float *y = y_;           /* (B,C) */
    const float *qkv = qkv_; /* (B,3,NH,HS) */
    size_t HS = (size_t)(C / NH);
    double *s = ref_scratch(d, (size_t)P + HS), *out = s + P;
    if (!s) return;
    for (int b = 0; b < B; b++)
        for (int h = 0; h < NH; h++) {
            const float *q = qkv + (size_t)b * 3 * C + h * HS;
            float *k = (float *)k_cache + ((size_t)b * NH + h) * P * HS; /* (P,HS) */
            float *v = (float *)v_cache + ((size_t)b * NH + h) * P * HS;
            int n = n_past[b], first = start ? start[b] : 0;
            memcpy(k + n * HS, q + C, HS * sizeof *k);
            memcpy(v + n * HS, q + 2 * C, HS * sizeof *v);
            double max = -INFINITY, sum = 0;
            for (int j = first; j <= n; j++) {
                s[j] = 0;
                for (size_t c = 0; c < HS; c++) s[j] += (double)q[c] * k[j * HS + c];
                s[j] *= scale;
                if (s[j] > max) max = s[j];
            }
            for (int j = first; j <= n; j++) sum += s[j] = exp(s[j] - max);
            memset(out, 0, HS * sizeof *out);
            for (int j = first; j <= n; j++)
                for (size_t c = 0; c < HS; c++) out[c] += s[j] / sum * v[j * HS + c];
            for (size_t c = 0; c < HS; c++) y[(size_t)b * C + h * HS + c] = (float)out[c];
        }
    free(s);
}

void ref_logits(struct device *d, float *logits, const void *x_, const void *w_, int rows, int C,
                int V) {
    const float *x = x_, *w = w_; /* (rows,C), (V,C) */
    (void)d;
    for (size_t r = 0; r < (size_t)rows; r++)
        for (size_t v = 0; v < (size_t)V; v++) {
            double sum = 0;
            for (int c = 0; c < C; c++) sum += (double)x[r * C + c] * w[v * C + c];
            logits[r * V + v] = (float)sum;
        }
}
