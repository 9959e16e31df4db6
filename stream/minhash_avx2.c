/* The loop of MinHash over eight words of 32 bits at a time: built with AVX2. */
#include "stream/minhash_parts.h"

#define MINHASH_LOOP loop
#include "stream/minhash_loop.h"

void minhash_avx2(uint32_t *minima, const struct minhash_table *t, const uint32_t *hashes,
                  size_t n) {
    loop(minima, t, hashes, n);
}
