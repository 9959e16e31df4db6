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
    uint64_t *filter; /* (1 << filter_bits bits) */
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

static inline uint64_t pairs_hash(uint64_t key) {
    return key * 0x9E3779B97F4A7C15u;
}

/* The first of a pair's bits in the filter; the second is in the same word. */
static inline uint64_t pairs_bit(const struct pairs *p, uint64_t hash) {
    return hash >> (64 - p->filter_bits);
}

static inline unsigned pairs_second_bit(uint64_t hash) {
    return hash >> 24 & 63;
}

/* Does the filter let this pair pass? */
static inline bool pairs_may(const struct pairs *p, uint64_t hash) {
    uint64_t bit = pairs_bit(p, hash), word = p->filter[bit >> 6];
    return word >> (bit & 63) & word >> pairs_second_bit(hash) & 1;
}

/* Where the search for a pair begins. */
static inline size_t pairs_home(const struct pairs *p, uint64_t hash) {
    return (size_t)((hash >> 32) * p->n >> 32);
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
    uint64_t key = pairs_key(p, left, right), hash = pairs_hash(key);
    return pairs_may(p, hash) ? pairs_from(p, key, pairs_home(p, hash)) : PAIRS_NONE;
}

#endif
