/* Counting pieces: a hash table per thread, no locks; at the end ranges of the hash are combined in
 * parallel.
 *
 *   slot   [ bytes 0-7 | bytes 8-14, length | count ]   a piece of up to 15 bytes
 *          [ hash      | pointer, 255       | count ]   a longer one lies in an arena
 *
 *   table  open addressing, linear; the place is the upper bits of the hash, so that a range of
 *          hashes is a range of slots, in every table
 *
 * Pieces are taken in batches: all keys and hashes first, with a prefetch of each slot, then the
 * counting, so that the misses of a batch overlap. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/hash.h"
#include "tokenizer/pages.h"
#include "tokenizer/pattern.h"
#include "tokenizer/train.h"
#include "tokenizer/vocab.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a slot's length is its last byte");

enum { SHORT_MAX = 15, LONG = 255, BATCH = 32, RANGE_BITS = 6, RANGES = 1 << RANGE_BITS };

struct slot {
    uint64_t a, b; /* b >> 56: the length, or LONG; b == 0: empty */
    uint64_t count;
};

struct long_piece {
    size_t n;
    char bytes[];
};

struct table {
    struct slot *v;
    uint64_t cap, used; /* cap: a power of two, or 0   */
    int skip;           /* upper bits that all hashes share */
    int shift;          /* place = hash << skip >> shift    */
};

struct counter { /* one thread's */
    struct table table;
    struct arena longs;
    struct scanner *scanner;
    struct u32s ends;
    struct buf prefixed;              /* a text with a blank before it */
    _Atomic uint64_t distinct, total; /* readable by other threads */
};

struct words {
    struct pattern *pattern;
    bool lines, prefix_space;
    int threads;
    struct counter **counter; /* (threads) */
    struct slot *all;         /* after words_finish() */
    uint64_t distinct, total;
    struct table range[RANGES]; /* during words_finish() */
};

/* ------------------------------------------------------------------ table */

static inline uint64_t mix(uint64_t a, uint64_t b) {
    if (b >> 56 == LONG) b = (uint64_t)LONG << 56;
    unsigned __int128 m = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xe7037ed1a0b428dbu);
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static const struct long_piece *long_of(const struct slot *s) {
    return (const struct long_piece *)(uintptr_t)(s->b & ~((uint64_t)LONG << 56));
}

static bool same_long(const struct slot *s, uint64_t a, const void *bytes, size_t n) {
    if (s->b >> 56 != LONG || s->a != a) return false;
    const struct long_piece *l = long_of(s);
    return l->n == n && memcmp(l->bytes, bytes, n) == 0;
}

static inline uint64_t place(const struct table *t, uint64_t hash) {
    return hash << t->skip >> t->shift;
}

static int table_resize(struct table *t, uint64_t cap, struct err *err) {
    struct slot *was = t->v;
    uint64_t was_cap = t->cap;
    struct slot *v = pages_array(cap, sizeof *v);
    if (!v) return err_nomem(err, cap * sizeof *v);
    t->v = v;
    t->cap = cap;
    t->shift = 64 - __builtin_ctzll(cap);
    for (uint64_t i = 0; i < was_cap; i++) {
        if (!was[i].b) continue;
        uint64_t at = place(t, mix(was[i].a, was[i].b));
        while (v[at].b) at = (at + 1) & (cap - 1);
        v[at] = was[i];
    }
    free(was);
    return 0;
}

/* Makes room for `more` further pieces: at most 5/8 of the slots are taken. */
static inline int table_room(struct table *t, uint64_t more, struct err *err) {
    if ((t->used + more) * 8 <= t->cap * 5) return 0;
    return table_resize(t, t->cap ? 2 * t->cap : 1024, err);
}

/* Where the short piece (a, b) is or belongs. */
static inline struct slot *find_short(const struct table *t, uint64_t hash, uint64_t a,
                                      uint64_t b) {
    uint64_t at = place(t, hash);
    while (t->v[at].b && !(t->v[at].a == a && t->v[at].b == b)) at = (at + 1) & (t->cap - 1);
    return &t->v[at];
}

