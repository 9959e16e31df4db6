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

/* Ids, and what is added to the score of the last of them where a text ends with the others;
 * -INFINITY: they do not come. */
struct id_bias {
    const uint32_t *ids; /* (n), n >= 1, each below V */
    size_t n;
    float bias;
};

/* What the text so far says about its next id, under transformers' names. All zero: nothing. Lists
 * are borrowed; their ids are below V. */
struct sampling_rules {
    const struct id_bias *bias; /* sequence_bias, and bad_words_ids */
    size_t n_bias;
    float repetition_penalty; /* 0 or 1: off                                                     */
    uint64_t no_repeat_ngram_size; /* so many ids in a row come once; 0: off                   */
    uint64_t min_length, min_new;  /* no end before a text has as many ids, and new ones       */
    const uint32_t *ends;          /* … (n_ends) what would end it                             */
    const uint32_t *suppress, *begin_suppress; /* never; not as the first new one                */
    size_t n_ends, n_suppress, n_begin_suppress;
};

/* Changes logits (V) of the id behind ids[0..n), of which the first n_prompt are the prompt, in
 * transformers' order: biases, repetition penalty, then what is forbidden, which becomes
 * -INFINITY. `work`: (V) scratch. False: all are forbidden. */
bool sampling_obey(const struct sampling_rules *r, float *logits, int V, const uint32_t *ids,
                   size_t n, size_t n_prompt, float *work);
/* Turns logits (V), which are used up, into probabilities (V), in transformers' order: temperature,
 * top-k, top-p, min-p, typical, epsilon, eta, softmax. Greedy: 1 for the largest (the lowest id
 * among equals). `work`: (2,V) scratch. */
void sampling_warp(const struct sampling *s, float *logits, int V, float *ret_probs, double *work);
/* The lowest of the ids whose logit is the largest: what greedy draws. */
uint32_t sampling_largest(const float *logits, int V);
/* Whether there is a next id: no logit is NaN or infinitely large. */
bool sampling_possible(const float *logits, int V);
/* The id at which the probabilities add up to more than `unit`, in [0, 1), of their sum. */
uint32_t sampling_draw(const float *probs, int V, double unit);

enum finish { FINISH_LENGTH, FINISH_STOP, FINISH_CALLER };

/* A cache of keys and values for B rows of up to P positions. Rows are texts of their own, of any
 * lengths, that go through the model together: one reading of the weights serves them all. */
struct generator;

/* `positions`: as many of a text as are kept at most; 0 or more than the model's context: all of
 * it. Who knows how long the texts will be saves memory. */
int generator_new(struct generator **ret, struct model *m, int B, int positions, struct err *err);
/* Bytes that one row's cache takes on the device. */
uint64_t generator_row_bytes(const struct model *m, int positions);
void generator_free(struct generator *g); /* NULL is fine */

/* One text to be continued. */
struct gen_row {
    const uint32_t *prompt; /* (n), n >= 1                                               */
    size_t n;
    int max_new;
    struct rng *rng;    /* its own; NULL if greedy                                    */
    const bool *first;  /* (V) which ids the first new one may be, at least one; NULL: any */
    struct u32s *out;   /* new ids are appended (the prompt is not)                   */
    enum finish finish; /* out                                                        */

    const uint32_t *ends; /* (n_ends) ids that end it besides `eos` */
    int n_ends;
    const struct sampling_rules *rules; /* NULL: none */
};

/* Continues rows[0..n), n <= B, together. After each new id calls on_id (may be NULL) with the
 * row's number; a non-zero answer ends that row. A row also ends at `eos` (pass -1 for none) and at
 * its own `ends`, which are not appended. When the context is full the oldest half is dropped and
 * the rest read again. Rows whose prompts are the same memory share its reading. ERR_USAGE: a row's
 * rules forbid every id. */
int generate_rows(struct generator *g, struct gen_row *rows, int n, int64_t eos,
                  const struct sampling *s, int (*on_id)(void *ctx, int row, uint32_t id),
                  void *ctx, struct err *err);

/* generate_rows() of one. */
int generate(struct generator *g, const uint32_t *prompt, size_t n, int max_new, int64_t eos,
             const struct sampling *s, struct rng *rng, int (*on_id)(void *ctx, uint32_t id),
             void *ctx, struct u32s *out, enum finish *ret_finish, struct err *err);

#endif
