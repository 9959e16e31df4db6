/* Texts that come in parts: the ids of the parts are those of the whole, wherever it is cut. What
 * counts as a long piece is made short here, so that all of its ways are met. */
#include "tests/unit/tokenizer/encode_help.h"
#include "tokenizer/encode_inside.h"

static const char *const patterns[] = {
    "gpt2", "cl100k", "llama3", "qwen2", "o200k", "starcoder", "\\p{N}{1,3}\ncl100k", "\\p{N}+",
    /* DeepSeek's: numbers, scripts without blanks, the rest */
    "\\p{N}{1,3}\n[\xE4\xB8\x80-\xE9\xBE\xA5]+\n[!-/"
    ":-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
    " ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    /* look-around, what is left between, a choice that only the end decides, all of a line */
    "(?<=[a-z]{3})x|(?<!!)\\n+(?=x)|é(?!a)", "ab|a|xxxxxxx1|x", "[^\\n]+", "gpt2\n(?<=\\s)x|!+"};
enum { N_PATTERNS = sizeof patterns / sizeof *patterns };

/* The whole, and its parts that end at cut[0..n_cuts). */
struct trial {
    const struct tokenizer *t;
    struct encoder *e;
    struct encode_stream *s;
    struct u32s want, got;
    enum tokenizer_special allow;
    bool places; /* are compared, too */
    struct u32s want_places, got_places;
};

static void trial_begin(struct trial *x, const struct tokenizer *t, size_t least) {
    struct err err = {0};
    memset(x, 0, sizeof *x);
    x->t = t;
    check_ok(encoder_new(&x->e, t, &err), &err);
    check_ok(encode_stream_new(&x->s, t, &err), &err);
    encode_stream_least(x->s, least, 160);
}

static void trial_end(struct trial *x) {
    encoder_free(x->e);
    encode_stream_free(x->s);
    u32s_release(&x->want);
    u32s_release(&x->got);
    u32s_release(&x->want_places);
    u32s_release(&x->got_places);
}

static void parts_equal_the_whole(struct trial *x, const char *v, size_t n, const size_t *cut,
                                  size_t n_cuts) {
    struct err err = {0};
    struct u32s *want_places = x->places ? &x->want_places : NULL;
    struct u32s *got_places = x->places ? &x->got_places : NULL;
    x->want.n = x->got.n = x->want_places.n = x->got_places.n = 0;
    check_ok(encode_places(x->e, v, n, x->allow, &x->want, want_places, &err), &err);
    for (size_t i = 0, from = 0; i <= n_cuts; from = cut[i++]) {
        size_t to = i < n_cuts ? cut[i] : n;
        struct text_part p = {v + from, to - from, i == 0, i > 0, i < n_cuts};
        check_ok(encode_part_places(x->e, x->s, &p, x->allow, &x->got, got_places, &err), &err);
        if (i == n_cuts) break;
    }
    size_t i = 0;
    while (i < x->want.n && i < x->got.n && x->want.v[i] == x->got.v[i]) i++;
    bool same = i == x->want.n && i == x->got.n;
    bool same_places = x->want_places.n == x->got_places.n &&
                       (!x->got_places.n || !memcmp(x->want_places.v, x->got_places.v,
                                                    x->got_places.n * sizeof *x->got_places.v));
    if (!same || !same_places)
        print_error("%s, %zu bytes, first cut %zu: %.*s\n", tokenizer_pattern(x->t), n,
                    n_cuts ? cut[0] : 0, (int)(n < 400 ? n : 400), v);
    same_ids(&x->want, &x->got, "in parts");
    same_ids(&x->want_places, &x->got_places, "places in parts");
}

