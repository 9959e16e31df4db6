/* From options and shards to a run: which shards, how long, at which rates (the model's shape is in
 * lmtrain_shape.c). Everything is resolved and checked here before the run's folder is touched. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "tokenizer/tokenizer.h"
#include "tools/lmtrain_parts.h"
#include "tools/ranks.h"
#include "tools/same_tokens.h"

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
    if (o->patience && !p->has_valid) {
        err_set(err, ERR_USAGE, "--patience %" PRIu64 " counts evaluations, and there are none",
                o->patience);
        return err_hint(err, "name shards to evaluate on: --valid shards/");
    }
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
    char *beside = shards_tokenizer(first), *json = NULL;
    if (!beside) return err_nomem(err, strlen(first));
    const char *found = p->o->tokenizer;
    if (!found && file_kind(beside) == FILE_FOLDER) found = beside;
    if (!found && p->init_dir) found = p->init_dir;
    if (found) json = path_join(found, "tokenizer.json");
    if (p->o->tokenizer && (!json || file_kind(json) != FILE_REGULAR))
        err_set(err, ERR_USAGE, "--tokenizer %s: holds no tokenizer.json", found);
    else if (json && file_kind(json) == FILE_REGULAR)
        p->tokenizer_dir = strdup(found);
    free(beside);
    free(json);
    return p->o->tokenizer && !p->tokenizer_dir ? ERR_USAGE : 0;
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
    if (p->accumulate == 0) return err_hint(err, "that is the least");
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
        p->steps = (uint64_t)ceil(steps * (1 - 1e-12)); /* 0.29 x 100 is 29, not a little more */
        if (p->steps == 0) p->steps = 1;
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

/* Warmup as told (transformers' get_warmup_steps: a share of the run is rounded up), or that of the
 * run that goes on, also where it gets other --steps. The default, made for long runs, takes at
 * most a tenth of a short one; a constant rate has none in transformers and llm.c. */
static int choose_warmup(struct plan *p, struct err *err) {
    cJSON *was = NULL;
    double tenth = (double)(p->steps / 10), *warmup = &p->o->warmup;
    bool constant = !strcmp(p->o->schedule, "constant");
    if (given(p, "warmup")) {
        *warmup = *warmup < 1 ? ceil((double)p->steps * *warmup) : floor(*warmup);
        return 0;
    }
    if (p->o->recipe && !constant) return 0;
    int rc = continued_options(p, &was, err);
    const cJSON *x = json_get(was, "warmup");
    if (cJSON_IsNumber(x) && x->valuedouble >= 0 && x->valuedouble <= 1e12)
        *warmup = x->valuedouble;
    else if (constant)
        *warmup = 0;
    else if (tenth < *warmup)
        *warmup = tenth;
    cJSON_Delete(was);
    return rc;
}

static struct schedule choose_schedule(const struct plan *p) {
    const struct options *o = p->o;
    struct schedule s = {.lr = o->lr,
                         .min_lr = o->min_lr,
                         .steps = p->steps,
                         .warmup = (uint64_t)o->warmup,
                         .cycles = o->cycles,
                         .power = o->power,
                         .decay_steps = o->decay_steps};
    const char *name = o->schedule;
    if (!strcmp(name, "constant_with_warmup")) name = "constant";
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
                                 .tokenizer_files = tokenizer_files,
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
                                 .save_best = o->save_best,
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
    if (rc == 0) rc = plan_shape(p, err);
    if (rc == 0) rc = plan_dtype(p, err);
    if (rc == 0) rc = find_tokenizer(p, err);
    if (rc == 0) rc = plan_ids(p, err);
    if (rc == 0) rc = open_loaders(p, err);
    if (rc == 0) rc = choose_batch(p, err);
    if (rc == 0) rc = choose_steps(p, err);
    if (rc == 0) rc = choose_warmup(p, err);
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
