/* See scratch.h. */
#include "stream/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/file.h"

enum { CHUNK_BYTES = 64 << 20 };

struct scratch_map {
    struct scratch_map *next;
    void *v;
    size_t bytes;
    bool file;
};

int scratch_file(const char *dir, int *ret_fd, struct err *err) {
    char *path = path_join(dir, ".lory-scratch-XXXXXX");
    if (!path) return err_nomem(err, strlen(dir));
    int fd = mkostemp(path, O_CLOEXEC), rc = 0;
    if (fd < 0)
        rc = err_errno(err, "%s", dir);
    else
        unlink(path);
    *ret_fd = fd;
    free(path);
    return rc;
}

int scratch_write(int fd, const void *v, size_t n, struct err *err) {
    for (const char *from = v; n;) {
        ssize_t put = write(fd, from, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) {
            err_errno(err, "a scratch file");
            return err_hint(err, "--spill names a folder with more room");
        }
        from += put;
        n -= (size_t)put;
    }
    return 0;
}

int scratch_read(int fd, uint64_t at, void *v, size_t n, struct err *err) {
    for (char *to = v; n;) {
        ssize_t got = pread(fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return err_errno(err, "a scratch file");
        if (!got) return err_set(err, ERR_IO, "a scratch file has become shorter");
        to += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

int scratch_empty(int fd, struct err *err) {
    if (ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0) return 0;
    return err_errno(err, "a scratch file");
}

static int map_file(struct scratch *s, struct scratch_map *m, struct err *err) {
    int fd, rc = scratch_file(s->dir, &fd, err);
    if (rc < 0) return rc;
    /* Room is taken now: a full disk is an error here, not a signal in the middle of the work. */
    int full = posix_fallocate(fd, 0, (off_t)m->bytes);
    m->v = full ? MAP_FAILED : mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (full)
        rc = err_set(err, ERR_IO, "%s: %s; %llu bytes are needed for scratch files", s->dir,
                     strerror(full), (unsigned long long)m->bytes);
    else if (m->v == MAP_FAILED)
        rc = err_errno(err, "%s", s->dir);
    close(fd);
    return rc;
}

int scratch_big(struct scratch *s, void **ret, uint64_t bytes, struct err *err) {
    struct scratch_map *m = calloc(1, sizeof *m);
    if (!m) return err_nomem(err, sizeof *m);
    m->bytes = bytes ? (size_t)bytes : 1;
    m->file = s->used + bytes > s->budget;
    int rc = 0;
    if (m->file)
        rc = map_file(s, m, err);
    else {
        m->v = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m->v == MAP_FAILED) rc = err_nomem(err, bytes);
    }
    if (rc < 0) {
        free(m);
        return rc;
    }
    *(m->file ? &s->on_disk : &s->used) += m->bytes;
    m->next = s->maps;
    s->maps = m;
    *ret = m->v;
    return 0;
}

int scratch_small(struct scratch *s, void **ret, size_t bytes, struct err *err) {
    bytes = (bytes + 15) & ~(size_t)15;
    if (s->used + bytes <= s->budget) {
        *ret = malloc(bytes ? bytes : 1);
        if (!*ret) return err_nomem(err, bytes);
        s->used += bytes;
        return 0;
    }
    if (bytes > s->bump_left) {
        size_t chunk = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        void *v;
        int rc = scratch_big(s, &v, chunk, err);
        if (rc < 0) return rc;
        s->bump = v;
        s->bump_left = chunk;
    }
    *ret = s->bump;
    s->bump += bytes;
    s->bump_left -= bytes;
    return 0;
}

static bool in_maps(const struct scratch *s, const char *p) {
    for (const struct scratch_map *m = s->maps; m; m = m->next)
        if (p >= (const char *)m->v && p < (const char *)m->v + m->bytes) return true;
    return false;
}

void scratch_free(struct scratch *s, void *p, size_t bytes) {
    if (!p || in_maps(s, p)) return;
    free(p);
    s->used -= (bytes + 15) & ~(size_t)15;
}

void scratch_release(struct scratch *s) {
    for (struct scratch_map *m = s->maps, *next; m; m = next) {
        next = m->next;
        munmap(m->v, m->bytes);
        free(m);
    }
    *s = (struct scratch){.dir = s->dir, .budget = s->budget};
}
