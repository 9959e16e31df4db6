/* Fertility: the counts of a text small enough to count by hand, and the identities that hold
 * for any. */
#include "tests/unit/tokenizer/encode_help.h"
#include "tokenizer/fertility.h"

#define HF GOLDEN "/tok-hf"

struct counted {
    struct tokenizer *t;
    struct encoder *e;
    struct fertility f;
};

static struct counted begin(void) {
    struct counted c;
    struct err err = {0};
    check_ok(tokenizer_open(&c.t, HF, NULL, &err), &err);
    check_ok(encoder_new(&c.e, c.t, &err), &err);
    check_ok(fertility_init(&c.f, c.t, &err), &err);
    return c;
}

static void count(struct counted *c, const char *text, size_t n) {
    struct err err = {0};
    check_ok(fertility_count(&c->f, c->e, text, n, &err), &err);
}

static void end(struct counted *c) {
    fertility_release(&c->f);
    encoder_free(c->e);
    tokenizer_free(c->t);
}

static void a_text_counted_by_hand(void **state) {
    (void)state;
    struct counted c = begin();
    const char text[] = "self  return\n\tq\xC3\xA9=0\n";
    struct u32s ids = {0};
    struct err err = {0};
    uint64_t single = 0;
    count(&c, text, sizeof text - 1);
    check_ok(encode(c.e, text, sizeof text - 1, TOKENIZER_SPECIAL_NONE, &ids, &err), &err);
    for (size_t i = 0; i < ids.n; i++) {
        size_t n;
        tokenizer_bytes(c.t, ids.v[i], &n);
        single += n == 1;
    }
    assert_int_equal(c.f.documents, 1);
    assert_int_equal(c.f.bytes, 20);
    assert_int_equal(c.f.chars, 19);
    assert_int_equal(c.f.lines, 2);
    assert_int_equal(c.f.tokens, ids.n);
    assert_int_equal(c.f.byte_tokens, single);
    /* words: "self" 1 token, " return" 1 token, "qé=0": q, é in one or two, = and 0 */
    assert_int_equal(c.f.words, 3);
    assert_int_equal(c.f.continued, 1);
    /* all tokens but the first of two blanks, the newlines and the tab belong to words */
    assert_int_equal(c.f.tokens - c.f.word_tokens, 4);
    u32s_release(&ids);
    end(&c);
}

static void words_are_cut_at_any_white_space(void **state) {
    (void)state;
    struct counted c = begin();
    const char text[] = "a\xC2\xA0"
                        "b\xE3\x80\x80"
                        "c d\re \xFF";
    count(&c, text, sizeof text - 1);
    assert_int_equal(c.f.words, 6); /* a byte that is not UTF-8 is no white space */
    count(&c, " \n\t", 3);
    count(&c, "", 0);
    assert_int_equal(c.f.words, 6);
    assert_int_equal(c.f.documents, 3);
    end(&c);
}

static void identities_hold_for_random_text(void **state) {
    (void)state;
    struct counted c = begin(), sum = begin();
    struct rng r = {.key = 9};
    struct buf text = {0};
    uint64_t used = 0;
    for (int i = 0; i < 200; i++) {
        random_text(&text, &r, rng_below(&r, 300), 20);
        count(&c, text.v, text.n);
    }
    assert_true(c.f.word_tokens <= c.f.tokens);
    assert_true(c.f.continued <= c.f.words && c.f.words <= c.f.word_tokens);
    assert_true(c.f.tokens <= c.f.bytes && c.f.chars <= c.f.bytes);
    for (uint32_t i = 0; i < c.f.n_used; i++) used += c.f.used[i];
    assert_int_equal(used, c.f.tokens);
    fertility_add(&sum.f, &c.f);
    fertility_add(&sum.f, &c.f);
    assert_int_equal(sum.f.word_tokens, 2 * c.f.word_tokens);
    assert_int_equal(sum.f.documents, 400);
    assert_int_equal(fertility_distinct(&sum.f), fertility_distinct(&c.f));
    buf_release(&text);
    end(&c);
    end(&sum);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_counted_by_hand),
        cmocka_unit_test(words_are_cut_at_any_white_space),
        cmocka_unit_test(identities_hold_for_random_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
