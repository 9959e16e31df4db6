/* Merging a stretch of a long piece in a row of windows that overlap, all of them at once.
 *
 *   stretch   s o m e t h i n g l o n g w i t h o u t b l a n k s …
 *   window 1  some|thing|long|with|out
 *   window 2                 ng|with|out|bl|an         both have "with": up to it the tokens of
 *   window 3                             bl|ank|s …    one count, from it on those of the other
 *
 * Why that is right, whatever the ranks: a sequence of tokens is what merging makes of its bytes if
 * and only if of any two neighbours, alone, it makes these two. For until the first merge across a
 * boundary, merges within tokens do not depend on other tokens, and come in the order in which they
 * come in two of them alone; so the first one across would come there, too. Neighbours in a window
 * are such ones, so all are, where one window goes over into another by a token of both.
 *
 * One merge at a time waits for memory: which two symbols merge next depends on the ranks of the
 * last ones. So each window in turn does one merge and asks for ranks, and answers are looked at
 * when all have asked.
 *
 *   ask 1, ask 2, … ask 6, answer 1, answer 2, … answer 6, ask 1, …
 *
 * Two bytes that merge with each other before either may merge with another do so at the beginning
 * (struct byte_pair): nearly half of all merges of English without blanks, more of random
 * letters. */
#include "tokenizer/bpe.h"

#ifdef __x86_64__
#include <immintrin.h>

enum {
    LANES = 6,
    PLACES = BPE_ROW_WINDOW, /* bytes of a window at most: each may stay a symbol */
    PLACE_BITS = 8,
    STRIDE = PLACES - 24, /* what overlaps has room for the errors of both, near a window's ends */
    EIGHT = 8,            /* keys in a register */
};
_Static_assert((LANES - 1) * STRIDE + PLACES == BPE_ROW, "a row");
#define NONE PAIRS_NONE

/* The pair whose rank is wanted. */
struct question {
    uint64_t pair;
    const uint64_t *slot; /* PAIRS_TOGETHER of them            */
    size_t at;            /* the place where its left symbol is */
};

/* A window: symbols in a doubly linked list of places. The place behind the last, `n`, stands for
 * both ends. */
struct lane {
    uint32_t key[PLACES + EIGHT]; /* rank << PLACE_BITS | place of the pair that begins there, or
                                   * NONE */
    uint32_t sym[PLACES + 1];
    uint8_t next[PLACES + 1], prev[PLACES + 1];
    unsigned n;
    struct question asked[2];
};

#define AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt")))

/* Asks for the rank of a pair; or, if `is` is false or the filter says no, for nothing. Here and
 * in all that follows only what is rare is a branch: what the table says cannot be foreseen. */
AVX2 static inline void ask(const struct pairs *p, struct question *q, uint32_t left,
                            uint32_t right, size_t at, bool is) {
    q->pair = pairs_key(p, left, right);
    uint64_t hash = pairs_hash(q->pair);
    is &= pairs_may(p, hash);
    q->slot = p->slot + (pairs_home(p, hash) & -(size_t)is);
    q->at = at;
    __builtin_prefetch(q->slot);
}

/* The pair may be behind its first slots. */
static __attribute__((noinline)) uint32_t answer_far(const struct pairs *p,
                                                     const struct question *q) {
    uint64_t right = q->pair & ((1ull << p->id_bits) - 1);
    uint32_t rank = pairs_get(p, (uint32_t)(q->pair >> p->id_bits), (uint32_t)right);
    return rank == PAIRS_NONE ? NONE : rank << PLACE_BITS | (uint32_t)q->at;
}

AVX2 static inline uint32_t answer(const struct pairs *p, const struct question *q) {
    const __m256i slot = _mm256_loadu_si256((const __m256i *)(const void *)q->slot);
    const __m256i same = _mm256_cmpeq_epi64(_mm256_srl_epi64(slot, _mm_cvtsi32_si128(p->rank_bits)),
                                            _mm256_set1_epi64x((long long)q->pair));
    const __m256i is_free = _mm256_cmpeq_epi64(slot, _mm256_set1_epi64x(-1));
    int found = _mm256_movemask_pd(_mm256_castsi256_pd(same));
    int room = _mm256_movemask_pd(_mm256_castsi256_pd(is_free));
    if (__builtin_expect((found | room) == 0, 0)) return answer_far(p, q);
    found &= ~room; /* the key of two ids of ones fits a free slot, too */
    uint64_t of = q->slot[__builtin_ctz((unsigned)found | 1 << (PAIRS_TOGETHER - 1))];
    uint32_t rank = (uint32_t)of & (uint32_t)((1ull << p->rank_bits) - 1);
    uint32_t none = (uint32_t)((found - 1) >> 31);
    return rank << PLACE_BITS | (uint32_t)q->at | none;
}

