/* What lmtrain's files share: the option table and the run (lmtrain.c), recipes (lmtrain_recipe.c),
 * the plan that options and shards make (lmtrain_plan.c, for the model lmtrain_shape.c), and its
 * telling (lmtrain_say.c); and the subcommand export (lmtrain_export.c). */
#ifndef LORY_TOOLS_LMTRAIN_PARTS_H
#define LORY_TOOLS_LMTRAIN_PARTS_H

#include <cjson/cJSON.h>
#include "stream/shard.h"
#include "tools/backend.h"
#include "tools/common.h"
#include "tools/push.h"
#include "train/comm.h"
#include "train/config.h"
#include "train/trainer.h"

struct options {
    struct strs train, valid;
    const char *output, *tokenizer, *resume;
    const char *model, *recipe;
    bool from_scratch, dry_run, force;
    uint64_t layers, width, heads, inner, positions, vocab, seq_len;
    bool tied, by_layer, upcast;
    const char *activation;
    const char *window, *order, *train_weights;
    uint64_t batch, accumulate, batch_tokens, steps, tokens;
    double epochs;
    double lr, min_lr, beta1, beta2, eps, weight_decay, clip, dropout, init_range;
    double warmup; /* steps; below 1, until the plan is made: a share of the run */
    uint64_t decay_steps;
    const char *schedule, *warmup_style, *decay_shape, *decay;
    double cycles, power, spike, patience_threshold;
    struct strs freeze;
    uint64_t skips, patience;
    struct opt_steps eval_every, save_every;
    bool save_best;
    uint64_t keep, eval_tokens, eval_steps;
    const char *dtype, *device, *recompute;
    bool record;
    struct pusher_opts push; /* --push-to and what belongs to it; no target: nothing is pushed */
    double push_wait;        /* seconds */
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
    char *model_dir;      /* where --model is: NULL if it names a shape, or nothing */
    const char *init_dir; /* its weights are taken; NULL: new ones                  */
    char *tokenizer_dir;
    int T, B;
    uint64_t accumulate, steps;
    struct backend_choice choice;
    struct device *device; /* NULL until opened */
    struct comm_place place;
    struct comm *control, *comm; /* of several ranks: see trainer.h; NULL for one */
    enum recompute recompute;    /* plan_memory() chooses it */
    struct trainer_opts t;
};

/* The row of an option; whether a file or the command line set it. */
struct opt *plan_option(const struct plan *p, const char *name);
bool given(const struct plan *p, const char *name);

/* The model's shape, and where its weights are: from --model, the options and the shards. */
int plan_shape(struct plan *p, struct err *err);
/* A new model's bos, eos and pad: what its tokenizer says, else the token that the shards end their
 * documents with. GPT-2's own 50256 only with a vocabulary of GPT-2's own size. */
int plan_ids(struct plan *p, struct err *err);
/* The options (state.json's) of the run that goes on: of the newest checkpoint in -o, else of
 * --resume DIR; NULL: a new run begins. The caller frees them. */
int continued_options(const struct plan *p, cJSON **ret, struct err *err);
/* --dtype auto: that of the run being continued, else of the weights given; a new model's is what
 * the processor multiplies. */
int plan_dtype(struct plan *p, struct err *err);

/* Sets what --recipe stands for, where nothing else was given. */
int apply_recipe(struct plan *p, struct err *err);
/* Everything that can be known before the run's folder is touched. release_plan() in any case. */
int make_plan(struct plan *p, struct err *err);
void release_plan(struct plan *p);

/* What the run is going to hold in memory. */
struct memory_plan {
    uint64_t params;
    struct model_memory need;
    uint64_t available; /* bytes; 0: unknown                                   */
    uint64_t total;     /* … that could ever be; 0: unknown, or a device's     */
    uint64_t least;     /* what --batch 1 needs                                */
    int largest;        /* micro-batch that the available memory holds; 0: none */
};
int plan_memory(struct plan *p, struct memory_plan *ret, struct err *err);
/* ERR_NOMEM: the plan needs more than there will ever be. */
int check_memory(const struct plan *p, const struct memory_plan *m, struct err *err);
/* After ERR_NOMEM: what of the plan to change. */
void hint_memory(const struct plan *p, const struct memory_plan *m, struct err *err);
void say_plan(const struct plan *p, const struct memory_plan *m);
cJSON *plan_json(const struct plan *p, const struct memory_plan *m);

/* The subcommand, with its own table of options; the exit code. */
int lmtrain_export(int argc, char **argv);

#endif
