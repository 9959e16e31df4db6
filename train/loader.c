/* Windows over shards and their order: see loader.h; the bits of the order are in docs/order.md.
 *
 *   position ─▶ epoch, i ─▶ permute(i) = window number ─▶ (shard, token) ─▶ T tokens, labels
 *
 * Nothing is remembered from one sample to the next, so going on anywhere costs nothing. */
#include "train/loader.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/rng.h"
#include "train/op.h"

enum { ROUNDS = 8 };
static const uint64_t ORDER_STREAM = 0x6C6F72792E6F7264; /* "lory.ord" */

static uint64_t set_key(uint64_t seed, uint64_t epoch, uint64_t set) {
    struct philox_out o = philox(seed, epoch, ORDER_STREAM + set);
    return (uint64_t)o.v[1] << 32 | o.v[0];
}

uint64_t order_key(uint64_t seed, uint64_t epoch) {
    return set_key(seed, epoch, 0);
}

/* One pass of a balanced Feistel network over 2 * half bits. */
static uint64_t feistel(uint64_t x, unsigned half, uint64_t key) {
    uint64_t mask = ((uint64_t)1 << half) - 1, left = x >> half, right = x & mask;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct philox_out o = philox(key, right, round);
        uint64_t f = ((uint64_t)o.v[1] << 32 | o.v[0]) & mask, next = left ^ f;
        left = right;
        right = next;
    }
    return left << half | right;
}

uint64_t permute(uint64_t i, uint64_t n, uint64_t key) {
    if (n < 2) return 0;
    unsigned half = 1;
    while (half < 32 && (n - 1) >> (2 * half)) half++;
    /* Cycle walking: the network permutes [0, 4^half), which is less than 4 n; stepping until the
     * value falls below n leaves a permutation of [0, n) and takes fewer than 4 passes on average.
     * */
    do i = feistel(i, half, key);
    while (i >= n);
    return i;
}

/* Whole windows in a shard of N tokens, and the targets behind the last of them. */
static uint64_t windows_of(uint64_t N, uint64_t T, enum window window, uint64_t *ret_tail) {
    uint64_t whole = window == WINDOW_GPT ? (N ? (N - 1) / T : 0) : N / T;
    uint64_t rest = N - whole * T; /* tokens from the next window's first on */
    *ret_tail = rest ? rest - 1 : 0;
    return whole;
}

int loader_open(struct loader *ret, const struct shard_set *set, int T, enum window window,
                bool shuffled, uint64_t seed, bool allow_short, struct err *err) {
    if (T < (window == WINDOW_HF ? 2 : 1))
        return err_set(err, ERR_USAGE, "windows of %d tokens have no target", T);
    struct loader l = {.set = set, .T = T, .window = window, .shuffled = shuffled, .seed = seed};
    l.first = mem_array(set->n + 1, sizeof *l.first);
    l.first_eval = mem_array(set->n + 1, sizeof *l.first_eval);
    if (!l.first || !l.first_eval) {
        loader_close(&l);
        return err_nomem(err, (set->n + 1) * 2 * sizeof *l.first);
    }
    for (size_t i = 0; i < set->n; i++) {
        uint64_t tail, whole = windows_of(set->v[i].n, (uint64_t)T, window, &tail);
        l.first[i + 1] = l.first[i] + whole;
        l.first_eval[i + 1] = l.first_eval[i] + whole + (tail > 0);
        l.tail_tokens += tail;
    }
    l.n = l.first[set->n];
    l.targets = l.n * (uint64_t)(window == WINDOW_HF ? T - 1 : T);
    int rc = 0;
    if (l.n == 0 && !(allow_short && l.tail_tokens))
        rc = err_set(err, ERR_DATA, "%s: %llu tokens do not fill one window of %d",
                     set->n ? set->v[0].path : "no shards", (unsigned long long)set->tokens,
                     window == WINDOW_GPT ? T + 1 : T);
    if (rc < 0)
        loader_close(&l);
    else
        *ret = l;
    return rc;
}

void loader_close(struct loader *l) {
    free(l->first);
    free(l->first_eval);
    *l = (struct loader){0};
}

