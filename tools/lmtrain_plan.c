/* From options and shards to a run: which shards, which shape, how long. Everything is resolved and
 * checked here before the run's folder is touched. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "tools/fetch_model.h"
#include "tools/lmtrain_parts.h"
#include "tools/ranks.h"
#include "tools/special_ids.h"
#include "train/checkpoint.h"
#include "train/state.h"

/* ------------------------------------------------------------------ shards */

static int open_set(struct shard_set *set, const struct strs *paths, const char *split,
                    struct err *err) {
    return shard_set_open(set, (const char *const *)paths->v, paths->n, split, err);
}

static int open_shards(struct plan *p, struct err *err) {
    const struct options *o = p->o;
    if (!o->train.n) {
        err_set(err, ERR_USAGE, "--train is missing");
        return err_hint(err, "name the shards to train on: --train shards/");
    }
    int rc = open_set(&p->train_set, &o->train, "train", err);
    if (rc < 0) return err_prefix(err, "--train");
    p->has_valid = o->valid.n > 0;
    if (p->has_valid) rc = open_set(&p->valid_set, &o->valid, "valid", err);
    if (rc < 0) return err_prefix(err, "--valid");
    const char *a = p->train_set.tokenizer_digest, *b = p->valid_set.tokenizer_digest;
    if (p->has_valid && *a && *b && strcmp(a, b))
        return err_set(err, ERR_USAGE, "--train and --valid were made by different tokenizers");
    return 0;
}

/* The tokenizer to put beside the model: -t, or what lies with the shards, or with the model. */
static int find_tokenizer(struct plan *p, struct err *err) {
    const char *first = p->o->train.v[0];
    char *dir = file_kind(first) == FILE_FOLDER ? strdup(first) : path_dir(first);
    char *beside = dir ? path_join(dir, "tokenizer") : NULL, *json = NULL;
    if (!beside) return err_nomem(err, strlen(first));
    const char *found = p->o->tokenizer;
    if (!found && file_kind(beside) == FILE_FOLDER) found = beside;
    if (!found && p->init_dir) found = p->init_dir;
    if (found) json = path_join(found, "tokenizer.json");
    if (p->o->tokenizer && (!json || file_kind(json) != FILE_REGULAR))
        err_set(err, ERR_USAGE, "--tokenizer %s: holds no tokenizer.json", found);
    else if (json && file_kind(json) == FILE_REGULAR)
        p->tokenizer_dir = strdup(found);
    free(dir);
    free(beside);
    free(json);
    return p->o->tokenizer && !p->tokenizer_dir ? ERR_USAGE : 0;
}

/* ------------------------------------------------------------------ the model's shape */

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

/* A new model's bos, eos and pad: what its tokenizer says, else the token that the shards end their
 * documents with. GPT-2's own 50256 only with a vocabulary of GPT-2's own size. */
