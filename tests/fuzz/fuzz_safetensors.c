/* A safetensors file. What opens lies within the file, without overlap, and can be read. */
#include "tests/fuzz/fuzz.h"
#include "train/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct fuzz_file file = fuzz_file(data, n);
    struct safetensors s = {0};
    struct err err = {0};
    float f[64];
    uint64_t total = 0;
    int rc = safetensors_open(&s, file.path, &err);
    fuzz_told(rc, &err);
    for (size_t i = 0; rc == 0 && i < s.n; i++) {
        const struct st_tensor *t = &s.v[i];
        FUZZ_CHECK(t->data >= s.maps[0].v && t->data + t->bytes <= s.maps[0].v + s.maps[0].bytes,
                   "tensor %zu outside of the file", i);
        FUZZ_CHECK(safetensors_find(&s, t->name) == t, "%s is not found", t->name);
        total += t->bytes;
        for (uint64_t at = 0; at < t->n; at += 64) {
            uint64_t many = t->n - at < 64 ? t->n - at : 64;
            if (st_read_f32(t, at, many, f, &err) < 0) break;
        }
    }
    FUZZ_CHECK(rc < 0 || total < n, "tensors of %llu bytes in %zu", (unsigned long long)total, n);
    safetensors_close(&s);
    fuzz_unfile(&file);
    return 0;
}
