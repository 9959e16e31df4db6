/* Learned merges: HF tokenizers' own expectations, the textbook, and a tokenizer trained by
 * transformers. */
#include "tests/unit/tokenizer/merges_help.h"

#include <cmocka.h>
#include <zlib.h>
#include "base/json.h"
#include "base/pool.h"
#include "base/rng.h"
#include "tokenizer/bytemap.h"
#include "tokenizer/train.h"

static struct words *new_words(int threads) {
    struct words *w;
    struct words_opts o = {.threads = threads};
    assert_int_equal(words_new(&w, &o, NULL), 0);
    return w;
}

static struct words *words_of(const char *text) {
    struct words *w = new_words(1);
    assert_int_equal(words_add(w, 0, text, strlen(text), NULL), 0);
    assert_int_equal(words_finish(w, NULL, NULL), 0);
    return w;
}

/* "left right" a line, as merges.txt has them. */
static void write_merges(const struct tokenizer *t, struct buf *out) {
    const struct merge *m;
    uint64_t n = merges_of(t, &m);
    out->n = 0;
    for (uint64_t i = 0; i < n; i++) {
        size_t len;
        const uint8_t *p = tokenizer_bytes(t, m[i].left, &len);
        assert_int_equal(bytemap_write(out, p, len, NULL), 0);
        buf_char(out, ' ', NULL);
        p = tokenizer_bytes(t, m[i].right, &len);
        assert_int_equal(bytemap_write(out, p, len, NULL), 0);
        buf_char(out, '\n', NULL);
    }
}

static void check_merges(struct words *w, const struct bpe_train_opts *o, const char *want) {
    struct tokenizer *t;
    struct buf got = {0};
    struct err err = {0};
    assert_int_equal(bpe_train_ref(&t, w, o, &err), 0);
    write_merges(t, &got);
    assert_string_equal(buf_cstr(&got), want);
    tokenizer_free(t);
    assert_int_equal(bpe_train(&t, w, o, NULL, NULL, NULL, &err), 0);
    write_merges(t, &got);
    assert_string_equal(buf_cstr(&got), want);
    tokenizer_free(t);
    words_free(w);
    buf_release(&got);
}

static void check_text(const char *text, uint32_t vocab, uint64_t min, const char *want) {
    check_merges(words_of(text), &(struct bpe_train_opts){.vocab = vocab, .min_frequency = min},
                 want);
}

/* From the unit tests of HF's trainer.rs. */
static void words_of_hf_trainer(void **state) {
    (void)state;
    static const char *const once[] = {"roses", "red", "voilets", "blue", "BERT",
                                       "big",   "and", "so",      "GPT-2"};
    struct words *w = new_words(1);
    for (size_t i = 0; i < sizeof once / sizeof once[0]; i++)
        assert_int_equal(words_add_count(w, 0, once[i], strlen(once[i]), 1, NULL), 0);
    assert_int_equal(words_add_count(w, 0, "are", 3, 2, NULL), 0);
    assert_int_equal(words_add_count(w, 0, "is", 2, 2, NULL), 0);
    assert_int_equal(words_finish(w, NULL, NULL), 0);
    check_merges(w, &(struct bpe_train_opts){.vocab = 1000, .min_frequency = 2},
                 "r e\na re\ni s\n");
}

static void equal_counts_take_the_smaller_pair(void **state) {
    (void)state;
    check_text("aaaa aaaa", 270, 2, "a a\naa aa\n");
    check_text("ab ba ab ba", 270, 2, "a b\nb a\n\xc4\xa0 ba\n");
    check_text("\xc3\xa9 \xc3\xa8 \xc3\xa9 \xc3\xa8", 262, 1,
               "\xc4\xa0 \xc3\x83\n\xc4\xa0\xc3\x83 \xc2\xa8\n\xc3\x83 \xc2\xa9\n"
               "\xc4\xa0\xc3\x83 \xc2\xa9\n");
    check_text("a\n\nb\n\nc", 300, 0, "");
    check_text(
        "low low low low low lower lower newest newest newest newest newest newest "
        "widest widest widest",
        268, 1,
        "e s\nes t\nl o\nlo w\ne w\nn ew\n\xc4\xa0 low\n\xc4\xa0 new\n\xc4\xa0new est\nd est\n"
        "i dest\nw idest\n");
}

/* In the order of the byte map "a" comes before "\n" and the blank. Merges as rustbpe 0.1.0 learns
 * them. */
