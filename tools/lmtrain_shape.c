/* The shape of the model that is trained: of given weights, a preset or the options; its ids, its
 * type (lmtrain_parts.h). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "tools/fetch_model.h"
#include "tools/lmtrain_parts.h"
#include "tools/same_tokens.h"
#include "tools/special_ids.h"
#include "train/checkpoint.h"
#include "train/state.h"

/* The first option that wants another shape than that of the weights given, or NULL. */
static const char *conflict(const struct plan *p) {
    const struct options *o = p->o;
    const struct model_config *c = &p->config;
    const struct {
        const char *name;
        uint64_t wanted, have;
    } shape[] = {
        {"layers", o->layers, (uint64_t)c->L},
        {"width", o->width, (uint64_t)c->C},
        {"heads", o->heads, (uint64_t)c->NH},
        {"inner", o->inner, (uint64_t)c->inner},
        {"positions", o->positions, (uint64_t)c->P},
        {"tied", o->tied, c->tied},
        {"activation", !strcmp(o->activation, "gelu"), c->act == ACT_GELU_ERF},
        {"scale-attn-by-inverse-layer-idx", o->by_layer, c->scale_by_layer},
    };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        if (given(p, shape[i].name) && shape[i].wanted != shape[i].have) return shape[i].name;
    return NULL;
}

static bool shaped(const struct plan *p) {
    return given(p, "layers") || given(p, "width") || given(p, "heads");
}

/* A folder, llm.c's file, or a repository of the Hub, which is fetched; else it must be a shape. */
static int find_model(struct plan *p, struct err *err) {
    const char *model = p->o->model;
    enum file_kind kind = model ? file_kind(model) : FILE_NONE;
    if (!model) return 0;
    if (model_is_remote(model))
        return model_fetch(&p->model_dir, model, tool_threads(p->tool), &p->tool->log, err);
    if (kind == FILE_FOLDER || (kind == FILE_REGULAR && path_ends(model, ".bin")))
        p->model_dir = strdup(model);
    else if (strchr(model, '/') || kind != FILE_NONE)
        return err_set(err, ERR_IO, "--model %s: no folder, and no .bin of llm.c", model);
    return 0;
}

/* config of --model, or GPT-2's; and where its weights are. */
static int base_config(struct plan *p, struct err *err) {
    const struct options *o = p->o;
    p->config = model_config_gpt2;
    int rc = find_model(p, err);
    if (rc == 0 && o->model)
        rc = p->model_dir ? model_config_load(&p->config, p->model_dir, err)
                          : model_config_preset(&p->config, o->model, err);
    if (rc == ERR_USAGE && !p->model_dir && file_kind(o->model) == FILE_NONE)
        err_hint(err, "nor is there a folder of that name");
    if (rc < 0 || !o->model || o->from_scratch || (shaped(p) && !p->model_dir)) return rc;
    const char *own = p->model_dir ? conflict(p) : NULL;
    if (own) {
        err_set(err, ERR_USAGE, "--%s is for a new model; %s has its shape", own, o->model);
        return err_hint(err, "add --from-scratch to take only the rest of that shape");
    }
    if (!p->model_dir && given(p, "model")) {
        err_set(err, ERR_USAGE, "--model %s names a shape, not weights", o->model);
        return err_hint(err, "add --from-scratch, or give a folder with model.safetensors");
    }
    p->init_dir = p->model_dir;
    return rc == 0 && p->init_dir ? model_check_files(&p->config, p->init_dir, err) : rc;
}

/* A shape of one's own: layers, width, heads (64 wide unless told). */
static void reshape(struct plan *p) {
    struct model_config *c = &p->config;
    const struct options *o = p->o;
    if (given(p, "layers")) c->L = (int)o->layers;
    if (given(p, "width")) {
        c->C = (int)o->width;
        c->inner = 4 * c->C;
        if (!given(p, "heads") && c->C % c->NH)
            c->NH = c->C % 64 ? 1 : c->C / 64;
        else if (!given(p, "heads") && c->C % 64 == 0)
            c->NH = c->C / 64;
    }
    if (given(p, "heads")) c->NH = (int)o->heads;
    if (given(p, "inner")) c->inner = (int)o->inner;
    if (given(p, "tied")) c->tied = o->tied;
    if (given(p, "activation"))
        c->act = strcmp(o->activation, "gelu") ? ACT_GELU_TANH : ACT_GELU_ERF;
    c->scale_by_layer |= o->by_layer;
    c->reorder_upcast |= o->upcast;
}

/* V: --vocab, else the shards', else the model's. */
static int choose_vocab(struct plan *p, struct err *err) {
    uint32_t shards = p->train_set.vocab;
    if (p->has_valid && p->valid_set.vocab > shards) shards = p->valid_set.vocab;
    uint64_t wanted = given(p, "vocab") ? p->o->vocab : 0, have = (uint64_t)p->config.V;
    if (p->init_dir && wanted && wanted != have)
        return err_set(err, ERR_USAGE, "--vocab %" PRIu64 ", but %s has %" PRIu64, wanted,
                       p->init_dir, have);
    uint64_t V = p->init_dir ? have : wanted ? wanted : shards ? shards : have;
    if (shards > V)
        return err_set(err, ERR_USAGE,
                       "the shards have a vocabulary of %" PRIu32 ", the model one of %" PRIu64,
                       shards, V);
    p->config.V = (int)V;
    return 0;
}

