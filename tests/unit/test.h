/* What the unit tests share: cmocka in the order it wants, a folder of one's own, error checks that
 * print what they got. Group tests that need a folder with folder_setup and folder_teardown; *state
 * is then its path. */
#ifndef LORY_TESTS_UNIT_TEST_H
#define LORY_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/file.h"

static inline int folder_setup(void **state) {
    const char *tmp = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/lory-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(path)) return -1;
    *state = strdup(path);
    return *state ? 0 : -1;
}

static inline int folder_teardown(void **state) {
    int rc = file_remove(*state, NULL);
    free(*state);
    return rc;
}

/* dir/name in a ring of static buffers, for use within one expression. */
static inline const char *in(const char *dir, const char *name) {
    static char ring[8][4096];
    static unsigned at;
    char path[sizeof ring[0]]; /* `dir` may be in the ring */
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return memcpy(ring[at++ % 8], path, sizeof path);
}

/* Fails if rc is that of an error, and prints the message. A macro, so that the line named is the
 * test's. */
#define check_ok(rc, err)                                                                          \
    do {                                                                                           \
        const int got_ = (rc);                                                                     \
        if (got_ < 0) fail_msg("failed with %d: %s", got_, (err)->msg);                            \
    } while (0)

/* Fails unless rc is `code` and the message holds `words`. */
#define check_fails(rc, want, err, words)                                                          \
    do {                                                                                           \
        const int got_ = (rc);                                                                     \
        if (got_ != (want) || !strstr((err)->msg, words))                                          \
            fail_msg("wanted %d with '%s', got %d: %s", want, words, got_, (err)->msg);            \
        assert_int_equal((err)->code, want);                                                       \
    } while (0)

#endif
