/* Softmax cross-entropy over the vocabulary in chunks of rows. Mathematics: ref/classifier.c.
 *
 *   w packed twice, once a call ─▶ per chunk of 512 rows (a w that is packed part by part, once a
 *   chunk; chunks are then of 1,024 rows, in bf16 of 256, or of 192 where it is widened):
 *      logits = x w^T     product
 *      loss, dlogits      a row at a time, in place (bf16: into the first half of the row's room)
 *      dx = dlogits w     product
 *      dw += dlogits^T x  product
 *
 * Logits are fp32 also for bf16. A chunk is large because each reads and writes all of dw, and no
 * larger because of its memory: 1,024 rows of 50,257 take 206 MB, all that bf16 saves elsewhere. */
#include "train/cpu/gemm.h"
#include "train/cpu/ops.h"

struct logits_chunk {
    float *z; /* (R, ld) logits, then their gradients, act-typed: (R, ld_dz) */
    size_t ld, ld_dz, V;
};

static void logits_out(const void *ctx, const float *tile, size_t ld_tile, size_t m0, size_t m,
                       size_t n0, size_t n) {
    const struct logits_chunk *k = ctx;
    for (size_t i = 0; i < m; i++)
        memcpy(k->z + (m0 + i) * k->ld + n0, tile + i * ld_tile, n * sizeof *tile);
}

/* One row: its loss; its gradient if `gradient`, with zeros beyond V. */
INLINE float loss_row(const struct logits_chunk *k, size_t r, int32_t label, float scale,
                      bool gradient, bool bf16) {
    float *z = k->z + r * k->ld;
    size_t V = k->V;
    for (size_t v = V; v < k->ld; v++) z[v] = -INFINITY;
    vf top[2] = {vf_all(-INFINITY), vf_all(-INFINITY)}, sum[2] = {{0}};
    for (size_t v = 0; v < k->ld; v += 2 * VL) { /* two, as each waits for the one before */
        top[0] = vf_max(top[0], ldf(z + v));
        top[1] = vf_max(top[1], ldf(z + v + VL));
    }
    float max = vf_top(vf_max(top[0], top[1])), of_label = z[label];
    for (size_t v = 0; v < k->ld; v += 2 * VL) {
        vf a = vf_exp(ldf(z + v) - max), b = vf_exp(ldf(z + v + VL) - max);
        stf(z + v, a);
        stf(z + v + VL, b);
        sum[0] += a;
        sum[1] += b;
    }
    float total = vf_sum(sum[0] + sum[1]);
    if (gradient) {
        float factor = scale / total;
        z[label] -= total; /* softmax - 1: exact where the label is nearly certain */
        for (size_t v = 0; v < k->ld; v += VL)
            st(z, v, VL, bf16, ldf(z + v) * factor); /* bf16: what is written over was read */
    }
    return logf(total) + max - of_label;
}

static void zero_row(const struct logits_chunk *k, size_t r) {
    memset(k->z + r * k->ld, 0, k->ld * sizeof *k->z);
}

struct gradient {
    void *p;
    size_t ld, row0;
    bool bf16;
};

static void dx_out(const void *ctx, const float *tile, size_t ld_tile, size_t m0, size_t m,
                   size_t n0, size_t n) {
    const struct gradient *g = ctx;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j += VL) {
            int w = lanes(j, n);
            st(g->p, (g->row0 + m0 + i) * g->ld + n0 + j, w, g->bf16,
               ld(tile, i * ld_tile + j, w, false));
        }
}

static void dw_out(const void *ctx, const float *tile, size_t ld_tile, size_t m0, size_t m,
                   size_t n0, size_t n) {
    const struct gradient *g = ctx;
    float *dw = g->p;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j += VL) {
            int w = lanes(j, n);
            size_t e = (m0 + i) * g->ld + n0 + j;
            st(dw, e, w, false, ld(dw, e, w, false) + ld(tile, i * ld_tile + j, w, false));
        }
}

/* The rows of one chunk: losses and dlogits. True if any has a target. */
static bool chunk_losses(struct device *d, const struct logits_chunk *k, float *loss,
                         const int32_t *labels, size_t n, float scale, bool gradient) {
    bool any = false;
#pragma omp parallel for num_threads(d->threads) schedule(static) reduction(|| : any)
    for (size_t r = 0; r < n; r++) {
        loss[r] = 0;
        if (labels[r] == LABEL_IGNORED) {
            if (gradient) zero_row(k, r);
            continue;
        }
        any = true;
        if (d->bf16)
            loss[r] = loss_row(k, r, labels[r], scale, gradient, true);
        else
            loss[r] = loss_row(k, r, labels[r], scale, gradient, false);
    }
    return any;
}

void cpu_classifier(struct device *d, float *loss, void *dx, float *dw, const void *x,
                    const void *w, const int32_t *labels, int rows_, int C_, int V_,
                    const float *scale) {
    size_t rows = (size_t)rows_, C = (size_t)C_, V = (size_t)V_;
    bool bf16 = d->bf16, first = true, large = !gemm_packs_whole(C, V);
    size_t chunk = !large ? 512 : !bf16 ? 1024 : gemm_widens(bf16) ? 192 : 256;
    size_t most = rows < chunk ? rows : chunk;
    /* Both packed copies of w, for the next chunk. */
    bool keep = rows > most && gemm_keeps(d, C, V, bf16);
    enum cpu_work pack_v = keep ? WORK_PACK2 : WORK_PACK, pack_x = keep ? WORK_PACK3 : WORK_PACK;
    struct logits_chunk k = {.ld = round_up(V, 32), .V = V};
    if (k.ld % 512 == 0) k.ld += 32; /* else the chunk could not be read in place: gemm_run() */
    k.ld_dz = bf16 ? 2 * k.ld : k.ld;
    k.z = cpu_work(d, WORK_LOGITS, most * k.ld * sizeof *k.z);
    if (!k.z) return;
    struct matrix by_c = {w, C, true, bf16, false}, by_v = {w, C, false, bf16, false};
    for (size_t r0 = 0; r0 < rows; r0 += most) {
        size_t n = rows - r0 < most ? rows - r0 : most;
        struct matrix xs = {at(x, r0 * C, bf16), C, false, bf16, false};
        struct matrix dzs = {k.z, k.ld_dz, false, bf16, true},
                      dzt = {k.z, k.ld_dz, true, bf16, false};
        struct gemm_to to_z = {logits_out, &k, {k.z}, k.ld, false};
        gemm_run(d, n, V, C, &xs, &by_c, WORK_PACK, !first && keep, &to_z);
        if (d->first.code) return;
        bool any = chunk_losses(d, &k, loss + r0, labels + r0, n, dx ? *scale : 0, dx != NULL);
        if (dx) {
            struct gradient to_x = {dx, C, r0, bf16}, to_w = {dw, C, 0, false};
            struct gemm_to out_x = {dx_out, &to_x, {at(dx, r0 * C, bf16)}, C, bf16};
            struct gemm_to out_w = {dw_out, &to_w, {dw}, C, false};
            gemm_run(d, n, C, V, &dzs, &by_v, pack_v, !first && keep, &out_x);
            if (dw && any) gemm_run(d, V, C, n, &dzt, &xs, pack_x, false, &out_w);
        }
        first = false;
    }
}

void cpu_loss_sum(struct device *d, double *sum, const float *loss, size_t n) {
    double s = 0;
    if (d->first.code) return;
    for (size_t r = 0; r < n; r++) s += loss[r];
    *sum += s;
}