static void equal_counts_in_raw_byte_order(void **state) {
    (void)state;
    struct bpe_train_opts o = {.vocab = 260};
    const char *text = "\n\n \n\n ab ab\n\n ";
    check_merges(words_of(text), &o,
                 "\xc4\x8a \xc4\x8a\na b\n\xc4\xa0 ab\n\xc4\x8a\xc4\x8a \xc4\xa0\n");
    o.byte_order = true;
    check_merges(words_of(text), &o,
                 "\xc4\x8a \xc4\x8a\n\xc4\xa0 a\n\xc4\x8a\xc4\x8a \xc4\xa0\n\xc4\xa0"
                 "a b\n");
    struct words *w = words_of(text);
    struct tokenizer *t;
    size_t n;
    assert_int_equal(bpe_train(&t, w, &o, NULL, NULL, NULL, NULL), 0);
    for (uint32_t id = 0; id < 256; id++) {
        assert_int_equal(*tokenizer_bytes(t, id, &n), id);
        assert_int_equal(n, 1);
    }
    tokenizer_free(t);
    words_free(w);
}

/* Counts above 2^31 wrapped in HF tokenizers (huggingface/tokenizers#2058) and dropped the pair. */
static void pair_counts_do_not_wrap(void **state) {
    (void)state;
    struct words *w = new_words(1);
    assert_int_equal(words_add_count(w, 0, "abab", 4, 3000000000u, NULL), 0);
    assert_int_equal(words_add_count(w, 0, "cd", 2, 5, NULL), 0);
    assert_int_equal(words_finish(w, NULL, NULL), 0);
    check_merges(w, &(struct bpe_train_opts){.vocab = 260}, "a b\nab ab\nc d\n");
}

/* HF: the sum of the lengths must be less than the limit, but any two single bytes may merge. */
static void tokens_stay_below_the_limit(void **state) {
    (void)state;
    static const char *const want[] = {"c d\na b\ncd cd\n", "c d\na b\n", "c d\na b\n",
                                       "c d\na b\n",        "c d\na b\n", "c d\na b\ncd cd\n"};
    for (uint32_t limit = 0; limit < 6; limit++)
        check_merges(words_of("abcdcd"),
                     &(struct bpe_train_opts){.vocab = 259, .max_token_length = limit},
                     want[limit]);
}

static void a_merge_that_spells_a_special_takes_its_id(void **state) {
    (void)state;
    const char *const specials[] = {"abc", "abc", "b", "d e"};
    struct bpe_train_opts o = {.vocab = 261, .specials = specials, .n_specials = 4};
    struct words *w = words_of("abc abc abc xyz xyz");
    struct tokenizer *t;
    const struct merge *m;
    assert_int_equal(bpe_train(&t, w, &o, NULL, NULL, NULL, NULL), 0);
    assert_int_equal(tokenizer_size(t), 261); /* 3 specials, 255 bytes besides "b", 3 new tokens */
    assert_int_equal(merges_of(t, &m), 4);
    assert_int_equal(m[0].left, 1); /* (b, c) has the smallest ids of the pairs with count 3 */
    assert_int_equal(m[0].result, 258);
    assert_int_equal(m[1].right, 258);
    assert_int_equal(m[1].result, 0); /* (a, bc) */
    tokenizer_free(t);
    words_free(w);
}

/* HF would give one id two meanings. */
static void a_special_spelled_like_other_bytes_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"\xc4\xa0"
                                      "a",
                                      "\xc3\xa9"}; /* " a" and byte e9, as mapped */
    for (size_t i = 0; i < 2; i++) {
        struct bpe_train_opts o = {.vocab = 300, .specials = &bad[i], .n_specials = 1};
        struct words *w = words_of("x a a");
        struct tokenizer *t;
        struct err err = {0};
        assert_int_equal(bpe_train(&t, w, &o, NULL, NULL, NULL, &err), ERR_USAGE);
        assert_non_null(strstr(err.msg, bad[i]));
        words_free(w);
    }
}

