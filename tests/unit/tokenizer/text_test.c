/* Text on its way in and out: form C, places of tokens, bytes that are not UTF-8, decoding as a
 * stream, long texts of one character. */
#include <uninorm.h>
#include "tests/unit/tokenizer/encode_help.h"
#include "tokenizer/unicode.h"

#define HF GOLDEN "/tok-hf"

/* ------------------------------------------------------------------ form C */

/* The library's own normalization, of characters that Unicode 9 knows. */
static void form_c_is_that_of_the_library(void **state) {
    static const uint32_t bits[] = {'a',   'e',    0xE9,    0x301,   0x323,  0x334,
                                    0x345, 0x1100, 0x1161,  0x11A8,  0xAC00, 0x9C7,
                                    0x9BE, 0x958,  0x212B,  0xF900,  0x344,  0x5D0,
                                    0x5B4, 0x1E9B, 0x1D15E, 0x2F800, ' ',    0x4E00};
    struct rng r = {.key = 7};
    struct nfc *f;
    struct err e = {0};
    (void)state;
    check_ok(nfc_new(&f, &e), &e);
    for (int i = 0; i < 20000; i++) {
        struct buf text = {0}, got = {0};
        struct u32s places = {0};
        for (uint64_t k = rng_below(&r, 12); k; k--) {
            char utf8[4];
            uint32_t c = bits[rng_below(&r, sizeof bits / sizeof *bits)];
            buf_append(&text, utf8, unicode_encode(c, utf8), NULL);
        }
        size_t n = 0;
        uint8_t *want = u8_normalize(UNINORM_NFC, (uint8_t *)text.v, text.n, NULL, &n);
        check_ok(nfc_write(f, text.v, text.n, &got, &places, &e), &e);
        assert_int_equal(got.n, n);
        if (n) assert_memory_equal(got.v, want, n);
        assert_int_equal(places.n, 2 * n);
        for (size_t k = 0; k < places.n; k++) assert_true(places.v[k] <= text.n);
        if (nfc_is(f, text.v, text.n) && n) assert_memory_equal(got.v, text.v, n);
        free(want);
        buf_release(&text);
        buf_release(&got);
        u32s_release(&places);
    }
    nfc_free(f);
}

/* Marks newer than HF's tables (U+1ABF, class 220, Unicode 13) stay where they are, also beside
 * bytes that are no character. */
static void newer_marks_stay(void **state) {
    static const char text[] = "a\xE1\xAA\xBF\xCC\xA3\xFF\xCC\x81\x80"
                               "e\xCC\x81";
    static const char want[] = "a\xE1\xAA\xBF\xCC\xA3\xFF\xCC\x81\x80\xC3\xA9";
    struct nfc *f;
    struct buf got = {0};
    struct err e = {0};
    (void)state;
    check_ok(nfc_new(&f, &e), &e);
    check_ok(nfc_write(f, text, sizeof text - 1, &got, NULL, &e), &e);
    assert_string_equal(buf_cstr(&got), want);
    buf_release(&got);
    nfc_free(f);
}

/* ------------------------------------------------------------------ places */

static struct tokenizer *opened(void) {
    struct tokenizer *t = NULL;
    struct err e = {0};
    check_ok(tokenizer_open(&t, HF, NULL, &e), &e);
    return t;
}

static void placed(const char *text, size_t n, bool chars, const uint32_t *want, size_t n_want) {
    struct tokenizer *t = opened();
    struct encoder *en;
    struct u32s ids = {0}, places = {0};
    struct err e = {0};
    check_ok(encoder_new(&en, t, &e), &e);
    check_ok(encode_places(en, text, n, TOKENIZER_SPECIAL_ALL, &ids, &places, &e), &e);
    assert_int_equal(places.n, 2 * ids.n);
    if (chars) places_in_chars(text, n, places.v, places.n);
    assert_int_equal(places.n, n_want);
    assert_memory_equal(places.v, want, n_want * sizeof *want);
    encoder_free(en);
    u32s_release(&ids);
    u32s_release(&places);
    tokenizer_free(t);
}

/* A token that holds a part of a character spans all of it; a bad byte is a character. */
static void places_are_of_whole_characters(void **state) {
    static const char text[] = "x\xE4\xBB\x8A\xFF<pad>\xC3\xA9";
    static const uint32_t bytes[] = {0, 1, 1, 4, 1, 4, 1, 4, 4, 5, 5, 10, 10, 12},
                          chars[] = {0, 1, 1, 2, 1, 2, 1, 2, 2, 3, 3, 8, 8, 9};
    (void)state;
    placed(text, sizeof text - 1, false, bytes, 14);
    placed(text, sizeof text - 1, true, chars, 14);
    placed("", 0, true, NULL, 0);
}

/* ------------------------------------------------------------------ bytes that are not UTF-8 */

static void made_valid(const char *text, enum tokenizer_invalid how, const char *want) {
    struct buf scratch = {0};
    struct err e = {0};
    const char *got;
    size_t n;
    check_ok(tokenizer_valid(text, strlen(text), how, &scratch, &got, &n, &e), &e);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(got, want, n);
    buf_release(&scratch);
}

