/* From logits to the next id, step by step as transformers' logits processors do it:
 *
 *   logits ─▶ temperature ─▶ top-k ─▶ weights exp(z - max) ─▶ top-p ─▶ min-p
 *                                                ─▶ typical ─▶ epsilon ─▶ eta ─▶ / sum
 *
 * What the text so far forbids or makes less likely comes before: train/sampling_rules.c. An
 * exponential is what costs here, so each is taken once. What is removed has weight 0. Selection
 * is by partition, which never sorts what is not looked at. */
#include <math.h>
#include <string.h>
#include "train/generate.h"

/* Logits are looked at in blocks, without a branch inside one, which compilers make vectors of. */
enum { BLOCK = 64 };

static float largest(const float *z, size_t V) {
    float top[BLOCK], max = -INFINITY;
    size_t i = 0;
    for (size_t l = 0; l < BLOCK; l++) top[l] = -INFINITY;
    for (; i + BLOCK <= V; i += BLOCK)
        for (size_t l = 0; l < BLOCK; l++) top[l] = z[i + l] > top[l] ? z[i + l] : top[l];
    for (; i < V; i++) max = z[i] > max ? z[i] : max;
    for (size_t l = 0; l < BLOCK; l++) max = top[l] > max ? top[l] : max;
    return max;
}

/* v[left … right], at least two: afterwards v[left … *low] are at most the pivot, v[*high … right]
 * at least, and what is between them equals it (Hoare 1961). Both parts are smaller than the whole.
 */
static void partition(double *v, ptrdiff_t left, ptrdiff_t right, ptrdiff_t *low, ptrdiff_t *high) {
    double pivot = v[left + (right - left) / 2];
    ptrdiff_t i = left, j = right;
    while (i <= j) {
        while (v[i] < pivot) i++;
        while (v[j] > pivot) j--;
        if (i > j) break;
        double t = v[i];
        v[i++] = v[j];
        v[j--] = t;
    }
    *low = j;
    *high = i;
}

/* The k-th smallest of v[0..n), 0 <= k < n. Reorders v. */
static double kth_smallest(double *v, size_t n, size_t k) {
    ptrdiff_t left = 0, right = (ptrdiff_t)n - 1, want = (ptrdiff_t)k, low, high;
    while (left < right) {
        partition(v, left, right, &low, &high);
        if (want <= low)
            right = low;
        else if (want >= high)
            left = high;
        else
            break; /* in the middle: the pivot */
    }
    return v[want];
}

static void keep_top_k(size_t k, float *z, size_t V, double *some) {
    if (k >= V) return;
    for (size_t i = 0; i < V; i++) some[i] = z[i];
    double floor = kth_smallest(some, V, V - k);
    for (size_t i = 0; i < V; i++)
        if (z[i] < floor) z[i] = -INFINITY; /* what equals the k-th stays */
}

/* The weight at which the n of them, from the least on, add up to more than `limit`; the largest if
 * they never do. Reorders v. */
static double where_passed(double *v, size_t n, double limit) {
    ptrdiff_t left = 0, right = (ptrdiff_t)n - 1, low, high;
    double below = 0; /* of those that were found to lie left of the place */
    while (left < right) {
        double lower = 0, middle = 0;
        partition(v, left, right, &low, &high);
        for (ptrdiff_t i = left; i <= low; i++) lower += v[i];
        for (ptrdiff_t i = low + 1; i < high; i++) middle += v[i];
        if (below + lower > limit) {
            right = low;
        } else if (high > right || below + lower + middle > limit) {
            return v[high - 1];
        } else {
            below += lower + middle;
            left = high;
        }
    }
    return v[left];
}

/* Removes the least likely ids whose weights together are at most 1 - p of `sum`. Those below (1 -
 * p) / V of it each are removed in any case; the others, usually few, are looked through. */
static void keep_top_p(float p, double *w, size_t V, double sum, double *some) {
    double limit = (1 - (double)p) * sum, small = 0, below = 0, floor;
    size_t n = 0, equal = 0, gone = 0;
    for (size_t i = 0; i < V; i++) {
        if (w[i] * (double)V < limit && w[i] < 1) /* the largest weight, which is 1, stays */
            small += w[i];
        else
            some[n++] = w[i];
    }
    floor = where_passed(some, n, limit - small);
    for (size_t i = 0; i < V; i++) {
        if (w[i] < floor) {
            below += w[i];
            w[i] = 0;
        }
        equal += w[i] == floor;
    }
    /* Of equals the lower ids go first, as a stable sort has them. */
    for (size_t i = 0; i < V; i++) {
        if (w[i] != floor) continue;
        if (gone + 1 == equal || (below += floor) > limit) break; /* one stays */
        w[i] = 0;
        gone++;
    }
}

/* w[i] = exp(z[i] - max); returns their sum. */
static double weigh(double *w, const float *z, size_t V) {
    double max = largest(z, V), sum = 0;
    for (size_t i = 0; i < V; i++) {
        w[i] = z[i] == -INFINITY ? 0 : exp(z[i] - max);
        sum += w[i];
    }
    return sum;
}

