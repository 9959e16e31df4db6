/* skip, take and the shuffle buffer: one thread at a time walks the records in order.
 *
 *   record ─▶ [ slot 0 | slot 1 | …… | slot N-1 ]     full: a record drawn at random leaves, the new one
 *                        └──▶ out                     takes its slot; at the end the rest is shuffled
 *
 * The draw is a function of seed and position alone, so the order does not depend on threads or on the
 * size of batches. Extraction of what leaves the buffer is done outside the lock again. */
#include <stdlib.h>
#include <string.h>
#include "base/rng.h"
#include "stream/docs_parts.h"

struct record {
    uint32_t file;
    bool is_text;
    uint64_t line_no;
    size_t n;
    char v[];
};

struct order {
    pthread_mutex_t lock;
    uint64_t skip, take; /* still to be left out, still to be handed out (UINT64_MAX: all) */
    uint64_t seq;
    struct part *in; /* extracted; being walked    */
    size_t in_at;
    bool in_ended; /* no further part            */
    int rc;        /* the failure, for every later call */
    struct err failed;
    uint64_t buffer; /* N; 0: no shuffling         */
    struct rng rng;
    struct record **slots;
    size_t n, cap;
    bool emptying; /* the slots are in their last order and leave from the end */
};

enum { RNG_SHUFFLE = 0x73687566 }; /* "shuf" */

int order_new(struct docs *d, struct err *err) {
    struct order *o = calloc(1, sizeof *o);
    if (!o) return err_nomem(err, sizeof *o);
    pthread_mutex_init(&o->lock, NULL);
    o->skip = d->opts.skip;
    o->take = d->opts.take ? d->opts.take : UINT64_MAX;
    o->buffer = d->opts.shuffle_buffer;
    o->rng = (struct rng){.key = d->opts.seed, .stream = RNG_SHUFFLE};
    d->order = o;
    return 0;
}

