/* A bit for each two bytes; for the characters around a place a filter of bits by hash. */
#include "tokenizer/seams.h"

#include <stdlib.h>
#include "base/buf.h"

enum { FILTER_WORDS = 1 << (SEAMS_FILTER_BITS - 6) };

static inline size_t length_of(uint8_t lead) {
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* Left that begins with a byte from inside a character, or right of another length than its first
 * byte says: elsewhere the characters may go on. */
static bool may_go_on(const uint8_t *left, size_t n, const uint8_t *right, size_t m) {
    return ((left[0] & 0xc0) == 0x80 && n < 4) || m != length_of(right[0]);
}

static void set_bit(uint64_t *v, uint64_t bit) {
    v[bit >> 6] |= 1ull << (bit & 63);
}

int seams_add(struct seams *s, const uint8_t *p, size_t n, struct err *err) {
    if (!s->filter) s->filter = mem_array(FILTER_WORDS, sizeof *s->filter);
    if (!s->filter) return err_nomem(err, FILTER_WORDS * sizeof *s->filter);
    for (size_t i = 1; i < n; i++) {
        uint32_t bytes = (uint32_t)p[i - 1] << 8 | p[i];
        set_bit(s->joined, bytes);
        if (p[i] < 0xc0) continue;
        size_t left = seams_before(p + i, i), right = seams_behind(p + i, n - i);
        uint64_t key = seams_context(p + i - left, left, p + i, right);
        set_bit(s->filter, seams_bit(key));
        if (may_go_on(p + i - left, left, p + i, right)) set_bit(s->partly, bytes);
    }
    return 0;
}

void seams_release(struct seams *s) {
    free(s->filter);
    memset(s, 0, sizeof *s);
}

bool seams_at(const struct seams *s, const uint8_t *p, size_t n, size_t at) {
    if (!seams_joined(s, p[at - 1], p[at])) return true;
    if (p[at] < 0xc0) return false;
    const uint8_t *q = p + at;
    size_t left = seams_before(q, at), right = seams_behind(q, n - at);
    if (seams_held(s, seams_context(q - left, left, q, right))) return false;
    if (!seams_partly(s, q[-1], q[0]) && right == length_of(*q)) return true;
    /* A token may begin inside the left character and end inside the right one. */
    for (size_t i = 1; i <= left; i++)
        for (size_t k = 1; k <= right; k++)
            if (seams_held(s, seams_context(q - i, i, q, k))) return false;
    return true;
}
