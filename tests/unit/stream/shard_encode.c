/* Documents into shards: the rule of the split, and that threads change nothing. */
#include "shard_help.h"
#include "stream/shard_encode.h"

/* 256 byte tokens and an end of text: an id is a byte. */
static struct tokenizer *byte_tokenizer(void) {
    static uint8_t bytes[256 + 13];
    static uint64_t start[258];
    static const struct special eot = {.id = 256, .text = TOKENIZER_EOT, .special = true};
    for (int i = 0; i < 256; i++) bytes[i] = (uint8_t)i;
    for (uint64_t i = 0; i < 257; i++) start[i] = i;
    start[257] = 256 + 13;
    memcpy(bytes + 256, TOKENIZER_EOT, 13);
    const struct tokenizer_parts parts = {.pattern = "gpt2",
                                          .n_tokens = 257,
                                          .bytes = bytes,
                                          .start = start,
                                          .n_specials = 1,
                                          .specials = &eot};
    struct tokenizer *t;
    struct err err = {0};
    check_ok(tokenizer_build(&t, &parts, &err), &err);
    return t;
}

/* The table of docs/formats.md: other programs may compute the same split. */
static void split_vectors(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t seed;
        double u; /* cut to six digits */
    } v[] = {
        {"", 1, 0.303798}, {"a", 1, 0.824079}, {"a", 2, 0.665799}, {"def f(): pass", 1, 0.141818}};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        assert_false(shard_is_valid(v[i].text, strlen(v[i].text), v[i].seed, v[i].u - 1e-6));
        assert_true(shard_is_valid(v[i].text, strlen(v[i].text), v[i].seed, v[i].u + 1e-6));
    }
}

/* n records "0", "1" …; every tenth has the text of the end-of-text token. */
static void write_records(const char *path, int n) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < n; i++)
        fprintf(f, "{\"text\":\"%d%s\"}\n", i, i % 10 ? "" : " " TOKENIZER_EOT);
    fclose(f);
}

static struct shard_encode run(const char *dir, const char *file, double fraction, int threads) {
    struct tokenizer *t = byte_tokenizer();
    const struct shard_opts o = {.vocab = 257, .eot_id = 256, .shard_tokens = 3000, .seq_len = 8};
    struct shard_encode e = {.tokenizer = t,
                             .docs = docs_defaults,
                             .split = "train",
                             .eot = true,
                             .valid_fraction = fraction,
                             .seed = 1};
    struct source_list list = {0};
    struct err err = {0};
    e.docs.threads = threads;
    e.docs.batch_bytes = 1000; /* many batches, so that threads have something to get wrong */
    check_ok(source_resolve(&list, file, NULL, NULL, &err), &err);
    check_ok(shard_writer_open(&e.writer, dir, &o, &err), &err);
    check_ok(shard_encode(&e, &list, &err), &err);
    shard_encode_release(&e);
    check_ok(shard_writer_finish(e.writer, &err), &err);
    source_list_release(&list);
    tokenizer_free(t);
    return e;
}

static void threads_change_nothing(void **state) {
    char file[512], one[512], many[512];
    snprintf(file, sizeof file, "%s/docs.jsonl", (char *)*state);
    snprintf(one, sizeof one, "%s/one", (char *)*state);
    snprintf(many, sizeof many, "%s/many", (char *)*state);
    write_records(file, 3000);
    struct shard_encode e = run(one, file, 0.1, 1);
    run(many, file, 0.1, 4);
    assert_int_equal(e.train.documents + e.valid.documents, 3000);
    assert_in_range(e.valid.documents, 230, 370);
    struct buf a = {0}, b = {0};
    slurp(&a, in(one, "index.json")); /* has the sha256 of everything else */
    slurp(&b, in(many, "index.json"));
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.v, b.v, a.n);
    buf_release(&a);
    buf_release(&b);
}

/* Records in `file`: lengths of texts in the order of the document, long ones of words. */
static void write_lengths(const char *file, const int *n, size_t count) {
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    for (size_t i = 0; i < count; i++) {
        fprintf(f, "{\"text\":\"%zu", i);
        for (int k = 0; k < n[i]; k++) fputs(k % 7 ? "a \\u00e9 " : "word\\n", f);
        fprintf(f, "\"}\n");
    }
    fclose(f);
}

struct long_run {
    double fraction, share;
    bool again;
    uint64_t seed, max_documents;
    int threads;
    uint64_t batch_bytes, documents;
};

static struct shard_encode run_long(const char *dir, const char *file, const struct long_run *r) {
    struct tokenizer *t = byte_tokenizer();
    const struct shard_opts o = {.vocab = 257, .eot_id = 256, .shard_tokens = 20000, .seq_len = 8};
    const struct shard_share share = {r->share, r->again};
    struct docs_totals of_file = {0};
    struct shard_encode e = {.tokenizer = t,
                             .docs = docs_defaults,
                             .split = "train",
                             .eot = true,
                             .valid_fraction = r->fraction,
                             .seed = r->seed,
                             .shares = r->share < 1 || r->again ? &share : NULL,
                             .max_documents = r->max_documents,
                             .files = &of_file};
    struct source_list list = {0};
    struct err err = {0};
    e.docs.threads = r->threads;
    e.docs.batch_bytes = r->batch_bytes;
    e.docs.spill = "/tmp";
    check_ok(source_resolve(&list, file, NULL, NULL, &err), &err);
    check_ok(shard_writer_open(&e.writer, dir, &o, &err), &err);
    check_ok(shard_encode(&e, &list, &err), &err);
    shard_encode_release(&e);
    check_ok(shard_writer_finish(e.writer, &err), &err);
    assert_int_equal(of_file.documents, r->max_documents ? r->max_documents : r->documents);
    source_list_release(&list);
    tokenizer_free(t);
    e.files = NULL;
    return e;
}

