/* Contents of large files, by Git LFS's batch protocol with the Hub's parts.
 *
 *   batch (at most 256 objects) ─▶ no action: the Hub has it
 *                               ─▶ PUT href                              whole, or
 *                               ─▶ PUT header["1"], PUT header["2"] …    parts of chunk_size,
 *                                  then POST href with their ETags
 *                               ─▶ POST verify
 *
 * Parts of all objects are sent several at a time. Addresses are signed: only verify, and what lies
 * at the Hub's own origin, sees the token. Parts that were sent before an interruption are not sent
 * again (hub_journal.c), if their addresses still hold. */
#include "stream/hub_push_parts.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/pool.h"

enum { BATCH = 256, PARTS_MAX = 10000, THREADS = 4, REPLY_BYTES = 1 << 20 };

struct object {
    struct hub_change *c;
    cJSON *upload;       /* {"href", "header"}; NULL: nothing to send */
    cJSON *verify;       /* {"href"}, or NULL                         */
    uint64_t part_bytes; /* 0: whole                                  */
    size_t parts;        /* 1: whole                                  */
    char **etags;        /* of the parts that stand                   */
    bool old;            /* the action is the journal's               */
    atomic_size_t left;  /* parts still to be sent                    */
};
struct part {
    struct object *o;
    size_t i; /* from 0 */
};

struct lfs {
    const struct hub *h;
    const struct hub_ref *ref;
    struct hub_journal *j;
    const struct hub_push_opts *opts;
    struct object *v;
    size_t n;
    struct part *todo;
    size_t todo_n;
    pthread_mutex_t lock; /* of what follows */
    uint64_t sent, total;
};

/* ------------------------------------------------------------------ batch */

static cJSON *batch_body(const struct lfs *l) {
    cJSON *o = cJSON_CreateObject(), *a, *x;
    cJSON_AddStringToObject(o, "operation", "upload");
    a = cJSON_AddArrayToObject(o, "transfers");
    cJSON_AddItemToArray(a, cJSON_CreateString("basic"));
    cJSON_AddItemToArray(a, cJSON_CreateString("multipart"));
    cJSON_AddStringToObject(o, "hash_algo", "sha256");
    cJSON_AddStringToObject(cJSON_AddObjectToObject(o, "ref"), "name", l->ref->revision);
    a = cJSON_AddArrayToObject(o, "objects");
    for (size_t i = 0; i < l->n; i++) {
        cJSON_AddItemToArray(a, x = cJSON_CreateObject());
        cJSON_AddStringToObject(x, "oid", l->v[i].c->sha256);
        cJSON_AddNumberToObject(x, "size", (double)l->v[i].c->bytes);
    }
    return o;
}

static int malformed(const struct lfs *l, struct err *err) {
    return err_set(err, ERR_NET, "%s: its answer about large files is not understood",
                   l->h->endpoint);
}

/* What the action says: whole or in parts, and that there is an address for each. */
static int understand(const struct lfs *l, struct object *o, struct err *err) {
    const char *href = NULL, *text = NULL;
    const cJSON *header = json_get(o->upload, "header"), *size = json_get(header, "chunk_size");
    if (json_str(o->upload, "href", &href, "", NULL) < 0 || !href) return malformed(l, err);
    if (cJSON_IsNumber(size) && size->valuedouble >= 1 && size->valuedouble < 1e15)
        o->part_bytes = (uint64_t)size->valuedouble;
    else if (cJSON_IsString(size) && (text = size->valuestring) != NULL)
        o->part_bytes = strtoull(text, NULL, 10);
    else if (size)
        return malformed(l, err);
    if (size && !o->part_bytes) return malformed(l, err);
    uint64_t parts = o->part_bytes ? (o->c->bytes + o->part_bytes - 1) / o->part_bytes : 1;
    if (parts < 1 || parts > PARTS_MAX) return malformed(l, err);
    o->parts = (size_t)parts;
    free(o->etags);
    o->etags = mem_array(o->parts, sizeof *o->etags);
    return o->etags ? 0 : err_nomem(err, o->parts * sizeof *o->etags);
}

