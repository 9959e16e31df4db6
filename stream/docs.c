/* Opening, taking parts in order, settling, closing: see docs_parts.h for the whole. */
#include "stream/docs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "stream/docs_parts.h"

const struct docs_opts docs_defaults = {
    .format = "auto",
    .on_error = "stop",
    .order = "source",
    .sample = 1,
    .seed = 1,
    .shuffle_bytes = 256 << 20,
    .batch_bytes = 1 << 20,
    .threads = 1,
};

size_t docs_option_rows(struct opt *rows, size_t max, struct docs_opts *o) {
    const struct opt all[] = {
        {.name = "format",
         .type = OPT_CHOICE,
         .to = &o->format,
         .arg = "KIND",
         .help = "what the files hold",
         .choices = "auto|jsonl|text|csv|tsv|parquet"},
        {.name = "data-config",
         .type = OPT_STR,
         .to = &o->config,
         .arg = "NAME",
         .help = "of a dataset: this configuration"},
        {.name = "split",
         .type = OPT_STR,
         .to = &o->split,
         .arg = "NAME",
         .help = "of a dataset: this split (train, validation, test …)"},
        {.name = "field",
         .type = OPT_STR,
         .to = &o->field,
         .arg = "NAME",
         .help = "field with the text (default: content, text, or the first string)"},
        {.name = "on-error",
         .type = OPT_STR,
         .to = &o->on_error,
         .arg = "stop|skip|FILE",
         .help = "a bad record stops, is left out, or goes to a file"},
        {.name = "shuffle-buffer",
         .type = OPT_U64,
         .to = &o->shuffle_buffer,
         .arg = "N",
         .help = "shuffle through a buffer of N records",
         .max = 1e12},
        {.name = "shuffle-bytes",
         .type = OPT_U64,
         .to = &o->shuffle_bytes,
         .arg = "SIZE",
         .help = "a buffer of fewer records, if they are so large",
         .min = 1,
         .max = 1e18},
        {.name = "perfect",
         .type = OPT_FLAG,
         .to = &o->perfect,
         .help = "shuffle all records, through files on disk"},
        {.name = "spill",
         .type = OPT_STR,
         .to = &o->spill,
         .arg = "DIR",
         .help = "for scratch files: of --perfect, of long records (the working folder)"},
        {.name = "max-line",
         .type = OPT_U64,
         .to = &o->max_record,
         .arg = "SIZE",
         .help = "a longer record, or file of text, is a bad record",
         .min = 1,
         .max = 1e12},
        {.name = "skip",
         .type = OPT_U64,
         .to = &o->skip,
         .arg = "N",
         .help = "leave out the first N records",
         .max = 1e18},
        {.name = "take",
         .type = OPT_U64,
         .to = &o->take,
         .arg = "N",
         .help = "stop after N records (0: all)",
         .max = 1e18},
        {.name = "order",
         .type = OPT_CHOICE,
         .to = &o->order,
         .arg = "ORDER",
         .help = "as the sources are, or as shuffle() of datasets 5 or 4 would have them",
         .choices = "source|hf5|hf4"},
        {.name = "epoch",
         .type = OPT_U64,
         .to = &o->epoch,
         .arg = "N",
         .help = "shuffle anew for epoch N (from 0)",
         .max = 1e9},
        {.name = "where",
         .type = OPT_STRS,
         .to = &o->where,
         .arg = "FIELD=VALUE",
         .help = "only records whose field is VALUE (repeatable: all hold)"},
        {.name = "contains",
         .type = OPT_STRS,
         .to = &o->contains,
         .arg = "TEXT",
         .help = "only documents with this in their text (repeatable: all hold)"},
        {.name = "sample",
         .type = OPT_F64,
         .to = &o->sample,
         .arg = "P",
         .help = "only this share of the documents, by a hash of seed and text",
         .max = 1},
    };
    size_t n = sizeof all / sizeof *all;
    if (n > max) n = max;
    memcpy(rows, all, n * sizeof *all);
    return n;
}

/* ------------------------------------------------------------------ parts */

static void part_clear(struct part *p) {
    struct part kept = {.data = p->data,
                        .text = p->text,
                        .bad = p->bad,
                        .docs_cap = p->docs_cap,
                        .origins = p->origins,
                        .origins_cap = p->origins_cap};
    kept.batch.v = p->batch.v;
    kept.data.n = kept.text.n = kept.bad.n = 0;
    seek_drop(p->before);
    seek_drop(p->behind);
    buf_release(&p->saved);
    strs_release(&p->complaints);
    long_drop(p->record);
    *p = kept;
}

