/* What the tests of loading and training share: shards in memory, temporary folders, files
 * compared. */
#ifndef LORY_TESTS_RUN_HELP_H
#define LORY_TESTS_RUN_HELP_H

#include <inttypes.h>
#include <math.h>
#include "base/buf.h"
#include "stream/shard.h"
#include "tests/unit/test.h"

/* Up to four shards that live in the test's own arrays. */
struct memory_set {
    struct shard_set set;
    struct shard shards[4];
};

/* `mask`: as in struct shard. */
static inline void memory_add_masked(struct memory_set *m, const uint16_t *tokens,
                                     const uint8_t *mask, uint64_t n) {
    static char names[4][32];
    size_t i = m->set.n;
    snprintf(names[i], sizeof names[i], "train-%05zu.bin", i);
    m->shards[i] = (struct shard){.path = names[i], .tokens = tokens, .token_bytes = 2, .n = n};
    m->set.v = m->shards;
    m->set.n++;
    m->set.tokens += n;
    m->shards[i].mask = mask;
    m->set.masked = m->set.masked || mask;
    m->set.eot_id = UINT32_MAX;
    snprintf(m->set.digest, sizeof m->set.digest, "%032" PRIx64, m->set.tokens);
}

static inline void memory_add(struct memory_set *m, const uint16_t *tokens, uint64_t n) {
    memory_add_masked(m, tokens, NULL, n);
}

/* A new folder, in memory where there is such a place (checkpoints sync a lot); remove with
 * tmp_remove. */
static inline char *tmp_make(void) {
    bool memory = access("/dev/shm", W_OK) == 0;
    char *dir = strdup(memory ? "/dev/shm/lory-test-XXXXXX" : "/tmp/lory-test-XXXXXX");
    if (!mkdtemp(dir)) fail_msg("no temporary folder");
    return dir;
}

static inline void tmp_remove(char *dir) {
    struct err err = {0};
    check_ok(file_remove(dir, &err), &err);
    free(dir);
}

/* A file's bytes; release the buffer. */
static inline struct buf slurp(const char *dir, const char *name) {
    struct buf b = {0};
    struct err err = {0};
    char *path = path_join(dir, name);
    check_ok(file_read(path, UINT64_MAX, &b, &err), &err);
    free(path);
    return b;
}

static inline void spill(const char *dir, const char *name, const char *v, size_t n) {
    struct err err = {0};
    char *path = path_join(dir, name);
    check_ok(file_write(path, v, n, &err), &err);
    free(path);
}

static inline bool exists(const char *dir, const char *name) {
    char *path = path_join(dir, name);
    bool yes = file_kind(path) != FILE_NONE;
    free(path);
    return yes;
}

static inline void assert_same_file(const char *dir_a, const char *dir_b, const char *name) {
    struct buf a = slurp(dir_a, name), b = slurp(dir_b, name);
    if (a.n != b.n || memcmp(a.v, b.v, a.n)) fail_msg("%s differs", name);
    buf_release(&a);
    buf_release(&b);
}

#endif
