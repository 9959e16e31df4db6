/* Dropout's factors, a vector of Philox blocks at a time: the same bits as dropout_factors(). */
#include "train/cpu/isa.h"
#include "train/dropout.h"

typedef uint64_t vq __attribute__((vector_size(4 * VL))); /* VL / 2 counters, one per 64-bit lane */

/* The low 32 bits of each lane times m, 64 bits wide. */
INLINE vq multiply(vq x, uint32_t m) {
#if ISA_LEVEL >= 2
    return (vq)_mm512_mul_epu32((__m512i)x, _mm512_set1_epi64(m));
#elif ISA_LEVEL == 1
    return (vq)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi64x(m));
#else
    return (x & 0xffffffffu) * (uint64_t)m;
#endif
}

/* Philox of VL / 2 consecutive counters lo, lo + 1 …: out[j] holds word j of each, in 64-bit
 * lanes. */
INLINE void philox_vector(vq out[4], uint64_t key, uint64_t lo, uint64_t hi) {
    const vq low = (vq){0} + 0xffffffffu;
    vq c0, c1, c2 = (vq){0} + (hi & 0xffffffffu), c3 = (vq){0} + (hi >> 32);
    for (int i = 0; i < VL / 2; i++) c1[i] = lo + (uint64_t)i;
    c0 = c1 & low;
    c1 >>= 32;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        vq p0 = multiply(c0, 0xD2511F53u), p1 = multiply(c2, 0xCD9E8D57u);
        c0 = (p1 >> 32) ^ c1 ^ (uint64_t)k0;
        c2 = (p0 >> 32) ^ c3 ^ (uint64_t)k1;
        c1 = p1 & low;
        c3 = p0 & low;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

void dropout_row(float *factors, const struct dropout *drop, int b, uint64_t e, size_t n) {
    struct dropout_rule rule = dropout_rule(drop->p);
    while (n > 0) {
        vq out[4];
        uint64_t block = e / 8;
        philox_vector(out, drop->key, (uint64_t)drop->site << 40 | block, dropout_sample(drop, b));
        /* Words 0 and 1, then 2 and 3 of each block: its eight lanes in order (little endian). */
        vq low = out[0] | out[1] << 32, high = out[2] | out[3] << 32;
        uint64_t words[VL];
        for (int i = 0; i < VL / 2; i++) words[2 * i] = low[i], words[2 * i + 1] = high[i];
        float all[4 * VL]; /* the factors of elements 8 * block … */
        for (int i = 0; i < 4; i++) {
            vh lanes16;
            memcpy(&lanes16, (const char *)words + (size_t)i * sizeof lanes16, sizeof lanes16);
            vi kept = __builtin_convertvector(lanes16, vi) >= (int32_t)rule.threshold;
            stf(all + i * VL, (vf)(kept & (vi)vf_all(rule.scale)));
        }
        size_t skip = e % 8, take = 4 * VL - skip < n ? 4 * VL - skip : n;
        memcpy(factors, all + skip, take * sizeof *factors);
        factors += take, e += take, n -= take;
    }
}
