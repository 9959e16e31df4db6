/* From options and shards to a run: which shards, which shape, how long. Everything is resolved and
 * checked here before the run's folder is touched. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/signals.h"
#include "tools/lmtrain_parts.h"

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

static bool shaped(const struct plan *p) {
    return given(p, "layers") || given(p, "width") || given(p, "heads");
}

/* config of --model, or GPT-2's; and where its weights are. */
static int base_config(struct plan *p, struct err *err) {
    const struct options *o = p->o;
    bool folder = o->model && file_kind(o->model) == FILE_FOLDER;
    p->config = model_config_gpt2;
    if (!o->model) return 0;
    int rc = folder ? model_config_load(&p->config, o->model, err)
                    : model_config_preset(&p->config, o->model, err);
    if (rc < 0 || o->from_scratch || shaped(p)) return rc;
    if (!folder) {
        err_set(err, ERR_USAGE, "--model %s names a shape, not weights", o->model);
        return err_hint(err, "add --from-scratch, or give a folder with model.safetensors");
    }
    p->init_dir = o->model;
    return 0;
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
    if (p->init_dir) return 0;
    int64_t *ids[2] = {&p->config.bos, &p->config.eos};
    for (int i = 0; i < 2; i++) {
        if (p->train_set.eot_id != UINT32_MAX) *ids[i] = p->train_set.eot_id;
        if (*ids[i] >= (int64_t)V) *ids[i] = -1;
    }
    return 0;
}

/* T: --seq-len, else the shards', else the model's context. */
static int choose_length(struct plan *p, struct err *err) {
    uint64_t T = p->o->seq_len;
    if (!T) T = p->train_set.seq_len ? p->train_set.seq_len : (uint64_t)p->config.P;
    if (p->init_dir && T > (uint64_t)p->config.P)
        return err_set(err, ERR_USAGE, "--seq-len %" PRIu64 " is more than the %d of %s", T,
                       p->config.P, p->init_dir);
    /* Positions that are never trained would only be there to go wrong. */
    if (!p->init_dir && (!p->o->model || T > (uint64_t)p->config.P)) p->config.P = (int)T;
    p->T = (int)T;
    return 0;
}

static int choose_shape(struct plan *p, struct err *err) {
    int rc = base_config(p, err);
    if (rc == 0 && !p->init_dir) reshape(p);
    if (rc == 0) rc = choose_vocab(p, err);
    if (rc == 0) rc = choose_length(p, err);
    if (rc == 0 && given(p, "dropout"))
        p->config.embd_pdrop = p->config.attn_pdrop = p->config.resid_pdrop = (float)p->o->dropout;
    if (rc == 0 && given(p, "init-range")) {
        if (p->init_dir)
            return err_set(err, ERR_USAGE, "--init-range is for a new model; %s has its weights",
                           p->init_dir);
        p->config.init_range = (float)p->o->init_range;
    }
    return rc < 0 ? rc : model_config_check(&p->config, ERR_USAGE, "the model", err);
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
    if (given(p, "steps") + given(p, "epochs") + given(p, "tokens") > 1)
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

/* Warmup as told; the default, made for long runs, takes at most a tenth of a short one. */
static uint64_t warmup(const struct plan *p) {
    uint64_t tenth = p->steps / 10;
    if (given(p, "warmup") || p->o->recipe || tenth >= p->o->warmup) return p->o->warmup;
    return tenth;
}

static struct schedule choose_schedule(const struct plan *p) {
    const struct options *o = p->o;
    struct schedule s = {.lr = o->lr, .min_lr = o->min_lr, .steps = p->steps, .warmup = warmup(p)};
    s.kind = !strcmp(o->schedule, "linear")     ? SCHEDULE_LINEAR
             : !strcmp(o->schedule, "constant") ? SCHEDULE_CONSTANT
             : !strcmp(o->schedule, "wsd")      ? SCHEDULE_WSD
                                                : SCHEDULE_COSINE;
    s.style = !strcmp(o->warmup_style, "llmc") ? WARMUP_LLMC : WARMUP_HF;
    return s;
}

static int open_loaders(struct plan *p, struct err *err) {
    enum window window = !strcmp(p->o->window, "hf") ? WINDOW_HF : WINDOW_GPT;
    bool shuffled = !strcmp(p->o->order, "shuffled");
    int rc =
        loader_open(&p->train, &p->train_set, p->T, window, shuffled, p->tool->seed, false, err);
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
                                 .accumulate = p->accumulate,
                                 .steps = p->steps,
                                 .schedule = choose_schedule(p),
                                 .beta1 = o->beta1,
                                 .beta2 = o->beta2,
                                 .eps = o->eps,
                                 .weight_decay = o->weight_decay,
                                 .clip = o->clip,
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

int make_plan(struct plan *p, struct err *err) {
    int rc = apply_recipe(p, err);
    if (rc == 0)
        rc = backend_choose(&p->choice, p->o->device, p->o->dtype, tool_threads(p->tool), err);
    if (rc == 0) rc = open_shards(p, err);
    if (rc == 0) rc = choose_shape(p, err);
    if (rc == 0) rc = find_tokenizer(p, err);
    if (rc == 0) rc = open_loaders(p, err);
    if (rc == 0) rc = choose_batch(p, err);
    if (rc == 0) rc = choose_steps(p, err);
    if (rc == 0) fill_trainer(p);
    return rc;
}

void release_plan(struct plan *p) {
    loader_close(&p->train);
    loader_close(&p->valid);
    shard_set_close(&p->train_set);
    shard_set_close(&p->valid_set);
    free(p->tokenizer_dir);
}
