/* config.json and generation_config.json of a GPT-2, as transformers writes and reads them. What
 * would change the numbers and is not built here (cross attention, another activation) is
 * refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "train/config.h"
#include "train/llmc_model.h"

/* The layout of the files is this version's; transformers reads it as a note only. */
#define LAYOUT_VERSION "5.23.0"

/* ------------------------------------------------------------------ reading */

/* A count under its GPT-2 name or the general one (transformers' attribute_map); null: as it is. */
static int read_count(const cJSON *o, const char *key, const char *alias, int *ret,
                      const char *what, struct err *err) {
    uint64_t x = (uint64_t)*ret;
    int rc = 0;
    if (alias) rc = json_u64(o, alias, INT32_MAX, &x, what, err);
    if (rc == 0) rc = json_u64(o, key, INT32_MAX, &x, what, err);
    *ret = (int)x;
    return rc;
}

static int read_float(const cJSON *o, const char *key, float *ret, const char *what,
                      struct err *err) {
    double x = *ret;
    int rc = json_f64(o, key, &x, what, err);
    *ret = (float)x;
    return rc;
}

/* A token id, or null for none. */
static int take_id(const cJSON *x, const char *key, int64_t *ret, const char *what,
                   struct err *err) {
    if (!x || cJSON_IsNull(x)) {
        *ret = -1;
        return 0;
    }
    if (!cJSON_IsNumber(x) || x->valuedouble != floor(x->valuedouble) ||
        fabs(x->valuedouble) > INT32_MAX)
        return err_set(err, ERR_CORRUPT, "%s: \"%s\" is not a token id", what, key);
    *ret = x->valuedouble < 0 ? -1 : (int64_t)x->valuedouble;
    return 0;
}

/* The same, or a list, of which the first counts. */
static int read_id(const cJSON *o, const char *key, int64_t *ret, const char *what,
                   struct err *err) {
    const cJSON *x = json_get(o, key);
    return x ? take_id(cJSON_IsArray(x) ? x->child : x, key, ret, what, err) : 0;
}

/* Any of a list ends a text. */
static int read_eos(struct model_config *c, const cJSON *o, const char *what, struct err *err) {
    const cJSON *ids = json_get(o, "eos_token_id");
    bool many = cJSON_IsArray(ids);
    int rc = 0, n = 0;
    if (!ids) return 0;
    c->eos = -1;
    c->n_eos_more = 0;
    for (const cJSON *x = many ? ids->child : ids; rc == 0 && x; x = many ? x->next : NULL) {
        int64_t id = -1;
        rc = take_id(x, "eos_token_id", &id, what, err);
        if (rc < 0 || id < 0) continue;
        if (n > MODEL_EOS_MORE)
            return err_set(err, ERR_CORRUPT, "%s: \"eos_token_id\" has more than %d ids", what,
                           MODEL_EOS_MORE + 1);
        if (n++ == 0)
            c->eos = id;
        else
            c->eos_more[c->n_eos_more++] = (uint32_t)id;
    }
    return rc;
}

static int read_names(struct model_config *c, const cJSON *o, const char *what, struct err *err) {
    const char *type = "gpt2", *act = "gelu_new", *dtype = "float32";
    bool cross = false;
    int rc = json_str(o, "model_type", &type, what, err);
    if (rc == 0) rc = json_str(o, "activation_function", &act, what, err);
    if (rc == 0) rc = json_str(o, "torch_dtype", &dtype, what, err);
    if (rc == 0) rc = json_str(o, "dtype", &dtype, what, err);
    if (rc == 0) rc = json_bool(o, "add_cross_attention", &cross, what, err);
    if (rc < 0) return rc;
    if (strcmp(type, "gpt2") != 0)
        return err_set(err, ERR_CORRUPT, "%s: model_type \"%.32s\" is not gpt2", what, type);
    if (cross) return err_set(err, ERR_CORRUPT, "%s: cross attention is not supported", what);
    if (strcmp(act, "gelu_new") == 0 || strcmp(act, "gelu_pytorch_tanh") == 0 ||
        strcmp(act, "gelu_fast") == 0)
        c->act = ACT_GELU_TANH;
    else if (strcmp(act, "gelu") == 0 || strcmp(act, "gelu_python") == 0)
        c->act = ACT_GELU_ERF;
    else
        return err_set(err, ERR_CORRUPT,
                       "%s: activation_function \"%.32s\" is not supported; gelu_new and gelu are",
                       what, act);
    c->dtype = strcmp(dtype, "bfloat16") == 0 ? DTYPE_BF16 : DTYPE_F32;
    return 0;
}

