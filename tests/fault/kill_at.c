/* Dies at a chosen system call: preloaded into a program that claims to survive being killed
 * anywhere.
 *
 *   LORY_KILL_AT=N      SIGKILL before the Nth call that changes the disk, in the middle of a write
 *   LORY_TRACE=FILE     one line a call: its number, name, path, second path
 *
 * Only files below LORY_UNDER count. */
#include <dlfcn.h>
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

ssize_t write(int fd, const void *v, size_t n) {
    static ssize_t (*real)(int, const void *, size_t);
    char path[PATH_MAX];
    if (!real) real = (ssize_t(*)(int, const void *, size_t))next("write");
    path_of(fd, path);
    if (under(path) && last_call("write", path, "")) {
        if (real(fd, v, n / 2) >= 0) die();
        die();
    }
    return real(fd, v, n);
}

int fsync(int fd) {
    static int (*real)(int);
    char path[PATH_MAX];
    if (!real) real = (int (*)(int))next("fsync");
    path_of(fd, path);
    if (under(path) && last_call("fsync", path, "")) die();
    return real(fd);
}

int rename(const char *a, const char *b) {
    static int (*real)(const char *, const char *);
    if (!real) real = (int (*)(const char *, const char *))next("rename");
    if (under(b) && last_call("rename", a, b)) die();
    return real(a, b);
}

int renameat2(int da, const char *a, int db, const char *b, unsigned flags) {
    static int (*real)(int, const char *, int, const char *, unsigned);
    if (!real) real = (int (*)(int, const char *, int, const char *, unsigned))next("renameat2");
    if (under(b) && last_call("renameat2", a, b)) die();
    return real(da, a, db, b, flags);
}

int unlink(const char *a) {
    static int (*real)(const char *);
    if (!real) real = (int (*)(const char *))next("unlink");
    if (under(a) && last_call("unlink", a, "")) die();
    return real(a);
}

int rmdir(const char *a) {
    static int (*real)(const char *);
    if (!real) real = (int (*)(const char *))next("rmdir");
    if (under(a) && last_call("rmdir", a, "")) die();
    return real(a);
}

int mkdir(const char *a, mode_t mode) {
    static int (*real)(const char *, mode_t);
    if (!real) real = (int (*)(const char *, mode_t))next("mkdir");
    if (under(a) && last_call("mkdir", a, "")) die();
    return real(a, mode);
}

int symlink(const char *a, const char *b) {
    static int (*real)(const char *, const char *);
    if (!real) real = (int (*)(const char *, const char *))next("symlink");
    if (under(b) && last_call("symlink", a, b)) die();
    return real(a, b);
}
