/* Pieces into ids: each is looked up in a cache, and merged (bpe.c) the first time it is seen.
 *
 *   short caches   of pieces up to 15 bytes, and of parts: see encode_cache.h
 *   long caches    of others up to LONG_BYTES: see there, too
 *
 * Pieces go in batches: the lines of a whole batch are asked for before the first is looked at, so
 * that memory answers them together. New ones wait for each other (encode_late.c) and are merged
 * side by side (bpe_many.c), for the same reason.
 *
 * A piece beyond LONG_BYTES, and a new one of more than 15 bytes or of a script without blanks, is
 * cut at its seams (seams.h), and the parts go through a short cache of their own: a sentence of
 * Chinese is one piece and seldom comes twice, but its words do. Most of its parts are single
 * characters, for which there is a table. Neither where a seam is nor which of both a part is can
 * be foreseen, so seams, then ids, are found for BATCH parts at once, without a branch. What has 16
 * bytes and more then, words of Russian and of Thai, goes by its longest tokens (bpe_longest.c) if
 * there has been much of it.
 *
 * Text of which the caches know little, and whose tokens are short, does without them as long as it
 * stays so: see encode_fresh.c. */
#include "tokenizer/bpe.h"
#include "tokenizer/encode_inside.h"

enum {
    LONG_BYTES = 512,
    ROOM = BATCH * BPE_MANY_BYTES,
};

/* Does it begin as scripts do that have no blanks between words? Such pieces seldom come twice. */
static inline bool is_sentence(const uint8_t *p, size_t n) {
    return p[*p == ' ' && n > 1] >= 0xe3;
}

/* ------------------------------------------------------------------ a new piece, alone */

/* By the longest tokens a token takes as long as some merges: worth it where tokens are long. What
 * that needs is made when merging has taken as long as making it will. */
enum { LONGEST_FROM = 16, LONG_TOKEN = 4, GAIN_MOST = 16, MERGED_FIRST = 4 << 20 };

/* Do pieces of n bytes go this way? */
static inline bool longest_may(size_t n) {
    return n >= LONGEST_FROM && n <= BPE_LONGEST_MOST;
}

void longest_note(struct encoder *e, size_t bytes, size_t ids) {
    int *gain = &e->by_longest.gain;
    if (!longest_may(bytes)) return;
    *gain += bytes >= LONG_TOKEN * ids ? *gain < GAIN_MOST : -(*gain > -GAIN_MOST);
}

/* 1: done; 0: to be merged; or a negative code. */
static int merge_longest(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                         struct err *err) {
    struct by_longest *b = &e->by_longest;
    size_t n_ids;
    int rc = 0;
    if (b->gain < 0) return 0;
    if (!b->table) {
        b->merged += n;
        if (b->merged < MERGED_FIRST) return 0;
        rc = vocab_longest(&b->table, e->t, err);
    }
    if (rc < 0 || !b->table || !b->table->of) return rc;
    rc = u32s_reserve(out, n, err);
    if (rc < 0) return rc;
    if (!bpe_merge_longest(e->t, b->table, p, n, out->v + out->n, &n_ids)) return 0;
    out->n += n_ids;
    return 1;
}

/* With no_token it is none of the finder's. */
static int merge(struct encoder *e, const uint8_t *p, size_t n, bool no_token, struct u32s *out,
                 struct err *err) {
    const size_t first = out->n;
    int rc = longest_may(n) ? merge_longest(e, p, n, out, err) : 0;
    if (rc == 0)
        rc = no_token ? bpe_merge_no_token(e->t, &e->scratch, p, n, out, err)
                      : bpe_merge(e->t, &e->scratch, p, n, out, err);
    if (rc >= 0) longest_note(e, n, out->n - first);
    return rc < 0 ? rc : 0;
}

int encode_new_piece(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                     struct err *err) {
    if (e->t->ignore_merges) {
        uint32_t whole = finder_get(&e->t->finder, e->t, p, n);
        if (whole != TOKENIZER_NO_ID) return u32s_push(out, whole, err);
    }
    return merge(e, p, n, e->t->ignore_merges, out, err);
}

/* Of a part nothing but the merges counts: it may not be a token by decree (ignore_merges). */
int encode_new_part(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                    struct err *err) {
    return merge(e, p, n, false, out, err);
}

