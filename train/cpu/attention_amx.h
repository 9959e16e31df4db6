/* Attention's products by the matrix units (gemm_amx.h), a block at a time; what becomes of scores
 * is attention_tile.h's. Sums over queries are kept across, as (HS, T): so P and dS, which change
 * from block to block, are right factors with pairs along queries, and the left ones, dO^T and Q^T,
 * are packed once for all blocks of their queries.
 *
 *   amx_scores        S = Q K^T,  dP = dO V^T
 *   amx_add_keys      O = shrink O + P V,  dQ += dS K
 *   amx_add_queries   dV^T += dO^T P,  dK^T += Q^T dS
 *
 * Tiles of 32 x 32 above the diagonal are neither made nor read. */
#ifndef LORY_TRAIN_CPU_ATTENTION_AMX_H
#define LORY_TRAIN_CPU_ATTENTION_AMX_H

#include "train/cpu/attention_tile.h"
#include "train/cpu/gemm_amx.h"

/* to (BLOCK, BLOCK) = the block's rows of a by panels of columns: [BLOCK / NR][units][NR]. */
void amx_scores(float *to, const struct left *a, const float *cols, size_t units,
                const struct block *b);
/* out (BLOCK, ld) = shrink[row] out + p x; shrink NULL: 1. p: rows of BLOCK / 2 pairs of keys; x:
 * [ld / NR][BLOCK / 2][NR]. */
void amx_add_keys(float *out, size_t ld, const float *shrink, const float *p, const float *x,
                  const struct block *b);
/* to (rows, ld) += x p in the block's columns. x (rows, units of the block's queries in whole
 * steps); p (BLOCK / 2, BLOCK): pairs along queries. */
void amx_add_queries(float *to, size_t ld, const float *x, size_t rows, const float *p,
                     const struct block *b);

#endif
