/* See mix.h. */
#include "train/mix.h"

#include <math.h>

int mix_make(struct mix *ret, const double *weights, size_t n, struct err *err) {
    double rest[MIX_SETS_MAX + 1] = {0};
    if (!n || n > MIX_SETS_MAX)
        return err_set(err, ERR_USAGE, "%zu weighted sets; 1 to %d can be mixed", n, MIX_SETS_MAX);
    for (size_t k = n; k-- > 0;) { /* added up from the last, so that the sums are defined */
        if (!(weights[k] > 0) || !isfinite(weights[k]))
            return err_set(err, ERR_USAGE, "weight %g; a weight is above 0", weights[k]);
        rest[k] = weights[k] + rest[k + 1];
    }
    *ret = (struct mix){.n = n};
    for (size_t k = 0; k < n; k++) ret->q[k] = (uint64_t)floor(weights[k] / rest[k] * 0x1p32 + 0.5);
    return 0;
}

/* floor(p q / 2^32) */
static uint64_t share(uint64_t p, uint64_t q) {
    return (uint64_t)((unsigned __int128)p * q >> 32);
}

size_t mix_at(const struct mix *m, uint64_t p, uint64_t *ret_p) {
    size_t k = 0;
    for (; k + 1 < m->n; k++) {
        uint64_t before = share(p, m->q[k]);
        if (share(p + 1, m->q[k]) > before) {
            *ret_p = before;
            return k;
        }
        p -= before;
    }
    *ret_p = p;
    return k;
}
