/* Text into ids: specials cut the text, the pattern cuts what is between, every piece is looked
 * up in a cache and merged (bpe.c) the first time it is seen.
 *
 *   short cache    pieces up to 15 bytes whose ids are 12 at most, in lines of the processor's
 *                  cache. A line holds two pieces of up to four ids, or one of more:
 *
 *       | 15 bytes of text, zero-filled | ids:4 len:4 | id id id id | the same again       |
 *       | 15 bytes of text, zero-filled | ids:4 len:4 | id id id id   id id id id id id id id |
 *
 *                  A new piece takes the first place and moves what was there to the second. The
 *                  table doubles while pieces keep coming that it does not hold, up to 8 MiB.
 *   long cache     other pieces up to LONG_BYTES, compared in full; emptied when it is full
 *
 * A longer piece, and a new one of more than 15 bytes or of a script without blanks, is cut at its
 * seams (seams.h), and the parts go through a short cache of their own: a sentence of Chinese is
 * one piece and seldom comes twice, but its words do. Most of its parts are single characters, for
 * which there is a table. Neither where a seam is nor which of both a part is can be foreseen, so
 * seams, then ids, are found for BATCH parts at once, without a branch.
 *
 * Pieces go in batches: the lines of a whole batch are asked for before the first is looked at, so
 * that memory answers them together. A long text goes in windows, so that what an encoder holds has
 * a bound, whatever the text. */
#include <stdlib.h>
#include <sys/mman.h>
#include "tokenizer/bpe.h"
#include "tokenizer/encode_inside.h"
#include "tokenizer/places.h"
#include "tokenizer/scan.h"

enum {
    SHORT_BYTES = 15,
    NARROW_IDS = 4, /* of half a line */
    WIDE_IDS = 12,  /* of a whole one */
    LINE_BITS_FIRST = 12,
    LINE_BITS_MAX = 17, /* x 64 bytes = 8 MiB */
    LONG_BYTES = 512,
    LONG_SLOTS = 1 << 13,
    LONG_POOL = 1 << 20, /* bytes of text, and ids */
    BATCH = 32,
    WINDOW = 1 << 18,
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
    int bits;        /* of the number of lines */
    uint64_t misses; /* since it last grew     */
};

/* What a character of three bytes becomes when it stands alone between seams; n == 0: not known
 * yet. As large as NARROW_IDS ids, which are copied. */
struct wide_char {
    uint32_t id[3], n;
};

struct long_slot {
    uint64_t hash;
    uint32_t at, len;    /* in `text`; len 0: free */
    uint32_t ids, n_ids; /* in `ids`              */
};

struct encoder {
    const struct tokenizer *t;
    struct scanner *scanner;
    struct short_cache whole; /* of pieces               */
    struct short_cache part;  /* of what lies between seams; its own, because a piece may be a
                               * token by decree (ignore_merges), and a part may not */
    struct wide_char *wide;   /* (65536) by code point; NULL until one is met */
    struct long_slot *slots;
    struct buf text; /* of the long cache */
    struct u32s ids;
    struct u32s ends;               /* of the pieces at hand */
    struct segments segments[2];    /* of the two passes over specials */
    struct special_tree allowed[2]; /* TOKENIZER_SPECIAL_LIST */
    bool refuse;                    /* special tokens that are not recognised */
    bool inside;                    /* the text at hand goes on from another  */
    struct buf prefixed, formed;    /* with a blank before it; in form C */
    struct u32s formed_places;      /* (2 x formed.n) see nfc.h */
    struct bpe_scratch scratch;
};

/* ------------------------------------------------------------------ short caches */

/* Zeroed lines, each in a line of the processor's cache. */
static struct short_line *lines_new(size_t n) {
    enum { PAGE = 2 << 20 };
    size_t bytes = n * sizeof(struct short_line);
    struct short_line *v = aligned_alloc(bytes < PAGE ? sizeof *v : PAGE, bytes);
    if (!v) return NULL;
    if (bytes >= PAGE) madvise(v, bytes, MADV_HUGEPAGE); /* a hint */
    memset(v, 0, bytes);
    return v;
}

/* Which line a key belongs to. */
static inline size_t line_of(const struct short_cache *c, uint64_t low, uint64_t high) {
    uint64_t h = (low ^ high * 0xE7037ED1A0B428DBu) * 0x9E3779B97F4A7C15u;
    return (size_t)(h >> (64 - c->bits));
}

/* Makes the first lines, or twice as many. What was there before moves; of two pieces that meet in
 * a line one may get lost. */
