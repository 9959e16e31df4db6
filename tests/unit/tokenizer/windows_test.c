/* Long pieces merged in windows, and in rounds, beside the slow twin: vocabularies in any order
 * over few letters, where what is far away matters most, and texts that repeat themselves. */
#include "tests/unit/tokenizer/encode_help.h"

/* Some bytes, over and over, now and then with a slip. */
static void repeat(struct buf *out, struct rng *r, const struct buf *bit, size_t n) {
    out->n = 0;
    while (out->n < n) {
        size_t part = rng_below(r, 40) ? bit->n : rng_below(r, bit->n + 1);
        buf_append(out, bit->v, part, NULL);
    }
}

/* Ids are appended: what is there before stays. */
static void put_mark(struct u32s *ids) {
    u32s_push(ids, 7, NULL);
}
static void take_mark(struct u32s *ids) {
    assert_int_equal(ids->v[0], 7);
    memmove(ids->v, ids->v + 1, --ids->n * sizeof *ids->v);
}

static void same_as_the_twin(const struct tokenizer *t, const struct buf *text) {
    struct u32s want = {0}, got = {0};
    struct bpe_scratch s = {0};
    struct err err = {0};
    check_ok(encode_ref(t, text->v, text->n, &want, &err), &err);
    put_mark(&got);
    check_ok(bpe_merge_windows(t, &s, (uint8_t *)text->v, text->n, &got, &err), &err);
    take_mark(&got);
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
        int letters = 1 + (int)rng_below(&r, 3);
        struct tokenizer *t = random_vocabulary(&v, &r, letters, round % 3 == 0, "[\\s\\S]+");
        for (int i = 0; i < 20; i++) {
            random_text(&text, &r, 1 + rng_below(&r, i ? 400 : 1500), letters);
            if (text.n) same_as_the_twin(t, &text);
            random_text(&bit, &r, 1 + rng_below(&r, 20), letters);
            repeat(&text, &r, &bit, bit.n ? 1 + rng_below(&r, i % 4 ? 600 : 5000) : 0);
            if (text.n) same_as_the_twin(t, &text);
        }
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
    buf_release(&bit);
}

/* Stretches of runs, such as rules and blank lines, and of random letters: a long piece goes by the
 * longest tokens, and in rounds, and back. Rules of punctuation once took 300 ns a byte. */
