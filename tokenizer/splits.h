/* Which of the merges that ranks of tokens stand for ever come to pass (inside tokenizer/). Any two
 * neighbours merge whose bytes are a token; but of the splits of a token all but one never are
 * neighbours, since something has gone across before. They need no place in the table of pairs: of
 * 446,189 splits o200k keeps 199,742. */
#ifndef LORY_TOKENIZER_SPLITS_H
#define LORY_TOKENIZER_SPLITS_H

#include "base/err.h"

struct tokenizer;

/* Makes t->pairs, which is empty, of those of t->merges that may come to pass. They are all splits
 * of all tokens, by rising id, and their ranks are the ids. */
int splits_of_ranks(struct tokenizer *t, struct err *err);

#endif
