/* Local files, read by offset: see blob.h. Those of addresses are made in remote.c. */
#include "stream/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_blob {
    int fd;
    char *name;
};

static int file_read_at(void *ctx, uint64_t at, void *to, size_t n, struct err *err) {
    struct file_blob *f = ctx;
    for (char *v = to; n;) {
        ssize_t got = pread(f->fd, v, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return err_errno(err, "%s", f->name);
        if (got == 0) return err_set(err, ERR_DATA, "%s: has become shorter", f->name);
        v += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

static void file_close(void *ctx) {
    struct file_blob *f = ctx;
    close(f->fd);
    free(f->name);
    free(f);
}

int blob_file(struct blob *ret, const char *path, struct err *err) {
    struct stat is;
    struct file_blob *f = calloc(1, sizeof *f);
    if (f) f->name = strdup(path);
    if (!f || !f->name) {
        free(f);
        return err_nomem(err, strlen(path));
    }
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0 || fstat(f->fd, &is) < 0) {
        int rc = err_errno(err, "%s", path);
        if (f->fd >= 0) close(f->fd);
        free(f->name);
        free(f);
        return rc;
    }
    *ret = (struct blob){file_read_at, file_close, f, (uint64_t)is.st_size};
    return 0;
}
