/* Products of fp32 by the matrix units, which know bf16 alone: every number is split in three of
 * bf16, x = hi + mid + lo, and a product of two is six of theirs. (Henry, Tang, Heinecke,
 * "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations",
 * ARITH 2019.)
 *
 *     a b = a.hi b.hi + (a.hi b.mid + a.mid b.hi) + (a.hi b.lo + a.mid b.mid + a.lo b.hi)
 *
 * hi is cut off, so that the largest numbers stay finite; mid is rounded, so that what is left out
 * (at most 2^-22 of a product, as a rule 2^-26) has no sign of its own; lo is exact. Sums are those
 * of the registers, in fp32. Errors are not larger than those of the vectors' multiply-adds.
 *
 * The units take numbers below 2^-126 for zeros: of x below 2^-110 bits are lost, of products below
 * 2^-126 all. Infinity gives NaN where the vectors may give infinity, as mid is infinity less
 * itself; NaN stays NaN.
 *
 * A step is 32 elements of K. Where others hold two neighbours along K in 32 bits, here it is those
 * 16 apart: both factors may choose, and rows can then be split as they lie in memory.
 *
 *   panel of 32 rows of A, of 32 columns of B, a step (6 KB):
 *
 *       hi 0-15 | hi 16-31 | mid 0-15 | mid 16-31 | lo 0-15 | lo 16-31
 *
 *   each a register's 1 KB: of A 16 rows of 16 pairs, of B 16 pairs of 16 columns. */
#ifndef LORY_TRAIN_CPU_GEMM_SPLIT_H
#define LORY_TRAIN_CPU_GEMM_SPLIT_H

#include "train/cpu/gemm.h"
#include "train/cpu/gemm_micro.h"

/* A tile's sums and its B, split, live in L2. */
enum {
    SPLIT_STEP = 32,                      /* elements of K: padded with zeros to whole steps */
    SPLIT_SIZE = 3 * SPLIT_STEP / 2 * 32, /* floats of a panel's step                        */
    SPLIT_KC = 320,                       /* elements of K per pass                          */
    SPLIT_MC = 512,                       /* rows and columns of a tile, at most             */
    SPLIT_NC = 320,
    SPLIT_FROM = 64 /* rows, columns, elements of K: smaller products stay with the vectors */
};

/* A panel of a factor that is to be split, a line of 16 pairs at a time: 16 for a register of each
 * plane, first those of rows (columns of B) 0 … 15, then the others', step by step. */
struct split_job {
    float *out;
    const float *p;    /* the panel's first element in memory       */
    size_t ld, n, k;   /* n rows of A, columns of B, at most 32; k elements of K */
    bool by_k;         /* neighbours in memory have the same K      */
    bool turn;         /* and are wanted the other way              */
    size_t at, end;    /* lines done, and of all                    */
    const float *from; /* the next line, in memory or in `lines`; its second half `more` behind */
    size_t step, more;
    float *to;
    float *lines; /* room for SPLIT_LINES floats: those that are not in memory as they are wanted */
};
enum { SPLIT_LINES = 2 * 16 * VL };

/* n rows of A from `first` on, or columns of B (`right`); elements k0 … k0 + k of them. */
INLINE struct split_job split_of(const struct matrix *x, bool right, size_t first, size_t n,
                                 size_t k0, size_t k, float *out, float *lines) {
    bool by_k = x->across != right;
    return (struct split_job){
        .out = out,
        .p = (const float *)x->p + (by_k ? k0 * x->ld + first : first * x->ld + k0),
        .ld = x->ld,
        .n = n,
        .k = k,
        .by_k = by_k,
        .turn = x->across,
        .end = (k + SPLIT_STEP - 1) / SPLIT_STEP * 32,
        .lines = lines,
    };
}

/* Sums of a tile, in `from` (32, 32), that are still to be added to C: `rows` of them. */
struct split_sums {
    float *c;
    size_t ldc;
    const float *from;
    size_t rows;
};
enum { SPLIT_SUMS = 32 * 32 };

/* What is done while the units multiply, a little at a time: both jobs are brought up to line `to`,
 * lines of memory asked for, of each walk as many as it says, and all late sums added. */
struct meanwhile {
    struct split_job job[2];
    size_t to[2];
    struct walk *walk[4];
    size_t walks; /* at least one */
    struct split_sums late;
};

#if ISA_LEVEL == 3 && defined HAVE_X86_AMX
void gemm_split_all(struct split_job *job);
void gemm_split_add(struct split_sums *late);
/* c (32, 32) = two panels of `k` elements. */
void gemm_split_tile(float *c, size_t ldc, const float *a, const float *b, size_t k,
                     struct meanwhile *also);
#else /* never called: device.amx is false there */
INLINE void gemm_split_all(struct split_job *job) {
    (void)job;
}
INLINE void gemm_split_add(struct split_sums *late) {
    (void)late;
}
INLINE void gemm_split_tile(float *c, size_t ldc, const float *a, const float *b, size_t k,
                            struct meanwhile *also) {
    (void)c, (void)ldc, (void)a, (void)b, (void)k, (void)also;
}
#endif

#endif
