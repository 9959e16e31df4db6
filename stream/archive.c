/* Members of ZIP archives: see archive.h. Every feed opens the archive for itself, since libzip's
 * handles belong to one thread.
 *
 *   libzip ─read, seek─▶ ask() ─▶ struct blob ─▶ ranges of an address
 *
 * A local archive is libzip's own affair. */
#include "stream/archive.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>
#include "base/file.h"
#include "stream/blob.h"
#include "stream/remote.h"

struct archive {
    zip_t *zip;
    struct blob blob;  /* of an address; else its ctx is NULL */
    uint64_t at;       /* where libzip stands in it           */
    zip_error_t why;   /* for libzip: what a call failed with */
    struct err failed; /* why the blob failed; code 0        */
};

static void archive_close(struct archive *a) {
    if (a->zip) zip_discard(a->zip);
    if (a->blob.ctx) a->blob.close(a->blob.ctx);
    zip_error_fini(&a->why);
    *a = (struct archive){0};
}

/* ERR_DATA for what is wrong with the archive, else what the system or the network said. */
static int bad(const struct archive *a, const char *name, zip_error_t *e, struct err *err) {
    if (a->failed.code) {
        if (err) *err = a->failed;
        return a->failed.code;
    }
    int code = zip_error_code_zip(e);
    bool system = code == ZIP_ER_OPEN || code == ZIP_ER_READ || code == ZIP_ER_SEEK ||
                  code == ZIP_ER_NOENT || code == ZIP_ER_TELL || code == ZIP_ER_CLOSE;
    return err_set(err,
                   code == ZIP_ER_MEMORY ? ERR_NOMEM
                   : system              ? ERR_IO
                                         : ERR_DATA,
                   "%s: %s", name, zip_error_strerror(e));
}

static zip_int64_t ask_read(struct archive *a, void *to, zip_uint64_t n) {
    uint64_t left = a->blob.bytes - a->at;
    if (n > left) n = left;
    if (a->blob.read(a->blob.ctx, a->at, to, n, &a->failed) < 0) {
        zip_error_set(&a->why, ZIP_ER_READ, 0);
        return -1;
    }
    a->at += n;
    return (zip_int64_t)n;
}

static zip_int64_t ask_seek(struct archive *a, void *to, zip_uint64_t n) {
    zip_int64_t at = zip_source_seek_compute_offset(a->at, a->blob.bytes, to, n, &a->why);
    if (at >= 0) a->at = (uint64_t)at;
    return at < 0 ? -1 : 0;
}

/* What libzip wants of a file of ours. */
static zip_int64_t ask(void *ctx, void *to, zip_uint64_t n, zip_source_cmd_t what) {
    struct archive *a = ctx;
    switch (what) {
    case ZIP_SOURCE_OPEN: a->at = 0; return 0;
    case ZIP_SOURCE_READ: return ask_read(a, to, n);
    case ZIP_SOURCE_SEEK: return ask_seek(a, to, n);
    case ZIP_SOURCE_TELL: return (zip_int64_t)a->at;
    case ZIP_SOURCE_STAT: {
        zip_stat_t *is = ZIP_SOURCE_GET_ARGS(zip_stat_t, to, n, &a->why);
        if (!is) return -1;
        zip_stat_init(is);
        is->valid = ZIP_STAT_SIZE;
        is->size = a->blob.bytes;
        return sizeof *is;
    }
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&a->why, to, n);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: return 0; /* archive_close() does */
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
            ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
    default: zip_error_set(&a->why, ZIP_ER_OPNOTSUPP, 0); return -1;
    }
}

static zip_t *open_address(struct archive *a, zip_error_t *e) {
    zip_source_t *s = zip_source_function_create(ask, a, e);
    zip_t *z = s ? zip_open_from_source(s, ZIP_RDONLY, e) : NULL;
    if (s && !z) zip_source_free(s);
    return z;
}

