/* Which two tokens merge, and with which rank (inside tokenizer/): most of what merging a piece
 * costs is asking this, and what asking costs is caches missed, so all of it is small.
 *
 *   filter   two bits of a word by hash: unless both are set the two do not merge, and that is
 *            nearly always the answer
 *   slot     [left | right | rank] in 64 bits; as many for an id as the largest one needs
 *
 * What a pair merges to follows from its rank: see vocab_merged() in vocab.h. */
#ifndef LORY_TOKENIZER_PAIRS_H
#define LORY_TOKENIZER_PAIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define PAIRS_NONE UINT32_MAX

struct pairs {
    uint64_t *slot;   /* open addressing; all ones: free */
    uint32_t *filter; /* (1 << filter_bits bits) */
    uint32_t n;       /* slots */
    int id_bits, rank_bits, filter_bits;
};

/* Room for `n` pairs with ranks below `ranks`, of ids up to `most`. ERR_CORRUPT: 64 bits are too
 * few for two such ids and a rank; ERR_NOMEM. */
int pairs_new(struct pairs *p, uint64_t n, uint64_t ranks, uint32_t most, struct err *err);
void pairs_release(struct pairs *p);
/* Asks memory for the place of a pair that will be set soon. */
void pairs_expect(const struct pairs *p, uint32_t left, uint32_t right);
/* Gives a pair its rank; one that has a rank already gets the new one. */
void pairs_set(struct pairs *p, uint32_t left, uint32_t right, uint32_t rank);

static inline uint64_t pairs_key(const struct pairs *p, uint32_t left, uint32_t right) {
    return (uint64_t)left << p->id_bits | right;
}

/* Of 32 bits, for vectors have products of these only. */
enum { PAIRS_BY_LEFT = 0x2C1B3C6D, PAIRS_BY_RIGHT = 0x1E3779B1 };
static inline uint32_t pairs_hash(uint32_t left, uint32_t right) {
    return left * PAIRS_BY_LEFT + right * PAIRS_BY_RIGHT;
}

/* The first of a pair's bits in the filter; the second is in the same word. */
static inline uint32_t pairs_bit(const struct pairs *p, uint32_t hash) {
    return hash >> (32 - p->filter_bits);
}

enum { PAIRS_SECOND_BIT = 6 /* of a hash, from here on */ };
static inline unsigned pairs_second_bit(uint32_t hash) {
    return hash >> PAIRS_SECOND_BIT & 31;
}

/* Does the filter let this pair pass? */
static inline bool pairs_may(const struct pairs *p, uint32_t hash) {
    uint32_t bit = pairs_bit(p, hash), word = p->filter[bit >> 5];
    return word >> (bit & 31) & word >> pairs_second_bit(hash) & 1;
}

/* Where the search for a pair begins. */
static inline size_t pairs_home(const struct pairs *p, uint32_t hash) {
    return (size_t)((uint64_t)hash * p->n >> 32);
}

static inline size_t pairs_next(const struct pairs *p, size_t i) {
    return i + 1 < p->n ? i + 1 : 0;
}

/* The search from slot i on: the rank, or PAIRS_NONE. */
static inline uint32_t pairs_from(const struct pairs *p, uint64_t key, size_t i) {
    for (;; i = pairs_next(p, i)) {
        uint64_t s = p->slot[i];
        if (s == UINT64_MAX) return PAIRS_NONE; /* first: the key of two ids of ones fits it, too */
        if (s >> p->rank_bits == key) return (uint32_t)(s & ((1ull << p->rank_bits) - 1));
    }
}

/* The pair's rank, or PAIRS_NONE if the two do not merge. No id is above `most`. */
static inline uint32_t pairs_get(const struct pairs *p, uint32_t left, uint32_t right) {
    uint32_t hash = pairs_hash(left, right);
    if (!pairs_may(p, hash)) return PAIRS_NONE;
    return pairs_from(p, pairs_key(p, left, right), pairs_home(p, hash));
}

#endif
