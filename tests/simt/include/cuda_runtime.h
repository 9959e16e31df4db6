/* CUDA's names for the host compiler: what the .cu sources of this tree use of cuda_runtime.h, run
 * by the emulator (tests/simt/simt.h). This folder stands before the toolkit's in the include path.
 *
 * Not here, and so refused by the compiler: __shared__ (kernels take all shared memory through
 * shared_memory<T>() of cuda/kernel.cuh), textures, managed memory, cooperative groups. */
#ifndef LORY_TESTS_SIMT_CUDA_RUNTIME_H
#define LORY_TESTS_SIMT_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <functional>

#define SIMT 1
#define __device__
#define __host__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__    __attribute__((noinline))
#define __align__(n)    alignas(n)
#define __launch_bounds__(...)
#define __grid_constant__

/* ------------------------------------------------------------------ vector types */

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
static inline float2 make_float2(float x, float y) {
    return {x, y};
}
static inline float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}
static inline uint2 make_uint2(unsigned x, unsigned y) {
    return {x, y};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}
static inline int4 make_int4(int x, int y, int z, int w) {
    return {x, y, z, w};
}

#include "tests/simt/simt.h"

#define threadIdx (simt_now->thread_idx)
#define blockIdx  (simt_block_idx)
#define blockDim  (simt_block_dim)
#define gridDim   (simt_grid_dim)
#define warpSize  32

/* ------------------------------------------------------------------ what threads do together */

#define __syncthreads()     simt_barrier(__FILE__, __LINE__)
#define __syncthreads_or(p) simt_barrier_or((p) != 0, __FILE__, __LINE__)
#define __syncwarp(...)     simt_warp_barrier(simt_mask(__VA_ARGS__), __FILE__, __LINE__)
static inline unsigned simt_mask(unsigned mask = 0xffffffffu) {
    return mask;
}
static inline void __threadfence() {}
static inline void __threadfence_block() {}

/* `from`: the lane whose value lane `me` gets, or `me` itself where there is none. */
template <class T>
T simt_shuffle(unsigned mask, T value, int (*from)(int me, int arg, int width), int arg, int width,
               const char *what) {
    struct data {
        T in, out;
        int (*from)(int, int, int);
        int arg, width;
    } mine = {value, value, from, arg, width};
    simt_together(
        mask, &mine,
        [](void **lane, unsigned who) {
            for (int i = 0; i < 32; i++) {
                if (!(who >> i & 1)) continue;
                data *d = (data *)lane[i];
                int src = d->from(i, d->arg, d->width);
                if (who >> src & 1)
                    d->out = ((data *)lane[src])->in;
                else
                    simt_fault("shuffle from lane %d, which is not in the mask", src);
            }
        },
        what);
    return mine.out;
}
template <class T> T __shfl_sync(unsigned mask, T v, int src, int width = 32) {
    return simt_shuffle(
        mask, v, [](int me, int a, int w) { return me / w * w + a % w; }, src, width,
        "__shfl_sync");
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int x, int width = 32) {
    return simt_shuffle(
        mask, v, [](int me, int a, int w) { return (me ^ a) / w == me / w ? me ^ a : me; }, x,
        width, "__shfl_xor_sync");
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32) {
    return simt_shuffle(
        mask, v, [](int me, int a, int w) { return me % w >= a ? me - a : me; }, (int)by, width,
        "__shfl_up_sync");
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32) {
    return simt_shuffle(
        mask, v, [](int me, int a, int w) { return me % w + a < w ? me + a : me; }, (int)by, width,
        "__shfl_down_sync");
}
static inline unsigned __ballot_sync(unsigned mask, int p) {
    struct data {
        int p;
        unsigned out;
    } mine = {p, 0};
    simt_together(
        mask, &mine,
        [](void **lane, unsigned who) {
            unsigned all = 0;
            for (int i = 0; i < 32; i++)
                if (who >> i & 1 && ((data *)lane[i])->p) all |= 1u << i;
            for (int i = 0; i < 32; i++)
                if (who >> i & 1) ((data *)lane[i])->out = all;
        },
        "__ballot_sync");
    return mine.out;
}
static inline int __any_sync(unsigned mask, int p) {
    return __ballot_sync(mask, p) != 0;
}
static inline int __all_sync(unsigned mask, int p) {
    return __ballot_sync(mask, p) == mask;
}