static int cache_grow(struct short_cache *c, struct err *err) {
    struct short_cache to = {.bits = c->line ? c->bits + 1 : LINE_BITS_FIRST};
    size_t n = (size_t)1 << to.bits;
    to.line = lines_new(n);
    if (!to.line) return err_nomem(err, n * sizeof *to.line);
    for (size_t i = 0; c->line && i < n / 2; i++)
        for (int w = 1; w >= 0; w--) {
            struct short_slot *s = &c->line[i].way[w];
            uint64_t key = s->high << 4 >> 4;
            bool second_half = w == 1 && c->line[i].way[0].high >> 60 > NARROW_IDS;
            if (!key || second_half) continue;
            struct short_line *line = &to.line[line_of(&to, s->low, key)];
            if (s->high >> 60 > NARROW_IDS) {
                *line = c->line[i];
            } else if (line->way[0].high >> 60 <= NARROW_IDS) {
                line->way[1] = line->way[0];
                line->way[0] = *s;
            }
        }
    free(c->line);
    *c = to;
    return 0;
}

/* ------------------------------------------------------------------ life */

int encoder_new(struct encoder **ret, const struct tokenizer *t, struct err *err) {
    struct encoder *e = calloc(1, sizeof *e);
    if (!e) return err_nomem(err, sizeof *e);
    e->t = t;
    int rc = scanner_new(&e->scanner, t->pattern, err);
    if (rc >= 0) rc = cache_grow(&e->whole, err);
    if (rc >= 0) {
        e->slots = mem_array(LONG_SLOTS, sizeof *e->slots);
        if (!e->slots) rc = err_nomem(err, LONG_SLOTS * sizeof *e->slots);
    }
    if (rc < 0) {
        encoder_free(e);
        return rc;
    }
    *ret = e;
    return 0;
}

void encoder_free(struct encoder *e) {
    if (!e) return;
    scanner_free(e->scanner);
    free(e->whole.line);
    free(e->part.line);
    free(e->wide);
    free(e->slots);
    buf_release(&e->text);
    u32s_release(&e->ids);
    u32s_release(&e->ends);
    for (int i = 0; i < 2; i++) free(e->segments[i].v);
    for (int i = 0; i < 2; i++) special_tree_release(&e->allowed[i]);
    buf_release(&e->prefixed);
    buf_release(&e->formed);
    u32s_release(&e->formed_places);
    bpe_scratch_release(&e->scratch);
    free(e);
}

int encoder_allow(struct encoder *e, const char *const *texts, size_t n, struct err *err) {
    const struct tokenizer *t = e->t;
    for (int i = 0; i < 2; i++) special_tree_release(&e->allowed[i]);
    for (size_t i = 0; i < n; i++) {
        uint32_t at = 0;
        while (at < t->n_specials && strcmp(t->specials[at].text, texts[i]) != 0) at++;
        if (at == t->n_specials)
            return err_set(err, ERR_USAGE, "\"%.60s\" is no special token of this vocabulary",
                           texts[i]);
        int rc = special_plant(t, e->allowed, at, err);
        if (rc < 0) return rc;
    }
    return 0;
}

void encoder_refuse_special(struct encoder *e, bool refuse) {
    e->refuse = refuse;
}

/* ------------------------------------------------------------------ long pieces */

static int long_store(struct encoder *e, struct long_slot *s, uint64_t hash, const uint8_t *p,
                      size_t n, const uint32_t *ids, size_t n_ids, struct err *err) {
    if (e->text.n + n > LONG_POOL || e->ids.n + n_ids > LONG_POOL) {
        memset(e->slots, 0, LONG_SLOTS * sizeof *e->slots);
        e->text.n = e->ids.n = 0;
    }
    *s = (struct long_slot){.hash = hash,
                            .at = (uint32_t)e->text.n,
                            .len = (uint32_t)n,
                            .ids = (uint32_t)e->ids.n,
                            .n_ids = (uint32_t)n_ids};
    int rc = buf_append(&e->text, p, n, err);
    if (rc >= 0) rc = u32s_append(&e->ids, ids, n_ids, err);
    if (rc < 0) s->len = 0;
    return rc;
}

