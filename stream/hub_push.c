/* Commits: what is to be sent is found out, sent, and put on top of the head that was looked at.
 *
 *   head ─▶ preupload ─▶ digests ─▶ large contents ─▶ commit ─▶ done
 *    ▲                                                  ├ 409, 412: the head has moved ──┐
 *    │                                                  └ no answer, 5xx: is it there? ──┤
 *    └───────────────────────────────────────────────────────────────────────────────────┘
 *
 * Whether a commit whose answer was lost has arrived is read off the branch: it has, if every file
 * of it is there. */
#include "stream/hub_push_parts.h"

#include <stdlib.h>
#include <string.h>
#include "base/pool.h"
#include "base/signals.h"
#include "stream/http_parts.h"

enum {
    PREUPLOAD_FILES = 256,
    SAMPLE_BYTES = 512,
    COMMIT_FILES = 100,
    COMMIT_INLINE_BYTES = 32 << 20, /* of small files; they wait in memory */
    TRIES = 6
};

struct push {
    const struct hub *h;
    const struct hub_ref *ref;
    const struct hub_push_opts *opts;
    struct hub_journal *j;
    struct hub_pushed *ret;
    struct hub_change **v; /* of one commit */
    size_t n;
    size_t part, parts; /* of the message, from 1 */
};

/* ------------------------------------------------------------------ preupload */

static int preupload_body(struct push *p, struct hub_change **v, size_t n, struct buf *out,
                          struct err *err) {
    int rc = buf_str(out, "{\"files\":[", err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct buf sample = {0};
        rc = hub_change_read(v[i], SAMPLE_BYTES, &sample, err);
        if (rc == 0) rc = buf_str(out, i ? ",{\"path\":" : "{\"path\":", err);
        if (rc == 0) rc = json_quote(out, v[i]->path, strlen(v[i]->path), err);
        if (rc == 0)
            rc = buf_printf(out, err, ",\"size\":%llu,\"sample\":\"",
                            (unsigned long long)v[i]->bytes);
        if (rc == 0) rc = hub_base64(out, sample.v, sample.n, err);
        if (rc == 0) rc = buf_str(out, "\"}", err);
        buf_release(&sample);
    }
    (void)p;
    return rc < 0 ? rc : buf_str(out, "]}", err);
}

/* What the Hub says of one file: large or small, ignored, and what it has under this name. */
static int take_mode(struct push *p, struct hub_change **v, size_t n, const cJSON *x,
                     struct err *err) {
    const char *path = NULL, *mode = NULL, *oid = NULL;
    bool ignored = false;
    if (!cJSON_IsObject(x) || json_str(x, "path", &path, "", NULL) < 0 || !path ||
        json_str(x, "uploadMode", &mode, "", NULL) < 0 || !mode ||
        json_bool(x, "shouldIgnore", &ignored, "", NULL) < 0 ||
        json_str(x, "oid", &oid, "", NULL) < 0)
        return err_set(err, ERR_NET, "%s: does not answer as a Hub does", p->h->endpoint);
    for (size_t i = 0; i < n; i++) {
        struct hub_change *c = v[i];
        if (strcmp(c->path, path)) continue;
        /* Object stores refuse empty objects. */
        c->lfs = !strcmp(mode, "lfs") && c->bytes;
        c->skip = ignored;
        if (ignored) {
            p->ret->ignored++;
            continue;
        }
        bool known = c->lfs ? *c->sha256 || hub_journal_find(p->j, c) : *c->blob != 0;
        if (!known) {
            int rc = hub_change_digest(c, err);
            if (rc < 0) return rc;
            if (c->lfs) hub_journal_add(p->j, c);
        }
        c->skip = oid && !strcmp(oid, c->lfs ? c->sha256 : c->blob);
        if (c->skip) p->ret->unchanged++;
    }
    return 0;
}

static int preupload(struct push *p, struct err *err) {
    struct buf url = {0};
    int rc = hub_api_url(&url, p->h, p->ref, "preupload", p->ref->revision, err);
    for (size_t at = 0; rc == 0 && at < p->n; at += PREUPLOAD_FILES) {
        struct buf body = {0};
        struct http_reply reply = {0};
        cJSON *tree = NULL;
        const cJSON *x, *files;
        size_t n = p->n - at < PREUPLOAD_FILES ? p->n - at : PREUPLOAD_FILES;
        rc = preupload_body(p, p->v + at, n, &body, err);
        if (rc == 0)
            rc = hub_question(p->h,
                              &(struct hub_question){
                                  .method = "POST", .url = url.v, .body = &body, .ref = p->ref},
                              &tree, &reply, err);
        files = rc == 0 ? json_get(tree, "files") : NULL;
        cJSON_ArrayForEach(x, files) {
            if (rc == 0) rc = take_mode(p, p->v + at, n, x, err);
        }
        cJSON_Delete(tree);
        http_reply_release(&reply);
        buf_release(&body);
    }
    buf_release(&url);
    return rc;
}

/* ------------------------------------------------------------------ the lines of a commit */

