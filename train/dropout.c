/* See dropout.h: the bits, spelled out. */
#include "train/dropout.h"

float dropout_factor(const struct dropout *drop, int b, uint64_t e) {
    struct dropout_rule rule = dropout_rule(drop->p);
    struct philox_out o = dropout_block(drop, b, e / 8);
    uint32_t lane = o.v[e % 8 / 2] >> (16 * (e & 1)) & 0xffff;
    return lane >= rule.threshold ? rule.scale : 0;
}

void dropout_factors(float *factors, const struct dropout *drop, int b, uint64_t e, size_t n) {
    struct dropout_rule rule = dropout_rule(drop->p);
    struct philox_out o = dropout_block(drop, b, e / 8);
    for (size_t i = 0; i < n; i++, e++) {
        if (i > 0 && e % 8 == 0) o = dropout_block(drop, b, e / 8);
        uint32_t lane = o.v[e % 8 / 2] >> (16 * (e & 1)) & 0xffff;
        factors[i] = lane >= rule.threshold ? rule.scale : 0;
    }
}
