/* Random numbers as functions of a counter: Philox4x32-10 (Salmon et al., SC 2011).
 *
 * The same (key, counter) gives the same 128 bits on every machine, thread and device, so what is
 * random never depends on the order of work, and a position is all a resume needs. */
#ifndef LORY_BASE_RNG_H
#define LORY_BASE_RNG_H

#include <math.h>
#include <stdint.h>

struct philox_out {
    uint32_t v[4];
};

/* 128 random bits for a 64-bit key and a 128-bit counter (lo, hi). */
static inline struct philox_out philox(uint64_t key, uint64_t lo, uint64_t hi) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)lo, c1 = (uint32_t)(lo >> 32), c2 = (uint32_t)hi,
             c3 = (uint32_t)(hi >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (struct philox_out){{c0, c1, c2, c3}};
}

/* A stream of numbers from one key: the counter counts up. Copy the struct to save the position. */
struct rng {
    uint64_t key, stream, at; /* `stream` tells independent uses of one key apart */
};

static inline uint64_t rng_u64(struct rng *r) {
    struct philox_out o = philox(r->key, r->at++, r->stream);
    return (uint64_t)o.v[1] << 32 | o.v[0];
}

/* Uniform in [0, n), n > 0, without bias (Lemire 2019, multiply and reject). */
static inline uint64_t rng_below(struct rng *r, uint64_t n) {
    unsigned __int128 m = (unsigned __int128)rng_u64(r) * n;
    if ((uint64_t)m < n) {
        uint64_t floor = (0 - n) % n;
        while ((uint64_t)m < floor) m = (unsigned __int128)rng_u64(r) * n;
    }
    return (uint64_t)(m >> 64);
}

/* Uniform in [0, 1) with 53 bits. */
static inline double rng_unit(struct rng *r) {
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

/* Standard normal by Box and Muller; one value per call, so that the count of calls is the
 * position. */
static inline double rng_normal(struct rng *r) {
    struct philox_out o = philox(r->key, r->at++, r->stream);
    double u = ((double)(((uint64_t)o.v[1] << 32 | o.v[0]) >> 11) + 0.5) * 0x1p-53;
    double a = (double)(((uint64_t)o.v[3] << 32 | o.v[2]) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586476925 * a);
}

#endif
