/* What transformers' Trainer leaves beside its models, so that what reads it there reads it here:
 * trainer_state.json in a checkpoint, train_results.json, eval_results.json, all_results.json in
 * the run. All made from the metrics. */
#ifndef LORY_TRAIN_HF_STATE_H
#define LORY_TRAIN_HF_STATE_H

#include <stdint.h>
#include "base/err.h"
#include "train/metrics.h"
#include "train/state.h"

struct hf_run {
    const char *run; /* the run's folder                                       */
    const struct run_state *state;
    const struct metrics *metrics;
    uint64_t steps;                  /* of the whole run                                       */
    uint64_t eval_steps, save_steps; /* intervals; 0: by time                             */
    uint64_t samples_per_epoch;      /* windows of the training set                            */
    uint64_t eval_samples;           /* windows of the validation set; 0: none                 */
    int batch;                       /* rows of a micro-batch                                  */
    uint64_t body_params;            /* parameters without the embeddings (HF's count of flops) */
};

/* DIR/trainer_state.json. The log history has about a thousand rows: a row is the mean loss since
 * the row before, as HF's logging_steps. */
int hf_trainer_state_save(const struct hf_run *h, const char *dir, struct err *err);
/* The three results files in the run's folder. */
int hf_results_save(const struct hf_run *h, struct err *err);

#endif
