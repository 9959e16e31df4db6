/* Encoding beside its slow twin, for the targets that come by a tokenizer. */
#ifndef LORY_TESTS_FUZZ_SAME_IDS_H
#define LORY_TESTS_FUZZ_SAME_IDS_H

#include "tests/fuzz/fuzz.h"
#include "tokenizer/bpe.h"
#include "tokenizer/encode_inside.h"

enum { PART_PIECE = 32, PART_WINDOW = 512 }; /* what is long, so that texts of the fuzzer's are */

/* The text in parts, whose lengths the text itself tells, and the ids of the whole. Merges that
 * reach from one window to another are refused, as these vocabularies may have them. */
static inline void same_ids_in_parts(const struct tokenizer *t, struct encoder *e, const char *text,
                                     size_t n, const struct u32s *want) {
    struct encode_stream *s = NULL;
    struct u32s got = {0};
    struct err err = {0};
    int rc = encode_stream_new(&s, t, &err);
    if (rc == 0) encode_stream_least(s, PART_PIECE, PART_WINDOW);
    for (size_t at = 0, to = 0; rc == 0 && (at == 0 || at < n); at = n ? to : 1) {
        to = n - at > 1 ? at + 1 + (uint8_t)text[at] % 97 : n;
        to = to < n ? to : n;
        const struct text_part p = {text + at, to - at, at == 0, at > 0, to < n};
        rc = encode_part(e, s, &p, TOKENIZER_SPECIAL_NONE, &got, &err);
    }
    bool refused = rc == ERR_DATA && strstr(err.msg, "depend on others");
    FUZZ_CHECK(rc == 0 || refused, "%s", err.msg);
    size_t bytes = want->n * sizeof *want->v;
    FUZZ_CHECK(refused || (got.n == want->n && (!bytes || !memcmp(got.v, want->v, bytes))),
               "other ids in parts");
    encode_stream_free(s);
    u32s_release(&got);
}

/* Ids of a text twice (the second time from the cache), and of the twin; back to the text. */
static inline void same_ids(const struct tokenizer *t, const char *text, size_t n) {
    struct encoder *e = NULL;
    struct u32s fast = {0}, again = {0}, slow = {0};
    struct buf back = {0};
    struct err err = {0}, other = {0};
    if (encoder_new(&e, t, &err) < 0) return;
    if (n % 2) e->by_longest.merged = UINT64_MAX / 2; /* as if it had merged much */
    if (n % 4 < 2)
        e->fresh = (struct fresh){.of_them = 1,
                                  .of_ids = 1,
                                  .total = UINT64_MAX / 2,
                                  .left = SIZE_MAX / 2}; /* as if no cache had known it */
    int a = encode(e, text, n, TOKENIZER_SPECIAL_NONE, &fast, &err);
    int b = encode(e, text, n, TOKENIZER_SPECIAL_NONE, &again, &other);
    int c = encode_ref(t, text, n, &slow, &other);
    bool added = special_tree_any(t->plain); /* found in any text; the twin knows none */
    FUZZ_CHECK(a == b && (a == c || added), "fast %d, again %d, slow %d", a, b, c);
    fuzz_told(a, &err);
    if (a == 0) {
        size_t bytes = fast.n * sizeof *fast.v;
        FUZZ_CHECK(added || (fast.n == slow.n && (!bytes || !memcmp(fast.v, slow.v, bytes))),
                   "other ids");
        FUZZ_CHECK(again.n == fast.n && (!bytes || !memcmp(fast.v, again.v, bytes)), "cached");
        if (tokenizer_streams(t)) same_ids_in_parts(t, e, text, n, &fast);
        FUZZ_CHECK(decode(t, fast.v, fast.n, false, &back, &err) == 0, "%s", err.msg);
        if (!t->prefix_space && !t->nfc && !added)
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
