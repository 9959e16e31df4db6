/* The extractor against its slow twin, against cJSON, and on lines chosen to hurt. */
#include "stream_help.h"
#include <cjson/cJSON.h>
#include "stream/jsonl.h"
#include "stream/jsonl_ref.h"
#include "stream/scan.h"

static int field(const char *line, size_t n, const char *name, struct buf *out, struct err *err) {
    const char *text;
    size_t text_n;
    struct buf scratch = {0};
    out->n = 0;
    int rc = jsonl_field(line, n, name, strlen(name), &scratch, &text, &text_n, err);
    if (rc == 0) add(out, text, text_n);
    buf_release(&scratch);
    return rc;
}

/* Text of `line`, which lies in memory of exactly its length: reading past it is seen by the
 * sanitizer. */
static void accepts(const char *line, const char *want, size_t want_n) {
    size_t n = strlen(line);
    char *exact = malloc(n);
    struct buf out = {0};
    struct err err = {0};
    memcpy(exact, line, n);
    check_ok(field(exact, n, "text", &out, &err), &err);
    assert_int_equal(out.n, want_n);
    if (want_n) assert_memory_equal(out.v, want, want_n);
    out.n = 0;
    assert_int_equal(jsonl_field_ref(exact, n, "text", 4, &out), 0);
    assert_int_equal(out.n, want_n);
    if (want_n) assert_memory_equal(out.v, want, want_n);
    free(exact);
    buf_release(&out);
}

#define ACCEPTS(line, text) accepts(line, text, sizeof(text) - 1)

static void refuses(const char *line, size_t n, uint64_t column, const char *why) {
    struct buf out = {0};
    struct err err = {0};
    int rc = field(line, n, "text", &out, &err);
    if (rc != ERR_DATA || !strstr(err.msg, why) || err.column != column)
        fail_msg("%.*s: wanted '%s' at %d, got %d '%s' at %d", (int)n, line, why, (int)column, rc,
                 err.msg, (int)err.column);
    out.n = 0;
    assert_int_equal(jsonl_field_ref(line, n, "text", 4, &out), ERR_DATA);
    buf_release(&out);
}

#define REFUSES(line, column, why) refuses(line, sizeof(line) - 1, column, why)

static void strings(void **state) {
    (void)state;
    ACCEPTS("{\"text\":\"\"}", "");
    ACCEPTS(" { \"text\" : \"abc\" } \r", "abc");
    ACCEPTS("{\"text\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t");
    ACCEPTS("{\"text\":\"\\u0041\\u00e9\\u4EAC\\ud83d\\ude00\"}",
            "A\xc3\xa9\xe4\xba\xac\xf0\x9f\x98\x80");
    ACCEPTS("{\"text\":\"a\\u0000b\"}", "a\0b");
    ACCEPTS("{\"text\":\"\x7f\xe2\x80\xa8\"}", "\x7f\xe2\x80\xa8");
    ACCEPTS("{\"te\\u0078t\":\"escaped key\"}", "escaped key");
    ACCEPTS("{\"a\":{\"text\":1,\"text\":2},\"text\":\"t\",\"b\":[{\"text\":\"x\"}]}", "t");
    ACCEPTS("{\"x\":-0.5e+10,\"y\":[true,false,null,[],{}],\"text\":\"t\",\"z\":0}", "t");
    ACCEPTS(
        "{\"text\":\"0123456789012345678901234567890123456789\\n0123456789012345678901234567\"}",
        "0123456789012345678901234567890123456789\n0123456789012345678901234567");
}

/* Half of a surrogate pair, which Python writes for broken input: U+FFFD, and the rest is kept. */
static void lone_surrogates(void **state) {
    (void)state;
    ACCEPTS("{\"text\":\"a\\ud800b\"}", "a\xef\xbf\xbd"
                                        "b");
    ACCEPTS("{\"text\":\"\\udc00\"}", "\xef\xbf\xbd");
    ACCEPTS("{\"text\":\"\\ud800\\ud83d\\ude00\"}", "\xef\xbf\xbd\xf0\x9f\x98\x80");
    ACCEPTS("{\"text\":\"\\ud800\\n\"}", "\xef\xbf\xbd\n");
}

