/* See pack.h. Files are read twice, once to be judged and compared and once to be written, so that
 * memory holds names and digests only. */
#include "stream/pack.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/pool.h"
#include "base/rng.h"
#include "stream/codec.h"
#include "stream/scan.h"

enum { DEPTH_MAX = 256, RNG_PACK = 0x7061636b }; /* "pack" */

enum verdict { TAKEN, DUPLICATE, NOT_UTF8, TOO_LARGE, EMPTY, GONE };

struct entry {
    char *path;
    size_t root_n; /* bytes of `path` that are the folder given, with its '/' */
    const char *root;
    uint64_t bytes, order, copies;
    char digest[XXH128_HEX];
    enum verdict verdict;
};

struct packing {
    const struct pack_opts *opts;
    const char *out;
    struct entry *v;
    size_t n, cap;
    struct entry **taken; /* in the order of output */
    size_t n_taken;
    pthread_mutex_t lock;
    uint64_t done, total; /* bytes written, for progress */
};

/* ------------------------------------------------------------------ finding */

static bool wanted(const struct pack_opts *o, const char *name) {
    for (size_t i = 0; i < o->exts->n; i++)
        if (path_ends(name, o->exts->v[i])) return true;
    return false;
}

static int add_entry(struct packing *k, const char *root, const char *path, uint64_t bytes,
                     struct err *err) {
    if (k->n == k->cap) {
        size_t cap = k->cap ? 2 * k->cap : 256;
        struct entry *v = mem_resize(k->v, cap, sizeof *v);
        if (!v) return err_nomem(err, cap * sizeof *v);
        k->v = v;
        k->cap = cap;
    }
    size_t root_n = strlen(root);
    root_n += root_n && root[root_n - 1] != '/';
    k->v[k->n] = (struct entry){
        .path = strdup(path), .root_n = root_n, .root = root, .bytes = bytes, .order = k->n};
    if (!k->v[k->n].path) return err_nomem(err, strlen(path));
    k->n++;
    return 0;
}

static bool excluded(const struct pack_opts *o, const char *name) {
    for (size_t i = 0; i < o->excludes->n; i++)
        if (!strcmp(name, o->excludes->v[i])) return true;
    return false;
}

/* Links are followed to files but not to folders: no circles, nothing twice. */
static int walk(struct packing *k, const char *root, const char *dir, int depth, struct err *err) {
    struct strs names = {0};
    if (depth == DEPTH_MAX) return err_set(err, ERR_DATA, "%s: folders nested too deep", dir);
    int rc = file_list(dir, &names, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        struct stat here, there;
        if (names.v[i][0] == '.' || excluded(k->opts, names.v[i])) continue;
        char *path = path_join(dir, names.v[i]);
        if (!path)
            rc = err_nomem(err, strlen(dir));
        else if (lstat(path, &here) == 0 && S_ISDIR(here.st_mode))
            rc = walk(k, root, path, depth + 1, err);
        else if (wanted(k->opts, names.v[i]) && stat(path, &there) == 0 && S_ISREG(there.st_mode))
            rc = add_entry(k, root, path, (uint64_t)there.st_size, err);
        free(path);
    }
    strs_release(&names);
    return rc;
}

/* ------------------------------------------------------------------ judging */

static int judge(void *ctx, size_t i, int thread, struct err *err) {
    struct packing *k = ctx;
    struct entry *e = &k->v[i];
    struct buf text = {0};
    (void)thread, (void)err;
    if (e->bytes > k->opts->max_bytes) {
        e->verdict = TOO_LARGE;
        return 0;
    }
    if (file_read(e->path, k->opts->max_bytes, &text, NULL) < 0)
        e->verdict = GONE;
    else if (!text.n)
        e->verdict = EMPTY;
    else if (!scan_best()->utf8(text.v, text.n))
        e->verdict = NOT_UTF8;
    else
        xxh128_bytes(text.v, text.n, e->digest);
    e->bytes = text.n;
    e->copies = 1;
    buf_release(&text);
    return 0;
}

/* Equal contents side by side, the one found first in front. */
static int by_digest(const void *a, const void *b) {
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    int c = strcmp(x->digest, y->digest);
    return c ? c : x->order < y->order ? -1 : x->order > y->order;
}

