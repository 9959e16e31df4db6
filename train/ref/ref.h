/* The reference backend's insides: one file per operation, each opening with its mathematics.
 *
 * Plain loops, fp32 storage, sums in double: this is what "correct" means for every other backend.
 * It is checked against finite differences (tests/op) and PyTorch's numbers (tests/unit/train). */
#ifndef LORY_TRAIN_REF_REF_H
#define LORY_TRAIN_REF_REF_H

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "train/dropout.h"
#include "train/op.h"

struct device {
    struct err first; /* the first failure; code 0 if none */
    char text[64];
};

/* n zeroed doubles for one operation; NULL after noting the failure, or if one was noted before. */
double *ref_scratch(struct device *d, size_t n);

/* Dropout's factor of element e of batch row b: 1 where p is 0. */
static inline double ref_keep(const struct dropout *drop, int b, uint64_t e) {
    return drop->p > 0 ? (double)dropout_factor(drop, b, e) : 1;
}

/* gelu.c */
double ref_act(double x, enum act act);
double ref_act_slope(double x, enum act act);

/* The operations of op.h, in its order; argument by argument as in struct backend. */
void ref_embed_forward(struct device *d, void *x, const int32_t *tokens, const int32_t *pos,
                       const void *wte, const void *wpe, int B, int T, int C, struct dropout drop);
void ref_embed_backward(struct device *d, float *dwte, float *dwpe, const void *dx,
                        const int32_t *tokens, const int32_t *pos, int B, int T, int C, int V,
                        struct dropout drop);
void ref_norm_forward(struct device *d, void *y, void *sum, float *mean, float *rstd, const void *x,
                      const void *add, const void *g, const void *b, int B, int T, int C, float eps,
                      struct dropout drop);
void ref_norm_backward(struct device *d, void *dsum, void *dadd, float *dg, float *db,
                       float *add_db, const void *dy, const void *sum, const float *mean,
                       const float *rstd, const void *g, int B, int T, int C, struct dropout drop);
void ref_linear_forward(struct device *d, void *y, void *pre, const void *x, const void *w,
                        const void *b, int rows, int K, int N, enum act act);
void ref_act_forward(struct device *d, void *y, const void *pre, size_t n, enum act act);
void ref_linear_backward(struct device *d, void *dx, float *dw, float *db, const void *dy,
                         const void *x, const void *w, const void *prev_pre, enum act prev_act,
                         int rows, int K, int N);
void ref_attention_forward(struct device *d, void *y, float *lse, const void *qkv,
                           const int32_t *start, int B, int T, int C, int NH, float scale,
                           struct dropout drop);
void ref_attention_backward(struct device *d, void *dqkv, const void *dy, const void *y,
                            const float *lse, const void *qkv, const int32_t *start, int B, int T,
                            int C, int NH, float scale, struct dropout drop);
void ref_classifier(struct device *d, float *loss, void *dx, float *dw, const void *x,
                    const void *w, const int32_t *labels, int rows, int C, int V,
                    const float *scale);
void ref_loss_sum(struct device *d, double *sum, const float *loss, size_t n);
void ref_grad_norm(struct device *d, struct step_scalars *s, const struct param_slice *p,
                   size_t n_params);
void ref_adamw(struct device *d, const struct step_scalars *s, const struct param_slice *p,
               size_t n_params);
void ref_cast(struct device *d, void *to, const float *from, size_t n);
void ref_attention_decode(struct device *d, void *y, void *k_cache, void *v_cache, const void *qkv,
                          const int32_t *n_past, const int32_t *start, int B, int P, int C, int NH,
                          float scale);
void ref_logits(struct device *d, float *logits, const void *x, const void *w, int rows, int C,
                int V);

#endif