/* The shard that window `w` lies in, by bisection: first[i] <= w < first[i + 1]. */
static size_t shard_of(const uint64_t *first, size_t n, uint64_t w) {
    size_t lo = 0, hi = n; /* the answer lies in [lo, hi) */
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (first[mid] <= w)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

int loader_weigh(struct loader *l, const double *weights, size_t n, struct err *err) {
    const struct shard_set *set = l->set;
    if (n != set->n_paths)
        return err_set(err, ERR_USAGE, "%zu weights for %zu sets of shards", n, set->n_paths);
    for (size_t k = 0; k < n; k++) {
        size_t from = set->path_first[k], to = set->path_first[k + 1];
        if (l->first[from] == l->first[to])
            return err_set(err, ERR_DATA, "%s: does not fill one window of %d",
                           from < to ? set->v[from].path : "an empty set", l->T);
    }
    return mix_make(&l->mix, weights, n, err);
}

/* The number of the window at a position: by its set, the set's own epoch, and the order in it. */
static uint64_t window_at(const struct loader *l, uint64_t position) {
    uint64_t begin = 0, n = l->n, p = position, set = 0;
    if (l->mix.n) {
        set = mix_at(&l->mix, position, &p);
        begin = l->first[l->set->path_first[set]];
        n = l->first[l->set->path_first[set + 1]] - begin;
    }
    uint64_t i = p % n, key = set_key(l->seed, p / n, set);
    return begin + (l->shuffled ? permute(i, n, key) : i);
}

void loader_place(const struct loader *l, uint64_t position, size_t *ret_shard, uint64_t *ret_at) {
    uint64_t w = window_at(l, position);
    *ret_shard = shard_of(l->first, l->set->n, w);
    *ret_at = (w - l->first[*ret_shard]) * (uint64_t)l->T;
}

/* Takes out the labels that are no targets by the shard's mask. */
static int mask_labels(const struct shard *s, uint64_t at, uint64_t T, int32_t *labels,
                       struct err *err) {
    enum { CHUNK = 1024 };
    uint8_t mask[CHUNK];
    uint64_t n = s->n - at - 1 < T ? s->n - at - 1 : T; /* labels that are tokens at + 1 … */
    for (uint64_t t = 0; s->mask && t < n; t += CHUNK) {
        uint64_t now = n - t < CHUNK ? n - t : CHUNK;
        int rc = shard_read_mask(s, at + 1 + t, now, mask, err);
        if (rc < 0) return rc;
        for (uint64_t i = 0; i < now; i++)
            if (!mask[i]) labels[t + i] = LABEL_IGNORED;
    }
    return 0;
}

/* Reads a window that begins at token `at`; what the shard does not hold is padding. */
static int read_window(const struct loader *l, const struct shard *s, uint64_t at, int32_t *tokens,
                       int32_t *labels, struct err *err) {
    uint64_t T = (uint64_t)l->T, left = s->n - at, have = left < T ? left : T;
    uint64_t last = l->window == WINDOW_HF ? T - 1 : T; /* no label from here on */
    uint32_t behind = 0;
    int rc = shard_read(s, at, have, (uint32_t *)tokens, err);
    if (rc == 0 && left > T && last == T) rc = shard_read(s, at + T, 1, &behind, err);
    if (rc < 0) return rc;
    for (uint64_t t = have; t < T; t++) tokens[t] = 0;
    for (uint64_t t = 0; t < T; t++) {
        bool there = t < last && t + 1 < left;
        labels[t] = !there ? LABEL_IGNORED : t + 1 < T ? tokens[t + 1] : (int32_t)behind;
    }
    return mask_labels(s, at, T, labels, err);
}

int loader_get(const struct loader *l, uint64_t position, int32_t *tokens, int32_t *labels,
               struct err *err) {
    size_t shard;
    uint64_t at;
    loader_place(l, position, &shard, &at);
    return read_window(l, &l->set->v[shard], at, tokens, labels, err);
}

void loader_will_need(const struct loader *l, uint64_t position, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        size_t shard;
        uint64_t at;
        loader_place(l, position + i, &shard, &at);
        shard_will_need(&l->set->v[shard], at, (uint64_t)l->T + 1);
    }
}

void loader_share(uint64_t n, int rank, int world, uint64_t *ret_first, uint64_t *ret_n) {
    uint64_t r = (uint64_t)rank, w = (uint64_t)world, each = n / w, more = n % w;
    *ret_first = r * each + (r < more ? r : more);
    *ret_n = each + (r < more);
}

uint64_t loader_eval_windows(const struct loader *l) {
    return l->first_eval[l->set->n];
}

int loader_eval_get(const struct loader *l, uint64_t i, int32_t *tokens, int32_t *labels,
                    struct err *err) {
    size_t shard = shard_of(l->first_eval, l->set->n, i);
    uint64_t at = (i - l->first_eval[shard]) * (uint64_t)l->T;
    return read_window(l, &l->set->v[shard], at, tokens, labels, err);
}
