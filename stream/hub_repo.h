/* Repositories of the Hub as a whole: making them, their branches and commits, and who asks.
 *
 * All functions ask the Hub (ERR_NET, with a message of its own for what is missing, private, gated
 * or not permitted) and may be called from any thread. */
#ifndef LORY_STREAM_HUB_REPO_H
#define LORY_STREAM_HUB_REPO_H

#include <stdbool.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "stream/hub.h"

enum { HUB_COMMIT_BYTES = 64 };

enum hub_there { HUB_THERE, HUB_NO_REPOSITORY, HUB_NO_REVISION };

/* The commit that ref->revision stands at. What is missing is no failure but *there, if `there` is
 * not NULL. */
int hub_head(const struct hub *h, const struct hub_ref *ref, char ret_commit[HUB_COMMIT_BYTES],
             enum hub_there *there, struct err *err);

/* Makes the repository; "NS/NAME" under an organisation or the user, "NAME" under the user. One
 * that exists already is fine if `exist_ok` (*ret_made, may be NULL, is false then). */
int hub_create(const struct hub *h, const struct hub_ref *ref, bool secret, bool exist_ok,
               bool *ret_made, char **ret_url, struct err *err);

/* Makes a branch from a revision (NULL: main), or removes one. A branch that exists already is fine
 * if `exist_ok`. */
int hub_branch_create(const struct hub *h, const struct hub_ref *ref, const char *branch,
                      const char *from, bool exist_ok, struct err *err);
int hub_branch_delete(const struct hub *h, const struct hub_ref *ref, const char *branch,
                      struct err *err);

/* Pairs in order: name, commit. */
int hub_branches(const struct hub *h, const struct hub_ref *ref, struct strs *ret, struct err *err);
/* The titles of the revision's commits, newest first. */
int hub_titles(const struct hub *h, const struct hub_ref *ref, struct strs *ret, struct err *err);

/* Who the token belongs to, as the Hub tells (/api/whoami-v2): a tree with name, orgs …; the caller
 * deletes it. ERR_NET without a token. */
int hub_whoami(const struct hub *h, cJSON **ret, struct err *err);

/* Writes `token` where huggingface_hub looks for it: the token file (0600 in a folder 0700) and,
 * under `name`, stored_tokens. ERR_IO. */
int hub_login(const struct hub *h, const char *name, const char *token, struct err *err);
/* Removes the active token and all stored ones; `name` not NULL: that one, and the active one if it
 * is the same. *ret_removed counts. ERR_USAGE if there is none of that name. */
int hub_logout(const struct hub *h, const char *name, int *ret_removed, struct err *err);

#endif
