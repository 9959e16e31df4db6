/* The cache of repositories, which is huggingface_hub's own (its "Understand caching", 2026-08):
 *
 *   $HF_HUB_CACHE/CACHEDIR.TAG
 *   $HF_HUB_CACHE/.locks/datasets--NS--NAME/ETAG.lock
 *   $HF_HUB_CACHE/datasets--NS--NAME/
 *       blobs/ETAG               sha256, or git's sha1 of a small file; ETAG.incomplete meanwhile
 *       refs/REVISION            the commit, 40 digits
 *       snapshots/COMMIT/PATH    a link to ../../blobs/ETAG; a file where links cannot be
 *       .no_exist/COMMIT/PATH    empty: there is no such file
 *       trees/COMMIT.json        the whole listing
 *
 * What either of the two fetched, the other finds; HF_HUB_OFFLINE reads nothing else. */
#include "stream/hub_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/pool.h"

enum { TREE_BYTES = 1 << 30, DEPTH_MAX = 64 };

/* ------------------------------------------------------------------ places */

/* "datasets--ns--name" */
static char *folder_name(const struct hub_ref *ref) {
    struct buf b = {0};
    int rc = buf_str(&b, ref->dataset ? "datasets--" : "models--", NULL);
    for (const char *p = ref->repo; rc == 0 && *p; p++)
        rc = *p == '/' ? buf_str(&b, "--", NULL) : buf_char(&b, *p, NULL);
    if (rc == 0 && buf_cstr(&b)) return b.v;
    buf_release(&b);
    return NULL;
}

/* cache/datasets--ns--name/WHAT/a/b; b NULL: without; malloc'd. */
static char *place(const struct hub *h, const struct hub_ref *ref, const char *what, const char *a,
                   const char *b) {
    struct buf out = {0};
    char *name = h->cache ? folder_name(ref) : NULL;
    int rc = name ? buf_printf(&out, NULL, "%s/%s/%s/%s%s%s", h->cache, name, what, a, b ? "/" : "",
                               b ? b : "")
                  : -1;
    free(name);
    if (rc == 0 && buf_cstr(&out)) return out.v;
    buf_release(&out);
    return NULL;
}

char *hub_cached(const struct hub *h, const struct hub_ref *ref, const char *commit,
                 const char *path) {
    if (!hub_safe_path(path)) return NULL;
    char *file = place(h, ref, "snapshots", commit, path);
    if (file && file_kind(file) == FILE_REGULAR) return file;
    free(file);
    return NULL;
}

/* A small file that is no artefact of ours but a note for others. */
static void note(char *path, const char *text) {
    char *dir = path ? path_dir(path) : NULL;
    if (dir && file_mkdirs(dir, NULL) == 0) file_write(path, text, strlen(text), NULL);
    free(dir);
    free(path);
}

void hub_cache_no_exist(const struct hub *h, const struct hub_ref *ref, const char *commit) {
    char *known = place(h, ref, "snapshots", commit, NULL);
    if (known && hub_safe_path(ref->path) && file_kind(known) == FILE_FOLDER)
        note(place(h, ref, ".no_exist", commit, ref->path), "");
    free(known);
}

int hub_not_cached(const struct hub_ref *ref, const char *path, struct err *err) {
    return err_set(err, ERR_NET, "%s: %.300s is not in the cache, and HF_HUB_OFFLINE is set",
                   ref->repo, path);
}

/* ------------------------------------------------------------------ listing without the Hub */

static int add(struct hub_list *l, const char *path, uint64_t bytes, const char *sha256,
               const char *blob, struct err *err) {
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct hub_entry *v = mem_resize(l->v, cap, sizeof *v);
        if (!v) return err_nomem(err, cap * sizeof *v);
        l->v = v;
        l->cap = cap;
    }
    struct hub_entry *e = &l->v[l->n++];
    *e = (struct hub_entry){.path = strdup(path), .bytes = bytes};
    if (hub_is_hex(sha256, SHA256_HEX - 1)) e->sha256 = strdup(sha256);
    if (hub_is_hex(blob, GIT_HEX - 1)) memcpy(e->blob, blob, GIT_HEX);
    return e->path ? 0 : err_nomem(err, strlen(path));
}

