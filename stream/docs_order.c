/* skip, take and the shuffle buffer: one thread at a time walks the records in order.
 *
 *   record ─▶ [ slot 0 | slot 1 | …… | slot N-1 ]     full: a record drawn at random leaves, the
 *                        └──▶ out                     new one takes its slot; at the end the rest
 *                                                     is shuffled. hf5: see permute()
 *
 * Our own order is full by bytes, too, and then gives more than it takes.
 *
 * The draw is a function of seed, epoch and position alone, so the order does not depend on threads
 * or on the size of batches. Extraction of what leaves the buffer is done outside the
 * lock again. */
#include <stdlib.h>
#include <string.h>
#include "base/rng.h"
#include "stream/buckets.h"
#include "stream/docs_parts.h"

struct record {
    uint32_t file;
    bool is_text;
    uint64_t line_no;
    size_t n;
    char v[];
};

/* Where we are in a lane. */
struct walk {
    struct part *in; /* extracted; being walked */
    size_t at;
    struct err failed; /* of `in`, in force behind its last record; code 0: none */
    bool ended;
};

struct order {
    pthread_mutex_t lock;
    uint64_t skip, take; /* still to be left out, still to be handed out (UINT64_MAX: all) */
    uint64_t seq;
    int rc; /* the failure, for every later call */
    struct err failed;
    struct walk walks[LANES_MAX];
    size_t turn;     /* the lane that gives the next records */
    uint64_t buffer; /* N; 0: no shuffling                   */
    struct rng rng;
    struct numpy_rng hf; /* instead, for hf4 and hf5                            */
    uint64_t drawn;      /* hf4: numbers drawn from `hf`, a thousand at a time  */
    struct record **slots;
    size_t at, n, cap;     /* slots[at..n) are filled                          */
    size_t leaving;        /* slots[at..leaving) are in the order they leave in */
    bool emptying;         /* no further records, and the rest is all leaving   */
    struct record *held;   /* own order: taken, and waiting for bytes to leave */
    uint64_t bytes;        /* of all slots' records                            */
    uint64_t since;        /* bytes handed out since the last state            */
    struct buckets *spill; /* of --perfect: where the records wait             */
    size_t bucket;         /* its next one                                     */
    uint64_t given; /* records that left, and how many of them were gone before a stop: the */
    uint64_t gone;  /* whole shuffle is made once more, to the same order */
};

enum { RNG_SHUFFLE = 0x73687566 }; /* "shuf" */

int order_new(struct docs *d, struct err *err) {
    struct order *o = calloc(1, sizeof *o);
    if (!o) return err_nomem(err, sizeof *o);
    pthread_mutex_init(&o->lock, NULL);
    o->skip = d->opts.skip;
    o->take = d->opts.take ? d->opts.take : UINT64_MAX;
    o->buffer = d->opts.shuffle_buffer;
    o->rng = (struct rng){.key = d->opts.seed, .stream = d->opts.epoch << 32 | RNG_SHUFFLE};
    order_buffer_rng(&o->hf, d->opts.seed, d->opts.epoch);
    d->order = o;
    if (!d->opts.perfect) return 0;
    return buckets_new(&o->spill, d->opts.spill ? d->opts.spill : ".", err);
}

