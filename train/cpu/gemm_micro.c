/* See gemm_micro.h. */
#include "train/cpu/gemm_micro.h"

/* gcc 12 would fold loads of B into multiply-adds or keep sums in the wrong operand and move them
 * back, each some instructions in a hundred: so a load stays where it is written, and the sum is
 * added to in its place. OPAQUE: one pointer for three rows instead of one each. */
#ifdef __AVX512F__
#define REGISTER "v"
#elif ISA_LEVEL == 1 && defined(__FMA__)
#define REGISTER "x"
#endif
#ifdef REGISTER
#define IN_ORDER(x) __asm__ volatile("" : "+" REGISTER(x))
INLINE vf mul_add_in_place(vf acc, float a, vf b, bool pairs) {
    if (pairs) return mul_add(acc, a, b, true);
    __asm__("vfmadd231ps %2, %1, %0" : "+" REGISTER(acc) : REGISTER(vf_all(a)), REGISTER(b));
    return acc;
}
#else
#define IN_ORDER(x)      (void)0
#define mul_add_in_place mul_add
#endif
#define OPAQUE(p) __asm__("" : "+r"(p))

enum { UNITS_AHEAD = 16 }; /* that a factor read in place is asked for, line by line */

/* MR x NR of C in registers; 24 sums of 16 lanes keep the multipliers busy. Four units a turn, as
 * instructions are what a processor that is shared with a second thread runs out of first. Element
 * (i, k) of A at a[i * rs + k * cs], row k of B at b[k * ldb]. */
INLINE void multiply(float *c, size_t ldc, const float *a, size_t rs, size_t cs, const float *b,
                     size_t ldb, size_t units, bool add, bool pairs, struct copies to,
                     bool keep_left, bool keep_right, const struct ahead *ahead) {
    vf acc[MR][2];
    const void *const *line = ahead->line, *const *end = line + ahead->n;
    bool apart = !__builtin_constant_p(rs); /* rows; else one pointer is enough */
    const float *p[MR / 3];
    float *left = to.left, *right = to.right;
    size_t below[3] = {0, rs, 2 * rs};
    OPAQUE(below[2]);
    _Pragma("GCC unroll 4") for (int g = 0; g < MR / 3; g++) p[g] = a + 3 * (size_t)g * rs;
    _Pragma("GCC unroll 12") for (int i = 0; i < MR; i++) acc[i][0] = acc[i][1] = (vf){0};
#define UNIT(k)                                                                                    \
    do {                                                                                           \
        vf b0 = ldf(b + (k)*ldb), b1 = ldf(b + (k)*ldb + VL);                                      \
        IN_ORDER(b0);                                                                              \
        IN_ORDER(b1);                                                                              \
        if (keep_right) {                                                                          \
            stf(right + (k)*NR, b0);                                                               \
            stf(right + (k)*NR + VL, b1);                                                          \
            __builtin_prefetch(b + ((k) + UNITS_AHEAD) * ldb);                                     \
            if (NR > 16) __builtin_prefetch(b + ((k) + UNITS_AHEAD) * ldb + NR / 2);               \
        }                                                                                          \
        if (keep_left) {                                                                           \
            memcpy(left + (k)*MR, p[0] + (k)*cs, MR * sizeof *a);                                  \
            __builtin_prefetch(p[0] + ((k) + UNITS_AHEAD) * cs);                                   \
        }                                                                                          \
        _Pragma("GCC unroll 12") for (size_t i = 0; i < MR; i++) {                                 \
            float x = p[i / 3][below[i % 3] + (k)*cs];                                             \
            acc[i][0] = mul_add_in_place(acc[i][0], x, b0, pairs);                                 \
            acc[i][1] = mul_add_in_place(acc[i][1], x, b1, pairs);                                 \
        }                                                                                          \
    } while (0)
    for (const float *stop = b + units / TURN * TURN * ldb; b != stop; b += TURN * ldb) {
        if (line < end) __builtin_prefetch(*line++, 0, 2);
        UNIT(0);
        UNIT(1);
        UNIT(2);
        UNIT(3);
        _Pragma("GCC unroll 4") for (int g = 0; g < MR / 3; g++) {
            p[g] += TURN * cs;
            if (apart) OPAQUE(p[g]);
        }
        if (keep_right) right += TURN * NR;
        if (keep_left) left += TURN * MR;
    }
    for (units %= TURN; units; units--) {
        UNIT(0);
        _Pragma("GCC unroll 4") for (int g = 0; g < MR / 3; g++) p[g] += cs;
        b += ldb;
        if (keep_right) right += NR;
        if (keep_left) left += MR;
    }
#undef UNIT
    _Pragma("GCC unroll 12") for (size_t i = 0; i < MR; i++) {
        float *row = c + i * ldc;
        stf(row, add ? ldf(row) + acc[i][0] : acc[i][0]);
        stf(row + VL, add ? ldf(row + VL) + acc[i][1] : acc[i][1]);
    }
}

