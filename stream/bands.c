/* See bands.h. */
#include "stream/bands.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"

enum { PARTS = 256, WRITE_PAIRS = 8192 };

struct pair {
    uint64_t key;
    uint32_t document, pad;
};

struct band_part {
    struct pair *v;
    size_t n, cap;
    int fd; /* -1: all in memory         */
    uint64_t in_file;
};

struct bands {
    struct scratch *scratch;
    uint64_t budget, held; /* bytes */
    bool spilled;
    struct band_part parts[PARTS];
};

int bands_new(struct bands **ret, uint64_t budget, struct scratch *s, struct err *err) {
    struct bands *b = calloc(1, sizeof *b);
    if (!b) return err_nomem(err, sizeof *b);
    b->scratch = s;
    b->budget = budget;
    for (int i = 0; i < PARTS; i++) b->parts[i].fd = -1;
    *ret = b;
    return 0;
}

void bands_free(struct bands *b) {
    if (!b) return;
    for (int i = 0; i < PARTS; i++) {
        free(b->parts[i].v);
        if (b->parts[i].fd >= 0) close(b->parts[i].fd);
    }
    free(b);
}

static int put(int fd, const void *v, size_t n, const char *dir, struct err *err) {
    for (const char *at = v; n;) {
        ssize_t w = write(fd, at, n);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) return err_errno(err, "%s: scratch file", dir);
        at += w;
        n -= (size_t)w;
    }
    return 0;
}

static int flush(struct bands *b, struct band_part *p, struct err *err) {
    int rc = p->fd < 0 ? scratch_file(b->scratch->dir, &p->fd, err) : 0;
    if (rc == 0) rc = put(p->fd, p->v, p->n * sizeof *p->v, b->scratch->dir, err);
    p->in_file += p->n;
    b->scratch->on_disk += p->n * sizeof *p->v;
    p->n = 0;
    return rc;
}

/* The budget is used up: from now on each part keeps only what it is about to write. */
static int spill(struct bands *b, struct err *err) {
    b->spilled = true;
    for (int i = 0; i < PARTS; i++) {
        struct band_part *p = &b->parts[i];
        int rc = p->n ? flush(b, p, err) : 0;
        if (rc < 0) return rc;
        struct pair *v = mem_resize(p->v, WRITE_PAIRS, sizeof *v);
        if (!v) return err_nomem(err, WRITE_PAIRS * sizeof *v);
        p->v = v;
        p->cap = WRITE_PAIRS;
    }
    return 0;
}

static int add_pair(struct bands *b, struct pair pair, struct err *err) {
    struct band_part *p = &b->parts[pair.key >> 56];
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap + p->cap / 2 : 256, more = (cap - p->cap) * sizeof pair;
        if (!b->spilled && b->held + more > b->budget) {
            int rc = spill(b, err);
            if (rc < 0) return rc;
        }
        if (b->spilled) {
            int rc = p->n == p->cap ? flush(b, p, err) : 0;
            if (rc < 0) return rc;
        } else {
            struct pair *v = mem_resize(p->v, cap, sizeof *v);
            if (!v) return err_nomem(err, cap * sizeof *v);
            p->v = v;
            p->cap = cap;
            b->held += more;
        }
    }
    p->v[p->n++] = pair;
    return 0;
}

int bands_add(struct bands *b, uint32_t document, const uint64_t keys[MINHASH_BANDS],
              struct err *err) {
    int rc = 0;
    for (int i = 0; rc == 0 && i < MINHASH_BANDS; i++)
        rc = add_pair(b, (struct pair){.key = keys[i], .document = document}, err);
    return rc;
}

/* ------------------------------------------------------------------ grouping */

static int by_key(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->document < y->document ? -1 : x->document > y->document;
}

/* The whole part in memory. */
static int gather(struct bands *b, struct band_part *p, struct err *err) {
    if (p->fd < 0) return 0;
    int rc = flush(b, p, err);
    if (rc < 0) return rc;
    size_t n = (size_t)p->in_file, left = n * sizeof *p->v;
    struct pair *v = mem_resize(p->v, n, sizeof *v);
    if (!v) return err_nomem(err, n * sizeof *v);
    p->v = v;
    p->n = p->cap = n;
    for (char *at = (char *)v; left;) {
        ssize_t got = pread(p->fd, at, left, at - (char *)v);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return got ? err_errno(err, "%s: scratch file", b->scratch->dir)
                       : err_set(err, ERR_IO, "%s: scratch file is cut off", b->scratch->dir);
        at += got;
        left -= (size_t)got;
    }
    close(p->fd);
    p->fd = -1;
    return 0;
}

static void enter(uint32_t *of_document, uint32_t group) {
    int i = 0;
    while (of_document[i]) i++; /* at most 13 keys each, so there is room */
    of_document[i] = group;
}

static int group_part(struct band_part *p, struct band_groups *to, struct err *err) {
    if (p->n) qsort(p->v, p->n, sizeof *p->v, by_key);
    for (size_t i = 0, j; i < p->n; i = j) {
        for (j = i + 1; j < p->n && p->v[j].key == p->v[i].key;) j++;
        if (j - i < 2) continue;
        if (to->n >= UINT32_MAX - 1) return err_set(err, ERR_DATA, "too many groups of documents");
        to->n++;
        for (size_t k = i; k < j; k++)
            enter(to->v + (size_t)p->v[k].document * MINHASH_BANDS, to->n);
    }
    return 0;
}

int bands_group(struct bands *b, uint32_t documents, struct band_groups *ret, struct err *err) {
    void *v;
    uint64_t bytes = (uint64_t)documents * MINHASH_BANDS * sizeof *ret->v;
    int rc = scratch_big(b->scratch, &v, bytes, err);
    if (rc < 0) return rc;
    *ret = (struct band_groups){.v = v};
    for (int i = 0; rc == 0 && i < PARTS; i++) {
        struct band_part *p = &b->parts[i];
        rc = gather(b, p, err);
        if (rc == 0) rc = group_part(p, ret, err);
        free(p->v);
        p->v = NULL;
        p->n = p->cap = 0;
    }
    return rc;
}