static inline uint64_t load8(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* Where parts of p[0..n) end, from p[from] on: at seams, and at n. At most BATCH of them, to
 * `end`; returns how many. Not inside characters: parts would be many and short; and not within the
 * ASCII of a piece that goes in windows, where there are few. */
static inline size_t find_parts(const struct seams *s, const uint8_t *p, size_t n, size_t from,
                                uint32_t end[BATCH]) {
    const bool windows = n > LONG_BYTES;
    size_t parts = 0, at = from + 1;
    while (at < n && parts < BATCH) {
        uint64_t wide;
        if (p[at] < 0xc0) { /* ASCII, or inside a character */
            if (windows && n - at > 8 && !(load8(p + at) & 0x8080808080808080)) {
                at += 8;
                continue;
            }
            end[parts] = (uint32_t)at;
            parts += !windows && p[at] < 0x80 && !seams_joined(s, p[at - 1], p[at]);
            at++;
        } else if ((wide = seams_wide(p, n, at))) {
            end[parts] = (uint32_t)at;
            parts += seams_at_wide(s, wide, p, n, at);
            at += 3;
        } else {
            end[parts] = (uint32_t)at;
            parts += seams_at(s, p, n, at);
            at++;
        }
    }
    if (at >= n && parts < BATCH) end[parts++] = (uint32_t)n;
    return parts;
}

/* What merging makes of a part. */
static int part_new(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                    struct err *err) {
    return bpe_merge(e->t, &e->scratch, p, n, out, err);
}

static int piece_new(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                     struct err *err) {
    if (e->t->ignore_merges) {
        uint32_t whole = finder_get(&e->t->finder, e->t, p, n);
        if (whole != TOKENIZER_NO_ID) return u32s_push(out, whole, err);
        return bpe_merge_no_token(e->t, &e->scratch, p, n, out, err);
    }
    return bpe_merge(e->t, &e->scratch, p, n, out, err);
}

/* ------------------------------------------------------------------ short pieces */

/* Pieces on their way through their cache; longer ones come along, with a key that no slot has. */
struct batch {
    const uint8_t *p[BATCH];
    uint32_t n[BATCH];
    uint64_t low[BATCH], high[BATCH]; /* the keys */
    struct short_line *line[BATCH];
    size_t size;
};

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
    b->low[i] = load8(text) & load8(keep);
    b->high[i] = (load8(text + 8) & load8(keep + 8)) | (is_short ? (uint64_t)n << 56 : NO_KEY);
    b->line[i] = &c->line[line_of(c, b->low[i], b->high[i])];
    __builtin_prefetch(b->line[i]);
}

static __attribute__((noinline)) int wide_new(struct encoder *e, struct wide_char *c,
                                              const uint8_t *p, struct err *err) {
    struct u32s ids = {0};
    int rc = bpe_merge(e->t, &e->scratch, p, 3, &ids, err);
    if (rc >= 0) memcpy(c->id, ids.v, ids.n * sizeof *ids.v);
    if (rc >= 0) c->n = (uint32_t)ids.n;
    u32s_release(&ids);
    return rc;
}

static inline bool same_key(const struct short_slot *s, uint64_t low, uint64_t high) {
    return ((s->low ^ low) | (s->high ^ high) << 4) == 0;
}

/* Does it begin as scripts do that have no blanks between words? Such pieces seldom come twice. */
static inline bool is_sentence(const uint8_t *p, size_t n) {
    return p[*p == ' ' && n > 1] >= 0xe3;
}

static int piece_apart(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                       struct err *err);

/* Merges piece i, which is not in its line, and puts it there. */
static int miss(struct encoder *e, bool parts, const struct batch *b, size_t i, struct u32s *out,
                struct err *err) {
    struct short_cache *c = parts ? &e->part : &e->whole;
    size_t first = out->n;
    int rc = parts                           ? part_new(e, b->p[i], b->n[i], out, err)
             : is_sentence(b->p[i], b->n[i]) ? piece_apart(e, b->p[i], b->n[i], out, err)
                                             : piece_new(e, b->p[i], b->n[i], out, err);
    size_t n_ids = out->n - first;
    c->misses++;
    bool wide = n_ids > NARROW_IDS;
    /* The top byte of a wide line's last ids is a length of the second place: it has to be 0. */
    if (rc < 0 || n_ids > WIDE_IDS || (wide && e->t->n >> 24)) return rc;
    struct short_line *line = b->line[i];
    line->way[1] =
        wide || line->way[0].high >> 60 > NARROW_IDS ? (struct short_slot){0} : line->way[0];
    line->way[0] =
        (struct short_slot){.low = b->low[i], .high = b->high[i] | (uint64_t)n_ids << 60};
    memcpy((char *)line + offsetof(struct short_slot, id), out->v + first, n_ids * sizeof *out->v);
    return 0;
}

