/* Masks beside shards: what was written is read, from anywhere and after any stop; damage is
 * refused. */
#include "shard_help.h"

static const struct shard_opts masked = {.vocab = 300,
                                         .eot_id = 0,
                                         .masked = true,
                                         .seq_len = 16,
                                         .shard_tokens = 500,
                                         .tokenizer_digest = ""};

/* Document i has i tokens, the first i / 3 of them its prompt. */
static int add_one(struct shard_writer *w, size_t i, struct err *err) {
    uint32_t ids[100];
    for (size_t j = 0; j < i; j++) ids[j] = (uint32_t)(j + 1);
    return shard_writer_add(w, "train", ids, i, i / 3, i, err);
}

static void write_documents(const char *dir, const struct shard_opts *o, size_t n) {
    struct err err = {0};
    struct shard_writer *w;
    check_ok(shard_writer_open(&w, dir, o, &err), &err);
    for (size_t i = 0; i < n; i++) check_ok(add_one(w, i, &err), &err);
    check_ok(shard_writer_finish(w, &err), &err);
}

/* Token j of document i, its EOT counted, is a target unless it is of the prompt. */
static uint8_t wanted(size_t i, uint64_t j, enum shard_eot eot) {
    if (eot == SHARD_EOT_BEFORE && j-- == 0) return 1;
    return j >= i / 3;
}

static void compare(const char *dir, enum shard_eot eot) {
    struct shard_set s;
    struct err err = {0};
    uint8_t want[8192], got[8192];
    uint64_t targets = 0;
    size_t i = 0, j = 0;
    check_ok(set_open(&s, dir, "train", &err), &err);
    assert_true(s.masked && s.n > 3);
    for (size_t k = 0; k < s.n; k++) {
        const struct shard *v = &s.v[k];
        for (uint64_t t = 0; t < v->n; t++) {
            while (j == i + (eot != SHARD_EOT_NONE)) i++, j = 0;
            targets += want[t] = wanted(i, j++, eot);
        }
        for (uint64_t at = 0; at < v->n; at++)
            for (uint64_t n = 0; at + n <= v->n; n += n < 20 ? 1 : 97) {
                check_ok(shard_read_mask(v, at, n, got, &err), &err);
                assert_memory_equal(got, want + at, n);
            }
    }
    assert_int_equal(s.targets, targets);
    assert_true(targets < s.tokens);
    shard_set_close(&s);
    check_ok(shard_verify(dir, NULL, NULL, NULL, &err), &err);
}

static void masks_round_trip(void **state) {
    for (int eot = SHARD_EOT_AFTER; eot <= SHARD_EOT_NONE; eot++) {
        struct shard_opts o = masked;
        o.eot = (enum shard_eot)eot;
        write_documents(*state, &o, 70);
        compare(*state, o.eot);
        o.max_tokens = 61; /* the longest are cut in two, within their prompts too */
        write_documents(*state, &o, 70);
        compare(*state, o.eot);
    }
}

/* Longer than any buffer on the way. */
static void a_long_mask(void **state) {
    enum { N = 100003, PROMPT = 70001 };
    struct shard_opts o = masked;
    struct shard_writer *w;
    struct shard_set s;
    struct err err = {0};
    static uint32_t ids[N];
    static uint8_t mask[N];
    o.shard_tokens = 1 << 20;
    check_ok(shard_writer_open(&w, *state, &o, &err), &err);
    check_ok(shard_writer_add(w, "train", ids, N, PROMPT, N, &err), &err);
    check_ok(shard_writer_finish(w, &err), &err);
    check_ok(set_open(&s, *state, "train", &err), &err);
    check_ok(shard_read_mask(&s.v[0], 0, N, mask, &err), &err);
    for (int i = 0; i < N; i++) assert_int_equal(mask[i], i >= PROMPT);
    assert_int_equal(s.targets, N + 1 - PROMPT);
    shard_set_close(&s);
}

/* A writer that goes away behind any document leaves what another goes on from, to the same
 * bytes. */
static void resumed_anywhere(void **state) {
    enum { N = 45 };
    static const char *const names[] = {"train-00000.mask", "train-00001.mask", "train-00001.bin",
                                        "train-00001.idx", "index.json"};
    struct buf want[5] = {{0}}, got = {0};
    struct err err = {0};
    write_documents(*state, &masked, N);
    for (int k = 0; k < 5; k++) slurp(&want[k], in(*state, names[k]));
    for (size_t stop = 1; stop < N; stop++) {
        struct shard_writer *w;
        struct buf mark = {0};
        check_ok(shard_writer_open(&w, *state, &masked, &err), &err);
        for (size_t i = 0; i < stop; i++) check_ok(add_one(w, i, &err), &err);
        check_ok(shard_writer_mark(w, &mark, &err), &err);
        for (size_t i = stop; i < N && i < stop + 9; i++) check_ok(add_one(w, i, &err), &err);
        shard_writer_keep(w);
        check_ok(shard_writer_resume(&w, *state, &masked, buf_cstr(&mark), &err), &err);
        for (size_t i = stop; i < N; i++) check_ok(add_one(w, i, &err), &err);
        check_ok(shard_writer_finish(w, &err), &err);
        for (int k = 0; k < 5; k++) {
            slurp(&got, in(*state, names[k]));
            if (got.n != want[k].n || memcmp(got.v, want[k].v, got.n))
                fail_msg("stopped behind document %zu: another %s", stop - 1, names[k]);
        }
        buf_release(&mark);
    }
    for (int k = 0; k < 5; k++) buf_release(&want[k]);
    buf_release(&got);
}

