/* Wherever a text is cut, all published expressions find in its parts the pieces of the whole; of a
 * JSON string the parts, unescaped, are besides the text. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/rng.h"
#include "stream/docs_parts.h"
#include "stream/scan.h"
#include "tokenizer/pattern.h"

static const char *const patterns[] = {"gpt2",     "cl100k", "llama3",         "qwen2",
                                       "nanochat", "o200k",  "cl100k-tiktoken"};
enum { PATTERNS = sizeof patterns / sizeof *patterns };

/* As they stand in a text, and in a JSON string. */
static const char *const bits[][2] = {
    {"a", "a"},
    {"Zo", "Zo"},
    {"'s", "'s"},
    {"'", "\\u0027"},
    {"7", "7"},
    {"1234", "1234"},
    {".", "."},
    {"/", "/"},
    {"/", "\\/"},
    {"\\", "\\\\"},
    {"\"", "\\\""},
    {"u4eac", "u4eac"},
    {"n", "n"},
    {" ", " "},
    {" ", "\\u0020"},
    {"  ", "  "},
    {"\n", "\\n"},
    {"\n", "\\n"},
    {"\n", "\\n"},
    {"\n", "\\u000a"},
    {"\r\n", "\\r\\n"},
    {"\t", "\\t"},
    {"\xC2\x85", "\xC2\x85"},
    {"\xC2\xA0", "\\u00a0"},
    {"\xE2\x80\xA8", "\xE2\x80\xA8"},
    {"\xE3\x80\x80", "\xE3\x80\x80"},
    {"\xE3\x80\x80", "\\u3000"},
    {"\xE3\x80\x82", "\xE3\x80\x82"}, /* 。 */
    {"\xE3\x80\x82", "\\u3002"},
    {"\xE4\xBA\xAC", "\xE4\xBA\xAC"}, /* 京 */
    {"\xE4\xBA\xAC", "\\u4EAC"},
    {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
    {"\xF0\x9F\x98\x80", "\\ud83d\\ude00"},
    {"\xC3\xA9", "\xC3\xA9"},
    {"\xD0\xB6", "\\u0436"},          /* ж */
    {"\xE0\xA4\x95", "\xE0\xA4\x95"}, /* क */
    {"\xE1\x9A\x80", "\xE1\x9A\x80"}, /* a blank of its own */
    {"\xCC\x81", "\xCC\x81"}          /* a mark */
};
enum { BITS = sizeof bits / sizeof *bits };

static void random_bits(struct rng *r, struct buf *text, struct buf *json) {
    text->n = json->n = 0;
    for (size_t n = rng_below(r, 14); n; n--) {
        const char *const *b = bits[rng_below(r, BITS)];
        assert_int_equal(buf_str(text, b[0], NULL), 0);
        assert_int_equal(buf_str(json, b[1], NULL), 0);
    }
}

static void pieces(struct scanner *s, const char *v, size_t from, size_t to, struct u32s *out) {
    struct u32s ends = {0};
    struct err err = {0};
    if (from < to) assert_int_equal(scanner_cut(s, v + from, to - from, &ends, &err), 0);
    for (size_t i = 0; i < ends.n; i++)
        assert_int_equal(u32s_push(out, (uint32_t)from + ends.v[i], NULL), 0);
    u32s_release(&ends);
}

/* The pieces of text, and of its parts text[0..at), text[at..). */
static void same_pieces(struct scanner *s, const struct buf *text, size_t at) {
    struct u32s whole = {0}, parts = {0};
    pieces(s, text->v, 0, text->n, &whole);
    pieces(s, text->v, 0, at, &parts);
    pieces(s, text->v, at, text->n, &parts);
    if (whole.n != parts.n || memcmp(whole.v, parts.v, whole.n * sizeof *whole.v))
        fail_msg("cut at %d: \"%.*s\"", (int)at, (int)text->n, text->v);
    u32s_release(&whole);
    u32s_release(&parts);
}

static size_t unescaped(const char *v, size_t n, char *to) {
    size_t looked, made;
    bool high;
    char padded[400] = "";
    memcpy(padded, v, n);
    scan_best()->unescape(to, padded, n, &looked, &made, &high);
    assert_int_equal(looked, n);
    return made;
}

/* Places are asked for with as much of the text as there was so far, so that what follows is
 * unknown, and with all of it. */
static void no_piece_crosses_a_cut(void **state) {
    (void)state;
    struct rng r = {.key = 5};
    struct buf text = {0}, json = {0};
    struct pattern *p[PATTERNS];
    struct scanner *s[PATTERNS];
    struct err err = {0};
    size_t texts = 0, strings = 0;
    for (int i = 0; i < PATTERNS; i++) {
        assert_int_equal(pattern_open(&p[i], patterns[i], &err), 0);
        assert_int_equal(scanner_new(&s[i], p[i], &err), 0);
    }
    for (int round = 0; round < 40000; round++) {
        random_bits(&r, &text, &json);
        for (size_t n = 1; n <= text.n; n++) {
            size_t at = docs_cut_text(text.v, n);
            texts += at && text.v[at - 1] == '\n';
            assert_true(at < n);
            for (int i = 0; at && i < PATTERNS; i++) same_pieces(s[i], &text, at);
        }
        for (size_t n = 1; n <= json.n; n++) {
            char v[400];
            size_t at = docs_cut_json(json.v, n);
            if (!at) continue;
            size_t left = unescaped(json.v, at, v);
            size_t right = unescaped(json.v + at, json.n - at, v + left);
            assert_int_equal(left + right, text.n);
            assert_memory_equal(v, text.v, text.n);
            strings += v[left - 1] == '\n';
            for (int i = 0; i < PATTERNS; i++) same_pieces(s[i], &text, left);
        }
    }
    assert_true(texts > 10000 && strings > 5000);
    for (int i = 0; i < PATTERNS; i++) {
        scanner_free(s[i]);
        pattern_free(p[i]);
    }
    buf_release(&text);
    buf_release(&json);
}

/* Stepping forwards finds a place near the end of whatever there is so far. */
static void no_escape_crosses_a_step(void **state) {
    (void)state;
    struct rng r = {.key = 6};
    struct buf text = {0}, json = {0};
    size_t most = 0;
    for (int round = 0; round < 20000; round++) {
        random_bits(&r, &text, &json);
        for (size_t n = 1; n <= json.n; n++) {
            char v[400];
            size_t at = docs_step_json(json.v, n);
            size_t left = unescaped(json.v, at, v);
            size_t right = unescaped(json.v + at, json.n - at, v + left);
            assert_int_equal(left + right, text.n);
            assert_memory_equal(v, text.v, text.n);
            most = n - at > most ? n - at : most;
        }
    }
    assert_int_equal(most, 2 * ESCAPE_BYTES - 1);
    buf_release(&text);
    buf_release(&json);
}

static void places(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t at; /* the last place, 0: none */
        bool json;
    } cases[] = {{"one two", 3, false},
                 {"one  ", 3, false},
                 {"1 2", 0, false},
                 {"a\nb", 2, false},
                 {"\xE4\xBA\xAC\xE3\x80\x82\n\xE4\xBA\xAC", 7, false},
                 {"\xE0\xB8\x81\n\xE0\xA4\x95", 4, false},
                 {"a\n\xE1\x9A\x80", 0, false},
                 {"a\n\xE4\xBA", 0, false}, /* half a character */
                 {"a\n\xE3\x80\x80", 0, false},
                 {"a\r\nb", 0, false},
                 {"a\n\nb", 0, false},
                 {"a\n/", 0, false},
                 {"a\n", 0, false},
                 {"seven eight\\n", 0, true}, /* six bytes before the blank decide */
                 {"seventh eight\\n", 7, true},
                 {"sevenseven\\nx", 12, true},
                 {"sevenseven\\\\nx", 0, true},
                 {"xx\\u3002\\n\\u4eac", 10, true},
                 {"xx\\u3000\\n\\u4eac", 0, true},
                 {"x\\\\u3002\\n\\u4eac", 0, true},
                 {"sevenseven\\n\\\"", 12, true},
                 {"sevenseven\\n\\/", 0, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *v = cases[i].text;
        size_t at = cases[i].json ? docs_cut_json(v, strlen(v)) : docs_cut_text(v, strlen(v));
        if (at != cases[i].at) fail_msg("%s: %d, not %d", v, (int)at, (int)cases[i].at);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_piece_crosses_a_cut),
                                       cmocka_unit_test(no_escape_crosses_a_step),
                                       cmocka_unit_test(places)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