static int read_flags(struct model_config *c, const cJSON *o, const char *what, struct err *err) {
    int rc = json_bool(o, "scale_attn_weights", &c->scale_attn, what, err);
    if (rc == 0)
        rc = json_bool(o, "scale_attn_by_inverse_layer_idx", &c->scale_by_layer, what, err);
    if (rc == 0) rc = json_bool(o, "reorder_and_upcast_attn", &c->reorder_upcast, what, err);
    if (rc == 0) rc = json_bool(o, "tie_word_embeddings", &c->tied, what, err);
    if (rc == 0) rc = read_id(o, "bos_token_id", &c->bos, what, err);
    if (rc == 0) rc = read_eos(c, o, what, err);
    if (rc == 0) rc = read_id(o, "pad_token_id", &c->pad, what, err);
    return rc;
}

static int read_config(struct model_config *c, const cJSON *o, const char *what, struct err *err) {
    int rc;
    *c = model_config_gpt2;
    if (!cJSON_IsObject(o)) return err_set(err, ERR_CORRUPT, "%s: not an object", what);
    rc = read_names(c, o, what, err);
    if (rc == 0) rc = read_count(o, "vocab_size", NULL, &c->V, what, err);
    if (rc == 0) rc = read_count(o, "n_positions", "max_position_embeddings", &c->P, what, err);
    if (rc == 0) rc = read_count(o, "n_layer", "num_hidden_layers", &c->L, what, err);
    if (rc == 0) rc = read_count(o, "n_head", "num_attention_heads", &c->NH, what, err);
    if (rc == 0) rc = read_count(o, "n_embd", "hidden_size", &c->C, what, err);
    c->inner = 0;
    if (rc == 0) rc = read_count(o, "n_inner", NULL, &c->inner, what, err);
    /* transformers: `n_inner if n_inner is not None`; a width that is refused below stays 0 */
    if (c->inner == 0 && c->C <= INT32_MAX / 4 && !cJSON_IsNumber(json_get(o, "n_inner")))
        c->inner = 4 * c->C;
    if (rc == 0) rc = read_float(o, "layer_norm_epsilon", &c->eps, what, err);
    if (rc == 0) rc = read_float(o, "embd_pdrop", &c->embd_pdrop, what, err);
    if (rc == 0) rc = read_float(o, "attn_pdrop", &c->attn_pdrop, what, err);
    if (rc == 0) rc = read_float(o, "resid_pdrop", &c->resid_pdrop, what, err);
    if (rc == 0) rc = read_float(o, "initializer_range", &c->init_range, what, err);
    if (rc == 0) rc = read_flags(c, o, what, err);
    return rc == 0 ? model_config_check(c, ERR_CORRUPT, what, err) : rc;
}

int model_config_load(struct model_config *ret, const char *dir, struct err *err) {
    if (file_kind(dir) == FILE_REGULAR) return llmc_config(ret, dir, err);
    struct model_config c;
    cJSON *tree = NULL;
    char *path = path_join(dir, "config.json");
    int rc = path ? json_load(&tree, path, err) : err_nomem(err, 0);
    if (rc == 0) rc = read_config(&c, tree, path, err);
    if (rc == 0) *ret = c;
    cJSON_Delete(tree);
    free(path);
    return rc;
}

int model_config_ends(struct model_config *c, const char *path, struct err *err) {
    cJSON *tree = NULL;
    int rc = json_load(&tree, path, err);
    if (rc == 0) rc = read_eos(c, tree, path, err);
    cJSON_Delete(tree);
    return rc;
}

/* ------------------------------------------------------------------ writing */

/* A member being written: `ok` turns false when memory is out. */
struct writing {
    cJSON *o;
    bool ok;
};

static void put_int(struct writing *w, const char *key, int64_t x) {
    w->ok = w->ok && cJSON_AddNumberToObject(w->o, key, (double)x);
}

static void put_bool(struct writing *w, const char *key, bool x) {
    w->ok = w->ok && cJSON_AddBoolToObject(w->o, key, x);
}

static void put_str(struct writing *w, const char *key, const char *s) {
    w->ok = w->ok && cJSON_AddStringToObject(w->o, key, s);
}

static void put_null(struct writing *w, const char *key) {
    w->ok = w->ok && cJSON_AddNullToObject(w->o, key);
}

static void put_id(struct writing *w, const char *key, int64_t id) {
    if (id < 0)
        put_null(w, key);
    else
        put_int(w, key, id);
}