int plan_ids(struct plan *p, struct err *err) {
    struct model_config *c = &p->config;
    uint32_t eot = p->train_set.eot_id;
    if (p->init_dir) { /* its ids; -t: whoever names a tokenizer knows what the shards are */
        int rc = p->o->tokenizer || !p->tokenizer_dir
                     ? 0
                     : same_tokens(p->init_dir, p->tokenizer_dir, err);
        return rc == ERR_USAGE ? err_hint(err, "or, if it is meant, give -t %s", p->tokenizer_dir)
                               : rc;
    }
    bool own = c->V == model_config_gpt2.V && eot == UINT32_MAX;
    c->bos = c->eos = own ? model_config_gpt2.eos : eot == UINT32_MAX ? -1 : (int64_t)eot;
    c->pad = -1;
    c->n_eos_more = 0;
    int64_t *ids[3] = {&c->bos, &c->eos, &c->pad};
    char digest[SHA256_HEX] = "", *shards = p->train_set.tokenizer_digest;
    int rc = 0;
    if (p->tokenizer_dir)
        rc = special_ids(p->tokenizer_dir, &c->bos, &c->eos, &c->pad, digest, err);
    if (rc == 0 && *digest && *shards && strcmp(digest, shards)) {
        err_set(err, ERR_USAGE, "%s is not the tokenizer that made the shards", p->tokenizer_dir);
        rc = err_hint(err, "theirs lies beside them; leave --tokenizer away");
    }
    for (int i = 0; rc == 0 && i < 3; i++)
        if (*ids[i] >= c->V) *ids[i] = -1;
    return rc;
}

/* T: --seq-len, else the shards', else the model's context. */
static int choose_length(struct plan *p, struct err *err) {
    uint64_t T = p->o->seq_len;
    if (!T) T = p->train_set.seq_len ? p->train_set.seq_len : (uint64_t)p->config.P;
    if (p->init_dir) {
        int rc = fits_positions(T, p->o->seq_len > 0, p->config.P, p->init_dir, err);
        if (rc < 0) return rc;
    }
    /* Positions that are never trained would only be there to go wrong. */
    if (given(p, "positions")) {
        if (T > p->o->positions)
            return err_set(err, ERR_USAGE,
                           "--seq-len %" PRIu64 " is more than --positions %" PRIu64, T,
                           p->o->positions);
        p->config.P = (int)p->o->positions;
    } else if (!p->init_dir && (!p->o->model || T > (uint64_t)p->config.P))
        p->config.P = (int)T;
    p->T = (int)T;
    return 0;
}

int plan_shape(struct plan *p, struct err *err) {
    int rc = base_config(p, err);
    if (rc == 0 && !p->init_dir) reshape(p);
    if (rc == 0) rc = choose_vocab(p, err);
    if (rc == 0) rc = choose_length(p, err);
    if (rc == 0 && p->o->dropout >= 0)
        p->config.embd_pdrop = p->config.attn_pdrop = p->config.resid_pdrop = (float)p->o->dropout;
    if (rc == 0 && given(p, "init-range") && p->o->init_range > 0) {
        if (p->init_dir)
            return err_set(err, ERR_USAGE, "--init-range is for a new model; %s has its weights",
                           p->init_dir);
        p->config.init_range = (float)p->o->init_range;
    }
    return rc < 0 ? rc : model_config_check(&p->config, ERR_USAGE, "the model", err);
}

/* The options that a run's newest checkpoint, or the checkpoint `dir` itself, was made with; NULL:
 * it is none, or cannot be read: the trainer will say what is wrong with it. */
static int options_of(const char *dir, cJSON **ret, struct err *err) {
    struct u64s steps = {0};
    struct run_state state;
    struct run_identity id = {0};
    int rc = checkpoint_list(dir, &steps, err);
    char *newest = steps.n ? checkpoint_path(dir, steps.v[steps.n - 1]) : strdup(dir);
    if (rc == 0 && newest && state_load(newest, &state, &id, NULL) == 0) {
        *ret = id.options;
        id.options = NULL;
    }
    run_identity_free(&id);
    u64s_release(&steps);
    free(newest);
    return rc;
}

int continued_options(const struct plan *p, cJSON **ret, struct err *err) {
    const struct options *o = p->o;
    *ret = NULL;
    if (!strcmp(o->resume, "never")) return 0;
    int rc = options_of(o->output, ret, err);
    if (rc == 0 && !*ret && strcmp(o->resume, "auto")) rc = options_of(o->resume, ret, err);
    return rc;
}

int plan_dtype(struct plan *p, struct err *err) {
    cJSON *was = NULL;
    if (strcmp(p->o->dtype, "auto")) return 0;
    int rc = continued_options(p, &was, err);
    const cJSON *name = json_get(was, "dtype");
    if (cJSON_IsString(name))
        p->choice.opts.dtype = strcmp(name->valuestring, "bf16") ? DTYPE_F32 : DTYPE_BF16;
    else if (rc == 0 && p->init_dir)
        backend_take_dtype(&p->choice, p->config.dtype);
    cJSON_Delete(was);
    return rc;
}
