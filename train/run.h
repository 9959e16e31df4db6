/* A run's folder: whose it is, who writes it now, and its log.txt.
 *
 *   run/log.txt          first line "# lmtrain run …": the folder is ours; locked while we write
 *   run/log/debug_0.log  the same and more, a line a step: one such file for every rank
 *   run/config.yaml      all options resolved
 *   run/metrics.jsonl, run/events.out.tfevents.*, run/checkpoint-N/, run/last, run/best
 *   run/all_results.json …   and, when finished, links to the model's files */
#ifndef LORY_TRAIN_RUN_H
#define LORY_TRAIN_RUN_H

#include "base/err.h"
#include "base/log.h"
#include "train/append.h"

struct run {
    char *dir;
    struct append text;      /* log.txt                                                    */
    struct append debug;     /* log/debug_RANK.log                                         */
    const struct log *outer; /* where messages go besides                                  */
    struct log log;          /* what everything inside a run speaks to                     */
};

/* Takes the folder, made if missing, for this process, and sweeps what dead ones left. ERR_USAGE
 * when it holds something else than a run, or when another process is writing it. Another rank than
 * 0 has only its debug log there. *ret must stay in place. */
int run_open(struct run *ret, const char *dir, int rank, const struct log *outer, struct err *err);
void run_close(struct run *r); /* fine on a zeroed one */

#endif
