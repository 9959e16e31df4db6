/* Machines on which a GPU cannot be used: each reason has its own words, and exit code 2. And a
 * Hopper on which a module without sm_90a code must do without its warpgroup products, and one
 * without tensor maps without its copy engine. */
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

/* What a Hopper's device uses for attention. maps: the driver can describe tensors. */
static struct attention_ways hopper(bool sm90a, bool maps, enum dtype dtype, const char *notes) {
    struct err err = {};
    struct device *d = NULL;
    struct device_opts opts = {};
    struct attention_ways ways = {};
    opts.dtype = dtype;
    simt_machine_now = {13000, 1, 9, true, sm90a, maps};
    simt_forget_faults();
    expect(cuda_open(&d, &opts, &err) == 0, "a Hopper opens", err.msg);
    if (!d) return ways;
    ways = *cuda_attention_ways(d);
    expect(strcmp(cuda_notes(d), notes) == 0, notes, cuda_notes(d));
    cuda_close(d);
    return ways;
}

static void hoppers(void) {
    struct attention_ways ways = hopper(true, true, DTYPE_BF16, "");
    expect(ways.warpgroups && ways.engine, "a Hopper's own code", "not taken");
    ways = hopper(true, false, DTYPE_BF16, "");
    expect(ways.warpgroups && !ways.engine, "a driver without tensor maps", "not seen");
    ways = hopper(true, true, DTYPE_F32, "");
    expect(!ways.warpgroups && !ways.engine, "fp32", "taken");
    ways = hopper(false, true, DTYPE_BF16,
                  "no sm_90a code in this build: slower attention; see -Dgpu_arch");
    expect(!ways.warpgroups && !ways.engine, "code for other devices", "taken");
}

int main(void) {
    ready({13000, 1, 8, true, true, true}, 0, NULL);
    ready({13020, 2, 9, true, true, true}, 0, NULL);
    ready({0, 0, 8, true, true, true}, 0, "this machine has no NVIDIA driver");
    ready({12080, 1, 8, true, true, true}, 0,
          "the NVIDIA driver is for CUDA 12.8, and this build needs");
    ready({13000, 0, 8, true, true, true}, 0, "no GPU to be seen; is CUDA_VISIBLE_DEVICES right?");
    ready({13000, 1, 8, true, true, true}, 1, "GPU number 1; this machine has 1");
    ready({13000, 1, 7, false, true, true}, 0,
          "emulated is sm_70, and this build has no machine code");
    hoppers();
    return failures > 0;
}
