/* The loss of a text of any length with a model of T positions, by windows that overlap (Hugging
 * Face's guide "Perplexity of fixed-length models"):
 *
 *   window 0   |======= T =======|                     every token but the first is a target
 *   window 1         |-----------|=====|               only the tokens that are new are; what
 *   window 2   stride      |-----------|=====|         stands before them is there to be seen
 *
 * Window i begins at token i * stride and ends at min(i * stride + T, n). A token j is a target in
 * the first window that holds it, unless it is that window's first token b, which nothing stands
 * before: with stride < T the text's first, with stride T the first of every window. The loss is
 * the plain mean over the targets S:
 *
 *   loss = 1/|S| sum over j in S of -log p(x_j | x_b … x_j-1),  perplexity = exp(loss)
 */
#ifndef LORY_TRAIN_SLIDING_H
#define LORY_TRAIN_SLIDING_H

#include "train/evaluate.h"

/* Where the text's ids come from: a shard, or memory. */
struct sliding {
    const char *path; /* for messages */
    uint64_t n;
    int T, stride;             /* 1 <= stride <= T, T >= 2 */
    const struct shard *shard; /* or NULL: ids */
    const uint32_t *ids;       /* (n) */
};

uint64_t sliding_windows(const struct sliding *s); /* 0: no target */
/* Adds to *sum: losses, targets, windows. The model is planned for o->B rows of T. o->windows, if
 * any, counts *sum's. ERR_CORRUPT as evaluate_loss(). */
int evaluate_sliding(struct model *m, const struct sliding *s, const struct evaluate_opts *o,
                     struct evaluate_result *sum, struct err *err);

#endif
