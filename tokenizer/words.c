/* Counting pieces: a hash table per thread, no locks; at the end ranges of the hash are combined in
 * parallel.
 *
 *   slot   [ bytes 0-7 | bytes 8-14, length | count ]   a piece of up to 15 bytes
 *          [ hash      | pointer, 255       | count ]   a longer one lies in an arena
 *
 *   table  open addressing, linear; the place is the upper bits of the hash, so that a range of
 *          hashes is a range of slots, in every table
 *
 *   memory full: table ─▶ sorted run on disk; at the end the runs' union ─▶ a mapped file of slots
 *
 * Pieces are taken in batches: all keys and hashes first, with a prefetch of each slot, then the
 * counting, so that the misses of a batch overlap. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/arena.h"
#include "base/hash.h"
#include "tokenizer/cut_stream.h"
#include "tokenizer/pages.h"
#include "tokenizer/pattern.h"
#include "tokenizer/spill.h"
#include "tokenizer/train.h"
#include "tokenizer/vocab.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a slot's length is its last byte");

enum {
    SHORT_MAX = 15,
    LONG = 255,
    BATCH = 32,
    RANGE_BITS = 6,
    RANGES = 1 << RANGE_BITS,
    FORGET = 1 << 16
};

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
    struct buf formed;                /* a text in form C */
    uint64_t limit;                   /* bytes for table and arena     */
    const char *dir;                  /* for what is more              */
    struct spill *spill;              /* NULL: nothing yet             */
    uint64_t spilled;                 /* pieces in all runs            */
    uint64_t bytes;                   /* of pieces, times counts given */
    _Atomic uint64_t distinct, total; /* readable by other threads */
};

/* A file without a name, mapped. */
struct mapped {
    void *v;
    size_t bytes;
};

