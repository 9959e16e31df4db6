/* Causal attention in blocks with the softmax computed online (Milakov, Gimelshein 2018; Dao et al.
 * 2022): scores exist only as a BQ x BK block in L1. Mathematics: ref/attention.c.
 *
 *   one thread, one head (b, h):
 *
 *              keys ─▶  BK            S  = Q K^T        k, v of the head are packed once,
 *   queries  ┌────┬────┬────┐         P  = exp(S - max)  q and dy per block of queries.
 *      │  BQ │ S  │ S\ │    │         O += P V          Blocks right of the diagonal, and left
 *      ▼     ├────┼────┤    │                           of the segments' starts, are skipped.
 *            │ S  │ S  │ …
 *
 * backward, per block: S and P again, dP = dO V^T, dS = P (dP - D), dV += P^T dO, dK += dS^T Q,
 * dQ += dS K. The queries' blocks come in order, so dK and dV are sums in a fixed order. */
#include "train/cpu/gemm.h"
#include "train/cpu/ops.h"
#include "train/dropout.h"

enum { BQ = 48, BK = 96 }; /* multiples of MR; BK of NR, BQ of 2 */

struct head {
    int b, h, T;
    size_t C, HS, HSp; /* HSp: HS rounded up to NR   */
    size_t units;      /* of HS                      */
    bool bf16, pairs;
    float scale;
    const int32_t *start; /* of this batch row, or NULL */
    const struct dropout *drop;
    struct matrix q, k, v, dy; /* (T,HS) with their strides; dy only backward */
};

/* A thread's memory, cut from one piece. */
struct scratch {
    float *k_cols;             /* K^T as right factor: [T / NR][units][NR]                */
    float *v_cols;             /* V^T the same (backward)                                 */
    float *rows;               /* V (forward) or K (backward): [T / BK][HSp / NR][BK units][NR] */
    float *q_left, *dy_left;   /* [BQ / MR][units][MR]                               */
    float *q_right, *dy_right; /* [HSp / NR][BQ units][NR]                           */
    float *s, *dp;             /* (BQ, BK)                                                */
    float *s_half, *ds_half;   /* bf16: P or dS with pairs along keys (BQ, BK / 2)      */
    float *p_pairs, *ds_pairs; /* bf16: pairs along queries (BQ / 2, BK)              */
    float *out;                /* (BQ, HSp): O or dQ                                      */
    float *dk, *dv;            /* (T rounded up to BK, HSp)                               */
    float *keep;               /* (BK) dropout's factors                                  */
    float *max, *sum;          /* (BQ)                                                    */
};

/* Cuts `base` into the arrays, or counts: returns the floats needed. */
static size_t cut(struct scratch *s, float *base, size_t T, size_t HSp, bool backward) {
    size_t n = 0, Tp = round_up(T, BK), b = backward;
#define CUT(FIELD, FLOATS) (s->FIELD = base ? base + n : NULL, n += round_up(FLOATS, 16))
    CUT(k_cols, Tp * HSp);
    CUT(v_cols, b * Tp * HSp);
    CUT(rows, Tp * HSp);
    CUT(q_left, BQ * HSp);
    CUT(dy_left, b * BQ * HSp);
    CUT(q_right, b * BQ * HSp);
    CUT(dy_right, b * BQ * HSp);
    CUT(s, BQ * BK);
    CUT(dp, b * BQ * BK);
    CUT(s_half, BQ * BK / 2);
    CUT(ds_half, b * BQ * BK / 2);
    CUT(p_pairs, b * BQ / 2 * BK);
    CUT(ds_pairs, b * BQ / 2 * BK);
    CUT(out, BQ * HSp);
    CUT(dk, b * Tp * HSp);
    CUT(dv, b * Tp * HSp);
    CUT(keep, BK + 16);
    CUT(max, BQ);
    CUT(sum, BQ);
#undef CUT
    return n;
}

/* X (T,HS) as right factor across: columns are the T positions. */
static void pack_columns(float *to, const struct head *hd, struct matrix x) {
    x.across = true;
    for (size_t t = 0; t < (size_t)hd->T; t += NR)
        gemm_pack_right(to + t * hd->units, &x, 0, hd->HS, t,
                        (size_t)hd->T - t < NR ? (size_t)hd->T - t : NR);
}

