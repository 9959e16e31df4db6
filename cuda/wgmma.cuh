/* Hopper's warpgroup products, with their emulation beside them, as in ptx.cuh.
 *
 * wgmma multiplies for four warps at once; the right operand, and the left one where it is not
 * in registers, is read from shared memory through a descriptor (PTX ISA, "Matrix descriptor"):
 *
 *   bits  0-13  address / 16
 *        16-29  leading stride / 16: unused by this layout
 *        32-45  stride between groups of 8 rows / 16: 1024 bytes
 *        62-63  1: 128-byte swizzle, address bits 4-6 are exclusive-ored with bits 7-9
 *
 * A tile is [row][64] bf16 in that swizzle, at a multiple of 1024 bytes. Registers are laid out
 * as those of mma.sync (ptx.cuh), warp w of the four having rows 16 w … 16 w + 15.
 *
 * Products run asynchronously: wgmma_begin (registers are ready), products, wgmma_commit,
 * wgmma_wait; until then no thread touches their registers. Only code for sm_90a contains them;
 * elsewhere they trap. */
#ifndef LORY_CUDA_WGMMA_CUH
#define LORY_CUDA_WGMMA_CUH

#include "cuda/kernel.cuh"

#if defined(SIMT) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HAS_WGMMA 1
#else
#define HAS_WGMMA 0
#endif

/* Whether the machine code that runs has these products: a module built for other devices runs on
 * a Hopper, too, translated from PTX. */
__device__ __forceinline__ bool wgmma_is_here() {
#ifdef SIMT
    return simt_machine_now.sm90a;
#else
    return HAS_WGMMA;
#endif
}

/* ------------------------------------------------------------------ descriptors */

__device__ __forceinline__ uint32_t wgmma_address(const void *shared) {
#ifdef SIMT
    return (uint32_t)((const char *)shared - (const char *)simt_shared());
#else
    return ptx_shared_address(shared);
#endif
}
__device__ __forceinline__ uint64_t wgmma_tile(const void *tile) {
    return (uint64_t)(wgmma_address(tile) & 0x3ffff) >> 4 | (uint64_t)1 << 16 |
           (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}
__device__ __forceinline__ uint64_t wgmma_advance(uint64_t tile, int bytes) {
    return tile + (uint64_t)(bytes >> 4);
}

/* ------------------------------------------------------------------ products */

#ifdef SIMT

/* Two bf16 of a described tile: (row, col) and the next column, or the next row. */
static SIMT_UNSEEN uint32_t wgmma_pair(uint64_t tile, int row, int col, bool down) {
    uint32_t pair = 0;
    for (int i = 0; i < 2; i++, down ? row++ : col++) {
        uint32_t at = (uint32_t)(tile & 0x3fff) << 4;
        at += (uint32_t)row / 8 * ((uint32_t)(tile >> 32 & 0x3fff) << 4);
        at += (uint32_t)row % 8 * 128 + (uint32_t)col * 2;
        at ^= at >> 3 & 0x70;
        const char *p = (const char *)simt_shared() + at;
        simt_product_read(p, 2);
        pair |= (uint32_t) * (const uint16_t *)p << 16 * i;
    }
    return pair;
}
template <bool ROWS_ARE_K, bool ADD>
void wgmma_64x64x16(float (&d)[8][4], const uint32_t (&a)[4], uint64_t tile) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4 * 2;
    for (int n = 0; n < 8; n++) {
        uint32_t b[2];
        for (int i = 0; i < 2; i++)
            b[i] = ROWS_ARE_K ? wgmma_pair(tile, t + 8 * i, 8 * n + g, true)
                              : wgmma_pair(tile, 8 * n + g, t + 8 * i, false);
        for (int e = 0; e < 4 && !ADD; e++) d[n][e] = 0;
        mma_bf16(d[n], a, b);
    }
}
template <bool ROWS_ARE_K, bool ADD>
void wgmma_64x64x16(float (&d)[8][4], uint64_t left, uint64_t tile) {
    int row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4, t = threadIdx.x % 4 * 2;
    uint32_t a[4] = {wgmma_pair(left, row, t, false), wgmma_pair(left, row + 8, t, false),
                     wgmma_pair(left, row, t + 8, false), wgmma_pair(left, row + 8, t + 8, false)};
    wgmma_64x64x16<ROWS_ARE_K, ADD>(d, a, tile);
}
static inline void wgmma_begin() {
    if (!wgmma_is_here()) simt_fault("wgmma in machine code for other devices");
}
static inline void wgmma_ready(float (&)[8][4]) {}
static inline void wgmma_commit() {}
template <int LEFT> void wgmma_wait(float (&)[8][4]) {
    static_assert(LEFT == 0, "the emulator does not count groups");
    simt_products_done();
}

