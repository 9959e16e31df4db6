/* The operations a GPT-2 needs, as one table of functions per backend: `ref` (plain C, the
 * definition of correct), `cpu` (fast), `cuda` (a module of its own). The model calls through the
 * table and knows no backend; train/ never names cuda/.
 *
 * Letters: B batch, T sequence, C width, NH heads, HS = C / NH, V vocabulary, rows = B * T.
 *
 * Types: "act" is the compute type of the device (fp32 or bf16, struct device_opts.dtype):
 * activations and the weights the products read. Gradients of parameters, statistics and losses
 * are fp32.
 * Gradients: "=" overwrites, "+=" adds. Pointers are device pointers unless they say host; every
 * tensor is contiguous, row-major, 64-byte aligned, and no two arguments overlap. Weights (w, b, g)
 * and n_past may be read before the operation in front is done: they are not what it gave.
 *
 * Errors: operations return nothing; the device keeps the first failure, and sync() reports it.
 * After a failure operations do nothing. One thread drives a device.
 *
 * Determinism: the same inputs give the same bits, whatever the number of threads. */
#ifndef LORY_TRAIN_OP_H
#define LORY_TRAIN_OP_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

enum dtype { DTYPE_F32, DTYPE_BF16 };
static inline size_t dtype_bytes(enum dtype t) {
    return t == DTYPE_F32 ? 4 : 2;
}