void part_free(struct part *p) {
    if (!p) return;
    buf_release(&p->data);
    buf_release(&p->text);
    buf_release(&p->bad);
    strs_release(&p->complaints);
    seek_drop(p->before);
    seek_drop(p->behind);
    buf_release(&p->saved);
    long_drop(p->record);
    free(p->origins);
    free(p->batch.v);
    free(p);
}

/* One that is free, or a new one. Lock held. */
static struct part *part_again(struct docs *d) {
    struct part *p = d->free;
    if (!p) return calloc(1, sizeof *p);
    d->free = p->next;
    d->n_free--;
    p->next = NULL;
    return p;
}

struct part *part_new(struct docs *d) {
    pthread_mutex_lock(&d->lock);
    struct part *p = part_again(d);
    pthread_mutex_unlock(&d->lock);
    return p;
}

/* Kept for the next one: memory that was touched before is several times cheaper than fresh pages.
 * A part that one long record blew up is given back. */
void docs_recycle(struct docs *d, struct part *p) {
    size_t keep = 4 * d->opts.batch_bytes;
    bool small = p->data.cap <= keep && p->text.cap <= keep, streamed = p->follows || p->followed;
    uint32_t lane = p->batch.lane;
    if (small) part_clear(p);
    pthread_mutex_lock(&d->lock);
    if (streamed) {
        d->lanes[lane].streaming = false;
        pthread_cond_broadcast(&d->more);
    }
    bool kept = small && d->n_free < (size_t)d->opts.threads + READERS_MAX;
    if (kept) {
        p->next = d->free;
        d->free = p;
        d->n_free++;
    }
    pthread_mutex_unlock(&d->lock);
    if (!kept) part_free(p);
}

/* ------------------------------------------------------------------ taking and settling */

static uint64_t lowest_extracting(const struct docs *d) {
    uint64_t low = UINT64_MAX;
    for (const struct part *p = d->extracting; p; p = p->next)
        if (p->seq < low) low = p->seq;
    return low;
}

static bool ended(const struct docs *d) {
    return d->stopped || d->next_seq >= d->stop_seq;
}

/* What docs_next() says once the failure, or a stop, is in force. */
static int end_code(const struct docs *d, struct err *err) {
    if (d->stopped) return err_set(err, ERR_STOPPED, "interrupted");
    if (err) *err = d->failed;
    return d->failed.code;
}

/* The next one that the caller gets. */
static void hand_out(struct docs *d, struct lane *lane, struct part *p) {
    p->field = d->field;
    p->batch.lane = (uint32_t)(lane - d->lanes);
    if (p->follows || p->followed) lane->streaming = true;
    p->seq = p->batch.seq = d->next_seq++;
    p->next = d->extracting;
    d->extracting = p;
    pthread_cond_broadcast(&d->more);
}

/* The first part of a lane leaves its queue. */
static void unqueue(struct docs *d, struct lane *lane) {
    struct docs_file *f = &d->files[d->sequence[lane->head]];
    struct part *p = f->head;
    uint64_t cost = part_cost(d, p);
    f->head = p->next;
    if (!f->head) f->tail = NULL;
    f->queued -= cost;
    d->queued -= cost;
    if (f->done && !f->head) lane->head++;
    pthread_cond_broadcast(&d->room);
    hand_out(d, lane, p);
}

/* Validates a long record; others wait for that, without the lock. */
static void open_record(struct docs *d, struct part *p) {
    struct long_record *l = p->record;
    l->opening = true;
    p->field = d->field;
    pthread_mutex_unlock(&d->lock);
    docs_open_record(d, p);
    pthread_mutex_lock(&d->lock);
    l->opening = false;
    l->open = true;
    pthread_cond_broadcast(&d->more);
}

/* The next slice of the long record that p, the first part of a lane, stands for: a part of its
 * own, or the last time p itself, as it is if the record has no text to give. NULL: wait. */
