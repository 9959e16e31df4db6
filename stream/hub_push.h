/* Sending files to a repository of the Hub, and moving a branch's files into another one.
 *
 *   changes ─▶ preupload: which are large, which are there already
 *           ─▶ LFS batch ─▶ PUT of the large ones, whole or in parts, several at a time
 *           ─▶ commits of at most 100 files, each on top of the head that was looked at
 *
 * A commit is not repeated blindly: when its answer is lost, the branch is read and decides whether
 * it arrived. Interrupted work goes on where it stopped: what the Hub has is not sent again, and a
 * journal spares hashing it again. */
#ifndef LORY_STREAM_HUB_PUSH_H
#define LORY_STREAM_HUB_PUSH_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "stream/hub.h"
#include "stream/hub_repo.h"

/* A file of a commit: contents of a local file, or text. */
struct hub_change {
    char *path; /* in the repository             */
    char *file; /* local; NULL: the text         */
    struct buf text;
    /* inside: what hub_push finds out */
    uint64_t bytes;
    int64_t mtime; /* ns                              */
    bool lfs, skip;
    char sha256[SHA256_HEX], blob[GIT_HEX]; /* "": not needed yet */
};
struct hub_changes {
    struct hub_change *v;
    size_t n, cap;
};

/* Adds one file or text. ERR_USAGE if `path` may not stand in a repository (hub_safe_path, no part
 * ".git"); the same path a second time replaces the first. */
int hub_changes_file(struct hub_changes *c, const char *path, const char *file, struct err *err);
int hub_changes_text(struct hub_changes *c, const char *path, const char *text, size_t n,
                     struct err *err);
/* Adds the files of a folder and those below it, under `prefix` ("": the top). Left out are .git,
 * .cache, temporary files and journals; `include` (if it has any) and `exclude` are patterns of
 * fnmatch on the path below the folder, where '*' crosses '/'. Links are followed to files, not to
 * folders. */
int hub_changes_folder(struct hub_changes *c, const char *prefix, const char *dir,
                       const struct strs *include, const struct strs *exclude, struct err *err);
void hub_changes_release(struct hub_changes *c);

struct hub_push_opts {
    const char *summary, *description; /* of the commit; description may be NULL                */
    const char *journal;               /* file that remembers digests between runs; NULL: none  */
    const char *head;                  /* the commit to come on top of and no other; NULL: any  */
    int threads;                       /* transfers at a time (0: 4)                            */
    const struct log *log;
};
struct hub_pushed {
    char commit[HUB_COMMIT_BYTES];       /* where the branch stands now                         */
    uint64_t commits, files;             /* made, and files in them                             */
    uint64_t unchanged, ignored, stored; /* files that were there; that .gitignore names; large
                                            ones whose contents the Hub had                     */
    uint64_t bytes;                      /* sent                                                */
    bool moved;                          /* off opts->head, by somebody else: nothing was made  */
};
/* Commits the changes to the branch ref->revision, which exists (hub_branch_create). ref->path is
 * not looked at. Nothing to do is no commit. ERR_NET, ERR_IO; ERR_STOPPED after a signal. */
int hub_push(const struct hub *h, const struct hub_ref *ref, struct hub_changes *c,
             const struct hub_push_opts *opts, struct hub_pushed *ret, struct err *err);

/* Brings the files of the branch `from` into ref->revision in one commit. Large files are named,
 * not sent; files that only ref->revision has stay. */
int hub_merge(const struct hub *h, const struct hub_ref *ref, const char *from,
              const struct hub_push_opts *opts, struct hub_pushed *ret, struct err *err);

#endif
