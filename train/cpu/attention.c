/* Causal attention in blocks with the softmax computed online (Milakov, Gimelshein 2018; Dao et al.
 * 2022): scores exist only as a BQ x BK block in L1. Mathematics: ref/attention.c.
 *
 *   one thread, one head (b, h):
 *
 *              keys ─▶  BK            S  = Q K^T        k, v of the head are packed once,
 *   queries  ┌────┬────┬────┐         P  = exp(S - max)  q and dy per block of queries.
 *      │  BQ │ S  │ S\ │    │         O += P V          Blocks right of the diagonal, and left
 *      ▼     ├────┼────┤    │                           of the segments' starts, are skipped, and
 *            │ S  │ S  │ …                              within one the register tiles right of it.
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
    float *max;                /* (BQ)                                                    */
    float *sum;                /* (BQ, VL) a row's sum in VL parts; backward: (BQ) D      */
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
    CUT(sum, BQ * VL);
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

/* X's rows t0 … t0 + n as left factor: where they are, if the tile can read them there. */
static struct left left_rows(float *to, const struct head *hd, const struct matrix *x, size_t t0,
                             size_t n) {
    if (!hd->bf16 && n % MR == 0 && x->ld % 512 != 0)
        return (struct left){(const float *)x->p + t0 * x->ld, x->ld, 1, MR * x->ld};
    gemm_pack_left(to, x, t0, n, 0, hd->HS);
    return (struct left){to, 1, MR, MR * hd->units};
}

/* Where block k0 … of `rows` is: BK positions times HSp. */
static float *block_rows(const struct scratch *s, const struct head *hd, size_t k0) {
    return s->rows + k0 / BK * gemm_units(BK, hd->bf16) * hd->HSp;
}

/* A block of scores: queries i0 … i0 + m, keys k0 … k0 + n. */
struct block {
    size_t i0, m, k0, n;
};

/* How many keys of the block the panel of queries i … i + MR may see. */
INLINE size_t keys_seen(const struct block *b, size_t i) {
    size_t keys = b->i0 + i + MR - b->k0;
    return keys < b->n ? keys : b->n;
}
/* The first of the block's queries that sees key j; b->m or more: none does. */
INLINE size_t first_query(const struct block *b, size_t j) {
    return b->k0 + j > b->i0 ? b->k0 + j - b->i0 : 0;
}

/* Left rows by packed columns, up to the diagonal. */
static void scores(float *to, const struct left *left, const float *cols, const struct head *hd,
                   const struct block *b) {
    for (size_t i = 0; i < b->m; i += MR) {
        struct left a = *left;
        a.p += i / MR * a.panel;
        gemm_block(to + i * BK, BK, &a, cols + b->k0 * hd->units, NR * hd->units, MR,
                   round_up(keys_seen(b, i), NR), hd->units, false, hd->pairs);
    }
}

/* out (m,HS) += P X: P's rows are `ld` floats apart, X is the block's part of `rows`. */
static void add_keys(const struct scratch *s, const struct head *hd, const float *p, size_t ld_p,
                     const struct block *b) {
    size_t panel = NR * gemm_units(BK, hd->bf16);
    const float *x = s->rows + b->k0 / BK * gemm_units(BK, hd->bf16) * hd->HSp;
    for (size_t i = 0; i < b->m; i += MR) {
        struct left a = {p + i * ld_p, ld_p, 1, 0};
        gemm_block(s->out + i * hd->HSp, hd->HSp, &a, x, panel, MR, hd->HSp,
                   gemm_units(keys_seen(b, i), hd->bf16), true, hd->pairs);
    }
}

