/* Long pieces: seams are crossed by no token, and cutting there, merging by runs, growing caches
 * and going in windows change no id (encode_ref.c knows none of them). */
#include "tests/unit/tokenizer/encode_help.h"
#include "tokenizer/encode_cache.h"
#include "tokenizer/seams.h"

/* Characters of one to four bytes, of which some share bytes, and bytes that are none. */
static const char *const letters[] = {"a",
                                      "\xC3\xA9",
                                      "\xC3\xA8",
                                      "\xE4\xBB\x8A",
                                      "\xE6\x97\xA5",
                                      "\xE4\xBB\xA5",
                                      "\xE6\xBB\x8A",
                                      "\xF0\x9F\x98\x80",
                                      "\x80",
                                      "\xE4",
                                      "\xBB",
                                      "b",
                                      "\xE0\xB8\x81",
                                      "\xE0\xB8\x82",
                                      "\xE0\xB9\x80",
                                      "\xE1\x80\x81"};
enum { LETTERS = sizeof letters / sizeof *letters, UNSPACED = 4 /* the last ones */ };

/* Of the letters from ... from+kinds-1. */
static void random_letters(struct buf *out, struct rng *r, size_t n, size_t from, size_t kinds) {
    out->n = 0;
    for (size_t i = 0; i < n; i++) buf_str(out, letters[from + rng_below(r, kinds)], NULL);
}
static void random_string(struct buf *out, struct rng *r, size_t n, size_t kinds) {
    random_letters(out, r, n, 0, kinds);
}

/* A part of a random string: tokens begin and end inside characters, too. */
static void random_token(struct buf *out, struct rng *r, size_t from) {
    random_letters(out, r, 1 + rng_below(r, from ? 4 : 3), from, LETTERS - from);
    size_t cut = out->n > 2 ? rng_below(r, 2) : 0;
    memmove(out->v, out->v + cut, out->n - cut);
    out->n -= cut;
    if (out->n > 2) out->n -= rng_below(r, 2);
}

static bool crossed(const struct buf *token, size_t n_tokens, const struct buf *text, size_t at) {
    for (size_t i = 0; i < n_tokens; i++)
        for (size_t left = 1; left < token[i].n && left <= at; left++)
            if (token[i].n - left <= text->n - at &&
                !memcmp(token[i].v, text->v + at - left, token[i].n))
                return true;
    return false;
}

/* As encoding asks. What it finds at most is what seams_at() finds at least. */
static bool seam_at(const struct seams *s, const struct buf *text, size_t at) {
    const uint8_t *p = (uint8_t *)text->v;
    const uint64_t wide = p[at] < 0xc0 ? 0 : seams_wide(p, text->n, at);
    const bool seam = seams_at(s, p, text->n, at);
    if (!wide) return seam;
    if (seam) assert_true(seams_at_wide(s, wide, p, text->n, at));
    return seams_at_wide(s, wide, p, text->n, at);
}

/* All at once says the same as one by one, of as many places as there can be. */
static size_t same_at_once(const struct seams *s, const struct buf *text) {
    const uint8_t *p = (uint8_t *)text->v;
    const seams_run_fn run = seams_run_at(0);
    size_t all = 0;
    for (size_t at = 3; run && at + 3 < text->n; at++) {
        uint32_t end[SEAMS_RUN];
        size_t found, k = 0, wide = at;
        if ((p[at] & 0xf0) != 0xe0) continue;
        const size_t places = run(s, p, text->n, at, end, &found);
        for (size_t i = 0; i < places; i++, wide += 3) {
            const uint64_t x = seams_wide(p, text->n, wide);
            assert_true(x);
            const bool seam = seams_at_wide(s, x, p, text->n, wide);
            assert_int_equal(seam, k < found && end[k] == wide);
            k += seam;
        }
        if (places) assert_int_equal(k, found);
        all += places;
    }
    return all;
}

