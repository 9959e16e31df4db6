/* The shape of a GPT-2: config.json, presets, counts. */
#ifndef LORY_TRAIN_CONFIG_H
#define LORY_TRAIN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "train/op.h"

enum { MODEL_EOS_MORE = 7 };

struct model_config {
    int V;        /* vocab_size                                                   */
    int P;        /* n_positions                                                  */
    int L, NH, C; /* n_layer, n_head, n_embd                                      */
    int inner;    /* n_inner; 4 C if the file says null                           */
    enum act act; /* activation_function                                          */
    float eps;    /* layer_norm_epsilon                                           */
    float embd_pdrop, attn_pdrop, resid_pdrop;
    float init_range;      /* initializer_range, 0.02                                      */
    bool scale_attn;       /* scale_attn_weights: 1 / sqrt(HS)                             */
    bool scale_by_layer;   /* scale_attn_by_inverse_layer_idx                              */
    bool reorder_upcast;   /* reorder_and_upcast_attn: the same numbers here (we do both in fp32) */
    bool tied;             /* tie_word_embeddings                                          */
    int64_t bos, eos, pad; /* -1: none                                                    */
    uint32_t eos_more[MODEL_EOS_MORE]; /* eos_token_id as a list: those behind the first        */
    int n_eos_more;
    enum dtype dtype; /* of the stored weights ("dtype"/"torch_dtype")                */
};

/* GPT-2 small with HF's defaults. */
extern const struct model_config model_config_gpt2;
/* "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "d6" … "d48" (llm.c's depth rule). ERR_USAGE
 * lists them. */
int model_config_preset(struct model_config *ret, const char *name, struct err *err);
/* Reads DIR/config.json, or the header of llm.c's model file `dir`; everything is range-checked
 * before anything is allocated by it. ERR_CORRUPT. */
int model_config_load(struct model_config *ret, const char *dir, struct err *err);
/* The ids that end a text for generate() of transformers: those of a generation_config.json,
 * `path`, if it names any, count before config.json's. ERR_IO, ERR_CORRUPT. */
int model_config_ends(struct model_config *c, const char *path, struct err *err);
/* Writes DIR/config.json as transformers does (and generation_config.json). */
int model_config_save(const struct model_config *c, const char *dir, struct err *err);
/* ERR_USAGE/ERR_CORRUPT (`code`) if a number is out of range or C is not a multiple of NH. */
int model_config_check(const struct model_config *c, int code, const char *what, struct err *err);
/* Parameters, each tied tensor counted once. */
uint64_t model_config_params(const struct model_config *c);

#endif