static struct slot *find_long(const struct table *t, uint64_t hash, uint64_t a, const void *bytes,
                              size_t n) {
    uint64_t at = place(t, hash);
    while (t->v[at].b && !same_long(&t->v[at], a, bytes, n)) at = (at + 1) & (t->cap - 1);
    return &t->v[at];
}

/* ------------------------------------------------------------------ counting */

/* The key of a short piece. Reads 16 bytes where the text has them. */
static inline void short_key(const char *p, size_t n, const char *end, uint64_t *a, uint64_t *b) {
    static const uint64_t keep[9] = {0,          0xff,         0xffff,         0xffffff,
                                     0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff,
                                     ~0ull};
    uint64_t v[2] = {0, 0};
    if (end - p >= 16)
        memcpy(v, p, 16);
    else
        memcpy(v, p, n);
    *a = v[0] & keep[n < 8 ? n : 8];
    *b = (v[1] & keep[n < 8 ? 0 : n - 8]) | (uint64_t)n << 56;
}

static int count_long(struct counter *c, const char *p, size_t n, uint64_t count, struct err *err) {
    uint64_t a = xxh64_bytes(p, n, 0), hash = mix(a, (uint64_t)LONG << 56);
    struct slot *s = find_long(&c->table, hash, a, p, n);
    if (!s->b) {
        struct long_piece *l = arena_alloc(&c->longs, sizeof *l + n);
        if (!l) return err_nomem(err, n);
        l->n = n;
        memcpy(l->bytes, p, n);
        *s = (struct slot){a, (uint64_t)(uintptr_t)l | (uint64_t)LONG << 56, 0};
        c->table.used++;
    }
    s->count += count;
    return 0;
}

static inline void count_short(struct table *t, uint64_t hash, uint64_t a, uint64_t b,
                               uint64_t count) {
    struct slot *s = find_short(t, hash, a, b);
    if (!s->b) {
        s->a = a;
        s->b = b;
        t->used++;
    }
    s->count += count;
}

/* Counts the pieces text[from .. ends[0]), text[ends[0] .. ends[1]) … of one batch. */
static int count_batch(struct counter *c, const char *text, size_t from, const uint32_t *ends,
                       size_t n, const char *end, struct err *err) {
    struct {
        uint64_t a, b, hash;
    } key[BATCH];
    int rc = table_room(&c->table, n, err);
    if (rc < 0) return rc;
    for (size_t i = 0, at = from; i < n; at = ends[i++]) {
        size_t len = ends[i] - at;
        if (len > SHORT_MAX) {
            key[i].b = 0;
            continue;
        }
        short_key(text + at, len, end, &key[i].a, &key[i].b);
        key[i].hash = mix(key[i].a, key[i].b);
        __builtin_prefetch(&c->table.v[place(&c->table, key[i].hash)], 1);
    }
    for (size_t i = 0, at = from; i < n; at = ends[i++]) {
        if (key[i].b)
            count_short(&c->table, key[i].hash, key[i].a, key[i].b, 1);
        else if ((rc = count_long(c, text + at, ends[i] - at, 1, err)) < 0)
            return rc;
    }
    return 0;
}

static int count_text(struct counter *c, const char *text, size_t n, struct err *err) {
    int rc = scanner_cut(c->scanner, text, n, &c->ends, err);
    const uint32_t *ends = c->ends.v;
    for (size_t i = 0, from = 0; i < c->ends.n && rc == 0; i += BATCH) {
        size_t batch = c->ends.n - i < BATCH ? c->ends.n - i : BATCH;
        rc = count_batch(c, text, from, ends + i, batch, text + n, err);
        from = ends[i + batch - 1];
    }
    uint64_t total = atomic_load_explicit(&c->total, memory_order_relaxed);
    atomic_store_explicit(&c->total, total + c->ends.n, memory_order_relaxed);
    return rc;
}

/* HF's add_prefix_space: a blank before a text that begins with none. */
static int count_prefixed(const struct words *w, struct counter *c, const char *text, size_t n,
                          struct err *err) {
    if (!w->prefix_space || n == 0 || text[0] == ' ') return n ? count_text(c, text, n, err) : 0;
    c->prefixed.n = 0;
    int rc = buf_char(&c->prefixed, ' ', err);
    if (rc == 0) rc = buf_append(&c->prefixed, text, n, err);
    return rc == 0 ? count_text(c, c->prefixed.v, c->prefixed.n, err) : rc;
}

