/* See few.h.
 *
 *   x w      K is cut into fixed parts; a thread takes whole rows of w, eight at a time, and adds
 *            them, times x, to the part's sums, which stay in L1. The eight are not neighbours but
 *            lie an eighth of the part apart, so that they are eight long runs through memory:
 *
 *              part 0  ▒▒▒▒▒▒▒▒▒▒▒▒▒▒  ─▶ sums 0 (rows,N) ┐
 *              part 1  ▒▒▒▒▒▒▒▒▒▒▒▒▒▒  ─▶ sums 1          ├─▶ added in the parts' order ─▶ out
 *              …                                          ┘
 *
 *            Parts depend on K alone, so that the number of threads changes no bit. (Strips of a
 *            few columns down all of K need no second pass, but read 128 bytes here and there,
 *            which the hardware does not fetch ahead: half the bandwidth or less.)
 *   x w^T    each column's sum is the dot product of two rows in memory; eight columns at a time,
 *            an eighth of a thread's share apart. */
#include "train/cpu/few.h"

enum {
    PARTS = 16,                      /* of K, at most                                         */
    PART_ROWS = 32,                  /* at least, but for the last                            */
    L1_SUMS = 4096,                  /* floats of sums a thread adds to at a time             */
    COLUMNS = 8 * VL,                /* columns of the second pass                            */
    RUNS = 8,                        /* places in memory that are read in turns               */
    ROWS_AT_ONCE = 4,                /* of x; what is left goes one by one                    */
    RUNS_OF_ROWS = VL == 16 ? 4 : 2, /* of x w^T for so many rows: all sums are in registers  */
    AHEAD = 512                      /* bytes: where in a run the lines lie that are asked for */
};

_Static_assert((int)RUNS_OF_ROWS *(int)ROWS_AT_ONCE >= (int)RUNS, "room for one row's sums");

struct few {
    const void *x, *w;
    size_t rows, K, N;
    float *sums; /* (parts, rows, ld) */
    size_t parts, ld;
    bool bf16;
};

/* ------------------------------------------------------------------ x w */

/* A vector of columns of add_group(). */
INLINE void add_columns(float *sum, size_t ld_sum, vf x[][RUNS], const void **w, size_t j, int n,
                        size_t rows, size_t group, bool bf16) {
    vf s[ROWS_AT_ONCE];
    for (size_t r = 0; r < rows; r++) s[r] = ldf(sum + r * ld_sum);
    for (size_t g = 0; g < group; g++) {
        vf wide = ld(w[g], j, n, bf16);
        for (size_t r = 0; r < rows; r++) s[r] += x[r][g] * wide;
    }
    for (size_t r = 0; r < rows; r++) stf(sum + r * ld_sum, s[r]);
}

/* Of `rows` rows from r0 on: sum[r][0 … n) += x[r][k …] times `group` rows of w, the first of them
 * row k, `apart` rows apart, from column n0 on. */
INLINE void add_group(const struct few *f, float *sum, size_t r0, size_t rows, size_t k,
                      size_t apart, size_t n0, size_t n, size_t group, bool bf16) {
    const size_t line = bf16 ? 32 : 16; /* columns */
    vf x[ROWS_AT_ONCE][RUNS];
    const void *w[RUNS];
    size_t j = 0;
    for (size_t g = 0; g < group; g++) {
        w[g] = at(f->w, (k + g * apart) * f->N + n0, bf16);
        for (size_t r = 0; r < rows; r++)
            x[r][g] = vf_all(ld(f->x, (r0 + r) * f->K + k + g * apart, 1, bf16)[0]);
    }
    for (; j + line <= n; j += line) {
        for (size_t g = 0; g < group; g++)
            __builtin_prefetch((const char *)at(w[g], j, bf16) + AHEAD);
        for (size_t i = j; i < j + line; i += VL)
            add_columns(sum + r0 * f->ld + i, f->ld, x, w, i, VL, rows, group, bf16);
    }
    for (; j < n; j += VL)
        add_columns(sum + r0 * f->ld + j, f->ld, x, w, j, lanes(j, n), rows, group, bf16);
}

