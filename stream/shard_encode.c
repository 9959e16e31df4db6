/* Documents into shards: see shard_encode.h. */
#include "stream/shard_encode.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/hash.h"
#include "base/signals.h"
#include "stream/scratch.h"

/* What a batch becomes, until it is written.
 *
 *   ids      [doc 0 …][doc 1 …][doc 2 …]    ends[i]: where document i ends in ids
 *   prompts  [n][n][n]                       so many of its tokens are no targets
 *   fate     [TRAIN][VALID][LEFT_OUT]        its split, if the split is chosen by hash */
enum { TRAIN, VALID, LEFT_OUT };

/* A document's tokens. */
struct piece {
    const uint32_t *ids;
    bool spooled; /* they are in the pass's spool instead */
    size_t n, n_prompt;
    uint64_t text_bytes;
};

/* A document that comes in parts (docs_opts.cut_records): which shard it goes to follows from the
 * number of its tokens, so they wait in a scratch file until the last part came.
 *
 *   part ─▶ ids ─┐
 *   part ─▶ ids ─┼─▶ [ids ids ids …] ─▶ shard_writer */
struct spool {
    int fd; /* -1: none yet */
    uint8_t fate;
    uint64_t n, text_bytes;
};

struct made {
    struct u32s ids;
    struct u64s ends, prompts;
    struct u8s fate;
    struct u32s prompt; /* one, encoded alone */
    uint64_t odd_prompts;
};

static void made_release(void *made) {
    struct made *m = made;
    u32s_release(&m->ids);
    u64s_release(&m->ends);
    u64s_release(&m->prompts);
    u8s_release(&m->fate);
    u32s_release(&m->prompt);
}

/* One for each thread, made with the first list and kept: what they know of pieces serves the next
 * one, too. */
struct encoders {
    int n;
    struct encoder *v[];
};

struct pass {
    struct shard_encode *e;
    struct docs *docs;
    uint32_t file; /* of the list, being written, and what it gave so far */
    struct docs_totals of_file;
    /* The last document, held back while none went to "valid": it may have to. */
    struct u32s held_ids;
    struct piece held;
    bool holding;
    struct spool spool;
    struct encode_stream *stream; /* of the document that comes in parts */
};

static bool below(uint64_t hash, double share) {
    return (double)(hash >> 11) * 0x1p-53 < share;
}

static const uint64_t weight_key = 0x7765696768740000; /* "weight": not what chooses the split */

bool shard_is_valid(const char *text, size_t n, uint64_t seed, double fraction) {
    return below(xxh64_bytes(text, n, seed), fraction);
}

bool shard_is_taken(const char *text, size_t n, uint64_t seed, double share) {
    return share >= 1 || below(xxh64_bytes(text, n, seed ^ weight_key), share);
}

/* Where document i of a batch goes: a fate, or a negative code. What continues a document goes
 * where its beginning went. */
static int fate_of(const struct shard_encode *e, const struct batch *b, size_t i, struct err *err) {
    const struct shard_share *s = e->shares ? &e->shares[e->first + b->file] : NULL;
    uint64_t hash = 0;
    int rc = 0;
    if (b->v[i].continues) return TRAIN;
    if (e->valid_fraction > 0) rc = docs_text_hash(&b->v[i], e->seed, &hash, err);
    if (rc < 0) return rc;
    if (e->valid_fraction > 0 && below(hash, e->valid_fraction))
        return s && s->again ? LEFT_OUT : VALID;
    if (!s || s->share >= 1) return TRAIN;
    rc = docs_text_hash(&b->v[i], e->seed ^ weight_key, &hash, err);
    return rc < 0 ? rc : below(hash, s->share) ? TRAIN : LEFT_OUT;
}

/* How many of the document's tokens, which begin at `from`, are its prompt's: as many as the prompt
 * has when it is encoded alone. They need not be the same ones: a merge across the seam changes
 * them (TRL's SFTTrainer counts in the same way, and warns). */
static int encode_prompt(struct encoder *e, struct made *m, const struct doc *d, size_t from,
                         struct err *err) {
    size_t whole = m->ids.n - from;
    int rc = 0;
    m->prompt.n = 0;
    if (d->prompt_n && whole)
        rc = encode(e, d->text, d->prompt_n, TOKENIZER_SPECIAL_NONE, &m->prompt, err);
    size_t n = m->prompt.n < whole ? m->prompt.n : whole;
    if (rc == 0 && n && memcmp(m->prompt.v, m->ids.v + from, n * sizeof *m->prompt.v))
        m->odd_prompts++;
    return rc < 0 ? rc : u64s_push(&m->prompts, n, err);
}

