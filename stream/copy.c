/* Copying documents, and going on with it: see copy.h. */
#include "stream/copy.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "stream/codec.h"
#include "stream/cursor_parts.h"

static const char MAGIC[8] = {'L', 'O', 'R', 'Y', 'C', 'P', 'Y', '1'};
enum { EVERY = 32 << 20 };
static const uint64_t STATE_MAX = (uint64_t)1 << 40;

struct copy {
    const struct copy_opts *o;
    struct docs *docs;
    struct codec_writer *writer;
    struct buf line;
    uint64_t every, since;   /* bytes of records; since the last cut        */
    double saved_at, saving; /* when the last state was there, and its cost */
    struct buf old;          /* the state gone on from                      */
    uint64_t at;             /* bytes of the output it speaks of            */
    bool done;               /* it says that all was written                */
};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ------------------------------------------------------------------ the state's file */

static int write_state(struct copy *c, uint64_t at, bool done, const struct buf *docs,
                       struct err *err) {
    struct buf b = {0};
    char sum[XXH128_HEX];
    int rc = buf_append(&b, MAGIC, sizeof MAGIC, err);
    if (rc == 0) rc = put_u64(&b, at, err);
    if (rc == 0) rc = put_u64(&b, done, err);
    if (rc == 0) rc = put_bytes(&b, docs->v, docs->n, err);
    if (rc == 0) {
        xxh128_bytes(b.v, b.n, sum);
        rc = buf_append(&b, sum, sizeof sum - 1, err);
    }
    if (rc == 0) rc = file_write(c->o->state, b.v, b.n, err);
    buf_release(&b);
    return rc;
}

/* c->old becomes what docs_save() gave; empty if there is no state yet. */
static int read_state(struct copy *c, struct err *err) {
    struct buf b = {0};
    char sum[XXH128_HEX];
    enum { SUM = XXH128_HEX - 1 };
    file_sweep_of(c->o->state); /* it may not be written once more */
    if (file_kind(c->o->state) == FILE_NONE) return 0;
    int rc = file_read(c->o->state, STATE_MAX, &b, err);
    struct cursor from = {(const uint8_t *)b.v, b.n < SUM ? 0 : b.n - SUM, false};
    const uint8_t *magic = cursor_take(&from, sizeof MAGIC);
    bool good = rc == 0 && magic && !memcmp(magic, MAGIC, sizeof MAGIC);
    if (good) xxh128_bytes(b.v, b.n - SUM, sum);
    good = good && !memcmp(sum, b.v + b.n - SUM, SUM);
    c->at = cursor_u64(&from);
    c->done = cursor_u64(&from);
    size_t n;
    const uint8_t *v = cursor_bytes(&from, &n);
    if (rc == 0 && (!good || from.bad))
        rc = err_set(err, ERR_CORRUPT, "%s: is no state, or a damaged one; remove it to begin anew",
                     c->o->state);
    if (rc == 0) rc = buf_append(&c->old, v, n, err);
    buf_release(&b);
    return rc;
}

/* ------------------------------------------------------------------ writing */

static int put(void *ctx, const char *v, size_t n, struct err *err) {
    return codec_write(ctx, v, n, err);
}

int copy_record(struct codec_writer *to, const struct doc *doc, struct buf *line, struct err *err) {
    if (doc->far) {
        int rc = docs_far_line(doc, put, to, err);
        return rc < 0 ? rc : codec_write(to, "\n", 1, err);
    }
    if (doc->line) {
        int rc = codec_write(to, doc->line, doc->line_n, err);
        return rc < 0 ? rc : codec_write(to, "\n", 1, err);
    }
    line->n = 0;
    int rc = buf_str(line, "{\"text\": ", err);
    if (rc == 0) rc = json_quote(line, doc->text, doc->n, err);
    if (rc == 0) rc = buf_str(line, "}\n", err);
    return rc < 0 ? rc : codec_write(to, line->v, line->n, err);
}

/* Behind a batch where a state may be: the output is cut there in any case, so that it is the same
 * whether this state was written or not. */
