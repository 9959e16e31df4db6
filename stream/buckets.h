/* Records that memory does not hold, spread over 128 files without a name, and taken back a bucket
 * at a time, in the order in which they came to it. Memory: 64 KiB a bucket while they come, then
 * one bucket. One thread at a time. */
#ifndef LORY_STREAM_BUCKETS_H
#define LORY_STREAM_BUCKETS_H

#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"

struct buckets;
/* The files are made in `dir`, which is borrowed. */
int buckets_new(struct buckets **ret, const char *dir, struct err *err);
void buckets_free(struct buckets *s); /* NULL is fine */
size_t buckets_n(void);
/* A record: `head`, then v. */
int buckets_add(struct buckets *s, size_t bucket, const void *head, size_t head_n, const void *v,
                size_t n, struct err *err);
/* All that a bucket got, once. */
int buckets_take(struct buckets *s, size_t bucket, struct buf *to, struct err *err);

#endif
