/* Which merge of a list makes a token, without merging: see splits.h. */
#include "tokenizer/splits.h"

#include <stdlib.h>
#include <string.h>
#include "tokenizer/vocab.h"

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

/* SPLITS_BYTES + 1 stands for all that are longer. */
static size_t length_of(const struct tokenizer *t, uint32_t id) {
    uint64_t n = t->start[id + 1] - t->start[id];
    return n <= SPLITS_BYTES ? (size_t)n : SPLITS_BYTES + 1;
}

static int work_begin(struct work *w, const struct tokenizer *t, struct split *of,
                      struct err *err) {
    size_t at[SPLITS_BYTES + 3] = {0}, n = (size_t)t->n + 2;
    *w = (struct work){of, mem_array(n, sizeof *w->order), mem_array(n, sizeof *w->first),
                       mem_array(t->n_merges + 1, sizeof *w->merge)};
    if (!w->order || !w->first || !w->merge) {
        work_release(w);
        return err_nomem(err, (2 * n + t->n_merges) * sizeof *w->order);
    }
    for (uint32_t id = 0; id < t->n; id++) at[length_of(t, id) + 1]++;
    for (size_t i = 1; i < SPLITS_BYTES + 3; i++) at[i] += at[i - 1];
    for (uint32_t id = 0; id < t->n; id++) w->order[at[length_of(t, id)]++] = id;
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
    bool is_long = length_of(t, m->result) > SPLITS_BYTES;
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
