/* Beginning a run, or going on with it: which folder, which checkpoint, whether the options are
 * the same, and the weights. Nothing in the folder changes before all of that is known to be in
 * order. */
#include "train/trainer_inside.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/version.h"
#include "train/checkpoint.h"

/* ------------------------------------------------------------------ what tells runs apart */

static bool add_text(cJSON *o, const char *key, const char *fmt, uint64_t x) {
    char text[64];
    snprintf(text, sizeof text, fmt, x);
    return cJSON_AddStringToObject(o, key, text) != NULL;
}

static cJSON *make_order(const struct loader *l) {
    cJSON *o = cJSON_CreateObject();
    bool ok = o && cJSON_AddNumberToObject(o, "version", ORDER_VERSION) &&
              cJSON_AddStringToObject(o, "order", l->shuffled ? "shuffled" : "sequential") &&
              cJSON_AddNumberToObject(o, "n", (double)l->n) &&
              add_text(o, "key", "%016" PRIx64, order_key(l->seed, 0)) &&
              cJSON_AddNumberToObject(o, "seq_len", l->T) &&
              cJSON_AddStringToObject(o, "window", l->window == WINDOW_HF ? "hf" : "gpt") &&
              cJSON_AddStringToObject(o, "data", l->set->digest);
    cJSON *mix = ok && l->mix.n ? cJSON_AddArrayToObject(o, "mix") : NULL;
    for (size_t k = 0; mix && k < l->mix.n; k++)
        cJSON_AddItemToArray(mix, cJSON_CreateNumber((double)l->mix.q[k]));
    if (ok) return o;
    cJSON_Delete(o);
    return NULL;
}

static bool add_shape(cJSON *o, const struct model_config *c) {
    cJSON *drop = cJSON_AddArrayToObject(o, "dropout");
    const float ps[3] = {c->embd_pdrop, c->attn_pdrop, c->resid_pdrop};
    for (int i = 0; drop && i < 3; i++)
        if (!cJSON_AddItemToArray(drop, cJSON_CreateNumber(round(ps[i] * 1e6) / 1e6))) return false;
    return drop && cJSON_AddNumberToObject(o, "vocab", c->V) &&
           cJSON_AddNumberToObject(o, "positions", c->P) &&
           cJSON_AddNumberToObject(o, "layers", c->L) &&
           cJSON_AddNumberToObject(o, "heads", c->NH) &&
           cJSON_AddNumberToObject(o, "width", c->C) &&
           cJSON_AddNumberToObject(o, "inner", c->inner) &&
           cJSON_AddBoolToObject(o, "tied", c->tied) &&
           cJSON_AddStringToObject(o, "activation", c->act == ACT_GELU_ERF ? "gelu" : "gelu_new") &&
           cJSON_AddBoolToObject(o, "scale_attn_by_inverse_layer_idx", c->scale_by_layer);
}

static bool add_rates(cJSON *o, const struct trainer_opts *p) {
    static const char *const rules[] = {"hf", "llmc", "all"};
    const struct schedule *s = &p->schedule;
    cJSON *freeze = cJSON_AddArrayToObject(o, "freeze");
    for (size_t i = 0; freeze && i < p->n_freeze; i++)
        if (!cJSON_AddItemToArray(freeze, cJSON_CreateString(p->freeze[i]))) return false;
    return freeze && cJSON_AddNumberToObject(o, "lr", s->lr) &&
           cJSON_AddStringToObject(o, "schedule", schedule_names[s->kind]) &&
           cJSON_AddNumberToObject(o, "cycles", s->cycles) &&
           cJSON_AddNumberToObject(o, "power", s->power) &&
           cJSON_AddNumberToObject(o, "decay_steps", (double)s->decay_steps) &&
           cJSON_AddStringToObject(o, "decay_shape", decay_shape_names[s->shape]) &&
           cJSON_AddStringToObject(o, "decay", rules[p->decay]) &&
           cJSON_AddNumberToObject(o, "spike", p->spike) &&
           cJSON_AddNumberToObject(o, "warmup", (double)s->warmup) &&
           cJSON_AddStringToObject(o, "warmup_style", s->style == WARMUP_HF ? "hf" : "llmc") &&
           cJSON_AddNumberToObject(o, "min_lr", s->min_lr) &&
           cJSON_AddNumberToObject(o, "beta1", p->beta1) &&
           cJSON_AddNumberToObject(o, "beta2", p->beta2) &&
           cJSON_AddNumberToObject(o, "eps", p->eps) &&
           cJSON_AddNumberToObject(o, "weight_decay", p->weight_decay) &&
           cJSON_AddNumberToObject(o, "clip", p->clip);
}

