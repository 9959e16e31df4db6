/* See gemm.h. Blocking after Goto and van de Geijn (2008), with the roles of the caches as there:
 * the panel of A in L1, the block of B in L2. */
#include "train/cpu/gemm_inside.h"

/* The packed panels of a part of B from its column j on. */
INLINE float *right_at(const struct product *p, const struct part *o, const struct k_block *b,
                       size_t j) {
    return p->right + (b->at - o->k0 * p->kc) * round_up(o->n, NR) + j * p->kc;
}

/* The packed panels of a part of A from its row i on. */
INLINE float *left_at(const struct product *p, const struct part *o, const struct k_block *b,
                      size_t i) {
    return p->left + (b->at - o->k0 * p->kc) * round_up(o->m, p->mr) + i * b->n;
}

/* Rows m0 … m0 + m of A as the kernel wants them. */
static void pack_rows(const struct product *p, float *out, size_t m0, size_t m,
                      const struct k_block *b) {
    if (p->amx)
        gemm_amx_pack_left(out, &p->a, m0, m, b->k0, b->k);
    else
        gemm_pack_left(out, &p->a, m0, m, b->k0, b->k);
}

/* The two packings below are shared out among the threads of the region they are called in, and
 * wait for nobody. */
static void pack_right(const struct product *p, const struct part *o) {
    size_t panels = (o->n + NR - 1) / NR;
#pragma omp for schedule(dynamic, 2) nowait
    for (size_t job = 0; job < o->k * panels; job++) {
        struct k_block b = k_block(p, o->k0 + job / panels);
        size_t j = job % panels * NR, n = o->n - j < NR ? o->n - j : NR;
        size_t units = (b.k + p->unit - 1) / p->unit;
        float *panel = right_at(p, o, &b, j);
        gemm_pack_right(panel, &p->b, b.k0, b.k, o->n0 + j, n);
        memset(panel + units * NR, 0, (b.n - units) * NR * sizeof *panel);
    }
}

static void pack_left(const struct product *p, const struct part *o) {
    size_t rows = 96 / p->mr * p->mr; /* of a job */
    size_t jobs = (o->m + rows - 1) / rows;
#pragma omp for schedule(dynamic, 2) nowait
    for (size_t job = 0; job < o->k * jobs; job++) {
        struct k_block b = k_block(p, o->k0 + job / jobs);
        size_t i = job % jobs * rows, m = o->m - i < rows ? o->m - i : rows;
        pack_rows(p, left_at(p, o, &b, i), o->m0 + i, m, &b);
    }
}

enum { FEW_LD = GEMM_KC + 16 }; /* rows copied do not share their sets of L1 */

/* True if A is read in place by columns, and packed by the way. */
INLINE bool copies_left(const struct tile *t, size_t r) {
    return t->p->a.across && !t->p->left && t->o->m0 + r + MR <= t->p->M;
}

/* Where a panel of A from row r of the part lies; in `few` if they are too few for a panel, or if
 * all of them would share the sets of L1. */
static struct left panel_of(const struct tile *t, const struct k_block *b, size_t r) {
    const struct product *p = t->p;
    size_t row = t->o->m0 + r, ld = p->a.ld / p->unit;
    if (copies_left(t, r)) return (struct left){(const float *)p->a.p + b->k0 * ld + row, 1, ld, 0};
    if (p->left || row + p->mr > p->M) {
        if (!p->left) pack_rows(p, t->few, row, p->M - row, b);
        const float *packed = p->left ? left_at(p, t->o, b, r) : t->few;
        return p->amx ? (struct left){packed, b->n, 1, 0} : (struct left){packed, 1, MR, 0};
    }
    if (p->a.bf16 || ld % 512 != 0)
        return (struct left){at(p->a.p, row * p->a.ld + b->k0, p->a.bf16), ld, 1, 0};
    const float *from = (const float *)p->a.p + row * ld + b->k0;
    for (size_t i = 0; i < MR; i++) memcpy(t->few + i * FEW_LD, from + i * ld, b->k * sizeof *from);
    return (struct left){t->few, FEW_LD, 1, 0};
}

