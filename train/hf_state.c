/* Trainer's files: see hf_state.h. Keys, their order (sorted) and their meaning are those of
 * transformers' trainer_callback.py (TrainerState) and trainer_pt_utils.py (speed_metrics). */
#include "train/hf_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"

enum { HISTORY_ROWS = 1000 };

static double flos(const struct hf_run *h) {
    return 6.0 * (double)h->state->tokens * (double)h->body_params;
}

static double epoch_of(const struct hf_run *h, uint64_t samples) {
    return h->samples_per_epoch ? (double)samples / (double)h->samples_per_epoch : 0;
}

/* HF rounds what it measures to four places. */
static double places4(double x) {
    return round(x * 1e4) / 1e4;
}

static double rate(double n, double seconds) {
    return seconds > 0 ? round(n / seconds * 1e3) / 1e3 : 0;
}

/* A number, or null where it is not one. */
static bool number(cJSON *o, const char *key, double x) {
    return isfinite(x) ? cJSON_AddNumberToObject(o, key, x) != NULL
                       : cJSON_AddNullToObject(o, key) != NULL;
}

/* ------------------------------------------------------------------ log_history */

static bool add_step(cJSON *list, const struct metrics_step *s, double mean_loss) {
    cJSON *o = cJSON_CreateObject();
    return o && cJSON_AddItemToArray(list, o) && number(o, "epoch", s->epoch) &&
           number(o, "grad_norm", s->grad_norm) && number(o, "learning_rate", s->lr) &&
           number(o, "loss", mean_loss) && number(o, "step", (double)s->step);
}

static bool eval_numbers(cJSON *o, const struct metrics_eval *e) {
    return number(o, "eval_loss", e->loss) && number(o, "eval_runtime", places4(e->seconds)) &&
           number(o, "eval_samples_per_second", rate((double)e->windows, e->seconds)) &&
           number(o, "eval_steps_per_second", rate((double)e->batches, e->seconds));
}

static bool add_eval(cJSON *list, const struct metrics_eval *e, double epoch) {
    cJSON *o = cJSON_CreateObject();
    return o && cJSON_AddItemToArray(list, o) && number(o, "epoch", epoch) && eval_numbers(o, e) &&
           number(o, "step", (double)e->step);
}

/* Rows in the order of the steps; of one step, training before evaluation. */
static bool add_history(cJSON *list, const struct hf_run *h, uint64_t every) {
    const struct metrics_steps *s = metrics_get_steps(h->metrics);
    const struct metrics_evals *e = metrics_get_evals(h->metrics);
    double sum = 0;
    uint64_t n = 0;
    size_t j = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < s->n; i++) {
        sum += s->v[i].loss;
        n++;
        if (s->v[i].step % every == 0) {
            ok = add_step(list, &s->v[i], sum / (double)n);
            sum = 0;
            n = 0;
        }
        for (; ok && j < e->n && e->v[j].step <= s->v[i].step; j++)
            ok = add_eval(list, &e->v[j], s->v[i].epoch);
    }
    return ok;
}

/* ------------------------------------------------------------------ trainer_state.json */

static bool add_best(cJSON *o, const struct hf_run *h) {
    const struct run_state *s = h->state;
    if (!s->best_step)
        return cJSON_AddNullToObject(o, "best_global_step") &&
               cJSON_AddNullToObject(o, "best_metric") &&
               cJSON_AddNullToObject(o, "best_model_checkpoint");
    char name[64];
    snprintf(name, sizeof name, "checkpoint-%llu", (unsigned long long)s->best_step);
    char *path = path_join(h->run, name);
    bool ok = path && number(o, "best_global_step", (double)s->best_step) &&
              number(o, "best_metric", s->best_loss) &&
              cJSON_AddStringToObject(o, "best_model_checkpoint", path);
    free(path);
    return ok;
}

