/* A branch into another: one commit that names the large files (their contents are in the
 * repository already) and repeats the small ones. */
#include "stream/hub_push_parts.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL_BYTES = 64 << 20, TRIES = 5 };

static const struct hub_entry *find(const struct hub_list *l, const char *path) {
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->v[i].path, path)) return &l->v[i];
    return NULL;
}

static bool same(const struct hub_entry *a, const struct hub_entry *b) {
    if (!b || a->bytes != b->bytes) return false;
    if (a->sha256 && b->sha256) return !strcmp(a->sha256, b->sha256);
    return !a->sha256 && !b->sha256 && *a->blob && !strcmp(a->blob, b->blob);
}

static int add_small(const struct hub *h, const struct hub_ref *ref, const char *commit,
                     const struct hub_entry *e, struct buf *body, struct hub_pushed *ret,
                     struct err *err) {
    struct http_reply reply = {0};
    char *url = hub_file_url(h, ref, commit, e->path);
    int rc = url ? http_get(h->http, url, SMALL_BYTES, &reply, err) : err_nomem(err, 0);
    if (rc == 0) rc = hub_commit_small(body, e->path, &reply.body, err);
    ret->bytes += reply.body.n;
    http_reply_release(&reply);
    free(url);
    return rc;
}

static int merge_body(const struct hub *h, const struct hub_ref *ref, const struct hub_list *from,
                      const struct hub_list *to, const struct hub_push_opts *opts, struct buf *body,
                      struct hub_pushed *ret, struct err *err) {
    int rc = hub_commit_header(body, opts, to->commit, err);
    ret->files = ret->unchanged = ret->stored = ret->bytes = 0;
    for (size_t i = 0; rc == 0 && i < from->n; i++) {
        const struct hub_entry *e = &from->v[i];
        if (same(e, find(to, e->path))) {
            ret->unchanged++;
            continue;
        }
        ret->files++;
        if (e->sha256) {
            ret->stored++;
            rc = hub_commit_large(body, e->path, e->sha256, e->bytes, err);
        } else
            rc = add_small(h, ref, from->commit, e, body, ret, err);
    }
    return rc;
}

/* One try. 1: done. 0: the head moved, or it is not known what became of it. A second try that
 * finds everything there is the proof that the first arrived. */
static int try_merge(const struct hub *h, const struct hub_ref *ref, const struct hub_list *from,
                     const struct hub_push_opts *opts, struct hub_pushed *ret, struct err *err) {
    struct hub_ref whole = {ref->dataset, ref->repo, ref->revision, (char *)""};
    struct hub_list to;
    struct buf body = {0};
    long status = 0;
    int rc = hub_list(&to, h, &whole, err);
    if (rc == 0) rc = merge_body(h, ref, from, &to, opts, &body, ret, err);
    if (rc == 0 && !ret->files) {
        memcpy(ret->commit, to.commit, sizeof ret->commit);
        rc = 1;
    } else if (rc == 0) {
        rc = hub_commit_send(h, ref, &body, ret->commit, &status, err);
        bool again = status == 409 || status == 412 || status == 0 || status >= 500;
        if (rc == 0)
            rc = 1, ret->commits++;
        else if (rc == ERR_NET && again)
            rc = 0;
    }
    buf_release(&body);
    hub_list_release(&to);
    return rc;
}

int hub_merge(const struct hub *h, const struct hub_ref *ref, const char *from,
              const struct hub_push_opts *opts, struct hub_pushed *ret, struct err *err) {
    struct err local = {0};
    struct hub_ref source = {ref->dataset, ref->repo, (char *)from, (char *)""};
    struct hub_list l;
    if (!err) err = &local;
    memset(ret, 0, sizeof *ret);
    int rc = hub_list(&l, h, &source, err);
    if (rc < 0) return rc;
    rc = 0;
    for (int tries = 1; rc == 0; tries++) {
        rc = try_merge(h, ref, &l, opts, ret, err);
        if (rc == 0 && tries == TRIES) rc = err_hint(err, "given up after %d tries", tries);
        if (rc == 0) log_info(opts->log, "%s: %s; looking again", ref->repo, err->msg);
    }
    hub_list_release(&l);
    return rc < 0 ? rc : 0;
}
