/* A SIMT emulator: the threads of a block as fibers of one host thread, blocks one after another.
 *
 * A fiber runs until it meets others: at a block barrier, at a warp operation (shuffle, vote,
 * mma.sync, ldmatrix …), or at its end. What GPUs hide is found here:
 *
 *   - a barrier that only part of the block reaches, or a warp operation that only part of its
 *     mask reaches
 *   - reads of shared or device memory that nothing wrote
 *   - accesses outside of shared memory as launched, and outside of device allocations
 *   - misaligned vector accesses
 *   - two accesses to one place, one of them a write, with nothing between that orders them:
 *     threads of a block between barriers, and blocks of one launch
 *
 * Every memory access of a kernel is seen because the sources are compiled with gcc's
 * -fsanitize=thread, which puts a call before each one; access.cc has these calls instead of the
 * sanitizer's library. The first fault becomes the device's error, as cudaGetErrorString() says. */
#ifndef LORY_TESTS_SIMT_SIMT_H
#define LORY_TESTS_SIMT_SIMT_H

#include <stddef.h>
#include <stdint.h>
#include <functional>

struct uint3;
struct dim3;

/* ------------------------------------------------------------------ threads (fiber.cc) */

struct simt_copy; /* a cp.async that has not happened yet */

struct simt_thread {
    uint3 thread_idx;
    int number; /* in the block; its warp is number / 32 */
    void *stack_pointer;
};
extern simt_thread *simt_now; /* the fiber that runs */
extern uint3 simt_block_idx;
extern dim3 simt_block_dim, simt_grid_dim;

/* Runs a grid. Kernels call the functions below from inside `body`. */
void simt_run(const char *name, dim3 grid, dim3 block, size_t shared,
              const std::function<void()> &body);
bool simt_running(void);            /* inside a kernel */
const char *simt_kernel_name(void); /* of the last one launched */

void simt_barrier(const char *file, int line);
int simt_barrier_or(int p, const char *file, int line);
void simt_warp_barrier(unsigned mask, const char *file, int line);
/* Waits until every lane of `mask` is at the same operation; the last to come calls op(lane data,
 * mask) for all. Orders no memory, as on a GPU. */
void simt_together(unsigned mask, void *mine, void (*op)(void **lane, unsigned mask),
                   const char *what);
void *simt_shared(void); /* the block's shared memory, 1024-byte aligned */

/* ------------------------------------------------------------------ memory (access.cc) */

enum { SIMT_SHARED_MAX = 227 * 1024 };

/* Says what is wrong with the running kernel; the first one is kept. */
void simt_fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const char *simt_first_fault(void); /* NULL if none */
void simt_forget_faults(void);

/* Logged accesses by code that is not instrumented, on behalf of thread `number` of the block. */
void simt_read(const void *p, size_t n, int number);
void simt_write(const void *p, size_t n, int number);
void simt_atomic(const void *p, size_t n);
/* A vector's access by simt_now as the one that it is: the compiler's calls may be of its parts. */
void simt_vector(const void *p, size_t n, bool write);
/* 16-byte asynchronous copies: they happen at the wait, as late as a GPU may make them. */
void simt_copy_start(void *to_shared, const void *from, unsigned bytes /* of 16, the rest zeros */);
void simt_copy_commit(void);
void simt_copy_wait(unsigned groups_left);

/* What the emulated machine says of itself: an Ampere, until a test says otherwise. */
struct simt_machine {
    int driver, devices; /* the CUDA version the driver is for, 0: there is none; GPUs */
    int major;           /* compute capability 8.0, or 9.0                             */
    bool code, sm90a;    /* the module has code for it; that is sm_90a's, with wgmma   */
};
extern simt_machine simt_machine_now;

/* Device memory with bounds and a log. */
void *simt_heap_alloc(size_t bytes);             /* NULL: none left */
bool simt_heap_free(void *p);                    /* false: not an allocation */
void simt_heap_written(const void *p, size_t n); /* by the host */
bool simt_heap_holds(const void *p, size_t n);   /* all of it allocated */
size_t simt_heap_left(void);

/* Bank conflicts of shared memory (banks.cc): no fault, but time. Counted if the environment has
 * SIMT_BANKS, and told when the program ends, which fails if that is `free` and a kernel's accesses
 * take 5 % more rounds than without conflicts. Also between begin() and worst(), which gives the
 * costliest access: its rounds over those of one without conflicts. */
void simt_banks_begin(void);
double simt_banks_worst(void);
/* One access of simt_now, `at` bytes into shared memory, from one place in the code. */
void simt_banks_access(const void *place, uint32_t at, unsigned bytes, bool write);
void simt_banks_rows(const uint32_t at[8]); /* eight rows of an ldmatrix */
void simt_banks_meet(int warp);             /* what its lanes did so far is counted */
void simt_banks_launch(void);

/* Between fiber.cc and access.cc. */
void simt_access_launch(void);
void simt_access_block(size_t shared_bytes);
void simt_access_barrier(void);
void simt_access_warp_barrier(int warp);

#endif