static int by_order(const void *a, const void *b) {
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Fills k->taken: no copies, in the order of the seed. */
static int choose(struct packing *k, struct pack_totals *t, struct err *err) {
    k->taken = mem_array(k->n ? k->n : 1, sizeof *k->taken);
    if (!k->taken) return err_nomem(err, k->n * sizeof *k->taken);
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++)
        if (k->v[i].verdict == TAKEN) k->taken[n++] = &k->v[i];
    qsort(k->taken, n, sizeof *k->taken, by_digest);
    for (size_t i = 0; i < n; i++) {
        struct entry *e = k->taken[i];
        struct entry *last = k->n_taken ? k->taken[k->n_taken - 1] : NULL;
        if (last && last->bytes == e->bytes && !strcmp(last->digest, e->digest)) {
            last->copies++;
            e->verdict = DUPLICATE;
        } else
            k->taken[k->n_taken++] = e;
    }
    qsort(k->taken, k->n_taken, sizeof *k->taken, by_order);
    struct rng rng = {.key = k->opts->seed, .stream = RNG_PACK};
    for (size_t i = k->n_taken; i > 1; i--) {
        size_t j = (size_t)rng_below(&rng, i);
        struct entry *e = k->taken[i - 1];
        k->taken[i - 1] = k->taken[j];
        k->taken[j] = e;
    }
    for (size_t i = 0; i < k->n; i++) {
        t->duplicates += k->v[i].verdict == DUPLICATE;
        t->not_utf8 += k->v[i].verdict == NOT_UTF8;
        t->too_large += k->v[i].verdict == TOO_LARGE;
        t->empty += k->v[i].verdict == EMPTY;
    }
    for (size_t i = 0; i < k->n_taken; i++) k->total += k->taken[i]->bytes;
    t->documents = k->n_taken;
    t->text_bytes = k->total;
    return 0;
}

/* ------------------------------------------------------------------ writing */

static int quote(struct buf *b, const char *key, const char *v, size_t n, struct err *err) {
    int rc = buf_printf(b, err, "%s\"%s\": ", b->n > 1 ? ", " : "", key);
    return rc < 0 ? rc : json_quote(b, v, n, err);
}

/* "local/" and the last part of the folder's real name. */
static int repo_name(const struct packing *k, const struct entry *e, struct buf *b,
                     struct err *err) {
    if (k->opts->repo) return buf_str(b, k->opts->repo, err);
    char *real = realpath(e->root, NULL);
    int rc = buf_printf(b, err, "local/%s", path_base(real ? real : e->root));
    free(real);
    return rc;
}

/* {"repo_name": "…", "path": "…", "copies": "1", "size": "120", "content": "…", "license": "…"} */
static int record(const struct packing *k, const struct entry *e, const struct buf *text,
                  struct buf *out, struct err *err) {
    struct buf repo = {0};
    char copies[24], size[24];
    int n_copies = snprintf(copies, sizeof copies, "%llu", (unsigned long long)e->copies);
    int n_size = snprintf(size, sizeof size, "%llu", (unsigned long long)text->n);
    const char *path = e->path + e->root_n;
    out->n = 0;
    int rc = repo_name(k, e, &repo, err);
    if (rc == 0) rc = buf_char(out, '{', err);
    if (rc == 0) rc = quote(out, "repo_name", repo.v, repo.n, err);
    if (rc == 0) rc = quote(out, "path", path, strlen(path), err);
    if (rc == 0) rc = quote(out, "copies", copies, (size_t)n_copies, err);
    if (rc == 0) rc = quote(out, "size", size, (size_t)n_size, err);
    if (rc == 0) rc = quote(out, "content", text->v, text->n, err);
    if (rc == 0) rc = quote(out, "license", k->opts->license, strlen(k->opts->license), err);
    if (rc == 0) rc = buf_str(out, "}\n", err);
    buf_release(&repo);
    return rc;
}

static void output_name(const struct packing *k, uint64_t i, struct buf *to) {
    to->n = 0;
    buf_printf(to, NULL, "%s/file-%012llu.json.gz", k->out, (unsigned long long)i);
}

