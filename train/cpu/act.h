/* GELU in its two forms, on vectors; the mathematics is in ref/gelu.c.
 *
 * (1 + tanh u) / 2 = 1 / (1 + e^-2u); Phi by the Chebyshev fit of erfc in Numerical Recipes (6.2,
 * relative error 1.2e-7 everywhere). Against double: tests/op/check_math.c. */
#ifndef LORY_TRAIN_CPU_ACT_H
#define LORY_TRAIN_CPU_ACT_H

#include "train/cpu/isa.h"

/* The normal distribution function Phi(x) = erfc(-x / sqrt 2) / 2. */
INLINE vf vf_phi(vf x) {
    vf z = vf_max(x, -x) * 0.70710678f;
    vf t = 1.0f / (1.0f + 0.5f * z);
    vf p = vf_all(0.17087277f);
    p = p * t - 0.82215223f;
    p = p * t + 1.48851587f;
    p = p * t - 1.13520398f;
    p = p * t + 0.27886807f;
    p = p * t - 0.18628806f;
    p = p * t + 0.09678418f;
    p = p * t + 0.37409196f;
    p = p * t + 1.00002368f;
    p = p * t - 1.26551223f;
    vf half = 0.5f * t * vf_exp(p - z * z); /* erfc(z) / 2: the tail beyond |x| */
    return vf_pick(x > 0.0f, 1.0f - half, half);
}

/* 2u as exponent of 2: 2 sqrt(2 / pi) (x + 0.044715 x^3) / ln 2 */
INLINE vf vf_exponent(vf x) {
    return x * (2.3022081f + 0.10294324f * (x * x));
}

INLINE vf vf_act(vf x, enum act act) {
    if (act == ACT_GELU_TANH) {
        /* (1 + tanh u) / 2, without cancellation */
        return x / (1.0f + vf_exp2(vf_min(vf_all(127), -vf_exponent(x))));
    }
    if (act == ACT_GELU_ERF) return x * vf_phi(x);
    return x;
}

INLINE vf vf_act_slope(vf x, enum act act) {
    if (act == ACT_GELU_TANH) {
        vf xx = x * x, e = vf_exp2(vf_min(vf_all(86), vf_exponent(x)));
        vf low = 1.0f / (1.0f + e), high = e * low; /* (1 - tanh u) / 2 and (1 + tanh u) / 2 */
        return high + 2.0f * x * low * high * 0.79788456f * (1.0f + 3.0f * 0.044715f * xx);
    }
    if (act == ACT_GELU_ERF) return vf_phi(x) + x * 0.39894228f * vf_exp(-0.5f * x * x);
    return vf_all(1);
}

#endif