static void put_eos(struct writing *w, const struct model_config *c) {
    if (!c->n_eos_more) {
        put_id(w, "eos_token_id", c->eos);
        return;
    }
    cJSON *list = cJSON_AddArrayToObject(w->o, "eos_token_id");
    for (int i = -1; i < c->n_eos_more && w->ok; i++) {
        cJSON *id = cJSON_CreateNumber(i < 0 ? (double)c->eos : (double)c->eos_more[i]);
        w->ok = list && id && cJSON_AddItemToArray(list, id);
    }
}

/* The shortest text that reads back as the same float, with a fraction or exponent: transformers
 * checks that layer_norm_epsilon is a float, and Python's 1 is none. */
static void put_float(struct writing *w, const char *key, float x) {
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text - 2, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) break;
    }
    if (!strpbrk(text, ".e")) memcpy(text + strlen(text), ".0", sizeof ".0");
    w->ok = w->ok && cJSON_AddRawToObject(w->o, key, text);
}

static void put_architectures(struct writing *w) {
    cJSON *list = cJSON_AddArrayToObject(w->o, "architectures");
    cJSON *name = cJSON_CreateString("GPT2LMHeadModel");
    w->ok = w->ok && list && name && cJSON_AddItemToArray(list, name);
}

/* Keys in the order of the alphabet, as transformers sorts them. */
static void put_config(struct writing *w, const struct model_config *c) {
    put_str(w, "activation_function", c->act == ACT_GELU_ERF ? "gelu" : "gelu_new");
    put_bool(w, "add_cross_attention", false);
    put_architectures(w);
    put_float(w, "attn_pdrop", c->attn_pdrop);
    put_id(w, "bos_token_id", c->bos);
    put_str(w, "dtype", c->dtype == DTYPE_BF16 ? "bfloat16" : "float32");
    put_float(w, "embd_pdrop", c->embd_pdrop);
    put_eos(w, c);
    put_float(w, "initializer_range", c->init_range);
    put_float(w, "layer_norm_epsilon", c->eps);
    put_str(w, "model_type", "gpt2");
    put_int(w, "n_embd", c->C);
    put_int(w, "n_head", c->NH);
    if (c->inner == 4 * c->C)
        put_null(w, "n_inner");
    else
        put_int(w, "n_inner", c->inner);
    put_int(w, "n_layer", c->L);
    put_int(w, "n_positions", c->P);
    put_id(w, "pad_token_id", c->pad);
    put_bool(w, "reorder_and_upcast_attn", c->reorder_upcast);
    put_float(w, "resid_pdrop", c->resid_pdrop);
    put_bool(w, "scale_attn_by_inverse_layer_idx", c->scale_by_layer);
    put_bool(w, "scale_attn_weights", c->scale_attn);
    put_null(w, "summary_activation");
    put_float(w, "summary_first_dropout", 0.1f);
    put_bool(w, "summary_proj_to_labels", true);
    put_str(w, "summary_type", "cls_index");
    put_bool(w, "summary_use_proj", true);
    put_bool(w, "tie_word_embeddings", c->tied);
    put_str(w, "transformers_version", LAYOUT_VERSION);
    put_bool(w, "use_cache", true);
    put_int(w, "vocab_size", c->V);
}

static void put_generation(struct writing *w, const struct model_config *c) {
    put_bool(w, "_from_model_config", true);
    if (c->bos >= 0) put_id(w, "bos_token_id", c->bos);
    if (c->eos >= 0) put_eos(w, c);
    put_bool(w, "output_attentions", false);
    put_bool(w, "output_hidden_states", false);
    if (c->pad >= 0) put_id(w, "pad_token_id", c->pad);
    put_str(w, "transformers_version", LAYOUT_VERSION);
    put_bool(w, "use_cache", true);
}

static int save(const struct model_config *c, const char *dir, const char *name,
                void (*put)(struct writing *w, const struct model_config *c), struct err *err) {
    struct writing w = {.o = cJSON_CreateObject()};
    char *path = path_join(dir, name);
    int rc;
    w.ok = w.o && path;
    if (w.ok) put(&w, c);
    rc = w.ok ? json_save(path, w.o, true, err) : err_nomem(err, 0);
    cJSON_Delete(w.o);
    free(path);
    return rc;
}

int model_config_save(const struct model_config *c, const char *dir, struct err *err) {
    int rc = save(c, dir, "config.json", put_config, err);
    return rc == 0 ? save(c, dir, "generation_config.json", put_generation, err) : rc;
}