static cJSON *make_options(const struct trainer *t) {
    const struct trainer_opts *p = t->opts;
    cJSON *o = cJSON_CreateObject();
    bool ok = o && cJSON_AddStringToObject(o, "model", p->model_name) &&
              cJSON_AddBoolToObject(o, "from_scratch", !p->init_dir) &&
              add_shape(o, model_get_config(t->model)) &&
              cJSON_AddNumberToObject(o, "samples_per_step", (double)t->opts->samples) &&
              add_rates(o, p) && add_text(o, "seed", "%" PRIu64, p->seed) &&
              cJSON_AddStringToObject(o, "dtype", p->dtype == DTYPE_BF16 ? "bf16" : "fp32") &&
              cJSON_AddStringToObject(o, "valid", t->eval ? t->eval->set->digest : "");
    if (ok) return o;
    cJSON_Delete(o);
    return NULL;
}

/* A description without ", N threads": their number changes nothing. */
static void without_threads(char *text) {
    for (char *p = text; (p = strstr(p, ", ")) != NULL; p++) {
        size_t digits = strspn(p + 2, "0123456789");
        const char *word = p + 2 + digits;
        if (!digits || strncmp(word, " thread", 7)) continue;
        word += 7 + (word[7] == 's');
        memmove(p, word, strlen(word) + 1);
        return;
    }
}

static cJSON *make_device(const struct trainer *t) {
    cJSON *o = cJSON_CreateObject();
    char text[512];
    snprintf(text, sizeof text, "%s", t->backend->describe(t->device));
    without_threads(text);
    bool ok = o && cJSON_AddStringToObject(o, "backend", t->backend->name) &&
              cJSON_AddStringToObject(o, "device", text) &&
              cJSON_AddStringToObject(o, "version", LORY_VERSION) &&
              cJSON_AddNumberToObject(o, "batch", t->opts->B);
    const struct comm *c = t->opts->comm;
    if (ok && c && c->size > 1) ok = cJSON_AddNumberToObject(o, "ranks", c->size);
    if (ok) return o;
    cJSON_Delete(o);
    return NULL;
}

static int make_identity(struct trainer *t, struct err *err) {
    t->id.order = make_order(t->train);
    t->id.options = make_options(t);
    t->id.device = make_device(t);
    if (!t->id.order || !t->id.options || !t->id.device) return err_nomem(err, sizeof(cJSON));
    return 0;
}

/* ------------------------------------------------------------------ where the run stands */

/* Reads and compares one checkpoint; t->state is its. */
static int take_state(struct trainer *t, const char *dir, struct err *err) {
    struct run_identity saved = {0};
    int rc = state_load(dir, &t->state, &saved, err);
    if (rc == 0) rc = state_compare(dir, &saved, &t->id, t->log, err);
    run_identity_free(&saved);
    return rc;
}

/* The checkpoint that --resume DIR means: DIR itself, or the newest in it. */
static int find_source(struct trainer *t, char **ret_dir, struct err *err) {
    const char *from = t->opts->resume_from;
    char *manifest = path_join(from, "manifest.json");
    if (!manifest) return err_nomem(err, strlen(from));
    uint64_t step = CHECKPOINT_NONE;
    int rc = 0;
    if (file_kind(manifest) != FILE_NONE) {
        rc = checkpoint_verify(from, err);
        *ret_dir = strdup(from);
    } else {
        rc = checkpoint_newest(from, &step, t->log, err);
        if (rc == 0 && step == CHECKPOINT_NONE)
            rc = err_set(err, ERR_USAGE, "--resume %s: holds no checkpoint", from);
        *ret_dir = checkpoint_path(from, step);
    }
    free(manifest);
    return rc == 0 && !*ret_dir ? err_nomem(err, strlen(from)) : rc;
}

