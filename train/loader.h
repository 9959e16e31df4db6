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
 * thread. Several sets by weight (train/mix.h) have a permutation each. A loader is read-only after
 * loader_open and loader_weigh: any number of threads may use it. Tokens are read, not mapped in:
 * memory does not grow with the shards, and a shard that shrinks is an error. */
#ifndef LORY_TRAIN_LOADER_H
#define LORY_TRAIN_LOADER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "stream/shard.h"
#include "train/mix.h"

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
    uint64_t targets;     /* targets in whole windows, masks not looked at       */
    uint64_t tail_tokens; /* the same in tails shorter than a window             */
    struct mix mix;       /* of loader_weigh: the set's paths are mixed          */
};

/* ERR_DATA if no shard holds a whole window (training); with `allow_short`, if there is no target.
 * */
int loader_open(struct loader *ret, const struct shard_set *set, int T, enum window window,
                bool shuffled, uint64_t seed, bool allow_short, struct err *err);
void loader_close(struct loader *l); /* zeroes it */
/* Mixes what the n paths that the set was opened from hold, by weight: positions are shared out by
 * train/mix.h, and each path has epochs of its own. ERR_USAGE: n is not the number of paths.
 * ERR_DATA: a path without a window. */
int loader_weigh(struct loader *l, const double *weights, size_t n, struct err *err);
/* Sample number `position` of the run (epoch = position / n) into tokens (T) and labels (T),
 * shifted: the label of tokens[t] is the token behind it, LABEL_IGNORED where the window has none,
 * or the shard's mask says that it is no target.
 * ERR_CORRUPT: the shard is not what it was when it was opened. */
int loader_get(const struct loader *l, uint64_t position, int32_t *tokens, int32_t *labels,
               struct err *err);
/* Asks the system to have samples [position, position + n) in memory soon. */
void loader_will_need(const struct loader *l, uint64_t position, uint64_t n);
/* Which samples of a step of `n` are rank `rank`'s of `world`: [*ret_first, *ret_first + *ret_n),
 * counted from the step's first. Together the ranks have each once, in order, for any world. */
void loader_share(uint64_t n, int rank, int world, uint64_t *ret_first, uint64_t *ret_n);
/* Where that sample begins: the shard's number, and the token in it. */
void loader_place(const struct loader *l, uint64_t position, size_t *ret_shard, uint64_t *ret_at);
/* For evaluation: window i of all, tails included (padded with token 0 and ignored labels),
 * i < loader_eval_windows(). Every target of every shard exactly once, in the order of the shards.
 * */
uint64_t loader_eval_windows(const struct loader *l);
int loader_eval_get(const struct loader *l, uint64_t i, int32_t *tokens, int32_t *labels,
                    struct err *err);

#endif