INLINE void ask(struct ahead *ahead, const void *line) {
    if (ahead->n < ahead->most) ahead->line[ahead->n++] = line;
}

INLINE void walk_on(struct ahead *ahead, struct walk *w) {
    for (size_t n = w->each; n && w->rows; n--) {
        ask(ahead, w->row + LINE * w->at);
        if (++w->at < w->lines) continue;
        w->at = 0, w->rows--, w->row += w->step;
    }
}

/* What the tile reads in place after block kb, asked for while that is multiplied: the next block
 * of A across, and of B; at the end of K the first block of the next columns. */
static void walk_blocks(const struct tile *t, size_t kb, struct walk *a, struct walk *b) {
    const struct product *p = t->p;
    const struct part *o = t->o;
    size_t times = (t->end - t->i + p->mr - 1) / p->mr * (t->wide / NR);
    bool last = kb + 1 == o->k0 + o->k;
    struct k_block next = k_block(p, last ? o->k0 : kb + 1);
    size_t j = !last ? t->j : t->j + t->n < o->n ? t->j + t->n : 0;
    size_t n = o->n - j < t->n ? o->n - j : t->n;
    *a = *b = (struct walk){0};
    const float *right = p->b.p;
    if (!p->right && p->b.across)
        *b = walk(right + (o->n0 + j) * p->b.ld + next.k0, p->b.ld, n, next.k, times);
    else if (!p->right)
        *b = walk(right + next.k0 * p->b.ld + o->n0 + j, p->b.ld, next.k, n, times);
    if (!last && p->a.across && !p->left)
        *a = walk((const float *)p->a.p + next.k0 * p->a.ld + o->m0 + t->i, p->a.ld, next.k,
                  t->end - t->i, times);
}

/* The panel of A behind that at row r, in as many pieces as the panel at r meets panels of B. */
static struct walk walk_panel(const struct tile *t, const struct k_block *b, size_t r) {
    const struct product *p = t->p;
    size_t times = t->wide / NR, ld = p->a.ld / p->unit, row = t->o->m0 + r + MR;
    if (p->amx || r + MR >= t->end || (!p->left && (p->a.across || row + MR > p->M)))
        return (struct walk){0};
    if (p->left) return walk(left_at(p, t->o, b, r + MR), 0, 1, b->n * MR, times);
    return walk(at(p->a.p, row * p->a.ld + b->k0, p->a.bf16), ld, MR, b->n, times);
}

/* What `out` will touch of m rows, NR columns. */
INLINE void ask_out(struct ahead *ahead, const struct gemm_to *to, size_t m0, size_t m, size_t n0) {
    for (int k = 0; k < 2 && to->at[k]; k++)
        for (size_t r = m0; r < m0 + m; r++)
            for (size_t n = 0; n < NR; n += to->bf16 ? 32 : 16)
                ask(ahead, at(to->at[k], r * to->ld + n0 + n, to->bf16));
}

/* The sums (m, NR) so far, which the kernel adds to. */
INLINE void ask_sums(struct ahead *ahead, const float *sum, size_t ld, size_t m) {
    for (size_t r = 0; r < m; r++)
        for (size_t n = 0; n < NR; n += 16) ask(ahead, sum + r * ld + n);
}

/* One panel of A by one of B, columns c … of the tile. `first`: of the tile's panels of A, so that
 * B is still to be packed, unless it has been for all. */
