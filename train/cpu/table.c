/* The backend's table for one instruction set. */
#include "train/cpu/ops.h"
#include "train/cpu/table.h"

static int open_here(struct device **ret, const struct device_opts *opts, struct err *err) {
    return cpu_open(ret, opts, ISA_LEVEL, err);
}

const struct backend ISA_FN(cpu_table) = {
    .name = "cpu",
    .open = open_here,
    .close = cpu_close,
    .describe = cpu_describe,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .copy = cpu_copy,
    .copy_rows = cpu_copy_rows,
    .zero = cpu_zero,
    .sync = cpu_sync,
    .embed_forward = cpu_embed_forward,
    .embed_backward = cpu_embed_backward,
    .norm_forward = cpu_norm_forward,
    .norm_backward = cpu_norm_backward,
    .linear_forward = cpu_linear_forward,
    .act_forward = cpu_act_forward,
    .linear_backward = cpu_linear_backward,
    .attention_forward = cpu_attention_forward,
    .attention_backward = cpu_attention_backward,
    .classifier = cpu_classifier,
    .loss_sum = cpu_loss_sum,
    .grad_norm = cpu_grad_norm,
    .adamw = cpu_adamw,
    .cast = cpu_cast,
    .attention_decode = cpu_attention_decode,
    .logits = cpu_logits,
    .sample = cpu_sample,
};
