/* What every kernel file of cuda/ includes. How a kernel is written here:
 *
 *   - It compiles for two machines: nvcc's, and the emulator of tests/simt (g++ -std=c++17, with a
 *     cuda_runtime.h of its own that defines SIMT). Only what that header knows may be used; PTX
 *     only through ptx.cuh.
 *   - All shared memory is dynamic: a struct, had by `S &s = *shared_memory<S>();` and given to
 *     launch() as sizeof(S). No __shared__ variables.
 *   - launch(d, "name", kernel<…>, grid, block, shared bytes, arguments…) starts it on the device's
 *     stream. After a failure it does nothing.
 *   - launch_early() does so for kernels of a few microseconds: where one such follows another, its
 *     blocks begin while the other one still works. Each of them calls next_may_begin() and, before
 *     it reads what another operation gave or writes, wait_for_earlier(); weights, and what else
 *     lies there since before the first of them, it may ask for at once.
 *   - No float atomics and no waiting for other blocks: results do not depend on scheduling. Sums
 *     across blocks go through workspace memory and a second kernel, in fixed order.
 *   - Act-typed tensors are `const A *` with A = float or bf16; sizes that index memory are size_t.
 *     Vectors of 16 bytes (load16, store16) only where the shape makes every row a multiple of 16
 *     bytes; a plain path serves the rest.
 *   - Blocks are whole warps; `__syncthreads()` is reached by all threads of a block. */
#ifndef LORY_CUDA_KERNEL_CUH
#define LORY_CUDA_KERNEL_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>
#include "cuda/device.h"
#include "cuda/ptx.cuh"

typedef __nv_bfloat16 bf16;

enum : unsigned { ALL_LANES = 0xffffffffu };

/* ------------------------------------------------------------------ launching */

/* Notes the launch's failure, if any. */
void cuda_launched(struct device *d, const char *name);
/* False: nothing is to be done. True: something is, from which on no kernel was launched early. */
bool cuda_may_launch(struct device *d);
/* Whether the last thing done was a kernel launched early, so that another may begin beside it; and
 * that this is so. */
bool cuda_last_was_early(const struct device *d);
void cuda_was_early(struct device *d);
cudaStream_t cuda_stream(struct device *d);

template <class... P, class... A>
void launch(struct device *d, const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
            size_t shared, A... args) {
    if (!cuda_may_launch(d)) return;
#ifdef SIMT
    simt_launch(name, kernel, grid, block, shared, cuda_stream(d), args...);
#else
    if (shared > 48 * 1024)
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
    kernel<<<grid, block, shared, cuda_stream(d)>>>(static_cast<P>(args)...);
#endif
    cuda_launched(d, name);
}

template <class... P, class... A>
void launch_early(struct device *d, const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                  size_t shared, A... args) {
    bool beside = cuda_last_was_early(d);
    if (!cuda_may_launch(d)) return;
#ifdef SIMT
    (void)beside;
    simt_launch_early(name, kernel, grid, block, shared, cuda_stream(d), args...);
#else
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t how = {};
    how.gridDim = grid, how.blockDim = block;
    how.dynamicSmemBytes = shared, how.stream = cuda_stream(d);
    how.attrs = &early, how.numAttrs = beside;
    if (shared > 48 * 1024)
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
    cudaLaunchKernelEx(&how, kernel, static_cast<P>(args)...);
#endif
    cuda_launched(d, name);
    cuda_was_early(d);
}

template <class T> __device__ __forceinline__ T *shared_memory() {
#ifdef SIMT
    return static_cast<T *>(simt_shared());
#else
    extern __shared__ __align__(1024) unsigned char lory_shared[];
    return reinterpret_cast<T *>(lory_shared);
#endif
}

static inline unsigned blocks_for(size_t n, size_t per_block) {
    return (unsigned)((n + per_block - 1) / per_block);
}

/* ------------------------------------------------------------------ values */

__device__ __forceinline__ float to_float(float x) {
    return x;
}
__device__ __forceinline__ float to_float(bf16 x) {
    return __bfloat162float(x);
}
template <class A> __device__ __forceinline__ A from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) {
    return x;
}
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) {
    return __float2bfloat16_rn(x);
}

/* Two floats as two bf16 in a register, x in the lower half. */
__device__ __forceinline__ uint32_t pack_bf16(float x, float y) {
    __nv_bfloat162 h = __floats2bfloat162_rn(x, y);
    uint32_t u;
    memcpy(&u, &h, sizeof u);
    return u;
}
__device__ __forceinline__ float2 unpack_bf16(uint32_t u) {
    return make_float2(__uint_as_float(u << 16), __uint_as_float(u & 0xffff0000u));
}

