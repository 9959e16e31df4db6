/* The device that the harness (tests/op) checks under emulation: an Ampere, or (SIMT_HOPPER) a
 * Hopper, on which the warpgroup kernels must be the ones that run. */
#include <stdio.h>
#include <cuda_runtime.h>
#include "base/version.h"
#include "cuda/table.h"

extern "C" const struct backend *op_device(void);

#ifdef SIMT_HOPPER
static int open_hopper(struct device **ret, const struct device_opts *opts, struct err *err) {
    simt_machine_now.major = 9;
    int rc = cuda_open(ret, opts, err);
    if (rc == 0 && opts->dtype == DTYPE_BF16 && !cuda_attention_ways(*ret)->engine) {
        rc = err->code = ERR_OTHER;
        snprintf(err->msg, sizeof err->msg, "attention's kernels do not agree: %s",
                 cuda_notes(*ret));
        cuda_close(*ret);
    }
    return rc;
}
#endif

const struct backend *op_device(void) {
#ifdef SIMT_HOPPER
    static struct backend table = *lory_cuda_backend(LORY_VERSION, sizeof(struct backend));
    table.open = open_hopper;
    return &table;
#else
    return lory_cuda_backend(LORY_VERSION, sizeof(struct backend));
#endif
}
