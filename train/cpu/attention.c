/* Causal attention in blocks with the softmax computed online (Milakov, Gimelshein 2018; Dao et al.
 * 2022): scores exist only as a block of B x B. Mathematics: ref/attention.c.
 *
 *   one thread, one head (b, h):
 *
 *               keys ─▶  B            S  = Q K^T        k, v of the head are packed a block at a
 *   queries   ┌────┬────┬────┐        P  = exp(S - max)  time, when the queries get there.
 *      │   B  │ S\ │    │    │        O += P V          Blocks right of the diagonal, and left
 *      ▼      ├────┼────┤    │                          of the segments' starts, are skipped, and
 *             │ S  │ S\ │ …                             within one the register tiles right of it.
 *
 * backward, per block: S and P again, dP = dO V^T, dS = P (dP - D), dV += P^T dO, dK += dS^T Q,
 * dQ += dS K. The queries' blocks come in order, so dK and dV are sums in a fixed order. */
#include "train/cpu/attention_amx.h"
#include "train/cpu/attention_tile.h"
#include "train/cpu/ops.h"
#include "train/dropout.h"

enum { BLOCK = ATT_BLOCK };

struct head {
    int b, h, T;
    size_t C, HS, HSp; /* HSp: HS rounded up to NR   */
    size_t units;      /* of HS, for AMX whole steps */
    bool bf16, pairs, amx;
    float scale;
    const int32_t *start; /* of this batch row, or NULL */
    const struct dropout *drop;
    size_t first, first3;         /* its first element in (B,T,C) and, q, in (B,T,3,NH,HS) */
    struct matrix q, k, v, dy, y; /* (T,HS) with their strides; dy, y only backward */
    bool last;                    /* of this thread: probably                       */
    ptrdiff_t next_row, next_col; /* else where the next one is, seen from this one */
};

/* Rows of memory that will be wanted soon. Two of them are asked for between any two tiles: all at
 * once they would hold up the processor for as long as it would have waited for them. */
struct ahead {
    struct {
        const char *row;
        size_t step, rows;
    } list[8];
    int n, at;
    size_t bytes; /* of a row */
};

/* A thread's memory, cut from one piece. Right factors are panels of NR columns, left ones of MR
 * rows (gemm.h). */
struct scratch {
    float *k_cols, *v_cols;    /* K^T, V^T: [T / NR][units][NR]; V^T only backward        */
    float *rows;               /* V, backward K: [T / BLOCK][HSp / NR][BLOCK units][NR]   */
    float *q_left, *dy_left;   /* [BLOCK / MR][units][MR]; AMX: (BLOCK, units)            */
    float *q_right, *dy_right; /* [HSp / NR][BLOCK units][NR]; AMX: Q^T, dO^T (HSp, units)*/
    float *s, *dp;             /* (BLOCK, BLOCK): S, then P; dP, then dS / scale          */
    float *s_half, *ds_half;   /* bf16: P or dS with pairs along keys (BLOCK, BLOCK / 2)  */
    float *p_pairs, *ds_pairs; /* bf16: pairs along queries (BLOCK / 2, BLOCK)            */
    float *out;                /* (BLOCK, HSp): O or dQ                                   */
    float *dk, *dv;            /* (T rounded up to BLOCK, HSp); AMX: across               */
    float *keep;               /* (BLOCK, BLOCK) dropout's factors                        */
    float *top, *sum;          /* (BLOCK, VL) a row's largest score, its sum, in VL parts */
    float *max, *shrink;       /* (BLOCK) scale * top as exponent of 2, 2^(old - new)     */
    float *lse, *D;            /* (BLOCK) backward: lse as exponent of 2, y·dy            */
    struct ahead ahead;
};

