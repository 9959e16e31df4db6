/* Making and filling an encoder's caches: see encode_cache.h. */
#include "tokenizer/encode_cache.h"

#include <stdlib.h>
#include "tokenizer/pages.h"

/* What seldom comes again is better stored where the nearest caches hold it. */
static bool comes_again(size_t hits, size_t misses) {
    return 4 * hits >= misses;
}

/* ------------------------------------------------------------------ the short one */

/* Makes the first lines, or twice as many. */
static int short_grow(struct short_cache *c, struct err *err) {
    struct short_cache to = {.bits = c->line ? c->bits + 1 : LINE_BITS_FIRST};
    size_t n = (size_t)1 << to.bits;
    to.line = pages_array(n, sizeof *to.line);
    if (!to.line) return err_nomem(err, n * sizeof *to.line);
    for (size_t i = 0; c->line && i < n / 2; i++)
        for (int w = 1; w >= 0; w--) {
            struct short_slot *s = &c->line[i].way[w];
            uint64_t key = s->high << 4 >> 4;
            bool second_half = w == 1 && short_ids(&c->line[i].way[0]) > NARROW_IDS;
            if (!key || second_half) continue;
            struct short_line *line = &to.line[short_line_of(&to, s->low, key)];
            if (short_ids(s) > NARROW_IDS) {
                *line = c->line[i];
            } else if (short_ids(&line->way[0]) <= NARROW_IDS) {
                line->way[1] = line->way[0];
                line->way[0] = *s;
            }
        }
    free(c->line);
    *c = to;
    return 0;
}

/* A new piece takes the first place. */
static void put_first(struct short_line *line, const struct short_slot *s) {
    line->way[1] = short_ids(&line->way[0]) > NARROW_IDS ? (struct short_slot){0} : line->way[0];
    line->way[0] = *s;
}

void short_store(struct short_line *line, uint64_t low, uint64_t high, const uint32_t *ids,
                 size_t n_ids, uint32_t top) {
    struct short_slot s = {.low = low, .high = high | (uint64_t)n_ids << 60};
    struct short_slot *waits = short_waits(line, low, high);
    const bool wide = n_ids > NARROW_IDS;
    if (waits) *waits = (struct short_slot){0};
    /* The top byte of a wide line's last ids is a length of the second place: it has to be 0. */
    if (n_ids > WIDE_IDS || (wide && top >> 24)) return;
    if (wide) {
        *line = (struct short_line){.way = {s}};
        memcpy(line_ids(line), ids, n_ids * sizeof *ids);
        return;
    }
    memcpy(s.id, ids, n_ids * sizeof *ids);
    if (waits)
        *waits = s;
    else if (!short_same(&line->way[0], low, high)) /* not twice in the batch */
        put_first(line, &s);
}

/* Text that waits has a length of 0. That of one piece is NO_KEY then, but of another line. */
_Static_assert((NO_KEY * SHORT_BY_HIGH * SHORT_BY ^
                (NO_KEY | 15ull << 56) * SHORT_BY_HIGH * SHORT_BY) >>
                   (64 - LINE_BITS_FIRST),
               "these are two lines");
static uint64_t waiting(uint64_t high) {
    return high & NO_KEY;
}

static uint32_t length_of(uint64_t high) {
    return high >> 56 & 15;
}

void short_wait(struct short_line *line, uint64_t low, uint64_t high, uint32_t which) {
    put_first(line, &(struct short_slot){
                        .low = low, .high = waiting(high), .id = {which, length_of(high)}});
}

struct short_slot *short_waits(struct short_line *line, uint64_t low, uint64_t high) {
    const int ways = short_ids(&line->way[0]) > NARROW_IDS ? 1 : 2;
    for (int w = 0; w < ways; w++) {
        struct short_slot *s = &line->way[w];
        if (s->low == low && s->high == waiting(high) && s->id[1] == length_of(high)) return s;
    }
    return NULL;
}

/* ------------------------------------------------------------------ the middle one */

enum { MIDDLE_BITS_FIRST = 8, MIDDLE_BITS_LEAST = 13, MIDDLE_BITS_MAX = 16 };

static void middle_put(const struct middle_cache *c, const struct short_line *s) {
    struct short_line *v = middle_lines(c, s);
    v[1] = v[0];
    v[0] = *s;
}

/* Makes the first lines, or twice as many if what they hold comes again. */
static int middle_grow(struct middle_cache *c, struct err *err) {
    struct middle_cache to = {.bits = c->line ? c->bits + 1 : MIDDLE_BITS_FIRST};
    const size_t n = (size_t)1 << to.bits;
    const bool may = to.bits <= MIDDLE_BITS_MAX &&
                     (to.bits <= MIDDLE_BITS_LEAST || comes_again(c->hits, c->misses));
    if (c->line && !may) {
        c->misses = c->hits = 0;
        return 0;
    }
    to.line = pages_array(n, sizeof *to.line);
    if (!to.line) return err_nomem(err, n * sizeof *to.line);
    for (size_t i = c->line ? n / 2 : 0; i-- > 0;) /* the later one first */
        if (c->line[i].way[0].high) middle_put(&to, &c->line[i]);
    free(c->line);
    *c = to;
    return 0;
}