/* trees/COMMIT.json, if there is one; *found. */
static int list_tree(struct hub_list *l, const struct hub *h, const struct hub_ref *ref,
                     bool *found, struct err *err) {
    cJSON *tree = NULL;
    const cJSON *o;
    struct buf name = {0};
    buf_printf(&name, NULL, "%s.json", l->commit);
    char *path = buf_cstr(&name) ? place(h, ref, "trees", name.v, NULL) : NULL;
    uint64_t version = 0;
    int rc = 0;
    *found = path && file_kind(path) == FILE_REGULAR && json_load(&tree, path, NULL) == 0 &&
             json_u64(tree, "format_version", 1000, &version, "", NULL) == 0 && version == 1;
    const cJSON *files = *found ? json_get(tree, "files") : NULL;
    cJSON_ArrayForEach(o, files) {
        uint64_t bytes = 0;
        const char *sha = NULL, *blob = NULL;
        if (rc < 0 || !cJSON_IsObject(o) || !o->string || !hub_wanted(ref->path, o->string))
            continue;
        json_u64(o, "size", UINT64_C(1) << 53, &bytes, "", NULL);
        json_str(o, "lfs_sha256", &sha, "", NULL);
        json_str(o, "blob_id", &blob, "", NULL);
        rc = add(l, o->string, bytes, sha, blob, err);
    }
    cJSON_Delete(tree);
    free(path);
    buf_release(&name);
    return rc;
}

/* The blob that a snapshot's link points to is its name. */
static const char *blob_of(const char *file, char *to, size_t n) {
    ssize_t got = readlink(file, to, n - 1);
    if (got <= 0) return NULL;
    to[got] = 0;
    return path_base(to);
}

static int list_folder(struct hub_list *l, const struct hub_ref *ref, const char *top,
                       const char *below, int depth, struct err *err) {
    struct strs names = {0};
    char *dir = path_join(top, below);
    int rc = dir && depth < DEPTH_MAX ? file_list(dir, &names, err) : ERR_IO;
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        char *path = path_join(below, names.v[i]), *file = path ? path_join(top, path) : NULL;
        char link[4096];
        uint64_t bytes = 0;
        enum file_kind kind = file ? file_kind(file) : FILE_NONE;
        if (kind == FILE_FOLDER)
            rc = list_folder(l, ref, top, path, depth + 1, err);
        else if (kind == FILE_REGULAR && hub_wanted(ref->path, path) &&
                 file_bytes(file, &bytes, NULL) == 0) {
            const char *etag = blob_of(file, link, sizeof link);
            rc = add(l, path, bytes, etag, etag, err);
        }
        free(path);
        free(file);
    }
    strs_release(&names);
    free(dir);
    return rc;
}

/* The commit of a revision, as it was when it was last looked at. */
static bool known_commit(const struct hub *h, const struct hub_ref *ref, char *ret, size_t n) {
    struct buf text = {0};
    char *path = place(h, ref, "refs", ref->revision, NULL);
    bool safe = hub_safe_path(ref->revision);
    if (hub_is_hex(ref->revision, GIT_HEX - 1))
        buf_str(&text, ref->revision, NULL);
    else if (path && safe && file_kind(path) == FILE_REGULAR)
        file_read(path, 1024, &text, NULL);
    while (text.n && strchr(" \r\n", text.v[text.n - 1])) text.n--;
    bool good = text.n && text.n < n && buf_cstr(&text) && hub_is_hex(text.v, text.n);
    if (good) memcpy(ret, text.v, text.n + 1);
    buf_release(&text);
    free(path);
    return good;
}