/* One output file: documents i, i + files, i + 2 files … */
static int write_file(void *ctx, size_t i, int thread, struct err *err) {
    struct packing *k = ctx;
    struct codec_writer *w;
    struct buf name = {0}, text = {0}, line = {0};
    (void)thread;
    output_name(k, i, &name);
    int rc = buf_cstr(&name) ? codec_writer_open_swept(&w, name.v, err) : err_nomem(err, name.n);
    buf_release(&name);
    if (rc < 0) return rc;
    for (size_t j = i; rc == 0 && j < k->n_taken; j += k->opts->files) {
        const struct entry *e = k->taken[j];
        text.n = 0;
        rc = file_read(e->path, k->opts->max_bytes, &text, err);
        if (rc == 0 && (text.n != e->bytes || !scan_best()->utf8(text.v, text.n)))
            rc = err_set(err, ERR_DATA, "%s: changed while it was being packed", e->path);
        if (rc == 0) rc = record(k, e, &text, &line, err);
        if (rc == 0) rc = codec_write(w, line.v, line.n, err);
        pthread_mutex_lock(&k->lock);
        k->done += text.n;
        log_progress(k->opts->log, &(struct progress){"packing", k->done, k->total, "B", NULL});
        pthread_mutex_unlock(&k->lock);
    }
    buf_release(&text);
    buf_release(&line);
    if (rc == 0) return codec_writer_commit(w, err);
    codec_writer_abort(w);
    return rc;
}

/* A smaller number of files than last time: what is left over would be read as part of this
 * corpus. */
static int remove_older(struct packing *k, struct err *err) {
    struct buf name = {0};
    int rc = 0;
    for (uint64_t i = k->opts->files; rc == 0; i++) {
        output_name(k, i, &name);
        if (!buf_cstr(&name) || file_kind(name.v) != FILE_REGULAR) break;
        rc = file_remove(name.v, err);
    }
    buf_release(&name);
    return rc;
}

/* Files that bear the name of one to be written, in its folder. */
static int check_output(const struct packing *k, struct err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < k->n; i++) {
        const char *path = k->v[i].path;
        if (strncmp(path_base(path), "file-", 5) || !path_ends(path, ".json.gz")) continue;
        char *dir = path_dir(path);
        if (!dir)
            rc = err_nomem(err, strlen(path));
        else if (file_same(dir, k->out))
            rc = err_set(err, ERR_USAGE, "%s: holds what is read, %s; name another folder", k->out,
                         path);
        free(dir);
    }
    return rc;
}

static int write_all(struct packing *k, struct err *err) {
    struct pool *pool;
    int rc = check_output(k, err);
    if (rc == 0) rc = file_mkdirs(k->out, err);
    if (rc == 0) rc = file_sweep(k->out, err); /* of a run that was killed */
    if (rc == 0) rc = pool_new(&pool, k->opts->threads, err);
    if (rc < 0) return rc;
    rc = pool_run(pool, k->opts->files, write_file, k, err);
    pool_free(pool);
    return rc < 0 ? rc : remove_older(k, err);
}

int pack(const struct strs *folders, const char *out, const struct pack_opts *opts,
         struct pack_totals *ret, struct err *err) {
    struct packing k = {.opts = opts, .out = out};
    struct pool *pool = NULL;
    int rc = 0;
    *ret = (struct pack_totals){0};
    pthread_mutex_init(&k.lock, NULL);
    for (size_t i = 0; rc == 0 && i < folders->n; i++)
        rc = walk(&k, folders->v[i], folders->v[i], 0, err);
    if (rc == 0) rc = pool_new(&pool, opts->threads, err);
    if (rc == 0) rc = pool_run(pool, k.n, judge, &k, err);
    pool_free(pool);
    if (rc == 0) rc = choose(&k, ret, err);
    if (rc == 0 && !k.n_taken) rc = err_set(err, ERR_USAGE, "no files to pack");
    if (rc == 0) rc = write_all(&k, err);
    for (size_t i = 0; i < k.n; i++) free(k.v[i].path);
    free(k.v);
    free(k.taken);
    pthread_mutex_destroy(&k.lock);
    return rc;
}
