/* A block of text on its way through the rounds of bpe_rounds.c, and the steps that are taken
 * differently by vectors of AVX-512 (inside tokenizer/). */
#ifndef LORY_TOKENIZER_BPE_ROUNDS_H
#define LORY_TOKENIZER_BPE_ROUNDS_H

#include "tokenizer/bpe.h"

enum {
    BLOCK = BPE_ROUNDS_BLOCK,
    AHEAD = BPE_ROUNDS_SEEN - BLOCK, /* bytes behind a block that its tokens may reach into */
    SPARE = 16,                      /* numbers that vectors read and write behind the last */
    WORDS = BLOCK / 64 + 2,
    NONE = TRIE_NONE,
};
_Static_assert(AHEAD < 64, "bits behind a block");

/* Orders are ranks + 1: 0 is below all, NONE above all. Places are those of first bytes; a boundary
 * is before the byte of its number. */
struct block {
    size_t n;                              /* bytes                                             */
    uint8_t text[BLOCK + AHEAD + SPARE];   /* with what is behind it, or zeros                  */
    uint16_t end[BLOCK + SPARE];           /* of each place's piece: no token reaches beyond it */
    uint64_t bound[WORDS];                 /* bits: a symbol begins here; ones behind the block */
    uint32_t pair[BLOCK + SPARE];          /* order of the token of two bytes here, or NONE     */
    uint32_t least[BLOCK + AHEAD + SPARE]; /* least order across a boundary; 0: not known       */
    uint32_t sym[BLOCK + SPARE];           /* order of the symbol that begins here; 0: a byte   */
    size_t n_tokens;
    uint64_t token[BLOCK * (TRIE_DEPTH - 1) + SPARE]; /* that may still come, see token_of() */
    size_t n_sure;
    uint64_t sure[BLOCK + SPARE]; /* tokens of this round, with the length of their left half */
    size_t n_long;
    struct reach {
        uint16_t from, to; /* boundaries across which tokens beyond TRIE_DEPTH may lie */
    } longs[BLOCK];
};

static inline uint64_t token_of(size_t at, size_t len, uint32_t order) {
    return (uint64_t)order << 32 | len << 16 | at;
}
static inline size_t place(uint64_t token) {
    return token & 0xFFFF;
}
static inline size_t length(uint64_t token) {
    return token >> 16 & 0xFFFF;
}
static inline uint32_t order(uint64_t token) {
    return (uint32_t)(token >> 32);
}

/* A place where a token of more than TRIE_DEPTH bytes begins, `longest` at most. */
static inline void add_long(struct block *b, size_t at, size_t longest) {
    size_t to = at + longest - 1, most = b->end[at] - 1;
    most = most < b->n ? most : b->n;
    b->longs[b->n_long++] = (struct reach){(uint16_t)(at + 1), (uint16_t)(to < most ? to : most)};
}

struct bpe_rounds {
    /* Finds all tokens of the text: those of two bytes to `pair`, the others to `token`, the
     * shortest first, and to `longs`. */
    void (*find)(const struct trie *trie, struct block *b);
    /* Drops the tokens that begin or end within a symbol, or are one. */
    void (*drop)(struct block *b);
    /* Finds the tokens of two symbols that are certain, to `sure`. */
    void (*find_sure)(struct block *b);
    /* The ids of the symbols that begin at from ... to-1 to `out`, where there is room for SPARE
     * more; returns the end. */
    uint32_t *(*put)(const struct tokenizer *t, const struct block *b, size_t from, size_t to,
                     uint32_t *out);
};

extern const struct bpe_rounds bpe_rounds_avx2, bpe_rounds_avx512;

#endif
