/* Reading: a file is decoded into parts that end at a newline, which are queued at the file until
 * their turn comes.
 *
 *   part:   [record\n record\n record\n | rec…]  the cut-off record begins the next part
 *
 * A part is read by whoever needs it: a thread that asks for a batch and finds none waiting. So no
 * more threads are at work than asked for, and with one of them a part is taken apart while its
 * bytes are still in the cache. Others read ahead meanwhile: of the next files, or, if nobody does,
 * of the same. What has to be waited for is read by threads of its own: pipes, tables and archives
 * over HTTP, and the first part of any file over HTTP, since opening it takes a few answers. What
 * follows the kernel receives ahead, as it reads files ahead, so that anybody may decode it.
 *
 * A pipe may fall silent: the whole records that have come are handed on before waiting for more.
 *
 * Bound: nothing is read ahead while the queues hold `budget` bytes, except that the files being
 * taken from may always have half of it: whoever is waited for never waits. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include "stream/docs_parts.h"
#include "stream/feed.h"
#include "stream/remote.h"
#include "stream/rows.h"
#include "tokenizer/tokenizer.h"

/* Small parts are not free either: many small files must not be all in memory. */
uint64_t part_cost(const struct docs *d, const struct part *p) {
    if (p->record) return d->budget; /* nothing is read ahead of it: it may fill the disk */
    uint64_t least = d->opts.batch_bytes / 16 + 1;
    return p->data.n > least ? p->data.n : least;
}

static bool has_room(const struct docs *d, const struct lane *lane, uint32_t at) {
    uint64_t cost = d->opts.batch_bytes, queued = d->files[d->sequence[at]].queued;
    if (d->queued + cost <= d->budget) return true;
    return lane->head == at && (queued == 0 || queued + cost <= d->budget / 2 / d->n_lanes);
}

/* One file that is being read. Between two parts nobody has it: all there is to know is here. */
struct reading {
    struct docs *d;
    uint32_t file, at; /* its place in the sequence */
    bool busy;         /* somebody reads it; under the docs' lock, all else is theirs */
    bool ended;        /* the codec has no more */
    bool in_memory;    /* there is no scratch file for long records */
    bool flows;        /* comes over HTTP and is open: no longer the readers' */
    bool is_text, is_table;
    bool continues;  /* what comes is the rest of a text … */
    bool follows;    /* … and begins anywhere in it */
    uint64_t column; /* … and begins behind so many bytes of its line */
    struct codec *codec;
    struct part *p;            /* being filled */
    struct buf carry;          /* what it begins with: the cut-off record */
    uint64_t line;             /* number of its first record */
    uint64_t lines;            /* newlines in it; counted while its bytes are in the cache */
    int live;                  /* a pipe's descriptor, else -1 */
    size_t scanned;            /* so many of the part's bytes hold no newline */
    uint64_t read;             /* plain bytes of the file so far, those in `p` included */
    struct seek *seek, *fresh; /* for what begins at p, for a later part; or NULL */
};

static void reading_free(struct reading *r) {
    if (!r) return;
    if (r->p) part_free(r->p);
    buf_release(&r->carry);
    seek_drop(r->seek);
    seek_drop(r->fresh);
    codec_close(r->codec);
    free(r);
}

/* ------------------------------------------------------------------ one part */

/* A part that begins with what the last one left over. */
static int begin_part(struct reading *r, struct err *err) {
    struct part *p = part_new(r->d);
    if (!p) return err_nomem(err, sizeof *p);
    p->is_text = r->is_text;
    p->is_table = r->is_table;
    r->p = p;
    r->scanned = 0;
    size_t want = r->d->opts.batch_bytes;
    int rc = buf_reserve(&p->data, r->carry.n > want ? r->carry.n : want, err);
    if (rc == 0) rc = buf_append(&p->data, r->carry.v, r->carry.n, err);
    r->carry.n = 0;
    return rc;
}