static double total(const double *w, size_t V) {
    double sum = 0;
    for (size_t i = 0; i < V; i++) sum += w[i];
    return sum;
}

/* Of what is left, in nats. */
static double entropy(const double *w, const float *z, size_t V, double sum) {
    double max = largest(z, V), of_logits = 0;
    for (size_t i = 0; i < V; i++)
        if (w[i] > 0) of_logits += w[i] * (z[i] - max);
    return log(sum) - of_logits / sum;
}

/* Locally typical sampling (Meister et al. 2022): keeps the ids whose surprise -log p is nearest to
 * the entropy, as many as make up `mass` together, and what is as near as the last of them. How
 * near that is, is found by bisection over the bits of a float, which are ordered as the floats
 * are: no order of the ids is needed. */
static void keep_typical(float mass, double *w, const float *z, size_t V, double *far) {
    double sum = total(w, V), H = entropy(w, z, V, sum), max = largest(z, V);
    uint32_t low = 0, high = 0x7f800000; /* infinity: all of them */
    float reach = INFINITY;
    for (size_t i = 0; i < V; i++)
        far[i] = w[i] > 0 ? (double)(float)fabs(log(sum) - (z[i] - max) - H) : INFINITY;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        double within = 0;
        memcpy(&reach, &middle, sizeof reach);
        for (size_t i = 0; i < V; i++) within += far[i] <= reach ? w[i] : 0;
        if (within >= (double)mass * sum)
            high = middle;
        else
            low = middle + 1;
    }
    memcpy(&reach, &high, sizeof reach);
    for (size_t i = 0; i < V; i++)
        if (far[i] > reach) w[i] = 0;
}

/* Removes what is less likely than `least`, but for the likeliest. */
static void cut_off(double least, double *w, size_t V) {
    double limit = least * total(w, V), most = 0;
    for (size_t i = 0; i < V; i++)
        if (w[i] > most) most = w[i];
    for (size_t i = 0; i < V; i++)
        if (w[i] < limit && w[i] < most) w[i] = 0;
}

/* Eta sampling (Hewitt, Manning, Liang 2022): the more even they are, the less likely one may be.
 */
static double eta(double epsilon, const double *w, const float *z, size_t V) {
    return fmin(epsilon, sqrt(epsilon) * exp(-entropy(w, z, V, total(w, V))));
}

void sampling_warp(const struct sampling *s, float *logits, int V_, float *ret_probs,
                   double *work) {
    size_t V = (size_t)V_;
    double *w = work, sum;
    if (s->greedy) { /* all on the largest: two logits apart may be one as probabilities */
        memset(ret_probs, 0, V * sizeof *ret_probs);
        ret_probs[sampling_largest(logits, V_)] = 1;
        return;
    }
    if (s->temperature != 1)
        for (size_t i = 0; i < V; i++) logits[i] /= s->temperature;
    if (s->top_k > 0) keep_top_k((size_t)s->top_k, logits, V, work);
    sum = weigh(w, logits, V);
    if (s->top_p < 1) keep_top_p(s->top_p, w, V, sum, work + V);
    for (size_t i = 0; s->min_p > 0 && i < V; i++)
        if (w[i] < s->min_p) w[i] = 0; /* the largest is 1 */
    if (s->typical_p > 0 && s->typical_p < 1) keep_typical(s->typical_p, w, logits, V, work + V);
    if (s->epsilon_cutoff > 0 && s->epsilon_cutoff < 1) cut_off(s->epsilon_cutoff, w, V);
    if (s->eta_cutoff > 0 && s->eta_cutoff < 1) cut_off(eta(s->eta_cutoff, w, logits, V), w, V);
    sum = total(w, V);
    for (size_t i = 0; i < V; i++) ret_probs[i] = (float)(w[i] / sum);
}

uint32_t sampling_largest(const float *logits, int V_) {
    size_t V = (size_t)V_, i = 0;
    float max = largest(logits, V);
    for (int found = 0; i + BLOCK <= V; i += BLOCK) {
        for (size_t l = 0; l < BLOCK; l++) found |= logits[i + l] == max;
        if (found) break;
    }
    while (i < V && logits[i] != max) i++;
    return i < V ? (uint32_t)i : 0;
}

bool sampling_possible(const float *logits, int V) {
    int bad = 0;
    for (int i = 0; i < V; i++) bad |= !(logits[i] < INFINITY); /* nor is NaN */
    return !bad;
}

uint32_t sampling_draw(const float *probs, int V, double unit) {
    double sum = 0, at;
    uint32_t last = 0;
    for (int i = 0; i < V; i++) sum += probs[i];
    at = unit * sum;
    for (int i = 0; i < V; i++) {
        if (probs[i] <= 0) continue;
        last = (uint32_t)i;
        at -= probs[i];
        if (at < 0) break;
    }
    return last;
}
