/* AdamW over a model: see optimizer.h. The mathematics is the backend's (train/ref/step.c). */
#include "train/optimizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "train/safetensors.h"

enum { CHUNK = 1 << 20 }; /* floats read at a time */
static const char *const PREFIX[2] = {"exp_avg.", "exp_avg_sq."};

/* Both moments of every slice in one block. */
static int alloc_moments(struct optimizer *o, struct err *err) {
    size_t bytes = 0;
    for (size_t i = 0; i < o->n; i++) bytes += 2 * tensor_room(o->slices[i].n * sizeof(float));
    o->moments_bytes = bytes;
    int rc = o->backend->alloc(o->device, &o->moments, bytes, err);
    char *at = o->moments;
    for (size_t i = 0; rc == 0 && i < o->n; i++) {
        struct param_slice *s = &o->slices[i];
        size_t each = tensor_room(s->n * sizeof(float));
        s->m = (float *)at;
        s->v = (float *)(at + each);
        at += 2 * each;
    }
    return rc;
}

int optimizer_new(struct optimizer *ret, struct model *model, const struct backend *backend,
                  struct device *device, struct err *err) {
    struct optimizer o = {.backend = backend, .device = device, .loss_sum = model_loss_sum(model)};
    o.n_params = model_params(model, &o.params);
    o.slices = mem_array(o.n_params, sizeof *o.slices);
    o.owners = mem_array(o.n_params, sizeof *o.owners);
    int rc = o.slices && o.owners ? 0 : err_nomem(err, o.n_params * sizeof *o.slices);
    void *scalars = NULL;
    if (rc == 0) rc = backend->alloc(device, &scalars, sizeof *o.scalars, err);
    o.scalars = scalars;
    for (size_t i = 0; rc == 0 && i < o.n_params; i++) {
        struct param *p = &o.params[i];
        if (!p->trainable) continue;
        struct param_slice *s = &o.slices[o.n];
        o.owners[o.n++] = p;
        *s = (struct param_slice){.master = p->master, .grad = p->grad, .n = p->n};
        s->decay = p->decay;
        s->act = p->act == p->master || p->shared ? NULL : p->act;
    }
    if (rc == 0) rc = alloc_moments(&o, err);
    if (rc < 0) {
        optimizer_free(&o);
        return err_prefix(err, "optimizer");
    }
    *ret = o;
    return 0;
}

void optimizer_free(struct optimizer *o) {
    if (o->moments) o->backend->free(o->device, o->moments);
    if (o->scalars) o->backend->free(o->device, o->scalars);
    free(o->slices);
    free(o->owners);
    *o = (struct optimizer){0};
}

void optimizer_start(struct optimizer *o, const struct step_scalars *s) {
    const struct backend *b = o->backend;
    b->upload(o->device, o->scalars, s, sizeof *s);
    if (o->loss_sum) b->copy(o->device, &o->scalars->loss_sum, o->loss_sum, sizeof *o->loss_sum);
    b->grad_norm(o->device, o->scalars, o->slices, o->n);
    b->adamw(o->device, o->scalars, o->slices, o->n);
}

int optimizer_finish(struct optimizer *o, struct step_scalars *s, struct err *err) {
    const struct backend *b = o->backend;
    b->download(o->device, s, o->scalars, sizeof *s);
    return b->sync(o->device, err);
}

int optimizer_step(struct optimizer *o, struct step_scalars *s, struct err *err) {
    optimizer_start(o, s);
    return optimizer_finish(o, s, err);
}

/* ------------------------------------------------------------------ files */

/* What is to be fetched from the device while the file is written. */
struct source {
    const struct optimizer *o;
    const float *from;
};

static int fill(const struct st_out *t, uint64_t at, size_t bytes, void *to, struct err *err) {
    const struct source *s = t->ctx;
    s->o->backend->download(s->o->device, to, (const char *)s->from + at, bytes);
    return s->o->backend->sync(s->o->device, err);
}

int optimizer_save(const struct optimizer *o, const char *path, struct err *err) {
    size_t n = 2 * o->n;
    struct st_out *out = mem_array(n, sizeof *out);
    struct source *sources = mem_array(n, sizeof *sources);
    char(*names)[128] = mem_array(n, sizeof *names);
    int rc = out && sources && names ? 0 : err_nomem(err, n * sizeof *out);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct param *p = o->owners[i / 2];
        const struct param_slice *s = &o->slices[i / 2];
        snprintf(names[i], sizeof names[i], "%s%s", PREFIX[i % 2], p->name);
        sources[i] = (struct source){.o = o, .from = i % 2 ? s->v : s->m};
        out[i] = (struct st_out){.name = names[i],
                                 .dtype = ST_F32,
                                 .n_dims = (size_t)p->n_dims,
                                 .dims = p->dims,
                                 .ctx = &sources[i]};
    }
    if (rc == 0) rc = safetensors_write(path, out, n, NULL, fill, err);
    free(out);
    free(sources);
    free(names);
    return rc;
}

/* One moment of one parameter, in pieces, so that the host never holds a whole tensor. */
static int load_moment(struct optimizer *o, const struct safetensors *file, size_t i, float *room,
                       const char *path, struct err *err) {
    const struct param *p = o->owners[i / 2];
    float *to = i % 2 ? o->slices[i / 2].v : o->slices[i / 2].m;
    char name[128];
    snprintf(name, sizeof name, "%s%s", PREFIX[i % 2], p->name);
    const struct st_tensor *t = safetensors_find(file, name);
    bool fits = t && t->dtype == ST_F32 && t->n_dims == (size_t)p->n_dims;
    for (int d = 0; fits && d < p->n_dims; d++) fits = t->dims[d] == (uint64_t)p->dims[d];
    if (!fits)
        return err_set(err, ERR_CORRUPT, "%s: %s is %s", path, name,
                       t ? "of another shape" : "missing");
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < p->n; at += CHUNK) {
        uint64_t n = p->n - at < CHUNK ? p->n - at : CHUNK;
        rc = st_read_f32(t, at, n, room, err);
        if (rc == 0) o->backend->upload(o->device, to + at, room, n * sizeof *room);
        if (rc == 0) rc = o->backend->sync(o->device, err);
    }
    return rc;
}

int optimizer_load(struct optimizer *o, const char *path, struct err *err) {
    struct safetensors file = {0};
    float *room = mem_array(CHUNK, sizeof *room);
    int rc = room ? safetensors_open(&file, path, err) : err_nomem(err, CHUNK * sizeof *room);
    for (size_t i = 0; rc == 0 && i < 2 * o->n; i++) rc = load_moment(o, &file, i, room, path, err);
    safetensors_close(&file);
    free(room);
    return rc;
}
