/* New pieces that wait for each other. In text of a kind that is known one piece in a hundred is
 * new: alone it takes three times what it takes among many (bpe_many.c). So the ids of others go
 * on, and theirs follow:
 *
 *   text    def  spam  (  egg  ,  spam  )         spam and egg are new
 *   ids     4299    7    11    8                  without theirs
 *   gaps          1     2     3                   before which of these ids
 *   piece        0     1      0                   … the ids of which piece belong
 *
 * When BATCH pieces wait, or there are LATE_GAPS gaps, or the text at hand ends, they are merged
 * side by side, the ids behind the gaps move, the last ones first, and theirs come between: some
 * hundred bytes move for each. One that waits is noted in its line, so as not to be new twice.
 *
 * Pieces of up to BPE_MANY_BYTES that have no seams wait beside the short ones: long words. So do
 * parts of others. */
#include "tokenizer/encode_inside.h"

/* The key of a piece that waits. */
struct key {
    uint64_t low, high;
};

static struct key late_key(const struct late *l, size_t i) {
    struct key k;
    memcpy(&k, l->piece[i].text, sizeof k);
    return k;
}

static inline bool is_part(const struct late *l, size_t i) {
    return l->kind[i] == LATE_PART;
}
static inline bool is_short(const struct late *l, size_t i) {
    return l->piece[i].n <= SHORT_BYTES;
}

/* The line of a short one. */
static struct short_line *late_line(struct encoder *e, size_t i, struct key k) {
    const struct short_cache *c = &encode_caches(e, e->late.kind[i])->shorts;
    return &c->line[short_line_of(c, k.low, k.high)];
}

/* Piece i is to stand where `out` ends. */
static int add_gap(struct encoder *e, size_t i, struct u32s *out, struct err *err) {
    struct late *l = &e->late;
    l->gap[l->n_gaps++] = (struct gap){.at = out->n, .piece = (uint8_t)i};
    return l->n == BATCH || l->n_gaps == LATE_GAPS ? late_take(e, out, err) : 0;
}

int late_add(struct encoder *e, enum late_kind kind, const struct batch *b, size_t i,
             struct u32s *out, struct err *err) {
    struct late *l = &e->late;
    const struct key k = {b->low[i], b->high[i]};
    const struct short_slot *waits = short_waits(b->line[i], k.low, k.high);
    if (waits) return add_gap(e, waits->id[0], out, err);
    const size_t last = l->n++;
    short_wait(b->line[i], k.low, k.high, (uint32_t)last);
    memcpy(l->piece[last].text, &k, sizeof k);
    l->piece[last].n = b->n[i];
    l->kind[last] = (uint8_t)kind;
    return add_gap(e, last, out, err);
}

int late_add_long(struct encoder *e, enum late_kind kind, const uint8_t *p, size_t n, uint64_t hash,
                  struct u32s *out, struct err *err) {
    struct late *l = &e->late;
    for (size_t i = 0; i < l->n; i++)
        if (l->kind[i] == kind && l->hash[i] == hash && l->piece[i].n == n &&
            !memcmp(l->piece[i].text, p, n))
            return add_gap(e, i, out, err);
    const size_t last = l->n++;
    memcpy(l->piece[last].text, p, n);
    l->piece[last].n = (uint32_t)n;
    l->hash[last] = hash;
    l->kind[last] = (uint8_t)kind;
    return add_gap(e, last, out, err);
}

/* Which pieces are tokens as they stand, whatever the merges say: of parts merging decides. Returns
 * how many are not, and moves these to `left`, which of all to `where`. */
static size_t whole_tokens(const struct encoder *e, struct bpe_short_ids ids[BATCH],
                           struct bpe_short left[BATCH], uint8_t where[BATCH]) {
    const struct late *l = &e->late;
    const uint8_t *p[BATCH];
    uint32_t n[BATCH], id[BATCH];
    size_t n_left = 0;
    for (size_t i = 0; i < l->n; i++) {
        p[i] = l->piece[i].text;
        n[i] = l->piece[i].n;
    }
    finder_get_many(&e->t->finder, e->t, p, n, l->n, id);
    for (size_t i = 0; i < l->n; i++) {
        ids[i].id[0] = id[i];
        ids[i].n = 1;
        left[n_left] = l->piece[i];
        where[n_left] = (uint8_t)i;
        n_left += (id[i] == TOKENIZER_NO_ID) | is_part(l, i);
    }
    return n_left;
}

