/* Reading all documents of a source into one line of text. */
#ifndef LORY_TESTS_DOCS_HELP_H
#define LORY_TESTS_DOCS_HELP_H

#include "stream_help.h"
#include "stream/docs.h"

static inline int see_bytes(void *ctx, const char *v, size_t n, struct err *err) {
    return buf_append(ctx, v, n, err);
}

static inline int see(void *ctx, struct batch *b, int thread, struct err *err) {
    struct buf *to = ctx;
    int rc = 0;
    (void)thread;
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        const struct doc *d = &b->v[i];
        buf_char(to, ' ', NULL);
        rc = d->text ? buf_append(to, d->text, d->n, err) : docs_far_text(d, see_bytes, to, err);
    }
    return rc;
}

/* " text text …" of all documents in their order. */
static inline int read_all(const char *dir, const struct docs_opts *o, struct buf *to,
                           struct err *err) {
    struct source_list list = {0};
    struct docs *d;
    to->n = 0;
    int rc = source_resolve(&list, dir, NULL, NULL, err);
    if (rc == 0) rc = docs_open(&d, &list, o, err);
    if (rc == 0) {
        rc = docs_run(d, o->threads, NULL, see, to, err);
        docs_close(d, NULL);
    }
    source_list_release(&list);
    return rc;
}

#endif
