/* Ranges of an address: see http_blob.h.
 *
 *   read(at, n):  the open answer stands at `at`, or a little before?  ─yes─▶ goes on reading it
 *                                                                      └no─▶ asks "bytes=at-"
 *
 * An answer is read only as far as it is wanted; a connection that breaks is asked again from the
 * byte it broke at. */
#include "stream/http_blob.h"

#include <stdlib.h>
#include <string.h>
#include "stream/http_parts.h"

enum { GAP_BYTES = 64 << 10 }; /* sooner read than another request is answered */

struct http_blob {
    struct http *h;
    struct conn *c;           /* with an answer that stands at `at`; NULL: none */
    char *url, *shown, *mark; /* mark: see http_reply_mark(), or NULL */
    bool any_mark;
    uint64_t at, total;
    struct patience patience;
};

static void give_up(struct http_blob *b) {
    if (b->c) conn_give(b->h, b->c);
    b->c = NULL;
}

/* Whether an answer is of the file that was opened. */
static int check_mark(struct http_blob *b, const struct http_reply *r, struct err *err) {
    bool linked;
    char *mark = http_reply_mark(r, b->any_mark, &linked);
    bool same = !b->mark || !mark || !strcmp(b->mark, mark);
    if (!b->mark) {
        b->mark = mark;
        mark = NULL;
    }
    free(mark);
    if (same) return 0;
    return err_set(err, ERR_NET, "%s: changed on the server while it was read", b->shown);
}

/* An answer from byte `at` on. */
static int begin(struct http_blob *b, uint64_t at, struct err *err) {
    struct http_reply r = {0};
    struct ask ask = {.url = b->url, .from = at};
    uint64_t from = 0, total = 0;
    give_up(b);
    int rc = conn_take(b->h, &b->c, err);
    if (rc == 0) rc = http_ask(b->h, b->c, &ask, &b->patience, &r, err);
    if (rc == 0 && at) {
        bool ranged = r.status == 206 && http_content_range(&r.headers, &from, &total);
        if (!ranged)
            rc = err_set(err, ERR_NET, "%s: the server sends no ranges; fetch the file first",
                         b->shown);
        else if (from != at || total != b->total)
            rc = err_set(err, ERR_NET, "%s: changed on the server while it was read", b->shown);
    } else if (rc == 0 && !http_header_u64(&r.headers, "content-length", &b->total))
        rc = err_set(err, ERR_NET, "%s: the server does not say how long it is", b->shown);
    if (rc == 0) rc = check_mark(b, &r, err);
    http_reply_release(&r);
    if (rc < 0) give_up(b);
    b->at = at;
    return rc;
}

/* Reads what lies before `at`, if that is little; a failure shows at the next read. */
static void skip_to(struct http_blob *b, uint64_t at) {
    char v[4096];
    while (b->c && b->at < at && at - b->at <= GAP_BYTES) {
        uint64_t more = at - b->at;
        long got = conn_read(b->c, v, more < sizeof v ? (size_t)more : sizeof v, NULL);
        if (got <= 0) return;
        b->at += (uint64_t)got;
    }
}

static int blob_read(void *ctx, uint64_t at, void *to, size_t n, struct err *err) {
    struct http_blob *b = ctx;
    int rc = 0;
    if (n) skip_to(b, at);
    if (n && (!b->c || b->at != at)) rc = begin(b, at, err);
    for (char *v = to; rc == 0 && n;) {
        long got = conn_read(b->c, v, n, err);
        if (got > 0) {
            v += got;
            n -= (size_t)got;
            b->at += (uint64_t)got;
            b->patience.failures = 0;
            continue;
        }
        if (got < 0 && !b->c->transient) return err_prefix(err, "%s", b->shown);
        if (got == 0)
            err_set(err, ERR_NET, "the body ended at byte %llu of %llu", (unsigned long long)b->at,
                    (unsigned long long)b->total);
        rc = http_wait(b->h, b->url, &b->patience, -1, err);
        if (rc == 0) rc = begin(b, b->at, err);
    }
    return rc;
}

static void blob_close(void *ctx) {
    struct http_blob *b = ctx;
    give_up(b);
    free(b->url);
    free(b->shown);
    free(b->mark);
    free(b);
}

int http_blob(struct http *h, const char *url, const char *mark, struct blob *ret,
              struct err *err) {
    struct http_blob *b = calloc(1, sizeof *b);
    if (!b) return err_nomem(err, sizeof *b);
    b->h = h;
    b->url = strdup(url);
    b->shown = url_shown(url);
    b->any_mark = mark != NULL;
    b->mark = mark ? strdup(mark) : NULL;
    bool have = b->url && b->shown && (b->mark || !mark);
    int rc = have ? begin(b, 0, err) : err_nomem(err, strlen(url));
    if (rc < 0)
        blob_close(b);
    else
        *ret = (struct blob){blob_read, blob_close, b, b->total};
    return rc;
}