/* Every third time of letters of scripts that have few, but for two. */
static void no_token_crosses_a_seam(void **state) {
    (void)state;
    struct rng r = {.key = 3};
    size_t places = 0, found = 0, at_once = 0;
    for (int round = 0; round < 900; round++) {
        const size_t from = round % 3 ? 0 : LETTERS - UNSPACED - 2;
        struct seams s = {0};
        struct err err = {0};
        struct buf token[12] = {{0}}, text = {0};
        size_t n = 1 + rng_below(&r, 12);
        for (size_t i = 0; i < n; i++) {
            random_token(&token[i], &r, from);
            check_ok(seams_add(&s, (uint8_t *)token[i].v, token[i].n, &err), &err);
        }
        random_letters(&text, &r, 60, from, LETTERS - from);
        for (size_t at = 1; at < text.n; at++) {
            bool seam = seam_at(&s, &text, at);
            bool free = !crossed(token, n, &text, at);
            if (seam && !free) fail_msg("round %d: a token lies across place %zu", round, at);
            places += free;
            found += seam;
        }
        at_once += same_at_once(&s, &text);
        for (size_t i = 0; i < n; i++) buf_release(&token[i]);
        buf_release(&text);
        seams_release(&s);
    }
    assert_true(found > places / 2); /* most are found */
    if (seams_run_at(0)) assert_true(at_once > places / 10);
}

/* ------------------------------------------------------------------ the same ids */

/* Merges of random tokens over the first `kinds` letters, in any order. */
static struct tokenizer *wide_tokenizer(struct rng *r, size_t n_merges, size_t kinds, bool ranks,
                                        const char *pattern) {
    struct random_vocab v = {.n_merges = 0};
    struct buf b = {0};
    u64s_push(&v.start, 0, NULL);
    for (int i = 0; i < 256; i++) {
        buf_char(&v.bytes, (char)i, NULL);
        u64s_push(&v.start, v.bytes.n, NULL);
    }
    for (size_t tries = 0; v.n_merges < n_merges && tries < 4000; tries++) {
        random_string(&b, r, 1 + rng_below(r, 4), kinds);
        size_t cut = b.n < 2 ? 0 : 1 + rng_below(r, b.n - 1);
        uint32_t left = cut ? random_find(&v, b.v, cut) : TOKENIZER_NO_ID;
        uint32_t right = cut ? random_find(&v, b.v + cut, b.n - cut) : TOKENIZER_NO_ID;
        if (left == TOKENIZER_NO_ID || right == TOKENIZER_NO_ID) continue;
        uint32_t id = random_find(&v, b.v, b.n);
        if (id == TOKENIZER_NO_ID) {
            id = (uint32_t)v.start.n - 1;
            buf_append(&v.bytes, b.v, b.n, NULL);
            u64s_push(&v.start, v.bytes.n, NULL);
        }
        v.merges[v.n_merges++] = (struct merge){left, right, id};
    }
    struct tokenizer *t = random_tokenizer_by(&v, pattern, ranks);
    t->ignore_merges = ranks || rng_below(r, 2);
    buf_release(&b);
    random_release(&v);
    return t;
}

