/* Fertility: the counts of a text small enough to count by hand, and the identities that hold
 * for any. */
#include <math.h>
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

/* Whole, and in two parts at each place where a text may be cut: the same counts. */
static void a_text_in_parts_counts_as_one(void **state) {
    (void)state;
    static const char text[] =
        "def  main(x):\n    return self. qq\xC3\xA9 and  more zzz\nlast line";
    const size_t n = sizeof text - 1;
    struct counted whole = begin();
    struct err err = {0};
    count(&whole, text, n);
    int cuts = 0;
    for (size_t at = 1; at < n; at++) {
        char before = text[at - 1] | 0x20;
        if (text[at] != ' ' || before < 'a' || before > 'z') continue;
        struct counted c = begin();
        struct fertility_document d = {0};
        const struct text_part first = {.text = text, .n = at, .begins = true};
        const struct text_part rest = {.text = text + at, .n = n - at};
        check_ok(fertility_count_part(&c.f, c.e, &first, false, &d, &err), &err);
        assert_int_equal(c.f.documents, 0);
        check_ok(fertility_count_part(&c.f, c.e, &rest, true, &d, &err), &err);
        fertility_end(&c.f, &d);
        assert_memory_equal(&c.f, &whole.f, offsetof(struct fertility, used));
        assert_memory_equal(c.f.used, whole.f.used, c.f.n_used * sizeof *c.f.used);
        end(&c);
        cuts++;
    }
    assert_true(cuts > 3);
    end(&whole);
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
    uint64_t by_length = 0, tokens = 0;
    for (uint32_t i = 0; i < FERTILITY_LENGTHS; i++) {
        by_length += c.f.by_length[i];
        tokens += i * c.f.by_length[i];
    }
    assert_int_equal(by_length, c.f.words);
    assert_true(tokens <= c.f.word_tokens); /* the last one counts longer words too */
    assert_int_equal(c.f.by_length[0] + c.f.by_length[1] + c.f.continued, c.f.words);
    assert_int_equal(c.f.lossless, c.f.documents);
    assert_true(c.f.rated <= c.f.documents);
    assert_true(fertility_not_utf8(&c.f) >= fertility_not_utf8(&sum.f));
    for (uint32_t i = 0; i < c.f.n_used; i++) used += c.f.used[i];
    assert_int_equal(used, c.f.tokens);
    struct err err = {0};
    check_ok(fertility_add(&sum.f, &c.f, &err), &err);
    check_ok(fertility_add(&sum.f, &c.f, &err), &err);
    assert_int_equal(sum.f.word_tokens, 2 * c.f.word_tokens);
    assert_int_equal(sum.f.documents, 400);
    assert_int_equal(fertility_distinct(&sum.f), fertility_distinct(&c.f));
    buf_release(&text);
    end(&c);
    end(&sum);
}

/* Entropies of a text of two ids, three to one. */
static void entropies_by_hand(void **state) {
    (void)state;
    struct counted c = begin();
    for (uint32_t i = 0; i < c.f.n_used; i++) c.f.used[i] = 0;
    c.f.used[5] = 3;
    c.f.used[9] = 1;
    c.f.tokens = 4;
    assert_true(fabs(fertility_entropy(&c.f, 1) - 0.8112781244591328) < 1e-12);
    assert_true(fabs(fertility_entropy(&c.f, 2) - 0.6780719051126377) < 1e-12);
    c.f.tokens = 0;
    assert_true(fertility_entropy(&c.f, 2) == 0);
    end(&c);
}

static void costly_words_come_first(void **state) {
    (void)state;
    struct fertility_words *w, *u;
    struct fertility_word v[3];
    struct err err = {0};
    uint64_t distinct, single, one_in;
    check_ok(fertility_words_new(&w, &err), &err);
    check_ok(fertility_words_new(&u, &err), &err);
    for (int i = 0; i < 5; i++) check_ok(fertility_words_add(w, "often", 5, 2, &err), &err);
    check_ok(fertility_words_add(w, "long", 4, 9, &err), &err);
    check_ok(fertility_words_add(w, "whole", 5, 1, &err), &err);
    check_ok(fertility_words_add(u, "often", 5, 6, &err), &err);
    check_ok(fertility_words_add(u, "other", 5, 9, &err), &err);
    check_ok(fertility_words_join(w, u, &err), &err);
    fertility_words_count(w, &distinct, &single, &one_in);
    assert_int_equal(distinct, 4);
    assert_int_equal(single, 1);
    assert_int_equal(one_in, 1);
    assert_int_equal(fertility_words_costly(w, v, 2), 2);
    assert_memory_equal(v[0].text, "often", 5);
    assert_int_equal(v[0].count, 6);
    assert_int_equal(v[0].tokens, 16);
    assert_memory_equal(v[1].text, "long", 4); /* of equals the first by its bytes */
    fertility_words_free(w);
    fertility_words_free(u);
}

/* More words than there is room for: the sample is the same in any order, joined or not. */
static void the_sample_depends_on_the_words_alone(void **state) {
    enum { MANY = 600000 };
    (void)state;
    struct fertility_words *w[3];
    struct err err = {0};
    uint64_t distinct[3], single, one_in[3];
    for (int k = 0; k < 3; k++) check_ok(fertility_words_new(&w[k], &err), &err);
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t back = MANY - 1 - i;
        check_ok(fertility_words_add(w[0], (char *)&i, 4, 2, &err), &err);
        check_ok(fertility_words_add(w[1 + back % 2], (char *)&back, 4, 2, &err), &err);
    }
    check_ok(fertility_words_join(w[1], w[2], &err), &err);
    for (int k = 0; k < 2; k++) fertility_words_count(w[k], &distinct[k], &single, &one_in[k]);
    assert_int_equal(one_in[0], one_in[1]);
    assert_int_equal(distinct[0], distinct[1]);
    assert_true(one_in[0] > 1 && distinct[0] > MANY / one_in[0] / 2);
    for (int k = 0; k < 3; k++) fertility_words_free(w[k]);
}

static void code_and_unreachable_ids(void **state) {
    (void)state;
    struct counted c = begin();
    struct fertility_code code;
    struct u32s ids = {0};
    struct err err = {0};
    check_ok(fertility_code(c.e, &code, &err), &err);
    assert_int_equal(code.keywords, 35);
    assert_true(code.whole_keywords > 0 && code.whole_keywords < 35); /* return, def, in … */
    assert_true(code.whole_operators > 0);
    for (int i = 0; i < FERTILITY_INDENTS; i++) assert_true(code.indent[i] <= (uint32_t)i + 1);
    check_ok(fertility_unreachable(c.t, c.e, &ids, &err), &err);
    assert_int_equal(ids.n, 0);
    end(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_counted_by_hand),
        cmocka_unit_test(a_text_in_parts_counts_as_one),
        cmocka_unit_test(words_are_cut_at_any_white_space),
        cmocka_unit_test(identities_hold_for_random_text),
        cmocka_unit_test(entropies_by_hand),
        cmocka_unit_test(costly_words_come_first),
        cmocka_unit_test(the_sample_depends_on_the_words_alone),
        cmocka_unit_test(code_and_unreachable_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
