/* The fast CPU backend's insides that do not depend on the instruction set.
 *
 *   cpu.c        one table per instruction set, the device, its workspaces
 *   isa.h        vectors of the instruction set a file is compiled for
 *   gemm.c       matrix products;  attention_*.c classifier.c norm.c …  the operations
 *
 * Everything but cpu.c is compiled once per instruction set (plain, avx2, avx512, avx512bf16), as
 * vectors of 4, 8 and 16 floats; backend_cpu() returns the best table this processor can run.
 *
 * Threads: OpenMP over items whose results do not depend on who does them: tiles of a product (the
 * sum over K is never split), rows, heads, fixed blocks with partial sums added in order. So the
 * number of threads does not change a bit of any result. */
#ifndef LORY_TRAIN_CPU_CPU_H
#define LORY_TRAIN_CPU_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "train/op.h"

/* Workspaces: grow, are kept, and belong to one operation at a time. */
enum cpu_work {
    WORK_PACK,   /* the packed right factor of a product                */
    WORK_PACK2,  /* the classifier may keep w packed both ways, */
    WORK_PACK3,  /* and packs x besides                            */
    WORK_LEFT,   /* rows of the packed left factor                      */
    WORK_THREAD, /* per thread: tiles                                    */
    WORK_LOGITS, /* the classifier's chunk of logits, then their gradients */
    WORK_SUMS,   /* partial sums                                        */
    WORK_KINDS
};

struct device {
    struct err first; /* the first failure; code 0 if none */
    bool bf16;        /* activations and weights are bf16  */
    int isa;          /* of the table: cpu_isa_name()      */
    int threads;
    struct {
        void *p;
        size_t bytes;
    } work[WORK_KINDS];
    char *next; /* where the next large block is to lie; NULL: none so far */
    bool amx;   /* products by the processor's matrix units */
    char text[256];
};

/* At least `bytes` bytes, 64-byte aligned, contents undefined; the same memory as the last call of
 * that kind. NULL after noting the failure, or if one was noted before. */
void *cpu_work(struct device *d, enum cpu_work which, size_t bytes);

/* Fills every workspace with NaNs: no operation may find anything there. For tests. */
void cpu_spoil_work(struct device *d);

/* One table per instruction set. cpu_backend(i): i from 0 (plain) upwards while not NULL; NULL
 * also for those this processor cannot run. For tests; programs use backend_cpu(). */
enum { CPU_PAIRS = 3 /* of bf16, and the matrix units */, CPU_ISAS };
const struct backend *cpu_backend(int i);
const char *cpu_isa_name(int i);

/* Products of an open device by the processor's matrix units or by its vectors; false if it has no
 * such units for them. For tests and timing. */
bool cpu_use_amx(struct device *d, bool use);

/* Shared by the tables. */
int cpu_open(struct device **ret, const struct device_opts *opts, int isa, struct err *err);
void cpu_close(struct device *d);
const char *cpu_describe(const struct device *d);
int cpu_alloc(struct device *d, void **ret, size_t bytes, struct err *err);
void cpu_free(struct device *d, void *p);
void cpu_copy(struct device *d, void *to, const void *from, size_t bytes);
void cpu_copy_rows(struct device *d, void *to, size_t to_stride, const void *from,
                   size_t from_stride, size_t bytes, size_t rows);
void cpu_zero(struct device *d, void *p, size_t bytes);
int cpu_sync(struct device *d, struct err *err);
void cpu_sample(struct device *d, int32_t *ids, float *logits, const double *unit,
                const struct sampling *how, int rows, int V);

#endif