/* Characters of every class that the patterns know, and some that are hostile. */
static const char *const hostile[] = {"a",
                                      "s",
                                      "l",
                                      "S",
                                      "A",
                                      "Z",
                                      "é",
                                      "É",
                                      "中",
                                      "ª",
                                      "ǅ",
                                      "ſ",
                                      "\xCC\x81",
                                      "1",
                                      "²",
                                      "'",
                                      "'s",
                                      "'LL",
                                      "!",
                                      "/",
                                      " ",
                                      " ",
                                      "  ",
                                      "\t",
                                      "\n",
                                      "\n",
                                      "\r",
                                      "\r\n",
                                      "\xC2\xA0",
                                      "　",
                                      "\xE2\x80\xA8",
                                      "😀",
                                      "\xFF",
                                      "\xE4\xB8",
                                      "x",
                                      "\v"};

static void hostile_text(struct buf *out, struct rng *r, size_t n) {
    size_t few = 1 + rng_below(r, 4), pick[4];
    const size_t all = sizeof hostile / sizeof *hostile;
    for (size_t i = 0; i < few; i++) pick[i] = rng_below(r, all);
    out->n = 0;
    while (out->n < n) {
        size_t at = rng_below(r, 3) ? pick[rng_below(r, few)] : rng_below(r, all);
        size_t run = rng_below(r, 6) ? 1 : 1 + rng_below(r, 30);
        while (run--) buf_str(out, hostile[at], NULL);
    }
}

static struct tokenizer *golden(const char *pattern, bool prefix_space) {
    struct tokenizer *t = NULL;
    struct err err = {0};
    check_ok(tokenizer_open(&t, GOLDEN "/tok-py/merges.txt",
                            &(struct tokenizer_open_opts){.pattern = pattern}, &err),
             &err);
    t->prefix_space = prefix_space;
    return t;
}

static void texts_cut_at_every_byte(void **state) {
    (void)state;
    struct rng r = {.key = 31};
    struct buf text = {0};
    for (int i = 0; i < 2 * N_PATTERNS; i++) {
        struct tokenizer *t = golden(patterns[i / 2], i % 2);
        struct trial x;
        trial_begin(&x, t, 16);
        for (int round = 0; round < 60; round++) {
            hostile_text(&text, &r, 1 + rng_below(&r, 60));
            for (size_t at = 0; at <= text.n; at++)
                parts_equal_the_whole(&x, text.v, text.n, &at, 1);
        }
        trial_end(&x);
        tokenizer_free(t);
    }
    buf_release(&text);
}

static void texts_cut_at_random_places(void **state) {
    (void)state;
    struct rng r = {.key = 32};
    struct buf text = {0};
    for (int i = 0; i < 2 * N_PATTERNS; i++) {
        struct tokenizer *t = golden(patterns[i / 2], i % 2);
        struct trial x;
        trial_begin(&x, t, 16 << i % 4);
        for (int round = 0; round < 1200; round++) {
            size_t cut[64], n = 0, most = 1 + rng_below(&r, 40);
            hostile_text(&text, &r, 1 + rng_below(&r, 600));
            for (size_t at = 0; n < 64 && (at += rng_below(&r, most)) <= text.n;) cut[n++] = at;
            parts_equal_the_whole(&x, text.v, text.n, cut, n);
        }
        trial_end(&x);
        tokenizer_free(t);
    }
    buf_release(&text);
}

/* One run of one kind: the texts that are nothing but a long piece. */
static void long_runs_leave_in_parts(void **state) {
    (void)state;
    static const char *const kinds[] = {"x",  "ab", "Abc", "A",  " ",   "\n",  "\r\n", "\t ", "!",
                                        "!'", "中", "1",   "　", "\n ", "中A", "Aª",   "é"};
    static const char *const ends[] = {"", "x", "'s", " x", "\n", "!", "\n\n  y", "Ab"};
    struct buf text = {0};
    for (size_t i = 0; i < N_PATTERNS * sizeof kinds / sizeof *kinds; i++) {
        struct tokenizer *t = golden(patterns[i % N_PATTERNS], false);
        struct trial x;
        trial_begin(&x, t, 512);
        for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
            size_t cut[40];
            text.n = 0;
            while (text.n < 9000) buf_str(&text, kinds[i / N_PATTERNS], NULL);
            buf_str(&text, ends[k], NULL);
            for (size_t c = 0; c < 40; c++) cut[c] = 223 * (c + 1);
            parts_equal_the_whole(&x, text.v, text.n, cut, 40);
        }
        trial_end(&x);
        tokenizer_free(t);
    }
    buf_release(&text);
}

