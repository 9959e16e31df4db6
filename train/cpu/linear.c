/* Affine maps as products with an epilogue: bias and activation (forward) or the slope of the
 * previous activation (backward) are applied to a tile while it is in L2. Mathematics:
 * ref/linear.c.
 *
 * Few rows (generation) would spend their time packing w: few.h. */
#include "train/cpu/act.h"
#include "train/cpu/few.h"
#include "train/cpu/gemm.h"
#include "train/cpu/ops.h"

enum { STRIP = 4 * VL }; /* columns of dy that are summed together */

struct forward {
    void *y, *pre;
    const void *b;
    size_t N;
    enum act act;
    bool bf16;
};

INLINE void forward_rows(const struct forward *f, const float *tile, size_t ld_tile, size_t m0,
                         size_t m, size_t n0, size_t n, enum act act, bool bf16) {
    for (size_t i = 0; i < m; i++) {
        size_t row = (m0 + i) * f->N;
        for (size_t j = 0; j < n; j += VL) {
            int w = lanes(j, n);
            vf v = ld(tile, i * ld_tile + j, w, false);
            if (f->b) v += ld(f->b, n0 + j, w, bf16);
            if (f->pre) {
                st(f->pre, row + n0 + j, w, bf16, v);
                if (bf16) v = vf_widen(vf_narrow(v)); /* as act_forward() will find it */
            }
            st(f->y, row + n0 + j, w, bf16, act == ACT_NONE ? v : vf_act(v, act));
        }
    }
}

/* One copy of the loop per activation and type, so that neither is asked inside it. */
#define PER_ACT_AND_TYPE(CALL, ACT, BF16)                                                          \
    do {                                                                                           \
        if (BF16) {                                                                                \
            if ((ACT) == ACT_NONE)                                                                 \
                CALL(ACT_NONE, true);                                                              \
            else if ((ACT) == ACT_GELU_TANH)                                                       \
                CALL(ACT_GELU_TANH, true);                                                         \
            else                                                                                   \
                CALL(ACT_GELU_ERF, true);                                                          \
        } else {                                                                                   \
            if ((ACT) == ACT_NONE)                                                                 \
                CALL(ACT_NONE, false);                                                             \
            else if ((ACT) == ACT_GELU_TANH)                                                       \
                CALL(ACT_GELU_TANH, false);                                                        \
            else                                                                                   \
                CALL(ACT_GELU_ERF, false);                                                         \
        }                                                                                          \
    } while (0)

static void forward_out(const void *ctx, const float *tile, size_t ld_tile, size_t m0, size_t m,
                        size_t n0, size_t n) {
    const struct forward *f = ctx;
#define CALL(ACT, BF16) forward_rows(f, tile, ld_tile, m0, m, n0, n, ACT, BF16)
    PER_ACT_AND_TYPE(CALL, f->act, f->bf16);
#undef CALL
}

void cpu_linear_forward(struct device *d, void *y, void *pre, const void *x, const void *w,
                        const void *b, int rows, int K, int N, enum act act) {
    if (d->first.code) return;
    struct forward f = {y, pre, b, (size_t)N, act, d->bf16};
    if (rows <= FEW_ROWS) {
        few_along(d, x, w, (size_t)rows, (size_t)K, (size_t)N, forward_out, &f);
        return;
    }
    struct matrix left = {x, (size_t)K, false, d->bf16, false},
                  right = {w, (size_t)N, false, d->bf16, false};
    struct gemm_to to = {forward_out, &f, {y, pre}, f.N, d->bf16};
    gemm_run(d, (size_t)rows, (size_t)N, (size_t)K, &left, &right, WORK_PACK, false, &to);
}

INLINE void act_chunk(void *y, const void *pre, size_t from, size_t to, enum act act, bool bf16) {
    for (size_t i = from; i < to; i += VL) {
        int w = lanes(i, to);
        st(y, i, w, bf16, vf_act(ld(pre, i, w, bf16), act));
    }
}

