/* The vocabulary while it is being learned (inside tokenizer/): specials, alphabet, then one token
 * per merge, in HF's order.
 *
 *   id    0 … S-1          S … S+255                             S+256 …
 *         specials         bytes by their mapped character       merges
 *                          (or by value)
 *
 * A special of one character that is a mapped character takes that byte's place, and a merge whose
 * text is that of a special gets the special's id: HF compares tokens as mapped strings. */
#ifndef LORY_TOKENIZER_MERGES_VOCAB_H
#define LORY_TOKENIZER_MERGES_VOCAB_H

#include "base/buf.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/train.h"

struct merges_vocab {
    uint32_t n;               /* tokens so far                                        */
    uint32_t byte_id[256];    /* id of each byte, TOKENIZER_NO_ID: not in the alphabet */
    struct u32s len;          /* (n) bytes of each token, as the merges count them    */
    struct buf bytes;         /* the tokens, one after the other                      */
    struct u64s start;        /* (n + 1)                                              */
    struct strs special;      /* distinct specials; ids 0 …                           */
    struct buf unmapped;      /* bytes that the specials' characters stand for        */
    struct u64s unmapped_end; /* (specials) end in `unmapped`; empty: stand for none  */
    struct merge *merge;
    size_t n_merges, cap_merges;

    /* only when an existing vocabulary is extended (extend.c) */
    const struct tokenizer *old;
    uint64_t old_merges;
    struct tokenizer *base;  /* the old vocabulary and the new specials */
    struct encoder *encoder; /* of `base`: how words begin              */
    size_t longest;          /* bytes of the longest old token          */
    char *joined;            /* room for it                             */
};

/* `words` tell which bytes are frequent. */
int merges_vocab_init(struct merges_vocab *v, const struct bpe_train_opts *opts,
                      const struct words *words, struct err *err);
/* Appends the tokens that a word consists of before the first merge. */
int merges_vocab_cut(const struct merges_vocab *v, const char *word, size_t n, struct u32s *out,
                     struct err *err);
/* True when the two joined are a token of the vocabulary that is extended: never to be merged. */
bool merges_vocab_taken(const struct merges_vocab *v, uint32_t left, uint32_t right);
/* Records the merge of two ids; *ret_id is the new token, or a special that has this text. */
int merges_vocab_add(struct merges_vocab *v, uint32_t left, uint32_t right, uint32_t *ret_id,
                     struct err *err);
/* May a pair of tokens of these lengths be counted? HF: strictly less than the limit, but any two
 * single bytes may. `limit` 0: no limit. */
static inline bool merges_countable(uint32_t left, uint32_t right, uint32_t limit) {
    uint64_t len = (uint64_t)left + right;
    return limit == 0 || len < limit || len == 2;
}
/* Makes the tokenizer. */
int merges_vocab_build(const struct merges_vocab *v, const struct bpe_train_opts *opts,
                       struct tokenizer **ret, struct err *err);
/* Parts of the above: a special behind the last token, do the two joined spell one, and what
 * extend.c does of it. */
int merges_vocab_add_special(struct merges_vocab *v, const char *text, struct err *err);
bool merges_vocab_spells_special(const struct merges_vocab *v, uint32_t left, uint32_t right);
int merges_vocab_extend(struct merges_vocab *v, const struct bpe_train_opts *opts, struct err *err);
int merges_vocab_build_extended(const struct merges_vocab *v, struct tokenizer **ret,
                                struct err *err);
/* Copies the settings of `like` to a new tokenizer; see like.c. */
int merges_vocab_like(struct tokenizer *t, const struct tokenizer *like, struct err *err);
void merges_vocab_release(struct merges_vocab *v);

#endif