/* X's rows t0 … t0 + n as right factor: rows are K, columns HS; panels of `most` positions. */
static void pack_positions(float *to, const struct head *hd, const struct matrix *x, size_t t0,
                           size_t n, size_t most) {
    size_t panel = gemm_units(most, hd->bf16) * NR;
    for (size_t c = 0; c < hd->HS; c += NR)
        gemm_pack_right(to + c / NR * panel, x, t0, n, c, hd->HS - c < NR ? hd->HS - c : NR);
}

static void pack_left(float *to, const struct head *hd, const struct matrix *x, size_t t0,
                      size_t n) {
    gemm_pack_left(to, x, t0, n, 0, hd->HS);
}

/* Where block k0 … of `rows` is: BK positions times HSp. */
static float *block_rows(const struct scratch *s, const struct head *hd, size_t k0) {
    return s->rows + k0 / BK * gemm_units(BK, hd->bf16) * hd->HSp;
}

/* The scores' factor: left packed rows m by the positions k0 … of packed columns. */
static void scores(float *to, const float *left, const float *cols, const struct head *hd, size_t m,
                   size_t k0, size_t n) {
    struct left a = {left, 1, MR, MR * hd->units};
    gemm_block(to, BK, &a, cols + k0 * hd->units, NR * hd->units, round_up(m, MR), round_up(n, NR),
               hd->units, false, hd->pairs);
}

/* Columns of a score block that are used for n keys: whole vectors, whole panels on either side. */
INLINE size_t used(size_t n) {
    return round_up(round_up(n, MR), NR);
}

/* Lanes j … of a row that lie in [lo, hi). */
INLINE vi inside(size_t j, int lo, int hi) {
    vi index;
    for (int i = 0; i < VL; i++) index[i] = i;
    index += (int32_t)j;
    return (index >= lo) & (index < hi);
}

/* Rows of fp32 narrowed: with pairs along the columns (rows of bf16), or along the rows. */
static void narrow_rows(float *to, const float *from, size_t m, size_t n) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < used(n); j += VL)
            st(to, i * BK + j, VL, true, ldf(from + i * BK + j));
}
static void narrow_pairs(float *to, const float *from, size_t m, size_t n) {
    for (size_t u = 0; u < (m + 1) / 2; u++)
        for (size_t j = 0; j < used(n); j += VL) {
            vf lo = ldf(from + 2 * u * BK + j), hi = {0};
            if (2 * u + 1 < m) hi = ldf(from + (2 * u + 1) * BK + j);
            vu pair = __builtin_convertvector(vf_narrow(lo), vu) |
                      __builtin_convertvector(vf_narrow(hi), vu) << 16;
            stf(to + u * BK + j, (vf)pair);
        }
}

/* Turns row i of the scores of keys k0 … into exp(score - max) in place, zero outside [lo, hi)
 * (relative to k0) in the rest of `width`; returns the factor by which earlier sums shrink. */
INLINE float softmax_row(float *s, size_t width, float scale, int lo, int hi, float *max,
                         float *sum) {
    vf top = vf_all(-INFINITY);
    for (size_t j = 0; j < width; j += VL)
        top = vf_max(top, vf_pick(inside(j, lo, hi), ldf(s + j) * scale, vf_all(-INFINITY)));
    float new_max = vf_top(top);
    if (new_max < *max) new_max = *max;
    vf total = {0};
    for (size_t j = 0; j < width; j += VL) {
        vf p = vf_exp(ldf(s + j) * scale - new_max);
        p = vf_pick(inside(j, lo, hi), p, (vf){0});
        stf(s + j, p);
        total += p;
    }
    float shrink = *max == -INFINITY ? 0 : vf_exp(vf_all(*max - new_max))[0];
    *sum = *sum * shrink + vf_sum(total);
    *max = new_max;
    return shrink;
}

/* First position that row i sees, and the first that any of rows i0 … i0 + m sees. */
INLINE int row_start(const struct head *hd, size_t i) {
    return hd->start ? hd->start[i] : 0;
}
static size_t block_start(const struct head *hd, size_t i0, size_t m) {
    int first = row_start(hd, i0);
    for (size_t i = 1; i < m; i++)
        if (row_start(hd, i0 + i) < first) first = row_start(hd, i0 + i);
    return first < 0 ? 0 : (size_t)first / BK * BK;
}

