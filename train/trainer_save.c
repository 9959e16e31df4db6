/* Saving a checkpoint, and finishing a run. */
#include "train/trainer_inside.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "train/checkpoint.h"
#include "train/hf_state.h"

static const char *const model_files[] = {"config.json", "generation_config.json",
                                          "model.safetensors"};
enum { MODEL_FILES = sizeof model_files / sizeof *model_files };

/* ------------------------------------------------------------------ event file */

int trainer_show_step(struct trainer *t, const struct metrics_step *s, struct err *err) {
    const struct tf_value v[] = {{"train/loss", s->loss},
                                 {"train/learning_rate", s->lr},
                                 {"train/grad_norm", s->grad_norm},
                                 {"train/tokens_per_s", s->tokens_per_s},
                                 {"train/epoch", s->epoch}};
    return tfevents_add(t->events, s->step, s->time, v, sizeof v / sizeof *v, err);
}

int trainer_show_eval(struct trainer *t, const struct metrics_eval *e, struct err *err) {
    const struct tf_value v[] = {{"eval/loss", e->loss},
                                 {"eval/perplexity", exp(e->loss)},
                                 {"eval/bits_per_byte", e->bits_per_byte}};
    size_t n = sizeof v / sizeof *v - !isfinite(e->bits_per_byte);
    return tfevents_add(t->events, e->step, e->time, v, n, err);
}

/* ------------------------------------------------------------------ the best */

static const struct metrics_eval *evaluation_here(const struct trainer *t) {
    const struct metrics_evals *e = metrics_get_evals(t->metrics);
    return e->n && e->v[e->n - 1].step == t->state.step ? &e->v[e->n - 1] : NULL;
}

bool trainer_evaluated(const struct trainer *t) {
    return evaluation_here(t) != NULL;
}

bool trainer_in_doubt(const struct trainer *t) {
    return t->skipped_in_row && t->not_finite;
}

bool trainer_is_best(const struct trainer *t) {
    const struct metrics_eval *e = t->state.step ? evaluation_here(t) : NULL;
    return e && e->part_loss < t->state.best_loss;
}

void trainer_consider_best(struct trainer *t) {
    if (!trainer_is_best(t)) return;
    t->state.best_loss = evaluation_here(t)->part_loss;
    t->state.best_step = t->state.step;
}

/* ------------------------------------------------------------------ saving */

static struct hf_run hf_run_of(const struct trainer *t) {
    const struct trainer_opts *p = t->opts;
    return (struct hf_run){.run = p->run,
                           .state = &t->state,
                           .metrics = t->metrics,
                           .steps = p->steps,
                           .eval_steps = p->eval_every.steps,
                           .save_steps = p->save_every.steps,
                           .samples_per_epoch = t->train->n,
                           .eval_samples = t->eval ? loader_eval_windows(t->eval) : 0,
                           .batch = p->B,
                           .body_params = t->body_params};
}

static int copy_file(const char *from_dir, const char *to_dir, const char *name, struct err *err) {
    char *from = path_join(from_dir, name), *to = path_join(to_dir, name);
    int rc = from && to ? file_copy(from, to, err) : err_nomem(err, strlen(name));
    free(from);
    free(to);
    return rc;
}

/* The files in a folder, but for those that somebody is writing. */
static int copy_folder(const char *from, const char *to, struct err *err) {
    struct strs names = {0};
    int rc = file_list(from, &names, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        if (names.v[i][0] == '.') continue;
        rc = file_mkdirs(to, err);
        if (rc == 0) rc = copy_file(from, to, names.v[i], err);
    }
    strs_release(&names);
    return rc;
}

static int copy_tokenizer(const struct trainer *t, const char *dir, struct err *err) {
    const char *home = t->opts->tokenizer_dir;
    const char *const *name = t->opts->tokenizer_files;
    int rc = 0;
    for (; rc == 0 && home && name && *name; name++) {
        char *from = path_join(home, *name), *to = path_join(dir, *name);
        if (!from || !to)
            rc = err_nomem(err, strlen(*name));
        else
            rc = file_kind(from) == FILE_FOLDER ? copy_folder(from, to, err)
                                                : file_copy(from, to, err);
        free(from);
        free(to);
    }
    return rc;
}

static int write_files(struct trainer *t, const char *dir, struct err *err) {
    struct model_config config = *model_get_config(t->model);
    config.dtype = DTYPE_F32;
    struct hf_run hf = hf_run_of(t);
    char *optimizer = path_join(dir, "optimizer.safetensors");
    int rc = optimizer ? model_config_save(&config, dir, err) : err_nomem(err, strlen(dir));
    if (rc == 0 && t->opts->init_dir) /* how it generates stays as it was */
        rc = copy_file(t->opts->init_dir, dir, "generation_config.json", err);
    if (rc == 0) rc = model_save(t->model, dir, DTYPE_F32, err);
    if (rc == 0) rc = optimizer_save(&t->optimizer, optimizer, err);
    if (rc == 0) rc = copy_tokenizer(t, dir, err);
    if (rc == 0) rc = hf_trainer_state_save(&hf, dir, err);
    if (rc == 0) rc = state_save(dir, &t->state, &t->id, err);
    free(optimizer);
    return rc;
}

/* Saves to come at the most: those of --save-every, those of evaluations that are a new best each,
 * and the last. A step that is both is saved once; what goes by the clock is not known. */
