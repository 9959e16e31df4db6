/* Ranks of tokens, as tiktoken has them (inside tokenizer/): any two neighbours merge whose bytes
 * together are a token, the lowest id first, the left ones of equals.
 *
 * So a token may have many splits; but the bytes of a token alone come down to two symbols in one
 * way at most, and only what comes to pass there comes to pass anywhere (splits.h):
 *
 *   token    there 8117       its bytes by shorter tokens: t h e r e ─▶ t he re ─▶ the re
 *   splits   t|here, th|ere, the|re, ther|e         the pair is the|re, and the others never meet
 *
 * Of 446,189 splits o200k keeps 199,742: that many tokens have more than one byte. */
#ifndef LORY_TOKENIZER_RANKS_H
#define LORY_TOKENIZER_RANKS_H

#include "tokenizer/vocab.h"

/* Fills t->split, t->pairs, t->byte_ranks and t->all_made, of which the first three are there and
 * empty, of t's tokens. Linear in their bytes, where none is long. */
int ranks_learn(struct tokenizer *t, struct err *err);

/* All splits of all tokens in two tokens, by (result, left): what a list of merges has to hold that
 * means the same, as the converter of transformers writes it. To free(). */
int ranks_list(const struct tokenizer *t, struct merge **ret, uint64_t *ret_n, struct err *err);

#endif