static void panel(const struct tile *t, const struct k_block *b, struct left *a, bool first,
                  size_t c, float *sum, bool copy, const struct ahead *ahead) {
    const struct product *p = t->p;
    struct copies to = {copy ? t->few : NULL, NULL};
    float *packed = (p->right ? right_at(p, t->o, b, t->j) : t->block) + c * p->kc;
    const float *right = packed;
    size_t ldb = NR, column = t->o->n0 + t->j + c;
    if (first && !p->right && t->n - c < NR) {
        gemm_pack_right(packed, &p->b, b->k0, b->k, column, t->n - c);
    } else if (first && !p->right) {
        to.right = packed;
        right = (const float *)p->b.p + b->k0 * p->b.ld + column, ldb = p->b.ld;
    }
    if (p->amx) { /* its loads run ahead by themselves */
        gemm_amx_tile(sum, t->ld, a, right, NR, b->n, b->at > 0);
        return;
    }
    gemm_micro(sum, t->ld, a, right, ldb, b->n, b->at > 0, p->unit == 2, to, ahead);
    if (copy) *a = (struct left){t->few, 1, MR, 0};
}

/* The tile's rows by one block of K. */
static void tile_block(const struct tile *t, size_t kb) {
    const struct product *p = t->p;
    size_t blocks = k_blocks(p), m0 = t->o->m0;
    struct k_block b = k_block(p, kb);
    struct walk next_a, next_b;
    struct ahead ahead;
    bool last = kb + 1 == blocks;
    ahead.most = p->amx ? 0 : b.n / TURN;
    walk_blocks(t, kb, &next_a, &next_b);
    for (size_t r = t->i; r < t->end; r += p->mr) {
        struct left a = panel_of(t, &b, r);
        struct walk next = walk_panel(t, &b, r);
        float *sum = blocks > 1 ? t->sums + (r - t->i) * t->ld : t->sums;
        size_t m = t->end - r < p->mr ? t->end - r : p->mr;
        for (size_t c = 0; c < t->wide; c += NR) {
            ahead.n = 0;
            if (last && !p->amx) ask_out(&ahead, t->to, m0 + r, m, t->o->n0 + t->j + c);
            if (kb > 0 && ISA_LEVEL >= 2 && !p->amx) ask_sums(&ahead, sum + c, t->ld, m);
            walk_on(&ahead, &next);
            walk_on(&ahead, &next_b);
            walk_on(&ahead, &next_a);
            panel(t, &b, &a, r == t->i, c, sum + c, c == 0 && copies_left(t, r), &ahead);
        }
        if (last) t->to->out(t->to->ctx, sum, t->ld, m0 + r, m, t->o->n0 + t->j, t->n);
    }
}

/* Rows i … end of the part by its columns j … j + n. */
static void run_tile(const struct product *p, const struct part *o, float *scratch, size_t i,
                     size_t end, size_t j, size_t n, const struct gemm_to *to) {
    struct tile t = {.i = i, .end = end, .j = j, .n = n, .wide = round_up(n, NR)};
    t.p = p, t.o = o, t.to = to;
    t.few = scratch, t.block = t.few + p->few, t.sums = t.block + p->block;
    t.ld = p->c ? p->ldc : t.wide;
    if (p->c) t.sums = p->c + (o->m0 + i) * t.ld + o->n0 + j;
    for (size_t kb = o->k0; kb < o->k0 + o->k; kb++)
        if (p->split)
            gemm_split_block(&t, kb);
        else
            tile_block(&t, kb);
}

/* n cut into equal parts of at most `most`, each a multiple of `unit`. */
static size_t even_parts(size_t n, size_t most, size_t unit) {
    size_t parts = (n + most - 1) / most;
    return round_up((n + parts - 1) / parts, unit);
}

/* Tiles of M x N as large as the caches like, smaller where there would be too few for the
 * threads. */
static void choose_tiles(struct product *p, size_t M, size_t N, size_t most_m, size_t most_n,
                         size_t threads) {
    size_t mc = most_m, nc = most_n;
    for (;;) {
        p->mc = even_parts(M, mc, p->mr);
        p->nc = even_parts(N, nc, NR);
        p->tiles_m = (M + p->mc - 1) / p->mc;
        p->tiles_n = (N + p->nc - 1) / p->nc;
        size_t tiles = p->tiles_m * p->tiles_n;
        if (threads == 1 || tiles >= 8 * threads || tiles % threads == 0) return;
        if (mc > most_m / 4)
            mc /= 2;
        else if (nc > most_n / 4)
            nc /= 2;
        else
            return;
    }
}

