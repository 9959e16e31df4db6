/* The algorithms that were chosen for products, as a text file in the run's folder, so that a
 * resumed run multiplies with the same ones and gets the same bits:
 *
 *     lory products 1 | NVIDIA H200 | cublasLt 130100
 *     768 2304 65536 768 2304 2304 1 0 1 1 3 16 0123…cdef
 *
 * A line is a shape (struct gemm_key, in its order) and cuBLASLt's own 64 bytes in hexadecimal.
 * They mean the same only to the same version of the library on the same kind of GPU: the first
 * line. */
#ifndef LORY_CUDA_GEMM_FILE_H
#define LORY_CUDA_GEMM_FILE_H

#include <stddef.h>
#include <stdint.h>
#include "cuda/device.h"

/* What makes two products the same plan. */
struct gemm_key {
    int m, n, k, lda, ldb, ldc;
    int ta, tb, out_f32, add, extra, align;
};
enum { GEMM_KEY_NUMBERS = sizeof(struct gemm_key) / sizeof(int), GEMM_ALGORITHM_BYTES = 64 };

struct gemm_choice {
    struct gemm_key key;
    uint8_t algorithm[GEMM_ALGORITHM_BYTES];
};

/* The file's choices; none where there is no file, or it was made by another library or GPU
 * (`who`). Caller frees *ret. ERR_CORRUPT: a line that is no choice. */
int gemm_file_read(const char *path, const char *who, struct gemm_choice **ret, size_t *ret_n,
                   struct err *err);
int gemm_file_write(const char *path, const char *who, const struct gemm_choice *v, size_t n,
                    struct err *err);

#endif
