/* The page: summary, curves, how the configurations differ, evaluations, samples. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "report/html.h"
#include "report/svg.h"
#include "tools/lmreport_parts.h"

enum { EVAL_ROWS = 40, SAMPLE_ROWS = 40, CONFIG_BYTES = 1 << 20, SAMPLE_BYTES = 16 << 20 };

/* ------------------------------------------------------------------ curves */

/* What is drawn over what: one number of a step or of an evaluation. */
struct curve {
    const char *title, *y;
    double (*step)(const struct metrics_step *s);
    double (*eval)(const struct metrics_eval *e);
    bool log;
};

static double step_loss(const struct metrics_step *s) {
    return s->loss;
}
static double step_norm(const struct metrics_step *s) {
    return s->grad_norm;
}
static double step_lr(const struct metrics_step *s) {
    return s->lr;
}
static double step_speed(const struct metrics_step *s) {
    return s->tokens_per_s;
}
static double eval_loss(const struct metrics_eval *e) {
    return e->loss;
}
static double eval_bits(const struct metrics_eval *e) {
    return e->bits_per_byte;
}

static const struct curve curves[] = {
    {"Training loss", "loss", step_loss, NULL, true},
    {"Evaluation loss", "loss", NULL, eval_loss, false},
    {"Bits per byte", "bits", NULL, eval_bits, false},
    {"Gradient norm", "norm", step_norm, NULL, true},
    {"Learning rate", "lr", step_lr, NULL, false},
    {"Tokens per second", "tokens/s", step_speed, NULL, false},
};
enum { CURVES = sizeof curves / sizeof *curves };

static size_t points_of(const struct curve *c, const struct summary *r) {
    return c->step ? r->steps.n : r->evals.n;
}

/* Fills x and y with one run's part of a curve; skipped steps are gaps. */
static void fill(const struct curve *c, const struct summary *r, double *x, double *y) {
    for (size_t i = 0; i < points_of(c, r); i++) {
        const struct metrics_step *s = &r->steps.v[i];
        x[i] = (double)(c->step ? s->step : r->evals.v[i].step);
        y[i] = !c->step ? c->eval(&r->evals.v[i]) : s->skipped ? NAN : c->step(s);
    }
}

static int put_curve(struct html *h, const struct curve *c, const struct summary *runs, size_t n,
                     struct err *err) {
    struct svg_series *series = mem_array(n, sizeof *series);
    const struct svg_axes axes = {.title = c->title, .x = "step", .y = c->y, .log_y = c->log};
    size_t total = 0, at = 0, used = 0, most = 0;
    for (size_t i = 0; i < n; i++) total += points_of(c, &runs[i]);
    double *room = mem_array(2 * total + 1, sizeof *room);
    int rc = series && room ? 0 : err_nomem(err, 2 * total * sizeof *room);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        size_t m = points_of(c, &runs[i]);
        fill(c, &runs[i], room + at, room + total + at);
        if (m) series[used++] = (struct svg_series){runs[i].run, room + at, room + total + at, m};
        if (m > most) most = m;
        at += m;
    }
    if (rc == 0 && most > 1) rc = svg_lines(html_body(h), &axes, series, used, err);
    free(series);
    free(room);
    return rc;
}

/* ------------------------------------------------------------------ configurations */

/* The line "  key: value" of a config.yaml as key and value in place; false: another line. */
static bool split(char *line, char **key, char **value) {
    char *colon = strstr(line, ": ");
    if (strncmp(line, "  ", 2) || !colon) return false;
    *colon = 0;
    *key = line + 2;
    *value = colon + 2;
    return true;
}

/* Reads a run's configuration as alternating keys and values; `text` is the whole file. */
static int read_config(const char *run, struct strs *pairs, struct buf *text, struct err *err) {
    char *path = path_join(run, "config.yaml");
    int rc = path ? 0 : err_nomem(err, strlen(run));
    if (rc == 0 && file_kind(path) == FILE_REGULAR) rc = file_read(path, CONFIG_BYTES, text, err);
    free(path);
    char *copy = rc == 0 ? strndup(text->n ? text->v : "", text->n) : NULL, *rest = copy, *line;
    while (rc == 0 && (line = strsep(&rest, "\n")) != NULL) {
        char *key, *value;
        if (!split(line, &key, &value)) continue;
        rc = strs_push(pairs, key, err);
        if (rc == 0) rc = strs_push(pairs, value, err);
    }
    free(copy);
    return rc;
}