static int encode_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct pass *p = ctx;
    const struct shard_encode *e = p->e;
    struct encoder *encoder = e->encoders->v[thread];
    struct made *m = b->made;
    int rc = 0;
    m->ids.n = m->ends.n = m->fate.n = m->prompts.n = 0;
    m->odd_prompts = 0;
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        const struct doc *d = &b->v[i];
        const struct text_part part = doc_part(d);
        int fate = fate_of(e, b, i, err);
        size_t from = m->ids.n;
        if (fate < 0) return fate;
        if (fate != LEFT_OUT)
            rc = encode_part(encoder, p->stream, &part, TOKENIZER_SPECIAL_NONE, &m->ids, err);
        if (rc == 0) rc = encode_prompt(encoder, m, d, from, err);
        if (rc == 0) rc = u64s_push(&m->ends, m->ids.n, err);
        if (rc == 0) rc = u8s_push(&m->fate, (uint8_t)fate, err);
    }
    return rc;
}

/* ------------------------------------------------------------------ documents in parts */

static int spool_begin(struct pass *p, struct err *err) {
    struct spool *s = &p->spool;
    const char *dir = p->e->docs.spill ? p->e->docs.spill : ".";
    s->n = s->text_bytes = 0;
    return s->fd < 0 ? scratch_file(dir, &s->fd, err) : scratch_empty(s->fd, err);
}

static int spool_add(struct pass *p, const struct piece *d, struct err *err) {
    struct spool *s = &p->spool;
    s->n += d->n;
    s->text_bytes += d->text_bytes;
    return scratch_write(s->fd, d->ids, d->n * sizeof *d->ids, err);
}

/* What is spooled goes to the writer. */
static int spool_put(struct pass *p, const char *split, struct err *err) {
    struct spool *s = &p->spool;
    uint32_t ids[16384];
    int rc = shard_writer_begin(p->e->writer, split, s->n, err);
    for (uint64_t at = 0; rc == 0 && at < s->n;) {
        size_t n = s->n - at < 16384 ? (size_t)(s->n - at) : 16384;
        rc = scratch_read(s->fd, at * sizeof *ids, ids, n * sizeof *ids, err);
        if (rc == 0) rc = shard_writer_put(p->e->writer, ids, n, true, err);
        at += n;
    }
    return rc < 0 ? rc : shard_writer_end(p->e->writer, s->text_bytes, err);
}

/* ------------------------------------------------------------------ writing */

static int add(struct pass *p, bool valid, const struct piece *d, struct err *err) {
    struct shard_encode *e = p->e;
    const char *split = valid ? "valid" : e->split;
    struct shard_counts *to = strcmp(split, "valid") ? &e->train : &e->valid;
    to->documents++;
    to->tokens += d->n + e->eot;
    to->targets += d->n - d->n_prompt + e->eot;
    to->text_bytes += d->text_bytes;
    e->full = e->full ||
              (e->max_documents && to == &e->train && to->documents >= e->max_documents) ||
              (e->max_tokens && to == &e->train && to->tokens >= e->max_tokens);
    if (d->spooled) return spool_put(p, split, err);
    return shard_writer_add(e->writer, split, d->ids, d->n, d->n_prompt, d->text_bytes, err);
}

static int release_held(struct pass *p, bool valid, struct err *err) {
    if (!p->holding) return 0;
    p->holding = false;
    if (!p->held.spooled) p->held.ids = p->held_ids.v;
    return add(p, valid, &p->held, err);
}

static int add_or_hold(struct pass *p, bool valid, const struct piece *d, struct err *err) {
    int rc = release_held(p, false, err);
    if (rc < 0 || p->e->full) return rc;
    if (p->e->valid_fraction <= 0 || valid || p->e->valid.documents) return add(p, valid, d, err);
    p->held_ids.n = 0;
    p->held = *d;
    p->holding = true;
    return d->spooled ? 0 : u32s_append(&p->held_ids, d->ids, d->n, err);
}

/* A part of a document. Whoever is held goes before the spool is used again. */
static int add_part(struct pass *p, const struct doc *doc, uint8_t fate, const struct piece *d,
                    struct err *err) {
    struct spool *s = &p->spool;
    int rc = 0;
    if (!doc->continues) {
        s->fate = fate;
        if (fate != LEFT_OUT) rc = release_held(p, false, err);
        if (rc == 0 && fate != LEFT_OUT) rc = spool_begin(p, err);
    }
    if (rc < 0 || s->fate == LEFT_OUT || p->e->full) return rc;
    rc = spool_add(p, d, err);
    if (rc < 0 || doc->goes_on) return rc;
    const struct piece whole = {.spooled = true, .n = s->n, .text_bytes = s->text_bytes};
    return add_or_hold(p, s->fate == VALID, &whole, err);
}

/* The last batch of a file is written. */
static int end_file(struct pass *p, struct err *err) {
    struct shard_encode *e = p->e;
    size_t i = e->first + p->file;
    if (e->files) {
        docs_totals_of(p->docs, p->file, &e->files[i]);
        if (e->max_documents || e->max_tokens) { /* read ahead is not taken */
            e->files[i].documents = p->of_file.documents;
            e->files[i].text_bytes = p->of_file.text_bytes;
        }
    }
    p->of_file = (struct docs_totals){0};
    if (!e->file_done || p->holding || e->full) return 0;
    return e->file_done(e->ctx, i, docs_field(p->docs), err);
}