static void too_small_a_vocabulary_has_all_bytes(void **state) {
    (void)state;
    const char *const specials[] = {TOKENIZER_EOT};
    struct bpe_train_opts o = {.vocab = 100, .specials = specials, .n_specials = 1};
    struct words *w = words_of("hello hello");
    struct tokenizer *t;
    struct bpe_train_result res;
    assert_int_equal(bpe_train(&t, w, &o, NULL, NULL, &res, NULL), 0);
    assert_int_equal(tokenizer_size(t), 257);
    assert_int_equal(res.merges, 0);
    assert_false(res.ran_out);
    tokenizer_free(t);
    words_free(w);
    o.vocab = 400;
    w = words_of("hello");
    assert_int_equal(bpe_train(&t, w, &o, NULL, NULL, &res, NULL), 0);
    assert_int_equal(res.merges, 4);
    assert_true(res.ran_out);
    tokenizer_free(t);
    words_free(w);
}

/* Of blank and b, both twice, b is the smaller mapped character. Without blanks " bb" is "bb". */
static void the_alphabet_is_limited(void **state) {
    (void)state;
    struct bpe_train_opts o = {.vocab = 5, .seen_alphabet = true, .limit_alphabet = 2};
    const char *text = "aaa bb c";
    check_merges(words_of(text), &o, "a a\nb b\naa a\n");
    o.limit_alphabet = 3; /* a b blank */
    o.vocab = 6;
    check_merges(words_of(text), &o, "a a\nb b\n\xc4\xa0 bb\n");
    o.seen_alphabet = false; /* the same: bytes that do not occur come last */
    check_merges(words_of(text), &o, "a a\nb b\n\xc4\xa0 bb\n");
    o.limit_alphabet = 0;
    o.seen_alphabet = true;
    o.vocab = 0;
    struct words *w = words_of(text);
    struct tokenizer *t;
    assert_int_equal(bpe_train(&t, w, &o, NULL, NULL, NULL, NULL), 0);
    assert_int_equal(tokenizer_size(t), 4);
    assert_int_equal(tokenizer_find(t, "c", 1), 2);
    assert_int_equal(tokenizer_find(t, " ", 1), 3);
    tokenizer_free(t);
    words_free(w);
}

/* HF finds the byte's token by its character, which is the special's; it was left out. */
static void a_byte_that_is_a_special_stays_in_a_limited_alphabet(void **state) {
    (void)state;
    const char *const specials[] = {"c"};
    struct bpe_train_opts o = {.vocab = 4,
                               .seen_alphabet = true,
                               .limit_alphabet = 1,
                               .specials = specials,
                               .n_specials = 1};
    check_merges(words_of("aaaaaa cc cc"), &o, "a a\nc c\n");
}

/* ------------------------------------------------------------------ after another tokenizer */

/* Twelve tokens are enough to take settings from. "[P]" is an added token of ordinary text. */
static const char like_json[] =
    "{\"added_tokens\":["
    "{\"id\":9,\"content\":\"</s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
    "\"normalized\":false,\"special\":true},"
    "{\"id\":10,\"content\":\"<m>\",\"single_word\":false,\"lstrip\":true,\"rstrip\":false,"
    "\"normalized\":false,\"special\":true},"
    "{\"id\":11,\"content\":\"[P]\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
    "\"normalized\":true,\"special\":false}],"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
    "\"use_regex\":true},"
    "\"post_processor\":{\"type\":\"Sequence\",\"processors\":["
    "{\"type\":\"RobertaProcessing\",\"sep\":[\"</s>\",9],\"cls\":[\"<m>\",10]},"
    "{\"type\":\"TemplateProcessing\",\"special_tokens\":{"
    "\"x\":{\"id\":\"x\",\"ids\":[10,9],\"tokens\":[\"<m>\",\"</s>\"]}}}]},"
    "\"decoder\":{\"type\":\"ByteLevel\"},"
    "\"model\":{\"type\":\"BPE\",\"continuing_subword_prefix\":null,\"ignore_merges\":true,"
    "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"e\":4,\"f\":5,\"g\":6,\"h\":7,\"i\":8},"
    "\"merges\":[]}}";

static struct tokenizer *open_like(const char *folder) {
    struct tokenizer *t;
    struct err err = {0};
    const char *path = in(folder, "tokenizer.json");
    check_ok(file_write(path, like_json, sizeof like_json - 1, &err), &err);
    check_ok(tokenizer_open(&t, path, NULL, &err), &err);
    return t;
}

/* Both of a Sequence's post-processors get the new ids, which transformers does only outside of one
 * (huggingface/transformers#30752). */
