/* The ids of a tokenizer's own bos, eos and pad tokens, for a new model's config.json. */
#ifndef LORY_TOOLS_SPECIAL_IDS_H
#define LORY_TOOLS_SPECIAL_IDS_H

#include <stdint.h>
#include "base/err.h"
#include "base/hash.h"

/* Reads tokenizer_config.json (or special_tokens_map.json) in `dir` for the tokens' texts and the
 * tokenizer beside it for their ids. What the files do not name, stays as it is; an explicit null
 * is -1. `ret_digest` is the tokenizer's. ERR_CORRUPT: a token that the tokenizer does not have. */
int special_ids(const char *dir, int64_t *bos, int64_t *eos, int64_t *pad,
                char ret_digest[SHA256_HEX], struct err *err);

#endif
