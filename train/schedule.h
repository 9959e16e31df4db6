/* Learning rates, as transformers and llm.c compute them.
 *
 *   lr ┤    ╭──╮         cosine, linear: fall from the end of the warmup to min_lr at the last step
 *      │   ╱    ╲        wsd: constant, then 1 - sqrt(x) over the last fifth (llm.c)
 *      │  ╱      ╲___    constant: stays
 *      └─┬───────────▶   warmup: `hf` lr * s / warmup (first step: 0), `llmc` lr * (s+1) / warmup
 *
 * The others are those of transformers' optimization.py under their names there. s counts updates
 * from 0. Plain numbers: no state, no failure. */
#ifndef LORY_TRAIN_SCHEDULE_H
#define LORY_TRAIN_SCHEDULE_H

#include <stdint.h>

enum schedule_kind {
    SCHEDULE_COSINE,
    SCHEDULE_LINEAR,
    SCHEDULE_CONSTANT,
    SCHEDULE_WSD,                  /* llm.c's                                              */
    SCHEDULE_RESTARTS,             /* cosine_with_restarts: `cycles` falls to 0            */
    SCHEDULE_POLYNOMIAL,           /* (what is left of the run) ^ power                    */
    SCHEDULE_INVERSE_SQRT,         /* lr * sqrt(W / s); W = 10,000 without a warmup        */
    SCHEDULE_COSINE_WARMUP_MIN_LR, /* cosine_warmup_with_min_lr: one update ahead          */
    SCHEDULE_WARMUP_STABLE_DECAY,  /* warmup_stable_decay: warmup from min_lr, too         */
    SCHEDULE_KINDS
};
enum warmup_style { WARMUP_HF, WARMUP_LLMC };
enum decay_shape { DECAY_LINEAR, DECAY_COSINE, DECAY_SQRT /* 1 - sqrt(x) */, DECAY_SHAPES };

struct schedule {
    enum schedule_kind kind;
    enum warmup_style style;
    double lr, min_lr;      /* the peak, and what the last step falls to              */
    uint64_t warmup, steps; /* in updates                                             */
    double cycles;          /* restarts; 0: 1                                         */
    double power;           /* polynomial; 0: 1                                       */
    uint64_t decay_steps;   /* wsd, warmup_stable_decay: of the fall; 0: the last fifth */
    enum decay_shape shape; /* warmup_stable_decay, wsd                               */
};

/* Names as --schedule takes them, in the order of the kinds; shapes likewise. */
extern const char *const schedule_names[SCHEDULE_KINDS], *const decay_shape_names[DECAY_SHAPES];
/* The learning rate of update `s` (from 0). */
double schedule_lr(const struct schedule *p, uint64_t s);

#endif