static void what_is_wrong_and_where(void **state) {
    (void)state;
    REFUSES("", 1, "not a JSON object");
    REFUSES("[1]", 1, "a list");
    REFUSES("{\"text\":\"a\"", 12, "ends too early");
    REFUSES("{\"text\":\"a", 11, "ends within a string");
    REFUSES("{\"text\":\"a\\", 11, "escape");
    REFUSES("{\"text\":\"a\tb\"}", 11, "control character");
    REFUSES("{\"text\":\"a\\x\"}", 11, "unknown escape");
    REFUSES("{\"text\":\"a\\u12g4\"}", 11, "unknown escape");
    REFUSES("{\"text\":\"a\\u123\"}", 11, "unknown escape");
    REFUSES("{\"text\":\"\xff\"}", 10, "not UTF-8");
    REFUSES("{\"text\":\"a\"} x", 14, "follows the record");
    REFUSES("{\"text\":\"a\"}\0", 13, "follows the record");
    REFUSES("{\"text\":\"a\",}", 13, "expected '\"'");
    REFUSES("{,\"text\":\"a\"}", 2, "expected '\"'");
    REFUSES("{\"text\" \"a\"}", 9, "expected ':'");
    REFUSES("{\"text\":\"a\" \"b\":1}", 13, "expected ','");
    REFUSES("{\"x\":01,\"text\":\"a\"}", 6, "not a number");
    REFUSES("{\"x\":1.,\"text\":\"a\"}", 6, "not a number");
    REFUSES("{\"x\":-,\"text\":\"a\"}", 6, "not a number");
    REFUSES("{\"x\":1e,\"text\":\"a\"}", 6, "not a number");
    REFUSES("{\"x\":NaN,\"text\":\"a\"}", 6, "expected a value");
    REFUSES("{\"x\":nul,\"text\":\"a\"}", 6, "expected a value");
    REFUSES("{\"x\":[1,],\"text\":\"a\"}", 9, "expected a value");
    REFUSES("{\"x\":[1},\"text\":\"a\"}", 8, "expected ']'");
    REFUSES("{\"x\":{\"a\"},\"text\":\"a\"}", 10, "expected ':'");
    REFUSES("{\"text\":\"a\",\"text\":\"b\"}", 13, "twice");
    REFUSES("{\"text\":\"a\",\"te\\u0078t\":1}", 13, "twice");
    REFUSES("{\"text\":7}", 9, "is a number, not a string");
    REFUSES("{\"text\":null}", 9, "is null");
    REFUSES("{\"text\":{\"text\":\"a\"}}", 9, "is an object");
    REFUSES("{\"repo_name\":1,\"body\":\"\"}", 1,
            "no string field \"text\" (record has repo_name, body)");
    REFUSES("{}", 1, "(record has no members)");
    REFUSES("{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1}", 1,
            "g, h, …)");
}

/* A bad field does not hide bad JSON behind it: the line is judged whole. */
static void the_whole_line_is_judged(void **state) {
    (void)state;
    REFUSES("{\"text\":7,\"x\":}", 15, "expected a value");
    REFUSES("{\"text\":\"fine\",\"x\":tru}", 20, "expected a value");
}

static void nested(size_t depth, const char *open, const char *close, bool good) {
    struct buf b = {0};
    struct err err = {0};
    struct buf out = {0};
    add(&b, "{\"x\":", 5);
    for (size_t i = 0; i < depth; i++) add(&b, open, strlen(open));
    add(&b, "1", 1);
    for (size_t i = 0; i < depth; i++) add(&b, close, strlen(close));
    add(&b, ",\"text\":\"t\"}", 12);
    assert_int_equal(field(b.v, b.n, "text", &out, &err), good ? 0 : ERR_DATA);
    if (!good) assert_non_null(strstr(err.msg, "deeper than 1024"));
    out.n = 0;
    assert_int_equal(jsonl_field_ref(b.v, b.n, "text", 4, &out), good ? 0 : ERR_DATA);
    buf_release(&b);
    buf_release(&out);
}

/* 10^6 open brackets must cost neither stack nor time (JSON parsing by recursion crashes here). */
static void depth_is_bounded(void **state) {
    (void)state;
    nested(1023, "[", "]", true);
    nested(1024, "[", "]", false);
    nested(1023, "{\"a\":", "}", true);
    nested(1024, "{\"a\":", "}", false);
    nested(1000000, "[", "]", false);
}