/* Records that come in parts become the shards that they become in one piece, wherever they go. */
static void same_in_parts(const char *dir, const char *file, struct long_run r, int threads) {
    char whole[512], parts[512];
    struct buf a = {0}, b = {0};
    snprintf(whole, sizeof whole, "%s/whole", dir);
    snprintf(parts, sizeof parts, "%s/parts", dir);
    r.threads = 1;
    r.batch_bytes = 1 << 20;
    struct shard_encode want = run_long(whole, file, &r);
    r.threads = threads;
    r.batch_bytes = 800;
    struct shard_encode got = run_long(parts, file, &r);
    assert_memory_equal(&got.train, &want.train, sizeof want.train);
    assert_memory_equal(&got.valid, &want.valid, sizeof want.valid);
    slurp(&a, in(whole, "index.json")); /* has the sha256 of everything else */
    slurp(&b, in(parts, "index.json"));
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.v, b.v, a.n);
    buf_release(&a);
    buf_release(&b);
}

static void long_records_are_one_document(void **state) {
    static const int lengths[3][12] = {{9, 2000, 5, 700, 900, 3000, 0, 1, 2, 600, 8, 3},
                                       {3000, 3000, 800, 1, 900, 700, 2000, 700, 700, 1, 1, 900},
                                       {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 900}};
    static const struct long_run ways[] = {
        {.share = 1, .seed = 1},
        {.fraction = 0.4, .share = 1, .seed = 1},
        {.fraction = 0.4, .share = 1, .seed = 2},
        {.fraction = 0.9, .share = 1, .seed = 3},
        {.fraction = 1e-9, .share = 1, .seed = 1}, /* the last document has to be for validation */
        {.share = 0.5, .seed = 1},
        {.fraction = 0.3, .share = 0.5, .seed = 2},
        {.fraction = 0.5, .share = 1, .again = true, .seed = 3},
        {.share = 1, .seed = 1, .max_documents = 3}};
    char file[512];
    snprintf(file, sizeof file, "%s/docs.jsonl", (char *)*state);
    for (int f = 0; f < 3; f++)
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            struct long_run r = ways[i];
            r.documents = 12;
            write_lengths(file, lengths[f], 12);
            same_in_parts(*state, file, r, 1 + (int)i % 3);
        }
}

static void long_text_files_are_one_document(void **state) {
    char file[512];
    const int lengths[] = {900, 700};
    snprintf(file, sizeof file, "%s/docs.txt", (char *)*state);
    write_lengths(file, lengths, 2); /* as a text */
    for (int threads = 1; threads <= 3; threads++) {
        same_in_parts(*state, file, (struct long_run){.share = 1, .documents = 1}, threads);
        same_in_parts(*state, file, (struct long_run){.fraction = 0.5, .share = 1, .documents = 1},
                      threads);
    }
}

/* Text that spells a special token is text: one end of a text per document, no more. */
static void special_text_is_text(void **state) {
    char file[512], dir[512];
    struct shard_set s;
    struct err err = {0};
    uint64_t ends = 0, bytes = 0;
    snprintf(file, sizeof file, "%s/docs.jsonl", (char *)*state);
    snprintf(dir, sizeof dir, "%s/out", (char *)*state);
    write_records(file, 20);
    struct shard_encode e = run(dir, file, 0, 2);
    check_ok(set_open(&s, dir, "train", &err), &err);
    for (uint64_t i = 0; i < s.v[0].n; i++) {
        ends += shard_token(&s.v[0], i) == 256;
        bytes += shard_token(&s.v[0], i) == '<';
    }
    assert_int_equal(ends, 20);
    assert_int_equal(bytes, 2);
    assert_int_equal(e.train.tokens, s.tokens);
    assert_int_equal(e.train.text_bytes, s.text_bytes);
    shard_set_close(&s);
}

/* 1 % of five documents is none: the last one has to be the validation set. Of one, training comes
 * first. */
static void few_documents(void **state) {
    char file[512], dir[512];
    struct shard_set s;
    struct err err = {0};
    snprintf(file, sizeof file, "%s/docs.jsonl", (char *)*state);
    snprintf(dir, sizeof dir, "%s/out", (char *)*state);
    write_records(file, 5);
    struct shard_encode e = run(dir, file, 1e-9, 2);
    assert_int_equal(e.train.documents, 4);
    assert_int_equal(e.valid.documents, 1);
    check_ok(set_open(&s, dir, "valid", &err), &err);
    assert_int_equal(shard_token(&s.v[0], 0), '4');
    shard_set_close(&s);
    write_records(file, 1);
    e = run(dir, file, 1e-9, 2);
    assert_int_equal(e.train.documents, 1);
    assert_int_equal(e.valid.documents, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_vectors),  T(threads_change_nothing),
        T(long_records_are_one_document), T(long_text_files_are_one_document),
        T(special_text_is_text),          T(few_documents)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