static int write_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct pass *p = ctx;
    const struct made *m = b->made;
    struct docs_totals t;
    uint64_t from = 0;
    int rc = 0;
    (void)thread;
    if (signals_stop()) return err_set(err, ERR_STOPPED, "interrupted");
    if (p->e->full) return 0; /* was read ahead */
    p->file = b->file;
    p->e->odd_prompts += m->odd_prompts;
    for (size_t i = 0; rc == 0 && i < b->n && !p->e->full; i++) {
        const struct doc *doc = &b->v[i];
        const struct piece d = {.ids = m->ids.v + from,
                                .n = m->ends.v[i] - from,
                                .n_prompt = m->prompts.v[i],
                                .text_bytes = doc->n};
        p->of_file.documents += !doc->goes_on;
        p->of_file.text_bytes += d.text_bytes;
        if (doc->continues || doc->goes_on)
            rc = add_part(p, doc, m->fate.v[i], &d, err);
        else if (m->fate.v[i] != LEFT_OUT)
            rc = add_or_hold(p, m->fate.v[i] == VALID, &d, err);
        from = m->ends.v[i];
    }
    if (rc == 0 && (b->last_of_file || p->e->full)) rc = end_file(p, err);
    if (p->e->full) docs_stop(p->docs);
    docs_totals(p->docs, &t);
    log_progress(p->e->log,
                 &(struct progress){"sharding", t.stored_bytes, t.stored_total, "B", p->e->split});
    return rc == 0 && p->e->batch_done ? p->e->batch_done(p->e->ctx, &t, err) : rc;
}

static int make_encoders(struct shard_encode *e, int threads, struct err *err) {
    size_t bytes = sizeof *e->encoders + (size_t)threads * sizeof *e->encoders->v;
    int rc = 0;
    if (e->encoders) return 0;
    e->encoders = calloc(1, bytes);
    if (!e->encoders) return err_nomem(err, bytes);
    e->encoders->n = threads;
    for (int i = 0; rc == 0 && i < threads; i++)
        rc = encoder_new(&e->encoders->v[i], e->tokenizer, err);
    return rc;
}

void shard_encode_release(struct shard_encode *e) {
    for (int i = 0; e->encoders && i < e->encoders->n; i++) encoder_free(e->encoders->v[i]);
    free(e->encoders);
    e->encoders = NULL;
}

static void count_files(const struct pass *p, size_t n) {
    struct shard_encode *e = p->e;
    struct docs_totals t;
    docs_totals(p->docs, &t);
    e->bad_records += t.bad_records;
    bool known = e->full; /* by end_file(), as far as they were read */
    for (size_t i = 0; e->files && !known && i < n; i++)
        docs_totals_of(p->docs, (uint32_t)i, &e->files[e->first + i]);
}

int shard_encode(struct shard_encode *e, const struct source_list *list, struct err *err) {
    struct pass p = {.e = e, .spool = {.fd = -1}};
    struct docs_opts opts = e->docs;
    struct source_list left = {.v = list->v + e->first, .n = list->n - e->first};
    int threads = e->docs.threads > 0 ? e->docs.threads : 1;
    if (!left.n || e->full) return 0;
    int rc = make_encoders(e, threads, err);
    bool cuts = tokenizer_cuts(e->tokenizer, TOKENIZER_SPECIAL_NONE);
    opts.cut_anywhere = tokenizer_streams(e->tokenizer);
    opts.cut_loose = !cuts;
    opts.cut_records = cuts || opts.cut_anywhere;
    if (rc == 0) rc = encode_stream_new(&p.stream, e->tokenizer, err);
    opts.cut_texts = opts.cut_records;
    opts.see_whole = e->valid_fraction > 0 || e->shares; /* docs_text_hash() */
    if (rc == 0) rc = docs_open(&p.docs, &left, &opts, err);
    if (rc < 0) {
        encode_stream_free(p.stream);
        return rc;
    }
    const struct docs_made made = {sizeof(struct made), made_release};
    rc = docs_run_ahead(p.docs, threads, encode_batch, write_batch, &made, &p, err);
    if (rc == ERR_STOPPED && e->full && !signals_stop()) rc = 0;
    if (rc == 0) rc = release_held(&p, e->train.documents > 0, err);
    if (rc == 0) count_files(&p, left.n);
    int closed = docs_close(p.docs, rc < 0 ? NULL : err);
    u32s_release(&p.held_ids);
    encode_stream_free(p.stream);
    if (p.spool.fd >= 0) close(p.spool.fd);
    return rc < 0 ? rc : closed;
}
