/* Windows over token shards, in an order that is computed, not stored.
 *
 *   gpt   |---- T+1 ----|            stride T: every token but a shard's first is a target
 *                 |---- T+1 ----|~~  tail
 *   hf    |-- T --||-- T --||-- T --|~~   T tokens, T-1 targets: a window's first is none
 *
 * Windows are numbered over all shards; none crosses from one shard into the next. Training sees
 * the whole windows, in the order of their numbers or of a keyed permutation of [0, n) per epoch;
 * the tail of a shard is counted and left to the evaluation.
 *
 * The position is one integer (samples taken so far), the same for any micro-batch, rank or
 * thread. A loader is read-only after loader_open: any number of threads may use it. */
#ifndef LORY_TRAIN_LOADER_H
#define LORY_TRAIN_LOADER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "stream/shard.h"

enum window { WINDOW_GPT, WINDOW_HF };

/* Of the permutation's bits; stored with a run's state and compared on resume. */
enum { ORDER_VERSION = 1 };

/* A bijection of [0, n) under a key, i < n. Its bits are specified in docs/order.md. */
uint64_t permute(uint64_t i, uint64_t n, uint64_t key);
/* The key of one epoch's permutation. */
uint64_t order_key(uint64_t seed, uint64_t epoch);

struct loader {
    const struct shard_set *set; /* borrowed                                            */
    int T;
    enum window window;
    bool shuffled;
    uint64_t seed;
    uint64_t n;           /* whole windows over all shards                       */
    uint64_t *first;      /* (set->n + 1) number of the first window of shard i  */
    uint64_t *first_eval; /* (set->n + 1) the same, tails counted                */
    uint64_t targets;     /* targets in whole windows                            */
    uint64_t tail_tokens; /* targets in tails shorter than a window              */
};

/* ERR_DATA if no shard holds a whole window (training); with `allow_short`, if there is no target.
 * */
int loader_open(struct loader *ret, const struct shard_set *set, int T, enum window window,
                bool shuffled, uint64_t seed, bool allow_short, struct err *err);
void loader_close(struct loader *l); /* zeroes it */
/* Sample number `position` of the run (epoch = position / n) into tokens (T) and labels (T),
 * shifted: the label of tokens[t] is the token behind it, LABEL_IGNORED where the window has none.
 * */
void loader_get(const struct loader *l, uint64_t position, int32_t *tokens, int32_t *labels);
/* Where that sample begins: the shard's number, and the token in it. */
void loader_place(const struct loader *l, uint64_t position, size_t *ret_shard, uint64_t *ret_at);
/* For evaluation: window i of all, tails included (padded with token 0 and ignored labels),
 * i < loader_eval_windows(). Every target of every shard exactly once, in the order of the shards.
 * */
uint64_t loader_eval_windows(const struct loader *l);
void loader_eval_get(const struct loader *l, uint64_t i, int32_t *tokens, int32_t *labels);

#endif