/* Those of so many bytes are merged side by side unless they go by the longest tokens. */
static inline bool long_waits(struct encoder *e, size_t n) {
    struct by_longest *b = &e->by_longest;
    if (!e->many || n > BPE_MANY_BYTES) return false;
    if (b->gain < 0) return true;
    if (b->table || b->merged + n >= MERGED_FIRST) return false;
    b->merged += n;
    return true;
}

/* Appends the ids of a piece or part that its long cache has: 1; 0: it has not. */
static int long_known(struct long_cache *c, uint64_t hash, const uint8_t *p, size_t n,
                      struct u32s *out, struct err *err) {
    const struct long_slot *s = long_get(c, hash, p, n);
    if (!s) return 0;
    int rc = u32s_append(out, c->ids.v + s->ids, s->n_ids, err);
    return rc < 0 ? rc : 1;
}

/* Of what it has not, SHORT_BYTES < n <= LONG_BYTES, without seams: appends and stores its ids: 0;
 * or lets it wait, if it may: 1. */
static int long_new(struct encoder *e, bool part, bool may_wait, uint64_t hash, const uint8_t *p,
                    size_t n, struct u32s *out, struct err *err) {
    if (may_wait && long_waits(e, n)) {
        int rc = late_add_long(e, part ? LATE_PART : LATE_LONG, p, n, hash, out, err);
        return rc < 0 ? rc : 1;
    }
    const size_t first = out->n;
    int rc = part ? encode_new_part(e, p, n, out, err) : encode_new_piece(e, p, n, out, err);
    if (rc < 0) return rc;
    return long_store(part ? &e->long_parts : &e->longs, hash, p, n, out->v + first, out->n - first,
                      err);
}

/* Most words of Thai are parts of more than SHORT_BYTES, and come again. */
static int part_alone(struct encoder *e, bool may_wait, const uint8_t *p, size_t n,
                      struct u32s *out, struct err *err) {
    if (n <= SHORT_BYTES || n > LONG_BYTES) return encode_new_part(e, p, n, out, err);
    const uint64_t hash = vocab_hash(p, n);
    int rc = long_known(&e->long_parts, hash, p, n, out, err);
    if (rc == 0) rc = long_new(e, true, may_wait, hash, p, n, out, err);
    return rc < 0 ? rc : 0;
}

/* ------------------------------------------------------------------ parts of a piece */

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
            if (windows && n - at > 8 && !(short_load8(p + at) & 0x8080808080808080)) {
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

/* What parts become, in their order, as far as it is known; which[i]: where part i of a batch
 * stands here. */
struct answers {
    const uint32_t *ids[BATCH];
    uint32_t n_ids[BATCH];
    uint8_t which[BATCH];
};

/* Parts on their way. */
struct parts {
    size_t n;
    uint32_t end[BATCH];
    struct answers a;
    struct batch rest; /* those that are no character of the table */
    bool stored;       /* the piece is, as a whole: no part of it can wait */
};

static __attribute__((noinline)) int wide_new(struct encoder *e, struct wide_char *c,
                                              const uint8_t *p, struct err *err) {
    struct u32s ids = {0};
    int rc = bpe_merge(e->t, &e->scratch, p, 3, &ids, err);
    if (rc >= 0) memcpy(c->id, ids.v, ids.n * sizeof *ids.v);
    if (rc >= 0) c->n = (uint32_t)ids.n;
    u32s_release(&ids);
    return rc;
}

static int parts_begin(struct encoder *e, struct err *err) {
    e->wide = mem_array(1 << 16, sizeof *e->wide);
    if (!e->wide) return err_nomem(err, sizeof *e->wide << 16);
    return short_cache_grow(&e->part, err);
}

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
        v->a.ids[i] = c->id;
        v->a.n_ids[i] = c->n;
        v->a.which[others] = (uint8_t)i;
        v->rest.n[others] = (uint32_t)from;
        others += !is;
    }
    v->rest.size = 0;
    for (size_t k = 0; k < others; k++) {
        from = v->rest.n[k];
        batch_add(&e->part, &v->rest, p + from, v->end[v->a.which[k]] - from, p + n);
    }
    return 0;
}

/* Appends ids[from] … ids[to-1]. NARROW_IDS are always copied: those that are too many are
 * overwritten by the next. */
