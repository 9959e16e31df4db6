/* See attention_head.h. */
#include "train/cpu/attention_head.h"

size_t head_cut(struct scratch *s, float *base, size_t T, size_t HSp, bool backward) {
    size_t n = 0, Tp = round_up(T, BLOCK), b = backward;
#define CUT(FIELD, FLOATS) (s->FIELD = base ? base + n : NULL, n += round_up(FLOATS, 16))
    CUT(k_cols, Tp * HSp);
    CUT(v_cols, b * Tp * HSp);
    CUT(rows, Tp * HSp);
    CUT(q_left, BLOCK * HSp);
    CUT(dy_left, b * BLOCK * HSp);
    CUT(q_right, b * BLOCK * HSp);
    CUT(dy_right, b * BLOCK * HSp);
    CUT(s, BLOCK * BLOCK);
    CUT(dp, b * BLOCK * BLOCK);
    CUT(s_half, BLOCK * BLOCK / 2);
    CUT(ds_half, b * BLOCK * BLOCK / 2);
    CUT(p_pairs, b * BLOCK / 2 * BLOCK);
    CUT(ds_pairs, b * BLOCK / 2 * BLOCK);
    CUT(out, BLOCK * HSp);
    CUT(dk, b * Tp * HSp);
    CUT(dv, b * Tp * HSp);
    CUT(keep, BLOCK * BLOCK + 16);
    CUT(top, BLOCK * VL);
    CUT(sum, BLOCK * VL);
    CUT(max, BLOCK);
    CUT(shrink, BLOCK);
    CUT(lse, BLOCK);
    CUT(D, BLOCK);
#undef CUT
    return n;
}

struct head head_make(const struct device *d, size_t bh, const void *qkv, const void *y,
                      const void *dy, const int32_t *start, int B, int T, int C_, int NH,
                      float scale, const struct dropout *drop) {
    size_t heads = (size_t)NH, C = (size_t)C_, HS = C / heads, next = bh + (size_t)d->threads;
    size_t b = bh / heads, h = bh % heads, row = b * (size_t)T;
    size_t first = row * C + h * HS, first3 = row * 3 * C + h * HS;
    bool bf16 = d->bf16;
    return (struct head){
        .b = (int)b,
        .h = (int)h,
        .T = T,
        .C = C,
        .HS = HS,
        .HSp = round_up(HS, NR),
        .units = round_up(gemm_units(HS, bf16), d->amx && bf16 ? AMX_UNITS : 1),
        .bf16 = bf16,
        .pairs = gemm_pairs(bf16),
        .amx = d->amx && bf16,
        .scale = scale,
        .start = start ? start + row : NULL,
        .drop = drop->p > 0 ? drop : NULL,
        .first = first,
        .first3 = first3,
        .q = {at(qkv, first3, bf16), 3 * C, false, bf16, false},
        .k = {at(qkv, first3 + C, bf16), 3 * C, false, bf16, false},
        .v = {at(qkv, first3 + 2 * C, bf16), 3 * C, false, bf16, false},
        .dy = {dy ? at(dy, first, bf16) : NULL, C, false, bf16, false},
        .y = {y ? at(y, first, bf16) : NULL, C, false, bf16, false},
        .last = next >= (size_t)B * heads,
        .next_row = (ptrdiff_t)((next / heads - b) * (size_t)T),
        .next_col = ((ptrdiff_t)(next % heads) - (ptrdiff_t)h) * (ptrdiff_t)HS,
    };
}

/* ------------------------------------------------------------------ memory asked for ahead */

void head_fetch_rows(struct ahead *a, const struct head *hd, const void *x, size_t ld, ptrdiff_t t0,
                     size_t n) {
    ptrdiff_t element = hd->bf16 ? 2 : 4;
    a->list[a->n].row = (const char *)x + t0 * (ptrdiff_t)ld * element;
    a->list[a->n].step = ld * (size_t)element;
    a->list[a->n++].rows = n;
}

void head_fetch_next(struct ahead *a, const struct head *hd, const struct matrix *x, int n_x,
                     size_t i0) {
    size_t T = (size_t)hd->T, t = i0 + BLOCK < T ? i0 + BLOCK : 0, n = T - t;
    *a = (struct ahead){.bytes = hd->HS * (hd->bf16 ? 2 : 4)};
    for (int k = 0; k < n_x && !(t == 0 && hd->last); k++) {
        const char *p = x[k].p;
        if (t == 0) p += hd->next_col * (hd->bf16 ? 2 : 4);
        head_fetch_rows(a, hd, p, x[k].ld, t ? (ptrdiff_t)t : hd->next_row, n < BLOCK ? n : BLOCK);
    }
}

/* ------------------------------------------------------------------ factors */

