/* Pieces into ids: each is looked up in a cache, and merged (bpe.c) the first time it is seen.
 *
 *   short caches   of pieces up to 15 bytes, and of parts: see encode_cache.h
 *   long cache     of other pieces up to LONG_BYTES: see there, too
 *
 * Pieces go in batches: the lines of a whole batch are asked for before the first is looked at, so
 * that memory answers them together. In text never seen before most of a batch are new: then those
 * are merged side by side (bpe_many.c), for the same reason.
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
    FEW = 3, /* new pieces of a batch that are not worth it side by side */
    ROOM = BATCH * BPE_MANY_BYTES,
};
_Static_assert((int)BATCH <= BPE_MANY && (int)BATCH <= FINDER_MANY &&
                   (int)SHORT_BYTES <= BPE_MANY_BYTES,
               "a batch is merged at once");

static int piece_apart(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                       struct err *err);
static int piece_long(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                      struct err *err);

/* Does it begin as scripts do that have no blanks between words? Such pieces seldom come twice. */
static inline bool is_sentence(const uint8_t *p, size_t n) {
    return p[*p == ' ' && n > 1] >= 0xe3;
}

/* ------------------------------------------------------------------ a new piece, alone */

/* By the longest tokens a token takes as long as some merges: worth it where tokens are long. What
 * that needs is made when merging has taken as long as making it will. */
enum { LONGEST_FROM = 16, LONG_TOKEN = 4, GAIN_MOST = 16, MERGED_FIRST = 4 << 20 };

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
    const bool may = n >= LONGEST_FROM && n <= BPE_LONGEST_MOST;
    const size_t first = out->n;
    int rc = may ? merge_longest(e, p, n, out, err) : 0;
    if (rc == 0)
        rc = no_token ? bpe_merge_no_token(e->t, &e->scratch, p, n, out, err)
                      : bpe_merge(e->t, &e->scratch, p, n, out, err);
    if (rc < 0 || !may) return rc;
    int *gain = &e->by_longest.gain;
    bool is = n >= LONG_TOKEN * (out->n - first);
    *gain += is ? *gain < GAIN_MOST : -(*gain > -GAIN_MOST);
    return 0;
}

static int piece_new(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                     struct err *err) {
    if (e->t->ignore_merges) {
        uint32_t whole = finder_get(&e->t->finder, e->t, p, n);
        if (whole != TOKENIZER_NO_ID) return u32s_push(out, whole, err);
    }
    return merge(e, p, n, e->t->ignore_merges, out, err);
}

/* Of a part nothing but the merges counts: it may not be a token by decree (ignore_merges). */
static int piece_alone(struct encoder *e, bool parts, const uint8_t *p, size_t n, struct u32s *out,
                       struct err *err) {
    if (parts) return merge(e, p, n, false, out, err);
    if (n > SHORT_BYTES) return piece_long(e, p, n, out, err);
    const size_t first = out->n;
    int rc = is_sentence(p, n) ? piece_apart(e, p, n, out, err) : piece_new(e, p, n, out, err);
    fresh_piece(&e->fresh, n, out->n - first);
    return rc;
}

/* Can piece i be merged beside others? */
static inline bool goes_along(bool parts, const struct batch *b, size_t i) {
    return (b->n[i] <= SHORT_BYTES) & (parts | !is_sentence(b->p[i], b->n[i]));
}

/* Appends the ids of piece i, which is not in its line, and puts them there. */
static __attribute__((noinline)) int batch_one(struct encoder *e, bool parts, const struct batch *b,
                                               size_t i, struct u32s *out, struct err *err) {
    struct short_cache *c = parts ? &e->part : &e->whole;
    size_t first = out->n;
    int rc = piece_alone(e, parts, b->p[i], b->n[i], out, err);
    if (rc < 0) return rc;
    if (b->n[i] <= SHORT_BYTES) {
        c->misses++;
        c->lately += goes_along(parts, b, i);
        batch_store(b, i, out->v + first, out->n - first, e->t->n);
    }
    return u32s_reserve(out, ROOM, err);
}

/* ------------------------------------------------------------------ many new ones, side by side */

/* What pieces or parts become, in their order, as far as it is known; which[i]: where piece i of a
 * batch stands here. */
struct answers {
    const uint32_t *ids[BATCH];
    uint32_t n_ids[BATCH];
    uint8_t which[BATCH];
};

/* The pieces of a batch that no line has. */
struct news {
    size_t n, n_alone;
    uint8_t piece[BATCH];             /* those that are merged side by side … */
    struct bpe_short_ids ids[BATCH];  /* … and what they become               */
    uint8_t alone[BATCH];             /* the others …                         */
    size_t from[BATCH], n_ids[BATCH]; /* … and where their ids came to lie    */
};

