/* Generation: attention of one new position per row against the cache, and plain logits; the
 * mathematics is in train/ref/decode.c.
 *
 * A block has one head of one row. A group of lanes has a position at a time, each of them N
 * channels (16 bytes' worth where the head size allows, else 1): first for the scores, then for the
 * sum over values, of which each group has its own part.
 *
 *   sums in shared memory: channel i of the lanes' pieces, thread t at i * (THREADS + lanes) + t,
 *   so that neither those who write a part nor those who add the parts up meet in a bank; q's
 *   channels lie the same way: the first of all pieces, the second of all … */
#include "cuda/few.h"
#include "cuda/gemm.h"
#include "cuda/kernel.cuh"

namespace {

enum { THREADS = 256, AHEAD = 4 /* positions that a group asks for at once */ };

template <class A> struct decode_args {
    A *y, *k_cache, *v_cache;
    const A *qkv;
    const int32_t *n_past, *start;
    int P, C, HS, lanes /* of a group: a power of two */;
    float scale;
};

/* q: shared, as above. Scores of keys first … n, their maximum to every thread. */
template <class A, int N>
__device__ float find_scores(float *score, const decode_args<A> &a, const float *q, const A *k,
                             int first, int n, float *sums) {
    int group = threadIdx.x / a.lanes, sub = threadIdx.x % a.lanes, groups = THREADS / a.lanes;
    float most = -INFINITY;
    for (int from = first; from <= n; from += groups * AHEAD) {
        float s[AHEAD] = {};
        for (int c = sub * N; c < a.HS; c += a.lanes * N) {
            piece<A, N> x[AHEAD] = {};
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                int j = from + i * groups + group;
                if (j <= n) x[i].load(k + (size_t)j * a.HS + c);
            }
#pragma unroll
            for (int i = 0; i < AHEAD; i++)
#pragma unroll
                for (int e = 0; e < N; e++) s[i] += q[e * (a.HS / N) + c / N] * x[i].v[e];
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            int j = from + i * groups + group;
            for (int o = a.lanes / 2; o > 0; o /= 2) s[i] += __shfl_xor_sync(ALL_LANES, s[i], o);
            if (j > n) continue;
            if (sub == 0) score[j] = s[i];
            most = fmaxf(most, s[i]);
        }
    }
    return block_max(most, sums);
}

/* y = values weighted by scores, over their sum: a chunk of lanes * N channels at a time. */
template <class A, int N>
__device__ void add_values(A *y, const decode_args<A> &a, const float *score, float sum, const A *v,
                           int first, int n, float *out) {
    int group = threadIdx.x / a.lanes, sub = threadIdx.x % a.lanes, groups = THREADS / a.lanes;
    int chunk = a.lanes * N, apart = THREADS + a.lanes;
    for (int from = 0; from < a.HS; from += chunk) {
        int c = from + sub * N;
        float s[N] = {};
        for (int j0 = first + group; c < a.HS && j0 <= n; j0 += groups * AHEAD) {
            piece<A, N> x[AHEAD] = {};
#pragma unroll
            for (int i = 0; i < AHEAD; i++)
                if (j0 + i * groups <= n) x[i].load(v + (size_t)(j0 + i * groups) * a.HS + c);
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                float p = j0 + i * groups <= n ? score[j0 + i * groups] : 0;
#pragma unroll
                for (int e = 0; e < N; e++) s[e] += p * x[i].v[e];
            }
        }
#pragma unroll
        for (int i = 0; i < N; i++) out[i * apart + threadIdx.x] = s[i];
        __syncthreads();
        for (int t = threadIdx.x; t < chunk; t += THREADS) { /* channel i of lane `of` */
            int i = t / a.lanes, of = t % a.lanes, at = from + of * N + i;
            float all = 0;
            for (int g = 0; g < groups; g++) all += out[i * apart + g * a.lanes + of];
            if (at < a.HS) y[at] = from_float<A>(first <= n ? all / sum : 0.0f);
        }
        __syncthreads();
    }
}

