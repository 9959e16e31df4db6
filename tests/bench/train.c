/* Times the parts of tokenizer training on one text file, documents already in memory:
 *
 *     tests/bench/train FILE [VOCAB [PATTERN [THREADS]]]
 *
 * prints scanning (all named patterns, one thread), counting, combining and merging. Seconds are
 * those of the processor, of all threads together, so that a busy machine disturbs little. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "base/opt.h"
#include "base/pool.h"
#include "tokenizer/pattern.h"
#include "tokenizer/train.h"

enum { DOC = 16 << 10, ROUNDS = 3 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop_on(int rc, const struct err *err) {
    if (rc >= 0) return;
    fprintf(stderr, "train: %s\n", err->msg);
    exit(1);
}

/* Length of the document at `at`: about DOC bytes, up to a newline. */
static size_t doc_at(const struct mapping *m, size_t at) {
    if (m->bytes - at <= DOC) return m->bytes - at;
    const uint8_t *lf = memchr(m->v + at + DOC, '\n', m->bytes - at - DOC);
    return lf ? (size_t)(lf - m->v) + 1 - at : m->bytes - at;
}

static void time_scanner(const char *name, const struct mapping *m) {
    struct pattern *p;
    struct scanner *s;
    struct u32s ends = {0};
    struct err err = {0};
    stop_on(pattern_open(&p, name, &err), &err);
    stop_on(scanner_new(&s, p, &err), &err);
    double best = 1e9;
    uint64_t pieces = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double t = now();
        pieces = 0;
        for (size_t at = 0, n; at < m->bytes; at += n, pieces += ends.n) {
            n = doc_at(m, at);
            stop_on(scanner_cut(s, (const char *)m->v + at, n, &ends, &err), &err);
        }
        t = now() - t;
        if (t < best) best = t;
    }
    printf("scan %-8s %8.1f MB/s  %llu pieces\n", strlen(name) > 8 ? "PCRE2" : name,
           (double)m->bytes / 1e6 / best, (unsigned long long)pieces);
    u32s_release(&ends);
    scanner_free(s);
    pattern_free(p);
}

struct job {
    const struct mapping *m;
    struct words *w;
    size_t part; /* bytes of one item */
};

static int count_part(void *ctx, size_t i, int thread, struct err *err) {
    struct job *job = ctx;
    size_t from = i * job->part,
           to = from + job->part < job->m->bytes ? from + job->part : job->m->bytes;
    int rc = 0;
    for (size_t at = from, n; at < to && rc == 0; at += n) {
        n = to - at < DOC ? to - at : DOC;
        rc = words_add(job->w, thread, (const char *)job->m->v + at, n, err);
    }
    return rc;
}

static void time_training(const struct mapping *m, uint32_t vocab, const char *pattern,
                          int threads) {
    struct err err = {0};
    for (int round = 0; round < ROUNDS; round++) {
        struct pool *pool;
        struct words_opts wo = {.pattern = pattern, .threads = threads};
        struct bpe_train_opts o = {.vocab = vocab, .pattern = pattern};
        struct job job = {.m = m, .part = 1 << 20};
        struct tokenizer *t;
        struct bpe_train_result res;
        stop_on(pool_new(&pool, threads, &err), &err);
        stop_on(words_new(&job.w, &wo, &err), &err);
        double t0 = now();
        stop_on(pool_run(pool, (m->bytes + job.part - 1) / job.part, count_part, &job, &err), &err);
        double t1 = now();
        stop_on(words_finish(job.w, pool, &err), &err);
        double t2 = now();
        uint64_t distinct = words_distinct(job.w);
        stop_on(bpe_train(&t, job.w, &o, pool, NULL, &res, &err), &err);
        double t3 = now();
        printf("count %.2f s (%.0f MB/s), combine %.2f s, merge %.2f s: %llu words, %llu merges, "
               "last %llu\n",
               t1 - t0, (double)m->bytes / 1e6 / (t1 - t0), t2 - t1, t3 - t2,
               (unsigned long long)distinct, (unsigned long long)res.merges,
               (unsigned long long)res.last_count);
        tokenizer_free(t);
        words_free(job.w);
        pool_free(pool);
    }
}

static uint64_t number(const char *text) {
    struct err err = {0};
    uint64_t n = 0;
    stop_on(parse_u64(text, &n, &err), &err);
    return n;
}

int main(int argc, char **argv) {
    struct err err = {0};
    struct mapping m;
    if (argc < 2) {
        fprintf(stderr, "usage: train FILE [VOCAB [PATTERN [THREADS]]]\n");
        return 2;
    }
    stop_on(mapping_open(&m, argv[1], &err), &err);
    static const char *const patterns[] = {
        "gpt2", "cl100k", "o200k",
        " ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+" /* through PCRE2 */
    };
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) time_scanner(patterns[i], &m);
    time_training(&m, (uint32_t)number(argc > 2 ? argv[2] : "32768"), argc > 3 ? argv[3] : "gpt2",
                  argc > 4 ? (int)number(argv[4]) : pool_cpus());
    mapping_close(&m);
    return 0;
}
