/* metrics.jsonl: see metrics.h. A line begins with its step, so that cutting needs no more than the
 * parser that reads it. */
#include "train/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "train/append.h"

static const uint64_t MOST_BYTES = (uint64_t)16 << 30;
static const uint64_t COUNT_MAX = (uint64_t)1 << 53; /* what JSON's numbers hold exactly */

struct metrics {
    struct append file;
    struct metrics_steps steps;
    struct metrics_evals evals;
    struct buf line;
};

BUF_DEFINE(metrics_steps, struct metrics_step)
BUF_DEFINE(metrics_evals, struct metrics_eval)

/* ------------------------------------------------------------------ one line */

static int put(struct buf *b, const char *key, double x, struct err *err) {
    int rc = buf_printf(b, err, "%s\"%s\":", b->n > 1 ? "," : "", key);
    return rc < 0 ? rc : json_number(b, x, err);
}

static int step_line(struct buf *b, const struct metrics_step *s, const char *note,
                     struct err *err) {
    int rc = buf_char(b, '{', err);
    if (rc == 0) rc = put(b, "step", (double)s->step, err);
    if (rc == 0) rc = put(b, "loss", s->loss, err);
    if (rc == 0) rc = put(b, "lr", s->lr, err);
    if (rc == 0) rc = put(b, "grad_norm", s->grad_norm, err);
    if (rc == 0) rc = put(b, "tokens", (double)s->tokens, err);
    if (rc == 0) rc = put(b, "tokens_per_s", s->tokens_per_s, err);
    if (rc == 0) rc = put(b, "time", s->time, err);
    if (rc == 0) rc = put(b, "epoch", s->epoch, err);
    if (rc == 0) rc = put(b, "samples", (double)s->samples, err);
    if (rc == 0 && s->skipped) rc = buf_str(b, ",\"skipped\":true", err);
    if (rc == 0) rc = buf_str(b, note, err);
    return rc < 0 ? rc : buf_str(b, "}\n", err);
}

static int eval_line(struct buf *b, const struct metrics_eval *e, struct err *err) {
    int rc = buf_char(b, '{', err);
    if (rc == 0) rc = put(b, "step", (double)e->step, err);
    if (rc == 0) rc = put(b, "eval_loss", e->loss, err);
    if (rc == 0) rc = put(b, "perplexity", exp(e->loss), err);
    if (rc == 0) rc = put(b, "eval_tokens", (double)e->targets, err);
    if (rc == 0) rc = put(b, "time", e->time, err);
    if (rc == 0) rc = put(b, "seconds", e->seconds, err);
    if (rc == 0) rc = put(b, "windows", (double)e->windows, err);
    if (rc == 0) rc = put(b, "batches", (double)e->batches, err);
    if (rc == 0 && isfinite(e->bits_per_byte)) rc = put(b, "bits_per_byte", e->bits_per_byte, err);
    if (rc == 0 && e->part_loss != e->loss) rc = put(b, "eval_loss_part", e->part_loss, err);
    return rc < 0 ? rc : buf_str(b, "}\n", err);
}

static int read_step(const cJSON *o, struct metrics_step *s, const char *what, struct err *err) {
    int rc = json_f64(o, "loss", &s->loss, what, err);
    if (rc == 0) rc = json_f64(o, "lr", &s->lr, what, err);
    if (rc == 0) rc = json_f64(o, "grad_norm", &s->grad_norm, what, err);
    if (rc == 0) rc = json_u64(o, "tokens", COUNT_MAX, &s->tokens, what, err);
    if (rc == 0) rc = json_f64(o, "tokens_per_s", &s->tokens_per_s, what, err);
    if (rc == 0) rc = json_f64(o, "time", &s->time, what, err);
    if (rc == 0) rc = json_f64(o, "epoch", &s->epoch, what, err);
    if (rc == 0) rc = json_u64(o, "samples", COUNT_MAX, &s->samples, what, err);
    if (rc == 0) rc = json_bool(o, "skipped", &s->skipped, what, err);
    return rc;
}

static int read_eval(const cJSON *o, struct metrics_eval *e, const char *what, struct err *err) {
    int rc = json_f64(o, "eval_loss", &e->loss, what, err);
    e->part_loss = e->loss;
    if (rc == 0) rc = json_f64(o, "eval_loss_part", &e->part_loss, what, err);
    if (rc == 0) rc = json_u64(o, "eval_tokens", COUNT_MAX, &e->targets, what, err);
    if (rc == 0) rc = json_f64(o, "time", &e->time, what, err);
    if (rc == 0) rc = json_f64(o, "seconds", &e->seconds, what, err);
    if (rc == 0) rc = json_u64(o, "windows", COUNT_MAX, &e->windows, what, err);
    if (rc == 0) rc = json_u64(o, "batches", COUNT_MAX, &e->batches, what, err);
    if (rc == 0) rc = json_f64(o, "bits_per_byte", &e->bits_per_byte, what, err);
    return rc;
}

/* ------------------------------------------------------------------ whole files */

