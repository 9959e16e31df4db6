/* Where a stream stands, in bytes that a file can keep:
 *
 *   "LORYPOS2"  digest of names and options  a hash per file  bad records  field
 *   lanes  { file's place, byte, line, seek point }…
 *   skip and take left; of a shuffled stream its generator and what its buffer holds
 *
 * Byte offsets are of plain bytes; a seek point, a little before, spares decoding all that
 * precedes it. */
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "stream/docs_parts.h"
#include "stream/remote.h"

static const char MAGIC[8] = {'L', 'O', 'R', 'Y', 'P', 'O', 'S', '2'};

/* ------------------------------------------------------------------ seek points */

int seek_save(struct seek **ret, struct codec *c, struct err *err) {
    struct buf b = {0};
    int rc = codec_save(c, &b, err);
    if (rc > 0) {
        struct seek *s = malloc(sizeof *s + b.n);
        if (s) {
            *s = (struct seek){.plain = codec_tell(c), .n = b.n};
            atomic_init(&s->users, 1);
            memcpy(s->v, b.v, b.n);
            *ret = s;
        } else
            rc = err_nomem(err, b.n);
    }
    buf_release(&b);
    return rc < 0 ? rc : 0;
}

struct seek *seek_share(struct seek *s) {
    if (s) atomic_fetch_add(&s->users, 1);
    return s;
}

void seek_drop(struct seek *s) {
    if (s && atomic_fetch_sub(&s->users, 1) == 1) free(s);
}

struct place part_end(const struct part *p) {
    if (p->batch.last_of_file) return (struct place){.at = p->at + 1, .line = 1};
    return (struct place){p->at, p->end, p->end_line, p->behind};
}

int put_place(struct buf *to, const struct place *p, struct err *err) {
    int rc = put_u64(to, p->at, err);
    if (rc == 0) rc = put_u64(to, p->byte, err);
    if (rc == 0) rc = put_u64(to, p->line, err);
    if (rc == 0) rc = put_u64(to, p->seek ? p->seek->plain : 0, err);
    if (rc == 0) rc = put_bytes(to, p->seek ? p->seek->v : NULL, p->seek ? p->seek->n : 0, err);
    return rc;
}

int take_place(struct cursor *from, struct place *ret, struct err *err) {
    size_t n;
    *ret = (struct place){.at = (uint32_t)cursor_u64(from)};
    ret->byte = cursor_u64(from);
    ret->line = cursor_u64(from);
    uint64_t plain = cursor_u64(from);
    const uint8_t *v = cursor_bytes(from, &n);
    if (from->bad || !n || plain > ret->byte) return 0;
    ret->seek = malloc(sizeof *ret->seek + n);
    if (!ret->seek) return err_nomem(err, n);
    *ret->seek = (struct seek){.plain = plain, .n = n};
    atomic_init(&ret->seek->users, 1);
    memcpy(ret->seek->v, v, n);
    return 0;
}

/* ------------------------------------------------------------------ what it belongs to */

/* A name for the digest. A signed address may be signed anew: where its server marks the file, the
 * query is left out. */
static size_t name_bytes(const struct source_file *f) {
    return f->etag && remote_is_http(f->name) ? strcspn(f->name, "?") : strlen(f->name);
}

/* What tells a file from what it may have become. */
static int hash_file(const struct source_file *f, uint64_t *ret, struct err *err) {
    struct buf b = {0};
    int rc = put_u64(&b, f->bytes, err);
    if (rc == 0 && f->etag) rc = put_bytes(&b, f->etag, strlen(f->etag), err);
    if (rc == 0 && f->sha256) rc = put_bytes(&b, f->sha256, strlen(f->sha256), err);
    if (rc == 0) *ret = xxh64_bytes(b.v, b.n, 0);
    buf_release(&b);
    return rc;
}

static int hash_files(struct docs *d, struct err *err) {
    size_t n = d->list->n;
    int rc = 0;
    d->file_hash = mem_array(n, sizeof *d->file_hash);
    if (!d->file_hash) return err_nomem(err, n * sizeof *d->file_hash);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = hash_file(&d->list->v[i], &d->file_hash[i], err);
    return rc;
}

/* Everything else that decides which records come and in which order. */
static int digest(const struct docs *d, uint64_t ret[2], struct err *err) {
    const struct docs_opts *o = &d->opts;
    struct buf b = {0};
    int rc = buf_printf(&b, err, "%s\n%s\n%s\n%s\n%.17g", o->format, o->field ? o->field : "",
                        o->order, d->on_error == ON_ERROR_STOP ? "stop" : "skip", o->sample);
    const uint64_t numbers[] = {o->perfect, o->shuffle_buffer, o->shuffle_bytes,
                                o->skip,    o->take,           o->seed,
                                o->epoch,   o->max_record,     o->batch_bytes};
    for (size_t i = 0; rc == 0 && i < sizeof numbers / sizeof *numbers; i++)
        rc = put_u64(&b, numbers[i], err);
    for (size_t i = 0; rc == 0 && i < o->where.n; i++)
        rc = put_bytes(&b, o->where.v[i], strlen(o->where.v[i]), err);
    for (size_t i = 0; rc == 0 && i < o->contains.n; i++)
        rc = put_bytes(&b, o->contains.v[i], strlen(o->contains.v[i]), err);
    if (rc == 0 && o->prompt) rc = put_bytes(&b, o->prompt, strlen(o->prompt), err);
    for (size_t i = 0; rc == 0 && i < d->list->n; i++) {
        const struct source_file *f = &d->list->v[i];
        rc = put_bytes(&b, f->name, name_bytes(f), err);
    }
    if (rc == 0)
        for (uint64_t i = 0; i < 2; i++) ret[i] = xxh64_bytes(b.v, b.n, i);
    buf_release(&b);
    return rc;
}

