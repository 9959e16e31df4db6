/* Reader threads. Each takes the next file of the list, decodes it into parts that end at a
 * newline, and queues them at the file; so the next files are open and partly decoded while one is
 * being used.
 *
 *   part:   [record\n record\n record\n | rec…]  the cut-off record begins the next part
 *
 * A pipe may fall silent: the whole records that have come are handed on before waiting for more.
 *
 * Bound: a reader waits while the queues hold `budget` bytes, except that the files being taken
 * from may always have half of it: whoever is waited for never waits. */
#include <string.h>
#include <sys/eventfd.h>
#include "stream/docs_parts.h"
#include "stream/feed.h"
#include "stream/rows.h"

/* Small parts are not free either: many small files must not be all in memory. */
uint64_t part_cost(const struct docs *d, const struct part *p) {
    uint64_t least = d->opts.batch_bytes / 16 + 1;
    return p->data.n > least ? p->data.n : least;
}

static bool has_room(const struct docs *d, const struct lane *lane, uint32_t i, uint64_t cost) {
    uint64_t queued = d->files[i].queued;
    if (d->queued + cost <= d->budget) return true;
    bool taken_from = lane->head < lane->end && d->sequence[lane->head] == i;
    return taken_from && (queued == 0 || queued + cost <= d->budget / 2 / d->n_lanes);
}

/* One file on its way through a reader. */
struct reading {
    struct docs *d;
    struct lane *lane;
    uint32_t file;
    struct codec *codec;
    struct part *p;            /* being filled */
    uint64_t line;             /* number of its first record */
    uint64_t lines;            /* newlines in it; counted while its bytes are in the cache */
    int live;                  /* a pipe's descriptor, else -1 */
    size_t scanned;            /* so many of the part's bytes hold no newline */
    uint32_t at;               /* the file's place in the sequence */
    uint64_t read;             /* plain bytes of the file so far, those in `p` included */
    struct seek *seek, *fresh; /* for what begins at p, for a later part; or NULL */
};

/* Queues p, waiting for room. False: the readers are to end (p is gone). */
static bool push(struct reading *r, struct part *p) {
    struct docs *d = r->d;
    struct docs_file *f = &d->files[r->file];
    uint64_t cost = part_cost(d, p);
    pthread_mutex_lock(&d->lock);
    while (!d->quit && !has_room(d, r->lane, r->file, cost)) pthread_cond_wait(&d->room, &d->lock);
    bool quit = d->quit;
    if (!quit) {
        p->batch.file = r->file;
        p->next = NULL;
        if (f->tail)
            f->tail->next = p;
        else
            f->head = p;
        f->tail = p;
        f->queued += cost;
        d->queued += cost;
        f->done = p->batch.last_of_file;
        uint64_t stored = r->codec ? codec_stored(r->codec) : f->totals.stored_bytes;
        f->totals.plain_bytes += p->data.n;
        d->totals.plain_bytes += p->data.n;
        d->totals.stored_bytes += stored - f->totals.stored_bytes;
        f->totals.stored_bytes = stored;
        pthread_cond_broadcast(&d->more);
    }
    pthread_mutex_unlock(&d->lock);
    if (quit) docs_recycle(d, p);
    return !quit;
}

/* Ends the file with what r->p holds. */
static bool push_last(struct reading *r) {
    r->p->batch.last_of_file = true;
    r->p->first_line = r->line;
    r->p->at = r->at;
    r->p->begin = r->read - r->p->data.n;
    r->p->before = seek_share(r->seek);
    bool on = push(r, r->p);
    r->p = NULL;
    return on;
}

static void push_failure(struct reading *r, const struct err *failed) {
    if (!r->p) r->p = part_new(r->d);
    if (!r->p) { /* not even that: nothing more can be handed out */
        pthread_mutex_lock(&r->d->lock);
        r->d->failed = *failed;
        r->d->stop_seq = 0;
        pthread_cond_broadcast(&r->d->more);
        pthread_mutex_unlock(&r->d->lock);
        return;
    }
    bool lines = r->p->data.n && !r->p->is_text;
    char *last = lines ? memrchr(r->p->data.v, '\n', r->p->data.n) : NULL;
    r->p->data.n =
        last ? (size_t)(last - r->p->data.v) + 1 : 0; /* a record that breaks off is none */
    r->p->failed = *failed;
    push_last(r);
}

static bool has_records(struct reading *r) {
    const struct buf *b = &r->p->data;
    if (b->n > r->scanned && memrchr(b->v + r->scanned, '\n', b->n - r->scanned)) return true;
    r->scanned = b->n;
    return false;
}

/* A place in the file to go on from, every so often, if anybody is going to save it. One that lies
 * behind the part in the making waits in `fresh` until parts begin behind it. */
