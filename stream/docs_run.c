/* The common shape of the programs that read: work on batches in parallel, write them in order. */
#include <pthread.h>
#include "base/pool.h"
#include "stream/docs_parts.h"

struct run {
    struct docs *d;
    docs_fn work, write;
    void *ctx;
    pthread_mutex_t lock;
    pthread_cond_t change;
    uint64_t turn; /* number of the batch whose turn it is */
    int rc;        /* the first failure by order           */
    struct err failed;
};

static bool stopped(struct docs *d) {
    pthread_mutex_lock(&d->lock);
    bool is = d->stopped;
    pthread_mutex_unlock(&d->lock);
    return is;
}

/* Waits for the batch's turn and writes it, unless the run has failed. */
static int in_turn(struct run *r, struct batch *b, int thread, int rc, struct err *err) {
    pthread_mutex_lock(&r->lock);
    while (r->turn != b->seq && r->rc == 0) pthread_cond_wait(&r->change, &r->lock);
    bool drop = r->rc < 0;
    pthread_mutex_unlock(&r->lock);
    if (drop)
        rc = 0;
    else if (rc == 0 && r->write)
        rc = r->write(r->ctx, b, thread, err);
    pthread_mutex_lock(&r->lock);
    if (!drop && rc < 0) {
        r->rc = rc;
        if (err) r->failed = *err;
    }
    r->turn++;
    rc = r->rc;
    pthread_cond_broadcast(&r->change);
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int worker(void *ctx, size_t i, int thread, struct err *err) {
    struct run *r = ctx;
    struct batch *b;
    int rc;
    (void)i;
    while ((rc = docs_next(r->d, &b, err)) > 0) {
        rc = r->work ? r->work(r->ctx, b, thread, err) : 0;
        rc = in_turn(r, b, thread, rc, err);
        docs_release(r->d, b);
        if (rc < 0) break;
    }
    return rc;
}

int docs_run(struct docs *d, int threads, docs_fn work, docs_fn write, void *ctx, struct err *err) {
    struct run r = {.d = d, .work = work, .write = write, .ctx = ctx};
    struct pool *pool;
    int rc = pool_new(&pool, threads, err);
    if (rc < 0) return rc;
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.change, NULL);
    rc = pool_run(pool, (size_t)pool_threads(pool), worker, &r, err);
    pool_free(pool);
    pthread_mutex_destroy(&r.lock);
    pthread_cond_destroy(&r.change);
    if (r.rc < 0) {
        if (err) *err = r.failed;
        return r.rc;
    }
    return rc < 0 ? rc : stopped(d) ? err_set(err, ERR_STOPPED, "interrupted") : 0;
}
