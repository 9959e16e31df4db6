/* The yardstick a language model has to beat: how well the token before predicts the next one.
 *
 * An interpolated Kneser-Ney bigram (Kneser, Ney 1995; Chen, Goodman 1999, interpolated form):
 *
 *   p(w|v) = max(c(v,w) - D, 0) / c(v)  +  D n(v) / c(v) * p1(w)
 *   p1(w)  = (n'(w) + 1) / (pairs + V)          n'(w): different tokens seen before w
 *   D      = n1 / (n1 + 2 n2)                    n1, n2: pairs seen once, twice
 *
 * n(v) is the number of different tokens seen behind v. A token never seen in front of another
 * leaves p1 alone. Sums of -log p over every token of the validation shards but each shard's first,
 * the same targets as lmeval loss. */
#ifndef LORY_TRAIN_BIGRAM_H
#define LORY_TRAIN_BIGRAM_H

#include <stdint.h>
#include "base/err.h"
#include "stream/shard.h"

struct bigram_result {
    double loss;           /* mean -log p, nats per token            */
    uint64_t targets;      /* tokens scored                          */
    uint64_t train_tokens; /* tokens counted                         */
    uint64_t pairs;        /* different pairs among them             */
    double discount;       /* D                                      */
};

/* V: ids lie in [0, V); ERR_CORRUPT names a shard with a larger one. Memory: 4 bytes per training
 * token and 24 per id. */
int bigram_loss(const struct shard_set *train, const struct shard_set *valid, uint32_t V,
                struct bigram_result *ret, struct err *err);

#endif
