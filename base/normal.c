/* Normal numbers: see normal.h. Blocks are computed LANES at a time, every step as a loop over
 * lanes that compilers turn into vectors; the formula one number at a time is normal_plain(). */
#include "base/normal.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include "base/rng.h"

enum { LANES = 32, NUMBERS = 4 * LANES };

/* The same source twice: for vectors that every processor of the kind has, and for AVX2's. */
#define INLINE static inline __attribute__((always_inline))

/* A batch: blocks first … first + LANES - 1 of a stream. */
struct words {
    uint32_t v[4][LANES];
};

/* philox() of rng.h, lane by lane. */
INLINE void draw(struct words *w, uint64_t key, uint64_t stream, uint64_t first) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32), *c0 = w->v[0], *c1 = w->v[1],
             *c2 = w->v[2], *c3 = w->v[3];
    for (int l = 0; l < LANES; l++) {
        c0[l] = (uint32_t)(first + (uint64_t)l);
        c1[l] = (uint32_t)((first + (uint64_t)l) >> 32);
        c2[l] = (uint32_t)stream;
        c3[l] = (uint32_t)(stream >> 32);
    }
    for (int round = 0; round < 10; round++) {
        for (int l = 0; l < LANES; l++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0[l], p1 = (uint64_t)0xCD9E8D57u * c2[l];
            uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1[l] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3[l] ^ k1;
            c1[l] = (uint32_t)p1;
            c3[l] = (uint32_t)p0;
            c0[l] = n0;
            c2[l] = n2;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* -2 ln((v + 1/2) / 2^32): x = v + 1/2 = 2^e m with m from sqrt(1/2) to sqrt(2), and the series of
 * ln m = 2 artanh((m - 1) / (m + 1)), whose 8 terms leave 2e-14 of it. */
INLINE double minus_two_log(uint32_t v) {
    double x = (double)v + 0.5, m;
    uint64_t bits, above;
    memcpy(&bits, &x, sizeof bits);
    above = (bits & 0xFFFFFFFFFFFFF) > 0x6A09E667F3BCC; /* m > sqrt(2): one half of it instead */
    double e = (double)(int32_t)((bits >> 52) + above) - (1023 + 32);
    bits = (bits & 0xFFFFFFFFFFFFF) | (1023 - above) << 52;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1) / (m + 1), q = s * s;
    double series =
        1 + q * (1.0 / 3 +
                 q * (1.0 / 5 +
                      q * (1.0 / 7 + q * (1.0 / 9 + q * (1.0 / 11 + q * (1.0 / 13 + q / 15))))));
    return -2 * (e * 0.693147180559945309417 + 2 * s * series);
}

/* cos and sin of 2 pi v / 2^32: to the nearest quarter turn, and the series of what is left, at
 * most an eighth of a turn: 7 terms leave 2e-14. */
INLINE void turn(uint32_t v, double *ret_cos, double *ret_sin) {
    uint32_t quarter = (v + (1u << 29)) >> 30;
    double t = (double)(int32_t)(v - (quarter << 30)) * (6.283185307179586476925 * 0x1p-32),
           q = t * t;
    double c =
        1 + q * (-1.0 / 2 +
                 q * (1.0 / 24 +
                      q * (-1.0 / 720 +
                           q * (1.0 / 40320 + q * (-1.0 / 3628800 +
                                                   q * (1.0 / 479001600 - q / 87178291200.0))))));
    double s =
        t * (1 + q * (-1.0 / 6 +
                      q * (1.0 / 120 +
                           q * (-1.0 / 5040 +
                                q * (1.0 / 362880 + q * (-1.0 / 39916800 + q / 6227020800.0))))));
    double a = quarter & 1 ? s : c, b = quarter & 1 ? c : s;
    *ret_cos = (quarter + 1) & 2 ? -a : a;
    *ret_sin = quarter & 2 ? -b : b;
}

/* All numbers of a batch, in order. */
INLINE void batch(uint64_t key, uint64_t stream, uint64_t first, double scale, float out[NUMBERS]) {
    struct words w;
    draw(&w, key, stream, first);
    for (int half = 0; half < 2; half++) {
        double r[LANES], c[LANES], s[LANES];
        for (int l = 0; l < LANES; l++) r[l] = minus_two_log(w.v[2 * half][l]);
        for (int l = 0; l < LANES; l++) r[l] = scale * sqrt(r[l]);
        for (int l = 0; l < LANES; l++) turn(w.v[2 * half + 1][l], &c[l], &s[l]);
        for (int l = 0; l < LANES; l++) {
            out[4 * l + 2 * half] = (float)(r[l] * c[l]);
            out[4 * l + 2 * half + 1] = (float)(r[l] * s[l]);
        }
    }
}

typedef void (*batch_fn)(uint64_t key, uint64_t stream, uint64_t first, double scale, float *out);

static void batch_any(uint64_t key, uint64_t stream, uint64_t first, double scale, float *out) {
    batch(key, stream, first, scale, out);
}

#if defined __x86_64__
__attribute__((target("avx2"))) static void batch_avx2(uint64_t key, uint64_t stream,
                                                       uint64_t first, double scale, float *out) {
    batch(key, stream, first, scale, out);
}

static batch_fn best(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") ? batch_avx2 : batch_any;
}
#else
static batch_fn best(void) {
    return batch_any;
}
#endif

static void fill(batch_fn f, uint64_t key, uint64_t stream, uint64_t at, size_t n, double scale,
                 float *out) {
    float whole[NUMBERS];
    while (n) {
        size_t skip = (size_t)(at % 4), take = NUMBERS - skip < n ? NUMBERS - skip : n;
        bool straight = !skip && take == NUMBERS;
        f(key, stream, at / 4, scale, straight ? out : whole);
        if (!straight) memcpy(out, whole + skip, take * sizeof *out);
        at += take;
        out += take;
        n -= take;
    }
}

void normals(uint64_t key, uint64_t stream, uint64_t at, size_t n, double scale, float *out) {
    fill(best(), key, stream, at, n, scale, out);
}

void normals_any(uint64_t key, uint64_t stream, uint64_t at, size_t n, double scale, float *out) {
    fill(batch_any, key, stream, at, n, scale, out);
}

double normal_plain(uint64_t key, uint64_t stream, uint64_t e) {
    struct philox_out o = philox(key, e / 4, stream);
    const uint32_t *v = o.v + (e & 2);
    double r = sqrt(-2 * log(((double)v[0] + 0.5) * 0x1p-32));
    double a = 6.283185307179586476925 * 0x1p-32 * (double)v[1];
    return r * (e & 1 ? sin(a) : cos(a));
}
