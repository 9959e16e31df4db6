/* Names to files: see source.h. Local names are looked at here; addresses and Hub repositories are
 * taken apart by remote.c. */
#include "stream/source.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "stream/layout.h"
#include "stream/remote.h"
#include "stream/archive.h"

int source_add(struct source_list *to, const struct source_file *file, struct err *err) {
    struct source_file *v = mem_grown(to->v, to->n, &to->cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    to->v = v;
    struct source_file f = {.name = strdup(file->name),
                            .path = strdup(file->path),
                            .member = file->member ? strdup(file->member) : NULL,
                            .bytes = file->bytes,
                            .etag = file->etag ? strdup(file->etag) : NULL,
                            .sha256 = file->sha256 ? strdup(file->sha256) : NULL};
    if (!f.name || !f.path || (file->member && !f.member) || (file->etag && !f.etag) ||
        (file->sha256 && !f.sha256)) {
        free(f.name);
        free(f.path);
        free(f.member);
        free(f.etag);
        free(f.sha256);
        return err_nomem(err, strlen(file->path));
    }
    to->v[to->n++] = f;
    return 0;
}

/* A local file, size included. Pipes and devices have none. */
static int add_local(struct source_list *to, const char *path, struct err *err) {
    struct source_file f = {.name = (char *)path, .path = (char *)path};
    if (file_kind(path) == FILE_REGULAR) {
        if (zip_is_named(path)) return zip_members(to, path, path, NULL, err);
        int rc = file_bytes(path, &f.bytes, err);
        if (rc < 0) return rc;
    }
    return source_add(to, &f, err);
}

static int add_folder(struct source_list *to, const char *dir, struct err *err) {
    struct strs names = {0};
    size_t before = to->n, folders = 0;
    int rc = file_list(dir, &names, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        if (names.v[i][0] == '.') continue;
        char *path = path_join(dir, names.v[i]);
        if (!path)
            rc = err_nomem(err, strlen(dir));
        else if (file_kind(path) == FILE_FOLDER)
            folders++;
        else
            rc = add_local(to, path, err);
        free(path);
    }
    strs_release(&names);
    if (rc == 0 && to->n == before)
        rc = err_set(err, ERR_USAGE, "%s: %s", dir,
                     folders ? "holds only folders; name one of them, or a glob such as '*/*.jsonl'"
                             : "the folder has no files");
    return rc;
}

/* There is nothing of this name: an address of a kind that is not read (s3://, gs://, ftp://)? */
static int not_there(const char *source, int code, const char *what, struct err *err) {
    const size_t n =
        strspn(source, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
    if (!n || strncmp(source + n, "://", 3) != 0) return err_set(err, code, "%s: %s", source, what);
    return err_set(err, ERR_USAGE, "%s: of addresses only https://, http:// and hf:// are read",
                   source);
}

static int add_glob(struct source_list *to, const char *pattern, struct err *err) {
    glob_t g = {0};
    size_t before = to->n;
    int rc = 0, got = glob(pattern, GLOB_NOSORT | GLOB_BRACE, NULL, &g);
    if (got == GLOB_NOSPACE) rc = err_nomem(err, 0);
    strs_sort(g.gl_pathv, g.gl_pathc);
    for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++)
        if (file_kind(g.gl_pathv[i]) != FILE_FOLDER) rc = add_local(to, g.gl_pathv[i], err);
    globfree(&g);
    if (rc == 0 && to->n == before) rc = not_there(pattern, ERR_USAGE, "matches no file", err);
    return rc;
}

static int add_address(struct source_list *to, const char *url, const struct hub *hub,
                       struct err *err) {
    if (!zip_is_named(url))
        return source_add(to, &(struct source_file){.name = (char *)url, .path = (char *)url}, err);
    char *name = strndup(url, strcspn(url, "?#")); /* members' names follow it */
    int rc = name ? zip_members(to, name, url, hub, err) : err_nomem(err, strlen(url));
    free(name);
    return rc;
}

/* Why there is nothing: perhaps it cannot be looked at. */
static int nothing(const char *source, struct err *err) {
    struct stat is;
    if (stat(source, &is) < 0 && errno != ENOENT && errno != ENOTDIR)
        return err_errno(err, "%s", source);
    return not_there(source, ERR_IO, "no such file or folder", err);
}

int source_resolve(struct source_list *to, const char *source, const struct hub *hub,
                   const struct log *log, struct err *err) {
    if (!strcmp(source, "-"))
        return source_add(to, &(struct source_file){.name = "stdin", .path = "-"}, err);
    if (remote_is_http(source)) return add_address(to, source, hub, err);
    if (remote_is_hub(source)) return remote_list(to, source, hub, log, err);
    if (!*source) return err_set(err, ERR_USAGE, "a source with an empty name");
    switch (file_kind(source)) {
    case FILE_FOLDER: return add_folder(to, source, err);
    case FILE_NONE: /* a file whose name holds a '[' is found as it stands, so globs come last */
        if (strpbrk(source, "*?[{")) return add_glob(to, source, err);
        return nothing(source, err);
    default: return add_local(to, source, err);
    }
}

/* ------------------------------------------------------------------ datasets */

enum { DEPTH_MAX = 32, README_MAX = 16 << 20 };

static bool is_link(const char *path) {
    struct stat is;
    return lstat(path, &is) == 0 && S_ISLNK(is.st_mode);
}

/* All files below dir/at, as paths from `dir`, in byte order of the whole paths. Links to folders
 * are not followed, as `datasets` does not: they may lead back. */
static int add_tree(struct strs *paths, const char *dir, const char *at, int depth,
                    struct err *err) {
    struct strs names = {0};
    char *here = path_join(dir, at);
    int rc = here ? file_list(here, &names, err) : err_nomem(err, strlen(dir));
    if (depth > DEPTH_MAX) rc = err_set(err, ERR_USAGE, "%s: folders lie too deep", here);
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        char *path = path_join(at, names.v[i]), *whole = path ? path_join(dir, path) : NULL;
        if (!whole)
            rc = err_nomem(err, strlen(dir));
        else if (file_kind(whole) == FILE_FOLDER)
            rc = is_link(whole) ? 0 : add_tree(paths, dir, path, depth + 1, err);
        else
            rc = strs_push(paths, path, err);
        free(path);
        free(whole);
    }
    strs_release(&names);
    free(here);
    return rc;
}