static void merge_many(struct encoder *e, struct bpe_short_ids ids[BATCH]) {
    struct bpe_short left[BATCH];
    uint8_t where[BATCH];
    if (e->t->ignore_merges && !e->t->all_made) {
        size_t n = whole_tokens(e, ids, left, where);
        e->many(e->t, left, n, ids, where);
    } else {
        for (size_t i = 0; i < e->late.n; i++) where[i] = (uint8_t)i;
        e->many(e->t, e->late.piece, e->late.n, ids, where);
    }
    for (size_t i = 0; i < e->late.n; i++) longest_note(e, e->late.piece[i].n, ids[i].n);
}

/* `out` lends its end. */
static int merge_each(struct encoder *e, struct bpe_short_ids ids[BATCH], struct u32s *out,
                      struct err *err) {
    const size_t first = out->n;
    int rc = 0;
    for (size_t i = 0; i < e->late.n && rc >= 0; i++) {
        const struct bpe_short *v = &e->late.piece[i];
        rc = is_part(&e->late, i) ? encode_new_part(e, v->text, v->n, out, err)
                                  : encode_new_piece(e, v->text, v->n, out, err);
        ids[i].n = (uint32_t)(out->n - first);
        if (rc >= 0) memcpy(ids[i].id, out->v + first, ids[i].n * sizeof *out->v);
        out->n = first;
    }
    return rc;
}

/* Moves what is behind the gaps, and fills them. */
static int fill_gaps(struct late *l, const struct bpe_short_ids ids[BATCH], struct u32s *out,
                     struct err *err) {
    size_t wider = 0, end = out->n;
    for (size_t g = 0; g < l->n_gaps; g++) wider += ids[l->gap[g].piece].n;
    int rc = u32s_reserve(out, wider, err);
    if (rc < 0) return rc;
    out->n += wider;
    l->put += wider;
    for (size_t g = l->n_gaps; g-- > 0;) {
        const struct bpe_short_ids *put = &ids[l->gap[g].piece];
        const size_t at = l->gap[g].at;
        memmove(out->v + at + wider, out->v + at, (end - at) * sizeof *out->v);
        wider -= put->n;
        memcpy(out->v + at + wider, put->id, put->n * sizeof *out->v);
        end = at;
    }
    return 0;
}

/* Piece i, or part, goes to its cache. */
static int store(struct encoder *e, size_t i, const struct bpe_short_ids *ids, struct err *err) {
    struct late *l = &e->late;
    const struct bpe_short *v = &l->piece[i];
    struct caches *c = encode_caches(e, l->kind[i]);
    fresh_count(&e->fresh, is_part(l, i) ? 0 : v->n, ids->n, v->n);
    if (is_short(l, i)) {
        const struct key k = late_key(l, i);
        short_store(late_line(e, i, k), k.low, k.high, ids->id, ids->n, e->t->n);
        c->shorts.misses++;
        return 0;
    }
    return caches_store(c, l->hash[i], v->text, v->n, ids->id, ids->n, err);
}

int late_take(struct encoder *e, struct u32s *out, struct err *err) {
    struct late *l = &e->late;
    struct bpe_short_ids ids[BATCH];
    int rc = 0;
    if (!l->n_gaps) return 0;
    if (l->n < FEW)
        rc = merge_each(e, ids, out, err);
    else
        merge_many(e, ids);
    if (rc >= 0) rc = fill_gaps(l, ids, out, err);
    for (size_t i = 0; i < l->n && rc >= 0; i++) rc = store(e, i, &ids[i], err);
    if (rc >= 0) l->n = l->n_gaps = 0;
    return rc;
}

/* Lines move: none may have pieces that wait. */
static __attribute__((noinline)) int grow(struct encoder *e, struct caches *c, struct u32s *out,
                                          struct err *err) {
    int rc = late_take(e, out, err);
    return rc < 0 ? rc : caches_grow(c, err);
}

int encode_grow(struct encoder *e, struct caches *c, struct u32s *out, struct err *err) {
    return caches_full(c) ? grow(e, c, out, err) : 0;
}

void late_drop(struct encoder *e) {
    struct late *l = &e->late;
    for (size_t i = 0; i < l->n; i++) {
        if (!is_short(l, i)) continue;
        const struct key k = late_key(l, i);
        struct short_slot *s = short_waits(late_line(e, i, k), k.low, k.high);
        if (s) *s = (struct short_slot){0};
    }
    l->n = l->n_gaps = 0;
}