/* Vocabularies in which what is far away matters, and windows that are too small for it: they are
 * merged anew with the next one. */
static void windows_that_were_too_small(void **state) {
    (void)state;
    struct rng r = {.key = 33};
    for (int round = 0; round < 40; round++) {
        struct random_vocab v;
        struct trial x;
        random_vocab(&v, &r, 10 + rng_below(&r, 500), 2);
        struct tokenizer *t = random_tokenizer(&v, patterns[round % N_PATTERNS]);
        trial_begin(&x, t, 16);
        encode_stream_least(x.s, 16, 16 << round % 3);
        for (int i = 0; i < 20; i++) {
            char text[900];
            size_t n = 1 + rng_below(&r, sizeof text), cut[15], n_cuts = 0;
            for (size_t k = 0; k < n; k++) text[k] = (char)('a' + (int)rng_below(&r, 2));
            while (60 * (n_cuts + 1) < n) cut[n_cuts] = 60 * (n_cuts + 1), n_cuts++;
            parts_equal_the_whole(&x, text, n, cut, n_cuts);
        }
        trial_end(&x);
        tokenizer_free(t);
        random_release(&v);
    }
}

/* ------------------------------------------------------------------ specials, and form C */

/* Each begins as another does, or lies in another, or is white space, or is not in form C. */
static const char *const special_texts[] = {"<a>",  "<ab>",      "<ab>c", "b>",  " ",
                                            "\n\n", " <x",       "<y ",   "éx",  "e\xCC\x81y",
                                            "<>",   "\xCC\x81z", "  ",    "<中>"};
enum { N_SPECIALS = sizeof special_texts / sizeof *special_texts };

/* 256 bytes, a few merges, and some of the specials with flags at random. */
static struct tokenizer *special_tokenizer(struct random_vocab *v, struct rng *r,
                                           const char *pattern) {
    struct special s[N_SPECIALS];
    uint32_t n = 0;
    struct err e = {0};
    random_vocab(v, r, 30, 3);
    for (size_t i = 0; i < N_SPECIALS; i++) {
        if (rng_below(r, 3)) continue;
        s[n++] = (struct special){.text = special_texts[i],
                                  .special = rng_below(r, 2),
                                  .lstrip = !rng_below(r, 4),
                                  .rstrip = !rng_below(r, 4),
                                  .single_word = !rng_below(r, 4),
                                  .normalized = rng_below(r, 2)};
    }
    struct tokenizer *t = random_with(v, pattern, s, n);
    if (rng_below(r, 2)) check_ok(vocab_set_nfc(t, &e), &e);
    t->prefix_space = rng_below(r, 2);
    return t;
}

/* With letters that compose, in all ways, and what has them as its parts. */
static const char *const forms[] = {"e",
                                    "é",
                                    "\xCC\x81",
                                    "\xCC\xA3",
                                    "\xCC\x88\xCC\x81",
                                    "각",
                                    "가",
                                    "\xE1\x84\x80",
                                    "\xE1\x85\xA1",
                                    "\xE1\x86\xA8",
                                    "Å",
                                    "Ω",
                                    "क़",
                                    "שּׁ",
                                    "豈",
                                    "ḍ̇",
                                    "\xF0\x91\x84\xAE",
                                    "\xF0\x9D\x85\x9E"};

