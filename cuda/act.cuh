/* Activations and their slopes, for whoever applies them: the same bits in each place. */
#ifndef LORY_CUDA_ACT_CUH
#define LORY_CUDA_ACT_CUH

#include "cuda/kernel.cuh"

/* 1 / (1 + exp(-2 u)) = (1 + tanh u) / 2 of gelu_new's u: one exponential, and small results are as
 * exact as large ones. */
__device__ __forceinline__ float gelu_share(float x) {
    float u = 0.7978845608028654f * (x + 0.044715f * x * x * x);
    return __fdividef(1.0f, 1.0f + exp_fast(-2 * u));
}

__device__ __forceinline__ float act_of(float x, int act) {
    if (act == ACT_GELU_TANH) return x * gelu_share(x);
    if (act == ACT_GELU_ERF) return 0.5f * x * (1 + erff(x * 0.7071067811865475f));
    return x;
}
__device__ __forceinline__ float act_slope(float x, int act) {
    if (act == ACT_GELU_TANH) {
        float s = gelu_share(x);
        return s + 2 * x * s * (1 - s) * 0.7978845608028654f * (1 + 3 * 0.044715f * x * x);
    }
    if (act == ACT_GELU_ERF)
        return 0.5f * (1 + erff(x * 0.7071067811865475f)) +
               x * 0.3989422804014327f * expf(-0.5f * x * x);
    return 1;
}

#endif