static void invalid_text_by_policy(void **state) {
#define U "\xEF\xBF\xBD"
    struct buf scratch = {0};
    struct err e = {0};
    const char *got;
    size_t n;
    (void)state;
    made_valid("a\xFF", TOKENIZER_INVALID_KEEP, "a\xFF");
    made_valid("a\xC3\xA9", TOKENIZER_INVALID_REPLACE, "a\xC3\xA9");
    made_valid("a\xFF", TOKENIZER_INVALID_REPLACE, "a" U);
    /* one for each maximal part: Python's errors="replace" */
    made_valid("\xE2\x80x\xF0\x9F\x98", TOKENIZER_INVALID_REPLACE, U "x" U);
    made_valid("\xED\xA0\x80\xE0\x80\xC0\xAF", TOKENIZER_INVALID_REPLACE, U U U U U U U);
    made_valid("\xF4\x90\x80\x80\xC3", TOKENIZER_INVALID_REPLACE, U U U U U);
    check_fails(tokenizer_valid("ab\x80", 3, TOKENIZER_INVALID_REFUSE, &scratch, &got, &n, &e),
                ERR_DATA, &e, "byte 2 (0x80)");
    assert_int_equal(e.byte, 2);
}

/* ------------------------------------------------------------------ decoding as a stream */

static void streams_give_whole_characters(void **state) {
    static const char text[] = "a\xF0\x9F\x98\x80 \xE4\xBB\x8A\xFF \xF0\x9F";
    struct tokenizer *t = opened();
    struct encoder *en;
    struct u32s ids = {0};
    struct buf out = {0}, all = {0};
    struct decode_stream s = {0};
    struct err e = {0};
    (void)state;
    check_ok(encoder_new(&en, t, &e), &e);
    check_ok(encode(en, text, sizeof text - 1, TOKENIZER_SPECIAL_NONE, &ids, &e), &e);
    for (size_t i = 0; i < ids.n; i++) {
        out.n = 0;
        check_ok(decode_step(t, &s, &ids.v[i], 1, false, &out, &e), &e);
        assert_int_equal(decode_whole(out.v, out.n), out.n);
        buf_append(&all, out.v, out.n, NULL);
    }
    assert_int_equal(s.n, 2); /* F0 9F may still become a character */
    uint32_t none = 365;
    check_fails(decode_step(t, &s, &none, 1, false, &all, &e), ERR_DATA, &e, "365");
    assert_int_equal(s.n, 2);
    check_ok(decode_end(&s, &all, &e), &e);
    assert_string_equal(buf_cstr(&all), text);
    encoder_free(en);
    u32s_release(&ids);
    buf_release(&out);
    buf_release(&all);
    tokenizer_free(t);
}

static void spelling_is_that_of_vocab_json(void **state) {
    struct tokenizer *t = opened();
    struct buf b = {0};
    struct err e = {0};
    (void)state;
    check_ok(tokenizer_spell(t, tokenizer_find(t, "\n    ", 5), &b, &e), &e);
    check_ok(tokenizer_spell(t, 1, &b, &e), &e);
    assert_string_equal(buf_cstr(&b), "ĊĠĠĠĠ<pad>");
    check_fails(tokenizer_spell(t, 365, &b, &e), ERR_DATA, &e, "365");
    buf_release(&b);
    tokenizer_free(t);
}

/* HF's token of an added token that is looked for in form C is its text in form C. */
static void a_normalized_special_is_told_in_form_c(void **state) {
    static const char json[] =
        "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\","
        "\"add_prefix_space\":false},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},"
        "\"added_tokens\":[{\"id\":1,\"content\":\"\u212b\",\"normalized\":true},"
        "{\"id\":2,\"content\":\"<e\u0301>\",\"normalized\":true,\"lstrip\":true},"
        "{\"id\":3,\"content\":\"o\u0301\",\"normalized\":false},"
        "{\"id\":4,\"content\":\"e\u0301\",\"normalized\":true,\"rstrip\":true}]}";
    static const struct {
        uint32_t id;
        const char *found, *token;
    } want[] = {{0, "a", "a"},
                {1, "A", "\u00c5"},
                {2, " <e\u0301>", " <\u00e9>"},
                {3, "o\u0301", "o\u0301"},
                {4, "e", "\u00e9"},
                {4, "e\u0301 \u2000", "\u00e9 \u2002"}};
    struct tokenizer *t;
    struct err e = {0};
    const char *path = in(*state, "tokenizer.json");
    check_ok(file_write(path, json, sizeof json - 1, &e), &e);
    check_ok(tokenizer_open(&t, path, NULL, &e), &e);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct buf got = {0};
        const char *found = want[i].found;
        check_ok(tokenizer_spell_found(t, want[i].id, found, strlen(found), &got, &e), &e);
        assert_string_equal(buf_cstr(&got), want[i].token);
        buf_release(&got);
    }
    tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(form_c_is_that_of_the_library),
        cmocka_unit_test(newer_marks_stay),
        cmocka_unit_test(places_are_of_whole_characters),
        cmocka_unit_test(invalid_text_by_policy),
        cmocka_unit_test(streams_give_whole_characters),
        cmocka_unit_test(spelling_is_that_of_vocab_json),
        cmocka_unit_test_setup_teardown(a_normalized_special_is_told_in_form_c, folder_setup,
                                        folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
