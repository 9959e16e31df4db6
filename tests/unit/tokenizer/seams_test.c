/* Long pieces: seams are crossed by no token, and cutting there, merging by runs, growing caches
 * and going in windows change no id (encode_ref.c knows none of them). */
#include "tests/unit/tokenizer/encode_help.h"
#include "tokenizer/seams.h"

/* Characters of one to four bytes, of which some share bytes, and bytes that are none. */
static const char *const letters[] = {"a",
                                      "b",
                                      "\xC3\xA9",
                                      "\xC3\xA8",
                                      "\xE4\xBB\x8A",
                                      "\xE6\x97\xA5",
                                      "\xE4\xBB\xA5",
                                      "\xE6\xBB\x8A",
                                      "\xF0\x9F\x98\x80",
                                      "\x80",
                                      "\xE4",
                                      "\xBB"};
enum { LETTERS = sizeof letters / sizeof *letters };

static void random_string(struct buf *out, struct rng *r, size_t n, size_t kinds) {
    out->n = 0;
    for (size_t i = 0; i < n; i++) buf_str(out, letters[rng_below(r, kinds)], NULL);
}

/* A part of a random string: tokens begin and end inside characters, too. */
static void random_token(struct buf *out, struct rng *r, size_t kinds) {
    random_string(out, r, 1 + rng_below(r, 3), kinds);
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

static void no_token_crosses_a_seam(void **state) {
    (void)state;
    struct rng r = {.key = 3};
    size_t places = 0, found = 0;
    for (int round = 0; round < 300; round++) {
        struct seams s = {0};
        struct err err = {0};
        struct buf token[12] = {{0}}, text = {0};
        size_t n = 1 + rng_below(&r, 12);
        for (size_t i = 0; i < n; i++) {
            random_token(&token[i], &r, LETTERS);
            check_ok(seams_add(&s, (uint8_t *)token[i].v, token[i].n, &err), &err);
        }
        random_string(&text, &r, 60, LETTERS);
        for (size_t at = 1; at < text.n; at++) {
            bool seam = seams_at(&s, (uint8_t *)text.v, text.n, at);
            bool free = !crossed(token, n, &text, at);
            if (seam && !free) fail_msg("round %d: a token lies across place %zu", round, at);
            places += free;
            found += seam;
        }
        for (size_t i = 0; i < n; i++) buf_release(&token[i]);
        buf_release(&text);
        seams_release(&s);
    }
    assert_true(found > places / 2); /* most are found */
}

/* ------------------------------------------------------------------ the same ids */

/* Merges of random tokens over the first `kinds` letters, in any order. */
static struct tokenizer *wide_tokenizer(struct rng *r, size_t n_merges, size_t kinds, bool ranks) {
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
    struct tokenizer *t = random_tokenizer_by(&v, "[\\s\\S]+", ranks);
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
        struct tokenizer *t = wide_tokenizer(&r, 20 + rng_below(&r, 300), kinds, round % 3 == 0);
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

/* More pieces of 16 bytes and more than it has room for; those at the end are there once more. */
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
        for (size_t kept = text.n / 2, n = text.n = kept; text.n < n + 450000;) {
            buf_char(&text, ' ', NULL);
            for (size_t k = 15 + rng_below(&r, 8); k; k--)
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
        cmocka_unit_test(a_stray_byte_behind_a_character),
        cmocka_unit_test(runs_equal_the_slow_twin),
        cmocka_unit_test(caches_and_windows_change_nothing),
        cmocka_unit_test(the_long_cache_grows_and_is_emptied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
