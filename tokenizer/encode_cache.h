/* The caches of an encoder (inside tokenizer/).
 *
 * Short ones have pieces up to 15 bytes whose ids are 12 at most, in lines of the processor's
 * cache. A line holds two pieces of up to four ids, or one of more:
 *
 *     | 15 bytes of text, zero-filled | ids:4 len:4 | id id id id | the same again       |
 *     | 15 bytes of text, zero-filled | ids:4 len:4 | id id id id   id id id id id id id id |
 *
 * A new piece takes the first place and moves what was there to the second. One that waits for its
 * ids (encode_late.c) has its text there, a length of 0, and the length and which it is as ids. The
 * table doubles while pieces keep coming that it does not hold, up to 8 MiB. */
#ifndef LORY_TOKENIZER_ENCODE_CACHE_H
#define LORY_TOKENIZER_ENCODE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/buf.h"
#include "base/err.h"

enum {
    SHORT_BYTES = 15,
    NARROW_IDS = 4, /* of half a line */
    WIDE_IDS = 12,  /* of a whole one */
    LINE_BITS_FIRST = 12,
    LINE_BITS_MAX = 17, /* x 64 bytes = 8 MiB */
    BATCH = 64,
};

struct short_slot {
    uint64_t low, high; /* the top byte of high: ids << 4 | length; high == 0: free */
    uint32_t id[NARROW_IDS];
};
struct short_line {
    struct short_slot way[2];
};
/* `high` of a longer piece: no slot has it. A length of 0 have only free slots and the second half
 * of a wide line, whose bytes are ids, and no id is all ones. */
#define NO_KEY (~0ull >> 8)

struct short_cache {
    struct short_line *line;
    int bits;        /* of the number of lines                               */
    uint64_t misses; /* since it last grew                                   */
};

/* Makes the first lines, or twice as many. What was there before moves; of two pieces that meet in
 * a line one may get lost. */
int short_cache_grow(struct short_cache *c, struct err *err);

/* Pieces on their way through their cache; longer ones come along, with a key that no slot has. */
struct batch {
    const uint8_t *p[BATCH];
    uint32_t n[BATCH];
    uint64_t low[BATCH], high[BATCH]; /* the keys */
    struct short_line *line[BATCH];
    size_t size;
};

/* Puts what the piece of this key became into its line, unless its ids are too many. `top`: no id
 * is above. */
void short_store(struct short_line *line, uint64_t low, uint64_t high, const uint32_t *ids,
                 size_t n_ids, uint32_t top);
static inline void batch_store(const struct batch *b, size_t i, const uint32_t *ids, size_t n_ids,
                               uint32_t top) {
    short_store(b->line[i], b->low[i], b->high[i], ids, n_ids, top);
}
/* Notes in its line that the piece of this key waits, as number `which`. */
void short_wait(struct short_line *line, uint64_t low, uint64_t high, uint32_t which);
/* Where that is noted; NULL: nowhere. Its id[0] is `which`. */
struct short_slot *short_waits(struct short_line *line, uint64_t low, uint64_t high);

/* Which line a key belongs to. */
#define SHORT_BY_HIGH 0xE7037ED1A0B428DBu
#define SHORT_BY      0x9E3779B97F4A7C15u
static inline size_t short_line_of(const struct short_cache *c, uint64_t low, uint64_t high) {
    uint64_t h = (low ^ high * SHORT_BY_HIGH) * SHORT_BY;
    return (size_t)(h >> (64 - c->bits));
}

/* Has it come to doubling? */
static inline bool short_cache_full(const struct short_cache *c) {
    return c->misses >> c->bits && c->bits < LINE_BITS_MAX;
}

static inline bool short_same(const struct short_slot *s, uint64_t low, uint64_t high) {
    return ((s->low ^ low) | (s->high ^ high) << 4) == 0;
}

/* Where piece i is if it *ret_is in its line: one of the two places, without a branch. */
static inline const struct short_slot *batch_slot(const struct batch *b, size_t i, bool *ret_is) {
    const struct short_line *line = b->line[i];
    const uint64_t low = b->low[i], high = b->high[i];
    const struct short_slot *s = &line->way[!short_same(&line->way[0], low, high)];
    *ret_is = short_same(s, low, high);
    return s;
}

static inline size_t short_ids(const struct short_slot *s) {
    return s->high >> 60;
}

static inline uint64_t short_load8(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* Adds p[0..n), 0 < n, and asks for its line. The text goes on up to `end`. */
static inline void batch_add(const struct short_cache *c, struct batch *b, const uint8_t *p,
                             size_t n, const uint8_t *end) {
    static const _Alignas(32) uint8_t ones_then_zeros[32] = {
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    const bool is_short = n <= SHORT_BYTES;
    const uint8_t *keep = ones_then_zeros + 16 - (is_short ? n : 0);
    const size_t room = (size_t)(end - p);
    const uint8_t *text = p;
    uint8_t rest[16];
    if (room < 16) {
        memset(rest, 0, sizeof rest);
        text = memcpy(rest, p, room);
    }
    size_t i = b->size++;
    b->p[i] = p;
    b->n[i] = (uint32_t)n;
    b->low[i] = short_load8(text) & short_load8(keep);
    b->high[i] =
        (short_load8(text + 8) & short_load8(keep + 8)) | (is_short ? (uint64_t)n << 56 : NO_KEY);
    b->line[i] = &c->line[short_line_of(c, b->low[i], b->high[i])];
    __builtin_prefetch(b->line[i]);
}

/* Adds the pieces text[from .. ends[0]), text[ends[0] .. ends[1]) … of text[0..n), n_ends <= BATCH,
 * without those that are empty (encode_batch.c). */
typedef void (*batch_fill_fn)(const struct short_cache *c, struct batch *b, const uint8_t *text,
                              size_t n, size_t from, const uint32_t *ends, size_t n_ends);
/* The i-th one that this machine can run, of which the first is the fastest, or NULL. */
batch_fill_fn batch_fill_at(int i);

/* ------------------------------------------------------------------ the long cache */

/* Longer pieces, compared in full, two places for each. There is room for 64 bytes and 24 ids a
 * place. A table that is full doubles, up to 64 Ki places, if of what was asked for one in five was
 * there at least; else it is emptied. Zero is empty. */
struct long_slot {
    uint64_t hash;
    uint32_t at, len;    /* in `text`; len 0: free */
    uint32_t ids, n_ids; /* in `ids`               */
};
struct long_cache {
    struct long_slot *slot;
    int bits;     /* of the number of slots           */
    size_t since; /* pieces stored since it last grew or was emptied */
    size_t hits;  /* pieces found since then                         */
    struct buf text;
    struct u32s ids;
};

/* NULL: it is not there. `hash` is vocab_hash() of the piece. Valid until the next is stored. */
const struct long_slot *long_get(struct long_cache *c, uint64_t hash, const uint8_t *p, size_t n);
int long_store(struct long_cache *c, uint64_t hash, const uint8_t *p, size_t n, const uint32_t *ids,
               size_t n_ids, struct err *err);
void long_release(struct long_cache *c);

#endif
