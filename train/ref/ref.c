/* The reference backend: its table, and device memory that is simply the heap. */
#include "train/ref/ref.h"
#include <stdio.h>

double *ref_scratch(struct device *d, size_t n) {
    if (d->first.code) return NULL;
    double *p = calloc(n ? n : 1, sizeof *p);
    if (!p) err_nomem(&d->first, n * sizeof *p);
    return p;
}

static int ref_open(struct device **ret, const struct device_opts *opts, struct err *err) {
    if (opts->dtype != DTYPE_F32)
        return err_set(err, ERR_USAGE, "the reference backend computes in fp32 only");
    struct device *d = calloc(1, sizeof *d);
    if (!d) return err_nomem(err, sizeof *d);
    snprintf(d->text, sizeof d->text, "ref: plain C, 1 thread, fp32, sums in double");
    *ret = d;
    return 0;
}

static void ref_close(struct device *d) {
    free(d);
}

static const char *ref_describe(const struct device *d) {
    return d->text;
}

static int ref_alloc(struct device *d, void **ret, size_t bytes, struct err *err) {
    (void)d;
    if (bytes > SIZE_MAX - 64) return err_nomem(err, bytes);
    size_t whole = bytes ? (bytes + 63) / 64 * 64 : 64;
    void *p = aligned_alloc(64, whole);
    if (!p) return err_nomem(err, bytes);
    memset(p, 0, whole);
    *ret = p;
    return 0;
}

static void ref_free(struct device *d, void *p) {
    (void)d;
    free(p);
}

static void ref_upload(struct device *d, void *to, const void *from_host, size_t bytes) {
    (void)d;
    if (bytes) memcpy(to, from_host, bytes);
}

static void ref_copy_rows(struct device *d, void *to, size_t to_stride, const void *from,
                          size_t from_stride, size_t bytes, size_t rows) {
    for (size_t r = 0; r < rows; r++)
        ref_upload(d, (char *)to + r * to_stride, (const char *)from + r * from_stride, bytes);
}

static void ref_zero(struct device *d, void *p, size_t bytes) {
    (void)d;
    if (bytes) memset(p, 0, bytes);
}

static int ref_sync(struct device *d, struct err *err) {
    if (d->first.code && err) *err = d->first;
    return d->first.code;
}

const struct backend *backend_ref(void) {
    static const struct backend table = {
        .name = "ref",
        .open = ref_open,
        .close = ref_close,
        .describe = ref_describe,
        .alloc = ref_alloc,
        .free = ref_free,
        .upload = ref_upload,
        .download = ref_upload,
        .copy = ref_upload,
        .copy_rows = ref_copy_rows,
        .zero = ref_zero,
        .sync = ref_sync,
        .embed_forward = ref_embed_forward,
        .embed_backward = ref_embed_backward,
        .norm_forward = ref_norm_forward,
        .norm_backward = ref_norm_backward,
        .linear_forward = ref_linear_forward,
        .act_forward = ref_act_forward,
        .linear_backward = ref_linear_backward,
        .attention_forward = ref_attention_forward,
        .attention_backward = ref_attention_backward,
        .classifier = ref_classifier,
        .loss_sum = ref_loss_sum,
        .grad_norm = ref_grad_norm,
        .adamw = ref_adamw,
        .cast = ref_cast,
        .attention_decode = ref_attention_decode,
        .logits = ref_logits,
    };
    return &table;
}
