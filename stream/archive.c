/* Members of ZIP archives: see archive.h. Every feed opens the archive for itself, since libzip's
 * handles belong to one thread. */
#include "stream/archive.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>
#include "base/file.h"

static int archive_open(zip_t **ret, const char *path, struct err *err) {
    int code = 0;
    *ret = zip_open(path, ZIP_RDONLY, &code);
    if (*ret) return 0;
    zip_error_t e;
    zip_error_init_with_code(&e, code);
    bool system = code == ZIP_ER_OPEN || code == ZIP_ER_READ || code == ZIP_ER_NOENT;
    int rc = err_set(err,
                     code == ZIP_ER_MEMORY ? ERR_NOMEM
                     : system              ? ERR_IO
                                           : ERR_DATA,
                     "%s: %s", path, zip_error_strerror(&e));
    zip_error_fini(&e);
    return rc;
}

/* Hidden, at any depth, or what macOS adds. */
static bool is_hidden(const char *name) {
    for (const char *p = name; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (*p == '.' || !strncmp(p, "__MACOSX", 8)) return true;
    }
    return false;
}

static int add_member(struct source_list *to, zip_t *z, zip_uint64_t i, const char *path,
                      struct err *err) {
    zip_stat_t is;
    if (zip_stat_index(z, i, 0, &is) < 0 || !(is.valid & ZIP_STAT_NAME) || !*is.name)
        return err_set(err, ERR_DATA, "%s: member %llu has no name", path, (unsigned long long)i);
    if (path_ends(is.name, "/") || is_hidden(is.name)) return 0;
    char *name = path_join(path, is.name[0] == '/' ? is.name + 1 : is.name);
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

int zip_members(struct source_list *to, const char *path, struct err *err) {
    zip_t *z;
    size_t before = to->n;
    int rc = archive_open(&z, path, err);
    if (rc < 0) return rc;
    zip_int64_t n = zip_get_num_entries(z, 0);
    for (zip_int64_t i = 0; rc == 0 && i < n; i++)
        rc = add_member(to, z, (zip_uint64_t)i, path, err);
    zip_discard(z);
    if (rc == 0 && to->n == before)
        rc = err_set(err, ERR_USAGE, "%s: the archive has no files", path);
    if (rc == 0 && to->n > before) qsort(to->v + before, to->n - before, sizeof *to->v, by_name);
    return rc;
}

struct member {
    zip_t *archive;
    zip_file_t *file;
    char *name;
};

static int member_bad(const struct member *m, zip_error_t *e, struct err *err) {
    int code = zip_error_code_zip(e);
    bool data = code == ZIP_ER_CRC || code == ZIP_ER_ZLIB || code == ZIP_ER_EOF ||
                code == ZIP_ER_INCONS || code == ZIP_ER_NOZIP || code == ZIP_ER_COMPNOTSUPP ||
                code == ZIP_ER_ENCRNOTSUPP || code == ZIP_ER_NOPASSWD ||
                code == ZIP_ER_COMPRESSED_DATA;
    return err_set(err,
                   code == ZIP_ER_MEMORY ? ERR_NOMEM
                   : data                ? ERR_DATA
                                         : ERR_IO,
                   "%s: %s", m->name, zip_error_strerror(e));
}

static long member_read(void *ctx, void *bytes, size_t n, struct err *err) {
    struct member *m = ctx;
    zip_int64_t got = zip_fread(m->file, bytes, n);
    return got < 0 ? member_bad(m, zip_file_get_error(m->file), err) : (long)got;
}

static void member_close(void *ctx) {
    struct member *m = ctx;
    if (m->file) zip_fclose(m->file);
    if (m->archive) zip_discard(m->archive);
    free(m->name);
    free(m);
}

int zip_feed(const struct source_file *file, struct feed *ret, struct err *err) {
    struct member *m = calloc(1, sizeof *m);
    if (!m) return err_nomem(err, sizeof *m);
    m->name = strdup(file->name);
    int rc = m->name ? archive_open(&m->archive, file->path, err) : err_nomem(err, sizeof *m);
    if (rc == 0) {
        m->file = zip_fopen(m->archive, file->member, ZIP_FL_ENC_GUESS);
        if (!m->file) rc = member_bad(m, zip_get_error(m->archive), err);
    }
    if (rc < 0)
        member_close(m);
    else
        *ret = (struct feed){member_read, member_close, m, NULL};
    return rc;
}
