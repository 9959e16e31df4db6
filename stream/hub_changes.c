/* What goes into a commit: files of a folder, single files, text; their sizes and digests. */
#include "stream/hub_push_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"

enum { DEPTH_MAX = 64, BLOCK_BYTES = 64 << 10 };

/* ------------------------------------------------------------------ adding */

/* A part that the Hub refuses: git's own folder. */
static bool has_git(const char *path) {
    for (const char *p = path; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (!strncasecmp(p, ".git", 4) && (!p[4] || p[4] == '/')) return true;
    }
    return false;
}

/* The place for a path: a new one, or that of the same path. */
static int place(struct hub_changes *c, const char *path, struct hub_change **ret,
                 struct err *err) {
    if (!hub_safe_path(path) || has_git(path)) {
        struct buf shown = {0};
        json_quote(&shown, path, strlen(path), NULL);
        err_set(err, ERR_USAGE, "%.300s cannot be the name of a file in a repository",
                shown.n && buf_cstr(&shown) ? shown.v : "this");
        buf_release(&shown);
        return ERR_USAGE;
    }
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->v[i].path, path)) {
            free(c->v[i].file);
            buf_release(&c->v[i].text);
            c->v[i].file = NULL;
            *ret = &c->v[i];
            return 0;
        }
    struct hub_change *v = mem_grown(c->v, c->n, &c->cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    c->v = v;
    struct hub_change *x = &c->v[c->n];
    memset(x, 0, sizeof *x);
    x->path = strdup(path);
    if (!x->path) return err_nomem(err, strlen(path));
    c->n++;
    *ret = x;
    return 0;
}

int hub_changes_file(struct hub_changes *c, const char *path, const char *file, struct err *err) {
    struct hub_change *x;
    int rc = place(c, path, &x, err);
    if (rc < 0) return rc;
    x->file = strdup(file);
    return x->file ? 0 : err_nomem(err, strlen(file));
}

int hub_changes_text(struct hub_changes *c, const char *path, const char *text, size_t n,
                     struct err *err) {
    struct hub_change *x;
    int rc = place(c, path, &x, err);
    return rc < 0 ? rc : buf_append(&x->text, text, n, err);
}

void hub_changes_release(struct hub_changes *c) {
    for (size_t i = 0; i < c->n; i++) {
        free(c->v[i].path);
        free(c->v[i].file);
        buf_release(&c->v[i].text);
    }
    free(c->v);
    *c = (struct hub_changes){0};
}

/* ------------------------------------------------------------------ folders */

struct walk {
    struct hub_changes *c;
    const char *dir, *prefix;
    const struct strs *include, *exclude;
};

static bool any_matches(const struct strs *patterns, const char *path) {
    for (size_t i = 0; patterns && i < patterns->n; i++)
        if (fnmatch(patterns->v[i], path, 0) == 0) return true;
    return false;
}

/* What is never part of a repository: what git, caches and half-written artefacts leave. */
static bool left_out(const char *name) {
    return !strcmp(name, ".git") || !strcmp(name, ".cache") ||
           (name[0] == '.' && strstr(name, ".tmp-")) || !strncmp(name, ".push.", 6);
}

static int walk_folder(struct walk *w, const char *below, int depth, struct err *err);

static int walk_entry(struct walk *w, const char *below, const char *name, int depth,
                      struct err *err) {
    struct stat link;
    char *path = path_join(below, name), *local = path ? path_join(w->dir, path) : NULL;
    char *remote = path ? path_join(w->prefix, path) : NULL;
    int rc = local && remote ? 0 : err_nomem(err, strlen(name));
    bool is_link = rc == 0 && lstat(local, &link) == 0 && S_ISLNK(link.st_mode);
    enum file_kind kind = rc == 0 ? file_kind(local) : FILE_NONE;
    if (rc == 0 && kind == FILE_FOLDER && !is_link)
        rc = walk_folder(w, path, depth + 1, err);
    else if (rc == 0 && kind == FILE_REGULAR && !any_matches(w->exclude, path) &&
             (!w->include || !w->include->n || any_matches(w->include, path)))
        rc = hub_changes_file(w->c, remote, local, err);
    free(path);
    free(local);
    free(remote);
    return rc;
}

static int walk_folder(struct walk *w, const char *below, int depth, struct err *err) {
    struct strs names = {0};
    char *dir = path_join(w->dir, below);
    if (!dir) return err_nomem(err, strlen(below));
    int rc = depth > DEPTH_MAX ? err_set(err, ERR_USAGE, "%s: folders are too deep", dir)
                               : file_list(dir, &names, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++)
        if (!left_out(names.v[i])) rc = walk_entry(w, below, names.v[i], depth, err);
    strs_release(&names);
    free(dir);
    return rc;
}

int hub_changes_folder(struct hub_changes *c, const char *prefix, const char *dir,
                       const struct strs *include, const struct strs *exclude, struct err *err) {
    struct walk w = {c, dir, prefix, include, exclude};
    return walk_folder(&w, "", 0, err);
}

/* ------------------------------------------------------------------ contents */

int hub_change_look(struct hub_change *c, struct err *err) {
    struct stat st;
    c->bytes = c->text.n;
    if (!c->file) return 0;
    if (stat(c->file, &st) < 0) return err_errno(err, "%s", c->file);
    c->bytes = (uint64_t)st.st_size;
    c->mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return 0;
}

int hub_change_read(const struct hub_change *c, size_t max, struct buf *out, struct err *err) {
    size_t want = max && max < c->bytes ? max : (size_t)c->bytes;
    if (!c->file) return buf_append(out, c->text.v, want, err);
    FILE *f = fopen(c->file, "rbe");
    if (!f) return err_errno(err, "%s", c->file);
    int rc = buf_reserve(out, want + 1, err);
    size_t got = rc == 0 ? fread(out->v + out->n, 1, want, f) : 0;
    if (rc == 0 && ferror(f)) rc = err_errno(err, "%s", c->file);
    if (rc == 0 && got < want)
        rc = err_set(err, ERR_IO, "%s: became shorter while it was read", c->file);
    out->n += got;
    fclose(f);
    return rc;
}

static int digest_file(const struct hub_change *c, struct sha256 *s, struct err *err) {
    char block[BLOCK_BYTES];
    FILE *f = fopen(c->file, "rbe");
    if (!f) return err_errno(err, "%s", c->file);
    uint64_t n = 0;
    for (size_t got; (got = fread(block, 1, sizeof block, f)) > 0; n += got)
        sha256_add(s, block, got);
    int rc = ferror(f) ? err_errno(err, "%s", c->file) : 0;
    if (rc == 0 && n != c->bytes)
        rc = err_set(err, ERR_IO, "%s: changed while it was read", c->file);
    fclose(f);
    return rc;
}

int hub_change_digest(struct hub_change *c, struct err *err) {
    struct sha256 *s = c->lfs ? sha256_new() : git_blob_new(c->bytes);
    if (!s) return err_nomem(err, SHA256_HEX);
    int rc = 0;
    if (c->file)
        rc = digest_file(c, s, err);
    else
        sha256_add(s, c->text.v, c->text.n);
    if (rc == 0)
        sha256_end(s, c->lfs ? c->sha256 : c->blob);
    else
        sha256_free(s);
    return rc;
}
