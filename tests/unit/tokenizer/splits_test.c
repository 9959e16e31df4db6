/* How tokens come into being, and which merges of ranks count, beside merging the bytes of each. */
#include "tests/unit/tokenizer/encode_help.h"
#include "tests/unit/tokenizer/merges_help.h"
#include "tokenizer/splits.h"

/* The last merge of a token's bytes alone, if they become one symbol. */
struct last {
    uint32_t left, right, result;
    uint64_t rank;
};

/* What two symbols side by side merge to, by definition: with ranks any two whose bytes together
 * are a token, of a list those that stand there, the last time they do. Their rank, or
 * UINT64_MAX. */
static uint64_t ask(const struct tokenizer *t, const struct merge *list, uint64_t n, uint32_t left,
                    uint32_t right, uint32_t *ret_result) {
    char both[1024];
    size_t a, b;
    const uint8_t *l = vocab_token(t, left, &a), *r = vocab_token(t, right, &b);
    memcpy(both, l, a);
    memcpy(both + a, r, b);
    if (t->by_rank) {
        *ret_result = finder_get(&t->finder, t, (uint8_t *)both, a + b);
        return *ret_result == TOKENIZER_NO_ID ? UINT64_MAX : *ret_result;
    }
    for (uint64_t i = n; i-- > 0;)
        if (list[i].left == left && list[i].right == right) {
            *ret_result = list[i].result;
            return i;
        }
    return UINT64_MAX;
}

static bool merge_alone(const struct tokenizer *t, uint32_t id, struct last *last) {
    const struct merge *list;
    const uint64_t n_list = merges_of(t, &list);
    size_t n, len;
    const uint8_t *p = vocab_token(t, id, &len);
    uint32_t sym[512];
    for (n = 0; n < len; n++) sym[n] = t->byte_id[p[n]];
    while (n > 1) {
        uint64_t low = UINT64_MAX;
        size_t at = 0;
        uint32_t result, made = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            uint64_t rank = ask(t, list, n_list, sym[i], sym[i + 1], &result);
            if (rank < low) low = rank, at = i, made = result;
        }
        if (low == UINT64_MAX) return false;
        *last = (struct last){sym[at], sym[at + 1], made, low};
        sym[at] = made;
        n--;
        for (size_t i = at + 1; i < n; i++) sym[i] = sym[i + 1];
    }
    return len > 1 && last->result == id;
}

static void each_token_has_its_split(void **state) {
    (void)state;
    struct rng r = {.key = 43};
    size_t sure = 0, unsure = 0, never = 0;
    for (int round = 0; round < 60; round++) {
        struct random_vocab v;
        struct err err = {0};
        const bool ranks = round % 2;
        struct tokenizer *t =
            random_vocabulary(&v, &r, 1 + (int)rng_below(&r, 5), ranks, "[\\s\\S]+");
        struct split *of = mem_array(t->n, sizeof *of);
        check_ok(splits_find(t, of, &err), &err);
        bool all_made = true;
        for (uint32_t id = 256; id < t->n; id++) {
            struct last last;
            const bool is = merge_alone(t, id, &last), raw = !(t->kind[id] & TOKEN_MODEL);
            if (of[id].since == SPLITS_NEVER) assert_false(is);
            if (of[id].since < SPLITS_UNSURE) assert_true(is && of[id].since == last.rank + 1);
            if (of[id].since < SPLITS_UNSURE || (ranks && is))
                assert_true(of[id].left == last.left && of[id].right == last.right);
            if (ranks) assert_true(is == (of[id].since != SPLITS_NEVER));
            all_made &= is || raw;
            sure += of[id].since < SPLITS_UNSURE;
            unsure += of[id].since == SPLITS_UNSURE;
            never += of[id].since == SPLITS_NEVER;
        }
        assert_true(t->all_made == (ranks && all_made));
        free(of);
        tokenizer_free(t);
        random_release(&v);
    }
    print_message("%zu tokens sure, %zu unsure, %zu never\n", sure, unsure, never);
    assert_true(sure && unsure && never);
}

