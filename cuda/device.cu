/* The CUDA device: opening and its errors, memory, one stream, recordings (CUDA graphs of it), the
 * workspace of operations. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cuda/gemm.h"
#include "cuda/kernel.cuh"
#include "cuda/table.h"

enum { SLOTS = 16 };
constexpr size_t SLOT_BYTES = 1 << 20, SMALL_BYTES = 4096;
/* What stands for memory while there is none to follow. */
static void *const NOWHERE = (void *)4096;

struct slot {
    void *pinned;
    cudaEvent_t done; /* the last copy out of it */
};

struct device {
    struct err first; /* the first failure; code 0 if none */
    bool bf16;
    struct attention_ways attention;
    void *map_encoder;
    cudaDeviceProp prop;
    cudaStream_t stream;
    struct gemm_plans *gemms;
    void *work; /* of the running operation */
    size_t work_bytes;
    uint64_t moves; /* how often the workspace was another                       */
    bool measuring;
    size_t most_work, most_kept, most_once; /* since measure() */
    bool no_record;           /* asked for by who opened it                                */
    bool recording;           /* the stream is being captured …                            */
    bool unkept;              /* … in vain: something cannot be kept                       */
    bool can_begin_early;     /* kernels' code waits for the ones before it                */
    bool was_early;           /* the last thing done was a kernel launched early           */
    struct slot slots[SLOTS]; /* what uploads go through */
    int next_slot;
    void *kept, *kept_host; /* what cuda_keep() has sent */
    size_t kept_bytes;
    char text[384];
    char notes[1024];
};

/* ------------------------------------------------------------------ failures */

void cuda_fail(struct device *d, int code, const char *fmt, ...) {
    char what[512];
    va_list args;
    if (d->first.code) return;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    d->first.code = code;
    snprintf(d->first.msg, sizeof d->first.msg, "cuda: %s", what);
}

static void check(struct device *d, cudaError_t e, const char *what) {
    if (e == cudaSuccess) return;
    if (d->recording) { /* nothing has been done: it will be, without a recording */
        d->unkept = true;
        return;
    }
    cuda_fail(d, e == cudaErrorMemoryAllocation ? ERR_NOMEM : ERR_OTHER, "%s: %s", what,
              cudaGetErrorString(e));
}

static int fail(struct err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct err *err, int code, const char *fmt, ...) {
    va_list args;
    if (!err) return code;
    err->code = code;
    va_start(args, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, args);
    va_end(args);
    return code;
}

void cuda_note(struct device *d, const char *fmt, ...) {
    char what[160];
    size_t n = strlen(d->notes);
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    if (strstr(d->notes, what) || n + strlen(what) + 3 > sizeof d->notes) return;
    snprintf(d->notes + n, sizeof d->notes - n, "%s%s", n ? "; " : "", what);
}

const char *cuda_notes(const struct device *d) {
    return d->notes;
}

void cuda_launched(struct device *d, const char *name) {
    check(d, cudaGetLastError(), name);
}

bool cuda_may_launch(struct device *d) {
    d->was_early = false;
    return d->first.code == 0 && !d->measuring;
}

bool cuda_last_was_early(const struct device *d) {
    return d->was_early;
}

void cuda_was_early(struct device *d) {
    d->was_early = d->can_begin_early;
}

cudaStream_t cuda_stream(struct device *d) {
    return d->stream;
}

bool cuda_is_bf16(const struct device *d) {
    return d->bf16;
}

int cuda_multiprocessors(const struct device *d) {
    return d->prop.multiProcessorCount;
}

int cuda_compute_capability(const struct device *d) {
    return d->prop.major * 10 + d->prop.minor;
}

const char *cuda_name(const struct device *d) {
    return d->prop.name;
}

size_t cuda_total_memory(const struct device *d) {
    return d->prop.totalGlobalMem;
}

size_t cuda_shared_limit(const struct device *d) {
    return d->prop.sharedMemPerBlockOptin;
}

struct gemm_plans *cuda_gemms(struct device *d) {
    return d->gemms;
}

struct attention_ways *cuda_attention_ways(struct device *d) {
    return &d->attention;
}

void *cuda_map_encoder(const struct device *d) {
    return d->map_encoder;
}

/* ------------------------------------------------------------------ memory */

int cuda_alloc(struct device *d, void **ret, size_t bytes, struct err *err) {
    size_t free_now = 0, total = 0;
    void *p = NULL;
    cudaError_t e = cudaMalloc(&p, bytes ? bytes : 1);
    if (e == cudaSuccess) e = cudaMemsetAsync(p, 0, bytes ? bytes : 1, d->stream);
    if (e == cudaSuccess) {
        *ret = p;
        return 0;
    }
    cudaGetLastError();
    cudaMemGetInfo(&free_now, &total);
    if (e == cudaErrorMemoryAllocation)
        return fail(err, ERR_NOMEM, "out of GPU memory: %zu MiB wanted, %zu of %zu MiB are free",
                    bytes >> 20, free_now >> 20, total >> 20);
    return fail(err, ERR_OTHER, "cuda: allocation: %s", cudaGetErrorString(e));
}

