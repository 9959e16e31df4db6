/* The table of pairs beside a plain list of them: what is in it, what is not, a pair set twice, ids
 * as large as a table can hold, and larger ones. */
#include "tests/unit/tokenizer/encode_help.h"
#include "tokenizer/pairs.h"

enum { MOST_PAIRS = 2000 };

static uint32_t plain_get(const struct merge *v, size_t n, uint32_t left, uint32_t right) {
    uint32_t rank = PAIRS_NONE; /* the last of equals */
    for (size_t i = 0; i < n; i++)
        if (v[i].left == left && v[i].right == right) rank = v[i].result;
    return rank;
}

/* `n` random pairs of ids up to `most`, ranks below `ranks`. */
static void compare(struct rng *r, size_t n, uint32_t most, uint64_t ranks) {
    static struct merge v[MOST_PAIRS];
    struct pairs p;
    struct err err = {0};
    uint64_t kinds = (uint64_t)most + 1;
    check_ok(pairs_new(&p, n, ranks, most, &err), &err);
    for (size_t i = 0; i < n; i++) {
        v[i] = (struct merge){.left = (uint32_t)rng_below(r, kinds),
                              .right = (uint32_t)rng_below(r, kinds),
                              .result = (uint32_t)rng_below(r, ranks)};
        if (i % 5 == 1) v[i].left = v[i - 1].left, v[i].right = v[i - 1].right; /* twice */
        if (i % 7 == 0) v[i].left = v[i].right = most;
        if (i % 11 == 0) v[i].result = (uint32_t)ranks - 1;
        pairs_expect(&p, v[i].left, v[i].right);
        pairs_set(&p, v[i].left, v[i].right, v[i].result);
    }
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(pairs_get(&p, v[i].left, v[i].right),
                         plain_get(v, n, v[i].left, v[i].right));
        uint32_t left = (uint32_t)rng_below(r, kinds), right = v[i].right;
        assert_int_equal(pairs_get(&p, left, right), plain_get(v, n, left, right));
    }
    pairs_release(&p);
}

static void every_pair_has_its_rank(void **state) {
    (void)state;
    struct rng r = {.key = 9};
    compare(&r, 0, 0, 0);
    compare(&r, 1, 0, 1);
    compare(&r, 50, 3, 50);                   /* nearly every pair there is */
    compare(&r, MOST_PAIRS, 200, MOST_PAIRS); /* a full table */
    compare(&r, MOST_PAIRS, 50256, 50000);
    compare(&r, MOST_PAIRS, (1 << 21) - 1, (1 << 22) - 1);
    compare(&r, MOST_PAIRS, (1u << 31) - 1, 3); /* 31 bits an id, 2 a rank */
    for (uint32_t most = 1; most < 1 << 20; most = 3 * most + 1) compare(&r, 300, most, 5000);
}

/* A free slot is all ones, and so is the key of two ids of ones, as in vocabularies of 131,072. */
static void two_ids_of_ones_are_no_free_slot(void **state) {
    (void)state;
    const uint32_t most = (1 << 17) - 1;
    struct pairs p;
    struct err err = {0};
    check_ok(pairs_new(&p, MOST_PAIRS, MOST_PAIRS, most, &err), &err);
    memset(p.filter, 0xFF, (size_t)1 << (p.filter_bits - 3)); /* as other pairs may have left it */
    assert_int_equal(pairs_get(&p, most, most), PAIRS_NONE);
    pairs_release(&p);
}

static void more_than_64_bits_are_refused(void **state) {
    (void)state;
    struct pairs p;
    struct err err = {0};
    assert_int_equal(pairs_new(&p, 10, 1 << 22, (1 << 21) - 1, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "merges of ids up to 2097151"));
    assert_int_equal(pairs_new(&p, 10, 4, UINT32_MAX - 1, &err), ERR_CORRUPT);
    pairs_release(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_pair_has_its_rank),
                                       cmocka_unit_test(two_ids_of_ones_are_no_free_slot),
                                       cmocka_unit_test(more_than_64_bits_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
