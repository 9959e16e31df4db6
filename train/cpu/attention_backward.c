/* Attention's backward pass in blocks (attention_head.h), where forward left each row's log of its
 * sum (Dao et al. 2022). Per block of queries and keys:
 *
 *   S = Q K^T, P = exp(S - lse), dP = dO V^T, dS = P (dP - D)      D = y·dy, of a row
 *   dV += P^T dO, dK += dS^T Q, dQ += dS K
 *
 * The queries' blocks come in order, so dK and dV are sums in a fixed order. */
#include "train/cpu/attention_head.h"
#include "train/cpu/ops.h"

/* X's rows t0 … t0 + n as left factor across, for AMX: rows are columns HS, K positions. */
static void pack_across(float *to, const struct head *hd, struct matrix x, size_t t0, size_t n) {
    x.across = true;
    gemm_amx_pack_left(to, &x, 0, hd->HS, t0, n);
}

/* to (T,HS) += P^T X for the block's keys: P (m or pairs of m, BLOCK), X its queries as panels. On
 * the diagonal a panel of MR keys begins where one of MR queries does, so that tiles_seen() covers
 * what is read here. */
static void add_queries(float *to, const struct head *hd, const float *p, const float *x,
                        const struct block *b) {
    size_t units = gemm_units(b->m, hd->bf16), panel = NR * gemm_units(BLOCK, hd->bf16);
    if (hd->amx) {
        amx_add_queries(to, round_up((size_t)hd->T, BLOCK), x, hd->HSp, p, b);
        return;
    }
    for (size_t j = 0; j < b->n && first_query(b, j) < b->m; j += MR) {
        size_t first = first_query(b, j) / (hd->pairs ? 2 : 1);
        struct left a = {p + first * BLOCK + j, 1, BLOCK, 0};
        for (size_t c = 0; c < hd->HSp; c += NR)
            tile_add(to + (b->k0 + j) * hd->HSp + c, hd->HSp, NULL, &a,
                     x + first * NR + c / NR * panel, units - first, hd->pairs);
    }
}

/* Rows of fp32 narrowed to bf16, with pairs along the rows; zeros fill up the steps of AMX. */
static void narrow_pairs(float *to, const float *from, const struct block *b) {
    size_t units = (b->m + 1) / 2, steps = round_up(units, AMX_UNITS);
    for (size_t u = 0; u < units; u++)
        for (size_t j = 0; j < tiles_seen(b, 2 * u); j += VL) {
            vf lo = ldf(from + 2 * u * BLOCK + j), hi = {0};
            if (2 * u + 1 < b->m) hi = ldf(from + (2 * u + 1) * BLOCK + j);
            stf(to + u * BLOCK + j, vf_bits(vu_of(vf_narrow(lo)) | vu_of(vf_narrow(hi)) << 16));
        }
    memset(to + units * BLOCK, 0, (steps - units) * BLOCK * sizeof *to);
}

/* P = exp(S - lse), where forward has S. */
static void probabilities(struct scratch *s, const struct head *hd, const struct left *q,
                          const struct block *b) {
    const float *cols = s->k_cols + b->k0 * hd->units;
    if (hd->amx) amx_scores(s->s, q, cols, hd->units, b);
    for (size_t i = 0; i < b->m; i += MR) {
        struct seen seen;
        struct left a = panel_of(q, i);
        head_panel_sees(&seen, hd, b, i);
        for (size_t j = 0; j < tiles_seen(b, i); j += NR) {
            fetch_some(&s->ahead);
            tile_probabilities(s->s + i * BLOCK + j, hd->scale * LOG2_E, s->lse + i,
                               hd->amx ? NULL : &a, cols + j * hd->units, hd->units, hd->pairs,
                               &seen, j);
        }
    }
}

/* dS in place of dP, without the factor `scale`. */
static void slopes(struct scratch *s, const struct head *hd, const struct left *dy,
                   const struct block *b) {
    const float *cols = s->v_cols + b->k0 * hd->units;
    if (hd->amx) amx_scores(s->dp, dy, cols, hd->units, b);
    for (size_t i = 0; i < b->m; i += MR) {
        struct left a = panel_of(dy, i);
        for (size_t j = 0; j < tiles_seen(b, i); j += NR) {
            fetch_some(&s->ahead);
            tile_slopes(s->dp + i * BLOCK + j, s->s + i * BLOCK + j,
                        hd->drop ? s->keep + i * BLOCK + j : NULL, s->D + i, hd->amx ? NULL : &a,
                        cols + j * hd->units, hd->units, hd->pairs);
        }
    }
}

static void backward_block(struct scratch *s, const struct head *hd, const struct left *q,
                           const struct left *dy, const struct block *b) {
    if (hd->drop) head_keep_factors(s, hd, b);
    probabilities(s, hd, q, b);
    slopes(s, hd, dy, b);
    if (hd->pairs) {
        narrow_pairs(s->p_pairs, s->s, b);
        narrow_pairs(s->ds_pairs, s->dp, b);
        head_narrow_rows(s->ds_half, s->dp, b);
    }
    add_queries(s->dv, hd, hd->pairs ? s->p_pairs : s->s, s->dy_right, b);
    add_queries(s->dk, hd, hd->pairs ? s->ds_pairs : s->dp, s->q_right, b);
    head_add_keys(s, hd, hd->pairs ? s->ds_half : s->dp, hd->pairs ? BLOCK / 2 : BLOCK, NULL, b);
}

