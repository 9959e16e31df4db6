/* Inside of hub: what its files and their tests share.
 *
 *   hub.c       environment, names, addresses      hub_api.c    questions with JSON, failures
 *   hub_list.c  what is there                      hub_cache.c  huggingface_hub's folder
 *   hub_get.c   fetching                           hub_repo.c   repositories, branches, commits
 *   hub_push.c  what to send, commits              hub_lfs.c    the large files of a commit
 *   hub_login.c who am I, token files              hub_merge.c  a branch into another, unsent */
#ifndef LORY_STREAM_HUB_PARTS_H
#define LORY_STREAM_HUB_PARTS_H

#include <stdbool.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "stream/http.h"
#include "stream/hub.h"

/* Appends `s` with %XX for what may not stand in an address; '/' stays with keep_slash. */
int hub_escape(struct buf *out, const char *s, bool keep_slash, struct err *err);
/* '*' and '?' within a folder, '**' over folders ("**" and a slash also over none), [a-z],
 * [!a-z]. */
bool hub_glob(const char *pattern, const char *path);
/* Whether a reference's path ("" all, a file, a folder, a glob) names this file. */
bool hub_wanted(const char *pattern, const char *path);
char *hub_next_link(const struct buf *headers);
bool hub_is_hex(const char *s, size_t n); /* n digits 0-9a-f, and no more */

/* Where the active token's file is; malloc'd, NULL if there is no home. */
char *hub_token_path(const struct hub *h);

/* ------------------------------------------------------------------ hub_api.c */

/* Appends endpoint/api/datasets/NS/NAME/WHAT[/REVISION]; revision NULL: none. */
int hub_api_url(struct buf *out, const struct hub *h, const struct hub_ref *ref, const char *what,
                const char *revision, struct err *err);
/* Rewrites the transport's message into the Hub's terms; other failures stay as they are. */
int hub_explain(const struct hub *h, const struct hub_ref *ref, const struct http_reply *r, int rc,
                struct err *err);
/* Says so if the answer came from another name of the repository. */
void hub_note_renamed(const struct hub *h, const struct hub_ref *ref, const struct http_reply *r);
/* Asks an API address; `body` (NULL: none) is sent as JSON. *ret (ret NULL: not wanted) is the
 * answer's tree, or NULL if it has no body. The reply stays with the caller, also on failure. */
struct hub_question {
    const char *method, *url, *type; /* type: of the body, NULL: application/json */
    const struct buf *body;
    bool once;
    const struct hub_ref *ref; /* what messages speak of; NULL: the endpoint alone */
};
int hub_question(const struct hub *h, const struct hub_question *q, cJSON **ret,
                 struct http_reply *reply, struct err *err);
/* The same with a cJSON tree for a body, which is deleted. */
int hub_post(const struct hub *h, const struct hub_ref *ref, const char *method, const char *url,
             cJSON *body, cJSON **ret, struct http_reply *reply, struct err *err);
/* What a reply's X-Error-Code is. */
bool hub_reply_is(const struct http_reply *r, const char *code);
/* An address of the real Hub in an answer of a mirror, led back to the mirror; malloc'd. */
char *hub_own_url(const struct hub *h, const char *url);
int hub_base64(struct buf *out, const void *bytes, size_t n, struct err *err);

/* ------------------------------------------------------------------ hub_fetch.c */

/* sha256 of a large file, git's name of a small one; NULL if the listing tells neither. */
const char *hub_etag(const struct hub_entry *e);
struct hub_fetch {
    const struct hub *h;
    const struct hub_ref *ref;
    const char *commit;
    const struct hub_entry *e;
    const char *partial, *to; /* where it grows, where it ends: on one file system */
    void (*moved)(void *ctx, uint64_t bytes);
    void *ctx;
};
/* Fetches a file, going on with what an earlier try left in `partial`. ERR_CORRUPT names both
 * digests; then nothing is left. After other failures the partial file stays. */
int hub_fetch(const struct hub_fetch *f, struct err *err);
/* Waits for the lock file; a descriptor to close, -1 where there are no locks, ERR_STOPPED. */
int hub_lock(const char *path, const struct log *log, struct err *err);
/* Waits until no other process holds the open file; closing it lets go. On a file system without
 * locks there is nothing to wait for. ERR_STOPPED. */
int hub_lock_fd(int fd, const char *path, const struct log *log, struct err *err);

/* ------------------------------------------------------------------ hub_cache.c */

/* hub_list without asking anybody. */
int hub_cache_list(struct hub_list *ret, const struct hub *h, const struct hub_ref *ref,
                   struct err *err);
/* ERR_NET: offline, and the file is not there. */
int hub_not_cached(const struct hub_ref *ref, const char *path, struct err *err);
/* Notes that ref->path does not exist at the commit, if the cache knows that commit. */
void hub_cache_no_exist(const struct hub *h, const struct hub_ref *ref, const char *commit);

#endif