static void guesses(const char *line, const char *want) {
    struct err err = {0};
    char *got = NULL;
    int rc = jsonl_guess_field(line, strlen(line), &got, &err);
    if (!want)
        assert_int_equal(rc, ERR_DATA);
    else
        assert_string_equal(got, want);
    free(got);
}

static void guessing_the_field(void **state) {
    (void)state;
    guesses("{\"a\":\"x\",\"text\":\"y\",\"content\":\"z\"}", "content");
    guesses("{\"a\":\"x\",\"text\":\"y\",\"content\":1}", "text");
    guesses("{\"n\":1,\"a\":\"x\",\"b\":\"y\"}", "a");
    guesses("{\"n\":1}", NULL);
    guesses("[]", NULL);
}

/* ------------------------------------------------------------------ random lines */

static void random_string(struct buf *b, struct rng *rng) {
    static const char *const parts[] = {
        "\\n",     "\\\"", "\\\\", "\\t", "\\u00e9", "\\ud83d\\ude00",
        "\\ud800", "é",    "京",   "😀",   "\\/",     "plain text "};
    add(b, "\"", 1);
    for (uint64_t n = rng_below(rng, 12); n; n--) {
        if (rng_below(rng, 2)) {
            const char *p = parts[rng_below(rng, sizeof parts / sizeof *parts)];
            add(b, p, strlen(p));
        } else
            for (uint64_t k = rng_below(rng, 90); k; k--) add(b, "abcdefgh" + rng_below(rng, 8), 1);
    }
    add(b, "\"", 1);
}

static void random_value(struct buf *b, struct rng *rng, int depth) {
    static const char *const scalars[] = {"0", "-1", "1.5e-7", "true", "false", "null", "12345"};
    uint64_t kind = rng_below(rng, depth < 4 ? 5 : 3);
    if (kind == 0) {
        const char *s = scalars[rng_below(rng, 7)];
        add(b, s, strlen(s));
    } else if (kind < 3)
        random_string(b, rng);
    else {
        uint64_t n = rng_below(rng, 4);
        add(b, kind == 3 ? "[" : "{", 1);
        for (uint64_t i = 0; i < n; i++) {
            if (i) add(b, ",", 1);
            if (kind == 4) random_string(b, rng), add(b, ":", 1);
            random_value(b, rng, depth + 1);
        }
        add(b, kind == 3 ? "]" : "}", 1);
    }
}

static void random_line(struct buf *b, struct rng *rng) {
    b->n = 0;
    uint64_t n = 1 + rng_below(rng, 4), at = rng_below(rng, n);
    add(b, "{", 1);
    for (uint64_t i = 0; i < n; i++) {
        if (i) add(b, ", ", 2);
        if (i == at)
            add(b, "\"text\": ", 8), random_string(b, rng);
        else
            random_string(b, rng), add(b, ":", 1), random_value(b, rng, 1);
    }
    add(b, "}", 1);
}

/* One to three edits: a byte changed, dropped, doubled, or the line cut. */
static void mutate(struct buf *b, struct rng *rng) {
    static const char bytes[] = "\"\\{}[],:0-e.tn \n\x01\x80\xc3\xff\xed\xa0u";
    for (uint64_t k = 1 + rng_below(rng, 3); k && b->n; k--) {
        size_t at = (size_t)rng_below(rng, b->n);
        switch (rng_below(rng, 4)) {
        case 0: b->v[at] = bytes[rng_below(rng, sizeof bytes)]; break;
        case 1: memmove(b->v + at, b->v + at + 1, b->n-- - at - 1); break;
        case 2:
            add(b, "x", 1);
            memmove(b->v + at + 1, b->v + at, b->n - 1 - at);
            break;
        default:
            if (rng_below(rng, 8) == 0) b->n = at;
        }
    }
}

/* cJSON cannot keep NULs, refuses lone surrogates, and finds doubled keys first; elsewhere it must
 * take what we take, and see the same text. */
static void agrees_with_cjson(const struct buf *line, const struct buf *text) {
    if (memmem(line->v, line->n, "\\ud", 3) || memchr(text->v, 0, text->n)) return;
    cJSON *tree = cJSON_ParseWithLength(line->v, line->n);
    if (!tree) fail_msg("cJSON refuses: %.*s", (int)line->n, line->v);
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(tree, "text");
    assert_true(cJSON_IsString(member));
    assert_int_equal(strlen(member->valuestring), text->n);
    assert_memory_equal(member->valuestring, text->v, text->n);
    cJSON_Delete(tree);
}