int hub_commit_header(struct buf *body, const struct hub_push_opts *opts, const char *parent,
                      struct err *err) {
    const char *text = opts->description ? opts->description : "";
    int rc = buf_str(body, "{\"key\":\"header\",\"value\":{\"summary\":", err);
    if (rc == 0) rc = json_quote(body, opts->summary, strlen(opts->summary), err);
    if (rc == 0) rc = buf_str(body, ",\"description\":", err);
    if (rc == 0) rc = json_quote(body, text, strlen(text), err);
    return rc < 0 ? rc : buf_printf(body, err, ",\"parentCommit\":\"%s\"}}\n", parent);
}

int hub_commit_large(struct buf *body, const char *path, const char *sha256, uint64_t bytes,
                     struct err *err) {
    int rc = buf_str(body, "{\"key\":\"lfsFile\",\"value\":{\"path\":", err);
    if (rc == 0) rc = json_quote(body, path, strlen(path), err);
    return rc < 0 ? rc
                  : buf_printf(body, err, ",\"algo\":\"sha256\",\"oid\":\"%s\",\"size\":%llu}}\n",
                               sha256, (unsigned long long)bytes);
}

int hub_commit_small(struct buf *body, const char *path, const struct buf *contents,
                     struct err *err) {
    int rc = buf_str(body, "{\"key\":\"file\",\"value\":{\"content\":\"", err);
    if (rc == 0) rc = hub_base64(body, contents->v, contents->n, err);
    if (rc == 0) rc = buf_str(body, "\",\"path\":", err);
    if (rc == 0) rc = json_quote(body, path, strlen(path), err);
    return rc < 0 ? rc : buf_str(body, ",\"encoding\":\"base64\"}}\n", err);
}

static int add_change(struct buf *body, const struct hub_change *c, struct err *err) {
    struct buf text = {0};
    if (c->lfs) return hub_commit_large(body, c->path, c->sha256, c->bytes, err);
    int rc = hub_change_read(c, 0, &text, err);
    if (rc == 0) rc = hub_commit_small(body, c->path, &text, err);
    buf_release(&text);
    return rc;
}

int hub_commit_send(const struct hub *h, const struct hub_ref *ref, const struct buf *body,
                    char ret_commit[HUB_COMMIT_BYTES], long *status, struct err *err) {
    struct buf url = {0};
    struct http_reply reply = {0};
    cJSON *tree = NULL;
    const char *oid = NULL;
    *ret_commit = 0;
    int rc = hub_api_url(&url, h, ref, "commit", ref->revision, err);
    if (rc == 0)
        rc = hub_question(h,
                          &(struct hub_question){.method = "POST",
                                                 .url = url.v,
                                                 .type = "application/x-ndjson",
                                                 .body = body,
                                                 .once = true,
                                                 .ref = ref},
                          &tree, &reply, err);
    *status = reply.status;
    if (rc == 0 && (!tree || json_str(tree, "commitOid", &oid, "", NULL) < 0 || !oid ||
                    strlen(oid) >= HUB_COMMIT_BYTES)) {
        *status = 0; /* an answer that says nothing: what became of it is to be looked up */
        rc = err_set(err, ERR_NET, "%s: does not say which commit it made", h->endpoint);
    }
    if (rc == 0) memcpy(ret_commit, oid, strlen(oid) + 1);
    cJSON_Delete(tree);
    http_reply_release(&reply);
    buf_release(&url);
    return rc;
}

/* ------------------------------------------------------------------ one commit */

/* Whether everything of the commit is at `head` already. */
static int arrived(struct push *p, const char *head, bool *yes, struct err *err) {
    struct hub_ref at = {p->ref->dataset, p->ref->repo, (char *)head, (char *)""};
    struct hub_list l;
    int rc = hub_list(&l, p->h, &at, err);
    if (rc < 0) return rc;
    *yes = true;
    for (size_t i = 0; i < p->n; i++) {
        const struct hub_change *c = p->v[i];
        bool found = c->skip;
        for (size_t k = 0; !found && k < l.n; k++)
            if (!strcmp(l.v[k].path, c->path))
                found = c->lfs ? l.v[k].sha256 && !strcmp(l.v[k].sha256, c->sha256)
                               : !strcmp(l.v[k].blob, c->blob);
        *yes = *yes && found;
    }
    hub_list_release(&l);
    return 0;
}

static int send_large(struct push *p, struct err *err) {
    struct hub_change **v = mem_array(p->n, sizeof *v);
    size_t n = 0;
    if (!v) return err_nomem(err, p->n * sizeof *v);
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i]->lfs && !p->v[i]->skip) v[n++] = p->v[i];
    int rc = n ? hub_lfs_send(p->h, p->ref, v, n, p->j, p->opts, p->ret, err) : 0;
    free(v);
    return rc;
}

