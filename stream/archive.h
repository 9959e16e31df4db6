/* ZIP archives: their members are files like any others. By libzip, from local archives. */
#ifndef LORY_STREAM_ARCHIVE_H
#define LORY_STREAM_ARCHIVE_H

#include "stream/codec.h"
#include "stream/source.h"

/* Appends the members of an archive, in byte order of their names: "data.zip/part-1.jsonl". Folders
 * and hidden files are left out. ERR_DATA if it is no ZIP archive. */
int zip_members(struct source_list *to, const char *path, struct err *err);
/* The unpacked bytes of a member. ERR_DATA when it is damaged or encrypted. */
int zip_feed(const struct source_file *file, struct feed *ret, struct err *err);

#endif
