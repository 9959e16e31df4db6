/* The backend's table, and the module's door. */
#include "cuda/table.h"

/* C++17 has no designated initialisers: filled by the compiler, by name, so that order does not
 * matter. */
static constexpr struct backend make_table(void) {
    struct backend t = {};
    t.name = "cuda";
    t.open = cuda_open;
    t.close = cuda_close;
    t.describe = cuda_describe;
    t.alloc = cuda_alloc;
    t.free = cuda_free;
    t.upload = cuda_upload;
    t.download = cuda_download;
    t.copy = cuda_copy;
    t.zero = cuda_zero;
    t.sync = cuda_sync;
    t.norm_forward = cuda_norm_forward;
    t.norm_backward = cuda_norm_backward;
    return t;
}

const struct backend *lory_cuda_backend(void) {
    static constexpr struct backend table = make_table();
    return &table;
}
