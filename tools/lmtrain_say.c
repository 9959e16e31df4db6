/* What is going to happen, told before it does: size, length, memory. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "tools/lmtrain_parts.h"

/* ------------------------------------------------------------------ memory */

/* A number in a small file of the system: the one after `key`, or the first; 0: there is none. */
static uint64_t number_in(const char *path, const char *key) {
    char line[256];
    unsigned long long x = 0;
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        size_t n = strlen(key);
        if (!strncmp(line, key, n) && sscanf(line + n, "%llu", &x) == 1) break;
    }
    if (f) fclose(f);
    return x;
}

/* What the system could give us now, a container's limit taken into account. */
static uint64_t available_memory(void) {
    uint64_t free_bytes = number_in("/proc/meminfo", "MemAvailable:") * 1024;
    uint64_t limit = number_in("/sys/fs/cgroup/memory.max", "");
    uint64_t used = number_in("/sys/fs/cgroup/memory.current", "");
    uint64_t left = limit > used ? limit - used : 0;
    return left && left < free_bytes ? left : free_bytes;
}

struct memory_plan plan_memory(const struct plan *p) {
    enum dtype dtype = p->choice.opts.dtype;
    struct memory_plan m = {.params = model_config_params(&p->config)};
    m.weights = m.gradients = 4 * m.params;
    m.moments = 8 * m.params;
    m.copies = dtype == DTYPE_BF16 ? 2 * m.params : 0;
    m.activations =
        p->steps ? model_plan_bytes(&p->config, dtype, p->B, p->T, true, recompute_level(p)) : 0;
    m.total = m.weights + m.gradients + m.moments + m.copies + m.activations;
    const struct backend *b = p->choice.backend;
    if (!b->memory || b->memory(p->choice.opts.ordinal, &m.available, NULL) < 0)
        m.available = available_memory();
    return m;
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
        {"memory_bytes", (double)m->total},
        {"memory_available", (double)m->available},
        {"weights_bytes", (double)m->weights},
        {"gradients_bytes", (double)m->gradients},
        {"moments_bytes", (double)m->moments},
        {"copies_bytes", (double)m->copies},
        {"activations_bytes", (double)m->activations},
        {"checkpoint_bytes", (double)m->params * 12},
    };
    cJSON *o = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        cJSON_AddNumberToObject(o, numbers[i].key, numbers[i].value);
    cJSON_AddStringToObject(o, "dtype", p->choice.opts.dtype == DTYPE_BF16 ? "bf16" : "fp32");
    return o;
}

static void say_memory(const struct log *log, const struct memory_plan *m) {
    char copies[48] = "";
    if (m->copies) snprintf(copies, sizeof copies, " + %.2f bf16 copies", (double)m->copies / 1e9);
    log_info(log,
             "memory: %.2f GB weights + %.2f gradients + %.2f moments%s + %.2f activations = %.2f "
             "GB of %.2f free; %.1f MB a checkpoint",
             (double)m->weights / 1e9, (double)m->gradients / 1e9, (double)m->moments / 1e9, copies,
             (double)m->activations / 1e9, (double)m->total / 1e9, (double)m->available / 1e9,
             (double)m->params * 12 / 1e6);
    if (m->available && m->total > m->available)
        log_warn(log, "that is more than the memory there is; try a smaller --batch (and "
                      "--accumulate more of them)");
}

void say_plan(const struct plan *p, const struct memory_plan *m) {
    const struct log *log = &p->tool->log;
    const struct model_config *c = &p->config;
    uint64_t samples = (uint64_t)p->B * p->accumulate;
    log_info(log, "%.1f M parameters: %d layers, width %d, %d heads, vocabulary %d, context %d",
             (double)m->params / 1e6, c->L, c->C, c->NH, c->V, c->P);
    const struct shard_set *set = &p->train_set;
    log_info(log, "%.1f M tokens in %" PRIu64 " windows of %d; %" PRIu64 " more in tails",
             (double)p->train.targets / 1e6, p->train.n, p->T, p->train.tail_tokens);
    if (set->masked)
        log_info(log, "masks leave %.1f %% of the tokens as targets",
                 100 * (double)set->targets / (double)set->tokens);
    log_info(log,
             "%" PRIu64 " steps of %" PRIu64 " tokens (%d x %" PRIu64 " x %d) = %.3g epochs; "
             "warmup %" PRIu64,
             p->steps, samples * (uint64_t)p->T, p->B, p->accumulate, p->T,
             (double)p->steps * (double)samples / (double)p->train.n, p->t.schedule.warmup);
    say_memory(log, m);
}
