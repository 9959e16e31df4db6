/* Text that no cache knows: base64, random words, characters at random. To look up such a piece, to
 * merge it and to store it takes longer than to merge it; so whole blocks of pieces are merged in
 * rounds (bpe_rounds.c) instead, whose time depends on the bytes alone.
 *
 * Text of a language is not like that, even where half of its pieces are new, as sentences of
 * Japanese are: their parts are known, and what rounds take is not learnt.
 *
 *   look up 64 pieces ─▶ new? ─no─▶ look up the next 64
 *          ▲              └─yes─▶ merge STRETCH bytes in rounds ─┐
 *          └─────────────────────────────────────────────────────┘
 *
 * Rounds take long where tokens are long, as each waits for those within it: words of a language go
 * by the caches, new or not. And a block of few ids, or of much that rounds could not settle, is
 * the last one. */
#include "tokenizer/bpe.h"
#include "tokenizer/encode_inside.h"

enum {
    STRETCH = 16 << 10,
    FIRST = 1 << 18, /* new bytes before the tree of tokens is made, which takes as long as twice
                      * to six times as many */
};

/* Pieces are what merging makes of them: with ignore_merges, where all tokens are. */
static bool can(const struct tokenizer *t) {
    return bpe_rounds_can(t) && (!t->ignore_merges || t->all_made);
}

/* Pieces from ends[i] on go into a block as far as the one that is returned. */
static size_t block_end(size_t from, const uint32_t *ends, size_t n_ends, size_t i) {
    while (i < n_ends && ends[i] - from <= BPE_ROUNDS_BLOCK) i++;
    return i;
}

int fresh_take(struct encoder *e, const uint8_t *text, size_t *from, const uint32_t *ends,
               size_t n_ends, size_t *i, struct u32s *out, struct err *err) {
    struct fresh *f = &e->fresh;
    int rc = 0;
    if (f->total < FIRST || !can(e->t)) return 0;
    if (!f->trie) rc = vocab_trie(&f->trie, e->t, err);
    if (rc < 0 || !f->trie || !f->trie->slot) return rc;
    while (f->left) {
        const size_t to = block_end(*from, ends, n_ends, *i), first = out->n;
        size_t unsure;
        if (to == *i) return 0;
        const size_t bytes = ends[to - 1] - *from;
        rc = bpe_merge_pieces(e->t, f->trie, &e->scratch, text, *from, ends + *i, to - *i, &unsure,
                              out, err);
        if (rc < 0) return rc;
        *from = ends[to - 1];
        *i = to;
        f->left -= bytes < f->left ? bytes : f->left;
        if (bpe_rounds_slow(bytes, out->n - first, unsure)) f->of_them = f->left = 0;
    }
    f->left = STRETCH;
    return 0;
}
