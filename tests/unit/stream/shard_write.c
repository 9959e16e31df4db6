/* What is written is what is read: tokens, ends of documents, counts, cuts; and what a run
 * leaves. */
#include "shard_help.h"
#include "base/json.h"

static const struct shard_opts narrow = {
    .vocab = 65536, .eot_id = 0, .seq_len = 128, .shard_tokens = 500, .tokenizer_digest = ""};

/* Walks a split document by document and compares with add_documents(). Returns the documents
 * seen. */
static size_t compare(const struct shard_set *s, uint32_t vocab, enum shard_eot eot) {
    size_t i = 0; /* document */
    for (size_t k = 0; k < s->n; k++) {
        uint64_t at = 0;
        for (uint64_t d = 0; d < s->v[k].documents; d++, i++) {
            uint64_t end = s->v[k].ends[d], n = end - at;
            assert_int_equal(n, i + (eot != SHARD_EOT_NONE));
            if (eot == SHARD_EOT_BEFORE) assert_int_equal(shard_token(&s->v[k], at++), 0);
            for (size_t j = 0; j < i; j++)
                assert_int_equal(shard_token(&s->v[k], at + j), (i * 37 + j) % (vocab - 1) + 1);
            if (eot == SHARD_EOT_AFTER) assert_int_equal(shard_token(&s->v[k], end - 1), 0);
            at = end;
        }
        assert_int_equal(at, s->v[k].n);
    }
    return i;
}

static void round_trip(const char *dir, uint32_t vocab, enum shard_eot eot) {
    struct shard_opts o = narrow;
    struct shard_set s;
    struct err err = {0};
    o.vocab = vocab;
    o.eot = eot;
    write_small(dir, &o, 60, 5);
    check_ok(set_open(&s, dir, "train", &err), &err);
    assert_int_equal(s.vocab, vocab);
    assert_int_equal(s.seq_len, 128);
    assert_int_equal(s.tokens, 60 * 59 / 2 + (eot == SHARD_EOT_NONE ? 0 : 60));
    assert_int_equal(s.text_bytes, 3 * 60 * 59 / 2);
    assert_true(s.n > 1);
    for (size_t k = 0; k < s.n; k++) {
        assert_true(s.v[k].n <= 500);
        assert_int_equal(s.v[k].token_bytes, vocab <= 65536 ? 2 : 4);
    }
    assert_int_equal(compare(&s, vocab, eot), 60);
    shard_set_close(&s);
    check_ok(set_open(&s, dir, "valid", &err), &err);
    assert_int_equal(compare(&s, vocab, eot), 5);
    shard_set_close(&s);
    check_ok(shard_verify(dir, NULL, NULL, NULL, &err), &err);
}

static void u16_and_u32_with_every_convention(void **state) {
    for (int eot = SHARD_EOT_AFTER; eot <= SHARD_EOT_NONE; eot++) {
        round_trip(*state, 65536, (enum shard_eot)eot); /* the last V that fits: id 65535 */
        round_trip(*state, 65537, (enum shard_eot)eot); /* the first that does not       */
    }
}

/* The header as llm.c's dataloader checks it: magic, version, count, and nothing else. */
static void header_is_llm_c(void **state) {
    struct buf b = {0};
    int32_t head[256];
    write_small(*state, &narrow, 10, 0);
    slurp(&b, in(*state, "train-00000.bin"));
    memcpy(head, b.v, sizeof head);
    assert_int_equal(head[0], 20240520);
    assert_int_equal(head[1], 1);
    assert_int_equal(head[2], 55);
    for (int i = 3; i < 256; i++) assert_int_equal(head[i], 0);
    assert_int_equal(b.n, 1024 + 2 * 55);
    buf_release(&b);
}