static bool fill_state(cJSON *o, const struct hf_run *h) {
    uint64_t every = (h->steps + HISTORY_ROWS - 1) / HISTORY_ROWS;
    double per_step = (double)h->state->samples / (double)h->state->step, epochs = 1;
    if (h->state->step && h->samples_per_epoch) /* Trainer's epochs are of whole steps */
        epochs = ceil((double)h->steps / ceil((double)h->samples_per_epoch / per_step));
    if (!every) every = 1;
    if (!add_best(o, h)) return false;
    bool ok = number(o, "epoch", epoch_of(h, h->state->samples)) &&
              number(o, "eval_steps", (double)(h->eval_steps ? h->eval_steps : h->steps)) &&
              number(o, "global_step", (double)h->state->step) &&
              cJSON_AddFalseToObject(o, "is_hyper_param_search") &&
              cJSON_AddTrueToObject(o, "is_local_process_zero") &&
              cJSON_AddTrueToObject(o, "is_world_process_zero");
    cJSON *list = ok ? cJSON_AddArrayToObject(o, "log_history") : NULL;
    return list && add_history(list, h, every) && number(o, "logging_steps", (double)every) &&
           number(o, "max_steps", (double)h->steps) &&
           number(o, "num_input_tokens_seen", (double)h->state->tokens) &&
           number(o, "num_train_epochs", epochs) &&
           number(o, "save_steps", (double)(h->save_steps ? h->save_steps : h->steps)) &&
           cJSON_AddObjectToObject(o, "stateful_callbacks") && number(o, "total_flos", flos(h)) &&
           number(o, "train_batch_size", h->batch) && cJSON_AddNullToObject(o, "trial_name") &&
           cJSON_AddNullToObject(o, "trial_params");
}

static int save(cJSON *o, bool ok, const char *dir, const char *name, struct err *err) {
    char *path = path_join(dir, name);
    int rc = ok && path ? json_save(path, o, true, err) : err_nomem(err, sizeof(cJSON));
    free(path);
    cJSON_Delete(o);
    return rc;
}

int hf_trainer_state_save(const struct hf_run *h, const char *dir, struct err *err) {
    cJSON *o = cJSON_CreateObject();
    return save(o, o && fill_state(o, h), dir, "trainer_state.json", err);
}

/* ------------------------------------------------------------------ results */

static bool eval_results(cJSON *o, const struct hf_run *h) {
    const struct metrics_evals *e = metrics_get_evals(h->metrics);
    if (!e->n) return true;
    return eval_numbers(o, &e->v[e->n - 1]) && number(o, "eval_samples", (double)h->eval_samples) &&
           number(o, "perplexity", exp(e->v[e->n - 1].loss));
}

static bool train_results(cJSON *o, const struct hf_run *h) {
    const struct metrics_steps *s = metrics_get_steps(h->metrics);
    const struct run_state *r = h->state;
    double sum = 0;
    size_t n = 0; /* as logging_nan_inf_filter, without those that are no numbers */
    for (size_t i = 0; i < s->n; i++) {
        if (!isfinite(s->v[i].loss)) continue;
        sum += s->v[i].loss;
        n++;
    }
    return number(o, "total_flos", flos(h)) && number(o, "train_loss", n ? sum / (double)n : NAN) &&
           number(o, "train_runtime", places4(r->seconds)) &&
           number(o, "train_samples", (double)h->samples_per_epoch) &&
           number(o, "train_samples_per_second", rate((double)r->samples, r->seconds)) &&
           number(o, "train_steps_per_second", rate((double)r->step, r->seconds));
}

int hf_results_save(const struct hf_run *h, struct err *err) {
    static const char *const names[3] = {"eval_results.json", "train_results.json",
                                         "all_results.json"};
    int rc = 0;
    for (int i = 0; rc == 0 && i < 3; i++) {
        if (i == 0 && !h->eval_samples) continue;
        cJSON *o = cJSON_CreateObject();
        bool ok = o && number(o, "epoch", epoch_of(h, h->state->samples));
        if (ok && i != 1) ok = eval_results(o, h);
        if (ok && i != 0) ok = train_results(o, h);
        rc = save(o, ok, h->run, names[i], err);
    }
    return rc;
}