/* Finds what to go on from: *ret_dir is its folder, or NULL for a run from its beginning. */
static int find_checkpoint(struct trainer *t, char **ret_dir, struct err *err) {
    const struct trainer_opts *p = t->opts;
    uint64_t step = CHECKPOINT_NONE;
    int rc = checkpoint_newest(p->run, &step, t->log, err);
    bool found = step != CHECKPOINT_NONE;
    if (rc < 0) return rc;
    if (found && p->resume_never) {
        err_set(err, ERR_USAGE, "%s: holds checkpoint-%" PRIu64, p->run, step);
        return err_hint(err, "with --resume never choose another folder with -o");
    }
    t->saved_step = step;
    if (found) *ret_dir = checkpoint_path(p->run, step);
    if (found && !*ret_dir) return err_nomem(err, strlen(p->run));
    if (found && p->resume_from)
        log_info(t->log, "%s has checkpoints of its own: going on from the newest", p->run);
    if (!found && p->resume_from) rc = find_source(t, ret_dir, err);
    if (rc == 0 && *ret_dir) rc = take_state(t, *ret_dir, err);
    return rc;
}

/* Brings the curves of the run that this one branches off from. */
static int copy_metrics(const struct trainer *t, const char *checkpoint, struct err *err) {
    char *dir = path_dir(checkpoint), *from = dir ? path_join(dir, "metrics.jsonl") : NULL,
         *to = path_join(t->opts->run, "metrics.jsonl");
    int rc = from && to ? file_copy(from, to, err) : err_nomem(err, strlen(checkpoint));
    free(dir);
    free(from);
    free(to);
    return rc;
}

/* ------------------------------------------------------------------ records and weights */

/* What tells this run from others, as TensorBoard's hparams. */
static int show_settings(struct trainer *t, struct err *err) {
    size_t n = (size_t)(cJSON_GetArraySize(t->id.options) + cJSON_GetArraySize(t->id.order)),
           used = 0;
    struct tf_hparam *v = mem_array(n + 1, sizeof *v);
    const cJSON *lists[] = {t->id.options, t->id.order};
    int rc = v ? 0 : err_nomem(err, n * sizeof *v);
    for (int k = 0; rc == 0 && k < 2; k++)
        for (const cJSON *x = lists[k]->child; x; x = x->next) {
            struct tf_hparam h = {.name = x->string, .number = x->valuedouble};
            if (cJSON_IsString(x)) h.text = x->valuestring;
            if (cJSON_IsBool(x)) h.text = cJSON_IsTrue(x) ? "true" : "false";
            if (h.text || cJSON_IsNumber(x)) v[used++] = h;
        }
    if (rc == 0) rc = tfevents_hparams(t->events, v, used, trainer_wall_time(), err);
    free(v);
    return rc;
}

/* The lines of steps before a checkpoint were on the disk before it was. A branch's past begins
 * where it does. */
static void warn_of_gap(const struct trainer *t) {
    const struct metrics_steps *s = metrics_get_steps(t->metrics);
    uint64_t step = t->state.step, wanted = s->n ? step + 1 - s->v[0].step : step;
    if (s->n < wanted)
        log_warn(t->log,
                 "%s/metrics.jsonl: %" PRIu64 " of the lines up to step %" PRIu64
                 " are gone; the run goes on, its curves keep the gap",
                 t->opts->run, wanted - s->n, step);
}

static int open_records(struct trainer *t, bool branch, struct err *err) {
    char *path = path_join(t->opts->run, "metrics.jsonl");
    uint64_t step = t->state.step;
    int rc = path ? metrics_open(&t->metrics, path, step, t->log, err) : err_nomem(err, 1);
    if (rc == 0 && !branch) warn_of_gap(t);
    if (rc == 0) /* a branch has no event files yet: all its past is told anew */
        rc = tfevents_open(&t->events, t->opts->run, branch ? 0 : step, trainer_wall_time(), err);
    if (rc == 0 && (branch || step == 0)) rc = show_settings(t, err);
    const struct metrics_steps *s = rc == 0 ? metrics_get_steps(t->metrics) : NULL;
    const struct metrics_evals *e = rc == 0 ? metrics_get_evals(t->metrics) : NULL;
    for (size_t i = 0; rc == 0 && branch && i < s->n; i++) rc = trainer_show_step(t, &s->v[i], err);
    for (size_t i = 0; rc == 0 && branch && i < e->n; i++) rc = trainer_show_eval(t, &e->v[i], err);
    free(path);
    return rc;
}

