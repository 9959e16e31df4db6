/* Causal attention in blocks with the softmax computed online (Milakov, Gimelshein 2018; Dao et al.
 * 2022): scores exist only as a block of B x B (attention_head.h). Per block of queries and keys:
 *
 *   S  = Q K^T
 *   P  = exp(S - max)       what came before shrinks where a row's maximum grew
 *   O += P V */
#include "train/cpu/attention_head.h"
#include "train/cpu/ops.h"

/* S = Q K^T up to the diagonal, and each row's largest. */
static void scores(struct scratch *s, const struct head *hd, const struct left *q,
                   const struct block *b) {
    const float *cols = s->k_cols + b->k0 * hd->units;
    if (hd->amx) amx_scores(s->s, q, cols, hd->units, b);
    for (size_t i = 0; i < b->m; i += MR) {
        struct seen seen;
        struct left a = panel_of(q, i);
        head_panel_sees(&seen, hd, b, i);
        for (size_t j = 0; j < tiles_seen(b, i); j += NR) {
            fetch_some(&s->ahead);
            tile_scores(s->s + i * BLOCK + j, s->top + i * VL, hd->amx ? NULL : &a,
                        cols + j * hd->units, hd->units, hd->pairs, &seen, j);
        }
    }
}

/* The softmax goes on by one block for queries i … i + VL: P in place of their scores, and what is
 * to become of the sums so far, as a row's maximum grew. */
static void softmax_rows(struct scratch *s, const struct head *hd, const struct block *b,
                         size_t i) {
    float scale = hd->scale * LOG2_E;
    vf tops[VL], top;
    for (size_t r = 0; r < VL; r++) tops[r] = ldf(s->top + (i + r) * VL);
    top = vf_tops(tops) * scale;
    top = vf_pick(top == -INFINITY, (vf){0}, top); /* of a row that has seen nothing yet */
    stf(s->shrink + i, vf_exp2(ldf(s->max + i) - top));
    stf(s->max + i, top);
    for (size_t r = i; r < i + VL && r < b->m; r++) {
        float *p = s->s + r * BLOCK, max = s->max[r];
        vf total = {0};
        for (size_t j = 0, n = tiles_seen(b, r); j < n; j += VL) {
            vf e = vf_exp2(ldf(p + j) * scale - max);
            stf(p + j, e);
            total += e;
        }
        stf(s->sum + r * VL, ldf(s->sum + r * VL) * s->shrink[r] + total);
    }
}

static void forward_block(struct scratch *s, const struct head *hd, const struct left *q,
                          const struct block *b) {
    scores(s, hd, q, b);
    for (size_t i = 0; i < b->m; i += VL) softmax_rows(s, hd, b, i);
    if (hd->drop) {
        head_keep_factors(s, hd, b);
        for (size_t i = 0; i < b->m; i++)
            for (size_t j = 0; j < tiles_seen(b, i); j += VL)
                stf(s->s + i * BLOCK + j, ldf(s->s + i * BLOCK + j) * ldf(s->keep + i * BLOCK + j));
    }
    if (hd->pairs) head_narrow_rows(s->s_half, s->s, b);
    head_add_keys(s, hd, hd->pairs ? s->s_half : s->s, hd->pairs ? BLOCK / 2 : BLOCK, s->shrink, b);
}

/* Queries i0 … i0 + m are done: their rows of y and lse. */
static void store_queries(const struct scratch *s, const struct head *hd, void *y, float *lse,
                          size_t i0, size_t m) {
    for (size_t i = 0; i < m; i++) {
        float sum = vf_sum(ldf(s->sum + i * VL)), inverse = sum > 0 ? 1 / sum : 0;
        lse[i0 + i] = sum > 0 ? s->max[i] * LN_2 + logf(sum) : 0;
        for (size_t c = 0; c < hd->HS; c += VL)
            st(y, (i0 + i) * hd->C + c, lanes(c, hd->HS), hd->bf16,
               ldf(s->out + i * hd->HSp + c) * inverse);
    }
}

static void forward_head(struct scratch *s, const struct head *hd, void *y, float *lse) {
    const struct matrix read[] = {hd->k, hd->v, hd->q};
    for (size_t T = (size_t)hd->T, i0 = 0; i0 < T; i0 += BLOCK) {
        size_t m = T - i0 < BLOCK ? T - i0 : BLOCK;
        head_pack_columns(s->k_cols, hd, hd->k, i0, m);
        head_pack_positions(block_rows(s, hd, i0), hd, &hd->v, i0, m);
        struct left q = head_left_rows(s->q_left, hd, &hd->q, i0, m);
        head_fetch_next(&s->ahead, hd, read, 3, i0);
        head_fetch_rows(&s->ahead, hd, y, hd->C, (ptrdiff_t)i0, m);
        memset(s->out, 0, BLOCK * hd->HSp * sizeof *s->out);
        memset(s->sum, 0, BLOCK * VL * sizeof *s->sum);
        for (size_t i = 0; i < BLOCK * VL; i++) s->top[i] = -INFINITY;
        for (size_t i = 0; i < BLOCK; i++) s->max[i] = -INFINITY;
        for (size_t k0 = head_block_start(hd, i0, m); k0 <= i0; k0 += BLOCK)
            forward_block(s, hd, &q, &(struct block){i0, m, k0, k0 < i0 ? BLOCK : m});
        store_queries(s, hd, y, lse, i0, m);
    }
}

void cpu_attention_forward(struct device *d, void *y, float *lse, const void *qkv,
                           const int32_t *start, int B, int T, int C, int NH, float scale,
                           struct dropout drop) {
    struct scratch none;
    size_t per_thread = head_cut(&none, NULL, (size_t)T, round_up((size_t)(C / NH), NR), false);
    float *work = cpu_work(d, WORK_THREAD, (size_t)d->threads * per_thread * sizeof *work);
    if (!work) return;
#pragma omp parallel for num_threads(d->threads) schedule(dynamic)
    for (size_t bh = 0; bh < (size_t)B * (size_t)NH; bh++) {
        struct head hd = head_make(d, bh, qkv, NULL, NULL, start, B, T, C, NH, scale, &drop);
        struct scratch s;
        head_cut(&s, work + (size_t)omp_get_thread_num() * per_thread, (size_t)T, hd.HSp, false);
        if (hd.amx) gemm_amx_begin();
        forward_head(&s, &hd, at_out(y, hd.first, d->bf16), lse + bh * (size_t)T);
        if (hd.amx) gemm_amx_end();
    }
}
