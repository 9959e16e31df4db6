/* What the tests of shards share: a folder of their own, small documents, files changed by hand. */
#ifndef LORY_TESTS_SHARD_HELP_H
#define LORY_TESTS_SHARD_HELP_H

#include "stream/shard.h"
#include "stream/shard_index.h"
#include "tests/unit/test.h"

static inline int set_open(struct shard_set *s, const char *path, const char *split,
                           struct err *err) {
    return shard_set_open(s, &path, 1, split, err);
}

/* Documents of 0, 1, 2 … n-1 tokens; token j of document i is (i * 37 + j) % (vocab - 1) + 1. */
static inline int add_documents(struct shard_writer *w, const char *split, size_t n, uint32_t vocab,
                                struct err *err) {
    uint32_t ids[4096];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        for (size_t j = 0; j < i; j++) ids[j] = (uint32_t)((i * 37 + j) % (vocab - 1) + 1);
        rc = shard_writer_add(w, split, ids, i, 0, 3 * i, err);
    }
    return rc;
}

static inline void write_small(const char *dir, const struct shard_opts *o, size_t train,
                               size_t valid) {
    struct err err = {0};
    struct shard_writer *w;
    check_ok(shard_writer_open(&w, dir, o, &err), &err);
    check_ok(add_documents(w, "train", train, o->vocab, &err), &err);
    check_ok(add_documents(w, "valid", valid, o->vocab, &err), &err);
    check_ok(shard_writer_finish(w, &err), &err);
}

static inline void slurp(struct buf *b, const char *path) {
    struct err err = {0};
    b->n = 0;
    check_ok(file_read(path, 1 << 30, b, &err), &err);
}

static inline void spit(const char *path, const void *v, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(v, 1, n, f), n);
    fclose(f);
}

#endif