static uint64_t count_saves(const struct trainer *t) {
    const struct trainer_opts *p = t->opts;
    uint64_t save = p->save_every.steps;
    uint64_t best = t->eval && p->save_best ? p->eval_every.steps : 0;
    uint64_t left = p->steps - t->state.step, a = save ? left / save : 0,
             b = best ? left / best : 0;
    bool same = a && b && (save % best == 0 || best % save == 0);
    return 1 + (!same ? a + b : a > b ? a : b);
}

/* Checkpoints that the run will hold at its fullest, and has not yet: the kept ones, the best, and
 * the one being written. */
static int count_to_come(const struct trainer *t, uint64_t *ret, struct err *err) {
    const struct trainer_opts *p = t->opts;
    struct u64s there = {0};
    uint64_t saves = count_saves(t), most = p->keep ? p->keep + 1 + (t->eval != NULL) : saves;
    int rc = checkpoint_list(p->run, &there, err);
    *ret = most > there.n ? most - there.n : 1;
    if (*ret > saves) *ret = saves;
    u64s_release(&there);
    return rc;
}

/* Better to know before half a checkpoint is written. */
int trainer_check_room(const struct trainer *t, bool all, struct err *err) {
    uint64_t each = t->params * 12 + (4 << 20), n = 1, have = 0;
    int rc = file_free_bytes(t->opts->run, &have, err);
    if (rc == 0 && all) rc = count_to_come(t, &n, err);
    if (rc < 0 || (double)have >= (double)each * (double)n) return rc;
    if (n == 1)
        err_set(err, ERR_IO, "%s: a checkpoint needs %.1f MB, the disk has %.1f MB free",
                t->opts->run, (double)each / 1e6, (double)have / 1e6);
    else
        err_set(err, ERR_IO,
                "%s: the %" PRIu64 " checkpoints to come need %.1f MB, the disk has %.1f MB free",
                t->opts->run, n, (double)each * (double)n / 1e6, (double)have / 1e6);
    if (have >= each)
        err_hint(err, "--keep fewer of them, save less often, or go on all the same with --force");
    else
        err_hint(err, "free some space and start again");
    return ERR_IO;
}

/* Whatever the system said, a full disk is the likeliest reason. */
static void say_room(const struct trainer *t, struct err *err) {
    uint64_t need = t->params * 12 + (4 << 20), have = 0;
    if (file_free_bytes(t->opts->run, &have, NULL) == 0)
        err_hint(err, "a checkpoint needs %.1f MB, the disk has %.1f MB free", (double)need / 1e6,
                 (double)have / 1e6);
}

static int link_checkpoint(struct trainer *t, const char *name, uint64_t step, struct err *err) {
    char target[64];
    snprintf(target, sizeof target, "checkpoint-%" PRIu64, step);
    return run_link(t->opts->run, name, target, err);
}

int trainer_save(struct trainer *t, struct err *err) {
    double start = trainer_clock();
    char *dir = NULL;
    uint64_t step = t->state.step;
    if (trainer_in_doubt(t)) return 0;
    t->state.seconds = t->seconds_before + start - t->begun;
    trainer_consider_best(t);
    int rc = trainer_check_room(t, false, err);
    /* What the checkpoint counts on is on the disk before it. */
    if (rc == 0) rc = metrics_sync(t->metrics, err);
    if (rc == 0) rc = tfevents_sync(t->events, err);
    if (rc == 0) rc = checkpoint_begin(&dir, t->opts->run, step, err);
    if (rc < 0) return rc;
    rc = write_files(t, dir, err);
    if (rc < 0)
        checkpoint_abort(dir);
    else
        rc = checkpoint_commit(dir, t->opts->run, step, err);
    if (rc == ERR_IO) say_room(t, err);
    if (rc < 0) return rc;
    t->saved_step = step;
    t->last_save = trainer_clock();
    rc = link_checkpoint(t, "last", step, err);
    if (rc == 0 && t->state.best_step == step) rc = link_checkpoint(t, "best", step, err);
    if (rc == 0) rc = checkpoint_prune(t->opts->run, t->opts->keep, t->state.best_step, err);
    if (rc == 0)
        log_info(t->log, "saved %s/checkpoint-%" PRIu64 " (%.1f s)", t->opts->run, step,
                 t->last_save - start);
    return rc;
}

/* ------------------------------------------------------------------ finishing */

/* run/NAME -> FOLDER/NAME, where the checkpoint has it. */
static int link_file(struct trainer *t, const char *folder, const char *name, struct err *err) {
    char target[256];
    snprintf(target, sizeof target, "%s/%s", folder, name);
    char *path = path_join(t->opts->run, target);
    if (!path) return err_nomem(err, strlen(target));
    int rc = file_kind(path) != FILE_NONE ? run_link(t->opts->run, name, target, err) : 0;
    free(path);
    return rc;
}

int trainer_finish(struct trainer *t, struct err *err) {
    struct hf_run hf = hf_run_of(t);
    const char *folder = t->state.best_step ? "best" : "last";
    const char *const *name = t->opts->tokenizer_files;
    int rc = hf_results_save(&hf, err);
    for (int i = 0; rc == 0 && i < MODEL_FILES; i++) rc = link_file(t, folder, model_files[i], err);
    for (; rc == 0 && name && *name; name++) rc = link_file(t, folder, *name, err);
    if (rc == 0) rc = link_file(t, "last", "trainer_state.json", err);
    if (rc == 0 && !t->was_complete) rc = tfevents_end(t->events, trainer_wall_time(), err);
    if (rc == 0) rc = tfevents_sync(t->events, err);
    return rc < 0 ? rc : file_sync_dir(t->opts->run, err);
}