static int keep_seek(struct reading *r, struct err *err) {
    const uint64_t often = 8 << 20, every = r->d->opts.state_every;
    if (!every || r->fresh) return 0;
    if (r->read < (r->seek ? r->seek->plain : 0) + (every < often ? every : often)) return 0;
    return seek_save(&r->fresh, r->codec, err);
}

/* The part ends at byte `end` of the file, before line `line`. */
static void end_part(struct reading *r, struct part *p, uint64_t end, uint64_t line) {
    p->before = seek_share(r->seek);
    p->begin = end - p->data.n;
    if (r->fresh && r->fresh->plain <= end) {
        seek_drop(r->seek);
        r->seek = r->fresh;
        r->fresh = NULL;
    }
    p->at = r->at;
    p->end = end;
    p->end_line = line;
    p->behind = seek_share(r->seek);
}

static uint64_t count_lines(const char *v, size_t n) {
    uint64_t lines = 0;
    for (const char *end = v + n; v < end && (v = memchr(v, '\n', (size_t)(end - v))); v++) lines++;
    return lines;
}

/* Reads until the part holds exactly `want` bytes, or holds records and the pipe is silent. 1; 0 at
 * the end of the file. */
static int fill(struct reading *r, size_t want, struct err *err) {
    struct buf *b = &r->p->data;
    while (b->n < want) {
        if (b->cap < want) {
            int rc = buf_reserve(b, want - b->n, err);
            if (rc < 0) return rc;
        }
        if (r->live >= 0 && feed_waits(r->live) && has_records(r)) return 1;
        long got = codec_read(r->codec, b->v + b->n, want - b->n, err);
        if (got <= 0) return (int)got;
        r->lines += count_lines(b->v + b->n, (size_t)got);
        b->n += (size_t)got;
        r->read += (uint64_t)got;
        int rc = keep_seek(r, err);
        if (rc < 0) return rc;
    }
    return 1;
}

/* Cuts r->p behind its byte `end - 1` and queues it; what follows begins the next part. */
static int cut(struct reading *r, size_t end, struct err *err) {
    struct part *p = r->p, *next = part_new(r->d);
    if (!next) return err_nomem(err, sizeof *next);
    next->is_text = p->is_text;
    next->is_table = p->is_table;
    size_t left = p->data.n - end, want = r->d->opts.batch_bytes;
    int rc = buf_reserve(&next->data, left > want ? left : want, err);
    if (rc < 0) {
        part_free(next);
        return rc;
    }
    memcpy(next->data.v, p->data.v + end, left);
    next->data.n = left;
    p->data.n = end;
    p->first_line = r->line;
    uint64_t rest = count_lines(next->data.v, left);
    r->line += r->lines - rest;
    r->lines = rest;
    end_part(r, p, r->read - left, r->line);
    r->p = next;
    r->scanned = 0;
    return push(r, p) ? 1 : 0;
}

/* The record in r->p is above the bound: queues a part that says so, and drops its bytes up to the
 * newline. As fill(). */
static int drop_record(struct reading *r, struct err *err) {
    struct buf *b = &r->p->data;
    int rc = 1;
    char *end;
    while (!(end = memchr(b->v, '\n', b->n)) && rc > 0) {
        b->n = r->scanned = 0;
        rc = fill(r, r->d->opts.batch_bytes, err);
    }
    if (rc < 0) return rc;
    size_t behind = end ? (size_t)(end - b->v) + 1 : b->n, left = b->n - behind;
    struct part *p = r->p, *next = part_new(r->d);
    if (!next) return err_nomem(err, sizeof *next);
    if (buf_append(&next->data, b->v + behind, left, err) < 0) {
        part_free(next);
        return ERR_NOMEM;
    }
    p->data.n = 0;
    p->too_long = true;
    p->first_line = r->line++;
    r->lines = count_lines(next->data.v, left);
    end_part(r, p, r->read - left, r->line);
    r->p = next;
    r->scanned = 0;
    if (!push(r, p)) return 0;
    return end ? 1 : 2; /* 2: the file ended too; its last part is still to be queued */
}

/* A part is cut at the last newline within batch_bytes of its beginning, or twice that, or four
 * times …: where parts begin and end follows from where the first one began, so that going on from
 * any of these places meets the same parts again. */
static int read_jsonl(struct reading *r, struct err *err) {
    size_t batch = r->d->opts.batch_bytes, want = batch, max = r->d->opts.max_record;
    for (;;) {
        int rc = fill(r, want, err);
        if (rc < 0) return rc;
        struct buf *b = &r->p->data;
        if (rc == 0 && b->n <= want && b->n <= max) return push_last(r), 0;
        size_t n = b->n < want ? b->n : want;
        char *last = memrchr(b->v, '\n', n);
        if (last) {
            rc = cut(r, (size_t)(last - b->v) + 1, err);
            want = batch;
        } else if (n > max) {
            rc = drop_record(r, err);
            if (rc == 2) return push_last(r), 0;
            want = batch;
        } else { /* one record so far: more of it, up to one byte above the bound */
            want = 2 * n > max ? max + 1 : 2 * n;
            continue;
        }
        if (rc <= 0) return rc;
    }
}

