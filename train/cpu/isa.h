/* Vectors of the instruction set this file is compiled for, and the names it gives its functions.
 *
 * meson compiles the folder's files with -DISA=… and the matching flags:
 *
 *   ISA_LEVEL   name         VL   needs
 *   0           plain         4   nothing (SSE2 on x86-64, NEON on aarch64 through the compiler)
 *   1           avx2          8   AVX2, FMA
 *   2           avx512       16   AVX-512 F BW DQ VL
 *   3           avx512bf16   16   and AVX512_BF16
 *
 * The code is the compiler's generic vectors; intrinsics appear only for what those cannot say. */
#ifndef LORY_TRAIN_CPU_ISA_H
#define LORY_TRAIN_CPU_ISA_H

#include <math.h>
#include <string.h>
#include <omp.h>
#if ISA_LEVEL > 0
#include <immintrin.h>
#endif
#include "train/cpu/cpu.h"

#define ISA_PASTE2(name, isa) name##_##isa
#define ISA_PASTE(name, isa)  ISA_PASTE2(name, isa)
#define ISA_FN(name)          ISA_PASTE(name, ISA)

/* Functions that files share: name_avx512 and so on. */
#define dropout_row            ISA_FN(dropout_row)
#define gemm_pack_right        ISA_FN(gemm_pack_right)
#define gemm_packs_whole       ISA_FN(gemm_packs_whole)
#define gemm_keeps             ISA_FN(gemm_keeps)
#define gemm_pack_left         ISA_FN(gemm_pack_left)
#define gemm_micro             ISA_FN(gemm_micro)
#define gemm_run               ISA_FN(gemm_run)
#define gemm_amx_begin         ISA_FN(gemm_amx_begin)
#define gemm_amx_end           ISA_FN(gemm_amx_end)
#define gemm_amx_pack_left     ISA_FN(gemm_amx_pack_left)
#define gemm_amx_tile          ISA_FN(gemm_amx_tile)
#define gemm_split_all         ISA_FN(gemm_split_all)
#define gemm_split_add         ISA_FN(gemm_split_add)
#define gemm_split_block       ISA_FN(gemm_split_block)
#define gemm_split_tile        ISA_FN(gemm_split_tile)
#define few_along              ISA_FN(few_along)
#define few_across             ISA_FN(few_across)
#define head_cut               ISA_FN(head_cut)
#define head_make              ISA_FN(head_make)
#define head_fetch_rows        ISA_FN(head_fetch_rows)
#define head_fetch_next        ISA_FN(head_fetch_next)
#define head_pack_columns      ISA_FN(head_pack_columns)
#define head_pack_positions    ISA_FN(head_pack_positions)
#define head_left_rows         ISA_FN(head_left_rows)
#define head_block_start       ISA_FN(head_block_start)
#define head_panel_sees        ISA_FN(head_panel_sees)
#define head_keep_factors      ISA_FN(head_keep_factors)
#define head_narrow_rows       ISA_FN(head_narrow_rows)
#define head_add_keys          ISA_FN(head_add_keys)
#define amx_scores             ISA_FN(amx_scores)
#define amx_add_keys           ISA_FN(amx_add_keys)
#define amx_add_queries        ISA_FN(amx_add_queries)
#define tile_scores            ISA_FN(tile_scores)
#define tile_probabilities     ISA_FN(tile_probabilities)
#define tile_slopes            ISA_FN(tile_slopes)
#define tile_add               ISA_FN(tile_add)
#define cpu_embed_forward      ISA_FN(cpu_embed_forward)
#define cpu_embed_backward     ISA_FN(cpu_embed_backward)
#define cpu_norm_forward       ISA_FN(cpu_norm_forward)
#define cpu_norm_backward      ISA_FN(cpu_norm_backward)
#define cpu_linear_forward     ISA_FN(cpu_linear_forward)
#define cpu_act_forward        ISA_FN(cpu_act_forward)
#define cpu_linear_backward    ISA_FN(cpu_linear_backward)
#define cpu_attention_forward  ISA_FN(cpu_attention_forward)
#define cpu_attention_backward ISA_FN(cpu_attention_backward)
#define cpu_classifier         ISA_FN(cpu_classifier)
#define cpu_loss_sum           ISA_FN(cpu_loss_sum)
#define cpu_grad_norm          ISA_FN(cpu_grad_norm)
#define cpu_adamw              ISA_FN(cpu_adamw)
#define cpu_cast               ISA_FN(cpu_cast)
#define cpu_attention_decode   ISA_FN(cpu_attention_decode)
#define cpu_logits             ISA_FN(cpu_logits)

#if ISA_LEVEL >= 2
#define VL 16
#elif ISA_LEVEL == 1
#define VL 8
#else
#define VL 4
#endif

typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));
typedef uint32_t vu __attribute__((vector_size(4 * VL)));
typedef uint16_t vh __attribute__((vector_size(2 * VL)));

/* Rows of work below which waking other threads takes longer than they save. */
enum { ROWS_TO_SHARE = 8 };

#define INLINE static inline __attribute__((always_inline, unused))

INLINE vf vf_all(float x) {
    return x - (vf){0};
}
INLINE vi vi_all(int32_t x) {
    return x - (vi){0};
}
INLINE vf vf_bits(vu x) {
    return (vf)x;
}
/* where mask is all ones: a, else b */
INLINE vf vf_pick(vi mask, vf a, vf b) {
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}
/* As the instructions have it: a > b ? a : b, so the second operand where one is NaN. */
INLINE vf vf_max(vf a, vf b) {
#if ISA_LEVEL >= 2
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif ISA_LEVEL == 1
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vf_pick(a > b, a, b);
#endif
}
INLINE vf vf_min(vf a, vf b) {
#if ISA_LEVEL >= 2
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif ISA_LEVEL == 1
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return vf_pick(a < b, a, b);
#endif
}

/* bf16 is the upper half of a float; narrowing rounds to nearest even and keeps NaN a NaN. */
INLINE vu vu_of(vh h) { /* gcc 12 makes two halves of the conversion, and five instructions */
#if ISA_LEVEL >= 2
    return (vu)_mm512_cvtepu16_epi32((__m256i)h);
#elif ISA_LEVEL == 1
    return (vu)_mm256_cvtepu16_epi32((__m128i)h);
#else
    return __builtin_convertvector(h, vu);
#endif
}
INLINE vf vf_widen(vh h) {
    return vf_bits(vu_of(h) << 16);
}
INLINE vh vf_narrow(vf x) {
#if ISA_LEVEL == 3
    return (vh)_mm512_cvtneps_pbh((__m512)x);
#else
    vu u = (vu)x, nan = (vu)(x != x);
    vu r = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    r = (~nan & r) | (nan & ((u >> 16) | 0x40));
#if ISA_LEVEL == 1
    __m256i packed = _mm256_packus_epi32((__m256i)r, (__m256i)r);
    return (vh)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
#else
    return __builtin_convertvector(r, vh);
#endif
#endif
}

INLINE vf ldf(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void stf(float *p, vf v) {
    memcpy(p, &v, sizeof v);
}

/* Elements i … i + n - 1 (n <= VL, the other lanes 0) of an fp32 or bf16 array. */
INLINE vf ld(const void *p, size_t i, int n, bool bf16) {
    if (bf16) {
        const uint16_t *h = (const uint16_t *)p + i;
        vh v = {0};
        if (n >= VL)
            memcpy(&v, h, sizeof v);
        else
            memcpy(&v, h, (size_t)n * sizeof *h);
        return vf_widen(v);
    }
    const float *f = (const float *)p + i;
    if (n >= VL) return ldf(f);
    vf v = {0};
    memcpy(&v, f, (size_t)n * sizeof *f);
    return v;
}
INLINE void st(void *p, size_t i, int n, bool bf16, vf v) {
    if (bf16) {
        uint16_t *h = (uint16_t *)p + i;
        vh o = vf_narrow(v);
        if (n >= VL)
            memcpy(h, &o, sizeof o);
        else
            memcpy(h, &o, (size_t)n * sizeof *h);
        return;
    }
    float *f = (float *)p + i;
    if (n >= VL)
        stf(f, v);
    else
        memcpy(f, &v, (size_t)n * sizeof *f);
}
INLINE int lanes(size_t c, size_t n) {
    return n - c < VL ? (int)(n - c) : VL;
}
INLINE size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}
INLINE const void *at(const void *p, size_t i, bool bf16) {
    return (const char *)p + i * (bf16 ? 2 : 4);
}
INLINE void *at_out(void *p, size_t i, bool bf16) {
    return (char *)p + i * (bf16 ? 2 : 4);
}

/* VL rows of VL lanes become columns: every stage swaps one bit of the row's number with the same
 * bit of the lane's. */
