/* Normal numbers: the fast ones are those of the formula, from anywhere, with the same bits on
 * every machine. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/normal.h"

enum { MANY = 1 << 20 };

static void they_are_those_of_the_formula(void **state) {
    static const double scales[] = {1, 0.02};
    float *v = malloc(MANY * sizeof *v);
    double sum = 0, squares = 0, fourth = 0;
    (void)state;
    assert_non_null(v);
    for (int k = 0; k < 2; k++) {
        normals(3, 5, 1u << 30, MANY, scales[k], v);
        for (size_t i = 0; i < MANY; i++) {
            double want = scales[k] * normal_plain(3, 5, (1u << 30) + i);
            /* half a last place of a float, and what the series leave */
            if (fabs(v[i] - want) > fabs(want) * 0x1p-24 + 1e-12)
                fail_msg("number %zu is %.9g, not %.9g", i, (double)v[i], want);
            double x = v[i] / scales[k];
            sum += x, squares += x * x, fourth += x * x * x * x;
        }
    }
    free(v);
    assert_true(fabs(sum / (2 * MANY)) < 5e-3);
    assert_true(fabs(squares / (2 * MANY) - 1) < 5e-3);
    assert_true(fabs(fourth / (2 * MANY) - 3) < 0.05);
}

static void any_piece_is_a_piece_of_the_whole(void **state) {
    enum { N = 1000 };
    float whole[N], piece[N], any[N];
    (void)state;
    normals(1, 2, (UINT64_C(1) << 34) - 500, N, 0.5, whole);
    normals_any(1, 2, (UINT64_C(1) << 34) - 500, N, 0.5, any);
    assert_memory_equal(any, whole, sizeof whole); /* with the processor's own vectors or without */
    for (size_t at = 0; at < N; at += 1 + at % 7)
        for (size_t n = 0; n <= N - at; n = n < 10 ? n + 1 : 2 * n) {
            normals(1, 2, (UINT64_C(1) << 34) - 500 + at, n, 0.5, piece);
            assert_memory_equal(piece, whole + at, n * sizeof *piece);
        }
}

static void the_bits_stay(void **state) {
    static const uint32_t want[2][8] = {{0x3FC3CE29, 0x3F0C98BF, 0xBF2273A5, 0x3F5548D9, 0xBF761E40,
                                         0x3D058616, 0xBEDC6755, 0x3EA16883},
                                        {0xBB4A18A3, 0xBC2CDBDA, 0xBB4969F2, 0xBB886C80}};
    float v[8];
    (void)state;
    normals(1, 2, 6, 8, 1, v);
    assert_memory_equal(v, want[0], sizeof v);
    normals(UINT64_MAX, UINT64_MAX, (UINT64_C(1) << 34) + 3, 4, 0.02, v);
    assert_memory_equal(v, want[1], 4 * sizeof *v);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(they_are_those_of_the_formula),
                                       cmocka_unit_test(any_piece_is_a_piece_of_the_whole),
                                       cmocka_unit_test(the_bits_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
