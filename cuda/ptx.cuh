/* Every instruction that CUDA C++ has no name for, with its emulation beside it: the first half of
 * each function is what nvcc compiles, the second what tests/simt runs. Nothing else in cuda/ holds
 * inline PTX, wgmma.cuh excepted.
 *
 * Fragments of mma.sync.m16n8k16 (PTX ISA, "Matrix Fragments"), lane = 4 g + t, g 0…7, t 0…3; each
 * register holds two bf16, the lower column (A, C) or row (B) in the lower half:
 *
 *   A (16x16)  a[0] = A[g][2t, 2t+1]      a[1] = A[g+8][2t, 2t+1]
 *              a[2] = A[g][2t+8, 2t+9]    a[3] = A[g+8][2t+8, 2t+9]
 *   B (16x8)   b[0] = B[2t, 2t+1][g]      b[1] = B[2t+8, 2t+9][g]
 *   C (16x8)   c[0], c[1] = C[g][2t, 2t+1]     c[2], c[3] = C[g+8][2t, 2t+1]
 *
 * ldmatrix: lane 8 m + r gives the address of row r (8 bf16, 16 bytes) of matrix m; lane 4 g + t
 * receives in register m row g, columns 2t and 2t+1; with .trans column g, rows 2t and 2t+1.
 *
 * Bulk tensor copies (sm_90): one thread has a box of a tensor brought to shared memory, and a
 * barrier there told of every byte of it (PTX ISA, "Tensors", "mbarrier"). A phase of a barrier is
 * over when its arrivals and its bytes are all there; the next one begins at once. Copies belong
 * to the async proxy: what threads themselves wrote or read at a place must be fenced
 * (fence_proxy_async) before a copy goes there; what a copy wrote, or wgmma read, need not be,
 * once it has been waited for. */
#ifndef LORY_CUDA_PTX_CUH
#define LORY_CUDA_PTX_CUH

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#if defined(SIMT) || __CUDA_ARCH__ >= 900
#define HAS_BULK_COPIES 1
#else
#define HAS_BULK_COPIES 0
#endif

#ifdef SIMT

struct ptx_mma {
    float *c;
    const uint32_t *a, *b;
};
static inline float ptx_half(uint32_t word, int upper) {
    return __uint_as_float(upper ? word & 0xffff0000u : word << 16);
}
/* Products are exact in fp32; the sum over k runs in fp32, in order, after c. */
static inline void ptx_mma_warp(void **lane, unsigned) {
    float A[16][16], B[16][8];
    for (int l = 0; l < 32; l++) {
        const ptx_mma *m = (const ptx_mma *)lane[l];
        int g = l / 4, t = l % 4;
        for (int i = 0; i < 2; i++) {
            A[g][2 * t + i] = ptx_half(m->a[0], i);
            A[g + 8][2 * t + i] = ptx_half(m->a[1], i);
            A[g][2 * t + 8 + i] = ptx_half(m->a[2], i);
            A[g + 8][2 * t + 8 + i] = ptx_half(m->a[3], i);
            B[2 * t + i][g] = ptx_half(m->b[0], i);
            B[2 * t + 8 + i][g] = ptx_half(m->b[1], i);
        }
    }
    for (int l = 0; l < 32; l++) {
        float *c = ((const ptx_mma *)lane[l])->c;
        for (int e = 0; e < 4; e++) {
            int row = l / 4 + 8 * (e / 2), col = l % 4 * 2 + e % 2;
            float sum = c[e];
            for (int k = 0; k < 16; k++) sum += A[row][k] * B[k][col];
            c[e] = sum;
        }
    }
}

