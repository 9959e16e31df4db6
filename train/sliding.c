/* The loss by windows that overlap: see sliding.h. */
#include "train/sliding.h"

#include <stdlib.h>
#include "base/buf.h"

uint64_t sliding_windows(const struct sliding *s) {
    uint64_t T = (uint64_t)s->T, stride = (uint64_t)s->stride;
    if (s->n < 2) return 0;
    return s->n <= T ? 1 : 1 + (s->n - T + stride - 1) / stride;
}

static int read_ids(const struct sliding *s, uint64_t at, uint64_t n, uint32_t *out,
                    struct err *err) {
    if (s->shard) return shard_read(s->shard, at, n, out, err);
    for (uint64_t i = 0; i < n; i++) out[i] = s->ids[at + i];
    return 0;
}

/* Window i: ids (T) and mask (T) are room. Behind the text's end stands token 0 without a label. */
static int fetch(const struct sliding *s, uint64_t i, uint32_t *ids, uint8_t *mask, int32_t *tokens,
                 int32_t *labels, int V, struct err *err) {
    uint64_t T = (uint64_t)s->T, begin = i * (uint64_t)s->stride;
    uint64_t have = s->n - begin < T ? s->n - begin : T;
    uint64_t seen = i ? T - (uint64_t)s->stride : 0; /* of the window: those of the one before */
    int rc = read_ids(s, begin, have, ids, err);
    if (rc == 0 && s->shard && s->shard->mask)
        rc = shard_read_mask(s->shard, begin, have, mask, err);
    for (uint64_t t = 0; t < T; t++) {
        uint64_t next = t + 1;
        bool target = next < have && next >= seen && (!s->shard || !s->shard->mask || mask[next]);
        tokens[t] = t < have ? (int32_t)ids[t] : 0;
        labels[t] = target ? (int32_t)ids[next] : LABEL_IGNORED;
    }
    return rc < 0 ? rc : check_ids(tokens, labels, s->T, V, s->path, begin, err);
}

int evaluate_sliding(struct model *m, const struct sliding *s, const struct evaluate_opts *o,
                     struct evaluate_result *sum, struct err *err) {
    uint64_t n = sliding_windows(s), left = o->windows ? o->windows - sum->windows : n;
    uint64_t total = n < left ? n : left;
    size_t T = (size_t)s->T, room = (size_t)o->B * T;
    int32_t *tokens = mem_array(2 * room, sizeof *tokens), *labels = tokens + room;
    uint32_t *ids = mem_array(T, sizeof *ids);
    uint8_t *mask = mem_array(T, sizeof *mask);
    int rc = tokens && ids && mask ? 0 : err_nomem(err, 2 * room * sizeof *tokens);
    int V = model_get_config(m)->V;
    for (uint64_t at = 0; rc == 0 && at < total && !sum->stopped;) {
        int rows = (int)(total - at < (uint64_t)o->B ? total - at : (uint64_t)o->B);
        struct model_batch b = {.B = rows, .T = s->T, .tokens = tokens, .labels = labels};
        double loss = 0;
        uint64_t targets = 0;
        for (int r = 0; rc == 0 && r < rows; r++)
            rc = fetch(s, at + (uint64_t)r, ids, mask, tokens + (size_t)r * T,
                       labels + (size_t)r * T, V, err);
        if (rc == 0) rc = model_loss(m, &b, &loss, &targets, err);
        sum->sum += loss;
        sum->targets += targets;
        sum->windows += (uint64_t)rows;
        sum->batches++;
        at += (uint64_t)rows;
        log_progress(o->log,
                     &(struct progress){
                         .stage = "evaluating", .done = at, .total = total, .unit = "windows"});
        sum->stopped = at < total && o->stop && o->stop(o->ctx);
    }
    free(tokens);
    free(ids);
    free(mask);
    return rc;
}