static void middle_store(struct middle_cache *c, const uint8_t *p, size_t n, const uint32_t *ids,
                         size_t n_ids) {
    struct short_line s = {0};
    middle_key(&s, p, n, p + n);
    s.way[0].high |= (uint64_t)n_ids << 60;
    memcpy(line_ids(&s), ids, n_ids * sizeof *ids);
    middle_put(c, &s);
    c->misses++;
}

size_t middle_get(struct middle_cache *c, const uint8_t *p, size_t n, uint32_t ids[MIDDLE_IDS]) {
    struct short_line key;
    middle_key(&key, p, n, p + n);
    bool is;
    struct short_line s = *middle_find(middle_lines(c, &key), &key, &is);
    if (is) memcpy(ids, line_ids(&s), MIDDLE_IDS * sizeof *ids);
    return is ? short_ids(&s.way[0]) : 0;
}

/* ------------------------------------------------------------------ the long one */

enum { LONG_BITS_FIRST = 13, LONG_BITS_MAX = 16, LONG_TEXT = 64, LONG_IDS = 24 };

/* The first of the two places of a piece. */
static struct long_slot *long_places(const struct long_cache *c, uint64_t hash) {
    return &c->slot[hash & (((uint64_t)1 << c->bits) - 2)];
}

/* A new one takes the first and moves what was there to the second. */
static void long_put(const struct long_cache *c, const struct long_slot *s) {
    struct long_slot *v = long_places(c, s->hash);
    v[1] = v[0];
    v[0] = *s;
}

static bool long_is(const struct long_cache *c, const struct long_slot *s, uint64_t hash,
                    const uint8_t *p, size_t n) {
    return s->hash == hash && s->len == n && memcmp(c->text.v + s->at, p, n) == 0;
}

const struct long_slot *long_get(struct long_cache *c, uint64_t hash, const uint8_t *p, size_t n) {
    if (!c->slot) return NULL;
    const struct long_slot *s = long_places(c, hash);
    if (!long_is(c, s, hash, p, n) && !long_is(c, ++s, hash, p, n)) return NULL;
    c->hits++;
    return s;
}

static bool long_full(const struct long_cache *c, size_t n, size_t n_ids) {
    size_t slots = (size_t)1 << c->bits;
    return !c->slot || c->since >= slots || c->text.n + n > slots * LONG_TEXT ||
           c->ids.n + n_ids > slots * LONG_IDS;
}

static int long_grow(struct long_cache *c, struct err *err) {
    struct long_cache to = *c;
    to.since = to.hits = 0;
    to.bits = c->slot ? c->bits + 1 : LONG_BITS_FIRST;
    to.slot = mem_array((size_t)1 << to.bits, sizeof *to.slot);
    if (!to.slot) return err_nomem(err, sizeof *to.slot << to.bits);
    for (size_t i = c->slot ? (size_t)1 << c->bits : 0; i-- > 0;) /* the later one first */
        if (c->slot[i].len) long_put(&to, &c->slot[i]);
    free(c->slot);
    *c = to;
    return 0;
}

static bool long_may_grow(const struct long_cache *c) {
    return !c->slot || (c->bits < LONG_BITS_MAX && comes_again(c->hits, c->since));
}

static void long_empty(struct long_cache *c) {
    memset(c->slot, 0, sizeof *c->slot << c->bits);
    c->text.n = c->ids.n = c->since = c->hits = 0;
}

static int long_store(struct long_cache *c, uint64_t hash, const uint8_t *p, size_t n,
                      const uint32_t *ids, size_t n_ids, struct err *err) {
    int rc = 0;
    if (long_full(c, n, n_ids) && long_may_grow(c)) rc = long_grow(c, err);
    if (rc < 0) return rc;
    if (long_full(c, n, n_ids)) long_empty(c);
    struct long_slot s = {.hash = hash,
                          .at = (uint32_t)c->text.n,
                          .len = (uint32_t)n,
                          .ids = (uint32_t)c->ids.n,
                          .n_ids = (uint32_t)n_ids};
    rc = buf_append(&c->text, p, n, err);
    if (rc >= 0) rc = u32s_append(&c->ids, ids, n_ids, err);
    if (rc < 0) return rc;
    long_put(c, &s);
    c->since++;
    return 0;
}

/* ------------------------------------------------------------------ all of them */

int caches_begin(struct caches *c, struct err *err) {
    int rc = short_grow(&c->shorts, err);
    return rc < 0 ? rc : middle_grow(&c->middles, err);
}

void caches_release(struct caches *c) {
    free(c->shorts.line);
    free(c->middles.line);
    free(c->longs.slot);
    buf_release(&c->longs.text);
    u32s_release(&c->longs.ids);
    memset(c, 0, sizeof *c);
}

int caches_grow(struct caches *c, struct err *err) {
    int rc = short_full(&c->shorts) ? short_grow(&c->shorts, err) : 0;
    if (rc >= 0 && middle_full(&c->middles)) rc = middle_grow(&c->middles, err);
    return rc;
}

int caches_store(struct caches *c, uint64_t hash, const uint8_t *p, size_t n, const uint32_t *ids,
                 size_t n_ids, struct err *err) {
    if (!is_middle(n) || n_ids > MIDDLE_IDS)
        return long_store(&c->longs, hash, p, n, ids, n_ids, err);
    middle_store(&c->middles, p, n, ids, n_ids);
    return 0;
}
