/* Which merges of ranks count, beside merging the bytes of each split and seeing whether the two
 * ever stand there. */
#include "tests/unit/tokenizer/encode_help.h"
#include "tokenizer/splits.h"

/* The bytes of m's two tokens alone, where any two neighbours merge whose bytes are a token, the
 * lowest first: does that come to these two? */
static bool comes_to_pass(const struct tokenizer *t, const struct merge *m) {
    size_t len, n;
    const uint8_t *p = vocab_token(t, m->result, &len);
    uint32_t sym[64];
    for (n = 0; n < len; n++) sym[n] = t->byte_id[p[n]];
    for (;;) {
        uint32_t low = TOKENIZER_NO_ID;
        size_t from = 0, at = 0, a, b;
        if (n == 2 && sym[0] == m->left && sym[1] == m->right) return true;
        for (size_t i = 0; i + 1 < n; i++, from += a) {
            vocab_token(t, sym[i], &a);
            vocab_token(t, sym[i + 1], &b);
            uint32_t rank = finder_get(&t->finder, t, p + from, a + b);
            if (rank < low) low = rank, at = i;
        }
        if (low == TOKENIZER_NO_ID) return false;
        sym[at] = low;
        n--;
        for (size_t i = at + 1; i < n; i++) sym[i] = sym[i + 1];
    }
}

/* Does merging make all short tokens? */
static bool all_are_made(const struct tokenizer *t) {
    for (uint32_t id = 0; id < t->n; id++) {
        size_t len;
        vocab_token(t, id, &len);
        bool made = !(t->kind[id] & TOKEN_MODEL) || len < 2 || len > SPLITS_SHORT;
        for (uint64_t i = 0; i < t->n_merges && !made; i++)
            made = t->merges[i].result == id && comes_to_pass(t, &t->merges[i]);
        if (!made) return false;
    }
    return true;
}

static void what_comes_to_pass_has_its_pair(void **state) {
    (void)state;
    struct rng r = {.key = 41};
    size_t all = 0, real = 0, kept = 0;
    for (int round = 0; round < 200; round++) {
        struct random_vocab v;
        int letters = 1 + (int)rng_below(&r, 5);
        struct tokenizer *t = random_vocabulary(&v, &r, letters, true, "[\\s\\S]+");
        for (uint64_t i = 0; i < t->n_merges; i++) {
            const struct merge *m = &t->merges[i];
            bool is = comes_to_pass(t, m);
            uint32_t rank = pairs_get(&t->pairs, m->left, m->right);
            assert_true(rank == m->result || (rank == PAIRS_NONE && !is));
            all++;
            real += is;
            kept += rank != PAIRS_NONE;
        }
        assert_true(!t->all_made || all_are_made(t));
        tokenizer_free(t);
        random_release(&v);
    }
    print_message("%zu of %zu splits come to pass, %zu are kept\n", real, all, kept);
    assert_true(kept < all);
}

/* A vocabulary of the bytes and these tokens, by rank. */
static struct tokenizer *of_tokens(struct random_vocab *v, const char *const *tokens, size_t n) {
    struct rng r = {.key = 42};
    struct err err = {0};
    random_vocab(v, &r, 0, 1);
    for (size_t i = 0; i < n; i++) {
        buf_str(&v->bytes, tokens[i], &err);
        u64s_push(&v->start, v->bytes.n, &err);
    }
    struct tokenizer *t = random_with(v, "[\\s\\S]+", NULL, 0);
    free(t->merges);
    check_ok(vocab_merges_of_ranks(t, &err), &err);
    return t;
}

static void encodes_as_the_twin(const struct tokenizer *t, const char *text, size_t n) {
    struct u32s want = {0}, got = {0};
    struct err err = {0};
    struct encoder *e;
    check_ok(encoder_new(&e, t, &err), &err);
    check_ok(encode_ref(t, text, n, &want, &err), &err);
    check_ok(encode(e, text, n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
    same_ids(&want, &got, "ranks that fall");
    encoder_free(e);
    u32s_release(&want);
    u32s_release(&got);
}

/* Ranks that fall: "bcd" comes before "bc" and "cd", of which it is made. Its splits stay, and so
 * do those of what it is in. */
static void what_is_unsure_is_kept(void **state) {
    (void)state;
    static const char *const tokens[] = {"bcd", "bc", "cd", "abcd", "ab", "bcde"};
    struct random_vocab v;
    struct tokenizer *t = of_tokens(&v, tokens, sizeof tokens / sizeof *tokens);
    for (int i = 0; i < 4096; i++) {
        char text[6];
        for (int k = 0; k < 6; k++) text[k] = (char)('a' + (i * 1103 >> 2 * k) % 5);
        encodes_as_the_twin(t, text, 6);
    }
    tokenizer_free(t);
    random_release(&v);
}

/* Of 1,770 splits all but one are unsure: more than there are tokens. So are those of tokens of
 * more bytes than are looked at. */
static void there_is_room_for_all(void **state) {
    (void)state;
    enum { MOST = 300, STEP = 5 };
    static char text[MOST + 1];
    const char *tokens[MOST];
    struct random_vocab v;
    size_t n = 0, kept = 0;
    memset(text, 'a', MOST);
    for (size_t len = MOST; len > 60; len -= STEP) tokens[n++] = text + MOST - len;
    for (size_t len = 60; len > 1; len--) tokens[n++] = text + MOST - len;
    struct tokenizer *t = of_tokens(&v, tokens, n);
    for (uint64_t i = 0; i < t->n_merges; i++)
        kept += pairs_get(&t->pairs, t->merges[i].left, t->merges[i].right) != PAIRS_NONE;
    assert_true(kept > t->n);
    for (size_t len = 1; len <= MOST; len++) encodes_as_the_twin(t, text, len);
    tokenizer_free(t);
    random_release(&v);
}

static void whether_all_are_made(void **state) {
    (void)state;
    static const char *const made[] = {"ab", "cd", "abcd", "abc"};
    static const char *const not_made[] = {"ab", "abcd"};
    struct random_vocab v;
    struct tokenizer *t = of_tokens(&v, made, sizeof made / sizeof *made);
    assert_true(t->all_made && all_are_made(t));
    tokenizer_free(t);
    random_release(&v);
    t = of_tokens(&v, not_made, sizeof not_made / sizeof *not_made);
    assert_false(t->all_made || all_are_made(t));
    encodes_as_the_twin(t, "abcd", 4);
    tokenizer_free(t);
    random_release(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_to_pass_has_its_pair),
        cmocka_unit_test(what_is_unsure_is_kept),
        cmocka_unit_test(there_is_room_for_all),
        cmocka_unit_test(whether_all_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
