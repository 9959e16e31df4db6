/* Several sets of training data by weight: which set a position of the run takes its window from,
 * and which position that is within the set. Computed, not stored; its bits are in docs/order.md.
 *
 * The sets stand in a chain. The first has the share q of all positions and takes position p when
 * floor((p + 1) q) is one more than floor(p q): as evenly as whole numbers can be spread. The
 * others are numbered anew and shared out by the rest of the chain in the same way. */
#ifndef LORY_TRAIN_MIX_H
#define LORY_TRAIN_MIX_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

enum { MIX_SETS_MAX = 64 };

struct mix { /* zero: one set */
    size_t n;
    uint64_t q[MIX_SETS_MAX]; /* share of set k among sets k … n-1, in units of 2^-32 */
};

/* ERR_USAGE: no set, too many, a weight that is not above 0. */
int mix_make(struct mix *ret, const double *weights, size_t n, struct err *err);
/* The set of position p < 2^63; *ret_p is how many earlier positions are of that set. */
size_t mix_at(const struct mix *m, uint64_t p, uint64_t *ret_p);

#endif
