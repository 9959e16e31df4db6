/* Gaussian error linear unit (Hendrycks, Gimpel 2016) in the two forms transformers has.
 *
 *   gelu      x Phi(x) = x/2 (1 + erf(x / sqrt 2))                 slope  Phi(x) + x phi(x)
 *   gelu_new  x/2 (1 + tanh u),  u = sqrt(2/pi) (x + 0.044715 x^3)
 *             slope  (1 + tanh u)/2 + x/2 (1 - tanh^2 u) u' */
#include "train/ref/ref.h"

static const double SQRT_2_PI = 0.79788456080286535588; /* sqrt(2 / pi) */
static const double SQRT_1_2 = 0.70710678118654752440;

double ref_act(double x, enum act act) {
    switch (act) {
    case ACT_GELU_TANH: return 0.5 * x * (1 + tanh(SQRT_2_PI * (x + 0.044715 * x * x * x)));
    case ACT_GELU_ERF: return 0.5 * x * (1 + erf(x * SQRT_1_2));
    case ACT_NONE: break;
    }
    return x;
}

double ref_act_slope(double x, enum act act) {
    switch (act) {
    case ACT_GELU_TANH: {
        double t = tanh(SQRT_2_PI * (x + 0.044715 * x * x * x));
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * SQRT_2_PI * (1 + 3 * 0.044715 * x * x);
    }
    case ACT_GELU_ERF:
        return 0.5 * (1 + erf(x * SQRT_1_2)) + x * 0.5 * SQRT_2_PI * exp(-0.5 * x * x);
    case ACT_NONE: break;
    }
    return 1;
}