/* Cuts `base` into the arrays, or counts: returns the floats needed. */
static size_t cut(struct scratch *s, float *base, size_t T, size_t HSp, bool backward) {
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

/* Rows t0 … t0 + n of x, counted from the head's first. */
static void fetch_rows(struct ahead *a, const struct head *hd, const void *x, size_t ld,
                       ptrdiff_t t0, size_t n) {
    ptrdiff_t element = hd->bf16 ? 2 : 4;
    a->list[a->n].row = (const char *)x + t0 * (ptrdiff_t)ld * element;
    a->list[a->n].step = ld * (size_t)element;
    a->list[a->n++].rows = n;
}
/* What is read after queries i0 … of the n_x matrices x: the next block of rows, or the next head's
 * first. */
static void fetch_next(struct ahead *a, const struct head *hd, const struct matrix *x, int n_x,
                       size_t i0) {
    size_t T = (size_t)hd->T, t = i0 + BLOCK < T ? i0 + BLOCK : 0, n = T - t;
    *a = (struct ahead){.bytes = hd->HS * (hd->bf16 ? 2 : 4)};
    for (int k = 0; k < n_x && !(t == 0 && hd->last); k++) {
        const char *p = x[k].p;
        if (t == 0) p += hd->next_col * (hd->bf16 ? 2 : 4);
        fetch_rows(a, hd, p, x[k].ld, t ? (ptrdiff_t)t : hd->next_row, n < BLOCK ? n : BLOCK);
    }
}
INLINE void fetch_some(struct ahead *a) {
    for (int k = 0; k < 2 && a->at < a->n; k++) {
        const char *row = a->list[a->at].row;
        for (size_t i = 0; i < a->bytes; i += 64) __builtin_prefetch(row + i);
        a->list[a->at].row += a->list[a->at].step;
        if (--a->list[a->at].rows == 0) a->at++;
    }
}

/* X's rows t0 … t0 + n as right factor across: columns are positions. `to` is of all T. */
static void pack_columns(float *to, const struct head *hd, struct matrix x, size_t t0, size_t n) {
    size_t packed = gemm_units(hd->HS, hd->bf16);
    x.across = true;
    for (size_t t = t0; t < t0 + n; t += NR) {
        float *panel = to + t * hd->units;
        gemm_pack_right(panel, &x, 0, hd->HS, t, t0 + n - t < NR ? t0 + n - t : NR);
        memset(panel + packed * NR, 0, (hd->units - packed) * NR * sizeof *panel);
    }
}

/* X's rows t0 … t0 + n as right factor: rows are K, columns HS; panels of BLOCK positions. */
static void pack_positions(float *to, const struct head *hd, const struct matrix *x, size_t t0,
                           size_t n) {
    size_t panel = gemm_units(BLOCK, hd->bf16) * NR, packed = gemm_units(n, hd->bf16) * NR;
    for (size_t c = 0; c < hd->HS; c += NR, to += panel) {
        gemm_pack_right(to, x, t0, n, c, hd->HS - c < NR ? hd->HS - c : NR);
        if (hd->amx) memset(to + packed, 0, (panel - packed) * sizeof *to);
    }
}
/* X's rows t0 … t0 + n as left factor across, for AMX: rows are columns HS, K positions. */
static void pack_across(float *to, const struct head *hd, struct matrix x, size_t t0, size_t n) {
    x.across = true;
    gemm_amx_pack_left(to, &x, 0, hd->HS, t0, n);
}

/* X's rows t0 … t0 + n as left factor: where they are, if the tile can read them there. */
static struct left left_rows(float *to, const struct head *hd, const struct matrix *x, size_t t0,
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

/* Where block k0 … of `rows` is: BLOCK positions times HSp. */
static float *block_rows(const struct scratch *s, const struct head *hd, size_t k0) {
    return s->rows + k0 / BLOCK * gemm_units(BLOCK, hd->bf16) * hd->HSp;
}

/* How many keys of the block query i's panel of MR may see, in whole tiles. */
INLINE size_t tiles_seen(const struct block *b, size_t i) {
    return round_up(keys_seen(b, i, MR), NR);
}

/* First position that row i sees, and the first that any of rows i0 … i0 + m sees. */
INLINE int row_start(const struct head *hd, size_t i) {
    return hd->start ? hd->start[i] : 0;
}
static size_t block_start(const struct head *hd, size_t i0, size_t m) {
    int first = row_start(hd, i0);
    for (size_t i = 1; i < m; i++)
        if (row_start(hd, i0 + i) < first) first = row_start(hd, i0 + i);
    return first < 0 ? 0 : (size_t)first / BLOCK * BLOCK;
}
/* What the panel of queries i … i + MR sees of the block; rows beyond T nothing. */
static void panel_sees(struct seen *seen, const struct head *hd, const struct block *b, size_t i) {
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

INLINE struct left panel_of(const struct left *a, size_t i) {
    return (struct left){a->p + i / MR * a->panel, a->rs, a->cs, a->panel};
}

/* out (m,HS) = shrink out + P X: P's rows are `ld_p` floats apart, X is the block's part of `rows`;
 * shrink NULL: 1. */
static void add_keys(struct scratch *s, const struct head *hd, const float *p, size_t ld_p,
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

/* Rows of fp32 narrowed: with pairs along the columns (rows of bf16), or along the rows. */
static void narrow_rows(float *to, const float *from, const struct block *b) {
    for (size_t i = 0; i < b->m; i++)
        for (size_t j = 0; j < tiles_seen(b, i); j += VL)
            st(to, i * BLOCK + j, VL, true, ldf(from + i * BLOCK + j));
}
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

/* S = Q K^T up to the diagonal, and each row's largest. */
static void scores(struct scratch *s, const struct head *hd, const struct left *q,
                   const struct block *b) {
    const float *cols = s->k_cols + b->k0 * hd->units;
    if (hd->amx) amx_scores(s->s, q, cols, hd->units, b);
    for (size_t i = 0; i < b->m; i += MR) {
        struct seen seen;
        struct left a = panel_of(q, i);
        panel_sees(&seen, hd, b, i);
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

/* Dropout's factors of the block. */
static void keep_factors(struct scratch *s, const struct head *hd, const struct block *b) {
    for (size_t i = 0; i < b->m; i++)
        dropout_row(s->keep + i * BLOCK, hd->drop, hd->b,
                    dropout_attention_row(hd->T, hd->h, (int)(b->i0 + i)) + b->k0,
                    tiles_seen(b, i));
}

static void forward_block(struct scratch *s, const struct head *hd, const struct left *q,
                          const struct block *b) {
    scores(s, hd, q, b);
    for (size_t i = 0; i < b->m; i += VL) softmax_rows(s, hd, b, i);
    if (hd->drop) {
        keep_factors(s, hd, b);
        for (size_t i = 0; i < b->m; i++)
            for (size_t j = 0; j < tiles_seen(b, i); j += VL)
                stf(s->s + i * BLOCK + j, ldf(s->s + i * BLOCK + j) * ldf(s->keep + i * BLOCK + j));
    }
    if (hd->pairs) narrow_rows(s->s_half, s->s, b);
    add_keys(s, hd, hd->pairs ? s->s_half : s->s, hd->pairs ? BLOCK / 2 : BLOCK, s->shrink, b);
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
        pack_columns(s->k_cols, hd, hd->k, i0, m);
        pack_positions(block_rows(s, hd, i0), hd, &hd->v, i0, m);
        struct left q = left_rows(s->q_left, hd, &hd->q, i0, m);
        fetch_next(&s->ahead, hd, read, 3, i0);
        fetch_rows(&s->ahead, hd, y, hd->C, (ptrdiff_t)i0, m);
        memset(s->out, 0, BLOCK * hd->HSp * sizeof *s->out);
        memset(s->sum, 0, BLOCK * VL * sizeof *s->sum);
        for (size_t i = 0; i < BLOCK * VL; i++) s->top[i] = -INFINITY;
        for (size_t i = 0; i < BLOCK; i++) s->max[i] = -INFINITY;
        for (size_t k0 = block_start(hd, i0, m); k0 <= i0; k0 += BLOCK)
            forward_block(s, hd, &q, &(struct block){i0, m, k0, k0 < i0 ? BLOCK : m});
        store_queries(s, hd, y, lse, i0, m);
    }
}

/* P = exp(S - lse), where forward has S. */
static void probabilities(struct scratch *s, const struct head *hd, const struct left *q,
                          const struct block *b) {
    const float *cols = s->k_cols + b->k0 * hd->units;
    if (hd->amx) amx_scores(s->s, q, cols, hd->units, b);
    for (size_t i = 0; i < b->m; i += MR) {
        struct seen seen;
        struct left a = panel_of(q, i);
        panel_sees(&seen, hd, b, i);
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
    if (hd->drop) keep_factors(s, hd, b);
    probabilities(s, hd, q, b);
    slopes(s, hd, dy, b);
    if (hd->pairs) {
        narrow_pairs(s->p_pairs, s->s, b);
        narrow_pairs(s->ds_pairs, s->dp, b);
        narrow_rows(s->ds_half, s->dp, b);
    }
    add_queries(s->dv, hd, hd->pairs ? s->p_pairs : s->s, s->dy_right, b);
    add_queries(s->dk, hd, hd->pairs ? s->ds_pairs : s->dp, s->q_right, b);
    add_keys(s, hd, hd->pairs ? s->ds_half : s->dp, hd->pairs ? BLOCK / 2 : BLOCK, NULL, b);
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
        pack_columns(s->k_cols, hd, hd->k, i0, m);
        pack_columns(s->v_cols, hd, hd->v, i0, m);
        pack_positions(block_rows(s, hd, i0), hd, &hd->k, i0, m);
        if (hd->amx) {
            pack_across(s->q_right, hd, hd->q, i0, m);
            pack_across(s->dy_right, hd, hd->dy, i0, m);
        } else {
            pack_positions(s->q_right, hd, &hd->q, i0, m);
            pack_positions(s->dy_right, hd, &hd->dy, i0, m);
        }
        struct left q = left_rows(s->q_left, hd, &hd->q, i0, m),
                    dy = left_rows(s->dy_left, hd, &hd->dy, i0, m);
        row_sums(s, hd, lse, i0, m);
        fetch_next(&s->ahead, hd, read, 5, i0);
        fetch_rows(&s->ahead, hd, dq, 3 * hd->C, (ptrdiff_t)i0, m);
        memset(s->out, 0, BLOCK * hd->HSp * sizeof *s->out);
        for (size_t k0 = block_start(hd, i0, m); k0 <= i0; k0 += BLOCK)
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

/* Head bh of all B x NH; y and dy NULL: forward. */
static struct head make_head(const struct device *d, size_t bh, const void *qkv, const void *y,
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

void cpu_attention_forward(struct device *d, void *y, float *lse, const void *qkv,
                           const int32_t *start, int B, int T, int C, int NH, float scale,
                           struct dropout drop) {
    struct scratch none;
    size_t per_thread = cut(&none, NULL, (size_t)T, round_up((size_t)(C / NH), NR), false);
    float *work = cpu_work(d, WORK_THREAD, (size_t)d->threads * per_thread * sizeof *work);
    if (!work) return;
#pragma omp parallel for num_threads(d->threads) schedule(dynamic)
    for (size_t bh = 0; bh < (size_t)B * (size_t)NH; bh++) {
        struct head hd = make_head(d, bh, qkv, NULL, NULL, start, B, T, C, NH, scale, &drop);
        struct scratch s;
        cut(&s, work + (size_t)omp_get_thread_num() * per_thread, (size_t)T, hd.HSp, false);
        if (hd.amx) gemm_amx_begin();
        forward_head(&s, &hd, at_out(y, hd.first, d->bf16), lse + bh * (size_t)T);
        if (hd.amx) gemm_amx_end();
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
        struct head hd = make_head(d, bh, qkv, y, dy, start, B, T, C, NH, scale, &drop);
        struct scratch s;
        cut(&s, work + (size_t)omp_get_thread_num() * per_thread, (size_t)T, hd.HSp, true);
        if (hd.amx) gemm_amx_begin();
        backward_head(&s, &hd, at_out(dqkv, hd.first3, d->bf16),
                      at_out(dqkv, hd.first3 + hd.C, d->bf16),
                      at_out(dqkv, hd.first3 + 2 * hd.C, d->bf16), lse + bh * (size_t)T);
        if (hd.amx) gemm_amx_end();
    }
}
