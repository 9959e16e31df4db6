/* Whether the disk will hold the shards. How many tokens a source makes is not known before, least
 * of all of a compressed one, so it is told from what the sources have made so far:
 *
 *   to be written = written × stored bytes to be read / those read     each file by its share
 *
 * The disk is asked after a 64th of the sources (256 MB at most), and after each further 64th.
 * Where the size of a source is not known (standard input, some addresses) it is not asked. */
#include <string.h>
#include "base/file.h"
#include "tools/shard_parts.h"

enum { ASKED = 64 };
static const double FIRST_BYTES = 256e6, SLACK = 0.9; /* an estimate refuses nothing by a hair */

/* Of the first `files` files whole, and `more` bytes of those behind them. */
static double stored(const struct source_list *l, const struct shard_share *shares, size_t files,
                     uint64_t more) {
    double sum = 0;
    for (size_t i = 0; i < l->n && (i < files || more); i++) {
        uint64_t bytes = l->v[i].bytes;
        if (i >= files && bytes > more) bytes = more;
        if (i >= files) more -= bytes;
        sum += (shares ? shares[i].share : 1) * (double)bytes;
    }
    return sum;
}

static bool known(const struct source_list *l) {
    for (size_t i = 0; i < l->n; i++)
        if (!l->v[i].bytes && file_kind(l->v[i].path) != FILE_REGULAR) return false;
    return true;
}

void sharding_space_begin(struct sharding *r) {
    struct shard_space *s = &r->space;
    bool valid = !strcmp(r->e.split, "valid");
    s->of[0] = stored(&r->train, r->shares, r->train.n, 0);
    s->of[1] = stored(&r->valid, NULL, r->valid.n, 0);
    double part = (s->of[0] + s->of[1]) / ASKED, first = part < FIRST_BYTES ? part : FIRST_BYTES;
    s->every = r->o->force || !known(&r->train) || !known(&r->valid) ? UINT64_MAX : (uint64_t)part;
    s->next = valid || r->e.first ? 0 : (uint64_t)first;
    if (s->every == UINT64_MAX) s->next = UINT64_MAX;
}

/* Bytes on the disk, but for headers. */
static double written(const struct sharding *r, const struct shard_counts *c) {
    double each = tokenizer_size(r->tokenizer) <= 65536 ? 2 : 4;
    return (double)c->tokens * (each + (c->masked ? 0.125 : 0)) + 8.0 * (double)c->documents;
}

/* What may still be written of `sum`, which has come of `n`, if there are at most `most`; 0: any
 * number. */
static double limit(double need, double sum, uint64_t n, uint64_t most) {
    if (!most || !n) return need;
    double left = most > n ? sum * (double)(most - n) / (double)n : 0;
    return left < need ? left : need;
}

int sharding_space(void *ctx, const struct docs_totals *read, struct err *err) {
    struct sharding *r = ctx;
    struct shard_space *s = &r->space;
    const struct shard_encode *e = &r->e;
    if (read->stored_bytes < s->next) return 0;
    s->next = read->stored_bytes + s->every;
    bool valid = !strcmp(e->split, "valid");
    double train = valid ? s->of[0] : stored(&r->train, r->shares, e->first, read->stored_bytes),
           held_out = valid ? stored(&r->valid, NULL, e->first, read->stored_bytes) : 0;
    double sum = written(r, &e->train) + written(r, &e->valid);
    if (train + held_out <= 0) return 0;
    double rate = sum / (train + held_out), need = rate * (s->of[0] - train);
    need = limit(need, sum, e->train.tokens, r->o->max_tokens);
    need = limit(need, sum, e->train.documents, r->o->docs);
    need = limit(need, sum, e->train.documents, r->in->opts.take);
    need += rate * (s->of[1] - held_out);
    uint64_t have = 0;
    int rc = file_free_bytes(r->o->output, &have, err);
    if (rc < 0 || (double)have >= SLACK * need) return rc;
    err_set(err, ERR_IO,
            "%s: what is left of the shards needs about %.1f MB, the disk has %.1f MB free",
            r->o->output, need / 1e6, (double)have / 1e6);
    return err_hint(err, "free some space and start again, or go on all the same with --force");
}
