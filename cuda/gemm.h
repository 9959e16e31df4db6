/* Matrix products, as the operations ask for them: gemm_lt.cu answers with cuBLASLt, the emulator
 * with plain loops. Everything is row-major; act-typed inputs, sums in fp32.
 *
 *   out (m,n) = a (m,k) b (k,n)         ta: a is stored (k,m); tb: b is stored (n,k)
 *
 * Each shape has a plan: descriptors and an algorithm, chosen once by measuring those that cuBLASLt
 * proposes and that do not split k with atomics. */
#ifndef LORY_CUDA_GEMM_H
#define LORY_CUDA_GEMM_H

#include "cuda/device.h"

enum gemm_extra {
    GEMM_PLAIN,
    GEMM_BIAS, /* out += bias of each column                                        */
    GEMM_DGELU /* out *= the slope of gelu_new at aux, before it is rounded         */
};

struct gemm {
    int m, n, k;
    bool ta, tb;
    int lda, ldb, ldc; /* elements between rows as stored              */
    bool out_f32;      /* out is fp32 whatever the device's type       */
    bool add;          /* out += …                                     */
    enum gemm_extra extra;
    const void *bias; /* (n) act                                      */
    const void *aux;  /* (m,n) act, as far between rows as out        */
};

/* Whether the extra can be had in one go for this shape (else the caller does it by itself). */
bool gemm_can(struct device *d, const struct gemm *g);
/* False: the library had promised the extra and then could not do it. Nothing was done, the
 * device's notes() say so, and from now on gemm_can() says no. True: done, or failed as the device
 * knows. */
bool gemm_run(struct device *d, const struct gemm *g, void *out, const void *a, const void *b);

/* What a device keeps for products; plan_file as in struct device_opts. NULL after noting the
 * failure. */
struct gemm_plans *gemm_open(struct device *d, const char *plan_file);
void gemm_close(struct gemm_plans *p); /* NULL is fine */

#endif
