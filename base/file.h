/* Files: paths, whole reads, read-only mappings, and artefacts that appear whole or not at all.
 *
 * An artefact is written to a temporary name in its own folder, synced, renamed, the folder synced:
 *
 *     .model.safetensors.tmp-4711  ──fsync──▶ rename ──▶ model.safetensors ──▶ fsync(folder)
 *
 * A reader never sees half of it; a crash leaves at most a .…tmp-PID file, which file_sweep()
 * removes. All functions may be used by several threads on different objects. ERR_IO: the system
 * said no; messages begin with the path. */
#ifndef LORY_BASE_FILE_H
#define LORY_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

/* dir + "/" + name (dir alone if name is "", name alone if dir is "" or name is absolute),
 * malloc'd; NULL: no memory. */
char *path_join(const char *dir, const char *name);
/* What stands behind the last '/'; borrowed from `path`. */
const char *path_base(const char *path);
/* The folder a path lies in, "." if none is named; malloc'd. */
char *path_dir(const char *path);
/* True when `name` ends in `end`. */
bool path_ends(const char *name, const char *end);

enum file_kind { FILE_NONE, FILE_REGULAR, FILE_FOLDER, FILE_OTHER };
/* What lies at `path`, links followed. FILE_NONE also when it cannot be asked. */
enum file_kind file_kind(const char *path);
/* Whether two names lead to one file or folder; false where one leads nowhere. */
bool file_same(const char *a, const char *b);
/* Bytes of a regular file. */
int file_bytes(const char *path, uint64_t *ret_bytes, struct err *err);
/* Appends the whole file to `out`; ERR_CORRUPT if it holds more than `max_bytes`. */
int file_read(const char *path, uint64_t max_bytes, struct buf *out, struct err *err);
/* Writes a copy as an artefact; nothing where `from` is no regular file. */
int file_copy(const char *from, const char *to, struct err *err);
/* Names in a folder (no "." and ".."), sorted by their bytes. Caller releases *out. */
int file_list(const char *dir, struct strs *out, struct err *err);
/* Makes the folder and those above it. Fine if it exists. */
int file_mkdirs(const char *dir, struct err *err);
/* Removes a file, or a folder with everything in it. Fine if it does not exist. */
int file_remove(const char *path, struct err *err);
/* Removes temporary files in `dir` that a dead process left behind. */
int file_sweep(const char *dir, struct err *err);
/* The same, of those alone that dead writers of this one file left beside it, as outfile_open()
 * does: a folder that a user named is not ours to look through. What goes wrong is told by who
 * opens the file. */
void file_sweep_of(const char *path);
/* Syncs a folder, so that renames in it survive a power cut. */
int file_sync_dir(const char *dir, struct err *err);
/* Bytes free for us on the file system that holds `path` (or its nearest existing folder). */
int file_free_bytes(const char *path, uint64_t *ret_bytes, struct err *err);

/* A read-only mapping of a whole file; bytes == 0 has v == NULL. */
struct mapping {
    const uint8_t *v;
    size_t bytes;
};
int mapping_open(struct mapping *ret, const char *path, struct err *err);
void mapping_close(struct mapping *m);
/* Gives back the whole pages within v[from..to) of a mapping of a file, which begins at `v` or
 * before; they come again from the file when asked for. */
void mapping_forget(const void *v, size_t from, size_t to);

/* An artefact being written. Devices and pipes ("-" is stdout) are written directly.
 *
 *     struct outfile *f;
 *     outfile_open(&f, path, err)  ─▶ outfile_write() … ─▶ outfile_commit()  the file stands
 *                                                       └▶ outfile_abort()   nothing is left
 * Buffered (1 MiB). After any failure only outfile_abort() may follow. ERR_PIPE: the reader
 * left. What killed writers of the file left beside it goes first. */
struct outfile;
int outfile_open(struct outfile **ret, const char *path, struct err *err);
/* One of many files in a folder that file_sweep() was just called for: it is not looked through for
 * each. */
int outfile_open_swept(struct outfile **ret, const char *path, struct err *err);
/* An artefact made over several runs: `.NAME.partial` in its folder, which stays behind when it is
 * aborted or a commit fails. `at` is how many bytes of it count, 0 for a new one; what follows them
 * is cut off. Where the file was committed after that was noted, it becomes the part again.
 * ERR_CORRUPT if it is shorter; ERR_IO if another process writes it, or `path` is no regular
 * file. */
int outfile_resume(struct outfile **ret, const char *path, uint64_t at, struct err *err);
/* Flushes, and has the disk hold it. */
int outfile_sync(struct outfile *f, struct err *err);
int outfile_write(struct outfile *f, const void *bytes, size_t n, struct err *err);
int outfile_printf(struct outfile *f, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Overwrites bytes already written (a header filled in at the end). Regular files only. */
int outfile_patch(struct outfile *f, uint64_t at, const void *bytes, size_t n, struct err *err);
/* Bytes written so far. */
uint64_t outfile_tell(const struct outfile *f);
/* Flushes what is buffered without ending the file: for output someone is watching. */
int outfile_flush(struct outfile *f, struct err *err);
/* Ends, syncs, renames. Frees f, whatever happens; on failure nothing is left under the final
 * name. */
int outfile_commit(struct outfile *f, struct err *err);
/* Removes what was written and frees f. NULL is fine. */
void outfile_abort(struct outfile *f);

/* outfile_open + write + commit in one. */
int file_write(const char *path, const void *bytes, size_t n, struct err *err);

#endif
