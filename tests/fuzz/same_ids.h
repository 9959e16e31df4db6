/* Encoding beside its slow twin, for the targets that come by a tokenizer. */
#ifndef LORY_TESTS_FUZZ_SAME_IDS_H
#define LORY_TESTS_FUZZ_SAME_IDS_H

#include "tests/fuzz/fuzz.h"
#include "tokenizer/bpe.h"

/* Ids of a text twice (the second time from the cache), and of the twin; back to the text. */
static inline void same_ids(const struct tokenizer *t, const char *text, size_t n) {
    struct encoder *e = NULL;
    struct u32s fast = {0}, again = {0}, slow = {0};
    struct buf back = {0};
    struct err err = {0}, other = {0};
    if (encoder_new(&e, t, &err) < 0) return;
    int a = encode(e, text, n, TOKENIZER_SPECIAL_NONE, &fast, &err);
    int b = encode(e, text, n, TOKENIZER_SPECIAL_NONE, &again, &other);
    int c = encode_ref(t, text, n, &slow, &other);
    FUZZ_CHECK(a == b && a == c, "fast %d, again %d, slow %d", a, b, c);
    fuzz_told(a, &err);
    if (a == 0) {
        size_t bytes = fast.n * sizeof *fast.v;
        FUZZ_CHECK(fast.n == slow.n && (!bytes || !memcmp(fast.v, slow.v, bytes)), "other ids");
        FUZZ_CHECK(again.n == fast.n && (!bytes || !memcmp(fast.v, again.v, bytes)), "cached");
        FUZZ_CHECK(decode(t, fast.v, fast.n, false, &back, &err) == 0, "%s", err.msg);
        if (!t->prefix_space && !t->nfc)
            FUZZ_CHECK(back.n == n && (!n || !memcmp(back.v, text, n)), "another text");
    }
    fast.n = 0;
    a = encode(e, text, n, TOKENIZER_SPECIAL_ALL, &fast, &err);
    fuzz_told(a, &err);
    encoder_free(e);
    u32s_release(&fast);
    u32s_release(&again);
    u32s_release(&slow);
    buf_release(&back);
}

#endif
