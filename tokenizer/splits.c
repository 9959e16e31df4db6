/* Which merge makes a token, without merging.
 *
 *   split    token ─▶ the two that merge to it, last of all that merges when its bytes are alone
 *
 * Each of two neighbours comes into being as if it were alone, until something goes across the
 * boundary between them: always the lowest of what is next in each, the left one of equals. Only a
 * pair of a symbol at the end of the left one and one at the beginning of the right one can go
 * across, if both are there at the same time. Time is the rank of the merges:
 *
 *   left     b a r ─▶ b ar (5) ─▶ bar (9)      at its end r until 5, ar until 9, then bar
 *   right    n e s ─▶ ne s (2) ─▶ nes (30)     at its beginning n until 2, ne until 30, then nes
 *   pairs    r n below 2? r ne below 5? ar ne below 9? bar ne below 30? bar nes?
 *
 * So no more pairs are asked for than there have been symbols at that boundary. That needs ranks
 * that do not fall while a token comes into being: a token of which that is not true, or with such
 * a one in it, or of more than LONGEST bytes, is unsure, and nothing is said about it.
 *
 * And what two neighbours in a text have become, they become when their bytes are alone, too: the
 * others change nothing of the order in which the two go on. So a pair that does not come to pass
 * when its bytes are alone never does. */
#include "tokenizer/splits.h"

#include <stdlib.h>
#include "tokenizer/vocab.h"

enum { LONGEST = 255 };
#define NEVER  UINT32_MAX /* no merge makes it */
#define UNSURE (UINT32_MAX - 1)

struct split {
    uint32_t left, right;
    uint32_t since; /* rank + 1 of the merge that makes it; 0: a byte; or one of the above */
};

/* Does nothing go across the boundary of the two before both are there? Neither is unsure, and both
 * come into being. */
static bool meet(const struct split *of, const struct pairs *pairs, uint32_t left, uint32_t right) {
    /* The ranks of the merges that end the two symbols asked for. Of equal ranks the left one goes
     * first: within the left token, then across, then within the right one. */
    uint32_t left_to = PAIRS_NONE, right_to = PAIRS_NONE - 1;
    for (;;) { /* back in time */
        const struct split *l = &of[left], *r = &of[right];
        if (!(l->since | r->since)) return true;
        if (r->since >= l->since) {
            right = r->left;
            right_to = r->since - 1;
        } else {
            left = l->right;
            left_to = l->since - 1;
        }
        uint32_t rank = pairs_get(pairs, left, right);
        if ((rank < left_to) & (rank <= right_to)) return false;
    }
}

/* The tokens by rising length, so that parts are settled before the whole; where the splits of each
 * begin in t->merges; and what is known of them. */
struct work {
    struct split *of;
    uint32_t *first, *order;
};

/* LONGEST + 1 stands for all that are longer. */
static size_t length_of(const struct tokenizer *t, uint32_t id) {
    uint64_t n = t->start[id + 1] - t->start[id];
    return n <= LONGEST ? (size_t)n : LONGEST + 1;
}

static void sort(const struct tokenizer *t, struct work *w) {
    size_t at[LONGEST + 3] = {0};
    for (uint32_t id = 0; id < t->n; id++) at[length_of(t, id) + 1]++;
    for (size_t n = 1; n < LONGEST + 3; n++) at[n] += at[n - 1];
    for (uint32_t id = 0; id < t->n; id++) w->order[at[length_of(t, id)]++] = id;
    for (uint64_t i = 0, id = 0; id <= t->n; w->first[id++] = (uint32_t)i)
        while (i < t->n_merges && t->merges[i].result < id) i++;
}

/* May merge m ever be done? If so, what it makes gets its split: of bytes alone there is one. */
static bool settle(const struct tokenizer *t, struct split *of, const struct merge *m) {
    struct split *made = &of[m->result];
    const struct split *l = &of[m->left], *r = &of[m->right];
    const uint32_t since = m->result + 1;
    bool is_long = length_of(t, m->result) > LONGEST;
    if (made->since < UNSURE) return false;
    if (!is_long && (l->since == NEVER || r->since == NEVER)) return false;
    if (is_long || l->since == UNSURE || r->since == UNSURE) {
        made->since = UNSURE;
        return true;
    }
    if (!meet(of, &t->pairs, m->left, m->right)) return false;
    bool falls = since < l->since || since < r->since;
    *made = (struct split){m->left, m->right, falls ? UNSURE : since};
    return true;
}

/* Asks for what is known of the parts of token `id`, whose splits have been asked for. */
static void expect(const struct tokenizer *t, const struct work *w, uint32_t id) {
    for (uint32_t i = w->first[id]; i < w->first[id + 1]; i++) {
        __builtin_prefetch(&w->of[t->merges[i].left]);
        __builtin_prefetch(&w->of[t->merges[i].right]);
    }
}

/* False: they are more than there is room for. */
static bool enter(struct tokenizer *t, struct work *w, size_t room) {
    enum { AHEAD = 4 };
    for (uint32_t id = 0; id < t->n; id++) w->of[id].since = NEVER;
    for (int b = 0; b < 256; b++)
        if (t->byte_id[b] != TOKENIZER_NO_ID) w->of[t->byte_id[b]].since = 0;
    for (uint32_t k = 0; k < t->n; k++) {
        const uint32_t id = w->order[k];
        if (k + 2 * AHEAD < t->n) __builtin_prefetch(&t->merges[w->first[w->order[k + 2 * AHEAD]]]);
        if (k + AHEAD < t->n) expect(t, w, w->order[k + AHEAD]);
        for (uint32_t i = w->first[id]; i < w->first[id + 1]; i++) {
            const struct merge *m = &t->merges[i];
            if (!settle(t, w->of, m)) continue;
            if (room-- == 0) return false;
            pairs_set(&t->pairs, m->left, m->right, m->result);
        }
    }
    return true;
}

int splits_of_ranks(struct tokenizer *t, struct err *err) {
    struct work w = {.of = mem_array(t->n, sizeof *w.of),
                     .first = mem_array((size_t)t->n + 1, sizeof *w.first),
                     .order = mem_array(t->n, sizeof *w.order)};
    const uint32_t most = vocab_largest_symbol(t);
    int rc = w.of && w.first && w.order ? 0 : err_nomem(err, (uint64_t)t->n * sizeof *w.of);
    if (rc == 0) sort(t, &w);
    if (rc == 0) rc = pairs_new(&t->pairs, t->n, t->n, most, err);
    if (rc == 0 && !enter(t, &w, t->n)) { /* of some tokens several splits */
        pairs_release(&t->pairs);
        rc = pairs_new(&t->pairs, t->n_merges, t->n, most, err);
        if (rc == 0) enter(t, &w, t->n_merges);
    }
    free(w.of);
    free(w.first);
    free(w.order);
    return rc;
}