static void abort_leaves_no_mask(void **state) {
    struct shard_writer *w;
    struct strs names = {0};
    struct err err = {0};
    check_ok(shard_writer_open(&w, *state, &masked, &err), &err);
    for (size_t i = 0; i < 60; i++) check_ok(add_one(w, i, &err), &err);
    shard_writer_abort(w);
    check_ok(file_list(*state, &names, &err), &err);
    assert_int_equal(names.n, 0);
    write_documents(*state, &masked, 60);
    struct shard_opts plain = masked;
    plain.masked = false;
    check_ok(shard_writer_open(&w, *state, &plain, &err), &err); /* nor does a run without */
    check_ok(shard_writer_add(w, "train", (uint32_t[]){1}, 1, 0, 1, &err), &err);
    check_ok(shard_writer_finish(w, &err), &err);
    assert_int_equal(file_kind(in(*state, "train-00000.mask")), FILE_NONE);
}

/* Opening must fail as corrupt, in words that hold `word`. */
static void refused(const char *dir, const char *word) {
    struct shard_set s;
    struct err err = {0};
    int rc = set_open(&s, dir, "train", &err);
    if (rc != ERR_CORRUPT || !strstr(err.msg, word)) fail_msg("%d %s, not %s", rc, err.msg, word);
    assert_int_equal(shard_verify(dir, NULL, NULL, NULL, &err), ERR_CORRUPT);
}

static void damaged_masks(void **state) {
    static const struct {
        size_t at;
        uint8_t value;
        const char *word;
    } patches[] = {{0, 'X', "magic"}, {8, 2, "version"},   {12, 1, "flags"},
                   {16, 1, "tokens"}, {23, 255, "tokens"}, {24 + 58, 0xFF, "behind the last"}};
    struct buf b = {0};
    write_documents(*state, &masked, 30); /* 465 tokens in one shard: 59 bytes, 1 bit in the last */
    const char *path = in(*state, "train-00000.mask");
    char name[1024];
    snprintf(name, sizeof name, "%s", path);
    slurp(&b, name);
    assert_int_equal(b.n, 24 + 59);
    for (size_t n = 0; n < b.n; n++) {
        spit(name, b.v, n);
        refused(*state, "train-00000.mask");
    }
    for (size_t i = 0; i < sizeof patches / sizeof *patches; i++) {
        char was = b.v[patches[i].at];
        b.v[patches[i].at] = (char)patches[i].value;
        spit(name, b.v, b.n);
        refused(*state, patches[i].word);
        b.v[patches[i].at] = was;
    }
    remove(name);
    refused(*state, "its .mask is missing");
    spit(name, b.v, b.n);
    for (size_t at = 24; at < b.n - 1; at++) { /* what only the digest can see */
        struct err err = {0};
        b.v[at] ^= 2;
        spit(name, b.v, b.n);
        assert_int_equal(shard_verify(*state, NULL, NULL, NULL, &err), ERR_CORRUPT);
        b.v[at] ^= 2;
    }
    struct shard_opts plain = masked;
    plain.masked = false;
    write_documents(*state, &plain, 30);
    spit(name, b.v, b.n);
    refused(*state, "does not name");
    remove(in(*state, "index.json"));
    refused(*state, "interrupted");
    buf_release(&b);
}

/* Cut short while it is read: an error with its name, no signal. */
static void a_mask_that_shrinks(void **state) {
    struct shard_set s;
    struct err err = {0};
    uint8_t got[400];
    write_documents(*state, &masked, 30);
    check_ok(set_open(&s, *state, "train", &err), &err);
    assert_int_equal(truncate(in(*state, "train-00000.mask"), 30), 0);
    assert_int_equal(shard_read_mask(&s.v[0], 0, 400, got, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "its mask: ends at byte 30"));
    shard_set_close(&s);
}

/* Two sets that differ in their masks alone are two sets. */
static void digests_see_masks(void **state) {
    struct shard_set a, b;
    struct shard_writer *w;
    struct err err = {0};
    const uint32_t ids[4] = {1, 2, 3, 4};
    char digest[XXH128_HEX];
    for (size_t prompt = 0; prompt < 2; prompt++) {
        check_ok(shard_writer_open(&w, *state, &masked, &err), &err);
        check_ok(shard_writer_add(w, "train", ids, 4, prompt, 4, &err), &err);
        check_ok(shard_writer_finish(w, &err), &err);
        check_ok(set_open(prompt ? &b : &a, *state, "train", &err), &err);
        if (!prompt) memcpy(digest, a.digest, sizeof digest);
    }
    assert_string_not_equal(digest, b.digest);
    shard_set_close(&a);
    shard_set_close(&b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(masks_round_trip), T(a_long_mask),         T(resumed_anywhere), T(abort_leaves_no_mask),
        T(damaged_masks),    T(a_mask_that_shrinks), T(digests_see_masks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
