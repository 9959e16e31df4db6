/* GPT-2 as transformers has it, over a backend's operations.
 *
 *   tokens ─▶ embed ─▶ [ norm ─▶ qkv ─▶ attention ─▶ proj ─▶ norm ─▶ fc+gelu ─▶ proj ] × L
 *                │     └─ residual stream, one addition fused into every norm ─┘        │
 *                └──────────────── the embedding is the head's matrix too ──── norm ─▶ classifier
 *
 * Parameters are listed in params.def, activations in acts.def; both are expanded by macros, and
 * nothing addresses a tensor by number. One thread drives a model. */
#ifndef LORY_TRAIN_MODEL_H
#define LORY_TRAIN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/log.h"
#include "train/config.h"
#include "train/op.h"

struct model;

/* One parameter tensor, in the order of the table (params.def; layers unrolled). */
struct param {
    char name[96]; /* as in transformers' model.safetensors: "transformer.h.0.ln_1.weight" */
    int n_dims;
    int64_t dims[2];
    size_t n;   /* elements                                                           */
    bool decay; /* HF's rule: not biases, not LayerNorm                               */
    bool trainable;
    bool shared;    /* `act` is room for one matrix at a time, which is narrowed before each use  */
    float init_std; /* 0: constant init_value                                             */
    float init_value;
    float *master; /* device, fp32 (n); one place for all if bf16 is not made for training */
    void *act;     /* device, what products read; == master for fp32                     */
    float *grad;   /* device, fp32 (n); NULL unless made for training                    */
};

/* Allocates the parameters on the device (zero). `train`: gradients too. Borrows `backend` and
 * `device`. */
int model_new(struct model **ret, const struct model_config *config, const struct backend *backend,
              struct device *device, enum dtype dtype, bool train, struct err *err);
void model_free(struct model *m); /* NULL is fine */

const struct model_config *model_get_config(const struct model *m);
size_t model_params(const struct model *m, struct param **ret); /* borrowed */

/* HF's initialisation: normal(0, init_range), c_proj weights with init_range / sqrt(2 L), biases 0,
 * LayerNorm 1 and 0. Tensor i draws from stream i of `seed`: the same for any backend. */
int model_init(struct model *m, uint64_t seed, struct err *err);
/* Weights from DIR/model.safetensors (or its shards by model.safetensors.index.json), or from
 * llm.c's model file `dir`. Names with or without "transformer."; buffers of old files (attn.bias)
 * are ignored. ERR_CORRUPT: missing, extra, wrong shape. */
int model_load(struct model *m, const char *dir, struct err *err);
/* The same checks without a model: what model_load() would refuse is refused before anything is
 * allocated by what a configuration says. */
int model_check_files(const struct model_config *c, const char *dir, struct err *err);
/* DIR/model.safetensors as transformers' save_pretrained (tied lm_head left out), fp32 masters, or
 * bf16. Of a model in fp32, or made for training: others keep no masters. */
int model_save(struct model *m, const char *dir, enum dtype stored, struct err *err);
/* Refreshes `act` of every parameter from `master`, for who changed it; loading and drawing do. */
void model_cast(struct model *m);
/* Gradients and the sum of the losses. */
void model_zero_grads(struct model *m);
/* Where that sum is: device memory, for the optimizer; NULL unless made for training. */
const double *model_loss_sum(const struct model *m);

/* What a layer keeps for the way back, and what it computes again there, to the same bits:
 * everything is kept; or the GELU's output is computed again, and where memory is the system's the
 * norms' too (a quarter less memory; three eighths); or only the
 * residual stream is kept and the layer goes forward a second time (an eighth of the memory for a
 * third more work). Counts from the next model_plan() on. */
enum recompute { RECOMPUTE_NONE, RECOMPUTE_GELU, RECOMPUTE_BLOCK };
void model_set_recompute(struct model *m, enum recompute level);

/* Plans and allocates activations for B rows of T tokens; again for other sizes. *ret_bytes may be
 * NULL. */
int model_plan(struct model *m, int B, int T, bool train, uint64_t *ret_bytes, struct err *err);

/* What training takes, in bytes. */
struct model_memory {
    uint64_t weights, gradients, moments; /* fp32; a step's few numbers with the gradients    */
    uint64_t copies;                      /* bf16 ones, that the products read                */
    uint64_t activations;
    uint64_t workspace; /* the device's own: of its operations, its products, its driver */
    uint64_t total;
};
/* For micro-batches of B rows of T tokens. `device` NULL, or one that does not count: workspace 0.
 * Nothing is allocated there. */
int model_memory(struct model_memory *ret, const struct model_config *c,
                 const struct backend *backend, struct device *device, enum dtype dtype, int B,
                 int T, enum recompute level, struct err *err);
/* The largest B of which training takes at most `bytes`; 0: not even one row. */
int model_largest_batch(int *ret_B, const struct model_config *c, const struct backend *backend,
                        struct device *device, enum dtype dtype, int T, enum recompute level,
                        uint64_t bytes, struct err *err);

/* A micro-batch, host memory. */
struct model_batch {
    int B, T;              /* at most as planned                                     */
    const int32_t *tokens; /* (B,T)                                                  */
    const int32_t *labels; /* (B,T), LABEL_IGNORED where there is no target; already shifted */
    const int32_t *pos;    /* (B,T) or NULL                                          */
    const int32_t *start;  /* (B,T) or NULL: attention's segment starts              */
    bool dropout;          /* with the configuration's probabilities                 */
    uint64_t dropout_key, sample0;
};

/* Sum of the losses over the targets, in fixed order, and their number. Forward only. */
int model_loss(struct model *m, const struct model_batch *b, double *ret_sum, uint64_t *ret_targets,
               struct err *err);
/* The same, and adds the gradient of scale * sum to the parameters' gradients, and the losses to
 * the sum that model_zero_grads() began. ret_sum NULL: waits for nothing, so that a device has the
 * next micro-batch before this one is done. From the second micro-batch of a form on it is one
 * recording that is replayed, where the device has them. */
int model_forward_backward(struct model *m, const struct model_batch *b, float scale,
                           double *ret_sum, uint64_t *ret_targets, struct err *err);
/* Logits of every position, for tests and tools: host (B,T,V) fp32. */
int model_logits(struct model *m, const struct model_batch *b, float *out_host, struct err *err);

#endif