static const char *value_of(const struct strs *pairs, const char *key) {
    for (size_t i = 0; i + 1 < pairs->n; i += 2)
        if (!strcmp(pairs->v[i], key)) return pairs->v[i + 1];
    return "-";
}

/* A row for every key whose value is not the same in all runs. */
static int add_differences(struct table *t, const struct strs *pairs, size_t n, size_t *ret_rows,
                           struct err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i + 1 < pairs[0].n; i += 2) {
        const char *key = pairs[0].v[i];
        bool same = true;
        for (size_t k = 1; k < n; k++) same &= !strcmp(value_of(&pairs[k], key), pairs[0].v[i + 1]);
        if (same) continue;
        rc = table_str(t, key, err);
        for (size_t k = 0; rc == 0 && k < n; k++) rc = table_str(t, value_of(&pairs[k], key), err);
        ++*ret_rows;
    }
    return rc;
}

/* Heads "option|run a|run b" and as many columns to the left; malloc'd. */
static int column_heads(const struct summary *runs, size_t n, struct buf *heads, struct buf *align,
                        struct err *err) {
    int rc = buf_str(heads, "option", err);
    if (rc == 0) rc = buf_char(align, 'l', err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = buf_char(heads, '|', err);
        for (const char *p = runs[i].run; rc == 0 && *p; p++)
            rc = buf_char(heads, *p == '|' ? '/' : *p, err);
        if (rc == 0) rc = buf_char(align, 'l', err);
    }
    return rc;
}

static int put_differences(struct html *h, const struct summary *runs, const struct strs *pairs,
                           size_t n, struct err *err) {
    struct buf heads = {0}, align = {0};
    struct table *t = NULL;
    size_t rows = 0;
    int rc = column_heads(runs, n, &heads, &align, err);
    if (rc == 0 && (!buf_cstr(&heads) || !buf_cstr(&align))) rc = err_nomem(err, heads.n);
    if (rc == 0) rc = table_new(&t, heads.v, align.v, err);
    if (rc == 0) rc = add_differences(t, pairs, n, &rows, err);
    if (rc == 0) html_heading(h, "How they differ");
    if (rc == 0 && rows) html_table(h, t);
    if (rc == 0 && !rows) html_para(h, "All options are the same.");
    table_free(t);
    buf_release(&heads);
    buf_release(&align);
    return rc;
}

static int put_configs(struct html *h, const struct summary *runs, size_t n, struct err *err) {
    struct strs *pairs = mem_array(n, sizeof *pairs);
    struct buf *texts = mem_array(n, sizeof *texts);
    int rc = pairs && texts ? 0 : err_nomem(err, n * sizeof *pairs);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = read_config(runs[i].run, &pairs[i], &texts[i], err);
    if (rc == 0 && n > 1) rc = put_differences(h, runs, pairs, n, err);
    if (rc == 0) html_heading(h, "Configuration");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        html_para(h, runs[i].run);
        html_pre(h, texts[i].n ? texts[i].v : "", texts[i].n);
    }
    for (size_t i = 0; i < n; i++) {
        if (pairs) strs_release(&pairs[i]);
        if (texts) buf_release(&texts[i]);
    }
    free(pairs);
    free(texts);
    return rc;
}

/* ------------------------------------------------------------------ evaluations, samples */

static int put_evals(struct html *h, const struct summary *r, struct err *err) {
    struct table *t = NULL;
    size_t n = r->evals.n, first = n > EVAL_ROWS ? n - EVAL_ROWS : 0;
    if (!n) return 0;
    html_para(h, r->run);
    int rc = table_new(&t, "step|loss|perplexity|bits/byte|tokens|seconds", "rrrrrr", err);
    for (size_t i = first; rc == 0 && i < n; i++) {
        const struct metrics_eval *e = &r->evals.v[i];
        rc = table_u64(t, e->step, err);
        if (rc == 0) rc = table_f64(t, e->loss, 4, err);
        if (rc == 0) rc = table_f64(t, exp(e->loss), 2, err);
        if (rc == 0) rc = table_f64(t, e->bits_per_byte, 4, err);
        if (rc == 0) rc = table_u64(t, e->targets, err);
        if (rc == 0) rc = table_f64(t, e->seconds, 1, err);
    }
    if (rc == 0) html_table(h, t);
    table_free(t);
    return rc;
}

