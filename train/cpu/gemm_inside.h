/* A product on its way: what gemm.c, which cuts it up, and gemm_split_block.c share. */
#ifndef LORY_TRAIN_CPU_GEMM_INSIDE_H
#define LORY_TRAIN_CPU_GEMM_INSIDE_H

#include "train/cpu/gemm_amx.h"
#include "train/cpu/gemm_split.h"

/* C = A B on its way, part by part: as much of B is packed at a time, and of A where it cannot be
 * read in place, as stays in the cache that threads share.
 *
 *            N                  part: m rows of A, n columns of B, some blocks of K
 *        ┌───┬───┬───┐
 *     mc │   │ j │   │ part     tile (i, j): for every block of K all its rows by one block of B,
 *      M ├───┼───┼───┤          which stays in L2; a panel of A in L1; at the end of K each panel
 *        │   │   │   │          is handed on while it is hot
 *        └───┴───┴───┘
 *          nc                                                                                   */
struct product {
    size_t M, N, K, units, kc;
    size_t unit; /* elements of K per unit */
    bool amx;    /* bf16 by the matrix units (gemm_amx.h)   */
    bool split;  /* fp32 by the matrix units (gemm_split.h) */
    size_t mr;   /* rows of a panel: AMX_MR or MR           */
    struct matrix a, b;
    float *right, *left;           /* a part of B, of A packed; NULL: each tile for itself */
    size_t part_m, part_n, part_k; /* rows, columns, blocks of K of a part, at most   */
    float *c;                      /* sums (M, ldc) that wait for the next blocks of K, or NULL */
    size_t ldc;
    size_t mc, nc; /* of a tile, at most */
    size_t tiles_m, tiles_n;
    size_t few, block; /* floats of a thread's scratch before what struct tile has there */
};

struct part {
    size_t m0, m, n0, n;
    size_t k0, k; /* blocks of K */
};

/* A block of K: units from, n of them. */
struct k_block {
    size_t at, n; /* units; n as the kernel takes them, so the last ones may be zeros */
    size_t k0, k; /* elements */
};

INLINE size_t k_blocks(const struct product *p) {
    return (p->units + p->kc - 1) / p->kc;
}

INLINE struct k_block k_block(const struct product *p, size_t i) {
    struct k_block b = {.at = i * p->kc};
    b.n = p->units - b.at < p->kc ? p->units - b.at : p->kc;
    b.k0 = b.at * p->unit;
    b.k = p->K - b.k0 < b.n * p->unit ? p->K - b.k0 : b.n * p->unit;
    if (p->amx) b.n = round_up(b.n, AMX_UNITS);
    if (p->split) b.n = round_up(b.n, SPLIT_STEP);
    return b;
}

/* A tile, and its thread's scratch. */
struct tile {
    size_t i, end, j, n;       /* rows and columns of the part; n columns from j */
    size_t wide;               /* n in whole panels                              */
    float *few, *block, *sums; /* a panel of A; a block of B; C                  */
    size_t ld;                 /* of C's sums                                    */
    const struct product *p;
    const struct part *o;
    const struct gemm_to *to;
};

/* All of the tile by block kb of K, both factors split. */
void gemm_split_block(const struct tile *t, size_t kb);

#endif