struct words {
    struct pattern *pattern;
    bool lines, prefix_space;
    struct nfc *nfc; /* or NULL */
    int threads;
    struct counter **counter;   /* (threads) */
    struct cut_stream *stream;  /* (threads) */
    struct slot *all;           /* after words_finish() */
    struct mapped slots, longs; /* where `all` lies when it was spilled: a long one's pointer is
                                 * then its place in `longs` */
    uint64_t memory;
    char *dir;
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
    uint64_t cap = t->cap ? t->cap : 1024;
    while ((t->used + more) * 8 > cap * 5) cap *= 2;
    return cap == t->cap ? 0 : table_resize(t, cap, err);
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

/* ------------------------------------------------------------------ spilling */

static const char *slot_bytes(const struct slot *s, size_t *ret_n) {
    *ret_n = (size_t)(s->b >> 56);
    if (*ret_n != LONG) return (const char *)&s->a;
    const struct long_piece *l = long_of(s);
    *ret_n = l->n;
    return l->bytes;
}

static int by_bytes(const void *x, const void *y) {
    size_t n, m;
    const char *a = slot_bytes(x, &n), *b = slot_bytes(y, &m);
    int order = memcmp(a, b, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

/* Moves the taken slots of `t` to `to`; returns how many. */
static uint64_t take_slots(struct slot *to, const struct table *t) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < t->cap; i++)
        if (t->v[i].b) to[n++] = t->v[i];
    return n;
}

/* All that is in memory becomes a run on disk. */
static int spill_counter(struct counter *c, struct err *err) {
    struct table *t = &c->table;
    uint64_t n = take_slots(t->v, t); /* in place: the target never overtakes the source */
    qsort(t->v, n, sizeof *t->v, by_bytes);
    int rc = c->spill ? 0 : spill_new(&c->spill, c->dir, err);
    for (uint64_t i = 0; i < n && rc == 0; i++) {
        size_t len;
        const char *bytes = slot_bytes(&t->v[i], &len);
        rc = spill_add(c->spill, bytes, len, t->v[i].count, err);
    }
    if (rc == 0) rc = spill_end_run(c->spill, err);
    memset(t->v, 0, t->cap * sizeof *t->v);
    t->used = 0;
    arena_release(&c->longs);
    c->spilled += n;
    return rc;
}

/* Rather spills than grows past the limit. Growing takes the old table and a new one of twice
 * the size. */
static int counter_grow(struct counter *c, uint64_t more, struct err *err) {
    uint64_t grown = 3 * c->table.cap * sizeof(struct slot) + c->longs.total;
    int rc = c->table.used && grown > c->limit ? spill_counter(c, err) : 0;
    return rc == 0 ? table_room(&c->table, more, err) : rc;
}

/* Makes room for `more` further pieces. */
static inline int counter_room(struct counter *c, uint64_t more, struct err *err) {
    const struct table *t = &c->table;
    bool fits = (t->used + more) * 8 <= t->cap * 5 && c->longs.total <= c->limit / 2;
    return fits ? 0 : counter_grow(c, more, err);
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
    int rc = counter_room(c, n, err);
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

/* Counts the pieces of text[0..n) that end at `ends`. */
static int count_pieces(struct counter *c, const char *text, size_t n, const struct u32s *ends,
                        struct err *err) {
    int rc = 0;
    for (size_t i = 0, from = 0; i < ends->n && rc == 0; i += BATCH) {
        size_t batch = ends->n - i < BATCH ? ends->n - i : BATCH;
        rc = count_batch(c, text, from, ends->v + i, batch, text + n, err);
        from = ends->v[i + batch - 1];
    }
    uint64_t total = atomic_load_explicit(&c->total, memory_order_relaxed);
    atomic_store_explicit(&c->total, total + ends->n, memory_order_relaxed);
    return rc;
}

static int count_text(struct counter *c, const char *text, size_t n, struct err *err) {
    int rc = scanner_cut(c->scanner, text, n, &c->ends, err);
    return rc < 0 ? rc : count_pieces(c, text, n, &c->ends, err);
}

/* HF's normalizer and add_prefix_space: form C, and a blank before a text that begins with none. */
static int count_prefixed(const struct words *w, struct counter *c, const char *text, size_t n,
                          bool begins, struct err *err) {
    if (w->nfc && !nfc_is(w->nfc, text, n)) {
        c->formed.n = 0;
        int formed = nfc_write(w->nfc, text, n, &c->formed, NULL, err);
        if (formed < 0) return formed;
        text = c->formed.v;
        n = c->formed.n;
    }
    if (!w->prefix_space || !begins || n == 0 || text[0] == ' ')
        return n ? count_text(c, text, n, err) : 0;
    c->prefixed.n = 0;
    int rc = buf_char(&c->prefixed, ' ', err);
    if (rc == 0) rc = buf_append(&c->prefixed, text, n, err);
    return rc == 0 ? count_text(c, c->prefixed.v, c->prefixed.n, err) : rc;
}

int words_add(struct words *w, int thread, const char *text, size_t n, struct err *err) {
    struct counter *c = w->counter[thread];
    int rc = w->lines ? 0 : count_prefixed(w, c, text, n, true, err);
    for (size_t from = 0; w->lines && from < n && rc == 0;) {
        const char *lf = memchr(text + from, '\n', n - from);
        size_t to = lf ? (size_t)(lf - text) + 1 : n;
        rc = count_prefixed(w, c, text + from, to - from, true, err);
        from = to;
    }
    atomic_store_explicit(&c->distinct, c->spilled + c->table.used, memory_order_relaxed);
    return rc;
}

/* ------------------------------------------------------------------ texts in parts */

bool words_cut(const struct words *w) {
    return !w->lines && pattern_known(w->pattern) && !(w->nfc && w->prefix_space);
}

bool words_stream(const struct words *w) {
    return words_cut(w) && pattern_covers(w->pattern) && !w->nfc;
}

static int count_stream(const struct words *w, struct counter *c, struct cut_stream *s,
                        const struct text_part *p, struct err *err) {
    int rc = s->scanner ? 0 : cut_stream_init(s, w->pattern, 0, err);
    s->whole = true;
    if (rc == 0 && p->begins && w->prefix_space && p->n && *p->text != ' ')
        rc = cut_stream_add(s, " ", 1, false, err);
    if (rc == 0) rc = cut_stream_add(s, p->text, p->n, !p->followed, err);
    if (rc == 0) rc = count_pieces(c, s->text.v, s->text.n, &s->ends, err);
    if (rc == 0) cut_stream_take(s);
    return rc;
}

int words_add_part(struct words *w, int thread, uint32_t lane, const struct text_part *p,
                   struct err *err) {
    struct counter *c = w->counter[thread];
    if (p->begins && !p->followed) return words_add(w, thread, p->text, p->n, err);
    int rc = p->follows || p->followed ? count_stream(w, c, &w->stream[lane], p, err)
                                       : count_prefixed(w, c, p->text, p->n, p->begins, err);
    atomic_store_explicit(&c->distinct, c->spilled + c->table.used, memory_order_relaxed);
    return rc;
}

int words_add_count(struct words *w, int thread, const char *piece, size_t n, uint64_t count,
                    struct err *err) {
    struct counter *c = w->counter[thread];
    uint64_t bytes;
    if (n == 0 || count == 0) return 0;
    if (__builtin_mul_overflow(count, n, &bytes) ||
        __builtin_add_overflow(c->bytes, bytes, &bytes) || bytes >> 62)
        return err_set(err, ERR_DATA, "the counts add up to more than 2^62 bytes of text");
    c->bytes = bytes;
    int rc = counter_room(c, 1, err);
    if (rc < 0) return rc;
    if (n > SHORT_MAX)
        rc = count_long(c, piece, n, count, err);
    else {
        uint64_t a, b;
        short_key(piece, n, piece + n, &a, &b);
        count_short(&c->table, mix(a, b), a, b, count);
    }
    atomic_store_explicit(&c->distinct, c->spilled + c->table.used, memory_order_relaxed);
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
 * goes on; slots of a neighbouring range among them are passed over.
 *
 * They come in the order of their places. In a table that is too small for them all, the first ones
 * would pile up at its beginning, each behind all before it: so there is room before they come. */
static int combine_range(void *ctx, size_t r, int thread, struct err *err) {
    struct words *w = ctx;
    (void)thread;
    struct table *to = &w->range[r];
    to->skip = RANGE_BITS;
    for (int i = 0; i < w->threads; i++) {
        const struct table *t = &w->counter[i]->table;
        if (!t->cap) continue;
        uint64_t in_range = t->cap >> RANGE_BITS, first = r * in_range;
        int rc = table_room(to, (t->used >> RANGE_BITS) * 9 / 8, err);
        if (rc < 0) return rc;
        for (uint64_t k = 0; k < t->cap; k++) {
            const struct slot *s = &t->v[(first + k) & (t->cap - 1)];
            if (!s->b && k >= in_range) break;
            if (!s->b || mix(s->a, s->b) >> (64 - RANGE_BITS) != r) continue;
            rc = add_slot(to, s, err);
            if (rc < 0) return rc;
        }
    }
    return 0;
}

static int take_single(struct words *w, struct table *t) {
    w->distinct = take_slots(t->v, t); /* in place: the target never overtakes the source */
    struct slot *fit = mem_resize(t->v, w->distinct ? w->distinct : 1, sizeof *fit);
    w->all = fit ? fit : t->v;
    *t = (struct table){0};
    return 0;
}

/* The runs' union, in order, as slots and long pieces in two files. */
static int write_union(struct words *w, struct spill_union *u, FILE *slots, FILE *longs,
                       struct err *err) {
    const char *p;
    size_t n;
    uint64_t count, at = 0;
    int rc;
    while ((rc = spill_union_next(u, &p, &n, &count, err)) > 0) {
        struct slot s = {.count = count};
        bool good = true;
        if (n > SHORT_MAX) {
            struct long_piece l = {.n = n};
            size_t fill = (0 - n) & (sizeof l.n - 1);
            s.b = at | (uint64_t)LONG << 56;
            good = fwrite(&l, sizeof l, 1, longs) == 1 && fwrite(p, 1, n, longs) == n &&
                   fwrite((char[8]){0}, 1, fill, longs) == fill;
            at += sizeof l + n + fill;
        } else {
            short_key(p, n, p + n, &s.a, &s.b);
        }
        if (!good || fwrite(&s, sizeof s, 1, slots) != 1)
            return err_errno(err, "%s: words that do not fit into the memory", w->dir);
        w->distinct++;
    }
    if (rc == 0 && (fflush(slots) != 0 || fflush(longs) != 0))
        rc = err_errno(err, "%s: words that do not fit into the memory", w->dir);
    w->longs.bytes = at;
    return rc;
}

static int map_file(struct mapped *m, FILE *f, size_t bytes, struct err *err) {
    m->bytes = bytes;
    if (bytes == 0) return 0;
    void *v = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fileno(f), 0);
    if (v == MAP_FAILED) return err_errno(err, "words that do not fit into the memory");
    m->v = v;
    return 0;
}

/* Combines what the threads spilled and what they still hold. */
static int finish_spilled(struct words *w, struct err *err) {
    struct spill_union *u = NULL;
    FILE *slots = NULL, *longs = NULL;
    struct spill **from = mem_array((size_t)w->threads, sizeof(struct spill *));
    int rc = from ? 0 : err_nomem(err, (uint64_t)w->threads * sizeof *from);
    for (int i = 0; i < w->threads && rc == 0; i++) {
        struct counter *c = w->counter[i];
        if (c->table.used) rc = spill_counter(c, err);
        free(c->table.v);
        c->table = (struct table){0};
        from[i] = c->spill;
    }
    if (rc == 0) rc = spill_union_new(&u, from, (size_t)w->threads, w->memory / 2, err);
    if (rc == 0 && !((slots = spill_file(w->dir, err)) && (longs = spill_file(w->dir, err))))
        rc = ERR_IO;
    if (rc == 0) rc = write_union(w, u, slots, longs, err);
    if (rc == 0) rc = map_file(&w->slots, slots, w->distinct * sizeof(struct slot), err);
    if (rc == 0) rc = map_file(&w->longs, longs, w->longs.bytes, err);
    if (rc == 0) w->all = w->slots.v;
    if (slots) fclose(slots);
    if (longs) fclose(longs);
    spill_union_free(u);
    free(from);
    return rc;
}

int words_finish(struct words *w, struct pool *pool, struct err *err) {
    int filled = 0, last = 0;
    bool spilled = false;
    for (int i = 0; i < w->threads; i++) {
        w->total += w->counter[i]->total;
        if (w->counter[i]->table.used) filled++, last = i;
        spilled |= w->counter[i]->spill != NULL;
    }
    if (spilled) return finish_spilled(w, err);
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

static struct counter *counter_new(const struct words *w, int threads, struct err *err) {
    struct counter *c = calloc(1, sizeof *c);
    if (!c) {
        err_nomem(err, sizeof *c);
        return NULL;
    }
    /* the other half is for combining */
    c->limit = w->memory ? w->memory / 2 / (uint64_t)threads : UINT64_MAX;
    c->dir = w->dir;
    if (scanner_new(&c->scanner, w->pattern, err) < 0) {
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
    w->memory = opts->memory;
    w->dir = strdup(opts->spill_dir ? opts->spill_dir : ".");
    w->prefix_space = opts->like && opts->like->prefix_space;
    int rc = opts->like && opts->like->nfc ? nfc_new(&w->nfc, err) : 0;
    const char *pattern = opts->pattern;
    if (!pattern) pattern = opts->like ? tokenizer_pattern(opts->like) : "gpt2";
    if (rc == 0) rc = pattern_open(&w->pattern, pattern, err);
    if (rc == 0 && !w->dir) rc = err_nomem(err, 1);
    if (rc == 0 && !(w->counter = mem_array((size_t)threads, sizeof *w->counter)))
        rc = err_nomem(err, sizeof *w->counter);
    if (rc == 0 && !(w->stream = mem_array((size_t)threads, sizeof *w->stream)))
        rc = err_nomem(err, sizeof *w->stream);
    for (; rc == 0 && w->threads < threads; w->threads++) {
        w->counter[w->threads] = counter_new(w, threads, &why);
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

/* What was read from the files needs no memory any more; it comes back when it is asked for. */
static void forget_read(const struct words *w) {
    madvise(w->slots.v, w->slots.bytes, MADV_DONTNEED);
    if (w->longs.v) madvise(w->longs.v, w->longs.bytes, MADV_DONTNEED);
}

const char *words_get(const struct words *w, uint64_t i, size_t *ret_n, uint64_t *ret_count) {
    const struct slot *s = &w->all[i];
    if (w->slots.v && i % FORGET == 0) forget_read(w);
    *ret_count = s->count;
    if (!w->slots.v || s->b >> 56 != LONG) return slot_bytes(s, ret_n);
    const char *at = (const char *)w->longs.v + (s->b & ~((uint64_t)LONG << 56));
    const struct long_piece *l = (const void *)at;
    *ret_n = l->n;
    return l->bytes;
}

void words_sort(struct words *w) {
    if (w->distinct && !w->slots.v) qsort(w->all, w->distinct, sizeof *w->all, by_bytes);
}

void words_drop(struct words *w) {
    for (int i = 0; i < w->threads; i++) {
        struct counter *c = w->counter[i];
        free(c->table.v);
        c->table = (struct table){0};
        arena_release(&c->longs);
        u32s_release(&c->ends);
        buf_release(&c->prefixed);
        buf_release(&c->formed);
        spill_free(c->spill);
        c->spill = NULL;
        scanner_free(c->scanner);
        c->scanner = NULL;
    }
    if (w->slots.v)
        munmap(w->slots.v, w->slots.bytes);
    else
        free(w->all);
    if (w->longs.v) munmap(w->longs.v, w->longs.bytes);
    w->slots.v = w->longs.v = NULL;
    w->all = NULL;
    w->distinct = 0;
}

void words_free(struct words *w) {
    if (!w) return;
    words_drop(w);
    for (int i = 0; i < w->threads; i++) {
        free(w->counter[i]);
        cut_stream_release(&w->stream[i]);
    }
    free(w->counter);
    free(w->stream);
    pattern_free(w->pattern);
    nfc_free(w->nfc);
    free(w->dir);
    free(w);
}
