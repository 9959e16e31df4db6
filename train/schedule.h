/* Learning rates, as transformers and llm.c compute them.
 *
 *   lr ┤    ╭──╮         cosine, linear: fall from the end of the warmup to min_lr at the last step
 *      │   ╱    ╲        wsd: constant, then 1 - sqrt(x) over the last fifth
 *      │  ╱      ╲___    constant: stays
 *      └─┬───────────▶   warmup: `hf` lr * s / warmup (first step: 0), `llmc` lr * (s+1) / warmup
 *
 * s counts updates from 0. Plain numbers: no state, no failure. */
#ifndef LORY_TRAIN_SCHEDULE_H
#define LORY_TRAIN_SCHEDULE_H

#include <stdint.h>

enum schedule_kind { SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_CONSTANT, SCHEDULE_WSD };
enum warmup_style { WARMUP_HF, WARMUP_LLMC };

struct schedule {
    enum schedule_kind kind;
    enum warmup_style style;
    double lr, min_lr;      /* the peak, and what the last step falls to   */
    uint64_t warmup, steps; /* in updates                                  */
};

/* The learning rate of update `s` (from 0). */
double schedule_lr(const struct schedule *p, uint64_t s);

#endif
