/* AdamW over a model's trainable parameters: the moments, and one step.
 *
 *   gradients ─▶ grad_norm ─▶ not finite: skipped, nothing changes
 *                    └──────▶ clip ─▶ adamw ─▶ master, moments, act
 *
 * Decay follows the parameter table (HF's rule: not biases, not LayerNorm). Stored as safetensors:
 * exp_avg.NAME and exp_avg_sq.NAME; the fp32 weights are the checkpoint's model.safetensors. */
#ifndef LORY_TRAIN_OPTIMIZER_H
#define LORY_TRAIN_OPTIMIZER_H

#include <stddef.h>
#include "base/err.h"
#include "train/model.h"
#include "train/op.h"

struct optimizer {
    const struct backend *backend;
    struct device *device;
    struct param *params; /* borrowed from the model                       */
    size_t n_params;
    struct param_slice *slices; /* (n) the trainable ones, with their moments    */
    struct param **owners;      /* (n) the parameter of each slice               */
    size_t n;
    void *moments; /* device: the block they lie in               */
    size_t moments_bytes;
    struct step_scalars *scalars; /* device                                      */
    const double *loss_sum;       /* device: of the model                        */
};

/* Moments of zero. The model must outlive it. ERR_NOMEM. */
int optimizer_new(struct optimizer *ret, struct model *model, const struct backend *backend,
                  struct device *device, struct err *err);
void optimizer_free(struct optimizer *o); /* fine on a zeroed one */
/* One step with s (in: rates, clip, scale, step, targets; out: loss_sum, grad_norm, skipped). The
 * first asks for it and waits for nothing; the second waits and reads s. */
void optimizer_start(struct optimizer *o, const struct step_scalars *s);
int optimizer_finish(struct optimizer *o, struct step_scalars *s, struct err *err);
/* Both. */
int optimizer_step(struct optimizer *o, struct step_scalars *s, struct err *err);
int optimizer_save(const struct optimizer *o, const char *path, struct err *err);
/* ERR_CORRUPT: a moment is missing or of another shape. */
int optimizer_load(struct optimizer *o, const char *path, struct err *err);

#endif
