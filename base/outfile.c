/* Artefacts that appear whole or not at all: the picture is in file.h.
 *
 * Three cases: a regular file (temporary name, rename), a device or pipe (written directly), and
 * stdout. The temporary file is locked while it is written, so that file_sweep() can tell a living
 * writer from a dead one even when it cannot see its process. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20, TMP_NAME_MAX = 200 };

struct outfile {
    int fd;
    char *path; /* the final name; "stdout" in messages                       */
    char *tmp;  /* the temporary name; NULL when written directly             */
    bool keep;  /* it stays when aborted: outfile_resume()                    */
    uint64_t flushed;
    size_t n; /* bytes waiting in `v`                                       */
    char v[BUFFER_BYTES];
};

static void outfile_free(struct outfile *f) {
    if (f->fd > STDERR_FILENO) close(f->fd);
    free(f->path);
    free(f->tmp);
    free(f);
}

static int write_all(struct outfile *f, const char *v, size_t n, struct err *err) {
    while (n) {
        ssize_t w = write(f->fd, v, n);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0 && errno == EAGAIN) { /* a pipe that someone made non-blocking */
            poll(&(struct pollfd){.fd = f->fd, .events = POLLOUT}, 1, -1);
            continue;
        }
        if (w < 0) return err_errno(err, "%s", f->path);
        v += w;
        n -= (size_t)w;
        f->flushed += (uint64_t)w;
    }
    return 0;
}

/* dir/.NAME.tmp-PID */
static char *tmp_name(const char *path) {
    char *dir = path_dir(path), *tmp = NULL;
    char name[TMP_NAME_MAX + 32];
    snprintf(name, sizeof name, ".%.*s.tmp-%d", TMP_NAME_MAX, path_base(path), (int)getpid());
    if (dir) tmp = path_join(dir, name);
    free(dir);
    return tmp;
}

/* Removes a temporary file of our own name that nobody holds: of an earlier process with our
 * number. True if it is gone. */
