/* A tile of a product by one block of K, both factors split (gemm_split.h): what comes next, a
 * panel of A and with the first one of A also those of B, is split while the units multiply. The
 * sums of 32 x 32 of a block behind the first are the block's own, for fewer roundings of large
 * sums; they are added to C while the next 32 x 32 are multiplied. */
#include "train/cpu/gemm_inside.h"

/* A panel of A: the tile's rows r … of block kb. */
struct panel {
    size_t kb, r;
    bool none; /* there is no such panel */
};

/* The panel of A that is `n` of them behind; at most as many as a block has. */
static struct panel behind(const struct tile *t, size_t kb, size_t r, size_t n) {
    size_t mr = t->p->mr, panels = (t->end - t->i + mr - 1) / mr, at = (r - t->i) / mr + n;
    if (at >= panels) kb++, at -= panels;
    return (struct panel){kb, t->i + at * mr, at >= panels || kb >= t->o->k0 + t->o->k};
}

/* A thread's scratch: two panels of A, in turns; the jobs' lines; late sums. */
INLINE size_t panel_size(const struct tile *t) {
    return t->p->kc / SPLIT_STEP * SPLIT_SIZE;
}
INLINE float *lines_of(const struct tile *t, size_t job) {
    return t->few + 2 * panel_size(t) + job * SPLIT_LINES;
}
INLINE float *late_sums(const struct tile *t) {
    return t->few + 2 * (panel_size(t) + SPLIT_LINES);
}

/* What is split: a panel of A; of B, columns c … of the tile. */
static struct split_job left_job(const struct tile *t, struct panel at, float *out) {
    if (at.none) return (struct split_job){0};
    struct k_block b = k_block(t->p, at.kb);
    size_t m = t->end - at.r < t->p->mr ? t->end - at.r : t->p->mr;
    return split_of(&t->p->a, false, t->o->m0 + at.r, m, b.k0, b.k, out, lines_of(t, 0));
}
static struct split_job right_job(const struct tile *t, const struct k_block *b, size_t c,
                                  float *out) {
    size_t n = t->n - c < NR ? t->n - c : NR;
    return split_of(&t->p->b, true, t->o->n0 + t->j + c, n, b->k0, b->k, out, lines_of(t, 1));
}

/* A panel of A as it lies in memory, asked for by all of a panel's tiles. */
static struct walk walk_left(const struct tile *t, struct panel at) {
    const struct product *p = t->p;
    if (at.none) return (struct walk){0};
    struct k_block b = k_block(p, at.kb);
    size_t times = t->wide / NR, ld = p->a.ld, row = t->o->m0 + at.r;
    size_t m = t->end - at.r < p->mr ? t->end - at.r : p->mr;
    const float *left = p->a.p;
    return p->a.across ? walk(left + b.k0 * ld + row, ld, b.k, m, times)
                       : walk(left + row * ld + b.k0, ld, m, b.k, times);
}

/* The block of B behind block kb, at the end of K that of the next columns, asked for by all of
 * this one's tiles. */
static struct walk walk_right(const struct tile *t, size_t kb) {
    const struct product *p = t->p;
    const struct part *o = t->o;
    size_t times = (t->end - t->i + p->mr - 1) / p->mr * (t->wide / NR), ld = p->b.ld;
    bool last = kb + 1 == o->k0 + o->k;
    struct k_block next = k_block(p, last ? o->k0 : kb + 1);
    size_t j = !last ? t->j : t->j + t->n < o->n ? t->j + t->n : 0;
    size_t n = o->n - j < t->n ? o->n - j : t->n;
    const float *right = p->b.p;
    return p->b.across ? walk(right + (o->n0 + j) * ld + next.k0, ld, n, next.k, times)
                       : walk(right + next.k0 * ld + o->n0 + j, ld, next.k, n, times);
}

/* What `out` will touch of m rows, NR columns. */
static struct walk walk_out(const struct gemm_to *to, int k, size_t m0, size_t m, size_t n0) {
    struct walk w = {.row = at(to->at[k], m0 * to->ld + n0, false), .rows = m, .lines = NR / VL};
    w.step = to->ld * sizeof(float), w.each = m * w.lines;
    return w;
}

/* The panel of A at row r by one of B, columns c …. */
static void multiply(const struct tile *t, const struct k_block *b, size_t r, size_t c,
                     const float *left, const float *right, struct meanwhile *also) {
    float *sum = t->sums + (k_blocks(t->p) > 1 ? (r - t->i) * t->ld : 0) + c;
    if (b->at == 0) {
        gemm_split_tile(sum, t->ld, left, right, b->n, also);
        return;
    }
    float *own = late_sums(t);
    gemm_split_tile(own, NR, left, right, b->n, also);
    also->late = (struct split_sums){sum, t->ld, own, t->p->mr};
}

void gemm_split_block(const struct tile *t, size_t kb) {
    const struct product *p = t->p;
    struct k_block b = k_block(p, kb);
    size_t size = panel_size(t), panels = (t->end - t->i + p->mr - 1) / p->mr;
    bool last = kb + 1 == k_blocks(p);
    struct walk next_a, next_b = walk_right(t, kb), out[2];
    struct meanwhile also = {.walk = {&next_a, &next_b, &out[0], &out[1]}, .walks = 2};
    for (int k = 0; last && k < 2 && t->to->at[k]; k++) also.walks++;
    for (size_t r = t->i, i = (kb - t->o->k0) * panels; r < t->end; r += p->mr, i++) {
        float *left = t->few + i % 2 * size, *left_next = t->few + (i + 1) % 2 * size;
        size_t m0 = t->o->m0 + r, m = t->end - r < p->mr ? t->end - r : p->mr, n0 = t->o->n0 + t->j;
        next_a = walk_left(t, behind(t, kb, r, 2));
        also.job[1] = (struct split_job){0};
        if (i == 0) also.job[0] = left_job(t, behind(t, kb, r, 0), left), gemm_split_all(also.job);
        also.job[0] = left_job(t, behind(t, kb, r, 1), left_next);
        for (size_t c = 0; c < t->wide; c += NR) {
            float *right = t->block + c / NR * size;
            struct split_job *job = &also.job[1];
            if (r == t->i && c == 0) *job = right_job(t, &b, c, right), gemm_split_all(job);
            if (r == t->i && c + NR < t->wide) *job = right_job(t, &b, c + NR, right + size);
            also.to[0] = also.job[0].end * (c + NR) / t->wide, also.to[1] = job->end;
            for (size_t k = 2; k < also.walks; k++)
                out[k - 2] = walk_out(t->to, (int)k - 2, m0, m, n0 + c);
            multiply(t, &b, r, c, left, right, &also);
        }
        if (!last) continue;
        gemm_split_add(&also.late);
        const float *sum = t->sums + (k_blocks(p) > 1 ? (r - t->i) * t->ld : 0);
        t->to->out(t->to->ctx, sum, t->ld, m0, m, n0, t->n);
    }
    gemm_split_add(&also.late);
}
