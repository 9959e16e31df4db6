/* The vector functions of one instruction set against the C library in double, and dropout's bits
 * against the plain form. Compiled once per instruction set with the backend's own flags. */
#include <stdio.h>
#include <stdlib.h>
#include "train/cpu/act.h"
#include "train/dropout.h"

static int failed;

static double one(vf v) {
    return (double)v[0];
}
static double v_exp(float x) {
    return one(vf_exp(vf_all(x)));
}
static double v_exp2(float x) {
    return one(vf_exp2(vf_all(x)));
}
static double v_tanh_gelu(float x) {
    return one(vf_act(vf_all(x), ACT_GELU_TANH));
}
static double v_erf_gelu(float x) {
    return one(vf_act(vf_all(x), ACT_GELU_ERF));
}
static double v_tanh_slope(float x) {
    return one(vf_act_slope(vf_all(x), ACT_GELU_TANH));
}
static double v_erf_slope(float x) {
    return one(vf_act_slope(vf_all(x), ACT_GELU_ERF));
}

static double u_of(double x) {
    return 0.79788456080286535588 * (x + 0.044715 * x * x * x);
}
static double d_tanh_gelu(double x) {
    return 0.5 * x * (1 + tanh(u_of(x)));
}
static double d_erf_gelu(double x) {
    return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
}
static double d_tanh_slope(double x) {
    double t = tanh(u_of(x));
    return 0.5 * (1 + t) +
           0.5 * x * (1 - t * t) * 0.79788456080286535588 * (1 + 3 * 0.044715 * x * x);
}
static double d_erf_slope(double x) {
    return 0.5 * (1 + erf(x * 0.70710678118654752440)) +
           x * 0.39894228040143267794 * exp(-0.5 * x * x);
}

/* Largest error over [lo, hi], relative to |want| + floor. */
static void sweep(const char *name, double (*got)(float), double (*want)(double), float lo,
                  float hi, double floor_, double allowed) {
    double worst = 0;
    float at_x = 0;
    for (int i = 0; i <= 200000; i++) {
        float x = lo + (hi - lo) * (float)i / 200000;
        double w = want(x), e = fabs(got(x) - w) / (fabs(w) + floor_);
        if (!(e <= worst)) worst = e, at_x = x;
    }
    printf("%-12s worst error %.2e at %g, allowed %.2e\n", name, worst, at_x, allowed);
    if (!(worst <= allowed)) failed = 1;
}

static void dropout_bits(void) {
    float plain[300], fast[300];
    for (int k = 0; k < 40; k++) {
        uint64_t more = 1000;
        struct dropout drop = {k == 0 ? 0.99999f : 0.02f * (float)k + 0.001f,
                               0x123456789abcull * (uint64_t)(k + 1), 0xfffffffff0ull + (uint64_t)k,
                               (uint32_t)k, k % 2 ? &more : NULL};
        uint64_t e = 1000003ull * (uint64_t)k;
        size_t n = 1 + 7 * (size_t)k;
        dropout_factors(plain, &drop, k, e, n);
        dropout_row(fast, &drop, k, e, n);
        if (memcmp(plain, fast, n * sizeof *plain) != 0)
            failed = 1, printf("dropout bits differ, k %d\n", k);
    }
    /* The vector of Random123's known answers (philox4x32-10, key and counter all ones). */
    struct philox_out o = philox(~0ull, ~0ull, ~0ull);
    if (o.v[0] != 0x408f276du || o.v[2] != 0xa20bc7c6u)
        failed = 1, printf("philox: %08x\n", o.v[0]);
    double sum = 0;
    struct dropout drop = {0.1f, 7, 0, 1, NULL};
    for (uint64_t e = 0; e < 300000; e += 300) {
        dropout_row(fast, &drop, 0, e, 300);
        for (int i = 0; i < 300; i++) sum += fast[i];
    }
    if (fabs(sum / 300000 - 1) > 0.003) failed = 1, printf("dropout's mean is %g\n", sum / 300000);
}

int main(void) {
    if (!cpu_backend(ISA_LEVEL)) return 77;
    sweep("exp", v_exp, exp, -87, 88, 0, 1.5e-7);
    sweep("exp2", v_exp2, exp2, -126, 127, 0, 1.2e-7);
    sweep("exp2 near 0", v_exp2, exp2, -2, 2, 0, 1.2e-7);
    sweep("gelu_new", v_tanh_gelu, d_tanh_gelu, -12, 12, 1e-2, 6e-7);
    sweep("gelu", v_erf_gelu, d_erf_gelu, -12, 12, 1e-2, 6e-7);
    sweep("gelu_new'", v_tanh_slope, d_tanh_slope, -12, 12, 1e-1, 1.5e-6);
    sweep("gelu'", v_erf_slope, d_erf_slope, -12, 12, 1e-1, 1.5e-6);
    if (!(v_exp(-INFINITY) == 0) || !(v_exp(-200) == 0) || v_exp(NAN) == v_exp(NAN))
        failed = 1, puts("exp's edges");
    if (!(v_exp2(-INFINITY) == 0) || !(v_exp2(-127) == 0) || !(v_exp2(0) == 1) ||
        !(v_exp2(-126.3f) < 0x1p-125) || v_exp2(NAN) == v_exp2(NAN))
        failed = 1, puts("exp2's edges");
    dropout_bits();
    return failed;
}
