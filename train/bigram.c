/* The bigram yardstick: see bigram.h.
 *
 * Counting needs no hash table: the tokens behind each token are laid side by side and sorted.
 *
 *   begin[v] ─▶ next: | 3 3 7 9 9 9 | 0 4 4 | …      c(v) is a bucket's length, c(v,w) a run's
 * length bucket of v   of v+1 */
#include "train/bigram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct counts {
    uint32_t V;
    uint64_t *begin;   /* (V + 1) where the bucket of each token begins in `next`  */
    uint32_t *next;    /* (training pairs)                                         */
    uint64_t *follow;  /* (V) n(v): different tokens behind v                      */
    uint64_t *precede; /* (V) n'(w): different tokens before w                     */
    uint64_t pairs, once, twice;
};

static void release(struct counts *c) {
    free(c->begin);
    free(c->next);
    free(c->follow);
    free(c->precede);
}

static int check_ids(const struct shard_set *set, uint32_t V, struct err *err) {
    for (size_t s = 0; s < set->n; s++)
        for (uint64_t i = 0; i < set->v[s].n; i++)
            if (shard_token(&set->v[s], i) >= V)
                return err_set(err, ERR_CORRUPT, "%s: token %llu is %u, the vocabulary has %u",
                               set->v[s].path, (unsigned long long)i, shard_token(&set->v[s], i),
                               V);
    return 0;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Lays the token behind each token into its bucket; a shard's end is no pair. */
static void fill(struct counts *c, const struct shard_set *set) {
    for (size_t s = 0; s < set->n; s++)
        for (uint64_t i = 1; i < set->v[s].n; i++) c->begin[shard_token(&set->v[s], i - 1) + 1]++;
    for (uint32_t v = 0; v < c->V; v++) c->begin[v + 1] += c->begin[v];
    /* begin[v] moves to the bucket's end while filling; afterwards everything moves back by one. */
    for (size_t s = 0; s < set->n; s++)
        for (uint64_t i = 1; i < set->v[s].n; i++)
            c->next[c->begin[shard_token(&set->v[s], i - 1)]++] = shard_token(&set->v[s], i);
    memmove(c->begin + 1, c->begin, c->V * sizeof *c->begin);
    c->begin[0] = 0;
}

/* Sorts the buckets and counts their runs. */
static void count_runs(struct counts *c) {
    for (uint32_t v = 0; v < c->V; v++) {
        uint32_t *p = c->next + c->begin[v], *end = c->next + c->begin[v + 1];
        qsort(p, (size_t)(end - p), sizeof *p, by_value);
        while (p < end) {
            uint32_t *run = p;
            while (p < end && *p == *run) p++;
            c->once += p - run == 1;
            c->twice += p - run == 2;
            c->follow[v]++;
            c->precede[*run]++;
            c->pairs++;
        }
    }
}

/* How many of the sorted bucket [p, end) are below x. */
static uint64_t below(const uint32_t *p, const uint32_t *end, uint64_t x) {
    uint64_t lo = 0, hi = (uint64_t)(end - p);
    while (lo < hi) {
        uint64_t mid = (lo + hi) / 2;
        if (p[mid] < x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static double probability(const struct counts *c, double D, uint32_t v, uint32_t w) {
    double p1 = ((double)c->precede[w] + 1) / ((double)c->pairs + c->V);
    const uint32_t *p = c->next + c->begin[v], *end = c->next + c->begin[v + 1];
    if (p == end) return p1;
    double all = (double)(end - p),
           seen = (double)(below(p, end, (uint64_t)w + 1) - below(p, end, w));
    return (seen > D ? (seen - D) / all : 0) + D * (double)c->follow[v] / all * p1;
}

static int allocate(struct counts *c, uint32_t V, uint64_t tokens, struct err *err) {
    c->V = V;
    c->begin = mem_array((size_t)V + 1, sizeof *c->begin);
    c->next = mem_array(tokens, sizeof *c->next);
    c->follow = mem_array(V, sizeof *c->follow);
    c->precede = mem_array(V, sizeof *c->precede);
    if (!c->begin || !c->next || !c->follow || !c->precede)
        return err_nomem(err, tokens * 4 + (uint64_t)V * 24);
    return 0;
}

/* The sum over a shard's targets, and their number. */
static double score(const struct counts *c, double D, const struct shard *s, uint64_t *targets) {
    double sum = 0;
    for (uint64_t i = 1; i < s->n; i++) {
        if (s->mask && !(s->mask[i / 8] >> i % 8 & 1)) continue;
        sum -= log(probability(c, D, shard_token(s, i - 1), shard_token(s, i)));
        ++*targets;
    }
    return sum;
}

int bigram_loss(const struct shard_set *train, const struct shard_set *valid, uint32_t V,
                struct bigram_result *ret, struct err *err) {
    struct counts c = {0};
    int rc = check_ids(train, V, err);
    if (rc == 0) rc = check_ids(valid, V, err);
    if (rc == 0) rc = allocate(&c, V, train->tokens, err);
    if (rc == 0) {
        fill(&c, train);
        count_runs(&c);
        double D = c.once ? (double)c.once / ((double)c.once + 2 * (double)c.twice) : 0.5, sum = 0;
        uint64_t targets = 0;
        for (size_t s = 0; s < valid->n; s++) sum += score(&c, D, &valid->v[s], &targets);
        if (targets == 0)
            rc = err_set(err, ERR_DATA, "no token to score: the shards are too short");
        else
            *ret = (struct bigram_result){.loss = sum / (double)targets,
                                          .targets = targets,
                                          .train_tokens = train->tokens,
                                          .pairs = c.pairs,
                                          .discount = D};
    }
    release(&c);
    return rc;
}
