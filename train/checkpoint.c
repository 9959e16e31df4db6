/* Checkpoint folders: see checkpoint.h.
 *
 * The order of the system calls is the whole point: a file's bytes are synced before the manifest
 * that vouches for them, the manifest before the rename that makes the folder visible, the rename
 * before anything older is removed. A kill, or a power cut, between any two of them leaves a
 * checkpoint that verifies. */
#include "train/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/pool.h"

static const char PREFIX[] = "checkpoint-";
static const char MANIFEST[] = "manifest.json";
enum { MANIFEST_FORMAT = 1, MANIFEST_BYTES = 1 << 20 };

static char *format_path(const char *run, const char *fmt, uint64_t n, int pid) {
    char name[128];
    snprintf(name, sizeof name, fmt, n, pid);
    return path_join(run, name);
}

char *checkpoint_path(const char *run, uint64_t step) {
    return format_path(run, "checkpoint-%" PRIu64, step, 0);
}

static char *aside_path(const char *run, uint64_t step) {
    return format_path(run, ".old-checkpoint-%" PRIu64 ".tmp-%d", step, (int)getpid());
}

int checkpoint_begin(char **ret_dir, const char *run, uint64_t step, struct err *err) {
    char *dir = format_path(run, ".checkpoint-%" PRIu64 ".tmp-%d", step, (int)getpid());
    if (!dir) return err_nomem(err, strlen(run));
    int rc = file_remove(dir, err); /* of a dead process that had our number */
    if (rc == 0 && mkdir(dir, 0777) < 0) rc = err_errno(err, "%s", dir);
    if (rc < 0)
        free(dir);
    else
        *ret_dir = dir;
    return rc;
}

void checkpoint_abort(char *dir) {
    if (dir) file_remove(dir, NULL);
    free(dir);
}

/* ------------------------------------------------------------------ the manifest */

static int sync_file(const char *path, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    if (fd < 0) return err_errno(err, "%s", path);
    if (fsync(fd) < 0 && errno != EINVAL && errno != ENOTSUP) rc = err_errno(err, "%s", path);
    close(fd);
    return rc;
}

/* Adds NAME: {bytes, xxh3_128} for one file. */
static int vouch(cJSON *files, const char *dir, const char *name, struct err *err) {
    char hex[XXH128_HEX], *path = path_join(dir, name);
    uint64_t bytes = 0;
    int rc = path ? sync_file(path, err) : err_nomem(err, strlen(dir));
    if (rc == 0) rc = file_bytes(path, &bytes, err);
    if (rc == 0) rc = xxh128_file(path, hex, err);
    free(path);
    if (rc < 0) return rc;
    cJSON *o = cJSON_AddObjectToObject(files, name);
    if (!o || !cJSON_AddNumberToObject(o, "bytes", (double)bytes) ||
        !cJSON_AddStringToObject(o, "xxh3_128", hex))
        return err_nomem(err, sizeof(cJSON));
    return 0;
}

/* Adds those of a folder within, as "FOLDER/NAME". */
static int vouch_folder(cJSON *files, const char *dir, const char *folder, struct err *err) {
    struct strs names = {0};
    char *path = path_join(dir, folder);
    int rc = path ? file_list(path, &names, err) : err_nomem(err, strlen(dir));
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        char *name = path_join(folder, names.v[i]);
        rc = name ? vouch(files, dir, name, err) : err_nomem(err, strlen(folder));
        free(name);
    }
    free(path);
    strs_release(&names);
    return rc;
}

static int vouch_entry(cJSON *files, const char *dir, const char *name, struct err *err) {
    char *path = path_join(dir, name);
    if (!path) return err_nomem(err, strlen(dir));
    int rc = file_kind(path) == FILE_FOLDER ? vouch_folder(files, dir, name, err)
                                            : vouch(files, dir, name, err);
    free(path);
    return rc;
}

static int write_manifest(const char *dir, struct err *err) {
    struct strs names = {0};
    cJSON *o = cJSON_CreateObject(), *files = NULL;
    char *path = path_join(dir, MANIFEST);
    if (o && cJSON_AddNumberToObject(o, "format", MANIFEST_FORMAT))
        files = cJSON_AddObjectToObject(o, "files");
    int rc = files && path ? file_list(dir, &names, err) : err_nomem(err, sizeof(cJSON));
    for (size_t i = 0; rc == 0 && i < names.n; i++)
        if (strcmp(names.v[i], MANIFEST)) rc = vouch_entry(files, dir, names.v[i], err);
    if (rc == 0) rc = json_save(path, o, true, err);
    cJSON_Delete(o);
    free(path);
    strs_release(&names);
    return rc;
}