/* Of all splits of ranks, as a list has them, just those are pairs that come to pass. */
static void what_comes_to_pass_has_its_pair(void **state) {
    (void)state;
    struct rng r = {.key = 41};
    size_t all = 0, kept = 0;
    for (int round = 0; round < 200; round++) {
        struct random_vocab v;
        int letters = 1 + (int)rng_below(&r, 5);
        struct tokenizer *t = random_vocabulary(&v, &r, letters, true, "[\\s\\S]+");
        const struct merge *m;
        const uint64_t n = merges_of(t, &m);
        for (uint64_t i = 0; i < n; i++) {
            struct last last;
            const bool is = merge_alone(t, m[i].result, &last) && last.left == m[i].left;
            uint32_t rank = pairs_get(&t->pairs, m[i].left, m[i].right);
            assert_int_equal(rank, is ? m[i].result : PAIRS_NONE);
            all++;
            kept += is;
        }
        tokenizer_free(t);
        random_release(&v);
    }
    print_message("%zu of %zu splits come to pass\n", kept, all);
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
    check_ok(vocab_set_ranks(t, &err), &err);
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

/* Ranks that fall: "bcd" comes before "bc" and "cd", of which it is made. */
static void ranks_may_fall(void **state) {
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

/* Tokens of more bytes than are merged side by side, and than splits tell about. */
static void tokens_may_be_long(void **state) {
    (void)state;
    enum { MOST = 300, STEP = 5 };
    static char text[MOST + 1];
    const char *tokens[MOST];
    struct random_vocab v;
    size_t n = 0;
    memset(text, 'a', MOST);
    for (size_t len = MOST; len > 60; len -= STEP) tokens[n++] = text + MOST - len;
    for (size_t len = 60; len > 1; len--) tokens[n++] = text + MOST - len;
    struct tokenizer *t = of_tokens(&v, tokens, n);
    for (size_t len = 1; len <= MOST; len++) encodes_as_the_twin(t, text, len);
    tokenizer_free(t);
    random_release(&v);
}

/* Also where a length takes more than one digit of the sort. */
static void ids_are_sorted_by_length(void **state) {
    (void)state;
    enum { N = 300 };
    struct rng r = {.key = 44};
    struct u64s start = {0};
    struct tokenizer t = {.n = N};
    struct err err = {0};
    uint32_t *order, seen[N] = {0};
    u64s_push(&start, 0, NULL);
    for (uint32_t id = 0; id < N; id++)
        u64s_push(&start, start.v[id] + rng_below(&r, id % 3 ? 9 : 40000000), NULL);
    t.start = start.v;
    check_ok(splits_by_length(&t, &order, &err), &err);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(seen[order[i]]++, 0);
        if (i) assert_true(vocab_length(&t, order[i - 1]) <= vocab_length(&t, order[i]));
    }
    free(order);
    u64s_release(&start);
}

/* A token with a byte that has no token of its own is never made, and harms no other. */
static void a_byte_may_be_missing(void **state) {
    (void)state;
    static const uint64_t start[] = {0, 1, 2, 3, 5, 7, 9}; /* a b c | ba ca | db */
    struct tokenizer *t = NULL;
    struct err err = {0};
    struct tokenizer_parts p = {.pattern = "[\\s\\S]+",
                                .n_tokens = 6,
                                .bytes = (const uint8_t *)"abcbacadb",
                                .start = start};
    check_ok(tokenizer_build(&t, &p, &err), &err);
    check_ok(vocab_set_ranks(t, &err), &err);
    assert_false(t->all_made);
    assert_true(t->split[5].since == SPLITS_NEVER && t->split[3].since == 4);
    encodes_as_the_twin(t, "abacab", 6);
    tokenizer_free(t);
}

static void whether_all_are_made(void **state) {
    (void)state;
    static const char *const made[] = {"ab", "cd", "abcd", "abc"};
    static const char *const not_made[] = {"ab", "abcd"};
    struct random_vocab v;
    struct tokenizer *t = of_tokens(&v, made, sizeof made / sizeof *made);
    assert_true(t->all_made);
    tokenizer_free(t);
    random_release(&v);
    t = of_tokens(&v, not_made, sizeof not_made / sizeof *not_made);
    assert_false(t->all_made);
    encodes_as_the_twin(t, "abcd", 4);
    tokenizer_free(t);
    random_release(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_token_has_its_split),
        cmocka_unit_test(what_comes_to_pass_has_its_pair),
        cmocka_unit_test(ranks_may_fall),
        cmocka_unit_test(tokens_may_be_long),
        cmocka_unit_test(ids_are_sorted_by_length),
        cmocka_unit_test(a_byte_may_be_missing),
        cmocka_unit_test(whether_all_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
