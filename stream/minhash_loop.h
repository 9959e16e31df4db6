/* The inner loop of MinHash, compiled once for every instruction set (minhash.c, minhash_avx2.c):
 * MINHASH_LOOP is its name. Lowers the 256 minima by one word's hash.
 *
 * x mod (2^61 - 1) is the sum of its low 61 bits and its high 3, less the modulus if that is not
 * below it. The product of 64 and 32 bits is put together from two of 32 and 32, which AVX2 has. */
static void MINHASH_LOOP(uint32_t *minima, const struct minhash_table *t, const uint32_t *hashes,
                         size_t n) {
    const uint64_t prime = (UINT64_C(1) << 61) - 1;
    for (size_t i = 0; i < n; i++) {
        uint64_t h = hashes[i];
        for (int k = 0; k < MINHASH_VALUES; k++) {
            uint64_t x = (t->a[k] & 0xffffffff) * h + (((t->a[k] >> 32) * h) << 32) + t->b[k];
            x = (x & prime) + (x >> 61);
            /* The low half of x - prime is that of x + 1. */
            uint32_t low = (uint32_t)(x + (x >= prime));
            minima[k] = low < minima[k] ? low : minima[k];
        }
    }
}
