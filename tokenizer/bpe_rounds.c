/* Merging a long piece in rounds, in each of which all pairs merge that certainly will.
 *
 * Which tokens lie in the text, and where, is known before anything merges (trie.h); a merge is one
 * of them coming into being. A token whose two halves are there is certain if no other can come
 * first that lies across one of its ends:
 *
 *   text     t h e r e     tokens: he 258, re 260, er 263, her 372, th 400, ther 490, ere 567,
 *                                  the 1169, here 1456, there 8117 (ids of GPT-2, as ranks)
 *   round 1  t|he|re       he: th, the, ther, there, er, ere, her and here are all higher; re: too
 *   round 2  the|re        er, her, th, ther and ere are gone: they end within a symbol; the comes
 *                          before here
 *   round 3  there
 *
 * Why that is right, whatever the ranks: let T be a token both of whose halves are there, and let
 * all tokens across its ends have higher ranks. Of the merges that make T of its bytes its own is
 * the last and the highest: its halves were certain when T lay across their ends. Until T is there
 * or something has gone across one of its ends, one of these merges is always at hand, and a higher
 * one has to wait for it. So nothing goes across before T. At its right end an equal rank will do:
 * that is T once more, further right, and the left one of equals comes first.
 *
 * Tokens that begin or end within a symbol that is certain cannot come any more. Where none lies
 * across a boundary, the boundary stays: both sides merge as if each stood alone. So a block of the
 * piece counts up to the last such boundary, and the next one begins there. What is not certain
 * after some rounds (an "aaaa…", where each pair waits for the one before it) is merged as usual,
 * from one such boundary to the next.
 *
 * Several pieces side by side are one block as well (encode_fresh.c): a token that lies across the
 * end of one is none, and so boundaries between pieces stay.
 *
 * A round has no branch that depends on the text: random letters, of which nothing can be foreseen,
 * take two or three rounds, words without blanks five. */
#include "tokenizer/bpe_rounds.h"

#ifdef __x86_64__
#include <immintrin.h>

enum { EIGHT = 8 /* numbers in a register */, ROUNDS = 8 };

#define AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt")))

/* ------------------------------------------------------------------ which tokens are there */

/* Those places, each with its node's base, where longer tokens begin than have been looked for. */
struct places {
    size_t n;
    uint16_t at[BLOCK];
    uint32_t base[BLOCK];
};

/* Adds place `at` if its node has a child for `byte`, as far as that can be told cheaply. */
static inline void add_place(struct places *v, size_t at, uint64_t node, uint8_t byte, bool is) {
    v->at[v->n] = (uint16_t)at;
    v->base[v->n] = trie_base(node);
    v->n += trie_children(node) >> (byte & 7) & is;
}

/* Finds all tokens, byte by byte, of all places at once. */
AVX2 static void find(const struct trie *trie, struct block *b) {
    const uint64_t *const slot = trie->slot, *const two = trie->two;
    const uint8_t *text = b->text;
    struct places live;
    uint64_t *to = b->token;
    live.n = 0;
    for (size_t i = 0; i < b->n; i++) {
        uint64_t node = two[text[i] << 8 | text[i + 1]];
        b->pair[i] = i + 2 <= b->end[i] ? trie_order(node) : NONE;
        add_place(&live, i, node, text[i + 2], i + 3 <= b->end[i]);
    }
    for (size_t len = 3; len <= TRIE_DEPTH && live.n; len++) {
        size_t n = live.n;
        live.n = 0;
        for (size_t k = 0; k < n; k++) {
            size_t i = live.at[k];
            const uint8_t *at = text + i + len - 1;
            uint64_t node = slot[live.base[k] + *at];
            bool is = trie_label(node) == *at;
            *to = token_of(i, len, trie_order(node));
            to += is & (trie_order(node) != NONE);
            add_place(&live, i, node, at[1], is & (i + len < b->end[i]));
        }
    }
    b->n_tokens = (size_t)(to - b->token);
    b->n_long = 0;
    for (size_t k = 0; k < live.n; k++) add_long(b, live.at[k], live.base[k]);
}

/* ------------------------------------------------------------------ rounds */

static inline void lower(uint32_t *x, uint32_t y) {
    *x = y < *x ? y : *x;
}