static void forward_block(struct scratch *s, const struct head *hd, size_t i0, size_t m, size_t k0,
                          size_t n) {
    scores(s->s, s->q_left, s->k_cols, hd, m, k0, n);
    for (size_t i = 0; i < m; i++) {
        float *row = s->s + i * BK;
        int lo = row_start(hd, i0 + i) - (int)k0, hi = (int)(i0 + i - k0) + 1;
        if (hi > (int)n) hi = (int)n;
        if (lo >= hi) {
            memset(row, 0, BK * sizeof *row);
            continue;
        }
        float shrink = softmax_row(row, used(n), hd->scale, lo, hi, &s->max[i], &s->sum[i]);
        if (shrink != 1)
            for (size_t c = 0; c < hd->HSp; c += VL)
                stf(s->out + i * hd->HSp + c, ldf(s->out + i * hd->HSp + c) * shrink);
        if (!hd->drop) continue;
        dropout_row(s->keep, hd->drop, hd->b,
                    dropout_attention_row(hd->T, hd->h, (int)(i0 + i)) + k0, n);
        for (size_t j = 0; j < n; j++) row[j] *= s->keep[j];
    }
    struct left p = {s->s, BK, 1, MR * BK};
    if (hd->pairs) {
        narrow_rows(s->s_half, s->s, m, n);
        p = (struct left){s->s_half, BK / 2, 1, MR * BK / 2};
    }
    gemm_block(s->out, hd->HSp, &p, block_rows(s, hd, k0), NR * gemm_units(BK, hd->bf16),
               round_up(m, MR), hd->HSp, gemm_units(n, hd->bf16), true, hd->pairs);
}

static void forward_head(struct scratch *s, const struct head *hd, void *y, float *lse) {
    size_t T = (size_t)hd->T;
    pack_columns(s->k_cols, hd, hd->k);
    for (size_t k0 = 0; k0 < T; k0 += BK)
        pack_positions(block_rows(s, hd, k0), hd, &hd->v, k0, T - k0 < BK ? T - k0 : BK, BK);
    for (size_t i0 = 0; i0 < T; i0 += BQ) {
        size_t m = T - i0 < BQ ? T - i0 : BQ, end = i0 + m;
        memset(s->out, 0, BQ * hd->HSp * sizeof *s->out);
        for (size_t i = 0; i < BQ; i++) s->max[i] = -INFINITY, s->sum[i] = 0;
        pack_left(s->q_left, hd, &hd->q, i0, m);
        for (size_t k0 = block_start(hd, i0, m); k0 < end; k0 += BK)
            forward_block(s, hd, i0, m, k0, end - k0 < BK ? end - k0 : BK);
        for (size_t i = 0; i < m; i++) {
            bool seen = s->sum[i] > 0;
            float inverse = seen ? 1 / s->sum[i] : 0;
            lse[i0 + i] = seen ? s->max[i] + logf(s->sum[i]) : 0;
            for (size_t c = 0; c < hd->HS; c += VL)
                st(y, (i0 + i) * hd->C + c, lanes(c, hd->HS), hd->bf16,
                   ldf(s->out + i * hd->HSp + c) * inverse);
        }
    }
}

/* Rows of P (with dropout) and dS in place of S and dP. */
static void backward_rows(struct scratch *s, const struct head *hd, const float *lse,
                          const float *D, size_t i0, size_t m, size_t k0, size_t n) {
    for (size_t i = 0; i < m; i++) {
        float *p = s->s + i * BK, *ds = s->dp + i * BK;
        int lo = row_start(hd, i0 + i) - (int)k0, hi = (int)(i0 + i - k0) + 1;
        if (hi > (int)n) hi = (int)n;
        if (hd->drop)
            dropout_row(s->keep, hd->drop, hd->b,
                        dropout_attention_row(hd->T, hd->h, (int)(i0 + i)) + k0, BK);
        for (size_t j = 0; j < used(n); j += VL) {
            vi in = inside(j, lo, hi);
            vf prob = vf_pick(in, vf_exp(ldf(p + j) * hd->scale - lse[i0 + i]), (vf){0});
            vf dp = vf_pick(in, ldf(ds + j), (vf){0}), kept = prob;
            if (hd->drop) {
                vf keep = ldf(s->keep + j);
                dp *= keep;
                kept *= keep;
            }
            stf(p + j, kept);
            stf(ds + j, hd->scale * prob * (dp - D[i]));
        }
    }
}