static inline void answers_put(const struct answers *a, size_t from, size_t to, struct u32s *out) {
    uint32_t *o = out->v + out->n;
    for (size_t i = from; i < to; i++) {
        memcpy(o, a->ids[i], NARROW_IDS * sizeof *o);
        if (__builtin_expect(a->n_ids[i] > NARROW_IDS, 0)) {
            memcpy(o + NARROW_IDS, a->ids[i] + NARROW_IDS, (WIDE_IDS - NARROW_IDS) * sizeof *o);
            if (a->n_ids[i] > WIDE_IDS) /* no line's */
                memcpy(o + WIDE_IDS, a->ids[i] + WIDE_IDS, (SHORT_BYTES - WIDE_IDS) * sizeof *o);
        }
        o += a->n_ids[i];
    }
    out->n = (size_t)(o - out->v);
}

/* Appends the ids of part i, which is not in its line, and puts them there. */
static __attribute__((noinline)) int part_one(struct encoder *e, const struct parts *v, size_t i,
                                              struct u32s *out, struct err *err) {
    const struct batch *b = &v->rest;
    const size_t first = out->n;
    int rc = part_alone(e, !v->stored, b->p[i], b->n[i], out, err);
    if (rc < 0) return rc;
    if (b->n[i] <= SHORT_BYTES) {
        e->part.misses++;
        e->part.lately++;
        batch_store(b, i, out->v + first, out->n - first, e->t->n);
    }
    return u32s_reserve(out, ROOM, err);
}

/* Appends the ids of all parts, new ones one by one. */
static inline int parts_each(struct encoder *e, struct parts *v, struct u32s *out,
                             struct err *err) {
    const struct batch *b = &v->rest;
    struct answers *a = &v->a;
    size_t done = 0;
    int rc = u32s_reserve(out, ROOM, err);
    e->part.lately = 0;
    for (size_t k = 0; k < b->size && rc >= 0; k++) {
        size_t i = a->which[k];
        bool is;
        const struct short_slot *s = batch_slot(b, k, &is);
        a->ids[i] = s->id;
        a->n_ids[i] = (uint32_t)short_ids(s);
        if (__builtin_expect(!is, 0)) {
            answers_put(a, done, i, out); /* before lines change */
            rc = part_one(e, v, k, out, err);
            done = i + 1;
        }
    }
    if (rc >= 0) answers_put(a, done, v->n, out);
    return rc;
}

/* The parts of a batch that no line has. */
struct news {
    size_t n, n_alone;
    uint8_t part[BATCH];             /* those that are merged side by side … */
    struct bpe_short_ids ids[BATCH]; /* … and what they become               */
    uint8_t alone[BATCH];            /* the longer ones                      */
};

static void merge_new(struct encoder *e, const struct batch *b, struct news *new,
                      struct answers *a) {
    struct bpe_short part[BATCH];
    uint8_t where[BATCH];
    for (size_t k = 0; k < new->n; k++) {
        size_t i = new->part[k];
        memcpy(part[k].text, &b->low[i], 8); /* the keys are the text */
        memcpy(part[k].text + 8, &b->high[i], 8);
        part[k].n = b->n[i];
        where[k] = (uint8_t)k;
    }
    e->many(e->t, part, new->n, new->ids, where);
    for (size_t k = 0; k < new->n; k++) {
        size_t here = a->which[new->part[k]];
        a->ids[here] = new->ids[k].id;
        a->n_ids[here] = new->ids[k].n;
    }
}

/* Looks up the parts, and merges what can be merged side by side. Which of the two places of a line
 * it is cannot be foreseen, nor, in text never seen before, whether it is one. */
static void batch_find(struct encoder *e, const struct batch *b, struct answers *a,
                       struct news *new) {
    uint8_t missing[BATCH];
    size_t n_missing = 0;
    for (size_t i = 0; i < b->size; i++) {
        bool is;
        const struct short_slot *s = batch_slot(b, i, &is);
        a->ids[a->which[i]] = s->id;
        a->n_ids[a->which[i]] = (uint32_t)short_ids(s);
        missing[n_missing] = (uint8_t)i;
        n_missing += !is;
    }
    new->n = new->n_alone = 0;
    for (size_t k = 0; k < n_missing; k++) {
        size_t i = missing[k];
        bool along = b->n[i] <= SHORT_BYTES;
        new->part[new->n] = new->alone[new->n_alone] = (uint8_t)i;
        new->n += along;
        new->n_alone += !along;
    }
    if (new->n) merge_new(e, b, new, a);
}