int words_add(struct words *w, int thread, const char *text, size_t n, struct err *err) {
    struct counter *c = w->counter[thread];
    int rc = w->lines ? 0 : count_prefixed(w, c, text, n, err);
    for (size_t from = 0; w->lines && from < n && rc == 0;) {
        const char *lf = memchr(text + from, '\n', n - from);
        size_t to = lf ? (size_t)(lf - text) + 1 : n;
        rc = count_prefixed(w, c, text + from, to - from, err);
        from = to;
    }
    atomic_store_explicit(&c->distinct, c->table.used, memory_order_relaxed);
    return rc;
}

int words_add_count(struct words *w, int thread, const char *piece, size_t n, uint64_t count,
                    struct err *err) {
    struct counter *c = w->counter[thread];
    if (n == 0 || count == 0) return 0;
    int rc = table_room(&c->table, 1, err);
    if (rc < 0) return rc;
    if (n > SHORT_MAX)
        rc = count_long(c, piece, n, count, err);
    else {
        uint64_t a, b;
        short_key(piece, n, piece + n, &a, &b);
        count_short(&c->table, mix(a, b), a, b, count);
    }
    atomic_store_explicit(&c->distinct, c->table.used, memory_order_relaxed);
    uint64_t total = atomic_load_explicit(&c->total, memory_order_relaxed);
    atomic_store_explicit(&c->total, total + count, memory_order_relaxed);
    return rc;
}

/* ------------------------------------------------------------------ combining */

static int add_slot(struct table *to, const struct slot *s, struct err *err) {
    int rc = table_room(to, 1, err);
    if (rc < 0) return rc;
    uint64_t hash = mix(s->a, s->b);
    struct slot *t;
    if (s->b >> 56 == LONG)
        t = find_long(to, hash, s->a, long_of(s)->bytes, long_of(s)->n);
    else
        t = find_short(to, hash, s->a, s->b);
    if (!t->b) {
        *t = (struct slot){s->a, s->b, 0};
        to->used++;
    }
    t->count += s->count;
    return 0;
}

/* The slots of one range in one table: from the range's first place on, past its end while a chain
 * goes on; slots of a neighbouring range among them are passed over. */
static int combine_range(void *ctx, size_t r, int thread, struct err *err) {
    struct words *w = ctx;
    (void)thread;
    struct table *to = &w->range[r];
    to->skip = RANGE_BITS;
    for (int i = 0; i < w->threads; i++) {
        const struct table *t = &w->counter[i]->table;
        if (!t->cap) continue;
        uint64_t in_range = t->cap >> RANGE_BITS, first = r * in_range;
        for (uint64_t k = 0; k < t->cap; k++) {
            const struct slot *s = &t->v[(first + k) & (t->cap - 1)];
            if (!s->b && k >= in_range) break;
            if (!s->b || mix(s->a, s->b) >> (64 - RANGE_BITS) != r) continue;
            int rc = add_slot(to, s, err);
            if (rc < 0) return rc;
        }
    }
    return 0;
}

/* Moves the taken slots of `t` to `to`; returns how many. */
static uint64_t take_slots(struct slot *to, const struct table *t) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < t->cap; i++)
        if (t->v[i].b) to[n++] = t->v[i];
    return n;
}

static int take_single(struct words *w, struct table *t) {
    w->distinct = take_slots(t->v, t); /* in place: the target never overtakes the source */
    struct slot *fit = mem_resize(t->v, w->distinct ? w->distinct : 1, sizeof *fit);
    w->all = fit ? fit : t->v;
    *t = (struct table){0};
    return 0;
}