struct ptx_ldmatrix {
    uint32_t *r;
    const void *row;
    int n;
    bool trans;
};
static inline void ptx_ldmatrix_warp(void **lane, unsigned) {
    const ptx_ldmatrix *first = (const ptx_ldmatrix *)lane[0];
    int base = simt_now->number / 32 * 32, n = first->n;
    for (int m = 0; m < n; m++) {
        uint16_t M[8][8];
        uint32_t at[8];
        for (int r = 0; r < 8; r++) {
            const void *row = ((const ptx_ldmatrix *)lane[8 * m + r])->row;
            if ((uintptr_t)row % 16) simt_fault("ldmatrix from a misaligned row");
            simt_read(row, 16, base + 8 * m + r);
            memcpy(M[r], row, 16);
            at[r] = (uint32_t)((const char *)row - (const char *)simt_shared());
        }
        simt_banks_rows(at);
        for (int l = 0; l < 32; l++) {
            int g = l / 4, t = l % 4 * 2;
            uint32_t lo = first->trans ? M[t][g] : M[g][t];
            uint32_t hi = first->trans ? M[t + 1][g] : M[g][t + 1];
            ((const ptx_ldmatrix *)lane[l])->r[m] = hi << 16 | lo;
        }
    }
}
static inline void ptx_ldmatrix_any(uint32_t *r, const void *row, int n, bool trans,
                                    const char *what) {
    ptx_ldmatrix mine = {r, row, n, trans};
    simt_together(0xffffffffu, &mine, ptx_ldmatrix_warp, what);
}

#else

__device__ __forceinline__ uint32_t ptx_shared_address(const void *p) {
    return (uint32_t)__cvta_generic_to_shared(p);
}

#endif

/* c += a b, bf16 products summed in fp32. The whole warp. */
__device__ __forceinline__ void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2]) {
#ifdef SIMT
    ptx_mma mine = {c, a, b};
    simt_together(0xffffffffu, &mine, ptx_mma_warp, "mma.sync");
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* Four 8x8 matrices of 16-bit values from shared memory; `row` is this lane's row. */
__device__ __forceinline__ void ldmatrix_x4(uint32_t r[4], const void *row) {
#ifdef SIMT
    ptx_ldmatrix_any(r, row, 4, false, "ldmatrix.x4");
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(ptx_shared_address(row))
                 : "memory");
#endif
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t r[4], const void *row) {
#ifdef SIMT
    ptx_ldmatrix_any(r, row, 4, true, "ldmatrix.x4.trans");
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(ptx_shared_address(row))
                 : "memory");
#endif
}
/* Two matrices; the rows of lanes 0…15 count. */
__device__ __forceinline__ void ldmatrix_x2(uint32_t r[2], const void *row) {
#ifdef SIMT
    ptx_ldmatrix_any(r, row, 2, false, "ldmatrix.x2");
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(ptx_shared_address(row))
                 : "memory");
#endif
}
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t r[2], const void *row) {
#ifdef SIMT
    ptx_ldmatrix_any(r, row, 2, true, "ldmatrix.x2.trans");
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(ptx_shared_address(row))
                 : "memory");
#endif
}

/* Starts a copy of 16 bytes from device to shared memory, both 16-byte aligned; zeros instead if
 * not `valid` (then `from` is not read). */
__device__ __forceinline__ void cp_async16(void *to, const void *from, bool valid = true) {
#ifdef SIMT
    simt_copy_start(to, from, valid ? 16 : 0);
#else
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(ptx_shared_address(to)),
                 "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
#endif
}
/* The same where others are about to read its neighbours: memory gives 128 bytes at once. */
__device__ __forceinline__ void cp_async16_line(void *to, const void *from) {
#ifdef SIMT
    simt_copy_start(to, from, 16);
#else
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(ptx_shared_address(to)),
                 "l"(from)
                 : "memory");
