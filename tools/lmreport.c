/* lmreport: what became of one or more runs, as text, JSON, a page, or watched. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "base/json.h"
#include "report/spark.h"
#include "report/table.h"
#include "base/signals.h"
#include "tools/common.h"
#include "tools/lmreport_parts.h"
#include "tools/outputs.h"

enum { SPARK_WIDTH = 60 };

/* ------------------------------------------------------------------ text */

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
    int rc = summary_table(&table, runs, n, &t->err);
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

/* ------------------------------------------------------------------ the page, and watching */

static const char *const read_of_run[] = {"metrics.jsonl", "all_results.json", "config.yaml",
                                          "samples.jsonl", NULL};

struct options {
    const char *html;
    bool watch;
    double interval;
};

static int write_html(struct tool *t, const char *path, const struct summary *runs, size_t n) {
    struct buf out = {0};
    int rc = report_html(&out, runs, n, &t->err);
    if (rc == 0) rc = file_write(path, out.v, out.n, &t->err);
    if (rc == 0) log_info(&t->log, "%s: %.1f kB", path, (double)out.n / 1e3);
    buf_release(&out);
    return rc;
}

static int report(struct tool *t, const struct options *o, bool *ret_finished) {
    static const char *const usual[] = {"run"};
    size_t n = t->operands->n ? t->operands->n : 1;
    struct summary *runs = mem_array(n, sizeof *runs);
    int rc = runs ? 0 : err_nomem(&t->err, n * sizeof *runs);
    *ret_finished = true;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const char *run = t->operands->n ? t->operands->v[i] : usual[i];
        if (o->html) rc = output_check_names(o->html, run, read_of_run, &t->err);
        if (rc == 0) rc = summarize(&runs[i], run, &t->err);
        *ret_finished &= runs[i].finished;
    }
    if (rc == 0 && o->watch) fputs("\x1b[H\x1b[2J", tool_out(t)); /* home, clear */
    if (rc == 0 && o->html) rc = write_html(t, o->html, runs, n);
    if (rc == 0 && (!o->html || t->json))
        rc = t->json ? print_json(t, runs, n) : print_text(t, runs, n);
    for (size_t i = 0; runs && i < n; i++) summary_release(&runs[i]);
    free(runs);
    return rc;
}

/* Again and again, until the runs are finished or someone has seen enough. */
static int watch(struct tool *t, const struct options *o) {
    bool finished = false;
    int rc = 0;
    signals_install();
    while (rc == 0 && !finished && !signals_stop()) {
        rc = report(t, o, &finished);
        if (rc == 0 && fflush(stdout)) rc = err_errno(&t->err, "stdout");
        double left = o->interval;
        for (; rc == 0 && !finished && left > 0 && !signals_stop(); left -= 0.1)
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return rc;
}

int main(int argc, char **argv) {
    struct options o = {.interval = 2};
    bool finished;
    struct opt opts[] = {
        {"html", 0, OPT_STR, &o.html, "FILE",
         "write one page with curves, differences and tables, that needs no network"},
        {"watch", 0, OPT_FLAG, &o.watch, NULL, "look again and again until the runs are finished"},
        {"interval", 0, OPT_DURATION, &o.interval, "TIME", "time between two looks"},
        {0}};
    struct program p = {
        .name = "lmreport",
        .summary = "says what became of one or more training runs",
        .usage = "[RUN…] [--html FILE] [--watch]",
        .text =
            "Reads metrics.jsonl, also of a run that is still going. loss: mean over the last 50 "
            "steps; eval: the last evaluation; best: the lowest; tok/s: the median step. Without "
            "RUN it reads run/.",
        .examples = "lmreport\tthe run in run/\n"
                    "lmreport small/ large/ --html runs.html\ttwo runs side by side, as a page\n"
                    "lmreport --watch\tin the terminal while it trains",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = o.watch ? watch(&t, &o) : report(&t, &o, &finished);
    return tool_end(&t, rc);
}
