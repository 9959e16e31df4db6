/* SOURCEs: what a user names as input, resolved to an ordered list of files.
 *
 *   "corpus/"                      a folder: its files in byte order of their names, no hidden ones
 *   "c/file-*.json.gz"             a glob
 *   "data.zip"                     a ZIP archive, here or in a folder: its members as files
 *   "-"                            standard input
 *   "http://…", "https://…"        one file
 *   "hf://datasets/NS/NAME[@REV][/PATH_OR_GLOB]", "hf://NS/NAME"     a repository of the Hub
 *
 * Names are resolved once, before anything is read. */
#ifndef LORY_STREAM_SOURCE_H
#define LORY_STREAM_SOURCE_H

#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

struct hub; /* stream/hub.h: how to reach the Hub; NULL: hf:// is refused */

struct source_file {
    char *name;     /* what messages call it: the path or address as given                     */
    char *path;     /* a local path, "-", or the address to fetch                              */
    char *member;   /* of the ZIP archive at `path`; NULL: the file itself                     */
    uint64_t bytes; /* size as stored; 0 if unknown                                            */
    char *etag;     /* what tells it from what it may become: of a small file of the Hub git's name
                       of it, of an address what source_pin() was told; or NULL                */
    char *sha256;   /* hex of the stored bytes, if whoever lists it says so; or NULL           */
};

struct source_list {
    struct source_file *v;
    size_t n, cap;
};

/* Appends the files that `source` names. ERR_IO "nowhere/: no such file or folder"; ERR_USAGE for a
 * glob or folder with nothing in it; ERR_NET. */
int source_resolve(struct source_list *to, const char *source, const struct hub *hub,
                   const struct log *log, struct err *err);
/* The files of one split, one configuration of a dataset: a folder with all below it, or a whole
 * repository of the Hub, told apart as `datasets` does (stream/layout.h). Both NULL:
 * source_resolve(). ERR_USAGE for other kinds of source, or names that are not there. */
int source_resolve_split(struct source_list *to, const char *source, const char *config,
                         const char *split, const struct hub *hub, const struct log *log,
                         struct err *err);
/* Asks the servers of plain addresses how long their files are and what marks them (http_mark), a
 * request each: so that a state of the stream can tell whether they are as they were. ERR_NET. */
int source_pin(struct source_list *l, const struct hub *hub, struct err *err);
/* Appends a copy of one file. */
int source_add(struct source_list *to, const struct source_file *file, struct err *err);
void source_list_release(struct source_list *l);

#endif