/* r->p is the last part of its file. */
static void end_file(struct reading *r) {
    r->p->batch.last_of_file = true;
    r->p->first_line = r->line;
    r->p->at = r->at;
    r->p->begin = r->read - r->p->data.n;
    r->p->before = seek_share(r->seek);
}

/* The same, after a failure: a record that breaks off is none. */
static void end_failed(struct reading *r, const struct err *failed) {
    bool lines = r->p->data.n && !r->p->is_text;
    char *last = lines ? memrchr(r->p->data.v, '\n', r->p->data.n) : NULL;
    r->p->data.n = last ? (size_t)(last - r->p->data.v) + 1 : 0;
    long_drop(r->p->record);
    r->p->record = NULL;
    r->p->failed = *failed;
    end_file(r);
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

/* r->p ends at byte `end` of the file, before line `line`. */
static void end_part(struct reading *r, uint64_t end, uint64_t line) {
    struct part *p = r->p;
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
        if (r->ended) return 0;
        if (b->cap < want) {
            int rc = buf_reserve(b, want - b->n, err);
            if (rc < 0) return rc;
        }
        if (r->live >= 0 && feed_waits(r->live) && has_records(r)) return 1;
        long got = codec_read(r->codec, b->v + b->n, want - b->n, err);
        if (got < 0) return (int)got;
        r->ended = got == 0;
        r->lines += count_lines(b->v + b->n, (size_t)got);
        b->n += (size_t)got;
        r->read += (uint64_t)got;
        int rc = keep_seek(r, err);
        if (rc < 0) return rc;
    }
    return 1;
}

/* Cuts r->p behind its byte `end - 1`; what follows begins the next part. */
static int cut(struct reading *r, size_t end, struct err *err) {
    struct part *p = r->p;
    size_t left = p->data.n - end;
    int rc = buf_append(&r->carry, p->data.v + end, left, err);
    if (rc < 0) return rc;
    p->data.n = end;
    p->first_line = r->line;
    uint64_t rest = count_lines(r->carry.v, left);
    r->line += r->lines - rest;
    r->lines = rest;
    end_part(r, r->read - left, r->line);
    return 0;
}

/* Goes past the record in r->p, whose bytes up to the newline go to the part's record if it has
 * one; if they are too many, or it has none, the part only says that it is too long. */
static int pass_record(struct reading *r, struct err *err) {
    struct part *p = r->p;
    struct buf *b = &p->data;
    uint64_t max = r->d->bounded ? r->d->opts.max_record : UINT64_MAX;
    char *end;
    for (int rc = 1;;) {
        end = memchr(b->v, '\n', b->n);
        size_t n = end ? (size_t)(end - b->v) : b->n;
        if (p->record && p->record->bytes + n > max) {
            long_drop(p->record);
            p->record = NULL;
        }
        if (p->record && (rc = long_add(p->record, b->v, n, err)) < 0) return rc;
        if (end || r->ended) break;
        b->n = r->scanned = 0;
        if ((rc = fill(r, r->d->opts.batch_bytes, err)) < 0) return rc;
    }
    size_t behind = end ? (size_t)(end - b->v) + 1 : b->n, left = b->n - behind;
    if (buf_append(&r->carry, b->v + behind, left, err) < 0) return ERR_NOMEM;
    b->n = 0;
    p->too_long = !p->record;
    p->first_line = r->line++;
    r->lines = count_lines(r->carry.v, left);
    end_part(r, r->read - left, r->line);
    return 0;
}

/* The text in r->p is above the bound: the part only says so. */
static int drop_text(struct reading *r) {
    r->p->data.n = 0;
    r->p->too_long = true;
    end_file(r);
    return 0;
}

/* An order of records needs them in memory, but not where it only leaves some out. */
static bool order_allows(const struct docs *d) {
    return !d->order || (d->opts.stay_far && d->kind == ORDER_SOURCE);
}

static bool may_cut_texts(const struct docs *d) {
    const struct docs_opts *o = &d->opts;
    return o->cut_texts && order_allows(d) && !o->contains.n && o->sample >= 1 && !o->where.n &&
           !o->prompt && d->on_error == ON_ERROR_STOP;
}

