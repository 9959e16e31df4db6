/* Damaged shards are refused with the file's name, before anything is made by their numbers. */
#include "shard_help.h"

static const struct shard_opts opts = {
    .vocab = 1000, .eot_id = 0, .seq_len = 16, .shard_tokens = 1 << 20, .tokenizer_digest = ""};

/* Opening must fail as corrupt and name the file. */
static void refused(const char *path, const char *word) {
    struct shard_set s;
    struct err err = {0};
    int rc = set_open(&s, path, "train", &err);
    if (rc != ERR_CORRUPT) fail_msg("%s: rc %d %s", path, rc, err.msg);
    if (!strstr(err.msg, word)) fail_msg("\"%s\" is not in: %s", word, err.msg);
    assert_null(s.v); /* nothing is left open */
}

static void every_truncation_of_the_bin(void **state) {
    struct buf b = {0};
    write_small(*state, &opts, 40, 0);
    slurp(&b, in(*state, "train-00000.bin"));
    for (size_t n = 0; n < b.n; n++) {
        spit(in(*state, "short.bin"), b.v, n);
        refused(in(*state, "short.bin"), "short.bin");
    }
    spit(in(*state, "long.bin"), b.v, b.n);
    FILE *f = fopen(in(*state, "long.bin"), "ab");
    fputc(0, f);
    fclose(f);
    refused(in(*state, "long.bin"), "long.bin");
    buf_release(&b);
}

static void every_truncation_of_the_idx(void **state) {
    struct buf b = {0};
    write_small(*state, &opts, 40, 0);
    slurp(&b, in(*state, "train-00000.idx"));
    for (size_t n = 0; n < b.n; n++) {
        spit(in(*state, "train-00000.idx"), b.v, n);
        refused(*state, "train-00000.idx");
    }
    buf_release(&b);
}

/* A number in a header, and what opening says of it. */
struct patch {
    size_t at;
    uint64_t value;
    size_t n;
    const char *word;
};

static void patched(const char *path, const char *open_as, const struct patch *p, size_t n) {
    struct buf b = {0};
    slurp(&b, path);
    for (size_t i = 0; i < n; i++) {
        char saved[8];
        memcpy(saved, b.v + p[i].at, p[i].n);
        memcpy(b.v + p[i].at, &p[i].value, p[i].n);
        spit(path, b.v, b.n);
        refused(open_as, p[i].word);
        memcpy(b.v + p[i].at, saved, p[i].n);
    }
    spit(path, b.v, b.n);
    buf_release(&b);
}

static void bin_header(void **state) {
    static const struct patch p[] = {{0, 20240521, 4, "magic"},
                                     {0, 20240522, 4, "evaluation"},
                                     {0, 0, 4, "magic"},
                                     {0, 20240801, 4, "version"},
                                     {4, 7, 4, "version"},
                                     {4, 0, 4, "version"},
                                     {8, 819, 4, "819"},
                                     {8, 821, 4, "821"},
                                     {8, 0xFFFFFFFF, 4, "bad number"},
                                     {8, 0x7FFFFFFF, 4, "2147483647"},
                                     {8, 0x80000000, 4, "bad number"}};
    write_small(*state, &opts, 40, 0); /* 820 tokens */
    patched(in(*state, "train-00000.bin"), in(*state, "train-00000.bin"), p, sizeof p / sizeof *p);
}

static void idx_header_and_ends(void **state) {
    static const struct patch p[] = {{0, 'X', 1, "magic"},
                                     {8, 2, 4, "version"},
                                     {12, 2, 4, "flags"},
                                     {16, 39, 8, "39"},
                                     {16, 41, 8, "41"},
                                     {16, UINT64_C(1) << 61, 8, "train-00000.idx"},
                                     {16, UINT64_MAX, 8, "train-00000.idx"},
                                     {24 + 8 * 39, 819, 8, "819"},
                                     {24 + 8 * 39, UINT64_MAX, 8, "train-00000.idx"},
                                     {24 + 8 * 7, 0, 8, "ends before"},
                                     {24 + 8 * 7, 5000, 8, "ends before"}};
    write_small(*state, &opts, 40, 0);
    patched(in(*state, "train-00000.idx"), *state, p, sizeof p / sizeof *p);
}

/* Replaces the first `from` in index.json. */
static void edit_index(const char *dir, const char *from, const char *to) {
    struct buf b = {0}, out = {0};
    slurp(&b, in(dir, "index.json"));
    const char *text = buf_cstr(&b), *at = strstr(text, from);
    if (!at) fail_msg("no %s in index.json", from);
    buf_append(&out, text, (size_t)(at - text), NULL);
    buf_str(&out, to, NULL);
    buf_str(&out, at + strlen(from), NULL);
    spit(in(dir, "index.json"), out.v, out.n);
    buf_release(&b);
    buf_release(&out);
}

