/* What the files minhash*.c share. */
#ifndef LORY_STREAM_MINHASH_PARTS_H
#define LORY_STREAM_MINHASH_PARTS_H

#include <stddef.h>
#include <stdint.h>
#include "stream/minhash.h"

struct minhash_table {
    uint64_t a[MINHASH_VALUES], b[MINHASH_VALUES];
};

typedef void (*minhash_fn)(uint32_t *minima, const struct minhash_table *t, const uint32_t *hashes,
                           size_t n);
/* minhash_avx2.c; only after a look at the processor. */
void minhash_avx2(uint32_t *minima, const struct minhash_table *t, const uint32_t *hashes,
                  size_t n);

#endif