static void settings_are_taken_over(void **state) {
    struct tokenizer *like = open_like(*state), *t;
    const char *const specials[] = {"<m>", "<new>", "</s>"};
    struct bpe_train_opts o = {.vocab = 262, .specials = specials, .n_specials = 3, .like = like};
    struct words_opts wo = {.like = like, .threads = 1};
    struct words *w;
    const struct special *s;
    const struct merge *m;
    struct buf text = {0};
    struct err err = {0};
    check_ok(words_new(&w, &wo, &err), &err);
    check_ok(words_add(w, 0, "ab ab", 5, &err), &err);
    check_ok(words_finish(w, NULL, &err), &err);
    assert_int_equal(words_distinct(w), 1); /* " ab" twice: the first has its blank from us */
    check_ok(bpe_train(&t, w, &o, NULL, NULL, NULL, &err), &err);
    assert_int_equal(merges_of(t, &m), 2);
    assert_int_equal(tokenizer_specials(t, &s), 4); /* and "[P]" */
    assert_true(s[0].lstrip && s[1].special && !s[1].lstrip && !s[2].lstrip);
    check_ok(tokenizer_save(t, in(*state, "made"), &err), &err);
    check_ok(file_read(in(*state, "made/tokenizer.json"), 1 << 20, &text, &err), &err);
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        if (text.v[i] != ' ' && text.v[i] != '\n') text.v[n++] = text.v[i];
    text.n = n;
    static const char *const want[] = {"\"sep\":[\"</s>\",2],\"cls\":[\"<m>\",0]", "\"ids\":[0,2]",
                                       "\"add_prefix_space\":true", "\"ignore_merges\":true",
                                       "\"continuing_subword_prefix\":null"};
    for (size_t i = 0; i < 5; i++)
        if (!strstr(buf_cstr(&text), want[i])) fail_msg("no %s in %s", want[i], text.v);
    buf_release(&text);
    tokenizer_free(t);
    words_free(w);
    tokenizer_free(like);
}

/* Those that are not special come behind the vocabulary, as in the train_new_from_iterator() of
 * what AutoTokenizer opened. One that is in the new vocabulary has its id there, and its old
 * flags. */
static void added_tokens_of_the_old_one_were_lost(void **state) {
    struct tokenizer *like = open_like(*state), *t[2];
    const char *const specials[] = {"<m>", "</s>", "[P]"};
    const uint32_t sizes[] = {258, 259};
    const struct special *s;
    struct err err = {0};
    for (size_t n = 2; n <= 3; n++) {
        struct bpe_train_opts o = {.specials = specials, .n_specials = n, .like = like};
        struct words *w = words_of("ab ab");
        check_ok(bpe_train_nested(t, sizes, 2, w, &o, NULL, NULL, NULL, &err), &err);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(tokenizer_specials(t[i], &s), 3);
            assert_string_equal(s[2].text, "[P]");
            assert_true(!s[2].special && s[2].normalized);
            assert_int_equal(s[2].id, n == 2 ? sizes[i] : 2);
            check_ok(tokenizer_save(t[i], in(*state, "made"), &err), &err);
            uint32_t size = tokenizer_size(t[i]);
            tokenizer_free(t[i]);
            check_ok(tokenizer_open(&t[i], in(*state, "made"), NULL, &err), &err);
            assert_int_equal(tokenizer_size(t[i]), size);
            tokenizer_free(t[i]);
        }
        words_free(w);
    }
    tokenizer_free(like);
}

/* The list of transformers 4 or of 5, or none yet: it was dropped. */
static void further_special_tokens_are_listed(void **state) {
    static const char *const config[][2] = {
        {"{\"eos_token\":\"</s>\",\"additional_special_tokens\":[\"<m>\",\"[P]\",\"<gone>\"]}",
         "\"additional_special_tokens\":[\"<m>\",\"<new>\"]"},
        {"{\"extra_special_tokens\":[{\"content\":\"<m>\"}]}",
         "\"extra_special_tokens\":[{\"content\":\"<m>\"},\"<new>\"]"},
        {"{\"additional_special_tokens\":null,\"pad_token\":\"<m>\"}",
         "\"pad_token\":\"<m>\",\"additional_special_tokens\":[\"<new>\"]"}};
    const char *const specials[] = {"<m>", "<new>", "</s>"};
    for (size_t i = 0; i < 3; i++) {
        struct err err = {0};
        struct buf text = {0};
        check_ok(file_write(in(*state, "tokenizer_config.json"), config[i][0], strlen(config[i][0]),
                            &err),
                 &err);
        struct tokenizer *like = open_like(*state), *t;
        struct bpe_train_opts o = {
            .vocab = 262, .specials = specials, .n_specials = 3, .like = like};
        struct words *w = words_of("ab ab");
        check_ok(bpe_train(&t, w, &o, NULL, NULL, NULL, &err), &err);
        check_ok(tokenizer_save(t, in(*state, "made"), &err), &err);
        check_ok(file_read(in(*state, "made/tokenizer_config.json"), 1 << 20, &text, &err), &err);
        size_t n = 0;
        for (size_t k = 0; k < text.n; k++)
            if (text.v[k] != ' ' && text.v[k] != '\n') text.v[n++] = text.v[k];
        text.n = n;
        if (!strstr(buf_cstr(&text), config[i][1])) fail_msg("no %s in %s", config[i][1], text.v);
        buf_release(&text);
        tokenizer_free(t);
        tokenizer_free(like);
        words_free(w);
    }
}