/* Takes one line into the lists. 1: it stays; 0: it goes (behind `step`, or a repetition). */
static int take(struct metrics_steps *steps, struct metrics_evals *evals, const char *line,
                size_t n, uint64_t step, const char *what, struct err *err) {
    cJSON *o = NULL;
    uint64_t at = UINT64_MAX;
    int rc = json_parse(&o, line, n, what, err);
    if (rc == 0) rc = json_u64(o, "step", COUNT_MAX, &at, what, err);
    if (rc == 0 && at == UINT64_MAX) rc = err_set(err, ERR_CORRUPT, "%s: a line has no step", what);
    bool eval = rc == 0 && json_get(o, "eval_loss");
    uint64_t last = eval ? (evals->n ? evals->v[evals->n - 1].step : UINT64_MAX)
                         : (steps->n ? steps->v[steps->n - 1].step : UINT64_MAX);
    bool stays = rc == 0 && at <= step && (last == UINT64_MAX || at > last);
    /* NaN and infinity are null in JSON: what a line does not say is not a number */
    struct metrics_step s = {.step = at, .loss = NAN, .grad_norm = NAN};
    struct metrics_eval e = {.step = at, .loss = NAN, .part_loss = NAN, .bits_per_byte = NAN};
    if (stays && eval) rc = read_eval(o, &e, what, err);
    if (stays && !eval) rc = read_step(o, &s, what, err);
    if (stays && rc == 0)
        rc = eval ? metrics_evals_push(evals, e, err) : metrics_steps_push(steps, s, err);
    cJSON_Delete(o);
    return rc < 0 ? rc : stays;
}

/* Reads the lines up to `step`; what stays goes to `kept`, if given. Warns of what is none of ours.
 * */
static int read_lines(const struct buf *text, const char *path, uint64_t step,
                      struct metrics_steps *steps, struct metrics_evals *evals, struct buf *kept,
                      const struct log *log, struct err *err) {
    uint64_t number = 0;
    for (size_t at = 0; at < text->n;) {
        const char *line = text->v + at, *end = memchr(line, '\n', text->n - at);
        if (!end) break; /* torn by a kill */
        size_t n = (size_t)(end - line);
        char what[ERR_MSG_BYTES / 2];
        struct err why = {0};
        snprintf(what, sizeof what, "%s: line %llu", path, (unsigned long long)++number);
        int rc = take(steps, evals, line, n, step, what, &why);
        if (rc == ERR_NOMEM) return err_set(err, rc, "%s", why.msg);
        if (rc < 0) log_warn(log, "%s; the line is dropped", why.msg);
        if (rc > 0 && kept) rc = buf_append(kept, line, n + 1, err);
        if (rc == ERR_NOMEM) return rc;
        at += n + 1;
    }
    return 0;
}

/* Cuts the file at `step` if it needs it. */
static int cut(struct metrics *m, const char *path, uint64_t step, const struct log *log,
               struct err *err) {
    struct buf text = {0}, kept = {0};
    int rc = file_kind(path) == FILE_NONE ? 0 : file_read(path, MOST_BYTES, &text, err);
    if (rc == 0) rc = read_lines(&text, path, step, &m->steps, &m->evals, &kept, log, err);
    if (rc == 0 && kept.n != text.n) rc = file_write(path, kept.v, kept.n, err);
    buf_release(&text);
    buf_release(&kept);
    return rc;
}

int metrics_open(struct metrics **ret, const char *path, uint64_t step, const struct log *log,
                 struct err *err) {
    struct metrics *m = calloc(1, sizeof *m);
    if (!m) return err_nomem(err, sizeof *m);
    int rc = cut(m, path, step, log, err);
    if (rc == 0) rc = append_open(&m->file, path, err);
    if (rc < 0)
        metrics_close(m);
    else
        *ret = m;
    return rc;
}

void metrics_close(struct metrics *m) {
    if (!m) return;
    append_close(&m->file);
    metrics_steps_release(&m->steps);
    metrics_evals_release(&m->evals);
    buf_release(&m->line);
    free(m);
}

int metrics_add_step(struct metrics *m, const struct metrics_step *s, const char *note,
                     struct err *err) {
    m->line.n = 0;
    int rc = step_line(&m->line, s, note, err);
    if (rc == 0) rc = metrics_steps_push(&m->steps, *s, err);
    return rc < 0 ? rc : append_write(&m->file, m->line.v, m->line.n, err);
}

int metrics_add_eval(struct metrics *m, const struct metrics_eval *e, struct err *err) {
    m->line.n = 0;
    int rc = eval_line(&m->line, e, err);
    if (rc == 0) rc = metrics_evals_push(&m->evals, *e, err);
    return rc < 0 ? rc : append_write(&m->file, m->line.v, m->line.n, err);
}

int metrics_sync(struct metrics *m, struct err *err) {
    return append_sync(&m->file, err);
}

const struct metrics_steps *metrics_get_steps(const struct metrics *m) {
    return &m->steps;
}

const struct metrics_evals *metrics_get_evals(const struct metrics *m) {
    return &m->evals;
}

int metrics_read(const char *path, struct metrics_steps *steps, struct metrics_evals *evals,
                 struct err *err) {
    struct buf text = {0};
    int rc = file_read(path, MOST_BYTES, &text, err);
    if (rc == 0) rc = read_lines(&text, path, UINT64_MAX, steps, evals, NULL, NULL, err);
    buf_release(&text);
    return rc;
}