static void backward_block(struct scratch *s, const struct head *hd, const float *lse,
                           const float *D, size_t i0, size_t m, size_t k0, size_t n) {
    size_t HSp = hd->HSp, q_units = gemm_units(m, hd->bf16), panel = NR * gemm_units(BQ, hd->bf16);
    scores(s->s, s->q_left, s->k_cols, hd, m, k0, n);
    scores(s->dp, s->dy_left, s->v_cols, hd, m, k0, n);
    backward_rows(s, hd, lse, D, i0, m, k0, n);
    struct left pt = {s->s, 1, BK, MR}, dst = {s->dp, 1, BK, MR}, ds = {s->dp, BK, 1, MR * BK};
    if (hd->pairs) {
        narrow_pairs(s->p_pairs, s->s, m, n);
        narrow_pairs(s->ds_pairs, s->dp, m, n);
        narrow_rows(s->ds_half, s->dp, m, n);
        pt.p = s->p_pairs;
        dst.p = s->ds_pairs;
        ds = (struct left){s->ds_half, BK / 2, 1, MR * BK / 2};
    }
    size_t keys = round_up(n, MR);
    gemm_block(s->dv + k0 * HSp, HSp, &pt, s->dy_right, panel, keys, HSp, q_units, true, hd->pairs);
    gemm_block(s->dk + k0 * HSp, HSp, &dst, s->q_right, panel, keys, HSp, q_units, true, hd->pairs);
    gemm_block(s->out, HSp, &ds, block_rows(s, hd, k0), NR * gemm_units(BK, hd->bf16),
               round_up(m, MR), HSp, gemm_units(n, hd->bf16), true, hd->pairs);
}

static void store_rows(void *to, const float *from, const struct head *hd, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < hd->HS; c += VL)
            st(to, i * 3 * hd->C + c, lanes(c, hd->HS), hd->bf16, ldf(from + i * hd->HSp + c));
}

/* dq, dk, dv point at this head's first row in dqkv; y is as dy. */
static void backward_head(struct scratch *s, const struct head *hd, void *dq, void *dk, void *dv,
                          const void *y, const float *lse) {
    size_t T = (size_t)hd->T, C = hd->C, all = round_up(T, BK) * hd->HSp;
    pack_columns(s->k_cols, hd, hd->k);
    pack_columns(s->v_cols, hd, hd->v);
    for (size_t k0 = 0; k0 < T; k0 += BK)
        pack_positions(block_rows(s, hd, k0), hd, &hd->k, k0, T - k0 < BK ? T - k0 : BK, BK);
    memset(s->dk, 0, all * sizeof *s->dk);
    memset(s->dv, 0, all * sizeof *s->dv);
    for (size_t i0 = 0; i0 < T; i0 += BQ) {
        size_t m = T - i0 < BQ ? T - i0 : BQ, end = i0 + m;
        pack_left(s->q_left, hd, &hd->q, i0, m);
        pack_left(s->dy_left, hd, &hd->dy, i0, m);
        pack_positions(s->q_right, hd, &hd->q, i0, m, BQ);
        pack_positions(s->dy_right, hd, &hd->dy, i0, m, BQ);
        for (size_t i = 0; i < m; i++) {
            vf d = {0};
            for (size_t c = 0; c < hd->HS; c += VL) {
                int w = lanes(c, hd->HS);
                size_t e = (i0 + i) * C + c;
                d += ld(hd->dy.p, e, w, hd->bf16) * ld(y, e, w, hd->bf16);
            }
            s->sum[i] = vf_sum(d);
        }
        memset(s->out, 0, BQ * hd->HSp * sizeof *s->out);
        for (size_t k0 = block_start(hd, i0, m); k0 < end; k0 += BK)
            backward_block(s, hd, lse, s->sum, i0, m, k0, end - k0 < BK ? end - k0 : BK);
        store_rows(at_out(dq, i0 * 3 * C, hd->bf16), s->out, hd, m);
    }
    store_rows(dk, s->dk, hd, T);
    store_rows(dv, s->dv, hd, T);
}

