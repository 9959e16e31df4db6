/* The common shape of programs that read: work on batches in parallel, write them in order.
 *
 *   thread 0   | work 0      | write 0 1 2 | work 4 …     docs_run_ahead(): who is done with the
 *   thread 1   | work 1 | work 2 | work 3      | …        batch whose turn it is writes what waits
 *
 *   parked     [ 1 | 2 | – ]   done, and waiting for their turn; what they were made into waits
 *                              with them, and is used again once it is written */
#include <pthread.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include "base/pool.h"
#include "stream/docs_parts.h"

/* A batch that is done and not written yet. */
struct parked {
    struct batch *b; /* NULL: none */
    int thread, rc;  /* whose it is; what `work` said */
    struct err failed;
};

/* What a batch is made into, between two batches. */
struct spare {
    struct spare *next, *older; /* in `spares`, in `all` */
    alignas(max_align_t) char made[];
};

struct run {
    struct docs *d;
    docs_fn work, write;
    const struct docs_made *made; /* NULL: threads wait until their batch is written */
    void *ctx;
    pthread_mutex_t lock; /* all that follows */
    pthread_cond_t change;
    uint64_t turn; /* number of the batch whose turn it is */
    struct parked
        *parked; /* of batch `seq` at seq % n_parked, if it is less than that beyond the turn */
    size_t n_parked;
    bool writing; /* a thread writes, and will write what is parked meanwhile */
    struct spare *spares, *all;
    int rc; /* the first failure by order */
    uint64_t failed_seq;
    struct err failed;
};

static bool stopped(struct docs *d) {
    pthread_mutex_lock(&d->lock);
    bool is = d->stopped;
    pthread_mutex_unlock(&d->lock);
    return is;
}

/* Gives the batch something to be made into. */
static int equip(struct run *r, struct batch *b, struct err *err) {
    if (!r->made) return 0;
    pthread_mutex_lock(&r->lock);
    struct spare *s = r->spares;
    if (s)
        r->spares = s->next;
    else if ((s = calloc(1, sizeof *s + r->made->bytes)))
        s->older = r->all, r->all = s;
    pthread_mutex_unlock(&r->lock);
    if (!s) return err_nomem(err, r->made->bytes);
    b->made = s->made;
    return 0;
}

/* Lets go of a batch and takes back what it was made into. Lock not held. */
static void release(struct run *r, struct batch *b) {
    if (r->made && b->made) {
        struct spare *s = (struct spare *)((char *)b->made - offsetof(struct spare, made));
        pthread_mutex_lock(&r->lock);
        s->next = r->spares;
        r->spares = s;
        pthread_mutex_unlock(&r->lock);
    }
    docs_release(r->d, b);
}

static void free_spares(struct run *r) {
    for (struct spare *s = r->all, *older; s; s = older) {
        older = s->older;
        if (r->made->release) r->made->release(s->made);
        free(s);
    }
}

/* Writes what is parked, from the turn on. Lock held, but not while writing. */
static void write_parked(struct run *r) {
    struct parked *p;
    r->writing = true;
    while (r->rc == 0 && (p = &r->parked[r->turn % r->n_parked])->b) {
        pthread_mutex_unlock(&r->lock);
        if (p->rc == 0) p->rc = r->write(r->ctx, p->b, p->thread, &p->failed);
        release(r, p->b);
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
    while (!r->made && r->rc == 0 && r->turn <= seq) pthread_cond_wait(&r->change, &r->lock);
    rc = r->rc;
    pthread_mutex_unlock(&r->lock);
    if (b) release(r, b);
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
    release(r, b);
    return rc;
}

static int worker(void *ctx, size_t i, int thread, struct err *err) {
    struct run *r = ctx;
    struct batch *b;
    int rc;
    (void)i;
    while ((rc = docs_next(r->d, &b, err)) > 0) {
        struct err failed = {0};
        rc = equip(r, b, &failed);
        if (rc == 0 && r->work) rc = r->work(r->ctx, b, thread, &failed);
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
    r->n_parked = (size_t)pool_threads(pool) * (r->made ? 3 : 1);
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
    free_spares(r);
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

int docs_run_ahead(struct docs *d, int threads, docs_fn work, docs_fn write,
                   const struct docs_made *made, void *ctx, struct err *err) {
    return run(&(struct run){.d = d, .work = work, .write = write, .made = made, .ctx = ctx},
               threads, err);
}
