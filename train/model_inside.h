/* The insides of a model, for its own files and for generation. */
#ifndef LORY_TRAIN_MODEL_INSIDE_H
#define LORY_TRAIN_MODEL_INSIDE_H

#include <string.h>
#include "train/model.h"

/* ------------------------------------------------------------------ parameters (params.def) */

struct layer_params {
#define PARAM_LAYER(field, ...) struct param *field;
#include "train/params.def"
};

struct top_params {
#define PARAM_EMBED(field, ...) struct param *field;
#define PARAM_FINAL(field, ...) struct param *field;
#define PARAM_HEAD(field, ...)  struct param *field; /* NULL if tied */
#include "train/params.def"
};

/* ------------------------------------------------------------------ activations (acts.def) */

struct layer_acts {
#define ACT                                     void
#define ACT_LAYER(field, type, elements, again) type *field;
#include "train/acts.def"
#undef ACT
};

struct acts {
    size_t rows;          /* planned: B * T                                           */
    bool train;           /* layers keep theirs, gradients are there                  */
    enum recompute again; /* … but for those that are computed again                 */
    uint64_t bytes;
    void *memory;             /* the one block they all lie in                            */
    struct layer_acts *layer; /* (L); all the same unless `train`                         */
#define ACT                             void
#define ACT_ONCE(field, type, elements) type *field;
#define ACT_BACK(field, type, elements) type *field;
#include "train/acts.def"
#undef ACT
};

/* Allocates for `rows` positions. ERR_NOMEM says how much was wanted. */
int acts_plan(struct acts *ret, const struct model *m, size_t rows, bool train, struct err *err);
/* The same at an address that nobody will follow, without allocating but a->layer: the caller's. */
int acts_pretend(struct acts *ret, const struct model *m, size_t rows, enum recompute level,
                 void *base, struct err *err);
void acts_release(struct acts *a, const struct model *m); /* zeroes it; fine on a zeroed one */

/* ------------------------------------------------------------------ the model */

/* Operations that come again and again, recorded at their second time (model_record.c). */
struct kept {
    struct recording *made;
    bool seen, impossible;
};
/* A micro-batch's, of one form. */
struct model_recording {
    struct model_batch form; /* B 0: free. Its pointers only say what is given */
    struct kept kept;
};
enum { MODEL_RECORDINGS = 2 }; /* whole micro-batches, and the shorter one at a step's end */

struct model {
    struct model_config config;
    const struct backend *ops;
    struct device *device;
    enum dtype dtype;
    bool train;
    enum recompute recompute;
    struct param *params; /* (n_params) in the order of params.def                       */
    size_t n_params;
    struct top_params top;
    struct layer_params *layer;         /* (L)                                                  */
    void *masters, *copies, *grads;     /* blocks on the device that the params lie in      */
    uint64_t params_bytes, grads_bytes; /* of masters; of grads, loss_sum included            */
    double *loss_sum; /* device: of the losses since model_zero_grads(); in grads             */
    struct model_recording recordings[MODEL_RECORDINGS];
    struct acts acts;
};

/* Makes the table of parameters for m->config, without memory for them; freed with m->params,
 * m->layer. */
int model_table(struct model *m, struct err *err);

/* Whether norms are computed again where the GELU is: little work for a sixth of a layer's memory.
 * Not on a GPU, where they wait for memory. */
static inline bool model_norms_again(const struct model *m) {
    return !m->ops->memory;
}
/* Who is only asked in bf16 needs no masters: they share one place, where each is narrowed as soon
 * as it is there. */
static inline bool model_is_lean(const struct model *m) {
    return !m->train && m->dtype != DTYPE_F32;
}
/* Bytes of the masters, and of the copies that products read: none for fp32. */
uint64_t model_masters(const struct model *m);
uint64_t model_copies(const struct model *m);
/* Makes a parameter's copy of its master. */
void model_narrow(const struct model *m, const struct param *p);
/* The copy of a matrix, which is made now if p->shared. */
const void *model_weights(const struct model *m, const struct param *p);

/* The places where dropout acts, numbered for its counters: embedding, then three a layer. */
enum { SITE_EMBED = 0, SITE_ATTENTION = 1, SITE_ATTENTION_OUT = 2, SITE_MLP_OUT = 3 };
struct dropout model_dropout(const struct model *m, const struct acts *a,
                             const struct model_batch *b, int layer, int site);

/* 1 / sqrt(HS), and by the layer where the configuration says so. */
float model_attention_scale(const struct model *m, int layer);
/* What gives the logits: (V,C), tied or not. */
static inline struct param *model_head(const struct model *m) {
    return m->top.head ? m->top.head : m->top.wte;
}

/* Checks the batch and moves it to the device. ERR_DATA: a token, label or position out of
 * range. */
int model_take(const struct model *m, const struct acts *a, const struct model_batch *b,
               struct err *err);
/* The embedding of the batch taken, into a->layer[0].res. */
void model_embed(const struct model *m, const struct acts *a, const struct model_batch *b);
/* The parts of a layer around its attention, shared by training and generation: from what the layer
 * before left (its residual stream and branch) to qkv, or `again` from the layer's own residual
 * stream; from the heads' output to the GELU's; and on to the MLP's. */
void model_layer_in(const struct model *m, const struct acts *a, const struct model_batch *b, int l,
                    bool again);
void model_layer_attention(const struct model *m, const struct acts *a, const struct model_batch *b,
                           int l);
void model_layer_mid(const struct model *m, const struct acts *a, const struct model_batch *b,
                     int l);
void model_layer_out(const struct model *m, const struct acts *a, const struct model_batch *b,
                     int l);
/* The last LayerNorm, into a->lnf. */
void model_final_norm(const struct model *m, const struct acts *a, const struct model_batch *b);
/* The whole way forward, from the batch taken to a->lnf. */
void model_forward(const struct model *m, const struct acts *a, const struct model_batch *b);
/* Forward and back: adds to the gradients and to m->loss_sum. */
void model_there_and_back(const struct model *m, const struct model_batch *b);
/* Calls operations(ctx), which only asks for operations on m's device, always the same ones but for
 * what is in device memory; or replays what it once asked for. */
void kept_do(const struct model *m, struct kept *k, void (*operations)(void *ctx), void *ctx);
void kept_forget(const struct model *m, struct kept *k);
/* The same as one submission, where the device can record it. */
void model_there_and_back_again(struct model *m, const struct model_batch *b);
void model_forget_recordings(struct model *m);

/* Round to nearest even; NaN stays one. */
static inline uint16_t bf16_of_f32(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

#endif
