/* Byte-pair encoding by the textbook (Gage 1994; Sennrich, Haddow, Birch 2016), with HF's rules:
 *
 *   while there are fewer than `vocab` tokens:
 *       count every pair of neighbours in every word, times its count ("aaa" has (a,a) twice)
 *       best = the largest count; among equals the smallest (left id, right id)
 *       stop if its count is 0 or less than min_frequency
 *       write best's new token for it in every word, from left to right
 *
 * Words begin as bytes, or as the vocabulary that is extended encodes them; then its tokens are
 * never made a second time.
 *
 * A pair whose token would have max_token_length bytes or more is not counted, unless it is one of
 * two single bytes. */
#include <stdlib.h>
#include "tokenizer/merges_vocab.h"

struct word {
    uint32_t *sym;
    size_t n;
    uint64_t count;
};

struct pair_count {
    uint32_t left, right;
    uint64_t count;
};

struct pairs {
    struct pair_count *v;
    size_t n;
};

static int by_pair(const void *x, const void *y) {
    const struct pair_count *a = x, *b = y;
    if (a->left != b->left) return a->left < b->left ? -1 : 1;
    return a->right < b->right ? -1 : a->right > b->right;
}

/* The best pair, count 0 if there is none. `room` holds one entry for each pair of neighbours. */
static struct pair_count best_pair(const struct word *words, size_t n, struct pair_count *room,
                                   const struct merges_vocab *v, uint32_t limit) {
    size_t m = 0;
    for (size_t w = 0; w < n; w++)
        for (size_t i = 0; i + 1 < words[w].n; i++) {
            uint32_t a = words[w].sym[i], b = words[w].sym[i + 1];
            if (merges_countable(v->len.v[a], v->len.v[b], limit))
                room[m++] = (struct pair_count){a, b, words[w].count};
        }
    qsort(room, m, sizeof *room, by_pair);
    struct pair_count best = {0};
    for (size_t i = 0, j; i < m;
         i = j) { /* ascending pairs: only a larger count beats an earlier */
        struct pair_count sum = room[i];
        for (j = i + 1; j < m && by_pair(&room[i], &room[j]) == 0; j++) sum.count += room[j].count;
        if (sum.count > best.count && !merges_vocab_taken(v, sum.left, sum.right)) best = sum;
    }
    return best;
}

static void rewrite(struct word *w, uint32_t left, uint32_t right, uint32_t id) {
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++) {
        bool here = i + 1 < w->n && w->sym[i] == left && w->sym[i + 1] == right;
        w->sym[n++] = here ? id : w->sym[i];
        i += here;
    }
    w->n = n;
}

static int read_words(const struct words *from, const struct merges_vocab *v, struct word *to,
                      size_t *ret_bytes, struct err *err) {
    for (uint64_t i = 0; i < words_distinct(from); i++) {
        size_t n;
        struct u32s tokens = {0};
        const char *p = words_get(from, i, &n, &to[i].count);
        int rc = merges_vocab_cut(v, p, n, &tokens, err);
        to[i].sym = tokens.v;
        to[i].n = tokens.n;
        if (rc < 0) return rc;
        *ret_bytes += n;
    }
    return 0;
}

static int learn(struct word *words, size_t n, size_t bytes, struct merges_vocab *v,
                 const struct bpe_train_opts *opts, struct err *err) {
    struct pair_count *room = mem_array(bytes + 1, sizeof *room);
    int rc = room ? 0 : err_nomem(err, bytes * sizeof *room);
    while (rc == 0 && v->n < opts->vocab) {
        struct pair_count best = best_pair(words, n, room, v, opts->max_token_length);
        if (best.count == 0 || best.count < opts->min_frequency) break;
        uint32_t id;
        rc = merges_vocab_add(v, best.left, best.right, &id, err);
        for (size_t w = 0; rc == 0 && w < n; w++) rewrite(&words[w], best.left, best.right, id);
    }
    free(room);
    return rc;
}

int bpe_train_ref(struct tokenizer **ret, const struct words *words,
                  const struct bpe_train_opts *opts, struct err *err) {
    *ret = NULL;
    struct merges_vocab v;
    size_t n = words_distinct(words), bytes = 0;
    int rc = merges_vocab_init(&v, opts, words, err);
    struct word *list = mem_array(n + 1, sizeof *list);
    if (rc == 0 && !list) rc = err_nomem(err, n * sizeof *list);
    if (rc == 0) rc = read_words(words, &v, list, &bytes, err);
    if (rc == 0) rc = learn(list, n, bytes, &v, opts, err);
    if (rc == 0) rc = merges_vocab_build(&v, opts, ret, err);
    for (size_t i = 0; list && i < n; i++) free(list[i].sym);
    free(list);
    merges_vocab_release(&v);
    return rc;
}
