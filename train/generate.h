/* Text from a model: a KV cache, one position per step, sampling as transformers' processors. */
#ifndef LORY_TRAIN_GENERATE_H
#define LORY_TRAIN_GENERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/rng.h"
#include "train/model.h"

struct sampling {
    bool greedy;
    float temperature;        /* 1                                                            */
    int top_k;                /* 0: off                                                       */
    float top_p;              /* 1: off                                                       */
    float min_p;              /* 0: off                                                       */
    float repetition_penalty; /* 1: off                                                       */
};

/* Turns logits (V) into probabilities (V), in transformers' order: repetition penalty over ids[0..n),
 * temperature, top-k, top-p, min-p, softmax. */
void sampling_warp(const struct sampling *s, float *logits, int V, const uint32_t *ids, size_t n,
                   float *ret_probs);
/* Draws an id from probabilities, or the largest logit's (the lowest id among equals) when greedy. */
uint32_t sampling_draw(const struct sampling *s, const float *probs, int V, struct rng *rng);

enum finish { FINISH_LENGTH, FINISH_STOP, FINISH_CALLER };

struct generator; /* a cache for B rows of up to P positions */

int generator_new(struct generator **ret, struct model *m, int B, struct err *err);
void generator_free(struct generator *g); /* NULL is fine */

/* Continues one prompt with up to `max_new` ids. After each new id calls on_id (may be NULL); a non-zero
 * answer ends it. Ends also at `eos` (pass -1 for none), which is not appended. When the context is full the
 * oldest half is dropped and the rest read again. Appends to `out` (prompt not included). */
int generate(struct generator *g, const uint32_t *prompt, size_t n, int max_new, int64_t eos,
             const struct sampling *s, struct rng *rng, int (*on_id)(void *ctx, uint32_t id), void *ctx,
             struct u32s *out, enum finish *ret_finish, struct err *err);

#endif
