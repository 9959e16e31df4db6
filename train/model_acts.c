/* Memory for activations: one block, laid out from acts.def. */
#include <stdlib.h>
#include "base/buf.h"
#include "train/model_inside.h"

/* A block being laid out: with base NULL only the size is counted. */
struct layout {
    char *base;
    uint64_t at;
    bool overflow;
};

static void *place(struct layout *o, uint64_t elements, size_t bytes_each) {
    void *p = o->base ? o->base + o->at : NULL;
    uint64_t bytes;
    if (__builtin_mul_overflow(elements, (uint64_t)bytes_each, &bytes) || bytes > UINT64_MAX / 4 ||
        o->at > UINT64_MAX / 4) {
        o->overflow = true;
        return NULL;
    }
    o->at += tensor_room(bytes);
    return p;
}

#define BYTES_ACT      dtype_bytes(m->dtype)
#define BYTES_float    sizeof(float)
#define BYTES_int32_t  sizeof(int32_t)
#define BYTES_uint64_t sizeof(uint64_t)

/* The recompute level from which on layers share an activation. */
enum { FROM_GELU = RECOMPUTE_GELU, FROM_BLOCK = RECOMPUTE_BLOCK, FROM_NEVER };

static void lay_out(struct acts *a, const struct model *m, struct layout *o) {
    const uint64_t rows = a->rows, C = (uint64_t)m->config.C, NH = (uint64_t)m->config.NH,
                   inner = (uint64_t)m->config.inner;
    const int FROM_NORM = model_norms_again(m) ? FROM_GELU : FROM_BLOCK;
    for (int l = 0; l < m->config.L; l++) {
        if (l > 0 && !a->train) {
            a->layer[l] = a->layer[0];
            continue;
        }
#define ACT_LAYER(field, type, elements, level)                                                    \
    a->layer[l].field = l > 0 && (int)a->again >= (int)FROM_##level                                \
                            ? a->layer[0].field                                                    \
                            : place(o, elements, BYTES_##type);
#include "train/acts.def"
    }
#define ACT_ONCE(field, type, elements) a->field = place(o, elements, BYTES_##type);
#include "train/acts.def"
    if (!a->train) return;
#define ACT_BACK(field, type, elements) a->field = place(o, elements, BYTES_##type);
#include "train/acts.def"
}

int acts_plan(struct acts *ret, const struct model *m, size_t rows, bool train, struct err *err) {
    struct acts a = {.rows = rows, .train = train, .again = train ? m->recompute : RECOMPUTE_NONE};
    struct layout size = {0}, real = {0};
    int rc;
    a.layer = mem_array((size_t)m->config.L, sizeof *a.layer);
    if (!a.layer) return err_nomem(err, (uint64_t)m->config.L * sizeof *a.layer);
    lay_out(&a, m, &size);
    a.bytes = size.at;
    rc = size.overflow ? err_nomem(err, UINT64_MAX)
                       : m->ops->alloc(m->device, &a.memory, size.at, err);
    if (rc < 0) {
        free(a.layer);
        return err_prefix(err, "activations of %zu positions, %llu MiB", rows,
                          (unsigned long long)(size.at >> 20));
    }
    real.base = a.memory;
    lay_out(&a, m, &real);
    *ret = a;
    return 0;
}

void acts_release(struct acts *a, const struct model *m) {
    if (a->memory) m->ops->free(m->device, a->memory);
    free(a->layer);
    *a = (struct acts){0};
}

void model_set_recompute(struct model *m, enum recompute level) {
    m->recompute = level;
}

/* The device's own memory for such micro-batches at once, not when they come to need it. */
static int reserve_workspace(const struct model *m, int B, int T, struct err *err) {
    struct model_memory need;
    if (!m->ops->measure) return 0;
    int rc = model_memory(&need, &m->config, m->ops, m->device, m->dtype, B, T, m->recompute, err);
    if (rc == 0) rc = m->ops->reserve(m->device, err);
    return rc < 0 ? err_prefix(err, "workspace of %d rows of %d tokens", B, T) : 0;
}

int model_plan(struct model *m, int B, int T, bool train, uint64_t *ret_bytes, struct err *err) {
    size_t rows;
    int rc = 0;
    if (B < 1 || T < 1 || T > m->config.P)
        return err_set(err, ERR_USAGE, "%d rows of %d tokens; the model's context is %d", B, T,
                       m->config.P);
    rows = (size_t)B * (size_t)T;
    if (rows > INT32_MAX / 4) return err_set(err, ERR_USAGE, "%d rows of %d tokens", B, T);
    if (!m->acts.memory || m->acts.rows != rows || m->acts.train != train ||
        (train && m->acts.again != m->recompute)) {
        model_forget_recordings(m);
        acts_release(&m->acts, m);
        rc = acts_plan(&m->acts, m, rows, train, err);
    }
    if (rc == 0 && train) rc = reserve_workspace(m, B, T, err);
    if (rc == 0 && ret_bytes) *ret_bytes = m->acts.bytes;
    return rc;
}

int acts_pretend(struct acts *ret, const struct model *m, size_t rows, enum recompute level,
                 void *base, struct err *err) {
    struct acts a = {.rows = rows, .train = true, .again = level};
    struct layout all = {.base = base};
    a.layer = mem_array((size_t)m->config.L, sizeof *a.layer);
    if (!a.layer) return err_nomem(err, (uint64_t)m->config.L * sizeof *a.layer);
    lay_out(&a, m, &all);
    a.bytes = all.overflow ? UINT64_MAX / 4 : all.at;
    *ret = a;
    return 0;
}