/* Where tile i of m rows begins: panels shared out evenly. */
INLINE size_t edge(const struct product *p, size_t m, size_t i) {
    size_t row = i * ((m + p->mr - 1) / p->mr) / p->tiles_m * p->mr;
    return row < m ? row : m;
}

/* All tiles of a part; jobs next to each other share their block of B. */
static void run_part(const struct product *p, const struct part *o, float *scratch,
                     const struct gemm_to *to) {
    size_t tiles_n = (o->n + p->nc - 1) / p->nc;
#pragma omp for schedule(dynamic)
    for (size_t t = 0; t < p->tiles_m * tiles_n; t++) {
        size_t i = t % p->tiles_m, j = t / p->tiles_m * p->nc;
        run_tile(p, o, scratch, edge(p, o->m, i), edge(p, o->m, i + 1), j,
                 o->n - j < p->nc ? o->n - j : p->nc, to);
    }
}

/* One thread's share of all parts. B's part stays for all of A's. */
static void run_parts(const struct product *p, float *scratch, bool packed,
                      const struct gemm_to *to) {
    size_t blocks = k_blocks(p);
    for (size_t k0 = 0; k0 < blocks; k0 += p->part_k)
        for (size_t n0 = 0; n0 < p->N; n0 += p->part_n)
            for (size_t m0 = 0; m0 < p->M; m0 += p->part_m) {
                struct part o = {m0, p->M - m0, n0, p->N - n0, k0, blocks - k0};
                if (o.m > p->part_m) o.m = p->part_m;
                if (o.n > p->part_n) o.n = p->part_n;
                if (o.k > p->part_k) o.k = p->part_k;
                if (m0 == 0 && p->right && !packed) pack_right(p, &o);
                if (p->left) pack_left(p, &o);
                if (p->right || p->left) {
#pragma omp barrier
                }
                run_part(p, &o, scratch, to);
            }
}

/* Elements packed at a time, about; half as many where they are widened. */
enum { PART_OF_B = 1 << 22, PART_OF_A = 1 << 21 };

bool gemm_packs_whole(size_t K, size_t N) {
    return K * N <= PART_OF_B;
}
bool gemm_keeps(const struct device *d, size_t K, size_t N, bool bf16) {
    return gemm_packs_whole(K, N) && (bf16 || !d->amx);
}

/* Cuts the product in parts and finds room for them. `by_tiles`: B is packed by each tile. False:
 * no memory. */
static bool plan_parts(struct device *d, struct product *p, enum cpu_work pack, bool in_place,
                       bool by_tiles) {
    const size_t blocks = k_blocks(p);
    const size_t less = gemm_widens(p->b.bf16) ? 2 : 1;
    const size_t part_of_b = PART_OF_B / less, part_of_a = PART_OF_A / less;
    p->part_m = p->M, p->part_n = p->N, p->part_k = blocks;
    if (!by_tiles && !gemm_packs_whole(p->K, p->N) && p->N >= p->K)
        p->part_n = even_parts(p->N, part_of_b / p->K + NR, NR);
    else if (!by_tiles && !gemm_packs_whole(p->K, p->N))
        p->part_k = part_of_b / (p->N * p->kc) + 1;
    size_t units = p->part_k * p->kc;
    if (!by_tiles) p->right = cpu_work(d, pack, units * round_up(p->part_n, NR) * sizeof *p->right);
    if (!in_place) {
        if (p->M * units > part_of_a)
            p->part_m = even_parts(p->M, part_of_a / units + p->mr, p->mr);
        p->left = cpu_work(d, WORK_LEFT, round_up(p->part_m, p->mr) * units * sizeof *p->left);
        if (!p->left) return false;
    }
    if (p->part_k < blocks) {
        p->ldc = round_up(p->N, NR);
        p->c = cpu_work(d, WORK_SUMS, round_up(p->M, p->mr) * p->ldc * sizeof *p->c);
        if (!p->c) return false;
    }
    return by_tiles || p->right != NULL;
}

