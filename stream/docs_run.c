/* The common shape of the programs that read: work on batches in parallel, write them in order. */
#include <pthread.h>
#include <stdlib.h>
#include "base/pool.h"
#include "stream/docs_parts.h"

/* A batch that is done and not written yet. */
struct parked {
    struct batch *b; /* NULL: none */
    int thread, rc;  /* whose it is; what `work` said */
    struct err failed;
};

struct run {
    struct docs *d;
    docs_fn work, write;
    void *ctx;
    bool ahead; /* threads go on before their batch is written */
    pthread_mutex_t lock;
    pthread_cond_t change;
    uint64_t turn; /* number of the batch whose turn it is */
    struct parked
        *parked; /* of batch `seq` at seq % n_parked, if it is less than that beyond the turn */
    size_t n_parked;
    bool writing; /* a thread writes, and will write what is parked meanwhile */
    int rc;       /* the first failure by order */
    uint64_t failed_seq;
    struct err failed;
};

static bool stopped(struct docs *d) {
    pthread_mutex_lock(&d->lock);
    bool is = d->stopped;
    pthread_mutex_unlock(&d->lock);
    return is;
}

/* Writes what is parked, from the turn on. Lock held, but not while writing. */
static void write_parked(struct run *r) {
    struct parked *p;
    r->writing = true;
    while (r->rc == 0 && (p = &r->parked[r->turn % r->n_parked])->b) {
        pthread_mutex_unlock(&r->lock);
        if (p->rc == 0) p->rc = r->write(r->ctx, p->b, p->thread, &p->failed);
        docs_release(r->d, p->b);
        pthread_mutex_lock(&r->lock);
        p->b = NULL;
        if (p->rc < 0) {
            r->rc = p->rc;
            r->failed = p->failed;
        }
        r->turn++;
        pthread_cond_broadcast(&r->change);
    }
    r->writing = false;
}

/* Writes the batch if it is its turn, or leaves it to the thread whose turn it is. Takes over b. */
static int in_turn(struct run *r, struct batch *b, int thread, int rc, const struct err *failed) {
    uint64_t seq = b->seq;
    pthread_mutex_lock(&r->lock);
    while (r->rc == 0 && seq - r->turn >= r->n_parked) pthread_cond_wait(&r->change, &r->lock);
    if (r->rc == 0) {
        r->parked[seq % r->n_parked] = (struct parked){b, thread, rc, *failed};
        b = NULL;
        if (!r->writing) write_parked(r);
    }
    while (!r->ahead && r->rc == 0 && r->turn <= seq) pthread_cond_wait(&r->change, &r->lock);
    rc = r->rc;
    pthread_mutex_unlock(&r->lock);
    if (b) docs_release(r->d, b);
    return rc;
}

/* Nothing has to wait: of failures the lowest batch's is kept. */
static int without_turns(struct run *r, struct batch *b, int thread, int rc, struct err *err) {
    pthread_mutex_lock(&r->lock);
    if (rc == 0 && r->write && r->rc == 0) rc = r->write(r->ctx, b, thread, err);
    if (rc < 0 && (r->rc == 0 || b->seq < r->failed_seq)) {
        r->rc = rc;
        r->failed_seq = b->seq;
        r->failed = *err;
    }
    rc = r->rc;
    pthread_mutex_unlock(&r->lock);
    docs_release(r->d, b);
    return rc;
}

static int worker(void *ctx, size_t i, int thread, struct err *err) {
    struct run *r = ctx;
    struct batch *b;
    int rc;
    (void)i;
    while ((rc = docs_next(r->d, &b, err)) > 0) {
        struct err failed = {0};
        rc = r->work ? r->work(r->ctx, b, thread, &failed) : 0;
        rc = r->write && !r->d->any_order ? in_turn(r, b, thread, rc, &failed)
                                          : without_turns(r, b, thread, rc, &failed);
        if (rc < 0) break;
    }
    return rc;
}

static int run(struct run *r, int threads, struct err *err) {
    struct pool *pool;
    int rc = pool_new(&pool, threads, err);
    if (rc < 0) return rc;
    r->n_parked = (size_t)pool_threads(pool) * (r->ahead ? 3 : 1);
    r->parked = mem_array(r->n_parked, sizeof *r->parked);
    if (!r->parked) {
        pool_free(pool);
        return err_nomem(err, r->n_parked * sizeof *r->parked);
    }
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->change, NULL);
    rc = pool_run(pool, (size_t)pool_threads(pool), worker, r, err);
    pool_free(pool);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->change);
    for (size_t i = 0; i < r->n_parked; i++)
        if (r->parked[i].b) docs_release(r->d, r->parked[i].b);
    free(r->parked);
    if (r->rc < 0) {
        if (err) *err = r->failed;
        return r->rc;
    }
    return rc < 0 ? rc : stopped(r->d) ? err_set(err, ERR_STOPPED, "interrupted") : 0;
}

int docs_run(struct docs *d, int threads, docs_fn work, docs_fn write, void *ctx, struct err *err) {
    return run(&(struct run){.d = d, .work = work, .write = write, .ctx = ctx}, threads, err);
}

int docs_run_ahead(struct docs *d, int threads, docs_fn work, docs_fn write, void *ctx,
                   struct err *err) {
    return run(&(struct run){.d = d, .work = work, .write = write, .ctx = ctx, .ahead = true},
               threads, err);
}
