/* Encoding: the fast encoder against its slow twin, the ids of HF tokenizers for a small
 * vocabulary, specials, long pieces, and back again. GOLDEN is the folder tests/golden. */
#include <time.h>
#include "tests/unit/tokenizer/encode_help.h"
#include "tokenizer/json_pull.h"

/* One encoder for all texts, so that caches are hit, replaced and emptied. */
static void equals_ref(struct tokenizer *t, struct rng *r, int letters, size_t texts) {
    struct encoder *e;
    struct err err = {0};
    struct buf text = {0}, back = {0};
    struct u32s want = {0}, got = {0};
    check_ok(encoder_new(&e, t, &err), &err);
    for (size_t i = 0; i < texts; i++) {
        random_text(&text, r, rng_below(r, i % 9 == 0 ? 1500 : 80), letters);
        want.n = got.n = back.n = 0;
        check_ok(encode_ref(t, text.v, text.n, &want, &err), &err);
        check_ok(encode(e, text.v, text.n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
        same_ids(&want, &got, "random text");
        check_ok(decode(t, got.v, got.n, false, &back, &err), &err);
        assert_int_equal(back.n, text.n);
        if (text.n) assert_memory_equal(back.v, text.v, text.n);
    }
    encoder_free(e);
    buf_release(&text);
    buf_release(&back);
    u32s_release(&want);
    u32s_release(&got);
}

static void random_vocabularies_equal_the_slow_twin(void **state) {
    (void)state;
    struct rng r = {.key = 5};
    for (int round = 0; round < 24; round++) {
        struct random_vocab v;
        int letters = 1 + (int)rng_below(&r, 4);
        random_vocab(&v, &r, 20 + rng_below(&r, 500), letters);
        struct tokenizer *t = random_tokenizer(&v, round % 3 ? "gpt2" : "[\\s\\S]+");
        t->ignore_merges = round % 2;
        equals_ref(t, &r, letters, 60);
        tokenizer_free(t);
        random_release(&v);
    }
}

/* HF's rule, from the list itself: of all merges that fit somewhere the earliest, where it fits
 * first. A pair listed twice counts where it stands last. */
static void list_by_definition(const struct tokenizer *t, const uint8_t *p, size_t n,
                               struct u32s *out) {
    uint32_t sym[64];
    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++) sym[i] = t->byte_id[p[i]];
    for (;;) {
        uint64_t low = t->n_merges;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            uint64_t k = t->n_merges;
            while (k > 0 &&
                   !(t->merges[k - 1].left == sym[i] && t->merges[k - 1].right == sym[i + 1]))
                k--;
            if (k > 0 && k - 1 < low) low = k - 1, at = i;
        }
        if (low == t->n_merges) break;
        sym[at] = t->merges[low].result;
        memmove(sym + at + 1, sym + at + 2, (n - at - 2) * sizeof *sym);
        n--;
    }
    u32s_append(out, sym, n, NULL);
}

