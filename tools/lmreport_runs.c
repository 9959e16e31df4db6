/* Runs in numbers, from their metrics.jsonl. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "tools/lmreport_parts.h"
#include "train/checkpoint.h"

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median speed: what a pause or a busy machine does not change. */
static double median_speed(const struct metrics_steps *s) {
    double *v = mem_array(s->n, sizeof *v), m = NAN;
    if (v && s->n) {
        for (size_t i = 0; i < s->n; i++) v[i] = s->v[i].tokens_per_s;
        qsort(v, s->n, sizeof *v, by_value);
        m = v[s->n / 2];
    }
    free(v);
    return m;
}

static void add_steps(struct summary *r) {
    const struct metrics_steps *s = &r->steps;
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        uint64_t tokens = s->v[i].tokens - (i ? s->v[i - 1].tokens : 0);
        r->skipped += s->v[i].skipped;
        if (s->v[i].tokens_per_s > 0) r->seconds += (double)tokens / s->v[i].tokens_per_s;
        if (s->n - i > TAIL_STEPS || !isfinite(s->v[i].loss)) continue;
        sum += s->v[i].loss;
        n++;
    }
    r->first_loss = s->n ? s->v[0].loss : NAN;
    r->loss = n ? sum / (double)n : NAN;
    r->step = s->n ? s->v[s->n - 1].step : 0;
    r->tokens = s->n ? s->v[s->n - 1].tokens : 0;
    r->tokens_per_s = median_speed(s);
}

static void add_evals(struct summary *r) {
    const struct metrics_evals *e = &r->evals;
    r->eval_loss = r->best_loss = r->bits_per_byte = NAN;
    for (size_t i = 0; i < e->n; i++) {
        r->eval_loss = e->v[i].loss;
        r->eval_step = e->v[i].step;
        r->bits_per_byte = e->v[i].bits_per_byte;
        if (!isfinite(e->v[i].loss) || r->best_loss <= e->v[i].loss) continue;
        r->best_loss = e->v[i].loss;
        r->best_step = e->v[i].step;
    }
}

int summarize(struct summary *r, const char *run, struct err *err) {
    char *path = path_join(run, "metrics.jsonl"), *results = path_join(run, "all_results.json");
    struct u64s saved = {0};
    r->run = run;
    int rc = path && results ? 0 : err_nomem(err, strlen(run));
    if (rc == 0 && file_kind(path) != FILE_REGULAR)
        rc = err_set(err, ERR_USAGE, "%s: is no run of lmtrain (it has no metrics.jsonl)", run);
    if (rc == 0) rc = metrics_read(path, &r->steps, &r->evals, err);
    if (rc == 0) rc = checkpoint_list(run, &saved, err);
    if (rc == 0) {
        add_steps(r);
        add_evals(r);
        r->checkpoint = saved.n ? saved.v[saved.n - 1] : 0;
        r->finished = file_kind(results) == FILE_REGULAR;
    }
    u64s_release(&saved);
    free(path);
    free(results);
    return rc;
}

void summary_release(struct summary *r) {
    metrics_steps_release(&r->steps);
    metrics_evals_release(&r->evals);
}

/* ------------------------------------------------------------------ the table */

static int add_row(struct table *t, const struct summary *r, struct err *err) {
    int rc = table_str(t, r->run, err);
    if (rc == 0) rc = table_u64(t, r->step, err);
    if (rc == 0) rc = table_u64(t, r->tokens, err);
    if (rc == 0) rc = table_f64(t, r->loss, 4, err);
    if (rc == 0) rc = table_f64(t, r->eval_loss, 4, err);
    if (rc == 0) rc = table_f64(t, r->best_loss, 4, err);
    if (rc == 0) rc = r->best_step ? table_u64(t, r->best_step, err) : table_str(t, "-", err);
    if (rc == 0) rc = table_f64(t, exp(r->best_loss), 2, err);
    if (rc == 0) rc = table_f64(t, r->bits_per_byte, 4, err);
    if (rc == 0) rc = table_f64(t, r->tokens_per_s, 0, err);
    return rc < 0 ? rc : table_f64(t, r->seconds / 3600, 2, err);
}

int summary_table(struct table **ret, const struct summary *runs, size_t n, struct err *err) {
    struct table *t = NULL;
    int rc = table_new(&t, "run|step|tokens|loss|eval|best|at|perplexity|bits/byte|tok/s|hours",
                       "lrrrrrrrrrr", err);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = add_row(t, &runs[i], err);
    if (rc == 0)
        *ret = t;
    else
        table_free(t);
    return rc;
}
