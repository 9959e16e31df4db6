/* What is going to happen, told before it does: size, length, memory. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "tools/lmtrain_parts.h"
#include "tools/memory.h"

/* ------------------------------------------------------------------ memory */

/* What --recompute says; auto: nothing where a device's own memory holds all, else the GELU. */
static int choose_recompute(struct plan *p, uint64_t available, struct err *err) {
    const struct backend *b = p->choice.backend;
    const char *name = p->o->recompute;
    struct model_memory all;
    p->recompute = !strcmp(name, "block")  ? RECOMPUTE_BLOCK
                   : !strcmp(name, "none") ? RECOMPUTE_NONE
                                           : RECOMPUTE_GELU;
    if (strcmp(name, "auto") || !b->memory) return 0;
    int rc = model_memory(&all, &p->config, b, p->device, p->choice.opts.dtype, p->B, p->T,
                          RECOMPUTE_NONE, err);
    if (rc == 0 && all.total <= available / 10 * 9) p->recompute = RECOMPUTE_NONE;
    return rc;
}

int plan_memory(struct plan *p, struct memory_plan *ret, struct err *err) {
    const struct backend *b = p->choice.backend;
    enum dtype dtype = p->choice.opts.dtype;
    struct model_memory one = {0};
    struct memory_plan m = {.params = model_config_params(&p->config)};
    if (!b->memory || b->memory(p->choice.opts.ordinal, &m.available, NULL) < 0) {
        struct memory_here here = memory_here("");
        m.available = here.available;
        m.total = here.total;
    }
    int rc = choose_recompute(p, m.available, err);
    enum recompute least = strcmp(p->o->recompute, "auto") ? p->recompute : RECOMPUTE_GELU;
    if (rc == 0)
        rc = model_memory(&m.need, &p->config, b, p->device, dtype, p->B, p->T, p->recompute, err);
    if (rc == 0)
        rc = model_largest_batch(&m.largest, &p->config, b, p->device, dtype, p->T, least,
                                 m.available, err);
    if (rc == 0) rc = model_memory(&one, &p->config, b, p->device, dtype, 1, p->T, least, err);
    m.least = one.total;
    *ret = m;
    return rc;
}

int check_memory(const struct plan *p, const struct memory_plan *m, struct err *err) {
    if (!m->total || m->need.total <= m->total) return 0;
    return err_set(err, ERR_NOMEM, "--batch %d needs %.2f GB, all memory is %.2f GB, swap included",
                   p->B, (double)m->need.total / 1e9, (double)m->total / 1e9);
}

void hint_memory(const struct plan *p, const struct memory_plan *m, struct err *err) {
    if (m->largest == 0)
        err_hint(err,
                 "not even --batch 1 fits (%.2f GB of %.2f GB free): try a smaller model, a "
                 "shorter --seq-len, --recompute block or --dtype bf16",
                 (double)m->least / 1e9, (double)m->available / 1e9);
    else if (m->largest < p->B)
        err_hint(err,
                 "--batch %d is the largest that fits in %.2f GB; --accumulate makes up for it",
                 m->largest, (double)m->available / 1e9);
}

/* ------------------------------------------------------------------ telling */

cJSON *plan_json(const struct plan *p, const struct memory_plan *m) {
    uint64_t step_tokens = (uint64_t)p->B * p->accumulate * (uint64_t)p->T;
    const struct {
        const char *key;
        double value;
    } numbers[] = {
        {"parameters", (double)m->params},
        {"layers", p->config.L},
        {"width", p->config.C},
        {"heads", p->config.NH},
        {"inner", p->config.inner},
        {"vocab", p->config.V},
        {"positions", p->config.P},
        {"seq_len", p->T},
        {"windows", (double)p->train.n},
        {"tokens_per_step", (double)step_tokens},
        {"steps", (double)p->steps},
        {"warmup", (double)p->t.schedule.warmup},
        {"tokens", (double)step_tokens * (double)p->steps},
        {"memory_bytes", (double)m->need.total},
        {"memory_available", (double)m->available},
        {"weights_bytes", (double)m->need.weights},
        {"gradients_bytes", (double)m->need.gradients},
        {"moments_bytes", (double)m->need.moments},
        {"copies_bytes", (double)m->need.copies},
        {"activations_bytes", (double)m->need.activations},
        {"workspace_bytes", (double)m->need.workspace},
        {"largest_batch", m->largest},
        {"checkpoint_bytes", (double)m->params * 12},
    };
    cJSON *o = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        cJSON_AddNumberToObject(o, numbers[i].key, numbers[i].value);
    cJSON_AddStringToObject(o, "dtype", p->choice.opts.dtype == DTYPE_BF16 ? "bf16" : "fp32");
    return o;
}

