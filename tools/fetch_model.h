/* A model's folder of the Hub, fetched once and kept: hf://NS/NAME[@REVISION].
 *
 *   $XDG_CACHE_HOME/lory/models/NS--NAME/COMMIT/   (~/.cache/lory/… without it)
 *
 * What is there with the sha256 that the Hub names is not fetched again; without a network
 * (HF_HUB_OFFLINE) the commit last seen of that revision serves. */
#ifndef LORY_TOOLS_FETCH_MODEL_H
#define LORY_TOOLS_FETCH_MODEL_H

#include <stdbool.h>
#include "base/err.h"
#include "base/log.h"

/* True for hf://… */
bool model_is_remote(const char *name);
/* Fetches configuration, safetensors and the tokenizer's files; *ret_dir (malloc'd) is the folder.
 * ERR_NET, ERR_DATA: the repository holds no GPT-2 in safetensors. */
int model_fetch(char **ret_dir, const char *name, int threads, const struct log *log,
                struct err *err);

#endif
