/* The CUDA device as the other files of cuda/ see it: its compute type, its workspace, its first
 * failure. Opened and closed by device.cu. */
#ifndef LORY_CUDA_DEVICE_H
#define LORY_CUDA_DEVICE_H

#ifdef __cplusplus
extern "C" {
#endif
#include "train/op.h"
#ifdef __cplusplus
}
#endif

bool cuda_is_bf16(const struct device *d);
int cuda_multiprocessors(const struct device *d);

/* Device memory for the length of one operation; the next one may use it again. NULL after noting
 * the failure, or if one was noted before. Contents are undefined. */
void *cuda_work(struct device *d, size_t bytes);

/* Notes a failure of the running operation, if none was noted before. */
void cuda_fail(struct device *d, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The operations of op.h, in its order; argument by argument as in struct backend. */
void cuda_norm_forward(struct device *d, void *y, void *sum, float *mean, float *rstd,
                       const void *x, const void *add, const void *g, const void *b, int B, int T,
                       int C, float eps, struct dropout drop);
void cuda_norm_backward(struct device *d, void *dsum, void *dadd, float *dg, float *db,
                        const void *dy, const void *sum, const float *mean, const float *rstd,
                        const void *g, int B, int T, int C, struct dropout drop);

#endif
