/* One counter hands out the items, a generation number starts the workers: see pool.h.
 *
 *   pool_run: job filled in, generation + 1, broadcast ─▶ every thread takes items until none is
 * left ─▶ the last worker to finish wakes the caller
 *
 * The counter is atomic; everything else is under the lock. */
#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 4096 };

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index; /* from 1; 0 is the caller of pool_run */
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    int n_threads, n_started; /* n_started: workers that exist, n_threads - 1 in the end */
    int n_busy;               /* workers still in the present job */
    unsigned generation;      /* counts jobs; a worker sleeps until it changes */
    bool quit;
    /* the present job */
    atomic_size_t next;
    atomic_bool failed;
    size_t n;
    pool_item item;
    void *ctx;
    /* Items begin in order, so the lowest item that fails is the same for any number of threads. */
    size_t failed_item;
    int rc;
    struct err err;
    struct worker workers[];
};

/* The quota of a cgroup in processors, rounded up; 0: none, or not to be read. */
static int cgroup_cpus(void) {
    long long quota = 0, period = 0;
    FILE *f =
        fopen("/sys/fs/cgroup/cpu.max", "re"); /* version 2: "200000 100000" or "max 100000" */
    if (f) {
        if (fscanf(f, "%lld %lld", &quota, &period) != 2) quota = 0;
        fclose(f);
    } else {
        FILE *q = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re");
        FILE *p = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re");
        if (!q || !p || fscanf(q, "%lld", &quota) != 1 || fscanf(p, "%lld", &period) != 1)
            quota = 0;
        if (q) fclose(q);
        if (p) fclose(p);
    }
    if (quota <= 0 || period <= 0) return 0;
    long long cpus = quota / period + (quota % period != 0);
    return cpus > MAX_THREADS ? MAX_THREADS : (int)cpus;
}

int pool_cpus(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    int quota = cgroup_cpus();
    if (quota > 0 && quota < n) n = quota;
    return n > 0 ? n : 1;
}

/* Takes items until none is left or one has failed. */
static void work(struct pool *p, int thread) {
    while (!atomic_load_explicit(&p->failed, memory_order_relaxed)) {
        size_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i >= p->n) return;
        struct err err = {0};
        int rc = p->item(p->ctx, i, thread, &err);
        if (rc >= 0) continue;
        pthread_mutex_lock(&p->lock);
        if (p->rc == 0 || i < p->failed_item) {
            p->rc = rc;
            p->err = err;
            p->failed_item = i;
        }
        pthread_mutex_unlock(&p->lock);
        atomic_store(&p->failed, true);
    }
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    struct pool *p = w->pool;
    unsigned seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->quit && p->generation == seen) pthread_cond_wait(&p->start, &p->lock);
        if (p->quit) break;
        seen = p->generation;
        pthread_mutex_unlock(&p->lock);
        work(p, w->index);
        pthread_mutex_lock(&p->lock);
        if (--p->n_busy == 0) pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int start_workers(struct pool *p, struct err *err) {
    while (p->n_started < p->n_threads - 1) {
        struct worker *w = &p->workers[p->n_started];
        *w = (struct worker){.pool = p, .index = p->n_started + 1};
        int no = pthread_create(&w->thread, NULL, worker_main, w);
        if (no == ENOMEM) return err_nomem(err, 0);
        if (no)
            return err_set(err, ERR_OTHER, "cannot start thread %d of %d: %s; use fewer threads",
                           w->index + 1, p->n_threads, strerror(no));
        p->n_started++;
    }
    return 0;
}

int pool_new(struct pool **ret, int threads, struct err *err) {
    if (threads <= 0) threads = pool_cpus();
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    size_t bytes = sizeof(struct pool) + (size_t)threads * sizeof(struct worker);
    struct pool *p = calloc(1, bytes);
    if (!p) return err_nomem(err, bytes);
    p->n_threads = threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->done, NULL);
    int rc = start_workers(p, err);
    if (rc < 0)
        pool_free(p);
    else
        *ret = p;
    return rc;
}

int pool_threads(const struct pool *p) {
    return p->n_threads;
}

int pool_run(struct pool *p, size_t n, pool_item item, void *ctx, struct err *err) {
    if (n == 0) return 0;
    bool alone = n == 1 || p->n_started == 0; /* no need to wake anyone */
    pthread_mutex_lock(&p->lock);
    p->n = n;
    p->item = item;
    p->ctx = ctx;
    p->rc = 0;
    atomic_store(&p->next, 0);
    atomic_store(&p->failed, false);
    if (!alone) {
        p->n_busy = p->n_started;
        p->generation++;
        pthread_cond_broadcast(&p->start);
    }
    pthread_mutex_unlock(&p->lock);
    work(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->n_busy > 0) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
    if (p->rc < 0 && err) *err = p->err;
    return p->rc;
}

void pool_free(struct pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_started; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->start);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
