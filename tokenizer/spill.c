/* See spill.h. Files stay on one machine for one process: numbers as they lie in memory. */
#include "tokenizer/spill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/file.h"

struct record { /* the bytes follow */
    uint64_t count, n;
};

struct spill {
    FILE *file;
    uint64_t bytes;  /* written                   */
    struct u64s end; /* of each run, in the file  */
};

/* One run being read; v[at .. have) is the part of it in memory. */
struct run {
    int fd;
    uint64_t next, end; /* in the file */
    char *v;
    size_t at, have, cap;
    const char *piece; /* the first that was not taken yet; NULL: none is left */
    struct record record;
};

struct spill_union {
    struct run *run;
    size_t n_runs;
    struct run **heap; /* (queued) smallest piece first */
    size_t queued;
    struct buf piece;
};

FILE *spill_file(const char *dir, struct err *err) {
    char *path = path_join(dir, ".words-XXXXXX");
    if (!path) {
        err_nomem(err, strlen(dir));
        return NULL;
    }
    int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w+b");
    if (!f) err_errno(err, "%s: no temporary file here", dir);
    if (fd >= 0) unlink(path);
    if (fd >= 0 && !f) close(fd);
    free(path);
    return f;
}

/* ------------------------------------------------------------------ writing */

int spill_new(struct spill **ret, const char *dir, struct err *err) {
    struct spill *s = calloc(1, sizeof *s);
    *ret = NULL;
    if (!s) return err_nomem(err, sizeof *s);
    s->file = spill_file(dir, err);
    if (!s->file) {
        free(s);
        return ERR_IO;
    }
    *ret = s;
    return 0;
}

int spill_add(struct spill *s, const char *piece, size_t n, uint64_t count, struct err *err) {
    struct record r = {count, n};
    s->bytes += sizeof r + n;
    if (fwrite(&r, sizeof r, 1, s->file) == 1 && fwrite(piece, 1, n, s->file) == n) return 0;
    return err_errno(err, "words that do not fit into the memory");
}

int spill_end_run(struct spill *s, struct err *err) {
    if (fflush(s->file) != 0) return err_errno(err, "words that do not fit into the memory");
    return u64s_push(&s->end, s->bytes, err);
}

void spill_free(struct spill *s) {
    if (!s) return;
    fclose(s->file);
    u64s_release(&s->end);
    free(s);
}

/* ------------------------------------------------------------------ reading one run */

/* Makes v[at .. at + n) present. Only called for what the run still holds. */
static int run_need(struct run *r, size_t n, struct err *err) {
    if (r->have - r->at >= n) return 0;
    memmove(r->v, r->v + r->at, r->have - r->at);
    r->have -= r->at;
    r->at = 0;
    if (n > r->cap) {
        char *v = mem_resize(r->v, n, 1);
        if (!v) return err_nomem(err, n);
        r->v = v;
        r->cap = n;
    }
    while (r->have < n) {
        uint64_t left = r->end - r->next, room = r->cap - r->have;
        ssize_t got = pread(r->fd, r->v + r->have, left < room ? left : room, (off_t)r->next);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return err_errno(err, "words read back from disk");
        if (got == 0) return err_set(err, ERR_IO, "words read back from disk: the file is short");
        r->have += (size_t)got;
        r->next += (uint64_t)got;
    }
    return 0;
}

/* Moves to the next piece. */
static int run_next(struct run *r, struct err *err) {
    if (r->piece) r->at += sizeof r->record + r->record.n;
    r->piece = NULL;
    if (r->at == r->have && r->next == r->end) return 0;
    int rc = run_need(r, sizeof r->record, err);
    if (rc < 0) return rc;
    memcpy(&r->record, r->v + r->at, sizeof r->record);
    rc = run_need(r, sizeof r->record + r->record.n, err);
    if (rc == 0) r->piece = r->v + r->at + sizeof r->record;
    return rc;
}

