/* Learning rates: see schedule.h. The order of operations is that of transformers' optimization.py
 * (get_cosine_schedule_with_warmup and its sisters), so that logged rates agree to the last bit. */
#include "train/schedule.h"

#include <math.h>
#include <stdbool.h>

static const double PI = 3.14159265358979323846;

const char *const schedule_names[SCHEDULE_KINDS] = {"cosine",
                                                    "linear",
                                                    "constant",
                                                    "wsd",
                                                    "cosine_with_restarts",
                                                    "polynomial",
                                                    "inverse_sqrt",
                                                    "cosine_warmup_with_min_lr",
                                                    "warmup_stable_decay"};
const char *const decay_shape_names[DECAY_SHAPES] = {"linear", "cosine", "1-sqrt"};

static double share(uint64_t a, uint64_t b) {
    return (double)a / (double)(b ? b : 1);
}

static double half_wave(double progress) {
    return fmax(0, 0.5 * (1 + cos(PI * 2 * 0.5 * progress)));
}

/* Stays at 1, then falls over the last updates. */
static double stable_decay(const struct schedule *p, uint64_t s, uint64_t N) {
    uint64_t W = p->warmup, fall = (uint64_t)(0.8 * (double)p->steps); /* llm.c: the last fifth */
    if (p->decay_steps) fall = p->decay_steps < p->steps ? p->steps - p->decay_steps : 0;
    if (fall < W) fall = W;
    if (s < fall) return 1;
    double x = share(s - fall, N - fall);
    switch (p->shape) {
    case DECAY_LINEAR: return 1 - x;
    case DECAY_COSINE: return half_wave(x);
    default: return 1 - sqrt(x);
    }
}

/* What is left of the peak at update s >= warmup: from 1 to 0. */
static double factor(const struct schedule *p, uint64_t s) {
    uint64_t W = p->warmup, N = p->steps > W ? p->steps : W;
    double scale = W ? (double)W : 10000, x = share(s - W, N - W);
    if (p->kind == SCHEDULE_INVERSE_SQRT)
        return 1 / sqrt(((double)s + (scale - (double)W)) / scale);
    if (p->kind == SCHEDULE_CONSTANT) return 1;
    if (s >= N) return 0;
    switch (p->kind) {
    case SCHEDULE_LINEAR: return share(N - s, N - W);
    case SCHEDULE_COSINE: return half_wave(x);
    case SCHEDULE_RESTARTS:
        return fmax(0, 0.5 * (1 + cos(PI * fmod((p->cycles > 0 ? p->cycles : 1) * x, 1))));
    case SCHEDULE_POLYNOMIAL: return pow(1 - x, p->power > 0 ? p->power : 1);
    case SCHEDULE_COSINE_WARMUP_MIN_LR: return half_wave(share(s - W + 1, N - W));
    default: return stable_decay(p, s, N);
    }
}

double schedule_lr(const struct schedule *p, uint64_t s) {
    double r = p->lr > 0 ? p->min_lr / p->lr : 0;
    if (s < p->warmup) {
        bool ahead = p->style == WARMUP_LLMC || p->kind == SCHEDULE_COSINE_WARMUP_MIN_LR;
        double f = share(ahead ? s + 1 : s, p->warmup);
        return p->lr * (p->kind == SCHEDULE_WARMUP_STABLE_DECAY ? f * (1 - r) + r : f);
    }
    if (p->kind == SCHEDULE_CONSTANT) return p->lr;
    double f = factor(p, s);
    if (p->kind == SCHEDULE_POLYNOMIAL && p->lr > 0)
        return p->lr * (((p->lr - p->min_lr) * f + p->min_lr) / p->lr);
    return p->lr * (f * (1 - r) + r);
}