/* to (T,HS) += P^T X for the block's keys: P (m or pairs of m, BK), X its queries as panels. */
static void add_queries(float *to, const struct head *hd, const float *p, const float *x,
                        const struct block *b) {
    size_t units = gemm_units(b->m, hd->bf16), panel = NR * gemm_units(BQ, hd->bf16);
    for (size_t j = 0; j < b->n && first_query(b, j) < b->m; j += MR) {
        size_t first = first_query(b, j) / (hd->pairs ? 2 : 1);
        struct left a = {p + first * BK + j, 1, BK, 0};
        gemm_block(to + (b->k0 + j) * hd->HSp, hd->HSp, &a, x + first * NR, panel, MR, hd->HSp,
                   units - first, true, hd->pairs);
    }
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

/* The keys [lo, hi) of the block that query i sees. */
struct span {
    int lo, hi;
};
/* Lanes of vectors in front of this one are all seen. */
INLINE size_t whole_vectors(struct span r) {
    return r.lo <= 0 && r.hi > 0 ? (size_t)r.hi / VL * VL : 0;
}

INLINE vf row_top(const float *s, float scale, struct span r) {
    vf top = vf_all(-INFINITY);
    size_t j = 0, whole = whole_vectors(r);
    for (; j < whole; j += VL) top = vf_max(top, ldf(s + j) * scale);
    for (; (int)j < r.hi; j += VL)
        top = vf_max(top, vf_pick(inside(j, r.lo, r.hi), ldf(s + j) * scale, vf_all(-INFINITY)));
    return top;
}

/* exp(score - max) in place of a row's scores, zero outside the span up to `width`; its sums. */
INLINE vf row_exp(float *s, float scale, struct span r, float max, size_t width) {
    vf total = {0};
    size_t j = 0, whole = whole_vectors(r);
    for (; j < whole; j += VL) {
        vf p = vf_exp(ldf(s + j) * scale - max);
        stf(s + j, p);
        total += p;
    }
    for (; (int)j < r.hi; j += VL) {
        vf p = vf_pick(inside(j, r.lo, r.hi), vf_exp(ldf(s + j) * scale - max), (vf){0});
        stf(s + j, p);
        total += p;
    }
    for (; j < width; j += VL) stf(s + j, (vf){0});
    return total;
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
INLINE struct span row_span(const struct head *hd, const struct block *b, size_t i) {
    struct span r = {row_start(hd, b->i0 + i) - (int)b->k0, (int)(b->i0 + i - b->k0) + 1};
    if (r.hi > (int)b->n) r.hi = (int)b->n;
    if (r.lo >= r.hi) r.hi = 0; /* nothing */
    return r;
}

/* The softmax goes on by one block for queries i … i + VL: P in place of their scores; what was
 * summed before shrinks where a row's maximum grew. */
static void softmax_rows(struct scratch *s, const struct head *hd, const struct block *b,
                         size_t i) {
    size_t rows = b->m - i < VL ? b->m - i : VL, HSp = hd->HSp;
    float shrink[VL];
    vf tops[VL], old = ldf(s->max + i), top, less;
    for (size_t r = 0; r < VL; r++)
        tops[r] = r < rows ? row_top(s->s + (i + r) * BK, hd->scale, row_span(hd, b, i + r))
                           : vf_all(-INFINITY);
    top = vf_max(old, vf_tops(tops));
    less = vf_pick(top == -INFINITY, vf_all(1), vf_exp(old - top));
    stf(s->max + i, top);
    stf(shrink, less);
    for (size_t r = 0; r < rows; r++) {
        float *out = s->out + (i + r) * HSp, *sum = s->sum + (i + r) * VL;
        vf total = row_exp(s->s + (i + r) * BK, hd->scale, row_span(hd, b, i + r), s->max[i + r],
                           used(b->n));
        stf(sum, ldf(sum) * shrink[r] + total);
        if (shrink[r] == 1) continue;
        for (size_t c = 0; c < HSp; c += VL) stf(out + c, ldf(out + c) * shrink[r]);
    }
}

static void forward_block(struct scratch *s, const struct head *hd, const struct left *q,
                          const struct block *b) {
    scores(s->s, q, s->k_cols, hd, b);
    for (size_t i = 0; i < b->m; i += VL) softmax_rows(s, hd, b, i);
    for (size_t i = 0; hd->drop && i < b->m; i++) {
        dropout_row(s->keep, hd->drop, hd->b,
                    dropout_attention_row(hd->T, hd->h, (int)(b->i0 + i)) + b->k0, b->n);
        for (size_t j = 0; j < b->n; j++) s->s[i * BK + j] *= s->keep[j];
    }
    if (hd->pairs) narrow_rows(s->s_half, s->s, b->m, b->n);
    add_keys(s, hd, hd->pairs ? s->s_half : s->s, hd->pairs ? BK / 2 : BK, b);
}

static void forward_head(struct scratch *s, const struct head *hd, void *y, float *lse) {
    size_t T = (size_t)hd->T;
    pack_columns(s->k_cols, hd, hd->k);
    for (size_t k0 = 0; k0 < T; k0 += BK)
        pack_positions(block_rows(s, hd, k0), hd, &hd->v, k0, T - k0 < BK ? T - k0 : BK, BK);
    for (size_t i0 = 0; i0 < T; i0 += BQ) {
        size_t m = T - i0 < BQ ? T - i0 : BQ, end = i0 + m;
        memset(s->out, 0, BQ * hd->HSp * sizeof *s->out);
        memset(s->sum, 0, BQ * VL * sizeof *s->sum);
        for (size_t i = 0; i < BQ; i++) s->max[i] = -INFINITY;
        struct left q = left_rows(s->q_left, hd, &hd->q, i0, m);
        for (size_t k0 = block_start(hd, i0, m); k0 < end; k0 += BK)
            forward_block(s, hd, &q, &(struct block){i0, m, k0, end - k0 < BK ? end - k0 : BK});
        for (size_t i = 0; i < m; i++) {
            float sum = vf_sum(ldf(s->sum + i * VL)), inverse = sum > 0 ? 1 / sum : 0;
            lse[i0 + i] = sum > 0 ? s->max[i] + logf(sum) : 0;
            for (size_t c = 0; c < hd->HS; c += VL)
                st(y, (i0 + i) * hd->C + c, lanes(c, hd->HS), hd->bf16,
                   ldf(s->out + i * hd->HSp + c) * inverse);
        }
    }
}

/* One vector of P (with dropout) and dS in place of S and dP. */
INLINE void backward_lanes(float *p, float *ds, const float *keep, float scale, float lse, float D,
                           bool all, vi in) {
    vf prob = vf_exp(ldf(p) * scale - lse), dp = ldf(ds), kept;
    if (!all) prob = vf_pick(in, prob, (vf){0}), dp = vf_pick(in, dp, (vf){0});
    kept = prob;
    if (keep) {
        vf k = ldf(keep);
        dp *= k;
        kept *= k;
    }
    stf(p, kept);
    stf(ds, scale * prob * (dp - D));
}

static void backward_rows(struct scratch *s, const struct head *hd, const float *lse,
                          const struct block *b) {
    const float *keep = hd->drop ? s->keep : NULL;
    for (size_t i = 0; i < b->m; i++) {
        float *p = s->s + i * BK, *ds = s->dp + i * BK;
        struct span r = row_span(hd, b, i);
        size_t j = 0, whole = whole_vectors(r);
        if (keep)
            dropout_row(s->keep, hd->drop, hd->b,
                        dropout_attention_row(hd->T, hd->h, (int)(b->i0 + i)) + b->k0, BK);
        for (; j < whole; j += VL)
            backward_lanes(p + j, ds + j, keep ? keep + j : NULL, hd->scale, lse[b->i0 + i],
                           s->sum[i], true, (vi){0});
        for (; (int)j < r.hi; j += VL)
            backward_lanes(p + j, ds + j, keep ? keep + j : NULL, hd->scale, lse[b->i0 + i],
                           s->sum[i], false, inside(j, r.lo, r.hi));
        for (; j < used(b->n); j += VL) stf(p + j, (vf){0}), stf(ds + j, (vf){0});
    }
}

static void backward_block(struct scratch *s, const struct head *hd, const struct left *q,
                           const struct left *dy, const float *lse, const struct block *b) {
    scores(s->s, q, s->k_cols, hd, b);
    scores(s->dp, dy, s->v_cols, hd, b);
    backward_rows(s, hd, lse, b);
    if (hd->pairs) {
        narrow_pairs(s->p_pairs, s->s, b->m, b->n);
        narrow_pairs(s->ds_pairs, s->dp, b->m, b->n);
        narrow_rows(s->ds_half, s->dp, b->m, b->n);
    }
    add_queries(s->dv, hd, hd->pairs ? s->p_pairs : s->s, s->dy_right, b);
    add_queries(s->dk, hd, hd->pairs ? s->ds_pairs : s->dp, s->q_right, b);
    add_keys(s, hd, hd->pairs ? s->ds_half : s->dp, hd->pairs ? BK / 2 : BK, b);
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
        struct left q = left_rows(s->q_left, hd, &hd->q, i0, m),
                    dy = left_rows(s->dy_left, hd, &hd->dy, i0, m);
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
            backward_block(s, hd, &q, &dy, lse,
                           &(struct block){i0, m, k0, end - k0 < BK ? end - k0 : BK});
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