static void a_post_processor_without_its_special_is_refused(void **state) {
    struct tokenizer *like = open_like(*state), *t;
    const char *const specials[] = {"<m>"};
    struct bpe_train_opts o = {.vocab = 258, .specials = specials, .n_specials = 1, .like = like};
    struct words *w = words_of("ab ab");
    struct err err = {0};
    check_fails(bpe_train(&t, w, &o, NULL, NULL, NULL, &err), ERR_USAGE, &err, "</s>");
    assert_null(t);
    words_free(w);
    tokenizer_free(like);
}

/* ------------------------------------------------------------------ against the textbook */

static const char *const pool_of_specials[] = {"ab", "abc", "aab", "ba", "a", "bb", "bc", "<x>"};

struct random_case {
    struct words *w;
    const char *specials[4];
    struct bpe_train_opts opts;
};

static void with_all_bytes(struct random_case *c) {
    c->opts.seen_alphabet = false;
    c->opts.limit_alphabet = 0;
}

/* Words over few letters, so that ties, overlaps and long runs are common. */
static void random_case(struct rng *r, struct random_case *c) {
    uint64_t letters = 1 + rng_below(r, 5), words = 1 + rng_below(r, 60);
    c->w = new_words(2);
    for (uint64_t i = 0; i < words; i++) {
        char word[48];
        size_t n = 1 + rng_below(r, rng_below(r, 6) ? 9 : sizeof word - 1);
        for (size_t k = 0; k < n; k++) word[k] = " abc\xc3"[rng_below(r, letters)];
        uint64_t count = rng_below(r, 30) ? 1 + rng_below(r, 6) : rng_below(r, 1ull << 36);
        assert_int_equal(words_add_count(c->w, (int)(i & 1), word, n, count, NULL), 0);
    }
    size_t n = rng_below(r, 3) ? 0 : rng_below(r, 5);
    for (size_t i = 0; i < n; i++)
        c->specials[i] = pool_of_specials[rng_below(r, sizeof pool_of_specials / sizeof(char *))];
    c->opts = (struct bpe_train_opts){
        .vocab = 256 + (uint32_t)rng_below(r, 80),
        .specials = c->specials,
        .n_specials = n,
        .byte_order = rng_below(r, 4) == 0,
        .seen_alphabet = rng_below(r, 4) == 0,
        .limit_alphabet = rng_below(r, 5) ? 0 : (uint32_t)rng_below(r, 8),
        .min_frequency = rng_below(r, 2) ? 0 : rng_below(r, 8),
        .max_token_length = rng_below(r, 3) ? 0 : (uint32_t)rng_below(r, 9)};
}

static void random_words_as_the_textbook(void **state) {
    (void)state;
    struct pool *pool;
    assert_int_equal(pool_new(&pool, 2, NULL), 0);
    struct buf want = {0}, got = {0};
    for (uint64_t round = 0; round < 800; round++) {
        struct rng r = {.key = round};
        struct random_case c;
        struct tokenizer *ref, *fast;
        random_case(&r, &c);
        assert_int_equal(words_finish(c.w, pool, NULL), 0);
        struct err err = {0};
        if (bpe_train_ref(&ref, c.w, &c.opts, &err) < 0 ||
            bpe_train(&fast, c.w, &c.opts, pool, NULL, NULL, &err) < 0)
            fail_msg("case %llu: %s", (unsigned long long)round, err.msg);
        write_merges(ref, &want);
        write_merges(fast, &got);
        char a[SHA256_HEX], b[SHA256_HEX];
        assert_int_equal(tokenizer_digest(ref, a, NULL), 0);
        assert_int_equal(tokenizer_digest(fast, b, NULL), 0);
        if (strcmp(a, b) != 0)
            fail_msg("case %llu differs; textbook:\n%sfast:\n%s", (unsigned long long)round,
                     buf_cstr(&want), buf_cstr(&got));
        tokenizer_free(ref);
        tokenizer_free(fast);
        words_free(c.w);
    }
    buf_release(&want);
    buf_release(&got);
    pool_free(pool);
}