/* One line of samples.jsonl: {"step":…, "prompt":…, "text":…} */
static int put_sample(struct html *h, const char *line, size_t n, struct err *err) {
    cJSON *o = NULL;
    uint64_t step = 0;
    const char *prompt = "", *text = "";
    char head[64];
    if (json_parse(&o, line, n, "sample", NULL) < 0) return 0; /* torn, or none of ours */
    int rc = json_u64(o, "step", UINT64_MAX, &step, "sample", NULL);
    if (rc == 0) rc = json_str(o, "prompt", &prompt, "sample", NULL);
    if (rc == 0) rc = json_str(o, "text", &text, "sample", NULL);
    struct buf both = {0};
    snprintf(head, sizeof head, "step %" PRIu64, step);
    if (rc == 0) rc = buf_printf(&both, err, "%s%s", prompt, text);
    if (rc == 0) html_para(h, head);
    if (rc == 0) html_pre(h, both.v ? both.v : "", both.n);
    buf_release(&both);
    cJSON_Delete(o);
    return rc == ERR_NOMEM ? rc : 0;
}

/* The last samples that the run wrote down, if it did. */
static int put_samples(struct html *h, const char *run, struct err *err) {
    char *path = path_join(run, "samples.jsonl");
    struct buf text = {0};
    size_t lines = 0, at = 0;
    int rc = path ? 0 : err_nomem(err, strlen(run));
    bool there = rc == 0 && file_kind(path) == FILE_REGULAR;
    if (there) rc = file_read(path, SAMPLE_BYTES, &text, err);
    if (there && rc == 0) html_heading(h, "Samples");
    if (there && rc == 0) html_para(h, run);
    for (size_t i = 0; i < text.n; i++) lines += text.v[i] == '\n';
    for (size_t line = 0; rc == 0 && line < lines; line++) {
        char *end = memchr(text.v + at, '\n', text.n - at);
        size_t n = (size_t)(end - text.v) - at;
        if (line + SAMPLE_ROWS >= lines) rc = put_sample(h, text.v + at, n, err);
        at += n + 1;
    }
    buf_release(&text);
    free(path);
    return rc;
}

/* ------------------------------------------------------------------ the page */

static int put_summary(struct html *h, const struct summary *runs, size_t n, struct err *err) {
    struct table *t = NULL;
    int rc = summary_table(&t, runs, n, err);
    if (rc == 0) html_table(h, t);
    table_free(t);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "%s: %s after %" PRIu64 " steps; newest checkpoint at step %" PRIu64 "; %" PRIu64
                 " steps skipped.",
                 runs[i].run, runs[i].finished ? "finished" : "not finished", runs[i].step,
                 runs[i].checkpoint, runs[i].skipped);
        html_para(h, text);
    }
    return rc;
}

int report_html(struct buf *out, const struct summary *runs, size_t n, struct err *err) {
    char title[64];
    snprintf(title, sizeof title, n == 1 ? "A training run" : "%zu training runs", n);
    struct html *h = NULL;
    int rc = html_new(&h, title, err);
    if (rc < 0) return rc;
    rc = put_summary(h, runs, n, err);
    html_heading(h, "Curves");
    for (size_t i = 0; rc == 0 && i < CURVES; i++) rc = put_curve(h, &curves[i], runs, n, err);
    html_heading(h, "Evaluations");
    for (size_t i = 0; rc == 0 && i < n; i++) rc = put_evals(h, &runs[i], err);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = put_samples(h, runs[i].run, err);
    if (rc == 0) rc = put_configs(h, runs, n, err);
    if (rc < 0) html_failed(h, rc, err);
    return html_end(h, out, err);
}
