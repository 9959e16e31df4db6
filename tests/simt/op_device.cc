/* The device that the harness (tests/op) checks under emulation. */
#include "base/version.h"
#include "cuda/table.h"

extern "C" const struct backend *op_device(void);
const struct backend *op_device(void) {
    return lory_cuda_backend(LORY_VERSION, sizeof(struct backend));
}
