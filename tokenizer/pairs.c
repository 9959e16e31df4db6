/* Making the table of pairs: see pairs.h. */
#include "tokenizer/pairs.h"

#include <stdlib.h>
#include <string.h>
#include "tokenizer/pages.h"

/* Of ten bits a pair, two set, a filter says no 29 times of 30; beyond 256 KiB it would leave the
 * nearest caches itself. */
enum { FILTER_BITS_LEAST = 10, FILTER_BITS_MOST = 21, FILTER_SHARE = 10 };
enum { FULL = 5 /* tenths of the slots, at most */ };

static int bits_for(uint64_t x) {
    return x ? 64 - __builtin_clzll(x) : 0;
}

int pairs_new(struct pairs *p, uint64_t n, uint64_t ranks, uint32_t most, struct err *err) {
    memset(p, 0, sizeof *p);
    p->id_bits = bits_for(most);
    p->rank_bits = bits_for(ranks); /* so that no rank is all ones: that slot is free */
    if (2 * p->id_bits + p->rank_bits > 64)
        return err_set(err, ERR_CORRUPT, "%llu merges of ids up to %u are more than can be held",
                       (unsigned long long)ranks, most);
    p->rank_bits = 64 - 2 * p->id_bits;
    if (p->rank_bits == 64) p->rank_bits = 63; /* no id but 0 */
    uint64_t slots = n * 10 / FULL + 16;       /* the filter answers what is not there */
    if (slots > UINT32_MAX) return err_nomem(err, slots);
    p->n = (uint32_t)slots;
    p->filter_bits = FILTER_BITS_LEAST;
    while (p->filter_bits < FILTER_BITS_MOST && (1ull << p->filter_bits) < FILTER_SHARE * n)
        p->filter_bits++;
    size_t words = (size_t)1 << (p->filter_bits - 5);
    p->slot = pages_array(p->n, sizeof *p->slot);
    p->filter = pages_array(words, sizeof *p->filter);
    if (!p->slot || !p->filter) {
        pairs_release(p);
        return err_nomem(err, (uint64_t)p->n * sizeof *p->slot);
    }
    memset(p->slot, 0xFF, p->n * sizeof *p->slot);
    return 0;
}

void pairs_release(struct pairs *p) {
    free(p->slot);
    free(p->filter);
    memset(p, 0, sizeof *p);
}

void pairs_expect(const struct pairs *p, uint32_t left, uint32_t right) {
    __builtin_prefetch(&p->slot[pairs_home(p, pairs_hash(left, right))], 1);
}

void pairs_set(struct pairs *p, uint32_t left, uint32_t right, uint32_t rank) {
    uint64_t key = pairs_key(p, left, right);
    uint32_t hash = pairs_hash(left, right), bit = pairs_bit(p, hash);
    size_t i = pairs_home(p, hash);
    p->filter[bit >> 5] |= 1u << (bit & 31) | 1u << pairs_second_bit(hash);
    while (p->slot[i] != UINT64_MAX && p->slot[i] >> p->rank_bits != key) i = pairs_next(p, i);
    p->slot[i] = key << p->rank_bits | rank;
}
