/* Where sources and codecs meet the network: the one file of the two that calls http.h and
 * hub.h. */
#ifndef LORY_STREAM_REMOTE_H
#define LORY_STREAM_REMOTE_H

#include <stdbool.h>
#include "base/err.h"
#include "base/log.h"
#include "stream/blob.h"
#include "stream/codec.h"
#include "stream/source.h"

bool remote_is_http(const char *source); /* http:// or https:// */
bool remote_is_hub(const char *source);  /* hf://               */

/* Appends the files of a Hub repository. A whole dataset leaves out what is no data: hidden files,
 * README.md and the like; a path or glob is taken at its word. */
int remote_list(struct source_list *to, const char *source, const struct hub *hub,
                const struct log *log, struct err *err);

/* The files of a split and configuration of a whole dataset: see source.h. */
int remote_split(struct source_list *to, const char *source, const char *config, const char *split,
                 const struct hub *hub, const struct log *log, struct err *err);

/* An address to be read from anywhere. */
int remote_blob(const struct source_file *file, const struct hub *hub, struct blob *ret,
                struct err *err);

/* The stored bytes of an address. `head` as in struct http_want: a seek will follow. */
int remote_feed(const struct source_file *file, const struct hub *hub, uint64_t head,
                struct feed *ret, struct err *err);
/* Fills in size and mark of an address: see source_pin(). */
int remote_pin(struct source_file *file, const struct hub *hub, struct err *err);

#endif
