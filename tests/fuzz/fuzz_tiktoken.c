/* A .tiktoken file. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/same_ids.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct err err = {0};
    struct fuzz_file file = fuzz_file(data, n);
    struct tokenizer *t = vocab_new();
    if (t) {
        int rc = read_tiktoken(t, file.path, NULL, &err);
        fuzz_told(rc, &err);
        if (rc == 0) same_ids(t, "aaaa abaab <|endoftext|>\xFF", 25);
    }
    tokenizer_free(t);
    fuzz_unfile(&file);
    return 0;
}
