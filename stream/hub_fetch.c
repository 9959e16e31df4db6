/* One file of a repository to a place on disk, through a partial file that outlives us:
 *
 *   blobs/ETAG.incomplete   bytes 0 .. n of an earlier try ─▶ hashed again ─▶ Range from n ─▶
 *                           digest ─▶ sync ─▶ rename ─▶ blobs/ETAG
 *
 * The digest (sha256 of a large file, git's name of a small one) decides. Where it is not known, an
 * earlier part is not trusted. If going on with one leads to a wrong digest, the file is fetched
 * once more from the beginning: two processes may have written to it (flock is not honoured
 * everywhere). */
#include "stream/hub_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/signals.h"
#include "stream/feed.h"
#include "stream/http_parts.h"

enum { BLOCK_BYTES = 256 << 10 };

const char *hub_etag(const struct hub_entry *e) {
    return e->sha256 ? e->sha256 : *e->blob ? e->blob : NULL;
}

static struct sha256 *digest_new(const struct hub_entry *e) {
    return e->sha256 ? sha256_new() : git_blob_new(e->bytes);
}

/* Ends the digest and compares it. */
static int check(const struct hub_entry *e, struct sha256 *s, struct err *err) {
    char got[SHA256_HEX];
    const char *want = hub_etag(e);
    sha256_end(s, got);
    if (!want || !strcmp(got, want)) return 0;
    return err_set(err, ERR_CORRUPT, "%s: %s is %s, should be %s", e->path,
                   e->sha256 ? "sha256" : "git's sha1", got, want);
}

/* Hashes what the partial file has. */
static int hash_start(int fd, const char *name, uint64_t n, struct sha256 *s, struct err *err) {
    char block[64 << 10];
    for (uint64_t at = 0; at < n;) {
        size_t want = n - at < sizeof block ? (size_t)(n - at) : sizeof block;
        ssize_t got = pread(fd, block, want, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return err_errno(err, "%s", name);
        sha256_add(s, block, (size_t)got);
        at += (uint64_t)got;
    }
    return 0;
}

static int write_all(int fd, const char *name, const char *v, size_t n, uint64_t at,
                     struct err *err) {
    while (n) {
        ssize_t put = pwrite(fd, v, n, (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return err_errno(err, "%s", name);
        v += put;
        n -= (size_t)put;
        at += (uint64_t)put;
    }
    return 0;
}

/* The rest of the body behind the first `at` bytes. */
static int copy_rest(const struct hub_fetch *f, int fd, uint64_t at, struct sha256 *s,
                     struct err *err) {
    struct feed from;
    char *url = hub_file_url(f->h, f->ref, f->commit, f->e->path), *block = malloc(BLOCK_BYTES);
    struct http_want want = {.from = at};
    int rc =
        url && block ? http_feed(f->h->http, url, &want, &from, err) : err_nomem(err, BLOCK_BYTES);
    long n = 0;
    free(url);
    if (rc < 0) {
        free(block);
        return rc;
    }
    while (rc == 0 && (n = from.read(from.ctx, block, BLOCK_BYTES, err)) > 0) {
        rc = write_all(fd, f->partial, block, (size_t)n, at, err);
        sha256_add(s, block, (size_t)n);
        at += (uint64_t)n;
        if (f->moved) f->moved(f->ctx, (uint64_t)n);
    }
    from.close(from.ctx);
    free(block);
    return rc < 0 ? rc : (int)n;
}

/* One try. *resumed: bytes that were there already. */
static int try_fetch(const struct hub_fetch *f, int fd, uint64_t *resumed, struct err *err) {
    struct stat st;
    const struct hub_entry *e = f->e;
    *resumed = 0;
    if (fstat(fd, &st) < 0) return err_errno(err, "%s", f->partial);
    if (hub_etag(e) && (uint64_t)st.st_size <= e->bytes) *resumed = (uint64_t)st.st_size;
    if (ftruncate(fd, (off_t)*resumed) < 0) return err_errno(err, "%s", f->partial);
    struct sha256 *s = digest_new(e);
    if (!s) return err_nomem(err, SHA256_HEX);
    int rc = hash_start(fd, f->partial, *resumed, s, err);
    if (rc == 0 && f->moved) f->moved(f->ctx, *resumed);
    if (rc == 0 && (*resumed < e->bytes || !e->bytes)) rc = copy_rest(f, fd, *resumed, s, err);
    if (rc < 0) {
        sha256_free(s);
        return rc;
    }
    return check(e, s, err);
}

static int settle(const struct hub_fetch *f, int fd, struct err *err) {
    char *dir = path_dir(f->to);
    int rc = dir ? 0 : err_nomem(err, strlen(f->to));
    if (rc == 0 && fsync(fd) < 0) rc = err_errno(err, "%s", f->partial);
    if (rc == 0 && rename(f->partial, f->to) < 0) rc = err_errno(err, "%s", f->to);
    if (rc == 0) rc = file_sync_dir(dir, err);
    free(dir);
    return rc;
}

static int make_room(const char *path, struct err *err) {
    char *dir = path_dir(path);
    int rc = dir ? file_mkdirs(dir, err) : err_nomem(err, strlen(path));
    free(dir);
    return rc;
}

int hub_fetch(const struct hub_fetch *f, struct err *err) {
    uint64_t resumed;
    int rc = make_room(f->partial, err);
    if (rc == 0) rc = make_room(f->to, err);
    if (rc < 0) return rc;
    int fd = open(f->partial, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return err_errno(err, "%s", f->partial);
    rc = try_fetch(f, fd, &resumed, err);
    if (rc == ERR_CORRUPT && resumed) {
        log_info(f->h->log, "%s: what was there of it is damaged; fetching it whole", f->e->path);
        rc = ftruncate(fd, 0) < 0 ? err_errno(err, "%s", f->partial)
                                  : try_fetch(f, fd, &resumed, err);
    }
    if (rc == 0) rc = settle(f, fd, err);
    if (rc == ERR_CORRUPT) unlink(f->partial);
    close(fd);
    return rc;
}

/* ------------------------------------------------------------------ locks */

int hub_lock_fd(int fd, const char *path, const struct log *log, struct err *err) {
    bool told = false;
    for (double began = conn_now(); flock(fd, LOCK_EX | LOCK_NB) < 0;) {
        if (errno != EWOULDBLOCK && errno != EINTR) break; /* a file system without locks */
        if (!told && conn_now() - began > 5) {
            log_info(log, "waiting for another process that does the same (%s)", path);
            told = true;
        }
        int rc = http_sleep(0.1, err);
        if (rc < 0) return rc;
    }
    return 0;
}

int hub_lock(const char *path, const struct log *log, struct err *err) {
    if (make_room(path, NULL) < 0) return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0664);
    if (fd < 0 || hub_lock_fd(fd, path, log, err) == 0) return fd;
    close(fd);
    return ERR_STOPPED;
}