/* Enters all tokens into `least`, which holds what is known of the others. */
static inline void cover(struct block *b) {
    memset(b->least + b->n + 1, 0, (AHEAD - 1) * sizeof *b->least);
    for (size_t k = 0; k < b->n_tokens; k++) {
        uint64_t t = b->token[k];
        uint32_t *least = b->least + place(t);
        lower(&least[1], order(t));
        lower(&least[2], length(t) > 2 ? order(t) : NONE); /* most have no more than four bytes */
        lower(&least[3], length(t) > 3 ? order(t) : NONE);
        for (size_t i = 4; i < length(t); i++) lower(&least[i], order(t));
    }
    for (size_t k = 0; k < b->n_long; k++)
        for (size_t i = b->longs[k].from; i <= b->longs[k].to; i++) b->least[i] = 0;
}

/* Boundaries `at` and behind: more than TRIE_DEPTH of them. */
static inline uint32_t bounds(const struct block *b, size_t at) {
    uint32_t x;
    memcpy(&x, (const uint8_t *)b->bound + at / 8, sizeof x);
    return x >> at % 8;
}

AVX2 static void drop(struct block *b) {
    size_t kept = 0;
    for (size_t k = 0; k < b->n_tokens; k++) {
        uint64_t t = b->token[k];
        uint32_t ends = 1u << length(t) | 1, bits = bounds(b, place(t)), inner = ends - 3;
        b->token[kept] = t;
        kept += ((bits & ends) == ends) & ((bits & inner) != 0);
    }
    b->n_tokens = kept;
}

