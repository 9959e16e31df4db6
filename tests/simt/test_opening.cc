/* Machines on which a GPU cannot be used: each reason has its own words, and exit code 2. And a
 * Hopper on which a module without sm_90a code must do without its warpgroup products. */
#include <stdio.h>
#include <cuda_runtime.h>
#include "cuda/table.h"

static int failures;

static void expect(bool ok, const char *what, const char *got) {
    if (ok) return;
    failures++;
    fprintf(stderr, "FAILED: %s: %s\n", what, got);
}

/* `words` NULL: it can be used. */
static void ready(simt_machine machine, int ordinal, const char *words) {
    struct err err = {};
    simt_machine_now = machine;
    int rc = lory_cuda_ready(ordinal, &err);
    expect(rc == (words ? ERR_USAGE : 0), words ? words : "ready", err.msg);
    expect(!words || strstr(err.msg, words), words ? words : "", err.msg);
    struct device *d = NULL;
    struct device_opts opts = {};
    opts.ordinal = ordinal;
    expect(cuda_open(&d, &opts, &err) == rc, "open says the same", err.msg);
    cuda_close(d);
}

/* Whether a Hopper's device takes the warpgroup kernels. */
static bool takes_wgmma(bool sm90a, enum dtype dtype, const char *notes) {
    struct err err = {};
    struct device *d = NULL;
    struct device_opts opts = {};
    opts.dtype = dtype;
    simt_machine_now = {13000, 1, 9, true, sm90a};
    simt_forget_faults();
    expect(cuda_open(&d, &opts, &err) == 0, "a Hopper opens", err.msg);
    if (!d) return false;
    bool takes = cuda_uses_wgmma(d);
    expect(strcmp(cuda_notes(d), notes) == 0, notes, cuda_notes(d));
    cuda_close(d);
    return takes;
}

int main(void) {
    ready({13000, 1, 8, true, true}, 0, NULL);
    ready({13020, 2, 9, true, true}, 0, NULL);
    ready({0, 0, 8, true, true}, 0, "this machine has no NVIDIA driver");
    ready({12080, 1, 8, true, true}, 0, "the NVIDIA driver is for CUDA 12.8, and this build needs");
    ready({13000, 0, 8, true, true}, 0, "no GPU to be seen; is CUDA_VISIBLE_DEVICES right?");
    ready({13000, 1, 8, true, true}, 1, "GPU number 1; this machine has 1");
    ready({13000, 1, 7, false, true}, 0, "emulated is sm_70, and this build has no machine code");
    expect(takes_wgmma(true, DTYPE_BF16, ""), "a Hopper's own code", "not taken");
    expect(!takes_wgmma(true, DTYPE_F32, ""), "fp32", "taken");
    expect(!takes_wgmma(false, DTYPE_BF16,
                        "no sm_90a code in this build: slower attention; see -Dgpu_arch"),
           "code for other devices", "taken");
    return failures > 0;
}
