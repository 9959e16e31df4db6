/* One harness for every operation: the same inputs through the reference and every CPU table.
 *
 *   run(dev, case, out)   uploads inputs, calls the operation, hands the results to out_…()
 *
 *   op_check() runs each case on the reference, then on every table this processor has, in fp32 and
 *   bf16, with 1, 2 and 3 threads: results are within the tolerance stated at out_…(), and the same
 *   bits for any number of threads. For bf16 the reference sees inputs rounded to bf16.
 *
 *   Built with OP_DEVICE, the harness takes op_device() in place of the CPU's tables: the
 *   emulator's (tests/simt) or a GPU's. Two runs must give the same bits.
 *
 * Gradients of the reference are checked against differences of its forward with op_slope(). */
#ifndef LORY_TESTS_OP_HARNESS_H
#define LORY_TESTS_OP_HARNESS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "train/op.h"

struct dev {
    const struct backend *be;
    struct device *d;
    enum dtype dtype;
    int threads;
    bool round; /* inputs are rounded to bf16 */
    char name[64];
    void *held[64]; /* device memory, given back when the case ends */
    int n_held;
};

/* A host array; random ones depend on `seed` alone. */
struct arr {
    float *v;
    size_t n;
};
struct arr arr_random(uint64_t seed, size_t n, float scale);
int32_t *ints_below(uint64_t seed, size_t n, int32_t below); /* free() */

/* Device copies, as act type, fp32 and int32; NULL for 0 elements. */
void *dev_act(struct dev *v, struct arr a);
void *dev_f32(struct dev *v, struct arr a);
void *dev_ints(struct dev *v, const int32_t *p, size_t n);
void *dev_bytes(struct dev *v, const void *p, size_t n);
/* n random values, and n zeros. */
void *dev_random(struct dev *v, uint64_t seed, size_t n, float scale);
float *dev_random_f32(struct dev *v, uint64_t seed, size_t n, float scale);
void *dev_zero(struct dev *v, size_t n);
int32_t *dev_ints_below(struct dev *v, uint64_t seed, size_t n, int32_t below);
/* Values of the device as floats; free(). */
float *dev_get(struct dev *v, const void *p, size_t n, bool act);

/* Results. The tolerance is of the relative L2 error; single elements may err 30 times as much of
 * the tensor's root mean square (plus their own size). */
struct out;
void out_act(struct out *o, struct dev *v, const char *name, const void *p, size_t n, double tol32,
             double tol16);
void out_f32(struct out *o, struct dev *v, const char *name, const void *p, size_t n, double tol32,
             double tol16);

/* Relative error of a sum of K products of random signs, added in order in fp32: u sqrt(K) / 2,
 * times 4 and with room for what surrounds it. */
static inline double tol_sum(size_t K) {
    return 0x1p-24 * 2 * (8 + sqrt((double)K));
}
/* `stages` roundings to bf16 (root mean square 0.35 * 2^-8 each), twice as much allowed. */
static inline double tol_bf16(int stages) {
    return 2 * 0.35 * 0x1p-8 * sqrt((double)stages);
}

/* The device under test where the harness was built with OP_DEVICE; exits with 77 without one. */
const struct backend *op_device(void);

typedef void (*op_run)(struct dev *v, const void *one_case, struct out *o);
void op_check(const char *op, op_run run, const void *cases, size_t n_cases, size_t case_bytes);

/* Fails the test unless `ok`; the message says what was expected. */
void expect(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* d/dx of f by the five-point difference, f(ctx) being the weighted sum of an operation's outputs:
 * error h^4 / 30 times the fifth derivative, and the outputs' rounding over h. */
double op_slope(double (*f)(void *ctx), void *ctx, float *x);
/* Sum of w[i] * y[i]. */
double weighted(const float *y, const float *w, size_t n);

/* Times fn(v, ctx) on the best table: best of several, and the median part of the multiply-add
 * peak. `flops` and `bytes` 0: unknown. */
void op_bench(struct dev *v, const char *what, void (*fn)(struct dev *v, void *ctx), void *ctx,
              double flops, double bytes);
/* The best table, for --bench; `threads` 0: all. */
void dev_open_best(struct dev *v, enum dtype dtype, int threads);
#ifdef OP_DEVICE
/* The same with products measured, and kept in plan_file (op.h); NULL: neither. */
void dev_open_measuring(struct dev *v, enum dtype dtype, int threads, const char *plan_file);
#endif
void dev_open_ref(struct dev *v);
void dev_close(struct dev *v);

/* What a check program consists of. `slopes` and `bench` may be NULL. */
struct op_program {
    void (*slopes)(void);
    void (*quick)(void);
    void (*full)(void); /* --full: larger shapes  */
    void (*bench)(struct dev *v);
};
int op_main(int argc, char **argv, const struct op_program *p);

#endif
