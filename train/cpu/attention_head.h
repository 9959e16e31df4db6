/* What attention's two passes share (attention_forward.c, attention_backward.c): one head of one
 * text, a thread's memory for it, and the steps that both take. Mathematics: ref/attention.c.
 *
 *   one thread, one head (b, h):
 *
 *               keys ─▶  B            Blocks right of the diagonal, and left of the segments'
 *   queries   ┌────┬────┬────┐        starts, are skipped, and within one the register tiles
 *      │   B  │ S\ │    │    │        (attention_tile.h) right of it. k and v of the head are
 *      ▼      ├────┼────┤    │        packed a block at a time, when the queries get there.
 *             │ S  │ S\ │ … */
#ifndef LORY_TRAIN_CPU_ATTENTION_HEAD_H
#define LORY_TRAIN_CPU_ATTENTION_HEAD_H

#include "train/cpu/attention_amx.h"
#include "train/cpu/attention_tile.h"
#include "train/dropout.h"

enum { BLOCK = ATT_BLOCK };

/* One head of one text, and where its rows lie. */
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
size_t head_cut(struct scratch *s, float *base, size_t T, size_t HSp, bool backward);
/* Head bh of all B x NH; y and dy NULL: forward. */
struct head head_make(const struct device *d, size_t bh, const void *qkv, const void *y,
                      const void *dy, const int32_t *start, int B, int T, int C, int NH,
                      float scale, const struct dropout *drop);

/* ------------------------------------------------------------------ memory asked for ahead */

/* Rows t0 … t0 + n of x, counted from the head's first. */
void head_fetch_rows(struct ahead *a, const struct head *hd, const void *x, size_t ld, ptrdiff_t t0,
                     size_t n);
/* What is read after queries i0 … of the n_x matrices x: the next block of rows, or the next head's
 * first. */
void head_fetch_next(struct ahead *a, const struct head *hd, const struct matrix *x, int n_x,
                     size_t i0);
/* Asks for the next two rows. */
INLINE void fetch_some(struct ahead *a) {
    for (int k = 0; k < 2 && a->at < a->n; k++) {
        const char *row = a->list[a->at].row;
        for (size_t i = 0; i < a->bytes; i += 64) __builtin_prefetch(row + i);
        a->list[a->at].row += a->list[a->at].step;
        if (--a->list[a->at].rows == 0) a->at++;
    }
}

/* ------------------------------------------------------------------ factors */

/* X's rows t0 … t0 + n as right factor across: columns are positions. `to` is of all T. */
void head_pack_columns(float *to, const struct head *hd, struct matrix x, size_t t0, size_t n);
/* X's rows t0 … t0 + n as right factor: rows are K, columns HS; panels of BLOCK positions. */
void head_pack_positions(float *to, const struct head *hd, const struct matrix *x, size_t t0,
                         size_t n);
/* X's rows t0 … t0 + n as left factor: where they are, if the tile can read them there. */
struct left head_left_rows(float *to, const struct head *hd, const struct matrix *x, size_t t0,
                           size_t n);
/* The panel of a left factor that begins at row i. */
INLINE struct left panel_of(const struct left *a, size_t i) {
    return (struct left){a->p + i / MR * a->panel, a->rs, a->cs, a->panel};
}
/* Where block k0 … of `rows` is: BLOCK positions times HSp. */
INLINE float *block_rows(const struct scratch *s, const struct head *hd, size_t k0) {
    return s->rows + k0 / BLOCK * gemm_units(BLOCK, hd->bf16) * hd->HSp;
}

/* ------------------------------------------------------------------ a block of scores */

/* The first key that any of queries i0 … i0 + m sees, down to a whole block. */
size_t head_block_start(const struct head *hd, size_t i0, size_t m);
/* What the panel of queries i … i + MR sees of the block; rows beyond T nothing. */
void head_panel_sees(struct seen *seen, const struct head *hd, const struct block *b, size_t i);
/* How many keys of the block query i's panel of MR may see, in whole tiles. */
INLINE size_t tiles_seen(const struct block *b, size_t i) {
    return round_up(keys_seen(b, i, MR), NR);
}

/* Dropout's factors of the block, to `keep`. */
void head_keep_factors(struct scratch *s, const struct head *hd, const struct block *b);
/* Rows of fp32 narrowed to bf16, with pairs along the columns. */
void head_narrow_rows(float *to, const float *from, const struct block *b);
/* out (m,HS) = shrink out + P X: P's rows are `ld_p` floats apart, X is the block's part of `rows`;
 * shrink NULL: 1. */
void head_add_keys(struct scratch *s, const struct head *hd, const float *p, size_t ld_p,
                   const float *shrink, const struct block *b);

#endif
