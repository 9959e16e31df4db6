/* A bit for each two bytes; for the characters around a place a hash set, and before it a filter of
 * bits, which stays in the nearest caches and says no nearly always. */
#include "tokenizer/seams.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"

static inline uint64_t hash(uint64_t key) {
    return key * 0x9E3779B97F4A7C15u;
}

static inline uint64_t *context_slot(const struct seams *s, uint64_t key) {
    size_t i = (size_t)(hash(key) >> 32) & s->mask;
    while (s->context[i] && s->context[i] != key) i = (i + 1) & s->mask;
    return &s->context[i];
}

static int context_grow(struct seams *s, struct err *err) {
    size_t was = s->context ? s->mask + 1 : 0, size = was ? 2 * was : 1024;
    uint64_t *old = s->context, *v = mem_array(size, sizeof *v);
    if (!v) return err_nomem(err, size * sizeof *v);
    s->context = v;
    s->mask = size - 1;
    for (size_t i = 0; i < was; i++)
        if (old[i]) *context_slot(s, old[i]) = old[i];
    free(old);
    return 0;
}

static int context_add(struct seams *s, uint64_t key, struct err *err) {
    int rc = !s->context || 2 * s->n > s->mask ? context_grow(s, err) : 0;
    if (rc < 0) return rc;
    if (!s->filter) s->filter = mem_array(1 << (SEAMS_FILTER_BITS - 6), sizeof *s->filter);
    if (!s->filter) return err_nomem(err, 1 << (SEAMS_FILTER_BITS - 3));
    uint64_t bit = hash(key) >> (64 - SEAMS_FILTER_BITS);
    s->filter[bit >> 6] |= 1ull << (bit & 63);
    uint64_t *slot = context_slot(s, key);
    s->n += *slot == 0;
    *slot = key;
    return 0;
}

int seams_add(struct seams *s, const uint8_t *p, size_t n, struct err *err) {
    int rc = 0;
    for (size_t i = 1; i < n && rc == 0; i++) {
        uint32_t at = (uint32_t)p[i - 1] << 8 | p[i];
        s->joined[at >> 6] |= 1ull << (at & 63);
        if (p[i] < 0xc0) continue;
        size_t left = seams_before(p + i, i), right = seams_behind(p + i, n - i);
        rc = context_add(s, seams_context(p + i - left, left, p + i, right), err);
    }
    return rc;
}

void seams_release(struct seams *s) {
    free(s->filter);
    free(s->context);
    memset(s, 0, sizeof *s);
}

static inline bool is_context(const struct seams *s, uint64_t key) {
    uint64_t bit = hash(key) >> (64 - SEAMS_FILTER_BITS);
    return s->filter[bit >> 6] >> (bit & 63) & 1 && *context_slot(s, key);
}

/* A token may begin inside the left character and end inside the right one. */
bool seams_between(const struct seams *s, const uint8_t *left, size_t n, const uint8_t *right,
                   size_t m) {
    if (!s->context) return true;
    for (size_t i = 1; i <= n; i++)
        for (size_t k = 1; k <= m; k++)
            if (is_context(s, seams_context(left + n - i, i, right, k))) return false;
    return true;
}

bool seams_at(const struct seams *s, const uint8_t *p, size_t n, size_t at) {
    if (!seams_joined(s, p[at - 1], p[at])) return true;
    if (p[at] < 0xc0) return false;
    size_t left = seams_before(p + at, at), right = seams_behind(p + at, n - at);
    return seams_between(s, p + at - left, left, p + at, right);
}