/* Rows t0 … t0 + n of dq, dk or dv. */
static void store_rows(void *to, const float *from, float scale, const struct head *hd, size_t t0,
                       size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < hd->HS; c += VL)
            st(to, (t0 + i) * 3 * hd->C + c, lanes(c, hd->HS), hd->bf16,
               ldf(from + i * hd->HSp + c) * scale);
}

/* All rows of dk or dv from `from` (HSp, T rounded up to BLOCK): its padding may be read. */
static void store_across(void *to, const float *from, float scale, const struct head *hd) {
    size_t T = (size_t)hd->T, Tp = round_up(T, BLOCK);
    for (size_t t = 0; t < T; t += VL)
        for (size_t c = 0; c < hd->HS; c += VL) {
            vf r[VL];
            for (size_t j = 0; j < VL; j++) r[j] = ldf(from + (c + j) * Tp + t);
            vf_transpose(r);
            for (size_t j = 0; j < VL && t + j < T; j++)
                st(to, (t + j) * 3 * hd->C + c, lanes(c, hd->HS), true, r[j] * scale);
        }
}

/* D = y·dy and lse of queries i0 … i0 + m; zeros behind them. */
static void row_sums(struct scratch *s, const struct head *hd, const float *lse, size_t i0,
                     size_t m) {
    for (size_t i = 0; i < m; i++) {
        vf d = {0};
        for (size_t c = 0; c < hd->HS; c += VL) {
            int w = lanes(c, hd->HS);
            size_t e = (i0 + i) * hd->C + c;
            d += ld(hd->dy.p, e, w, hd->bf16) * ld(hd->y.p, e, w, hd->bf16);
        }
        s->D[i] = vf_sum(d);
        s->lse[i] = lse[i0 + i] * LOG2_E;
    }
    for (size_t i = m; i < BLOCK; i++) s->D[i] = s->lse[i] = 0;
}

/* dq, dk, dv point at this head's first row in dqkv. */
static void backward_head(struct scratch *s, const struct head *hd, void *dq, void *dk, void *dv,
                          const float *lse) {
    const struct matrix read[] = {hd->k, hd->v, hd->q, hd->dy, hd->y};
    size_t T = (size_t)hd->T, all = round_up(T, BLOCK) * hd->HSp;
    memset(s->dk, 0, all * sizeof *s->dk);
    memset(s->dv, 0, all * sizeof *s->dv);
    for (size_t i0 = 0; i0 < T; i0 += BLOCK) {
        size_t m = T - i0 < BLOCK ? T - i0 : BLOCK;
        head_pack_columns(s->k_cols, hd, hd->k, i0, m);
        head_pack_columns(s->v_cols, hd, hd->v, i0, m);
        head_pack_positions(block_rows(s, hd, i0), hd, &hd->k, i0, m);
        if (hd->amx) {
            pack_across(s->q_right, hd, hd->q, i0, m);
            pack_across(s->dy_right, hd, hd->dy, i0, m);
        } else {
            head_pack_positions(s->q_right, hd, &hd->q, i0, m);
            head_pack_positions(s->dy_right, hd, &hd->dy, i0, m);
        }
        struct left q = head_left_rows(s->q_left, hd, &hd->q, i0, m),
                    dy = head_left_rows(s->dy_left, hd, &hd->dy, i0, m);
        row_sums(s, hd, lse, i0, m);
        head_fetch_next(&s->ahead, hd, read, 5, i0);
        head_fetch_rows(&s->ahead, hd, dq, 3 * hd->C, (ptrdiff_t)i0, m);
        memset(s->out, 0, BLOCK * hd->HSp * sizeof *s->out);
        for (size_t k0 = head_block_start(hd, i0, m); k0 <= i0; k0 += BLOCK)
            backward_block(s, hd, &q, &dy, &(struct block){i0, m, k0, k0 < i0 ? BLOCK : m});
        store_rows(dq, s->out, hd->scale, hd, i0, m);
    }
    if (hd->amx) {
        store_across(dk, s->dk, hd->scale, hd);
        store_across(dv, s->dv, 1, hd);
    } else {
        store_rows(dk, s->dk, hd->scale, hd, 0, T);
        store_rows(dv, s->dv, 1, hd, 0, T);
    }
}

void cpu_attention_backward(struct device *d, void *dqkv, const void *dy, const void *y,
                            const float *lse, const void *qkv, const int32_t *start, int B, int T,
                            int C, int NH, float scale, struct dropout drop) {
    struct scratch none;
    size_t per_thread = head_cut(&none, NULL, (size_t)T, round_up((size_t)(C / NH), NR), true);
    float *work = cpu_work(d, WORK_THREAD, (size_t)d->threads * per_thread * sizeof *work);
    if (!work) return;
#pragma omp parallel for num_threads(d->threads) schedule(dynamic)
    for (size_t bh = 0; bh < (size_t)B * (size_t)NH; bh++) {
        struct head hd = head_make(d, bh, qkv, y, dy, start, B, T, C, NH, scale, &drop);
        struct scratch s;
        head_cut(&s, work + (size_t)omp_get_thread_num() * per_thread, (size_t)T, hd.HSp, true);
        if (hd.amx) gemm_amx_begin();
        backward_head(&s, &hd, at_out(dqkv, hd.first3, d->bf16),
                      at_out(dqkv, hd.first3 + hd.C, d->bf16),
                      at_out(dqkv, hd.first3 + 2 * hd.C, d->bf16), lse + bh * (size_t)T);
        if (hd.amx) gemm_amx_end();
    }
}
