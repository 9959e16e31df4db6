/* A model's parameters: their table, memory and first values. */
#include "train/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/normal.h"
#include "train/model_inside.h"

enum { CHUNK = 1 << 20 /* elements that go through host memory at a time */ };

enum init { INIT_ZERO, INIT_ONE, INIT_NORMAL, INIT_RESIDUAL };

static size_t table_size(const struct model_config *c) {
    size_t once = 0, layer = 0;
#define PARAM_EMBED(...) once++;
#define PARAM_FINAL(...) once++;
#define PARAM_HEAD(...)  once += !c->tied;
#define PARAM_LAYER(...) layer++;
#include "train/params.def"
    return once + (size_t)c->L * layer;
}

/* Appends one tensor to the table. layer < 0: it stands once. */
static struct param *add(struct model *m, int layer, const char *name, int n_dims, int64_t d0,
                         int64_t d1, bool decay, enum init init) {
    struct param *p = &m->params[m->n_params++];
    if (layer < 0)
        snprintf(p->name, sizeof p->name, "%s", name);
    else
        snprintf(p->name, sizeof p->name, "transformer.h.%d.%s", layer, name);
    p->n_dims = n_dims;
    p->dims[0] = d0;
    p->dims[1] = d1;
    p->n = (size_t)(d0 * d1);
    p->decay = decay;
    p->trainable = true;
    /* Two bytes a weight are worth reading four each time, where memory is the system's. */
    p->shared = layer >= 0 && n_dims == 2 && m->train && m->dtype == DTYPE_BF16 && !m->ops->memory;
    p->init_value = init == INIT_ONE;
    if (init == INIT_NORMAL) p->init_std = m->config.init_range;
    if (init == INIT_RESIDUAL) /* GPT-2: the residual stream sums 2 L branches */
        p->init_std = (float)(m->config.init_range / sqrt(2.0 * m->config.L));
    return p;
}

static void build_table(struct model *m) {
    const struct model_config *c = &m->config;
#define PARAM_EMBED(field, name, n, d0, d1, decay, init)                                           \
    m->top.field = add(m, -1, name, n, d0, d1, decay, init);
#include "train/params.def"
    for (int l = 0; l < c->L; l++) {
#define PARAM_LAYER(field, name, n, d0, d1, decay, init)                                           \
    m->layer[l].field = add(m, l, name, n, d0, d1, decay, init);
#include "train/params.def"
    }
#define PARAM_FINAL(field, name, n, d0, d1, decay, init)                                           \
    m->top.field = add(m, -1, name, n, d0, d1, decay, init);
#define PARAM_HEAD(field, name, n, d0, d1, decay, init)                                            \
    if (!c->tied) m->top.field = add(m, -1, name, n, d0, d1, decay, init);
#include "train/params.def"
}

uint64_t model_copies(const struct model *m) {
    uint64_t own = 0, shared = 0;
    if (m->dtype == DTYPE_F32) return 0;
    for (size_t i = 0; i < m->n_params; i++) {
        uint64_t room = tensor_room(m->params[i].n * dtype_bytes(m->dtype));
        if (!m->params[i].shared)
            own += room;
        else if (room > shared)
            shared = room;
    }
    return own + shared;
}

uint64_t model_masters(const struct model *m) {
    uint64_t all = 0, most = 0;
    for (size_t i = 0; i < m->n_params; i++) {
        uint64_t room = tensor_room(m->params[i].n * 4);
        all += room;
        if (room > most) most = room;
    }
    return model_is_lean(m) ? most : all;
}

const void *model_weights(const struct model *m, const struct param *p) {
    if (p->shared) m->ops->cast(m->device, p->act, p->master, p->n);
    return p->act;
}

/* Masters, gradients and copies each lie in one block, so that a whole kind can be zeroed at
 * once; the room that copies share is its end. */
