/* The AVX-512 instructions that the tree asks for by name, in plain C. Included before everything
 * else (-include) it takes their names, so that the very sources of train/cpu, stream and tokenizer
 * run at their AVX-512 levels on any x86-64:
 *
 *   train/cpu/gemm.h     _mm512_dpbf16_ps(…) ─▶ avx512_dpbf16_ps(…)    sixteen lanes, one by one
 *
 * The rest of those sources is vectors of the compiler, which splits what the processor lacks.
 * Everything is as "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 2, has it
 * under the instruction's name, but for the payloads of NaNs and flags of exceptions, which nothing
 * here looks at. check_instructions.c holds it against a processor that has them. */
#ifndef LORY_TESTS_AVX512_INSTRUCTIONS_H
#define LORY_TESTS_AVX512_INSTRUCTIONS_H

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef union {
    __m512 ps;
    __m512i si;
    __m512bh bh;
    float f[16];
    uint32_t u[16];
    uint64_t q[8];
    uint8_t b[64];
} zmm;

#define TWIN static inline __attribute__((always_inline, unused))
/* A tile has hundreds. (Not beside the processor's own: functions that are compiled for it hand
 * vectors over in its registers, those for less in memory.) */
#ifdef AVX512_TWINS_ONLY
#define LONG_TWIN TWIN
#else
#define LONG_TWIN static __attribute__((noinline, unused))
#endif
#define EACH(N)   for (int i = 0; i < (N); i++)
#define BIT(mask) ((mask) >> i & 1)
#define MASK8(IS)                                                                                  \
    __mmask64 mask = 0;                                                                            \
    EACH(64) mask |= (__mmask64)(IS) << i;                                                         \
    return mask

/* ---- moves ---- */

TWIN __m512 avx512_set1_ps(float x) {
    zmm r;
    EACH(16) r.f[i] = x;
    return r.ps;
}
TWIN __m512i avx512_set1_epi64(long long x) {
    zmm r;
    EACH(8) r.q[i] = (uint64_t)x;
    return r.si;
}
TWIN __m512i avx512_set1_epi8(char x) {
    zmm r;
    EACH(64) r.b[i] = (uint8_t)x;
    return r.si;
}
TWIN __m512i avx512_loadu_si512(const void *p) {
    zmm r;
    memcpy(&r, p, sizeof r);
    return r.si;
}
TWIN void avx512_storeu_si512(void *p, __m512i a) {
    memcpy(p, &a, sizeof a);
}
/* Bytes whose bit is 0 are not read, and so may lie where there is no memory. */
TWIN __m512i avx512_maskz_loadu_epi8(__mmask64 k, const void *p) {
    zmm r;
    EACH(64) r.b[i] = BIT(k) ? ((const uint8_t *)p)[i] : 0;
    return r.si;
}
TWIN __m512i avx512_mask_mov_epi8(__m512i from, __mmask64 k, __m512i a) {
    zmm r = {.si = from}, x = {.si = a};
    EACH(64) r.b[i] = BIT(k) ? x.b[i] : r.b[i];
    return r.si;
}

TWIN __m512i avx512_cvtepu16_epi32(__m256i a) {
    zmm r;
    uint16_t h[16];
    memcpy(h, &a, sizeof h);
    EACH(16) r.u[i] = h[i];
    return r.si;
}

/* ---- bytes ---- */

TWIN __mmask64 avx512_movepi8_mask(__m512i a) {
    zmm x = {.si = a};
    MASK8(x.b[i] >> 7);
}
TWIN __mmask64 avx512_test_epi8_mask(__m512i a, __m512i b) {
    zmm x = {.si = a}, y = {.si = b};
    MASK8((x.b[i] & y.b[i]) != 0);
}
TWIN __mmask64 avx512_testn_epi8_mask(__m512i a, __m512i b) {
    zmm x = {.si = a}, y = {.si = b};
    MASK8((x.b[i] & y.b[i]) == 0);
}
TWIN __mmask64 avx512_cmpeq_epi8_mask(__m512i a, __m512i b) {
    zmm x = {.si = a}, y = {.si = b};
    MASK8(x.b[i] == y.b[i]);
}
TWIN __mmask64 avx512_cmplt_epu8_mask(__m512i a, __m512i b) {
    zmm x = {.si = a}, y = {.si = b};
    MASK8(x.b[i] < y.b[i]);
}
/* Of 128 bytes, those at `at`, by its lower seven bits. */
LONG_TWIN __m512i avx512_permutex2var_epi8(__m512i low, __m512i at, __m512i high) {
    zmm r, x = {.si = at}, both[2] = {{.si = low}, {.si = high}};
    EACH(64) r.b[i] = both[x.b[i] >> 6 & 1].b[x.b[i] & 63];
    return r.si;
}
/* The bytes whose bit is 1, one behind the other; zeros behind them. */
LONG_TWIN __m512i avx512_maskz_compress_epi8(__mmask64 k, __m512i a) {
    zmm r = {.q = {0}}, x = {.si = a};
    int n = 0;
    EACH(64) if (BIT(k)) r.b[n++] = x.b[i];
    return r.si;
}

