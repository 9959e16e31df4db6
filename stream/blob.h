/* Bytes that are read from anywhere, not only from front to back: a local file, or an address whose
 * server sends ranges. */
#ifndef LORY_STREAM_BLOB_H
#define LORY_STREAM_BLOB_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "stream/source.h"

struct blob {
    /* Exactly n bytes from `at`: 0 or a negative code. Asked only for what lies within `bytes`. */
    int (*read)(void *ctx, uint64_t at, void *to, size_t n, struct err *err);
    void (*close)(void *ctx);
    void *ctx;
    uint64_t bytes;
};

int blob_file(struct blob *ret, const char *path, struct err *err);

#endif
