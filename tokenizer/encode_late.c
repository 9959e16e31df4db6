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
 * hundred bytes move for each. One that waits is noted in its line, so as not to be new twice. */
#include "tokenizer/encode_inside.h"

enum { FEW = 3 /* pieces that are not worth it side by side */ };
_Static_assert((int)BATCH <= BPE_MANY && (int)BATCH <= FINDER_MANY &&
                   (int)SHORT_BYTES <= BPE_MANY_BYTES,
               "all are merged at once");

/* The key of a piece that waits. */
struct key {
    uint64_t low, high;
};

static struct key late_key(const struct late *l, size_t i) {
    struct key k;
    memcpy(&k, l->piece[i].text, sizeof k);
    return k;
}

static struct short_line *late_line(struct encoder *e, struct key k) {
    return &e->whole.line[short_line_of(&e->whole, k.low, k.high)];
}

int late_add(struct encoder *e, const struct batch *b, size_t i, struct u32s *out,
             struct err *err) {
    struct late *l = &e->late;
    const struct key k = {b->low[i], b->high[i]};
    const struct short_slot *waits = short_waits(b->line[i], k.low, k.high);
    const uint8_t piece = (uint8_t)(waits ? waits->id[0] : l->n);
    l->gap[l->n_gaps++] = (struct gap){.at = out->n, .piece = piece};
    if (!waits) {
        memcpy(l->piece[l->n].text, &k, sizeof k);
        l->piece[l->n].n = b->n[i];
        short_wait(b->line[i], k.low, k.high, (uint32_t)l->n);
        l->n++;
    }
    return l->n == BATCH || l->n_gaps == LATE_GAPS ? late_take(e, out, err) : 0;
}

/* Which of them are tokens as they stand, whatever the merges say; returns how many are not, and
 * moves these to `left`, which of all to `where`. */
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
        n_left += id[i] == TOKENIZER_NO_ID;
    }
    return n_left;
}

static void merge_many(struct encoder *e, struct bpe_short_ids ids[BATCH]) {
    struct bpe_short left[BATCH];
    uint8_t where[BATCH];
    if (e->t->ignore_merges && !e->t->all_made) {
        size_t n = whole_tokens(e, ids, left, where);
        e->many(e->t, left, n, ids, where);
        return;
    }
    for (size_t i = 0; i < e->late.n; i++) where[i] = (uint8_t)i;
    e->many(e->t, e->late.piece, e->late.n, ids, where);
}

/* `out` lends its end. */
static int merge_each(struct encoder *e, struct bpe_short_ids ids[BATCH], struct u32s *out,
                      struct err *err) {
    const size_t first = out->n;
    int rc = 0;
    for (size_t i = 0; i < e->late.n && rc >= 0; i++) {
        const struct bpe_short *v = &e->late.piece[i];
        rc = piece_new(e, v->text, v->n, out, err);
        ids[i].n = (uint32_t)(out->n - first);
        if (rc >= 0) memcpy(ids[i].id, out->v + first, ids[i].n * sizeof *out->v);
        out->n = first;
    }
    return rc;
}

/* Moves what is behind the gaps, and fills them. */
static int fill_gaps(const struct late *l, const struct bpe_short_ids ids[BATCH], struct u32s *out,
                     struct err *err) {
    size_t wider = 0, end = out->n;
    for (size_t g = 0; g < l->n_gaps; g++) wider += ids[l->gap[g].piece].n;
    int rc = u32s_reserve(out, wider, err);
    if (rc < 0) return rc;
    out->n += wider;
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
    if (rc < 0) return rc;
    for (size_t i = 0; i < l->n; i++) {
        const struct key k = late_key(l, i);
        short_store(late_line(e, k), k.low, k.high, ids[i].id, ids[i].n, e->t->n);
        fresh_piece(&e->fresh, l->piece[i].n, ids[i].n);
    }
    e->whole.misses += l->n;
    l->n = l->n_gaps = 0;
    return 0;
}

void late_drop(struct encoder *e) {
    struct late *l = &e->late;
    for (size_t i = 0; i < l->n; i++) {
        const struct key k = late_key(l, i);
        struct short_slot *s = short_waits(late_line(e, k), k.low, k.high);
        if (s) *s = (struct short_slot){0};
    }
    l->n = l->n_gaps = 0;
}
