/* Whether token shards suit a model: the ids that it knows, the positions that it has. */
#ifndef LORY_TOOLS_SAME_TOKENS_H
#define LORY_TOOLS_SAME_TOKENS_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

/* The folder of the tokenizer that lies with `shards` (a folder, or a .bin in it), there or not;
 * NULL: out of memory. Caller frees. */
char *shards_tokenizer(const char *shards);

/* Compares the tokenizers in the two folders, if both hold one: an id that both know must be the
 * same token. One may have more of them than the other. ERR_USAGE names the first id that is not;
 * ERR_CORRUPT, ERR_NOMEM. */
int same_tokens(const char *model_dir, const char *tokenizer_dir, struct err *err);

/* ERR_USAGE if windows of T tokens are longer than the `positions` of a model; `given`: T is the
 * user's --seq-len, else the shards'. */
int fits_positions(uint64_t T, bool given, int positions, const char *model_dir, struct err *err);

#endif
