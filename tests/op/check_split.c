/* Products of fp32 by the matrix units (gemm_split.h): numbers keep all their bits, special ones
 * stay special, and errors are not those of bf16 but less than the vectors' own. Vectors have to
 * pass the same checks. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "train/cpu/cpu.h"

enum { M = 96, N = 80 }; /* both large enough for the units, and no whole panels */
static int failed;
static const struct backend *be;
static struct device *d;
static bool units;

static void expect(bool ok, const char *what, double got, double want) {
    if (ok) return;
    failed++;
    printf("%s, %s: %.9g, not %.9g\n", units ? "units" : "vectors", what, got, want);
}

static float of_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
static uint32_t random_bits(void) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}
/* Sums of twelve in [0, 1), less 6: near enough to normal. */
static float random_normal(void) {
    double s = -6;
    for (int i = 0; i < 12; i++) s += random_bits() * 0x1p-32;
    return (float)s;
}

static void *room(size_t n) {
    void *p;
    struct err err = {0};
    if (be->alloc(d, &p, n * sizeof(float), &err) < 0) puts(err.msg), exit(1);
    return p;
}
static void multiply(float *y, const float *x, const float *w, int rows, int K, int n) {
    be->linear_forward(d, y, NULL, x, w, NULL, rows, K, n, ACT_NONE);
}

/* x times one: every number from 2^-100 to the largest comes back, all bits of it. */
static void check_ones(void) {
    float *x = room(M * N), *y = room(M * N), *one = room((size_t)N * N);
    for (int i = 0; i < N; i++) one[i * N + i] = 1;
    for (int i = 0; i < M * N; i++)
        x[i] = of_bits((random_bits() & 0x807fffff) | (27 + random_bits() % 228) << 23);
    x[0] = FLT_MAX, x[N + 1] = -FLT_MAX, x[2 * N + 2] = of_bits(0x3f7fffff);
    x[3] = 0, x[4] = of_bits(0x3fffffff), x[5] = of_bits(0x3f808000), x[6] = of_bits(0x3f807fff);
    multiply(y, x, one, M, N, N);
    for (int i = 0; i < M * N; i++) expect(y[i] == x[i], "x times one", y[i], x[i]);
    be->free(d, x), be->free(d, y), be->free(d, one);
}

/* What is smaller loses bits, but no more than 2^-126 is off. */
static void check_small(void) {
    float *x = room(M * N), *y = room(M * N), *one = room((size_t)N * N);
    for (int i = 0; i < N; i++) one[i * N + i] = 1;
    for (int i = 0; i < M * N; i++)
        x[i] = of_bits((random_bits() & 0x807fffff) | random_bits() % 30 << 23);
    multiply(y, x, one, M, N, N);
    for (int i = 0; i < M * N; i++)
        expect(fabs((double)y[i] - (double)x[i]) <= 0x1p-125, "small x times one", y[i], x[i]);
    be->free(d, x), be->free(d, y), be->free(d, one);
}

/* A row with one NaN (whatever bits say so) or infinity is NaN or infinity, and no other is. */
static void check_special(void) {
    static const uint32_t special[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
                                       0x7fffffff, 0xffffffff, 0xff80ffff, 0x7f808000};
    enum { SPECIAL = sizeof special / sizeof *special };
    float *x = room(M * N), *y = room(M * N), *w = room((size_t)N * N);
    for (int i = 0; i < M * N; i++) x[i] = random_normal();
    for (int i = 0; i < N * N; i++) w[i] = random_normal();
    for (int i = 0; i < SPECIAL; i++) x[i * 11 * N + i * 9] = of_bits(special[i]);
    multiply(y, x, w, M, N, N);
    for (int i = 0; i < M * N; i++) {
        bool is = i / N % 11 == 0 && i / N / 11 < SPECIAL;
        expect(isfinite(y[i]) == !is, "a row with a special number", y[i], is ? NAN : 0);
    }
    memset(x, 0, sizeof(float) * M * N); /* of w, too: all of its column */
    w[7 * N + 5] = of_bits(0x7f800001);
    multiply(y, x, w, M, N, N);
    for (int i = 0; i < M * N; i++)
        expect(isnan(y[i]) == (i % N == 5), "a column with a NaN", y[i], 0);
    be->free(d, x), be->free(d, y), be->free(d, w);
}

/* Root mean square error of sums of K, in 2^-24 of the sums of magnitudes. `wide`: of numbers whose
 * sizes differ by 2^32; `positive`: of one sign, where what is left out does not cancel. */
static double error_of(int K, bool wide, bool positive) {
    size_t k = (size_t)K;
    float *x = room(M * k), *w = room(k * N), *y = room(M * N);
    for (size_t i = 0; i < (M + N) * k; i++) {
        float f = ldexpf(random_normal(), wide ? (int)(random_bits() % 32) - 16 : 0);
        *(i < M * k ? &x[i] : &w[i - M * k]) = positive ? fabsf(f) : f;
    }
    multiply(y, x, w, M, K, N);
    double all = 0;
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) {
            double sum = 0, size = 0;
            for (size_t i = 0; i < k; i++) {
                double p = (double)x[m * k + i] * (double)w[i * N + n];
                sum += p, size += fabs(p);
            }
            double e = (y[m * N + n] - sum) / size * 0x1p24;
            all += e * e;
        }
    be->free(d, x), be->free(d, w), be->free(d, y);
    return sqrt(all / (M * N));
}

static void check_errors(void) {
    static const int ks[] = {64, 160, 320, 1000, 3072};
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
        for (int kind = 0; kind < 3; kind++) {
            double e[2];
            for (int use = 0; use < 2; use++) {
                cpu_use_amx(d, use && units);
                e[use] = error_of(ks[i], kind == 1, kind == 2);
            }
            printf("K %d%s: errors of the vectors %.3f, %s %.3f\n", ks[i],
                   kind == 1   ? ", wide"
                   : kind == 2 ? ", one sign"
                               : "",
                   e[0], units ? "units" : "again", e[1]);
            expect(e[1] <= 1.1 * e[0], "errors", e[1], e[0]);
        }
    cpu_use_amx(d, units);
}

int main(void) {
    struct device_opts opts = {.dtype = DTYPE_F32, .threads = 1};
    struct err err = {0};
    be = backend_cpu();
    if (be->open(&d, &opts, &err) < 0) {
        puts(err.msg);
        return 1;
    }
    for (int use = 1; use >= 0; use--) {
        if (!cpu_use_amx(d, use)) continue;
        units = use;
        check_ones();
        check_small();
        check_special();
        check_errors();
    }
    be->close(d);
    return failed > 0;
}
