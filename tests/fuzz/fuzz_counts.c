/* A file of counts (bpe-train --from-counts): what was read is what is written and read again. */
#include "tests/fuzz/fuzz.h"
#include "tokenizer/train.h"

static int counted(const void *bytes, size_t n, const char *out) {
    struct words *w = NULL;
    struct pool *pool = NULL;
    struct err err = {0};
    struct fuzz_file file = fuzz_file(bytes, n);
    int rc = words_new(&w, &(struct words_opts){.threads = 1}, &err);
    if (rc == 0) rc = words_read_counts(w, file.path, &err);
    if (rc == 0) rc = pool_new(&pool, 1, &err);
    if (rc == 0) rc = words_finish(w, pool, &err);
    if (rc == 0) rc = words_write_counts(w, out, &err);
    fuzz_told(rc, &err);
    pool_free(pool);
    words_free(w);
    fuzz_unfile(&file);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    char one[300], two[300];
    struct buf a = {0}, b = {0};
    snprintf(one, sizeof one, "%s/one", fuzz_folder());
    snprintf(two, sizeof two, "%s/two", fuzz_folder());
    if (counted(data, n, one) == 0) {
        FUZZ_CHECK(file_read(one, 1 << 26, &a, NULL) == 0, "nothing written");
        FUZZ_CHECK(counted(a.v, a.n, two) == 0, "not read again");
        FUZZ_CHECK(file_read(two, 1 << 26, &b, NULL) == 0, "nothing written");
        FUZZ_CHECK(a.n == b.n && (!a.n || !memcmp(a.v, b.v, a.n)), "other counts");
    }
    buf_release(&a);
    buf_release(&b);
    return 0;
}
