/* The module's one door: the backend's table. */
#ifndef LORY_CUDA_TABLE_H
#define LORY_CUDA_TABLE_H

#include "cuda/device.h"

int cuda_open(struct device **ret, const struct device_opts *opts, struct err *err);
void cuda_close(struct device *d);
const char *cuda_describe(const struct device *d);
int cuda_alloc(struct device *d, void **ret, size_t bytes, struct err *err);
int cuda_memory(int ordinal, uint64_t *ret_free, struct err *err);
void cuda_free(struct device *d, void *p);
void cuda_upload(struct device *d, void *to, const void *from_host, size_t bytes);
void cuda_download(struct device *d, void *to_host, const void *from, size_t bytes);
void cuda_copy(struct device *d, void *to, const void *from, size_t bytes);
void cuda_copy_rows(struct device *d, void *to, size_t to_stride, const void *from,
                    size_t from_stride, size_t bytes, size_t rows);
void cuda_zero(struct device *d, void *p, size_t bytes);
int cuda_sync(struct device *d, struct err *err);
const char *cuda_notes(const struct device *d);
void cuda_measure(struct device *d);
uint64_t cuda_measured(struct device *d);
int cuda_reserve(struct device *d, struct err *err);
bool cuda_record(struct device *d);
struct recording *cuda_recorded(struct device *d);
bool cuda_replay(struct device *d, struct recording *r);
void cuda_forget(struct device *d, struct recording *r);

#define MODULE_DOOR extern "C" __attribute__((visibility("default")))

/* The table, for a program of this version whose struct backend has this size; NULL for another. */
MODULE_DOOR const struct backend *lory_cuda_backend(const char *version, size_t table_bytes);
/* Whether GPU number `ordinal` can be used. ERR_USAGE says what is missing: a driver, a newer one,
 * a device, machine code for it. */
MODULE_DOOR int lory_cuda_ready(int ordinal, struct err *err);

#endif