/* The same of JSON records, which are known to be good before their first part leaves. Rows of
 * tables have been in memory already. */
static bool may_cut_record(const struct reading *r) {
    const struct docs_opts *o = &r->d->opts;
    return o->cut_records && order_allows(r->d) && !o->contains.n && o->sample >= 1 &&
           !o->where.n && !o->prompt && r->d->on_error != ON_ERROR_FILE && !r->is_table &&
           !r->in_memory;
}

/* Gives r->p a scratch file for the record it begins with; false: there can be none. */
static bool begin_record(struct reading *r) {
    const char *dir = r->d->opts.spill ? r->d->opts.spill : ".";
    struct err err = {0};
    if (long_new(&r->p->record, dir, &err) == 0) return true;
    log_warn(r->d->opts.log, "no scratch file, so long records are held in memory: %s", err.msg);
    r->in_memory = true;
    return false;
}

/* Where to cut v[0..n) between records: behind its last newline. 0: there is none. */
static size_t line_cut(const char *v, size_t n) {
    const char *last = n ? memrchr(v, '\n', n) : NULL;
    return last ? (size_t)(last - v) + 1 : 0;
}

/* Where to cut v[0..n), text of r->p. 0: nowhere. */
static size_t text_cut(struct reading *r, const char *v, size_t n) {
    size_t end = docs_cut_text(v, n);
    r->p->followed = end && r->d->opts.cut_loose;
    if (end || !r->d->opts.cut_anywhere) return end;
    end = decode_whole(v, n);
    r->p->followed = end > 0;
    return end;
}

/* The text goes on in the next part, behind byte `end - 1` of this one. */
static void text_goes_on(struct reading *r, size_t end) {
    const char *v = r->p->data.v, *line = memrchr(v, '\n', end);
    r->column = line ? (size_t)(v + end - line) - 1 : r->column + end;
    r->continues = r->p->goes_on = true;
    r->follows = r->p->followed;
}

enum { LONG_PARTS = 4 }; /* a record of so many batch_bytes or more is a long one */

/* A part is cut at the last place within batch_bytes of its beginning, or twice that, or four times
 * …: where parts begin and end follows from where the first one began, so that going on from any of
 * these places meets the same parts again. */
static int read_cut(struct reading *r, struct err *err) {
    size_t want = r->d->opts.batch_bytes, max = r->d->opts.max_record;
    struct buf *b = &r->p->data;
    for (;;) {
        int rc = fill(r, want, err);
        if (rc < 0) return rc;
        if (rc == 0 && b->n <= want && b->n <= max) return end_file(r), 0;
        size_t n = b->n < want ? b->n : want;
        size_t end = r->is_text ? text_cut(r, b->v, n) : line_cut(b->v, n);
        if (end && r->is_text) text_goes_on(r, end);
        if (end) return cut(r, end, err);
        if (n > max) return r->is_text ? drop_text(r) : pass_record(r, err);
        if (n >= LONG_PARTS * r->d->opts.batch_bytes && !r->is_text && may_cut_record(r) &&
            begin_record(r))
            return pass_record(r, err);
        want = 2 * n > max ? max + 1 : 2 * n; /* one record so far: more of it, up to one byte
                                                 above the bound */
    }
}

/* The text in r->p, and all that follows, goes to its scratch file. */
static int spool_text(struct reading *r, struct err *err) {
    struct part *p = r->p;
    uint64_t max = r->d->bounded ? r->d->opts.max_record : UINT64_MAX;
    int rc = 1;
    p->record->is_text = true;
    while (rc > 0 || p->data.n) {
        if (p->record->bytes + p->data.n > max) {
            long_drop(p->record);
            p->record = NULL;
            return drop_text(r);
        }
        int added = long_add(p->record, p->data.v, p->data.n, err);
        if (added < 0) return added;
        p->data.n = 0;
        if (rc > 0 && (rc = fill(r, r->d->opts.batch_bytes, err)) < 0) return rc;
    }
    end_file(r);
    return 0;
}

