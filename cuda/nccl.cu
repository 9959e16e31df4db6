/* The communicator over NCCL (train/comm.h): its calls go into the device's stream.
 *
 * The library is opened when a communicator is asked for, so that the module serves machines
 * without it too.
 *
 * A rank that dies leaves the others waiting inside a kernel; so barrier() watches NCCL's own
 * report of failures and the clock, and aborts the communicator when either says that a peer is
 * gone. */
#include <dlfcn.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cuda/comm.h"
#include "cuda/kernel.cuh"

/* What is used of the library. */
#define NCCL_CALLS(X)                                                                              \
    X(AllReduce)                                                                                   \
    X(ReduceScatter)                                                                               \
    X(AllGather)                                                                                   \
    X(Broadcast)                                                                                   \
    X(CommGetAsyncError)                                                                           \
    X(CommAbort)                                                                                   \
    X(CommDestroy)                                                                                 \
    X(CommInitRank)                                                                                \
    X(GetUniqueId)                                                                                 \
    X(GetErrorString)                                                                              \
    X(GetLastError)

struct library {
#define X(name) decltype(nccl##name) *name;
    NCCL_CALLS(X)
#undef X
    void *handle;
};

struct nccl {
    struct comm comm;
    struct device *device;
    struct library lib;
    ncclComm_t nccl; /* NULL after an abort */
    float *one;      /* a float on the device, for barriers */
    cudaEvent_t reached;
};

static int fail(struct err *err, int code, const char *what, const char *why) {
    if (err) {
        memset(err, 0, sizeof *err);
        err->code = code;
        snprintf(err->msg, sizeof err->msg, "nccl: %s: %s", what, why);
    }
    return code;
}

static int check(struct nccl *c, ncclResult_t r, const char *what, struct err *err) {
    if (r == ncclSuccess) return 0;
    const char *more = c->nccl ? c->lib.GetLastError(c->nccl) : "";
    int code = r == ncclRemoteError || r == ncclSystemError ? ERR_PEER : ERR_OTHER;
    return fail(err, code, what, more && *more ? more : c->lib.GetErrorString(r));
}

static int gone(const char *what, struct err *err) {
    return fail(err, ERR_PEER, what, "the communicator was given up after an earlier failure");
}

static int nccl_all_reduce(struct comm *comm, float *buf, size_t n, struct err *err) {
    struct nccl *c = (struct nccl *)comm->inside;
    if (!c->nccl) return gone("all-reduce", err);
    return check(c,
                 c->lib.AllReduce(buf, buf, n, ncclFloat, ncclSum, c->nccl, cuda_stream(c->device)),
                 "all-reduce", err);
}

static int nccl_all_reduce_double(struct comm *comm, double *buf, size_t n, struct err *err) {
    struct nccl *c = (struct nccl *)comm->inside;
    if (!c->nccl) return gone("all-reduce", err);
    return check(
        c, c->lib.AllReduce(buf, buf, n, ncclDouble, ncclSum, c->nccl, cuda_stream(c->device)),
        "all-reduce", err);
}

static int nccl_reduce_scatter(struct comm *comm, float *part, const float *whole, size_t n,
                               struct err *err) {
    struct nccl *c = (struct nccl *)comm->inside;
    if (!c->nccl) return gone("reduce-scatter", err);
    return check(
        c,
        c->lib.ReduceScatter(whole, part, n, ncclFloat, ncclSum, c->nccl, cuda_stream(c->device)),
        "reduce-scatter", err);
}

static int nccl_all_gather(struct comm *comm, void *whole, const void *part, size_t bytes,
                           struct err *err) {
    struct nccl *c = (struct nccl *)comm->inside;
    if (!c->nccl) return gone("all-gather", err);
    return check(c,
                 c->lib.AllGather(part, whole, bytes, ncclUint8, c->nccl, cuda_stream(c->device)),
                 "all-gather", err);
}

