/* What the text so far says about its next id, in the order of transformers' logits processors.
 * What is forbidden becomes -infinity, whatever was added to it before. */
#include <math.h>
#include <string.h>
#include "train/generate.h"

static bool ends_with(const uint32_t *ids, size_t n, const uint32_t *tail, size_t n_tail) {
    return n_tail <= n &&
           (n_tail == 0 || memcmp(ids + (n - n_tail), tail, n_tail * sizeof *ids) == 0);
}

/* What is added to one id is summed up first. */
static void add_biases(const struct sampling_rules *r, float *z, const uint32_t *ids, size_t n,
                       float *sum) {
    const struct id_bias *end = r->bias + r->n_bias;
    for (const struct id_bias *b = r->bias; b < end; b++) sum[b->ids[b->n - 1]] = 0;
    for (const struct id_bias *b = r->bias; b < end; b++)
        if (ends_with(ids, n, b->ids, b->n - 1)) sum[b->ids[b->n - 1]] += b->bias;
    for (const struct id_bias *b = r->bias; b < end; b++) {
        z[b->ids[b->n - 1]] += sum[b->ids[b->n - 1]];
        sum[b->ids[b->n - 1]] = 0; /* once */
    }
}

/* A score is divided by the penalty, or multiplied if negative; once per id, however often it is
 * there. */
static void penalise(float penalty, float *z, size_t V, const uint32_t *ids, size_t n,
                     float *scores) {
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= V) continue;
        float score = z[ids[i]];
        scores[ids[i]] = score < 0 ? score * penalty : score / penalty;
    }
    for (size_t i = 0; i < n; i++)
        if (ids[i] < V) z[ids[i]] = scores[ids[i]];
}

static void forbid(float *z, const uint32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) z[ids[i]] = -INFINITY;
}

/* What would make the last k ids ones that were there already. */
static void forbid_repeats(uint64_t k, float *z, size_t V, const uint32_t *ids, size_t n) {
    if (n < k) return;
    const uint32_t *last = ids + (n + 1 - k);
    for (size_t i = 0; i + k <= n; i++) {
        uint32_t next = ids[i + k - 1];
        if (next < V && (k == 1 || memcmp(ids + i, last, (k - 1) * sizeof *ids) == 0))
            z[next] = -INFINITY;
    }
}

bool sampling_obey(const struct sampling_rules *r, float *logits, int V_, const uint32_t *ids,
                   size_t n, size_t n_prompt, float *work) {
    size_t V = (size_t)V_;
    if (r->n_bias) add_biases(r, logits, ids, n, work);
    if (r->repetition_penalty > 0 && r->repetition_penalty != 1)
        penalise(r->repetition_penalty, logits, V, ids, n, work);
    if (r->no_repeat_ngram_size) forbid_repeats(r->no_repeat_ngram_size, logits, V, ids, n);
    if (n < r->min_length || n - n_prompt < r->min_new) forbid(logits, r->ends, r->n_ends);
    forbid(logits, r->suppress, r->n_suppress);
    if (n == n_prompt) forbid(logits, r->begin_suppress, r->n_begin_suppress);
    for (size_t i = 0; i < V; i++)
        if (logits[i] > -INFINITY) return true;
    return false;
}