#elif HAS_WGMMA

#define WGMMA_ACC(c, d)                                                                            \
    c(d[0][0]), c(d[0][1]), c(d[0][2]), c(d[0][3]), c(d[1][0]), c(d[1][1]), c(d[1][2]),            \
        c(d[1][3]), c(d[2][0]), c(d[2][1]), c(d[2][2]), c(d[2][3]), c(d[3][0]), c(d[3][1]),        \
        c(d[3][2]), c(d[3][3]), c(d[4][0]), c(d[4][1]), c(d[4][2]), c(d[4][3]), c(d[5][0]),        \
        c(d[5][1]), c(d[5][2]), c(d[5][3]), c(d[6][0]), c(d[6][1]), c(d[6][2]), c(d[6][3]),        \
        c(d[7][0]), c(d[7][1]), c(d[7][2]), c(d[7][3])
#define WGMMA_INOUT(x) "+f"(x)
#define WGMMA_OUT(x)   "=f"(x)
#define WGMMA_64x64x16(add)                                                                        \
    "{\n.reg .pred p;\nsetp.ne.b32 p, " add ", 0;\n"                                               \
    "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "                                        \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "  \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
/* d (64 × 64) = a (64 × 16) b (16 × 64), or += if ADD. b's tile has rows n, or rows k if
 * ROWS_ARE_K; a is in registers, or the columns of a tile. */
template <bool ROWS_ARE_K, bool ADD>
__device__ __forceinline__ void wgmma_64x64x16(float (&d)[8][4], const uint32_t (&a)[4],
                                               uint64_t b) {
    if constexpr (ADD)
        asm volatile(WGMMA_64x64x16("1") "{%32, %33, %34, %35}, %36, p, 1, 1, %37;\n}\n"
                     : WGMMA_ACC(WGMMA_INOUT, d)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"((int)ROWS_ARE_K));
    else
        asm volatile(WGMMA_64x64x16("0") "{%32, %33, %34, %35}, %36, p, 1, 1, %37;\n}\n"
                     : WGMMA_ACC(WGMMA_OUT, d)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"((int)ROWS_ARE_K));
}
template <bool ROWS_ARE_K, bool ADD>
__device__ __forceinline__ void wgmma_64x64x16(float (&d)[8][4], uint64_t a, uint64_t b) {
    if constexpr (ADD)
        asm volatile(WGMMA_64x64x16("1") "%32, %33, p, 1, 1, 0, %34;\n}\n"
                     : WGMMA_ACC(WGMMA_INOUT, d)
                     : "l"(a), "l"(b), "n"((int)ROWS_ARE_K));
    else
        asm volatile(WGMMA_64x64x16("0") "%32, %33, p, 1, 1, 0, %34;\n}\n"
                     : WGMMA_ACC(WGMMA_OUT, d)
                     : "l"(a), "l"(b), "n"((int)ROWS_ARE_K));
}
__device__ __forceinline__ void wgmma_begin() {
    asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}
/* d, an accumulator, has its value before what follows: keeps the compiler from moving that
 * between products, which it would then run one by one. */
__device__ __forceinline__ void wgmma_ready(float (&d)[8][4]) {
    asm volatile("" : WGMMA_ACC(WGMMA_INOUT, d)::"memory");
}
__device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}
/* Waits until at most LEFT groups run; d, an accumulator, is ready after it. */
template <int LEFT> __device__ __forceinline__ void wgmma_wait(float (&d)[8][4]) {
    asm volatile("wgmma.wait_group.sync.aligned %32;\n"
                 : WGMMA_ACC(WGMMA_INOUT, d)
                 : "n"(LEFT)
                 : "memory");
}

#else /* code for other devices: never launched (attention.cu looks at the device first) */

template <bool ROWS_ARE_K, bool ADD, class Left>
__device__ __forceinline__ void wgmma_64x64x16(float (&)[8][4], const Left &, uint64_t) {
    __trap();
}
__device__ __forceinline__ void wgmma_begin() {}
__device__ __forceinline__ void wgmma_ready(float (&)[8][4]) {}
__device__ __forceinline__ void wgmma_commit() {}
template <int LEFT> __device__ __forceinline__ void wgmma_wait(float (&)[8][4]) {}

#endif

#endif
