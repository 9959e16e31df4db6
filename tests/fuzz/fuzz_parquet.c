/* A Parquet file: read to its end, whole and for one column. */
#include "stream/parquet.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_feed.h"

static void read_columns(const char *path, const struct strs *only) {
    struct blob from = {0};
    struct codec *c = NULL;
    struct buf out = {0};
    struct err err = {0};
    int rc = blob_file(&from, path, &err);
    if (rc == 0) rc = parquet_codec(&c, "fuzz", from, only, 1 << 20, &err);
    if (rc == 0) rc = memory_unpack(c, 1 << 16, &out, &err);
    fuzz_told(rc, &err);
    codec_close(c);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct fuzz_file file = fuzz_file(data, n);
    struct blob from = {0};
    struct strs only = {0};
    struct err err = {0};
    char *field = NULL;
    read_columns(file.path, NULL);
    if (blob_file(&from, file.path, &err) == 0) {
        int rc = parquet_guess_field(&field, "fuzz", &from, &err);
        fuzz_told(rc, &err);
        from.close(from.ctx);
    }
    if (field && strs_push(&only, field, NULL) == 0) read_columns(file.path, &only);
    strs_release(&only);
    free(field);
    fuzz_unfile(&file);
    return 0;
}