int cuda_memory(int ordinal, uint64_t *ret_free, struct err *err) {
    size_t free_now = 0, total = 0;
    int rc = lory_cuda_ready(ordinal, err);
    if (rc < 0) return rc;
    cudaError_t e = cudaMemGetInfo(&free_now, &total);
    if (e != cudaSuccess) return fail(err, ERR_OTHER, "cuda: %s", cudaGetErrorString(e));
    *ret_free = free_now;
    return 0;
}

void cuda_free(struct device *d, void *p) {
    if (p) check(d, cudaFree(p), "free");
}

void *cuda_work(struct device *d, size_t bytes) {
    if (d->first.code) return NULL;
    if (d->measuring) {
        if (bytes > d->most_work) d->most_work = bytes;
        return NOWHERE;
    }
    if (d->work_bytes >= bytes) return d->work;
    if (d->recording) {
        d->unkept = true;
        return NULL;
    }
    d->moves++;
    check(d, cudaStreamSynchronize(d->stream), "workspace");
    check(d, cudaFree(d->work), "workspace");
    d->work = NULL;
    d->work_bytes = 0;
    check(d, cudaMalloc(&d->work, bytes), "workspace");
    if (d->first.code) return NULL;
    d->work_bytes = bytes;
    return d->work;
}

static void forget_kept(struct device *d) {
    cudaFree(d->kept);
    free(d->kept_host);
    d->kept = d->kept_host = NULL;
    d->kept_bytes = 0;
}

void *cuda_keep(struct device *d, const void *host, size_t bytes) {
    if (d->first.code || bytes == 0) return NULL;
    if (d->measuring) {
        if (bytes > d->most_kept) d->most_kept = bytes;
        return NOWHERE;
    }
    if (d->kept_bytes == bytes && memcmp(d->kept_host, host, bytes) == 0) return d->kept;
    if (d->recording) {
        d->unkept = true;
        return NULL;
    }
    d->moves++;
    check(d, cudaStreamSynchronize(d->stream), "parameters");
    forget_kept(d);
    d->kept_host = malloc(bytes);
    if (!d->kept_host) {
        cuda_fail(d, ERR_NOMEM, "out of memory");
        return NULL;
    }
    memcpy(d->kept_host, host, bytes);
    check(d, cudaMalloc(&d->kept, bytes), "parameters");
    if (!d->first.code)
        check(d, cudaMemcpyAsync(d->kept, d->kept_host, bytes, cudaMemcpyHostToDevice, d->stream),
              "parameters");
    d->kept_bytes = d->first.code ? 0 : bytes;
    return d->first.code ? NULL : d->kept;
}

static void transfer(struct device *d, void *to, const void *from, size_t bytes,
                     cudaMemcpyKind kind, const char *what) {
    if (bytes && cuda_may_launch(d))
        check(d, cudaMemcpyAsync(to, from, bytes, kind, d->stream), what);
}

/* Pinned memory; it is used again when the last copy to or from it is done. */
static struct slot *take_slot(struct device *d) {
    struct slot *s = &d->slots[d->next_slot];
    d->next_slot = (d->next_slot + 1) % SLOTS;
    if (!s->pinned) {
        check(d, cudaHostAlloc(&s->pinned, SLOT_BYTES, cudaHostAllocDefault), "pinned memory");
        check(d, cudaEventCreateWithFlags(&s->done, cudaEventDisableTiming), "pinned memory");
    } else {
        check(d, cudaEventSynchronize(s->done), "pinned memory");
    }
    return d->first.code ? NULL : s;
}

/* A piece through pinned memory, so that the copy runs while the caller goes on. */
static void upload_piece(struct device *d, void *to, const void *from_host, size_t bytes) {
    if (d->recording) { /* it would be this host memory again at each replay */
        d->unkept = true;
        return;
    }
    struct slot *s = take_slot(d);
    if (!s) return;
    memcpy(s->pinned, from_host, bytes);
    transfer(d, to, s->pinned, bytes, cudaMemcpyHostToDevice, "upload");
    check(d, cudaEventRecord(s->done, d->stream), "upload");
}

void cuda_upload(struct device *d, void *to, const void *from_host, size_t bytes) {
    for (size_t at = 0; at < bytes && !d->first.code; at += SLOT_BYTES)
        upload_piece(d, (char *)to + at, (const char *)from_host + at,
                     bytes - at < SLOT_BYTES ? bytes - at : SLOT_BYTES);
}