static int choose_ids(struct plan *p, struct err *err) {
    struct model_config *c = &p->config;
    uint32_t eot = p->train_set.eot_id;
    if (p->init_dir) return 0;
    bool own = c->V == model_config_gpt2.V && eot == UINT32_MAX;
    c->bos = c->eos = own ? model_config_gpt2.eos : eot == UINT32_MAX ? -1 : (int64_t)eot;
    c->pad = -1;
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
    if (p->init_dir && T > (uint64_t)p->config.P)
        return err_set(err, ERR_USAGE, "--seq-len %" PRIu64 " is more than the %d of %s", T,
                       p->config.P, p->init_dir);
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

static int choose_shape(struct plan *p, struct err *err) {
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

/* The type that a run's newest checkpoint, or the checkpoint `dir` itself, was computed in. What
 * cannot be read is none: the trainer will say what is wrong with it. */
static int run_dtype(const char *dir, bool *ret_found, enum dtype *ret, struct err *err) {
    struct u64s steps = {0};
    struct run_state state;
    struct run_identity id = {0};
    int rc = checkpoint_list(dir, &steps, err);
    char *newest = steps.n ? checkpoint_path(dir, steps.v[steps.n - 1]) : strdup(dir);
    if (rc == 0 && newest && state_load(newest, &state, &id, NULL) == 0) {
        const cJSON *name = json_get(id.options, "dtype");
        *ret_found = cJSON_IsString(name);
        if (*ret_found) *ret = strcmp(name->valuestring, "bf16") ? DTYPE_F32 : DTYPE_BF16;
    }
    run_identity_free(&id);
    u64s_release(&steps);
    free(newest);
    return rc;
}

enum recompute recompute_level(const struct plan *p) {
    return !strcmp(p->o->recompute, "block")  ? RECOMPUTE_BLOCK
           : !strcmp(p->o->recompute, "gelu") ? RECOMPUTE_GELU
                                              : RECOMPUTE_NONE;
}

/* --dtype auto: that of the run being continued, else of the weights given; a new model's is what
 * the processor multiplies. */
static int choose_dtype(struct plan *p, struct err *err) {
    const struct options *o = p->o;
    bool go_on = strcmp(o->resume, "never") != 0, found = false;
    if (strcmp(o->dtype, "auto")) return 0;
    int rc = go_on ? run_dtype(o->output, &found, &p->choice.opts.dtype, err) : 0;
    if (rc == 0 && go_on && !found && strcmp(o->resume, "auto"))
        rc = run_dtype(o->resume, &found, &p->choice.opts.dtype, err);
    if (rc == 0 && !found && p->init_dir) backend_take_dtype(&p->choice, p->config.dtype);
    return rc;
}

/* ------------------------------------------------------------------ the length of the run */

static int choose_batch(struct plan *p, struct err *err) {
    struct options *o = p->o;
    uint64_t micro = o->batch * (uint64_t)p->T;
    p->B = (int)o->batch;
    p->accumulate = o->accumulate;
    if (!o->batch_tokens) return 0;
    if (given(p, "accumulate"))
        return err_set(err, ERR_USAGE, "--accumulate and --batch-tokens say the same: give one");
    p->accumulate = o->batch_tokens / micro;
    if (o->batch_tokens % micro == 0) return 0;
    err_set(err, ERR_USAGE,
            "--batch-tokens %" PRIu64 " is no multiple of --batch %d x --seq-len %d = %" PRIu64,
            o->batch_tokens, p->B, p->T, micro);
    return err_hint(err, "the nearest are %" PRIu64 " and %" PRIu64, p->accumulate * micro,
                    (p->accumulate + 1) * micro);
}

static int choose_steps(struct plan *p, struct err *err) {
    const struct options *o = p->o;
    if (given(p, "steps") + (given(p, "epochs") && o->epochs > 0) +
            (given(p, "tokens") && o->tokens > 0) >
        1)
        return err_set(err, ERR_USAGE, "--steps, --epochs and --tokens exclude each other");
    uint64_t samples = (uint64_t)p->B * p->accumulate, tokens = samples * (uint64_t)p->T;
    p->steps = o->steps;
    if (given(p, "steps")) return 0;
    if (o->epochs > 0) {
        double steps = o->epochs * (double)p->train.n / (double)samples;
        if (steps > 1e15) return err_set(err, ERR_USAGE, "--epochs %g is too much", o->epochs);
        p->steps = steps < 1 ? 1 : (uint64_t)steps;
    } else if (o->tokens) {
        p->steps = o->tokens / tokens + (o->tokens % tokens != 0);
    }
    return 0;
}

static size_t index_of(const char *const *names, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], name)) return i;
    return 0;
}

/* Warmup as told; the default, made for long runs, takes at most a tenth of a short one. */
static uint64_t warmup(const struct plan *p) {
    uint64_t tenth = p->steps / 10;
    if (given(p, "warmup") || p->o->recipe || tenth >= p->o->warmup) return p->o->warmup;
    return tenth;
}

static struct schedule choose_schedule(const struct plan *p) {
    const struct options *o = p->o;
    struct schedule s = {.lr = o->lr,
                         .min_lr = o->min_lr,
                         .steps = p->steps,
                         .warmup = warmup(p),
                         .cycles = o->cycles,
                         .power = o->power,
                         .decay_steps = o->decay_steps};
    const char *name = o->schedule;
    if (!strcmp(name, "constant_with_warmup")) name = "constant"; /* as it is here anyway */
    if (!strcmp(name, "cosine_with_min_lr")) name = "cosine";
    s.kind = (enum schedule_kind)index_of(schedule_names, SCHEDULE_KINDS, name);
    s.shape = (enum decay_shape)index_of(decay_shape_names, DECAY_SHAPES, o->decay_shape);
    if (s.kind == SCHEDULE_WSD && !given(p, "decay-shape")) s.shape = DECAY_SQRT;
    if (s.kind == SCHEDULE_POLYNOMIAL && !given(p, "min-lr")) s.min_lr = 1e-7; /* HF's lr_end */
    s.style = !strcmp(o->warmup_style, "llmc") ? WARMUP_LLMC : WARMUP_HF;
    return s;
}

static int open_loaders(struct plan *p, struct err *err) {
    enum window window = !strcmp(p->o->window, "hf") ? WINDOW_HF : WINDOW_GPT;
    bool shuffled = !strcmp(p->o->order, "shuffled");
    int rc =
        loader_open(&p->train, &p->train_set, p->T, window, shuffled, p->tool->seed, false, err);
    size_t n = p->o->train.n;
    double *weights = rc == 0 && p->o->train_weights ? mem_array(n, sizeof *weights) : NULL;
    if (rc == 0 && p->o->train_weights) {
        rc = weights ? tool_weights("--train-weights", p->o->train_weights, weights, n, err)
                     : err_nomem(err, n * sizeof *weights);
        if (rc == 0) rc = loader_weigh(&p->train, weights, n, err);
    }
    free(weights);
    if (rc < 0) return err_prefix(err, "--train");
    if (p->has_valid) rc = loader_open(&p->valid, &p->valid_set, p->T, window, false, 0, true, err);
    return rc < 0 ? err_prefix(err, "--valid") : 0;
}