/* Once all ids have been appended: lines change. */
static void news_store(struct encoder *e, const struct batch *b, const struct news *new) {
    struct short_cache *c = &e->part;
    for (size_t k = 0; k < new->n; k++)
        batch_store(b, new->part[k], new->ids[k].id, new->ids[k].n, e->t->n);
    c->lately = new->n;
    c->misses += new->n;
}

/* Appends the ids of all parts, new ones side by side. */
static __attribute__((noinline)) int parts_many(struct encoder *e, struct parts *v,
                                                struct u32s *out, struct err *err) {
    const struct batch *b = &v->rest;
    struct answers *a = &v->a;
    struct news new;
    size_t done = 0;
    batch_find(e, b, a, &new);
    int rc = u32s_reserve(out, ROOM, err);
    for (size_t k = 0; rc >= 0 && k < new.n_alone; k++) {
        size_t i = new.alone[k], here = a->which[i];
        answers_put(a, done, here, out);
        done = here + 1;
        rc = part_alone(e, !v->stored, b->p[i], b->n[i], out, err);
        if (rc >= 0) rc = u32s_reserve(out, ROOM, err);
    }
    if (rc < 0) return rc;
    answers_put(a, done, v->n, out);
    news_store(e, b, &new);
    return 0;
}

/* Appends the ids of all parts. */
static inline int parts_take(struct encoder *e, struct parts *v, struct u32s *out,
                             struct err *err) {
    struct short_cache *c = &e->part;
    int rc = e->many && c->lately >= FEW ? parts_many(e, v, out, err) : parts_each(e, v, out, err);
    if (rc < 0) return rc;
    return short_cache_full(c) ? short_cache_grow(c, err) : 0;
}

/* Appends the ids of a piece part by part, of which *v has the first. */
static int parts_all(struct encoder *e, struct parts *v, const uint8_t *p, size_t n,
                     struct u32s *out, struct err *err) {
    size_t from = 0;
    int rc = e->part.line ? 0 : parts_begin(e, err);
    while (rc >= 0) {
        rc = parts_sort(e, v, p, n, from, err);
        if (rc >= 0) rc = parts_take(e, v, out, err);
        from = v->end[v->n - 1];
        if (from == n) break;
        v->n = find_parts(&e->t->seams, p, n, from, v->end);
    }
    return rc;
}

/* ------------------------------------------------------------------ pieces alone */

/* Which no short cache has. What has no seams is merged, as a token has none; it may wait. (If some
 * that waited come meanwhile, `fresh` counts their ids twice.) */
static int piece_long(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                      struct err *err) {
    struct parts v;
    v.stored = n <= LONG_BYTES && !is_sentence(p, n);
    uint64_t hash = v.stored ? vocab_hash(p, n) : 0;
    int rc = v.stored ? long_known(&e->longs, hash, p, n, out, err) : 0;
    if (rc != 0) return rc;
    const size_t first = out->n;
    v.n = find_parts(&e->t->seams, p, n, 0, v.end);
    if (v.n > 1) {
        rc = parts_all(e, &v, p, n, out, err);
        if (rc >= 0 && v.stored)
            rc = long_store(&e->longs, hash, p, n, out->v + first, out->n - first, err);
    } else if (n > LONG_BYTES) {
        rc = encode_new_piece(e, p, n, out, err);
    } else {
        if (!v.stored) {
            hash = vocab_hash(p, n);
            rc = long_known(&e->longs, hash, p, n, out, err);
        }
        if (rc == 0) rc = long_new(e, false, true, hash, p, n, out, err);
        if (rc != 0) return rc;
    }
    fresh_piece(&e->fresh, n, out->n - first);
    return rc;
}

/* A short piece that cannot wait. */
static int piece_short(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                       struct err *err) {
    struct parts v;
    const size_t first = out->n;
    v.stored = true;
    v.n = is_sentence(p, n) ? find_parts(&e->t->seams, p, n, 0, v.end) : 1;
    int rc = v.n > 1 ? parts_all(e, &v, p, n, out, err) : encode_new_piece(e, p, n, out, err);
    fresh_piece(&e->fresh, n, out->n - first);
    return rc;
}

