/* A folder of one shard: .bin, .idx, index.json and .mask, with "%%" between them; an empty part is
 * no file. Opened, read to the end, verified. */
#include "stream/shard.h"
#include "stream/shard_index.h"
#include "tests/fuzz/fuzz.h"

static void part(const uint8_t **data, size_t *n, const char *name) {
    size_t part_n;
    char path[512];
    const uint8_t *v = fuzz_part(data, n, &part_n);
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    if (part_n)
        fuzz_put(name, v, part_n);
    else
        unlink(path);
}

static void found(void *ctx, const char *text) {
    (void)ctx;
    FUZZ_CHECK(text[0], "a fault without words");
}

/* Everything a trainer may touch. */
static void read_all(const struct shard_set *s) {
    uint64_t sum = 0, tokens = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct shard *x = &s->v[i];
        uint32_t some[100];
        uint8_t mask[100];
        tokens += x->n;
        for (uint64_t k = 0; k < x->n; k++) sum += shard_token(x, k);
        if (x->n) shard_tokens(x, x->n / 2, x->n - x->n / 2 < 100 ? x->n - x->n / 2 : 100, some);
        for (uint64_t k = 0, m; k < x->n; k += m) {
            m = x->n - k < sizeof mask ? x->n - k : sizeof mask;
            FUZZ_CHECK(shard_read_mask(x, k, m, mask, NULL) == 0, "no mask at %llu",
                       (unsigned long long)k);
        }
        for (uint64_t k = 0; k < x->documents; k++)
            FUZZ_CHECK(x->ends[k] <= x->n && (!k || x->ends[k] >= x->ends[k - 1]), "end %llu",
                       (unsigned long long)k);
    }
    FUZZ_CHECK(tokens == s->tokens && sum != UINT64_MAX, "%llu tokens", (unsigned long long)tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct shard_set s = {0};
    struct err err = {0};
    part(&data, &n, "train-00000.bin");
    part(&data, &n, "train-00000.idx");
    part(&data, &n, "index.json");
    part(&data, &n, "train-00000.mask");
    const char *folder = fuzz_folder();
    int rc = shard_set_open(&s, &folder, 1, "train", &err);
    fuzz_told(rc, &err);
    if (rc == 0) read_all(&s);
    shard_set_close(&s);
    rc = shard_verify(folder, found, NULL, NULL, &err);
    fuzz_told(rc, &err);
    return 0;
}