static int piece_long(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                      struct err *err);

enum { BATCH_ROOM = BATCH * WIDE_IDS };

/* Piece i of the batch, which is not in its line, or long; then makes room for the next ones. */
static __attribute__((noinline)) int piece_slow(struct encoder *e, bool parts,
                                                const struct batch *b, size_t i, struct u32s *out,
                                                struct err *err) {
    int rc = b->n[i] <= SHORT_BYTES ? miss(e, parts, b, i, out, err)
             : parts                ? part_new(e, b->p[i], b->n[i], out, err)
                                    : piece_long(e, b->p[i], b->n[i], out, err);
    return rc < 0 ? rc : u32s_reserve(out, BATCH_ROOM, err);
}

/* Appends the ids of all in the batch and empties it. Nothing but a miss is a branch: which of the
 * two places it is and how many ids cannot be foreseen. So WIDE_IDS are always copied, of which
 * those that are not the piece's are overwritten by the next. */
static inline int batch_take(struct encoder *e, struct batch *b, struct u32s *out,
                             struct err *err) {
    struct short_cache *c = &e->whole;
    int rc = u32s_reserve(out, BATCH_ROOM, err);
    uint32_t *to = out->v + out->n;
    for (size_t i = 0; i < b->size && rc >= 0; i++) {
        const struct short_line *line = b->line[i];
        uint64_t low = b->low[i], high = b->high[i];
        bool second = !same_key(&line->way[0], low, high);
        const struct short_slot *s = &line->way[second];
        if (__builtin_expect(!same_key(s, low, high), 0)) {
            out->n = (size_t)(to - out->v);
            rc = piece_slow(e, false, b, i, out, err);
            to = out->v + out->n;
            continue;
        }
        memcpy(to, s->id, sizeof s->id);
        memcpy(to + NARROW_IDS, &line->way[1], (WIDE_IDS - NARROW_IDS) * sizeof *to);
        to += s->high >> 60;
    }
    if (rc < 0) return rc;
    out->n = (size_t)(to - out->v);
    b->size = 0;
    return c->misses >> c->bits && c->bits < LINE_BITS_MAX ? cache_grow(c, err) : 0;
}

static int parts_begin(struct encoder *e, struct err *err) {
    e->wide = mem_array(1 << 16, sizeof *e->wide);
    if (!e->wide) return err_nomem(err, sizeof *e->wide << 16);
    return cache_grow(&e->part, err);
}

/* Parts on their way: what they become, as far as that is known. */
struct parts {
    size_t n;
    uint32_t end[BATCH];
    const uint32_t *ids[BATCH];
    uint32_t n_ids[BATCH];
    struct batch rest;    /* those that are no character of the table … */
    uint8_t which[BATCH]; /* … and which of the parts they are          */
};

/* Finds the characters of three bytes among the parts, of which the first begins at p[from]; the
 * others go to `rest`. */
static inline int parts_sort(struct encoder *e, struct parts *v, const uint8_t *p, size_t n,
                             size_t from, struct err *err) {
    static const uint8_t none[3];
    size_t others = 0;
    for (size_t i = 0; i < v->n; from = v->end[i++]) {
        bool three = v->end[i] - from == 3;
        const uint8_t *q = three ? p + from : none;
        bool is = ((q[0] & 0xf0) == 0xe0) & ((q[1] & 0xc0) == 0x80) & ((q[2] & 0xc0) == 0x80);
        struct wide_char *c = &e->wide[(q[0] & 15) << 12 | (q[1] & 63) << 6 | (q[2] & 63)];
        if (__builtin_expect(is & !c->n, 0)) {
            int rc = wide_new(e, c, q, err);
            if (rc < 0) return rc;
        }
        v->ids[i] = c->id;
        v->n_ids[i] = c->n;
        v->which[others] = (uint8_t)i;
        v->rest.n[others] = (uint32_t)from;
        others += !is;
    }
    v->rest.size = 0;
    for (size_t k = 0; k < others; k++) {
        from = v->rest.n[k];
        batch_add(&e->part, &v->rest, p + from, v->end[v->which[k]] - from, p + n);
    }
    return 0;
}