static int nccl_broadcast(struct comm *comm, void *buf, size_t bytes, int root, struct err *err) {
    struct nccl *c = (struct nccl *)comm->inside;
    if (!c->nccl) return gone("broadcast", err);
    return check(
        c, c->lib.Broadcast(buf, buf, bytes, ncclUint8, root, c->nccl, cuda_stream(c->device)),
        "broadcast", err);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Waits for `reached`, at most until `deadline`. */
static int wait_event(struct nccl *c, double deadline, struct err *err) {
    struct timespec pause = {0, 200000};
    for (;;) {
        ncclResult_t async = ncclSuccess;
        cudaError_t e = cudaEventQuery(c->reached);
        if (e == cudaSuccess) return 0;
        if (e != cudaErrorNotReady) return fail(err, ERR_OTHER, "barrier", cudaGetErrorString(e));
        if (c->lib.CommGetAsyncError(c->nccl, &async) != ncclSuccess || async != ncclSuccess)
            return fail(err, ERR_PEER, "barrier", c->lib.GetErrorString(async));
        if (now() > deadline) return fail(err, ERR_PEER, "barrier", "a rank did not come in time");
        nanosleep(&pause, NULL);
    }
}

static int nccl_barrier(struct comm *comm, double seconds, struct err *err) {
    struct nccl *c = (struct nccl *)comm->inside;
    double deadline = now() + seconds;
    if (!c->nccl) return gone("barrier", err);
    int rc = nccl_all_reduce(comm, c->one, 1, err);
    if (rc == 0 && cudaEventRecord(c->reached, cuda_stream(c->device)) != cudaSuccess)
        rc = fail(err, ERR_OTHER, "barrier", cudaGetErrorString(cudaGetLastError()));
    if (rc == 0) rc = wait_event(c, deadline, err);
    if (rc == ERR_PEER) { /* frees the stream of what waits for the peer */
        c->lib.CommAbort(c->nccl);
        c->nccl = NULL;
    }
    return rc;
}

static void nccl_close(struct comm *comm) {
    if (!comm) return;
    struct nccl *c = (struct nccl *)comm->inside;
    if (c->nccl) c->lib.CommDestroy(c->nccl);
    if (c->reached) cudaEventDestroy(c->reached);
    cudaFree(c->one);
    if (c->lib.handle) dlclose(c->lib.handle);
    free(c);
}

static int open_library(struct library *lib, struct err *err) {
    lib->handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!lib->handle) return fail(err, ERR_USAGE, "the library does not open", dlerror());
#define X(name)                                                                                    \
    lib->name = (decltype(lib->name))dlsym(lib->handle, "nccl" #name);                             \
    if (!lib->name) return fail(err, ERR_USAGE, "too old a library, without", #name);
    NCCL_CALLS(X)
#undef X
    return 0;
}

static int begin(struct nccl *c, const struct comm_opts *o, struct err *err) {
    ncclUniqueId id;
    memset(&id, 0, sizeof id);
    int rc = open_library(&c->lib, err);
    if (rc == 0 && o->rank == 0) rc = check(c, c->lib.GetUniqueId(&id), "start", err);
    if (rc == 0 && o->size > 1) rc = o->share(o->ctx, &id, sizeof id, err);
    if (rc == 0) rc = check(c, c->lib.CommInitRank(&c->nccl, o->size, id, o->rank), "start", err);
    if (rc == 0 && (cudaMalloc((void **)&c->one, sizeof(float)) != cudaSuccess ||
                    cudaMemset(c->one, 0, sizeof(float)) != cudaSuccess ||
                    cudaEventCreateWithFlags(&c->reached, cudaEventDisableTiming) != cudaSuccess))
        rc = fail(err, ERR_OTHER, "start", cudaGetErrorString(cudaGetLastError()));
    return rc;
}

int lory_cuda_comm(struct comm **ret, struct device *d, const struct comm_opts *o,
                   struct err *err) {
    struct nccl *c = (struct nccl *)calloc(1, sizeof *c);
    if (!c) return fail(err, ERR_NOMEM, "start", "out of memory");
    c->device = d;
    c->comm.name = "nccl";
    c->comm.rank = o->rank;
    c->comm.size = o->size;
    c->comm.inside = c;
    c->comm.all_reduce = nccl_all_reduce;
    c->comm.all_reduce_double = nccl_all_reduce_double;
    c->comm.reduce_scatter = nccl_reduce_scatter;
    c->comm.all_gather = nccl_all_gather;
    c->comm.broadcast = nccl_broadcast;
    c->comm.barrier = nccl_barrier;
    c->comm.close = nccl_close;
    int rc = begin(c, o, err);
    if (rc < 0)
        nccl_close(&c->comm);
    else
        *ret = &c->comm;
    return rc;
}
