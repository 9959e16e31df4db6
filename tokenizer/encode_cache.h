/* The caches of an encoder (inside tokenizer/), by the length of the pieces.
 *
 * The short one has pieces up to 15 bytes whose ids are 12 at most, in lines of the processor's
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
    MIDDLE_BYTES = 2 * SHORT_BYTES,
    MIDDLE_IDS = 8,
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
/* Of `high`: the number of ids. */
#define IDS_BITS (15ull << 60)

/* Where all ids of a line are that one piece has, up to WIDE_IDS of them. */
static inline void *line_ids(struct short_line *line) {
    return (char *)line + offsetof(struct short_slot, id);
}

struct short_cache {
    struct short_line *line;
    int bits;        /* of the number of lines                               */
    uint64_t misses; /* since it last grew                                   */
};

/* Pieces of 16 to 30 bytes whose ids are 8 at most, each in a line, two lines side by side for
 * each: words of scripts whose letters have two bytes, and indents. A line is read as a short one:
 *
 *     | 15 bytes of text | ids:4 len-15:4 | id id id id   id id id id | the others, zero-filled |
 *
 * A new one takes the first and moves what was there to the second. The table doubles as the short
 * one does, up to 4 MiB, if of what was asked for one in five was there at least. */
struct middle_cache {
    struct short_line *line;
    int bits;              /* of the number of lines */
    uint64_t misses, hits; /* pieces stored, and found, since it last grew or might have */
};

/* Longer pieces, and those of many ids, compared in full, two places for each. There is room for 64
 * bytes and 24 ids a place. A table that is full doubles by the same rule, up to 64 Ki places; else
 * it is emptied. Zero is empty. */
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

struct caches {
    struct short_cache shorts;
    struct middle_cache middles;
    struct long_cache longs;
};

/* Makes the first lines. */
int caches_begin(struct caches *c, struct err *err);
void caches_release(struct caches *c);
/* Has it come to doubling? */
static inline bool short_full(const struct short_cache *c) {
    return c->misses >> c->bits && c->bits < LINE_BITS_MAX;
}
static inline bool middle_full(const struct middle_cache *c) {
    return c->misses >> c->bits;
}
static inline bool caches_full(const struct caches *c) {
    return short_full(&c->shorts) | middle_full(&c->middles);
}
/* Doubles what has come to it, if that is worth it. What was there before moves; of two pieces that
 * meet in a line one may get lost. */
int caches_grow(struct caches *c, struct err *err);

/* The ids of a piece of more than SHORT_BYTES bytes to its cache. `hash` is vocab_hash() of it. */
int caches_store(struct caches *c, uint64_t hash, const uint8_t *p, size_t n, const uint32_t *ids,
                 size_t n_ids, struct err *err);
/* What the middle one has of a piece that is_middle(): how many ids; 0: nothing. */
size_t middle_get(struct middle_cache *c, const uint8_t *p, size_t n, uint32_t ids[MIDDLE_IDS]);
/* What the long one has of a piece of more than SHORT_BYTES bytes; NULL: nothing. Valid until the
 * next is stored. */
const struct long_slot *long_get(struct long_cache *c, uint64_t hash, const uint8_t *p, size_t n);

/* ------------------------------------------------------------------ many at once */

/* Pieces on their way through their caches. One that no short slot has has a key of none. */
struct batch {
    const uint8_t *p[BATCH];
    uint32_t n[BATCH];
    uint64_t low[BATCH], high[BATCH]; /* the keys */
    struct short_line *line[BATCH];
    size_t size;
    size_t n_middles; /* pieces for the middle cache */
    uint64_t stored;  /* its misses when they were looked for */
    uint8_t middle[BATCH + 8];
    struct short_line key[BATCH]; /* of those; and then, where they are there, copies */
};

static inline void batch_clear(struct batch *b) {
    b->size = b->n_middles = 0;
}

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

