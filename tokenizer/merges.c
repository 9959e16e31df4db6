/* Learning merges, fast, with the result of merges_ref.c.
 *
 * The distinct words lie one after the other, a cell per byte, and never move:
 *
 *   cells    | ^ | t | h | e | ^ | Ġ | t | h | e | ^ |   ^ between words; each with its count
 *   after th | ^ | th| th| e | ^ | Ġ | th| th| e | ^ |   a token: in its first and its last cell
 *
 * so the neighbours of a token are one step away: the cell before its first, the cell behind its
 * last.
 *
 *   pair (t,h) ──▶ count, positions [1][6]…   first cells, ascending; may be stale
 *   queue      ──▶ pairs by (count down, pair up); counts may be stale
 *
 * All occurrences of a pair come into being in one step (when its newer token is made); afterwards
 * its count only falls. So a stale count is never too small, the queue's order is that of a full
 * recount, and the positions of a pair are written once, with their exact number known.
 *
 * Most pairs are too rare ever to be merged. Those with a count below `floor` are not kept at all;
 * when the best kept pair falls below the floor, everything is counted anew with a lower one
 * (gather()). */
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "tokenizer/merges_vocab.h"

#define BETWEEN UINT32_MAX       /* the token of a cell between words      */
#define STALE   (UINT32_MAX - 1) /* a first cell that is inside a token now */

struct cell {
    uint32_t token;
    uint32_t count; /* of the word; from BIG on, an index into `big` */
};

enum {
    BIG_BIT = 31,
    AHEAD = 16, /* positions: how far to prefetch */
    FLOOR_STEP = 16,
    PAIRS_FIRST = 256, /* room for pairs at first */
};

struct pair {
    uint64_t key; /* left << 32 | right; NO_KEY: empty */
    int64_t count;
    uint32_t *at; /* positions */
    uint64_t n;   /* of them   */
};

#define NO_KEY UINT64_MAX

struct queued {
    uint64_t count, key;
};

/* What a step does to the pairs with one neighbour. */
struct side {
    uint64_t count; /* occurrences, times their words' counts */
    uint32_t n;     /* occurrences                            */
    uint32_t *at;   /* where the next position of the new pair goes, or NULL */
};

struct neighbour {
    uint32_t token, at; /* position of the new pair */
};

/* All on one side of the merged pair, in the order they were met. */
struct neighbours {
    struct side *side; /* (n_side) by token, zero between steps */
    uint32_t n_side;
    struct u32s met; /* tokens with side[].n > 0             */
    struct neighbour *v;
    size_t n, cap;
};

struct trainer {
    struct merges_vocab vocab;
    const struct bpe_train_opts *opts;
    struct cell *cell;
    uint64_t n_cells;
    struct u64s big; /* counts that do not fit a cell */
    struct pair *pair;
    uint64_t pair_cap, pair_used;
    struct queued *queue; /* a binary heap, best first */
    size_t queued, queue_cap;
    struct arena positions;
    uint64_t floor, lowest; /* lowest: the smallest count that may be merged */
    uint32_t last;          /* the largest size asked for                    */
    uint64_t last_count;    /* of the last pair merged                       */
    struct neighbours left, right;
};

/* ------------------------------------------------------------------ pairs */

static inline uint64_t key_of(uint32_t left, uint32_t right) {
    return (uint64_t)left << 32 | right;
}

static inline uint64_t pair_place(const struct trainer *t, uint64_t key) {
    uint64_t h = (key ^ key >> 29) * 0x9e3779b97f4a7c15u;
    return h >> 20 & (t->pair_cap - 1);
}

/* The pair, or the empty entry where it belongs. */
static inline struct pair *pair_find(const struct trainer *t, uint64_t key) {
    uint64_t i = pair_place(t, key);
    while (t->pair[i].key != key && t->pair[i].key != NO_KEY) i = (i + 1) & (t->pair_cap - 1);
    return &t->pair[i];
}

static int pairs_resize(struct trainer *t, uint64_t cap, struct err *err) {
    struct pair *was = t->pair;
    uint64_t was_cap = t->pair_cap;
    struct pair *v = mem_array(cap, sizeof *v);
    if (!v) return err_nomem(err, cap * sizeof *v);
    for (uint64_t i = 0; i < cap; i++) v[i].key = NO_KEY;
    t->pair = v;
    t->pair_cap = cap;
    for (uint64_t i = 0; i < was_cap; i++)
        if (was[i].key != NO_KEY) *pair_find(t, was[i].key) = was[i];
    free(was);
    return 0;
}

