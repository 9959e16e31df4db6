/* Which merge of a list makes a token, without merging: see splits.h. */
#include "tokenizer/splits.h"

#include <stdlib.h>
#include <string.h>
#include "tokenizer/vocab.h"

/* ------------------------------------------------------------------ by length */

enum { DIGIT_BITS = 12 };

/* Ids in `from` to `to`, in the order of twelve bits of their lengths, else as they are. */
static void sort_by_digit(const struct tokenizer *t, const uint32_t *from, uint32_t *to,
                          unsigned shift) {
    enum { MASK = (1 << DIGIT_BITS) - 1 };
    uint32_t at[MASK + 2] = {0};
    for (uint32_t id = 0; id < t->n; id++) at[(vocab_length(t, id) >> shift & MASK) + 1]++;
    for (int i = 1; i <= MASK; i++) at[i] += at[i - 1];
    for (uint32_t i = 0; i < t->n; i++)
        to[at[vocab_length(t, from[i]) >> shift & MASK]++] = from[i];
}

int splits_by_length(const struct tokenizer *t, uint32_t **ret, struct err *err) {
    uint64_t longest = 0;
    uint32_t *v = mem_array(t->n, sizeof *v), *room = mem_array(t->n, sizeof *room);
    if (!v || !room) {
        free(v);
        free(room);
        return err_nomem(err, 2 * (uint64_t)t->n * sizeof *v);
    }
    for (uint32_t id = 0; id < t->n; id++) {
        v[id] = id;
        if (vocab_length(t, id) > longest) longest = vocab_length(t, id);
    }
    for (unsigned shift = 0; shift < 64 && longest >> shift; shift += DIGIT_BITS) {
        uint32_t *other = v;
        sort_by_digit(t, v, room, shift);
        v = room;
        room = other;
    }
    free(room);
    *ret = v;
    return 0;
}

/* ------------------------------------------------------------------ what may be done */

/* The tokens by rising length, so that parts are settled before the whole; and the merges by what
 * they make: those of token id from first[id] to first[id + 1]. */
struct work {
    struct split *of;
    uint32_t *order, *first, *merge;
};

static void work_release(struct work *w) {
    free(w->order);
    free(w->first);
    free(w->merge);
}

static int work_begin(struct work *w, const struct tokenizer *t, struct split *of,
                      struct err *err) {
    const size_t n = (size_t)t->n + 2;
    *w = (struct work){.of = of,
                       .first = mem_array(n, sizeof *w->first),
                       .merge = mem_array(t->n_merges + 1, sizeof *w->merge)};
    int rc = w->first && w->merge ? splits_by_length(t, &w->order, err)
                                  : err_nomem(err, (n + t->n_merges) * sizeof *w->first);
    if (rc < 0) {
        work_release(w);
        return rc;
    }
    /* first[id + 1] is where the next of id goes, and so ends where those of id + 1 begin */
    for (uint64_t i = 0; i < t->n_merges; i++) w->first[t->merges[i].result + 2]++;
    for (uint32_t id = 0; id < t->n; id++) w->first[id + 2] += w->first[id + 1];
    for (uint64_t i = 0; i < t->n_merges; i++)
        w->merge[w->first[t->merges[i].result + 1]++] = (uint32_t)i;
    for (uint32_t id = 0; id < t->n; id++) of[id].since = SPLITS_NEVER;
    for (int b = 0; b < 256; b++)
        if (t->byte_id[b] != TOKENIZER_NO_ID) of[t->byte_id[b]].since = 0;
    return 0;
}

/* May merge i ever be done? If so, what it makes gets its split: of bytes alone there is one. */
static void settle(const struct tokenizer *t, struct split *of, uint32_t i) {
    const struct merge *m = &t->merges[i];
    struct split *made = &of[m->result];
    const struct split *l = &of[m->left], *r = &of[m->right];
    const uint32_t since = i + 1;
    const bool listed_again = pairs_get(&t->pairs, m->left, m->right) != i;
    bool is_long = vocab_length(t, m->result) > SPLITS_BYTES;
    if (made->since < SPLITS_UNSURE || listed_again) return;
    if (!is_long && (l->since == SPLITS_NEVER || r->since == SPLITS_NEVER)) return;
    if (is_long || l->since == SPLITS_UNSURE || r->since == SPLITS_UNSURE) {
        made->since = SPLITS_UNSURE;
        return;
    }
    if (!splits_meet(of, &t->pairs, m->left, m->right)) return;
    bool falls = since < l->since || since < r->since;
    made->left = m->left;
    made->right = m->right;
    made->since = falls ? SPLITS_UNSURE : since;
}

/* Asks for what is known of the parts of token `id`, whose merges have been asked for. */
static void expect(const struct tokenizer *t, const struct work *w, uint32_t id) {
    for (uint32_t i = w->first[id]; i < w->first[id + 1]; i++) {
        __builtin_prefetch(&w->of[t->merges[w->merge[i]].left]);
        __builtin_prefetch(&w->of[t->merges[w->merge[i]].right]);
    }
}

int splits_find(const struct tokenizer *t, struct split *of, struct err *err) {
    enum { AHEAD = 4 };
    struct work w = {0};
    if (t->by_rank) {
        memcpy(of, t->split, t->n * sizeof *of);
        return 0;
    }
    int rc = work_begin(&w, t, of, err);
    if (rc < 0) return rc;
    for (uint32_t k = 0; k < t->n && t->n_merges; k++) {
        const uint32_t id = w.order[k];
        if (k + 2 * AHEAD < t->n)
            __builtin_prefetch(&t->merges[w.merge[w.first[w.order[k + 2 * AHEAD]]]]);
        if (k + AHEAD < t->n) expect(t, &w, w.order[k + AHEAD]);
        for (uint32_t i = w.first[id]; i < w.first[id + 1]; i++) settle(t, w.of, w.merge[i]);
    }
    work_release(&w);
    return 0;
}
