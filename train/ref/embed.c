/* Token and position embedding.
 *
 *   x[b,t,:] = keep * (wte[tokens[b,t]] + wpe[pos[b,t]])
 *
 * backward: each row of dwte (dwpe) adds keep * dx of every place that read it. The sums run over
 * places in order and in double, one column at a time, so that the order is part of the meaning. */
#include "train/ref/ref.h"

void ref_embed_forward(struct device *d, void *x_, const int32_t *tokens, const int32_t *pos,
                       const void *wte_, const void *wpe_, int B, int T, int C,
                       struct dropout drop) {
    float *x = x_;                        /* (B,T,C) */
    const float *wte = wte_, *wpe = wpe_; /* (V,C), (P,C) */
    (void)d;
    for (int b = 0; b < B; b++)
        for (int t = 0; t < T; t++) {
            size_t row = (size_t)b * T + t;
            size_t token = (size_t)tokens[row], p = pos ? (size_t)pos[row] : (size_t)t;
            for (int c = 0; c < C; c++)
                x[row * C + c] = (float)(((double)wte[token * C + c] + wpe[p * C + c]) *
                                         ref_keep(&drop, b, (uint64_t)t * C + c));
        }
}

void ref_embed_backward(struct device *d, float *dwte, float *dwpe, const void *dx_,
                        const int32_t *tokens, const int32_t *pos, int B, int T, int C, int V,
                        struct dropout drop) {
    const float *dx = dx_; /* (B,T,C) */
    size_t rows = (size_t)B * T, P = 0;
    for (size_t r = 0; r < rows; r++) {
        size_t p = pos ? (size_t)pos[r] : r % T;
        if (p >= P) P = p + 1;
    }
    double *sum = ref_scratch(d, (size_t)V + P); /* one column of dwte, then one of dwpe */
    if (!sum) return;
    for (int c = 0; c < C; c++) {
        for (size_t v = 0; v < (size_t)V; v++) sum[v] = dwte[v * C + c];
        for (size_t p = 0; p < P; p++) sum[V + p] = dwpe[p * C + c];
        for (size_t r = 0; r < rows; r++) {
            uint64_t e = (uint64_t)(r % T) * C + c;
            double g = dx[r * C + c] * ref_keep(&drop, (int)(r / T), e);
            sum[tokens[r]] += g;
            sum[V + (pos ? (size_t)pos[r] : r % T)] += g;
        }
        for (size_t v = 0; v < (size_t)V; v++) dwte[v * C + c] = (float)sum[v];
        for (size_t p = 0; p < P; p++) dwpe[p * C + c] = (float)sum[V + p];
    }
    free(sum);
}
