/* The loss of a model over shards: every target once, weighted equally. */
#ifndef LORY_TRAIN_EVALUATE_H
#define LORY_TRAIN_EVALUATE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/log.h"
#include "train/loader.h"
#include "train/model.h"

struct evaluate_opts {
    int B;                   /* rows at a time; the model is planned for at least these     */
    uint64_t windows;        /* score only the first so many; 0: all                        */
    uint64_t part;           /* also sum over the first so many; 0: no such part            */
    bool (*stop)(void *ctx); /* asked between batches; NULL: never                          */
    void *ctx;
    const struct log *log;
};

struct evaluate_result {
    double sum; /* of the losses, in the order of the windows                  */
    uint64_t targets, windows, batches;
    double part_sum; /* over the first `part` windows                               */
    uint64_t part_targets;
    bool stopped; /* the numbers are of what was done until then                 */
};

/* ERR_CORRUPT when the shards hold ids that the model does not have. */
int evaluate_loss(struct model *m, const struct loader *l, const struct evaluate_opts *o,
                  struct evaluate_result *ret, struct err *err);
/* Bits per byte of the text behind the targets: their share of the shards' text bytes; NAN where
 * the shards do not say how many they were, or masks leave only some of the tokens. */
double evaluate_bits_per_byte(const struct shard_set *set, const struct evaluate_result *r);
/* ERR_CORRUPT, with the place, if a row of T tokens and labels has an id of V or more. */
int check_ids(const int32_t *tokens, const int32_t *labels, int T, int V, const char *path,
              uint64_t at, struct err *err);

#endif