static int take_answer(const struct lfs *l, const cJSON *x, struct err *err) {
    const char *oid = NULL, *why = NULL;
    if (!cJSON_IsObject(x) || json_str(x, "oid", &oid, "", NULL) < 0 || !oid)
        return malformed(l, err);
    struct object *o = NULL;
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->v[i].c->sha256, oid)) o = &l->v[i];
    if (!o) return malformed(l, err);
    const cJSON *e = json_get(x, "error"), *actions = json_get(x, "actions");
    if (cJSON_IsObject(e)) {
        json_str(e, "message", &why, "", NULL);
        return err_set(err, ERR_NET, "%s: the Hub does not take it: %.300s", o->c->path,
                       why ? why : "no reason given");
    }
    if (!cJSON_IsObject(json_get(actions, "upload"))) return 0;
    o->upload = cJSON_Duplicate(json_get(actions, "upload"), true);
    const cJSON *verify = json_get(actions, "verify");
    if (cJSON_IsObject(verify)) o->verify = cJSON_Duplicate(verify, true);
    return understand(l, o, err);
}

static int ask_batch(struct lfs *l, struct err *err) {
    struct buf url = {0}, body = {0};
    struct http_reply reply = {0};
    cJSON *tree = NULL, *out = batch_body(l);
    const cJSON *x, *objects;
    int rc = buf_printf(&url, err, "%s/%s%s.git/info/lfs/objects/batch", l->h->endpoint,
                        l->ref->dataset ? "datasets/" : "", l->ref->repo);
    if (rc == 0 && !buf_cstr(&url)) rc = err_nomem(err, url.n);
    if (rc == 0) rc = json_text(&body, out, false, err);
    if (rc == 0)
        rc = hub_question(l->h,
                          &(struct hub_question){.method = "POST",
                                                 .url = url.v,
                                                 .type = "application/vnd.git-lfs+json",
                                                 .body = &body,
                                                 .ref = l->ref},
                          &tree, &reply, err);
    objects = rc == 0 ? json_get(tree, "objects") : NULL;
    if (rc == 0 && !cJSON_IsArray(objects)) rc = malformed(l, err);
    cJSON_ArrayForEach(x, objects) {
        if (rc == 0) rc = take_answer(l, x, err);
    }
    cJSON_Delete(out);
    cJSON_Delete(tree);
    http_reply_release(&reply);
    buf_release(&body);
    buf_release(&url);
    return rc;
}

/* ------------------------------------------------------------------ sending */

static void moved(void *ctx, uint64_t bytes) {
    struct lfs *l = ctx;
    pthread_mutex_lock(&l->lock);
    l->sent += bytes; /* may be negative, modulo 2^64 */
    struct progress p = {"sending", l->sent, l->total, "B", l->ref->repo};
    pthread_mutex_unlock(&l->lock);
    log_progress(l->opts->log, &p);
}

/* The address of part `i`: header's key is its number, maybe with zeros before it. */
static const char *part_url(const struct object *o, size_t i) {
    const cJSON *x;
    cJSON_ArrayForEach(x, json_get(o->upload, "header")) {
        char *end;
        if (!x->string || *x->string < '0' || *x->string > '9' || !cJSON_IsString(x)) continue;
        if (strtoull(x->string, &end, 10) == i + 1 && !*end) return x->valuestring;
    }
    return NULL;
}

/* "name: value" of an action's headers, for a whole object. */
static int action_headers(const struct object *o, struct strs *lines, struct err *err) {
    const cJSON *x;
    int rc = 0;
    cJSON_ArrayForEach(x, json_get(o->upload, "header")) {
        struct buf b = {0};
        if (rc < 0 || !cJSON_IsString(x) || !x->string || strpbrk(x->valuestring, "\r\n") ||
            strpbrk(x->string, "\r\n:"))
            continue;
        rc = buf_printf(&b, err, "%s: %s", x->string, x->valuestring);
        if (rc == 0 && !buf_cstr(&b)) rc = err_nomem(err, b.n);
        if (rc == 0) rc = strs_push(lines, b.v, err);
        buf_release(&b);
    }
    if (rc == 0) rc = strs_push(lines, "", err); /* becomes the NULL at the end */
    return rc;
}