static void special_text(struct buf *out, struct rng *r, size_t n) {
    const size_t n_forms = sizeof forms / sizeof *forms;
    const size_t n_hostile = sizeof hostile / sizeof *hostile;
    out->n = 0;
    while (out->n < n) {
        size_t run = rng_below(r, 8) ? 1 : 1 + rng_below(r, 12);
        size_t kind = rng_below(r, 4);
        const char *bit = kind == 0   ? special_texts[rng_below(r, N_SPECIALS)]
                          : kind == 1 ? forms[rng_below(r, n_forms)]
                          : kind == 2
                              ? hostile[rng_below(r, n_hostile)]
                              : (const char *const[]){" ", "\n", "<", "ab"}[rng_below(r, 4)];
        while (run--) buf_str(out, bit, NULL);
    }
}

/* The ids, and where they stand. */
static void specials_and_forms_in_parts(void **state) {
    (void)state;
    struct rng r = {.key = 34};
    struct buf text = {0};
    for (int round = 0; round < 80; round++) {
        struct random_vocab v;
        struct trial x;
        struct tokenizer *t = special_tokenizer(&v, &r, patterns[round % N_PATTERNS]);
        trial_begin(&x, t, 16);
        x.allow = round % 4 ? TOKENIZER_SPECIAL_ALL : TOKENIZER_SPECIAL_NONE;
        for (int i = 0; i < 200; i++) {
            size_t cut[64], n = 0, most = 1 + rng_below(&r, 20);
            special_text(&text, &r, 1 + rng_below(&r, 120));
            for (size_t at = 0; n < 64 && (at += rng_below(&r, most)) <= text.n;) cut[n++] = at;
            x.places = i % 2;
            parts_equal_the_whole(&x, text.v, text.n, cut, n);
        }
        trial_end(&x);
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
}

/* The same token is refused, at the same byte, in a text that comes in pieces. */
static void specials_are_refused_in_pieces(void **state) {
    (void)state;
    struct rng r = {.key = 35};
    struct buf text = {0};
    size_t refused = 0, passed = 0;
    for (int round = 0; round < 80; round++) {
        struct random_vocab v;
        struct trial x;
        struct err err = {0}, want, got;
        struct tokenizer *t = special_tokenizer(&v, &r, "gpt2");
        trial_begin(&x, t, 16);
        encoder_refuse_special(x.e, true);
        x.allow = round % 2 ? TOKENIZER_SPECIAL_LIST : TOKENIZER_SPECIAL_NONE;
        for (uint32_t i = round & 1 ? 0 : t->n_specials; i < t->n_specials; i += 1 + i % 2)
            check_ok(encoder_allow(x.e, (const char *[]){t->specials[i].text}, 1, &err), &err);
        for (int i = 0; i < 300; i++) {
            struct refusal refusal = {0};
            special_text(&text, &r, 1 + rng_below(&r, 40));
            want = got = (struct err){0};
            x.want.n = 0;
            int whole = encode(x.e, text.v, text.n, x.allow, &x.want, &want), pieces = 0;
            for (size_t at = 0, n; pieces == 0 && at < text.n; at += n) {
                n = 1 + rng_below(&r, 6);
                if (n > text.n - at) n = text.n - at;
                bool last = at + n == text.n && rng_below(&r, 2);
                pieces = encoder_refuse(x.e, &refusal, text.v + at, n, last, x.allow, &got);
            }
            if (pieces == 0) pieces = encoder_refuse(x.e, &refusal, "", 0, true, x.allow, &got);
            assert_int_equal(pieces, whole < 0 ? whole : 0);
            assert_string_equal(got.msg, want.msg);
            assert_int_equal(got.byte, want.byte);
            refused += pieces < 0;
            passed += pieces == 0;
            buf_release(&refusal.held);
        }
        trial_end(&x);
        tokenizer_free(t);
        random_release(&v);
    }
    assert_true(refused > 1000 && passed > 1000);
    buf_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_cut_at_every_byte),
                                       cmocka_unit_test(texts_cut_at_random_places),
                                       cmocka_unit_test(long_runs_leave_in_parts),
                                       cmocka_unit_test(windows_that_were_too_small),
                                       cmocka_unit_test(specials_and_forms_in_parts),
                                       cmocka_unit_test(specials_are_refused_in_pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