void order_free(struct order *o) {
    if (!o) return;
    for (size_t i = 0; i < o->n; i++) free(o->slots[i]);
    free(o->slots);
    part_free(o->in);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

/* The next part, extracted and settled, into o->in. 1, 0 at the end, or a negative code. */
static int next_part(struct docs *d, struct order *o, struct err *err) {
    if (o->in) docs_recycle(d, o->in);
    o->in = NULL;
    struct part *p;
    pthread_mutex_lock(&d->lock);
    int rc = docs_take(d, &p, err);
    pthread_mutex_unlock(&d->lock);
    if (rc <= 0) return rc;
    docs_extract(d, p);
    pthread_mutex_lock(&d->lock);
    docs_settle(d, p); /* nobody else extracts: it is never behind a failure */
    pthread_mutex_unlock(&d->lock);
    o->in = p;
    o->in_at = 0;
    return 1;
}

/* ------------------------------------------------------------------ skip and take alone */

/* Cuts the documents of o->in that are not wanted. */
static void trim(struct order *o) {
    struct batch *b = &o->in->batch;
    size_t front = o->skip < b->n ? (size_t)o->skip : b->n;
    size_t left = b->n - front, n = o->take < left ? (size_t)o->take : left;
    memmove(b->v, b->v + front, n * sizeof *b->v);
    b->n = n;
    o->skip -= front;
    if (o->take != UINT64_MAX) o->take -= n;
    b->text_bytes = 0;
    for (size_t i = 0; i < n; i++) b->text_bytes += b->v[i].n;
}

static int next_trimmed(struct docs *d, struct order *o, struct part **ret, struct err *err) {
    for (;;) {
        if (!o->take) return 0;
        int rc = next_part(d, o, err);
        if (rc <= 0) return rc;
        trim(o);
        if (!o->in->batch.n && !o->in->batch.last_of_file) continue;
        *ret = o->in;
        o->in = NULL;
        return 1;
    }
}

/* ------------------------------------------------------------------ shuffling */

static int copy_record(struct record **ret, const struct part *p, const struct doc *doc,
                       struct err *err) {
    size_t n = doc->line ? doc->line_n : doc->n;
    struct record *r = malloc(sizeof *r + n);
    if (!r) return err_nomem(err, n);
    *r = (struct record){p->batch.file, !doc->line, doc->line_no, n};
    if (n) memcpy(r->v, doc->line ? doc->line : doc->text, n);
    *ret = r;
    return 1;
}

/* The next record of the input. 1, 0, or a negative code. */
static int next_record(struct docs *d, struct order *o, struct record **ret, struct err *err) {
    while (!o->in_ended) {
        if (o->in && o->in_at < o->in->batch.n)
            return copy_record(ret, o->in, &o->in->batch.v[o->in_at++], err);
        int rc = next_part(d, o, err);
        if (rc < 0) return rc;
        o->in_ended = rc == 0;
    }
    return 0;
}

static int add_slot(struct order *o, struct record *r, struct err *err) {
    if (o->n == o->cap) {
        size_t cap = o->cap ? 2 * o->cap : 1024;
        struct record **v = mem_resize(o->slots, cap, sizeof *v);
        if (!v) {
            free(r);
            return err_nomem(err, cap * sizeof *v);
        }
        o->slots = v;
        o->cap = cap;
    }
    o->slots[o->n++] = r;
    return 0;
}

static void last_order(struct order *o) {
    for (size_t i = o->n; i > 1; i--) {
        size_t j = (size_t)rng_below(&o->rng, i);
        struct record *r = o->slots[i - 1];
        o->slots[i - 1] = o->slots[j];
        o->slots[j] = r;
    }
    o->emptying = true;
}

/* The next record in shuffled order; the caller frees it. */
static int draw(struct docs *d, struct order *o, struct record **ret, struct err *err) {
    struct record *r = NULL;
    int rc = 1;
    while (!o->emptying && (rc = next_record(d, o, &r, err)) > 0) {
        if (o->n == o->buffer) {
            size_t i = (size_t)rng_below(&o->rng, o->n);
            *ret = o->slots[i];
            o->slots[i] = r;
            return 1;
        }
        if ((rc = add_slot(o, r, err)) < 0) return rc;
    }
    if (rc < 0) return rc;
    if (!o->emptying) last_order(o);
    if (!o->n) return 0;
    *ret = o->slots[--o->n];
    return 1;
}

/* Appends a record to a part being put together. */
static int put(struct part *p, const struct record *r, struct err *err) {
    if (p->n_origins == p->origins_cap) {
        size_t cap = p->origins_cap ? 2 * p->origins_cap : 64;
        struct origin *v = mem_resize(p->origins, cap, sizeof *v);
        if (!v) return err_nomem(err, cap * sizeof *v);
        p->origins = v;
        p->origins_cap = cap;
    }
    p->origins[p->n_origins++] = (struct origin){r->file, r->is_text, r->line_no, p->data.n, r->n};
    return buf_append(&p->data, r->v, r->n, err);
}

static int next_shuffled(struct docs *d, struct order *o, struct part **ret, struct err *err) {
    struct part *p = part_new(d);
    struct record *r = NULL;
    int rc = p ? 1 : err_nomem(err, sizeof *p);
    while (rc > 0 && o->take && p->data.n < d->opts.batch_bytes && (rc = draw(d, o, &r, err)) > 0) {
        if (o->skip)
            o->skip--;
        else {
            rc = put(p, r, err) < 0 ? ERR_NOMEM : 1;
            if (o->take != UINT64_MAX) o->take--;
        }
        free(r);
    }
    if (p && p->n_origins && (rc >= 0 || rc == ERR_DATA)) {
        if (rc < 0) o->rc = rc, o->failed = *err; /* after what came before it */
        p->batch.file = p->origins[0].file;
        *ret = p;
        return 1;
    }
    if (p) docs_recycle(d, p);
    return rc < 0 ? rc : 0;
}

int order_next(struct docs *d, struct batch **ret, struct err *err) {
    struct order *o = d->order;
    struct part *p = NULL;
    struct err own = {0};
    pthread_mutex_lock(&o->lock);
    int rc = o->rc;
    if (rc == 0) {
        rc = o->buffer ? next_shuffled(d, o, &p, &own) : next_trimmed(d, o, &p, &own);
        if (rc < 0) o->rc = rc, o->failed = own;
    }
    if (rc < 0 && err) *err = o->failed;
    if (rc > 0) p->batch.seq = o->seq++;
    pthread_mutex_unlock(&o->lock);
    if (rc <= 0) return rc;
    if (o->buffer) {
        p->field = docs_field(d);
        docs_extract(d, p); /* again, and known to be good: only memory can fail */
    }
    if (o->buffer && p->failed.code) {
        if (err) *err = p->failed;
        rc = p->failed.code;
        docs_recycle(d, p);
        return rc;
    }
    pthread_mutex_lock(&d->lock);
    docs_count(d, p);
    pthread_mutex_unlock(&d->lock);
    *ret = &p->batch;
    return 1;
}
