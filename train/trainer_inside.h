/* What the trainer's files share: the loop (trainer.c), beginning and going on (trainer_begin.c),
 * saving and finishing (trainer_save.c). */
#ifndef LORY_TRAIN_TRAINER_INSIDE_H
#define LORY_TRAIN_TRAINER_INSIDE_H

#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/run.h"
#include "train/state.h"
#include "train/tfevents.h"
#include "train/trainer.h"

enum { SKIPS_ALLOWED = 5, SPIKE_STEPS = 128 };
#define NOTHING_FETCHED UINT64_MAX
static const double SAVE_SECONDS = 1800; /* a save at least so often */

struct trainer {
    const struct trainer_opts *opts;
    struct model *model;
    const struct backend *backend;
    struct device *device;
    const struct loader *train, *eval; /* eval may be NULL                                    */
    struct run run;
    const struct log *log; /* the run's, once it is open                            */
    struct metrics *metrics;
    struct tfevents *events;
    struct optimizer optimizer;
    struct run_state state;
    struct run_identity id;
    uint64_t first, mine;      /* of a step's samples, this rank's: [first, first + mine) */
    int32_t *tokens, *labels;  /* (mine, T): of the step that begins at sample `fetched`  */
    uint64_t fetched, targets; /* … or NOTHING_FETCHED; targets among the labels         */
    int32_t *others;           /* (2, T): a window of another rank, to count its targets */
    uint64_t params, body_params;
    uint64_t saved_step; /* the newest checkpoint; or CHECKPOINT_NONE               */
    uint64_t skipped_in_row;
    bool not_finite; /* the last skipped step's loss or norm: the weights may be at fault */
    uint64_t resumed;
    bool was_complete, early;
    bool stop_asked, save_asked;  /* of rank 0, by a signal that another one had             */
    double begun, seconds_before; /* clock at the start; seconds of earlier processes     */
    double last_save, last_eval;  /* clock                                                */
};

double trainer_clock(void);     /* seconds, monotonic                  */
double trainer_wall_time(void); /* seconds since 1970, for the records */

/* Opens the folder, finds where the run stands, loads or draws the weights. */
int trainer_begin(struct trainer *t, struct err *err);
void trainer_end(struct trainer *t);

/* What a step's loss and gradient norm must stay below; INFINITY: anything will do. From the last
 * SPIKE_STEPS lines of the metrics, so that a resumed run guards as if it had never stopped. */
struct guard {
    double loss, norm;
};
struct guard trainer_guard(const struct trainer *t);
/* Why a step of so many targets was skipped, in words. */
void trainer_why_skipped(const struct metrics_step *s, const struct guard *g, uint64_t targets,
                         char *out, size_t n);
/* True when the evaluations have not become better for as long as the patience allows. */
bool trainer_out_of_patience(const struct trainer *t);
/* This rank's windows of the step that begins at sample `at`, and the number of targets in all the
 * step's (rank 0; others: in their own). Nothing if they are there. */
int trainer_fetch(struct trainer *t, uint64_t at, struct err *err);
/* The windows of the step after this one, while a device is at work. What is wrong with them is
 * said when their step comes. */
void trainer_fetch_ahead(struct trainer *t);
/* Asks for the gradients of all micro-batches. 1: told to stop on the way. */
int trainer_accumulate(struct trainer *t, struct err *err);
/* Room for a step's samples and activations. */
int trainer_plan(struct trainer *t, struct err *err);

/* Rank 0 of several (trainer_team.c); nothing where there is one. The other ranks get the weights
 * and moments; say which signals they had, and get the order to do a step; all ranks' gradients and
 * losses are added up; all are sent home. */
bool trainer_leads(const struct trainer *t);
int trainer_team_begin(struct trainer *t, struct err *err);
int trainer_team_step(struct trainer *t, const struct step_scalars *s, struct err *err);
int trainer_team_sum(struct trainer *t, struct err *err);
void trainer_team_end(struct trainer *t);

/* Marks parameters by --freeze and --decay. ERR_USAGE: a pattern that is no parameter's, or none
 * are left. */
int trainer_choose_params(struct trainer *t, struct err *err);

/* The last evaluation's step is the present one: no need to evaluate again. */
bool trainer_evaluated(const struct trainer *t);
/* Whether the weights may be what makes losses no numbers: then they are not saved. A spike is
 * passed over, and the weights are those of before. */
bool trainer_in_doubt(const struct trainer *t);
/* Whether the present step was evaluated, and better than every checkpoint so far. No number is
 * better than anything. */
bool trainer_is_best(const struct trainer *t);
/* Makes the present step the best checkpoint if it is. */
void trainer_consider_best(struct trainer *t);
/* ERR_IO when the disk has no room for another checkpoint; with `all`, for those still to come. */
int trainer_check_room(const struct trainer *t, bool all, struct err *err);
int trainer_save(struct trainer *t, struct err *err);
/* Results, and links that make the folder a model. Can be done any number of times. */
int trainer_finish(struct trainer *t, struct err *err);
/* Writes one line of metrics to the event file. */
int trainer_show_step(struct trainer *t, const struct metrics_step *s, struct err *err);
int trainer_show_eval(struct trainer *t, const struct metrics_eval *e, struct err *err);

#endif
