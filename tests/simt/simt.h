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
 *   - a kernel launched early that writes, reads what earlier ones wrote, or ends before it has
 *     waited for them
 *   - what can go wrong with barriers in shared memory and bulk copies (mbarrier.cc)
 *
 * Every memory access of a kernel is seen because the sources are compiled with gcc's
 * -fsanitize=thread, which puts a call before each one; access.cc has these calls instead of the
 * sanitizer's library. The first fault becomes the device's error, as cudaGetErrorString() says. */
#ifndef LORY_TESTS_SIMT_SIMT_H
#define LORY_TESTS_SIMT_SIMT_H

#include <stddef.h>
#include <stdint.h>
#include <functional>
#include <vector>

struct uint3;
struct dim3;

/* ------------------------------------------------------------------ threads (fiber.cc) */

struct simt_copy; /* a cp.async that has not happened yet */

struct simt_thread {
    uint3 thread_idx;
    int number; /* in the block; its warp is number / 32 */
    void *stack_pointer;
    bool early; /* launched so, and has not waited for earlier kernels yet */
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
/* Of kernels launched early: the next launch is one; each thread of it begins; has waited for
 * earlier kernels; ends, which is a fault if it has not. */
void simt_access_early(void);
void simt_begin_early(void);
void simt_waited(void);
void simt_end_early(void);
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
    bool maps;           /* the driver can describe tensors to the copy engine         */
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

/* ------------------------------------------------------------------ Hopper's (mbarrier.cc) */

void simt_mbarrier_init(uint64_t *b, unsigned arrivals);
void simt_mbarriers_are_set(void);
void simt_mbarrier_arrive(uint64_t *b);
void simt_mbarrier_expect(uint64_t *b, unsigned bytes);
void simt_mbarrier_wait(uint64_t *b, unsigned parity);
void simt_bulk_copy(void *to, const void *map, int x, int y, int z, uint64_t *b);
void simt_fence_proxy(void);

/* A read by the tensor cores on behalf of simt_now; it goes on until simt_products_done(). */
void simt_product_read(const void *p, size_t n);
void simt_products_done(void);

/* Between fiber.cc and mbarrier.cc. */
void simt_sleep(void);          /* simt_now gives way until somebody wakes it */
void simt_wake(int number);     /* thread of the block                        */
bool simt_mbarrier_go_on(void); /* copies that somebody waits for; false: none */
bool simt_mbarrier_stuck(void); /* says who waits for what; false: nobody      */
void simt_mbarrier_block(void); /* the block has ended                         */

/* Between mbarrier.cc and access.cc. A clock says for each thread, and for the copy engine, before
 * which time its accesses are known to have happened. */
enum { SIMT_ENGINE = 1024 };
typedef std::vector<uint32_t> simt_clock;
void simt_clocks_begin(void); /* from now on, in this block, they are kept */
void simt_clock_join(simt_clock *to, const simt_clock &from);
void simt_clock_release(simt_clock *to, int number); /* what this one did and knows */
void simt_clock_acquire(const simt_clock &from, int number);
void simt_engine_begin(void *to_shared, size_t bytes, int asked_by);
void simt_engine_end(void *to_shared, size_t bytes);

/* Between fiber.cc and access.cc. */
void simt_access_launch(void);
void simt_access_block(size_t shared_bytes);
void simt_access_barrier(void);
void simt_access_warp_barrier(int warp);

#endif