AVX2 static inline void set_bits8(uint64_t *v, size_t at, __m256i mask) {
    ((uint8_t *)v)[at / 8] = (uint8_t)_mm256_movemask_ps(_mm256_castsi256_ps(mask));
}
AVX2 static inline __m256i load8x32(const uint32_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
AVX2 static inline void store8x32(uint32_t *p, __m256i x) {
    _mm256_storeu_si256((__m256i *)(void *)p, x);
}

/* Merges the certain pairs of bytes, eight places at a time: bits to `sure`; and to `is` where a
 * pair is a token. */
AVX2 static void merge_bytes(struct block *b, uint64_t sure[WORDS], uint64_t is[WORDS]) {
    const __m256i none = _mm256_set1_epi32(NONE);
    for (size_t i = b->n; i < b->n + EIGHT; i++) b->pair[i] = NONE;
    for (size_t i = 0; i < b->n; i += EIGHT) {
        __m256i x = load8x32(b->pair + i), left = load8x32(b->least + i),
                right = load8x32(b->least + i + 2);
        __m256i yes =
            _mm256_andnot_si256(_mm256_cmpgt_epi32(x, right), _mm256_cmpgt_epi32(left, x));
        store8x32(b->sym + i, _mm256_and_si256(x, yes));
        set_bits8(sure, i, yes);
        set_bits8(is, i, _mm256_cmpgt_epi32(none, x));
    }
}

/* The first round: all symbols are bytes. */
AVX2 static void first_round(const struct bpe_rounds *by, struct block *b) {
    uint64_t sure[WORDS] = {0}, is[WORDS] = {0}, carry = 0;
    b->least[0] = NONE;
    memcpy(b->least + 1, b->pair, b->n * sizeof *b->pair);
    cover(b);
    merge_bytes(b, sure, is);
    for (size_t w = 0; w < WORDS; w++) {
        b->bound[w] = ~(sure[w] << 1 | carry);
        carry = sure[w] >> 63;
    }
    by->drop(b);
    for (size_t w = 0; w * 64 < b->n; w++) { /* pairs that may still come */
        uint64_t x = b->bound[w], next = b->bound[w + 1];
        uint64_t left = is[w] & x & (x >> 1 | next << 63) & (x >> 2 | next << 62);
        for (; left; left &= left - 1) {
            size_t at = w * 64 + (size_t)__builtin_ctzll(left);
            b->token[b->n_tokens++] = token_of(at, 2, b->pair[at]);
        }
    }
}

AVX2 static void find_sure(struct block *b) {
    b->n_sure = 0;
    for (size_t k = 0; k < b->n_tokens; k++) {
        uint64_t t = b->token[k];
        size_t at = place(t), len = length(t);
        uint32_t inner = bounds(b, at + 1) & ((1u << (len - 1)) - 1);
        size_t half = 1 + (size_t)__builtin_ctz(inner);
        uint32_t own = order(t);
        b->sure[b->n_sure] = token_of(at, half, own);
        b->n_sure +=
            ((inner & (inner - 1)) == 0) & (own < b->least[at]) & (own <= b->least[at + len]);
    }
}

/* Another round; false: nothing is certain any more. */
AVX2 static bool next_round(const struct bpe_rounds *by, struct block *b) {
    const __m256i none = _mm256_set1_epi32(NONE);
    for (size_t i = 0; i <= b->n; i += EIGHT) store8x32(b->least + i, none);
    cover(b);
    by->find_sure(b);
    for (size_t k = 0; k < b->n_sure; k++) {
        uint64_t s = b->sure[k];
        size_t at = place(s), half = at + length(s);
        b->bound[half / 64] &= ~(1ull << half % 64);
        b->sym[at] = order(s);
    }
    by->drop(b);
    return b->n_sure != 0;
}

/* ------------------------------------------------------------------ ids */

/* The first bit from `at` on, and the last one before it, of which there is one. */
static inline size_t bit_from(const uint64_t *v, size_t at) {
    size_t w = at / 64;
    uint64_t x = v[w] >> at % 64;
    if (x) return at + (size_t)__builtin_ctzll(x);
    while (!v[++w]) {}
    return w * 64 + (size_t)__builtin_ctzll(v[w]);
}
static inline size_t bit_before(const uint64_t *v, size_t at) {
    size_t w = at / 64;
    uint64_t x = v[w] & ((1ull << at % 64) - 1);
    while (!x) x = v[--w];
    return w * 64 + 63 - (size_t)__builtin_clzll(x);
}

/* Whether a symbol is a byte cannot be foreseen. */
AVX2 static inline uint32_t *put_steady(const struct tokenizer *t, const struct block *b,
                                        size_t from, size_t to, uint32_t *out, const bool steady) {
    for (size_t w = from / 64; w * 64 < to; w++) {
        uint64_t x = b->bound[w];
        if (w == from / 64) x &= ~0ull << from % 64;
        if (to - w * 64 < 64) x &= (1ull << to % 64) - 1;
        for (; x; x &= x - 1) {
            size_t at = w * 64 + (size_t)__builtin_ctzll(x);
            uint32_t sym = b->sym[at], byte = t->byte_id[b->text[at]], is_byte = -(uint32_t)!sym;
            uint32_t rank = (sym - 1) & ~is_byte;
            uint32_t made = steady ? rank + t->first_result : t->merges[rank].result;
            *out++ = (byte & is_byte) | (made & ~is_byte);
        }
    }
    return out;
}

AVX2 static uint32_t *put(const struct tokenizer *t, const struct block *b, size_t from, size_t to,
                          uint32_t *out) {
    return t->steady ? put_steady(t, b, from, to, out, true)
                     : put_steady(t, b, from, to, out, false);
}

const struct bpe_rounds bpe_rounds_avx2 = {find, drop, find_sure, put};

/* Boundaries that stay: bits of 0 ... n. */
AVX2 static void find_certain(const struct block *b, uint64_t certain[WORDS]) {
    const __m256i none = _mm256_set1_epi32(NONE);
    memset(certain, 0, WORDS * sizeof *certain);
    for (size_t i = 0; i <= b->n; i += EIGHT)
        set_bits8(certain, i, _mm256_cmpeq_epi32(load8x32(b->least + i), none));
    for (size_t w = 0; w < WORDS; w++) certain[w] &= b->bound[w];
    certain[b->n / 64] &= ~0ull >> (63 - b->n % 64);
}

/* Appends the ids up to the last boundary that stays; to *ret_n where that is. What is not certain
 * is merged from one such boundary to the next: *ret_unsure bytes. */
AVX2 static int put_all(const struct tokenizer *t, struct bpe_scratch *s, const struct block *b,
                        size_t *ret_n, size_t *ret_unsure, struct u32s *out, struct err *err) {
    uint64_t certain[WORDS], open[WORDS];
    find_certain(b, certain);
    const size_t end = bit_before(certain, b->n + 1);
    for (size_t w = 0; w < WORDS; w++) open[w] = b->bound[w] & ~certain[w];
    open[end / 64] |= 1ull << end % 64; /* so that there is one */
    *ret_n = end;
    *ret_unsure = 0;
    for (size_t from = 0;;) {
        const size_t next = bit_from(open, from), to = bit_before(certain, next + (next == end));
        out->n = (size_t)(s->rounds->put(t, b, from, to, out->v + out->n) - out->v);
        if (next == end) return 0;
        from = bit_from(certain, next);
        *ret_unsure += from - to;
        int rc = bpe_merge_alone(t, s, b->text + to, from - to, out, err);
        if (rc >= 0) rc = u32s_reserve(out, b->n + SPARE, err);
        if (rc < 0) return rc;
    }
}

const struct bpe_rounds *bpe_rounds_at(const struct tokenizer *t, int i) {
    if (!t->all_bytes || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") ||
        !__builtin_cpu_supports("bmi2"))
        return NULL;
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512cd") && i-- == 0)
        return &bpe_rounds_avx512;
    return i == 0 ? &bpe_rounds_avx2 : NULL;
}

/* The block's text has been set, and where pieces end. */
static int merge_block(const struct tokenizer *t, const struct trie *trie, struct bpe_scratch *s,
                       struct block *b, size_t *ret_n, size_t *ret_unsure, struct u32s *out,
                       struct err *err) {
    int rc = u32s_reserve(out, b->n + SPARE, err);
    if (rc < 0) return rc;
    if (!s->rounds) s->rounds = bpe_rounds_at(t, 0);
    s->rounds->find(trie, b);
    first_round(s->rounds, b);
    for (int round = 1; round < ROUNDS && next_round(s->rounds, b);) round++;
    return put_all(t, s, b, ret_n, ret_unsure, out, err);
}

/* The first n bytes of a block, and what is behind it up to `seen`, then zeros. */
static void set_text(struct block *b, const uint8_t *text, size_t n, size_t seen) {
    b->n = n;
    memcpy(b->text, text, seen);
    memset(b->text + seen, 0, sizeof b->text - seen);
}

/* Places at ... end-1 are of a piece that ends at `end`. Some are set at a time: those that are too
 * many are set again with the next piece. */
AVX2 static inline void set_ends(struct block *b, size_t at, size_t end) {
    const __m256i x = _mm256_set1_epi16((short)end);
    for (; at < end; at += 2 * EIGHT) _mm256_storeu_si256((__m256i *)(void *)(b->end + at), x);
}

AVX2 int bpe_merge_rounds(const struct tokenizer *t, const struct trie *trie, struct bpe_scratch *s,
                          const uint8_t *piece, size_t n, size_t *ret_n, size_t *ret_unsure,
                          struct u32s *out, struct err *err) {
    struct block b;
    size_t seen = n < BPE_ROUNDS_SEEN ? n : BPE_ROUNDS_SEEN;
    set_text(&b, piece, n < BLOCK ? n : BLOCK, seen);
    for (size_t i = 0; i < b.n; i++) b.end[i] = (uint16_t)seen;
    return merge_block(t, trie, s, &b, ret_n, ret_unsure, out, err);
}

AVX2 int bpe_merge_pieces(const struct tokenizer *t, const struct trie *trie, struct bpe_scratch *s,
                          const uint8_t *text, size_t from, const uint32_t *ends, size_t n,
                          size_t *ret_unsure, struct u32s *out, struct err *err) {
    struct block b;
    size_t all = ends[n - 1] - from, at = 0, done;
    set_text(&b, text + from, all, all);
    for (size_t i = 0; i < n; at = ends[i++] - from) set_ends(&b, at, ends[i] - from);
    return merge_block(t, trie, s, &b, &done, ret_unsure, out, err);
}

#else

const struct bpe_rounds *bpe_rounds_at(const struct tokenizer *t, int i) {
    (void)t, (void)i;
    return NULL;
}

int bpe_merge_rounds(const struct tokenizer *t, const struct trie *trie, struct bpe_scratch *s,
                     const uint8_t *piece, size_t n, size_t *ret_n, size_t *ret_unsure,
                     struct u32s *out, struct err *err) {
    (void)t, (void)trie, (void)s, (void)piece, (void)n, (void)ret_n, (void)ret_unsure, (void)out;
    return err_set(err, ERR_OTHER, "rounds without AVX2");
}

int bpe_merge_pieces(const struct tokenizer *t, const struct trie *trie, struct bpe_scratch *s,
                     const uint8_t *text, size_t from, const uint32_t *ends, size_t n,
                     size_t *ret_unsure, struct u32s *out, struct err *err) {
    (void)t, (void)trie, (void)s, (void)text, (void)from, (void)ends, (void)n, (void)ret_unsure;
    (void)out;
    return err_set(err, ERR_OTHER, "rounds without AVX2");
}

#endif
