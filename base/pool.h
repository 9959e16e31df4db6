/* A small pool of threads. One job at a time: `n` items, each item done once, by any thread.
 *
 * The caller's own thread works too, so a pool of 1 starts none. Results must not depend on which
 * thread does an item: write into a slot per item, then combine in order. */
#ifndef LORY_BASE_POOL_H
#define LORY_BASE_POOL_H

#include <stddef.h>
#include "base/err.h"

struct pool;

/* Threads this process may use: the affinity mask's size, or the cgroup's quota if lower. */
int pool_cpus(void);
/* `threads` 0: pool_cpus(). ERR_OTHER if threads cannot be started, ERR_NOMEM. */
int pool_new(struct pool **ret, int threads, struct err *err);
int pool_threads(const struct pool *p);

/* Does item(ctx, i, thread) for i in [0, n), thread in [0, pool_threads). Items begin in order.
 * The first failure stops the handing out of items; its code is returned and its *err filled.
 * Not to be called from inside an item. */
typedef int (*pool_item)(void *ctx, size_t i, int thread, struct err *err);
int pool_run(struct pool *p, size_t n, pool_item item, void *ctx, struct err *err);
/* Waits for nothing, ends the threads, frees. NULL is fine. */
void pool_free(struct pool *p);

#endif
