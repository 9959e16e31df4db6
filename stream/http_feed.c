/* A body as a feed that survives its connection.
 *
 *   delivered 0 ────────────▶ at        lost here ─▶ ask again from `at`:
 *   206 from `at`  goes on     200 (no ranges)  skips `at` bytes     416 at the end  is the end
 *
 * A seek is the same with another `at`. Every try starts at the original address, so a signed one
 * that ran out is resolved anew. What makes it the same file: the sha256 that the caller knows,
 * else the ETag (X-Linked-Etag of the Hub), else the length. */
#include "stream/http_parts.h"

#include <stdlib.h>
#include <string.h>
#include "base/hash.h"

enum { EARNED_BYTES = 64 << 10 };

struct http_feed {
    struct http *h;
    struct conn *c;
    char *url, *shown;
    char *mark;     /* of its identity, or NULL                 */
    bool any_mark;  /* weak ETags and dates count (http_mark)   */
    bool linked;    /* the mark is the Hub's, not the last hop's */
    uint64_t at;    /* bytes delivered                          */
    uint64_t until; /* where the open answer ends by our own wish; 0: with the file */
    uint64_t skip;  /* bytes to throw away before the next one  */
    uint64_t total; /* 0: unknown                               */
    bool started, done;
    struct patience patience;
    uint64_t earned;    /* bytes since the last failure: enough of them make patience new */
    struct sha256 *sha; /* NULL if no digest is known               */
    char want[SHA256_HEX];
};

static void feed_free(struct http_feed *f) {
    if (f->c) conn_give(f->h, f->c);
    sha256_free(f->sha);
    free(f->url);
    free(f->shown);
    free(f->mark);
    free(f);
}

char *http_reply_mark(const struct http_reply *r, bool any, bool *linked) {
    char *tag = http_header(&r->first_headers, "x-linked-etag");
    *linked = tag != NULL;
    if (!tag) tag = http_header(&r->headers, "etag");
    if (any) return tag ? tag : http_header(&r->headers, "last-modified");
    if (tag && !strncmp(tag, "W/", 2)) {
        free(tag);
        tag = NULL;
    }
    return tag;
}

/* What the answer says of the length; 0 if nothing. */
static uint64_t reply_total(const struct http_reply *r) {
    uint64_t from, total = 0;
    if (r->status == 206) return http_content_range(&r->headers, &from, &total) ? total : 0;
    if (!http_header_u64(&r->headers, "content-length", &total))
        http_header_u64(&r->first_headers, "x-linked-size", &total);
    return total;
}

static int changed(struct http_feed *f, struct err *err) {
    return err_set(err, ERR_NET, "%s: changed on the server while it was read, at byte %llu",
                   f->shown, (unsigned long long)f->at);
}

/* Whether the answer goes on with the same file, and where. */
static int judge(struct http_feed *f, const struct http_reply *r, struct err *err) {
    uint64_t from = 0, total = 0;
    if (r->status == 416) {
        if (!f->total) http_unsatisfied_range(&r->headers, &f->total);
        f->done = f->total ? f->at == f->total : true;
        return f->done ? 0 : changed(f, err);
    }
    if (r->status == 206 && (!http_content_range(&r->headers, &from, &total) || from != f->at))
        return err_set(err, ERR_NET, "%s: asked for byte %llu, the server sends from byte %llu",
                       f->shown, (unsigned long long)f->at, (unsigned long long)from);
    bool linked;
    char *mark = http_reply_mark(r, f->any_mark, &linked);
    total = reply_total(r);
    bool same = f->sha || !f->mark || !mark || !strcmp(f->mark, mark);
    if (f->total && total && total != f->total) same = false;
    if (!f->mark) {
        f->mark = mark;
        mark = NULL;
    }
    free(mark);
    if (total) f->total = total;
    if (!f->started) f->linked = linked;
    f->started = true;
    f->skip = r->status == 206 ? 0 : f->at;
    if (r->status != 206) f->until = 0;
    return same ? 0 : changed(f, err);
}

static int connect_feed(struct http_feed *f, struct err *err) {
    struct http_reply r = {0};
    struct ask ask = {.url = f->url, .from = f->at, .until = f->until};
    /* With a digest to check, a range of another ETag does no harm; a CDN does not know the Hub's
     * (before the first answer we do not know whose it is); weak ones and dates are not for
     * this. */
    if (f->started && !f->sha && !f->linked && f->mark && *f->mark == '"') ask.if_range = f->mark;
    int rc = http_ask(f->h, f->c, &ask, &f->patience, &r, err);
    if (rc == 0) rc = judge(f, &r, err);
    http_reply_release(&r);
    return rc;
}

