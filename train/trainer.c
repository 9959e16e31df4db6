/* The loop: see trainer.h.
 *
 * A signal does not wait for the end of a step: a step changes nothing before its update, so it
 * can be dropped between two micro-batches, and the state that is saved is that of the step before.
 * */
#include "train/trainer_inside.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"

enum { SKIP_WINDOWS = 4096 };                              /* written down of a skipped step */
static const uint64_t DROPOUT_STREAM = 0x6C6F72792E647270; /* "lory.drp" */

static double clock_of(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double trainer_clock(void) {
    return clock_of(CLOCK_MONOTONIC);
}

double trainer_wall_time(void) {
    return round(clock_of(CLOCK_REALTIME) * 1e6) / 1e6;
}

static int stop_signal(const struct trainer *t) {
    if (t->stop_asked) return 1;
    return t->opts->stop ? t->opts->stop(t->opts->ctx) : 0;
}

static bool wants_stop(void *trainer) {
    return stop_signal(trainer) != 0;
}

/* ------------------------------------------------------------------ one step */

/* Sample i of the step that begins at `at`, to where it belongs; returns its targets in *ret. */
static int fetch_one(struct trainer *t, uint64_t at, uint64_t i, uint64_t *ret, struct err *err) {
    uint64_t T = (uint64_t)t->train->T, own = i - t->first, token;
    bool mine = i >= t->first && own < t->mine;
    int32_t *x = mine ? t->tokens + own * T : t->others, *y = mine ? t->labels + own * T : x + T;
    size_t shard;
    int rc = loader_get(t->train, at + i, x, y, err);
    loader_place(t->train, at + i, &shard, &token);
    if (rc == 0)
        rc = check_ids(x, y, t->train->T, model_get_config(t->model)->V,
                       t->train->set->v[shard].path, token, err);
    for (uint64_t j = 0; j < T; j++) *ret += y[j] != LABEL_IGNORED;
    return rc;
}

int trainer_fetch(struct trainer *t, uint64_t at, struct err *err) {
    uint64_t targets = 0;
    uint64_t from = t->others ? 0 : t->first, to = t->others ? t->opts->samples : from + t->mine;
    int rc = 0;
    if (t->fetched == at) return 0;
    t->fetched = NOTHING_FETCHED;
    for (uint64_t i = from; rc == 0 && i < to; i++) rc = fetch_one(t, at, i, &targets, err);
    loader_will_need(t->train, at + t->opts->samples + from, to - from);
    if (rc == 0) t->fetched = at;
    t->targets = targets;
    return rc;
}

void trainer_fetch_ahead(struct trainer *t) {
    struct err later = {0};
    if (t->state.step + 1 < t->opts->steps)
        trainer_fetch(t, t->state.samples + t->opts->samples, &later);
}

int trainer_accumulate(struct trainer *t, struct err *err) {
    uint64_t key = philox(t->opts->seed, 0, DROPOUT_STREAM).v[0];
    uint64_t B = (uint64_t)t->opts->B, T = (uint64_t)t->train->T;
    const struct model_config *c = model_get_config(t->model);
    float scale = t->targets ? (float)(1.0 / (double)t->targets) : 0;
    bool together = t->opts->comm && t->opts->comm->size > 1; /* then a step is done as a whole */
    int rc = 0;
    model_zero_grads(t->model);
    for (uint64_t i = 0; rc == 0 && t->targets && i < t->mine; i += B) {
        uint64_t rows = t->mine - i < B ? t->mine - i : B, n = 0;
        struct model_batch b = {.B = (int)rows, .T = (int)T};
        if (!together && stop_signal(t)) return 1;
        b.tokens = t->tokens + i * T;
        b.labels = t->labels + i * T;
        b.dropout = c->embd_pdrop > 0 || c->attn_pdrop > 0 || c->resid_pdrop > 0;
        b.dropout_key = key;
        b.sample0 = t->state.samples + t->first + i;
        rc = model_forward_backward(t->model, &b, scale, NULL, &n, err);
    }
    return rc;
}

#define DIVERGED_HINT "try a lower --lr, a longer --warmup, or --clip 1"

/* A step whose loss or norm is no number, or a spike, changes nothing; too many in a row, and the
 * run is lost. One without targets has nothing to learn: that is no sign of anything. */
static int note_skip(struct trainer *t, const struct metrics_step *s, uint64_t targets,
                     const char *why, struct err *err) {
    uint64_t allowed = t->opts->skips ? t->opts->skips : SKIPS_ALLOWED;
    if (!s->skipped) t->skipped_in_row = 0;
    if (!s->skipped || !targets) return 0;
    t->skipped_in_row++;
    t->not_finite = !isfinite(s->loss) || !isfinite(s->grad_norm);
    log_warn(t->log,
             "step %" PRIu64 ": %s; skipped (samples %" PRIu64 " to %" PRIu64
             ", their places are in metrics.jsonl)",
             s->step, why, s->samples - t->opts->samples, s->samples - 1);
    if (t->skipped_in_row < allowed) return 0;
    err_set(err, ERR_DIVERGED,
            "diverged at step %" PRIu64 ": %s, as in the %" PRIu64 " steps after it",
            s->step + 1 - t->skipped_in_row, why, allowed - 1);
    if (t->saved_step != CHECKPOINT_NONE)
        err_hint(err, "checkpoint-%" PRIu64 " is the last one saved", t->saved_step);
    return err_hint(err, DIVERGED_HINT);
}

/* Why a step was skipped, and the windows it was made of, for its line in metrics.jsonl. */
static int skip_note(const struct trainer *t, const char *why, struct buf *out, struct err *err) {
    uint64_t first = t->state.samples - t->opts->samples;
    int rc = buf_str(out, ",\"why\":", err);
    if (rc == 0) rc = json_quote(out, why, strlen(why), err);
    if (rc == 0) rc = buf_str(out, ",\"windows\":[", err);
    for (uint64_t i = 0; rc == 0 && i < t->opts->samples && i < SKIP_WINDOWS; i++) {
        size_t shard;
        uint64_t at;
        struct buf place = {0};
        loader_place(t->train, first + i, &shard, &at);
        rc = buf_printf(&place, err, "%s:%" PRIu64, path_base(t->train->set->v[shard].path), at);
        if (rc == 0 && i) rc = buf_char(out, ',', err);
        if (rc == 0) rc = json_quote(out, place.v, place.n, err);
        buf_release(&place);
    }
    return rc < 0 ? rc : buf_char(out, ']', err);
}

static int record(struct trainer *t, const struct metrics_step *s, const char *why,
                  struct err *err) {
    struct buf note = {0};
    int rc = s->skipped ? skip_note(t, why, &note, err) : 0;
    if (rc == 0) rc = metrics_add_step(t->metrics, s, s->skipped ? buf_cstr(&note) : "", err);
    buf_release(&note);
    if (rc == 0) rc = trainer_show_step(t, s, err);
    log_debug(t->log,
              "step %" PRIu64 ": loss %.6f, norm %.6g, lr %.6g, samples %" PRIu64 " to %" PRIu64,
              s->step, s->loss, s->grad_norm, s->lr, s->samples - t->opts->samples, s->samples - 1);
    char detail[128]; /* fabs: a NaN's sign is only noise */
    snprintf(detail, sizeof detail, "loss %.4f, lr %.3g, %.0f tok/s", fabs(s->loss), s->lr,
             s->tokens_per_s);
    log_progress(t->log, &(struct progress){.stage = "training",
                                            .done = s->step,
                                            .total = t->opts->steps,
                                            .unit = "steps",
                                            .detail = detail});
    return rc;
}

/* 1: told to stop; the step was dropped. */
static int one_step(struct trainer *t, struct err *err) {
    const struct trainer_opts *p = t->opts;
    struct run_state *r = &t->state;
    struct guard g = trainer_guard(t);
    double start = trainer_clock();
    int rc = trainer_fetch(t, r->samples, err);
    if (rc < 0) return rc;
    uint64_t targets = t->targets;
    struct step_scalars s = {.lr = (float)schedule_lr(&p->schedule, r->step),
                             .beta1 = (float)p->beta1,
                             .beta2 = (float)p->beta2,
                             .eps = (float)p->eps,
                             .weight_decay = (float)p->weight_decay,
                             .clip = (float)p->clip,
                             .grad_scale = targets ? 1 : NAN, /* the norm is none: skip */
                             .step = r->updates + 1,
                             .targets = (double)targets};
    if (isfinite(g.norm)) s.spike = (float)g.norm;
    if (isfinite(g.loss)) s.loss_spike = g.loss;
    rc = trainer_team_step(t, &s, err);
    if (rc == 0) rc = trainer_accumulate(t, err);
    if (rc == 0) rc = trainer_team_sum(t, err);
    if (rc != 0) return rc;
    optimizer_start(&t->optimizer, &s);
    trainer_fetch_ahead(t);
    rc = optimizer_finish(&t->optimizer, &s, err);
    if (rc < 0) return rc;
    uint64_t tokens = t->opts->samples * (uint64_t)t->train->T;
    r->step++;
    r->updates += !s.skipped;
    r->samples += t->opts->samples;
    r->tokens += tokens;
    struct metrics_step m = {.step = r->step,
                             .loss = targets ? s.loss_sum / (double)targets : NAN,
                             .lr = schedule_lr(&p->schedule, r->step - 1),
                             .grad_norm = s.grad_norm,
                             .tokens = r->tokens,
                             .time = trainer_wall_time(),
                             .epoch = (double)r->samples / (double)t->train->n,
                             .samples = r->samples,
                             .skipped = s.skipped != 0};
    m.tokens_per_s = round(10 * (double)tokens / (trainer_clock() - start)) / 10;
    char why[128] = "";
    if (m.skipped) trainer_why_skipped(&m, &g, targets, why, sizeof why);
    rc = record(t, &m, why, err);
    return rc < 0 ? rc : note_skip(t, &m, targets, why, err);
}

/* ------------------------------------------------------------------ evaluation */

/* Scores the model; `whole`: on everything, with the part that other evaluations see beside it. A
 * signal ends it without a record: the run evaluates when it goes on. */
static int evaluate(struct trainer *t, bool whole, struct err *err) {
    uint64_t part = t->opts->eval_windows;
    struct evaluate_opts o = {.B = t->opts->B, .stop = wants_stop, .ctx = t, .log = t->log};
    struct evaluate_result r;
    o.windows = whole ? 0 : part;
    o.part = whole ? part : 0;
    double start = trainer_clock();
    int rc = evaluate_loss(t->model, t->eval, &o, &r, err);
    if (rc < 0 || r.stopped) return rc;
    if (r.targets == 0) {
        err_set(err, ERR_DATA, "the first %" PRIu64 " windows to evaluate on hold no targets",
                r.windows);
        return err_hint(err, "their masks leave none; evaluate on more with --eval-tokens");
    }
    struct metrics_eval e = {.step = t->state.step,
                             .loss = r.sum / (double)r.targets,
                             .targets = r.targets,
                             .windows = r.windows,
                             .batches = r.batches,
                             .time = trainer_wall_time()};
    e.part_loss = r.part_targets ? r.part_sum / (double)r.part_targets : e.loss;
    e.bits_per_byte = evaluate_bits_per_byte(t->eval->set, &r);
    t->last_eval = trainer_clock();
    e.seconds = t->last_eval - start;
    rc = metrics_add_eval(t->metrics, &e, err);
    if (rc == 0) rc = trainer_show_eval(t, &e, err);
    if (rc == 0)
        log_info(t->log,
                 "step %" PRIu64 ": evaluation loss %.4f, perplexity %.5g (%" PRIu64 " tokens)",
                 e.step, e.loss, exp(e.loss), e.targets);
    return rc;
}

static bool due(const struct opt_steps *every, uint64_t step, double since) {
    if (every->steps) return step % every->steps == 0;
    return every->seconds > 0 && trainer_clock() - since >= every->seconds;
}

/* What is to be done between two steps. Evaluation first: its loss belongs into the checkpoint. */
static int between_steps(struct trainer *t, struct err *err) {
    const struct trainer_opts *p = t->opts;
    uint64_t step = t->state.step;
    bool last = step == p->steps, asked = t->save_asked || (p->save && p->save(p->ctx));
    int rc = 0;
    t->save_asked = false;
    if (t->eval && (last || due(&p->eval_every, step, t->last_eval))) rc = evaluate(t, last, err);
    bool save = asked || last || trainer_out_of_patience(t) ||
                (p->save_best && trainer_is_best(t)) || due(&p->save_every, step, t->last_save) ||
                trainer_clock() - t->last_save >= SAVE_SECONDS;
    return rc == 0 && save ? trainer_save(t, err) : rc;
}

/* ------------------------------------------------------------------ the run */

static int leave(struct trainer *t, struct err *err) {
    bool nothing = t->saved_step == t->state.step || t->state.step == 0;
    int rc = nothing ? 0 : trainer_save(t, err);
    if (rc < 0) return rc;
    if (t->saved_step == CHECKPOINT_NONE)
        return err_set(err, ERR_STOPPED, "stopped before the first step was done");
    return err_set(err, ERR_STOPPED,
                   "stopped after step %" PRIu64 " of %" PRIu64 "; saved as %s/checkpoint-%" PRIu64
                   "; the same command goes on from there",
                   t->state.step, t->opts->steps, t->opts->run, t->saved_step);
}

/* An evaluation that a signal or a kill took from this step. */
static int catch_up(struct trainer *t, struct err *err) {
    bool last = t->state.step >= t->opts->steps;
    bool wanted =
        last || (t->opts->eval_every.steps && t->state.step % t->opts->eval_every.steps == 0);
    if (!t->eval || !t->state.step || !wanted || trainer_evaluated(t)) return 0;
    int rc = evaluate(t, last, err);
    if (rc < 0 || !trainer_evaluated(t)) return rc;
    trainer_consider_best(t);
    return trainer_save(t, err);
}

/* A run that ends with skipped steps leaves what was saved before them; without that, nothing. */
static int end_in_doubt(struct trainer *t, struct err *err) {
    if (t->saved_step == CHECKPOINT_NONE) {
        err_set(err, ERR_DIVERGED,
                "the losses of the last steps are no numbers, and nothing was saved before");
        return err_hint(err, DIVERGED_HINT);
    }
    log_warn(t->log, "the last steps were skipped; checkpoint-%" PRIu64 " is the newest",
             t->saved_step);
    return 0;
}

static int loop(struct trainer *t, struct err *err) {
    uint64_t steps = t->opts->steps;
    t->last_save = t->last_eval = trainer_clock();
    int rc = t->state.step < steps ? trainer_check_room(t, !t->opts->force, err) : 0;
    if (rc == 0 && t->opts->begun) rc = t->opts->begun(t->opts->ctx, err);
    if (rc == 0 && steps == 0 && t->saved_step == CHECKPOINT_NONE) rc = trainer_save(t, err);
    if (rc == 0) rc = catch_up(t, err);
    while (rc == 0 && t->state.step < steps && !trainer_out_of_patience(t) && !stop_signal(t)) {
        rc = one_step(t, err);
        if (rc == 1)
            rc = 0; /* dropped */
        else if (rc == 0)
            rc = between_steps(t, err);
    }
    t->early = rc == 0 && t->state.step < steps && trainer_out_of_patience(t);
    bool evaluated = !t->eval || trainer_evaluated(t) || steps == 0;
    if (rc == 0 && ((t->state.step < steps && !t->early) || !evaluated)) return leave(t, err);
    if (t->early)
        log_info(t->log, "step %" PRIu64 ": no better evaluation in the last %" PRIu64 "; done",
                 t->state.step, t->opts->patience);
    if (rc == 0 && trainer_in_doubt(t)) rc = end_in_doubt(t, err);
    return rc < 0 ? rc : trainer_finish(t, err);
}

int trainer_plan(struct trainer *t, struct err *err) {
    const struct comm *c = t->opts->comm;
    loader_share(t->opts->samples, c ? c->rank : 0, c ? c->size : 1, &t->first, &t->mine);
    size_t room = (size_t)t->mine * (size_t)t->train->T;
    t->tokens = mem_array(room, sizeof *t->tokens);
    t->labels = mem_array(room, sizeof *t->labels);
    if (trainer_leads(t)) t->others = mem_array(2 * (size_t)t->train->T, sizeof *t->others);
    if (!t->tokens || !t->labels || (trainer_leads(t) && !t->others))
        return err_nomem(err, 2 * room * sizeof *t->tokens);
    struct param *p;
    size_t n = model_params(t->model, &p);
    for (size_t i = 0; i < n; i++) {
        t->params += p[i].n;
        if (!strstr(p[i].name, ".wte.") && !strstr(p[i].name, ".wpe.")) t->body_params += p[i].n;
    }
    if (!t->optimizer.backend || t->opts->steps == 0) return 0; /* no step will be taken */
    return model_plan(t->model, t->opts->B, t->train->T, true, NULL, err);
}

static void tell(const struct trainer *t, struct trainer_result *ret) {
    const struct metrics_steps *s = metrics_get_steps(t->metrics);
    const struct metrics_evals *e = metrics_get_evals(t->metrics);
    *ret = (struct trainer_result){.step = t->state.step,
                                   .tokens = t->state.tokens,
                                   .skipped = t->state.step - t->state.updates,
                                   .resumed = t->resumed,
                                   .was_complete = t->was_complete,
                                   .early = t->early,
                                   .loss = s->n ? s->v[s->n - 1].loss : NAN,
                                   .eval_loss = e->n ? e->v[e->n - 1].loss : NAN,
                                   .seconds = t->seconds_before,
                                   .best_step = t->state.best_step,
                                   .best_loss = t->state.best_loss};
    if (!t->was_complete) ret->seconds += trainer_clock() - t->begun;
}

int trainer_run(struct model *model, const struct backend *backend, struct device *device,
                const struct loader *train, const struct loader *eval,
                const struct trainer_opts *opts, struct trainer_result *ret, const struct log *log,
                struct err *err) {
    struct trainer t = {.opts = opts,
                        .saved_step = CHECKPOINT_NONE,
                        .fetched = NOTHING_FETCHED,
                        .model = model,
                        .backend = backend,
                        .device = device,
                        .train = train,
                        .eval = eval,
                        .log = log,
                        .begun = trainer_clock()};
    int rc = trainer_begin(&t, err);
    if (rc == 0) rc = trainer_plan(&t, err);
    if (rc == 0) rc = trainer_team_begin(&t, err);
    if (rc == 0) rc = loop(&t, err);
    if (rc == 0 || rc == ERR_STOPPED) trainer_team_end(&t);
    if ((rc == ERR_IO || rc == ERR_PEER) && t.saved_step != CHECKPOINT_NONE)
        err_hint(err, "checkpoint-%" PRIu64 " is whole: the same command goes on from it",
                 t.saved_step);
    if (t.metrics) tell(&t, ret);
    free(t.tokens);
    free(t.labels);
    free(t.others);
    trainer_end(&t);
    return rc;
}