static void compare(const struct buf *line, size_t *accepted) {
    struct buf fast = {0}, slow = {0};
    char *exact = malloc(line->n ? line->n : 1);
    memcpy(exact, line->v, line->n);
    buf_reserve(&fast, 1, NULL);
    int a = field(exact, line->n, "text", &fast, NULL);
    int b = jsonl_field_ref(exact, line->n, "text", 4, &slow);
    if (a != b) fail_msg("fast %d, slow %d: %.*s", a, b, (int)line->n, line->v);
    if (a == 0) {
        assert_int_equal(fast.n, slow.n);
        if (fast.n) assert_memory_equal(fast.v, slow.v, fast.n);
        agrees_with_cjson(line, &fast);
        ++*accepted;
    }
    free(exact);
    buf_release(&fast);
    buf_release(&slow);
}

static void random_and_mutated_lines(void **state) {
    (void)state;
    struct rng rng = {.key = 20261123};
    struct buf line = {0};
    size_t good = 0, broken = 0;
    for (int i = 0; i < 20000; i++) {
        random_line(&line, &rng);
        compare(&line, &good);
        mutate(&line, &rng);
        compare(&line, &broken);
    }
    assert_true(good > 19000); /* all but a few with a second "text" */
    assert_true(broken > 2000 && broken < 18000);
    buf_release(&line);
}

/* ------------------------------------------------------------------ the loops underneath */

static size_t versions(const struct scan *v[3]) {
    size_t n = 0;
    v[n++] = &scan_bytes_plain;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) v[n++] = &scan_bytes_avx2;
    if (scan_best() == &scan_bytes_avx512) v[n++] = &scan_bytes_avx512;
#endif
    return n;
}

/* Bytes of ASCII that it begins with. */
static size_t ascii_bytes(const char *v, size_t n) {
    size_t i = 0;
    while (i < n && (unsigned char)v[i] < 0x80) i++;
    return i;
}

/* Every version stops at the same place of raw[0..n) with the same text, and reads nothing behind
 * it. */
static void versions_agree(const char *raw, size_t n) {
    const struct scan *v[3];
    size_t n_versions = versions(v), at, text_n, at2, text_n2;
    char *exact = malloc(n ? n : 1), *want = malloc(n + SCAN_SLACK), *got = malloc(n + SCAN_SLACK);
    if (n) memcpy(exact, raw, n);
    bool high = false, any = ascii_bytes(exact, n) < n;
    enum scan_end end = scan_bytes_plain.unescape(want, exact, n, &at, &text_n, &high);
    assert_int_equal(high, ascii_bytes(exact, at) < at);
    bool escaped = memchr(exact, '\\', at + (at < n)) != NULL;
    for (size_t k = 0; k < n_versions; k++) {
        bool escaped2 = false, high1 = false, high2 = false;
        assert_int_equal(v[k]->unescape(got, exact, n, &at2, &text_n2, &high1), end);
        assert_true((high1 || !high) && (any || !high1));
        assert_int_equal(at2, at);
        assert_int_equal(text_n2, text_n);
        if (text_n) assert_memory_equal(got, want, text_n);
        assert_int_equal(v[k]->find_end(exact, n, &at2, &escaped2, &high2), end);
        assert_true((high2 || !high) && (any || !high2));
        assert_int_equal(at2, at);
        assert_int_equal(escaped2, escaped);
    }
    free(exact);
    free(want);
    free(got);
}

/* Wherever in a block the special byte is. */
static void versions_agree_on_strings(void **state) {
    (void)state;
    struct rng rng = {.key = 5};
    struct buf b = {0};
    for (int i = 0; i < 4000; i++) {
        b.n = 0;
        random_string(&b, &rng);
        if (i % 3 == 0) mutate(&b, &rng);
        versions_agree(b.v + (b.n > 0), b.n ? b.n - 1 : 0);
    }
    buf_release(&b);
}

/* An escape \\uXXXX: any code unit, surrogates of both kinds, now and then with a letter too many
 * or too few, or that is no digit. */
