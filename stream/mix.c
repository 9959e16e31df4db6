/* Interleaving sources: see mix.h. */
#include "stream/mix.h"

#include <math.h>
#include <stdlib.h>
#include "stream/order.h"

struct source {
    struct docs *docs;
    struct batch *batch;
    size_t at; /* the next record in it */
    bool ended;
};

struct mix {
    const struct source_list *lists;
    const struct docs_opts *docs;
    const struct mix_opts *o;
    struct source *v;
    size_t n, turn;
    double *cdf; /* of the choice; NULL: in turn */
    struct numpy_rng rng;
};

static void source_close(struct source *s) {
    if (s->batch) docs_release(s->docs, s->batch);
    docs_close(s->docs, NULL);
    s->batch = NULL;
    s->docs = NULL;
    s->at = 0;
}

/* Has s->batch hold a record at s->at, opening the source if need be: 1, 0 at its end, or a
 * negative code. */
static int source_look(struct mix *m, size_t i, struct err *err) {
    struct source *s = &m->v[i];
    int rc = s->docs ? 0 : docs_open(&s->docs, &m->lists[i], m->docs, err);
    while (rc == 0) {
        if (s->batch && s->at < s->batch->n) return 1;
        if (s->batch) docs_release(s->docs, s->batch);
        s->batch = NULL;
        s->at = 0;
        rc = docs_next(s->docs, &s->batch, err);
        if (rc == 0) return 0;
        if (rc > 0) rc = 0;
    }
    return rc;
}

static size_t next_source(struct mix *m) {
    if (!m->cdf) return m->turn++ % m->n;
    double x = (double)(numpy_u64(&m->rng) >> 11) * 0x1p-53;
    size_t i = 0;
    while (i + 1 < m->n && m->cdf[i] <= x) i++;
    return i;
}

static bool at_end(const struct mix *m) {
    size_t ended = 0;
    for (size_t i = 0; i < m->n; i++) ended += m->v[i].ended;
    return m->o->end == MIX_FIRST ? ended > 0 : ended == m->n;
}

/* One step: the record of source i, if it has one, and whether that was its last. */
static int step(struct mix *m, size_t i, uint64_t *given, mix_fn write, void *ctx,
                struct err *err) {
    struct source *s = &m->v[i];
    int rc = source_look(m, i, err);
    if (rc > 0) {
        bool wanted = (*given)++ >= m->o->skip;
        rc = wanted ? write(ctx, &s->batch->v[s->at], err) : 0;
        s->at++;
        if (rc == 0) rc = source_look(m, i, err);
    }
    if (rc) return rc < 0 ? rc : 0;
    s->ended = true;
    source_close(s);
    return 0;
}

/* cumsum(p), and divided by its last: as numpy has it. */
static int make_cdf(struct mix *m, struct err *err) {
    double sum = 0;
    m->cdf = mem_array(m->n, sizeof *m->cdf);
    if (!m->cdf) return err_nomem(err, m->n * sizeof *m->cdf);
    for (size_t i = 0; i < m->n; i++) {
        double p = m->o->probabilities[i];
        if (!(p >= 0 && p <= 1))
            return err_set(err, ERR_USAGE, "a probability lies between 0 and 1, not %g", p);
        m->cdf[i] = sum += p;
    }
    if (fabs(sum - 1) > 1e-8)
        return err_set(err, ERR_USAGE, "the probabilities make %.10g, not 1", sum);
    for (size_t i = 0; i < m->n; i++) m->cdf[i] /= sum;
    return 0;
}

int mix_documents(const struct source_list *lists, size_t n, const struct docs_opts *docs,
                  const struct mix_opts *o, mix_fn write, void *ctx, struct err *err) {
    struct mix m = {.lists = lists, .docs = docs, .o = o, .n = n};
    uint64_t given = 0, end = UINT64_MAX;
    if (!n) return err_set(err, ERR_USAGE, "no source to read");
    if (o->take && __builtin_add_overflow(o->skip, o->take, &end)) end = UINT64_MAX;
    m.v = mem_array(n, sizeof *m.v);
    int rc = m.v ? 0 : err_nomem(err, n * sizeof *m.v);
    if (rc == 0 && o->probabilities) rc = make_cdf(&m, err);
    numpy_seed(&m.rng, o->seed);
    while (rc == 0 && given < end) {
        size_t i = next_source(&m);
        if (at_end(&m)) break;
        if (m.v[i].ended && o->end == MIX_EACH) continue;
        rc = step(&m, i, &given, write, ctx, err);
    }
    for (size_t i = 0; m.v && i < n; i++) source_close(&m.v[i]);
    free(m.v);
    free(m.cdf);
    return rc;
}