/* A few bytes, too, come through pinned memory, which the driver would otherwise find by itself. */
void cuda_download(struct device *d, void *to_host, const void *from, size_t bytes) {
    if (d->recording) {
        d->unkept = true;
        return;
    }
    if (!cuda_may_launch(d)) return;
    struct slot *s = bytes <= SMALL_BYTES ? take_slot(d) : NULL;
    transfer(d, s ? s->pinned : to_host, from, bytes, cudaMemcpyDeviceToHost, "download");
    if (!d->first.code) check(d, cudaStreamSynchronize(d->stream), "download");
    if (s && !d->first.code) memcpy(to_host, s->pinned, bytes);
}

void cuda_copy(struct device *d, void *to, const void *from, size_t bytes) {
    transfer(d, to, from, bytes, cudaMemcpyDeviceToDevice, "copy");
}

void cuda_copy_rows(struct device *d, void *to, size_t to_stride, const void *from,
                    size_t from_stride, size_t bytes, size_t rows) {
    if (bytes && rows && cuda_may_launch(d))
        check(d,
              cudaMemcpy2DAsync(to, to_stride, from, from_stride, bytes, rows,
                                cudaMemcpyDeviceToDevice, d->stream),
              "copy rows");
}

void cuda_zero(struct device *d, void *p, size_t bytes) {
    if (bytes && cuda_may_launch(d)) check(d, cudaMemsetAsync(p, 0, bytes, d->stream), "zero");
}

int cuda_sync(struct device *d, struct err *err) {
    if (!d->first.code) check(d, cudaStreamSynchronize(d->stream), "sync");
    if (d->first.code && err) *err = d->first;
    return d->first.code;
}

/* ------------------------------------------------------------------ measuring */

bool cuda_measuring(const struct device *d) {
    return d->measuring;
}

void cuda_measure(struct device *d) {
    d->measuring = true;
    d->most_work = d->most_kept = d->most_once = 0;
}

void cuda_wants_once(struct device *d, size_t bytes) {
    if (bytes > d->most_once) d->most_once = bytes;
}

uint64_t cuda_measured(struct device *d) {
    /* The driver takes some by itself: kernels' code as they are first used, graphs, allocations
     * rounded up. */
    size_t driver = d->prop.totalGlobalMem / 128;
    d->measuring = false;
    return (uint64_t)d->most_work + d->most_kept + d->most_once + driver;
}

int cuda_reserve(struct device *d, struct err *err) {
    cuda_work(d, d->most_work);
    if (d->first.code && err) *err = d->first;
    return d->first.code;
}

/* ------------------------------------------------------------------ recordings */

struct recording {
    cudaGraphExec_t graph;
    uint64_t moves; /* the device's, when it was made */
};

bool cuda_recording(const struct device *d) {
    return d->recording;
}

void cuda_cannot_record(struct device *d) {
    d->unkept = true;
}

