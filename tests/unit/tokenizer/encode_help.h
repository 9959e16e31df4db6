/* Random vocabularies for the encoder's tests. */
#ifndef LORY_TESTS_ENCODE_HELP_H
#define LORY_TESTS_ENCODE_HELP_H

#include "tests/unit/test.h"
#include "base/rng.h"
#include "tokenizer/bpe.h"
#include "tokenizer/vocab.h"

/* A vocabulary of the 256 bytes and `n_merges` merges of random tokens over few letters, in an
 * order in which a result may well merge before its parts; a special at the end. */
struct random_vocab {
    struct buf bytes;
    struct u64s start;
    struct merge merges[600];
    size_t n_merges;
};

static inline uint32_t random_find(const struct random_vocab *v, const char *p, size_t n) {
    for (size_t i = 0; i + 1 < v->start.n; i++)
        if (v->start.v[i + 1] - v->start.v[i] == n && !memcmp(v->bytes.v + v->start.v[i], p, n))
            return (uint32_t)i;
    return TOKENIZER_NO_ID;
}

static inline void random_vocab(struct random_vocab *v, struct rng *r, size_t n_merges,
                                int letters) {
    memset(v, 0, sizeof *v);
    u64s_push(&v->start, 0, NULL);
    for (int b = 0; b < 256; b++) {
        buf_char(&v->bytes, (char)b, NULL);
        u64s_push(&v->start, v->bytes.n, NULL);
    }
    for (size_t tries = 0; v->n_merges < n_merges && tries < 20 * n_merges; tries++) {
        char joined[64];
        uint32_t pick[2];
        size_t n = 0;
        for (int k = 0; k < 2; k++) {
            size_t made = v->start.n - 1 - 256;
            pick[k] = made && rng_below(r, 2) ? (uint32_t)(256 + rng_below(r, made))
                                              : 'a' + (uint32_t)rng_below(r, (uint64_t)letters);
            size_t len = v->start.v[pick[k] + 1] - v->start.v[pick[k]];
            if (n + len > 20) break;
            memcpy(joined + n, v->bytes.v + v->start.v[pick[k]], len);
            n += len;
            if (k == 0) continue;
            uint32_t id = random_find(v, joined, n);
            if (id == TOKENIZER_NO_ID) {
                id = (uint32_t)v->start.n - 1;
                buf_append(&v->bytes, joined, n, NULL);
                u64s_push(&v->start, v->bytes.n, NULL);
            }
            v->merges[v->n_merges++] = (struct merge){pick[0], pick[1], id};
        }
    }
    for (size_t i = v->n_merges; i > 1 && rng_below(r, 2); i--) { /* half of them partly shuffled */
        size_t j = rng_below(r, i);
        struct merge m = v->merges[i - 1];
        v->merges[i - 1] = v->merges[j];
        v->merges[j] = m;
    }
}

static inline void random_release(struct random_vocab *v) {
    buf_release(&v->bytes);
    u64s_release(&v->start);
}

/* Its tokens, and behind them the special ones s[0..n), which get their ids here. */
static inline struct tokenizer *random_with(struct random_vocab *v, const char *pattern,
                                            struct special *s, uint32_t n) {
    struct tokenizer *t = NULL;
    struct err e = {0};
    for (uint32_t i = 0; i < n; i++) {
        s[i].id = (uint32_t)v->start.n - 1;
        buf_append(&v->bytes, s[i].text, strlen(s[i].text), NULL);
        u64s_push(&v->start, v->bytes.n, NULL);
    }
    struct tokenizer_parts p = {.pattern = pattern,
                                .n_tokens = (uint32_t)v->start.n - 1,
                                .bytes = (uint8_t *)v->bytes.v,
                                .start = v->start.v,
                                .n_merges = v->n_merges,
                                .merges = v->merges,
                                .n_specials = n,
                                .specials = s};
    check_ok(tokenizer_build(&t, &p, &e), &e);
    return t;
}

static inline struct tokenizer *random_tokenizer(struct random_vocab *v, const char *pattern) {
    struct special s = {.text = "<|endoftext|>", .special = true, .normalized = true};
    return random_with(v, pattern, &s, 1);
}

/* Its merges are those of ranks of tokens from now on, as in a file of tiktoken. */
static inline struct tokenizer *merged_by_ranks(struct tokenizer *t) {
    struct err err = {0};
    check_ok(vocab_set_ranks(t, &err), &err);
    return t;
}

static inline struct tokenizer *random_tokenizer_by(struct random_vocab *v, const char *pattern,
                                                    bool ranks) {
    struct tokenizer *t = random_tokenizer(v, pattern);
    return ranks ? merged_by_ranks(t) : t;
}

/* A vocabulary of up to some 500 merges, and its tokenizer. */
static inline struct tokenizer *random_vocabulary(struct random_vocab *v, struct rng *r,
                                                  int letters, bool ranks, const char *pattern) {
    random_vocab(v, r, 10 + rng_below(r, 500), letters);
    return random_tokenizer_by(v, pattern, ranks);
}

/* Random text: letters of the vocabulary, runs, blanks, and now and then any byte. */
static inline void random_text(struct buf *out, struct rng *r, size_t n, int letters) {
    out->n = 0;
    while (out->n < n) {
        uint64_t kind = rng_below(r, 12);
        char c = (char)('a' + (int)rng_below(r, (uint64_t)letters));
        if (kind == 0) c = ' ';
        if (kind == 1) c = (char)rng_below(r, 256);
        size_t run = kind == 2 ? 1 + rng_below(r, 90) : 1;
        while (run--) buf_char(out, c, NULL);
    }
}

static inline void same_ids(const struct u32s *want, const struct u32s *got, const char *what) {
    size_t i = 0;
    while (i < want->n && i < got->n && want->v[i] == got->v[i]) i++;
    if (i < want->n || i < got->n)
        fail_msg("%s: id %zu differs: want %lld of %zu, got %lld of %zu", what, i,
                 i < want->n ? (long long)want->v[i] : -1, want->n,
                 i < got->n ? (long long)got->v[i] : -1, got->n);
}

#endif
