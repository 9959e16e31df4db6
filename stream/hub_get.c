/* Files of a repository into a folder: see hub.h. */
#include "stream/hub_parts.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/pool.h"
#include "stream/feed.h"

struct get {
    const struct hub *h;
    const struct hub_ref *ref;
    const struct hub_list *l;
    const char *dir;
    const struct log *log;
    uint64_t total;
    pthread_mutex_t lock; /* of what follows */
    struct hub_got got;
    uint64_t done; /* bytes, of total */
};

bool hub_safe_path(const char *path) {
    size_t n = strlen(path);
    if (!n || n > 4000 || path[0] == '/') return false;
    if (isalpha((unsigned char)path[0]) && path[1] == ':') return false; /* a drive */
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)path[i] < 0x20 || path[i] == 0x7F || path[i] == '\\') return false;
    for (const char *p = path; *p;) {
        size_t part = strcspn(p, "/");
        if (!part || part > 255 || (part == 1 && *p == '.') || (part == 2 && !strncmp(p, "..", 2)))
            return false;
        p += part;
        if (*p && !*++p) return false; /* a slash at the end */
    }
    return true;
}

static void count(struct get *g, uint64_t bytes, int files, int kept) {
    pthread_mutex_lock(&g->lock);
    g->done += bytes;
    g->got.files += (uint64_t)files;
    g->got.kept += (uint64_t)kept;
    if (!kept) g->got.bytes += bytes;
    struct progress p = {"fetching", g->done, g->total, "B", g->ref->repo};
    pthread_mutex_unlock(&g->lock);
    log_progress(g->log, &p);
}

/* Only a digest proves that a file is the one: a regular file of the same size may be an older
 * one. */
static bool is_there(const struct hub_entry *e, const char *path) {
    char sha[SHA256_HEX];
    uint64_t bytes;
    return e->sha256 && file_kind(path) == FILE_REGULAR && file_bytes(path, &bytes, NULL) == 0 &&
           bytes == e->bytes && sha256_file(path, sha, NULL) == 0 && !strcmp(sha, e->sha256);
}

/* dir/.cache/huggingface/download/PATH.END; malloc'd. */
static char *beside(const struct get *g, const struct hub_entry *e, const char *end) {
    struct buf b = {0};
    int rc = buf_printf(&b, NULL, "%s/.cache/huggingface/download/%s.%s", g->dir, e->path, end);
    if (rc == 0 && buf_cstr(&b)) return b.v;
    buf_release(&b);
    return NULL;
}

static void moved(void *ctx, uint64_t bytes) {
    count(ctx, bytes, 0, 0);
}

/* What huggingface_hub's local_dir looks at: commit, etag, time. */
static void write_metadata(const struct get *g, const struct hub_entry *e) {
    struct buf text = {0};
    char *path = beside(g, e, "metadata");
    const char *etag = hub_etag(e);
    if (path && etag &&
        buf_printf(&text, NULL, "%s\n%s\n%.6f\n", g->l->commit, etag, (double)time(NULL) + 1) == 0)
        file_write(path, text.v, text.n, NULL);
    buf_release(&text);
    free(path);
}

/* From the cache, if it is there: no byte is asked for twice. */
static int copy_cached(struct get *g, const char *cached, const char *path, struct err *err) {
    struct outfile *to;
    char block[64 << 10];
    FILE *f = fopen(cached, "re");
    if (!f) return err_errno(err, "%s", cached);
    int rc = outfile_open(&to, path, err);
    for (size_t n; rc == 0 && (n = fread(block, 1, sizeof block, f)) > 0;) {
        rc = outfile_write(to, block, n, err);
        if (rc < 0) {
            outfile_abort(to);
            to = NULL;
        } else
            count(g, n, 0, 0);
    }
    if (rc == 0 && ferror(f)) {
        rc = err_errno(err, "%s", cached);
        outfile_abort(to);
    } else if (rc == 0)
        rc = outfile_commit(to, err);
    fclose(f);
    return rc;
}

