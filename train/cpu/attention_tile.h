/* Register tiles of attention: MR rows by NR columns of a product, summed over all of K in
 * registers, and what becomes of them there, before they are stored for the next product.
 *
 *   tile_scores         S = Q K^T                        and each row's largest score
 *   tile_probabilities  P = exp(scale Q K^T - lse)       backward, where lse is known
 *   tile_slopes         dS = P (dO V^T - D)
 *   tile_add            out += P V,  dQ += dS K,  dV += P^T dO,  dK += dS^T Q
 *
 * Factors lie as gemm.h says: the left one in memory or packed, the right one a packed panel of
 * `units` rows. The first three take a product that is where its result goes, if `a` is NULL.
 * Mathematics: ref/attention.c. */
#ifndef LORY_TRAIN_CPU_ATTENTION_TILE_H
#define LORY_TRAIN_CPU_ATTENTION_TILE_H

#include "train/cpu/gemm.h"

enum { ATT_BLOCK = 96 }; /* queries or keys of a block of scores: a multiple of MR, NR and VL */

/* Exponents are of 2, so that the processor's own do the work. */
#define LOG2_E 1.44269504f
#define LN_2   0.693147181f

/* A block of scores: queries i0 … i0 + m, keys k0 … k0 + n. */
struct block {
    size_t i0, m, k0, n;
};
/* How many keys of the block any of query i's panel of `mr` may see. */
INLINE size_t keys_seen(const struct block *b, size_t i, size_t mr) {
    size_t keys = b->i0 + i / mr * mr + mr - b->k0;
    return keys < b->n ? keys : b->n;
}

/* The first of the block's queries that sees key j; b->m or more: none does. */
INLINE size_t first_query(const struct block *b, size_t j) {
    return b->k0 + j > b->i0 ? b->k0 + j - b->i0 : 0;
}

/* The keys [lo, hi) of a block that a query sees. */
struct span {
    int lo, hi;
};
/* Of MR queries: what each sees, and what all of them see. */
struct seen {
    struct span row[MR], all;
};

/* The tile at column j of a block of scores; rows of s and p are ATT_BLOCK floats apart. Scores of
 * keys that are not seen become -infinity; top (MR,VL) gets the larger of itself and the scores. */
void tile_scores(float *s, float *top, const struct left *a, const float *b, size_t units,
                 bool pairs, const struct seen *seen, size_t j);
/* p = 2^(scale s - lse[row]), 0 for keys that are not seen. */
void tile_probabilities(float *p, float scale, const float *lse, const struct left *a,
                        const float *b, size_t units, bool pairs, const struct seen *seen,
                        size_t j);
/* ds = p (product - D[row]). With dropout's factors `keep`: ds = p (keep product - D[row]), and
 * then p = keep p; NULL without. */
void tile_slopes(float *ds, float *p, const float *keep, const float *D, const struct left *a,
                 const float *b, size_t units, bool pairs);
/* out = shrink[row] out + product; shrink NULL: 1. Rows of out are `ld` floats apart. */
void tile_add(float *out, size_t ld, const float *shrink, const struct left *a, const float *b,
              size_t units, bool pairs);

#endif
