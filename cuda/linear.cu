/* Affine maps and their activation; the mathematics is in train/ref/linear.c and gelu.c.
 *
 * The products are gemm.h's. The activation is a pass of its own, of `pre` as it is stored, so that
 * computing it again gives the same bits; its slope rides on the product where that can carry it.
 * A few rows have a product of their own, few.cu's. */
#include "cuda/act.cuh"
#include "cuda/few.h"
#include "cuda/gemm.h"

namespace {

enum { THREADS = 256, WARPS = 8 /* of the bias's sums */ };

/* y = act(pre), or y *= act'(pre) */
template <class A, int N>
__global__ void act_kernel(A *y, const A *pre, size_t pieces, int act, bool slope) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pieces) return;
    piece<A, N> x, out;
    x.load(pre + i * N);
    if (slope) out.load(y + i * N);
#pragma unroll
    for (int k = 0; k < N; k++)
        out.v[k] = slope ? out.v[k] * act_slope(x.v[k], act) : act_of(x.v[k], act);
    out.store(y + i * N);
}

template <class A, int N>
void act_pass(struct device *d, void *y, const void *pre, size_t n, enum act act, bool slope) {
    launch(d, slope ? "act_backward" : "act_forward", act_kernel<A, N>, blocks_for(n / N, THREADS),
           THREADS, 0, (A *)y, (const A *)pre, n / N, (int)act, slope);
}

/* partial (gridDim.y, n) = sums of this block's rows of dy (rows, n): a lane has N columns, a warp
 * every WARPS-th row. In shared memory the warps' sums lie so that lanes meet in no bank. */
template <class A, int N>
__global__ void bias_sum_kernel(float *partial, const A *dy, size_t rows, int n, size_t per_block) {
    float(*part)[N][32] = shared_memory<float[N][32]>();
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, c = (blockIdx.x * 32 + lane) * N;
    size_t from = blockIdx.y * per_block, to = from + per_block < rows ? from + per_block : rows;
    float s[N] = {};
    if (c < n) {
#pragma unroll 4
        for (size_t r = from + warp; r < to; r += WARPS) {
            piece<A, N> d;
            d.load(dy + r * n + c);
#pragma unroll
            for (int i = 0; i < N; i++) s[i] += d.v[i];
        }
    }
#pragma unroll
    for (int i = 0; i < N; i++) part[warp][i][lane] = s[i];
    __syncthreads();
    if (warp != 0 || c >= n) return;
#pragma unroll
    for (int i = 0; i < N; i++) {
        for (int w = 1; w < WARPS; w++) s[i] += part[w][i][lane];
        partial[(size_t)blockIdx.y * n + c + i] = s[i];
    }
}

/* y (rows,n) += b of each column, from its own rounding. */
template <class A> __global__ void add_bias_kernel(A *y, const A *b, size_t elements, int n) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < elements) y[i] = from_float<A>(to_float(y[i]) + to_float(b[i % n]));
}

template <class A> void add_bias(struct device *d, void *y, const void *b, size_t rows, int n) {
    launch(d, "add_bias", add_bias_kernel<A>, blocks_for(rows * n, THREADS), THREADS, 0, (A *)y,
           (const A *)b, rows * n, n);
}

/* db += the sums of `parts` rows of partial: a block takes 32 columns, a warp every WARPS-th of
 * them. */
__global__ void bias_add_kernel(float *db, const float *partial, int parts, int n) {
    float(*part)[32] = shared_memory<float[32]>();
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, c = blockIdx.x * 32 + lane;
    float s = 0;
    for (int i = warp; c < n && i < parts; i += WARPS) s += partial[(size_t)i * n + c];
    part[warp][lane] = s;
    __syncthreads();
    if (warp != 0 || c >= n) return;
    for (int w = 1; w < WARPS; w++) s += part[w][lane];
    db[c] += s;
}

