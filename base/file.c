/* Paths, whole files, folders and mappings: see file.h. Artefacts being written are in outfile.c.
 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10 };

char *path_join(const char *dir, const char *name) {
    if (!*name) return strdup(dir);
    if (!*dir || *name == '/') return strdup(name);
    size_t d = strlen(dir), n = strlen(name), slash = dir[d - 1] != '/';
    char *s = malloc(d + slash + n + 1);
    if (!s) return NULL;
    memcpy(s, dir, d);
    if (slash) s[d] = '/';
    memcpy(s + d + slash, name, n + 1);
    return s;
}

const char *path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *path_dir(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return strdup(".");
    while (slash > path && slash[-1] == '/') slash--;
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

bool path_ends(const char *name, const char *end) {
    size_t n = strlen(name), e = strlen(end);
    return n >= e && memcmp(name + n - e, end, e) == 0;
}

static enum file_kind kind_of(const struct stat *st) {
    return S_ISREG(st->st_mode) ? FILE_REGULAR : S_ISDIR(st->st_mode) ? FILE_FOLDER : FILE_OTHER;
}

enum file_kind file_kind(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? kind_of(&st) : FILE_NONE;
}

bool file_same(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int file_bytes(const char *path, uint64_t *ret_bytes, struct err *err) {
    struct stat st;
    if (stat(path, &st) < 0) return err_errno(err, "%s", path);
    if (!S_ISREG(st.st_mode)) return err_set(err, ERR_IO, "%s: not a regular file", path);
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

/* Appends what `fd` still holds. */
static int read_rest(int fd, const char *path, uint64_t max_bytes, struct buf *out,
                     struct err *err) {
    for (uint64_t got = 0;;) {
        int rc = buf_reserve(out, READ_BYTES, err);
        if (rc < 0) return rc;
        ssize_t n = read(fd, out->v + out->n, out->cap - out->n);
        if (n == 0) return 0;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_errno(err, "%s", path);
        out->n += (size_t)n;
        got += (uint64_t)n;
        if (got > max_bytes)
            return err_set(err, ERR_CORRUPT, "%s: more than %llu bytes", path,
                           (unsigned long long)max_bytes);
    }
}

int file_read(const char *path, uint64_t max_bytes, struct buf *out, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    if (fd < 0) return err_errno(err, "%s", path);
    struct stat st;
    if (fstat(fd, &st) < 0)
        rc = err_errno(err, "%s", path);
    else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size <= max_bytes)
        rc = buf_reserve(out, (size_t)st.st_size + READ_BYTES, err);
    if (rc == 0) rc = read_rest(fd, path, max_bytes, out, err);
    close(fd);
    return rc;
}

int file_copy(const char *from, const char *to, struct err *err) {
    struct buf text = {0};
    if (file_kind(from) != FILE_REGULAR) return 0;
    int rc = file_read(from, UINT64_MAX, &text, err);
    if (rc == 0) rc = file_write(to, text.v, text.n, err);
    buf_release(&text);
    return rc;
}

int file_list(const char *dir, struct strs *out, struct err *err) {
    DIR *d = opendir(dir);
    if (!d) return err_errno(err, "%s", dir);
    int rc = 0;
    size_t first = out->n;
    while (rc == 0) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e && errno) rc = err_errno(err, "%s", dir);
        if (!e) break;
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) rc = strs_push(out, e->d_name, err);
    }
    closedir(d);
    if (rc == 0 && out->n > first) strs_sort(out->v + first, out->n - first);
    return rc;
}

int file_mkdirs(const char *dir, struct err *err) {
    char *path = strdup(dir);
    if (!path) return err_nomem(err, strlen(dir) + 1);
    int rc = 0;
    for (char *p = path; rc == 0 && *p;) {
        p += strspn(p, "/");
        p += strcspn(p, "/");
        char c = *p;
        *p = 0;
        if (*path && mkdir(path, 0777) < 0 && file_kind(path) != FILE_FOLDER)
            rc = errno == EEXIST ? err_set(err, ERR_IO, "%s: exists and is not a folder", path)
                                 : err_errno(err, "%s", path);
        *p = c;
    }
    free(path);
    return rc;
}

static int remove_contents(const char *dir, struct err *err) {
    struct strs names = {0};
    int rc = file_list(dir, &names, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        char *path = path_join(dir, names.v[i]);
        rc = path ? file_remove(path, err) : err_nomem(err, strlen(dir));
        free(path);
    }
    strs_release(&names);
    return rc;
}

