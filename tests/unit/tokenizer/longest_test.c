/* Pieces by their longest tokens beside the slow twin: alone, and on an encoder's way; vocabularies
 * as trained, in any order, and by ranks. */
#include "tests/unit/tokenizer/encode_help.h"
#include "tokenizer/encode_inside.h"

/* Returns whether it was done. */
static bool as_the_twin(const struct tokenizer *t, const struct longest *l,
                        const struct buf *text) {
    uint32_t got[BPE_LONGEST_MOST];
    struct u32s want = {0};
    struct err err = {0};
    size_t n;
    if (!bpe_merge_longest(t, l, (uint8_t *)text->v, text->n, got, &n)) return false;
    check_ok(encode_ref(t, text->v, text->n, &want, &err), &err);
    same_ids(&want, &(struct u32s){.v = got, .n = n}, "longest");
    u32s_release(&want);
    return true;
}

static void the_longest_equal_the_slow_twin(void **state) {
    (void)state;
    struct rng r = {.key = 51};
    struct buf text = {0};
    size_t all = 0, done = 0;
    for (int round = 0; round < 120; round++) {
        struct random_vocab v;
        struct err err = {0};
        const struct longest *l;
        int letters = 1 + (int)rng_below(&r, 6);
        struct tokenizer *t = random_vocabulary(&v, &r, letters, round % 2, "[\\s\\S]+");
        check_ok(vocab_longest(&l, t, &err), &err);
        for (int i = 0; i < 60 && l->of; i++, all++) {
            random_text(&text, &r, 1 + rng_below(&r, i % 8 ? 40 : BPE_LONGEST_MOST), letters);
            if (text.n > BPE_LONGEST_MOST) text.n = BPE_LONGEST_MOST;
            done += as_the_twin(t, l, &text);
        }
        tokenizer_free(t);
        random_release(&v);
    }
    print_message("%zu of %zu pieces\n", done, all);
    assert_true(4 * done > all);
    buf_release(&text);
}

/* Long words of long tokens, such as an encoder takes this way at once if it takes any. */
static void an_encoder_takes_them(void **state) {
    (void)state;
    struct rng r = {.key = 52};
    struct buf text = {0};
    struct u32s want = {0}, got = {0};
    size_t made = 0;
    for (int round = 0; round < 60; round++) {
        struct random_vocab v;
        struct err err = {0};
        struct encoder *e;
        struct tokenizer *t = random_vocabulary(&v, &r, 2, round % 2, round % 3 ? "gpt2" : "o200k");
        t->ignore_merges = round % 4 > 1;
        check_ok(encoder_new(&e, t, &err), &err);
        e->by_longest.merged = UINT64_MAX / 2;
        for (int i = 0; i < 30; i++) {
            random_text(&text, &r, 1 + rng_below(&r, 3000), 2);
            want.n = got.n = 0;
            check_ok(encode_ref(t, text.v, text.n, &want, &err), &err);
            check_ok(encode(e, text.v, text.n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
            same_ids(&want, &got, "encoder");
        }
        made += e->by_longest.table && e->by_longest.table->of;
        encoder_free(e);
        tokenizer_free(t);
        random_release(&v);
    }
    assert_true(made > 50);
    buf_release(&text);
    u32s_release(&want);
    u32s_release(&got);
}

/* Tokens beyond the depth of the tree, of which the longest goes with nothing behind it, and where
 * the search has to go back. */
static void tokens_deeper_than_the_tree(void **state) {
    (void)state;
    struct rng r = {.key = 53};
    struct random_vocab v;
    struct err err = {0};
    struct buf text = {0};
    const struct longest *l;
    random_vocab(&v, &r, 0, 2);
    for (uint32_t i = 1; i <= 20; i++) { /* qr, ab, abc …: those up to q and beyond */
        uint32_t left = i == 1 ? 'q' : i == 2 ? 'a' : 254 + i, right = i == 1 ? 'r' : 'a' + i - 1;
        buf_append(&v.bytes, i == 1 ? "q" : "abcdefghijklmnopqrst", i == 1 ? 1 : i - 1, NULL);
        buf_char(&v.bytes, (char)right, NULL);
        u64s_push(&v.start, v.bytes.n, NULL);
        v.merges[v.n_merges++] = (struct merge){left, right, 255 + i};
    }
    struct tokenizer *t = random_tokenizer(&v, "[\\s\\S]+");
    check_ok(vocab_longest(&l, t, &err), &err);
    assert_non_null(l->of);
    for (int i = 0; i < 300; i++) {
        text.n = 0;
        while (text.n < 100) buf_append(&text, "abcdefghijklmnopqrst", 1 + rng_below(&r, 20), NULL);
        assert_true(as_the_twin(t, l, &text));
    }
    buf_release(&text);
    tokenizer_free(t);
    random_release(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_equal_the_slow_twin),
        cmocka_unit_test(an_encoder_takes_them),
        cmocka_unit_test(tokens_deeper_than_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
