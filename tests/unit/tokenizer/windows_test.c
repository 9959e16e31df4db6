/* Long pieces merged in windows beside the slow twin: vocabularies in any order over few letters,
 * where what is far away matters most, and texts that repeat themselves. */
#include "tests/unit/tokenizer/encode_help.h"

/* Some bytes, over and over, now and then with a slip. */
static void repeat(struct buf *out, struct rng *r, const struct buf *bit, size_t n) {
    out->n = 0;
    while (out->n < n) {
        size_t part = rng_below(r, 40) ? bit->n : rng_below(r, bit->n + 1);
        buf_append(out, bit->v, part, NULL);
    }
}

static void same_as_the_twin(const struct tokenizer *t, const struct buf *text) {
    struct u32s want = {0}, got = {0};
    struct bpe_scratch s = {0};
    struct err err = {0};
    check_ok(encode_ref(t, text->v, text->n, &want, &err), &err);
    u32s_push(&got, 7, NULL); /* ids are appended */
    check_ok(bpe_merge_windows(t, &s, (uint8_t *)text->v, text->n, &got, &err), &err);
    assert_int_equal(got.v[0], 7);
    memmove(got.v, got.v + 1, --got.n * sizeof *got.v);
    same_ids(&want, &got, "windows");
    bpe_scratch_release(&s);
    u32s_release(&want);
    u32s_release(&got);
}

static void windows_equal_the_slow_twin(void **state) {
    (void)state;
    struct rng r = {.key = 12};
    struct buf text = {0}, bit = {0};
    for (int round = 0; round < 60; round++) {
        struct random_vocab v;
        struct err err = {0};
        int letters = 1 + (int)rng_below(&r, 3);
        random_vocab(&v, &r, 10 + rng_below(&r, 500), letters);
        struct tokenizer *t = random_tokenizer(&v, "[\\s\\S]+");
        if (round % 3 == 0) {
            free(t->merges);
            check_ok(vocab_merges_of_ranks(t, &err), &err);
        }
        for (int i = 0; i < 20; i++) {
            random_text(&text, &r, 1 + rng_below(&r, i ? 400 : 1500), letters);
            if (text.n) same_as_the_twin(t, &text);
            random_text(&bit, &r, 1 + rng_below(&r, 20), letters);
            repeat(&text, &r, &bit, bit.n ? 1 + rng_below(&r, 600) : 0);
            if (text.n) same_as_the_twin(t, &text);
        }
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
    buf_release(&bit);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(windows_equal_the_slow_twin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