static void unicode_to(struct buf *b, struct rng *rng) {
    static const char *const forms[] = {"\\u%04x", "\\u%04X"};
    static const uint32_t from[] = {0, 0, 0, 0x80, 0x800, 0xd7f0, 0xd800, 0xdc00, 0xfff0};
    static const uint32_t some[] = {0x10000, 0x10000, 0x80, 0x780, 0xd000, 16, 0x400, 0x400, 16};
    const size_t k = rng_below(rng, sizeof from / sizeof *from);
    char text[16];
    const uint32_t unit = from[k] + (uint32_t)rng_below(rng, some[k]);
    const int n = snprintf(text, sizeof text, forms[rng_below(rng, 2)], unit);
    if (rng_below(rng, 400) == 0)
        text[rng_below(rng, (uint64_t)n)] = "gG/:@`\xb1u\\\""[rng_below(rng, 10)];
    buf_append(b, text, (size_t)n - (rng_below(rng, 400) == 0), NULL);
}

/* Many side by side, what stands between them short: JSON that is ASCII alone. */
static void versions_agree_on_runs_of_unicode(void **state) {
    (void)state;
    struct rng rng = {.key = 6};
    struct buf b = {0};
    for (int i = 0; i < 20000; i++) {
        b.n = 0;
        for (size_t runs = rng_below(&rng, 6); runs; runs--) {
            for (size_t k = rng_below(&rng, 25); k; k--) unicode_to(&b, &rng);
            for (size_t k = rng_below(&rng, rng_below(&rng, 2) ? 4 : 80); k; k--)
                buf_char(&b, (char)('a' + (int)rng_below(&rng, 26)), NULL);
        }
        if (rng_below(&rng, 2)) buf_str(&b, "\"", NULL);
        versions_agree(b.v, b.n);
    }
    buf_release(&b);
}

/* What each of them stands for, by the definition of UTF-8. */
static void every_unicode_escape(void **state) {
    (void)state;
    const struct scan *v[3];
    size_t n_versions = versions(v);
    struct buf b = {0}, want = {0};
    for (uint32_t u = 0; u < 0x10000; u++) {
        const uint32_t to = u >= 0xd800 && u < 0xe000 ? 0xfffd : u;
        if (u == 0xdc00) buf_char(&b, ' ', NULL), buf_char(&want, ' ', NULL); /* not a pair */
        buf_printf(&b, NULL, "\\u%04x", u);
        if (to >= 0x800) buf_char(&want, (char)(0xe0 | to >> 12), NULL);
        if (to >= 0x80)
            buf_char(&want, (char)(to >= 0x800 ? 0x80 | (to >> 6 & 63) : 0xc0 | to >> 6), NULL);
        buf_char(&want, (char)(to >= 0x80 ? 0x80 | (to & 63) : to), NULL);
    }
    char *got = malloc(b.n + SCAN_SLACK);
    for (size_t k = 0; k < n_versions; k++) {
        size_t at, n;
        bool high = false;
        assert_int_equal(v[k]->unescape(got, b.v, b.n, &at, &n, &high), SCAN_OPEN);
        assert_int_equal(at, b.n);
        assert_int_equal(n, want.n);
        assert_memory_equal(got, want.v, n);
    }
    free(got);
    buf_release(&b);
    buf_release(&want);
}

/* Every sequence of two bytes, and of three and four at the edges of the table, at every place in a
 * block; then random bytes. */
static void utf8_one(const struct scan *const *v, size_t n_versions, const char *p, size_t n) {
    bool want = utf8_error(p, n) == n;
    for (size_t k = 0; k < n_versions; k++)
        if (v[k]->utf8(p, n) != want) fail_msg("%s: %zu bytes, wanted %d", v[k]->name, n, want);
}

static void versions_agree_on_utf8(void **state) {
    (void)state;
    static const unsigned char edge[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0,
                                         0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef,
                                         0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff};
    enum { EDGES = sizeof edge };
    const struct scan *v[3];
    size_t n_versions = versions(v), valid = 0;
    char p[160];
    for (size_t i = 0; i < (size_t)EDGES * EDGES * EDGES * EDGES; i++) {
        size_t at = i % 101, k = i;
        memset(p, 'a', sizeof p);
        for (int j = 0; j < 4; j++, k /= EDGES) p[at + j] = (char)edge[k % EDGES];
        size_t n = i % 2 ? at + 4 : sizeof p; /* at the very end, too */
        utf8_one(v, n_versions, p, n);
        valid += utf8_error(p, n) == n;
    }
    assert_true(valid > 100);
    struct rng rng = {.key = 6};
    for (int i = 0; i < 20000; i++) {
        struct buf b = {0};
        make_text(&b, 1 + rng_below(&rng, 300), rng_u64(&rng));
        utf8_one(v, n_versions, b.v, b.n);
        b.v[rng_below(&rng, b.n)] ^= (char)(1 << rng_below(&rng, 8));
        utf8_one(v, n_versions, b.v, rng_below(&rng, b.n + 1));
        buf_release(&b);
    }
}