void order_free(struct order *o) {
    if (!o) return;
    for (size_t i = o->at; i < o->n; i++) free(o->slots[i]);
    free(o->slots);
    free(o->held);
    buckets_free(o->spill);
    for (size_t i = 0; i < LANES_MAX; i++) part_free(o->walks[i].in);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

/* The next part of the lane, extracted and settled, into w->in. 1, 0 at the end, or a negative
 * code. A failure is kept back until the walk is behind what comes before it: other lanes may be
 * further. */
static int next_part(struct docs *d, struct order *o, size_t lane, struct err *err) {
    struct walk *w = &o->walks[lane];
    struct part *p;
    if (w->in) docs_recycle(d, w->in);
    w->in = NULL;
    if (w->failed.code) {
        pthread_mutex_lock(&d->lock);
        d->totals.bad_records += w->failed.code == ERR_DATA;
        pthread_mutex_unlock(&d->lock);
        *err = w->failed;
        return w->failed.code;
    }
    pthread_mutex_lock(&d->lock);
    int rc = docs_take(d, &d->lanes[lane], &p, err);
    pthread_mutex_unlock(&d->lock);
    if (rc <= 0) return rc;
    docs_extract(d, p);
    w->failed = p->failed;
    p->failed.code = 0;
    pthread_mutex_lock(&d->lock);
    docs_settle(d, p); /* nobody else extracts: it is never behind a failure */
    pthread_mutex_unlock(&d->lock);
    w->in = p;
    w->at = 0;
    return 1;
}

/* ------------------------------------------------------------------ skip and take alone */

/* Cuts the documents of a part that are not wanted. */
static void trim(struct order *o, struct batch *b) {
    size_t front = o->skip < b->n ? (size_t)o->skip : b->n;
    size_t left = b->n - front, n = o->take < left ? (size_t)o->take : left;
    if (n) memmove(b->v, b->v + front, n * sizeof *b->v);
    b->n = n;
    o->skip -= front;
    if (o->take != UINT64_MAX) o->take -= n;
    b->text_bytes = 0;
    for (size_t i = 0; i < n; i++) b->text_bytes += b->v[i].n;
}

static int next_trimmed(struct docs *d, struct order *o, struct part **ret, struct err *err) {
    struct walk *w = &o->walks[0];
    for (;;) {
        if (!o->take) return 0;
        int rc = next_part(d, o, 0, err);
        if (rc <= 0) return rc;
        trim(o, &w->in->batch);
        w->in->skip = o->skip;
        w->in->take = o->take;
        if (!w->in->batch.n && !w->in->batch.last_of_file) continue;
        *ret = w->in;
        w->in = NULL;
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

/* The next record of a lane. 1, 0, or a negative code. */
static int next_record(struct docs *d, struct order *o, size_t lane, struct record **ret,
                       struct err *err) {
    struct walk *w = &o->walks[lane];
    while (!w->ended) {
        if (w->in && w->at < w->in->batch.n)
            return copy_record(ret, w->in, &w->in->batch.v[w->at++], err);
        int rc = next_part(d, o, lane, err);
        if (rc < 0) return rc;
        w->ended = rc == 0;
    }
    return 0;
}

static int add_slot(struct order *o, struct record *r, struct err *err) {
    struct record **v = mem_grown(o->slots, o->n, &o->cap, 1, sizeof *v, err);
    if (!v) {
        free(r);
        return ERR_NOMEM;
    }
    o->slots = v;
    o->bytes += r->n;
    o->slots[o->n++] = r;
    return 0;
}

/* Which slot leaves for a new record. */
static size_t draw_slot(struct docs *d, struct order *o) {
    if (d->kind == ORDER_OWN) return (size_t)rng_below(&o->rng, o->n);
    o->drawn++;
    return numpy_below(&o->hf, o->n);
}

/* The last order of all slots. */
static void last_order(struct docs *d, struct order *o) {
    if (d->kind == ORDER_OWN)
        for (size_t i = o->n; i > 1; i--) {
            size_t j = (size_t)rng_below(&o->rng, i);
            struct record *r = o->slots[i - 1];
            o->slots[i - 1] = o->slots[j];
            o->slots[j] = r;
        }
    else { /* numbers are drawn by the thousand: those not used are gone, too */
        while (o->drawn % 1000) draw_slot(d, o);
        numpy_shuffle_ptrs(&o->hf, (void **)o->slots, o->n);
    }
    o->leaving = o->n;
    o->emptying = true;
}

/* One record of each lane in turn; a lane that has ended is passed over. As next_record(). */
static int next_in_turn(struct docs *d, struct order *o, struct record **ret, struct err *err) {
    if (o->held) {
        *ret = o->held;
        o->held = NULL;
        return 1;
    }
    for (size_t i = 0; i < d->n_lanes; i++) {
        int rc = next_record(d, o, o->turn++ % d->n_lanes, ret, err);
        if (rc) return rc;
    }
    return 0;
}

/* Takes records in. 1 and the one that leaves for the last of them, 0 at the end of the input, when
 * all are leaving, or a negative code. */
static int replace(struct docs *d, struct order *o, struct record **ret, struct err *err) {
    uint64_t room = d->kind == ORDER_OWN ? d->opts.shuffle_bytes : UINT64_MAX;
    struct record *r = NULL;
    int rc;
    while ((rc = next_in_turn(d, o, &r, err)) > 0) {
        bool fits = o->bytes < room && r->n <= room - o->bytes;
        if (o->n < o->buffer && (fits || !o->n)) {
            if ((rc = add_slot(o, r, err)) < 0) return rc;
            continue;
        }
        size_t i = draw_slot(d, o);
        *ret = o->slots[i];
        o->bytes -= (*ret)->n;
        if (o->n > 1 && (o->bytes >= room || r->n > room - o->bytes)) {
            o->held = r;
            o->slots[i] = o->slots[--o->n];
        } else {
            o->slots[i] = r;
            o->bytes += r->n;
        }
        return 1;
    }
    if (rc == 0) last_order(d, o);
    return rc;
}

/* Of hf5: the lanes fill the buffer in turn, and then
 *
 *   [ at least N slots ] ─permuted─▶ [ these leave | N / 2 stay ] ◀─ filled up again
 *
 * At the end of the input all leave. The lanes' turns are not cut short when the buffer is full. */
static int permute(struct docs *d, struct order *o, struct err *err) {
    o->n -= o->at;
    if (o->n) memmove(o->slots, o->slots + o->at, o->n * sizeof *o->slots);
    o->at = o->leaving = 0;
    uint64_t each = order_turn(d->kind, o->buffer);
    for (size_t idle = 0; o->n < o->buffer && idle < d->n_lanes; o->turn++) {
        struct record *r = NULL;
        uint64_t i = 0;
        int rc = 1;
        for (; i < each && (rc = next_record(d, o, o->turn % d->n_lanes, &r, err)) > 0; i++)
            if ((rc = add_slot(o, r, err)) < 0) break;
        if (rc < 0) return rc;
        idle = i ? 0 : idle + 1;
    }
    numpy_shuffle_ptrs(&o->hf, (void **)o->slots, o->n);
    o->leaving = o->n < o->buffer ? o->n : o->n - (size_t)(o->buffer / 2);
    o->emptying = o->n < o->buffer;
    return 0;
}

/* ------------------------------------------------------------------ the perfect shuffle */

/* In two passes: each record to a bucket drawn at random, then one bucket after the other, whole
 * and shuffled. Buckets drawn independently, and a uniform order within each, are a uniform order
 * of all. */
static int spill_all(struct docs *d, struct order *o, struct err *err) {
    struct record *r = NULL;
    int rc;
    while ((rc = next_in_turn(d, o, &r, err)) > 0) {
        size_t bucket = (size_t)rng_below(&o->rng, buckets_n());
        rc = buckets_add(o->spill, bucket, r, sizeof *r, r->v, r->n, err);
        free(r);
        if (rc < 0) break;
    }
    return rc;
}

/* The next bucket's records to the slots, in their last order. */
static int load_bucket(struct docs *d, struct order *o, struct err *err) {
    struct buf b = {0};
    struct record head, *r;
    int rc = buckets_take(o->spill, o->bucket++, &b, err);
    o->at = o->n = 0;
    for (size_t i = 0; rc == 0 && i < b.n; i += sizeof head + head.n) {
        memcpy(&head, b.v + i, sizeof head);
        r = malloc(sizeof head + head.n);
        rc = r ? 0 : err_nomem(err, head.n);
        if (rc == 0) memcpy(r, b.v + i, sizeof head + head.n);
        if (rc == 0) rc = add_slot(o, r, err);
    }
    buf_release(&b);
    if (rc == 0) last_order(d, o);
    o->emptying = o->bucket == buckets_n();
    return rc;
}

static int load(struct docs *d, struct order *o, struct err *err) {
    int rc = o->bucket ? 0 : spill_all(d, o, err);
    if (rc == 0) rc = load_bucket(d, o, err);
    return rc;
}

/* The next record in shuffled order; the caller frees it. 1, 0 at the end, or a negative code. */
static int draw(struct docs *d, struct order *o, struct record **ret, struct err *err) {
    while (o->at == o->leaving && !o->emptying) {
        int rc = o->spill               ? load(d, o, err)
                 : d->kind == ORDER_HF5 ? permute(d, o, err)
                                        : replace(d, o, ret, err);
        if (rc) return rc;
    }
    if (o->at == o->leaving) return 0;
    *ret = o->slots[o->at++];
    o->bytes -= (*ret)->n;
    return 1;
}

/* Appends a record to a part being put together. */
static int put(struct part *p, const struct record *r, struct err *err) {
    struct origin *v = mem_grown(p->origins, p->n_origins, &p->origins_cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    p->origins = v;
    v[p->n_origins++] = (struct origin){r->file, r->is_text, r->line_no, p->data.n, r->n};
    return buf_append(&p->data, r->v, r->n, err);
}

/* ------------------------------------------------------------------ states */

/* Where a lane's next record lies. Borrows the seek point. */
static struct place lane_place(const struct docs *d, const struct order *o, size_t lane) {
    const struct walk *w = &o->walks[lane];
    if (w->ended) return (struct place){.at = d->lanes[lane].end, .line = 1};
    if (!w->in) return d->lanes[lane].start;
    if (w->at == w->in->batch.n) return part_end(w->in);
    const struct doc *doc = &w->in->batch.v[w->at];
    if (!doc->line) return (struct place){.at = w->in->at, .line = 1};
    uint64_t byte = w->in->begin + (uint64_t)(doc->line - w->in->data.v);
    return (struct place){w->in->at, byte, doc->line_no, w->in->before};
}

static int put_record(struct buf *to, const struct record *r, struct err *err) {
    int rc = put_u64(to, (uint64_t)r->file << 1 | r->is_text, err);
    if (rc == 0) rc = put_u64(to, r->line_no, err);
    return rc < 0 ? rc : put_bytes(to, r->v, r->n, err);
}

/* A lane that failed has no place behind its last records. */
static bool has_places(const struct docs *d, const struct order *o) {
    for (size_t g = 0; g < d->n_lanes; g++)
        if (o->walks[g].failed.code) return false;
    return true;
}

static int order_save(struct docs *d, struct order *o, struct buf *to, struct err *err) {
    size_t left = o->spill ? 0 : o->n - o->at;
    pthread_mutex_lock(&d->lock);
    uint64_t bad = d->totals.bad_records;
    pthread_mutex_unlock(&d->lock);
    int rc = docs_put_head(d, bad, docs_field(d), to, err);
    for (size_t g = 0; rc == 0 && g < d->n_lanes; g++) {
        struct place p = o->spill ? d->lanes[g].start : lane_place(d, o, g);
        rc = put_place(to, &p, err);
    }
    const uint64_t numbers[] = {o->skip,
                                o->take,
                                o->given,
                                o->turn,
                                o->rng.at,
                                o->drawn,
                                o->hf.has_half,
                                o->hf.half,
                                (uint64_t)(o->hf.state >> 64),
                                (uint64_t)o->hf.state,
                                o->leaving - (o->leaving < o->at ? o->leaving : o->at),
                                o->emptying,
                                o->held != NULL,
                                left};
    for (size_t i = 0; rc == 0 && i < sizeof numbers / sizeof *numbers; i++)
        rc = put_u64(to, numbers[i], err);
    if (rc == 0 && o->held) rc = put_record(to, o->held, err);
    for (size_t i = o->at; rc == 0 && i < o->n; i++) rc = put_record(to, o->slots[i], err);
    return rc;
}

static int take_record(const struct docs *d, struct cursor *from, struct record **ret,
                       struct err *err) {
    uint64_t head = cursor_u64(from), line_no = cursor_u64(from);
    size_t n;
    const uint8_t *v = cursor_bytes(from, &n);
    if (from->bad || head >> 1 >= d->list->n) return err_set(err, ERR_CORRUPT, "damaged state");
    struct record *r = malloc(sizeof *r + n);
    if (!r) return err_nomem(err, n);
    *r = (struct record){(uint32_t)(head >> 1), head & 1, line_no, n};
    memcpy(r->v, v, n);
    *ret = r;
    return 0;
}

int order_restore(struct docs *d, struct cursor *from, struct err *err) {
    struct order *o = d->order;
    struct record *r;
    o->skip = cursor_u64(from);
    o->take = cursor_u64(from);
    if (!o->buffer) return 0;
    o->gone = cursor_u64(from);
    if (o->spill) {
        cursor_take(from, from->left);
        return 0;
    }
    o->given = o->gone;
    o->turn = (size_t)cursor_u64(from);
    o->rng.at = cursor_u64(from);
    o->drawn = cursor_u64(from);
    o->hf.has_half = cursor_u64(from);
    o->hf.half = (uint32_t)cursor_u64(from);
    uint64_t high = cursor_u64(from);
    o->hf.state = (unsigned __int128)high << 64 | cursor_u64(from);
    o->leaving = (size_t)cursor_u64(from);
    o->emptying = cursor_u64(from);
    bool held = cursor_u64(from);
    uint64_t left = cursor_u64(from);
    int rc = held ? take_record(d, from, &o->held, err) : 0;
    for (uint64_t i = 0; rc == 0 && i < left; i++) {
        rc = take_record(d, from, &r, err);
        if (rc == 0) rc = add_slot(o, r, err);
    }
    if (rc == 0 && o->leaving > o->n) rc = err_set(err, ERR_CORRUPT, "damaged state");
    return rc;
}

/* ------------------------------------------------------------------ batches of shuffled records */

static int next_shuffled(struct docs *d, struct order *o, struct part **ret, struct err *err) {
    struct part *p = part_new(d);
    struct record *r = NULL;
    int rc = p ? 1 : err_nomem(err, sizeof *p);
    while (rc > 0 && o->take && p->data.n < d->opts.batch_bytes && (rc = draw(d, o, &r, err)) > 0) {
        if (o->given++ < o->gone) {
            free(r);
            continue;
        }
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
        o->since += p->data.n;
        uint64_t every = d->opts.state_every;
        bool due = o->since >= every && (o->spill || o->since >= 4 * o->bytes);
        if (rc < 0 || !every || !due || !has_places(d, o)) return 1;
        o->since = 0;
        return order_save(d, o, &p->saved, err) < 0 ? ERR_NOMEM : 1;
    }
    if (p) docs_recycle(d, p);
    return rc < 0 ? rc : 0;
}

/* While another thread walks, this one reads ahead for it. */
static void lock_order(struct docs *d, struct order *o) {
    bool read = true;
    while (read && pthread_mutex_trylock(&o->lock)) {
        read = false;
        pthread_mutex_lock(&d->lock);
        for (size_t i = 0; i < d->n_lanes && !read && !d->stopped; i++)
            read = docs_read(d, &d->lanes[i]);
        pthread_mutex_unlock(&d->lock);
        if (!read) pthread_mutex_lock(&o->lock);
    }
}

int order_next(struct docs *d, struct batch **ret, struct err *err) {
    struct order *o = d->order;
    struct part *p = NULL;
    struct err own = {0};
    lock_order(d, o);
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