/* The symbols of p[0..n), 0 < n, after what merges ahead; returns how many. */
AVX2 static size_t lane_fill(const struct tokenizer *t, uint32_t *sym, const uint8_t *p, size_t n) {
    static const struct byte_pair none = {NONE, TOKENIZER_NO_ID, NONE, NONE};
    const struct byte_pair *const pairs = t->byte_pairs;
    const struct byte_pair *here = n > 1 ? &pairs[p[0] << 8 | p[1]] : &none;
    uint32_t no_left = NONE, merged = 0; /* ones: the byte before merged with this one */
    size_t places = 0;
    uint32_t bytes = (uint32_t)p[0] << 8 | p[n > 1];
    for (size_t i = 0; i < n; i++) {
        const struct byte_pair *behind = &none;
        if (i + 2 < n) {
            bytes = (bytes << 8 | p[i + 2]) & 0xFFFF;
            behind = &pairs[bytes];
        }
        bool merges = (here->rank < no_left) & (here->rank < behind->no_right) &
                      (here->ahead != TOKENIZER_NO_ID);
        uint32_t yes = -(uint32_t)merges;
        sym[places] = (here->ahead & yes) | (t->byte_id[p[i]] & ~yes);
        places += merged + 1; /* the second of two: the next one is written over it */
        merged = yes;
        no_left = here->no_left;
        here = behind;
    }
    return places;
}

/* Fills a window with p[0..n), 0 < n. */
AVX2 static void lane_begin(const struct tokenizer *t, struct lane *l, const uint8_t *p, size_t n) {
    const struct pairs *pairs = &t->pairs;
    const size_t places = lane_fill(t, l->sym, p, n);
    uint8_t may[PLACES]; /* the places that the filter lets pass */
    size_t n_may = 0;
    for (size_t i = 0; i + 1 < places; i++) {
        may[n_may] = (uint8_t)i;
        n_may += pairs_may(pairs, pairs_hash(pairs_key(pairs, l->sym[i], l->sym[i + 1])));
    }
    struct question first[PLACES];
    for (size_t i = 0; i < n_may; i++)
        ask(pairs, &first[i], l->sym[may[i]], l->sym[may[i] + 1], may[i], true);
    const __m256i none = _mm256_set1_epi64x(-1);
    for (size_t i = 0; i < PLACES + EIGHT; i += EIGHT)
        _mm256_storeu_si256((__m256i *)(void *)(l->key + i), none);
    for (size_t i = 0; i < n_may; i++) l->key[first[i].at] = answer(pairs, &first[i]);
    for (unsigned i = 0; i <= PLACES; i++) {
        l->next[i] = (uint8_t)(i + 1);
        l->prev[i] = (uint8_t)(i - 1);
    }
    l->prev[0] = (uint8_t)places;
    l->n = (unsigned)places;
    l->sym[places] = 0; /* any: what is asked about it is not asked */
    l->asked[0] = l->asked[1] = (struct question){.slot = pairs->slot, .at = places};
}

/* Puts what was asked for in its place. */
AVX2 static inline void lane_answer(const struct pairs *p, struct lane *l) {
    for (int i = 0; i < 2; i++) l->key[l->asked[i].at] = answer(p, &l->asked[i]);
}

/* The lowest key. */
AVX2 static inline uint32_t lane_lowest(const struct lane *l) {
    const __m256i *key = (const __m256i *)(const void *)l->key;
    __m256i a = _mm256_loadu_si256(key), b = _mm256_loadu_si256(key + 1);
    for (int i = 2; i < PLACES / EIGHT; i += 2) {
        a = _mm256_min_epu32(a, _mm256_loadu_si256(key + i));
        b = _mm256_min_epu32(b, _mm256_loadu_si256(key + i + 1));
    }
    a = _mm256_min_epu32(a, b);
    __m128i x = _mm_min_epu32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    x = _mm_min_epu32(x, _mm_shuffle_epi32(x, 0x4E));
    x = _mm_min_epu32(x, _mm_shuffle_epi32(x, 0xB1));
    return (uint32_t)_mm_cvtsi128_si32(x);
}

/* Merges the pair of key `low` and asks for the ranks of the new neighbours. */
AVX2 static inline void lane_merge(const struct tokenizer *t, const struct pairs *p, struct lane *l,
                                   uint32_t low) {
    size_t at = low & ((1 << PLACE_BITS) - 1), gone = l->next[at], right = l->next[gone],
           left = l->prev[at];
    uint32_t sym = vocab_merged(t, low >> PLACE_BITS);
    bool any_right = right != l->n, any_left = left != l->n;
    l->sym[at] = sym;
    l->next[at] = (uint8_t)right;
    l->prev[right] = (uint8_t)at;
    l->key[gone] = NONE;
    ask(p, &l->asked[0], sym, l->sym[right], at, any_right);
    ask(p, &l->asked[1], l->sym[left], sym, left, any_left);
}

