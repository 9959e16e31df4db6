/* Feeds from descriptors, and the read-ahead for slow ones: see feed.h.
 *
 *   feed_ahead:   thread ─▶ [block][block][block][block] ─▶ read()      a ring; `head` counts
 *                 blocks filled, `tail` blocks emptied; both only grow */
#include "stream/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------ descriptors */

struct fd_feed {
    int fd, wake; /* wake: -1 if nobody wakes it */
    char *name;
};

/* Waits until there is something to read, or somebody wakes us. */
static int wait_for(const struct fd_feed *f, struct err *err) {
    struct pollfd v[] = {{.fd = f->fd, .events = POLLIN}, {.fd = f->wake, .events = POLLIN}};
    while (poll(v, 2, -1) < 0)
        if (errno != EINTR) return err_errno(err, "%s", f->name);
    return v[1].revents ? err_set(err, ERR_STOPPED, "interrupted") : 0;
}

static long fd_read(void *ctx, void *bytes, size_t n, struct err *err) {
    struct fd_feed *f = ctx;
    for (;;) {
        int rc = f->wake < 0 ? 0 : wait_for(f, err);
        if (rc < 0) return rc;
        ssize_t got = read(f->fd, bytes, n);
        if (got >= 0) return (long)got;
        if (errno != EINTR) return err_errno(err, "%s", f->name);
    }
}

static void fd_close(void *ctx) {
    struct fd_feed *f = ctx;
    if (f->fd != STDIN_FILENO) close(f->fd);
    free(f->name);
    free(f);
}

static int fd_seek(void *ctx, uint64_t to, struct err *err) {
    struct fd_feed *f = ctx;
    return lseek(f->fd, (off_t)to, SEEK_SET) < 0 ? err_errno(err, "%s", f->name) : 0;
}

static int fd_feed(int fd, const char *name, struct feed *ret, struct err *err) {
    struct fd_feed *f = malloc(sizeof *f);
    char *copy = strdup(name);
    if (!f || !copy) {
        free(f);
        free(copy);
        return err_nomem(err, sizeof *f);
    }
    *f = (struct fd_feed){fd, -1, copy};
    struct stat is;
    bool regular = fstat(fd, &is) == 0 && S_ISREG(is.st_mode);
    *ret = (struct feed){fd_read, fd_close, f, regular ? fd_seek : NULL};
    return 0;
}

int feed_file(const char *path, struct feed *ret, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_errno(err, "%s", path);
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a wish: a pipe cannot, and need not */
    int rc = fd_feed(fd, path, ret, err);
    if (rc < 0) close(fd);
    return rc;
}

int feed_stdin(struct feed *ret, struct err *err) {
    return fd_feed(STDIN_FILENO, "stdin", ret, err);
}

int feed_live(const char *path, int wake, struct feed *ret, int *live, struct err *err) {
    struct stat is;
    int rc = strcmp(path, "-") ? feed_file(path, ret, err) : feed_stdin(ret, err);
    *live = -1;
    if (rc < 0) return rc;
    struct fd_feed *f = ret->ctx;
    if (fstat(f->fd, &is) < 0 || S_ISREG(is.st_mode)) return 0;
    f->wake = wake;
    *live = f->fd;
    return 0;
}

bool feed_waits(int live) {
    struct pollfd v = {.fd = live, .events = POLLIN};
    return poll(&v, 1, 0) == 0;
}

/* ------------------------------------------------------------------ read ahead */

enum { BLOCK_BYTES = 256 << 10, BLOCKS = 4 };

struct ahead {
    struct feed from;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool running;      /* there is a thread                                    */
    uint64_t direct;   /* bytes still to be read without one                   */
    size_t head, tail; /* blocks filled, blocks emptied; head - tail <= BLOCKS */
    size_t at;         /* bytes of block `tail` already handed out             */
    bool ended, quit;
    int rc; /* what from.read failed with; in force after the last block */
    struct err failed;
    size_t n[BLOCKS];
    char *v; /* BLOCKS * BLOCK_BYTES */
};