/* The same of all rows, for all RUNS rows of w. Each row's sums are made in the same order. */
INLINE void add_runs(const struct few *f, float *sum, size_t k, size_t apart, size_t n0, size_t n,
                     bool bf16) {
    const size_t half = RUNS / 2;
    size_t r = 0;
    for (; r + ROWS_AT_ONCE <= f->rows; r += ROWS_AT_ONCE) {
        add_group(f, sum, r, ROWS_AT_ONCE, k, apart, n0, n, half, bf16);
        add_group(f, sum, r, ROWS_AT_ONCE, k + half * apart, apart, n0, n, half, bf16);
    }
    for (; r < f->rows; r++) add_group(f, sum, r, 1, k, apart, n0, n, RUNS, bf16);
}

/* Rows k0 … k1 of w, columns n0 … n0 + n. */
INLINE void add_part(const struct few *f, float *sum, size_t k0, size_t k1, size_t n0, size_t n,
                     bool bf16) {
    size_t apart = (k1 - k0) / RUNS;
    for (size_t r = 0; r < f->rows; r++) memset(sum + r * f->ld, 0, round_up(n, VL) * sizeof *sum);
    for (size_t k = k0; k < k0 + apart; k++) add_runs(f, sum, k, apart, n0, n, bf16);
    for (size_t k = k0 + RUNS * apart; k < k1; k++)
        for (size_t r = 0; r < f->rows; r++) add_group(f, sum, r, 1, k, 0, n0, n, 1, bf16);
}

static void add_up(const struct few *f, size_t n0, few_out out, const void *ctx) {
    float tile[FEW_ROWS * COLUMNS];
    size_t n = f->N - n0 < COLUMNS ? f->N - n0 : COLUMNS;
    for (size_t r = 0; r < f->rows; r++)
        for (size_t j = 0; j < round_up(n, VL); j += VL) {
            vf s = ldf(f->sums + r * f->ld + n0 + j);
            for (size_t p = 1; p < f->parts; p++)
                s += ldf(f->sums + (p * f->rows + r) * f->ld + n0 + j);
            stf(tile + r * COLUMNS + j, s);
        }
    out(ctx, tile, COLUMNS, 0, f->rows, n0, n);
}

void few_along(struct device *d, const void *x, const void *w, size_t rows, size_t K, size_t N,
               few_out out, const void *ctx) {
    struct few f = {x,      w, rows, K, N, NULL, (K + PART_ROWS - 1) / PART_ROWS, round_up(N, 16),
                    d->bf16};
    if (f.parts > PARTS) f.parts = PARTS;
    if (f.parts == 0) f.parts = 1;
    f.sums = cpu_work(d, WORK_SUMS, f.parts * rows * f.ld * sizeof(float));
    if (!f.sums) return;
    size_t slab = L1_SUMS / rows / 64 * 64, slabs = (N + slab - 1) / slab;
#pragma omp parallel num_threads(d->threads)
    {
#pragma omp for schedule(static)
        for (size_t i = 0; i < f.parts * slabs; i++) {
            size_t p = i / slabs, n0 = i % slabs * slab, n = N - n0 < slab ? N - n0 : slab;
            size_t k0 = p * K / f.parts, k1 = (p + 1) * K / f.parts;
            float *sum = f.sums + p * rows * f.ld + n0;
            if (f.bf16)
                add_part(&f, sum, k0, k1, n0, n, true);
            else
                add_part(&f, sum, k0, k1, n0, n, false);
        }
#pragma omp for schedule(static) nowait
        for (size_t n0 = 0; n0 < N; n0 += COLUMNS) add_up(&f, n0, out, ctx);
    }
}

/* ------------------------------------------------------------------ x w^T */