/* NAME or FOLDER/NAME, which leads nowhere else. */
static bool stays_within(const char *name) {
    const char *slash = strchr(name, '/'), *last = slash ? slash + 1 : name;
    if (slash && (slash == name || !strncmp(name, "../", 3) || !strncmp(name, "./", 2)))
        return false;
    return *last && strcmp(last, ".") && strcmp(last, "..") && !strchr(last, '/');
}

/* Compares one file with its entry. */
static int check_file(const cJSON *entry, const char *dir, struct err *err) {
    char hex[XXH128_HEX], *path = path_join(dir, entry->string);
    if (!path) return err_nomem(err, strlen(dir));
    uint64_t want = 0, have = 0;
    const char *digest = "";
    int rc = 0;
    if (!stays_within(entry->string) || !cJSON_IsObject(entry))
        rc = err_set(err, ERR_CORRUPT, "%s/%s: has no entry for a plain file", dir, MANIFEST);
    if (rc == 0) rc = json_u64(entry, "bytes", UINT64_MAX, &want, MANIFEST, err);
    if (rc == 0) rc = json_str(entry, "xxh3_128", &digest, MANIFEST, err);
    if (rc == 0 && file_kind(path) == FILE_NONE)
        rc = err_set(err, ERR_CORRUPT, "%s is missing", path);
    if (rc == 0) rc = file_bytes(path, &have, err);
    if (rc == 0 && have != want)
        rc = err_set(err, ERR_CORRUPT, "%s has %" PRIu64 " bytes, its manifest says %" PRIu64, path,
                     have, want);
    if (rc == 0) rc = xxh128_file(path, hex, err);
    if (rc == 0 && strcmp(hex, digest))
        rc = err_set(err, ERR_CORRUPT, "%s does not match its manifest", path);
    free(path);
    return rc;
}

/* What is checked at once: two files make up nearly all of a checkpoint. */
struct checking {
    const char *dir;
    const cJSON **entries; /* (n)                         */
    struct err *found;     /* (n) code 0: as it should be */
};

static int check_one(void *ctx, size_t i, int thread, struct err *err) {
    struct checking *c = ctx;
    (void)thread, (void)err;
    check_file(c->entries[i], c->dir, &c->found[i]);
    return 0; /* the others, too: what is told is the first in their order */
}

static int check_files(const cJSON *files, const char *dir, struct err *err) {
    size_t n = (size_t)cJSON_GetArraySize(files), i = 0;
    struct checking c = {.dir = dir,
                         .entries = mem_array(n, sizeof *c.entries),
                         .found = mem_array(n, sizeof *c.found)};
    struct pool *pool = NULL;
    const cJSON *entry;
    int rc = c.entries && c.found ? pool_new(&pool, pool_cpus() > 1 ? 2 : 1, err)
                                  : err_nomem(err, n * sizeof *c.found);
    if (rc == 0) {
        cJSON_ArrayForEach(entry, files) c.entries[i++] = entry;
        rc = pool_run(pool, n, check_one, &c, err);
    }
    for (i = 0; rc == 0 && i < n; i++)
        if (c.found[i].code) {
            if (err) *err = c.found[i];
            rc = c.found[i].code;
        }
    pool_free(pool);
    free(c.entries);
    free(c.found);
    return rc;
}

int checkpoint_verify(const char *dir, struct err *err) {
    char *path = path_join(dir, MANIFEST);
    if (!path) return err_nomem(err, strlen(dir));
    struct buf text = {0};
    cJSON *o = NULL;
    uint64_t format = 0;
    int rc = 0;
    if (file_kind(path) == FILE_NONE) rc = err_set(err, ERR_CORRUPT, "%s is missing", path);
    if (rc == 0) rc = file_read(path, MANIFEST_BYTES, &text, err);
    if (rc == 0) rc = json_parse(&o, text.v, text.n, path, err);
    if (rc == 0) rc = json_u64(o, "format", UINT32_MAX, &format, path, err);
    const cJSON *files = rc == 0 ? json_get(o, "files") : NULL;
    if (rc == 0 && (format != MANIFEST_FORMAT || !cJSON_IsObject(files) || !files->child))
        rc = err_set(err, ERR_CORRUPT, "%s: format %" PRIu64 " is unknown", path, format);
    if (rc == 0) rc = check_files(files, dir, err);
    cJSON_Delete(o);
    buf_release(&text);
    free(path);
    return rc;
}

/* ------------------------------------------------------------------ folders */

/* Gets a checkpoint folder out of the way under a name that no reader takes for a checkpoint, so
 * that a kill while it is being removed leaves no half of one. */
static int remove_checkpoint(const char *run, uint64_t step, struct err *err) {
    char *path = checkpoint_path(run, step), *aside = aside_path(run, step);
    int rc = path && aside ? file_remove(aside, err) : err_nomem(err, strlen(run));
    if (rc == 0 && rename(path, aside) < 0) rc = err_errno(err, "%s", path);
    if (rc == 0) rc = file_remove(aside, err);
    free(path);
    free(aside);
    return rc;
}

