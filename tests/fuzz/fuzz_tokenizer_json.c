/* tokenizer.json from anywhere. What opens must encode as its slow twin does, and be the same
 * tokenizer after saving and opening again. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/same_ids.h"

/* What Lory wrote must be what it reads. */
static void saved_and_opened(const struct tokenizer *t) {
    struct tokenizer *again = NULL;
    struct err err = {0};
    char a[SHA256_HEX], b[SHA256_HEX];
    int rc = tokenizer_save(t, fuzz_folder(), &err);
    fuzz_told(rc, &err);
    if (rc < 0) return;
    rc = tokenizer_open(&again, fuzz_folder(), NULL, &err);
    FUZZ_CHECK(rc == 0, "saved, but: %s", err.msg);
    FUZZ_CHECK(!tokenizer_digest(t, a, &err) && !tokenizer_digest(again, b, &err), "%s", err.msg);
    FUZZ_CHECK(!strcmp(a, b), "another tokenizer after saving");
    tokenizer_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct err err = {0};
    struct fuzz_file file = fuzz_file(data, n);
    struct tokenizer *t = NULL;
    int rc = tokenizer_open(&t, file.path, NULL, &err);
    fuzz_told(rc, &err);
    if (rc == 0) {
        same_ids(t, "I'm <|endoftext|>  x\n\n 42 é\xFF", 28);
        same_ids(t, (const char *)data, n < 300 ? n : 300);
        if (n % 4 == 1) saved_and_opened(t); /* writing syncs files: slow */
    }
    tokenizer_free(t);
    fuzz_unfile(&file);
    return 0;
}
