/* What lmreport's files share: runs in numbers (lmreport_runs.c), the page (lmreport_html.c), and
 * text (lmreport.c). */
#ifndef LORY_TOOLS_LMREPORT_PARTS_H
#define LORY_TOOLS_LMREPORT_PARTS_H

#include "base/buf.h"
#include "base/err.h"
#include "report/table.h"
#include "train/metrics.h"

enum { TAIL_STEPS = 50 };

/* One run in numbers. NAN: none. */
struct summary {
    const char *run;
    uint64_t step, tokens, skipped, checkpoint;
    bool finished;           /* it has its results                               */
    double first_loss, loss; /* of the first step; mean over the last TAIL_STEPS */
    double eval_loss, best_loss, bits_per_byte;
    uint64_t eval_step, best_step;
    double tokens_per_s, seconds; /* medians and sums over the steps' own times */
    struct metrics_steps steps;
    struct metrics_evals evals;
};

/* ERR_USAGE: no run. Caller: summary_release(), also after a failure. */
int summarize(struct summary *r, const char *run, struct err *err);
void summary_release(struct summary *r);
/* The table of all runs, a row each. */
int summary_table(struct table **ret, const struct summary *runs, size_t n, struct err *err);

/* The whole page. */
int report_html(struct buf *out, const struct summary *runs, size_t n, struct err *err);

#endif
