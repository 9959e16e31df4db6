/* Operations as one submission: see record() in op.h.
 *
 *   first time    done one by one: the device measures products, makes room
 *   second        recorded, and replayed
 *   later         replayed; recorded again if the device's own memory has moved since
 *
 * What differs from time to time lies in device memory: tokens, labels, positions, segment starts,
 * the samples' number, the scale of the losses. What does not makes the form of a micro-batch. */
#include <string.h>
#include "train/model_inside.h"

static void record(const struct model *m, struct kept *k, void (*operations)(void *ctx),
                   void *ctx) {
    kept_forget(m, k);
    if (m->ops->record(m->device)) {
        operations(ctx);
        k->made = m->ops->recorded(m->device);
    }
    k->seen = true;
    k->impossible = !k->made;
}

void kept_do(const struct model *m, struct kept *k, void (*operations)(void *ctx), void *ctx) {
    if (m->ops->record && k->seen && !k->impossible) {
        if (k->made && m->ops->replay(m->device, k->made)) return;
        record(m, k, operations, ctx);
        if (k->made && m->ops->replay(m->device, k->made)) return;
    }
    k->seen = true;
    operations(ctx);
}

void kept_forget(const struct model *m, struct kept *k) {
    if (k->made) m->ops->forget(m->device, k->made);
    *k = (struct kept){0};
}

/* ------------------------------------------------------------------ micro-batches */

static bool same_form(const struct model_batch *a, const struct model_batch *b) {
    return a->B == b->B && a->T == b->T && !a->pos == !b->pos && !a->start == !b->start &&
           a->dropout == b->dropout && (!a->dropout || a->dropout_key == b->dropout_key);
}

/* The recording for batches like this one. NULL: there is no room for another form. */
static struct model_recording *find(struct model *m, const struct model_batch *b) {
    struct model_recording *end = m->recordings + MODEL_RECORDINGS;
    for (struct model_recording *r = m->recordings; r < end; r++) {
        if (r->form.B && !same_form(&r->form, b)) continue;
        r->form = *b;
        return r;
    }
    return NULL;
}

struct micro {
    const struct model *m;
    const struct model_batch *b;
};

static void there_and_back(void *ctx) {
    const struct micro *micro = ctx;
    model_there_and_back(micro->m, micro->b);
}

void model_there_and_back_again(struct model *m, const struct model_batch *b) {
    struct model_recording *r = find(m, b);
    struct micro micro = {m, b};
    if (r)
        kept_do(m, &r->kept, there_and_back, &micro);
    else
        model_there_and_back(m, b);
}

void model_forget_recordings(struct model *m) {
    for (int i = 0; i < MODEL_RECORDINGS; i++) kept_forget(m, &m->recordings[i].kept);
    memset(m->recordings, 0, sizeof m->recordings);
}
