/* Integers as Parquet packs them: see parquet_parts.h. All readers give one value at a time, so
 * that a count that a file claims costs nothing until that many values are wanted. */
#include "stream/parquet_parts.h"

/* `width` bits (0..64) from bit `at` of v, lowest first. The bytes have been checked to be
 * there. */
static uint64_t bits_at(const uint8_t *v, uint64_t at, int width) {
    uint64_t x = 0;
    int got = 0;
    v += at / 8;
    int skip = (int)(at % 8);
    while (got < width) {
        x |= (uint64_t)(*v++ >> skip) << got;
        got += 8 - skip;
        skip = 0;
    }
    return width < 64 ? x & (((uint64_t)1 << width) - 1) : x;
}

/* ------------------------------------------------------------------ runs */

void pq_runs_begin(struct pq_runs *r, const uint8_t *v, size_t n, int width) {
    *r = (struct pq_runs){.c = {v, n, width < 0 || width > 32}, .width = width};
}

/* header: 2 n for n times the same value, 2 n + 1 for 8 n packed ones */
static void next_run(struct pq_runs *r) {
    uint64_t head = thrift_varint(&r->c), n = head >> 1;
    r->packed = head & 1;
    if (n > (uint64_t)1 << 40) r->c.bad = true;
    if (r->packed) {
        r->v = cursor_take(&r->c, n * (uint64_t)r->width);
        r->run = 8 * n;
        r->bit = 0;
    } else {
        const uint8_t *v = cursor_take(&r->c, (uint64_t)(r->width + 7) / 8);
        r->value = v ? (uint32_t)load_le(v, (size_t)(r->width + 7) / 8) : 0;
        r->run = n;
    }
}

uint32_t pq_runs_next(struct pq_runs *r) {
    while (!r->run && !r->c.bad) {
        if (!r->c.left && r->width == 0) return 0; /* no bits, and no bytes for them */
        next_run(r);
    }
    if (r->c.bad) return 0;
    r->run--;
    if (!r->packed) return r->value;
    uint32_t x = (uint32_t)bits_at(r->v, r->bit, r->width);
    r->bit += (uint64_t)r->width;
    return x;
}

/* ------------------------------------------------------------------ deltas
 *
 *   values per block, mini-blocks in it, count, first value
 *   per block: least difference, a width for each mini-block, their bits */

void pq_delta_begin(struct pq_delta *d, const uint8_t *v, size_t n) {
    d->c = (struct cursor){v, n, false};
    uint64_t block = thrift_varint(&d->c);
    d->minis = thrift_varint(&d->c);
    d->left = thrift_varint(&d->c);
    d->value = (uint64_t)thrift_int(&d->c);
    d->per_mini = d->minis ? block / d->minis : 0;
    d->mini = d->minis;
    d->mini_left = 0;
    d->first = true;
    if (!d->minis || d->minis > sizeof d->widths || block % d->minis || !d->per_mini ||
        d->per_mini % 8 || d->per_mini > 1 << 24)
        d->c.bad = true;
}

static void next_mini(struct pq_delta *d) {
    if (d->mini == d->minis) {
        d->low = (uint64_t)thrift_int(&d->c);
        const uint8_t *v = cursor_take(&d->c, d->minis);
        if (v) memcpy(d->widths, v, d->minis);
        d->mini = 0;
    }
    int width = d->widths[d->mini++];
    if (width > 64) d->c.bad = true;
    d->v = cursor_take(&d->c, d->per_mini / 8 * (uint64_t)width);
    d->bit = 0;
    d->mini_left = d->per_mini;
}

uint64_t pq_delta_next(struct pq_delta *d) {
    if (!d->left) d->c.bad = true;
    if (d->c.bad) return 0;
    d->left--;
    if (d->first) {
        d->first = false;
        return d->value;
    }
    if (!d->mini_left) next_mini(d);
    if (d->c.bad) return 0;
    int width = d->widths[d->mini - 1];
    d->value += d->low + bits_at(d->v, d->bit, width);
    d->bit += (uint64_t)width;
    d->mini_left--;
    return d->value;
}

struct cursor pq_delta_rest(const struct pq_delta *d) {
    struct pq_delta to = *d;
    uint64_t left = to.left ? to.left - to.first : 0; /* mini-blocks are passed over whole */
    while (left && !to.c.bad) {
        next_mini(&to);
        left -= left < to.per_mini ? left : to.per_mini;
    }
    return to.c;
}
