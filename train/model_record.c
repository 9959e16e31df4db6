/* A micro-batch's operations as one submission: see record() in op.h.
 *
 *   first time of a form    done one by one: the device measures products, makes room
 *   second                  recorded, and replayed
 *   later                   replayed; recorded again if the device's own memory has moved since
 *
 * What differs from batch to batch lies in device memory: tokens, labels, positions, segment
 * starts, the samples' number and the scale of the losses. What does not is the recording's form.
 */
#include <string.h>
#include "train/model_inside.h"

static bool same_form(const struct model_batch *a, const struct model_batch *b) {
    return a->B == b->B && a->T == b->T && !a->pos == !b->pos && !a->start == !b->start &&
           a->dropout == b->dropout && (!a->dropout || a->dropout_key == b->dropout_key);
}

/* The recording for batches like this one; *ret_first if it has just been begun. NULL: there is no
 * room for another form. */
static struct model_recording *find(struct model *m, const struct model_batch *b, bool *ret_first) {
    struct model_recording *end = m->recordings + MODEL_RECORDINGS;
    for (struct model_recording *r = m->recordings; r < end; r++) {
        if (r->form.B && !same_form(&r->form, b)) continue;
        *ret_first = !r->form.B;
        r->form = *b;
        return r;
    }
    return NULL;
}

static void record(struct model *m, const struct model_batch *b, struct model_recording *r) {
    m->ops->forget(m->device, r->made);
    r->made = NULL;
    if (m->ops->record(m->device)) {
        model_there_and_back(m, b);
        r->made = m->ops->recorded(m->device);
    }
    r->impossible = !r->made;
}

void model_there_and_back_again(struct model *m, const struct model_batch *b) {
    bool first = false;
    struct model_recording *r = m->ops->record ? find(m, b, &first) : NULL;
    if (r && !first && !r->impossible) {
        if (r->made && m->ops->replay(m->device, r->made)) return;
        record(m, b, r);
        if (r->made && m->ops->replay(m->device, r->made)) return;
    }
    model_there_and_back(m, b);
}

void model_forget_recordings(struct model *m) {
    for (int i = 0; i < MODEL_RECORDINGS; i++)
        if (m->recordings[i].made) m->ops->forget(m->device, m->recordings[i].made);
    memset(m->recordings, 0, sizeof m->recordings);
}
