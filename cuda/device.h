/* The CUDA device as the other files of cuda/ see it: its compute type, its workspace, its first
 * failure. Opened and closed by device.cu. */
#ifndef LORY_CUDA_DEVICE_H
#define LORY_CUDA_DEVICE_H

#ifdef __cplusplus
extern "C" {
#endif
#include "train/op.h"
#ifdef __cplusplus
}
#endif

bool cuda_is_bf16(const struct device *d);
int cuda_multiprocessors(const struct device *d);
int cuda_compute_capability(const struct device *d); /* 90: Hopper */
const char *cuda_name(const struct device *d);
size_t cuda_total_memory(const struct device *d);
size_t cuda_shared_limit(const struct device *d); /* of a block */
struct gemm_plans *cuda_gemms(struct device *d);

/* What attention on this device may use beside the portable kernels … */
struct attention_choice {
    bool measured, by_engine;
};
struct attention_ways {
    bool warpgroups;                           /* Hopper's kernels agree with the portable ones */
    bool engine;                               /* its copy engine's tiles give the same bits    */
    struct attention_choice forward, backward; /* … and whether that engine is the faster way   */
};
struct attention_ways *cuda_attention_ways(struct device *d);
/* Tries them when a Hopper is opened (attention_agree.cu). */
void attention_find_ways(struct device *d, struct attention_ways *ret);
/* The driver's cuTensorMapEncodeTiled; NULL where there is none. */
void *cuda_map_encoder(const struct device *d);

/* Between measure() and measured(): nothing is done then. */
bool cuda_measuring(const struct device *d);
/* While measuring: memory of this size will be wanted for a while at an operation's first time. */
void cuda_wants_once(struct device *d, size_t bytes);
/* Adds to notes(), once. */
void cuda_note(struct device *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Between record() and recorded(): nothing is done then, and nothing may wait or allocate. */
bool cuda_recording(const struct device *d);
/* What is being recorded cannot be kept; the recording comes to nothing. */
void cuda_cannot_record(struct device *d);

/* Device memory for the length of one operation; the next one may use it again. NULL after noting
 * the failure, or if one was noted before. Contents are undefined. */
void *cuda_work(struct device *d, size_t bytes);

/* A copy of `bytes` of host memory on the device that stays until others are given: the same ones
 * are sent once. NULL as above. */
void *cuda_keep(struct device *d, const void *host, size_t bytes);

/* Notes a failure of the running operation, if none was noted before. */
void cuda_fail(struct device *d, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The operations of op.h, in its order; argument by argument as in struct backend. */
void cuda_embed_forward(struct device *d, void *x, const int32_t *tokens, const int32_t *pos,
                        const void *wte, const void *wpe, int B, int T, int C, struct dropout drop);
void cuda_embed_backward(struct device *d, float *dwte, float *dwpe, const void *dx,
                         const int32_t *tokens, const int32_t *pos, int B, int T, int C, int V,
                         struct dropout drop);
void cuda_norm_forward(struct device *d, void *y, void *sum, float *mean, float *rstd,
                       const void *x, const void *add, const void *g, const void *b, int B, int T,
                       int C, float eps, struct dropout drop);
void cuda_norm_backward(struct device *d, void *dsum, void *dadd, float *dg, float *db,
                        float *add_db, const void *dy, const void *sum, const float *mean,
                        const float *rstd, const void *g, int B, int T, int C, struct dropout drop);
void cuda_linear_forward(struct device *d, void *y, void *pre, const void *x, const void *w,
                         const void *b, int rows, int K, int N, enum act act);
void cuda_act_forward(struct device *d, void *y, const void *pre, size_t n, enum act act);
void cuda_linear_backward(struct device *d, void *dx, float *dw, float *db, const void *dy,
                          const void *x, const void *w, const void *prev_pre, enum act prev_act,
                          int rows, int K, int N);
void cuda_classifier(struct device *d, float *loss, void *dx, float *dw, const void *x,
                     const void *w, const int32_t *labels, int rows, int C, int V,
                     const float *scale);
void cuda_loss_sum(struct device *d, double *sum, const float *loss, size_t n);
void cuda_grad_norm(struct device *d, struct step_scalars *s, const struct param_slice *p,
                    size_t n_params);
void cuda_adamw(struct device *d, const struct step_scalars *s, const struct param_slice *p,
                size_t n_params);
void cuda_cast(struct device *d, void *to, const float *from, size_t n);
void cuda_attention_decode(struct device *d, void *y, void *k_cache, void *v_cache, const void *qkv,
                           const int32_t *n_past, const int32_t *start, int B, int P, int C, int NH,
                           float scale);
void cuda_logits(struct device *d, float *logits, const void *x, const void *w, int rows, int C,
                 int V);
void cuda_sample(struct device *d, int32_t *ids, float *logits, const double *unit,
                 const struct sampling *how, int rows, int V);
void cuda_attention_forward(struct device *d, void *y, float *lse, const void *qkv,
                            const int32_t *start, int B, int T, int C, int NH, float scale,
                            struct dropout drop);
void cuda_attention_backward(struct device *d, void *dqkv, const void *dy, const void *y,
                             const float *lse, const void *qkv, const int32_t *start, int B, int T,
                             int C, int NH, float scale, struct dropout drop);

#endif