/* Every way the factors may lie as a function of its own: A in place by rows, or packed or across
 * by columns; _right, _left, _both: what is packed by the way. */
#define MICRO_KERNEL(NAME, RS, CS, LDB, PAIRS, LEFT, RIGHT)                                        \
    static __attribute__((noinline)) void NAME(                                                    \
        float *c, size_t ldc, const float *a, size_t stride, const float *b, size_t ldb,           \
        size_t units, bool add, struct copies to, const struct ahead *ahead) {                     \
        (void)ldb, (void)to, (void)stride;                                                         \
        multiply(c, ldc, a, RS, CS, b, LDB, units, add, PAIRS, to, LEFT, RIGHT, ahead);            \
    }
MICRO_KERNEL(micro_rows, stride, 1, NR, false, false, false)
MICRO_KERNEL(micro_columns, 1, MR, NR, false, false, false)
MICRO_KERNEL(micro_rows_right, stride, 1, ldb, false, false, true)
MICRO_KERNEL(micro_columns_right, 1, MR, ldb, false, false, true)
MICRO_KERNEL(micro_left, 1, stride, NR, false, true, false)
MICRO_KERNEL(micro_both, 1, stride, ldb, false, true, true)
#if ISA_LEVEL == 3
MICRO_KERNEL(micro_rows_pairs, stride, 1, NR, true, false, false)
MICRO_KERNEL(micro_columns_pairs, 1, MR, NR, true, false, false)
#else
#define micro_rows_pairs    micro_rows
#define micro_columns_pairs micro_columns
#endif

void gemm_micro(float *c, size_t ldc, const struct left *a, const float *b, size_t ldb,
                size_t units, bool add, bool pairs, struct copies to, const struct ahead *ahead) {
    bool rows = a->cs == 1 && a->rs != 1;
    size_t stride = rows ? a->rs : a->cs;
    if (rows && pairs)
        micro_rows_pairs(c, ldc, a->p, stride, b, ldb, units, add, to, ahead);
    else if (pairs)
        micro_columns_pairs(c, ldc, a->p, stride, b, ldb, units, add, to, ahead);
    else if (to.left && to.right)
        micro_both(c, ldc, a->p, stride, b, ldb, units, add, to, ahead);
    else if (to.left)
        micro_left(c, ldc, a->p, stride, b, ldb, units, add, to, ahead);
    else if (rows && to.right)
        micro_rows_right(c, ldc, a->p, stride, b, ldb, units, add, to, ahead);
    else if (rows)
        micro_rows(c, ldc, a->p, stride, b, ldb, units, add, to, ahead);
    else if (to.right)
        micro_columns_right(c, ldc, a->p, stride, b, ldb, units, add, to, ahead);
    else
        micro_columns(c, ldc, a->p, stride, b, ldb, units, add, to, ahead);
}
