/* MinHash against values of datasketch (numpy), and its fast loop against the plain one. */
#include "stream_help.h"
#include "stream/minhash.h"
#include "stream/minhash_parts.h"

#define MINHASH_LOOP plain_loop
#include "stream/minhash_loop.h"

static void signature_is_datasketch_s(void **state) {
    static const uint32_t want[8] = {228630785, 810443340,  835630814,  2214659754,
                                     447328345, 1039171653, 1434875739, 1693896492};
    const char *text = "def main(): print(hello); main() # def";
    struct minhasher *m;
    struct err err = {0};
    uint32_t got[MINHASH_VALUES];
    const uint64_t *set;
    size_t n;
    uint64_t words;
    (void)state;
    check_ok(minhasher_new(&m, &err), &err);
    check_ok(minhash_words(m, text, strlen(text), &set, &n, &words, &err), &err);
    assert_int_equal(words, 6);
    assert_int_equal(n, 4);
    for (size_t i = 1; i < n; i++) assert_true(set[i - 1] < set[i]);
    minhash_signature(m, got);
    for (int k = 0; k < 8; k++) assert_int_equal(got[k], want[k]);
    minhasher_free(m);
}

static void no_words_no_minima(void **state) {
    struct minhasher *m;
    struct err err = {0};
    uint32_t got[MINHASH_VALUES];
    uint64_t words;
    (void)state;
    check_ok(minhasher_new(&m, &err), &err);
    check_ok(minhash_words(m, "abc def", 7, NULL, NULL, &words, &err), &err);
    check_ok(minhash_words(m, " \xc3\xa9 + ", 6, NULL, NULL, &words, &err), &err);
    assert_int_equal(words, 0); /* nothing of the document before */
    minhash_signature(m, got);
    for (int k = 0; k < MINHASH_VALUES; k++) assert_int_equal(got[k], UINT32_MAX);
    minhasher_free(m);
}

/* Numbers at the edges of the modulus, where the fast loop could go wrong. */
static void wide_loop_is_the_plain_one(void **state) {
    struct minhash_table t;
    struct rng rng = {.key = 5};
    uint32_t a[MINHASH_VALUES], b[MINHASH_VALUES], h[64];
    const uint64_t prime = (UINT64_C(1) << 61) - 1;
    (void)state;
    for (int k = 0; k < MINHASH_VALUES; k++) {
        t.a[k] = k % 7 == 0 ? prime - 1 : 1 + rng_below(&rng, prime - 1);
        t.b[k] = k % 5 == 0 ? prime - 1 : rng_below(&rng, prime);
    }
    for (int i = 0; i < 64; i++) h[i] = i < 2 ? UINT32_MAX * (uint32_t)i : (uint32_t)rng_u64(&rng);
    for (int k = 0; k < MINHASH_VALUES; k++) {
        unsigned __int128 x = (uint64_t)(t.a[k] * h[1] + t.b[k]);
        a[k] = UINT32_MAX;
        b[k] = (uint32_t)(x % prime);
    }
    plain_loop(a, &t, h + 1, 1);
    assert_memory_equal(a, b, sizeof a);
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2")) skip();
    memset(a, 0xff, sizeof a);
    memset(b, 0xff, sizeof b);
    plain_loop(a, &t, h, 64);
    minhash_avx2(b, &t, h, 64);
    assert_memory_equal(a, b, sizeof a);
#endif
}

static void jaccard_counts(void **state) {
    const uint64_t a[] = {1, 3, 5, 7}, b[] = {3, 4, 5, 6, 7};
    (void)state;
    assert_true(minhash_jaccard(a, 4, b, 5) == 3.0 / 6);
    assert_true(minhash_jaccard(a, 4, a, 4) == 1);
    assert_true(minhash_jaccard(a, 4, b, 0) == 0);
    assert_true(minhash_jaccard(a, 0, b, 0) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature_is_datasketch_s), cmocka_unit_test(no_words_no_minima),
        cmocka_unit_test(wide_loop_is_the_plain_one), cmocka_unit_test(jaccard_counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