static int put(struct lfs *l, struct object *o, size_t i, long *status, struct err *err) {
    const struct hub_change *c = o->c;
    struct http_reply reply = {0};
    struct strs lines = {0};
    uint64_t from = i * o->part_bytes, left = c->bytes - from;
    const char *href = o->parts > 1 || o->part_bytes ? part_url(o, i) : NULL;
    int rc = 0;
    if (!o->part_bytes) {
        json_str(o->upload, "href", &href, "", NULL);
        rc = action_headers(o, &lines, err);
        if (rc == 0) {
            free(lines.v[--lines.n]);
            lines.v[lines.n] = NULL;
        }
    }
    char *url = href ? hub_own_url(l->h, href) : NULL;
    if (rc == 0 && !url) rc = malformed(l, err);
    const struct http_request q = {.method = "PUT",
                                   .url = url,
                                   .headers = (const char *const *)lines.v,
                                   .body = c->file ? NULL : c->text.v + from,
                                   .file = c->file,
                                   .file_from = from,
                                   .body_bytes =
                                       o->part_bytes && left > o->part_bytes ? o->part_bytes : left,
                                   .anonymous = true,
                                   .moved = moved,
                                   .ctx = l};
    if (rc == 0) rc = http_send(l->h->http, &q, REPLY_BYTES, &reply, err);
    *status = reply.status;
    if (rc == 0 && o->part_bytes) {
        o->etags[i] = http_header(&reply.headers, "etag");
        if (!o->etags[i])
            rc = malformed(l, err);
        else
            hub_journal_part(l->j, c->sha256, i + 1, o->etags[i]);
    }
    if (rc < 0 && rc != ERR_STOPPED) err_prefix(err, "%s", c->path);
    http_reply_release(&reply);
    strs_release(&lines);
    free(url);
    return rc;
}

static int post(struct lfs *l, const char *href, cJSON *body, long *status, struct err *err) {
    struct http_reply reply = {0};
    char *url = href ? hub_own_url(l->h, href) : NULL;
    if (!url) {
        cJSON_Delete(body);
        return malformed(l, err);
    }
    int rc = hub_post(l->h, l->ref, "POST", url, body, NULL, &reply, err);
    *status = reply.status;
    http_reply_release(&reply);
    free(url);
    return rc;
}

/* After the last part: joins them, and lets the Hub look at what it has. */
static int finish(struct lfs *l, struct object *o, long *status, struct err *err) {
    const char *href = NULL;
    int rc = 0;
    if (o->part_bytes) {
        cJSON *body = cJSON_CreateObject(), *x;
        cJSON_AddStringToObject(body, "oid", o->c->sha256);
        cJSON *parts = cJSON_AddArrayToObject(body, "parts");
        for (size_t i = 0; i < o->parts; i++) {
            cJSON_AddItemToArray(parts, x = cJSON_CreateObject());
            cJSON_AddNumberToObject(x, "partNumber", (double)(i + 1));
            cJSON_AddStringToObject(x, "etag", o->etags[i]);
        }
        json_str(o->upload, "href", &href, "", NULL);
        rc = post(l, href, body, status, err);
    }
    href = NULL;
    if (rc == 0 && o->verify && json_str(o->verify, "href", &href, "", NULL) == 0) {
        cJSON *body = cJSON_CreateObject();
        cJSON_AddStringToObject(body, "oid", o->c->sha256);
        cJSON_AddNumberToObject(body, "size", (double)o->c->bytes);
        rc = post(l, href, body, status, err);
    }
    if (rc == 0) hub_journal_stored(l->j, o->c->sha256);
    return rc < 0 && rc != ERR_STOPPED ? err_prefix(err, "%s", o->c->path) : rc;
}

static int send_part(void *ctx, size_t i, int thread, struct err *err) {
    struct lfs *l = ctx;
    struct part *p = &l->todo[i];
    long status;
    (void)thread;
    int rc = put(l, p->o, p->i, &status, err);
    if (rc == 0 && atomic_fetch_sub(&p->o->left, 1) == 1) rc = finish(l, p->o, &status, err);
    return rc;
}

/* ------------------------------------------------------------------ going on with old parts */

static void drop_parts(struct object *o) {
    for (size_t i = 0; o->etags && i < o->parts; i++) {
        free(o->etags[i]);
        o->etags[i] = NULL;
    }
}

/* Takes up an upload in parts that an earlier push began. Its next part (or its end) is the proof
 * that the addresses still hold; if they do not, the new action stands. */
