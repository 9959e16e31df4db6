/* Softmax cross-entropy over the vocabulary; the mathematics is in train/ref/classifier.c.
 *
 * Rows go in chunks: a product gives the logits in fp32 (rounded ones would show in the loss),
 * one block a row reads them for the loss and then overwrites them with their gradient in act type,
 * which two products turn into dx and dw. A row of gradients lies in the front half of
 * its row of logits. */
#include "cuda/gemm.h"
#include "cuda/kernel.cuh"

namespace {

struct row_sums {
    float part[32], part2[32];
};

enum { SUM_THREADS = 1024 };

/* z (n,stride) fp32 logits of rows r0 …; becomes their gradient as A, row by row from its start,
 * if `backward`. */
template <class A>
__global__ void classifier_kernel(float *loss, float *z, const int32_t *labels, int V,
                                  size_t stride, const float *scale_at, bool backward) {
    row_sums &s = *shared_memory<row_sums>();
    size_t r = blockIdx.x;
    int threads = (int)blockDim.x;
    float *zr = z + r * stride;
    A *dz = reinterpret_cast<A *>(zr);
    int label = labels[r];
    if (label == LABEL_IGNORED) {
        if (threadIdx.x == 0) loss[r] = 0;
        for (int v = threadIdx.x; backward && v < V; v += threads) dz[v] = from_float<A>(0);
        return;
    }
    float most = -INFINITY, sum = 0; /* of this thread's, sum relative to most */
    for (int v = threadIdx.x; v < V; v += threads) {
        float x = zr[v];
        if (x > most) {
            sum *= exp_fast(most - x);
            most = x;
        }
        sum += exp_fast(x - most);
    }
    float all = block_max(most, s.part);
    sum = block_sum(most == -INFINITY ? 0 : sum * exp_fast(most - all), s.part2);
    if (threadIdx.x == 0) loss[r] = logf(sum) + all - zr[label];
    if (!backward) return;
    float scale = *scale_at, by = scale / sum;
    __syncthreads(); /* the label's logit has been read */
    /* What is written at a step lies where this step or an earlier one has read. */
    for (int from = 0; from < V; from += threads) {
        int v = from + threadIdx.x;
        float g = 0;
        if (v < V) g = exp_fast(zr[v] - all) * by - (v == label ? scale : 0);
        __syncthreads();
        if (v < V) dz[v] = from_float<A>(g);
    }
}

/* Rows at a time: as many as a 32nd of the device's memory holds, at least 128. */
int chunk_rows(struct device *d, int rows, size_t stride) {
    size_t n = cuda_total_memory(d) / 32 / (stride * sizeof(float)) / 128 * 128;
    if (n < 128) n = 128;
    return (size_t)rows < n ? rows : (int)n;
}

template <class A>
void classifier(struct device *d, float *loss, A *dx, float *dw, const A *x, const A *w,
                const int32_t *labels, int rows, int C, int V, const float *scale) {
    size_t stride = ((size_t)V + 15) / 16 * 16; /* 16-byte rows also as bf16 */
    int most = chunk_rows(d, rows, stride);
    float *z = (float *)cuda_work(d, (size_t)most * stride * sizeof(float));
    for (int r = 0; z && r < rows; r += most) {
        struct gemm g = {};
        int n = rows - r < most ? rows - r : most, ld = (int)(stride * sizeof(float) / sizeof(A));
        g.m = n, g.n = V, g.k = C; /* z = x w^T */
        g.tb = true;
        g.lda = g.ldb = C, g.ldc = (int)stride;
        g.out_f32 = true;
        gemm_run(d, &g, z, x + (size_t)r * C, w);
        launch(d, "classifier", classifier_kernel<A>, (unsigned)n, V < 4096 ? 64 : 512,
               sizeof(row_sums), loss + r, z, labels + r, V, stride, scale, dx || dw);
        if (dx) {
            g = {};
            g.m = n, g.n = C, g.k = V; /* dx = dz w */
            g.lda = ld, g.ldb = g.ldc = C;
            gemm_run(d, &g, dx + (size_t)r * C, z, w);
        }
        if (dx && dw) {
            g = {};
            g.m = V, g.n = C, g.k = n; /* dw += dz^T x */
            g.ta = true;
            g.lda = ld, g.ldb = g.ldc = C;
            g.out_f32 = g.add = true;
            gemm_run(d, &g, dw, z, x + (size_t)r * C);
        }
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