/* Appends the ids of parts i … to-1. */
static inline void parts_put(const struct parts *v, size_t i, size_t to, struct u32s *out) {
    uint32_t *o = out->v + out->n;
    for (; i < to; i++) {
        memcpy(o, v->ids[i], NARROW_IDS * sizeof *o);
        if (__builtin_expect(v->n_ids[i] > NARROW_IDS, 0))
            memcpy(o + NARROW_IDS, v->ids[i] + NARROW_IDS, (WIDE_IDS - NARROW_IDS) * sizeof *o);
        o += v->n_ids[i];
    }
    out->n = (size_t)(o - out->v);
}

/* Appends the ids of all parts. */
static inline int parts_take(struct encoder *e, struct parts *v, struct u32s *out,
                             struct err *err) {
    const struct batch *b = &v->rest;
    struct short_cache *c = &e->part;
    size_t done = 0;
    int rc = u32s_reserve(out, BATCH_ROOM, err);
    for (size_t k = 0; k < b->size && rc >= 0; k++) {
        size_t i = v->which[k];
        bool second = !same_key(&b->line[k]->way[0], b->low[k], b->high[k]);
        const struct short_slot *s = &b->line[k]->way[second];
        v->ids[i] = s->id;
        v->n_ids[i] = (uint32_t)(s->high >> 60);
        if (__builtin_expect(!same_key(s, b->low[k], b->high[k]), 0)) {
            parts_put(v, done, i, out); /* before lines change */
            rc = piece_slow(e, true, b, k, out, err);
            done = i + 1;
        }
    }
    if (rc < 0) return rc;
    parts_put(v, done, v->n, out);
    return c->misses >> c->bits && c->bits < LINE_BITS_MAX ? cache_grow(c, err) : 0;
}

/* A piece of its own kind: part by part, if it has seams. */
static int piece_apart(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                       struct err *err) {
    struct parts v;
    size_t from = 0;
    v.n = find_parts(&e->t->seams, p, n, 0, v.end);
    if (v.n == 1) return piece_new(e, p, n, out, err); /* a token has no seams */
    int rc = e->part.line ? 0 : parts_begin(e, err);
    while (rc >= 0) {
        rc = parts_sort(e, &v, p, n, from, err);
        if (rc >= 0) rc = parts_take(e, &v, out, err);
        from = v.end[v.n - 1];
        if (from == n) break;
        v.n = find_parts(&e->t->seams, p, n, from, v.end);
    }
    return rc;
}

static int piece_long(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                      struct err *err) {
    if (n > LONG_BYTES || is_sentence(p, n)) return piece_apart(e, p, n, out, err);
    uint64_t hash = vocab_hash(p, n);
    struct long_slot *s = &e->slots[hash & (LONG_SLOTS - 1)];
    if (s->hash == hash && s->len == n && memcmp(e->text.v + s->at, p, n) == 0)
        return u32s_append(out, e->ids.v + s->ids, s->n_ids, err);
    size_t first = out->n;
    int rc = piece_apart(e, p, n, out, err);
    return rc < 0 ? rc : long_store(e, s, hash, p, n, out->v + first, out->n - first, err);
}

int encode_piece(struct encoder *e, const char *p, size_t n, struct u32s *out, struct err *err) {
    const uint8_t *q = (const uint8_t *)p;
    struct batch b;
    b.size = 0;
    if (n == 0) return 0;
    batch_add(&e->whole, &b, q, n, q + n);
    return batch_take(e, &b, out, err);
}

int encode_pieces(struct encoder *e, const char *v, size_t n, size_t from, const uint32_t *end,
                  size_t n_ends, struct u32s *out, struct err *err) {
    const uint8_t *text = (const uint8_t *)v;
    struct batch b;
    b.size = 0;
    int rc = 0;
    for (size_t i = 0; i < n_ends && rc >= 0;) {
        for (size_t to = i + BATCH < n_ends ? i + BATCH : n_ends; i < to; from = end[i++])
            if (end[i] > from) batch_add(&e->whole, &b, text + from, end[i] - from, text + n);
        rc = batch_take(e, &b, out, err);
    }
    return rc;
}

/* ------------------------------------------------------------------ text */

/* Where the window that begins at `from` ends: at a place where every named pattern cuts. A user's
 * expression may look anywhere: it gets all. */
static size_t window_end(const struct encoder *e, const char *text, size_t from, size_t n) {
    if (!pattern_known(e->t->pattern)) return n;
    for (size_t to = from + WINDOW; to < n; to += WINDOW) {
        size_t at = scan_sure_end((const uint8_t *)text, to - WINDOW / 2, to);
        if (at > to - WINDOW / 2) return at;
    }
    return n;
}