AVX2 static void lanes_merge(const struct tokenizer *t, struct lane *lane, unsigned n) {
    const struct pairs pairs = t->pairs;
    struct lane *busy[LANES];
    for (unsigned i = 0; i < n; i++) busy[i] = &lane[i];
    while (n) {
        for (unsigned i = 0; i < n;) {
            uint32_t low = lane_lowest(busy[i]);
            if (low == NONE)
                busy[i] = busy[--n];
            else
                lane_merge(t, &pairs, busy[i++], low);
        }
        for (unsigned i = 0; i < n; i++) lane_answer(&pairs, busy[i]);
    }
}

static unsigned bytes_of(const struct tokenizer *t, uint32_t id) {
    return (unsigned)(t->start[id + 1] - t->start[id]);
}

/* A token of a window: its place, and the byte where it begins. */
struct token {
    unsigned at, byte;
};

static inline void go_on(const struct tokenizer *t, const struct lane *l, struct token *x) {
    x->byte += bytes_of(t, l->sym[x->at]);
    x->at = l->next[x->at];
}

/* The first token that two windows share, the second of which begins STRIDE bytes after the first:
 * x in the first, at or behind what it is, y in the second. False: there is none. */
static bool shared(const struct tokenizer *t, const struct lane *a, const struct lane *b,
                   struct token *x, struct token *y) {
    *y = (struct token){0, STRIDE};
    /* backwards from the end, as long as it is behind the beginning of the second */
    unsigned end = PLACES, at = a->n;
    while (at != x->at) {
        unsigned len = bytes_of(t, a->sym[a->prev[at]]);
        if (end - len < STRIDE) break;
        at = a->prev[at];
        end -= len;
    }
    *x = (struct token){at, end};
    while (x->at != a->n && y->at != b->n) {
        if (x->byte == y->byte && a->sym[x->at] == b->sym[y->at]) return true;
        bool first = x->byte <= y->byte, second = y->byte <= x->byte;
        if (first) go_on(t, a, x);
        if (second) go_on(t, b, y);
    }
    return false;
}

/* Appends the symbols of l from place `at` on up to place `to`. */
static void put(const struct lane *l, unsigned at, unsigned to, struct u32s *out) {
    uint32_t *v = out->v + out->n;
    for (; at != to; at = l->next[at]) *v++ = l->sym[at];
    out->n = (size_t)(v - out->v);
}

/* Joins the windows, the last of which has `last` bytes, and appends what they made; returns how
 * many bytes that is. */
static size_t join(const struct tokenizer *t, const struct lane *lane, unsigned n, size_t last,
                   struct u32s *out) {
    unsigned from = 0;
    for (unsigned i = 0;; i++) {
        struct token x = {from, 0}, y;
        bool is_last = i + 1 == n;
        if (is_last || !shared(t, &lane[i], &lane[i + 1], &x, &y)) {
            put(&lane[i], from, lane[i].n, out);
            return i * STRIDE + (is_last ? last : PLACES);
        }
        put(&lane[i], from, x.at, out);
        from = y.at;
    }
}

bool bpe_row_can(const struct tokenizer *t) {
    enum { RANK_BITS = 32 - PLACE_BITS };
    return t->all_bytes && t->n_merges >> RANK_BITS == 0 && t->n >> RANK_BITS == 0 &&
           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
}

int bpe_merge_row(const struct tokenizer *t, const uint8_t *piece, size_t n, size_t *ret_n,
                  struct u32s *out, struct err *err) {
    struct lane lane[LANES];
    unsigned lanes = 1;
    size_t left = n;
    int rc = u32s_reserve(out, n, err);
    if (rc < 0) return rc;
    while ((lanes - 1) * STRIDE + PLACES < n) lanes++;
    for (unsigned i = 0; i < lanes; i++) {
        left = n - i * STRIDE < PLACES ? n - i * STRIDE : PLACES;
        lane_begin(t, &lane[i], piece + i * STRIDE, left);
    }
    lanes_merge(t, lane, lanes);
    *ret_n = join(t, lane, lanes, left, out);
    return 0;
}

#else

bool bpe_row_can(const struct tokenizer *t) {
    (void)t;
    return false;
}

int bpe_merge_row(const struct tokenizer *t, const uint8_t *piece, size_t n, size_t *ret_n,
                  struct u32s *out, struct err *err) {
    (void)t, (void)piece, (void)n, (void)ret_n, (void)out;
    return err_set(err, ERR_OTHER, "a row of windows without AVX2");
}

#endif
