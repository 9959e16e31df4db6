/* The loss over shards: see evaluate.h. */
#include "train/evaluate.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include "base/buf.h"

int check_ids(const int32_t *tokens, const int32_t *labels, int T, int V, const char *path,
              uint64_t at, struct err *err) {
    for (int t = 0; t < T; t++) {
        bool label = labels[t] >= V || (labels[t] < 0 && labels[t] != LABEL_IGNORED);
        if (!label && tokens[t] >= 0 && tokens[t] < V) continue;
        return err_set(err, ERR_CORRUPT,
                       "%s: token %" PRIu64 " has id %" PRIu32 ", the vocabulary has %d", path,
                       at + (uint64_t)t + label, (uint32_t)(label ? labels[t] : tokens[t]), V);
    }
    return 0;
}

double evaluate_bits_per_byte(const struct shard_set *set, const struct evaluate_result *r) {
    if (!set->text_bytes || !set->tokens || !r->targets || set->masked) return NAN;
    double bytes = (double)set->text_bytes * (double)r->targets / (double)set->tokens;
    return r->sum / log(2) / bytes;
}

/* Windows [from, from + rows) into the batch. */
static int fetch(const struct loader *l, uint64_t from, int rows, int V, int32_t *tokens,
                 int32_t *labels, struct err *err) {
    int rc = 0;
    for (int r = 0; rc == 0 && r < rows; r++) {
        int32_t *x = tokens + (size_t)r * (size_t)l->T, *y = labels + (size_t)r * (size_t)l->T;
        rc = loader_eval_get(l, from + (uint64_t)r, x, y, err);
        size_t shard = 0;
        while (l->first_eval[shard + 1] <= from + (uint64_t)r) shard++;
        uint64_t at = (from + (uint64_t)r - l->first_eval[shard]) * (uint64_t)l->T;
        if (rc == 0) rc = check_ids(x, y, l->T, V, l->set->v[shard].path, at, err);
    }
    return rc;
}

int evaluate_loss(struct model *m, const struct loader *l, const struct evaluate_opts *o,
                  struct evaluate_result *ret, struct err *err) {
    uint64_t n = loader_eval_windows(l), total = o->windows && o->windows < n ? o->windows : n;
    size_t room = (size_t)o->B * (size_t)l->T;
    int32_t *tokens = mem_array(2 * room, sizeof *tokens), *labels = tokens + room;
    int rc = tokens ? 0 : err_nomem(err, 2 * room * sizeof *tokens), V = model_get_config(m)->V;
    struct evaluate_result r = {0};
    while (rc == 0 && r.windows < total && !r.stopped) {
        uint64_t end = r.windows < o->part && o->part < total ? o->part : total;
        int rows = (int)(end - r.windows < (uint64_t)o->B ? end - r.windows : (uint64_t)o->B);
        double sum = 0;
        uint64_t targets = 0;
        struct model_batch b = {.B = rows, .T = l->T, .tokens = tokens, .labels = labels};
        rc = fetch(l, r.windows, rows, V, tokens, labels, err);
        if (rc == 0) rc = model_loss(m, &b, &sum, &targets, err);
        r.sum += sum;
        r.targets += targets;
        r.windows += (uint64_t)rows;
        r.batches++;
        if (r.windows <= o->part) r.part_sum = r.sum, r.part_targets = r.targets;
        log_progress(o->log, &(struct progress){.stage = "evaluating",
                                                .done = r.windows,
                                                .total = total,
                                                .unit = "windows"});
        r.stopped = r.windows < total && o->stop && o->stop(o->ctx);
    }
    free(tokens);
    if (rc == 0) *ret = r;
    return rc;
}
