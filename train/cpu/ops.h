/* The operations of op.h for the instruction set this file is compiled for; argument by argument
 * as in struct backend. */
#ifndef LORY_TRAIN_CPU_OPS_H
#define LORY_TRAIN_CPU_OPS_H

#include "train/cpu/isa.h"

void cpu_embed_forward(struct device *d, void *x, const int32_t *tokens, const int32_t *pos,
                       const void *wte, const void *wpe, int B, int T, int C, struct dropout drop);
void cpu_embed_backward(struct device *d, float *dwte, float *dwpe, const void *dx,
                        const int32_t *tokens, const int32_t *pos, int B, int T, int C, int V,
                        struct dropout drop);
void cpu_norm_forward(struct device *d, void *y, void *sum, float *mean, float *rstd, const void *x,
                      const void *add, const void *g, const void *b, int B, int T, int C, float eps,
                      struct dropout drop);
void cpu_norm_backward(struct device *d, void *dsum, void *dadd, float *dg, float *db,
                       float *add_db, const void *dy, const void *sum, const float *mean,
                       const float *rstd, const void *g, int B, int T, int C, struct dropout drop);
void cpu_linear_forward(struct device *d, void *y, void *pre, const void *x, const void *w,
                        const void *b, int rows, int K, int N, enum act act);
void cpu_act_forward(struct device *d, void *y, const void *pre, size_t n, enum act act);
void cpu_linear_backward(struct device *d, void *dx, float *dw, float *db, const void *dy,
                         const void *x, const void *w, const void *prev_pre, enum act prev_act,
                         int rows, int K, int N);
void cpu_attention_forward(struct device *d, void *y, float *lse, const void *qkv,
                           const int32_t *start, int B, int T, int C, int NH, float scale,
                           struct dropout drop);
void cpu_attention_backward(struct device *d, void *dqkv, const void *dy, const void *y,
                            const float *lse, const void *qkv, const int32_t *start, int B, int T,
                            int C, int NH, float scale, struct dropout drop);
void cpu_classifier(struct device *d, float *loss, void *dx, float *dw, const void *x,
                    const void *w, const int32_t *labels, int rows, int C, int V,
                    const float *scale);
void cpu_loss_sum(struct device *d, double *sum, const float *loss, size_t n);
void cpu_grad_norm(struct device *d, struct step_scalars *s, const struct param_slice *p,
                   size_t n_params);
void cpu_adamw(struct device *d, const struct step_scalars *s, const struct param_slice *p,
               size_t n_params);
void cpu_cast(struct device *d, void *to, const float *from, size_t n);
void cpu_attention_decode(struct device *d, void *y, void *k_cache, void *v_cache, const void *qkv,
                          const int32_t *n_past, const int32_t *start, int B, int P, int C, int NH,
                          float scale);
void cpu_logits(struct device *d, float *logits, const void *x, const void *w, int rows, int C,
                int V);

#endif