/* Also of sizes that are reached by the bytes alone, or never. A special that is spelt by a merge
 * is a merge without a new token; it belongs to the size that comes behind it. */
static void nested_vocabularies_as_runs_of_their_own(void **state) {
    (void)state;
    static const uint32_t sizes[] = {100, 258, 259, 263, 264, 290, 900};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    struct pool *pool;
    assert_int_equal(pool_new(&pool, 2, NULL), 0);
    for (uint64_t round = 0; round < 200; round++) {
        struct tokenizer *t[SIZES], *own;
        struct bpe_train_result res[SIZES], own_res;
        char a[SHA256_HEX], b[SHA256_HEX];
        struct random_case c;
        for (size_t i = 0; i <= SIZES; i++) {
            struct rng r = {.key = round};
            random_case(&r, &c);
            assert_int_equal(words_finish(c.w, pool, NULL), 0);
            if (i == 0) {
                int rc = bpe_train_nested(t, sizes, SIZES, c.w, &c.opts, pool, NULL, res, NULL);
                assert_int_equal(rc, 0);
            } else {
                c.opts.vocab = sizes[i - 1];
                assert_int_equal(bpe_train(&own, c.w, &c.opts, NULL, NULL, &own_res, NULL), 0);
                assert_int_equal(tokenizer_digest(t[i - 1], a, NULL), 0);
                assert_int_equal(tokenizer_digest(own, b, NULL), 0);
                assert_string_equal(a, b);
                assert_int_equal(res[i - 1].merges, own_res.merges);
                assert_int_equal(res[i - 1].last_count, own_res.last_count);
                assert_int_equal(res[i - 1].ran_out, own_res.ran_out);
                tokenizer_free(own);
                tokenizer_free(t[i - 1]);
            }
            words_free(c.w);
        }
    }
    pool_free(pool);
}

/* ------------------------------------------------------------------ going on */

static struct tokenizer *trained(struct words *w, const struct bpe_train_opts *o,
                                 struct pool *pool) {
    struct tokenizer *t;
    struct err err = {0};
    check_ok(words_finish(w, pool, &err), &err);
    check_ok(bpe_train(&t, w, o, pool, NULL, NULL, &err), &err);
    words_free(w);
    return t;
}

static void check_same(const struct tokenizer *a, const struct tokenizer *b, uint64_t round) {
    char x[SHA256_HEX], y[SHA256_HEX];
    struct buf one = {0}, two = {0};
    assert_int_equal(tokenizer_digest(a, x, NULL), 0);
    assert_int_equal(tokenizer_digest(b, y, NULL), 0);
    if (strcmp(x, y) == 0) return;
    write_merges(a, &one);
    write_merges(b, &two);
    fail_msg("case %llu: first:\n%ssecond:\n%s", (unsigned long long)round, buf_cstr(&one),
             buf_cstr(&two));
}

/* From the same words: 256 to 280 to 330 tokens is 256 to 330. */
static void extending_is_training_longer(void **state) {
    (void)state;
    struct pool *pool;
    assert_int_equal(pool_new(&pool, 2, NULL), 0);
    for (uint64_t round = 0; round < 300; round++) {
        struct random_case c;
        struct tokenizer *t[3];
        for (int i = 0; i < 3; i++) {
            struct rng r = {.key = round};
            random_case(&r, &c);
            with_all_bytes(&c);
            c.specials[0] = TOKENIZER_EOT;
            c.opts.n_specials = round & 1;
            c.opts.vocab = i == 0 ? 280 : 330;
            if (i == 1) {
                c.opts.extend = t[0];
                c.opts.n_specials = 0;
            }
            t[i] = trained(c.w, &c.opts, pool);
        }
        check_same(t[1], t[2], round);
        for (int i = 0; i < 3; i++) tokenizer_free(t[i]);
    }
    pool_free(pool);
}