/* A document longer than a shard may hold is the only one that is cut; its tokens lose nothing. */
static void long_document_is_cut(void **state) {
    struct shard_opts o = narrow;
    struct shard_writer *w;
    struct shard_set s;
    struct shard_index x;
    struct err err = {0};
    uint32_t ids[250], back[250];
    for (uint32_t i = 0; i < 250; i++) ids[i] = i + 1;
    o.max_tokens = 100;
    check_ok(shard_writer_open(&w, *state, &o, &err), &err);
    check_ok(shard_writer_add(w, "train", ids, 30, 0, 30, &err), &err);
    check_ok(shard_writer_add(w, "train", ids, 250, 0, 250, &err), &err);
    check_ok(shard_writer_finish(w, &err), &err);
    check_ok(set_open(&s, *state, "train", &err), &err);
    assert_int_equal(s.n, 4); /* 31 │ 100 │ 100 │ 51 */
    assert_int_equal(s.v[0].n, 31);
    shard_tokens(&s.v[1], 0, 100, back);
    shard_tokens(&s.v[2], 0, 100, back + 100);
    shard_tokens(&s.v[3], 0, 50, back + 200);
    assert_memory_equal(back, ids, sizeof ids);
    shard_set_close(&s);
    assert_int_equal(shard_index_load(&x, *state, &err), 1);
    assert_int_equal(x.v[0].documents, 2); /* though its files list four */
    shard_index_release(&x);
    check_ok(shard_verify(*state, NULL, NULL, NULL, &err), &err);
}

/* Writing the same documents twice gives the same bytes, index.json included. */
static void repeats_to_the_byte(void **state) {
    static const char *const names[] = {"train-00001.bin", "train-00001.idx", "index.json"};
    struct buf a[3] = {{0}}, b = {0};
    write_small(*state, &narrow, 60, 5);
    for (int i = 0; i < 3; i++) slurp(&a[i], in(*state, names[i]));
    write_small(*state, &narrow, 60, 5);
    for (int i = 0; i < 3; i++) {
        slurp(&b, in(*state, names[i]));
        assert_int_equal(a[i].n, b.n);
        assert_memory_equal(a[i].v, b.v, b.n);
        buf_release(&a[i]);
    }
    buf_release(&b);
}

static size_t count_files(const char *dir) {
    struct strs names = {0};
    struct err err = {0};
    check_ok(file_list(dir, &names, &err), &err);
    size_t n = names.n;
    strs_release(&names);
    return n;
}

/* A shorter run over a longer one must not leave the longer one's last shards to readers. */
static void shorter_run_leaves_no_old_shard(void **state) {
    write_small(*state, &narrow, 60, 5);
    assert_true(count_files(*state) > 5);
    write_small(*state, &narrow, 10, 5);
    assert_int_equal(count_files(*state), 5); /* two shards, two .idx, index.json */
}

static void abort_leaves_nothing(void **state) {
    struct shard_writer *w;
    struct err err = {0};
    check_ok(shard_writer_open(&w, *state, &narrow, &err), &err);
    check_ok(add_documents(w, "train", 60, narrow.vocab, &err), &err);
    assert_true(count_files(*state) > 2); /* some are committed, one is open */
    shard_writer_abort(w);
    assert_int_equal(count_files(*state), 0);
}

/* A stop without abort (kill -9) leaves whole shards and no index: readers must say so, not
 * train. */
static void half_a_run_is_refused(void **state) {
    struct shard_writer *w;
    struct shard_set s;
    struct err err = {0};
    write_small(*state, &narrow, 60, 5);
    check_ok(shard_writer_open(&w, *state, &narrow, &err), &err);
    check_ok(add_documents(w, "train", 60, narrow.vocab, &err), &err);
    assert_int_equal(set_open(&s, *state, "train", &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "interrupted"));
    shard_writer_abort(w);
}

static void token_outside_the_vocabulary(void **state) {
    struct shard_opts o = narrow;
    struct shard_writer *w;
    struct err err = {0};
    uint32_t id = 300;
    o.vocab = 300;
    check_ok(shard_writer_open(&w, *state, &o, &err), &err);
    assert_int_equal(shard_writer_add(w, "train", &id, 1, 0, 1, &err), ERR_DATA);
    assert_non_null(strstr(err.msg, "300"));
    shard_writer_abort(w);
}

/* The index.json of MosaicML or litdata is not ours to overwrite. */
static void foreign_index_is_kept(void **state) {
    struct shard_writer *w;
    struct err err = {0};
    spit(in(*state, "index.json"), "{\"version\":2,\"shards\":[]}", 25);
    assert_int_equal(shard_writer_open(&w, *state, &narrow, &err), ERR_USAGE);
    assert_int_equal(file_kind(in(*state, "index.json")), FILE_REGULAR);
}