/* Bytes that a tensor of so many takes in a block where another follows it. */
static inline size_t tensor_room(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

enum act { ACT_NONE, ACT_GELU_TANH /* HF gelu_new */, ACT_GELU_ERF /* HF gelu */ };

enum { LABEL_IGNORED = -100 }; /* as PyTorch's cross_entropy */

struct device;    /* a backend's own: threads, streams, workspaces, plans */
struct recording; /* operations kept by a device, to be done again          */

struct device_opts {
    enum dtype dtype;
    int threads; /* CPU: 0 = all there are */
    int ordinal; /* GPU number             */
    /* GPU: where the algorithms measured for its products are kept, so that a resumed run takes the
     * same ones and gets the same bits; NULL: nowhere. Borrowed while open() runs. */
    const char *plan_file;
    bool no_record; /* GPU: record() is refused, so that every kernel is launched by itself */
};

/* Dropout without stored masks: element `e` (0 … T*C-1, or h,i,j of attention) of batch row b is
 * kept or not by philox(key, counter made of site, e and sample0 + b): see train/dropout.h for
 * the bits. `sample0` is the run's ordinal of the first row, so a mask does not depend on
 * micro-batches, ranks or threads. */
struct dropout {
    float p; /* 0: none; everything else is then unused                        */
    uint64_t key;
    uint64_t sample0;
    uint32_t site; /* which place in the model                                        */
    /* Device memory (1), added to sample0, so that what record() keeps can be replayed for other
     * rows; NULL: 0. */
    const uint64_t *more;
};

/* One parameter as the optimizer sees it. */
struct param_slice {
    float *master;     /* (n) fp32 weights                                               */
    const float *grad; /* (n)                                                            */
    float *m, *v;      /* (n) first and second moments                                   */
    void *act;         /* (n) the copy the products read (bf16); NULL if there is none   */
    size_t n;
    bool decay;
};

/* How the next id is drawn from logits; transformers' names. */
struct sampling {
    bool greedy;
    float temperature; /* 1                                                            */
    int top_k;         /* 0: off                                                       */
    float top_p;       /* 1: off                                                       */
    float min_p;       /* 0: off                                                       */
    float typical_p, epsilon_cutoff, eta_cutoff; /* 0: off. The host's alone                  */
};

/* What one optimizer step reads and writes, in device memory, so that a captured step can be
 * replayed. */
struct step_scalars {
    float lr, beta1, beta2, eps, weight_decay;
    float clip;        /* largest gradient norm; 0: no clipping                           */
    float grad_scale;  /* multiplies every gradient first (1 / number of targets …)       */
    float spike;       /* a norm above this skips the step too; 0: never                  */
    uint64_t step;     /* from 1: for the bias corrections                                */
    double loss_sum;   /* of the step's losses, as loss_sum() adds them up                */
    double targets;    /* of the step: loss_sum / targets is the mean; 0: there is none   */
    double loss_spike; /* a mean above this skips the step too; 0: never                 */
    float grad_norm;   /* out: after grad_scale, before clipping                          */
    int32_t skipped;   /* out: 1 if the norm or the mean loss was not finite or a spike:
                         nothing changed                                                 */
};

/* True where the mean loss alone says that the step is not to be taken. */
static inline bool step_loss_spiked(const struct step_scalars *s) {
    double mean = s->targets > 0 ? s->loss_sum / s->targets : 0;
    return !isfinite(mean) || (s->loss_spike > 0 && mean > s->loss_spike);
}

/* clang-format off: a table, one operation a paragraph */
struct backend {
    const char *name; /* "ref", "cpu", "cuda" */

    /* ---------------------------------------------------------------- device and memory */
    int (*open)(struct device **ret, const struct device_opts *opts, struct err *err);
    void (*close)(struct device *d); /* NULL is fine */
    /* One line for people: "cpu: AMD EPYC, 2 threads, avx512, fp32". Borrowed. */
    const char *(*describe)(const struct device *d);
    /* Bytes that GPU number `ordinal` has free, before anything is opened; NULL where a device's
     * memory is the system's. */
    int (*memory)(int ordinal, uint64_t *ret_free, struct err *err);
    /* Zeroed memory. ERR_NOMEM. */
    int (*alloc)(struct device *d, void **ret, size_t bytes, struct err *err);
    void (*free)(struct device *d, void *p);
    void (*upload)(struct device *d, void *to, const void *from_host, size_t bytes);
    void (*download)(struct device *d, void *to_host, const void *from, size_t bytes); /* waits */
    void (*copy)(struct device *d, void *to, const void *from, size_t bytes);
    /* `rows` rows of `bytes` bytes that begin `stride` bytes apart. */
    void (*copy_rows)(struct device *d, void *to, size_t to_stride, const void *from,
                      size_t from_stride, size_t bytes, size_t rows);
    void (*zero)(struct device *d, void *p, size_t bytes);
    /* Waits for everything; the first failure since open. */
    int (*sync)(struct device *d, struct err *err);

    /* What a device cannot do as it should, and what it has measured, for people: "no fused dgelu
     * for 64 x 3072 x 768; …". "" if there is nothing. Grows while it works. Borrowed. NULL where
     * there never is. */
    const char *(*notes)(const struct device *d);

    /* Between measure() and measured() operations are not done, nor their pointers followed: the
     * device learns how much memory they use beside their arguments. measured() says how much the
     * device will want in all for such operations; reserve() makes that room, so that nothing
     * moves or fails later. The three are NULL where nobody counts. */
    void (*measure)(struct device *d);
    uint64_t (*measured)(struct device *d);
    int (*reserve)(struct device *d, struct err *err);

    /* Operations between record() and recorded() are not done but kept, to be done any number of
     * times by replay(): one submission in place of hundreds. Pointers and numbers are kept as they
     * are, and what is in memory is read anew each time. Nothing of the group above in between, but
     * copy and zero. The four are NULL where a device has no such thing. */
    bool (*record)(struct device *d); /* false: not on this device */
    /* NULL: something among the operations cannot be kept. None was done: do them one by one. */
    struct recording *(*recorded)(struct device *d);
    /* False, and nothing was done: memory that the operations use beside their arguments has moved;
     * forget it and record again. */
    bool (*replay)(struct device *d, struct recording *r);
    void (*forget)(struct device *d, struct recording *r); /* NULL is fine */

    /* ---------------------------------------------------------------- layer operations */

    /* x[b,t,:] = dropout(wte[tokens[b,t]] + wpe[pos[b,t]]);  pos NULL: pos[b,t] = t */
    void (*embed_forward)(struct device *d, void *x /* = (B,T,C) act */,
                          const int32_t *tokens /* (B,T) */, const int32_t *pos /* (B,T) */,
                          const void *wte /* (V,C) act */, const void *wpe /* (P,C) act */, int B,
                          int T, int C, struct dropout drop);
    void (*embed_backward)(struct device *d, float *dwte /* += (V,C) */, float *dwpe /* += (P,C) */,
                           const void *dx /* (B,T,C) act */, const int32_t *tokens,
                           const int32_t *pos, int B, int T, int C, int V, struct dropout drop);

    /* Residual and LayerNorm in one pass (Ba, Kiros, Hinton 2016):
     *   sum = x + dropout(add);  y = g * (sum - mean) * rstd + b
     * add NULL: sum is not written and x itself is normed. */
    void (*norm_forward)(struct device *d, void *y /* = (rows,C) act */,
                         void *sum /* = (rows,C) act */, float *mean /* = (rows) */,
                         float *rstd /* = (rows) */, const void *x, const void *add,
                         const void *g /* (C) act */, const void *b, int B, int T, int C, float eps,
                         struct dropout drop);
    /* dsum += LayerNorm'(dy);  dadd = dropout'(dsum) if dadd is not NULL (needed if drop.p > 0).
     * add_db, or NULL: += sum of rows of dadd, or of dsum if dadd is NULL: the gradient of the bias
     * of the map that made `add`, so that it costs no pass of its own. */
    void (*norm_backward)(struct device *d, void *dsum /* += (rows,C) act */,
                          void *dadd /* = (rows,C) act */, float *dg /* += (C) */,
                          float *db /* += (C) */, float *add_db /* += (C) */,
                          const void *dy /* (rows,C) act */, const void *sum /* (rows,C) act */,
                          const float *mean, const float *rstd, const void *g, int B, int T, int C,
                          struct dropout drop);

    /* pre = x w + b;  y = act(pre).  w is (K,N): HF's Conv1D. pre NULL with ACT_NONE; it is what
     * backward needs of the activation, which is taken of pre as it is stored. */
    void (*linear_forward)(struct device *d, void *y /* = (rows,N) act */,
                           void *pre /* = (rows,N) act */, const void *x /* (rows,K) act */,
                           const void *w /* (K,N) act */, const void *b /* (N) act, or NULL */,
                           int rows, int K, int N, enum act act);
    /* y = act(pre) again: the bits that linear_forward gave. */
    void (*act_forward)(struct device *d, void *y /* = (n) act */, const void *pre /* (n) act */,
                        size_t n, enum act act);
    /* dx = (dy w^T) * prev_act'(prev_pre);  dw += x^T dy;  db += sum of rows of dy.
     * prev_pre, prev_act: of the operation that made x, so that its derivative costs no
     * pass of its own;
     * NULL and ACT_NONE otherwise. dx, dw, db may each be NULL. */
    void (*linear_backward)(struct device *d, void *dx /* = (rows,K) act */,
                            float *dw /* += (K,N) */, float *db /* += (N) */,
                            const void *dy /* (rows,N) act */, const void *x, const void *w,
                            const void *prev_pre /* (rows,K) act */, enum act prev_act, int rows,
                            int K, int N);

    /* Causal self-attention, never T×T in memory:
     *   y[b,i,h] = sum over start[b,i] <= j <= i of dropout(softmax_j(scale q_i·k_j)) v_j
     * qkv is (B,T,3,NH,HS); scale > 0; start[b,i] is the first position row i may see (packing,
     * left padding); NULL: 0. lse[b,h,i] = log of the softmax's sum, kept for backward. Rows before
     * their segment (start[b,i] > i) give 0. */
    void (*attention_forward)(struct device *d, void *y /* = (B,T,C) act */,
                              float *lse /* = (B,NH,T) */, const void *qkv /* act */,
                              const int32_t *start /* (B,T) */, int B, int T, int C, int NH,
                              float scale, struct dropout drop);
    void (*attention_backward)(struct device *d, void *dqkv /* = (B,T,3,NH,HS) act */,
                               const void *dy /* (B,T,C) act */, const void *y, const float *lse,
                               const void *qkv, const int32_t *start, int B, int T, int C, int NH,
                               float scale, struct dropout drop);

    /* Softmax cross-entropy of x w^T, logits in chunks, never (rows,V) in memory:
     *   loss[r] = -log softmax(x_r w^T)[labels[r]];  0 where labels[r] is LABEL_IGNORED
     * and, if dx is not NULL, the gradient of `scale` times the sum of the losses. */
    void (*classifier)(struct device *d, float *loss /* = (rows) */, void *dx /* = (rows,C) act */,
                       float *dw /* += (V,C), or NULL */, const void *x /* (rows,C) act */,
                       const void *w /* (V,C) act */, const int32_t *labels /* (rows) */, int rows,
                       int C, int V, const float *scale /* (1), or NULL if dx is */);
    /* *sum += the losses, added up in double and in a fixed order. */
    void (*loss_sum)(struct device *d, double *sum /* += (1) */, const float *loss /* (n) */,
                     size_t n);

    /* ---------------------------------------------------------------- step operations */

    /* s->grad_norm = grad_scale * sqrt(sum of squares of all gradients), summed in double in a
     * fixed order; s->skipped = not finite, or above s->spike, or step_loss_spiked(). */
    void (*grad_norm)(struct device *d, struct step_scalars *s,
                      const struct param_slice *p /* host */, size_t n_params);
    /* AdamW (Loshchilov, Hutter 2019; PyTorch's order of operations), with g = grad * grad_scale *
     * min(1, clip / (norm + 1e-6)) as torch.nn.utils.clip_grad_norm_. Nothing if s->skipped. */
    void (*adamw)(struct device *d, const struct step_scalars *s,
                  const struct param_slice *p /* host */, size_t n_params);
    /* act-typed copy of fp32 values, round to nearest even. */
    void (*cast)(struct device *d, void *to /* = (n) act */, const float *from, size_t n);

    /* ---------------------------------------------------------------- decode operations */

    /* One new position per row against the cache, which is (B,NH,P,HS) for k and v: stores the
     * row's k, v at n_past[b], then attends to [start[b], n_past[b]]. */
    void (*attention_decode)(struct device *d, void *y /* = (B,C) act */, void *k_cache,
                             void *v_cache, const void *qkv /* (B,3,NH,HS) act */,
                             const int32_t *n_past /* (B) */,
                             const int32_t *start /* (B), or NULL: 0 */, int B, int P, int C,
                             int NH, float scale);
    /* logits[r,:] = x_r w^T, fp32 */
    void (*logits)(struct device *d, float *logits /* = (rows,V) */,
                   const void *x /* (rows,C) act */, const void *w /* (V,C) act */, int rows, int C,
                   int V);
    /* The next id of each row, as sampling_warp() and sampling_draw() of train/generate.h give it
     * by what of `how` is not the host's alone; -1 where sampling_possible() says no. unit[r], in
     * [0, 1), is what row r draws with. NULL where that is done as well on the host. */
    void (*sample)(struct device *d, int32_t *ids /* = (rows) */,
                   float *logits /* (rows,V): used up */, const double *unit /* (rows) */,
                   const struct sampling *how /* host */, int rows, int V);
};
/* clang-format on */

/* The two backends of this library. Static; never freed. */
const struct backend *backend_ref(void);
const struct backend *backend_cpu(void);

#endif
