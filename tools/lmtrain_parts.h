/* What lmtrain's files share: the option table and the run (lmtrain.c), recipes (lmtrain_recipe.c),
 * the plan that options and shards make (lmtrain_plan.c), and its telling (lmtrain_say.c). */
#ifndef LORY_TOOLS_LMTRAIN_PARTS_H
#define LORY_TOOLS_LMTRAIN_PARTS_H

#include "stream/shard.h"
#include "tools/backend.h"
#include "tools/common.h"
#include "train/config.h"
#include "train/trainer.h"

struct options {
    struct strs train, valid;
    const char *output, *tokenizer, *resume;
    const char *model, *recipe;
    bool from_scratch, dry_run;
    uint64_t layers, width, heads, vocab, seq_len;
    const char *window, *order;
    uint64_t batch, accumulate, batch_tokens, steps, tokens;
    double epochs;
    double lr, min_lr, beta1, beta2, eps, weight_decay, clip, dropout, init_range;
    uint64_t warmup;
    const char *schedule, *warmup_style;
    struct opt_steps eval_every, save_every;
    uint64_t keep, eval_tokens, eval_steps;
    const char *dtype, *device;
};

/* What is worked out from the options and the shards. */
struct plan {
    struct options *o;
    struct opt *table;
    struct tool *tool;
    struct shard_set train_set, valid_set;
    struct loader train, valid;
    bool has_valid;
    struct model_config config;
    const char *init_dir; /* NULL: new weights */
    char *tokenizer_dir;
    int T, B;
    uint64_t accumulate, steps;
    struct backend_choice choice;
    struct trainer_opts t;
};

/* The row of an option; whether a file or the command line set it. */
struct opt *plan_option(const struct plan *p, const char *name);
bool given(const struct plan *p, const char *name);

/* Sets what --recipe stands for, where nothing else was given. */
int apply_recipe(struct plan *p, struct err *err);
/* Everything that can be known before the run's folder is touched. release_plan() in any case. */
int make_plan(struct plan *p, struct err *err);
void release_plan(struct plan *p);

/* Bytes of weights, gradients, moments, copies and activations. */
uint64_t memory_bytes(const struct plan *p, uint64_t params);
void say_plan(const struct plan *p, uint64_t params, uint64_t bytes);
cJSON *plan_json(const struct plan *p, uint64_t params, uint64_t bytes);

#endif
