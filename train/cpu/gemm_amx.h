/* Products of bf16 by the matrix units of Intel's processors (AMX, from Sapphire Rapids on): the
 * kernel that gemm.c's blocking runs instead of its own where device.amx says so.
 *
 *               B0     B1        A register holds 16 rows of 64 bytes; one instruction adds
 *             ┌──────┬──────┐    16 x 32 times 32 x 16 of bf16 to 16 x 16 sums of fp32.
 *         A0  │  0   │  1   │      0 - 3  sums: 32 x 32 of C
 *             ├──────┼──────┤      4, 5   A0, A1: rows of 16 pairs along K, as in memory
 *         A1  │  2   │  3   │      6, 7   B0, B1: 16 pairs along K of 16 columns each: the halves
 *             └──────┴──────┘             of gemm.h's panel
 *
 * Every register loaded is used twice, so loads from L1 hide behind the products (64 cycles a step
 * of 32 elements of K, where as many loads take 32).
 *
 * (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.) */
#ifndef LORY_TRAIN_CPU_GEMM_AMX_H
#define LORY_TRAIN_CPU_GEMM_AMX_H

#include "train/cpu/gemm.h"

enum {
    AMX_UNITS = 16, /* pairs along K of a step: K is padded with zeros to whole steps        */
    AMX_MR = 32,    /* rows of a panel of A                                                  */
    AMX_KC = 160,   /* units of K per pass: a panel of A and one of B, 40 KB, live in L1     */
    AMX_MC = 192,   /* rows and columns of a tile, at most: its sums and B live in L2        */
    AMX_NC = 384
};

#if ISA_LEVEL == 3 && defined HAVE_X86_AMX
/* Sets this thread's registers up; frees them. All below comes between. */
void gemm_amx_begin(void);
void gemm_amx_end(void);
/* Rows m0 … m0 + m of A, elements k0 … k0 + k: (m rounded up to AMX_MR, k / 2 rounded up to
 * AMX_UNITS) units, zeros where there are no elements. */
void gemm_amx_pack_left(float *out, const struct matrix *a, size_t m0, size_t m, size_t k0,
                        size_t k);
/* AMX_MR x NR of C, added to what is there if `add`. a: rows (cs 1); b: rows of NR columns, `ldb`
 * floats apart (a panel: NR); `units`: whole steps. */
void gemm_amx_tile(float *c, size_t ldc, const struct left *a, const float *b, size_t ldb,
                   size_t units, bool add);
#else /* never called: device.amx is false there */
INLINE void gemm_amx_begin(void) {}
INLINE void gemm_amx_end(void) {}
INLINE void gemm_amx_pack_left(float *out, const struct matrix *a, size_t m0, size_t m, size_t k0,
                               size_t k) {
    (void)out, (void)a, (void)m0, (void)m, (void)k0, (void)k;
}
INLINE void gemm_amx_tile(float *c, size_t ldc, const struct left *a, const float *b, size_t ldb,
                          size_t units, bool add) {
    (void)c, (void)ldc, (void)a, (void)b, (void)ldb, (void)units, (void)add;
}
#endif

#endif
