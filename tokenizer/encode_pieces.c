/* Pieces into ids: each is looked up in a cache (encode_cache.h), and merged (bpe.c) the first time
 * it is seen.
 *
 * Pieces go in batches: the lines of a whole batch are asked for before the first is looked at, so
 * that memory answers them together. New ones wait for each other (encode_late.c) and are merged
 * side by side (bpe_many.c), for the same reason.
 *
 * A piece beyond LONG_BYTES, and a new one of more than 15 bytes or of a script without blanks,
 * goes part by part (encode_parts.c), what has none alone (encode_new.c).
 *
 * Text of which the caches know little, and whose tokens are short, does without them as long as it
 * stays so: see encode_fresh.c. */
#include "tokenizer/encode_inside.h"

/* Without a blank at its beginning. */
static inline const uint8_t *behind_blank(const uint8_t *p, size_t *n) {
    const size_t blank = *p == ' ' && *n > 1;
    *n -= blank;
    return p + blank;
}

/* Short pieces that come again, of scripts whose others seldom do: words of Korean, of scripts that
 * some patterns cut at every mark, and what begins with an emoji or with U+FFFD. */
static inline bool is_word(const uint8_t *p, size_t n) {
    if (n > SHORT_BYTES) return false;
    p = behind_blank(p, &n);
    return (*p >= 0xea && *p <= 0xed) || *p >= 0xf0 || (*p == 0xef && n > 1 && p[1] == 0xbf) ||
           seams_unspaced(p, n);
}

/* Does it begin as scripts do that have no blanks between words? Such pieces seldom come twice. */
static inline bool is_sentence(const uint8_t *p, size_t n) {
    const bool word = is_word(p, n);
    p = behind_blank(p, &n);
    return !word && (*p >= 0xe3 || seams_unspaced(p, n));
}

/* Are such pieces stored as a whole, though they are not short? */
static inline bool is_long(const uint8_t *p, size_t n) {
    return n > SHORT_BYTES && n <= LONG_BYTES && !is_sentence(p, n);
}

/* Ids that are known so far, wherever those go that wait. */
static inline size_t known(const struct encoder *e, const struct u32s *out) {
    return out->n - e->late.put;
}

/* ------------------------------------------------------------------ pieces alone */

/* How many sentences go side by side from piece i of a batch on, which is one. */
static size_t count_sentences(const struct encoder *e, const struct batch *b, size_t i) {
    size_t k = i + 1;
    if (e->t->ignore_merges && !e->t->all_made) return 1;
    while (k < b->size && is_sentence(b->p[k], b->n[k])) k++;
    return k - i;
}

/* Piece i became the ids from `first` on. */
static void store_short(struct encoder *e, const struct batch *b, size_t i, size_t first,
                        const struct u32s *out) {
    batch_store(b, i, out->v + first, out->n - first, e->t->n);
    e->whole.shorts.misses++;
}

/* Pieces i ... i+n-1 part by part: 1; 0: it is one and has no seams. One that may come again is
 * stored as a whole when its parts are all known. `hash`: of one that is_long(). */
static int by_parts(struct encoder *e, const struct batch *b, size_t i, size_t n, uint64_t hash,
                    struct u32s *out, struct err *err) {
    const uint8_t *p = b->p[i];
    const size_t first = out->n, before = known(e, out), len = b->n[i];
    const size_t bytes = (size_t)(b->p[i + n - 1] - p) + b->n[i + n - 1];
    bool wait;
    int rc = encode_parts(e, p, bytes, b->n + i, n, &wait, out, err);
    if (rc <= 0) return rc;
    fresh_count(&e->fresh, bytes, known(e, out) - before, 0);
    rc = 0;
    if (!wait && n == 1 && len <= SHORT_BYTES) store_short(e, b, i, first, out);
    if (!wait && n == 1 && is_long(p, len))
        rc = caches_store(&e->whole, hash, p, len, out->v + first, out->n - first, err);
    return rc < 0 ? rc : 1;
}

/* Piece i, of SHORT_BYTES < n <= LONG_BYTES bytes without seams. It may wait. */
static int whole_long(struct encoder *e, const struct batch *b, size_t i, uint64_t hash,
                      struct u32s *out, struct err *err) {
    const uint8_t *p = b->p[i];
    const size_t n = b->n[i], first = out->n;
    int rc = 0;
    if (is_sentence(p, n)) rc = encode_long_known(&e->whole, b, i, false, &hash, out, err);
    if (rc != 0) return rc;
    rc = encode_long_new(e, LATE_PIECE, hash, p, n, out, err);
    if (rc == 0) fresh_count(&e->fresh, n, out->n - first, n);
    return rc;
}

