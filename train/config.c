/* The shape of a GPT-2 and its checks; reading and writing config.json is train/config_json.c. */
#include "train/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/opt.h"

/* Bounds far beyond any GPT-2, so that no product of two of them overflows 64 bits. */
enum {
    V_MAX = 1 << 24,
    P_MAX = 1 << 20,
    L_MAX = 1 << 10,
    NH_MAX = 1 << 10,
    C_MAX = 1 << 16,
    INNER_MAX = 1 << 19
};

const struct model_config model_config_gpt2 = {
    .V = 50257,
    .P = 1024,
    .L = 12,
    .NH = 12,
    .C = 768,
    .inner = 4 * 768,
    .act = ACT_GELU_TANH,
    .eps = 1e-5f,
    .embd_pdrop = 0.1f,
    .attn_pdrop = 0.1f,
    .resid_pdrop = 0.1f,
    .init_range = 0.02f,
    .scale_attn = true,
    .tied = true,
    .bos = 50256,
    .eos = 50256,
    .pad = -1,
    .dtype = DTYPE_F32,
};

/* OpenAI's four sizes, and llm.c's names by depth. */
static const struct preset {
    const char *name;
    int L, NH, C;
} presets[] = {
    {"gpt2", 12, 12, 768},     {"gpt2-medium", 24, 16, 1024}, {"gpt2-large", 36, 20, 1280},
    {"gpt2-xl", 48, 25, 1600}, {"distilgpt2", 6, 12, 768},    {"d6", 6, 6, 384},
    {"d12", 12, 12, 768},      {"d24", 24, 16, 1024},         {"d36", 36, 20, 1280},
    {"d48", 48, 25, 1600},     {"d60", 60, 30, 1920},         {"d72", 72, 30, 2880},
    {"d84", 84, 36, 3456},
};
enum { N_PRESETS = sizeof presets / sizeof *presets };

static int no_preset(const char *name, struct err *err) {
    const char *names[N_PRESETS], *near;
    struct buf list = {0};
    for (size_t i = 0; i < N_PRESETS; i++) {
        names[i] = presets[i].name;
        if (buf_printf(&list, NULL, "%s%s", i ? ", " : "", names[i]) < 0) break;
    }
    near = nearest_name(name, names, N_PRESETS);
    err_set(err, ERR_USAGE, "no model preset \"%.64s\"; there are %s", name,
            list.v ? buf_cstr(&list) : "gpt2, …");
    if (near) err_hint(err, "did you mean %s?", near);
    buf_release(&list);
    return ERR_USAGE;
}

int model_config_preset(struct model_config *ret, const char *name, struct err *err) {
    for (size_t i = 0; i < N_PRESETS; i++) {
        if (strcmp(name, presets[i].name) != 0) continue;
        *ret = model_config_gpt2;
        ret->L = presets[i].L;
        ret->NH = presets[i].NH;
        ret->C = presets[i].C;
        ret->inner = 4 * ret->C;
        return 0;
    }
    return no_preset(name, err);
}

static int check_counts(const struct model_config *c, int code, const char *what, struct err *err) {
    const struct {
        const char *name;
        int value, max;
    } counts[] = {
        {"vocab_size", c->V, V_MAX}, {"n_positions", c->P, P_MAX}, {"n_layer", c->L, L_MAX},
        {"n_head", c->NH, NH_MAX},   {"n_embd", c->C, C_MAX},      {"n_inner", c->inner, INNER_MAX},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].value < 1 || counts[i].value > counts[i].max)
            return err_set(err, code, "%s: %s is %d; it must be from 1 to %d", what, counts[i].name,
                           counts[i].value, counts[i].max);
    if (c->C % c->NH)
        return err_set(err, code, "%s: n_embd %d is not a multiple of n_head %d", what, c->C,
                       c->NH);
    return 0;
}

int model_config_check(const struct model_config *c, int code, const char *what, struct err *err) {
    const struct {
        const char *name;
        float p;
    } drops[] = {{"embd_pdrop", c->embd_pdrop},
                 {"attn_pdrop", c->attn_pdrop},
                 {"resid_pdrop", c->resid_pdrop}};
    int rc = check_counts(c, code, what, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < sizeof drops / sizeof *drops; i++)
        if (!(drops[i].p >= 0 && drops[i].p < 1))
            return err_set(err, code, "%s: %s is %g; it must be from 0 to below 1", what,
                           drops[i].name, (double)drops[i].p);
    if (!(c->eps > 0 && c->eps <= 1))
        return err_set(err, code, "%s: layer_norm_epsilon is %g; it must be above 0, at most 1",
                       what, (double)c->eps);
    if (!(c->init_range >= 0 && isfinite(c->init_range)))
        return err_set(err, code, "%s: initializer_range is %g", what, (double)c->init_range);
    return 0;
}

uint64_t model_config_params(const struct model_config *c) {
    uint64_t V = (uint64_t)c->V, P = (uint64_t)c->P, C = (uint64_t)c->C, I = (uint64_t)c->inner;
    uint64_t norm = 2 * C, attn = C * 3 * C + 3 * C + C * C + C, mlp = C * I + I + I * C + C;
    return V * C + P * C + (uint64_t)c->L * (2 * norm + attn + mlp) + norm + (c->tied ? 0 : V * C);
}
