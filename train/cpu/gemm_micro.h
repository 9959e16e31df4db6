/* The register tile of gemm.c: a panel of A by a panel of B on the processor's vectors. */
#ifndef LORY_TRAIN_CPU_GEMM_MICRO_H
#define LORY_TRAIN_CPU_GEMM_MICRO_H

#include "train/cpu/gemm.h"

/* Lines of memory that will be wanted. They are asked for into L2, one a turn of the kernel: many
 * at once would take all places for lines on their way, and the kernel would wait for its own. */
enum { TURN = 4, MOST_AHEAD = GEMM_KC / TURN }; /* units a turn; lines at most */
struct ahead {
    const void *line[MOST_AHEAD];
    size_t n, most; /* most: turns */
};

/* Rows of memory that are asked for a few lines at a time. */
struct walk {
    const char *row;
    size_t step, rows;      /* bytes from row to row        */
    size_t lines, at, each; /* lines of a row; asked for; at a time */
};
INLINE struct walk walk(const float *p, size_t ld, size_t rows, size_t n, size_t times) {
    const char *from = (const char *)((uintptr_t)p / LINE * LINE);
    size_t lines = (size_t)((const char *)(p + n) - from + LINE - 1) / LINE;
    return (struct walk){from, ld * sizeof *p, rows, lines, 0, rows * lines / times + 1};
}

/* A factor that is read where it lies is packed by the way: what is loaded for the multiply-adds is
 * also stored as a panel, for the tiles that come after. Which of the two this is done for, the
 * kernel's name says. */
struct copies {
    float *left, *right;
};

/* MR x NR of C, added to what is there if `add`; a's first MR rows, rows of b `ldb` floats apart (a
 * panel: NR). `pairs`: of bf16, both factors packed or A in place, nothing to be packed by the way.
 * Sums are in the order of k. */
void gemm_micro(float *c, size_t ldc, const struct left *a, const float *b, size_t ldb,
                size_t units, bool add, bool pairs, struct copies to, const struct ahead *ahead);

#endif