static int allocate(struct model *m, struct err *err) {
    size_t fp32 = (size_t)model_masters(m), copy = (size_t)model_copies(m), at32 = 0, at16 = 0;
    int rc = m->ops->alloc(m->device, &m->masters, fp32, err);
    m->params_bytes = fp32;
    m->grads_bytes = fp32 + tensor_room(sizeof *m->loss_sum);
    if (rc == 0 && m->train) rc = m->ops->alloc(m->device, &m->grads, m->grads_bytes, err);
    if (rc == 0 && m->dtype != DTYPE_F32) rc = m->ops->alloc(m->device, &m->copies, copy, err);
    if (rc < 0) return err_prefix(err, "the model's %zu MiB", (fp32 + copy) >> 20);
    for (size_t i = 0; i < m->n_params; i++) {
        struct param *p = &m->params[i];
        p->master = (float *)((char *)m->masters + at32);
        p->grad = m->grads ? (float *)((char *)m->grads + at32) : NULL;
        p->act = m->copies ? (char *)m->copies + at16 : (void *)p->master;
        if (!model_is_lean(m)) at32 += tensor_room(p->n * 4);
        if (!p->shared) at16 += tensor_room(p->n * dtype_bytes(m->dtype));
    }
    for (size_t i = 0; i < m->n_params; i++)
        if (m->params[i].shared) m->params[i].act = (char *)m->copies + at16;
    if (m->grads) m->loss_sum = (double *)((char *)m->grads + at32);
    return 0;
}

int model_table(struct model *m, struct err *err) {
    size_t n = table_size(&m->config);
    m->params = mem_array(n, sizeof *m->params);
    m->layer = mem_array((size_t)m->config.L, sizeof *m->layer);
    if (!m->params || !m->layer) return err_nomem(err, n * sizeof *m->params);
    build_table(m);
    return 0;
}

int model_new(struct model **ret, const struct model_config *config, const struct backend *backend,
              struct device *device, enum dtype dtype, bool train, struct err *err) {
    struct model *m;
    int rc = model_config_check(config, ERR_USAGE, "model", err);
    if (rc < 0) return rc;
    m = mem_array(1, sizeof *m);
    if (!m) return err_nomem(err, sizeof *m);
    m->config = *config;
    m->ops = backend;
    m->device = device;
    m->dtype = dtype;
    m->train = train;
    rc = model_table(m, err);
    if (rc == 0) rc = allocate(m, err);
    if (rc < 0)
        model_free(m);
    else
        *ret = m;
    return rc;
}

void model_free(struct model *m) {
    if (!m) return;
    model_forget_recordings(m);
    acts_release(&m->acts, m);
    m->ops->free(m->device, m->masters);
    m->ops->free(m->device, m->copies);
    m->ops->free(m->device, m->grads);
    free(m->params);
    free(m->layer);
    free(m);
}

const struct model_config *model_get_config(const struct model *m) {
    return &m->config;
}

size_t model_params(const struct model *m, struct param **ret) {
    *ret = m->params;
    return m->n_params;
}

/* Element e of tensor i is normal number e of stream i: any thread may draw any of them. */
static void draw(const struct param *p, uint64_t seed, uint64_t stream, size_t at, size_t n,
                 float *out) {
    enum { PIECE = 1 << 14 };
#pragma omp parallel for schedule(static)
    for (size_t k = 0; k < n; k += PIECE) {
        size_t some = n - k < PIECE ? n - k : PIECE;
        if (p->init_std > 0)
            normals(seed, stream, at + k, some, p->init_std, out + k);
        else
            for (size_t i = k; i < k + some; i++) out[i] = p->init_value;
    }
}

int model_init(struct model *m, uint64_t seed, struct err *err) {
    float *host = mem_array(CHUNK, sizeof *host);
    if (!host) return err_nomem(err, CHUNK * sizeof *host);
    for (size_t i = 0; i < m->n_params; i++) {
        struct param *p = &m->params[i];
        for (size_t at = 0; at < p->n; at += CHUNK) {
            size_t n = p->n - at < CHUNK ? p->n - at : CHUNK;
            draw(p, seed, i, at, n, host);
            m->ops->upload(m->device, p->master + at, host, n * sizeof *host);
        }
        model_narrow(m, p);
    }
    free(host);
    return m->ops->sync(m->device, err);
}

void model_narrow(const struct model *m, const struct param *p) {
    if (m->dtype == DTYPE_F32 || p->shared) return;
    m->ops->cast(m->device, p->act, p->master, p->n);
}

void model_cast(struct model *m) {
    if (model_is_lean(m)) return;
    for (size_t i = 0; i < m->n_params; i++) model_narrow(m, &m->params[i]);
}

void model_zero_grads(struct model *m) {
    if (m->grads) m->ops->zero(m->device, m->grads, m->grads_bytes);
}

const double *model_loss_sum(const struct model *m) {
    return m->loss_sum;
}