/* Adds to a pair's count and number, and makes it if it is new. Its positions stay as they are. */
static inline struct pair *pair_add(struct trainer *t, uint64_t key, uint64_t count, uint64_t n,
                                    struct err *err) {
    if (2 * t->pair_used >= t->pair_cap &&
        pairs_resize(t, t->pair_cap ? 2 * t->pair_cap : PAIRS_FIRST, err) < 0)
        return NULL;
    struct pair *p = pair_find(t, key);
    if (p->key == NO_KEY) {
        *p = (struct pair){.key = key};
        t->pair_used++;
    }
    p->count += (int64_t)count;
    p->n += n;
    return p;
}

static inline void pair_lower(struct trainer *t, uint64_t key, uint64_t count) {
    struct pair *p = pair_find(t, key);
    if (p->key == key) p->count -= (int64_t)count;
}

/* ------------------------------------------------------------------ queue */

static inline bool before(const struct queued *a, const struct queued *b) {
    return a->count != b->count ? a->count > b->count : a->key < b->key;
}

static void queue_down(struct trainer *t, size_t i, struct queued x) {
    struct queued *q = t->queue;
    for (size_t child; (child = 2 * i + 1) < t->queued; i = child) {
        if (child + 1 < t->queued && before(&q[child + 1], &q[child])) child++;
        if (!before(&q[child], &x)) break;
        q[i] = q[child];
    }
    q[i] = x;
}

static int queue_push(struct trainer *t, const struct pair *p, struct err *err) {
    struct queued *q = mem_grown(t->queue, t->queued, &t->queue_cap, 1, sizeof *q, err);
    if (!q) return ERR_NOMEM;
    t->queue = q;
    const struct queued x = {(uint64_t)p->count, p->key};
    size_t i = t->queued++;
    for (size_t up; i && before(&x, &q[up = (i - 1) / 2]); i = up) q[i] = q[up];
    q[i] = x;
    return 0;
}

/* Removes the best pair and returns it; NULL if none is left. */
static struct pair *queue_best(struct trainer *t) {
    while (t->queued) {
        struct queued *top = &t->queue[0];
        struct pair *p = pair_find(t, top->key);
        if (p->count > 0 &&
            (uint64_t)p->count != top->count) { /* stale: back with its true count */
            queue_down(t, 0, (struct queued){(uint64_t)p->count, top->key});
            continue;
        }
        struct queued last = t->queue[--t->queued];
        if (t->queued) queue_down(t, 0, last);
        if (p->count > 0) return p;
    }
    return NULL;
}

/* ------------------------------------------------------------------ cells */

static inline uint64_t cell_count(const struct trainer *t, const struct cell *c) {
    return c->count >> BIG_BIT ? t->big.v[c->count & ~(1u << BIG_BIT)] : c->count;
}

/* Bytes and counts: what fill_cells() needs room for. *ret_bytes: of the text that the words were
 * counted in. */
static uint64_t cells_of(const struct words *w, uint64_t *ret_bytes) {
    uint64_t n = 1, count;
    size_t len;
    *ret_bytes = 0;
    for (uint64_t i = 0; i < words_distinct(w); i++) {
        words_get(w, i, &len, &count);
        if (len > 1) n += len + 1;
        *ret_bytes += len * count;
    }
    return n;
}

/* What a cell stores of a count. */
static int store_count(struct trainer *t, uint64_t count, uint32_t *ret, struct err *err) {
    *ret = (uint32_t)count;
    if (count >> BIG_BIT == 0) return 0;
    *ret = (uint32_t)t->big.n | 1u << BIG_BIT;
    return u64s_push(&t->big, count, err);
}

