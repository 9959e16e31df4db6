/* From logits to the next id, step by step as transformers' logits processors do it. No memory is
 * needed: the probabilities' own array serves as scratch until they are there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "train/generate.h"

/* A score is divided by the penalty, or multiplied if negative; once per id, however often it is
 * there. */
static void penalise(float penalty, float *z, size_t V, const uint32_t *ids, size_t n,
                     float *scratch) {
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= V) continue;
        float score = z[ids[i]];
        scratch[ids[i]] = score < 0 ? score * penalty : score / penalty;
    }
    for (size_t i = 0; i < n; i++)
        if (ids[i] < V) z[ids[i]] = scratch[ids[i]];
}

/* The k-th largest of v[0..n), 1 <= k <= n, by partition (Hoare 1961); reorders v. */
static float kth_largest(float *v, size_t n, size_t k) {
    ptrdiff_t left = 0, right = (ptrdiff_t)n - 1, want = (ptrdiff_t)k - 1;
    while (left < right) {
        float pivot = v[want];
        ptrdiff_t i = left, j = right;
        while (i <= j) {
            while (v[i] > pivot) i++;
            while (v[j] < pivot) j--;
            if (i > j) break;
            float t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        if (j < want) left = i;
        if (i > want) right = j;
    }
    return v[want];
}

static float largest(const float *z, size_t V) {
    float max = -INFINITY;
    for (size_t i = 0; i < V; i++)
        if (z[i] > max) max = z[i];
    return max;
}

static void keep_top_k(size_t k, float *z, size_t V, float *scratch) {
    float floor;
    if (k >= V) return;
    memcpy(scratch, z, V * sizeof *z);
    floor = kth_largest(scratch, V, k);
    for (size_t i = 0; i < V; i++)
        if (z[i] < floor) z[i] = -INFINITY; /* what equals the k-th stays */
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Removes the least likely ids whose probabilities together are at most 1 - p. Those below
 * (1 - p) / V each are removed in any case; only the others, usually few, have to be sorted. */
static void keep_top_p(float p, float *z, size_t V, float *scratch) {
    double max = largest(z, V), sum = 0, below = 0, limit = 1 - (double)p;
    size_t n = 0, k = 0, equal = 0, removed_equal = 0;
    for (size_t i = 0; i < V; i++) sum += exp(z[i] - max);
    for (size_t i = 0; i < V; i++) {
        double prob = exp(z[i] - max) / sum;
        if (prob * (double)V < limit)
            below += prob;
        else
            scratch[n++] = z[i];
    }
    if (n) qsort(scratch, n, sizeof *scratch, ascending);
    while (k + 1 < n) { /* one stays in any case */
        below += exp(scratch[k] - max) / sum;
        if (below > limit) break;
        k++;
    }
    if (n == 0) return;
    float floor = scratch[k];
    while (k > 0 && scratch[k - 1] == floor) {
        k--;
        removed_equal++;
    }
    for (size_t i = 0; i < V; i++) /* of equals the lower ids go first, as a stable sort has them */
        if (z[i] < floor || (z[i] == floor && equal++ < removed_equal)) z[i] = -INFINITY;
}

static void keep_min_p(float p, float *z, size_t V) {
    double max = largest(z, V);
    for (size_t i = 0; i < V; i++)
        if (exp(z[i] - max) < p) z[i] = -INFINITY;
}

static void softmax(const float *z, size_t V, float *probs) {
    double max = largest(z, V), sum = 0;
    for (size_t i = 0; i < V; i++) sum += exp(z[i] - max);
    for (size_t i = 0; i < V; i++) probs[i] = (float)(exp(z[i] - max) / sum);
}

void sampling_warp(const struct sampling *s, float *logits, int V_, const uint32_t *ids, size_t n,
                   float *ret_probs) {
    size_t V = (size_t)V_, best = 0;
    if (s->repetition_penalty != 1) penalise(s->repetition_penalty, logits, V, ids, n, ret_probs);
    if (s->greedy) { /* all on the largest: two logits apart may be one as probabilities */
        for (size_t i = 1; i < V; i++)
            if (logits[i] > logits[best]) best = i;
        memset(ret_probs, 0, V * sizeof *ret_probs);
        ret_probs[best] = 1;
        return;
    }
    if (s->temperature != 1)
        for (size_t i = 0; i < V; i++) logits[i] /= s->temperature;
    if (s->top_k > 0) keep_top_k((size_t)s->top_k, logits, V, ret_probs);
    if (s->top_p < 1) keep_top_p(s->top_p, logits, V, ret_probs);
    if (s->min_p > 0) keep_min_p(s->min_p, logits, V);
    softmax(logits, V, ret_probs);
}

uint32_t sampling_draw(const struct sampling *s, const float *probs, int V, struct rng *rng) {
    double sum = 0, at;
    uint32_t last = 0;
    if (s->greedy) {
        for (int i = 1; i < V; i++)
            if (probs[i] > probs[last]) last = (uint32_t)i;
        return last;
    }
    for (int i = 0; i < V; i++) sum += probs[i];
    at = rng_unit(rng) * sum;
    for (int i = 0; i < V; i++) {
        if (probs[i] <= 0) continue;
        last = (uint32_t)i;
        at -= probs[i];
        if (at < 0) break;
    }
    return last;
}
