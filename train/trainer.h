/* Training: from the position a run stands at to its last step, so that no stop costs more than the
 * steps since the last checkpoint, and no number of stops changes a bit of the result.
 *
 *   loader ─▶ micro-batches ─▶ forward, backward ─▶ norm, clip, AdamW ─▶ metrics.jsonl, event file
 *                                    │ every so often: evaluate, save
 *                                    └ not finite, or a spike: skipped, counted, its windows
 *                                      written down; five in a row: ERR_DIVERGED
 *
 * The mean of the loss is over all targets of the step (as transformers since 4.46), so the result
 * does not depend on how a step is cut into micro-batches but for rounding. */
#ifndef LORY_TRAIN_TRAINER_H
#define LORY_TRAIN_TRAINER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/log.h"
#include "base/opt.h"
#include "train/comm.h"
#include "train/loader.h"
#include "train/model.h"
#include "train/schedule.h"

/* Which tensors AdamW's decay takes: for a GPT-2 the first two are the same, as HF's names of
 * biases and LayerNorms are llm.c's tensors of one dimension. */
enum decay_rule { DECAY_HF, DECAY_LLMC, DECAY_ALL };

struct trainer_opts {
    const char *run;           /* folder to write                                          */
    bool resume_never;         /* refuse a folder that has checkpoints                     */
    const char *resume_from;   /* begin a new run from this checkpoint or run; NULL: no    */
    const char *init_dir;      /* weights to begin with; NULL: drawn from the seed         */
    const char *model_name;    /* what --model said, for the record                        */
    const char *tokenizer_dir; /* its files go into every checkpoint; NULL: none           */
    const char *const *tokenizer_files; /* names of files, and of folders of them, that a
                                           tokenizer may have; NULL behind the last        */
    const char *config_yaml; /* text of config.yaml                                      */

    int B;            /* rows of a micro-batch, at most                           */
    uint64_t samples; /* windows of a step, of all ranks together                 */
    uint64_t steps;
    /* Several processes: gradients are added up over `comm`, made for the device; rank 0 leads by
     * way of `control`, in the system's memory (the same one on a CPU). NULL: one process. */
    struct comm *comm, *control;
    struct schedule schedule;
    double beta1, beta2, eps, weight_decay, clip;
    enum decay_rule decay;
    const char *const *freeze; /* (n_freeze) patterns of parameters that stay as they are  */
    size_t n_freeze;
    uint64_t seed;
    enum dtype dtype; /* of the products, for the record                          */

    struct opt_steps eval_every, save_every;
    bool save_best;            /* save besides whenever an evaluation is the best so far   */
    uint64_t keep;             /* newest checkpoints to keep, besides the best; 0: all     */
    uint64_t eval_windows;     /* windows scored by an evaluation on the way; 0: all       */
    uint64_t patience;         /* evaluations without a better one until the run ends; 0: any  */
    double patience_threshold; /* how much lower a loss must be to be better               */
    double spike;              /* deviations above the last 128 steps at which a step is skipped;
                                  0: never                                                 */
    uint64_t skips;            /* skipped steps in a row after which the run is lost; 0: 5 */
    bool force;                /* begin even where the disk will not hold the checkpoints  */

    /* Called once, when nothing about the folder, the options or the disk is in the way of going
     * on; an error ends the run. NULL: nobody waits for that. */
    int (*begun)(void *ctx, struct err *err);
    int (*stop)(void *ctx);  /* non-zero: save and leave; NULL: never                    */
    bool (*save)(void *ctx); /* true: save now and go on; NULL: never                    */
    void *ctx;
};

struct trainer_result {
    uint64_t step, tokens, skipped;
    uint64_t resumed;                /* the step it went on from; 0: from the beginning          */
    bool was_complete;               /* there was nothing to do                                  */
    bool early;                      /* the patience was over before the steps were              */
    double loss, eval_loss, seconds; /* NAN: none                                             */
    uint64_t best_step;
    double best_loss;
};

/* Runs, or goes on with, opts->run. `eval` NULL: no evaluation. The model has its gradients and is
 * otherwise untouched: weights are loaded or drawn here. ERR_STOPPED: saved, told how to go on.
 * ERR_DIVERGED. ERR_USAGE: the folder's run has other options. */
int trainer_run(struct model *model, const struct backend *backend, struct device *device,
                const struct loader *train, const struct loader *eval,
                const struct trainer_opts *opts, struct trainer_result *ret, const struct log *log,
                struct err *err);

/* Rank 1 and on of opts->comm: does the part of rank 0's steps that falls to it (loader_share),
 * until rank 0 is done; writes nothing. The model is as above; its weights come from rank 0.
 * ERR_PEER: rank 0 has ended before it was done. ERR_USAGE: it has other options. */
int trainer_work(struct model *model, const struct backend *backend, struct device *device,
                 const struct loader *train, const struct trainer_opts *opts, struct err *err);

#endif
