/* The backend's table, and the module's door. */
#include "cuda/table.h"
#include <string.h>
#include "base/version.h"

/* C++17 has no designated initialisers: filled by the compiler, by name, so that order does not
 * matter. */
static constexpr struct backend make_table(void) {
    struct backend t = {};
    t.name = "cuda";
    t.open = cuda_open;
    t.close = cuda_close;
    t.describe = cuda_describe;
    t.memory = cuda_memory;
    t.alloc = cuda_alloc;
    t.free = cuda_free;
    t.upload = cuda_upload;
    t.download = cuda_download;
    t.copy = cuda_copy;
    t.copy_rows = cuda_copy_rows;
    t.zero = cuda_zero;
    t.sync = cuda_sync;
    t.notes = cuda_notes;
    t.measure = cuda_measure;
    t.measured = cuda_measured;
    t.reserve = cuda_reserve;
    t.record = cuda_record;
    t.recorded = cuda_recorded;
    t.replay = cuda_replay;
    t.forget = cuda_forget;
    t.embed_forward = cuda_embed_forward;
    t.embed_backward = cuda_embed_backward;
    t.norm_forward = cuda_norm_forward;
    t.norm_backward = cuda_norm_backward;
    t.linear_forward = cuda_linear_forward;
    t.act_forward = cuda_act_forward;
    t.linear_backward = cuda_linear_backward;
    t.classifier = cuda_classifier;
    t.loss_sum = cuda_loss_sum;
    t.grad_norm = cuda_grad_norm;
    t.adamw = cuda_adamw;
    t.cast = cuda_cast;
    t.attention_decode = cuda_attention_decode;
    t.logits = cuda_logits;
    t.sample = cuda_sample;
    t.attention_forward = cuda_attention_forward;
    t.attention_backward = cuda_attention_backward;
    return t;
}

const struct backend *lory_cuda_backend(const char *version, size_t table_bytes) {
    static constexpr struct backend table = make_table();
    bool fits = strcmp(version, LORY_VERSION) == 0 && table_bytes == sizeof table;
    return fits ? &table : NULL;
}
