/* Dropout without stored masks: which elements stay is a function, not a memory.
 *
 * Element e of batch row b at place `site` reads 16 bits of Philox4x32-10 (base/rng.h):
 *
 *   counter  lo = site << 40 | e / 8        (site < 2^24, e < 2^43)
 *            hi = sample0 + more + b         (more: 0 without struct dropout's pointer)
 *   lane     k = e % 8:  bits 16 (k & 1) … +15 of word v[k / 2]
 *   kept     lane >= threshold,  threshold = min(65535, round(p * 65536))
 *   value    x * 65536 / (65536 - threshold)  if kept, else 0
 *
 * The scale is that of the rounded probability, so the expectation is exact.
 * Elements are numbered t * C + c in (B,T,C) tensors, and (h * T + i) * T8 + j in attention, where
 * T8 is T rounded up to a multiple of 8: eight neighbouring keys share one Philox block. */
#ifndef LORY_TRAIN_DROPOUT_H
#define LORY_TRAIN_DROPOUT_H

#include "base/rng.h"
#include "train/op.h"

struct dropout_rule {
    uint32_t threshold; /* 0: nothing is dropped */
    float scale;
};

static inline struct dropout_rule dropout_rule(float p) {
    if (!(p > 0)) return (struct dropout_rule){0, 1};
    double t = floor((double)p * 65536 + 0.5);
    uint32_t threshold = t > 65535 ? 65535 : (uint32_t)t;
    return (struct dropout_rule){threshold, 65536.0f / (float)(65536 - threshold)};
}

/* The counter's upper half for batch row b. Reads drop->more: for devices whose memory is ours. */
static inline uint64_t dropout_sample(const struct dropout *drop, int b) {
    return drop->sample0 + (drop->more ? *drop->more : 0) + (uint64_t)b;
}

/* The eight lanes of elements 8 * block … 8 * block + 7 of batch row b. */
static inline struct philox_out dropout_block(const struct dropout *drop, int b, uint64_t block) {
    return philox(drop->key, (uint64_t)drop->site << 40 | block, dropout_sample(drop, b));
}

/* The first element of attention's row (h, i). */
static inline uint64_t dropout_attention_row(int T, int h, int i) {
    uint64_t t8 = ((uint64_t)T + 7) / 8 * 8;
    return ((uint64_t)h * (uint64_t)T + (uint64_t)i) * t8;
}

/* The factor of one element: scale or 0. The slow form; dropout_factors() does many. */
float dropout_factor(const struct dropout *drop, int b, uint64_t e);

/* factors[0..n) of elements e … e + n - 1 of batch row b. */
void dropout_factors(float *factors, const struct dropout *drop, int b, uint64_t e, size_t n);

#endif
