/* ZIP archives: their members are files like any others. By libzip; of an archive behind an address
 * only its directory and the members that are read are fetched, by ranges. */
#ifndef LORY_STREAM_ARCHIVE_H
#define LORY_STREAM_ARCHIVE_H

#include <stdbool.h>
#include "stream/codec.h"
#include "stream/source.h"

/* Whether a name, or an address without its query, ends in ".zip". */
bool zip_is_named(const char *name);
/* Appends the members of the archive at `path`, a local one or an address, in byte order of their
 * names: "NAME/part-1.jsonl". Folders and hidden files are left out. ERR_DATA if it is no ZIP
 * archive; ERR_NET. */
int zip_members(struct source_list *to, const char *name, const char *path, const struct hub *hub,
                struct err *err);
/* The unpacked bytes of a member. ERR_DATA when it is damaged or encrypted. */
int zip_feed(const struct source_file *file, const struct hub *hub, struct feed *ret,
             struct err *err);

#endif
