/* What happens once per optimizer step.
 *
 * grad_norm   norm = grad_scale * sqrt(sum of g^2 over all parameters)
 * adamw       g' = g * grad_scale * min(1, clip / (norm + 1e-6))     torch.nn.utils.clip_grad_norm_
 *             w  = w (1 - lr * weight_decay)                         where the parameter decays
 *             m  = beta1 m + (1 - beta1) g',   v = beta2 v + (1 - beta2) g'^2
 *             w  = w - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 *             (Loshchilov, Hutter 2019; the order of operations is torch.optim.AdamW's) */
#include "train/ref/ref.h"

void ref_grad_norm(struct device *d, struct step_scalars *s, const struct param_slice *p,
                   size_t n_params) {
    (void)d;
    double sum = 0;
    for (size_t k = 0; k < n_params; k++)
        for (size_t e = 0; e < p[k].n; e++) sum += (double)p[k].grad[e] * p[k].grad[e];
    double norm = s->grad_scale * sqrt(sum);
    s->grad_norm = (float)norm;
    s->skipped =
        !isfinite(s->grad_norm) || (s->spike > 0 && s->grad_norm > s->spike) || step_loss_spiked(s);
}

void ref_adamw(struct device *d, const struct step_scalars *s, const struct param_slice *p,
               size_t n_params) {
    if (s->skipped) return;
    double scale = s->grad_scale;
    if (s->clip > 0) {
        double ratio = s->clip / ((double)s->grad_norm + 1e-6);
        if (ratio < 1) scale *= ratio;
    }
    double fix1 = 1 - pow(s->beta1, (double)s->step), fix2 = 1 - pow(s->beta2, (double)s->step);
    for (size_t k = 0; k < n_params; k++) {
        double keep = p[k].decay ? 1 - (double)s->lr * s->weight_decay : 1;
        for (size_t e = 0; e < p[k].n; e++) {
            double g = p[k].grad[e] * scale;
            double m = s->beta1 * (double)p[k].m[e] + (1 - (double)s->beta1) * g;
            double v = s->beta2 * (double)p[k].v[e] + (1 - (double)s->beta2) * g * g;
            double w = p[k].master[e] * keep;
            w -= s->lr / fix1 * m / (sqrt(v) / sqrt(fix2) + s->eps);
            p[k].m[e] = (float)m;
            p[k].v[e] = (float)v;
            p[k].master[e] = (float)w;
        }
        if (p[k].act) ref_cast(d, p[k].act, p[k].master, p[k].n);
    }
}

void ref_cast(struct device *d, void *to, const float *from, size_t n) {
    (void)d;
    if (n && to != from) memcpy(to, from, n * sizeof *from);
}
