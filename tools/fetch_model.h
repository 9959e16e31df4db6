/* A model's folder of the Hub, fetched once and kept: hf://NS/NAME[@REVISION].
 *
 * The place is huggingface_hub's cache ($HF_HOME/hub), so that transformers finds it there, and we
 * find what transformers fetched. What is there is not fetched again; with HF_HUB_OFFLINE nothing
 * else is read. */
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
