/* See clusters.h. */
#include "stream/clusters.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "stream/buckets.h"

/* Of the document that a cluster was opened on. */
struct cluster_base {
    uint32_t document; /* + 1; 0: not seen yet             */
    uint32_t copies;   /* it, and those that go because of it */
};

struct clusters {
    struct buckets *members;
    struct cluster_base *bases; /* (n) */
    uint32_t n;
};

/* A member as it lies in its bucket: this, then the names. */
struct record {
    struct cluster_member m;
    uint32_t names_n;
};

/* The same, found again. */
struct member {
    struct record r;
    const char *names;
    uint32_t copies;
};

int clusters_new(struct clusters **ret, uint32_t n, const char *dir, struct err *err) {
    struct clusters *c = calloc(1, sizeof *c);
    if (!c) return err_nomem(err, sizeof *c);
    c->n = n;
    c->bases = mem_array((size_t)n + 1, sizeof *c->bases);
    int rc = c->bases ? buckets_new(&c->members, dir, err)
                      : err_nomem(err, (uint64_t)n * sizeof *c->bases);
    if (rc == 0)
        *ret = c;
    else
        clusters_free(c);
    return rc;
}

void clusters_free(struct clusters *c) {
    if (!c) return;
    buckets_free(c->members);
    free(c->bases);
    free(c);
}

int clusters_add(struct clusters *c, const struct cluster_member *m, const char *names, size_t n,
                 struct err *err) {
    struct cluster_base *base = &c->bases[m->cluster - 1];
    struct record r = {.m = *m, .names_n = (uint32_t)n};
    size_t bucket = (size_t)((uint64_t)(m->cluster - 1) * buckets_n() / c->n);
    if (!base->document) base->document = m->document + 1;
    base->copies += m->by + 1 == base->document;
    return buckets_add(c->members, bucket, &r, sizeof r, names, n, err);
}

/* ------------------------------------------------------------------ the file */

static int by_cluster(const void *a, const void *b) {
    const struct cluster_member *x = &((const struct member *)a)->r.m;
    const struct cluster_member *y = &((const struct member *)b)->r.m;
    if (x->cluster != y->cluster) return x->cluster < y->cluster ? -1 : 1;
    return x->document < y->document ? -1 : x->document > y->document;
}

static int by_document(const void *key, const void *v) {
    uint32_t a = *(const uint32_t *)key, b = ((const struct member *)v)->r.m.document;
    return a < b ? -1 : a > b;
}

/* The records of a bucket as a list, sorted; it points into `b`. */
static int list_members(const struct buf *b, struct member **ret, size_t *ret_n, struct err *err) {
    size_t cap = b->n / sizeof(struct record), n = 0;
    struct member *v = mem_array(cap + 1, sizeof *v);
    if (!v) return err_nomem(err, cap * sizeof *v);
    for (size_t at = 0; at < b->n; n++) {
        memcpy(&v[n].r, b->v + at, sizeof v[n].r);
        v[n].names = b->v + at + sizeof v[n].r;
        at += sizeof v[n].r + v[n].r.names_n;
    }
    if (n) qsort(v, n, sizeof *v, by_cluster);
    *ret = v;
    *ret_n = n;
    return 0;
}

/* The members of one cluster. */
static int write_cluster(const struct clusters *c, struct member *v, size_t n, struct outfile *f,
                         struct err *err) {
    for (size_t i = 0; i < n; i++) {
        struct member *by = bsearch(&v[i].r.m.by, v, n, sizeof *v, by_document);
        if (by) by->copies++;
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct cluster_member *m = &v[i].r.m;
        bool stays = m->own || m->by == m->document;
        uint32_t copies = m->own ? c->bases[m->own - 1].copies : v[i].copies;
        rc = outfile_printf(f, err, "%s{\"base_index\": %" PRIu32, i ? ", " : "[", m->document);
        if (rc == 0) rc = outfile_write(f, v[i].names, v[i].r.names_n, err);
        if (rc == 0)
            rc = stays ? outfile_printf(f, err, ", \"is_extreme\": true, \"copies\": %" PRIu32 "}",
                                        copies)
                       : outfile_printf(f, err, ", \"is_extreme\": false}");
    }
    return rc;
}

static int write_bucket(struct clusters *c, size_t bucket, struct outfile *f, struct err *err) {
    struct buf b = {0};
    struct member *v = NULL;
    size_t n = 0, i = 0, end;
    int rc = buckets_take(c->members, bucket, &b, err);
    if (rc == 0) rc = list_members(&b, &v, &n, err);
    for (; rc == 0 && i < n; i = end) {
        for (end = i + 1; end < n && v[end].r.m.cluster == v[i].r.m.cluster;) end++;
        rc = write_cluster(c, v + i, end - i, f, err);
        if (rc == 0) rc = outfile_printf(f, err, v[i].r.m.cluster < c->n ? "],\n" : "]\n");
    }
    free(v);
    buf_release(&b);
    return rc;
}

int clusters_write(struct clusters *c, const char *path, struct err *err) {
    struct outfile *f;
    int rc = outfile_open(&f, path, err);
    if (rc < 0) return rc;
    rc = outfile_printf(f, err, "[\n");
    for (size_t i = 0; rc == 0 && i < buckets_n(); i++) rc = write_bucket(c, i, f, err);
    if (rc == 0) rc = outfile_printf(f, err, "]\n");
    if (rc == 0) return outfile_commit(f, err);
    outfile_abort(f);
    return rc;
}