static void say_memory(const struct log *log, const struct plan *p, const struct memory_plan *m) {
    const struct model_memory *n = &m->need;
    const char *unit = n->total < 1000000000 ? "MB" : "GB";
    double one = n->total < 1000000000 ? 1e6 : 1e9;
    char copies[48] = "", work[48] = "";
    if (n->copies) snprintf(copies, sizeof copies, " + %.2f bf16 copies", (double)n->copies / one);
    if (n->workspace) snprintf(work, sizeof work, " + %.2f workspace", (double)n->workspace / one);
    log_info(
        log,
        "memory: %.2f %s weights + %.2f gradients + %.2f moments%s + %.2f activations%s = %.2f %s "
        "of %.2f GB free, which hold --batch %d at most; %.1f MB a checkpoint",
        (double)n->weights / one, unit, (double)n->gradients / one, (double)n->moments / one,
        copies, (double)n->activations / one, work, (double)n->total / one, unit,
        (double)m->available / 1e9, m->largest, (double)m->params * 12 / 1e6);
    if (m->available && n->total > m->available)
        log_warn(log,
                 "--batch %d wants more memory than there is; try a smaller one (and "
                 "--accumulate more of them)",
                 p->B);
}

/* The best of all evaluations may then be of a step that is saved nowhere. */
static void say_unsaved(const struct log *log, const struct plan *p) {
    const struct opt_steps *eval = &p->o->eval_every, *save = &p->o->save_every;
    if (!p->has_valid || p->o->save_best) return;
    if (eval->steps && save->steps && eval->steps % save->steps == 0) return;
    log_info(log, "--no-save-best: evaluations between two saves (--eval-every, --save-every) are "
                  "none that best can be chosen from");
}

void say_plan(const struct plan *p, const struct memory_plan *m) {
    const struct log *log = &p->tool->log;
    const struct model_config *c = &p->config;
    uint64_t samples = (uint64_t)p->B * p->accumulate;
    log_info(log, "%.1f M parameters: %d layers, width %d, %d heads, vocabulary %d, context %d",
             (double)m->params / 1e6, c->L, c->C, c->NH, c->V, c->P);
    const struct shard_set *set = &p->train_set;
    bool few = p->train.targets < 1000000;
    log_info(log, "%.*f%s tokens in %" PRIu64 " windows of %d; %" PRIu64 " more in tails", !few,
             (double)p->train.targets / (few ? 1 : 1e6), few ? "" : " M", p->train.n, p->T,
             p->train.tail_tokens);
    if (set->masked)
        log_info(log, "masks leave %.1f %% of the tokens as targets",
                 100 * (double)set->targets / (double)set->tokens);
    log_info(log,
             "%" PRIu64 " steps of %" PRIu64 " tokens (%d x %" PRIu64 " x %d) = %.3g epochs; "
             "warmup %" PRIu64,
             p->steps, samples * (uint64_t)p->T, p->B, p->accumulate, p->T,
             (double)p->steps * (double)samples / (double)p->train.n, p->t.schedule.warmup);
    if (p->steps && p->t.schedule.warmup + (p->t.schedule.style == WARMUP_HF) > p->steps)
        log_warn(log, "the run ends within its warmup: the rate never comes to --lr %g",
                 p->t.schedule.lr);
    say_unsaved(log, p);
    say_memory(log, p, m);
}
