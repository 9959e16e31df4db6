/* Repositories, branches and commits: see hub_repo.h. */
#include "stream/hub_repo.h"
#include "stream/hub_parts.h"

#include <stdlib.h>
#include <string.h>
#include "stream/http_parts.h"

enum { CONFLICT_TRIES = 5, TITLES_MAX = 100000 };

int hub_head(const struct hub *h, const struct hub_ref *ref, char ret_commit[HUB_COMMIT_BYTES],
             enum hub_there *there, struct err *err) {
    struct buf url = {0};
    struct http_reply reply = {0};
    struct err local = {0};
    cJSON *tree = NULL;
    const char *sha = NULL;
    enum hub_there is = HUB_THERE;
    int rc = hub_api_url(&url, h, ref, "revision", ref->revision, err);
    *ret_commit = 0;
    if (rc == 0)
        rc = hub_question(h, &(struct hub_question){.url = url.v, .ref = ref}, &tree, &reply,
                          &local);
    if (rc == ERR_NET && hub_reply_is(&reply, "RevisionNotFound")) is = HUB_NO_REVISION;
    /* A Hub answers 401 for what does not exist, when nobody in particular asks. */
    if (rc == ERR_NET &&
        (hub_reply_is(&reply, "RepoNotFound") || (reply.status == 401 && !h->token)))
        is = HUB_NO_REPOSITORY;
    if (rc == 0 && (json_str(tree, "sha", &sha, "", NULL) < 0 || !sha ||
                    strlen(sha) >= HUB_COMMIT_BYTES || !hub_is_hex(sha, strlen(sha))))
        rc = err_set(&local, ERR_NET, "%s: does not say which commit \"%s\" is", h->endpoint,
                     ref->revision);
    if (rc == 0) memcpy(ret_commit, sha, strlen(sha) + 1);
    if (there && is != HUB_THERE) rc = 0;
    if (there) *there = is;
    if (rc < 0 && err) *err = local;
    cJSON_Delete(tree);
    http_reply_release(&reply);
    buf_release(&url);
    return rc;
}

/* ------------------------------------------------------------------ making */

static cJSON *create_body(const struct hub_ref *ref, bool secret) {
    cJSON *o = cJSON_CreateObject();
    const char *slash = strchr(ref->repo, '/');
    char *ns = slash ? strndup(ref->repo, (size_t)(slash - ref->repo)) : NULL;
    cJSON_AddStringToObject(o, "type", ref->dataset ? "dataset" : "model");
    cJSON_AddStringToObject(o, "name", slash ? slash + 1 : ref->repo);
    if (ns) cJSON_AddStringToObject(o, "organization", ns);
    cJSON_AddStringToObject(o, "visibility", secret ? "private" : "public");
    cJSON_AddBoolToObject(o, "private", secret); /* servers from before 2026 */
    free(ns);
    return o;
}

/* Whether it is there already; the message of a conflict is about something else then. A name
 * without a namespace is the user's own, and cannot be asked for. */
static bool exists(const struct hub *h, const struct hub_ref *ref) {
    if (!strchr(ref->repo, '/')) return true;
    char commit[HUB_COMMIT_BYTES];
    enum hub_there there;
    return hub_head(h, ref, commit, &there, NULL) == 0 && there != HUB_NO_REPOSITORY;
}

/* The address that the answer names, of a new repository or of the one that was there. */
static char *page_of(const struct hub *h, const struct hub_ref *ref, const struct http_reply *r) {
    cJSON *tree = NULL;
    const char *text = NULL;
    struct buf b = {0};
    if (r->body.n && json_parse(&tree, r->body.v, r->body.n, "", NULL) == 0 && cJSON_IsObject(tree))
        json_str(tree, "url", &text, "", NULL);
    int rc = text ? text_shown(&b, text, strlen(text), 400, NULL)
                  : buf_printf(&b, NULL, "%s/%s%s", h->endpoint, ref->dataset ? "datasets/" : "",
                               ref->repo);
    cJSON_Delete(tree);
    if (rc == 0 && buf_cstr(&b)) return b.v;
    buf_release(&b);
    return NULL;
}

int hub_create(const struct hub *h, const struct hub_ref *ref, bool secret, bool exist_ok,
               bool *ret_made, char **ret_url, struct err *err) {
    struct buf url = {0};
    int rc = buf_printf(&url, err, "%s/api/repos/create", h->endpoint);
    if (rc == 0 && !buf_cstr(&url)) rc = err_nomem(err, url.n);
    if (ret_made) *ret_made = true;
    if (ret_url) *ret_url = NULL;
    for (int tries = 1; rc == 0; tries++) {
        struct http_reply reply = {0};
        rc = hub_post(h, ref, "POST", url.v, create_body(ref, secret), NULL, &reply, err);
        if (ret_url && !*ret_url) *ret_url = page_of(h, ref, &reply);
        long status = reply.status;
        /* "another conflicting operation is in progress" */
        bool busy =
            status == 409 && reply.body.n && memmem(reply.body.v, reply.body.n, "in progress", 11);
        http_reply_release(&reply);
        if (rc == 0 || status != 409) break;
        if (busy && tries < CONFLICT_TRIES) {
            rc = http_sleep(tries, err);
            continue;
        }
        if (ret_made) *ret_made = false;
        rc = exist_ok && exists(h, ref)
                 ? 0
                 : err_set(err, ERR_NET, "%s: exists already at %s", ref->repo, h->endpoint);
        break;
    }
    buf_release(&url);
    return rc;
}

