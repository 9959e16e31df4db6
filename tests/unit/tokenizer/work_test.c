/* Hostile texts in linear time: a million times one character, as in tiktoken's tests. Counted is
 * what the merging does, look-ups of pairs, not how long it takes: bpe.c is compiled here with a
 * counter in it, in place of the library's. */
#include "tests/unit/tokenizer/encode_help.h"

static uint64_t looked_up;

static inline uint32_t counted_get(const struct pairs *p, uint32_t left, uint32_t right) {
    looked_up++;
    return pairs_get(p, left, right);
}
#define pairs_get counted_get
#include "tokenizer/bpe.c"
#undef pairs_get

enum { MILLION = 1000000 };

/* Look-ups for `times` repetitions of a bit of text, the first time it is seen. */
static uint64_t work(const struct tokenizer *t, const char *bit, size_t times, struct u32s *ids) {
    struct encoder *e;
    struct buf text = {0};
    struct err err = {0};
    check_ok(encoder_new(&e, t, &err), &err);
    while (text.n < times * strlen(bit)) buf_str(&text, bit, NULL);
    looked_up = 0;
    ids->n = 0;
    check_ok(encode(e, text.v, text.n, TOKENIZER_SPECIAL_NONE, ids, &err), &err);
    encoder_free(e);
    buf_release(&text);
    return looked_up;
}

static void linear(const struct tokenizer *t, const char *bit) {
    struct u32s ids = {0};
    uint64_t small = work(t, bit, MILLION / 10, &ids), large = work(t, bit, MILLION, &ids);
    size_t bytes = 0, n;
    for (size_t i = 0; i < ids.n; i++) {
        tokenizer_bytes(t, ids.v[i], &n);
        bytes += n;
    }
    assert_int_equal(bytes, MILLION * strlen(bit));
    if (large > 4 * bytes || large > 11 * (small + 1000))
        fail_msg("\"%s\": %llu look-ups for a tenth, %llu for all of %zu bytes", bit,
                 (unsigned long long)small, (unsigned long long)large, bytes);
    u32s_release(&ids);
}

static void a_million_times_one_character(void **state) {
    static const char *const bits[] = {"^", "0", "a", "'s", " ", "\n", "\xC3\xA9", "ab", "a "};
    struct tokenizer *t;
    struct random_vocab v;
    struct rng r = {.key = 5};
    struct err e = {0};
    (void)state;
    check_ok(tokenizer_open(&t, GOLDEN "/tok-hf", NULL, &e), &e);
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) linear(t, bits[i]);
    tokenizer_free(t);
    random_vocab(&v, &r, 300, 2); /* of "a" and "b": much merges, in an order nobody would learn */
    t = random_tokenizer(&v, "gpt2");
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) linear(t, bits[i]);
    tokenizer_free(t);
    random_release(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_million_times_one_character)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