static struct head make_head(const struct device *d, size_t bh, const void *qkv, const void *dy,
                             const int32_t *start, int T, int C_, int NH, float scale,
                             const struct dropout *drop) {
    size_t b = bh / (size_t)NH, h = bh % (size_t)NH, C = (size_t)C_, HS = C / (size_t)NH;
    size_t row = b * (size_t)T, q = row * 3 * C + h * HS;
    bool bf16 = d->bf16;
    return (struct head){.b = (int)b,
                         .h = (int)h,
                         .T = T,
                         .C = C,
                         .HS = HS,
                         .HSp = round_up(HS, NR),
                         .units = gemm_units(HS, bf16),
                         .bf16 = bf16,
                         .pairs = bf16 && ISA_LEVEL == 3,
                         .scale = scale,
                         .start = start ? start + row : NULL,
                         .drop = drop->p > 0 ? drop : NULL,
                         .q = {at(qkv, q, bf16), 3 * C, false, bf16, false},
                         .k = {at(qkv, q + C, bf16), 3 * C, false, bf16, false},
                         .v = {at(qkv, q + 2 * C, bf16), 3 * C, false, bf16, false},
                         .dy = {dy ? at(dy, row * C + h * HS, bf16) : NULL, C, false, bf16, false}};
}

void cpu_attention_forward(struct device *d, void *y, float *lse, const void *qkv,
                           const int32_t *start, int B, int T, int C, int NH, float scale,
                           struct dropout drop) {
    struct scratch none;
    size_t per_thread = cut(&none, NULL, (size_t)T, round_up((size_t)(C / NH), NR), false);
    float *work = cpu_work(d, WORK_THREAD, (size_t)d->threads * per_thread * sizeof *work);
    if (!work) return;
#pragma omp parallel for num_threads(d->threads) schedule(dynamic)
    for (size_t bh = 0; bh < (size_t)B * (size_t)NH; bh++) {
        struct head hd = make_head(d, bh, qkv, NULL, start, T, C, NH, scale, &drop);
        struct scratch s;
        cut(&s, work + (size_t)omp_get_thread_num() * per_thread, (size_t)T, hd.HSp, false);
        size_t first = (size_t)hd.b * (size_t)T * hd.C + (size_t)hd.h * hd.HS;
        forward_head(&s, &hd, at_out(y, first, d->bf16), lse + bh * (size_t)T);
    }
}

void cpu_attention_backward(struct device *d, void *dqkv, const void *dy, const void *y,
                            const float *lse, const void *qkv, const int32_t *start, int B, int T,
                            int C, int NH, float scale, struct dropout drop) {
    struct scratch none;
    size_t per_thread = cut(&none, NULL, (size_t)T, round_up((size_t)(C / NH), NR), true);
    float *work = cpu_work(d, WORK_THREAD, (size_t)d->threads * per_thread * sizeof *work);
    if (!work) return;
#pragma omp parallel for num_threads(d->threads) schedule(dynamic)
    for (size_t bh = 0; bh < (size_t)B * (size_t)NH; bh++) {
        struct head hd = make_head(d, bh, qkv, dy, start, T, C, NH, scale, &drop);
        struct scratch s;
        cut(&s, work + (size_t)omp_get_thread_num() * per_thread, (size_t)T, hd.HSp, true);
        size_t first = (size_t)hd.b * (size_t)T * hd.C + (size_t)hd.h * hd.HS;
        size_t q = (size_t)hd.b * (size_t)T * 3 * hd.C + (size_t)hd.h * hd.HS;
        backward_head(&s, &hd, at_out(dqkv, q, d->bf16), at_out(dqkv, q + hd.C, d->bf16),
                      at_out(dqkv, q + 2 * hd.C, d->bf16), at(y, first, d->bf16),
                      lse + bh * (size_t)T);
    }
}