/* `b` as a mapped file: the same text, as it stands there, or the same complaint as of memory. */
static void same_when_mapped(const char *dir, const struct buf *b) {
    struct buf text = {0}, mapped = {0};
    struct err want = {0}, err = {0};
    struct mapping m;
    const char *raw;
    size_t n, at, raw_n = 0;
    bool high;
    int rc = field(b->v, b->n, "text", &text, &want);
    assert_int_equal(mapping_open(&m, put(dir, "m", b->v, b->n), NULL), 0);
    assert_int_equal(jsonl_field_mapped((const char *)m.v, m.bytes, "text", 4, &raw, &raw_n, &err),
                     rc);
    if (rc == 0) {
        assert_int_equal(buf_reserve(&mapped, raw_n + SCAN_SLACK, NULL), 0);
        scan_bytes_plain.unescape(mapped.v, raw, raw_n, &at, &n, &high);
        assert_int_equal(n, text.n);
        assert_memory_equal(mapped.v, text.v, n);
    } else {
        assert_string_equal(err.msg, want.msg);
        assert_int_equal(err.column, want.column);
    }
    mapping_close(&m);
    buf_release(&text);
    buf_release(&mapped);
}

static void fill(struct buf *b, size_t to, char with) {
    assert_int_equal(buf_reserve(b, to - b->n, NULL), 0);
    memset(b->v + b->n, with, to - b->n);
    b->n = to;
}

/* Longer than what is walked at once (1 MiB): whatever lies across the end of a stride. */
static void mapped_lines(void **state) {
    static const char *const across[] = {
        "\\ud83d\\ude00", "\\u00e9", "\\n",   "\\\\", "\xf0\x9f\x98\x80",
        "\xe4\xba\xac",   "\\x",     "\\u12", "\t",   "\xff",
        "\xf0\x9f\x98 "};
    struct buf b = {0};
    for (size_t i = 0; i < sizeof across / sizeof *across; i++)
        for (int shift = 0; shift < 13; shift++) {
            b.n = 0;
            buf_str(&b, "{\"text\": \"", NULL);
            fill(&b, (1u << 20) + 4 - (size_t)shift, 'a');
            buf_str(&b, across[i], NULL);
            fill(&b, (2u << 20) + 30 - (size_t)shift, 'b');
            buf_str(&b, across[i], NULL);
            buf_str(&b, "\", \"n\": 1}", NULL);
            same_when_mapped(*state, &b);
        }
    buf_release(&b);
}

/* Strides through what is no string, and an error behind it. */
static void mapped_values(void **state) {
    static const char *const ends[] = {"0], \"text\": \"a\"}", "0]}", "}", "0], \"text\": 7}"};
    struct buf b = {0};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        b.n = 0;
        buf_str(&b, "{\"list\": [", NULL);
        while (b.n < 2500000) buf_str(&b, "[1, \"x\", {\"text\": \"y\"}],  \t", NULL);
        fill(&b, b.n + 2500000, ' ');
        buf_str(&b, ends[i], NULL);
        same_when_mapped(*state, &b);
    }
    buf_release(&b);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings),
        cmocka_unit_test(lone_surrogates),
        cmocka_unit_test(what_is_wrong_and_where),
        cmocka_unit_test(the_whole_line_is_judged),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(guessing_the_field),
        in_folder(mapped_lines),
        in_folder(mapped_values),
        cmocka_unit_test(random_and_mutated_lines),
        cmocka_unit_test(versions_agree_on_strings),
        cmocka_unit_test(versions_agree_on_runs_of_unicode),
        cmocka_unit_test(every_unicode_escape),
        cmocka_unit_test(versions_agree_on_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