/* ------------------------------------------------------------------ branches */

static int change_branch(const struct hub *h, const struct hub_ref *ref, const char *method,
                         const char *branch, cJSON *body, bool exist_ok, struct err *err) {
    struct buf url = {0};
    struct http_reply reply = {0};
    int rc = hub_api_url(&url, h, ref, "branch", branch, err);
    if (rc < 0)
        cJSON_Delete(body);
    else
        rc = hub_post(h, ref, method, url.v, body, NULL, &reply, err);
    if (rc == ERR_NET && reply.status == 409)
        rc = exist_ok
                 ? 0
                 : err_set(err, ERR_NET, "%s: there is a branch \"%s\" already", ref->repo, branch);
    http_reply_release(&reply);
    buf_release(&url);
    return rc;
}

int hub_branch_create(const struct hub *h, const struct hub_ref *ref, const char *branch,
                      const char *from, bool exist_ok, struct err *err) {
    cJSON *body = cJSON_CreateObject();
    if (from) cJSON_AddStringToObject(body, "startingPoint", from);
    return change_branch(h, ref, "POST", branch, body, exist_ok, err);
}

int hub_branch_delete(const struct hub *h, const struct hub_ref *ref, const char *branch,
                      struct err *err) {
    return change_branch(h, ref, "DELETE", branch, cJSON_CreateObject(), false, err);
}

int hub_branches(const struct hub *h, const struct hub_ref *ref, struct strs *ret,
                 struct err *err) {
    struct buf url = {0};
    struct http_reply reply = {0};
    cJSON *tree = NULL;
    const cJSON *o;
    int rc = hub_api_url(&url, h, ref, "refs", NULL, err);
    if (rc == 0)
        rc = hub_question(h, &(struct hub_question){.url = url.v, .ref = ref}, &tree, &reply, err);
    cJSON_ArrayForEach(o, json_get(tree, "branches")) {
        const char *name = NULL, *commit = NULL;
        if (!cJSON_IsObject(o) || json_str(o, "name", &name, "", NULL) < 0 ||
            json_str(o, "targetCommit", &commit, "", NULL) < 0 || !name || !commit)
            rc = err_set(err, ERR_NET, "%s: does not answer as a Hub does", h->endpoint);
        if (rc == 0) rc = strs_push(ret, name, err);
        if (rc == 0) rc = strs_push(ret, commit, err);
        if (rc < 0) break;
    }
    cJSON_Delete(tree);
    http_reply_release(&reply);
    buf_release(&url);
    return rc;
}

/* ------------------------------------------------------------------ commits */

static int add_titles(const struct hub *h, const cJSON *page, struct strs *ret, struct err *err) {
    const cJSON *o;
    int rc = cJSON_IsArray(page) ? 0 : ERR_NET;
    cJSON_ArrayForEach(o, page) {
        const char *title = NULL;
        if (rc < 0 || !cJSON_IsObject(o) || json_str(o, "title", &title, "", NULL) < 0) break;
        rc = strs_push(ret, title ? title : "", err);
        if (rc == ERR_NOMEM) return rc;
    }
    return rc < 0 ? err_set(err, rc, "%s: does not answer as a Hub does", h->endpoint) : 0;
}

int hub_titles(const struct hub *h, const struct hub_ref *ref, struct strs *ret, struct err *err) {
    struct buf first = {0};
    int rc = hub_api_url(&first, h, ref, "commits", ref->revision, err);
    char *url = rc == 0 ? strdup(first.v) : NULL;
    if (rc == 0 && !url) rc = err_nomem(err, first.n);
    while (rc == 0 && url && ret->n < TITLES_MAX) {
        struct http_reply reply = {0};
        cJSON *page = NULL;
        rc = hub_question(h, &(struct hub_question){.url = url, .ref = ref}, &page, &reply, err);
        if (rc == 0) rc = add_titles(h, page, ret, err);
        char *next = rc == 0 ? hub_next_link(&reply.headers) : NULL;
        cJSON_Delete(page);
        http_reply_release(&reply);
        free(url);
        url = next;
    }
    free(url);
    buf_release(&first);
    return rc;
}
