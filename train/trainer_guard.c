/* What keeps a run from being lost or from going on in vain: spikes, patience; and which parameters
 * it may touch. */
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "train/trainer_inside.h"

/* ------------------------------------------------------------------ spikes */

/* Sums of x and of squares around the first x, so that a flat curve loses no digits. */
struct sums {
    double first, d, dd;
    size_t n;
};

static void add(struct sums *s, double x) {
    if (!s->n++) s->first = x;
    s->d += x - s->first;
    s->dd += (x - s->first) * (x - s->first);
}

static double limit(const struct sums *s, double deviations) {
    double n = (double)s->n, mean = s->d / n, variance = s->dd / n - mean * mean;
    if (s->n < SPIKE_STEPS) return INFINITY;
    return s->first + mean + deviations * sqrt(variance > 0 ? variance : 0);
}

struct guard trainer_guard(const struct trainer *t) {
    const struct metrics_steps *s = metrics_get_steps(t->metrics);
    struct sums loss = {0}, norm = {0};
    struct guard g = {INFINITY, INFINITY};
    if (!(t->opts->spike > 0)) return g;
    for (size_t i = s->n; i-- > 0 && loss.n < SPIKE_STEPS;) {
        const struct metrics_step *m = &s->v[i];
        if (m->skipped || !isfinite(m->loss) || !isfinite(m->grad_norm)) continue;
        add(&loss, m->loss);
        add(&norm, m->grad_norm);
    }
    g.loss = limit(&loss, t->opts->spike);
    g.norm = limit(&norm, t->opts->spike);
    return g;
}

void trainer_why_skipped(const struct metrics_step *s, const struct guard *g, uint64_t targets,
                         char *out, size_t n) {
    if (!targets)
        snprintf(out, n, "none of its tokens is a target");
    else if (!isfinite(s->loss))
        snprintf(out, n, "the loss is %s", isnan(s->loss) ? "nan" : "infinite");
    else if (s->loss > g->loss)
        snprintf(out, n, "the loss is %.4f, the limit %.4f", s->loss, g->loss);
    else if (!isfinite(s->grad_norm))
        snprintf(out, n, "the gradient norm is %s", isnan(s->grad_norm) ? "nan" : "infinite");
    else
        snprintf(out, n, "the gradient norm is %.4g, the limit %.4g", s->grad_norm, g->norm);
}

/* ------------------------------------------------------------------ patience */

/* transformers' EarlyStoppingCallback: an evaluation counts as better when it is lower than the
 * best so far by more than the threshold. */
bool trainer_out_of_patience(const struct trainer *t) {
    const struct metrics_evals *e = metrics_get_evals(t->metrics);
    double best = INFINITY;
    uint64_t since = 0;
    if (!t->opts->patience) return false;
    for (size_t i = 0; i < e->n && e->v[i].step <= t->state.step; i++) {
        double loss = e->v[i].part_loss;
        bool better = loss < best && !(best - loss <= t->opts->patience_threshold);
        since = better ? 0 : since + 1;
        if (loss < best) best = loss;
    }
    return since >= t->opts->patience;
}

/* ------------------------------------------------------------------ parameters */

/* A shell pattern, with or without "transformer." before it. */
static bool matches(const char *pattern, const char *name) {
    const char *bare = strncmp(name, "transformer.", 12) ? name : name + 12;
    return fnmatch(pattern, name, 0) == 0 || fnmatch(pattern, bare, 0) == 0;
}

int trainer_choose_params(struct trainer *t, struct err *err) {
    const struct trainer_opts *o = t->opts;
    struct param *p;
    size_t n = model_params(t->model, &p), left = n;
    for (size_t i = 0; i < n; i++) {
        if (o->decay == DECAY_LLMC) p[i].decay = p[i].n_dims > 1;
        if (o->decay == DECAY_ALL) p[i].decay = true;
    }
    for (size_t k = 0; k < o->n_freeze; k++) {
        size_t found = 0;
        for (size_t i = 0; i < n; i++) {
            if (!matches(o->freeze[k], p[i].name)) continue;
            left -= p[i].trainable;
            p[i].trainable = false;
            found++;
        }
        if (found) continue;
        err_set(err, ERR_USAGE, "--freeze %s: no parameter has such a name", o->freeze[k]);
        return err_hint(err,
                        "they are called as in model.safetensors, e.g. h.0.attn.* or wte.weight");
    }
    return left ? 0 : err_set(err, ERR_USAGE, "--freeze: nothing is left to train");
}