/* True if A is not packed first: units must be what is in memory, and rows must not share the sets
 * of L1, unless a panel of them can be copied; across, a tile packs it. */
static bool in_place(const struct product *p) {
    const struct matrix *a = &p->a;
    if (!a->bf16) return !a->across || a->ld % 512 != 0;
    if (a->across || a->ld / p->unit % 512 == 0 || p->unit == 1) return false;
    return a->ld % 2 == 0 && (a->padded || p->K % (p->amx ? 2 * AMX_UNITS : 2) == 0);
}

/* Rows and columns of a tile, at most. */
struct most {
    size_t m, n;
};

/* Panels, blocks of K and a thread's scratch, as each way of multiplying likes them. */
static struct most choose_sizes(struct product *p, bool by_tiles) {
    if (p->amx) {
        p->mr = AMX_MR;
        p->kc = round_up(gemm_kc(p->units, AMX_KC), AMX_UNITS);
        p->few = p->mr * p->kc;
        p->block = by_tiles ? GEMM_KC * GEMM_NC : 0;
        return (struct most){AMX_MC, AMX_NC};
    }
    if (p->split) {
        p->mr = AMX_MR;
        p->kc = round_up(gemm_kc(p->units, SPLIT_KC), SPLIT_STEP);
        size_t panel = p->kc / SPLIT_STEP * SPLIT_SIZE;
        p->few = 2 * (panel + SPLIT_LINES) + SPLIT_SUMS;
        p->block = panel * (SPLIT_NC / NR);
        return (struct most){SPLIT_MC, SPLIT_NC};
    }
    p->mr = MR;
    p->kc = gemm_kc(p->units, by_tiles && p->units > GEMM_KC ? GEMM_KC_TILES : GEMM_KC);
    p->few = MR * FEW_LD;
    p->block = by_tiles ? GEMM_KC * GEMM_NC : 0;
    return (struct most){p->a.bf16 ? GEMM_MC : GEMM_MC_F32, GEMM_NC};
}

void gemm_run(struct device *d, size_t M, size_t N, size_t K, const struct matrix *a,
              const struct matrix *b, enum cpu_work pack, bool packed, const struct gemm_to *to) {
    if (M == 0 || N == 0) return;
    struct product p = {.M = M, .N = N, .K = K, .a = *a, .b = *b};
    p.units = gemm_units(K, a->bf16);
    p.unit = gemm_pairs(a->bf16) ? 2 : 1;
    p.amx = d->amx && p.unit == 2;
    p.split = d->amx && !a->bf16 && M >= SPLIT_FROM && N >= SPLIT_FROM && K >= SPLIT_FROM;
    /* Packed by each tile: what needs no transposition, and is not wanted again. */
    bool by_tiles = p.split || (!b->bf16 && !b->across && pack == WORK_PACK),
         units = p.amx || p.split;
    struct most most = choose_sizes(&p, by_tiles);
    size_t threads = (size_t)d->threads;
    size_t per_thread = p.few + p.block + most.m * most.n;
    if (by_tiles && k_blocks(&p) == 1) most.m *= 2; /* no sums wait for the end */
    float *scratch = cpu_work(d, WORK_THREAD, threads * per_thread * sizeof *scratch);
    if (!scratch || !plan_parts(d, &p, pack, p.split || in_place(&p), by_tiles)) return;
    choose_tiles(&p, p.part_m, p.part_n, most.m, most.n, threads);
#pragma omp parallel num_threads(d->threads)
    {
        if (units) gemm_amx_begin();
        run_parts(&p, scratch + (size_t)omp_get_thread_num() * per_thread, packed, to);
        if (units) gemm_amx_end();
    }
}
