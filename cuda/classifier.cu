/* Softmax cross-entropy over the vocabulary; the mathematics is in train/ref/classifier.c.
 *
 * Rows go in chunks: a product gives the logits in fp32 (rounded ones would show in the loss),
 * one block a row reads them for the loss and then overwrites them with their gradient in act type,
 * which two products turn into dx and dw. A row of gradients lies in the front half of
 * its row of logits.
 *
 * Tensor cores want sizes that are multiples of 16 bytes (cuBLAS, "Tensor Core Usage"), and 50257
 * is none: each product is made of the vocabulary's first multiple of 8 and of the few tokens
 * left.
 *
 * A row of GPT-2's logits is 201 KB: it is read once, into shared memory, where a block has as much
 * (227 KB on a Hopper), and twice where not. */
#include "cuda/gemm.h"
#include "cuda/kernel.cuh"

namespace {

struct row_sums {
    float part[32], part2[32];
};

enum { SUM_THREADS = 1024, EIGHT = 8, PARTS = 4 /* of a row */ };

/* Logits v … v + 3 of a row, v a multiple of 4; those past V are as unlikely as can be. */
__device__ __forceinline__ float4 four_of(const float *z, int v, int V) {
    if (v + 4 <= V) return load_vector<float4>(z + v);
    return make_float4(z[v], v + 1 < V ? z[v + 1] : -INFINITY, v + 2 < V ? z[v + 2] : -INFINITY,
                       -INFINITY);
}
__device__ __forceinline__ void store_four(float *to, float4 x) {
    store_vector(to, x);
}
__device__ __forceinline__ void store_four(bf16 *to, float4 x) {
    store_vector(to, make_uint2(pack_bf16(x.x, x.y), pack_bf16(x.z, x.w)));
}

/* Starts the copy of logits v … v + 3. */
__device__ __forceinline__ void copy_four(float *to, const float *z, int v, int V) {
    if (v + 4 <= V)
        cp_async16(to + v, z + v);
    else
        for (int i = v; i < V; i++) to[i] = z[i];
}
/* Waits until this thread's copies of a part are there. */
__device__ __forceinline__ void part_arrived(int part) {
    if (part == 0) cp_async_wait<PARTS - 1>();
    if (part == 1) cp_async_wait<PARTS - 2>();
    if (part == 2) cp_async_wait<PARTS - 3>();
    if (part == 3) cp_async_wait<PARTS - 4>();
}

/* CACHED: behind the sums of its shared memory lies a copy of the row.
 * z (n,stride) fp32 logits of rows r0 …; becomes their gradient as A, row by row from its start,
 * if `backward`: then also up to 3 zeros behind it. */
template <class A, bool CACHED>
__global__ void classifier_kernel(float *loss, float *z, const int32_t *labels, int V,
                                  size_t stride, const float *scale_at, bool backward) {
    row_sums &s = *shared_memory<row_sums>();
    size_t r = blockIdx.x;
    int threads = (int)blockDim.x;
    float *zr = z + r * stride;
    float *row = CACHED ? reinterpret_cast<float *>(&s + 1) : zr;
    A *dz = reinterpret_cast<A *>(zr);
    int label = labels[r];
    if (label == LABEL_IGNORED) {
        if (threadIdx.x == 0) loss[r] = 0;
        for (int v = 4 * threadIdx.x; backward && v < V; v += 4 * threads)
            store_four(dz + v, make_float4(0, 0, 0, 0));
        return;
    }
    /* All of the row is under way at once, and a part is looked at when it is there. */
    const int step = 4 * threads, part = ((V + step - 1) / step + PARTS - 1) / PARTS * step;
    for (int p = 0; CACHED && p < PARTS; p++) {
        for (int v = p * part + 4 * threadIdx.x; v < min(V, (p + 1) * part); v += step)
            copy_four(row, zr, v, V);
        cp_async_commit();
    }
    float most = -INFINITY, sum = 0; /* of this thread's, sum relative to most */
#pragma unroll
    for (int p = 0; p < PARTS; p++) {
        if (CACHED) part_arrived(p);
        for (int v = p * part + 4 * threadIdx.x; v < min(V, (p + 1) * part); v += step) {
            float4 x = four_of(row, v, V);
            float m = fmaxf(fmaxf(x.x, x.y), fmaxf(x.z, x.w));
            if (m > most) {
                sum *= exp_fast(most - m);
                most = m;
            }
            sum += exp_fast(x.x - most) + exp_fast(x.y - most) + exp_fast(x.z - most) +
                   exp_fast(x.w - most);
        }
    }
    float all = block_max(most, s.part);
    sum = block_sum(most == -INFINITY ? 0 : sum * exp_fast(most - all), s.part2);
    if (threadIdx.x == 0) loss[r] = logf(sum) + all - row[label];
    if (!backward) return;
    float scale = *scale_at, by = scale / sum;
    __syncthreads(); /* the label's logit has been read */
    /* Without a copy: what is written at a step lies where this step or an earlier one has read. */
    for (int from = 0; from < V; from += 4 * threads) {
        int v = from + 4 * threadIdx.x;
        float4 g = make_float4(0, 0, 0, 0);
        if (v < V) {
            float4 x = four_of(row, v, V);
            g.x = exp_fast(x.x - all) * by - (v == label ? scale : 0);
            g.y = exp_fast(x.y - all) * by - (v + 1 == label ? scale : 0);
            g.z = exp_fast(x.z - all) * by - (v + 2 == label ? scale : 0);
            g.w = exp_fast(x.w - all) * by - (v + 3 == label ? scale : 0);
        }
        if (!CACHED) __syncthreads();
        if (v < V) store_four(dz + v, g);
    }
}

/* Rows at a time: as many as a 32nd of the device's memory holds, at least 128. */
int chunk_rows(struct device *d, int rows, size_t stride) {
    size_t n = cuda_total_memory(d) / 32 / (stride * sizeof(float)) / 128 * 128;
    if (n < 128) n = 128;
    return (size_t)rows < n ? rows : (int)n;
}

/* Tokens [from, from + n) of the vocabulary. */
struct tokens {
    int from, n;
};

/* z (n,stride) = x (n,C) w (V,C)^T */
template <class A>
void logits_of(struct device *d, float *z, const A *x, const A *w, tokens t, int n, int C,
               int stride) {
    struct gemm g = {};
    g.m = n, g.n = t.n, g.k = C;
    g.tb = true;
    g.lda = g.ldb = C, g.ldc = stride;
    g.out_f32 = true;
    gemm_run(d, &g, z + t.from, x, w + (size_t)t.from * C);
}
/* dx (n,C) = dz (n,ld) w (V,C), or += */
template <class A>
void dx_of(struct device *d, A *dx, const A *dz, const A *w, tokens t, int n, int C, int ld,
           bool add) {
    struct gemm g = {};
    g.m = n, g.n = C, g.k = t.n;
    g.lda = ld, g.ldb = g.ldc = C;
    g.add = add;
    gemm_run(d, &g, dx, dz + t.from, w + (size_t)t.from * C);
}
/* dw (V,C) += dz (n,ld)^T x (n,C) */
template <class A>
void dw_of(struct device *d, float *dw, const A *dz, const A *x, tokens t, int n, int C, int ld) {
    struct gemm g = {};
    g.m = t.n, g.n = C, g.k = n;
    g.ta = true;
    g.lda = ld, g.ldb = g.ldc = C;
    g.out_f32 = g.add = true;
    gemm_run(d, &g, dw + (size_t)t.from * C, dz + t.from, x);
}

template <class A>
void classifier(struct device *d, float *loss, A *dx, float *dw, const A *x, const A *w,
                const int32_t *labels, int rows, int C, int V, const float *scale) {
    size_t stride = ((size_t)V + 15) / 16 * 16; /* 16-byte rows also as bf16 */
    int most = chunk_rows(d, rows, stride);
    float *z = (float *)cuda_work(d, (size_t)most * stride * sizeof(float));
    /* The few first: their part of dx is rounded to A, and what is added to it is not before. */
    int few = V > EIGHT ? V % EIGHT : 0;
    size_t copy = sizeof(row_sums) + stride * sizeof(float);
    bool cached = copy <= cuda_shared_limit(d);
    const tokens parts[2] = {{V - few, few}, {0, V - few}};
    int first = few ? 0 : 1, ld = (int)(stride * sizeof(float) / sizeof(A));
    for (int r = 0; z && r < rows; r += most) {
        int n = rows - r < most ? rows - r : most;
        const A *xr = x + (size_t)r * C, *dz = reinterpret_cast<const A *>(z);
        for (int p = first; p < 2; p++) logits_of(d, z, xr, w, parts[p], n, C, (int)stride);
        launch(d, cached ? "classifier" : "classifier, two reads",
               cached ? classifier_kernel<A, true> : classifier_kernel<A, false>, (unsigned)n,
               V < 4096 ? 64 : 1024, cached ? copy : sizeof(row_sums), loss + r, z, labels + r, V,
               stride, scale, dx || dw);
        for (int p = first; dx && p < 2; p++)
            dx_of(d, dx + (size_t)r * C, dz, w, parts[p], n, C, ld, p > first);
        for (int p = first; dx && dw && p < 2; p++) dw_of(d, dw, dz, xr, parts[p], n, C, ld);
    }
}

/* One block: a thread adds every 1024th loss, the threads' sums go in a fixed order. */
__global__ void loss_sum_kernel(double *sum, const float *loss, size_t n) {
    double s = 0;
    for (size_t i = threadIdx.x; i < n; i += SUM_THREADS) s += loss[i];
    s = block_sum_double(s, shared_memory<double>());
    if (threadIdx.x == 0) *sum += s;
}

} // namespace

void cuda_classifier(struct device *d, float *loss, void *dx, float *dw, const void *x,
                     const void *w, const int32_t *labels, int rows, int C, int V,
                     const float *scale) {
    if (cuda_is_bf16(d))
        classifier(d, loss, (bf16 *)dx, dw, (const bf16 *)x, (const bf16 *)w, labels, rows, C, V,
                   scale);
    else
        classifier(d, loss, (float *)dx, dw, (const float *)x, (const float *)w, labels, rows, C, V,
                   scale);
}

void cuda_loss_sum(struct device *d, double *sum, const float *loss, size_t n) {
    launch(d, "loss_sum", loss_sum_kernel, 1, SUM_THREADS, SUM_THREADS / 32 * sizeof(double), sum,
           loss, n);
}