/* Sixteen bytes: n ones, then zeros. */
static inline const uint8_t *ones(size_t n) {
    static const _Alignas(32) uint8_t ones_then_zeros[32] = {
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    return ones_then_zeros + 16 - n;
}

static inline bool is_middle(size_t n) {
    return n > SHORT_BYTES && n <= MIDDLE_BYTES;
}

/* The key of such a piece in its places of a line; the text goes on up to `end`. */
static inline void middle_key(struct short_line *to, const uint8_t *p, size_t n,
                              const uint8_t *end) {
    const size_t more = n - SHORT_BYTES, room = (size_t)(end - p);
    const uint8_t *text = p;
    uint8_t rest[MIDDLE_BYTES + 1];
    if (room < sizeof rest) {
        memset(rest, 0, sizeof rest);
        text = memcpy(rest, p, room);
    }
    const uint8_t *others = text + SHORT_BYTES, *keep = ones(more);
    const uint64_t x[2] = {short_load8(others) & short_load8(keep),
                           short_load8(others + 8) & short_load8(keep + 8)};
    to->way[0].low = short_load8(text);
    to->way[0].high = (short_load8(text + 8) & NO_KEY) | (uint64_t)more << 56;
    memcpy(to->way[1].id, x, sizeof x);
}

/* The first of the two lines of a key. */
static inline struct short_line *middle_lines(const struct middle_cache *c,
                                              const struct short_line *key) {
    uint64_t x[2];
    memcpy(x, key->way[1].id, sizeof x);
    uint64_t h = (key->way[0].low ^ (key->way[0].high & ~IDS_BITS) * SHORT_BY_HIGH) * SHORT_BY;
    h = (h ^ h >> 32 ^ x[0] ^ x[1] * SHORT_BY_HIGH) * SHORT_BY;
    return &c->line[(size_t)(h >> (64 - c->bits)) & ~(size_t)1];
}

static inline bool middle_same(const struct short_line *s, const struct short_line *key) {
    uint64_t x[2], y[2];
    memcpy(x, s->way[1].id, sizeof x);
    memcpy(y, key->way[1].id, sizeof y);
    return short_same(&s->way[0], key->way[0].low, key->way[0].high) &
           (((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0);
}

/* Which of two lines has the piece of this key, if it *ret_is in one of them; without a branch. */
static inline const struct short_line *middle_find(const struct short_line *lines,
                                                   const struct short_line *key, bool *ret_is) {
    const struct short_line *s = lines + !middle_same(lines, key);
    *ret_is = middle_same(s, key);
    return s;
}

/* Looks for the pieces of the middle cache, without a branch on what is there: those that are
 * become as short ones. All have been added; the text goes on up to `end`. */
static inline void batch_find_middles(struct middle_cache *c, struct batch *b, const uint8_t *end) {
    const struct short_line *at[BATCH];
    b->stored = c->misses;
    for (size_t k = 0; k < b->n_middles; k++) {
        const size_t i = b->middle[k];
        middle_key(&b->key[k], b->p[i], b->n[i], end);
        at[k] = middle_lines(c, &b->key[k]);
        __builtin_prefetch(at[k]);
        __builtin_prefetch(at[k] + 1);
    }
    for (size_t k = 0; k < b->n_middles; k++) {
        const size_t i = b->middle[k];
        bool is;
        const struct short_line *s = middle_find(at[k], &b->key[k], &is);
        b->low[i] = is ? b->key[k].way[0].low : b->low[i];
        b->high[i] = is ? b->key[k].way[0].high : b->high[i];
        b->key[k] = *s;
        b->line[i] = is ? &b->key[k] : b->line[i];
        c->hits += is;
    }
}

/* Adds p[0..n), 0 < n, and asks for its line. The text goes on up to `end`. */
static inline void batch_add(const struct caches *c, struct batch *b, const uint8_t *p, size_t n,
                             const uint8_t *end) {
    const bool is_short = n <= SHORT_BYTES;
    const uint8_t *keep = ones(is_short ? n : 0);
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
    b->line[i] = &c->shorts.line[short_line_of(&c->shorts, b->low[i], b->high[i])];
    __builtin_prefetch(b->line[i]);
    b->middle[b->n_middles] = (uint8_t)i;
    b->n_middles += is_middle(n);
}

/* Adds the pieces text[from .. ends[0]), text[ends[0] .. ends[1]) … of text[0..n), n_ends <= BATCH,
 * without those that are empty (encode_batch.c). */
typedef void (*batch_fill_fn)(const struct caches *c, struct batch *b, const uint8_t *text,
                              size_t n, size_t from, const uint32_t *ends, size_t n_ends);
/* The i-th one that this machine can run, of which the first is the fastest, or NULL. */
batch_fill_fn batch_fill_at(int i);

#endif