/* `a` does not move from here to archive_close(), which also takes what failed to open. */
static int archive_open(struct archive *a, const char *name, const char *path, const char *mark,
                        const struct hub *hub, struct err *err) {
    zip_error_t e;
    int code = 0;
    *a = (struct archive){0};
    zip_error_init(&a->why);
    zip_error_init(&e);
    if (remote_is_http(path)) {
        struct source_file file = {
            .name = (char *)name, .path = (char *)path, .etag = (char *)mark};
        int rc = remote_blob(&file, hub, &a->blob, err);
        if (rc < 0) return rc;
        a->zip = open_address(a, &e);
    } else {
        a->zip = zip_open(path, ZIP_RDONLY, &code);
        if (!a->zip) zip_error_init_with_code(&e, code);
    }
    int rc = a->zip ? 0 : bad(a, name, &e, err);
    zip_error_fini(&e);
    return rc;
}

bool zip_is_named(const char *name) {
    size_t n = remote_is_http(name) ? strcspn(name, "?#") : strlen(name);
    return n > 4 && !strncasecmp(name + n - 4, ".zip", 4);
}

/* Hidden, at any depth, or what macOS adds. */
static bool is_hidden(const char *name) {
    for (const char *p = name; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (*p == '.' || !strncmp(p, "__MACOSX", 8)) return true;
    }
    return false;
}

static int add_member(struct source_list *to, zip_t *z, zip_uint64_t i, const char *archive,
                      const char *path, struct err *err) {
    zip_stat_t is;
    if (zip_stat_index(z, i, 0, &is) < 0 || !(is.valid & ZIP_STAT_NAME) || !*is.name)
        return err_set(err, ERR_DATA, "%s: member %llu has no name", archive,
                       (unsigned long long)i);
    if (path_ends(is.name, "/") || is_hidden(is.name)) return 0;
    char *name = path_join(archive, is.name[0] == '/' ? is.name + 1 : is.name);
    if (!name) return err_nomem(err, strlen(path));
    struct source_file f = {.name = name,
                            .path = (char *)path,
                            .member = (char *)is.name,
                            .bytes = is.valid & ZIP_STAT_SIZE ? is.size : 0};
    int rc = source_add(to, &f, err);
    free(name);
    return rc;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct source_file *)a)->name, ((const struct source_file *)b)->name);
}

int zip_members(struct source_list *to, const char *name, const char *path, const struct hub *hub,
                struct err *err) {
    struct archive a;
    size_t before = to->n;
    int rc = archive_open(&a, name, path, NULL, hub, err);
    zip_int64_t n = rc == 0 ? zip_get_num_entries(a.zip, 0) : 0;
    for (zip_int64_t i = 0; rc == 0 && i < n; i++)
        rc = add_member(to, a.zip, (zip_uint64_t)i, name, path, err);
    archive_close(&a);
    if (rc == 0 && to->n == before)
        rc = err_set(err, ERR_USAGE, "%s: the archive has no files", name);
    if (rc == 0) qsort(to->v + before, to->n - before, sizeof *to->v, by_name);
    return rc;
}

struct member {
    struct archive archive;
    zip_file_t *file;
    char *name;
};

static long member_read(void *ctx, void *bytes, size_t n, struct err *err) {
    struct member *m = ctx;
    zip_int64_t got = zip_fread(m->file, bytes, n);
    return got < 0 ? bad(&m->archive, m->name, zip_file_get_error(m->file), err) : (long)got;
}

static void member_close(void *ctx) {
    struct member *m = ctx;
    if (m->file) zip_fclose(m->file);
    archive_close(&m->archive);
    free(m->name);
    free(m);
}

int zip_feed(const struct source_file *file, const struct hub *hub, struct feed *ret,
             struct err *err) {
    struct member *m = calloc(1, sizeof *m);
    if (!m) return err_nomem(err, sizeof *m);
    m->name = strdup(file->name);
    int rc = m->name ? archive_open(&m->archive, m->name, file->path, file->etag, hub, err)
                     : err_nomem(err, sizeof *m);
    if (rc == 0) {
        m->file = zip_fopen(m->archive.zip, file->member, ZIP_FL_ENC_GUESS);
        if (!m->file) rc = bad(&m->archive, m->name, zip_get_error(m->archive.zip), err);
    }
    if (rc < 0) {
        member_close(m);
        return rc;
    }
    *ret = (struct feed){member_read, member_close, m, NULL};
    return 0;
}