static void long_pieces_of_runs_and_letters(void **state) {
    (void)state;
    struct rng r = {.key = 17};
    struct buf text = {0};
    for (int round = 0; round < 24; round++) {
        struct random_vocab v;
        const int letters = 1 + (int)rng_below(&r, 4);
        struct tokenizer *t = random_vocabulary(&v, &r, letters, round % 3 == 0, "[\\s\\S]+");
        struct u32s want = {0}, got = {0};
        struct bpe_scratch s = {0};
        struct err err = {0};
        text.n = 0;
        while (text.n < 150000) {
            const bool runs = rng_below(&r, 2);
            for (size_t end = text.n + rng_below(&r, 50000); text.n < end;)
                for (size_t k = runs ? 1 + rng_below(&r, 100) : 1, c = rng_below(&r, letters); k--;)
                    buf_char(&text, (char)('a' + (int)c), NULL);
        }
        check_ok(bpe_merge_whole(t, &s, (uint8_t *)text.v, text.n, &want, &err), &err);
        put_mark(&got);
        check_ok(bpe_merge_windows(t, &s, (uint8_t *)text.v, text.n, &got, &err), &err);
        take_mark(&got);
        same_ids(&want, &got, "runs and letters");
        bpe_scratch_release(&s);
        u32s_release(&want);
        u32s_release(&got);
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
}

/* Rounds answer for as many bytes as they say, in the midst of a text as at its end. */
static void rounds_by(const struct bpe_rounds *by, const struct tokenizer *t,
                      const struct buf *text) {
    struct u32s want = {0}, got = {0};
    struct bpe_scratch s = {.rounds = by};
    struct err err = {0};
    const struct trie *trie;
    size_t at = 0, done = 1, unsure;
    check_ok(vocab_trie(&trie, t, &err), &err);
    put_mark(&got);
    for (; at < text->n && done; at += done)
        check_ok(bpe_merge_rounds(t, trie, &s, (uint8_t *)text->v + at, text->n - at, &done,
                                  &unsure, &got, &err),
                 &err);
    take_mark(&got);
    check_ok(encode_ref(t, text->v, text->n, &want, &err), &err);
    size_t bytes = 0, len; /* what is certain is the beginning of what comes of the whole text */
    for (size_t i = 0; i < got.n; i++, bytes += len) vocab_token(t, got.v[i], &len);
    assert_int_equal(bytes, at);
    if (want.n > got.n && at < text->n) want.n = got.n;
    same_ids(&want, &got, "rounds");
    bpe_scratch_release(&s);
    u32s_release(&want);
    u32s_release(&got);
}

static void rounds_as_the_twin(const struct tokenizer *t, const struct buf *text) {
    for (int i = 0; bpe_rounds_at(t, i); i++) rounds_by(bpe_rounds_at(t, i), t, text);
}

static void rounds_equal_the_slow_twin(void **state) {
    (void)state;
    struct rng r = {.key = 13};
    struct buf text = {0}, bit = {0};
    for (int round = 0; round < 60; round++) {
        struct random_vocab v;
        int letters = 1 + (int)rng_below(&r, 6);
        struct tokenizer *t = random_vocabulary(&v, &r, letters, round % 3 == 0, "[\\s\\S]+");
        for (int i = 0; i < 20 && bpe_rounds_can(t); i++) {
            random_text(&text, &r, 1 + rng_below(&r, i % 4 ? 300 : 1500), letters);
            if (text.n) rounds_as_the_twin(t, &text);
            random_text(&bit, &r, 1 + rng_below(&r, 20), letters);
            repeat(&text, &r, &bit, bit.n ? 1 + rng_below(&r, 1100) : 0);
            if (text.n) rounds_as_the_twin(t, &text);
        }
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
    buf_release(&bit);
}

/* Whole pieces in blocks, cut anywhere, each beside the twin of the piece alone. */
static void pieces_by(const struct bpe_rounds *by, const struct tokenizer *t, struct rng *r,
                      const struct buf *text) {
    struct u32s want = {0}, got = {0}, ends = {0};
    struct bpe_scratch s = {.rounds = by};
    struct err err = {0};
    const struct trie *trie;
    const uint8_t *p = (uint8_t *)text->v;
    size_t most = 1 + rng_below(r, rng_below(r, 2) ? 6 : 80), unsure;
    check_ok(vocab_trie(&trie, t, &err), &err);
    put_mark(&got);
    for (size_t from = 0, at = 0; from < text->n; from = at) {
        size_t block = 1 + rng_below(r, BPE_ROUNDS_BLOCK);
        ends.n = 0;
        while (at < text->n && at - from < block) {
            size_t n = 1 + rng_below(r, most), room = block - (at - from);
            n = n < room ? n : room;
            n = n < text->n - at ? n : text->n - at;
            check_ok(encode_ref(t, text->v + at, n, &want, &err), &err);
            at += n;
            u32s_push(&ends, (uint32_t)at, NULL);
        }
        check_ok(bpe_merge_pieces(t, trie, &s, p, from, ends.v, ends.n, &unsure, &got, &err), &err);
        assert_true(unsure <= at - from);
    }
    take_mark(&got);
    same_ids(&want, &got, "pieces in rounds");
    bpe_scratch_release(&s);
    u32s_release(&want);
    u32s_release(&got);
    u32s_release(&ends);
}

static void pieces_as_the_twin(const struct tokenizer *t, struct rng *r, const struct buf *text) {
    for (int i = 0; bpe_rounds_at(t, i); i++) pieces_by(bpe_rounds_at(t, i), t, r, text);
}

static void pieces_in_rounds_equal_the_slow_twin(void **state) {
    (void)state;
    struct rng r = {.key = 16};
    struct buf text = {0}, bit = {0};
    for (int round = 0; round < 60; round++) {
        struct random_vocab v;
        int letters = 1 + (int)rng_below(&r, 6);
        struct tokenizer *t = random_vocabulary(&v, &r, letters, round % 3 == 0, "[\\s\\S]+");
        for (int i = 0; i < 6 && bpe_rounds_can(t); i++) {
            random_text(&text, &r, 1 + rng_below(&r, 1500), letters);
            if (text.n) pieces_as_the_twin(t, &r, &text);
            random_text(&bit, &r, 1 + rng_below(&r, 20), letters);
            repeat(&text, &r, &bit, bit.n ? 1 + rng_below(&r, 1100) : 0);
            if (text.n) pieces_as_the_twin(t, &r, &text);
        }
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
    buf_release(&bit);
}

/* A token of more bytes than the trie is deep: "abc…q" comes before "qr". */
static void a_long_token_comes_before_what_follows(void **state) {
    (void)state;
    struct rng r = {.key = 15};
    struct random_vocab v;
    struct err err = {0};
    struct buf text = {0};
    random_vocab(&v, &r, 0, 2);
    for (uint32_t i = 1; i <= 17; i++) { /* ab, abc …, then qr */
        uint32_t left = i == 17 ? 'q' : i == 1 ? 'a' : 254 + i, right = 'a' + i;
        buf_append(&v.bytes, i == 17 ? "q" : "abcdefghijklmnopq", i == 17 ? 1 : i, NULL);
        buf_char(&v.bytes, (char)right, NULL);
        u64s_push(&v.start, v.bytes.n, NULL);
        v.merges[v.n_merges++] = (struct merge){left, right, 255 + i};
    }
    struct tokenizer *t = random_tokenizer(&v, "[\\s\\S]+");
    for (int i = 0; i < 100; i++) buf_str(&text, i % 3 ? "abcdefghijklmnopqr" : "pqrqr", &err);
    same_as_the_twin(t, &text);
    if (bpe_rounds_can(t)) rounds_as_the_twin(t, &text);
    for (int i = 0; i < 20 && bpe_rounds_can(t); i++) pieces_as_the_twin(t, &r, &text);
    buf_release(&text);
    tokenizer_free(t);
    random_release(&v);
}

/* Where a byte has no token rounds would not know what to do with it. */
static void a_byte_without_a_token_is_for_no_round(void **state) {
    (void)state;
    struct rng r = {.key = 14};
    struct random_vocab v;
    struct u32s out = {0};
    struct bpe_scratch s = {0};
    struct err err = {0};
    random_vocab(&v, &r, 20, 2);
    struct tokenizer *t = random_tokenizer(&v, "[\\s\\S]+");
    uint8_t text[500];
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof text; i += 2) text[i] = 'b';
    text[400] = 'z';
    t->byte_id['z'] = TOKENIZER_NO_ID;
    check_ok(vocab_set_merges(t, t->merges, t->n_merges, &err), &err);
    assert_false(bpe_rounds_can(t));
    assert_int_equal(bpe_merge_windows(t, &s, text, sizeof text, &out, &err), ERR_DATA);
    assert_non_null(strstr(err.msg, "byte 0x7A"));
    bpe_scratch_release(&s);
    u32s_release(&out);
    tokenizer_free(t);
    random_release(&v);
}

/* A free slot is all ones, and so is the key of two ids of ones: see pairs_test.c. */
static void no_free_slot_is_taken_for_two_ids_of_ones(void **state) {
    (void)state;
    struct rng r = {.key = 15};
    struct random_vocab v;
    struct err err = {0};
    random_vocab(&v, &r, 0, 2);
    struct tokenizer *t = random_tokenizer(&v, "[\\s\\S]+");
    memset(t->pairs.filter, 0xFF, (size_t)1 << (t->pairs.filter_bits - 3));
    struct buf text = {0};
    for (int i = 0; i < 300; i++) buf_char(&text, (char)0xFF, &err);
    same_as_the_twin(t, &text);
    buf_release(&text);
    tokenizer_free(t);
    random_release(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(windows_equal_the_slow_twin),
                                       cmocka_unit_test(long_pieces_of_runs_and_letters),
                                       cmocka_unit_test(rounds_equal_the_slow_twin),
                                       cmocka_unit_test(pieces_in_rounds_equal_the_slow_twin),
                                       cmocka_unit_test(a_long_token_comes_before_what_follows),
                                       cmocka_unit_test(a_byte_without_a_token_is_for_no_round),
                                       cmocka_unit_test(no_free_slot_is_taken_for_two_ids_of_ones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