/* Text without specials. */
static int span(struct encoder *e, const struct stretch *s, struct u32s *out, struct u32s *places,
                struct err *err) {
    const char *text = s->v;
    size_t n = s->n, first = out->n;
    bool prefixed = e->t->prefix_space && !e->inside && n && text[0] != ' ';
    int rc = 0;
    if (prefixed) {
        e->prefixed.n = 0;
        rc = buf_char(&e->prefixed, ' ', err);
        if (rc >= 0) rc = buf_append(&e->prefixed, text, n, err);
        if (rc < 0) return rc;
        text = e->prefixed.v;
        n++;
    }
    for (size_t from = 0, to; from < n && rc >= 0; from = to) {
        to = window_end(e, text, from, n);
        rc = scanner_cut(e->scanner, text + from, to - from, &e->ends, err);
        if (rc >= 0)
            rc = encode_pieces(e, text + from, to - from, 0, e->ends.v, e->ends.n, out, err);
    }
    if (rc < 0 || !places) return rc;
    return places_of_ids(e->t, s, prefixed, out->v + first, out->n - first, places, err);
}

/* Cuts a stretch at the specials of one pass: ids go out, what is between goes to the next. */
static int pass(struct encoder *e, const struct special_tree *tree, int number,
                const struct stretch *s, struct u32s *out, struct u32s *places, struct err *err);

/* What the first pass left: in the form that the normalizer gives it, to the second pass. */
static int between(struct encoder *e, const struct special_tree *tree, struct stretch s,
                   struct u32s *out, struct u32s *places, struct err *err) {
    if (e->t->nfc && !nfc_is(e->t->nfc, s.v, s.n)) {
        e->formed.n = e->formed_places.n = 0;
        int rc = nfc_write(e->t->nfc, s.v, s.n, &e->formed, places ? &e->formed_places : NULL, err);
        if (rc < 0) return rc;
        s.v = e->formed.v;
        s.n = e->formed.n;
        s.places = e->formed_places.v;
    }
    return tree ? pass(e, &tree[1], 1, &s, out, places, err) : span(e, &s, out, places, err);
}

static int pass(struct encoder *e, const struct special_tree *tree, int number,
                const struct stretch *s, struct u32s *out, struct u32s *places, struct err *err) {
    struct segments *cut = &e->segments[number];
    int rc = specials_cut(e->t, tree, s->v, s->n, cut, err);
    for (size_t i = 0; i < cut->n && rc >= 0; i++) {
        const struct segment *c = &cut->v[i];
        struct stretch part = stretch_part(s, c->start, c->end);
        if (c->id != TOKENIZER_NO_ID) {
            rc = u32s_push(out, c->id, err);
            if (rc >= 0 && places) rc = places_of_all(&part, places, err);
        } else {
            rc = number == 0 ? between(e, tree, part, out, places, err)
                             : span(e, &part, out, places, err);
        }
    }
    return rc;
}

const struct special_tree *encoder_specials(const struct encoder *e, enum tokenizer_special allow) {
    if (allow == TOKENIZER_SPECIAL_NONE || !e->t->n_specials) return NULL;
    return allow == TOKENIZER_SPECIAL_LIST ? e->allowed : e->t->tree;
}

int encode_places(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
                  struct u32s *out, struct u32s *places, struct err *err) {
    size_t first = out->n, first_place = places ? places->n : 0;
    struct stretch whole = {.v = text, .n = n};
    int rc = 0;
    if (n >= UINT32_MAX) return err_set(err, ERR_DATA, "a text of %zu bytes; 4 GiB is the most", n);
    if (n == 0) return 0;
    if (e->refuse && allow != TOKENIZER_SPECIAL_ALL) {
        rc = specials_refuse(e->t, allow == TOKENIZER_SPECIAL_LIST ? e->allowed : NULL, text, n,
                             err);
        if (rc < 0) return rc;
    }
    const struct special_tree *tree = encoder_specials(e, allow);
    rc = tree ? pass(e, tree, 0, &whole, out, places, err)
              : between(e, NULL, whole, out, places, err);
    if (rc < 0) out->n = first;
    if (rc < 0 && places) places->n = first_place;
    return rc;
}

int encode(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
           struct u32s *out, struct err *err) {
    return encode_places(e, text, n, allow, out, NULL, err);
}

int encode_rest(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
                struct u32s *out, struct u32s *places, struct err *err) {
    e->inside = true;
    int rc = encode_places(e, text, n, allow, out, places, err);
    e->inside = false;
    return rc;
}
