/* err, buf and arena: the three things everything else stands on. */
#include "tests/unit/test.h"
#include "base/arena.h"
#include "base/buf.h"

#include <errno.h>

static void messages_grow_at_both_ends(void **state) {
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, ERR_DATA, "line %d", 7), ERR_DATA);
    err_place(&e, 7, 2, 90);
    assert_int_equal(err_prefix(&e, "a.jsonl"), ERR_DATA);
    assert_int_equal(err_hint(&e, "try --%s", "field"), ERR_DATA);
    assert_string_equal(e.msg, "a.jsonl: line 7; try --field");
    assert_int_equal(e.line, 7);
    assert_int_equal(err_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
}

/* A message may be built from itself, and one that is too long must end in "..." inside the
 * buffer. */
static void long_messages_are_cut(void **state) {
    (void)state;
    struct err e = {0};
    err_set(&e, ERR_IO, "%2000d", 1);
    assert_int_equal(strlen(e.msg), ERR_MSG_BYTES - 1);
    assert_string_equal(e.msg + ERR_MSG_BYTES - 4, "...");
    err_set(&e, ERR_IO, "short");
    err_set(&e, ERR_IO, "again: %s", e.msg);
    assert_string_equal(e.msg, "again: short");
    for (int i = 0; i < 300; i++) err_prefix(&e, "prefix");
    assert_string_equal(e.msg + ERR_MSG_BYTES - 4, "...");
}

static void errno_decides_the_code(void **state) {
    (void)state;
    struct err e = {0};
    errno = ENOSPC;
    check_fails(err_errno(&e, "x.bin"), ERR_IO, &e, "x.bin: No space left");
    errno = EPIPE;
    assert_int_equal(err_errno(&e, "x"), ERR_PIPE);
    errno = ENOMEM;
    assert_int_equal(err_errno(&e, "x"), ERR_NOMEM);
}

static void buffers_grow_and_keep(void **state) {
    (void)state;
    struct err e = {0};
    struct buf b = {0};
    for (int i = 0; i < 1000; i++) check_ok(buf_printf(&b, &e, "%03d,", i), &e);
    assert_int_equal(b.n, 4000);
    assert_memory_equal(buf_cstr(&b) + 3992, "998,999,", 9);
    assert_int_equal(b.n, 4000);
    check_fails(buf_reserve(&b, SIZE_MAX, &e), ERR_NOMEM, &e, "out of memory");
    assert_memory_equal(b.v, "000,001,", 8); /* a failure leaves the contents */
    buf_release(&b);
    assert_null(b.v);
    assert_string_equal(buf_cstr(&b), "");
    buf_release(&b);
}

static void typed_arrays_check_the_product(void **state) {
    (void)state;
    struct err e = {0};
    struct u64s a = {0};
    for (uint64_t i = 0; i < 100; i++) check_ok(u64s_push(&a, i << 40, &e), &e);
    assert_int_equal(a.v[99], (uint64_t)99 << 40);
    assert_int_equal(u64s_reserve(&a, SIZE_MAX / 8, &e), ERR_NOMEM);
    assert_int_equal(a.v[99], (uint64_t)99 << 40);
    u64s_release(&a);
    assert_null(mem_array(SIZE_MAX / 2, 3));
    assert_null(mem_resize(NULL, SIZE_MAX / 2, 3));
}

static void arena_pointers_stay(void **state) {
    (void)state;
    struct arena a = {0};
    char *first = arena_str(&a, "first", 5);
    for (int i = 0; i < 10000; i++) {
        uint32_t *v = arena_array(&a, 25, 4);
        assert_int_equal((uintptr_t)v % 16, 0);
        for (int j = 0; j < 25; j++) assert_int_equal(v[j], 0);
        memset(v, 0xFF, 100);
    }
    assert_string_equal(first, "first");
    assert_null(arena_array(&a, SIZE_MAX / 2, 3));
    assert_null(arena_alloc(&a, SIZE_MAX - 3));
    size_t held = a.total;
    arena_clear(&a);
    assert_true(a.total > 0 && a.total < held);
    assert_non_null(arena_alloc(&a, 1));
    arena_release(&a);
    assert_int_equal(a.total, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_grow_at_both_ends),     cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(errno_decides_the_code),         cmocka_unit_test(buffers_grow_and_keep),
        cmocka_unit_test(typed_arrays_check_the_product), cmocka_unit_test(arena_pointers_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