static void lists_merge_in_their_order(void **state) {
    (void)state;
    struct rng r = {.key = 8};
    for (int round = 0; round < 16; round++) {
        struct random_vocab v;
        struct err err = {0};
        struct encoder *e;
        struct buf text = {0};
        random_vocab(&v, &r, 20 + rng_below(&r, 200), 2);
        struct tokenizer *t = random_tokenizer(&v, "[\\s\\S]+");
        check_ok(encoder_new(&e, t, &err), &err);
        for (int i = 0; i < 60; i++) {
            struct u32s want = {0}, got = {0};
            random_text(&text, &r, rng_below(&r, 50), 2);
            if (text.n > 64) text.n = 64;
            if (text.n) list_by_definition(t, (uint8_t *)text.v, text.n, &want);
            check_ok(encode(e, text.v, text.n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
            same_ids(&want, &got, "list");
            u32s_release(&want);
            u32s_release(&got);
        }
        buf_release(&text);
        encoder_free(e);
        tokenizer_free(t);
        random_release(&v);
    }
}

static void specials_across_a_cut_forbid_it(void **state) {
    static const struct {
        const char *special;
        bool lstrip, rstrip, cuts;
    } cases[] = {{"<|endoftext|>", false, false, true}, {"<a>b", false, false, true},
                 {"<a>b", true, false, false},          {"<a>b", false, true, false},
                 {"<a b>", false, false, false},        {"a\nb", false, false, false}};
    (void)state;
    struct rng r = {.key = 13};
    struct random_vocab v;
    random_vocab(&v, &r, 10, 2);
    struct tokenizer *t = random_tokenizer(&v, "[\\s\\S]+");
    assert_false(tokenizer_cuts(t, TOKENIZER_SPECIAL_NONE));
    tokenizer_free(t);
    random_release(&v);
    random_vocab(&v, &r, 10, 2);
    t = random_tokenizer(&v, "cl100k");
    struct special *s = t->specials;
    char *own = (char *)s->text;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        s->text = cases[i].special;
        s->lstrip = cases[i].lstrip;
        s->rstrip = cases[i].rstrip;
        assert_int_equal(tokenizer_cuts(t, TOKENIZER_SPECIAL_ALL), cases[i].cuts);
        assert_true(tokenizer_streams(t));
    }
    s->text = "<>";
    s->lstrip = s->rstrip = false;
    t->prefix_space = true;
    assert_true(tokenizer_cuts(t, TOKENIZER_SPECIAL_NONE));
    assert_false(tokenizer_cuts(t, TOKENIZER_SPECIAL_ALL));
    s->text = own;
    tokenizer_free(t);
    random_release(&v);
}

/* A free place of the cache looks like a piece of zeros, of length 0. */
static void pieces_of_zeros(void **state) {
    (void)state;
    struct rng r = {.key = 8};
    struct random_vocab v;
    struct err err = {0};
    struct encoder *e;
    struct buf text = {0};
    random_vocab(&v, &r, 100, 2);
    struct tokenizer *t = random_tokenizer(&v, "gpt2");
    check_ok(encoder_new(&e, t, &err), &err);
    for (int byte = 0; byte <= 255; byte += 255)
        for (size_t n = 1; n < 40; n++) {
            struct u32s want = {0}, got = {0};
            text.n = 0;
            for (size_t i = 0; i < 3 * n; i++) buf_char(&text, i / n == 1 ? 'a' : (char)byte, NULL);
            check_ok(encode_ref(t, text.v, text.n, &want, &err), &err);
            check_ok(encode(e, text.v, text.n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
            same_ids(&want, &got, "zeros");
            u32s_release(&want);
            u32s_release(&got);
        }
    buf_release(&text);
    encoder_free(e);
    tokenizer_free(t);
    random_release(&v);
}

/* tiktoken's own rule, without pairs: two neighbours merge if their bytes together are a token;
 * the one with the lowest rank first. */
static void ranks_by_definition(const struct tokenizer *t, const uint8_t *p, size_t n,
                                struct u32s *out) {
    uint32_t whole = finder_get(&t->finder, t, p, n);
    size_t cut[200], parts = n;
    if (whole != TOKENIZER_NO_ID) {
        u32s_push(out, whole, NULL);
        return;
    }
    for (size_t i = 0; i <= n; i++) cut[i] = i;
    for (;;) {
        uint32_t low = TOKENIZER_NO_ID;
        size_t at = 0;
        for (size_t i = 0; i + 2 <= parts; i++) {
            uint32_t id = finder_get(&t->finder, t, p + cut[i], cut[i + 2] - cut[i]);
            if (id < low) low = id, at = i;
        }
        if (low == TOKENIZER_NO_ID) break;
        memmove(cut + at + 1, cut + at + 2, (parts - at - 1) * sizeof *cut);
        parts--;
    }
    for (size_t i = 0; i < parts; i++)
        u32s_push(out, finder_get(&t->finder, t, p + cut[i], cut[i + 1] - cut[i]), NULL);
}

static void ranks_merge_as_tiktoken_says(void **state) {
    (void)state;
    struct rng r = {.key = 6};
    for (int round = 0; round < 20; round++) {
        struct random_vocab v;
        struct err err = {0};
        int letters = 1 + (int)rng_below(&r, 3);
        random_vocab(&v, &r, 20 + rng_below(&r, 300), letters);
        struct tokenizer *t = random_tokenizer_by(&v, "[\\s\\S]+", true);
        struct encoder *e;
        t->ignore_merges = true;
        check_ok(encoder_new(&e, t, &err), &err);
        struct buf text = {0};
        for (int i = 0; i < 300; i++) {
            struct u32s want = {0}, got = {0};
            random_text(&text, &r, rng_below(&r, 100), letters);
            if (text.n > 190) text.n = 190;
            if (text.n) ranks_by_definition(t, (uint8_t *)text.v, text.n, &want);
            check_ok(encode(e, text.v, text.n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
            same_ids(&want, &got, "ranks");
            u32s_release(&want);
            u32s_release(&got);
        }
        buf_release(&text);
        encoder_free(e);
        tokenizer_free(t);
        random_release(&v);
    }
}

static void read_ids(struct pull *p, struct u32s *out) {
    size_t i = 0;
    uint64_t id;
    out->n = 0;
    assert_int_equal(pull_open(p, '['), 0);
    while (pull_item(p, &i) > 0) {
        assert_int_equal(pull_u64(p, &id), 0);
        u32s_push(out, (uint32_t)id, NULL);
    }
}

static void ids_equal_hf(void **state) {
    (void)state;
    struct tokenizer *t;
    struct encoder *e;
    struct err err = {0};
    struct buf file = {0}, text = {0};
    struct u32s all = {0}, none = {0}, got = {0};
    check_ok(tokenizer_open(&t, GOLDEN "/tok-hf", NULL, &err), &err);
    check_ok(encoder_new(&e, t, &err), &err);
    check_ok(file_read(GOLDEN "/tok-hf/ids.jsonl", 1 << 20, &file, &err), &err);
    int lines = 0;
    for (char *at = file.v, *end = file.v + file.n; at < end; lines++) {
        char *nl = memchr(at, '\n', (size_t)(end - at));
        struct pull p;
        const char *s;
        size_t n, i = 0;
        assert_non_null(nl);
        check_ok(pull_begin(&p, at, (size_t)(nl - at), "ids.jsonl", &err), &err);
        assert_int_equal(pull_open(&p, '{'), 0);
        while (pull_key(&p, &i, &s, &n) > 0) {
            if (n == 4 && !memcmp(s, "text", 4)) {
                check_ok(pull_string(&p, &s, &n), &err);
                text.n = 0;
                buf_append(&text, s, n, NULL);
            } else {
                read_ids(&p, *s == 'a' ? &all : &none);
            }
        }
        got.n = 0;
        check_ok(encode(e, text.v, text.n, TOKENIZER_SPECIAL_ALL, &got, &err), &err);
        same_ids(&all, &got, "all specials");
        got.n = 0;
        check_ok(encode(e, text.v, text.n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
        same_ids(&none, &got, "no specials");
        pull_release(&p);
        at = nl + 1;
    }
    assert_true(lines > 20);
    buf_release(&file);
    buf_release(&text);
    u32s_release(&all);
    u32s_release(&none);
    u32s_release(&got);
    encoder_free(e);
    tokenizer_free(t);
}

/* openai/tiktoken#195 and others: a long run of one character took quadratic time. */
static void a_million_of_one_character_is_quick(void **state) {
    (void)state;
    enum { N = 1000000 };
    struct tokenizer *t;
    struct encoder *e;
    struct err err = {0};
    struct u32s got = {0};
    char *text = malloc(N);
    assert_non_null(text);
    check_ok(tokenizer_open(&t, GOLDEN "/tok-hf", NULL, &err), &err);
    check_ok(encoder_new(&e, t, &err), &err);
    const char kinds[] = {'x', ' ', '0', '(', '\n'};
    clock_t before = clock();
    for (size_t k = 0; k < sizeof kinds; k++) {
        memset(text, kinds[k], N);
        got.n = 0;
        check_ok(encode(e, text, N, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
        assert_true(got.n > 0 && got.n <= N);
    }
    double seconds = (double)(clock() - before) / CLOCKS_PER_SEC;
    if (seconds > 10) fail_msg("5 x 1,000,000 characters took %.1f s", seconds);
    free(text);
    u32s_release(&got);
    encoder_free(e);
    tokenizer_free(t);
}

/* ------------------------------------------------------------------ specials */

static struct tokenizer *with_specials(const struct special *specials, uint32_t n) {
    struct random_vocab v;
    struct rng r = {.key = 1};
    struct special own[8];
    struct tokenizer *t;
    struct err e = {0};
    random_vocab(&v, &r, 0, 1);
    for (uint32_t i = 0; i < n; i++) {
        own[i] = specials[i];
        own[i].id = (uint32_t)v.start.n - 1;
        own[i].special = true;
        buf_append(&v.bytes, own[i].text, strlen(own[i].text), NULL);
        u64s_push(&v.start, v.bytes.n, NULL);
    }
    struct tokenizer_parts p = {.n_tokens = (uint32_t)v.start.n - 1,
                                .bytes = (uint8_t *)v.bytes.v,
                                .start = v.start.v,
                                .n_specials = n,
                                .specials = own};
    check_ok(tokenizer_build(&t, &p, &e), &e);
    random_release(&v);
    return t;
}

/* Encodes and writes ids above 255 as [i], bytes as they are. */
static void shows_with(const struct tokenizer *t, enum tokenizer_special allow, const char *text,
                       const char *want) {
    struct encoder *e;
    struct err err = {0};
    struct u32s ids = {0};
    struct buf got = {0};
    check_ok(encoder_new(&e, t, &err), &err);
    check_ok(encode(e, text, strlen(text), allow, &ids, &err), &err);
    for (size_t i = 0; i < ids.n; i++) {
        if (ids.v[i] < 256)
            buf_char(&got, (char)ids.v[i], NULL);
        else
            buf_printf(&got, NULL, "[%u]", ids.v[i] - 256);
    }
    assert_string_equal(buf_cstr(&got), want);
    buf_release(&got);
    u32s_release(&ids);
    encoder_free(e);
}

static void shows(const struct tokenizer *t, const char *text, const char *want) {
    shows_with(t, TOKENIZER_SPECIAL_ALL, text, want);
}

/* The cases of HF's added_vocabulary.rs: leftmost, then longest; stripping never reaches into
 * the match before; single_word looks at Unicode word characters. */
static void specials_match_as_in_hf(void **state) {
    (void)state;
    const struct special v[] = {{.text = "<a>"},
                                {.text = "<a>b"},
                                {.text = "<L>", .lstrip = true},
                                {.text = "<R>", .rstrip = true},
                                {.text = "WW", .single_word = true},
                                {.text = "a><", .normalized = true}};
    struct tokenizer *t = with_specials(v, 6);
    shows(t, "x<a>y", "x[0]y");
    shows(t, "<a>b<a>", "[1][0]");
    shows(t, "<<a><a", "<[0]<a");
    shows(t, "x \t\xC2\xA0<L> y", "x[2] y");
    shows(t, "x <R> \n y", "x [3]y");
    shows(t, "<R>  <L>", "[3][2]");
    shows(t, "WW xWW WW. \xC3\xA9WW _WW WW", "[4] xWW [4]. \xC3\xA9WW _WW [4]");
    shows(t, "\xE2\x80\x8CWW \xE2\x92\xB6WW",
          "\xE2\x80\x8CWW \xE2\x92\xB6WW"); /* joiner, circled A */
    shows(t, "<a><", "[0]<"); /* the first pass takes "<a>" before the second sees "a><" */
    shows(t, "xa><", "x[5]");
    shows(t, "", "");
    tokenizer_free(t);
}

/* Specials of blanks, one of which swallows the next: HF drops what is left empty, and panics where
 * a special would end before it begins. */
static void a_special_inside_swallowed_blanks_is_none(void **state) {
    (void)state;
    const struct special v[] = {{.text = " ", .rstrip = true}, {.text = "\t", .lstrip = true}};
    struct tokenizer *t = with_specials(v, 2);
    shows(t, "a \tx", "a[0]x");
    shows(t, "a  \t\t x", "a[0][0][0]x");
    shows(t, "a\t\tx", "a[1][1]x");
    shows(t, " \t", "[0]");
    tokenizer_free(t);
}

static void a_list_allows_only_its_own(void **state) {
    (void)state;
    const struct special v[] = {{.text = "<a>"}, {.text = "<b>"}};
    const char *const b[] = {"<b>"}, *const c[] = {"<c>"};
    struct tokenizer *t = with_specials(v, 2);
    struct encoder *e;
    struct err err = {0};
    struct u32s ids = {0};
    check_ok(encoder_new(&e, t, &err), &err);
    check_ok(encoder_allow(e, b, 1, &err), &err);
    check_ok(encode(e, "<a><b>", 6, TOKENIZER_SPECIAL_LIST, &ids, &err), &err);
    assert_int_equal(ids.n, 4);
    assert_int_equal(ids.v[3], 257);
    t->specials[0].special = false; /* always found */
    check_ok(encoder_allow(e, b, 1, &err), &err);
    ids.n = 0;
    check_ok(encode(e, "<a><b>", 6, TOKENIZER_SPECIAL_LIST, &ids, &err), &err);
    assert_int_equal(ids.n, 2);
    check_fails(encoder_allow(e, c, 1, &err), ERR_USAGE, &err, "<c>");
    u32s_release(&ids);
    encoder_free(e);
    tokenizer_free(t);
}

/* As HF's encode_special_tokens: the runs of blanks in GPT-NeoX's file are found in a corpus, too,
 * and a special token is passed over whole, with what of them stands in it. */
static void added_tokens_that_are_not_special_are_always_found(void **state) {
    (void)state;
    const struct special v[] = {
        {.text = "  ", .normalized = true}, {.text = "<  >"}, {.text = "<|>"}};
    struct tokenizer *t = with_specials(v, 3);
    struct special list[3];
    struct err err = {0};
    assert_true(tokenizer_cuts(t, TOKENIZER_SPECIAL_NONE));
    memcpy(list, t->specials, sizeof list);
    list[0].special = false;
    check_ok(vocab_set_specials(t, list, 3, &err), &err);
    shows_with(t, TOKENIZER_SPECIAL_ALL, "a   <  ><|>", "a[0] [1][2]");
    shows_with(t, TOKENIZER_SPECIAL_NONE, "a   <  ><|>", "a[0] <[0]><|>");
    memcpy(list, t->specials, sizeof list);
    list[0].normalized = false; /* looked for together with the others */
    check_ok(vocab_set_specials(t, list, 3, &err), &err);
    shows_with(t, TOKENIZER_SPECIAL_NONE, "a   <  ><|>", "a[0] <  ><|>");
    assert_false(tokenizer_cuts(t, TOKENIZER_SPECIAL_NONE));
    tokenizer_free(t);
}

/* ------------------------------------------------------------------ back */

static void decoding_names_a_bad_id(void **state) {
    (void)state;
    const struct special v[] = {{.text = "<a>"}};
    struct tokenizer *t = with_specials(v, 1);
    struct err err = {0};
    struct buf out = {0};
    const uint32_t ids[] = {'h', 256, 'i', 257};
    check_ok(decode(t, ids, 3, false, &out, &err), &err);
    assert_string_equal(buf_cstr(&out), "h<a>i");
    out.n = 0;
    check_ok(decode(t, ids, 3, true, &out, &err), &err);
    assert_string_equal(buf_cstr(&out), "hi");
    check_fails(decode(t, ids, 4, true, &out, &err), ERR_DATA, &err, "257");
    assert_int_equal(out.n, 2);
    buf_release(&out);
    tokenizer_free(t);
}

static void a_stream_waits_only_for_what_can_come(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t want;
    } cases[] = {{"", 0},
                 {"a", 1},
                 {"a\xC3", 1},
                 {"a\xC3\xA9", 3},
                 {"\xE4\xBA", 0},
                 {"\xE4\xBA\xAC", 3},
                 {"\xF0\x9F\x98", 0},
                 {"\xF0\x9F\x98\x80", 4},
                 {"x\xA9", 2},
                 {"\xFF", 1},
                 {"\xE0\x80", 2},
                 {"\xED\xA0", 2},
                 {"\xF4\x90", 2},
                 {"\xC3\xA9\xC3", 2},
                 {"\x80\x80\x80\x80", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(decode_whole(cases[i].bytes, strlen(cases[i].bytes)), cases[i].want);
}

/* A byte without a token must not vanish, as it does in HF (model.rs merge_word). */
static void a_byte_without_a_token_is_told(void **state) {
    (void)state;
    const uint8_t bytes[] = {'a', 'b'};
    const uint64_t start[] = {0, 1, 2};
    struct tokenizer_parts p = {.n_tokens = 2, .bytes = bytes, .start = start};
    struct tokenizer *t;
    struct encoder *e;
    struct err err = {0};
    struct u32s ids = {0};
    check_ok(tokenizer_build(&t, &p, &err), &err);
    check_ok(encoder_new(&e, t, &err), &err);
    check_ok(encode(e, "abba", 4, TOKENIZER_SPECIAL_NONE, &ids, &err), &err);
    check_fails(encode(e, "abc", 3, TOKENIZER_SPECIAL_NONE, &ids, &err), ERR_DATA, &err, "0x63");
    assert_int_equal(ids.n, 4);
    u32s_release(&ids);
    encoder_free(e);
    tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_vocabularies_equal_the_slow_twin),
        cmocka_unit_test(lists_merge_in_their_order),
        cmocka_unit_test(pieces_of_zeros),
        cmocka_unit_test(specials_across_a_cut_forbid_it),
        cmocka_unit_test(ranks_merge_as_tiktoken_says),
        cmocka_unit_test(ids_equal_hf),
        cmocka_unit_test(a_million_of_one_character_is_quick),
        cmocka_unit_test(specials_match_as_in_hf),
        cmocka_unit_test(a_special_inside_swallowed_blanks_is_none),
        cmocka_unit_test(a_list_allows_only_its_own),
        cmocka_unit_test(added_tokens_that_are_not_special_are_always_found),
        cmocka_unit_test(decoding_names_a_bad_id),
        cmocka_unit_test(a_stream_waits_only_for_what_can_come),
        cmocka_unit_test(a_byte_without_a_token_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