static struct part *take_slice(struct docs *d, struct lane *lane, struct part *p) {
    struct long_record *l = p->record;
    struct part *s = p;
    size_t n = 0;
    bool again = l->open, followed = false;
    if (l->opening || lane->streaming) return NULL;
    if (!l->open) open_record(d, p);
    if (d->opts.stay_far) {
        p->is_far = l->has_text;
        unqueue(d, lane);
        return p;
    }
    uint64_t at = l->at;
    bool text = l->has_text && long_slice(l, at, d->opts.batch_bytes, d->opts.cut_anywhere, &n,
                                          &followed, &p->failed) == 0;
    l->at += n;
    bool last = !text || l->at == l->end;
    if (!last && !(s = part_again(d))) {
        p->failed.code = err_nomem(&p->failed, sizeof *s);
        text = false;
        last = true;
        s = p;
    }
    if (!last) {
        s->record = long_share(l);
        s->batch.file = p->batch.file;
        s->at = p->at;
        s->begin = p->begin;
        s->first_line = p->first_line;
    }
    s->is_slice = text;
    s->raw_at = at;
    s->raw_n = n;
    s->continues = again;
    s->goes_on = !last;
    s->follows = l->followed;
    s->followed = l->followed = (followed || d->opts.cut_loose) && !last;
    if (last)
        unqueue(d, lane);
    else
        hand_out(d, lane, s);
    return s;
}

/* Whether no other lane is at an earlier file. */
static bool is_first(const struct docs *d, const struct lane *lane) {
    for (size_t i = 0; i < d->n_lanes; i++)
        if (d->lanes[i].head < d->lanes[i].end && d->lanes[i].head < lane->head) return false;
    return true;
}

/* The next part of the lane if it is waiting, else NULL. In any order, too, the field is found in
 * the first file that has one. */
static struct part *take_waiting(struct docs *d, struct lane *lane) {
    struct docs_file *f = &d->files[d->sequence[lane->head]];
    struct part *p = f->head;
    if (!p) return NULL;
    if (d->any_order && !d->field && !p->is_text && !is_first(d, lane)) return NULL;
    if (!d->field) docs_choose_field(d, p);
    if (p->record) return take_slice(d, lane, p);
    if (lane->streaming && (p->follows || p->followed)) return NULL;
    unqueue(d, lane);
    return p;
}

int docs_take(struct docs *d, struct lane *lane, struct part **ret, struct err *err) {
    for (;;) {
        if (ended(d)) return end_code(d, err);
        if (lane->head == lane->end) return 0;
        if ((*ret = take_waiting(d, lane))) return 1;
        if (!docs_read(d, lane) && !ended(d)) pthread_cond_wait(&d->more, &d->lock);
    }
}

/* In any order: whether the lane has a file to take from; it may get the next one. Behind a failure
 * only what comes before it in the list goes on, so that which one is told does not depend on the
 * threads. */
static bool goes_on(struct docs *d, struct lane *lane) {
    if (lane->head < lane->end) return !d->failed.code || lane->head < d->failed_at.at;
    if (d->failed.code || d->next_file == d->list->n) return false;
    lane->head = lane->next_open = d->next_file++;
    lane->end = lane->head + 1;
    return true;
}

/* The lane this thread read last: its state is in this processor's cache. */
static size_t own_lane(const struct docs *d) {
    size_t i = 0;
    while (i < d->n_lanes && !(d->lanes[i].read && pthread_equal(d->lanes[i].by, pthread_self())))
        i++;
    return i;
}

/* In any order: the next part of any lane. As docs_take(). */
static int take_any(struct docs *d, struct part **ret, struct err *err) {
    for (;;) {
        bool over = true, read = false;
        if (ended(d)) return end_code(d, err);
        for (size_t i = 0, first = own_lane(d); i < d->n_lanes && !read; i++) {
            struct lane *lane = &d->lanes[(first + i) % d->n_lanes];
            if (!goes_on(d, lane)) continue;
            over = false;
            if ((*ret = take_waiting(d, lane))) return 1;
            lane->read = true;
            lane->by = pthread_self();
            read = docs_read(d, lane);
            if (read && goes_on(d, lane) && (*ret = take_waiting(d, lane))) return 1;
        }
        if (over && !d->failed.code) return 0;
        if (over && !d->extracting) return end_code(d, err);
        if (!read && !ended(d)) pthread_cond_wait(over ? &d->settled : &d->more, &d->lock);
    }
}

static void remove_extracting(struct docs *d, struct part *p) {
    struct part **at = &d->extracting;
    while (*at != p) at = &(*at)->next;
    *at = p->next;
    p->next = NULL;
    pthread_cond_broadcast(&d->settled);
}