static bool take_over(const char *tmp) {
    int fd = open(tmp, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return errno == ENOENT;
    bool gone = flock(fd, LOCK_EX | LOCK_NB) == 0 && unlink(tmp) == 0;
    close(fd);
    return gone;
}

static int open_tmp(struct outfile *f, struct err *err) {
    f->tmp = tmp_name(f->path);
    if (!f->tmp) return err_nomem(err, strlen(f->path));
    int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
    f->fd = open(f->tmp, flags, 0666);
    if (f->fd < 0 && errno == EEXIST) {
        if (!take_over(f->tmp)) {
            int rc = err_set(err, ERR_IO, "%s: is being written already (%s)", f->path, f->tmp);
            free(f->tmp); /* not ours to remove */
            f->tmp = NULL;
            return rc;
        }
        f->fd = open(f->tmp, flags, 0666);
    }
    if (f->fd < 0) return err_errno(err, "%s", f->path);
    flock(f->fd,
          LOCK_EX | LOCK_NB); /* not every file system can; then the process number decides */
    return 0;
}

/* Names that stand for an open descriptor: renaming over what they lead to would cut the reader
 * off. */
static bool names_descriptor(const char *path) {
    return !strncmp(path, "/dev/fd/", 8) || !strncmp(path, "/proc/", 6) ||
           !strcmp(path, "/dev/stdout") || !strcmp(path, "/dev/stderr");
}

static int open_target(struct outfile *f, const char *path, bool swept, struct err *err) {
    bool to_stdout = !strcmp(path, "-");
    enum file_kind kind = to_stdout ? FILE_OTHER : file_kind(path);
    if (kind == FILE_FOLDER) return err_set(err, ERR_IO, "%s: is a folder", path);
    if (to_stdout)
        f->path = strdup("stdout");
    else if (kind == FILE_REGULAR)
        f->path = realpath(path, NULL); /* a link stays a link */
    else
        f->path = strdup(path);
    if (!f->path) return err_errno(err, "%s", path);
    if (to_stdout) {
        f->fd = STDOUT_FILENO;
        return 0;
    }
    if (kind != FILE_OTHER && !names_descriptor(path)) {
        if (!swept) file_sweep_of(f->path);
        return open_tmp(f, err);
    }
    f->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return f->fd < 0 ? err_errno(err, "%s", path) : 0;
}

static int open_new(struct outfile **ret, const char *path, bool swept, struct err *err) {
    struct outfile *f = malloc(sizeof *f);
    if (!f) return err_nomem(err, sizeof *f);
    f->fd = -1;
    f->path = f->tmp = NULL;
    f->keep = false;
    f->flushed = f->n = 0;
    int rc =
        *path ? open_target(f, path, swept, err) : err_set(err, ERR_USAGE, "empty name for a file");
    if (rc < 0)
        outfile_free(f);
    else
        *ret = f;
    return rc;
}

int outfile_open(struct outfile **ret, const char *path, struct err *err) {
    return open_new(ret, path, false, err);
}

int outfile_open_swept(struct outfile **ret, const char *path, struct err *err) {
    return open_new(ret, path, true, err);
}

/* dir/.NAME.partial */
static char *partial_name(const char *path) {
    char *dir = path_dir(path), *partial = NULL;
    char name[TMP_NAME_MAX + 32];
    snprintf(name, sizeof name, ".%.*s.partial", TMP_NAME_MAX, path_base(path));
    if (dir) partial = path_join(dir, name);
    free(dir);
    return partial;
}

static int open_partial(struct outfile *f, uint64_t at, struct err *err) {
    struct stat is;
    f->tmp = partial_name(f->path);
    if (!f->tmp) return err_nomem(err, strlen(f->path));
    if (at && file_kind(f->tmp) == FILE_NONE && file_kind(f->path) == FILE_REGULAR &&
        rename(f->path, f->tmp) < 0) /* committed after `at` was noted: taken back */
        return err_errno(err, "%s", f->path);
    f->fd = open(f->tmp, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (f->fd < 0 || fstat(f->fd, &is) < 0) return err_errno(err, "%s", f->tmp);
    if (flock(f->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return err_set(err, ERR_IO, "%s: is being written already (%s)", f->path, f->tmp);
    if (!is.st_size && at) unlink(f->tmp); /* made just now: there was none */
    if ((uint64_t)is.st_size < at)
        return err_set(err, ERR_CORRUPT, "%s: holds %llu bytes, should hold %llu", f->tmp,
                       (unsigned long long)is.st_size, (unsigned long long)at);
    if (ftruncate(f->fd, (off_t)at) < 0 || lseek(f->fd, (off_t)at, SEEK_SET) < 0)
        return err_errno(err, "%s", f->tmp);
    f->flushed = at;
    return 0;
}

int outfile_resume(struct outfile **ret, const char *path, uint64_t at, struct err *err) {
    enum file_kind kind = file_kind(path);
    if (!*path || !strcmp(path, "-") || names_descriptor(path) ||
        (kind != FILE_NONE && kind != FILE_REGULAR))
        return err_set(err, ERR_IO, "%s: only a file can be gone on with", path);
    struct outfile *f = malloc(sizeof *f);
    if (!f) return err_nomem(err, sizeof *f);
    f->fd = -1;
    f->tmp = NULL;
    f->keep = true;
    f->flushed = f->n = 0;
    f->path = kind == FILE_REGULAR ? realpath(path, NULL) : strdup(path);
    int rc = f->path ? open_partial(f, at, err) : err_errno(err, "%s", path);
    if (rc < 0)
        outfile_free(f);
    else
        *ret = f;
    return rc;
}

int outfile_sync(struct outfile *f, struct err *err) {
    int rc = outfile_flush(f, err);
    if (rc == 0 && fdatasync(f->fd) < 0 && errno != EINVAL) return err_errno(err, "%s", f->path);
    return rc;
}

int outfile_flush(struct outfile *f, struct err *err) {
    size_t n = f->n;
    f->n = 0;
    return write_all(f, f->v, n, err);
}

/* Asks the system to bring to the disk what was written since `from`, without waiting: the sync at
 * the end then has little left to wait for. A wish; not every file system knows it. */
static void begin_sync(const struct outfile *f, uint64_t from) {
    if (f->tmp)
        sync_file_range(f->fd, (off_t)from, (off_t)(f->flushed - from), SYNC_FILE_RANGE_WRITE);
}

int outfile_write(struct outfile *f, const void *bytes, size_t n, struct err *err) {
    uint64_t from = f->flushed;
    int rc = n > BUFFER_BYTES - f->n ? outfile_flush(f, err) : 0;
    if (rc == 0 && n >= BUFFER_BYTES) {
        rc = write_all(f, bytes, n, err);
        n = 0;
    }
    if (rc < 0) return rc;
    if (f->flushed - from >= BUFFER_BYTES / 2) begin_sync(f, from);
    if (n) memcpy(f->v + f->n, bytes, n);
    f->n += n;
    return 0;
}

int outfile_printf(struct outfile *f, struct err *err, const char *fmt, ...) {
    char small[512];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap), rc;
    va_end(ap);
    if (n < 0)
        rc = err_set(err, ERR_OTHER, "bad format");
    else if ((size_t)n < sizeof small)
        rc = outfile_write(f, small, (size_t)n, err);
    else {
        char *large = malloc((size_t)n + 1);
        rc = large ? 0 : err_nomem(err, (uint64_t)n + 1);
        if (large) vsnprintf(large, (size_t)n + 1, fmt, again);
        if (large) rc = outfile_write(f, large, (size_t)n, err);
        free(large);
    }
    va_end(again);
    return rc;
}

int outfile_patch(struct outfile *f, uint64_t at, const void *bytes, size_t n, struct err *err) {
    uint64_t end;
    if (!f->tmp) return err_set(err, ERR_IO, "%s: cannot go back in a device or pipe", f->path);
    if (__builtin_add_overflow(at, (uint64_t)n, &end) || end > outfile_tell(f))
        return err_set(err, ERR_OTHER, "%s: patch behind the end", f->path);
    int rc = outfile_flush(f, err);
    for (const char *v = bytes; rc == 0 && n;) {
        ssize_t w = pwrite(f->fd, v, n, (off_t)at);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) return err_errno(err, "%s", f->path);
        v += w;
        at += (uint64_t)w;
        n -= (size_t)w;
    }
    return rc;
}

uint64_t outfile_tell(const struct outfile *f) {
    return f->flushed + f->n;
}

/* Syncs, closes and renames the temporary file. */
static int settle(struct outfile *f, struct err *err) {
    if (fsync(f->fd) < 0 && errno != EINVAL) return err_errno(err, "%s", f->path);
    int fd = f->fd;
    f->fd = -1;
    if (close(fd) < 0 && errno != EINTR) return err_errno(err, "%s", f->path);
    if (rename(f->tmp, f->path) < 0) return err_errno(err, "%s", f->path);
    free(f->tmp);
    f->tmp = NULL; /* abort would have nothing to remove any more */
    char *dir = path_dir(f->path);
    int rc = dir ? file_sync_dir(dir, err) : err_nomem(err, strlen(f->path));
    free(dir);
    return rc;
}

int outfile_commit(struct outfile *f, struct err *err) {
    int rc = outfile_flush(f, err);
    if (rc == 0 && f->tmp)
        rc = settle(f, err);
    else if (rc == 0 && f->fd > STDERR_FILENO) {
        int fd = f->fd;
        f->fd = -1;
        if (close(fd) < 0 && errno != EINTR) rc = err_errno(err, "%s", f->path);
    }
    outfile_abort(f);
    return rc;
}

void outfile_abort(struct outfile *f) {
    if (!f) return;
    if (f->tmp && !f->keep) unlink(f->tmp);
    outfile_free(f);
}

int file_write(const char *path, const void *bytes, size_t n, struct err *err) {
    struct outfile *f;
    int rc = outfile_open(&f, path, err);
    if (rc < 0) return rc;
    rc = outfile_write(f, bytes, n, err);
    if (rc == 0) return outfile_commit(f, err);
    outfile_abort(f);
    return rc;
}
