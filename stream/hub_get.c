/* Files of a repository into a folder: see hub.h. */
#include "stream/hub.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/pool.h"

enum { BLOCK_BYTES = 256 << 10 };

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

static int copy_body(struct get *g, struct feed *from, struct outfile *to, struct err *err) {
    char *block = malloc(BLOCK_BYTES);
    if (!block) return err_nomem(err, BLOCK_BYTES);
    long n;
    while ((n = from->read(from->ctx, block, BLOCK_BYTES, err)) > 0) {
        int rc = outfile_write(to, block, (size_t)n, err);
        if (rc < 0) {
            n = rc;
            break;
        }
        count(g, (uint64_t)n, 0, 0);
    }
    free(block);
    return (int)n;
}

static int fetch(struct get *g, const struct hub_entry *e, const char *path, struct err *err) {
    struct feed from;
    struct outfile *to;
    char *url = hub_file_url(g->h, g->ref, g->l->commit, e->path), *dir = path_dir(path);
    int rc = url && dir ? file_mkdirs(dir, err) : err_nomem(err, strlen(path));
    if (rc == 0) rc = http_feed(g->h->http, url, e->sha256, &from, err);
    free(url);
    free(dir);
    if (rc < 0) return rc;
    rc = outfile_open(&to, path, err);
    if (rc == 0) {
        rc = copy_body(g, &from, to, err);
        if (rc == 0)
            rc = outfile_commit(to, err);
        else
            outfile_abort(to);
    }
    from.close(from.ctx);
    if (rc == 0) count(g, 0, 1, 0);
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
    int rc = pool_new(&pool, threads, err);
    if (rc < 0) return rc;
    pthread_mutex_init(&g.lock, NULL);
    rc = pool_run(pool, l->n, get_one, &g, err);
    pthread_mutex_destroy(&g.lock);
    pool_free(pool);
    *ret = g.got;
    return rc;
}