/* ---- numbers ---- */

/* The second one where both are zeros or one is NaN. */
TWIN __m512 avx512_max_ps(__m512 a, __m512 b) {
    zmm x = {.ps = a}, y = {.ps = b};
    EACH(16) x.f[i] = x.f[i] > y.f[i] ? x.f[i] : y.f[i];
    return x.ps;
}
TWIN __m512 avx512_min_ps(__m512 a, __m512 b) {
    zmm x = {.ps = a}, y = {.ps = b};
    EACH(16) x.f[i] = x.f[i] < y.f[i] ? x.f[i] : y.f[i];
    return x.ps;
}
TWIN __m512 avx512_sqrt_ps(__m512 a) {
    zmm x = {.ps = a};
    EACH(16) x.f[i] = sqrtf(x.f[i]);
    return x.ps;
}
TWIN __m512i avx512_mul_epu32(__m512i a, __m512i b) {
    zmm x = {.si = a}, y = {.si = b};
    EACH(8) x.q[i] = (x.q[i] & UINT32_MAX) * (y.q[i] & UINT32_MAX);
    return x.si;
}
TWIN __mmask16 avx512_not_less_ps_mask(__m512 a, __m512 b) {
    zmm x = {.ps = a}, y = {.ps = b};
    unsigned mask = 0;
    EACH(16) mask |= (unsigned)!(x.f[i] < y.f[i]) << i;
    return (__mmask16)mask;
}
TWIN uint32_t avx512_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}
/* a 2^floor(b), rounded once: the product is exact as a double. */
TWIN float avx512_scale(float a, float b) {
    float whole = floorf(b), near = whole < -300 ? -300 : whole > 300 ? 300 : whole;
    uint64_t bits = (uint64_t)(1023 + (int64_t)(b == b ? near : 0)) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    if (b != b) return b + a;
    bool quiet = a != a && avx512_bits(a) >> 22 & 1; /* a NaN that 2^infinity overrules */
    if (isinf(b) && quiet) return b > 0 ? INFINITY : 0;
    if (isinf(b)) return b > 0 ? a * b : a * 0;
    return (float)(a * power);
}
LONG_TWIN __m512 avx512_maskz_scalef_ps(__mmask16 k, __m512 a, __m512 b) {
    zmm x = {.ps = a}, y = {.ps = b};
    EACH(16) x.f[i] = BIT(k) ? avx512_scale(x.f[i], y.f[i]) : 0;
    return x.ps;
}

/* ---- bf16 ---- */

/* Subnormal numbers become zeros of their sign. */
TWIN uint32_t avx512_flush(uint32_t u) {
    return u & 0x7f800000 ? u : u & 0x80000000;
}
TWIN float avx512_flushed(uint32_t u) {
    float f;
    u = avx512_flush(u);
    memcpy(&f, &u, sizeof f);
    return f;
}
/* VCVTNEPS2BF16: to the nearest, ties to even; subnormal numbers are zeros, NaNs become quiet. */
LONG_TWIN __m256bh avx512_cvtneps_pbh(__m512 a) {
    zmm x = {.ps = a};
    uint16_t h[16];
    __m256bh r;
    EACH(16) {
        uint32_t u = avx512_flush(x.u[i]), nan = (u & 0x7fffffff) > 0x7f800000;
        h[i] = (uint16_t)(nan ? u >> 16 | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16);
    }
    memcpy(&r, h, sizeof r);
    return r;
}
/* sum + a b, where a and b have the bits of bf16. Zero if it would be subnormal with 24 bits and
 * any exponent: fmaf(), whose numbers get coarser there, lifts some of those to 2^-126. */
TWIN float avx512_mul_add(float sum, uint32_t a, uint32_t b) {
    double product = (double)avx512_flushed(a) * avx512_flushed(b), all = sum + product;
    double of_product = all - sum, lost = (sum - (all - of_product)) + (product - of_product);
    const double least = 0x1p-126 - 0x1p-151; /* halfway to the number below: goes up */
    float r = fmaf(avx512_flushed(a), avx512_flushed(b), sum);
    bool lifted = fabs(all) < least || (fabs(all) == least && lost * all < 0);
    return lifted ? copysignf(0, r) : avx512_flushed(avx512_bits(r));
}
/* VDPBF16PS: two fused multiply-adds, that of the upper halves first. Subnormal numbers are zeros
 * on the way in, and results that would be subnormal become zeros, whatever MXCSR says. */
