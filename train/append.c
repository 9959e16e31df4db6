/* Appending records: see append.h. */
#include "train/append.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int append_open(struct append *ret, const char *path, struct err *err) {
    char *copy = strdup(path);
    if (!copy) return err_nomem(err, strlen(path) + 1);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        int rc = err_errno(err, "%s", path);
        free(copy);
        return rc;
    }
    *ret = (struct append){.fd = fd, .path = copy};
    return 0;
}

int append_write(struct append *a, const void *bytes, size_t n, struct err *err) {
    const char *p = bytes;
    while (n) {
        ssize_t w = write(a->fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) return err_errno(err, "%s", a->path);
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

int append_sync(struct append *a, struct err *err) {
    if (fsync(a->fd) < 0 && errno != EINVAL && errno != ENOTSUP)
        return err_errno(err, "%s", a->path);
    return 0;
}

void append_close(struct append *a) {
    if (a->path) close(a->fd);
    free(a->path);
    *a = (struct append){0};
}