/* Appends ids[from] … ids[to-1]. NARROW_IDS are always copied: those that are too many are
 * overwritten by the next. */
static inline void answers_put(const struct answers *a, size_t from, size_t to, struct u32s *out) {
    uint32_t *o = out->v + out->n;
    for (size_t i = from; i < to; i++) {
        memcpy(o, a->ids[i], NARROW_IDS * sizeof *o);
        if (__builtin_expect(a->n_ids[i] > NARROW_IDS, 0)) {
            memcpy(o + NARROW_IDS, a->ids[i] + NARROW_IDS, (WIDE_IDS - NARROW_IDS) * sizeof *o);
            if (a->n_ids[i] > WIDE_IDS) /* no line's */
                memcpy(o + WIDE_IDS, a->ids[i] + WIDE_IDS, (BPE_MANY_BYTES - WIDE_IDS) * sizeof *o);
        }
        o += a->n_ids[i];
    }
    out->n = (size_t)(o - out->v);
}

/* Which of the new pieces are tokens as they stand, whatever the merges say; returns how many are
 * not, and which of the new ones they are. */
static size_t whole_tokens(const struct encoder *e, const struct batch *b, struct news *new,
                           uint8_t left[BATCH]) {
    const uint8_t *p[BATCH];
    uint32_t n[BATCH], id[BATCH];
    size_t n_left = 0;
    for (size_t k = 0; k < new->n; k++) {
        p[k] = b->p[new->piece[k]];
        n[k] = b->n[new->piece[k]];
    }
    finder_get_many(&e->t->finder, e->t, p, n, new->n, id);
    for (size_t k = 0; k < new->n; k++) {
        new->ids[k].id[0] = id[k];
        new->ids[k].n = 1;
        left[n_left] = (uint8_t)k;
        n_left += id[k] == TOKENIZER_NO_ID;
    }
    return n_left;
}

static void merge_new(struct encoder *e, bool parts, const struct batch *b, struct news *new,
                      struct answers *a) {
    struct bpe_short piece[BATCH];
    uint8_t left[BATCH];
    const bool find = !parts && e->t->ignore_merges && !e->t->all_made;
    size_t n = find ? whole_tokens(e, b, new, left) : new->n;
    for (size_t m = 0; m < n; m++) {
        if (!find) left[m] = (uint8_t)m;
        size_t i = new->piece[left[m]];
        memcpy(piece[m].text, &b->low[i], 8); /* the keys are the text */
        memcpy(piece[m].text + 8, &b->high[i], 8);
        piece[m].n = b->n[i];
    }
    e->many(e->t, piece, n, new->ids, left);
    for (size_t k = 0; k < new->n; k++) {
        size_t here = a->which[new->piece[k]];
        a->ids[here] = new->ids[k].id;
        a->n_ids[here] = new->ids[k].n;
        if (!parts) fresh_piece(&e->fresh, b->n[new->piece[k]], new->ids[k].n);
    }
}

/* Looks up the pieces from `from` on, and merges what can be merged side by side. Which of the two
 * places of a line it is cannot be foreseen, nor, in text never seen before, whether it is one. */
static void batch_find(struct encoder *e, bool parts, const struct batch *b, size_t from,
                       struct answers *a, struct news *new) {
    uint8_t missing[BATCH];
    size_t n_missing = 0;
    for (size_t i = from; i < b->size; i++) {
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
        bool along = goes_along(parts, b, i);
        new->piece[new->n] = new->alone[new->n_alone] = (uint8_t)i;
        new->n += along;
        new->n_alone += !along;
    }
    if (new->n) merge_new(e, parts, b, new, a);
}

/* Once all ids have been appended: lines change. */
static void news_store(struct encoder *e, bool parts, const struct batch *b, const struct news *new,
                       const struct u32s *out) {
    struct short_cache *c = parts ? &e->part : &e->whole;
    for (size_t k = 0; k < new->n; k++)
        batch_store(b, new->piece[k], new->ids[k].id, new->ids[k].n, e->t->n);
    c->lately = new->n;
    c->misses += new->n;
    for (size_t k = 0; k < new->n_alone; k++) {
        if (b->n[new->alone[k]] > SHORT_BYTES) continue;
        batch_store(b, new->alone[k], out->v + new->from[k], new->n_ids[k], e->t->n);
        c->misses++;
    }
}