/* Is something to be known of a whole text before its first part: what docs_far_text() tells, or
 * that it is not too long? */
static bool whole_first(const struct docs *d) {
    return d->opts.see_whole || d->bounded;
}

/* The whole file is one document. */
static int read_text(struct reading *r, struct err *err) {
    uint64_t max = r->d->opts.max_record;
    size_t want = r->p->data.n > (64 << 10) ? 2 * r->p->data.n : 64 << 10;
    bool may_spool = whole_first(r->d) && may_cut_texts(r->d);
    int rc;
    if (may_spool) want = LONG_PARTS * r->d->opts.batch_bytes;
    while ((rc = fill(r, want, err)) > 0) {
        if (may_spool && !r->in_memory && begin_record(r)) return spool_text(r, err);
        if (r->p->data.n > max) return drop_text(r);
        want = 2 * want > max ? max + 1 : 2 * want;
    }
    if (rc == 0) end_file(r);
    return rc;
}

/* ------------------------------------------------------------------ files */

/* Goes to where a saved stream stopped: by a saved place, and then by reading up to it. */
static int go_to_start(struct reading *r, const struct place *to, struct err *err) {
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

/* Opens the file, and reads its head into the first part. */
static int begin_file(struct reading *r, const struct place *start, struct err *err) {
    struct docs *d = r->d;
    const struct source_file *src = &d->list->v[r->file];
    int rc = begin_part(r, err);
    if (rc < 0) return rc;
    if (r->at == d->lanes[0].start.at && d->first)
        r->codec = d->first, r->live = d->first_live, d->first = NULL;
    else
        rc = docs_open_file(d, r->file, &r->codec, &r->live, err);
    if (rc < 0) return rc;
    r->p->is_table = r->is_table = codec_has_rows(r->codec);
    r->flows = remote_is_http(src->path) && !src->member && !r->is_table;
    if (r->at == start->at && start->byte) return go_to_start(r, start, err);
    size_t head = 4096 < d->opts.batch_bytes ? 4096 : d->opts.batch_bytes;
    rc = fill(r, head, err);
    if (rc < 0) return rc;
    rc = r->is_table ? 0 : docs_refuse(d, src->name, &r->p->data, err);
    if (rc < 0) {
        r->p->data.n = 0; /* no record in it */
        return rc;
    }
    r->p->is_text = r->is_text = !r->is_table && docs_is_text(d, src->name, &r->p->data);
    return 0;
}

/* The next part, whole, into r->p. */
static int next_part(struct reading *r, const struct place *start, struct err *err) {
    int rc = r->codec ? begin_part(r, err) : begin_file(r, start, err);
    if (rc < 0) return rc;
    if (!r->is_text) return read_cut(r, err);
    r->live = -1; /* no records to hand on before the end, however long that takes */
    if (whole_first(r->d) || !may_cut_texts(r->d)) return read_text(r, err);
    r->p->continues = r->continues;
    r->p->follows = r->follows;
    r->p->first_column = r->column;
    return read_cut(r, err);
}

/* ------------------------------------------------------------------ who reads what */

/* Queues r->p, the next part of its file. Lock held. */
static void queue(struct docs *d, struct reading *r) {
    struct docs_file *f = &d->files[r->file];
    struct part *p = r->p;
    uint64_t cost = part_cost(d, p);
    r->p = NULL;
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
    uint64_t plain = p->data.n + (p->record ? p->record->bytes : 0);
    f->totals.plain_bytes += plain;
    d->totals.plain_bytes += plain;
    d->totals.stored_bytes += stored - f->totals.stored_bytes;
    f->totals.stored_bytes = stored;
}

/* Reads a part and queues it. Lock held, but not while reading. */
static void read_part(struct docs *d, struct lane *lane, struct reading *r) {
    struct docs_file *f = &d->files[r->file];
    struct place start = lane->start;
    struct err err = {0};
    pthread_mutex_unlock(&d->lock);
    if (next_part(r, &start, &err) < 0) {
        if (!r->p) r->p = part_new(d);
        if (r->p) end_failed(r, &err);
    }
    pthread_mutex_lock(&d->lock);
    r->busy = false;
    if (r->p)
        queue(d, r);
    else { /* not even that: nothing more can be handed out */
        d->failed = err;
        d->stop_seq = 0;
        f->done = true;
    }
    pthread_cond_broadcast(&d->more);
    if (!f->done) return;
    pthread_cond_broadcast(&d->room); /* for another file to be open */
    f->reading = NULL;
    lane->n_open--;
    pthread_mutex_unlock(&d->lock);
    reading_free(r);
    pthread_mutex_lock(&d->lock);
}

static struct reading *open_next(struct docs *d, struct lane *lane) {
    struct reading *r = calloc(1, sizeof *r);
    if (!r) {
        d->failed.code = err_nomem(&d->failed, sizeof *r);
        d->stop_seq = 0;
        pthread_cond_broadcast(&d->more);
        return NULL;
    }
    *r = (struct reading){.d = d, .at = lane->next_open++, .line = 1, .live = -1};
    r->file = d->sequence[r->at];
    d->files[r->file].reading = r;
    lane->n_open++;
    return r;
}

/* Whose files a thread reads: all of them where there are no readers, else what is theirs. */
enum claims { ALL, READERS, OTHERS };

static bool may_read(const struct reading *r, enum claims mine) {
    return !r->busy && (mine == ALL || r->flows == (mine == OTHERS));
}

/* Takes a file of the lane to read a part of, the first that nobody reads. NULL: all are being
 * read, or there is no room. Lock held. */
static struct reading *claim(struct docs *d, struct lane *lane, enum claims mine) {
    struct reading *r = NULL;
    uint32_t at = lane->head;
    for (; at < lane->next_open && !r; at++) {
        struct docs_file *f = &d->files[d->sequence[at]];
        if (!f->done && may_read(f->reading, mine)) r = f->reading;
        if (r && !has_room(d, lane, at)) return NULL;
    }
    bool may_open = mine != OTHERS && at < lane->end && lane->n_open < d->open_max;
    if (!r && may_open && has_room(d, lane, at)) r = open_next(d, lane);
    if (r) r->busy = true;
    return r;
}

bool docs_read(struct docs *d, struct lane *lane) {
    struct reading *r = d->quit ? NULL : claim(d, lane, d->n_readers ? OTHERS : ALL);
    if (r) read_part(d, lane, r);
    return r != NULL;
}

/* A thread for what has to be waited for. */
static void *reader(void *ctx) {
    struct lane *lane = ctx;
    struct docs *d = lane->docs;
    pthread_mutex_lock(&d->lock);
    while (!d->quit && !(lane->next_open == lane->end && !lane->n_open)) {
        struct reading *r = claim(d, lane, READERS);
        if (r) {
            read_part(d, lane, r);
            pthread_cond_broadcast(&d->room); /* another may wait for this file */
        } else
            pthread_cond_wait(&d->room, &d->lock);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

static bool has_to_wait(const struct source_file *f) {
    if (remote_is_http(f->path) || !strcmp(f->path, "-")) return true;
    enum file_kind kind = file_kind(f->path);
    return kind != FILE_REGULAR && kind != FILE_NONE;
}

bool docs_has_to_wait(const struct source_list *list) {
    size_t i = 0;
    while (i < list->n && !has_to_wait(&list->v[i])) i++;
    return i < list->n;
}

int docs_readers_start(struct docs *d, struct err *err) {
    size_t lanes = d->n_lanes;
    if (!d->has_to_wait) return 0;
    size_t want = lanes > 1 ? lanes : d->open_max;
    if (want > d->list->n) want = d->list->n;
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
    for (size_t i = 0; d->files && i < d->list->n; i++) {
        reading_free(d->files[i].reading);
        d->files[i].reading = NULL;
    }
}