/* Lays the words out in n cells. Words of one byte have no pairs and are left out. */
static int fill_cells(struct trainer *t, const struct words *w, uint64_t n, struct err *err) {
    uint64_t words = words_distinct(w), count;
    struct u32s ids = {0};
    size_t len;
    if (n >= STALE)
        return err_set(err, ERR_DATA,
                       "%llu bytes of distinct words: at most 4 GB can be trained on; "
                       "another pattern makes shorter words",
                       (unsigned long long)n);
    t->cell = mem_array(n, sizeof *t->cell);
    if (!t->cell) return err_nomem(err, n * sizeof *t->cell);
    struct cell *c = t->cell;
    *c++ = (struct cell){BETWEEN, 0};
    int rc = 0;
    for (uint64_t i = 0; i < words && rc == 0; i++) {
        const char *p = words_get(w, i, &len, &count);
        uint32_t stored;
        if (len < 2) continue;
        ids.n = 0;
        rc = store_count(t, count, &stored, err);
        if (rc == 0) rc = merges_vocab_cut(&t->vocab, p, len, &ids, err);
        for (size_t k = 0; k < ids.n; k++) {
            uint32_t id = ids.v[k], cells = t->vocab.len.v[id];
            for (uint32_t at = 1; at < cells; at++) c[at] = (struct cell){STALE, stored};
            c[0] = c[cells - 1] = (struct cell){id, stored};
            c += cells;
        }
        *c++ = (struct cell){BETWEEN, 0};
    }
    t->n_cells = (uint64_t)(c - t->cell); /* less than n where bytes are not in the alphabet */
    u32s_release(&ids);
    return rc;
}

/* Calls pair_add() for every pair in the cells, or, when `write`, notes the position. */
static int walk_pairs(struct trainer *t, bool write, struct err *err) {
    const uint32_t *len = t->vocab.len.v, limit = t->opts->max_token_length;
    for (uint64_t i = 1; i < t->n_cells;) {
        uint32_t a = t->cell[i].token;
        uint64_t next = i + (a == BETWEEN ? 1 : len[a]);
        uint32_t b = next < t->n_cells ? t->cell[next].token : BETWEEN;
        if (a != BETWEEN && b != BETWEEN && merges_countable(len[a], len[b], limit)) {
            if (write) {
                struct pair *p = pair_find(t, key_of(a, b));
                if (p->key != NO_KEY) *p->at++ = (uint32_t)i;
            } else if (!pair_add(t, key_of(a, b), cell_count(t, &t->cell[i]), 1, err)) {
                return ERR_NOMEM;
            }
        }
        i = next;
    }
    return 0;
}

/* Drops the pairs below the floor, shrinks the table, gives the others room for their positions. */
static int keep_frequent(struct trainer *t, struct err *err) {
    struct pair *was = t->pair;
    uint64_t was_cap = t->pair_cap, kept = 0, n = 0;
    for (uint64_t i = 0; i < was_cap; i++)
        if (was[i].key != NO_KEY && (uint64_t)was[i].count >= t->floor) kept++, n += was[i].n;
    uint64_t cap = 4096;
    while (cap < 3 * kept) cap *= 2;
    t->pair = NULL;
    t->pair_cap = t->pair_used = 0;
    uint32_t *at = arena_alloc(&t->positions, n * sizeof *at + 1);
    int rc = at ? pairs_resize(t, cap, err) : err_nomem(err, n * sizeof *at);
    for (uint64_t i = 0; i < was_cap && rc == 0; i++) {
        if (was[i].key == NO_KEY || (uint64_t)was[i].count < t->floor) continue;
        struct pair *p = pair_add(t, was[i].key, (uint64_t)was[i].count, was[i].n, err);
        p->at = at;
        at += p->n;
        rc = queue_push(t, p, err);
    }
    free(was);
    return rc;
}

/* Counts all pairs anew and keeps those from the floor on. */
static int gather(struct trainer *t, struct err *err) {
    free(t->pair);
    t->pair = NULL;
    t->pair_cap = t->pair_used = t->queued = 0;
    arena_release(&t->positions);
    uint64_t cap = PAIRS_FIRST; /* no more pairs than cells */
    while (cap < 1 << 16 && cap < 2 * t->n_cells) cap *= 2;
    int rc = pairs_resize(t, cap, err);
    if (rc == 0) rc = walk_pairs(t, false, err);
    if (rc == 0) rc = keep_frequent(t, err);
    if (rc == 0) rc = walk_pairs(t, true, err);
    for (uint64_t i = 0; rc == 0 && i < t->pair_cap; i++)
        if (t->pair[i].key != NO_KEY) t->pair[i].at -= t->pair[i].n;
    return rc;
}

/* ------------------------------------------------------------------ one merge */

static inline int meet(struct neighbours *s, uint32_t token, uint64_t count, uint32_t at,
                       struct err *err) {
    struct side *side = &s->side[token];
    if (side->n++ == 0) {
        int rc = u32s_push(&s->met, token, err);
        if (rc < 0) return rc;
    }
    side->count += count;
    s->v[s->n++] = (struct neighbour){token, at};
    return 0;
}

