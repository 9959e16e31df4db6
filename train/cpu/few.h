/* Products of a few rows by a whole matrix, as generation has them: bound by reading the matrix, so
 * it is read once, in the order of memory, and all the rows go along. A row's sums are the same
 * bits whatever rows stand beside it. */
#ifndef LORY_TRAIN_CPU_FEW_H
#define LORY_TRAIN_CPU_FEW_H

#include "train/cpu/isa.h"

enum { FEW_ROWS = 8 }; /* up to so many; more are a product of their own (gemm.h) */

/* Receives the sums of columns n0 … n0 + n, all rows. */
typedef void (*few_out)(const void *ctx, const float *tile, size_t ld, size_t m0, size_t m,
                        size_t n0, size_t n);

/* x w: x (rows,K), w (K,N), both act-typed. */
void few_along(struct device *d, const void *x, const void *w, size_t rows, size_t K, size_t N,
               few_out out, const void *ctx);
/* x w^T: x (rows,K), w (N,K). to[r * N + n] fp32. */
void few_across(struct device *d, float *to, const void *x, const void *w, size_t rows, size_t K,
                size_t N);

#endif