/* ------------------------------------------------------------------ the union */

static int compare(const struct run *a, const struct run *b) {
    size_t n = a->record.n, m = b->record.n;
    int order = memcmp(a->piece, b->piece, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

static void heap_down(struct spill_union *u, size_t i) {
    struct run **h = u->heap, *x = h[i];
    for (size_t child; (child = 2 * i + 1) < u->queued; i = child) {
        if (child + 1 < u->queued && compare(h[child + 1], h[child]) < 0) child++;
        if (compare(h[child], x) >= 0) break;
        h[i] = h[child];
    }
    h[i] = x;
}

/* The run on top goes on to its next piece, or leaves. */
static int advance_top(struct spill_union *u, struct err *err) {
    int rc = run_next(u->heap[0], err);
    if (rc < 0) return rc;
    if (!u->heap[0]->piece) u->heap[0] = u->heap[--u->queued];
    if (u->queued) heap_down(u, 0);
    return 0;
}

static int open_runs(struct spill_union *u, struct spill *const *from, size_t n, size_t block,
                     struct err *err) {
    for (size_t i = 0, k = 0; i < n; i++)
        for (size_t e = 0; from[i] && e < from[i]->end.n; e++) {
            struct run *r = &u->run[k++];
            *r = (struct run){.fd = fileno(from[i]->file),
                              .next = e ? from[i]->end.v[e - 1] : 0,
                              .end = from[i]->end.v[e],
                              .cap = block};
            r->v = mem_resize(NULL, block, 1);
            int rc = r->v ? run_next(r, err) : err_nomem(err, block);
            if (rc < 0) return rc;
            if (r->piece) u->heap[u->queued++] = r;
        }
    for (size_t i = u->queued; i-- > 0;) heap_down(u, i);
    return 0;
}

int spill_union_new(struct spill_union **ret, struct spill *const *from, size_t n, uint64_t memory,
                    struct err *err) {
    enum { LEAST = 4 << 10, MOST = 1 << 20 };
    struct spill_union *u = calloc(1, sizeof *u);
    *ret = NULL;
    if (!u) return err_nomem(err, sizeof *u);
    for (size_t i = 0; i < n; i++) u->n_runs += from[i] ? from[i]->end.n : 0;
    uint64_t block = u->n_runs ? memory / u->n_runs : LEAST;
    block = block < LEAST ? LEAST : block > MOST ? MOST : block;
    u->run = mem_array(u->n_runs + 1, sizeof *u->run);
    u->heap = mem_array(u->n_runs + 1, sizeof(struct run *));
    int rc = u->run && u->heap ? 0 : err_nomem(err, u->n_runs * sizeof *u->run);
    if (rc == 0) rc = open_runs(u, from, n, block, err);
    if (rc < 0) {
        spill_union_free(u);
        return rc;
    }
    *ret = u;
    return 0;
}

int spill_union_next(struct spill_union *u, const char **ret, size_t *ret_n, uint64_t *ret_count,
                     struct err *err) {
    if (!u->queued) return 0;
    struct run *top = u->heap[0];
    u->piece.n = 0;
    *ret_count = 0;
    int rc = buf_append(&u->piece, top->piece, top->record.n, err);
    do {
        *ret_count += u->heap[0]->record.count;
        if (rc == 0) rc = advance_top(u, err);
        if (rc < 0) return rc;
        top = u->heap[0];
    } while (u->queued && top->record.n == u->piece.n &&
             memcmp(top->piece, u->piece.v, u->piece.n) == 0);
    *ret = u->piece.v;
    *ret_n = u->piece.n;
    return 1;
}

void spill_union_free(struct spill_union *u) {
    if (!u) return;
    for (size_t i = 0; u->run && i < u->n_runs; i++) free(u->run[i].v);
    free(u->run);
    free(u->heap);
    buf_release(&u->piece);
    free(u);
}