/* Appends the ids of answers from … to-1, which are those of the pieces from `first` on. */
static __attribute__((noinline)) int batch_many(struct encoder *e, bool parts,
                                                const struct batch *b, size_t first,
                                                struct answers *a, size_t from, size_t to,
                                                struct u32s *out, struct err *err) {
    struct news new;
    batch_find(e, parts, b, first, a, &new);
    int rc = u32s_reserve(out, ROOM, err);
    for (size_t k = 0; rc >= 0 && k < new.n_alone; k++) {
        size_t i = new.alone[k], here = a->which[i];
        answers_put(a, from, here, out);
        from = here + 1;
        new.from[k] = out->n;
        rc = piece_alone(e, parts, b->p[i], b->n[i], out, err);
        new.n_ids[k] = out->n - new.from[k];
        if (rc >= 0) rc = u32s_reserve(out, ROOM, err);
    }
    if (rc < 0) return rc;
    answers_put(a, from, to, out);
    news_store(e, parts, b, &new, out);
    return 0;
}

/* ------------------------------------------------------------------ batches */

/* Appends the ids of all from piece `from` on. */
static __attribute__((noinline)) int batch_rest(struct encoder *e, const struct batch *b,
                                                size_t from, struct u32s *out, struct err *err) {
    struct answers a;
    for (size_t i = 0; i < BATCH; i++) a.which[i] = (uint8_t)i;
    return batch_many(e, false, b, from, &a, from, b->size, out, err);
}

/* Appends the ids of all in the batch and empties it. Nothing but a miss is a branch: which of the
 * two places it is and how many ids cannot be foreseen. So WIDE_IDS are always copied, of which
 * those that are not the piece's are overwritten by the next. */
static inline int batch_take(struct encoder *e, struct batch *b, struct u32s *out,
                             struct err *err) {
    struct short_cache *c = &e->whole;
    const bool many = e->many && c->lately >= FEW;
    int rc = u32s_reserve(out, ROOM, err);
    if (rc < 0) return rc;
    c->lately = 0;
    uint32_t *to = out->v + out->n;
    for (size_t i = 0; i < b->size; i++) {
        bool is;
        const struct short_slot *s = batch_slot(b, i, &is);
        if (__builtin_expect(!is, 0)) {
            out->n = (size_t)(to - out->v);
            rc = many ? batch_rest(e, b, i, out, err) : batch_one(e, false, b, i, out, err);
            if (rc < 0) return rc;
            to = out->v + out->n;
            if (many) break;
            continue;
        }
        memcpy(to, s->id, sizeof s->id);
        memcpy(to + NARROW_IDS, &b->line[i]->way[1], (WIDE_IDS - NARROW_IDS) * sizeof *to);
        to += short_ids(s);
    }
    out->n = (size_t)(to - out->v);
    b->size = 0;
    return short_cache_full(c) ? short_cache_grow(c, err) : 0;
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

/* Parts on their way. */
struct parts {
    size_t n;
    uint32_t end[BATCH];
    struct answers a;
    struct batch rest; /* those that are no character of the table */
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
            rc = batch_one(e, true, b, k, out, err);
            done = i + 1;
        }
    }
    if (rc >= 0) answers_put(a, done, v->n, out);
    return rc;
}

/* Appends the ids of all parts. */
static inline int parts_take(struct encoder *e, struct parts *v, struct u32s *out,
                             struct err *err) {
    struct short_cache *c = &e->part;
    int rc = e->many && c->lately >= FEW
                 ? batch_many(e, true, &v->rest, 0, &v->a, 0, v->n, out, err)
                 : parts_each(e, v, out, err);
    if (rc < 0) return rc;
    return short_cache_full(c) ? short_cache_grow(c, err) : 0;
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

/* ------------------------------------------------------------------ long pieces */

static int piece_long(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                      struct err *err) {
    const bool stored = n <= LONG_BYTES && !is_sentence(p, n);
    const uint64_t hash = stored ? vocab_hash(p, n) : 0;
    const struct long_slot *s = stored ? long_get(&e->longs, hash, p, n) : NULL;
    if (s) return u32s_append(out, e->longs.ids.v + s->ids, s->n_ids, err);
    const size_t first = out->n;
    int rc = piece_apart(e, p, n, out, err);
    fresh_piece(&e->fresh, n, out->n - first);
    if (rc < 0 || !stored) return rc;
    return long_store(&e->longs, hash, p, n, out->v + first, out->n - first, err);
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
        if (__builtin_expect(fresh_is(&e->fresh), 0))
            rc = fresh_take(e, text, &from, end, n_ends, &i, out, err);
        if (rc < 0 || i == n_ends) return rc;
        const size_t first = from;
        for (size_t to = i + BATCH < n_ends ? i + BATCH : n_ends; i < to; from = end[i++])
            if (end[i] > from) batch_add(&e->whole, &b, text + from, end[i] - from, text + n);
        rc = batch_take(e, &b, out, err);
        fresh_note(&e->fresh, from - first);
    }
    return rc;
}