#define LOW(l, S)         ((l) & (S) ? VL + (l) - (S) : (l))
#define HIGH(l, S)        ((l) & (S) ? VL + (l) : (l) + (S))
#define LANES4(M, S, at)  M(at, S), M(at + 1, S), M(at + 2, S), M(at + 3, S)
#define LANES8(M, S, at)  LANES4(M, S, at), LANES4(M, S, at + 4)
#define LANES16(M, S, at) LANES8(M, S, at), LANES8(M, S, at + 8)
#if VL == 16
#define LANES(M, S) LANES16(M, S, 0)
#elif VL == 8
#define LANES(M, S) LANES8(M, S, 0)
#else
#define LANES(M, S) LANES4(M, S, 0)
#endif
/* clang and gcc from 12 on have the one, older gcc the other */
#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLE(low, high, ...) __builtin_shufflevector(low, high, __VA_ARGS__)
#endif
#endif
#ifndef SHUFFLE
#define SHUFFLE(low, high, ...) __builtin_shuffle(low, high, (vi){__VA_ARGS__})
#endif
/* The sum of all lanes and the largest, by halves: the same tree everywhere. */
#define PARTNER(l, S)  ((l) ^ (S))
#define PARTNERS(x, S) SHUFFLE(x, x, LANES(PARTNER, S))
INLINE float vf_sum(vf x) {
#if VL == 16
    x += PARTNERS(x, 8);
#endif
#if VL >= 8
    x += PARTNERS(x, 4);
#endif
    x += PARTNERS(x, 2);
    x += PARTNERS(x, 1);
    return x[0];
}
INLINE float vf_top(vf x) {
#if VL == 16
    x = vf_max(x, PARTNERS(x, 8));
#endif
#if VL >= 8
    x = vf_max(x, PARTNERS(x, 4));
#endif
    x = vf_max(x, PARTNERS(x, 2));
    return vf_max(x, PARTNERS(x, 1))[0];
}
#define SWAP_STAGE(S)                                                                              \
    _Pragma("GCC unroll 16") for (int i = 0; i < VL; i++) if (!(i & (S))) {                        \
        vf low = r[i], high = r[i + (S)];                                                          \
        r[i] = SHUFFLE(low, high, LANES(LOW, S));                                                  \
        r[i + (S)] = SHUFFLE(low, high, LANES(HIGH, S));                                           \
    }
INLINE void vf_transpose(vf r[VL]) {
#if VL == 16
    SWAP_STAGE(8)
#endif
#if VL >= 8
    SWAP_STAGE(4)
#endif
    SWAP_STAGE(2)
    SWAP_STAGE(1)
}
/* Lane j: the largest of r[j]; r is used up. */
INLINE vf vf_tops(vf r[VL]) {
    vf_transpose(r);
    _Pragma("GCC unroll 4") for (int n = VL / 2; n > 0; n /= 2)
        _Pragma("GCC unroll 8") for (int i = 0; i < n; i++) r[i] = vf_max(r[i], r[i + n]);
    return r[0];
}
/* Lane j: vf_sum(r[j]), the same bits; r is used up. */
INLINE vf vf_sums(vf r[VL]) {
    vf_transpose(r);
    _Pragma("GCC unroll 4") for (int n = VL / 2; n > 0; n /= 2)
        _Pragma("GCC unroll 8") for (int i = 0; i < n; i++) r[i] += r[i + n];
    return r[0];
}

/* e^x: x = n ln 2 + r, a polynomial for e^r on |r| <= ln 2 / 2 (Cephes' expf), times 2^n.
 * 0 below -87.33 (where floats become subnormal); above 88.37 stays at the value there, or becomes
 * infinity; NaN stays NaN. Error <= 1.2 ulp (tests/op/check_math.c). */
INLINE vf vf_exp(vf x) {
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    vf c = vf_min(vf_all(88.37f), vf_max(vf_all(-87.33f), x));
    vf n = (c * 1.44269504088896341f + round) - round;
    vf r = c - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vf p = vf_all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1.0f);
#if ISA_LEVEL >= 2
    __mmask16 normal = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-87.33f), _CMP_NLT_UQ);
    return (vf)_mm512_maskz_scalef_ps(normal, (__m512)p, (__m512)n);
#else
    vi bits = (__builtin_convertvector(n, vi) + 127) << 23;
    return (vf)(~(x < -87.33f) & (vi)(p * (vf)bits));
#endif
}

/* 2^x for x <= 127: x = n + r, a polynomial for 2^r on |r| <= 1/2, and n added to the exponent.
 * Exactly 1 at 0; exactly 0 from -127 downwards, and less than 2^-125 below -126. NaN stays NaN.
 * Error <= 1 ulp (tests/op/check_math.c). */
INLINE vf vf_exp2(vf x) {
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number, whose bits
                                      * are then the lowest ones */
    vf c = vf_max(vf_all(-127), x), whole = c + round, r = c - (whole - round);
    vf p = vf_all(1.53533620e-4f);
    p = p * r + 1.33988739e-3f;
    p = p * r + 9.61843692e-3f;
    p = p * r + 5.55033237e-2f;
    p = p * r + 2.40226477e-1f;
    p = p * r + 6.93147182e-1f;
    p = p * r + 1.0f;
    return vf_bits((vu)p + ((vu)whole << 23));
}

/* n factors (scale or 0) of elements e … of batch row b: dropout_factors(), VL / 2 blocks at a
 * time. */
void dropout_row(float *factors, const struct dropout *drop, int b, uint64_t e, size_t n);

#endif