/* Puts the new folder in the place of an old one of the same step: in one instant where the file
 * system can, else in two. */
static int replace(const char *dir, const char *path, const char *aside, struct err *err) {
    int rc = file_remove(aside, err);
    if (rc < 0) return rc;
    if (renameat2(AT_FDCWD, dir, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
        return rename(dir, aside) < 0 ? err_errno(err, "%s", aside) : 0;
    if (rename(path, aside) < 0 || rename(dir, path) < 0) return err_errno(err, "%s", path);
    return 0;
}

int checkpoint_commit(char *dir, const char *run, uint64_t step, struct err *err) {
    char *path = checkpoint_path(run, step), *aside = aside_path(run, step);
    int rc = path && aside ? write_manifest(dir, err) : err_nomem(err, strlen(run));
    if (rc == 0) rc = file_sync_dir(dir, err);
    bool replaces = rc == 0 && file_kind(path) != FILE_NONE;
    if (replaces)
        rc = replace(dir, path, aside, err);
    else if (rc == 0 && rename(dir, path) < 0)
        rc = err_errno(err, "%s", path);
    if (rc < 0) {
        err_prefix(err, "checkpoint-%" PRIu64, step);
        checkpoint_abort(dir);
    } else {
        free(dir);
        rc = file_sync_dir(run, err);
    }
    if (rc == 0 && replaces) rc = file_remove(aside, err);
    free(path);
    free(aside);
    return rc;
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int checkpoint_list(const char *run, struct u64s *out, struct err *err) {
    struct strs names = {0};
    if (file_kind(run) != FILE_FOLDER) return 0;
    int rc = file_list(run, &names, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        const char *digits = names.v[i] + sizeof PREFIX - 1;
        if (strncmp(names.v[i], PREFIX, sizeof PREFIX - 1)) continue;
        size_t n = strspn(digits, "0123456789");
        if (n == 0 || n > 18 || digits[n] || (digits[0] == '0' && n > 1)) continue;
        rc = u64s_push(out, strtoull(digits, NULL, 10), err);
    }
    if (rc == 0 && out->n) qsort(out->v, out->n, sizeof *out->v, by_value);
    strs_release(&names);
    return rc;
}

int checkpoint_newest(const char *run, uint64_t *ret_step, const struct log *log, struct err *err) {
    struct u64s steps = {0};
    struct err why = {0};
    bool found = false;
    int rc = checkpoint_list(run, &steps, err);
    *ret_step = CHECKPOINT_NONE;
    for (size_t i = steps.n; rc == 0 && !found && i-- > 0;) {
        char *dir = checkpoint_path(run, steps.v[i]);
        if (!dir) rc = err_nomem(err, strlen(run));
        int bad = rc == 0 ? checkpoint_verify(dir, &why) : 0;
        free(dir);
        if (rc == 0 && bad == 0) {
            *ret_step = steps.v[i];
            found = true;
        } else if (rc == 0 && i > 0) {
            log_warn(log, "%s; trying checkpoint-%" PRIu64, why.msg, steps.v[i - 1]);
        }
    }
    if (rc == 0 && !found && steps.n) {
        err_set(err, ERR_CORRUPT, "%s; no other checkpoint is whole", why.msg);
        rc = err_hint(err, "remove the damaged ones to begin again");
    }
    u64s_release(&steps);
    return rc;
}

int checkpoint_prune(const char *run, uint64_t keep, uint64_t best, struct err *err) {
    struct u64s steps = {0};
    int rc = keep ? checkpoint_list(run, &steps, err) : 0;
    for (size_t i = 0; rc == 0 && i + keep < steps.n; i++)
        if (steps.v[i] != best || best == 0) rc = remove_checkpoint(run, steps.v[i], err);
    u64s_release(&steps);
    return rc;
}

int run_link(const char *run, const char *name, const char *target, struct err *err) {
    char tmp_name[256];
    snprintf(tmp_name, sizeof tmp_name, ".%.200s.tmp-%d", name, (int)getpid());
    char *path = path_join(run, name), *tmp = path_join(run, tmp_name);
    struct stat st;
    int rc = path && tmp ? file_remove(tmp, err) : err_nomem(err, strlen(run));
    if (rc == 0 && lstat(path, &st) == 0 && !S_ISLNK(st.st_mode))
        rc = err_set(err, ERR_USAGE, "%s: is in the way of a link; move it", path);
    if (rc == 0 && !target)
        rc = file_remove(path, err);
    else if (rc == 0 && (symlink(target, tmp) < 0 || rename(tmp, path) < 0))
        rc = err_errno(err, "%s", path);
    free(path);
    free(tmp);
    return rc;
}
