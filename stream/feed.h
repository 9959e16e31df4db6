/* Feeds: where a codec's stored bytes come from (struct feed is in codec.h). */
#ifndef LORY_STREAM_FEED_H
#define LORY_STREAM_FEED_H

#include "base/err.h"
#include "stream/codec.h"

/* A local file. The kernel reads ahead by itself, and better than a thread of ours would. */
int feed_file(const char *path, struct feed *ret, struct err *err);
/* Standard input; closing the feed leaves the descriptor open. */
int feed_stdin(struct feed *ret, struct err *err);
/* The same bytes as `from`, read ahead by a thread (1 MiB at most). Closes `from` when it is closed. */
int feed_ahead(struct feed from, struct feed *ret, struct err *err);

#endif