/* Fills a block as far as the feed gives without waiting twice: a slow line delivers early. */
static void *ahead_loop(void *ctx) {
    struct ahead *a = ctx;
    bool ended = false;
    while (!ended) {
        pthread_mutex_lock(&a->lock);
        while (a->head - a->tail == BLOCKS && !a->quit) pthread_cond_wait(&a->change, &a->lock);
        size_t i = a->head % BLOCKS;
        bool quit = a->quit;
        pthread_mutex_unlock(&a->lock);
        if (quit) break;
        struct err failed = {0};
        long got = a->from.read(a->from.ctx, a->v + i * BLOCK_BYTES, BLOCK_BYTES, &failed);
        pthread_mutex_lock(&a->lock);
        if (got > 0)
            a->n[i] = (size_t)got, a->head++;
        else {
            a->ended = ended = true;
            a->rc = (int)got;
            a->failed = failed;
        }
        pthread_cond_signal(&a->change);
        pthread_mutex_unlock(&a->lock);
    }
    return NULL;
}

static int ahead_start(struct ahead *a, struct err *err) {
    int no = pthread_create(&a->thread, NULL, ahead_loop, a);
    if (no) {
        errno = no;
        return err_errno(err, "cannot start a thread to read ahead");
    }
    a->running = true;
    return 0;
}

/* Waits for the read that is under way; what was read ahead is forgotten. */
static void ahead_stop(struct ahead *a) {
    if (!a->running) return;
    pthread_mutex_lock(&a->lock);
    a->quit = true;
    pthread_cond_signal(&a->change);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    a->head = a->tail = a->at = 0;
    a->rc = 0;
    a->running = a->ended = a->quit = false;
}

static long read_direct(struct ahead *a, void *bytes, size_t n, struct err *err) {
    long got = a->from.read(a->from.ctx, bytes, n < a->direct ? n : (size_t)a->direct, err);
    a->direct -= got > 0 ? (uint64_t)got : 0;
    return got;
}

static long ahead_read(void *ctx, void *bytes, size_t n, struct err *err) {
    struct ahead *a = ctx;
    if (a->direct) return read_direct(a, bytes, n, err);
    if (!a->running) {
        int rc = ahead_start(a, err);
        if (rc < 0) return rc;
    }
    pthread_mutex_lock(&a->lock);
    while (a->head == a->tail && !a->ended) pthread_cond_wait(&a->change, &a->lock);
    bool empty = a->head == a->tail;
    pthread_mutex_unlock(&a->lock);
    if (empty) {
        if (a->rc < 0 && err) *err = a->failed;
        return a->rc;
    }
    size_t i = a->tail % BLOCKS, left = a->n[i] - a->at;
    if (n > left) n = left;
    memcpy(bytes, a->v + i * BLOCK_BYTES + a->at, n);
    a->at += n;
    if (n == left) {
        pthread_mutex_lock(&a->lock);
        a->at = 0;
        a->tail++;
        pthread_cond_signal(&a->change);
        pthread_mutex_unlock(&a->lock);
    }
    return (long)n;
}

static void ahead_free(struct ahead *a) {
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->change);
    free(a->v);
    free(a);
}

static void ahead_close(void *ctx) {
    struct ahead *a = ctx;
    ahead_stop(a);
    a->from.close(a->from.ctx);
    ahead_free(a);
}

static int ahead_seek(void *ctx, uint64_t to, struct err *err) {
    struct ahead *a = ctx;
    ahead_stop(a);
    a->direct = 0;
    return a->from.seek(a->from.ctx, to, err);
}

int feed_ahead(struct feed from, uint64_t head, struct feed *ret, struct err *err) {
    struct ahead *a = calloc(1, sizeof *a);
    if (!a) return err_nomem(err, sizeof *a);
    a->from = from;
    a->direct = head;
    a->v = malloc((size_t)BLOCKS * BLOCK_BYTES);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->change, NULL);
    int rc = !a->v  ? err_nomem(err, (uint64_t)BLOCKS * BLOCK_BYTES)
             : head ? 0
                    : ahead_start(a, err);
    if (rc < 0)
        ahead_free(a);
    else
        *ret = (struct feed){ahead_read, ahead_close, a, from.seek ? ahead_seek : NULL};
    return rc;
}
