/* Dies at a chosen system call: preloaded into a program that claims to survive being killed
 * anywhere.
 *
 *   LORY_KILL_AT=N      SIGKILL before the Nth call that changes the disk, in the middle of a write
 *   LORY_FAIL_AT=N      the Nth call fails with LORY_ERRNO; with LORY_STICKY all later ones too.
 *                       A LORY_ERRNO of 0 makes a write short instead
 *   LORY_TRACE=FILE     one line a call: its number, name, path, second path
 *   LORY_RECORD=FILE    for replaying: such a line, offset and length added, then the bytes
 *
 * Only files below LORY_UNDER count. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static unsigned long calls;

static void *next(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

static void path_of(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    out[n < 0 ? 0 : n] = 0;
}

static int under(const char *path) {
    const char *root = getenv("LORY_UNDER");
    return root && strstr(path, root) != NULL;
}

static void trace(const char *call, const char *a, const char *b) {
    const char *to = getenv("LORY_TRACE");
    if (!to) return;
    FILE *f = fopen(to, "a");
    if (!f) return;
    fprintf(f, "%lu\t%s\t%s\t%s\n", calls, call, a, b);
    fclose(f);
}

/* True when this call is the one to die at. */
static int last_call(const char *call, const char *a, const char *b) {
    const char *at = getenv("LORY_KILL_AT");
    calls++;
    trace(call, a, b);
    return at && calls == strtoul(at, NULL, 10);
}

static void die(void) {
    kill(getpid(), SIGKILL);
}

/* What the disk is asked to do, with the bytes. */
static void record(const char *call, const char *a, const char *b, long long at, const void *v,
                   size_t n) {
    const char *to = getenv("LORY_RECORD");
    if (!to) return;
    FILE *f = fopen(to, "a");
    if (!f) return;
    fprintf(f, "%s\t%s\t%s\t%lld\t%zu\n", call, a, b, at, n);
    if (n) fwrite(v, 1, n, f);
    fclose(f);
}

static int fails(void) {
    const char *at = getenv("LORY_FAIL_AT"), *code = getenv("LORY_ERRNO");
    if (!at || !code) return 0;
    unsigned long n = strtoul(at, NULL, 10);
    if (calls != n && !(calls > n && getenv("LORY_STICKY"))) return 0;
    errno = (int)strtol(code, NULL, 10);
    return 1;
}

ssize_t write(int fd, const void *v, size_t n) {
    static ssize_t (*real)(int, const void *, size_t);
    char path[PATH_MAX];
    if (!real) real = (ssize_t(*)(int, const void *, size_t))next("write");
    path_of(fd, path);
    if (under(path)) {
        if (last_call("write", path, "")) {
            if (real(fd, v, n / 2) >= 0) die();
            die();
        }
        if (fails()) {
            if (errno) return -1;
            n = (n + 1) / 2;
        }
        record("write", path, "", lseek(fd, 0, SEEK_CUR), v, n);
    }
    return real(fd, v, n);
}

ssize_t pwrite64(int fd, const void *v, size_t n, off_t at) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    char path[PATH_MAX];
    if (!real) real = (ssize_t(*)(int, const void *, size_t, off_t))next("pwrite64");
    path_of(fd, path);
    if (under(path)) {
        if (last_call("pwrite", path, "")) die();
        if (fails()) {
            if (errno) return -1;
            n = (n + 1) / 2;
        }
        record("write", path, "", at, v, n);
    }
    return real(fd, v, n, at);
}

int ftruncate64(int fd, off_t n) {
    static int (*real)(int, off_t);
    char path[PATH_MAX];
    if (!real) real = (int (*)(int, off_t))next("ftruncate64");
    path_of(fd, path);
    if (under(path)) {
        if (last_call("ftruncate", path, "")) die();
        if (fails() && errno) return -1;
        record("ftruncate", path, "", n, NULL, 0);
    }
    return real(fd, n);
}

static int sync_by(int (*real)(int), int fd) {
    char path[PATH_MAX];
    path_of(fd, path);
    if (under(path)) {
        if (last_call("fsync", path, "")) die();
        if (fails() && errno) return -1;
        record("fsync", path, "", 0, NULL, 0);
    }
    return real(fd);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))next("fsync");
    return sync_by(real, fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))next("fdatasync");
    return sync_by(real, fd);
}

/* A call that takes one or two names. */
#define NAMES(NAME, TYPES, ARGS, A, B)                                                             \
    int NAME TYPES {                                                                               \
        static int(*real) TYPES;                                                                   \
        if (!real) real = (int(*) TYPES)next(#NAME);                                               \
        if (under(*(B) ? (B) : (A))) {                                                             \
            if (last_call(#NAME, A, B)) die();                                                     \
            if (fails() && errno) return -1;                                                       \
            record(#NAME, A, B, 0, NULL, 0);                                                       \
        }                                                                                          \
        return real ARGS;                                                                          \
    }
NAMES(rename, (const char *a, const char *b), (a, b), a, b)
NAMES(renameat2, (int da, const char *a, int db, const char *b, unsigned flags),
      (da, a, db, b, flags), a, b)
NAMES(unlink, (const char *a), (a), a, "")
NAMES(rmdir, (const char *a), (a), a, "")
NAMES(mkdir, (const char *a, mode_t mode), (a, mode), a, "")
NAMES(symlink, (const char *a, const char *b), (a, b), a, b)