bool cuda_record(struct device *d) {
    if (d->no_record || d->first.code || d->recording) return false;
    if (cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    d->recording = true;
    d->unkept = d->was_early = false;
    return true;
}

/* The graph of a capture that went well; NULL otherwise. */
static cudaGraphExec_t instantiate(cudaGraph_t graph, bool unkept) {
    cudaGraphExec_t e = NULL;
    if (graph && !unkept && cudaGraphInstantiate(&e, graph, 0) != cudaSuccess) e = NULL;
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError(); /* what failed stays undone, that is all */
    return e;
}

struct recording *cuda_recorded(struct device *d) {
    cudaGraph_t graph = NULL;
    struct recording *r = (struct recording *)calloc(1, sizeof *r);
    if (cudaStreamEndCapture(d->stream, &graph) != cudaSuccess) graph = NULL;
    d->recording = d->was_early = false;
    cudaGraphExec_t e = instantiate(graph, d->unkept || !r);
    if (!e) {
        free(r);
        return NULL;
    }
    r->graph = e;
    r->moves = d->moves;
    return r;
}

bool cuda_replay(struct device *d, struct recording *r) {
    if (r->moves != d->moves) return false;
    if (cuda_may_launch(d)) check(d, cudaGraphLaunch(r->graph, d->stream), "replay");
    return true;
}

void cuda_forget(struct device *d, struct recording *r) {
    if (!r) return;
    cudaStreamSynchronize(d->stream); /* it may be running */
    cudaGraphExecDestroy(r->graph);
    free(r);
}

/* ------------------------------------------------------------------ opening */

/* Does nothing; whether it can be loaded says whether the module has code for the device. */
__global__ void nothing_kernel() {}

static int driver_ready(struct err *err) {
    int driver = 0, runtime = 0, n = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    cudaError_t e = cudaGetDeviceCount(&n);
    if (driver == 0)
        return fail(err, ERR_USAGE, "cuda: this machine has no NVIDIA driver; use --device cpu");
    if (e == cudaErrorInsufficientDriver)
        return fail(err, ERR_USAGE,
                    "cuda: the NVIDIA driver is for CUDA %d.%d, and this build needs %d.%d; "
                    "install a newer driver, or use --device cpu",
                    driver / 1000, driver % 100 / 10, runtime / 1000, runtime % 100 / 10);
    if (e == cudaErrorNoDevice || (e == cudaSuccess && n == 0))
        return fail(err, ERR_USAGE,
                    "cuda: no GPU to be seen; is CUDA_VISIBLE_DEVICES right? or use --device cpu");
    if (e != cudaSuccess) return fail(err, ERR_OTHER, "cuda: %s", cudaGetErrorString(e));
    return n;
}

int lory_cuda_ready(int ordinal, struct err *err) {
    cudaDeviceProp prop;
    cudaFuncAttributes code;
    int n = driver_ready(err);
    if (n < 0) return n;
    if (ordinal < 0 || ordinal >= n)
        return fail(err, ERR_USAGE, "cuda: GPU number %d; this machine has %d", ordinal, n);
    cudaError_t e = cudaSetDevice(ordinal);
    if (e == cudaSuccess) e = cudaGetDeviceProperties(&prop, ordinal);
    if (e != cudaSuccess)
        return fail(err, ERR_OTHER, "cuda: GPU %d: %s", ordinal, cudaGetErrorString(e));
    e = cudaFuncGetAttributes(&code, nothing_kernel);
    if (e != cudaSuccess)
        return fail(err, ERR_USAGE,
                    "cuda: %s is sm_%d%d, and this build has no machine code for it (%s); build "
                    "with -Dgpu_arch=sm_%d%d,ptx",
                    prop.name, prop.major, prop.minor, cudaGetErrorString(e), prop.major,
                    prop.minor);
    return 0;
}

/* A function of the driver, which nothing here links with. NULL: it has none. */
static void *driver_function(const char *name, unsigned version) {
    void *f = NULL;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    cudaError_t e = cudaGetDriverEntryPointByVersion(name, &f, version, cudaEnableDefault, &found);
    cudaGetLastError();
    return e == cudaSuccess && found == cudaDriverEntryPointSuccess ? f : NULL;
}

static int start(struct device *d, int ordinal, const char *plan_file, struct err *err) {
    int rc = lory_cuda_ready(ordinal, err);
    if (rc < 0) return rc;
    cudaGetLastError(); /* of an earlier attempt: no failure of this device */
    cudaError_t e = cudaSetDevice(ordinal);
    if (e == cudaSuccess) e = cudaGetDeviceProperties(&d->prop, ordinal);
    if (e == cudaSuccess) e = cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking);
    if (e != cudaSuccess)
        return fail(err, ERR_USAGE, "cuda: device %d: %s", ordinal, cudaGetErrorString(e));
    /* Code made from another GPU's PTX has no wait for the kernel before it. */
    cudaFuncAttributes code = {};
    d->can_begin_early =
        cudaFuncGetAttributes(&code, nothing_kernel) == cudaSuccess && code.ptxVersion >= 90;
    snprintf(d->text, sizeof d->text, "cuda: %s, %zu MiB, sm_%d%d, %s", d->prop.name,
             d->prop.totalGlobalMem >> 20, d->prop.major, d->prop.minor, d->bf16 ? "bf16" : "fp32");
    d->gemms = gemm_open(d, plan_file);
    if (d->first.code && err) *err = d->first;
    return d->first.code;
}

int cuda_open(struct device **ret, const struct device_opts *opts, struct err *err) {
    struct device *d = (struct device *)calloc(1, sizeof *d);
    if (!d) return fail(err, ERR_NOMEM, "out of memory");
    d->bf16 = opts->dtype == DTYPE_BF16;
    d->no_record = opts->no_record;
    int rc = start(d, opts->ordinal, opts->plan_file, err);
    if (rc == 0 && d->bf16 && d->prop.major == 9) {
        d->map_encoder = driver_function("cuTensorMapEncodeTiled", 12000);
        attention_find_ways(d, &d->attention);
    }
    if (rc == 0) rc = cuda_sync(d, err);
    if (rc < 0)
        cuda_close(d);
    else
        *ret = d;
    return rc;
}

void cuda_close(struct device *d) {
    if (!d) return;
    if (d->stream) cudaStreamSynchronize(d->stream);
    gemm_close(d->gemms);
    forget_kept(d);
    for (struct slot &s : d->slots) {
        if (s.done) cudaEventDestroy(s.done);
        cudaFreeHost(s.pinned);
    }
    cudaFree(d->work);
    if (d->stream) cudaStreamDestroy(d->stream);
    free(d);
}

const char *cuda_describe(const struct device *d) {
    return d->text;
}
