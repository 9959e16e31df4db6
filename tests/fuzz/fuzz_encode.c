/* The encoder beside its slow twin, on vocabularies that no trainer would make: merges in any
 * order, results that merge before their parts, tokens that nothing yields; or by the ranks of
 * their tokens, if the number is MERGES or more.
 *
 *   flags │ number of merges │ left, right (a byte each, of the tokens so far) … │ text */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/same_ids.h"

enum { MERGES = 120, LONGEST = 40, WIDE = 16 };

struct made { /* tokens so far */
    struct buf bytes;
    struct u64s start;
    struct merge merges[MERGES + WIDE * 3];
    size_t n_merges;
};

static uint32_t find(const struct made *v, const char *p, size_t n) {
    for (size_t i = 0; i + 1 < v->start.n; i++)
        if (v->start.v[i + 1] - v->start.v[i] == n && !memcmp(v->bytes.v + v->start.v[i], p, n))
            return (uint32_t)i;
    return TOKENIZER_NO_ID;
}

static uint32_t add(struct made *v, const char *p, size_t n) {
    FUZZ_CHECK(buf_append(&v->bytes, p, n, NULL) == 0, "out of memory");
    FUZZ_CHECK(u64s_push(&v->start, v->bytes.n, NULL) == 0, "out of memory");
    return (uint32_t)v->start.n - 2;
}

/* What two tokens merge to, or TOKENIZER_NO_ID: that would be too long. */
static uint32_t merge(struct made *v, uint32_t left, uint32_t right) {
    struct merge m = {left, right, 0};
    char joined[2 * LONGEST];
    size_t an = (size_t)(v->start.v[m.left + 1] - v->start.v[m.left]);
    size_t bn = (size_t)(v->start.v[m.right + 1] - v->start.v[m.right]);
    if (an + bn > LONGEST) return TOKENIZER_NO_ID;
    memcpy(joined, v->bytes.v + v->start.v[m.left], an);
    memcpy(joined + an, v->bytes.v + v->start.v[m.right], bn);
    m.result = find(v, joined, an + bn);
    if (m.result == TOKENIZER_NO_ID) m.result = add(v, joined, an + bn);
    for (size_t i = 0; i < v->n_merges; i++)
        if (v->merges[i].left == m.left && v->merges[i].right == m.right) return m.result;
    v->merges[v->n_merges++] = m;
    return m.result;
}

/* A character of several bytes, or a part of one, which is merged from its bytes. */
static uint32_t wide(struct made *v, size_t i) {
    static const char *const all[WIDE] = {
        "\xE0\xB8\x81", "\xE0\xB8\x82", "\xE0\xB9\x80", "\xE0\xB8",
        "\xE1\x80\x81", "\xE1\x9E\x80", "\xE4\xBB\x8A", "\xE6\x97\xA5",
        "\xE4\xBB",     "\xBB\x8A",     "\xEA\xB0\x80", "\xEF\xBC\x8C",
        "\xC3\xA9",     "\xD0\xB0",     "\xD0\xB1",     "\xF0\x9F\x98\x80"};
    uint32_t id = (uint8_t)*all[i];
    for (const char *p = all[i] + 1; *p; p++) id = merge(v, id, (uint8_t)*p);
    return id;
}

/* A token by a byte: the letters first, then what was made. */
static uint32_t pick(struct made *v, uint8_t x) {
    uint32_t n_made = (uint32_t)v->start.n - 1 - 256;
    if (x >= 80 && x < 96) return wide(v, x - 80u);
    return x < 64 || !n_made ? 'a' + x % 4u : x < 96 ? x : 256 + (x - 96u) % n_made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const char *const patterns[] = {"gpt2", "cl100k", "o200k", "[a-z]+|[^a-z]+"};
    struct made v = {0};
    struct tokenizer *t = NULL;
    struct err err = {0};
    uint8_t flags = fuzz_byte(&data, &n), number = fuzz_byte(&data, &n), n_merges = number % MERGES;
    FUZZ_CHECK(u64s_push(&v.start, 0, NULL) == 0, "out of memory");
    for (int b = 0; b < 256; b++) add(&v, (char[]){(char)b}, 1);
    for (int i = 0; i < n_merges; i++) {
        uint8_t a = fuzz_byte(&data, &n), b = fuzz_byte(&data, &n);
        uint32_t left = pick(&v, a);
        merge(&v, left, pick(&v, b));
    }
    if (flags & 64) add(&v, "abcd", find(&v, "abcd", 4) == TOKENIZER_NO_ID ? 4 : 0);
    struct special s[] = {{.text = number < MERGES ? "<s>" : "<longer than the tree is deep>",
                           .special = true,
                           .lstrip = flags & 4,
                           .rstrip = flags & 8},
                          {.text = "ab", /* not special: found where the twin has text */
                           .special = number % 8 > 0,
                           .single_word = flags & 16,
                           .normalized = flags & 32}};
    size_t n_specials = find(&v, "ab", 2) == TOKENIZER_NO_ID ? 2 : 1;
    for (size_t i = 0; i < n_specials; i++) s[i].id = add(&v, s[i].text, strlen(s[i].text));
    struct tokenizer_parts p = {.pattern = patterns[flags & 3],
                                .n_tokens = (uint32_t)v.start.n - 1,
                                .bytes = (uint8_t *)v.bytes.v,
                                .start = v.start.v,
                                .n_merges = v.n_merges,
                                .merges = v.merges,
                                .n_specials = (uint32_t)n_specials,
                                .specials = s};
    int rc = tokenizer_build(&t, &p, &err);
    if (rc == 0 && number >= MERGES) rc = vocab_set_ranks(t, &err);
    FUZZ_CHECK(rc == 0, "%s", err.msg);
    t->ignore_merges = flags & 128;
    same_ids(t, (const char *)data, n < 3000 ? n : 3000); /* the twin is quadratic */
    tokenizer_free(t);
    buf_release(&v.bytes);
    u64s_release(&v.start);
    return 0;
}
