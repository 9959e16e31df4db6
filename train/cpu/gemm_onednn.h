/* Tiles of matrix products by oneDNN: primitives made for one thread, cached per shape.
 *
 * oneDNN's own threading splits K and changes results with the number of threads, so it only ever
 * sees one tile and one thread; gemm.c cuts the product, the same way for any number of threads. */
#ifndef LORY_TRAIN_CPU_GEMM_ONEDNN_H
#define LORY_TRAIN_CPU_GEMM_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>

struct onednn; /* an engine and the primitives made so far; one operation at a time */

/* C (m,n) fp32 = A (m,K) B (K,n); element (i,j) at p[i * ld + j], or p[j * ld + i] if across. */
struct onednn_tile {
    size_t m, n, K, lda, ldb, ldc;
    bool a_across, b_across, bf16;
};

/* NULL: oneDNN cannot be had. */
struct onednn *onednn_new(int threads);
void onednn_free(struct onednn *o); /* NULL is fine */
/* "oneDNN 2.6.3" */
const char *onednn_version(void);

/* The number of the primitive for such tiles, made now if it is new; negative: oneDNN refused. */
int onednn_prepare(struct onednn *o, const struct onednn_tile *tile);
/* Bytes of scratch that a run needs. */
size_t onednn_scratch(const struct onednn *o, int primitive);
/* Runs a prepared primitive in thread `thread`; several threads may at once. False: it failed. */
bool onednn_run(struct onednn *o, int primitive, int thread, const void *a, const void *b, float *c,
                void *scratch);

#endif