static void check_old_is_there(const struct tokenizer *old, const struct tokenizer *t) {
    const struct merge *m, *k;
    size_t n, len;
    uint64_t n_old = merges_of(old, &m);
    assert_true(merges_of(t, &k) >= n_old);
    if (n_old) assert_memory_equal(m, k, n_old * sizeof *m);
    for (uint32_t id = 0; id < tokenizer_size(old); id++) {
        const uint8_t *p = tokenizer_bytes(old, id, &n), *q = tokenizer_bytes(t, id, &len);
        assert_int_equal(n, len);
        assert_memory_equal(p, q, n);
    }
}

/* From other words, behind specials that old and new merges may spell; against the textbook. */
static void extending_as_the_textbook(void **state) {
    (void)state;
    struct pool *pool;
    assert_int_equal(pool_new(&pool, 2, NULL), 0);
    for (uint64_t round = 0; round < 600; round++) {
        struct rng r = {.key = round}, more = {.key = round + 5000};
        struct random_case c;
        struct tokenizer *ref, *fast;
        struct err err = {0};
        random_case(&r, &c);
        with_all_bytes(&c);
        struct tokenizer *old = trained(c.w, &c.opts, pool);
        random_case(&more, &c);
        c.opts.vocab = tokenizer_size(old) + (uint32_t)rng_below(&more, 60);
        c.opts.extend = old;
        assert_int_equal(words_finish(c.w, pool, NULL), 0);
        int rc = bpe_train_ref(&ref, c.w, &c.opts, &err);
        if (rc == ERR_USAGE && strstr(err.msg, "ordinary token")) { /* a special that was merged */
            assert_int_equal(bpe_train(&fast, c.w, &c.opts, pool, NULL, NULL, NULL), ERR_USAGE);
        } else {
            check_ok(rc, &err);
            check_ok(bpe_train(&fast, c.w, &c.opts, pool, NULL, NULL, &err), &err);
            check_same(ref, fast, round);
            check_old_is_there(old, fast);
            tokenizer_free(ref);
            tokenizer_free(fast);
        }
        tokenizer_free(old);
        words_free(c.w);
    }
    pool_free(pool);
}

/* All bytes, then bc, ab and abc = ab + c, which no text reaches: bc merges first. Then a
 * special. */
static struct tokenizer *with_an_unreachable_token(bool hole) {
    static const struct merge merges[] = {{'b', 'c', 256}, {'a', 'b', 257}, {257, 'c', 258}};
    uint8_t bytes[256 + 10];
    uint64_t start[261];
    struct special s = {.id = 259, .text = "<s>", .special = true, .rstrip = true};
    struct tokenizer *t;
    struct err err = {0};
    for (int i = 0; i < 256; i++) bytes[i] = (uint8_t)i;
    for (uint64_t i = 0; i <= 256; i++) start[i] = i;
    if (hole) start[0] = 1; /* token 0 is a hole */
    memcpy(bytes + 256, "bcababc<s>", 10);
    memcpy(start + 257, (uint64_t[]){258, 260, 263, 266}, 4 * sizeof *start);
    struct tokenizer_parts parts = {"gpt2", 260, bytes, start, 3, merges, 1, &s};
    check_ok(tokenizer_build(&t, &parts, &err), &err);
    return t;
}

static void an_old_token_is_not_made_twice(void **state) {
    (void)state;
    struct tokenizer *old = with_an_unreachable_token(false), *t;
    const char *const specials[] = {"<s>", "<new>"};
    struct bpe_train_opts o = {.vocab = 300, .specials = specials, .n_specials = 2, .extend = old};
    struct words *w = words_of("abc abc abc de");
    struct bpe_train_result res;
    const struct special *s;
    const struct merge *m;
    struct err err = {0};
    check_ok(bpe_train(&t, w, &o, NULL, NULL, &res, &err), &err);
    /* (a, bc) occurs three times, but is abc; " a" + bc is " abc" and new, as are " d", " de" */
    assert_int_equal(merges_of(t, &m), 7);
    assert_true(res.ran_out && res.merges == 4 && res.last_count == 1);
    assert_int_equal(m[3].left, ' ');
    assert_int_equal(m[3].right, 'a');
    assert_int_equal(m[4].right, 256);
    assert_int_equal(tokenizer_size(t), 265);
    assert_int_equal(tokenizer_specials(t, &s), 2);
    assert_true(s[0].id == 259 && s[0].rstrip && s[1].id == 260 && !s[1].rstrip);
    tokenizer_free(t);
    tokenizer_free(old);
    words_free(w);
}

