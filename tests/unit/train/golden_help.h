/* What the tests against transformers' numbers share: the golden model on each backend, and
 * distances. */
#ifndef LORY_TESTS_GOLDEN_HELP_H
#define LORY_TESTS_GOLDEN_HELP_H

#include <math.h>
#include "base/json.h"
#include "tests/unit/test.h"
#include "train/model.h"
#include "train/safetensors.h"

#define TINY GOLDEN "/gpt2-tiny" /* GOLDEN: tests/golden, from meson */

/* The golden model on one backend, with what transformers computes from it. */
struct golden {
    const struct backend *ops;
    struct device *device;
    struct model *model;
    struct safetensors want;
    cJSON *json;
};

static inline int golden_open(struct golden *g, const struct backend *ops, bool train,
                              struct err *err) {
    struct model_config c;
    struct device_opts opts = {.dtype = DTYPE_F32, .threads = 2};
    *g = (struct golden){.ops = ops};
    int rc = ops->open(&g->device, &opts, err);
    if (rc == 0) rc = model_config_load(&c, TINY, err);
    if (rc == 0) rc = model_new(&g->model, &c, ops, g->device, DTYPE_F32, train, err);
    if (rc == 0) rc = model_load(g->model, TINY, err);
    if (rc == 0) rc = safetensors_open(&g->want, TINY "/golden.safetensors", err);
    if (rc == 0) rc = json_load(&g->json, TINY "/golden.json", err);
    return rc;
}

static inline void golden_close(struct golden *g) {
    model_free(g->model);
    g->ops->close(g->device);
    safetensors_close(&g->want);
    cJSON_Delete(g->json);
}

/* A golden tensor in memory of its own: fp32, or int32 as it is. */
static inline void *golden_get(const struct golden *g, const char *name, size_t *ret_n) {
    struct err err = {0};
    const struct st_tensor *t = safetensors_find(&g->want, name);
    if (!t) fail_msg("no golden tensor %s", name);
    void *v = malloc((size_t)t->n * 4);
    assert_non_null(v);
    if (t->dtype == ST_I32)
        memcpy(v, t->data, (size_t)t->bytes);
    else
        check_ok(st_read_f32(t, 0, t->n, v, &err), &err);
    if (ret_n) *ret_n = (size_t)t->n;
    return v;
}

/* |a - b| / |b|, Euclidean, in double. */
static inline double distance(const float *a, const float *b, size_t n) {
    double d = 0, s = 0;
    for (size_t i = 0; i < n; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        s += (double)b[i] * b[i];
    }
    return sqrt(d) / (s > 0 ? sqrt(s) : 1);
}

/* HF's labels to ours: shifted, so that a position's label is the token behind it. */
static inline int32_t *shifted(const int32_t *labels, int B, int T) {
    int32_t *v = malloc((size_t)B * (size_t)T * sizeof *v);
    assert_non_null(v);
    for (int i = 0; i < B * T; i++) v[i] = i % T == T - 1 ? LABEL_IGNORED : labels[i + 1];
    return v;
}

#endif