static int add_folder_split(struct source_list *to, const char *dir, const char *config,
                            const char *split, struct err *err) {
    struct strs paths = {0};
    struct buf readme = {0};
    struct layout layout = {0};
    struct u32s files = {0};
    int rc = add_tree(&paths, dir, "", 0, err);
    char *card = path_join(dir, "README.md");
    if (rc == 0) strs_sort(paths.v, paths.n);
    if (rc == 0 && card && file_kind(card) == FILE_REGULAR)
        rc = file_read(card, README_MAX, &readme, err);
    if (rc == 0) rc = layout_read(&layout, &paths, readme.v, readme.n, err);
    if (rc == 0) rc = layout_pick(&layout, config, split, &files, err);
    if (rc < 0) err_prefix(err, "%s", dir);
    for (size_t i = 0; rc == 0 && i < files.n; i++) {
        char *path = path_join(dir, paths.v[files.v[i]]);
        rc = path ? add_local(to, path, err) : err_nomem(err, strlen(dir));
        free(path);
    }
    free(card);
    strs_release(&paths);
    buf_release(&readme);
    layout_release(&layout);
    u32s_release(&files);
    return rc;
}

int source_resolve_split(struct source_list *to, const char *source, const char *config,
                         const char *split, const struct hub *hub, const struct log *log,
                         struct err *err) {
    if (!config && !split) return source_resolve(to, source, hub, log, err);
    if (remote_is_hub(source)) return remote_split(to, source, config, split, hub, log, err);
    if (!remote_is_http(source) && file_kind(source) == FILE_FOLDER)
        return add_folder_split(to, source, config, split, err);
    return err_set(err, ERR_USAGE,
                   "%s: --split and --data-config choose within a folder or a repository", source);
}

int source_pin(struct source_list *l, const struct hub *hub, struct err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct source_file *f = &l->v[i], *last = i ? f - 1 : NULL;
        if (!remote_is_http(f->name)) continue;
        if (!last || !f->member || strcmp(f->path, last->path))
            rc = remote_pin(f, hub, err);
        else if (last->etag && !(f->etag = strdup(last->etag))) /* the same archive's */
            rc = err_nomem(err, strlen(last->etag));
    }
    return rc;
}

void source_list_release(struct source_list *l) {
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].name);
        free(l->v[i].path);
        free(l->v[i].member);
        free(l->v[i].etag);
        free(l->v[i].sha256);
    }
    free(l->v);
    *l = (struct source_list){0};
}
