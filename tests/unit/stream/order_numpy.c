/* The numbers of numpy's default_rng(), against what numpy 1.24 to 2.4 print. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "stream/order.h"

static struct numpy_rng seeded(uint64_t seed) {
    struct numpy_rng r;
    numpy_seed(&r, seed);
    return r;
}

static void words(void **state) {
    struct numpy_rng a = seeded(0), b = seeded(42);
    (void)state;
    assert_int_equal(numpy_u64(&a), 0xa30febcfd9c2825f);
    assert_int_equal(numpy_u64(&b), 0xc621fbcd16d92688);
    /* default_rng(2**40 + 3): both halves of the seed count */
    struct numpy_rng c = seeded((1ull << 40) + 3);
    assert_int_equal(numpy_u64(&c), 0xc60e533fbbb0872c);
}

/* 32 bits come from the low half of a word, then from its high half, whatever is drawn in
 * between. */
static void halves(void **state) {
    struct numpy_rng r = seeded(42);
    (void)state;
    assert_int_equal(numpy_u32(&r), 0x16d92688);
    struct numpy_rng copy = r;
    numpy_u64(&r);
    assert_int_equal(numpy_u32(&r), 0xc621fbcd);
    assert_int_equal(numpy_u32(&copy), 0xc621fbcd);
}

static void integers(void **state) {
    static const uint32_t want[] = {89, 773, 654, 438, 433, 858, 85, 697};
    struct numpy_rng r = seeded(42), same = r;
    (void)state;
    for (int i = 0; i < 8; i++) assert_int_equal(numpy_below(&r, 1000), want[i]);
    assert_int_equal(numpy_below(&same, 1), 0); /* takes no number */
    assert_int_equal(numpy_below(&same, 1000), 89);
    /* integers(0, 3 * 2**30, 6) rejects a quarter of what it draws */
    static const uint32_t large[] = {3043751912, 2013573438, 2203897839,
                                     1862810377, 2498658503, 2685377905};
    r = seeded(7);
    for (int i = 0; i < 6; i++) assert_int_equal(numpy_below(&r, 3ull << 30), large[i]);
    r = seeded(7), same = r; /* integers(0, 2**32) */
    assert_int_equal(numpy_below(&r, 1ull << 32), numpy_u32(&same));
}

static void shuffles(void **state) {
    static const uint32_t want[] = {166, 135, 7,  126, 138, 25,  67, 108,
                                    178, 37,  90, 52,  82,  181, 20, 152};
    struct numpy_rng r = seeded(42), same = r;
    uint32_t v[184];
    void *ptrs[184];
    (void)state;
    for (uint32_t i = 0; i < 184; i++) v[i] = i, ptrs[i] = &v[i];
    numpy_shuffle_ptrs(&same, ptrs, 184);
    for (int i = 0; i < 16; i++) assert_int_equal((uint32_t *)ptrs[i] - v, want[i]);
    numpy_shuffle(&r, v, 184);
    for (int i = 0; i < 16; i++) assert_int_equal(v[i], want[i]);
    numpy_shuffle(&r, v, 1); /* of one, and of none, takes no number */
    numpy_shuffle(&r, v, 0);
    assert_int_equal(numpy_u64(&r), numpy_u64(&same));
}

/* The first groups have one file more; more files than ten make ten groups. */
static void groups(void **state) {
    (void)state;
    assert_int_equal(order_groups(ORDER_HF5, 184), 10);
    assert_int_equal(order_group_at(184, 10, 0), 0);
    assert_int_equal(order_group_at(184, 10, 4), 76);
    assert_int_equal(order_group_at(184, 10, 5), 94);
    assert_int_equal(order_group_at(184, 10, 10), 184);
    assert_int_equal(order_groups(ORDER_HF5, 3), 3);
    assert_int_equal(order_groups(ORDER_HF4, 184), 1);
    assert_int_equal(order_groups(ORDER_SOURCE, 184), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),    cmocka_unit_test(halves), cmocka_unit_test(integers),
        cmocka_unit_test(shuffles), cmocka_unit_test(groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