static int save(struct copy *c, const struct batch *b, struct err *err) {
    struct buf state = {0};
    uint64_t at;
    double begin = seconds();
    int rc = docs_save(c->docs, b, &state, err);
    if (rc > 0) {
        bool due = c->o->every || begin - c->saved_at > 10 * c->saving;
        c->since = 0;
        rc = codec_writer_cut(c->writer, due, &at, err);
        if (rc == 0 && due) {
            rc = write_state(c, at, false, &state, err);
            c->saved_at = seconds();
            c->saving = c->saved_at - begin;
        }
    }
    buf_release(&state);
    return rc < 0 ? rc : 0;
}

static int write_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct copy *c = ctx;
    int rc = 0;
    (void)thread;
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        rc = copy_record(c->writer, &b->v[i], &c->line, err);
        c->since += b->v[i].line_n ? b->v[i].line_n + 1 : b->v[i].n;
    }
    if (rc == 0 && c->o->state && c->since >= c->every) rc = save(c, b, err);
    return rc < 0 || !c->o->tell ? rc : c->o->tell(c->docs, c->o->ctx, err);
}

/* ------------------------------------------------------------------ beginning and ending */

/* All is written: said first in the state, so that an end between here and the last line is
 * understood by the next run. */
static int finish(struct copy *c, struct err *err) {
    struct buf none = {0};
    uint64_t at;
    int rc = 0;
    if (c->o->state) {
        rc = codec_writer_cut(c->writer, true, &at, err);
        if (rc == 0) rc = write_state(c, at, true, &none, err);
        if (rc < 0) return rc;
    }
    rc = codec_writer_commit(c->writer, err);
    c->writer = NULL;
    return rc == 0 && c->o->state ? file_remove(c->o->state, err) : rc;
}

/* The last run ended within finish(). */
static int finish_late(struct copy *c, struct err *err) {
    uint64_t bytes;
    int rc = codec_writer_resume(&c->writer, c->o->output, c->at, err);
    if (rc == 0) {
        rc = codec_writer_commit(c->writer, err);
        c->writer = NULL;
    } else if (rc == ERR_CORRUPT && file_kind(c->o->output) == FILE_REGULAR &&
               file_bytes(c->o->output, &bytes, NULL) == 0 && bytes == c->at)
        rc = 0; /* it was renamed already */
    return rc < 0 ? rc : file_remove(c->o->state, err);
}

static int copy_all(struct copy *c, const struct source_list *list, const struct docs_opts *docs,
                    struct err *err) {
    const struct copy_opts *o = c->o;
    struct docs_opts opts = *docs;
    int rc = o->state ? read_state(c, err) : 0;
    if (rc == 0 && c->done) return finish_late(c, err);
    if (rc < 0) return rc;
    docs_stay_far(&opts);
    opts.state_every = o->state ? c->every : 0;
    opts.state = c->old.n ? c->old.v : NULL;
    opts.state_bytes = c->old.n;
    rc = docs_open(&c->docs, list, &opts, err);
    if (rc < 0) return rc == ERR_USAGE && c->old.n ? err_prefix(err, "%s", o->state) : rc;
    rc = o->state ? codec_writer_resume(&c->writer, o->output, c->at, err)
                  : codec_writer_open(&c->writer, o->output, err);
    if (rc < 0) return rc;
    if (c->old.n)
        log_info(opts.log, "going on at byte %llu of %s", (unsigned long long)c->at, o->output);
    rc = docs_run(c->docs, opts.threads, NULL, write_batch, c, err);
    if (rc == 0) return finish(c, err);
    /* What came before a bad record is still worth having in a pipe; a file is all or nothing. */
    if (rc == ERR_DATA && !strcmp(o->output, "-")) {
        codec_writer_commit(c->writer, NULL);
        c->writer = NULL;
    }
    return rc;
}

int copy_documents(const struct source_list *list, const struct docs_opts *docs,
                   const struct copy_opts *o, struct err *err) {
    struct copy c = {.o = o, .every = o->every ? o->every : EVERY};
    if (o->state && !strcmp(o->output, "-"))
        return err_set(err, ERR_USAGE, "a state goes with a file to write: name one with -o");
    int rc = copy_all(&c, list, docs, err);
    codec_writer_abort(c.writer);
    int closed = docs_close(c.docs, rc == 0 ? err : NULL);
    buf_release(&c.line);
    buf_release(&c.old);
    return rc == 0 ? closed : rc;
}
