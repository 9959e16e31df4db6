/* Tokens as a tree of bytes (inside tokenizer/): which of them begin at each place of a text, and
 * what rank the merge has that makes them.
 *
 *   text   t h e n          begin at t: th, the, then
 *                           at h: he, hen    at e: en
 *
 * That is all that merging has to know: of two symbols side by side whose bytes together are such a
 * token, the rank is the token's, and other two do not merge. For merges within some bytes do not
 * depend on what is around until one goes beyond them: so if bytes alone become one token, it is
 * always the same two symbols that do. Tokens that merging never makes are left out, and those of
 * more than TRIE_DEPTH bytes are in it as far as that, with the length of the longest that begins
 * so.
 *
 * The tree is a double array: the children of a node are at slot[base + byte], each with its byte
 * as a label, and no two nodes have the same base. A slot in 64 bits:
 *
 *   | base:24 | order:23 | children:8 | label:9 |
 *
 * base: of the children; order: rank + 1, or TRIE_NONE; children: bit (byte & 7) is set for each of
 * them; label: 256 where no node is. So order and children are in the 32 bits from the second byte
 * on, which vectors gather. At the depth of TRIE_DEPTH base is the length of the longest token, and
 * children is not zero if that is more. */
#ifndef LORY_TOKENIZER_TRIE_H
#define LORY_TOKENIZER_TRIE_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct tokenizer;

enum { TRIE_DEPTH = 16, TRIE_NONE = (1 << 23) - 1 };

struct trie {
    uint64_t *slot; /* NULL: ranks or the tree are too large for one */
    uint64_t *two;  /* (256 x 256) the nodes of all two bytes, to begin with */
    /* (t->n) for each token in the tree the longest one of TRIE_DEPTH bytes at most with which it
     * begins, or its first byte's. */
    uint32_t *shorter;
};

/* The tree of t's tokens. */
int trie_new(struct trie **ret, const struct tokenizer *t, struct err *err);
void trie_free(struct trie *trie);

static inline uint32_t trie_label(uint64_t slot) {
    return slot & 511;
}
static inline uint32_t trie_children(uint64_t slot) {
    return slot >> 9 & 255;
}
static inline uint32_t trie_base(uint64_t slot) {
    return (uint32_t)(slot >> 40);
}
static inline uint32_t trie_order(uint64_t slot) {
    return slot >> 17 & TRIE_NONE;
}

#endif
