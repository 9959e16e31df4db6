/* A run of lmtrain to the Hub, for lmhub push: a branch of its own, a commit for each checkpoint,
 * at last the model, with a card.
 *
 *   run/checkpoint-500 ─▶ "step 500" ┐
 *   run/checkpoint-900 ─▶ "step 900" ├ branch brave-otter-41     main, after lmhub merge
 *   run/ (finished)    ─▶ "final model" ┘
 *
 * Which commits there are is read off the branch, so a push that was stopped, or one from another
 * machine, goes on without a record of ours; two at a time put nothing there twice.
 * run/.push.json keeps the branch's name. */
#ifndef LORY_TOOLS_PUSH_RUN_H
#define LORY_TOOLS_PUSH_RUN_H

#include <stdbool.h>
#include "base/err.h"
#include "base/log.h"
#include "stream/hub_push.h"

struct push_run {
    const char *dir;  /* the run                                          */
    const char *name; /* of the branch; NULL: the one it has, or made up  */
    bool secret;      /* a repository that is made now is private         */
    int threads;
};

bool push_is_run(const char *dir);
/* Where a folder's push remembers digests; malloc'd, NULL if the folder cannot be written. */
char *push_journal(const char *dir);
/* Makes the repository and the branch if they are missing. ERR_NET. */
int push_prepare(const struct hub *h, const struct hub_ref *ref, bool secret, const struct log *log,
                 struct err *err);
/* Pushes what the branch does not have yet; ref->revision becomes the branch. A checkpoint that
 * vanishes meanwhile (lmtrain --keep) is left out with a warning. */
int push_run(const struct hub *h, struct hub_ref *ref, const struct push_run *r,
             struct hub_pushed *ret, const struct log *log, struct err *err);

/* The model card of a checkpoint (card.c): README.md with what the run's files say. `revision` is
 * the branch it is on; step 0: the final model. */
#define CARD_MARK "<!-- made by lmhub from the run; a README.md without this line is left alone -->"
int card_write(struct buf *out, const char *run, const char *model_dir, const char *repo,
               const char *revision, uint64_t step, struct err *err);

#endif