static void compare(struct encoder *e, const struct tokenizer *t, const struct buf *text,
                    const char *what) {
    struct err err = {0};
    struct u32s want = {0}, got = {0};
    check_ok(encode_ref(t, text->v, text->n, &want, &err), &err);
    check_ok(encode(e, text->v, text->n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
    same_ids(&want, &got, what);
    u32s_release(&want);
    u32s_release(&got);
}

static void pieces_with_seams_equal_the_slow_twin(void **state) {
    (void)state;
    struct rng r = {.key = 4};
    struct buf text = {0};
    for (int round = 0; round < 40; round++) {
        size_t kinds = 2 + rng_below(&r, LETTERS - 1);
        struct tokenizer *t =
            wide_tokenizer(&r, 20 + rng_below(&r, 300), kinds, round % 3 == 0, "[\\s\\S]+");
        struct encoder *e;
        struct err err = {0};
        check_ok(encoder_new(&e, t, &err), &err);
        for (int i = 0; i < 30; i++) {
            random_string(&text, &r, rng_below(&r, i % 5 ? 40 : 400), kinds);
            compare(e, t, &text, "seams");
        }
        encoder_free(e);
        tokenizer_free(t);
    }
    buf_release(&text);
}

/* Sentences side by side, with marks and words between them, known ones and new ones: their parts
 * go together, those that are new wait, and one that comes again is stored as a whole. */
static void sentences_equal_the_slow_twin(void **state) {
    (void)state;
    static const char *const between[] = {" ",  " ",      ", ",          "\xEF\xBC\x8C",
                                          "\n", " word ", "\xEA\xB0\x80"};
    enum { BETWEEN = sizeof between / sizeof *between };
    struct rng r = {.key = 12};
    struct buf text = {0}, one = {0};
    for (int round = 0; round < 60; round++) {
        static const char *const patterns[] = {"gpt2", "cl100k", "o200k"};
        const size_t from = round % 2 ? LETTERS - UNSPACED : 4;
        struct tokenizer *t = wide_tokenizer(&r, 20 + rng_below(&r, 500), LETTERS, round % 4 == 0,
                                             patterns[round % 3]);
        struct encoder *e;
        struct err err = {0};
        check_ok(encoder_new(&e, t, &err), &err);
        for (int i = 0; i < 6; i++) {
            text.n = 0;
            for (size_t k = rng_below(&r, 150); k; k--) {
                const size_t most = rng_below(&r, 20) ? 12 : 300;
                random_letters(&one, &r, 1 + rng_below(&r, most), from, LETTERS - from);
                buf_append(&text, one.v, one.n, NULL);
                buf_str(&text, between[rng_below(&r, BETWEEN)], NULL);
            }
            compare(e, t, &text, "sentences");
        }
        encoder_free(e);
        tokenizer_free(t);
    }
    buf_release(&text);
    buf_release(&one);
}

/* The cache of parts grows while pieces wait, whose ids then come before those of a piece all of
 * whose parts are known: it must not be stored with theirs. */
static void parts_cache_grows_while_pieces_wait(void **state) {
    (void)state;
    enum { POOL = 1500, MOST = 60 };
    struct rng r = {.key = 13};
    struct buf text = {0};
    for (int round = 0; round < 60; round++) {
        static char pool[POOL][MOST + 1];
        struct random_vocab v;
        struct encoder *e;
        struct err err = {0};
        random_vocab(&v, &r, 50, 6);
        struct tokenizer *t = random_tokenizer(&v, "gpt2");
        check_ok(encoder_new(&e, t, &err), &err);
        for (size_t i = 0; i < POOL; i++) {
            size_t n = 16 + rng_below(&r, MOST - 16);
            for (size_t k = 0; k < n; k++) pool[i][k] = (char)('a' + (int)rng_below(&r, 6));
            pool[i][n] = 0;
        }
        text.n = 0;
        for (int i = 0; i < 5 * POOL; i++)
            buf_printf(&text, NULL, "%s %d ", pool[rng_below(&r, POOL)], i);
        compare(e, t, &text, "growing");
        encoder_free(e);
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
}

/* What stands behind a character may be a part of the token that crosses the place before it: the
 * answer for that place must not be remembered by the two characters alone. */
static void a_stray_byte_behind_a_character(void **state) {
    (void)state;
    static const char left[] = "\xE4\xBB\x8A", right[] = "\xE6\x97\xA5\x80";
    struct random_vocab v;
    struct rng r = {.key = 1};
    struct buf text = {0};
    struct encoder *e;
    struct err err = {0};
    random_vocab(&v, &r, 0, 1);
    uint32_t last[2] = {0xE4, 0xE6};
    for (size_t i = 1; i < 4; i++) /* left, right and a stray byte, and both as tokens */
        for (size_t k = 0; k < 2; k++) {
            const char *token = k ? right : left;
            if (k == 0 && i == 3) continue;
            v.merges[v.n_merges++] =
                (struct merge){last[k], (uint8_t)token[i], (uint32_t)v.start.n - 1};
            last[k] = (uint32_t)v.start.n - 1;
            buf_append(&v.bytes, token, i + 1, NULL);
            u64s_push(&v.start, v.bytes.n, NULL);
        }
    v.merges[v.n_merges++] = (struct merge){last[0], last[1], (uint32_t)v.start.n - 1};
    buf_printf(&v.bytes, NULL, "%s%s", left, right);
    u64s_push(&v.start, v.bytes.n, NULL);
    struct tokenizer *t = random_tokenizer(&v, "[\\s\\S]+");
    check_ok(encoder_new(&e, t, &err), &err);
    for (int stray = 0; stray < 2; stray++) {
        text.n = 0;
        for (int i = 0; i < 9; i++)
            buf_printf(&text, NULL, "%s%.*s", left, 3 + (stray && i % 2), right);
        compare(e, t, &text, stray ? "with strays" : "without");
    }
    buf_release(&text);
    encoder_free(e);
    tokenizer_free(t);
    random_release(&v);
}

/* Vocabularies of one or two letters: products that merge before their parts are common. */
static void runs_equal_the_slow_twin(void **state) {
    (void)state;
    struct rng r = {.key = 9};
    struct buf text = {0};
    for (int round = 0; round < 60; round++) {
        struct random_vocab v;
        struct encoder *e;
        struct err err = {0};
        random_vocab(&v, &r, 1 + rng_below(&r, round % 2 ? 10 : 60), 1 + round % 2);
        struct tokenizer *t = random_tokenizer(&v, "[\\s\\S]+");
        check_ok(encoder_new(&e, t, &err), &err);
        for (int i = 0; i < 12; i++) {
            size_t runs = 1 + rng_below(&r, 5);
            text.n = 0;
            for (size_t k = 0; k < runs; k++)
                for (size_t n = rng_below(&r, rng_below(&r, 2) ? 4 : 700); n > 0; n--)
                    buf_char(&text, (char)('a' + (int)(k % 3 != 0)), NULL);
            compare(e, t, &text, "runs");
        }
        encoder_free(e);
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
}

/* Enough different words that the caches grow, words of 5 to 15 ids among them; more than two
 * windows of text. */
static void caches_and_windows_change_nothing(void **state) {
    (void)state;
    static const char *const patterns[] = {"gpt2", "cl100k", "o200k"};
    struct rng r = {.key = 6};
    struct buf text = {0};
    for (size_t i = 0; i < 3; i++) {
        struct random_vocab v;
        struct encoder *e;
        struct err err = {0};
        random_vocab(&v, &r, 300, 4);
        struct tokenizer *t = random_tokenizer(&v, patterns[i]);
        check_ok(encoder_new(&e, t, &err), &err);
        text.n = 0;
        while (text.n < 600000) {
            size_t n = 1 + rng_below(&r, 18);
            buf_str(&text, rng_below(&r, 9) ? " " : "\n  ", NULL);
            while (n--) buf_char(&text, (char)('a' + (int)rng_below(&r, 6)), NULL);
        }
        compare(e, t, &text, patterns[i]);
        compare(e, t, &text, patterns[i]);
        encoder_free(e);
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
}

/* More pieces than it has room for, of more bytes than the middle one has; those at the end are
 * there once more. */
static void the_long_cache_grows_and_is_emptied(void **state) {
    (void)state;
    struct rng r = {.key = 8};
    struct random_vocab v;
    struct encoder *e;
    struct err err = {0};
    struct buf text = {0};
    random_vocab(&v, &r, 300, 6);
    struct tokenizer *t = random_tokenizer(&v, "gpt2");
    check_ok(encoder_new(&e, t, &err), &err);
    for (int part = 0; part < 4; part++) {
        for (size_t kept = text.n / 2, n = text.n = kept; text.n < n + 800000;) {
            buf_char(&text, ' ', NULL);
            for (size_t k = MIDDLE_BYTES + rng_below(&r, 8); k; k--)
                buf_char(&text, (char)('a' + (int)rng_below(&r, 6)), NULL);
        }
        for (int again = 0; again < 2; again++) compare(e, t, &text, "long pieces");
    }
    encoder_free(e);
    tokenizer_free(t);
    random_release(&v);
    buf_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_token_crosses_a_seam),
        cmocka_unit_test(pieces_with_seams_equal_the_slow_twin),
        cmocka_unit_test(sentences_equal_the_slow_twin),
        cmocka_unit_test(parts_cache_grows_while_pieces_wait),
        cmocka_unit_test(a_stray_byte_behind_a_character),
        cmocka_unit_test(runs_equal_the_slow_twin),
        cmocka_unit_test(caches_and_windows_change_nothing),
        cmocka_unit_test(the_long_cache_grows_and_is_emptied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