#define SIMT_UNSEEN __attribute__((no_sanitize("thread"), noinline))
template <class T> SIMT_UNSEEN T atomicAdd(T *p, T v) {
    simt_atomic(p, sizeof *p);
    T was = *p;
    *p = was + v;
    return was;
}
template <class T> SIMT_UNSEEN T atomicMax(T *p, T v) {
    simt_atomic(p, sizeof *p);
    T was = *p;
    if (v > was) *p = v;
    return was;
}
template <class T> SIMT_UNSEEN T atomicOr(T *p, T v) {
    simt_atomic(p, sizeof *p);
    T was = *p;
    *p = was | v;
    return was;
}

template <class V> SIMT_UNSEEN V simt_load(const void *p) {
    V v;
    simt_vector(p, sizeof v, false);
    memcpy(&v, p, sizeof v);
    return v;
}
template <class V> SIMT_UNSEEN void simt_store(void *p, V v) {
    simt_vector(p, sizeof v, true);
    memcpy(p, &v, sizeof v);
}

/* ------------------------------------------------------------------ arithmetic */

static inline float __fdividef(float x, float y) {
    return x / y;
}
static inline float rsqrtf(float x) {
    return 1 / sqrtf(x);
}
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
static inline int __ffs(int x) {
    return __builtin_ffs(x);
}
static inline int __clz(int x) {
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline unsigned __float_as_uint(float x) {
    unsigned u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static inline float __uint_as_float(unsigned u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
template <class T> T __ldg(const T *p) {
    return *p;
}
template <class T> T __ldcs(const T *p) {
    return *p;
}
template <class T> void __stcs(T *p, T v) {
    *p = v;
}
template <class T> T min(T a, T b) {
    return b < a ? b : a;
}
template <class T> T max(T a, T b) {
    return a < b ? b : a;
}

/* ------------------------------------------------------------------ the runtime (runtime.cc) */

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorNotReady = 600,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
};
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
typedef struct simt_stream *cudaStream_t;
typedef struct simt_event *cudaEvent_t;
typedef struct simt_graph *cudaGraph_t;
typedef struct simt_graph *cudaGraphExec_t;
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    int major, minor, multiProcessorCount, l2CacheSize;
    size_t sharedMemPerBlockOptin;
};

cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int i);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int i);
cudaError_t cudaDriverGetVersion(int *v);
cudaError_t cudaRuntimeGetVersion(int *v);
enum cudaDriverEntryPointQueryResult {
    cudaDriverEntryPointSuccess = 0,
    cudaDriverEntryPointSymbolNotFound = 1
};
enum { cudaEnableDefault = 0 };
cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **f, unsigned version,
                                             unsigned long long flags,
                                             cudaDriverEntryPointQueryResult *found);
cudaError_t cudaMemGetInfo(size_t *free, size_t *total);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
const char *cudaGetErrorString(cudaError_t e);
const char *cudaGetErrorName(cudaError_t e);

cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind kind,
                            cudaStream_t s);
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t s);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e);
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s);

template <class F> cudaError_t cudaFuncSetAttribute(F *, cudaFuncAttribute, int) {
    return cudaSuccess;
}

struct cudaFuncAttributes {
    int binaryVersion, ptxVersion;
};
template <class F> cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *a, F *) {
    a->binaryVersion = a->ptxVersion = 10 * simt_machine_now.major;
    return simt_machine_now.code ? cudaSuccess : cudaErrorNoKernelImageForDevice;
}

/* What <<<grid, block, shared, stream>>> is to nvcc. */
void simt_enqueue(cudaStream_t s, std::function<void()> work);
template <class... P, class... A>
void simt_launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                 cudaStream_t s, A... args) {
    simt_enqueue(
        s, [=] { simt_run(name, grid, block, shared, [=] { kernel(static_cast<P>(args)...); }); });
}

/* A kernel that may begin before the ones before it are done: every thread must wait for them. */
template <class... P, class... A>
void simt_launch_early(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                       cudaStream_t s, A... args) {
    simt_enqueue(s, [=] {
        simt_access_early();
        simt_run(name, grid, block, shared, [=] {
            simt_begin_early();
            kernel(static_cast<P>(args)...);
            simt_end_early();
        });
    });
}

#endif
