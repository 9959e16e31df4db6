/* Bytes to the id of a token (inside tokenizer/): the steps of one search, so that several can wait
 * for memory together. What is asked for most is in vocab.h. */
#ifndef LORY_TOKENIZER_FINDER_H
#define LORY_TOKENIZER_FINDER_H

#include "tokenizer/vocab.h"

struct finder_key {
    uint64_t hash, head;
    uint32_t tag;
};

static inline uint64_t finder_load8(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* p[0..n), n <= 8, filled up with zeros: of two loads that may overlap. */
static inline uint64_t finder_head(const uint8_t *p, size_t n) {
    if (n >= 8) return finder_load8(p);
    if (n >= 4) {
        uint32_t first, last;
        memcpy(&first, p, sizeof first);
        memcpy(&last, p + n - 4, sizeof last);
        return first | (uint64_t)last << 8 * (n - 4);
    }
    if (n == 0) return 0;
    return p[0] | (uint64_t)p[n / 2] << 8 * (n / 2) | (uint64_t)p[n - 1] << 8 * (n - 1);
}

static inline uint64_t finder_hash(const uint8_t *p, size_t n) {
    const uint64_t k0 = 0xA0761D6478BD642Fu, k1 = 0xE7037ED1A0B428DBu;
    uint64_t h = n * k0;
    for (; n > 8; p += 8, n -= 8) {
        h = (h ^ finder_load8(p)) * k1;
        h ^= h >> 32;
    }
    h = (h ^ finder_head(p, n)) * k1;
    h ^= h >> 29;
    h *= k0;
    return h ^ h >> 32;
}

static inline struct finder_key finder_key(const uint8_t *p, size_t n) {
    uint64_t hash = finder_hash(p, n);
    return (struct finder_key){.hash = hash,
                               .head = finder_head(p, n < 8 ? n : 8),
                               .tag = (uint32_t)(hash >> 32 & ~(uint64_t)0xFF) |
                                      (n < 255 ? (uint32_t)n : 255)};
}

/* The bit of a key in the filter: by bits of the hash that choose no slot. */
static inline uint64_t finder_bit(const struct finder_key *k) {
    return k->hash >> (64 - FINDER_FILTER_BITS);
}

static inline bool finder_may(const struct finder *f, const struct finder_key *k) {
    uint64_t bit = finder_bit(k);
    return f->filter[bit >> 6] >> (bit & 63) & 1;
}

/* Asks memory for the slot where the search for a key begins. */
static inline void finder_expect(const struct finder *f, const struct finder_key *k) {
    __builtin_prefetch(&f->slot[k->hash & f->mask]);
}

/* The token p[0..n), of which `k` is the key, or TOKENIZER_NO_ID. */
static inline uint32_t finder_probe(const struct finder *f, const struct tokenizer *t,
                                    const struct finder_key *k, const uint8_t *p, size_t n) {
    for (size_t i = k->hash & f->mask;; i = (i + 1) & f->mask) {
        const struct finder_slot *s = &f->slot[i];
        if (s->id == TOKENIZER_NO_ID) return TOKENIZER_NO_ID;
        if (s->tag != k->tag || s->head != k->head) continue;
        if (n <= 8) return s->id;
        size_t len;
        const uint8_t *v = vocab_token(t, s->id, &len);
        if (len == n && memcmp(v, p, n) == 0) return s->id;
    }
}

/* finder_add() of a token whose key is known. */
uint32_t finder_add_key(struct finder *f, const struct tokenizer *t, uint32_t id,
                        const struct finder_key *k);

#endif