/* A vector (float4, uint2 …) at a multiple of its size, in one access. */
template <class V> __device__ __forceinline__ V load_vector(const void *p) {
#ifdef SIMT
    return simt_load<V>(p);
#else
    return *static_cast<const V *>(p);
#endif
}
template <class V> __device__ __forceinline__ void store_vector(void *p, V v) {
#ifdef SIMT
    simt_store(p, v);
#else
    *static_cast<V *>(p) = v;
#endif
}
/* 16 bytes at a 16-byte aligned address: 4 floats or 8 bf16. */
__device__ __forceinline__ uint4 load16(const void *p) {
    return load_vector<uint4>(p);
}
__device__ __forceinline__ void store16(void *p, uint4 v) {
    store_vector(p, v);
}
template <class A> struct pack16 { /* the values of 16 bytes as floats */
    enum { N = 16 / sizeof(A) };
    float v[N];
};
template <class A> __device__ __forceinline__ pack16<A> unpack16(uint4 u);
template <> __device__ __forceinline__ pack16<bf16> unpack16<bf16>(uint4 u) {
    float2 a = unpack_bf16(u.x), b = unpack_bf16(u.y), c = unpack_bf16(u.z), d = unpack_bf16(u.w);
    return {{a.x, a.y, b.x, b.y, c.x, c.y, d.x, d.y}};
}
template <> __device__ __forceinline__ pack16<float> unpack16<float>(uint4 u) {
    return {
        {__uint_as_float(u.x), __uint_as_float(u.y), __uint_as_float(u.z), __uint_as_float(u.w)}};
}
template <class A> __device__ __forceinline__ pack16<A> load_pack(const A *p) {
    return unpack16<A>(load16(p));
}
__device__ __forceinline__ void store_pack(bf16 *p, const pack16<bf16> &v) {
    store16(p, make_uint4(pack_bf16(v.v[0], v.v[1]), pack_bf16(v.v[2], v.v[3]),
                          pack_bf16(v.v[4], v.v[5]), pack_bf16(v.v[6], v.v[7])));
}
__device__ __forceinline__ void store_pack(float *p, const pack16<float> &v) {
    store_vector(p, make_float4(v.v[0], v.v[1], v.v[2], v.v[3]));
}

/* ------------------------------------------------------------------ sums, in a fixed order */

__device__ __forceinline__ float warp_sum(float x) {
    for (int o = 16; o > 0; o /= 2) x += __shfl_xor_sync(ALL_LANES, x, o);
    return x;
}
__device__ __forceinline__ float warp_max(float x) {
    for (int o = 16; o > 0; o /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, o));
    return x;
}
/* Of a whole block (one dimension, whole warps), to every thread. `part`: 32 floats of shared
 * memory, free again after the next barrier. */
__device__ __forceinline__ float block_sum(float x, float *part) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    x = warp_sum(x);
    if (lane == 0) part[warp] = x;
    __syncthreads();
    return warp_sum(lane < warps ? part[lane] : 0.0f);
}
__device__ __forceinline__ float block_max(float x, float *part) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    x = warp_max(x);
    if (lane == 0) part[warp] = x;
    __syncthreads();
    return warp_max(lane < warps ? part[lane] : -INFINITY);
}

__device__ __forceinline__ double warp_sum_double(double x) {
    for (int o = 16; o > 0; o /= 2) x += __shfl_xor_sync(ALL_LANES, x, o);
    return x;
}
/* To thread 0. `part`: a double for each warp. */
__device__ __forceinline__ double block_sum_double(double x, double *part) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    x = warp_sum_double(x);
    if (lane == 0) part[warp] = x;
    __syncthreads();
    return warp == 0 ? warp_sum_double(lane < warps ? part[lane] : 0.0) : 0.0;
}

/* ------------------------------------------------------------------ dropout (train/dropout.h) */

/* dropout_rule() and what a block of eight lanes needs, made on the host. */
struct drop_rule {
    uint32_t threshold; /* 0: nothing is dropped */
    float scale;
    uint64_t key, sample0, site; /* site: shifted into its place in the counter */
    const uint64_t *more;        /* added to sample0, if it is there            */
};
static inline drop_rule drop_rule_of(const struct dropout &d) {
    drop_rule r = {0, 1, d.key, d.sample0, (uint64_t)d.site << 40, d.more};
    if (!(d.p > 0)) return r;
    double t = floor((double)d.p * 65536 + 0.5);
    r.threshold = t > 65535 ? 65535 : (uint32_t)t;
    r.scale = 65536.0f / (float)(65536 - r.threshold);
    return r;
}

