/* A bit for each two bytes; for the characters around a place a filter of bits by hash. */
#include "tokenizer/seams.h"

#include <stdlib.h>
#include "base/buf.h"

enum { FILTER_WORDS = 1 << (SEAMS_FILTER_BITS - 6) };

/* A character at the beginning of a token, or at its end, that may go on elsewhere: one that begins
 * with a byte from inside, or of another length than its first byte says. */
static bool left_may_go_on(const uint8_t *p, size_t n) {
    return (p[0] & 0xc0) == 0x80 && n < 4;
}
static bool right_may_go_on(const uint8_t *p, size_t n) {
    return n != seams_length(p[0]);
}

static void set_bit(uint64_t *v, uint64_t bit) {
    v[bit >> 6] |= 1ull << (bit & 63);
}

/* The two characters p[from..to) of the token p[0..n) with those beside them; alone, if one of
 * these may go on elsewhere. */
static uint64_t with_beside(const uint8_t *p, size_t n, size_t from, size_t to, uint64_t context) {
    uint64_t before = 0, behind = 0;
    if (from > 0) {
        size_t some = seams_before(p + from, from);
        if (left_may_go_on(p + from - some, some)) return context;
        before = seams_other(p + from - some, some, SEAMS_BEFORE);
    }
    if (to < n) {
        size_t some = seams_behind(p + to, n - to);
        if (right_may_go_on(p + to, some)) return context;
        behind = seams_other(p + to, some, SEAMS_BEHIND);
    }
    return context ^ seams_with(before) ^ seams_with(behind);
}

static int begin(struct seams *s, struct err *err) {
    s->filter = mem_array(FILTER_WORDS, sizeof *s->filter);
    s->nearer = mem_array(FILTER_WORDS, sizeof *s->nearer);
    return s->filter && s->nearer ? 0 : err_nomem(err, 2 * FILTER_WORDS * sizeof *s->filter);
}

int seams_add(struct seams *s, const uint8_t *p, size_t n, struct err *err) {
    int rc = s->filter ? 0 : begin(s, err);
    if (rc < 0) return rc;
    for (size_t i = 1; i < n; i++) {
        uint32_t bytes = (uint32_t)p[i - 1] << 8 | p[i];
        set_bit(s->joined, bytes);
        if (p[i] < 0xc0) continue;
        size_t left = seams_before(p + i, i), right = seams_behind(p + i, n - i);
        uint64_t key = seams_context(p + i - left, left, p + i, right);
        set_bit(s->filter, seams_bit(key));
        if (left_may_go_on(p + i - left, left) || right_may_go_on(p + i, right))
            s->partly[p[i] - 0xc0][p[i - 1]] |= (uint16_t)(1u << (4 * (left - 1) + right - 1));
        else if (seams_unspaced(p + i, n - i))
            set_bit(s->nearer, seams_bit(with_beside(p, n, i - left, i + right, key)));
    }
    return 0;
}

void seams_release(struct seams *s) {
    free(s->filter);
    free(s->nearer);
    memset(s, 0, sizeof *s);
}

bool seams_near(const struct seams *s, uint64_t context, const uint8_t *p, size_t n, size_t at,
                size_t left, size_t right) {
    const size_t room = at - left, rest = n - at - right;
    const uint8_t *behind = p + at + right;
    uint64_t one = 0, other = 0;
    if (room) {
        size_t some = seams_before(p + room, room);
        one = seams_other(p + room - some, some, SEAMS_BEFORE);
    }
    if (rest) {
        size_t some = seams_length(*behind);
        if (!some || seams_behind(behind, rest) < some) return true;
        other = seams_other(behind, some, SEAMS_BEHIND);
    }
    return seams_any_near(s, context, one, other);
}

/* Like seams_partly(), of tokens of all kinds: of what is no character they may hold any part. */
static bool held_somehow(const struct seams *s, const uint8_t *q, size_t left, size_t right) {
    for (size_t i = 1; i <= left; i++)
        for (size_t k = 1; k <= right; k++)
            if (seams_held(s, seams_context(q - i, i, q, k))) return true;
    return false;
}

bool seams_at(const struct seams *s, const uint8_t *p, size_t n, size_t at) {
    if (!seams_joined(s, p[at - 1], p[at])) return true;
    if (p[at] < 0xc0) return false;
    const uint8_t *q = p + at;
    size_t left = seams_before(q, at), right = seams_behind(q, n - at);
    if (right != seams_length(*q)) return !held_somehow(s, q, left, right);
    const uint64_t context = seams_context(q - left, left, q, right);
    return !seams_held(s, context) && !seams_partly(s, context, q, left, right);
}
