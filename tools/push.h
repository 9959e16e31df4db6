/* lmtrain --push-to: what is saved is pushed while training goes on, and never gets in its way.
 *
 *   thread: run/ ─▶ a new checkpoint? ─▶ child: lmhub push run/ hf://NS/NAME ─▶ told, tried again
 *
 * The thread only looks and waits. The work, and whatever may go wrong with it, is in a process of
 * its own: lower priority, another process group (a Ctrl-C is not meant for it), own memory. */
#ifndef LORY_TOOLS_PUSH_H
#define LORY_TOOLS_PUSH_H

#include <stdbool.h>
#include "base/err.h"
#include "base/log.h"

struct pusher;

struct pusher_opts {
    const char *run;    /* folder; need not exist yet             */
    const char *target; /* hf://NS/NAME[@BRANCH]                  */
    const char *name;   /* of the branch; NULL: lmhub makes one   */
    bool secret;        /* a repository that is made is private   */
    const struct log *log;
};

/* ERR_USAGE: the target is no repository for models, or lmhub does not lie beside this program.
 * Everything in *opts stays the caller's and must outlive the pusher. */
int pusher_new(struct pusher **ret, const struct pusher_opts *opts, struct err *err);
/* Once it is known that the folder's run goes on: what it holds is pushed from here on. */
int pusher_start(struct pusher *p, struct err *err);
/* If it was started: pushes what is left, for at most `seconds` (a signal to stop shortens it), and
 * says what could not be pushed. Frees. NULL is fine. */
void pusher_finish(struct pusher *p, double seconds);

#endif
