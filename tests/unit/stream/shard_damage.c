/* Damaged shards are refused with the file's name, before anything is made by their numbers. */
#include "base/json.h"
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

/* Each of these was read as if it were true: a split's numbers are the sums over its files. */
static void index_that_contradicts_itself(void **state) {
    static const char *const edits[][3] = {
        {"\"tokens\": 820", "\"tokens\": 812", "\"train\": \"tokens\" is 812, its files have 820"},
        {"\"tokens\": 820", "\"tokens\": 5", "\"tokens\" is 5"},
        {"\"documents\": 40", "\"documents\": 41", "\"documents\" is 41, its files have 40"},
        {"\"documents\": 40", "\"documents\": 39", "\"documents\" is 39, its files have 40"},
        {"\"text_bytes\": 2340", "\"text_bytes\": 7", "\"text_bytes\" is 7, its files have 2340"},
        {"\"text_bytes\": 2340,\n          \"sha256\"",
         "\"text_bytes\": 1002340,\n          \"sha256\"", "is 2340, its files have 1002340"},
        {"\"after\"", "\"none\"", "eot \"none\" does not go with an eot_id"},
        {"\"eot_id\": 0", "\"eot_id\": null", "eot \"after\" does not go with no eot_id"},
        {"valid-00000.bin", "train-00000.bin",
         "train-00000.bin twice, in split \"train\" and in split \"valid\""}};
    struct buf whole = {0};
    struct shard_index x;
    struct err err = {0};
    write_small(*state, &opts, 40, 2);
    slurp(&whole, in(*state, "index.json"));
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        edit_index(*state, edits[i][0], edits[i][1]);
        refused(*state, edits[i][2]);
        refused(in(*state, "train-00000.bin"), edits[i][2]);
        assert_int_equal(shard_index_load(&x, *state, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.msg, "index.json"));
        spit(in(*state, "index.json"), whole.v, whole.n);
    }
    buf_release(&whole);
}

/* It was trained on twice, and counted twice by lmeval. */
static void file_listed_twice_in_its_split(void **state) {
    struct err err = {0};
    cJSON *tree;
    write_small(*state, &opts, 40, 2);
    check_ok(json_load(&tree, in(*state, "index.json"), &err), &err);
    cJSON *split = cJSON_GetObjectItem(cJSON_GetObjectItem(tree, "splits"), "train");
    cJSON *files = cJSON_GetObjectItem(split, "files");
    cJSON_AddItemToArray(files, cJSON_Duplicate(files->child, true));
    check_ok(json_save(in(*state, "index.json"), tree, true, &err), &err);
    refused(*state, "lists train-00000.bin twice, in split \"train\" and in split \"train\"");
    cJSON_Delete(tree);
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

/* A split of another name than its files was trained on by that name, or not found. */
static void verify_looks_at_names(void **state) {
    struct shard_opts small = opts;
    small.shard_tokens = 300;
    write_small(*state, &opts, 40, 2);
    edit_index(*state, "\"valid\"", "\"valhd\"");
    finds(*state, "file 0 of split \"valhd\" is called valid-00000.bin, not valhd-00000.bin");
    write_small(*state, &small, 40, 2); /* and in their order, which is that of training */
    edit_index(*state, "train-00000.bin", "train-X.bin");
    edit_index(*state, "train-00001.bin", "train-00000.bin");
    edit_index(*state, "train-X.bin", "train-00001.bin");
    finds(*state, "file 0 of split \"train\" is called train-00001.bin, not train-00000.bin");
}

/* docs/formats.md promises that files which the index does not name are told. */
static void verify_finds_an_idx_and_a_mask_of_no_shard(void **state) {
    static const char *const names[] = {"train-00009.idx", "train-00009.mask", "train-00009.bin",
                                        "train-0000.idx", "alone.idx"};
    write_small(*state, &opts, 40, 2);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        spit(in(*state, names[i]), "x", 1);
        finds(*state, names[i]);
        remove(in(*state, names[i]));
    }
    spit(in(*state, "notes.txt"), "x", 1);
    assert_int_equal(shard_verify(*state, NULL, NULL, NULL, NULL), 0);
}

/* With one document a shard, no end of one was the beginning of another: nothing was looked at. */
static void verify_looks_at_the_first_document(void **state) {
    write_small(*state, &opts, 40, 1);
    edit_index(*state, "\"after\"", "\"before\"");
    finds(*state, "train-00000.bin: no end-of-text token at 1, where document 1 begins");
    struct shard_opts one = opts;
    one.shard_tokens = 1; /* each document has a shard of its own */
    write_small(*state, &one, 4, 0);
    edit_index(*state, "\"after\"", "\"before\"");
    finds(*state, "train-00001.bin: no end-of-text token at 0, where document 0 begins");
}

/* Of a document that is cut, the number of documents tells how many pieces there are. */
static void verify_counts_cut_documents(void **state) {
    struct shard_opts o = opts;
    struct shard_writer *w;
    struct err err = {0};
    const enum shard_eot eots[] = {SHARD_EOT_AFTER, SHARD_EOT_BEFORE, SHARD_EOT_NONE};
    uint32_t ids[250];
    for (uint32_t i = 0; i < 250; i++) ids[i] = i + 1;
    o.max_tokens = 100;
    for (size_t i = 0; i < sizeof eots / sizeof *eots; i++) {
        o.eot = eots[i];
        check_ok(shard_writer_open(&w, *state, &o, &err), &err);
        check_ok(shard_writer_add(w, "train", ids, 30, 0, 30, &err), &err);
        check_ok(shard_writer_add(w, "train", ids, 250, 0, 250, &err), &err);
        check_ok(shard_writer_finish(w, &err), &err);
        check_ok(shard_verify(*state, NULL, NULL, NULL, &err), &err);
        edit_index(*state, "\"documents\": 2,", "\"documents\": 3,");
        finds(*state, "split \"train\": \"documents\" is 3, its files have 2");
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {T(every_truncation_of_the_bin),
                                       T(every_truncation_of_the_idx),
                                       T(bin_header),
                                       T(idx_header_and_ends),
                                       T(index_that_lies),
                                       T(index_that_contradicts_itself),
                                       T(file_listed_twice_in_its_split),
                                       T(missing_things),
                                       T(verify_finds),
                                       T(verify_looks_at_tokens),
                                       T(verify_looks_at_names),
                                       T(verify_finds_an_idx_and_a_mask_of_no_shard),
                                       T(verify_looks_at_the_first_document),
                                       T(verify_counts_cut_documents)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
