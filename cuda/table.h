/* The module's one door: the backend's table. */
#ifndef LORY_CUDA_TABLE_H
#define LORY_CUDA_TABLE_H

#include "cuda/device.h"

int cuda_open(struct device **ret, const struct device_opts *opts, struct err *err);
void cuda_close(struct device *d);
const char *cuda_describe(const struct device *d);
int cuda_alloc(struct device *d, void **ret, size_t bytes, struct err *err);
void cuda_free(struct device *d, void *p);
void cuda_upload(struct device *d, void *to, const void *from_host, size_t bytes);
void cuda_download(struct device *d, void *to_host, const void *from, size_t bytes);
void cuda_copy(struct device *d, void *to, const void *from, size_t bytes);
void cuda_zero(struct device *d, void *p, size_t bytes);
int cuda_sync(struct device *d, struct err *err);

extern "C" __attribute__((visibility("default"))) const struct backend *lory_cuda_backend(void);

#endif
