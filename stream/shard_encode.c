/* Documents into shards: see shard_encode.h. */
#include "stream/shard_encode.h"

#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "base/signals.h"

/* What one worker makes of its batch, until it is written.
 *
 *   ids   [doc 0 …][doc 1 …][doc 2 …]       ends[i]: where document i ends in ids
 *   valid [0][1][0]                          its split, if the split is chosen by hash */
struct work {
    struct encoder *encoder;
    struct u32s ids;
    struct u64s ends;
    struct u8s valid;
};

struct pass {
    struct shard_encode *e;
    struct docs *docs;
    struct work *work; /* one per thread */
    /* The last document, held back while none went to "valid": it may have to. */
    struct u32s held;
    uint64_t held_bytes;
    bool holding;
};

bool shard_is_valid(const char *text, size_t n, uint64_t seed, double fraction) {
    return (double)(xxh64_bytes(text, n, seed) >> 11) * 0x1p-53 < fraction;
}

static int encode_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct pass *p = ctx;
    struct work *w = &p->work[thread];
    const struct shard_encode *e = p->e;
    w->ids.n = w->ends.n = w->valid.n = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        const struct doc *d = &b->v[i];
        rc = encode(w->encoder, d->text, d->n, TOKENIZER_SPECIAL_NONE, &w->ids, err);
        if (rc == 0) rc = u64s_push(&w->ends, w->ids.n, err);
        if (rc == 0 && e->valid_fraction > 0)
            rc =
                u8s_push(&w->valid, shard_is_valid(d->text, d->n, e->seed, e->valid_fraction), err);
    }
    return rc;
}

static int add(struct pass *p, bool valid, const uint32_t *ids, size_t n, uint64_t bytes,
               struct err *err) {
    struct shard_encode *e = p->e;
    const char *split = valid ? "valid" : e->split;
    struct shard_counts *to = strcmp(split, "valid") ? &e->train : &e->valid;
    to->documents++;
    to->tokens += n + e->eot;
    to->text_bytes += bytes;
    return shard_writer_add(e->writer, split, ids, n, bytes, err);
}

static int release_held(struct pass *p, bool valid, struct err *err) {
    if (!p->holding) return 0;
    p->holding = false;
    return add(p, valid, p->held.v, p->held.n, p->held_bytes, err);
}

static int add_or_hold(struct pass *p, bool valid, const uint32_t *ids, size_t n, uint64_t bytes,
                       struct err *err) {
    int rc = release_held(p, false, err);
    if (rc < 0) return rc;
    if (p->e->valid_fraction <= 0 || valid || p->e->valid.documents)
        return add(p, valid, ids, n, bytes, err);
    p->held.n = 0;
    p->held_bytes = bytes;
    p->holding = true;
    return u32s_append(&p->held, ids, n, err);
}

static int write_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct pass *p = ctx;
    struct work *w = &p->work[thread];
    struct docs_totals t;
    uint64_t from = 0;
    int rc = 0;
    if (signals_stop()) return err_set(err, ERR_STOPPED, "interrupted");
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        rc = add_or_hold(p, w->valid.n && w->valid.v[i], w->ids.v + from, w->ends.v[i] - from,
                         b->v[i].n, err);
        from = w->ends.v[i];
    }
    docs_totals(p->docs, &t);
    log_progress(p->e->log,
                 &(struct progress){"sharding", t.stored_bytes, t.stored_total, "B", p->e->split});
    return rc;
}

static int start(struct pass *p, int threads, struct err *err) {
    p->work = mem_array((size_t)threads, sizeof *p->work);
    if (!p->work) return err_nomem(err, (size_t)threads * sizeof *p->work);
    int rc = 0;
    for (int i = 0; rc == 0 && i < threads; i++)
        rc = encoder_new(&p->work[i].encoder, p->e->tokenizer, err);
    return rc;
}

static void stop(struct pass *p, int threads) {
    for (int i = 0; p->work && i < threads; i++) {
        encoder_free(p->work[i].encoder);
        u32s_release(&p->work[i].ids);
        u64s_release(&p->work[i].ends);
        u8s_release(&p->work[i].valid);
    }
    u32s_release(&p->held);
    free(p->work);
}

int shard_encode(struct shard_encode *e, const struct source_list *list, struct err *err) {
    struct pass p = {.e = e};
    struct docs_totals t = {0};
    int threads = e->docs.threads > 0 ? e->docs.threads : 1;
    int rc = docs_open(&p.docs, list, &e->docs, err);
    if (rc < 0) return rc;
    rc = start(&p, threads, err);
    if (rc == 0) rc = docs_run(p.docs, threads, encode_batch, write_batch, &p, err);
    if (rc == 0) rc = release_held(&p, e->train.documents > 0, err);
    if (rc == 0) docs_totals(p.docs, &t);
    e->bad_records += t.bad_records;
    for (size_t i = 0; rc == 0 && e->files && i < list->n; i++)
        docs_totals_of(p.docs, (uint32_t)i, &e->files[i]);
    int closed = docs_close(p.docs, rc < 0 ? NULL : err);
    stop(&p, threads);
    return rc < 0 ? rc : closed;
}