static uint64_t eval_windows(const struct plan *p) {
    const struct options *o = p->o;
    if (given(p, "eval-steps")) return o->eval_steps * (uint64_t)p->B;
    return (o->eval_tokens + (uint64_t)p->T - 1) / (uint64_t)p->T;
}

static int signal_now(void *ctx) {
    (void)ctx;
    return signals_stop();
}

static bool save_now(void *ctx) {
    (void)ctx;
    return signals_take_save();
}

static void fill_trainer(struct plan *p) {
    const struct options *o = p->o;
    p->t = (struct trainer_opts){.run = o->output,
                                 .init_dir = p->init_dir,
                                 .model_name = o->model ? o->model : "gpt2",
                                 .tokenizer_dir = p->tokenizer_dir,
                                 .B = p->B,
                                 .samples = (uint64_t)p->B * p->accumulate,
                                 .steps = p->steps,
                                 .schedule = choose_schedule(p),
                                 .beta1 = o->beta1,
                                 .beta2 = o->beta2,
                                 .eps = o->eps,
                                 .weight_decay = o->weight_decay,
                                 .clip = o->clip,
                                 .decay = !strcmp(o->decay, "hf")     ? DECAY_HF
                                          : !strcmp(o->decay, "llmc") ? DECAY_LLMC
                                                                      : DECAY_ALL,
                                 .freeze = (const char *const *)o->freeze.v,
                                 .n_freeze = o->freeze.n,
                                 .patience = o->patience,
                                 .patience_threshold = o->patience_threshold,
                                 .spike = o->spike,
                                 .skips = o->skips,
                                 .force = o->force,
                                 .seed = p->tool->seed,
                                 .dtype = p->choice.opts.dtype,
                                 .eval_every = o->eval_every,
                                 .save_every = o->save_every,
                                 .keep = o->keep,
                                 .eval_windows = eval_windows(p),
                                 .stop = signal_now,
                                 .save = save_now};
    p->t.resume_never = !strcmp(o->resume, "never");
    if (strcmp(o->resume, "auto") && !p->t.resume_never) p->t.resume_from = o->resume;
}

/* Puts what was worked out back into the options, so that config.yaml says all of it, and is taken
 * as --config for the same run once more. The shape of given weights is theirs to say. */
static void resolve_options(struct plan *p) {
    struct options *o = p->o;
    const struct model_config *c = &p->config;
    bool own = !p->init_dir;
    o->layers = own ? (uint64_t)c->L : 0;
    o->width = own ? (uint64_t)c->C : 0;
    o->heads = own ? (uint64_t)c->NH : 0;
    o->inner = own ? (uint64_t)c->inner : 0;
    o->positions = own ? (uint64_t)c->P : 0;
    o->tied = c->tied;
    o->activation = c->act == ACT_GELU_ERF ? "gelu" : "gelu_new";
    o->by_layer = c->scale_by_layer;
    o->upcast = c->reorder_upcast;
    o->init_range = own ? round(c->init_range * 1e6) / 1e6 : 0;
    if (c->embd_pdrop == c->attn_pdrop && c->attn_pdrop == c->resid_pdrop)
        o->dropout = round(c->embd_pdrop * 1e6) / 1e6;
    o->vocab = (uint64_t)c->V;
    o->seq_len = (uint64_t)p->T;
    o->accumulate = p->accumulate;
    o->batch_tokens = 0;
    o->steps = p->steps;
    o->epochs = 0;
    o->tokens = 0;
    o->warmup = p->t.schedule.warmup;
    o->min_lr = p->t.schedule.min_lr;
    o->decay_shape = decay_shape_names[p->t.schedule.shape];
    o->dtype = p->choice.opts.dtype == DTYPE_BF16 ? "bf16" : "fp32";
}

int make_plan(struct plan *p, struct err *err) {
    int rc = apply_recipe(p, err);
    if (rc == 0) rc = ranks_find(&p->place, err);
    if (rc == 0)
        rc = backend_choose(&p->choice, p->o->device, p->o->dtype, tool_threads(p->tool), err);
    if (rc == 0) rc = open_shards(p, err);
    if (rc == 0) rc = choose_shape(p, err);
    if (rc == 0) rc = choose_dtype(p, err);
    if (rc == 0) rc = find_tokenizer(p, err);
    if (rc == 0) rc = choose_ids(p, err);
    if (rc == 0) rc = open_loaders(p, err);
    if (rc == 0) rc = choose_batch(p, err);
    if (rc == 0) rc = choose_steps(p, err);
    if (rc == 0) fill_trainer(p);
    if (rc == 0) resolve_options(p);
    return rc;
}

void release_plan(struct plan *p) {
    loader_close(&p->train);
    loader_close(&p->valid);
    shard_set_close(&p->train_set);
    shard_set_close(&p->valid_set);
    free(p->tokenizer_dir);
    free(p->model_dir);
}
