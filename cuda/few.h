/* Products of few rows, for generation (few.cu). */
#ifndef LORY_CUDA_FEW_H
#define LORY_CUDA_FEW_H

#include "cuda/device.h"

enum {
    FEW_ROWS = 8,   /* that products are made for                                          */
    EARLY_ROWS = 64 /* up to so many, operations are short and their kernels launched early */
};

/* cuda_linear_forward and cuda_logits of up to FEW_ROWS rows, if their sizes are multiples of 16
 * bytes and a block's part fits its shared memory: then a row's result does not depend on how many
 * there are. False: nothing was done. */
bool few_linear(struct device *d, void *y, void *pre, const void *x, const void *w, const void *b,
                int rows, int K, int N, enum act act);
bool few_logits(struct device *d, float *logits, const void *x, const void *w, int rows, int C,
                int V);

#endif