static int write_config(const struct trainer *t, struct err *err) {
    const char *text = t->opts->config_yaml;
    char *path = path_join(t->opts->run, "config.yaml");
    int rc = path ? 0 : err_nomem(err, 1);
    if (rc == 0 && text) rc = file_write(path, text, strlen(text), err);
    free(path);
    return rc;
}

/* A run that branched off has its beginning saved, and its best is still to come. */
static int begin_branch(struct trainer *t, struct err *err) {
    t->state.best_step = 0;
    t->state.best_loss = INFINITY;
    return trainer_save(t, err);
}

static int load_weights(struct trainer *t, const char *checkpoint, struct err *err) {
    const struct trainer_opts *p = t->opts;
    if (!checkpoint)
        return p->init_dir ? model_load(t->model, p->init_dir, err)
                           : model_init(t->model, p->seed, err);
    char *path = path_join(checkpoint, "optimizer.safetensors");
    int rc = path ? model_load(t->model, checkpoint, err) : err_nomem(err, strlen(checkpoint));
    if (rc == 0) rc = optimizer_load(&t->optimizer, path, err);
    free(path);
    return rc;
}

/* Links may point to checkpoints that are gone, or that turned out damaged. */
static int mend_links(struct trainer *t, struct err *err) {
    struct run_state *s = &t->state;
    char last[64], best[64];
    char *dir = checkpoint_path(t->opts->run, s->best_step);
    if (!dir) return err_nomem(err, strlen(t->opts->run));
    if (s->best_step && file_kind(dir) != FILE_FOLDER) {
        log_warn(t->log, "%s, the best checkpoint, is gone", dir);
        s->best_step = 0;
        s->best_loss = INFINITY;
    }
    free(dir);
    trainer_consider_best(t);
    snprintf(last, sizeof last, "checkpoint-%" PRIu64, t->saved_step);
    snprintf(best, sizeof best, "checkpoint-%" PRIu64, s->best_step);
    bool saved = t->saved_step != CHECKPOINT_NONE;
    int rc = run_link(t->opts->run, "last", saved ? last : NULL, err);
    return rc < 0 ? rc : run_link(t->opts->run, "best", s->best_step ? best : NULL, err);
}

int trainer_begin(struct trainer *t, struct err *err) {
    char *from = NULL;
    t->state.best_loss = INFINITY;
    int rc = run_open(&t->run, t->opts->run, 0, t->log, err);
    if (rc < 0) return rc;
    t->log = &t->run.log;
    rc = make_identity(t, err);
    if (rc == 0) rc = find_checkpoint(t, &from, err);
    bool branch = rc == 0 && from && t->saved_step == CHECKPOINT_NONE;
    t->resumed = t->state.step;
    t->seconds_before = t->state.seconds;
    t->was_complete = rc == 0 && from && t->state.step >= t->opts->steps && !branch;
    if (rc == 0 && branch) rc = copy_metrics(t, from, err);
    if (rc == 0) rc = open_records(t, branch, err);
    if (rc == 0) rc = write_config(t, err);
    /* A run with nothing left to do needs no weights to say so. */
    bool idle = rc == 0 && t->was_complete && (!t->eval || trainer_evaluated(t) || !t->state.step);
    if (rc == 0) rc = trainer_choose_params(t, err);
    if (rc == 0 && !idle) rc = optimizer_new(&t->optimizer, t->model, t->backend, t->device, err);
    if (rc == 0 && !idle) rc = load_weights(t, from, err);
    if (rc == 0 && branch) rc = begin_branch(t, err);
    if (rc == 0) rc = mend_links(t, err);
    if (rc == 0 && t->was_complete)
        log_info(t->log, "%s is at step %" PRIu64 " of %" PRIu64, from, t->state.step,
                 t->opts->steps);
    else if (rc == 0 && from)
        log_info(t->log, "going on from %s", from);
    free(from);
    return rc;
}

void trainer_end(struct trainer *t) {
    metrics_close(t->metrics);
    tfevents_close(t->events);
    if (t->optimizer.backend) optimizer_free(&t->optimizer);
    run_identity_free(&t->id);
    run_close(&t->run);
}
