/* See buckets.h. */
#include "stream/buckets.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "stream/scratch.h"

enum { BUCKETS = 128, PENDING_BYTES = 64 << 10 };

struct buckets {
    const char *dir;
    int fd[BUCKETS];
    struct buf pending[BUCKETS];
    uint64_t bytes[BUCKETS]; /* written */
};

int buckets_new(struct buckets **ret, const char *dir, struct err *err) {
    struct buckets *s = calloc(1, sizeof *s);
    if (!s) return err_nomem(err, sizeof *s);
    s->dir = dir;
    for (int i = 0; i < BUCKETS; i++) s->fd[i] = -1;
    *ret = s;
    return 0;
}

void buckets_free(struct buckets *s) {
    if (!s) return;
    for (int i = 0; i < BUCKETS; i++) {
        if (s->fd[i] >= 0) close(s->fd[i]);
        buf_release(&s->pending[i]);
    }
    free(s);
}

size_t buckets_n(void) {
    return BUCKETS;
}

static int flush(struct buckets *s, size_t i, struct err *err) {
    struct buf *b = &s->pending[i];
    int rc = s->fd[i] < 0 && b->n ? scratch_file(s->dir, &s->fd[i], err) : 0;
    if (rc < 0) return rc;
    for (size_t at = 0; at < b->n;) {
        ssize_t n = write(s->fd[i], b->v + at, b->n - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_errno(err, "%s: scratch file", s->dir);
        at += (size_t)n;
    }
    s->bytes[i] += b->n;
    b->n = 0;
    return 0;
}

int buckets_add(struct buckets *s, size_t bucket, const void *head, size_t head_n, const void *v,
                size_t n, struct err *err) {
    struct buf *b = &s->pending[bucket];
    int rc = buf_append(b, head, head_n, err);
    if (rc == 0) rc = buf_append(b, v, n, err);
    return rc < 0 || b->n < PENDING_BYTES ? rc : flush(s, bucket, err);
}

int buckets_take(struct buckets *s, size_t bucket, struct buf *to, struct err *err) {
    to->n = 0;
    int rc = flush(s, bucket, err);
    buf_release(&s->pending[bucket]);
    if (rc == 0) rc = buf_reserve(to, (size_t)s->bytes[bucket], err);
    while (rc == 0 && to->n < s->bytes[bucket]) {
        ssize_t n =
            pread(s->fd[bucket], to->v + to->n, (size_t)s->bytes[bucket] - to->n, (off_t)to->n);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return err_errno(err, "%s: scratch file", s->dir);
        to->n += (size_t)n;
    }
    if (s->fd[bucket] >= 0) close(s->fd[bucket]);
    s->fd[bucket] = -1;
    return rc;
}
