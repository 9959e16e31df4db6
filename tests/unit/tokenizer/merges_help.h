/* A tokenizer's merges as a list, for tests. */
#ifndef LORY_TESTS_MERGES_HELP_H
#define LORY_TESTS_MERGES_HELP_H

#include "tests/unit/test.h"
#include "tokenizer/tokenizer.h"

static inline uint64_t merges_of(const struct tokenizer *t, const struct merge **ret) {
    struct err err = {0};
    uint64_t n;
    check_ok(tokenizer_merges(t, ret, &n, &err), &err);
    return n;
}

#endif
