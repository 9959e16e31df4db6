/* metrics.jsonl: what happened at each step, one JSON object a line; the source of truth for the
 * curves, the event files and trainer_state.json.
 *
 *   {"step":7,"loss":3.21,"lr":0.0005,"grad_norm":0.9,"tokens":…,"tokens_per_s":…,"time":…,
 *    "epoch":…,"samples":…}                                                 (on one line)
 *   {"step":8,"eval_loss":3.3,"perplexity":27.1,"eval_tokens":…,"time":…,"seconds":…,
 *    "bits_per_byte":…}
 *   {"step":9,"loss":null,…,"skipped":true,"why":"the loss is nan",
 *    "windows":["train-00000.bin:512"]}
 *
 * Opening with a step cuts off everything behind it (atomically), so that however often a run is
 * killed and resumed, each step stands once. Lines are also kept in memory, 80 bytes a step. */
#ifndef LORY_TRAIN_METRICS_H
#define LORY_TRAIN_METRICS_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

struct metrics_step {
    uint64_t step; /* from 1                                          */
    double loss;   /* mean over the targets of the step               */
    double lr, grad_norm;
    uint64_t tokens;     /* seen by the run so far                          */
    double tokens_per_s; /* of this step                                    */
    double time;         /* seconds since 1970                              */
    double epoch;
    uint64_t samples; /* windows seen by the run so far                  */
    bool skipped;     /* the weights stayed as they were                 */
};

struct metrics_eval {
    uint64_t step;
    double loss;      /* mean over all scored targets                              */
    double part_loss; /* over those that the other evaluations of the run score   */
    uint64_t targets, windows, batches;
    double time;
    double seconds;       /* what it took                                              */
    double bits_per_byte; /* NAN: the shards do not say how many bytes they were   */
};

BUF_DECLARE(metrics_steps, struct metrics_step)
BUF_DECLARE(metrics_evals, struct metrics_eval)

struct metrics; /* a metrics.jsonl being continued */

/* Opens PATH, made if missing, and drops what stands behind `step`, a torn last line, and (with a
 * warning) lines that are none of ours. */
int metrics_open(struct metrics **ret, const char *path, uint64_t step, const struct log *log,
                 struct err *err);
void metrics_close(struct metrics *m); /* NULL is fine */
/* `note`: further members of the line as JSON, each with a comma before it; not kept in memory. */
int metrics_add_step(struct metrics *m, const struct metrics_step *s, const char *note,
                     struct err *err);
int metrics_add_eval(struct metrics *m, const struct metrics_eval *e, struct err *err);
int metrics_sync(struct metrics *m, struct err *err);
/* All lines so far, borrowed until the next addition. */
const struct metrics_steps *metrics_get_steps(const struct metrics *m);
const struct metrics_evals *metrics_get_evals(const struct metrics *m);

/* Reads PATH without changing it: what a report needs. Caller releases both. */
int metrics_read(const char *path, struct metrics_steps *steps, struct metrics_evals *evals,
                 struct err *err);

#endif
