/* What is going to happen, told before it does: size, length, memory. */
#include <inttypes.h>
#include "tools/lmtrain_parts.h"

cJSON *plan_json(const struct plan *p, uint64_t params, uint64_t bytes) {
    uint64_t step_tokens = (uint64_t)p->B * p->accumulate * (uint64_t)p->T;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "parameters", (double)params);
    cJSON_AddNumberToObject(o, "layers", p->config.L);
    cJSON_AddNumberToObject(o, "width", p->config.C);
    cJSON_AddNumberToObject(o, "heads", p->config.NH);
    cJSON_AddNumberToObject(o, "vocab", p->config.V);
    cJSON_AddNumberToObject(o, "seq_len", p->T);
    cJSON_AddNumberToObject(o, "windows", (double)p->train.n);
    cJSON_AddNumberToObject(o, "tokens_per_step", (double)step_tokens);
    cJSON_AddNumberToObject(o, "steps", (double)p->steps);
    cJSON_AddNumberToObject(o, "tokens", (double)step_tokens * (double)p->steps);
    cJSON_AddNumberToObject(o, "memory_bytes", (double)bytes);
    cJSON_AddNumberToObject(o, "checkpoint_bytes", (double)params * 12);
    return o;
}

void say_plan(const struct plan *p, uint64_t params, uint64_t bytes) {
    const struct log *log = &p->tool->log;
    const struct model_config *c = &p->config;
    uint64_t samples = (uint64_t)p->B * p->accumulate;
    log_info(log, "%.1f M parameters: %d layers, width %d, %d heads, vocabulary %d, context %d",
             (double)params / 1e6, c->L, c->C, c->NH, c->V, c->P);
    log_info(log, "%.1f M tokens in %" PRIu64 " windows of %d; %" PRIu64 " more in tails",
             (double)p->train.targets / 1e6, p->train.n, p->T, p->train.tail_tokens);
    log_info(log,
             "%" PRIu64 " steps of %" PRIu64 " tokens (%d x %" PRIu64 " x %d) = %.3g epochs; "
             "warmup %" PRIu64,
             p->steps, samples * (uint64_t)p->T, p->B, p->accumulate, p->T,
             (double)p->steps * (double)samples / (double)p->train.n, p->t.schedule.warmup);
    log_info(log, "%.2f GB of memory; %.1f MB a checkpoint", (double)bytes / 1e9,
             (double)params * 12 / 1e6);
}

/* Weights, gradients, two moments, the bf16 copy, activations. */
uint64_t memory_bytes(const struct plan *p, uint64_t params) {
    enum dtype dtype = p->choice.opts.dtype;
    uint64_t each = 16 + (dtype == DTYPE_BF16 ? 2 : 0);
    return params * each + model_plan_bytes(&p->config, dtype, p->B, p->T, true);
}