static void notes_are_in_the_index(void **state) {
    struct shard_writer *w;
    struct err err = {0};
    cJSON *tree;
    check_ok(shard_writer_open(&w, *state, &narrow, &err), &err);
    assert_int_equal(shard_writer_note(w, "options", "{\"seed\":", &err), ERR_CORRUPT);
    check_ok(shard_writer_note(w, "options", "{\"seed\":7}", &err), &err);
    check_ok(add_documents(w, "train", 3, narrow.vocab, &err), &err);
    check_ok(shard_writer_finish(w, &err), &err);
    check_ok(json_load(&tree, in(*state, "index.json"), &err), &err);
    assert_int_equal(json_get(json_get(tree, "options"), "seed")->valueint, 7);
    cJSON_Delete(tree);
}

/* One file of a folder, named by itself, keeps what index.json says of it; moved away, it is
 * llm.c's. */
static void single_file(void **state) {
    struct shard_set s;
    struct err err = {0};
    write_small(*state, &narrow, 60, 5);
    check_ok(set_open(&s, in(*state, "valid-00000.bin"), "train", &err), &err);
    assert_int_equal(s.vocab, 65536);
    assert_int_equal(s.v[0].documents, 5);
    assert_int_equal(s.text_bytes, 30);
    shard_set_close(&s);
    assert_int_equal(remove(in(*state, "index.json")), 0);
    assert_int_equal(remove(in(*state, "valid-00000.idx")), 0);
    check_ok(set_open(&s, in(*state, "valid-00000.bin"), "train", &err), &err);
    assert_int_equal(s.vocab, 0);
    assert_int_equal(s.eot_id, UINT32_MAX);
    assert_null(s.v[0].ends);
    assert_int_equal(s.tokens, 15);
    shard_set_close(&s);
}

/* llm.c's fineweb folder: no .idx, no index.json, the split in the name. */
static void folder_of_llm_c(void **state) {
    struct shard_set s;
    struct err err = {0};
    struct buf b = {0};
    char other[512];
    snprintf(other, sizeof other, "%s/f", (char *)*state);
    write_small(*state, &narrow, 60, 5);
    check_ok(file_mkdirs(other, &err), &err);
    slurp(&b, in(*state, "train-00000.bin"));
    spit(in(other, "fineweb_train_000001.bin"), b.v, b.n);
    slurp(&b, in(*state, "train-00001.bin"));
    spit(in(other, "fineweb_train_000002.bin"), b.v, b.n);
    slurp(&b, in(*state, "valid-00000.bin"));
    spit(in(other, "pretrain_val_000000.bin"), b.v, b.n);
    buf_release(&b);
    check_ok(set_open(&s, other, "train", &err), &err);
    assert_int_equal(s.n, 2);
    shard_set_close(&s);
    check_ok(set_open(&s, other, "valid", &err), &err);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.tokens, 15);
    shard_set_close(&s);
    assert_int_equal(set_open(&s, other, "test", &err), ERR_IO);
}

/* The digest tells sets apart and is the same wherever the folder lies. */
static void digest_is_identity(void **state) {
    struct shard_set a, b;
    struct err err = {0};
    char moved[512];
    snprintf(moved, sizeof moved, "%s/moved", (char *)*state);
    write_small(*state, &narrow, 60, 5);
    write_small(moved, &narrow, 60, 5);
    check_ok(set_open(&a, *state, "train", &err), &err);
    check_ok(set_open(&b, moved, "train", &err), &err);
    assert_string_equal(a.digest, b.digest);
    shard_set_close(&b);
    check_ok(set_open(&b, moved, "valid", &err), &err);
    assert_string_not_equal(a.digest, b.digest);
    shard_set_close(&a);
    shard_set_close(&b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {T(u16_and_u32_with_every_convention),
                                       T(header_is_llm_c),
                                       T(long_document_is_cut),
                                       T(repeats_to_the_byte),
                                       T(shorter_run_leaves_no_old_shard),
                                       T(abort_leaves_nothing),
                                       T(half_a_run_is_refused),
                                       T(token_outside_the_vocabulary),
                                       T(foreign_index_is_kept),
                                       T(notes_are_in_the_index),
                                       T(single_file),
                                       T(folder_of_llm_c),
                                       T(digest_is_identity)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
