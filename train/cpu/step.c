/* The optimizer's step over all parameters as one list of fixed chunks. Mathematics: ref/step.c.
 *
 * The norm is a sum in double per chunk, the chunks added in order: the same bits for any number of
 * threads. AdamW reads and writes each value once: it runs at the speed of memory. */
#include <stdlib.h>
#include "train/cpu/ops.h"

enum { CHUNK = 1 << 16 };

struct chunk {
    const struct param_slice *p;
    size_t from, n;
};

/* All parameters cut into chunks; *ret_n their number. In workspace WORK_LOGITS. */
static struct chunk *chunks(struct device *d, const struct param_slice *p, size_t n_params,
                            size_t *ret_n) {
    size_t n = 0;
    for (size_t k = 0; k < n_params; k++) n += (p[k].n + CHUNK - 1) / CHUNK;
    struct chunk *list = cpu_work(d, WORK_LOGITS, n * sizeof *list);
    if (!list) return NULL;
    n = 0;
    for (size_t k = 0; k < n_params; k++)
        for (size_t from = 0; from < p[k].n; from += CHUNK)
            list[n++] = (struct chunk){&p[k], from, p[k].n - from < CHUNK ? p[k].n - from : CHUNK};
    *ret_n = n;
    return list;
}

/* Squares summed in fp32 over at most 64 vectors, then in double. */
static double square_sum(const float *g, size_t n) {
    double total = 0;
    for (size_t i = 0; i < n;) {
        vf sum = {0};
        size_t end = n - i < 64 * VL ? n : i + 64 * VL;
        for (; i < end; i += VL) {
            vf v = ld(g, i, lanes(i, end), false);
            sum += v * v;
        }
        float lane[VL];
        memcpy(lane, &sum, sizeof lane);
        for (int j = 0; j < VL; j++) total += lane[j];
        i = end;
    }
    return total;
}

void cpu_grad_norm(struct device *d, struct step_scalars *s, const struct param_slice *p,
                   size_t n_params) {
    size_t n = 0;
    struct chunk *list = chunks(d, p, n_params, &n);
    double *part = cpu_work(d, WORK_SUMS, n * sizeof *part), sum = 0;
    if (!list || !part) return;
#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (size_t k = 0; k < n; k++) part[k] = square_sum(list[k].p->grad + list[k].from, list[k].n);
    for (size_t k = 0; k < n; k++) sum += part[k];
    s->grad_norm = (float)(s->grad_scale * sqrt(sum));
    s->skipped =
        !isfinite(s->grad_norm) || (s->spike > 0 && s->grad_norm > s->spike) || step_loss_spiked(s);
}

struct adamw {
    float scale, beta1, beta2, step, root, eps; /* w -= step * m / (sqrt(v) * root + eps) */
};

INLINE vf vf_sqrt(vf x) {
#if ISA_LEVEL >= 2
    return (vf)_mm512_sqrt_ps((__m512)x);
#elif ISA_LEVEL == 1
    return (vf)_mm256_sqrt_ps((__m256)x);
#else
    for (int i = 0; i < VL; i++) x[i] = sqrtf(x[i]);
    return x;
#endif
}

static void adamw_chunk(const struct adamw *a, const struct chunk *k, float keep, bool bf16) {
    float *w = k->p->master + k->from, *m = k->p->m + k->from, *v = k->p->v + k->from;
    const float *grad = k->p->grad + k->from;
    void *act = k->p->act == k->p->master ? NULL : k->p->act;
    for (size_t i = 0; i < k->n; i += VL) {
        int n = lanes(i, k->n);
        vf g = ld(grad, i, n, false) * a->scale;
        vf m1 = ld(m, i, n, false), v1 = ld(v, i, n, false);
        m1 += (1 - a->beta1) * (g - m1); /* as torch's lerp */
        v1 = a->beta2 * v1 + (1 - a->beta2) * g * g;
        vf w1 = ld(w, i, n, false) * keep;
        w1 -= a->step * m1 / (vf_sqrt(v1) * a->root + a->eps);
        st(m, i, n, false, m1);
        st(v, i, n, false, v1);
        st(w, i, n, false, w1);
        if (act) st(act, k->from + i, n, bf16, w1);
    }
}

void cpu_adamw(struct device *d, const struct step_scalars *s, const struct param_slice *p,
               size_t n_params) {
    size_t n = 0;
    struct chunk *list = s->skipped ? NULL : chunks(d, p, n_params, &n);
    if (!list) return;
    double scale = s->grad_scale, ratio = s->clip / ((double)s->grad_norm + 1e-6);
    if (s->clip > 0 && ratio < 1) scale *= ratio;
    double fix1 = 1 - pow(s->beta1, (double)s->step), fix2 = 1 - pow(s->beta2, (double)s->step);
    struct adamw a = {
        (float)scale, s->beta1, s->beta2, (float)(s->lr / fix1), (float)(1 / sqrt(fix2)), s->eps};
    float decay = (float)(1 - (double)s->lr * s->weight_decay);
#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (size_t k = 0; k < n; k++) adamw_chunk(&a, &list[k], list[k].p->decay ? decay : 1, d->bf16);
}

void cpu_cast(struct device *d, void *to, const float *from, size_t n) {
    if (d->first.code || (!d->bf16 && to == from)) return;
#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (size_t i = 0; i < n; i += VL) {
        int w = lanes(i, n);
        st(to, i, w, d->bf16, ld(from, i, w, false));
    }
}