static void index_that_lies(void **state) {
    static const char *const edits[][3] = {
        {"\"version\": 1", "\"version\": 3", "version 3"},
        {"\"vocab\": 1000", "\"vocab\": 0", "index.json"},
        {"\"vocab\": 1000", "\"vocab\": 70000", "index.json"},
        {"\"vocab\": 1000", "\"vocab\": -1", "vocab"},
        {"\"vocab\": 1000", "\"vocab\": \"many\"", "vocab"},
        {"\"vocab\": 1000,", "", "vocab"},
        {"\"after\"", "\"between\"", "between"},
        {"train-00000.bin", "../train-00000.bin", "cannot have the name"},
        {"train-00000.bin", "/etc/passwd", "cannot have the name"},
        {"\"bytes\": 2664", "\"bytes\": 2665", "2665"},
        {"\"sha256\": \"", "\"sha256\": \"x", "sha256"},
        {"\"files\": [", "\"files\": [3, ", "index.json"},
        {"\"splits\": {", "\"splits\": [{", "index.json"},
        {"{", "", "index.json"}};
    struct buf whole = {0};
    write_small(*state, &opts, 40, 2);
    slurp(&whole, in(*state, "index.json"));
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        edit_index(*state, edits[i][0], edits[i][1]);
        refused(*state, edits[i][2]);
        spit(in(*state, "index.json"), whole.v, whole.n);
    }
    buf_release(&whole);
}

static void missing_things(void **state) {
    struct shard_set s;
    struct err err = {0};
    assert_int_equal(set_open(&s, in(*state, "nowhere"), "train", &err), ERR_IO);
    assert_int_equal(set_open(&s, *state, "train", &err), ERR_IO); /* an empty folder */
    write_small(*state, &opts, 40, 0);
    assert_int_equal(set_open(&s, *state, "valid", &err), ERR_DATA);
    assert_non_null(strstr(err.msg, "valid"));
    remove(in(*state, "train-00000.bin"));
    assert_int_equal(set_open(&s, *state, "train", &err), ERR_IO);
}

/* ------------------------------------------------------------------ verify */

static void collect(void *ctx, const char *text) {
    struct buf *b = ctx;
    buf_printf(b, NULL, "%s\n", text);
}

static void finds(const char *dir, const char *word) {
    struct err err = {0};
    struct buf b = {0};
    int rc = shard_verify(dir, collect, &b, NULL, &err);
    if (rc != ERR_CORRUPT) fail_msg("verify gave %d, not a fault", rc);
    if (!strstr(buf_cstr(&b), word)) fail_msg("\"%s\" is not in: %s", word, buf_cstr(&b));
    buf_release(&b);
}

static void flip(const char *path, size_t at) {
    struct buf b = {0};
    slurp(&b, path);
    b.v[at] ^= 1;
    spit(path, b.v, b.n);
    buf_release(&b);
}

static void verify_finds(void **state) {
    write_small(*state, &opts, 40, 2);
    flip(in(*state, "train-00000.bin"), 1500); /* a token: opens well */
    finds(*state, "train-00000.bin: sha256");
    flip(in(*state, "train-00000.bin"), 1500);
    spit(in(*state, "old_train_1.bin"), "x", 1);
    finds(*state, "old_train_1.bin");
    remove(in(*state, "old_train_1.bin"));
    remove(in(*state, "train-00000.idx"));
    finds(*state, "missing");
    remove(in(*state, "valid-00000.bin"));
    finds(*state, "valid-00000.bin");
}

/* Ids above V with a matching sha256: a tokenizer exchanged after sharding. */
static void verify_looks_at_tokens(void **state) {
    write_small(*state, &opts, 40, 2);
    edit_index(*state, "\"vocab\": 1000", "\"vocab\": 900");
    finds(*state, "the vocabulary has 900");
    write_small(*state, &opts, 40, 2);
    edit_index(*state, "\"eot_id\": 0", "\"eot_id\": 1");
    finds(*state, "no end-of-text");
}

#define T(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {T(every_truncation_of_the_bin),
                                       T(every_truncation_of_the_idx),
                                       T(bin_header),
                                       T(idx_header_and_ends),
                                       T(index_that_lies),
                                       T(missing_things),
                                       T(verify_finds),
                                       T(verify_looks_at_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
