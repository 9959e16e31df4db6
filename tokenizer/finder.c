/* Bytes to the id of a token: see struct finder in vocab.h. */
#include "tokenizer/finder.h"

#include <stdlib.h>
#include "tokenizer/pages.h"

uint64_t vocab_hash(const uint8_t *p, size_t n) {
    return finder_hash(p, n);
}

/* A power of two, at least twice `n`. */
static size_t table_size(uint64_t n) {
    size_t size = 16;
    while (size < 2 * n) size *= 2;
    return size;
}

int finder_new(struct finder *f, size_t n, struct err *err) {
    size_t size = table_size(n);
    f->slot = pages_array(size, sizeof *f->slot);
    f->filter = mem_array(1 << (FINDER_FILTER_BITS - 6), sizeof *f->filter);
    if (!f->slot || !f->filter) {
        finder_release(f);
        return err_nomem(err, (uint64_t)size * sizeof *f->slot);
    }
    memset(f->slot, 0xFF, size * sizeof *f->slot);
    f->mask = size - 1;
    return 0;
}

uint32_t finder_get(const struct finder *f, const struct tokenizer *t, const uint8_t *p, size_t n) {
    struct finder_key k = finder_key(p, n);
    return finder_may(f, &k) ? finder_probe(f, t, &k, p, n) : TOKENIZER_NO_ID;
}

void finder_get_many(const struct finder *f, const struct tokenizer *t, const uint8_t *const *p,
                     const uint32_t *n, size_t count, uint32_t *ids) {
    struct finder_key key[FINDER_MANY];
    uint8_t may[FINDER_MANY];
    size_t n_may = 0;
    for (size_t i = 0; i < count; i++) {
        ids[i] = TOKENIZER_NO_ID;
        key[i] = finder_key(p[i], n[i]);
        may[n_may] = (uint8_t)i;
        n_may += finder_may(f, &key[i]);
    }
    for (size_t k = 0; k < n_may; k++) finder_expect(f, &key[may[k]]);
    for (size_t k = 0; k < n_may; k++) {
        size_t i = may[k];
        ids[i] = finder_probe(f, t, &key[i], p[i], n[i]);
    }
}

uint32_t finder_add_key(struct finder *f, const struct tokenizer *t, uint32_t id,
                        const struct finder_key *k) {
    size_t n;
    const uint8_t *p = vocab_token(t, id, &n);
    uint32_t there = finder_probe(f, t, k, p, n);
    if (there != TOKENIZER_NO_ID) return there;
    size_t i = k->hash & f->mask;
    while (f->slot[i].id != TOKENIZER_NO_ID) i = (i + 1) & f->mask;
    f->slot[i] = (struct finder_slot){.head = k->head, .tag = k->tag, .id = id};
    uint64_t bit = finder_bit(k);
    f->filter[bit >> 6] |= 1ull << (bit & 63);
    return TOKENIZER_NO_ID;
}

uint32_t finder_add(struct finder *f, const struct tokenizer *t, uint32_t id) {
    size_t n;
    const uint8_t *p = vocab_token(t, id, &n);
    struct finder_key k = finder_key(p, n);
    return finder_add_key(f, t, id, &k);
}

void finder_release(struct finder *f) {
    free(f->slot);
    free(f->filter);
    memset(f, 0, sizeof *f);
}
