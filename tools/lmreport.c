/* lmreport: what became of one or more runs, from their metrics.jsonl. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "report/spark.h"
#include "report/table.h"
#include "tools/common.h"
#include "train/checkpoint.h"
#include "train/metrics.h"

enum { SPARK_WIDTH = 60, TAIL_STEPS = 50 };

/* One run in numbers. NAN: none. */
struct summary {
    const char *run;
    uint64_t step, tokens, skipped, checkpoint;
    double first_loss, loss; /* of the first step; mean over the last TAIL_STEPS */
    double eval_loss, best_loss;
    uint64_t eval_step, best_step;
    double tokens_per_s, seconds; /* medians and sums over the steps' own times */
    struct metrics_steps steps;
    struct metrics_evals evals;
};

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
    r->eval_loss = r->best_loss = NAN;
    for (size_t i = 0; i < e->n; i++) {
        r->eval_loss = e->v[i].loss;
        r->eval_step = e->v[i].step;
        if (isfinite(r->best_loss) && !(e->v[i].loss < r->best_loss)) continue;
        r->best_loss = e->v[i].loss;
        r->best_step = e->v[i].step;
    }
}

static int summarize(struct summary *r, const char *run, struct err *err) {
    char *path = path_join(run, "metrics.jsonl");
    struct u64s saved = {0};
    r->run = run;
    int rc = path ? 0 : err_nomem(err, strlen(run));
    if (rc == 0 && file_kind(path) != FILE_REGULAR)
        rc = err_set(err, ERR_USAGE, "%s: is no run of lmtrain (it has no metrics.jsonl)", run);
    if (rc == 0) rc = metrics_read(path, &r->steps, &r->evals, err);
    if (rc == 0) rc = checkpoint_list(run, &saved, err);
    if (rc == 0) {
        add_steps(r);
        add_evals(r);
        r->checkpoint = saved.n ? saved.v[saved.n - 1] : 0;
    }
    u64s_release(&saved);
    free(path);
    return rc;
}

/* ------------------------------------------------------------------ text */

static int add_row(struct table *t, const struct summary *r, struct err *err) {
    int rc = table_str(t, r->run, err);
    if (rc == 0) rc = table_u64(t, r->step, err);
    if (rc == 0) rc = table_u64(t, r->tokens, err);
    if (rc == 0) rc = table_f64(t, r->loss, 4, err);
    if (rc == 0) rc = table_f64(t, r->eval_loss, 4, err);
    if (rc == 0) rc = table_f64(t, r->best_loss, 4, err);
    if (rc == 0) rc = r->best_step ? table_u64(t, r->best_step, err) : table_str(t, "-", err);
    if (rc == 0) rc = table_f64(t, exp(r->best_loss), 2, err);
    if (rc == 0) rc = table_f64(t, r->tokens_per_s, 0, err);
    return rc < 0 ? rc : table_f64(t, r->seconds / 3600, 2, err);
}

static int add_curve(struct buf *out, const char *what, const double *v, size_t n,
                     struct err *err) {
    if (n < 2) return 0;
    int rc = buf_printf(out, err, "  %-10s %8.4f ", what, v[0]);
    if (rc == 0) rc = spark_text(out, v, n, SPARK_WIDTH, err);
    return rc < 0 ? rc : buf_printf(out, err, " %.4f\n", v[n - 1]);
}

static int add_curves(struct buf *out, const struct summary *r, struct err *err) {
    size_t n = r->steps.n > r->evals.n ? r->steps.n : r->evals.n;
    double *v = mem_array(n + 1, sizeof *v);
    if (!v) return err_nomem(err, n * sizeof *v);
    int rc = buf_printf(out, err, "\n%s\n", r->run);
    for (size_t i = 0; i < r->steps.n; i++) v[i] = r->steps.v[i].loss;
    if (rc == 0) rc = add_curve(out, "loss", v, r->steps.n, err);
    for (size_t i = 0; i < r->evals.n; i++) v[i] = r->evals.v[i].loss;
    if (rc == 0) rc = add_curve(out, "evaluation", v, r->evals.n, err);
    for (size_t i = 0; i < r->steps.n; i++) v[i] = r->steps.v[i].grad_norm;
    if (rc == 0) rc = add_curve(out, "norm", v, r->steps.n, err);
    if (rc == 0 && r->skipped)
        rc = buf_printf(out, err, "  %" PRIu64 " steps were skipped: loss or norm not finite\n",
                        r->skipped);
    free(v);
    return rc;
}

static int print_text(struct tool *t, const struct summary *runs, size_t n) {
    struct table *table = NULL;
    struct buf out = {0};
    int rc = table_new(&table, "run|step|tokens|loss|eval|best|at|perplexity|tok/s|hours",
                       "lrrrrrrrrr", &t->err);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = add_row(table, &runs[i], &t->err);
    if (rc == 0) rc = table_text(table, &out, &t->err);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = add_curves(&out, &runs[i], &t->err);
    if (rc == 0) fwrite(out.v, 1, out.n, tool_out(t));
    buf_release(&out);
    table_free(table);
    return rc;
}

/* ------------------------------------------------------------------ JSON */

static void number(cJSON *o, const char *key, double x) {
    if (isfinite(x))
        cJSON_AddNumberToObject(o, key, x);
    else
        cJSON_AddNullToObject(o, key);
}

static cJSON *run_json(const struct summary *r) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "run", r->run);
    number(o, "step", (double)r->step);
    number(o, "tokens", (double)r->tokens);
    number(o, "skipped", (double)r->skipped);
    number(o, "checkpoint", (double)r->checkpoint);
    number(o, "first_loss", r->first_loss);
    number(o, "loss", r->loss);
    number(o, "eval_loss", r->eval_loss);
    number(o, "best_eval_loss", r->best_loss);
    number(o, "best_step", (double)r->best_step);
    number(o, "perplexity", exp(r->best_loss));
    number(o, "tokens_per_s", r->tokens_per_s);
    number(o, "seconds", r->seconds);
    return o;
}

static int print_json(struct tool *t, const struct summary *runs, size_t n) {
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "runs");
    for (size_t i = 0; i < n; i++) cJSON_AddItemToArray(list, run_json(&runs[i]));
    return tool_print_json(t, o);
}

static int report(struct tool *t) {
    static const char *const usual[] = {"run"};
    size_t n = t->operands->n ? t->operands->n : 1;
    struct summary *runs = mem_array(n, sizeof *runs);
    int rc = runs ? 0 : err_nomem(&t->err, n * sizeof *runs);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = summarize(&runs[i], t->operands->n ? t->operands->v[i] : usual[i], &t->err);
    if (rc == 0) rc = t->json ? print_json(t, runs, n) : print_text(t, runs, n);
    for (size_t i = 0; runs && i < n; i++) {
        metrics_steps_release(&runs[i].steps);
        metrics_evals_release(&runs[i].evals);
    }
    free(runs);
    return rc;
}

int main(int argc, char **argv) {
    struct opt opts[] = {{0}};
    struct program p = {
        .name = "lmreport",
        .summary = "says in a few lines what became of one or more training runs",
        .usage = "[RUN…]",
        .text =
            "Reads metrics.jsonl, also of a run that is still going. loss: mean over the last 50 "
            "steps; eval: the last evaluation; best: the lowest; tok/s: the median step. Without "
            "RUN it reads run/.",
        .examples = "lmreport\tthe run in run/\nlmreport small/ large/\ttwo runs side by side",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = report(&t);
    return tool_end(&t, rc);
}
