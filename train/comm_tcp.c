/* Ranks over TCP, for buffers in the system's memory: every rank talks to rank 0, which adds up in
 * order of rank and sends the sum back, so it has the same bits everywhere and in every run.
 *
 *   rank 1 ──┐
 *   rank 2 ──┼── rank 0       each message: what is being done and how many bytes, then the bytes
 *   rank 3 ──┘
 *
 * A rank that ends closes its connection, which all others see at their next call. */
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "base/buf.h"
#include "train/comm.h"

enum {
    CHUNK = 1 << 18, /* bytes added up at a time */
    SILENCE = 1800   /* seconds that rank 0 waits for another, unless told otherwise */
};

enum call { HELLO = 0x6C6F7279, REDUCE, GATHER, BROADCAST, BARRIER };

struct message {
    uint32_t call, rank;
    uint64_t bytes; /* of the whole call; of HELLO the number of ranks */
};

struct tcp {
    struct comm comm;
    int *fd; /* (size) rank 0: of each other rank; others: fd[0]; -1 */
    char *room;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ------------------------------------------------------------------ bytes */

static int lost(int rank, const char *why, struct err *err) {
    return err_set(err, ERR_PEER, "rank %d: %s", rank, why);
}

/* By errno; of a socket with a time limit EAGAIN is its end. */
static int failed(int rank, struct err *err) {
    bool silent = errno == EAGAIN || errno == EWOULDBLOCK;
    return lost(rank, silent ? "has fallen silent" : strerror(errno), err);
}

static int put(int fd, int rank, const void *p, size_t n, struct err *err) {
    const char *at = p;
    while (n > 0) {
        ssize_t k = send(fd, at, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return failed(rank, err);
        at += k;
        n -= (size_t)k;
    }
    return 0;
}

static int get(int fd, int rank, void *p, size_t n, struct err *err) {
    char *at = p;
    while (n > 0) {
        ssize_t k = recv(fd, at, n, 0);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return failed(rank, err);
        if (k == 0) return lost(rank, "has ended", err);
        at += k;
        n -= (size_t)k;
    }
    return 0;
}

/* Waits until there is something to read from a rank; ERR_PEER after `deadline`. */
static int await(int fd, int rank, double deadline, struct err *err) {
    for (;;) {
        double left = deadline - now();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = poll(&p, 1, left > 0 ? (int)(left * 1000) + 1 : 0);
        if (n > 0) return 0;
        if (n < 0 && errno != EINTR) return lost(rank, strerror(errno), err);
        if (now() >= deadline) return lost(rank, "did not come in time", err);
    }
}

static int say(const struct tcp *t, int to, enum call call, uint64_t bytes, struct err *err) {
    struct message m = {call, (uint32_t)t->comm.rank, bytes};
    return put(t->fd[to], to, &m, sizeof m, err);
}

/* The other side must be at the same call. */
static int hear(const struct tcp *t, int from, enum call call, uint64_t bytes, struct err *err) {
    struct message m;
    int rc = get(t->fd[from], from, &m, sizeof m, err);
    if (rc == 0 && (m.call != (uint32_t)call || m.rank != (uint32_t)from || m.bytes != bytes))
        return lost(from, "is at another place of the work", err);
    return rc;
}

/* ------------------------------------------------------------------ the calls */

/* Adds `bytes` of `with` to `buf`. */
static void add(void *buf, const void *with, size_t bytes, bool doubles) {
    if (doubles) {
        double *x = buf;
        const double *y = with;
        for (size_t i = 0; i < bytes / sizeof *x; i++) x[i] += y[i];
    } else {
        float *x = buf;
        const float *y = with;
        for (size_t i = 0; i < bytes / sizeof *x; i++) x[i] += y[i];
    }
}

static int reduce(struct comm *c, void *buf, size_t bytes, bool doubles, struct err *err) {
    struct tcp *t = c->inside;
    int rc = 0;
    if (c->rank > 0) rc = say(t, 0, REDUCE, bytes, err);
    for (int r = 1; rc == 0 && c->rank == 0 && r < c->size; r++)
        rc = hear(t, r, REDUCE, bytes, err);
    for (size_t at = 0; rc == 0 && at < bytes; at += CHUNK) {
        char *p = (char *)buf + at;
        size_t n = bytes - at < CHUNK ? bytes - at : CHUNK;
        if (c->rank > 0) {
            rc = put(t->fd[0], 0, p, n, err);
            if (rc == 0) rc = get(t->fd[0], 0, p, n, err);
            continue;
        }
        for (int r = 1; rc == 0 && r < c->size; r++) {
            rc = get(t->fd[r], r, t->room, n, err);
            if (rc == 0) add(p, t->room, n, doubles);
        }
        for (int r = 1; rc == 0 && r < c->size; r++) rc = put(t->fd[r], r, p, n, err);
    }
    return rc;
}

static int tcp_all_reduce(struct comm *c, float *buf, size_t n, struct err *err) {
    return reduce(c, buf, n * sizeof *buf, false, err);
}

static int tcp_all_reduce_double(struct comm *c, double *buf, size_t n, struct err *err) {
    return reduce(c, buf, n * sizeof *buf, true, err);
}

static int tcp_reduce_scatter(struct comm *c, float *part, const float *whole, size_t n,
                              struct err *err) {
    size_t all = n * (size_t)c->size;
    float *sum = mem_array(all, sizeof *sum);
    if (!sum) return err_nomem(err, all * sizeof *sum);
    memcpy(sum, whole, all * sizeof *sum);
    int rc = tcp_all_reduce(c, sum, all, err);
    if (rc == 0) memcpy(part, sum + n * (size_t)c->rank, n * sizeof *part);
    free(sum);
    return rc;
}

static int tcp_broadcast(struct comm *c, void *buf, size_t bytes, int root, struct err *err) {
    struct tcp *t = c->inside;
    int rc = 0;
    if (root < 0 || root >= c->size)
        return err_set(err, ERR_OTHER, "broadcast from rank %d of %d", root, c->size);
    if (root != 0 && c->rank == root) { /* by way of rank 0 */
        rc = say(t, 0, BROADCAST, bytes, err);
        return rc < 0 ? rc : put(t->fd[0], 0, buf, bytes, err);
    }
    if (c->rank > 0) {
        rc = hear(t, 0, BROADCAST, bytes, err);
        return rc < 0 ? rc : get(t->fd[0], 0, buf, bytes, err);
    }
    if (root != 0) {
        rc = hear(t, root, BROADCAST, bytes, err);
        if (rc == 0) rc = get(t->fd[root], root, buf, bytes, err);
    }
    for (int r = 1; rc == 0 && r < c->size; r++) {
        if (r == root) continue;
        rc = say(t, r, BROADCAST, bytes, err);
        if (rc == 0) rc = put(t->fd[r], r, buf, bytes, err);
    }
    return rc;
}

static int tcp_all_gather(struct comm *c, void *whole, const void *part, size_t bytes,
                          struct err *err) {
    struct tcp *t = c->inside;
    char *mine = (char *)whole + bytes * (size_t)c->rank;
    int rc = 0;
    if (part != mine) memmove(mine, part, bytes);
    if (c->rank > 0) {
        rc = say(t, 0, GATHER, bytes, err);
        if (rc == 0) rc = put(t->fd[0], 0, mine, bytes, err);
    }
    for (int r = 1; rc == 0 && c->rank == 0 && r < c->size; r++) {
        rc = hear(t, r, GATHER, bytes, err);
        if (rc == 0) rc = get(t->fd[r], r, (char *)whole + bytes * (size_t)r, bytes, err);
    }
    return rc < 0 ? rc : tcp_broadcast(c, whole, bytes * (size_t)c->size, 0, err);
}

static int tcp_barrier(struct comm *c, double seconds, struct err *err) {
    struct tcp *t = c->inside;
    double deadline = now() + seconds;
    int rc = 0;
    if (c->rank > 0) {
        rc = say(t, 0, BARRIER, 0, err);
        if (rc == 0) rc = await(t->fd[0], 0, deadline, err);
        return rc < 0 ? rc : hear(t, 0, BARRIER, 0, err);
    }
    for (int r = 1; rc == 0 && r < c->size; r++) {
        rc = await(t->fd[r], r, deadline, err);
        if (rc == 0) rc = hear(t, r, BARRIER, 0, err);
    }
    for (int r = 1; rc == 0 && r < c->size; r++) rc = say(t, r, BARRIER, 0, err);
    return rc;
}

static void tcp_close(struct comm *c) {
    if (!c) return;
    struct tcp *t = c->inside;
    for (int r = 0; t->fd && r < c->size; r++)
        if (t->fd[r] >= 0) close(t->fd[r]);
    free(t->fd);
    free(t->room);
    free(t);
}

/* ------------------------------------------------------------------ meeting */

/* Small messages go at once, and a machine that is gone is noticed in minutes. */
static void prepare(int fd) {
    int yes = 1, idle = 60, count = 4;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static int resolve(struct addrinfo **ret, const struct comm_place *p, struct err *err) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char port[16];
    snprintf(port, sizeof port, "%d", p->port);
    int e = getaddrinfo(p->address, port, &hints, ret);
    if (e == 0) return 0;
    return err_set(err, ERR_USAGE, "rank 0's address %s: %s", p->address, gai_strerror(e));
}

static int listen_at(const struct comm_place *p, int *ret_fd, struct err *err) {
    struct addrinfo *a = NULL;
    int yes = 1, rc = resolve(&a, p, err);
    if (rc < 0) return rc;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd < 0 || bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 128) < 0) {
        rc = err_set(err, ERR_USAGE, "rank 0 cannot listen at %s port %d: %s", p->address, p->port,
                     strerror(errno));
        err_hint(err,
                 "set MASTER_ADDR to an address of this machine and MASTER_PORT to a free port");
        if (fd >= 0) close(fd);
    } else {
        *ret_fd = fd;
    }
    freeaddrinfo(a);
    return rc;
}