/* Philox4x32-10 (base/rng.h says the same for the host): a round, with that round's key … */
__device__ __forceinline__ void drop_round(uint4 &c, uint32_t k0, uint32_t k1) {
    uint64_t x = (uint64_t)0xD2511F53u * c.x, y = (uint64_t)0xCD9E8D57u * c.z;
    c.x = (uint32_t)(y >> 32) ^ c.y ^ k0;
    c.z = (uint32_t)(x >> 32) ^ c.w ^ k1;
    c.y = (uint32_t)y;
    c.w = (uint32_t)x;
}
/* … and all of them, of N neighbouring counters. */
template <int N>
__device__ __forceinline__ void drop_philox(uint4 (&c)[N], uint64_t key, uint64_t lo, uint64_t hi) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
#pragma unroll
    for (int n = 0; n < N; n++, lo++)
        c[n] = make_uint4((uint32_t)lo, (uint32_t)(lo >> 32), (uint32_t)hi, (uint32_t)(hi >> 32));
#pragma unroll
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
#pragma unroll
        for (int n = 0; n < N; n++) drop_round(c[n], k0, k1);
}
/* The 16-bit lanes of elements 8 block … of batch row b, N blocks. */
template <int N>
__device__ __forceinline__ void drop_blocks(uint4 (&bits)[N], const drop_rule &r, int b,
                                            uint64_t block) {
    uint64_t first = r.sample0 + (r.more ? __ldg(r.more) : 0);
    drop_philox(bits, r.key, r.site | block, first + (uint64_t)b);
}
__device__ __forceinline__ uint4 drop_block(const drop_rule &r, int b, uint64_t block) {
    uint4 bits[1];
    drop_blocks(bits, r, b, block);
    return bits[0];
}
__device__ __forceinline__ bool drop_keeps(const drop_rule &r, const uint4 &bits, int k) {
    uint32_t word = k < 4 ? (k < 2 ? bits.x : bits.y) : (k < 6 ? bits.z : bits.w);
    return (k & 1 ? word : word << 16) >= r.threshold << 16;
}
__device__ __forceinline__ float drop_lane(const drop_rule &r, const uint4 &bits, int k) {
    return drop_keeps(r, bits, k) ? r.scale : 0.0f;
}
/* The factor of one element; the slow form. */
__device__ __forceinline__ float drop_one(const drop_rule &r, int b, uint64_t e) {
    if (r.threshold == 0) return r.scale;
    return drop_lane(r, drop_block(r, b, e / 8), (int)(e % 8));
}

/* ------------------------------------------------------------------ pieces of rows */

/* N elements at p as floats, and back. */
template <class A, int N> struct piece {
    float v[N];
    __device__ __forceinline__ void load(const A *p) {
        if constexpr (N == 1) {
            v[0] = to_float(*p);
        } else {
            pack16<A> x = load_pack(p);
#pragma unroll
            for (int i = 0; i < N; i++) v[i] = x.v[i];
        }
    }
    __device__ __forceinline__ void store(A *p) const {
        if constexpr (N == 1) {
            *p = from_float<A>(v[0]);
        } else {
            pack16<A> x;
#pragma unroll
            for (int i = 0; i < N; i++) x.v[i] = v[i];
            store_pack(p, x);
        }
    }
    __device__ __forceinline__ void round() { /* as it is stored */
#pragma unroll
        for (int i = 0; i < N; i++) v[i] = to_float(from_float<A>(v[i]));
    }
    /* Times dropout's factors of elements e …; e is a multiple of N, so one Philox block does. */
    __device__ __forceinline__ void drop(const drop_rule &rule, int b, uint64_t e) {
        if (rule.threshold == 0) return;
        uint4 bits = drop_block(rule, b, e / 8);
#pragma unroll
        for (int i = 0; i < N; i++) v[i] *= drop_lane(rule, bits, (int)(e % 8) + i);
    }
};

/* How many elements a thread takes at a time: 16 bytes' worth if rows of C allow. */
#define PIECES(d, C, function)                                                                     \
    (cuda_is_bf16(d) ? ((C) % 8 == 0 ? function<bf16, 8> : function<bf16, 1>)                      \
                     : ((C) % 4 == 0 ? function<float, 4> : function<float, 1>))

#endif