/* ------------------------------------------------------------------ batches */

/* Piece i is not in its line: appends its ids, or lets it wait. */
static __attribute__((noinline)) int batch_miss(struct encoder *e, const struct batch *b, size_t i,
                                                struct u32s *out, struct err *err) {
    const uint8_t *p = b->p[i];
    const size_t n = b->n[i], first = out->n;
    int rc;
    if (n > SHORT_BYTES) {
        rc = piece_long(e, p, n, out, err);
    } else if (e->many && !is_sentence(p, n)) {
        rc = late_add(e, b, i, out, err);
    } else {
        rc = piece_short(e, p, n, out, err);
        if (rc >= 0) batch_store(b, i, out->v + first, out->n - first, e->t->n);
        e->whole.misses++;
    }
    return rc < 0 ? rc : u32s_reserve(out, ROOM, err);
}

/* Lines move: none may have pieces that wait. */
static __attribute__((noinline)) int whole_grow(struct encoder *e, struct u32s *out,
                                                struct err *err) {
    int rc = late_take(e, out, err);
    return rc < 0 ? rc : short_cache_grow(&e->whole, err);
}

/* Appends the ids of all in the batch and empties it. Nothing but a miss is a branch: which of the
 * two places it is and how many ids cannot be foreseen. So WIDE_IDS are always copied, of which
 * those that are not the piece's are overwritten by the next. */
static inline int batch_take(struct encoder *e, struct batch *b, struct u32s *out,
                             struct err *err) {
    int rc = u32s_reserve(out, ROOM, err);
    if (rc < 0) return rc;
    uint32_t *to = out->v + out->n;
    for (size_t i = 0; i < b->size; i++) {
        bool is;
        const struct short_slot *s = batch_slot(b, i, &is);
        if (__builtin_expect(!is, 0)) {
            out->n = (size_t)(to - out->v);
            rc = batch_miss(e, b, i, out, err);
            if (rc < 0) return rc;
            to = out->v + out->n;
            continue;
        }
        memcpy(to, s->id, sizeof s->id);
        memcpy(to + NARROW_IDS, &b->line[i]->way[1], (WIDE_IDS - NARROW_IDS) * sizeof *to);
        to += short_ids(s);
    }
    out->n = (size_t)(to - out->v);
    b->size = 0;
    return short_cache_full(&e->whole) ? whole_grow(e, out, err) : 0;
}

/* Nothing waits any more. */
static int late_end(struct encoder *e, int rc, struct u32s *out, struct err *err) {
    if (rc >= 0) rc = late_take(e, out, err);
    if (rc < 0) late_drop(e);
    return rc;
}

int encode_piece(struct encoder *e, const char *p, size_t n, struct u32s *out, struct err *err) {
    const uint8_t *q = (const uint8_t *)p;
    struct batch b;
    b.size = 0;
    if (n == 0) return 0;
    batch_add(&e->whole, &b, q, n, q + n);
    return late_end(e, batch_take(e, &b, out, err), out, err);
}

int encode_pieces(struct encoder *e, const char *v, size_t n, size_t from, const uint32_t *end,
                  size_t n_ends, struct u32s *out, struct err *err) {
    const uint8_t *text = (const uint8_t *)v;
    struct batch b;
    b.size = 0;
    int rc = 0;
    for (size_t i = 0; i < n_ends && rc >= 0;) {
        if (__builtin_expect(fresh_is(&e->fresh), 0))
            rc = fresh_take(e, text, &from, end, n_ends, &i, out, err);
        if (rc < 0 || i == n_ends) break;
        const size_t first = from, some = n_ends - i < BATCH ? n_ends - i : BATCH;
        e->fill(&e->whole, &b, text, n, from, end + i, some);
        i += some;
        from = end[i - 1];
        rc = batch_take(e, &b, out, err);
        if (rc >= 0 && fresh_is(&e->fresh)) rc = late_take(e, out, err); /* still so? */
        fresh_note(&e->fresh, from - first);
    }
    return late_end(e, rc, out, err);
}
