/* See few.h.
 *
 *   x w      K is cut into fixed parts; a thread takes whole rows of w, eight at a time, and adds
 *            them, times x, to the part's sums, which stay in L1:
 *
 *              part 0  ▒▒▒▒▒▒▒▒▒▒▒▒▒▒  ─▶ sums 0 (rows,N) ┐
 *              part 1  ▒▒▒▒▒▒▒▒▒▒▒▒▒▒  ─▶ sums 1          ├─▶ added in the parts' order ─▶ out
 *              …                                          ┘
 *
 *            Parts depend on K alone, so that the number of threads changes no bit. (Strips of a
 *            few columns down all of K need no second pass, but read 128 bytes here and there,
 *            which the hardware does not fetch ahead: half the bandwidth or less.)
 *   x w^T    each column's sum is the dot product of two rows in memory. */
#include "train/cpu/few.h"

enum {
    PARTS = 16,      /* of K, at most                                       */
    PART_ROWS = 32,  /* at least, but for the last                          */
    L1_SUMS = 4096,  /* floats of sums a thread adds to at a time           */
    COLUMNS = 8 * VL /* columns of the second pass                          */
};

struct few {
    const void *x, *w;
    size_t rows, K, N;
    float *sums; /* (parts, rows, ld) */
    size_t parts, ld;
    bool bf16;
};

/* sum[r][0 … n) += x[r][k …] times `group` rows of w from row k, column n0 on. */
INLINE void add_group(const struct few *f, float *sum, size_t k, size_t n0, size_t n, size_t rows,
                      size_t group, bool bf16) {
    vf x[FEW_ROWS][8];
    const void *w[8];
    for (size_t g = 0; g < group; g++) {
        w[g] = at(f->w, (k + g) * f->N + n0, bf16);
        for (size_t r = 0; r < rows; r++) x[r][g] = vf_all(ld(f->x, r * f->K + k + g, 1, bf16)[0]);
    }
    const size_t bytes = bf16 ? 2 : 4, next = group * f->N * bytes;
    size_t whole = n / VL * VL;
    for (size_t j = 0; j < whole; j += VL) {
        for (size_t g = 0; j * bytes % 64 == 0 && g < group; g++)
            __builtin_prefetch((const char *)w[g] + j * bytes + next);
        for (size_t r = 0; r < rows; r++) {
            vf s = ldf(sum + r * f->ld + j);
            for (size_t g = 0; g < group; g++) s += x[r][g] * ld(w[g], j, VL, bf16);
            stf(sum + r * f->ld + j, s);
        }
    }
    for (size_t r = 0; whole < n && r < rows; r++) {
        vf s = ldf(sum + r * f->ld + whole);
        for (size_t g = 0; g < group; g++) s += x[r][g] * ld(w[g], whole, (int)(n - whole), bf16);
        stf(sum + r * f->ld + whole, s);
    }
}

/* Rows k0 … k1 of w, columns n0 … n0 + n. */
INLINE void add_part(const struct few *f, float *sum, size_t k0, size_t k1, size_t n0, size_t n,
                     bool bf16) {
    size_t k = k0;
    for (size_t r = 0; r < f->rows; r++) memset(sum + r * f->ld, 0, round_up(n, VL) * sizeof *sum);
    if (f->rows == 1)
        for (; k + 8 <= k1; k += 8) add_group(f, sum, k, n0, n, 1, 8, bf16);
    for (; k + 4 <= k1; k += 4) add_group(f, sum, k, n0, n, f->rows, 4, bf16);
    for (; k < k1; k++) add_group(f, sum, k, n0, n, f->rows, 1, bf16);
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

/* Columns n0 … n0 + n (at most VL) of `rows` rows; x is fp32. */
INLINE void dot_rows(float *to, size_t ld_to, const float *x, const void *w, size_t K, size_t n0,
                     size_t n, size_t rows, bool bf16) {
    vf sums[FEW_ROWS][VL];
    size_t whole = K / (2 * VL) * (2 * VL);
    for (size_t i = 0; i < VL; i++) {
        vf s[FEW_ROWS][2];
        size_t e = (n0 + (i < n ? i : 0)) * K;
        for (size_t r = 0; r < rows; r++) s[r][0] = s[r][1] = (vf){0};
        for (size_t k = 0; k < whole; k += 2 * VL) {
            vf w0 = ld(w, e + k, VL, bf16), w1 = ld(w, e + k + VL, VL, bf16);
            for (size_t r = 0; r < rows; r++) {
                s[r][0] += w0 * ldf(x + r * K + k);
                s[r][1] += w1 * ldf(x + r * K + k + VL);
            }
        }
        for (size_t k = whole; k < K; k += VL) {
            int l = lanes(k, K);
            vf w0 = ld(w, e + k, l, bf16);
            for (size_t r = 0; r < rows; r++) s[r][0] += w0 * ld(x, r * K + k, l, false);
        }
        for (size_t r = 0; r < rows; r++) sums[r][i] = s[r][0] + s[r][1];
    }
    for (size_t r = 0; r < rows; r++) st(to, r * ld_to + n0, (int)n, false, vf_sums(sums[r]));
}

INLINE void dot_all(float *to, size_t N, const float *x, const void *w, size_t rows, size_t K,
                    size_t n0, size_t n, bool bf16) {
    size_t r = 0;
    for (; r + 4 <= rows; r += 4) dot_rows(to + r * N, N, x + r * K, w, K, n0, n, 4, bf16);
    for (; r < rows; r++) dot_rows(to + r * N, N, x + r * K, w, K, n0, n, 1, bf16);
}

void few_across(struct device *d, float *to, const void *x, const void *w, size_t rows, size_t K,
                size_t N) {
    float *wide = cpu_work(d, WORK_SUMS, rows * K * sizeof *wide);
    if (!wide) return;
    for (size_t i = 0; i < rows * K; i += VL) {
        int l = lanes(i, rows * K);
        st(wide, i, l, false, ld(x, i, l, d->bf16));
    }
#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (size_t n0 = 0; n0 < N; n0 += VL) {
        size_t n = N - n0 < VL ? N - n0 : VL;
        if (d->bf16)
            dot_all(to, N, wide, w, rows, K, n0, n, true);
        else
            dot_all(to, N, wide, w, rows, K, n0, n, false);
    }
}
