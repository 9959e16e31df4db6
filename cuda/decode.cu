/* Generation: attention of one new position per row against the cache, and plain logits; the
 * mathematics is in train/ref/decode.c.
 *
 * A block has one head of one row: its threads take positions for the scores, then columns, in
 * groups that take positions in turn, for the sum over values. */
#include "cuda/gemm.h"
#include "cuda/kernel.cuh"

namespace {

enum { THREADS = 256 };

template <class A> __device__ __forceinline__ float dot(const float *q, const A *k, int HS) {
    float s = 0;
    for (int c = 0; c < HS; c++) s += q[c] * to_float(k[c]);
    return s;
}

/* Shared: q (HS), two rows of sums for reductions (64), scores (P), partial outputs (groups,HS). */
template <class A>
__global__ void attention_decode_kernel(A *y, A *k_cache, A *v_cache, const A *qkv,
                                        const int32_t *n_past, const int32_t *start, int P, int C,
                                        int HS, float scale) {
    float *q = shared_memory<float>(), *sums = q + HS, *score = sums + 64, *out = score + P;
    int h = blockIdx.x, b = blockIdx.y, NH = gridDim.x;
    int n = n_past[b], first = start ? start[b] : 0;
    const A *row = qkv + (size_t)b * 3 * C + (size_t)h * HS;
    A *k = k_cache + ((size_t)b * NH + h) * P * HS, *v = v_cache + ((size_t)b * NH + h) * P * HS;
    for (int c = threadIdx.x; c < HS; c += THREADS) {
        q[c] = to_float(row[c]) * scale;
        k[(size_t)n * HS + c] = row[C + c];
        v[(size_t)n * HS + c] = row[2 * C + c];
    }
    __syncthreads();
    float most = -INFINITY, sum = 0;
    for (int j = first + threadIdx.x; j <= n; j += THREADS) {
        score[j] = dot(q, k + (size_t)j * HS, HS);
        most = fmaxf(most, score[j]);
    }
    most = block_max(most, sums);
    for (int j = first + threadIdx.x; j <= n; j += THREADS) {
        score[j] = exp_fast(score[j] - most);
        sum += score[j];
    }
    sum = block_sum(sum, sums + 32); /* its barrier also closes the scores */
    int groups = THREADS / HS > 0 ? THREADS / HS : 1, group = threadIdx.x / HS;
    for (int c = threadIdx.x % HS; group < groups && c < HS; c += THREADS) {
        float s = 0;
        for (int j = first + group; j <= n; j += groups)
            s += score[j] * to_float(v[(size_t)j * HS + c]);
        out[group * HS + c] = s;
    }
    __syncthreads();
    for (int c = threadIdx.x; c < HS; c += THREADS) {
        float s = 0;
        for (int g = 0; g < groups; g++) s += out[g * HS + c];
        y[(size_t)b * C + (size_t)h * HS + c] = from_float<A>(first <= n ? s / sum : 0.0f);
    }
}

template <class A>
void decode(struct device *d, void *y, void *k_cache, void *v_cache, const void *qkv,
            const int32_t *n_past, const int32_t *start, int B, int P, int C, int NH, float scale) {
    int HS = C / NH, groups = THREADS / HS > 0 ? THREADS / HS : 1;
    size_t shared = ((size_t)HS + 64 + P + (size_t)groups * HS) * sizeof(float);
    if (shared > cuda_shared_limit(d)) {
        cuda_fail(d, ERR_USAGE, "a context of %d positions does not fit this GPU's shared memory",
                  P);
        return;
    }
    launch(d, "attention_decode", attention_decode_kernel<A>, dim3((unsigned)NH, (unsigned)B),
           THREADS, shared, (A *)y, (A *)k_cache, (A *)v_cache, (const A *)qkv, n_past, start, P, C,
           HS, scale);
}

} // namespace

void cuda_attention_decode(struct device *d, void *y, void *k_cache, void *v_cache, const void *qkv,
                           const int32_t *n_past, const int32_t *start, int B, int P, int C, int NH,
                           float scale) {
    (cuda_is_bf16(d) ? decode<bf16> : decode<float>)(d, y, k_cache, v_cache, qkv, n_past, start, B,
                                                     P, C, NH, scale);
}

void cuda_logits(struct device *d, float *logits, const void *x, const void *w, int rows, int C,
                 int V) {
    struct gemm g = {};
    g.m = rows, g.n = V, g.k = C;
    g.tb = true;
    g.lda = g.ldb = C, g.ldc = V;
    g.out_f32 = true;
    gemm_run(d, &g, logits, x, w);
}
