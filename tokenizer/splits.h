/* How tokens come into being (inside tokenizer/).
 *
 *   split    token ─▶ the two that merge to it, last of all that merges when its bytes are alone
 *
 * Each of two neighbours comes into being as if it were alone, until something goes across the
 * boundary between them: always the lowest of what is next in each, the left one of equals. Only a
 * pair of a symbol at the end of the left one and one at the beginning of the right one can go
 * across, if both are there at the same time. Time is the rank of the merges:
 *
 *   left     b a r ─▶ b ar (5) ─▶ bar (9)      at its end r until 5, ar until 9, then bar
 *   right    n e s ─▶ ne s (2) ─▶ nes (30)     at its beginning n until 2, ne until 30, then nes
 *   pairs    r n below 2? r ne below 5? ar ne below 9? bar ne below 30? bar nes?
 *
 * So no more pairs are asked for than there have been symbols at that boundary. That needs ranks
 * that do not fall while a token comes into being: a token of which that is not true, or with such
 * a one in it, or of more than SPLITS_BYTES bytes, is unsure, and nothing is said about it.
 *
 * And what two neighbours in a text have become, they become when their bytes are alone, too: the
 * others change nothing of the order in which the two go on. So a pair that does not come to pass
 * when its bytes are alone never does. */
#ifndef LORY_TOKENIZER_SPLITS_H
#define LORY_TOKENIZER_SPLITS_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "tokenizer/pairs.h"

struct tokenizer;

enum { SPLITS_BYTES = 255 };
#define SPLITS_NEVER  UINT32_MAX /* no merge makes it */
#define SPLITS_UNSURE (UINT32_MAX - 1)

struct split {
    uint32_t left, right;
    uint32_t since;   /* rank + 1 of the merge that makes it; 0: a byte; or one of the above */
    uint32_t shorter; /* see bpe_longest.c */
};

/* The split of each token to of[0..t->n): from t's list of merges, or what ranks_learn() found. */
int splits_find(const struct tokenizer *t, struct split *of, struct err *err);

/* All ids by rising length of their tokens, so that parts come before the whole. (t->n), to
 * free(). */
int splits_by_length(const struct tokenizer *t, uint32_t **ret, struct err *err);

/* Does nothing go across the boundary of the two before both are there? Neither is unsure, and both
 * come into being. */
static inline bool splits_meet(const struct split *of, const struct pairs *pairs, uint32_t left,
                               uint32_t right) {
    /* The ranks of the merges that end the two symbols asked for. Of equal ranks the left one goes
     * first: within the left token, then across, then within the right one. */
    uint32_t left_to = PAIRS_NONE, right_to = PAIRS_NONE - 1;
    for (;;) { /* back in time */
        const struct split *l = &of[left], *r = &of[right];
        if (!(l->since | r->since)) return true;
        if (r->since >= l->since) {
            right = r->left;
            right_to = r->since - 1;
        } else {
            left = l->right;
            left_to = l->since - 1;
        }
        uint32_t rank = pairs_get(pairs, left, right);
        if ((rank < left_to) & (rank <= right_to)) return false;
    }
}

#endif