static int fetch(struct get *g, const struct hub_entry *e, const char *path, struct err *err) {
    struct buf end = {0};
    char *cached = hub_cached(g->h, g->ref, g->l->commit, e->path), *dir = path_dir(path);
    const char *etag = hub_etag(e);
    int rc = dir ? file_mkdirs(dir, err) : err_nomem(err, strlen(path));
    if (rc == 0) rc = buf_printf(&end, err, "%s.incomplete", etag ? etag : "new");
    char *partial = rc == 0 && buf_cstr(&end) ? beside(g, e, end.v) : NULL;
    const struct hub_fetch f = {.h = g->h,
                                .ref = g->ref,
                                .commit = g->l->commit,
                                .e = e,
                                .partial = partial,
                                .to = path,
                                .moved = moved,
                                .ctx = g};
    if (rc == 0 && cached)
        rc = copy_cached(g, cached, path, err);
    else if (rc == 0 && g->h->offline)
        rc = hub_not_cached(g->ref, e->path, err);
    else if (rc == 0)
        rc = partial ? hub_fetch(&f, err) : err_nomem(err, 0);
    if (rc == 0) write_metadata(g, e);
    if (rc == 0) count(g, 0, 1, 0);
    free(partial);
    free(cached);
    free(dir);
    buf_release(&end);
    return rc;
}

static int get_one(void *ctx, size_t i, int thread, struct err *err) {
    struct get *g = ctx;
    const struct hub_entry *e = &g->l->v[i];
    char *path = path_join(g->dir, e->path);
    (void)thread;
    if (!path) return err_nomem(err, strlen(e->path));
    int rc = 0;
    if (is_there(e, path))
        count(g, e->bytes, 0, 1);
    else
        rc = fetch(g, e, path, err);
    free(path);
    return rc;
}

int hub_beside(char **ret, const char *dir, struct err *err) {
    char *home = path_join(dir, ".cache/huggingface"),
         *ignore = home ? path_join(home, ".gitignore") : NULL;
    int rc = ignore ? file_mkdirs(home, err) : err_nomem(err, strlen(dir));
    if (rc == 0 && file_kind(ignore) == FILE_NONE) rc = file_write(ignore, "*", 1, err);
    free(ignore);
    if (rc == 0)
        *ret = home;
    else
        free(home);
    return rc;
}

int hub_get(const struct hub *h, const struct hub_ref *ref, const struct hub_list *l,
            const char *dir, int threads, const struct log *log, struct hub_got *ret,
            struct err *err) {
    struct get g = {.h = h, .ref = ref, .l = l, .dir = dir, .log = log};
    struct pool *pool;
    for (size_t i = 0; i < l->n; i++) {
        if (!hub_safe_path(l->v[i].path))
            return err_set(err, ERR_DATA, "%s: a file in it has a name that leads elsewhere",
                           ref->repo);
        g.total += l->v[i].bytes;
    }
    char *beside = NULL;
    int rc = hub_beside(&beside, dir, err);
    free(beside);
    if (rc == 0) rc = pool_new(&pool, threads, err);
    if (rc < 0) return rc;
    pthread_mutex_init(&g.lock, NULL);
    rc = pool_run(pool, l->n, get_one, &g, err);
    pthread_mutex_destroy(&g.lock);
    pool_free(pool);
    *ret = g.got;
    return rc;
}

int hub_open(const struct hub *h, const struct hub_ref *ref, const char *commit,
             const struct hub_entry *e, struct feed *ret, struct err *err) {
    char *cached = hub_cached(h, ref, commit, e->path);
    char *url = cached ? NULL : hub_file_url(h, ref, commit, e->path);
    int rc = cached || url ? 0 : err_nomem(err, strlen(e->path));
    if (cached)
        rc = feed_file(cached, ret, err);
    else if (rc == 0 && h->offline)
        rc = hub_not_cached(ref, e->path, err);
    else if (rc == 0)
        rc = http_feed(h->http, url, &(struct http_want){.sha256 = e->sha256}, ret, err);
    free(cached);
    free(url);
    return rc;
}
