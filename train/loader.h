/* Windows over token shards, in an order that is computed, not stored.
 *
 *   shard 0:  |--- T+1 ---|            windows of T+1 tokens, stride T (gpt): every token but the first of a
 *                    |--- T+1 ---|     shard is a target once; or T tokens, stride T, T-1 targets (hf)
 *   numbered over all shards; order: a keyed permutation of [0, n) per epoch, or sequential
 *
 * The position is one integer (samples taken so far), the same for any micro-batch, rank or thread. */
#ifndef LORY_TRAIN_LOADER_H
#define LORY_TRAIN_LOADER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "stream/shard.h"

enum window { WINDOW_GPT, WINDOW_HF };

/* A bijection of [0, n) under a key; its bits are specified in docs/formats.md with test vectors. */
uint64_t permute(uint64_t i, uint64_t n, uint64_t key);

struct loader {
    const struct shard_set *set;  /* borrowed                                            */
    int T;
    enum window window;
    bool shuffled;
    uint64_t seed;
    uint64_t n;                   /* whole windows over all shards                       */
    uint64_t *first;              /* (set->n + 1) number of the first window of shard i  */
    uint64_t tail_tokens;         /* targets in tails shorter than a window              */
};

/* ERR_DATA if no shard holds a whole window. */
int loader_open(struct loader *ret, const struct shard_set *set, int T, enum window window,
                bool shuffled, uint64_t seed, struct err *err);
void loader_close(struct loader *l);
/* Sample number `position` of the run (epoch = position / n) into tokens (T) and labels (T), shifted: the
 * label of tokens[t] is the token behind it, LABEL_IGNORED where the window has none. */
void loader_get(const struct loader *l, uint64_t position, int32_t *tokens, int32_t *labels);
/* For evaluation: window i of all, tails included (padded with token 0 and ignored labels), i < ret of
 * loader_eval_windows(). Every target of every shard exactly once. */
uint64_t loader_eval_windows(const struct loader *l);
void loader_eval_get(const struct loader *l, uint64_t i, int32_t *tokens, int32_t *labels);

#endif
