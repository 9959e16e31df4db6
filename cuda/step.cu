/* The optimizer's step over all parameters at once; the mathematics is in train/ref/step.c.
 *
 * Parameters are cut into chunks of a fixed size, a block each; the list of chunks lies on the
 * device and is sent again only when the parameters are others. The norm is a sum in double per
 * chunk, the chunks added in a fixed order. All scalars are read from device memory, so a captured
 * step can be replayed. */
#include <stdlib.h>
#include <string.h>
#include "cuda/kernel.cuh"

struct chunk {
    float *master, *m, *v;
    const float *grad;
    void *act;
    uint32_t n;
    uint32_t decay;
};

namespace {

enum { THREADS = 256 };
constexpr size_t CHUNK = 1 << 16;

__global__ void square_sum_kernel(double *sums, const chunk *chunks) {
    const chunk c = chunks[blockIdx.x];
    double total = 0;
    for (uint32_t i = threadIdx.x; i < c.n;) {
        float s = 0; /* a few in fp32, then double */
        for (int k = 0; k < 8 && i < c.n; k++, i += THREADS) s += c.grad[i] * c.grad[i];
        total += s;
    }
    total = block_sum_double(total, shared_memory<double>());
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

__global__ void norm_kernel(struct step_scalars *s, const double *sums, int n) {
    double total = 0;
    for (int i = threadIdx.x; i < n; i += THREADS) total += sums[i];
    total = block_sum_double(total, shared_memory<double>());
    if (threadIdx.x != 0) return;
    float norm = (float)(s->grad_scale * sqrt(total));
    s->grad_norm = norm;
    double mean = s->targets > 0 ? s->loss_sum / s->targets : 0;
    bool loss_spiked = !isfinite(mean) || (s->loss_spike > 0 && mean > s->loss_spike);
    s->skipped = !isfinite(norm) || (s->spike > 0 && norm > s->spike) || loss_spiked;
}

struct factors {
    float scale, step, root, keep; /* of the gradient; lr / fix1; 1 / sqrt(fix2); decay's */
};

__global__ void adamw_kernel(const struct step_scalars *s, const chunk *chunks) {
    factors &f = *shared_memory<factors>();
    const chunk c = chunks[blockIdx.x];
    if (s->skipped) return;
    if (threadIdx.x == 0) {
        double ratio = s->clip / ((double)s->grad_norm + 1e-6);
        f.scale = (float)(s->grad_scale * (s->clip > 0 && ratio < 1 ? ratio : 1.0));
        f.step = (float)(s->lr / (1 - pow((double)s->beta1, (double)s->step)));
        f.root = (float)(1 / sqrt(1 - pow((double)s->beta2, (double)s->step)));
        f.keep = c.decay ? (float)(1 - (double)s->lr * s->weight_decay) : 1.0f;
    }
    __syncthreads();
    float beta1 = s->beta1, beta2 = s->beta2, eps = s->eps;
    float rest1 = (float)(1 - (double)beta1), rest2 = (float)(1 - (double)beta2);
    bf16 *act = static_cast<bf16 *>(c.act);
    for (uint32_t i = threadIdx.x; i < c.n; i += THREADS) {
        float g = c.grad[i] * f.scale;
        float m = beta1 * c.m[i] + rest1 * g, v = beta2 * c.v[i] + rest2 * g * g;
        float w = c.master[i] * f.keep - f.step * m / (sqrtf(v) * f.root + eps);
        c.m[i] = m;
        c.v[i] = v;
        c.master[i] = w;
        if (act) act[i] = from_float<bf16>(w);
    }
}

template <class A> __global__ void cast_kernel(A *to, const float *from, size_t n) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] = from_float<A>(from[i]);
}

} // namespace

/* The list of chunks on the device, made again if the parameters are not those of the last call.
 * NULL after noting the failure. */
static const chunk *chunks_of(struct device *d, const struct param_slice *p, size_t n_params,
                              int *ret_n) {
    size_t n = 0, bytes;
    for (size_t k = 0; k < n_params; k++) n += blocks_for(p[k].n, CHUNK);
    *ret_n = (int)n;
    bytes = n * sizeof(chunk);
    chunk *list = (chunk *)calloc(n ? n : 1, sizeof *list);
    if (!list) {
        cuda_fail(d, ERR_NOMEM, "out of memory");
        return NULL;
    }
    n = 0;
    for (size_t k = 0; k < n_params; k++)
        for (size_t from = 0; from < p[k].n; from += CHUNK) {
            chunk &c = list[n++];
            c.master = p[k].master + from;
            c.m = p[k].m + from;
            c.v = p[k].v + from;
            c.grad = p[k].grad + from;
            c.act = p[k].act ? (bf16 *)p[k].act + from : NULL;
            c.n = (uint32_t)(p[k].n - from < CHUNK ? p[k].n - from : CHUNK);
            c.decay = p[k].decay;
        }
    const void *there = cuda_keep(d, list, bytes);
    free(list);
    return (const chunk *)there;
}

void cuda_grad_norm(struct device *d, struct step_scalars *s, const struct param_slice *p,
                    size_t n_params) {
    int n = 0;
    const chunk *list = chunks_of(d, p, n_params, &n);
    double *sums = (double *)cuda_work(d, ((size_t)n + 1) * sizeof(double));
    if (n > 0)
        launch(d, "square_sum", square_sum_kernel, (unsigned)n, THREADS,
               THREADS / 32 * sizeof(double), sums, list);
    launch(d, "grad_norm", norm_kernel, 1, THREADS, THREADS / 32 * sizeof(double), s,
           (const double *)sums, n);
}

void cuda_adamw(struct device *d, const struct step_scalars *s, const struct param_slice *p,
                size_t n_params) {
    int n = 0;
    const chunk *list = chunks_of(d, p, n_params, &n);
    if (n > 0) launch(d, "adamw", adamw_kernel, (unsigned)n, THREADS, sizeof(factors), s, list);
}

void cuda_cast(struct device *d, void *to, const float *from, size_t n) {
    if (n == 0 || to == from) return;
    if (cuda_is_bf16(d))
        launch(d, "cast", cast_kernel<bf16>, blocks_for(n, THREADS), THREADS, 0, (bf16 *)to, from,
               n);
    else
        launch(d, "cast", cast_kernel<float>, blocks_for(n, THREADS), THREADS, 0, (float *)to, from,
               n);
}