/* The body of the commit; its number of files in *files. */
static int commit_body(struct push *p, const char *head, struct buf *body, size_t *files,
                       struct err *err) {
    struct buf summary = {0};
    struct hub_push_opts o = *p->opts;
    int rc = 0;
    if (p->parts > 1) {
        rc = buf_printf(&summary, err, "%s (part %zu of %zu)", o.summary, p->part, p->parts);
        o.summary = rc == 0 ? buf_cstr(&summary) : "";
        if (!o.summary) rc = err_nomem(err, summary.n);
    }
    if (rc == 0) rc = hub_commit_header(body, &o, head, err);
    *files = 0;
    for (size_t i = 0; rc == 0 && i < p->n; i++)
        if (!p->v[i]->skip) {
            rc = add_change(body, p->v[i], err);
            ++*files;
        }
    buf_release(&summary);
    return rc;
}

/* One try on top of `head`. 1: done. 0: to be tried again, on the branch's new head. */
static int try_commit(struct push *p, const char *head, struct err *err) {
    struct hub_pushed before = *p->ret;
    struct buf body = {0};
    size_t files = 0;
    long status = 0;
    int rc = preupload(p, err);
    if (rc == 0) rc = send_large(p, err);
    if (rc == 0) rc = commit_body(p, head, &body, &files, err);
    if (rc == 0 && !files) {
        memcpy(p->ret->commit, head, HUB_COMMIT_BYTES);
        buf_release(&body);
        return 1;
    }
    if (rc == 0) {
        rc = hub_commit_send(p->h, p->ref, &body, p->ret->commit, &status, err);
        buf_release(&body);
        if (rc == 0) {
            p->ret->commits++;
            p->ret->files += files;
            return 1;
        }
        bool again = status == 409 || status == 412 || status == 0 || status >= 500;
        if (rc == ERR_NET && again) {
            p->ret->unchanged = before.unchanged;
            p->ret->ignored = before.ignored;
            return 0;
        }
    }
    buf_release(&body);
    return rc;
}

static int commit(struct push *p, struct err *err) {
    char head[HUB_COMMIT_BYTES], now[HUB_COMMIT_BYTES];
    const char *only = p->part == 1 ? p->opts->head : NULL;
    int rc = hub_head(p->h, p->ref, head, NULL, err);
    for (int tries = 1; rc == 0; tries++) {
        p->ret->moved = only && strcmp(head, only);
        if (p->ret->moved) return 0;
        rc = try_commit(p, head, err);
        if (rc != 0) break;
        if (tries == TRIES) {
            rc = err_hint(err, "given up after %d tries", tries);
            break;
        }
        log_info(p->opts->log, "%s: %s; looking what became of the commit", p->ref->repo, err->msg);
        rc = http_sleep(0.25 * tries, err);
        if (rc == 0) rc = hub_head(p->h, p->ref, now, NULL, err);
        bool there = false;
        if (rc == 0 && strcmp(head, now)) rc = arrived(p, now, &there, err);
        if (there) {
            memcpy(p->ret->commit, now, sizeof now);
            p->ret->commits++;
            for (size_t i = 0; i < p->n; i++) p->ret->files += !p->v[i]->skip;
            return 0;
        }
        memcpy(head, now, sizeof head);
    }
    return rc < 0 ? rc : 0;
}

/* ------------------------------------------------------------------ all of them */

/* How many changes from `at` on go into one commit. Their mode is not known yet: small ones count
 * as inline. */
static size_t commit_length(const struct hub_changes *c, size_t at) {
    uint64_t bytes = 0;
    size_t n = 0;
    while (at + n < c->n && n < COMMIT_FILES) {
        uint64_t more = c->v[at + n].bytes <= COMMIT_INLINE_BYTES ? c->v[at + n].bytes : 0;
        if (n && bytes + more > COMMIT_INLINE_BYTES) break;
        bytes += more;
        n++;
    }
    return n;
}

int hub_push(const struct hub *h, const struct hub_ref *ref, struct hub_changes *c,
             const struct hub_push_opts *opts, struct hub_pushed *ret, struct err *err) {
    struct err local = {0};
    struct push p = {.h = h, .ref = ref, .opts = opts, .ret = ret};
    if (!err) err = &local;
    memset(ret, 0, sizeof *ret);
    int rc = hub_journal_open(&p.j, opts->journal, opts->log, err);
    for (size_t i = 0; rc == 0 && i < c->n; i++) rc = hub_change_look(&c->v[i], err);
    for (size_t at = 0; rc == 0 && at < c->n; at += commit_length(c, at)) p.parts++;
    p.v = mem_array(COMMIT_FILES, sizeof *p.v);
    if (rc == 0 && !p.v) rc = err_nomem(err, COMMIT_FILES * sizeof *p.v);
    for (size_t at = 0; rc == 0 && at < c->n; at += p.n) {
        p.part++;
        p.n = commit_length(c, at);
        for (size_t i = 0; i < p.n; i++) p.v[i] = &c->v[at + i];
        if (signals_stop())
            rc = err_set(err, ERR_STOPPED, "interrupted; the same command goes on");
        else
            rc = commit(&p, err);
        if (ret->moved) break;
    }
    free(p.v);
    hub_journal_close(p.j);
    return rc;
}
