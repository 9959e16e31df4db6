/* Learning rates: see schedule.h. The order of operations is that of transformers' optimization.py
 * (get_cosine_schedule_with_warmup and its sisters), so that logged rates agree to the last bit. */
#include "train/schedule.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

static double share(uint64_t a, uint64_t b) {
    return (double)a / (double)(b ? b : 1);
}

/* What is left of the peak at update s >= warmup: from 1 to 0. */
static double factor(const struct schedule *p, uint64_t s) {
    uint64_t W = p->warmup, N = p->steps > W ? p->steps : W;
    if (s >= N && p->kind != SCHEDULE_CONSTANT) return 0;
    switch (p->kind) {
    case SCHEDULE_CONSTANT: return 1;
    case SCHEDULE_LINEAR: return share(N - s, N - W);
    case SCHEDULE_COSINE: return fmax(0, 0.5 * (1 + cos(PI * 2 * 0.5 * share(s - W, N - W))));
    case SCHEDULE_WSD: break;
    }
    uint64_t fall = (uint64_t)(0.8 * (double)p->steps); /* llm.c: the last fifth */
    if (fall < W) fall = W;
    return s < fall ? 1 : 1 - sqrt(share(s - fall, N - fall));
}

double schedule_lr(const struct schedule *p, uint64_t s) {
    if (s < p->warmup) return p->lr * share(p->style == WARMUP_LLMC ? s + 1 : s, p->warmup);
    double f = factor(p, s), r = p->lr > 0 ? p->min_lr / p->lr : 0;
    if (p->kind == SCHEDULE_CONSTANT) return p->lr;
    return p->lr * (f * (1 - r) + r);
}