/* Keys and values that were there before, while the kernel waits for those that were not. */
template <class A>
__device__ __forceinline__ void ask_for_past(const decode_args<A> &a, int h, int b, int NH,
                                             int first, int n) {
    const size_t line = 128 / sizeof(A), cache = ((size_t)b * NH + h) * a.P * a.HS;
    for (size_t at = first * (size_t)a.HS + threadIdx.x * line; at < (size_t)n * a.HS;
         at += THREADS * line) {
        prefetch_line(a.k_cache + cache + at);
        prefetch_line(a.v_cache + cache + at);
    }
}

/* Shared: two rows of sums for reductions (64), partial outputs, q (HS), scores (P). */
template <class A, int N>
__global__ void __launch_bounds__(THREADS, 4) attention_decode_kernel(const decode_args<A> a) {
    float *sums = shared_memory<float>(), *out = sums + 64;
    float *q = out + N * (THREADS + a.lanes), *score = q + a.HS;
    int h = blockIdx.x, b = blockIdx.y, NH = gridDim.x;
    int n = a.n_past[b], first = a.start ? a.start[b] : 0;
    ask_for_past(a, h, b, NH, first, n);
    next_may_begin();
    wait_for_earlier();
    const A *row = a.qkv + (size_t)b * 3 * a.C + (size_t)h * a.HS;
    size_t cache = ((size_t)b * NH + h) * a.P * a.HS;
    A *k = a.k_cache + cache, *v = a.v_cache + cache;
    for (int c = threadIdx.x; c < a.HS; c += THREADS) {
        q[c % N * (a.HS / N) + c / N] = to_float(row[c]) * a.scale;
        k[(size_t)n * a.HS + c] = row[a.C + c];
        v[(size_t)n * a.HS + c] = row[2 * a.C + c];
    }
    __syncthreads();
    float sum = 0, most = find_scores<A, N>(score, a, q, k, first, n, sums);
    for (int j = first + threadIdx.x; j <= n; j += THREADS) {
        score[j] = exp_fast(score[j] - most);
        sum += score[j];
    }
    sum = block_sum(sum, sums + 32); /* its barrier also closes the scores */
    add_values<A, N>(a.y + (size_t)b * a.C + (size_t)h * a.HS, a, score, sum, v, first, n, out);
}

template <class A, int N>
void decode(struct device *d, void *y, void *k_cache, void *v_cache, const void *qkv,
            const int32_t *n_past, const int32_t *start, int B, int P, int C, int NH, float scale) {
    int HS = C / NH, lanes = 1;
    while (lanes < 32 && lanes * N < HS) lanes *= 2;
    size_t shared = ((size_t)HS + 64 + P + (size_t)N * (THREADS + lanes)) * sizeof(float);
    if (shared > cuda_shared_limit(d)) {
        cuda_fail(d, ERR_USAGE, "a context of %d positions does not fit this GPU's shared memory",
                  P);
        return;
    }
    decode_args<A> a = {(A *)y, (A *)k_cache, (A *)v_cache, (const A *)qkv, n_past, start, P,
                        C,      HS,           lanes,        scale};
    launch_early(d, "attention_decode", attention_decode_kernel<A, N>,
                 dim3((unsigned)NH, (unsigned)B), THREADS, shared, a);
}

} // namespace

void cuda_attention_decode(struct device *d, void *y, void *k_cache, void *v_cache, const void *qkv,
                           const int32_t *n_past, const int32_t *start, int B, int P, int C, int NH,
                           float scale) {
    PIECES(d, C / NH, decode)(d, y, k_cache, v_cache, qkv, n_past, start, B, P, C, NH, scale);
}

void cuda_logits(struct device *d, float *logits, const void *x, const void *w, int rows, int C,
                 int V) {
    if (few_logits(d, logits, x, w, rows, C, V)) return;
    struct gemm g = {};
    g.m = rows, g.n = V, g.k = C;
    g.tb = true;
    g.lda = g.ldb = C, g.ldc = V;
    g.out_f32 = true;
    gemm_run(d, &g, logits, x, w);
}
