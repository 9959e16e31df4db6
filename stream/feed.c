/* Feeds from descriptors: see feed.h. */
#include "stream/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
