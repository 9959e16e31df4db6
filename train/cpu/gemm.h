/* Matrix products C (M,N) = A (M,K) B (K,N), as packed panels and a register tile.
 *
 *   B packed:         [K block][panel of NR columns][k][NR]
 *   A packed:         [K block][panel of MR rows][k][MR], or read in place by rows
 *
 * In fp32 a tile packs what it reads while it multiplies: B with its first panel of A, and A across
 * with its first panel of B. What has to be transposed (B across), is wanted again, or is bf16, is
 * packed before, once, by all threads, part by part where it is large.
 *
 *                NR
 *              ┌────┐      A tile of C (MC x NC) belongs to one thread: it is summed over all of
 *        k     │    │      K in fp32, in the order of k, in that thread's scratch, then handed to
 *      ┌────┐  │ B  │      `out` by MR rows, which adds the bias, the activation, the conversion …
 *   MR │ A  │· │    │ ─▶ C So the bits of C depend on nothing but A, B and K.
 *      └────┘  └────┘
 *
 * "Unit": what one 32-bit lane holds along K: one fp32, or a pair of bf16 where the processor
 * multiplies pairs (avx512bf16). On the others bf16 is widened while packing. */
#ifndef LORY_TRAIN_CPU_GEMM_H
#define LORY_TRAIN_CPU_GEMM_H

#include "train/cpu/isa.h"

#define NR (2 * VL)
#if ISA_LEVEL >= 2
#define MR 12
#else
#define MR 6
#endif

/* A block of B, NC x KC floats, lives in L2: 256 KB of it here, 512 KB where AVX-512 is; with the
 * sums of a tile, MC x NC. */
enum {
    GEMM_MC = 192,                           /* rows of a tile, at most: a multiple of MR         */
    GEMM_MC_F32 = ISA_LEVEL < 2 ? 192 : 516, /* in fp32: a tile packs its own B, for all its rows */
    GEMM_NC = ISA_LEVEL < 2 ? 160 : 320,     /* columns of a tile: a multiple of NR               */
    GEMM_KC = 384,                           /* units of K per pass: MR * KC floats live in L1    */
    GEMM_KC_TILES = ISA_LEVEL < 2 ? 384 : 256 /* where each tile packs B, in several passes */
};

enum { LINE = 64 }; /* bytes that the caches hold together */

/* A factor in memory: element (i, j) at p[i * ld + j], or p[j * ld + i] if `across`. */
struct matrix {
    const void *p;
    size_t ld;
    bool across;
    bool bf16;
    bool padded; /* a left factor's rows have zeros behind element K, up to a multiple of 32 */
};

/* Are units of a factor of type bf16, or fp32, pairs? */
INLINE bool gemm_pairs(bool bf16) {
    return bf16 && ISA_LEVEL == 3;
}
/* Else bf16 is packed as fp32, in twice the memory. */
INLINE bool gemm_widens(bool bf16) {
    return bf16 && !gemm_pairs(bf16);
}
/* Units along K. */
INLINE size_t gemm_units(size_t K, bool bf16) {
    return gemm_pairs(bf16) ? (K + 1) / 2 : K;
}
/* Units per K block: K split evenly in blocks of at most `most`, a function of K alone. */
INLINE size_t gemm_kc(size_t units, size_t most) {
    size_t blocks = (units + most - 1) / most;
    return blocks ? (units + blocks - 1) / blocks : 1;
}

/* Packs rows k0 … k0 + k (k in elements, starting a unit) and the panel of columns n0 … of B into
 * out[units][NR], zeros beyond N and K. */
void gemm_pack_right(float *out, const struct matrix *b, size_t k0, size_t k, size_t n0, size_t n);
/* Packs rows m0 … m0 + m of A into panels out[units][MR], zeros beyond. */
void gemm_pack_left(float *out, const struct matrix *a, size_t m0, size_t m, size_t k0, size_t k);

/* How a block's left factor lies: unit (i, k) at p[i * rs + k * cs]; rs == 1 or cs == 1. */
struct left {
    const float *p;
    size_t rs, cs;
    size_t panel; /* floats from one panel of MR rows to the next */
};

/* acc + a b, a unit; `pairs`: of two bf16. */
INLINE vf mul_add(vf acc, float a, vf b, bool pairs) {
#if ISA_LEVEL == 3
    if (pairs) return (vf)_mm512_dpbf16_ps((__m512)acc, (__m512bh)vf_all(a), (__m512bh)b);
#endif
    (void)pairs;
    return acc + a * b;
}

/* Receives a finished part of C: rows m0 … m0 + m, columns n0 … n0 + n. */
typedef void (*gemm_out)(const void *ctx, const float *part, size_t ld, size_t m0, size_t m,
                         size_t n0, size_t n);

/* Where C goes. `at`: matrices of C's shape that `out` will read or write; their lines are asked
 * for while the product is still being computed. NULL: none. */
struct gemm_to {
    gemm_out out;
    const void *ctx;
    const void *at[2];
    size_t ld;
    bool bf16;
};

/* True if B (K,N), where it is packed for all tiles, is one part. */
bool gemm_packs_whole(size_t K, size_t N);
/* True if B is there, then, when the next product wants it: not where tiles split it for themselves
 * (gemm_split.h), as a product too small for that would find nothing packed. */
bool gemm_keeps(const struct device *d, size_t K, size_t N, bool bf16);
/* The whole product; packs B into workspace `pack` unless `packed` says it is there. */
void gemm_run(struct device *d, size_t M, size_t N, size_t K, const struct matrix *a,
              const struct matrix *b, enum cpu_work pack, bool packed, const struct gemm_to *to);

#endif
