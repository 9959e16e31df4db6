/* What is written must not be what is read.
 *
 * Each asks, before anything is written, whether `path` would be written over something that the
 * program reads, by whatever name or link; "-" is standard output, or input. ERR_USAGE names it.
 * What does not exist, addresses and devices are never in the way. (Of sources: input.h.) */
#ifndef LORY_TOOLS_OUTPUTS_H
#define LORY_TOOLS_OUTPUTS_H

#include "base/err.h"

/* Over this file; of two folders, whether they are the same. */
int output_check(const char *path, const char *read, struct err *err);
/* Over one of these files of a folder; NULL behind the last name. */
int output_check_names(const char *path, const char *dir, const char *const *names,
                       struct err *err);
/* Asks `check` of each file that is going to be written in a folder. */
int output_each(const char *dir, const char *const *names,
                int (*check)(void *ctx, const char *path, struct err *err), void *ctx,
                struct err *err);

#endif
