/* vocab.json and merges.txt: the two files, with a line "%%" between them; the first may be empty,
 * then merges.txt stands alone. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/same_ids.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    size_t vocab_n, merges_n;
    const uint8_t *vocab = fuzz_part(&data, &n, &vocab_n);
    const uint8_t *merges = fuzz_part(&data, &n, &merges_n);
    struct fuzz_file v = fuzz_file(vocab, vocab_n), m = fuzz_file(merges, merges_n);
    struct err err = {0};
    struct tokenizer *t = vocab_new();
    if (t) {
        int rc = read_vocab_merges(t, vocab_n ? v.path : NULL, m.path, NULL, &err);
        fuzz_told(rc, &err);
        if (rc == 0) same_ids(t, "I'm <|endoftext|>  x\n\n 42 \xC3\xA9\xFF", 29);
    }
    tokenizer_free(t);
    fuzz_unfile(&v);
    fuzz_unfile(&m);
    return 0;
}