static void limit_waiting(int fd, double seconds) {
    struct timeval t = {(time_t)seconds, (suseconds_t)((seconds - floor(seconds)) * 1e6)};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

/* One connection taken in. Whoever says something else than a rank of ours is turned away. */
static int take_in(struct tcp *t, int listening, double deadline, double silence, struct err *err) {
    struct message m;
    struct err ignored = {0};
    int fd = accept(listening, NULL, NULL);
    if (fd < 0) return errno == EINTR ? 0 : err_set(err, ERR_PEER, "accept: %s", strerror(errno));
    prepare(fd);
    limit_waiting(fd, silence > 0 ? silence : SILENCE);
    bool right = await(fd, 0, deadline, &ignored) == 0 && get(fd, 0, &m, sizeof m, &ignored) == 0 &&
                 m.call == HELLO && m.bytes == (uint64_t)t->comm.size && m.rank > 0 &&
                 m.rank < (uint32_t)t->comm.size && t->fd[m.rank] < 0;
    if (right)
        t->fd[m.rank] = fd;
    else
        close(fd);
    return right;
}

static int gather_ranks(struct tcp *t, const struct comm_place *p, double deadline,
                        struct err *err) {
    int listening = -1, there = 1, rc = listen_at(p, &listening, err);
    while (rc == 0 && there < t->comm.size) {
        int missing = 1;
        while (t->fd[missing] >= 0) missing++;
        rc = await(listening, missing, deadline, err);
        if (rc == 0) rc = take_in(t, listening, deadline, p->silence, err);
        if (rc > 0) there += rc, rc = 0;
    }
    if (listening >= 0) close(listening);
    return rc;
}

/* Rank 0 may not be there yet. */
static int find_first(struct tcp *t, const struct comm_place *p, double deadline, struct err *err) {
    struct addrinfo *a = NULL;
    struct timespec pause = {0, 50000000};
    int rc = resolve(&a, p, err);
    if (rc < 0) return rc;
    while (t->fd[0] < 0 && rc == 0) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0) {
            t->fd[0] = fd;
            break;
        }
        if (now() > deadline)
            rc = err_set(err, ERR_PEER, "rank 0 is not at %s port %d: %s", p->address, p->port,
                         strerror(errno));
        if (fd >= 0) close(fd);
        nanosleep(&pause, NULL);
    }
    freeaddrinfo(a);
    if (rc < 0) return rc;
    prepare(t->fd[0]);
    return say(t, 0, HELLO, (uint64_t)t->comm.size, err);
}