/* cuBLASLt's sums of this kind (the epilogue BGRADB) are a kernel of their own, too, and a slower
 * one: 2.5 TB/s of an H200's 4.8. */
template <class A, int N>
void bias_sum(struct device *d, float *db, const void *dy, size_t rows, int n) {
    unsigned across = blocks_for(n, 32 * N);
    size_t parts = ((size_t)cuda_multiprocessors(d) * 4 + across - 1) / across;
    if (parts > blocks_for(rows, 4 * WARPS)) parts = blocks_for(rows, 4 * WARPS);
    size_t per_block = (rows + parts - 1) / parts;
    float *partial = (float *)cuda_work(d, parts * n * sizeof(float));
    launch(d, "bias_sum", bias_sum_kernel<A, N>, dim3(across, (unsigned)parts), 32 * WARPS,
           WARPS * N * 32 * sizeof(float), partial, (const A *)dy, rows, n, per_block);
    launch(d, "bias_add", bias_add_kernel, blocks_for(n, 32), 32 * WARPS,
           WARPS * 32 * sizeof(float), db, (const float *)partial, (int)parts, n);
}

} // namespace

void cuda_act_forward(struct device *d, void *y, const void *pre, size_t n, enum act act) {
    PIECES(d, n, act_pass)(d, y, pre, n, act, false);
}

void cuda_linear_forward(struct device *d, void *y, void *pre, const void *x, const void *w,
                         const void *b, int rows, int K, int N, enum act act) {
    if (few_linear(d, y, pre, x, w, b, rows, K, N, act)) return;
    struct gemm g = {};
    g.m = rows, g.n = N, g.k = K;
    g.lda = K, g.ldb = N, g.ldc = N;
    void *out = act == ACT_NONE ? y : pre;
    g.extra = GEMM_BIAS;
    g.bias = b;
    if (!b || !gemm_can(d, &g) || !gemm_run(d, &g, out, x, w)) {
        g.extra = GEMM_PLAIN;
        gemm_run(d, &g, out, x, w);
        if (b) (cuda_is_bf16(d) ? add_bias<bf16> : add_bias<float>)(d, out, b, (size_t)rows, N);
    }
    if (act != ACT_NONE) cuda_act_forward(d, y, pre, (size_t)rows * N, act);
}

static void linear_dx(struct device *d, void *dx, const void *dy, const void *w,
                      const void *prev_pre, enum act prev_act, int rows, int K, int N) {
    struct gemm g = {};
    g.m = rows, g.n = K, g.k = N;
    g.tb = true;
    g.lda = N, g.ldb = N, g.ldc = K;
    g.aux = prev_pre;
    g.extra = GEMM_DGELU;
    if (prev_act == ACT_GELU_TANH && gemm_can(d, &g) && gemm_run(d, &g, dx, dy, w)) return;
    g.extra = GEMM_PLAIN;
    gemm_run(d, &g, dx, dy, w);
    if (prev_act != ACT_NONE)
        PIECES(d, K, act_pass)(d, dx, prev_pre, (size_t)rows * K, prev_act, true);
}

static void linear_dw(struct device *d, float *dw, const void *dy, const void *x, int rows, int K,
                      int N) {
    struct gemm g = {};
    g.m = K, g.n = N, g.k = rows;
    g.ta = true;
    g.lda = K, g.ldb = N, g.ldc = N;
    g.out_f32 = g.add = true;
    gemm_run(d, &g, dw, x, dy);
}

void cuda_linear_backward(struct device *d, void *dx, float *dw, float *db, const void *dy,
                          const void *x, const void *w, const void *prev_pre, enum act prev_act,
                          int rows, int K, int N) {
    if (dx) linear_dx(d, dx, dy, w, prev_pre, prev_act, rows, K, N);
    if (dw) linear_dw(d, dw, dy, x, rows, K, N);
    if (db) PIECES(d, N, bias_sum)(d, db, dy, (size_t)rows, N);
}