static void what_cannot_be_extended(void **state) {
    (void)state;
    static const struct {
        bool hole;
        const char *special, *why;
    } bad[] = {{true, NULL, "byte 00"},
               {false, "abc", "ordinary token, 258"},
               {false, "\xc3\xa9", "token, 233"}};
    for (size_t i = 0; i < 3; i++) {
        struct tokenizer *old = with_an_unreachable_token(bad[i].hole), *t;
        struct bpe_train_opts o = {
            .vocab = 300, .specials = &bad[i].special, .n_specials = i > 0, .extend = old};
        struct words *w = words_of("abc");
        struct err err = {0};
        check_fails(bpe_train(&t, w, &o, NULL, NULL, NULL, &err), ERR_USAGE, &err, bad[i].why);
        assert_null(t);
        tokenizer_free(old);
        words_free(w);
    }
}

/* ------------------------------------------------------------------ against transformers */

static void add_file(struct words *w, const char *name) {
    static char line[4 << 20];
    gzFile f = gzopen(in(GOLDEN, name), "rb");
    assert_non_null(f);
    while (gzgets(f, line, sizeof line)) {
        cJSON *record;
        const char *text = NULL;
        assert_int_equal(json_parse(&record, line, strlen(line), name, NULL), 0);
        assert_int_equal(json_str(record, "content", &text, name, NULL), 0);
        assert_int_equal(words_add(w, 0, text, strlen(text), NULL), 0);
        cJSON_Delete(record);
    }
    gzclose(f);
}

static void python_library_as_transformers(void **state) {
    (void)state;
    const char *const specials[] = {TOKENIZER_EOT};
    struct bpe_train_opts o = {.vocab = 4096, .specials = specials, .n_specials = 1};
    struct words *w = new_words(1);
    add_file(w, "../../data/tiny/file-000000000000.json.gz");
    add_file(w, "../../data/tiny/file-000000000001.json.gz");
    assert_int_equal(words_finish(w, NULL, NULL), 0);
    struct tokenizer *t;
    struct buf got = {0}, all = {0}, want = {0};
    assert_int_equal(bpe_train(&t, w, &o, NULL, NULL, NULL, NULL), 0);
    write_merges(t, &got);
    buf_str(&all, "#version: 0.2\n", NULL);
    buf_append(&all, got.v, got.n, NULL);
    assert_int_equal(file_read(in(GOLDEN, "tok-py/merges.txt"), 1 << 20, &want, NULL), 0);
    assert_string_equal(buf_cstr(&all), buf_cstr(&want));
    buf_release(&got);
    buf_release(&all);
    buf_release(&want);
    tokenizer_free(t);
    words_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_hf_trainer),
        cmocka_unit_test(equal_counts_take_the_smaller_pair),
        cmocka_unit_test(equal_counts_in_raw_byte_order),
        cmocka_unit_test(pair_counts_do_not_wrap),
        cmocka_unit_test(tokens_stay_below_the_limit),
        cmocka_unit_test(a_merge_that_spells_a_special_takes_its_id),
        cmocka_unit_test(a_special_spelled_like_other_bytes_is_refused),
        cmocka_unit_test(too_small_a_vocabulary_has_all_bytes),
        cmocka_unit_test(the_alphabet_is_limited),
        cmocka_unit_test(a_byte_that_is_a_special_stays_in_a_limited_alphabet),
        cmocka_unit_test(settings_are_taken_over),
        cmocka_unit_test(added_tokens_of_the_old_one_were_lost),
        cmocka_unit_test(further_special_tokens_are_listed),
        cmocka_unit_test(a_post_processor_without_its_special_is_refused),
        cmocka_unit_test(random_words_as_the_textbook),
        cmocka_unit_test(nested_vocabularies_as_runs_of_their_own),
        cmocka_unit_test(extending_is_training_longer),
        cmocka_unit_test(extending_as_the_textbook),
        cmocka_unit_test(an_old_token_is_not_made_twice),
        cmocka_unit_test(what_cannot_be_extended),
        cmocka_unit_test(python_library_as_transformers),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
