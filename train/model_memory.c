/* What training will take, before any of it is allocated: parameters and activations from their
 * tables, the device's own part by going through a micro-batch's operations while it measures. */
#include <stdlib.h>
#include "train/model_inside.h"

enum { MOST_ROWS = INT32_MAX / 4 };

/* Addresses for tensors that nobody will follow. */
static void *const NOWHERE = (void *)(uintptr_t)(1 << 20);

/* One optimizer step, as optimizer.c asks for it. */
static int go_through_update(const struct model *m, struct err *err) {
    struct param_slice *slices = calloc(m->n_params, sizeof *slices);
    if (!slices) return err_nomem(err, m->n_params * sizeof *slices);
    for (size_t i = 0; i < m->n_params; i++) slices[i] = (struct param_slice){.n = m->params[i].n};
    m->ops->grad_norm(m->device, NOWHERE, slices, m->n_params);
    m->ops->adamw(m->device, NOWHERE, slices, m->n_params);
    free(slices);
    return 0;
}

static int measure(struct model *m, int B, int T, uint64_t *ret, struct err *err) {
    /* with dropout: it asks for no less */
    struct model_batch b = {.B = B, .T = T, .dropout = true};
    for (size_t i = 0; i < m->n_params; i++)
        m->params[i].master = m->params[i].act = m->params[i].grad = NOWHERE;
    m->grads = m->loss_sum = NOWHERE;
    m->ops->measure(m->device);
    model_there_and_back(m, &b);
    int rc = go_through_update(m, err);
    *ret = m->ops->measured(m->device);
    return rc;
}

static int add_up(struct model_memory *ret, struct model *m, int B, int T, enum recompute level,
                  struct err *err) {
    struct model_memory r = {0};
    r.weights = model_masters(m);
    r.gradients = r.weights + tensor_room(sizeof *m->loss_sum) + sizeof(struct step_scalars);
    r.moments = 2 * r.weights;
    r.copies = model_copies(m);
    int rc = acts_pretend(&m->acts, m, (size_t)B * (size_t)T, level, NOWHERE, err);
    r.activations = m->acts.bytes;
    if (rc == 0 && m->device && m->ops->measure) rc = measure(m, B, T, &r.workspace, err);
    r.total = r.weights + r.gradients + r.moments + r.copies + r.activations + r.workspace;
    *ret = r;
    free(m->acts.layer);
    return rc;
}

int model_memory(struct model_memory *ret, const struct model_config *c,
                 const struct backend *backend, struct device *device, enum dtype dtype, int B,
                 int T, enum recompute level, struct err *err) {
    struct model m = {
        .config = *c, .ops = backend, .device = device, .dtype = dtype, .train = true};
    int rc = B < 1 || T < 1 || T > MOST_ROWS / B
                 ? err_set(err, ERR_USAGE, "%d rows of %d tokens", B, T)
                 : model_table(&m, err);
    if (rc == 0) rc = add_up(ret, &m, B, T, level, err);
    free(m.params);
    free(m.layer);
    return rc;
}

int model_largest_batch(int *ret_B, const struct model_config *c, const struct backend *backend,
                        struct device *device, enum dtype dtype, int T, enum recompute level,
                        uint64_t bytes, struct err *err) {
    int fits = 0, beyond = MOST_ROWS / T + 1, rc = 0;
    while (rc == 0 && beyond - fits > 1) { /* fits rows do, beyond do not */
        int B = fits ? fits + (beyond - fits) / 2 : 1;
        if (fits && B > 2 * fits) B = 2 * fits;
        struct model_memory r;
        rc = model_memory(&r, c, backend, device, dtype, B, T, level, err);
        *(r.total <= bytes ? &fits : &beyond) = B;
    }
    *ret_B = fits;
    return rc;
}