/* The whole file is one document. */
static int read_text(struct reading *r, struct err *err) {
    uint64_t max = r->d->opts.max_record;
    r->live = -1; /* one record to the end, however long that takes */
    size_t want = r->p->data.n > (64 << 10) ? 2 * r->p->data.n : 64 << 10;
    int rc;
    while ((rc = fill(r, want, err)) > 0) {
        if (r->p->data.n > max) {
            r->p->data.n = 0;
            r->p->too_long = true;
            break;
        }
        want = 2 * want > max ? max + 1 : 2 * want;
    }
    if (rc >= 0) push_last(r);
    return rc;
}

/* ------------------------------------------------------------------ files */

/* Goes to where a saved stream stopped: by a saved place, and then by reading up to it. */
static int go_to_start(struct reading *r, struct err *err) {
    const struct place *to = &r->lane->start;
    struct buf *b = &r->p->data;
    if (to->seek) {
        int rc = codec_resume(r->codec, to->seek->v, to->seek->n, err);
        if (rc < 0) return rc;
        if (rc == 0)
            log_warn(r->d->opts.log, "%s: the place was saved by another library; reading up to it",
                     r->d->list->v[r->file].name);
    }
    r->read = codec_tell(r->codec);
    r->line = to->line;
    r->seek = seek_share(to->seek);
    while (r->read < to->byte) {
        uint64_t more = to->byte - r->read, batch = r->d->opts.batch_bytes;
        b->n = 0;
        int rc = fill(r, more < batch ? more : batch, err);
        if (rc < 0) return rc;
        if (!b->n)
            return err_set(err, ERR_DATA, "%s: has become shorter", r->d->list->v[r->file].name);
    }
    b->n = r->scanned = 0;
    r->lines = 0;
    return 0;
}

static int read_file(struct reading *r, struct err *err) {
    struct docs *d = r->d;
    const struct source_file *src = &d->list->v[r->file];
    int rc = 0;
    r->p = part_new(d);
    if (!r->p) return err_nomem(err, sizeof *r->p);
    if (r->at == d->lanes[0].start.at && d->first)
        r->codec = d->first, r->live = d->first_live, d->first = NULL;
    else
        rc = docs_open_file(d, r->file, &r->codec, &r->live, err);
    if (rc < 0) return rc;
    r->p->is_table = codec_has_rows(r->codec);
    if (r->at == r->lane->start.at && r->lane->start.byte) {
        rc = go_to_start(r, err);
        return rc < 0 ? rc : read_jsonl(r, err);
    }
    size_t head = 4096 < d->opts.batch_bytes ? 4096 : d->opts.batch_bytes;
    rc = fill(r, head, err);
    if (rc < 0) return rc;
    r->p->is_text = !r->p->is_table && docs_is_text(d, src->name, &r->p->data);
    return r->p->is_text ? read_text(r, err) : read_jsonl(r, err);
}

static void *reader(void *ctx) {
    struct lane *lane = ctx;
    struct docs *d = lane->docs;
    for (;;) {
        pthread_mutex_lock(&d->lock);
        bool quit = d->quit || lane->next_open == lane->end;
        uint32_t at = quit ? 0 : lane->next_open++;
        pthread_mutex_unlock(&d->lock);
        if (quit) return NULL;
        struct reading r = {.d = d, .lane = lane, .file = d->sequence[at], .at = at, .line = 1};
        struct err err = {0};
        if (read_file(&r, &err) < 0) push_failure(&r, &err);
        if (r.p) part_free(r.p);
        seek_drop(r.seek);
        seek_drop(r.fresh);
        codec_close(r.codec);
    }
}

int docs_readers_start(struct docs *d, struct err *err) {
    /* Two: one file being used, the next one opened. More where many workers are to be fed. */
    size_t want = 2 + (size_t)d->opts.threads / 16, lanes = d->n_lanes;
    if (want > READERS_MAX) want = READERS_MAX;
    if (want > d->list->n) want = d->list->n;
    if (lanes > 1) want = lanes;
    for (size_t i = 0; i < want; i++) {
        if (!pthread_create(&d->readers[d->n_readers], NULL, reader, &d->lanes[i % lanes]))
            d->n_readers++;
        else if (i < lanes)
            return err_set(err, ERR_OTHER, "cannot start a thread to read with");
    }
    return 0;
}

void docs_readers_end(struct docs *d) {
    pthread_mutex_lock(&d->lock);
    d->quit = true;
    pthread_cond_broadcast(&d->room);
    pthread_mutex_unlock(&d->lock);
    if (d->wake >= 0) eventfd_write(d->wake, 1);
    for (int i = 0; i < d->n_readers; i++) pthread_join(d->readers[i], NULL);
    d->n_readers = 0;
}
