/* What no cache has, alone: merged (bpe.c), or by its longest tokens (bpe_longest.c). Words of
 * Russian and parts of Thai go that way once there has been much of them.
 *
 * And the caches of what has more than SHORT_BYTES and no seams. */
#include "tokenizer/encode_inside.h"

/* By the longest tokens a token takes as long as some merges: worth it where tokens are long. What
 * that needs is made when merging has taken as long as making it will. */
enum {
    LONGEST_FROM = 16,
    LONG_TOKEN = 4,
    GAIN_MOST = 16,
    MERGED_FIRST = 4 << 20,
    SLOW = 16 /* times as long as others take pieces that have to go by the heap */
};

/* Do pieces of n bytes go this way? Longer ones do in windows (bpe_windows.c). */
static inline bool longest_may(size_t n) {
    return n >= LONGEST_FROM;
}

void longest_note(struct encoder *e, size_t bytes, size_t ids) {
    int *gain = &e->by_longest.gain;
    if (!longest_may(bytes)) return;
    *gain += bytes >= LONG_TOKEN * ids ? *gain < GAIN_MOST : -(*gain > -GAIN_MOST);
}

/* The table for a piece of n bytes, or NULL: none yet, or not now. */
static int want_longest(struct encoder *e, size_t n, const struct longest **ret, struct err *err) {
    struct by_longest *b = &e->by_longest;
    int rc = 0;
    *ret = NULL;
    if (b->gain < 0) return 0;
    if (!b->table) {
        b->merged += n;
        if (b->merged >= MERGED_FIRST) rc = vocab_longest(&b->table, e->t, err);
    }
    if (b->table && b->table->of) *ret = b->table;
    return rc;
}

/* 1: done; 0: to be merged; or a negative code. */
static int merge_longest(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                         struct err *err) {
    int rc = want_longest(e, n, &e->scratch.longest, err);
    return rc < 0 ? rc : bpe_try_longest(e->t, &e->scratch, p, n, out, err);
}

/* With no_token it is none of the finder's. */
static int merge(struct encoder *e, const uint8_t *p, size_t n, bool no_token, struct u32s *out,
                 struct err *err) {
    const size_t first = out->n;
    int rc = longest_may(n) ? merge_longest(e, p, n, out, err) : 0;
    if (rc == 0)
        rc = no_token ? bpe_merge_no_token(e->t, &e->scratch, p, n, out, err)
                      : bpe_merge(e->t, &e->scratch, p, n, out, err);
    e->by_longest.merged += SLOW * e->scratch.slow;
    e->scratch.slow = 0;
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

/* ------------------------------------------------------------------ long ones */

/* Those of so many bytes are merged side by side unless they go by the longest tokens. */
static inline bool long_waits(struct encoder *e, size_t n) {
    struct by_longest *b = &e->by_longest;
    if (!e->many || n > BPE_MANY_BYTES) return false;
    if (b->gain < 0) return true;
    if (b->table || b->merged + n >= MERGED_FIRST) return false;
    b->merged += n;
    return true;
}

int encode_long_known(struct caches *c, const struct batch *b, size_t i, bool asked,
                      uint64_t *ret_hash, struct u32s *out, struct err *err) {
    const uint8_t *p = b->p[i];
    const size_t n = b->n[i];
    if (is_middle(n) && (!asked || c->middles.misses != b->stored)) {
        const size_t n_ids = middle_get(&c->middles, p, n, out->v + out->n);
        out->n += n_ids;
        if (n_ids) return 1;
    }
    *ret_hash = vocab_hash(p, n);
    const struct long_slot *s = long_get(&c->longs, *ret_hash, p, n);
    if (!s) return 0;
    int rc = u32s_append(out, c->longs.ids.v + s->ids, s->n_ids, err);
    return rc < 0 ? rc : 1;
}

int encode_long_new(struct encoder *e, enum late_kind kind, uint64_t hash, const uint8_t *p,
                    size_t n, struct u32s *out, struct err *err) {
    if (long_waits(e, n)) {
        int rc = late_add_long(e, kind, p, n, hash, out, err);
        return rc < 0 ? rc : 1;
    }
    const size_t first = out->n;
    int rc = kind == LATE_PART ? encode_new_part(e, p, n, out, err)
                               : encode_new_piece(e, p, n, out, err);
    if (rc < 0) return rc;
    return caches_store(encode_caches(e, kind), hash, p, n, out->v + first, out->n - first, err);
}