static int take_up(struct lfs *l, struct object *o, struct err *err) {
    cJSON *old = o->part_bytes ? hub_journal_parts(l->j, o->c->sha256) : NULL;
    if (!old) return 0;
    cJSON *fresh = o->upload;
    uint64_t part_bytes = o->part_bytes;
    const cJSON *parts = json_get(old, "parts"), *x;
    o->upload = cJSON_DetachItemFromObjectCaseSensitive(old, "action");
    bool holds = cJSON_IsObject(o->upload) && understand(l, o, NULL) == 0 && o->part_bytes;
    int rc = 0;
    size_t first = o->parts, there = 0;
    cJSON_ArrayForEach(x, parts) {
        size_t i = (size_t)strtoull(x->string, NULL, 10) - 1;
        if (holds && i < o->parts && cJSON_IsString(x)) o->etags[i] = strdup(x->valuestring);
    }
    for (size_t i = o->parts; holds && i--;) {
        if (o->etags[i])
            there++;
        else
            first = i;
    }
    long status = 0;
    if (holds && there && first < o->parts) rc = put(l, o, first, &status, err);
    if (holds && there && first == o->parts) {
        rc = finish(l, o, &status, err);
        if (rc == 0) atomic_store(&o->left, SIZE_MAX); /* nothing is left to do */
    }
    o->old = rc == 0 && there && holds;
    if (o->old)
        cJSON_Delete(fresh);
    else {
        drop_parts(o);
        cJSON_Delete(o->upload);
        o->upload = fresh;
        if (rc == 0 || (rc == ERR_NET && status >= 400)) rc = understand(l, o, err);
        o->part_bytes = part_bytes;
    }
    cJSON_Delete(old);
    return rc;
}

/* ------------------------------------------------------------------ all of them */

/* The parts that are to be sent, in order. */
static int list_parts(struct lfs *l, struct err *err) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].upload) n += l->v[i].parts;
    l->todo = mem_array(n, sizeof *l->todo);
    if (n && !l->todo) return err_nomem(err, n * sizeof *l->todo);
    for (size_t i = 0; i < l->n; i++) {
        struct object *o = &l->v[i];
        if (!o->upload || atomic_load(&o->left) == SIZE_MAX) continue;
        if (o->part_bytes && !o->old) hub_journal_begun(l->j, o->c->sha256, o->upload);
        size_t before = l->todo_n;
        for (size_t p = 0; p < o->parts; p++)
            if (!o->etags[p]) l->todo[l->todo_n++] = (struct part){o, p};
        atomic_store(&o->left, l->todo_n - before);
    }
    return 0;
}

static int send_batch(struct lfs *l, struct hub_pushed *ret, struct err *err) {
    struct pool *pool = NULL;
    int rc = ask_batch(l, err);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        if (!l->v[i].upload)
            ret->stored++;
        else {
            l->total += l->v[i].c->bytes;
            rc = take_up(l, &l->v[i], err);
        }
    }
    if (rc == 0) rc = list_parts(l, err);
    if (rc == 0 && l->todo_n)
        rc = pool_new(&pool, l->opts->threads ? l->opts->threads : THREADS, err);
    if (rc == 0 && l->todo_n) rc = pool_run(pool, l->todo_n, send_part, l, err);
    pool_free(pool);
    ret->bytes += l->sent;
    for (size_t i = 0; i < l->n; i++) {
        drop_parts(&l->v[i]);
        free(l->v[i].etags);
        cJSON_Delete(l->v[i].upload);
        cJSON_Delete(l->v[i].verify);
    }
    free(l->todo);
    l->todo = NULL;
    l->todo_n = 0;
    l->sent = l->total = 0;
    return rc;
}

int hub_lfs_send(const struct hub *h, const struct hub_ref *ref, struct hub_change **v, size_t n,
                 struct hub_journal *j, const struct hub_push_opts *opts, struct hub_pushed *ret,
                 struct err *err) {
    struct lfs l = {.h = h, .ref = ref, .j = j, .opts = opts};
    int rc = 0;
    l.v = mem_array(BATCH, sizeof *l.v);
    if (!l.v) return err_nomem(err, BATCH * sizeof *l.v);
    pthread_mutex_init(&l.lock, NULL);
    for (size_t at = 0; rc == 0 && at < n;) {
        memset(l.v, 0, BATCH * sizeof *l.v);
        for (l.n = 0; at < n && l.n < BATCH; at++) {
            bool again = false; /* two paths with the same contents are one object */
            for (size_t k = 0; k < l.n; k++) again |= !strcmp(l.v[k].c->sha256, v[at]->sha256);
            if (!again) l.v[l.n++].c = v[at];
        }
        rc = send_batch(&l, ret, err);
    }
    pthread_mutex_destroy(&l.lock);
    free(l.v);
    return rc;
}