int words_finish(struct words *w, struct pool *pool, struct err *err) {
    int filled = 0, last = 0;
    for (int i = 0; i < w->threads; i++) {
        w->total += w->counter[i]->total;
        if (w->counter[i]->table.used) filled++, last = i;
    }
    if (filled <= 1) return take_single(w, &w->counter[last]->table);
    int rc = pool_run(pool, RANGES, combine_range, w, err);
    for (int i = 0; i < w->threads; i++) {
        free(w->counter[i]->table.v);
        w->counter[i]->table = (struct table){0};
    }
    for (int r = 0; r < RANGES; r++) w->distinct += w->range[r].used;
    if (rc == 0 && !(w->all = mem_array(w->distinct, sizeof *w->all)))
        rc = err_nomem(err, w->distinct * sizeof *w->all);
    for (uint64_t r = 0, n = 0; r < RANGES; r++) {
        if (rc == 0) n += take_slots(w->all + n, &w->range[r]);
        free(w->range[r].v);
        w->range[r] = (struct table){0};
    }
    return rc;
}

/* ------------------------------------------------------------------ life and reading */

static struct counter *counter_new(const struct pattern *p, struct err *err) {
    struct counter *c = calloc(1, sizeof *c);
    if (!c) {
        err_nomem(err, sizeof *c);
        return NULL;
    }
    if (scanner_new(&c->scanner, p, err) < 0) {
        free(c);
        return NULL;
    }
    return c;
}

int words_new(struct words **ret, const struct words_opts *opts, struct err *err) {
    *ret = NULL;
    int threads = opts->threads > 0 ? opts->threads : 1;
    struct err why = {0};
    struct words *w = calloc(1, sizeof *w);
    if (!w) return err_nomem(err, sizeof *w);
    w->lines = opts->lines;
    w->prefix_space = opts->like && opts->like->prefix_space;
    const char *pattern = opts->pattern;
    if (!pattern) pattern = opts->like ? tokenizer_pattern(opts->like) : "gpt2";
    int rc = pattern_open(&w->pattern, pattern, err);
    if (rc == 0 && !(w->counter = mem_array((size_t)threads, sizeof *w->counter)))
        rc = err_nomem(err, sizeof *w->counter);
    for (; rc == 0 && w->threads < threads; w->threads++) {
        w->counter[w->threads] = counter_new(w->pattern, &why);
        if (!w->counter[w->threads]) rc = err_set(err, why.code, "%s", why.msg);
        if (rc < 0) break;
    }
    if (rc < 0) {
        words_free(w);
        return rc;
    }
    *ret = w;
    return 0;
}

uint64_t words_distinct(const struct words *w) {
    if (w->all) return w->distinct;
    uint64_t most = 0;
    for (int i = 0; i < w->threads; i++)
        most += atomic_load_explicit(&w->counter[i]->distinct, memory_order_relaxed);
    return most;
}

uint64_t words_total(const struct words *w) {
    if (w->all) return w->total;
    uint64_t total = 0;
    for (int i = 0; i < w->threads; i++)
        total += atomic_load_explicit(&w->counter[i]->total, memory_order_relaxed);
    return total;
}

static const char *slot_bytes(const struct slot *s, size_t *ret_n) {
    *ret_n = (size_t)(s->b >> 56);
    if (*ret_n != LONG) return (const char *)&s->a;
    const struct long_piece *l = long_of(s);
    *ret_n = l->n;
    return l->bytes;
}

const char *words_get(const struct words *w, uint64_t i, size_t *ret_n, uint64_t *ret_count) {
    *ret_count = w->all[i].count;
    return slot_bytes(&w->all[i], ret_n);
}

static int by_bytes(const void *x, const void *y) {
    size_t n, m;
    const char *a = slot_bytes(x, &n), *b = slot_bytes(y, &m);
    int order = memcmp(a, b, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

void words_sort(struct words *w) {
    if (w->distinct) qsort(w->all, w->distinct, sizeof *w->all, by_bytes);
}

void words_drop(struct words *w) {
    for (int i = 0; i < w->threads; i++) {
        struct counter *c = w->counter[i];
        free(c->table.v);
        c->table = (struct table){0};
        arena_release(&c->longs);
        u32s_release(&c->ends);
        buf_release(&c->prefixed);
        scanner_free(c->scanner);
        c->scanner = NULL;
    }
    free(w->all);
    w->all = NULL;
    w->distinct = 0;
}

void words_free(struct words *w) {
    if (!w) return;
    words_drop(w);
    for (int i = 0; i < w->threads; i++) free(w->counter[i]);
    free(w->counter);
    pattern_free(w->pattern);
    free(w);
}
