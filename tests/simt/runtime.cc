/* The CUDA runtime's calls over the emulator: memory, streams, events, graphs. Streams do their
 * work at once and in order; a stream that is being captured keeps it instead. As on a GPU, a
 * capture comes to nothing when something waits or allocates meanwhile; stricter than there, also
 * when it copies to or from the host, whose memory will hold something else at a replay. */
#include <cuda.h>
#include <cuda_runtime.h>
#include <stdlib.h>
#include <time.h>
#include <vector>

struct simt_graph {
    std::vector<std::function<void()>> work;
};
struct simt_stream {
    simt_graph *capture;
    bool broken; /* the capture */
};
struct simt_event {
    double at;
};

static cudaError_t last = cudaSuccess;
static simt_stream *capturing; /* the stream that is; NULL */

static cudaError_t fail(cudaError_t e) {
    last = e;
    return e;
}

/* A fault in a kernel stays, as on a device. */
static cudaError_t state(void) {
    return simt_first_fault() ? cudaErrorLaunchFailure : cudaSuccess;
}

/* For what must not be done while a stream is captured. */
static bool forbidden(void) {
    if (capturing) capturing->broken = true;
    return capturing != NULL;
}

simt_machine simt_machine_now = {13000, 1, 8, true, true, true};

cudaError_t cudaGetDeviceCount(int *n) {
    int runtime = 0;
    cudaRuntimeGetVersion(&runtime);
    *n = 0;
    if (simt_machine_now.driver < runtime) return fail(cudaErrorInsufficientDriver);
    if (simt_machine_now.devices == 0) return fail(cudaErrorNoDevice);
    *n = simt_machine_now.devices;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int i) {
    return i == 0 ? cudaSuccess : fail(cudaErrorInvalidValue);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int) {
    *p = cudaDeviceProp{};
    memcpy(p->name, "emulated", 9);
    p->totalGlobalMem = 1u << 30;
    p->major = simt_machine_now.major;
    p->multiProcessorCount = 4;
    p->l2CacheSize = 1 << 20;
    p->sharedMemPerBlockOptin = SIMT_SHARED_MAX;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *v) {
    *v = simt_machine_now.driver;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *v) {
    *v = 13000;
    return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **f, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult *found) {
    bool here = simt_machine_now.maps && strcmp(name, "cuTensorMapEncodeTiled") == 0;
    *f = here ? (void *)cuTensorMapEncodeTiled : NULL;
    *found = here ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    *free = simt_heap_left();
    *total = 1u << 30;
    return cudaSuccess;
}
cudaError_t cudaPeekAtLastError(void) {
    return last ? last : state();
}
cudaError_t cudaGetLastError(void) {
    cudaError_t e = cudaPeekAtLastError();
    last = cudaSuccess;
    return e;
}
const char *cudaGetErrorString(cudaError_t e) {
    if (e == cudaErrorLaunchFailure && simt_first_fault()) return simt_first_fault();
    return e == cudaErrorMemoryAllocation ? "out of memory"
           : e == cudaErrorNoKernelImageForDevice
               ? "no kernel image is available for execution on the device"
           : e == cudaSuccess ? "no error"
                              : "invalid argument";
}
const char *cudaGetErrorName(cudaError_t e) {
    return e == cudaSuccess ? "cudaSuccess" : "cudaError";
}

cudaError_t cudaMalloc(void **p, size_t bytes) {
    if (forbidden()) return fail(cudaErrorStreamCaptureUnsupported);
    *p = bytes ? simt_heap_alloc(bytes) : NULL;
    if (*p) memset(*p, 0xff, bytes); /* NaN to whoever reads it and does not check */
    return *p || !bytes ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void *p) {
    if (forbidden()) return fail(cudaErrorStreamCaptureUnsupported);
    return !p || simt_heap_free(p) ? state() : fail(cudaErrorInvalidValue);
}
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) {
    if (forbidden()) return fail(cudaErrorStreamCaptureUnsupported);
    *p = malloc(bytes);
    return *p ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void *p) {
    free(p);
    return cudaSuccess;
}

void simt_enqueue(cudaStream_t s, std::function<void()> work) {
    if (s->capture)
        s->capture->work.push_back(work);
    else if (!simt_first_fault())
        work();
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind kind,
                            cudaStream_t s) {
    if ((kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) &&
        !simt_heap_holds(to, n))
        return fail(cudaErrorInvalidValue);
    if ((kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice) &&
        !simt_heap_holds(from, n))
        return fail(cudaErrorInvalidValue);
    if (kind != cudaMemcpyDeviceToDevice && forbidden())
        return fail(cudaErrorStreamCaptureUnsupported);
    simt_enqueue(s, [=] {
        memmove(to, from, n);
        if (kind != cudaMemcpyDeviceToHost) simt_heap_written(to, n);
    });
    return state();
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t s) {
    if (width > to_pitch || width > from_pitch) return fail(cudaErrorInvalidValue);
    for (size_t y = 0; y < height; y++) {
        cudaError_t e = cudaMemcpyAsync((char *)to + y * to_pitch,
                                        (const char *)from + y * from_pitch, width, kind, s);
        if (e != cudaSuccess) return e;
    }
    return state();
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t s) {
    if (!simt_heap_holds(p, n)) return fail(cudaErrorInvalidValue);
    simt_enqueue(s, [=] {
        memset(p, value, n);
        simt_heap_written(p, n);
    });
    return state();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned) {
    *s = new simt_stream{};
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
    delete s;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    if (forbidden()) return fail(cudaErrorStreamCaptureUnsupported);
    return state();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
    return state();
}
cudaError_t cudaDeviceSynchronize(void) {
    if (forbidden()) return fail(cudaErrorStreamCaptureUnsupported);
    return state();
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned) {
    *e = new simt_event{};
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
    delete e;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t) {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    e->at = (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
    return state();
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
    if (forbidden()) return fail(cudaErrorStreamCaptureUnsupported);
    return state();
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
    *ms = (float)(to->at - from->at);
    return state();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
    if (s->capture) return fail(cudaErrorInvalidValue);
    s->capture = new simt_graph{};
    s->broken = false;
    capturing = s;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g) {
    *g = s->capture;
    s->capture = NULL;
    capturing = NULL;
    if (*g && s->broken) {
        delete *g;
        *g = NULL;
        return fail(cudaErrorStreamCaptureInvalidated);
    }
    return *g ? cudaSuccess : fail(cudaErrorInvalidValue);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long) {
    *e = new simt_graph(*g);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
    delete g;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) {
    delete e;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) {
    for (auto &work : e->work) simt_enqueue(s, work);
    return state();
}