/* Bad records, in their order: written to the file, told, counted. */
static void settle_bad(struct docs *d, struct part *p) {
    enum { TOLD_MAX = 10 };
    if (d->rejects && p->bad.n) outfile_write(d->rejects, p->bad.v, p->bad.n, &p->failed);
    for (size_t i = 0; i < p->complaints.n && d->complained < TOLD_MAX; i++, d->complained++)
        log_warn(d->opts.log, "%s", p->complaints.v[i]);
    d->totals.bad_records += p->n_bad;
    d->files[p->batch.file].totals.bad_records += p->n_bad;
}

/* In any order: the failure of the earliest part is the one to be told. */
static void keep_failure(struct docs *d, const struct part *p) {
    if (!d->failed.code) d->totals.bad_records += p->failed.code == ERR_DATA;
    if (d->failed.code &&
        (p->at > d->failed_at.at || (p->at == d->failed_at.at && p->begin > d->failed_at.begin)))
        return;
    d->failed = p->failed;
    d->failed_at.at = p->at;
    d->failed_at.begin = p->begin;
    pthread_cond_broadcast(&d->more);
}

int docs_settle(struct docs *d, struct part *p) {
    if (d->any_order) {
        if (p->failed.code) keep_failure(d, p);
        remove_extracting(d, p);
        return 1;
    }
    while (lowest_extracting(d) < p->seq) pthread_cond_wait(&d->settled, &d->lock);
    bool good = p->seq < d->stop_seq;
    if (good && p->n_bad) settle_bad(d, p);
    p->bad_so_far = d->totals.bad_records;
    if (good && p->failed.code) {
        d->stop_seq = p->seq + 1;
        d->failed = p->failed;
        d->totals.bad_records += p->failed.code == ERR_DATA;
        pthread_cond_broadcast(&d->more);
    }
    remove_extracting(d, p);
    return good;
}

void docs_count(struct docs *d, const struct part *p) {
    for (size_t i = 0; i < p->n_origins; i++) {
        struct docs_totals *t = &d->files[p->origins[i].file].totals;
        t->documents++;
        t->text_bytes += p->batch.v[i].n;
    }
    if (!p->n_origins) {
        struct docs_totals *t = &d->files[p->batch.file].totals;
        t->documents += p->batch.n - p->goes_on;
        t->text_bytes += p->batch.text_bytes;
    }
    d->totals.documents += p->batch.n - p->goes_on;
    d->totals.text_bytes += p->batch.text_bytes;
}

int docs_next(struct docs *d, struct batch **ret, struct err *err) {
    if (d->order) return order_next(d, ret, err);
    struct part *p;
    pthread_mutex_lock(&d->lock);
    int rc = d->any_order ? take_any(d, &p, err) : docs_take(d, &d->lanes[0], &p, err);
    pthread_mutex_unlock(&d->lock);
    if (rc <= 0) return rc;
    docs_extract(d, p);
    pthread_mutex_lock(&d->lock);
    int good = docs_settle(d, p);
    if (good)
        docs_count(d, p);
    else
        rc = end_code(d, err);
    pthread_mutex_unlock(&d->lock);
    if (good)
        *ret = &p->batch;
    else
        docs_recycle(d, p);
    return rc;
}

void docs_release(struct docs *d, struct batch *b) {
    docs_recycle(d, (struct part *)b);
}

void docs_stop(struct docs *d) {
    pthread_mutex_lock(&d->lock);
    d->stopped = true;
    pthread_cond_broadcast(&d->more);
    pthread_mutex_unlock(&d->lock);
}

/* ------------------------------------------------------------------ asking */

void docs_totals(const struct docs *d, struct docs_totals *ret) {
    struct docs *w = (struct docs *)d; /* only the lock changes */
    pthread_mutex_lock(&w->lock);
    *ret = d->totals;
    pthread_mutex_unlock(&w->lock);
}

void docs_totals_of(const struct docs *d, uint32_t file, struct docs_totals *ret) {
    struct docs *w = (struct docs *)d;
    pthread_mutex_lock(&w->lock);
    *ret = d->files[file].totals;
    pthread_mutex_unlock(&w->lock);
}

const char *docs_field(const struct docs *d) {
    struct docs *w = (struct docs *)d;
    pthread_mutex_lock(&w->lock);
    const char *field = d->field;
    pthread_mutex_unlock(&w->lock);
    return field;
}

/* ------------------------------------------------------------------ opening and closing */