void head_pack_columns(float *to, const struct head *hd, struct matrix x, size_t t0, size_t n) {
    size_t packed = gemm_units(hd->HS, hd->bf16);
    x.across = true;
    for (size_t t = t0; t < t0 + n; t += NR) {
        float *panel = to + t * hd->units;
        gemm_pack_right(panel, &x, 0, hd->HS, t, t0 + n - t < NR ? t0 + n - t : NR);
        memset(panel + packed * NR, 0, (hd->units - packed) * NR * sizeof *panel);
    }
}

void head_pack_positions(float *to, const struct head *hd, const struct matrix *x, size_t t0,
                         size_t n) {
    size_t panel = gemm_units(BLOCK, hd->bf16) * NR, packed = gemm_units(n, hd->bf16) * NR;
    for (size_t c = 0; c < hd->HS; c += NR, to += panel) {
        gemm_pack_right(to, x, t0, n, c, hd->HS - c < NR ? hd->HS - c : NR);
        if (hd->amx) memset(to + packed, 0, (panel - packed) * sizeof *to);
    }
}

struct left head_left_rows(float *to, const struct head *hd, const struct matrix *x, size_t t0,
                           size_t n) {
    if (hd->amx) {
        const float *rows = at(x->p, t0 * x->ld, true);
        if (hd->HS % (2 * AMX_UNITS) == 0 && n % AMX_MR == 0)
            return (struct left){rows, x->ld / 2, 1, AMX_MR * x->ld / 2};
        gemm_amx_pack_left(to, x, t0, n, 0, hd->HS);
        return (struct left){to, hd->units, 1, AMX_MR * hd->units};
    }
    if (!hd->bf16 && n % MR == 0 && x->ld % 512 != 0)
        return (struct left){(const float *)x->p + t0 * x->ld, x->ld, 1, MR * x->ld};
    gemm_pack_left(to, x, t0, n, 0, hd->HS);
    return (struct left){to, 1, MR, MR * hd->units};
}

/* ------------------------------------------------------------------ a block of scores */

/* The first position that row i sees. */
INLINE int row_start(const struct head *hd, size_t i) {
    return hd->start ? hd->start[i] : 0;
}

size_t head_block_start(const struct head *hd, size_t i0, size_t m) {
    int first = row_start(hd, i0);
    for (size_t i = 1; i < m; i++)
        if (row_start(hd, i0 + i) < first) first = row_start(hd, i0 + i);
    return first < 0 ? 0 : (size_t)first / BLOCK * BLOCK;
}

void head_panel_sees(struct seen *seen, const struct head *hd, const struct block *b, size_t i) {
    seen->all = (struct span){0, BLOCK};
    for (size_t r = 0; r < MR; r++) {
        struct span row = {0, 0};
        if (i + r < b->m)
            row = (struct span){row_start(hd, b->i0 + i + r) - (int)b->k0,
                                (int)(b->i0 + i + r - b->k0) + 1};
        if (row.lo > seen->all.lo) seen->all.lo = row.lo;
        if (row.hi < seen->all.hi) seen->all.hi = row.hi;
        seen->row[r] = row;
    }
}

void head_add_keys(struct scratch *s, const struct head *hd, const float *p, size_t ld_p,
                   const float *shrink, const struct block *b) {
    size_t panel = NR * gemm_units(BLOCK, hd->bf16);
    const float *x = block_rows(s, hd, b->k0);
    if (hd->amx) {
        amx_add_keys(s->out, hd->HSp, shrink, p, x, b);
        return;
    }
    for (size_t i = 0; i < b->m; i += MR) {
        struct left a = {p + i * ld_p, ld_p, 1, 0};
        size_t units = gemm_units(keys_seen(b, i, MR), hd->bf16);
        for (size_t c = 0; c < hd->HSp; c += NR) {
            fetch_some(&s->ahead);
            tile_add(s->out + i * hd->HSp + c, hd->HSp, shrink ? shrink + i : NULL, &a,
                     x + c / NR * panel, units, hd->pairs);
        }
    }
}

void head_narrow_rows(float *to, const float *from, const struct block *b) {
    for (size_t i = 0; i < b->m; i++)
        for (size_t j = 0; j < tiles_seen(b, i); j += VL)
            st(to, i * BLOCK + j, VL, true, ldf(from + i * BLOCK + j));
}

void head_keep_factors(struct scratch *s, const struct head *hd, const struct block *b) {
    for (size_t i = 0; i < b->m; i++)
        dropout_row(s->keep + i * BLOCK, hd->drop, hd->b,
                    dropout_attention_row(hd->T, hd->h, (int)(b->i0 + i)) + b->k0,
                    tiles_seen(b, i));
}