LONG_TWIN __m512 avx512_dpbf16_ps(__m512 acc, __m512bh a, __m512bh b) {
    zmm s = {.ps = acc}, x = {.bh = a}, y = {.bh = b};
    EACH(16) {
        float sum =
            avx512_mul_add(avx512_flushed(s.u[i]), x.u[i] & 0xffff0000, y.u[i] & 0xffff0000);
        s.f[i] = avx512_mul_add(sum, x.u[i] << 16, y.u[i] << 16);
    }
    return s.ps;
}

/* ---- matrix units: train/cpu/amx.h ---- */

/* One thread's registers. */
struct tmm {
    float f[8][16][16];
};

LONG_TWIN void amx_twin_load(struct tmm *t, int reg, const void *p, size_t bytes) {
    EACH(16) memcpy(t->f[reg][i], (const char *)p + (size_t)i * bytes, 64);
}
LONG_TWIN void amx_twin_store(const struct tmm *t, int reg, void *p, size_t bytes) {
    EACH(16) memcpy((char *)p + (size_t)i * bytes, t->f[reg][i], 64);
}
/* TDPBF16PS. Even and odd elements of K are summed apart, each with fused steps from zero, then
 * together; subnormal numbers as above. */
LONG_TWIN void amx_twin_mul_add(struct tmm *t, int sum, int a, int b) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float even = 0, odd = 0;
            for (int k = 0; k < 16; k++) {
                uint32_t x = avx512_bits(t->f[a][m][k]), y = avx512_bits(t->f[b][k][n]);
                even = avx512_mul_add(even, x << 16, y << 16);
                odd = avx512_mul_add(odd, x & 0xffff0000, y & 0xffff0000);
            }
            float both = avx512_flushed(avx512_bits(even + odd));
            float all = avx512_flushed(avx512_bits(t->f[sum][m][n])) + both;
            t->f[sum][m][n] = avx512_flushed(avx512_bits(all));
        }
}

#undef TWIN
#undef LONG_TWIN
#undef EACH
#undef BIT
#undef MASK8

/* The names, unless the twins are to be compared with what has them. */
#ifndef AVX512_TWINS_ONLY
#define LORY_TRAIN_CPU_AMX_H /* in its place */
struct tile_config {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
static _Thread_local struct tmm amx_twin_registers __attribute__((unused));
#define TILE_CONFIG(CONFIG)       (void)(CONFIG)
#define TILE_RELEASE()            (void)0
#define TILE_LOAD(REG, P, BYTES)  amx_twin_load(&amx_twin_registers, REG, P, BYTES)
#define TILE_STORE(REG, P, BYTES) amx_twin_store(&amx_twin_registers, REG, P, BYTES)
#define TILE_ZERO(REG)            memset(amx_twin_registers.f[REG], 0, 1024)
#define TILE_MUL_ADD(SUM, A, B)   amx_twin_mul_add(&amx_twin_registers, SUM, A, B)
static inline int amx_allowed(void) {
    return 1;
}

#undef _mm512_cmp_ps_mask
#define _mm512_set1_ps                    avx512_set1_ps
#define _mm512_set1_epi64                 avx512_set1_epi64
#define _mm512_set1_epi8                  avx512_set1_epi8
#define _mm512_loadu_si512                avx512_loadu_si512
#define _mm512_storeu_si512               avx512_storeu_si512
#define _mm512_maskz_loadu_epi8           avx512_maskz_loadu_epi8
#define _mm512_mask_mov_epi8              avx512_mask_mov_epi8
#define _mm512_cvtepu16_epi32             avx512_cvtepu16_epi32
#define _mm512_movepi8_mask               avx512_movepi8_mask
#define _mm512_test_epi8_mask             avx512_test_epi8_mask
#define _mm512_testn_epi8_mask            avx512_testn_epi8_mask
#define _mm512_cmpeq_epi8_mask            avx512_cmpeq_epi8_mask
#define _mm512_cmplt_epu8_mask            avx512_cmplt_epu8_mask
#define _mm512_permutex2var_epi8          avx512_permutex2var_epi8
#define _mm512_maskz_compress_epi8        avx512_maskz_compress_epi8
#define _mm512_max_ps                     avx512_max_ps
#define _mm512_min_ps                     avx512_min_ps
#define _mm512_sqrt_ps                    avx512_sqrt_ps
#define _mm512_mul_epu32                  avx512_mul_epu32
#define _mm512_cmp_ps_mask(a, b, how_NLT) avx512_not_less_ps_mask(a, b)
#define _mm512_maskz_scalef_ps            avx512_maskz_scalef_ps
#define _mm512_cvtneps_pbh                avx512_cvtneps_pbh
#define _mm512_dpbf16_ps                  avx512_dpbf16_ps

/* What chooses at run time takes the twins for instructions of a processor that can run them. */
#define __builtin_cpu_supports(isa) __builtin_cpu_supports("avx2")
#ifndef __AVX512VBMI2__
#define __AVX512VBMI2__ 1
#endif
#endif

#endif