/* to[r][n0 + g apart … ) = n columns (at most VL) of each of `runs`, of `rows` rows; x is fp32. */
INLINE void dot_columns(float *to, size_t ld_to, const float *x, const void *w, size_t K, size_t n0,
                        size_t n, size_t apart, size_t rows, size_t runs, bool bf16) {
    const size_t line = bf16 ? 32 : 16; /* elements */
    vf sums[RUNS_OF_ROWS * ROWS_AT_ONCE][VL];
    for (size_t i = 0; i < n; i++) {
        vf s[RUNS_OF_ROWS * ROWS_AT_ONCE];
        const void *v[RUNS];
        size_t k = 0;
        for (size_t g = 0; g < runs; g++) v[g] = at(w, (n0 + i + g * apart) * K, bf16);
        for (size_t g = 0; g < runs * rows; g++) s[g] = (vf){0};
        for (; k + line <= K; k += line) {
            for (size_t g = 0; g < runs; g++)
                __builtin_prefetch((const char *)at(v[g], k, bf16) + AHEAD);
            for (size_t e = k; e < k + line; e += VL)
                for (size_t g = 0; g < runs; g++) {
                    vf wide = ld(v[g], e, VL, bf16);
                    for (size_t r = 0; r < rows; r++) s[g * rows + r] += wide * ldf(x + r * K + e);
                }
        }
        for (; k < K; k += VL) {
            int l = lanes(k, K);
            for (size_t g = 0; g < runs; g++) {
                vf wide = ld(v[g], k, l, bf16);
                for (size_t r = 0; r < rows; r++)
                    s[g * rows + r] += wide * ld(x, r * K + k, l, false);
            }
        }
        for (size_t g = 0; g < runs * rows; g++) sums[g][i] = s[g];
    }
    for (size_t g = 0; g < runs; g++)
        for (size_t r = 0; r < rows; r++) {
            vf *s = sums[g * rows + r];
            for (size_t i = n; i < VL; i++) s[i] = (vf){0};
            st(to, r * ld_to + n0 + g * apart, (int)n, false, vf_sums(s));
        }
}

/* The same of any number of rows. */
INLINE void dot_rows(float *to, size_t N, const float *x, const void *w, size_t rows, size_t K,
                     size_t n0, size_t n, size_t apart, size_t runs, bool bf16) {
    size_t r = 0;
    for (; r + ROWS_AT_ONCE <= rows; r += ROWS_AT_ONCE)
        dot_columns(to + r * N, N, x + r * K, w, K, n0, n, apart, ROWS_AT_ONCE, runs, bf16);
    for (; r < rows; r++) dot_columns(to + r * N, N, x + r * K, w, K, n0, n, apart, 1, runs, bf16);
}

/* Columns n0 … n1. */
INLINE void dot_share(float *to, size_t N, const float *x, const void *w, size_t rows, size_t K,
                      size_t n0, size_t n1, bool bf16) {
    size_t runs = rows == 1 ? RUNS : RUNS_OF_ROWS, apart = (n1 - n0) / runs;
    for (size_t i = 0; i < apart; i += VL) {
        size_t n = apart - i < VL ? apart - i : VL;
        if (rows == 1)
            dot_columns(to, N, x, w, K, n0 + i, n, apart, 1, RUNS, bf16);
        else
            dot_rows(to, N, x, w, rows, K, n0 + i, n, apart, RUNS_OF_ROWS, bf16);
    }
    for (size_t i = n0 + runs * apart; i < n1; i += VL)
        dot_rows(to, N, x, w, rows, K, i, n1 - i < VL ? n1 - i : VL, 0, 1, bf16);
}

void few_across(struct device *d, float *to, const void *x, const void *w, size_t rows, size_t K,
                size_t N) {
    float *wide = cpu_work(d, WORK_SUMS, rows * K * sizeof *wide);
    if (!wide) return;
    for (size_t i = 0; i < rows * K; i += VL) {
        int l = lanes(i, rows * K);
        st(wide, i, l, false, ld(x, i, l, d->bf16));
    }
#pragma omp parallel num_threads(d->threads)
    {
        size_t me = (size_t)omp_get_thread_num(), team = (size_t)omp_get_num_threads();
        size_t n0 = N * me / team, n1 = N * (me + 1) / team;
        if (d->bf16)
            dot_share(to, N, wide, w, rows, K, n0, n1, true);
        else
            dot_share(to, N, wide, w, rows, K, n0, n1, false);
    }
}