#endif
}
/* Closes this thread's group of started copies. */
__device__ __forceinline__ void cp_async_commit() {
#ifdef SIMT
    simt_copy_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/* Waits until at most N of this thread's groups are under way. Others see the bytes after a barrier
 * behind it. */
template <int N> __device__ __forceinline__ void cp_async_wait() {
#ifdef SIMT
    simt_copy_wait(N);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

/* The 128 bytes around will be wanted soon. */
__device__ __forceinline__ void prefetch_line(const void *p) {
#ifdef SIMT
    (void)p;
#else
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
#endif
}

/* ------------------------------------------------------------------ one kernel after the other */

/* From now on the next kernel in the stream may begin, if it was launched early (kernel.cuh), as
 * soon as all blocks of this one have come here. */
__device__ __forceinline__ void next_may_begin() {
#if !defined(SIMT) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/* All that earlier kernels wrote is there. */
__device__ __forceinline__ void wait_for_earlier() {
#ifdef SIMT
    simt_waited();
#elif __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* ------------------------------------------------------------------ barriers in shared memory */

typedef uint64_t mbarrier; /* 8 bytes of shared memory, opaque */

/* A barrier whose phases end after `arrivals`. One thread; the block begins to use barriers behind
 * mbarriers_are_set() by that thread and __syncthreads(). */
__device__ __forceinline__ void mbarrier_init(mbarrier *b, unsigned arrivals) {
#ifdef SIMT
    simt_mbarrier_init(b, arrivals);
#elif HAS_BULK_COPIES
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(ptx_shared_address(b)),
                 "r"(arrivals)
                 : "memory");
#else
    __trap();
#endif
}
/* Shows them to the copy engine. */
__device__ __forceinline__ void mbarriers_are_set() {
#ifdef SIMT
    simt_mbarriers_are_set();
#elif HAS_BULK_COPIES
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
/* One of the phase's arrivals; what this thread did before is seen by who waits for the phase. */
__device__ __forceinline__ void mbarrier_arrive(mbarrier *b) {
#ifdef SIMT
    simt_mbarrier_arrive(b);
#elif HAS_BULK_COPIES
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(ptx_shared_address(b))
                 : "memory");
#endif
}
/* The running phase has to wait for so many bytes more. Before this thread's arrival in it, so
 * that it cannot be over by then. */
__device__ __forceinline__ void mbarrier_expect(mbarrier *b, unsigned bytes) {
#ifdef SIMT
    simt_mbarrier_expect(b, bytes);
#elif HAS_BULK_COPIES
    asm volatile(
        "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(ptx_shared_address(b)),
        "r"(bytes)
        : "memory");
#endif
}

#if !defined(SIMT) && HAS_BULK_COPIES
__device__ __forceinline__ bool ptx_mbarrier_try(mbarrier *b, unsigned parity) {
    uint32_t over;
    asm volatile("{\n.reg .pred p;\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, p;\n}\n"
                 : "=r"(over)
                 : "r"(ptx_shared_address(b)), "r"(parity)
                 : "memory");
    return over;
}
__device__ __forceinline__ uint64_t ptx_nanoseconds() {
    uint64_t t;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t)::"memory");
    return t;
}
#endif
/* Waits until the phase of this parity is over: 0 for a barrier's first, 1 for its second …; that
 * of parity 1 before the first counts as over. Gives up after four seconds, which only a fault of
 * this program or of the machine explains, or as soon as others have: `gave_up`, in shared memory,
 * says so. */
__device__ __forceinline__ void mbarrier_wait(mbarrier *b, unsigned parity, int *gave_up) {
#ifdef SIMT
    (void)gave_up;
    simt_mbarrier_wait(b, parity);
#elif HAS_BULK_COPIES
    if (ptx_mbarrier_try(b, parity)) return;
    uint64_t begin = ptx_nanoseconds();
    while (!ptx_mbarrier_try(b, parity))
        if (*(volatile int *)gave_up || ptx_nanoseconds() - begin > 4000000000) {
            *(volatile int *)gave_up = 1;
            return;
        }
#endif
}

/* ------------------------------------------------------------------ bulk copies */

/* Starts the copy of the map's box at (x, y, z), innermost first, to shared memory, where a
 * 128-byte swizzle wants a multiple of 1024 bytes. Zeros where the box lies outside of the tensor.
 * The barrier's running phase must expect all bytes of the box. `map`: a __grid_constant__
 * parameter of the kernel. One thread. */
__device__ __forceinline__ void bulk_copy(void *to, const CUtensorMap *map, int x, int y, int z,
                                          mbarrier *b) {
#ifdef SIMT
    simt_bulk_copy(to, map, x, y, z, b);
#elif HAS_BULK_COPIES
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(ptx_shared_address(to)),
                 "l"(map), "r"(x), "r"(y), "r"(z), "r"(ptx_shared_address(b))
                 : "memory");
#endif
}
/* Orders this thread's own writes, cp.async's too, and reads of shared memory before what copies
 * and wgmma do there. */
__device__ __forceinline__ void fence_proxy_async() {
#ifdef SIMT
    simt_fence_proxy();
#elif HAS_BULK_COPIES
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/* ------------------------------------------------------------------ arithmetic */

/* 2^x, error below 2 ulp of fp32; 0 for -inf. */
__device__ __forceinline__ float exp2_fast(float x) {
#ifdef SIMT
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}
__device__ __forceinline__ float exp_fast(float x) {
    return exp2_fast(x * 1.44269504088896340736f);
}

#endif