static int read_order(struct docs *d, struct err *err) {
    const char *order = d->opts.order ? d->opts.order : "source";
    if (!strcmp(order, "source"))
        d->kind = ORDER_SOURCE;
    else if (!strcmp(order, "hf5"))
        d->kind = ORDER_HF5;
    else if (!strcmp(order, "hf4"))
        d->kind = ORDER_HF4;
    else
        return err_set(err, ERR_USAGE, "unknown order '%s'; source, hf5 or hf4", order);
    if (d->opts.perfect && (d->kind != ORDER_SOURCE || d->opts.shuffle_buffer))
        return err_set(err, ERR_USAGE, "--perfect is an order of its own, without a buffer");
    if (d->opts.perfect) d->opts.shuffle_buffer = UINT64_MAX;
    if (d->kind == ORDER_SOURCE) {
        if (d->opts.shuffle_buffer) d->kind = ORDER_OWN;
        return 0;
    }
    if (!d->opts.shuffle_buffer) d->opts.shuffle_buffer = ORDER_BUFFER;
    if (d->opts.shuffle_buffer > UINT32_MAX)
        return err_set(err, ERR_USAGE, "with this order a buffer has at most %u records",
                       UINT32_MAX);
    return 0;
}

static int read_options(struct docs *d, struct err *err) {
    const char *format = d->opts.format ? d->opts.format : "auto";
    const char *on_error = d->opts.on_error ? d->opts.on_error : "stop";
    static const char *const formats[] = {
        [DOCS_AUTO] = "auto", [DOCS_JSONL] = "jsonl", [DOCS_TEXT] = "text",
        [DOCS_CSV] = "csv",   [DOCS_TSV] = "tsv",     [DOCS_PARQUET] = "parquet"};
    size_t kind = 0, kinds = sizeof formats / sizeof *formats;
    while (kind < kinds && strcmp(format, formats[kind])) kind++;
    if (kind == kinds)
        return err_set(err, ERR_USAGE,
                       "unknown format '%s'; auto, jsonl, text, csv, tsv or parquet", format);
    d->format = (enum docs_format)kind;
    d->on_error = !strcmp(on_error, "stop")   ? ON_ERROR_STOP
                  : !strcmp(on_error, "skip") ? ON_ERROR_SKIP
                                              : ON_ERROR_FILE;
    if (!d->opts.batch_bytes) d->opts.batch_bytes = docs_defaults.batch_bytes;
    d->bounded = d->opts.max_record > 0;
    if (!d->bounded) d->opts.max_record = 256 << 20;
    if (d->opts.threads < 1) d->opts.threads = 1;
    int rc = read_order(d, err);
    if (rc == 0) rc = docs_where_check(d, err);
    if (rc < 0) return rc;
    uint64_t parts = (uint64_t)d->opts.threads + 2;
    d->budget = parts * d->opts.batch_bytes;
    if (d->budget < 4 << 20) d->budget = 4 << 20;
    if (d->opts.field) {
        d->field = strdup(d->opts.field);
        if (!d->field) return err_nomem(err, strlen(d->opts.field));
    }
    return d->on_error == ON_ERROR_FILE ? outfile_open(&d->rejects, on_error, err) : 0;
}

static int make_lanes(struct docs *d, struct err *err) {
    size_t n = d->list->n;
    d->sequence = mem_array(n, sizeof *d->sequence);
    if (!d->sequence) return err_nomem(err, n * sizeof *d->sequence);
    order_files(d->kind, d->opts.seed, d->opts.epoch, d->opts.skip || d->opts.take, d->sequence, n);
    d->open_max = 2 + (size_t)d->opts.threads / 16; /* one being used, the next one opened */
    if (d->open_max > READERS_MAX) d->open_max = READERS_MAX;
    if (d->any_order) {
        d->n_lanes = (size_t)d->opts.threads < n ? (size_t)d->opts.threads : n;
        if (d->n_lanes > LANES_MAX) d->n_lanes = LANES_MAX;
        for (size_t g = 0; g < d->n_lanes; g++)
            d->lanes[g] = (struct lane){.docs = d, .start = {.line = 1}};
        return 0;
    }
    d->n_lanes = order_groups(d->kind, n);
    for (size_t g = 0; g < d->n_lanes; g++) {
        uint32_t at = (uint32_t)order_group_at(n, d->n_lanes, g);
        uint32_t end = (uint32_t)order_group_at(n, d->n_lanes, g + 1);
        d->lanes[g] = (struct lane){
            .docs = d, .next_open = at, .head = at, .end = end, .start = {.at = at, .line = 1}};
    }
    /* Every lane has parts in the making and in use: smaller ones, for the same memory in all. */
    if (d->n_lanes > 1) d->opts.batch_bytes = d->opts.batch_bytes / 4 + 1;
    return 0;
}