int hub_cache_list(struct hub_list *ret, const struct hub *h, const struct hub_ref *ref,
                   struct err *err) {
    bool whole = false;
    if (!known_commit(h, ref, ret->commit, sizeof ret->commit))
        return err_set(
            err, ERR_NET,
            "%s: HF_HUB_OFFLINE is set, and its revision \"%s\" is not in the cache (%s)",
            ref->repo, ref->revision, h->cache ? h->cache : "there is none");
    char *dir = place(h, ref, "snapshots", ret->commit, NULL);
    int rc = list_tree(ret, h, ref, &whole, err);
    if (rc == 0 && !whole && dir && file_kind(dir) == FILE_FOLDER)
        rc = list_folder(ret, ref, dir, "", 0, err);
    else if (rc == 0 && !whole)
        rc = err_set(err, ERR_NET, "%s: HF_HUB_OFFLINE is set, and nothing of commit %s is cached",
                     ref->repo, ret->commit);
    free(dir);
    return rc;
}

/* ------------------------------------------------------------------ fetching into it */

struct job {
    const struct hub *h;
    const struct hub_ref *ref;
    const struct hub_list *l;
    const struct log *log;
    struct hub_got got;
    uint64_t done, total;
    pthread_mutex_t lock; /* of the numbers */
};

static void moved(void *ctx, uint64_t bytes) {
    struct job *j = ctx;
    pthread_mutex_lock(&j->lock);
    j->done += bytes;
    struct progress p = {"fetching", j->done, j->total, "B", j->ref->repo};
    pthread_mutex_unlock(&j->lock);
    log_progress(j->log, &p);
}

/* snapshots/COMMIT/a/b/c ─▶ ../../../../blobs/ETAG */
static int link_blob(const struct job *j, const char *blob, const char *etag, const char *file,
                     const char *path, struct err *err) {
    struct buf to = {0};
    char *dir = path_dir(file);
    int rc = dir ? file_mkdirs(dir, err) : err_nomem(err, 0);
    if (rc == 0) rc = buf_str(&to, "../../", err);
    for (const char *p = path; rc == 0 && (p = strchr(p, '/')) != NULL; p++)
        rc = buf_str(&to, "../", err);
    if (rc == 0) rc = buf_printf(&to, err, "blobs/%s", etag);
    if (rc == 0 && !buf_cstr(&to)) rc = err_nomem(err, to.n);
    if (rc == 0) {
        unlink(file); /* a link to what is no longer there */
        bool linked = !j->h->no_symlinks && symlink(to.v, file) == 0;
        if (!linked && errno == EEXIST && !j->h->no_symlinks) linked = true; /* another process */
        if (!linked && rename(blob, file) < 0) rc = err_errno(err, "%s", file);
    }
    free(dir);
    buf_release(&to);
    return rc;
}

static int get_one(void *ctx, size_t i, int thread, struct err *err) {
    struct job *j = ctx;
    const struct hub_entry *e = &j->l->v[i];
    char *file = place(j->h, j->ref, "snapshots", j->l->commit, e->path);
    const char *etag = hub_etag(e);
    (void)thread;
    if (!etag || !file) {
        free(file);
        return etag ? err_nomem(err, 0)
                    : err_set(err, ERR_NET, "%s: the Hub does not tell its digest", e->path);
    }
    if (file_kind(file) == FILE_REGULAR) { /* only whole and checked files are linked there */
        moved(j, e->bytes);
        pthread_mutex_lock(&j->lock);
        j->got.kept++;
        pthread_mutex_unlock(&j->lock);
        free(file);
        return 0;
    }
    char *blob = place(j->h, j->ref, "blobs", etag, NULL), *folder = folder_name(j->ref);
    struct buf partial = {0}, lock = {0};
    int rc = blob && folder ? buf_printf(&partial, err, "%s.incomplete", blob) : err_nomem(err, 0);
    if (rc == 0) rc = buf_printf(&lock, err, "%s/.locks/%s/%s.lock", j->h->cache, folder, etag);
    if (rc == 0 && (!buf_cstr(&partial) || !buf_cstr(&lock))) rc = err_nomem(err, 0);
    int fd = rc == 0 ? hub_lock(lock.v, j->log, err) : -1;
    if (fd == ERR_STOPPED) rc = fd;
    bool there = rc == 0 && file_kind(blob) == FILE_REGULAR;
    const struct hub_fetch f = {.h = j->h,
                                .ref = j->ref,
                                .commit = j->l->commit,
                                .e = e,
                                .partial = partial.v,
                                .to = blob,
                                .moved = moved,
                                .ctx = j};
    if (rc == 0 && !there)
        rc = j->h->offline ? hub_not_cached(j->ref, e->path, err) : hub_fetch(&f, err);
    if (rc == 0 && there) moved(j, e->bytes);
    if (rc == 0) rc = link_blob(j, blob, etag, file, e->path, err);
    if (fd >= 0) close(fd);
    if (rc == 0) {
        pthread_mutex_lock(&j->lock);
        if (there)
            j->got.kept++;
        else
            j->got.files++, j->got.bytes += e->bytes;
        pthread_mutex_unlock(&j->lock);
    }
    buf_release(&partial);
    buf_release(&lock);
    free(blob);
    free(folder);
    free(file);
    return rc;
}