int comm_tcp(struct comm **ret, const struct comm_place *p, double seconds, struct err *err) {
    struct tcp *t = calloc(1, sizeof *t);
    if (!t) return err_nomem(err, sizeof *t);
    double deadline = now() + seconds;
    t->comm = (struct comm){.name = "tcp",
                            .rank = p->rank,
                            .size = p->size,
                            .inside = t,
                            .all_reduce = tcp_all_reduce,
                            .all_reduce_double = tcp_all_reduce_double,
                            .reduce_scatter = tcp_reduce_scatter,
                            .all_gather = tcp_all_gather,
                            .broadcast = tcp_broadcast,
                            .barrier = tcp_barrier,
                            .close = tcp_close};
    t->fd = mem_array((size_t)p->size, sizeof *t->fd);
    t->room = malloc(CHUNK);
    int rc = t->fd && t->room ? 0 : err_nomem(err, CHUNK);
    for (int r = 0; rc == 0 && r < p->size; r++) t->fd[r] = -1;
    if (rc == 0)
        rc = p->rank == 0 ? gather_ranks(t, p, deadline, err) : find_first(t, p, deadline, err);
    if (rc == 0) rc = tcp_barrier(&t->comm, deadline - now(), err);
    if (rc < 0)
        tcp_close(&t->comm);
    else
        *ret = &t->comm;
    return rc;
}