int docs_put_head(const struct docs *d, uint64_t bad, const char *field, struct buf *to,
                  struct err *err) {
    int rc = buf_append(to, MAGIC, sizeof MAGIC, err);
    for (int i = 0; rc == 0 && i < 2; i++) rc = put_u64(to, d->digest[i], err);
    for (size_t i = 0; rc == 0 && i < d->list->n; i++) rc = put_u64(to, d->file_hash[i], err);
    if (rc == 0) rc = put_u64(to, bad, err);
    if (rc == 0) rc = put_bytes(to, field ? field : "", field ? strlen(field) : 0, err);
    if (rc == 0) rc = put_u64(to, d->n_lanes, err);
    return rc;
}

int docs_save(struct docs *d, const struct batch *b, struct buf *to, struct err *err) {
    const struct part *p = (const struct part *)b;
    if (d->opts.shuffle_buffer)
        return p->saved.n ? buf_append(to, p->saved.v, p->saved.n, err) < 0 ? ERR_NOMEM : 1 : 0;
    if (p->broken) return 0;
    struct place end = part_end(p);
    int rc = docs_put_head(d, p->bad_so_far, p->field, to, err);
    if (rc == 0) rc = put_place(to, &end, err);
    if (rc == 0) rc = put_u64(to, p->skip, err);
    if (rc == 0) rc = put_u64(to, p->take, err);
    return rc < 0 ? rc : 1;
}

/* ------------------------------------------------------------------ going on */

static int foreign(struct err *err) {
    return err_set(err, ERR_USAGE,
                   "the state is of other sources or options; name those it was saved with, or "
                   "remove it to begin anew");
}

static int changed(const struct source_file *f, struct err *err) {
    return err_set(err, remote_is_http(f->path) ? ERR_NET : ERR_USAGE,
                   "%s: has changed since the state was saved; remove the state to begin anew",
                   f->name);
}

static int restore_lanes(struct docs *d, struct cursor *from, struct err *err) {
    if (cursor_u64(from) != d->n_lanes || from->bad) return foreign(err);
    for (size_t g = 0; g < d->n_lanes; g++) {
        struct lane *lane = &d->lanes[g];
        struct place p;
        int rc = take_place(from, &p, err);
        if (rc < 0) return rc;
        bool fits = !from->bad && p.at >= lane->head && p.at <= lane->end;
        if (!fits) {
            seek_drop(p.seek);
            return foreign(err);
        }
        lane->head = lane->next_open = p.at;
        lane->start = p;
    }
    return 0;
}

int docs_state_check(struct docs *d, struct err *err) {
    for (size_t i = 0; i < d->list->n; i++)
        if (!strcmp(d->list->v[i].path, "-"))
            return err_set(err, ERR_USAGE, "standard input cannot be gone on from: name a file");
    if (d->on_error == ON_ERROR_FILE)
        return err_set(err, ERR_USAGE, "a stream to be gone on from takes --on-error stop or skip");
    int rc = hash_files(d, err);
    return rc < 0 ? rc : digest(d, d->digest, err);
}

int docs_restore(struct docs *d, struct err *err) {
    struct cursor from = {d->opts.state, d->opts.state_bytes, false};
    size_t n;
    const uint8_t *magic = cursor_take(&from, sizeof MAGIC);
    if (!magic || memcmp(magic, MAGIC, sizeof MAGIC)) return foreign(err);
    for (int i = 0; i < 2; i++)
        if (cursor_u64(&from) != d->digest[i]) return foreign(err);
    for (size_t i = 0; i < d->list->n; i++)
        if (cursor_u64(&from) != d->file_hash[i] && !from.bad) return changed(&d->list->v[i], err);
    d->totals.bad_records = cursor_u64(&from);
    const uint8_t *field = cursor_bytes(&from, &n);
    if (from.bad) return foreign(err);
    if (n && !d->field) {
        d->field = strndup((const char *)field, n);
        if (!d->field) return err_nomem(err, n);
    }
    int rc = restore_lanes(d, &from, err);
    if (rc == 0 && d->order)
        rc = order_restore(d, &from, err);
    else if (rc == 0)
        cursor_take(&from, 16); /* skip and take, of which there is none */
    return rc < 0 ? rc : from.bad || from.left ? foreign(err) : 0;
}