int file_remove(const char *path, struct err *err) {
    struct stat st;
    if (lstat(path, &st) < 0) return errno == ENOENT ? 0 : err_errno(err, "%s", path);
    if (S_ISDIR(st.st_mode)) { /* links are not followed: only the link goes */
        int rc = remove_contents(path, err);
        if (rc < 0) return rc;
    }
    if ((S_ISDIR(st.st_mode) ? rmdir(path) : unlink(path)) < 0 && errno != ENOENT)
        return err_errno(err, "%s", path);
    return 0;
}

/* True for a name `.NAME.tmp-PID` whose process is gone. */
static bool left_behind(const char *name) {
    const char *at = NULL;
    if (name[0] != '.') return false;
    for (const char *p = name; (p = strstr(p, ".tmp-")) != NULL; p++) at = p;
    if (!at || at == name) return false;
    const char *digits = at + strlen(".tmp-");
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 9 || digits[n]) return false;
    long pid = strtol(digits, NULL, 10);
    return pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

/* True while a writer holds the file: it may live in another container, where our view of processes
 * says nothing. */
static bool held(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return false;
    bool busy = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    close(fd);
    return busy;
}

/* ".OF.tmp-PID", as outfile_open() calls it (but for names of more than 200 bytes, which it cuts).
 */
static bool is_temporary_of(const char *name, const char *of) {
    size_t n = strlen(of);
    if (*name != '.' || strncmp(name + 1, of, n) || strncmp(name + 1 + n, ".tmp-", 5)) return false;
    const char *pid = name + n + 6;
    return !pid[strspn(pid, "0123456789")];
}

/* What dead processes left in a folder: all, or (not NULL) of the file `of`. */
static int sweep(const char *dir, const char *of, struct err *err) {
    DIR *d = opendir(dir);
    if (!d) return err_errno(err, "%s", dir);
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e && errno) rc = err_errno(err, "%s", dir);
        if (!e) break;
        if ((of && !is_temporary_of(e->d_name, of)) || !left_behind(e->d_name)) continue;
        char *path = path_join(dir, e->d_name);
        if (!path)
            rc = err_nomem(err, strlen(dir));
        else if (!held(path))
            rc = file_remove(path, err);
        free(path);
    }
    closedir(d);
    return rc;
}

int file_sweep(const char *dir, struct err *err) {
    return sweep(dir, NULL, err);
}

void file_sweep_of(const char *path) {
    enum file_kind kind = file_kind(path);
    if (kind == FILE_OTHER || kind == FILE_FOLDER || !strcmp(path, "-")) return;
    char *whole = realpath(path, NULL), *dir = path_dir(whole ? whole : path);
    if (dir) sweep(dir, path_base(whole ? whole : path), NULL);
    free(dir);
    free(whole);
}

int file_sync_dir(const char *dir, struct err *err) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    if (fd < 0) return err_errno(err, "%s", dir);
    /* EINVAL: a file system that has nothing to sync in a folder */
    if (fsync(fd) < 0 && errno != EINVAL && errno != ENOTSUP) rc = err_errno(err, "%s", dir);
    close(fd);
    return rc;
}

int file_free_bytes(const char *path, uint64_t *ret_bytes, struct err *err) {
    struct statvfs v;
    char *at = strdup(path);
    int rc = -1;
    while (at && (rc = statvfs(at, &v)) < 0 && errno == ENOENT && strcmp(at, "/") &&
           strcmp(at, ".")) {
        char *up = path_dir(at);
        free(at);
        at = up;
    }
    if (!at) return err_nomem(err, strlen(path) + 1);
    rc = rc < 0 ? err_errno(err, "%s", path) : 0;
    free(at);
    if (rc == 0) *ret_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return rc;
}

int mapping_open(struct mapping *ret, const char *path, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    if (fd < 0) return err_errno(err, "%s", path);
    struct stat st;
    struct mapping m = {0};
    if (fstat(fd, &st) < 0)
        rc = err_errno(err, "%s", path);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(err, ERR_IO, "%s: not a regular file", path);
    else if (st.st_size > 0) {
        void *v = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (v == MAP_FAILED)
            rc = err_errno(err, "%s", path);
        else
            m = (struct mapping){.v = v, .bytes = (size_t)st.st_size};
    }
    close(fd);
    if (rc == 0) *ret = m;
    return rc;
}

void mapping_close(struct mapping *m) {
    if (m->v) munmap((void *)(uintptr_t)m->v, m->bytes);
    *m = (struct mapping){0};
}

void mapping_forget(const void *v, size_t from, size_t to) {
    const uintptr_t page = 64 << 10; /* the largest there is */
    uintptr_t begin = ((uintptr_t)v + from) / page * page, end = ((uintptr_t)v + to) / page * page;
    if (begin < (uintptr_t)v) begin += page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}