/* The listing as huggingface_hub keeps it. */
static void write_tree(const struct job *j) {
    cJSON *o = cJSON_CreateObject(), *files, *f;
    struct buf name = {0};
    cJSON_AddNumberToObject(o, "format_version", 1);
    files = cJSON_AddObjectToObject(o, "files");
    for (size_t i = 0; i < j->l->n; i++) {
        const struct hub_entry *e = &j->l->v[i];
        f = cJSON_CreateObject();
        cJSON_AddNumberToObject(f, "size", (double)e->bytes);
        cJSON_AddStringToObject(f, "blob_id", e->blob);
        if (e->sha256) {
            cJSON_AddStringToObject(f, "lfs_sha256", e->sha256);
            cJSON_AddNumberToObject(f, "lfs_size", (double)e->bytes);
        }
        cJSON_AddItemToObject(files, e->path, f);
    }
    buf_printf(&name, NULL, "%s.json", j->l->commit);
    char *path = buf_cstr(&name) ? place(j->h, j->ref, "trees", name.v, NULL) : NULL;
    char *dir = path ? path_dir(path) : NULL;
    if (dir && file_kind(path) == FILE_NONE && file_mkdirs(dir, NULL) == 0)
        json_save(path, o, true, NULL);
    free(path);
    free(dir);
    buf_release(&name);
    cJSON_Delete(o);
}

static void write_notes(const struct job *j) {
    static const char tag[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
                              "# This folder is a cache of repositories of the Hugging Face Hub.\n";
    char *path = path_join(j->h->cache, "CACHEDIR.TAG");
    if (path && file_kind(path) == FILE_NONE)
        note(path, tag);
    else
        free(path);
    if (strcmp(j->ref->revision, j->l->commit) && hub_safe_path(j->ref->revision))
        note(place(j->h, j->ref, "refs", j->ref->revision, NULL), j->l->commit);
    if (j->l->whole) write_tree(j);
}

int hub_cache_get(const struct hub *h, const struct hub_ref *ref, const struct hub_list *l,
                  int threads, const struct log *log, struct hub_got *ret, char **ret_snapshot,
                  struct err *err) {
    struct job j = {.h = h, .ref = ref, .l = l, .log = log};
    struct pool *pool = NULL;
    *ret_snapshot = NULL;
    if (!h->cache) return err_set(err, ERR_USAGE, "there is no place for a cache: set HF_HOME");
    for (size_t i = 0; i < l->n; i++) {
        if (!hub_safe_path(l->v[i].path))
            return err_set(err, ERR_DATA, "%s: a file in it has a name that leads elsewhere",
                           ref->repo);
        j.total += l->v[i].bytes;
    }
    pthread_mutex_init(&j.lock, NULL);
    int rc = file_mkdirs(h->cache, err);
    if (rc == 0 && !h->offline) write_notes(&j);
    if (rc == 0) rc = pool_new(&pool, threads, err);
    if (rc == 0) rc = pool_run(pool, l->n, get_one, &j, err);
    pool_free(pool);
    pthread_mutex_destroy(&j.lock);
    *ret = j.got;
    if (rc == 0 && !(*ret_snapshot = place(h, ref, "snapshots", l->commit, NULL)))
        rc = err_nomem(err, 0);
    return rc;
}