/* Piece i, which is merged as a whole: it is short, or has no seams. It may wait. */
static int whole(struct encoder *e, const struct batch *b, size_t i, uint64_t hash,
                 struct u32s *out, struct err *err) {
    const uint8_t *p = b->p[i];
    const size_t n = b->n[i], first = out->n;
    if (n <= SHORT_BYTES && e->many) return late_add(e, LATE_PIECE, b, i, out, err);
    if (n > SHORT_BYTES && n <= LONG_BYTES) return whole_long(e, b, i, hash, out, err);
    int rc = encode_new_piece(e, p, n, out, err);
    if (rc < 0) return rc;
    fresh_count(&e->fresh, n, out->n - first, n);
    if (n <= SHORT_BYTES) store_short(e, b, i, first, out);
    return 0;
}

/* ------------------------------------------------------------------ batches */

/* Piece i is not in its line: appends its ids, or lets it wait; and those of sentences behind it.
 * Returns how many pieces these are. */
static __attribute__((noinline)) int batch_miss(struct encoder *e, const struct batch *b, size_t i,
                                                struct u32s *out, struct err *err) {
    const uint8_t *p = b->p[i];
    const size_t n = b->n[i];
    const bool sentence = is_sentence(p, n);
    const size_t pieces = sentence ? count_sentences(e, b, i) : 1;
    uint64_t hash = 0;
    int rc = 0;
    if (is_long(p, n)) rc = encode_long_known(&e->whole, b, i, true, &hash, out, err);
    if (rc == 0 && (sentence || n > SHORT_BYTES)) rc = by_parts(e, b, i, pieces, hash, out, err);
    if (rc == 0) rc = whole(e, b, i, hash, out, err);
    if (rc >= 0) rc = u32s_reserve(out, BATCH_ROOM, err);
    return rc < 0 ? rc : (int)pieces;
}

/* Appends the ids of all in the batch and empties it. Nothing but a miss is a branch: which of the
 * two places it is and how many ids cannot be foreseen. So WIDE_IDS are always copied, of which
 * those that are not the piece's are overwritten by the next. */
static inline int batch_take(struct encoder *e, struct batch *b, struct u32s *out,
                             struct err *err) {
    int rc = u32s_reserve(out, BATCH_ROOM, err);
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
            i += (size_t)rc - 1;
            continue;
        }
        memcpy(to, s->id, sizeof s->id);
        memcpy(to + NARROW_IDS, &b->line[i]->way[1], (WIDE_IDS - NARROW_IDS) * sizeof *to);
        to += short_ids(s);
    }
    out->n = (size_t)(to - out->v);
    batch_clear(b);
    return encode_grow(e, &e->whole, out, err);
}

/* Looks for those of the middle cache, but not for sentences, which mostly have seams. */
static inline void find_middles(struct encoder *e, struct batch *b, const uint8_t *end) {
    size_t n = 0;
    for (size_t k = 0; k < b->n_middles; k++) {
        const size_t i = b->middle[k];
        b->middle[n] = (uint8_t)i;
        n += !is_sentence(b->p[i], b->n[i]);
    }
    b->n_middles = n;
    batch_find_middles(&e->whole.middles, b, end);
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
    batch_clear(&b);
    if (n == 0) return 0;
    batch_add(&e->whole, &b, q, n, q + n);
    find_middles(e, &b, q + n);
    return late_end(e, batch_take(e, &b, out, err), out, err);
}

int encode_pieces(struct encoder *e, const char *v, size_t n, size_t from, const uint32_t *end,
                  size_t n_ends, struct u32s *out, struct err *err) {
    const uint8_t *text = (const uint8_t *)v;
    struct batch b;
    batch_clear(&b);
    int rc = 0;
    for (size_t i = 0; i < n_ends && rc >= 0;) {
        if (__builtin_expect(fresh_is(&e->fresh), 0))
            rc = fresh_take(e, text, &from, end, n_ends, &i, out, err);
        if (rc < 0 || i == n_ends) break;
        const size_t first = from, some = n_ends - i < BATCH ? n_ends - i : BATCH;
        e->fill(&e->whole, &b, text, n, from, end + i, some);
        i += some;
        from = end[i - 1];
        find_middles(e, &b, text + n);
        rc = batch_take(e, &b, out, err);
        if (rc >= 0 && fresh_is(&e->fresh)) rc = late_take(e, out, err); /* still so? */
        fresh_note(&e->fresh, from - first);
    }
    return late_end(e, rc, out, err);
}