static int open_files(struct docs *d, const struct source_list *list, struct err *err) {
    if (!list->n) return err_set(err, ERR_USAGE, "no source to read");
    if (list->n >= UINT32_MAX) return err_set(err, ERR_USAGE, "too many files");
    d->files = mem_array(list->n, sizeof *d->files);
    if (!d->files) return err_nomem(err, list->n * sizeof *d->files);
    bool known = true;
    for (size_t i = 0; i < list->n; i++) {
        d->files[i].totals.stored_total = list->v[i].bytes;
        d->totals.stored_total += list->v[i].bytes;
        known = known && list->v[i].bytes;
    }
    if (!known) d->totals.stored_total = 0;
    int rc = make_lanes(d, err);
    if (rc < 0) return rc;
    d->wake = eventfd(0, EFD_CLOEXEC);
    if (d->wake < 0) return err_errno(err, "eventfd");
    return 0;
}

/* So that a missing file is told at once. */
static int open_first(struct docs *d, struct err *err) {
    uint32_t at = d->lanes[0].start.at;
    if (!d->any_order && at >= d->lanes[0].end) return 0; /* gone on from its end */
    return docs_open_file(d, d->sequence[at], &d->first, &d->first_live, err);
}

int docs_open(struct docs **ret, const struct source_list *list, const struct docs_opts *opts,
              struct err *err) {
    struct docs *d = calloc(1, sizeof *d);
    if (!d) return err_nomem(err, sizeof *d);
    d->opts = *opts;
    d->list = list;
    d->stop_seq = UINT64_MAX;
    d->wake = -1;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->more, NULL);
    pthread_cond_init(&d->room, NULL);
    pthread_cond_init(&d->settled, NULL);
    int rc = read_options(d, err);
    d->has_to_wait = docs_has_to_wait(list);
    /* Bad records are told, and collected, in their order. */
    d->any_order = opts->any_order && d->kind == ORDER_SOURCE && d->on_error == ON_ERROR_STOP &&
                   d->opts.threads > 1 && !opts->skip && !opts->take && !opts->state &&
                   !opts->state_every && !d->has_to_wait;
    if (rc == 0) rc = open_files(d, list, err);
    if (rc == 0 && (d->opts.shuffle_buffer || opts->skip || opts->take)) rc = order_new(d, err);
    if (rc == 0 && (opts->state_every || opts->state)) rc = docs_state_check(d, err);
    if (rc == 0 && opts->state) rc = docs_restore(d, err);
    if (rc == 0) rc = open_first(d, err);
    if (rc == 0) rc = docs_readers_start(d, err);
    if (rc < 0) {
        outfile_abort(d->rejects);
        d->rejects = NULL;
        docs_close(d, NULL);
        return rc;
    }
    *ret = d;
    return 0;
}

/* The last word on bad records, after those that were told one by one. */
static void tell_bad(const struct docs *d) {
    unsigned long long n = d->totals.bad_records;
    if (!n || d->on_error == ON_ERROR_STOP) return;
    bool kept = d->on_error == ON_ERROR_FILE;
    log_warn(d->opts.log, "%llu bad record%s left out%s%s", n, n == 1 ? "" : "s",
             !kept    ? ""
             : n == 1 ? "; it is in "
                      : "; they are in ",
             kept ? d->opts.on_error : "");
}

int docs_close(struct docs *d, struct err *err) {
    if (!d) return 0;
    docs_readers_end(d);
    int rc = d->rejects ? outfile_commit(d->rejects, err) : 0;
    tell_bad(d);
    for (size_t i = 0; d->files && i < d->list->n; i++)
        for (struct part *p = d->files[i].head, *next; p; p = next) {
            next = p->next;
            part_free(p);
        }
    for (struct part *p = d->free, *next; p; p = next) {
        next = p->next;
        part_free(p);
    }
    codec_close(d->first);
    for (size_t i = 0; i < d->n_lanes; i++) seek_drop(d->lanes[i].start.seek);
    if (d->wake >= 0) close(d->wake);
    order_free(d->order);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->more);
    pthread_cond_destroy(&d->room);
    pthread_cond_destroy(&d->settled);
    free(d->files);
    free(d->sequence);
    free(d->file_hash);
    free(d->field);
    free(d);
    return rc;
}
