/* See gemm.h. Blocking after Goto and van de Geijn (2008), with the roles of the caches as there:
 * the panel of A in L1, the block of B in L2. */
#include "train/cpu/gemm.h"
#include "train/cpu/gemm_amx.h"

INLINE float unit_one(const struct matrix *x, size_t i) {
    if (!x->bf16) return ((const float *)x->p)[i];
    uint32_t u = (uint32_t)((const uint16_t *)x->p)[i] << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

INLINE float unit_pair(uint16_t lo, uint16_t hi) {
    uint32_t u = lo | (uint32_t)hi << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* One row of n neighbours for `width` lanes; `two`: there is a next row to make pairs with. */
INLINE void pack_row(float *out, int width, const struct matrix *x, size_t row, bool two,
                     size_t n) {
    if (x->bf16 && ISA_LEVEL == 3) {
        const uint16_t *r0 = (const uint16_t *)x->p + row, *r1 = r0 + x->ld;
        if (two)
            for (size_t i = 0; i < n; i++) out[i] = unit_pair(r0[i], r1[i]);
        else
            for (size_t i = 0; i < n; i++) out[i] = unit_pair(r0[i], 0);
    } else if (x->bf16) {
        for (size_t i = 0; i < n; i++) out[i] = unit_one(x, row + i);
    } else {
        memcpy(out, (const float *)x->p + row, n * sizeof *out);
    }
    for (size_t i = n; i < (size_t)width; i++) out[i] = 0;
}

/* Neighbours i0 … i0 + n at each of the K rows of x. */
INLINE void pack_along(float *out, int width, const struct matrix *x, size_t k0, size_t k,
                       size_t i0, size_t n) {
    size_t step = x->bf16 && ISA_LEVEL == 3 ? 2 : 1, ld_x = x->ld, row = k0 * ld_x + i0;
    if (!x->bf16 && n == (size_t)width) { /* nothing to ask inside the loop */
        const float *from = (const float *)x->p + row;
        for (size_t kk = 0; kk < k; kk++, from += ld_x, out += width)
            memcpy(out, from, (size_t)width * sizeof *out);
        return;
    }
    if (x->bf16 && step == 1 && n == (size_t)width) {
        const uint16_t *from = (const uint16_t *)x->p + row;
        for (size_t kk = 0; kk < k; kk++, from += ld_x, out += width)
            for (int i = 0; i < width; i++) {
                uint32_t u = (uint32_t)from[i] << 16;
                memcpy(out + i, &u, sizeof u);
            }
        return;
    }
    for (size_t kk = 0; kk < k; kk += step, row += step * ld_x, out += width) {
        if (n == (size_t)width)
            pack_row(out, width, x, row, kk + 1 < k, (size_t)width);
        else
            pack_row(out, width, x, row, kk + 1 < k, n);
    }
}

/* Units u … of a row whose elements along K are neighbours: pairs lie in memory as they are
 * wanted. */
INLINE vf units_at(const struct matrix *x, size_t row, size_t u, bool pairs) {
    if (pairs) return ldf(at(x->p, row + 2 * u, true));
    return ld(x->p, row + u, VL, x->bf16);
}
INLINE float unit_at(const struct matrix *x, size_t row, size_t u, size_t k, bool pairs) {
    if (!pairs) return unit_one(x, row + u);
    const uint16_t *r = (const uint16_t *)x->p + row + 2 * u;
    return unit_pair(r[0], 2 * u + 1 < k ? r[1] : 0);
}

/* The same where K is contiguous: a transposition, in squares of VL units. */
INLINE void pack_across(float *out, size_t width, const struct matrix *x, size_t k0, size_t k,
                        size_t i0, size_t n) {
    bool pairs = x->bf16 && ISA_LEVEL == 3;
    size_t units = pairs ? (k + 1) / 2 : k, whole = (pairs ? k / 2 : k) / VL * VL;
    for (size_t g = 0; g < width; g += VL) {
        size_t most = width - g < VL ? width - g : VL;
        for (size_t u = 0; u < whole; u += VL) {
            vf r[VL];
            _Pragma("GCC unroll 16") for (size_t i = 0; i < VL; i++) r[i] =
                i < most && g + i < n ? units_at(x, (i0 + g + i) * x->ld + k0, u, pairs) : (vf){0};
            vf_transpose(r);
            float *to = out + u * width + g;
            for (size_t j = 0; j < VL; j++, to += width) memcpy(to, &r[j], most * sizeof *to);
        }
    }
    for (size_t u = whole; u < units; u++) {
        for (size_t i = 0; i < n; i++)
            out[u * width + i] = unit_at(x, (i0 + i) * x->ld + k0, u, k, pairs);
        for (size_t i = n; i < width; i++) out[u * width + i] = 0;
    }
}

void gemm_pack_right(float *out, const struct matrix *b, size_t k0, size_t k, size_t n0, size_t n) {
    if (b->across)
        pack_across(out, NR, b, k0, k, n0, n);
    else
        pack_along(out, NR, b, k0, k, n0, n);
}

void gemm_pack_left(float *out, const struct matrix *a, size_t m0, size_t m, size_t k0, size_t k) {
    size_t units = gemm_units(k, a->bf16);
    enum { FEW = 8 }; /* rows a large power of two apart share their sets of L1 */
    size_t unit = units < k ? 2 : 1;
    for (size_t at_k = 0; a->across && at_k < k; at_k += FEW) {
        for (size_t row = at_k + FEW; row < at_k + 2 * FEW && row < k; row++)
            for (size_t i = 0; i < m; i += 16)
                __builtin_prefetch(at(a->p, (k0 + row) * a->ld + m0 + i, a->bf16));
        for (size_t i = 0; i < m; i += MR)
            pack_along(out + i * units + at_k / unit * MR, MR, a, k0 + at_k,
                       k - at_k < FEW ? k - at_k : FEW, m0 + i, m - i < MR ? m - i : MR);
    }
    for (size_t i = 0; !a->across && i < m; i += MR)
        pack_across(out + i * units, MR, a, k0, k, m0 + i, m - i < MR ? m - i : MR);
}

/* MR x NR of C in registers; 24 sums of 16 lanes keep the multipliers busy. Four units a turn, as
 * instructions are what a processor that is shared with a second thread runs out of first. */
#define MICRO_KERNEL(NAME, A_AT, PAIRS)                                                            \
    static __attribute__((noinline)) void NAME(float *c, size_t ldc, const float *a,               \
                                               size_t stride, const float *b, size_t units,        \
                                               bool add) {                                         \
        vf acc[MR][2];                                                                             \
        _Pragma("GCC unroll 12") for (int i = 0; i < MR; i++) acc[i][0] = acc[i][1] = (vf){0};     \
        _Pragma("GCC unroll 4") for (size_t k = 0; k < units; k++) {                               \
            vf b0 = ldf(b + k * NR), b1 = ldf(b + k * NR + VL);                                    \
            _Pragma("GCC unroll 12") for (size_t i = 0; i < MR; i++) {                             \
                float x = a[A_AT];                                                                 \
                acc[i][0] = mul_add(acc[i][0], x, b0, PAIRS);                                      \
                acc[i][1] = mul_add(acc[i][1], x, b1, PAIRS);                                      \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 12") for (size_t i = 0; i < MR; i++) {                                 \
            float *row = c + i * ldc;                                                              \
            stf(row, add ? ldf(row) + acc[i][0] : acc[i][0]);                                      \
            stf(row + VL, add ? ldf(row + VL) + acc[i][1] : acc[i][1]);                            \
        }                                                                                          \
    }
MICRO_KERNEL(micro_rows, i *stride + k, false)
MICRO_KERNEL(micro_columns, k *stride + i, false)
#if ISA_LEVEL == 3
MICRO_KERNEL(micro_rows_pairs, i *stride + k, true)
MICRO_KERNEL(micro_columns_pairs, k *stride + i, true)
#else
#define micro_rows_pairs    micro_rows
#define micro_columns_pairs micro_columns
#endif

/* One tile of registers; a's first MR rows. */
INLINE void micro(float *c, size_t ldc, const struct left *a, const float *b, size_t units,
                  bool add, bool pairs) {
    bool rows = a->cs == 1 && a->rs != 1;
    size_t stride = rows ? a->rs : a->cs;
    if (rows && pairs)
        micro_rows_pairs(c, ldc, a->p, stride, b, units, add);
    else if (rows)
        micro_rows(c, ldc, a->p, stride, b, units, add);
    else if (pairs)
        micro_columns_pairs(c, ldc, a->p, stride, b, units, add);
    else
        micro_columns(c, ldc, a->p, stride, b, units, add);
}

/* C = A B on its way, part by part: as much of B is packed at a time, and of A where it cannot be
 * read in place, as stays in the cache that threads share.
 *
 *            N                  part: m rows of A, n columns of B, some blocks of K
 *        ┌───┬───┬───┐
 *     mc │   │ j │   │ part     tile (i, j): for every block of K all its rows by one block of B,
 *      M ├───┼───┼───┤          which stays in L2; a panel of A in L1; at the end of K each panel
 *        │   │   │   │          is handed on while it is hot
 *        └───┴───┴───┘
 *          nc                                                                                   */
struct product {
    size_t M, N, K, units, kc;
    size_t unit; /* elements of K per unit */
    bool amx;    /* by the matrix units (gemm_amx.h), else by the kernels above */
    size_t mr;   /* rows of a panel: AMX_MR or MR */
    struct matrix a, b;
    float *right, *left;           /* a part of B packed; of A, or NULL: in place     */
    size_t part_m, part_n, part_k; /* rows, columns, blocks of K of a part, at most   */
    float *c;                      /* sums (M, ldc) that wait for the next blocks of K, or NULL */
    size_t ldc;
    size_t mc, nc; /* of a tile, at most */
    size_t tiles_m, tiles_n;
};

struct part {
    size_t m0, m, n0, n;
    size_t k0, k; /* blocks of K */
};

/* A block of K: units from, n of them. */
struct k_block {
    size_t at, n; /* units; n as the kernel takes them, so the last ones may be zeros */
    size_t k0, k; /* elements */
};

INLINE size_t k_blocks(const struct product *p) {
    return (p->units + p->kc - 1) / p->kc;
}

INLINE struct k_block k_block(const struct product *p, size_t i) {
    struct k_block b = {.at = i * p->kc};
    b.n = p->units - b.at < p->kc ? p->units - b.at : p->kc;
    b.k0 = b.at * p->unit;
    b.k = p->K - b.k0 < b.n * p->unit ? p->K - b.k0 : b.n * p->unit;
    if (p->amx) b.n = round_up(b.n, AMX_UNITS);
    return b;
}

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

/* Where a panel's rows of A from row i of the part lie; packed to `few` if they are to be read in
 * place, but are too few for a panel. */
static struct left panel_of(const struct product *p, const struct part *o, const struct k_block *b,
                            size_t i, float *few) {
    size_t row = o->m0 + i, ld = p->a.ld / p->unit;
    if (!p->left && row + p->mr <= p->M)
        return (struct left){at(p->a.p, row * p->a.ld + b->k0, p->a.bf16), ld, 1, 0};
    if (!p->left) pack_rows(p, few, row, p->M - row, b);
    const float *packed = p->left ? left_at(p, o, b, i) : few;
    return p->amx ? (struct left){packed, b->n, 1, 0} : (struct left){packed, 1, MR, 0};
}

/* Asks for lines from … to of a panel of A, or of each of its rows, so that it is in L1 when its
 * first tile begins. */
INLINE void fetch_panel(const struct left *a, size_t from, size_t to) {
    size_t rows = a->cs == 1 && a->rs != 1 ? MR : 1;
    for (size_t l = from; l < to; l++)
        for (size_t r = 0; r < rows; r++) __builtin_prefetch(a->p + r * a->rs + l * 16);
}
INLINE size_t panel_lines(const struct left *a, size_t units) {
    return a->cs == 1 && a->rs != 1 ? units / 16 + 1 : units * MR / 16;
}

/* Asks for what `out` will touch of m rows, NR columns. */
INLINE void fetch(const struct gemm_to *to, size_t m0, size_t m, size_t n0) {
    for (int k = 0; k < 2 && to->at[k]; k++)
        for (size_t r = m0; r < m0 + m; r++)
            for (size_t n = 0; n < NR; n += to->bf16 ? 32 : 16)
                __builtin_prefetch(at(to->at[k], r * to->ld + n0 + n, to->bf16), 1);
}

/* Rows i … end of the part by its columns j … j + n. */
static void tile(const struct product *p, const struct part *o, float *scratch, size_t i,
                 size_t end, size_t j, size_t n, const struct gemm_to *to) {
    size_t wide = round_up(n, NR), blocks = k_blocks(p), ld = p->c ? p->ldc : wide;
    float *first = p->c ? p->c + (o->m0 + i) * ld + o->n0 + j : scratch + p->mr * p->kc;
    for (size_t kb = o->k0; kb < o->k0 + o->k; kb++) {
        struct k_block b = k_block(p, kb);
        const float *right = right_at(p, o, &b, j);
        bool last = kb + 1 == blocks;
        for (size_t r = i, mr = p->mr; r < end; r += mr) {
            struct left a = panel_of(p, o, &b, r, scratch), next = a;
            if (r + mr < end && (p->left || o->m0 + r + 2 * mr <= p->M))
                next = panel_of(p, o, &b, r + mr, scratch);
            float *sum = blocks > 1 ? first + (r - i) * ld : first;
            size_t m = end - r < mr ? end - r : mr;
            size_t lines = (panel_lines(&a, b.n) * NR + wide - 1) / wide; /* asked for per tile */
            for (size_t c = 0; c < wide; c += NR) {
                if (p->amx) { /* its loads run ahead by themselves */
                    gemm_amx_tile(sum + c, ld, &a, right + c * p->kc, NR, b.n, kb > 0);
                    continue;
                }
                if (last) fetch(to, o->m0 + r, m, o->n0 + j + c);
                fetch_panel(&next, c / NR * lines, (c / NR + 1) * lines);
                micro(sum + c, ld, &a, right + c * p->kc, b.n, kb > 0, p->unit == 2);
            }
            if (last) to->out(to->ctx, sum, ld, o->m0 + r, m, o->n0 + j, n);
        }
    }
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
        tile(p, o, scratch, edge(p, o->m, i), edge(p, o->m, i + 1), j,
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
                if (m0 == 0 && !packed) pack_right(p, &o);
                if (p->left) pack_left(p, &o);
#pragma omp barrier
                run_part(p, &o, scratch, to);
            }
}

enum { PART_OF_B = 1 << 22, PART_OF_A = 1 << 21 }; /* elements packed at a time, about */

bool gemm_packs_whole(size_t K, size_t N) {
    return K * N <= PART_OF_B;
}

/* Cuts the product in parts and finds room for them. False: no memory. */
static bool plan_parts(struct device *d, struct product *p, enum cpu_work pack, bool in_place) {
    size_t blocks = k_blocks(p);
    p->part_m = p->M, p->part_n = p->N, p->part_k = blocks;
    if (!gemm_packs_whole(p->K, p->N) && p->N >= p->K)
        p->part_n = even_parts(p->N, PART_OF_B / p->K + NR, NR);
    else if (!gemm_packs_whole(p->K, p->N))
        p->part_k = PART_OF_B / (p->N * p->kc) + 1;
    size_t units = p->part_k * p->kc;
    p->right = cpu_work(d, pack, units * round_up(p->part_n, NR) * sizeof *p->right);
    if (!in_place) {
        if (p->M * units > PART_OF_A)
            p->part_m = even_parts(p->M, PART_OF_A / units + p->mr, p->mr);
        p->left = cpu_work(d, WORK_LEFT, round_up(p->part_m, p->mr) * units * sizeof *p->left);
        if (!p->left) return false;
    }
    if (p->part_k < blocks) {
        p->ldc = round_up(p->N, NR);
        p->c = cpu_work(d, WORK_SUMS, round_up(p->M, p->mr) * p->ldc * sizeof *p->c);
        if (!p->c) return false;
    }
    return p->right != NULL;
}

/* True if the kernel can read A where it is: units must be what is in memory, and rows must not
 * share the sets of L1. */
static bool in_place(const struct product *p) {
    const struct matrix *a = &p->a;
    if (a->across || a->ld / p->unit % 512 == 0) return false;
    if (p->unit == 1) return !a->bf16;
    return a->ld % 2 == 0 && (a->padded || p->K % (p->amx ? 2 * AMX_UNITS : 2) == 0);
}

void gemm_run(struct device *d, size_t M, size_t N, size_t K, const struct matrix *a,
              const struct matrix *b, enum cpu_work pack, bool packed, const struct gemm_to *to) {
    if (M == 0 || N == 0) return;
    struct product p = {.M = M, .N = N, .K = K, .a = *a, .b = *b};
    p.units = gemm_units(K, a->bf16);
    p.unit = a->bf16 && ISA_LEVEL == 3 ? 2 : 1;
    p.amx = d->amx && p.unit == 2;
    p.mr = p.amx ? AMX_MR : MR;
    p.kc = p.amx ? round_up(gemm_kc(p.units, AMX_KC), AMX_UNITS) : gemm_kc(p.units, GEMM_KC);
    size_t most_m = p.amx ? AMX_MC : GEMM_MC, most_n = p.amx ? AMX_NC : GEMM_NC;
    size_t per_thread = p.mr * p.kc + most_m * most_n, threads = (size_t)d->threads;
    float *scratch = cpu_work(d, WORK_THREAD, threads * per_thread * sizeof *scratch);
    if (!scratch || !plan_parts(d, &p, pack, in_place(&p))) return;
    choose_tiles(&p, p.part_m, p.part_n, most_m, most_n, threads);
#pragma omp parallel num_threads(d->threads)
    {
        if (p.amx) gemm_amx_begin();
        run_parts(&p, scratch + (size_t)omp_get_thread_num() * per_thread, packed, to);
        if (p.amx) gemm_amx_end();
    }
}
