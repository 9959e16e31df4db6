/* Feeds: where a codec's stored bytes come from (struct feed is in codec.h). */
#ifndef LORY_STREAM_FEED_H
#define LORY_STREAM_FEED_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "stream/codec.h"

/* A local file. The kernel reads ahead by itself, and better than a thread of ours would. */
int feed_file(const char *path, struct feed *ret, struct err *err);
/* Standard input; closing the feed leaves the descriptor open. */
int feed_stdin(struct feed *ret, struct err *err);
/* A local file, or standard input for "-", that does not wait for ever: where reads may wait (a
 * pipe, a terminal), they fail with ERR_STOPPED as soon as `wake`, the caller's, is readable. *live
 * is then the descriptor that is read, else -1. */
int feed_live(const char *path, int wake, struct feed *ret, int *live, struct err *err);
/* Whether a read of that descriptor would wait. */
bool feed_waits(int live);

#endif
