/* Inside of hub: what its files and their tests share. */
#ifndef LORY_STREAM_HUB_PARTS_H
#define LORY_STREAM_HUB_PARTS_H

#include <stdbool.h>
#include "base/buf.h"
#include "base/err.h"

/* Appends `s` with %XX for what may not stand in an address; '/' stays with keep_slash. */
int hub_escape(struct buf *out, const char *s, bool keep_slash, struct err *err);
/* '*' and '?' within a folder, '**' over folders ("**" and a slash also over none), [a-z],
 * [!a-z]. */
bool hub_glob(const char *pattern, const char *path);
char *hub_next_link(const struct buf *headers);

#endif