/* The body has come to its end: is it the one that was promised? */
static int at_end(struct http_feed *f, struct err *err) {
    char got[SHA256_HEX];
    f->done = true;
    if (f->total && f->at != f->total)
        return err_set(err, ERR_NET, "%s: %llu bytes were announced, %llu came", f->shown,
                       (unsigned long long)f->total, (unsigned long long)f->at);
    if (!f->sha) return 0;
    sha256_end(f->sha, got);
    f->sha = NULL;
    if (!strcmp(got, f->want)) return 0;
    return err_set(err, ERR_CORRUPT, "%s: sha256 is %s, should be %s", f->shown, got, f->want);
}

/* Bytes of the open body, or a negative code with c->transient. Throws away what is to be
 * skipped. */
static long pull(struct http_feed *f, void *bytes, size_t n, struct err *err) {
    while (f->skip) {
        size_t some = f->skip < n ? (size_t)f->skip : n;
        long got = conn_read(f->c, bytes, some, err);
        if (got <= 0) return got;
        f->skip -= (uint64_t)got;
    }
    return conn_read(f->c, bytes, n, err);
}

static long feed_read(void *ctx, void *bytes, size_t n, struct err *err) {
    struct http_feed *f = ctx;
    struct err local = {0};
    if (!err) err = &local;
    while (!f->done) {
        long got = pull(f, bytes, n, err);
        if (got > 0) {
            if (f->sha) sha256_add(f->sha, bytes, (size_t)got);
            f->at += (uint64_t)got;
            f->earned += (uint64_t)got;
            if (f->earned >= EARNED_BYTES) f->patience = (struct patience){0};
            return got;
        }
        if (f->until && f->at >= f->until && f->at != f->total) {
            f->until = 0; /* the head was read, and no seek came */
            int rc = connect_feed(f, err);
            if (rc < 0) return rc;
            if (f->done) return at_end(f, err);
            continue;
        }
        bool whole = f->total ? f->at >= f->total : got == 0 && !f->skip;
        if (whole && (got == 0 || f->at == f->total)) return at_end(f, err);
        if (got < 0 && !f->c->transient) return err_prefix(err, "%s", f->shown);
        if (got == 0)
            err_set(err, ERR_NET, "the body ended at byte %llu of %llu", (unsigned long long)f->at,
                    (unsigned long long)f->total);
        f->earned = 0;
        int rc = http_wait(f->h, f->url, &f->patience, -1, err);
        if (rc == 0) rc = connect_feed(f, err);
        if (rc < 0) return rc;
        if (f->done) return at_end(f, err);
    }
    return 0;
}

static void feed_close(void *ctx) {
    feed_free(ctx);
}

static int feed_seek(void *ctx, uint64_t to, struct err *err) {
    struct http_feed *f = ctx;
    conn_give(f->h, f->c); /* NULL after a failure of the next line */
    f->c = NULL;
    int rc = conn_take(f->h, &f->c, err);
    if (rc < 0) return rc;
    sha256_free(f->sha);
    f->sha = NULL;
    f->at = to;
    f->until = f->skip = f->earned = 0;
    f->done = false;
    f->patience = (struct patience){0};
    return connect_feed(f, err);
}

/* Takes over what the caller knows. */
static int want(struct http_feed *f, const struct http_want *w, struct err *err) {
    f->at = w->from;
    f->until = w->from ? 0 : w->head;
    f->any_mark = w->mark != NULL;
    if (w->mark && !(f->mark = strdup(w->mark))) return err_nomem(err, strlen(w->mark));
    if (w->from || !w->sha256 || strlen(w->sha256) != SHA256_HEX - 1) return 0;
    memcpy(f->want, w->sha256, sizeof f->want);
    f->sha = sha256_new();
    return f->sha ? 0 : err_nomem(err, SHA256_HEX);
}

int http_feed(struct http *h, const char *url, const struct http_want *wanted, struct feed *ret,
              struct err *err) {
    struct http_feed *f = calloc(1, sizeof *f);
    if (!f) return err_nomem(err, sizeof *f);
    f->h = h;
    f->url = strdup(url);
    f->shown = url_shown(url);
    int rc = f->url && f->shown ? want(f, wanted, err) : err_nomem(err, strlen(url));
    if (rc == 0) rc = conn_take(h, &f->c, err);
    if (rc == 0) rc = connect_feed(f, err);
    if (rc < 0)
        feed_free(f);
    else
        *ret = (struct feed){feed_read, feed_close, f, feed_seek};
    return rc;
}

int http_mark(struct http *h, const char *url, uint64_t *ret_bytes, char **ret_mark,
              struct err *err) {
    struct http_reply r = {0};
    struct patience patience = {0};
    struct conn *c;
    bool linked;
    int rc = conn_take(h, &c, err);
    if (rc < 0) return rc;
    /* A GET: there are servers, and signed addresses, that answer nothing else. */
    rc = http_ask(h, c, &(struct ask){.url = url, .until = 1}, &patience, &r, err);
    if (rc == 0) {
        *ret_bytes = r.status == 416 ? 0 : reply_total(&r);
        *ret_mark = http_reply_mark(&r, true, &linked);
    }
    http_reply_release(&r);
    conn_give(h, c);
    return rc;
}