/* Room for a step over n positions in a vocabulary of `tokens`. */
static int neighbours_room(struct neighbours *s, uint64_t n, uint32_t tokens, struct err *err) {
    s->n = s->met.n = 0;
    if (tokens > s->n_side) {
        uint32_t more = tokens + tokens / 2;
        free(s->side);
        s->n_side = 0;
        s->side = mem_array(more, sizeof *s->side);
        if (!s->side) return err_nomem(err, more * sizeof *s->side);
        s->n_side = more;
    }
    if (n <= s->cap) return 0;
    free(s->v);
    s->cap = 0;
    s->v = mem_array(n, sizeof *s->v);
    if (!s->v) return err_nomem(err, n * sizeof *s->v);
    s->cap = n;
    return 0;
}

/* Writes `id` over every (a, b) and notes the neighbours of each. */
static int rewrite(struct trainer *t, const struct pair *p, uint32_t a, uint32_t b, uint32_t id,
                   struct err *err) {
    struct cell *cell = t->cell;
    const uint32_t *len = t->vocab.len.v, len_a = len[a], len_ab = len_a + len[b];
    for (uint64_t i = 0; i < p->n; i++) {
        if (i + AHEAD < p->n) __builtin_prefetch(&cell[p->at[i + AHEAD]], 1);
        uint32_t at = p->at[i];
        if (cell[at].token != a || cell[at + len_a].token != b) continue;
        uint64_t count = cell_count(t, &cell[at]);
        uint32_t l = cell[at - 1].token, r = cell[at + len_ab].token;
        cell[at + len_a].token = STALE;
        cell[at].token = cell[at + len_ab - 1].token = id;
        int rc = 0;
        if (l != BETWEEN) rc = meet(&t->left, l, count, at - len[l], err);
        if (r != BETWEEN && rc == 0) rc = meet(&t->right, r, count, at, err);
        if (rc < 0) return rc;
    }
    return 0;
}

/* Makes the pairs of the new token with its neighbours on one side. */
static int make_pairs(struct trainer *t, struct neighbours *s, bool left, uint32_t id,
                      struct err *err) {
    for (size_t i = 0; i < s->met.n; i++) {
        uint32_t token = s->met.v[i];
        struct side *side = &s->side[token];
        side->at = NULL;
        if (side->count < t->floor ||
            !merges_countable(t->vocab.len.v[token], t->vocab.len.v[id], t->opts->max_token_length))
            continue;
        uint64_t key = left ? key_of(token, id) : key_of(id, token);
        struct pair *p = pair_add(t, key, side->count, side->n, err);
        if (!p) return ERR_NOMEM;
        p->at = side->at = arena_alloc(&t->positions, side->n * sizeof *p->at);
        if (!p->at) return err_nomem(err, side->n * sizeof *p->at);
    }
    for (size_t i = 0; i < s->n; i++) {
        struct side *side = &s->side[s->v[i].token];
        if (side->at) *side->at++ = s->v[i].at;
    }
    return 0;
}

/* The old pairs with these neighbours occur less often now. */
static void lower_pairs(struct trainer *t, const struct neighbours *s, bool left, uint32_t token) {
    for (size_t i = 0; i < s->met.n; i++) {
        uint32_t other = s->met.v[i];
        pair_lower(t, left ? key_of(other, token) : key_of(token, other), s->side[other].count);
    }
}

/* Queues what make_pairs() made, now that all counts are final; clears the sides. */
static int queue_pairs(struct trainer *t, struct neighbours *s, bool left, uint32_t id,
                       struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < s->met.n; i++) {
        uint32_t token = s->met.v[i];
        bool made = s->side[token].at != NULL;
        s->side[token] = (struct side){0};
        if (!made || rc < 0) continue;
        const struct pair *p = pair_find(t, left ? key_of(token, id) : key_of(id, token));
        if (p->count > 0) rc = queue_push(t, p, err);
    }
    return rc;
}

static int merge_pair(struct trainer *t, const struct pair *best, struct err *err) {
    uint32_t a = (uint32_t)(best->key >> 32), b = (uint32_t)best->key, id, before_n = t->vocab.n;
    int rc = merges_vocab_add(&t->vocab, a, b, &id, err);
    if (rc == 0) rc = neighbours_room(&t->left, best->n, t->vocab.n, err);
    if (rc == 0) rc = neighbours_room(&t->right, best->n, t->vocab.n, err);
    if (rc == 0) rc = rewrite(t, best, a, b, id, err);
    bool reused = t->vocab.n == before_n; /* a special's id: its pairs may have been there before */
    if (rc == 0 && !reused) rc = make_pairs(t, &t->left, true, id, err);
    if (rc == 0 && !reused) rc = make_pairs(t, &t->right, false, id, err);
    lower_pairs(t, &t->left, true, a);
    lower_pairs(t, &t->right, false, b);
    int rc2 = queue_pairs(t, &t->left, true, id, err);
    if (rc2 == 0) rc2 = queue_pairs(t, &t->right, false, id, err);
    if (rc == 0) rc = rc2;
    return rc == 0 && reused ? gather(t, err) : rc;
}

