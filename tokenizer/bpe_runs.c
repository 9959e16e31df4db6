/* Merging a piece of few runs, such as a million blanks and a newline, by runs instead of symbols.
 *
 *   x x x x x x x \n     ─▶  (x,7) (\n,1)
 *   pair (x,x) is lowest ─▶  (xx,3) (x,1) (\n,1)       a whole run in one step
 *   pair (xx,xx)         ─▶  (xxxx,1) (xx,1) (x,1) (\n,1)
 *
 * One symbol at a time, the pairs of a run would merge from left to right, as long as no pair that
 * comes into being on the way has a lower rank. That is asked before (steady()); vocabularies where
 * it is otherwise (a product merges before its parts) take the general way. */
#include "tokenizer/bpe.h"

enum { RUNS = 48, FIRST_RUNS = 16 };
#define NONE UINT32_MAX

struct run {
    uint32_t sym;
    size_t n;
};

struct runs {
    struct run v[RUNS];
    size_t n;
};

static uint64_t rank_of(const struct tokenizer *t, uint32_t left, uint32_t right,
                        uint32_t *result) {
    uint32_t rank = pairs_get(&t->pairs, left, right);
    if (rank == PAIRS_NONE) return UINT64_MAX;
    *result = vocab_merged(t, rank);
    return rank;
}

/* False: too many runs, or a byte without a token. */
static bool runs_of(const struct tokenizer *t, const uint8_t *piece, size_t n, struct runs *r) {
    r->n = 0;
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && piece[end] == piece[i];) end++;
        if (r->n == FIRST_RUNS || t->byte_id[piece[i]] == TOKENIZER_NO_ID) return false;
        r->v[r->n++] = (struct run){t->byte_id[piece[i]], end - i};
    }
    return true;
}

/* Puts `n` copies of `sym` before run `at`, joined with an equal neighbour. False: no room. */
static bool insert(struct runs *r, size_t at, uint32_t sym, size_t n) {
    if (n == 0) return true;
    if (at > 0 && r->v[at - 1].sym == sym) {
        r->v[at - 1].n += n;
        return true;
    }
    if (at < r->n && r->v[at].sym == sym) {
        r->v[at].n += n;
        return true;
    }
    if (r->n == RUNS) return false;
    memmove(&r->v[at + 1], &r->v[at], (r->n - at) * sizeof r->v[0]);
    r->v[at] = (struct run){sym, n};
    r->n++;
    return true;
}

/* Takes run `at` out; equal neighbours become one run. */
static void take_out(struct runs *r, size_t at) {
    r->n--;
    memmove(&r->v[at], &r->v[at + 1], (r->n - at) * sizeof r->v[0]);
    if (at > 0 && at < r->n && r->v[at - 1].sym == r->v[at].sym) {
        size_t n = r->v[at].n;
        take_out(r, at);
        r->v[at - 1].n += n;
    }
}

/* Would the pairs of run `at` merge to `made` one after the other, with nothing in between? */
static bool steady(const struct tokenizer *t, const struct runs *r, size_t at, uint64_t rank,
                   uint32_t made) {
    uint32_t sym = r->v[at].sym, unused;
    bool good = rank_of(t, made, sym, &unused) > rank && rank_of(t, made, made, &unused) > rank;
    if (at > 0) good &= rank_of(t, r->v[at - 1].sym, made, &unused) > rank;
    return good;
}

/* Merges the lowest pair: 1, or 0 if none is left, -1 if this is not the way. */
static int step(const struct tokenizer *t, struct runs *r) {
    uint64_t low = UINT64_MAX;
    uint32_t made = 0, result;
    size_t at = 0;
    bool within = false;
    for (size_t i = 0; i < r->n; i++) {
        if (r->v[i].n > 1) {
            uint64_t rank = rank_of(t, r->v[i].sym, r->v[i].sym, &result);
            if (rank < low) low = rank, at = i, within = true, made = result;
        }
        if (i + 1 == r->n) break;
        uint64_t rank = rank_of(t, r->v[i].sym, r->v[i + 1].sym, &result);
        if (rank < low) low = rank, at = i, within = false, made = result;
    }
    if (low == UINT64_MAX) return 0;
    if (within) {
        size_t n = r->v[at].n;
        if (n > 3 && !steady(t, r, at, low, made)) return -1;
        size_t pairs = n > 3 ? n / 2 : 1; /* without a check, one symbol at a time */
        r->v[at].n -= 2 * pairs;
        if (!insert(r, at, made, pairs)) return -1;
        at += r->v[at].sym == made;
        if (r->v[at].n == 0) take_out(r, at);
        return 1;
    }
    r->v[at].n--;
    r->v[at + 1].n--;
    if (!insert(r, at + 1, made, 1)) return -1;
    for (size_t i = r->n; i-- > 0;)
        if (r->v[i].n == 0) take_out(r, i);
    return 1;
}

int bpe_merge_runs(const struct tokenizer *t, const uint8_t *piece, size_t n, struct u32s *out,
                   struct err *err) {
    struct runs r;
    int more = runs_of(t, piece, n, &r) ? 1 : -1;
    while (more > 0) more = step(t, &r);
    if (more < 0) return 0;
    size_t total = 0;
    for (size_t i = 0; i < r.n; i++) total += r.v[i].n;
    int rc = u32s_reserve(out, total, err);
    for (size_t i = 0; rc == 0 && i < r.n; i++)
        for (size_t k = 0; k < r.v[i].n; k++) out->v[out->n++] = r.v[i].sym;
    return rc < 0 ? rc : 1;
}
