/* Inside of hub_push: what its files share. */
#ifndef LORY_STREAM_HUB_PUSH_PARTS_H
#define LORY_STREAM_HUB_PUSH_PARTS_H

#include "base/json.h"
#include "stream/hub_parts.h"
#include "stream/hub_push.h"

/* ------------------------------------------------------------------ hub_changes.c */

/* Size and time of the file, as it is now. */
int hub_change_look(struct hub_change *c, struct err *err);
/* Appends the first `max` bytes of the contents, or all if max is 0. */
int hub_change_read(const struct hub_change *c, size_t max, struct buf *out, struct err *err);
/* Fills sha256 (lfs) or blob (otherwise). */
int hub_change_digest(struct hub_change *c, struct err *err);

/* ------------------------------------------------------------------ hub_journal.c */

struct hub_journal; /* any number of threads */
/* Waits until no other process has it open, and reads what there is. A file that cannot be written
 * is no failure: nothing is remembered then. `path` NULL: an empty one. ERR_STOPPED. */
int hub_journal_open(struct hub_journal **ret, const char *path, const struct log *log,
                     struct err *err);
void hub_journal_close(struct hub_journal *j); /* NULL is fine */
/* The digest of the change's file, if it was known at the same size and time. */
bool hub_journal_find(struct hub_journal *j, struct hub_change *c);
void hub_journal_add(struct hub_journal *j, const struct hub_change *c);
/* An upload in parts that was begun: the server's action, and the ETags of the parts that stand. */
cJSON *hub_journal_parts(struct hub_journal *j, const char *sha256); /* the caller's, or NULL */
void hub_journal_begun(struct hub_journal *j, const char *sha256, const cJSON *action);
void hub_journal_part(struct hub_journal *j, const char *sha256, size_t part, const char *etag);
void hub_journal_stored(struct hub_journal *j, const char *sha256);

/* ------------------------------------------------------------------ hub_lfs.c */

/* Sends the contents of the large changes that the Hub does not have. */
int hub_lfs_send(const struct hub *h, const struct hub_ref *ref, struct hub_change **v, size_t n,
                 struct hub_journal *j, const struct hub_push_opts *opts, struct hub_pushed *ret,
                 struct err *err);

/* ------------------------------------------------------------------ hub_push.c */

/* The lines of a commit; `body` begins with hub_commit_header(). */
int hub_commit_header(struct buf *body, const struct hub_push_opts *opts, const char *parent,
                      struct err *err);
int hub_commit_large(struct buf *body, const char *path, const char *sha256, uint64_t bytes,
                     struct err *err);
int hub_commit_small(struct buf *body, const char *path, const struct buf *contents,
                     struct err *err);
/* One try. *ret_commit is "" on failure, *status what the server answered (0: nothing). */
int hub_commit_send(const struct hub *h, const struct hub_ref *ref, const struct buf *body,
                    char ret_commit[HUB_COMMIT_BYTES], long *status, struct err *err);

#endif