/* ------------------------------------------------------------------ all of it */

/* Merges until there are `vocab` tokens, or no pair is left. */
static int learn(struct trainer *t, uint32_t vocab, const struct log *log, bool *ret_ran_out,
                 struct err *err) {
    uint64_t old = t->vocab.old_merges;
    uint64_t total = t->vocab.n_merges - old + (t->last > t->vocab.n ? t->last - t->vocab.n : 0);
    *ret_ran_out = false;
    int rc = vocab > t->vocab.n && !t->pair ? gather(t, err) : 0;
    while (rc == 0 && t->vocab.n < vocab) {
        struct pair *best = queue_best(t);
        uint64_t count = best ? (uint64_t)best->count : 0;
        if (count < t->floor) {
            if (t->floor == t->lowest) {
                *ret_ran_out = true;
                break;
            }
            t->floor = t->floor / FLOOR_STEP > t->lowest ? t->floor / FLOOR_STEP : t->lowest;
            rc = gather(t, err);
            continue;
        }
        if (merges_vocab_taken(&t->vocab, (uint32_t)(best->key >> 32), (uint32_t)best->key))
            continue;
        rc = merge_pair(t, best, err);
        t->last_count = count;
        uint64_t done = t->vocab.n_merges - old;
        if ((done & 255) == 0)
            log_progress(log, &(struct progress){"merges", done, total, "merges", NULL});
    }
    return rc;
}

static int prepare(struct trainer *t, struct words *words, struct err *err) {
    const struct bpe_train_opts *o = t->opts;
    uint64_t bytes;
    const uint64_t cells = cells_of(words, &bytes);
    int rc = merges_vocab_init(&t->vocab, o, words, err);
    /* Of n merges the last has a count of (all bytes) / n / 40 to 120, in code and prose of many
     * languages; a floor a little below that keeps few pairs for nothing and is seldom too high. */
    t->lowest = o->min_frequency > 1 ? o->min_frequency : 1;
    t->floor = bytes / 128 / (t->last + (uint64_t)1);
    if (t->floor < t->lowest) t->floor = t->lowest;
    if (rc == 0) rc = fill_cells(t, words, cells, err);
    words_drop(words);
    return rc;
}

static void trainer_release(struct trainer *t) {
    merges_vocab_release(&t->vocab);
    free(t->cell);
    free(t->pair);
    free(t->queue);
    free(t->left.side);
    free(t->right.side);
    free(t->left.v);
    free(t->right.v);
    u32s_release(&t->left.met);
    u32s_release(&t->right.met);
    u64s_release(&t->big);
    arena_release(&t->positions);
}

int bpe_train_nested(struct tokenizer **ret, const uint32_t *sizes, size_t n, struct words *words,
                     const struct bpe_train_opts *opts, struct pool *pool, const struct log *log,
                     struct bpe_train_result *ret_result, struct err *err) {
    (void)pool; /* merging is a chain of small dependent steps; counting is what runs in parallel */
    struct trainer t = {.opts = opts, .last = sizes[n - 1]};
    for (size_t i = 0; i < n; i++) ret[i] = NULL;
    int rc = prepare(&t, words, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        bool ran_out;
        rc = learn(&t, sizes[i], log, &ran_out, err);
        if (rc == 0) rc = merges_vocab_build(&t.vocab, opts, &ret[i], err);
        if (ret_result)
            ret_result[i] = (struct bpe_train_result){t.vocab.n_merges - t.vocab.old_merges,
                                                      t.last_count, ran_out};
    }
    for (size_t i = 0; i < n && rc < 0; i++) {
        tokenizer_free(ret[i]);
        ret[i] = NULL;
    }
    trainer_release(&t);
    return rc;
}

int bpe_train(struct tokenizer **ret, struct words *words, const struct bpe_train_opts *opts,
              struct pool *pool, const struct log *log, struct bpe_train_result *ret_result,
              struct err *err) {
    return bpe_train_nested(ret, &opts->vocab, 1, words, opts, pool, log, ret_result, err);
}
