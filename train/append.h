/* A file that grows a record at a time and must survive a kill between two of them.
 *
 * Each append is one write(2): what a kill leaves is whole records, at worst a torn last one,
 * which the readers of metrics.jsonl and of event files recognise and drop. append_sync() is
 * called before a checkpoint that relies on the records appears. */
#ifndef LORY_TRAIN_APPEND_H
#define LORY_TRAIN_APPEND_H

#include <stddef.h>
#include "base/err.h"

struct append {
    int fd;
    char *path;
};

/* Opens for appending, making the file if there is none. */
int append_open(struct append *ret, const char *path, struct err *err);
int append_write(struct append *a, const void *bytes, size_t n, struct err *err);
int append_sync(struct append *a, struct err *err);
void append_close(struct append *a); /* fine on a zeroed one */

#endif