void cpu_act_forward(struct device *d, void *y, const void *pre, size_t n, enum act act) {
    enum { CHUNK = 1 << 14 };
    if (d->first.code) return;
#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t to = n - i < CHUNK ? n : i + CHUNK;
#define CALL(ACT, BF16) act_chunk(y, pre, i, to, ACT, BF16)
        PER_ACT_AND_TYPE(CALL, act, d->bf16);
#undef CALL
    }
}

struct backward {
    void *dx;
    const void *prev_pre;
    size_t K;
    enum act act;
    bool bf16;
};

INLINE void dx_rows(const struct backward *f, const float *tile, size_t ld_tile, size_t m0,
                    size_t m, size_t k0, size_t k, enum act act, bool bf16) {
    for (size_t i = 0; i < m; i++) {
        size_t row = (m0 + i) * f->K + k0;
        for (size_t j = 0; j < k; j += VL) {
            int w = lanes(j, k);
            vf v = ld(tile, i * ld_tile + j, w, false);
            if (act != ACT_NONE) v *= vf_act_slope(ld(f->prev_pre, row + j, w, bf16), act);
            st(f->dx, row + j, w, bf16, v);
        }
    }
}

static void dx_out(const void *ctx, const float *tile, size_t ld_tile, size_t m0, size_t m,
                   size_t k0, size_t k) {
    const struct backward *f = ctx;
#define CALL(ACT, BF16) dx_rows(f, tile, ld_tile, m0, m, k0, k, ACT, BF16)
    PER_ACT_AND_TYPE(CALL, f->act, f->bf16);
#undef CALL
}

struct gradient {
    float *dw;
    size_t N;
};

static void dw_out(const void *ctx, const float *tile, size_t ld_tile, size_t k0, size_t k,
                   size_t n0, size_t n) {
    const struct gradient *f = ctx;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < n; j += VL) {
            int w = lanes(j, n);
            size_t e = (k0 + i) * f->N + n0 + j;
            st(f->dw, e, w, false, ld(f->dw, e, w, false) + ld(tile, i * ld_tile + j, w, false));
        }
}

/* Sums of columns: four strands of rows, so that the additions overlap and errors grow slower. */
INLINE void db_strip(float *db, const void *dy, size_t rows, size_t N, size_t n0, size_t n,
                     bool bf16) {
    for (size_t j = n0; j < n0 + n; j += VL) {
        int w = lanes(j, n0 + n);
        vf sum[4] = {{0}};
        for (size_t r = 0; r < rows; r++) sum[r % 4] += ld(dy, r * N + j, w, bf16);
        st(db, j, w, false, ld(db, j, w, false) + ((sum[0] + sum[1]) + (sum[2] + sum[3])));
    }
}

void cpu_linear_backward(struct device *d, void *dx, float *dw, float *db, const void *dy,
                         const void *x, const void *w, const void *prev_pre, enum act prev_act,
                         int rows_, int K_, int N_) {
    if (d->first.code) return;
    size_t rows = (size_t)rows_, K = (size_t)K_, N = (size_t)N_;
    struct matrix dys = {dy, N, false, d->bf16, false};
    if (dx) {
        struct backward f = {dx, prev_pre, K, prev_pre ? prev_act : ACT_NONE, d->bf16};
        struct matrix wt = {w, N, true, d->bf16, false};
        struct gemm_to to = {dx_out, &f, {dx, prev_pre}, K, d->bf16};
        gemm_run(d, rows, K, N, &dys, &wt, WORK_PACK, false, &to);
    }
    if (dw) {
        struct gradient f = {dw, N};
        struct matrix xt = {x, K, true, d->bf16, false};
        struct gemm_to to = {dw_out, &f, {dw}, N, false};
        gemm_run(d, K, N, rows, &xt, &dys, WORK_PACK, false, &to);
    }
    if (!db) return;
#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (size_t n0 = 0; n0 < N; n0 += STRIP) {
        size_t n = N - n0 < STRIP ? N - n0 : STRIP;
        if (d->bf16)
            db_strip(db, dy, rows, N, n0, n, true);
        else
            db_strip(db, dy, rows, N, n0, n, false);
    }
}
