/* What several processes that train one model tell each other. A communicator is a struct of
 * functions, as a backend is: `self` (one process) and `tcp` (system memory) stand here; NCCL's
 * comes with the GPU module.
 *
 * Buffers lie in the memory of the device the communicator was made for, and calls are in order
 * with that device's operations: they return before the work is done, and the device's sync() or
 * the next barrier() reports what failed. All ranks make the same calls in the same order.
 *
 * Sums are in the buffer's type and, for the same number of ranks, give the same bits in every
 * run.
 *
 * Errors: ERR_PEER names what is known of a rank that failed or fell silent; the communicator is
 * then of no use but to close. One thread drives a communicator. */
#ifndef LORY_TRAIN_COMM_H
#define LORY_TRAIN_COMM_H

#include <stddef.h>
#include "base/err.h"

struct device;

struct comm {
    const char *name; /* "self", "tcp", "nccl" */
    int rank, size;
    void *inside;
    /* buf (n) = the sum over ranks. */
    int (*all_reduce)(struct comm *c, float *buf, size_t n, struct err *err);
    int (*all_reduce_double)(struct comm *c, double *buf, size_t n, struct err *err);
    /* part (n) = this rank's nth of the sum over ranks of whole (size * n). They may not overlap,
     * unless part is this rank's place in whole. */
    int (*reduce_scatter)(struct comm *c, float *part, const float *whole, size_t n,
                          struct err *err);
    /* whole (size * bytes) = every rank's part, in order of rank. As above. */
    int (*all_gather)(struct comm *c, void *whole, const void *part, size_t bytes, struct err *err);
    /* buf = that of rank `root`. */
    int (*broadcast)(struct comm *c, void *buf, size_t bytes, int root, struct err *err);
    /* Waits until all have come and all that was asked for is done; ERR_PEER after `seconds`. */
    int (*barrier)(struct comm *c, double seconds, struct err *err);
    void (*close)(struct comm *c); /* frees c */
};

/* Where a process stands among those that train together, and where rank 0 listens. */
struct comm_place {
    int rank, size;
    int local_rank;    /* among those of this machine                                     */
    char address[256]; /* a name or number; rank 0 listens there only                     */
    int port;
    double silence; /* rank 0: seconds to wait for a word of another rank; 0: 1800          */
};

/* Ranks over TCP, for buffers in the system's memory (a CPU's device, or what no device needs to
 * know). Sums are in order of rank. Returns when all have come; ERR_PEER after `seconds`, ERR_USAGE
 * where rank 0 cannot listen. Rank 0 waits in a call for as long as `silence` says, for one that is
 * stopped has not ended; the others wait for rank 0, which may be evaluating, as long as it lives.
 * ERR_NOMEM. */
int comm_tcp(struct comm **ret, const struct comm_place *p, double seconds, struct err *err);

/* How ranks of NCCL find each other. */
struct comm_opts {
    int rank, size;
    /* Gives every rank what rank 0 has in `data`: how is the caller's affair (a socket, a file).
     * Not called where size is 1. */
    int (*share)(void *ctx, void *data, size_t bytes, struct err *err);
    void *ctx;
};

/* The communicator of one process: copies where a rank would, else does nothing. `copy` moves bytes
 * of that device. ERR_NOMEM. */
int comm_self(struct comm **ret, struct device *d,
              void (*copy)(struct device *d, void *to, const void *from, size_t bytes),
              struct err *err);

#endif
