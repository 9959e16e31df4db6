/* lmtrain: trains a GPT-2 on token shards, from scratch or from given weights.
 *
 *   options, recipe ─▶ shards ─▶ shape of the model ─▶ plan ─▶ trainer_run ─▶ run/
 *
 * Everything is resolved and checked here before the run's folder is touched; what makes a run
 * continue bit for bit is in train/trainer.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/file.h"
#include "base/signals.h"
#include "tools/cuda_module.h"
#include "tools/lmtrain_parts.h"

static int say_result(struct plan *p, const struct trainer_result *r) {
    struct tool *t = p->tool;
    char eval[64] = "";
    if (isfinite(r->eval_loss)) snprintf(eval, sizeof eval, ", evaluation loss %.4f", r->eval_loss);
    log_info(&t->log, "%s: %" PRIu64 " steps, loss %.4f%s, %.0f s%s", p->o->output, r->step,
             r->loss, eval, r->seconds, r->was_complete ? "; it was complete already" : "");
    if (!t->json) return 0;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "run", p->o->output);
    cJSON_AddNumberToObject(o, "step", (double)r->step);
    cJSON_AddNumberToObject(o, "tokens", (double)r->tokens);
    cJSON_AddNumberToObject(o, "skipped", (double)r->skipped);
    cJSON_AddNumberToObject(o, "resumed_from", (double)r->resumed);
    cJSON_AddNumberToObject(o, "loss", r->loss);
    if (isfinite(r->eval_loss)) {
        cJSON_AddNumberToObject(o, "eval_loss", r->eval_loss);
        cJSON_AddNumberToObject(o, "perplexity", exp(r->eval_loss));
    }
    if (r->best_step) {
        cJSON_AddNumberToObject(o, "best_step", (double)r->best_step);
        cJSON_AddNumberToObject(o, "best_loss", r->best_loss);
    }
    cJSON_AddNumberToObject(o, "seconds", r->seconds);
    return tool_print_json(t, o);
}

/* Where measured products are kept: a file for each rank, as each has its own share of rows. */
static char *products_file(const struct plan *p) {
    char name[32] = "products.txt";
    if (p->place.rank > 0) snprintf(name, sizeof name, "products-%d.txt", p->place.rank);
    return path_join(p->o->output, name);
}

/* A GPU is opened also for a plan: what its operations want is known by asking it. */
static int open_device(struct plan *p, struct err *err) {
    const struct backend *b = p->choice.backend;
    char *products = products_file(p);
    if (!products) return err_nomem(err, 1);
    p->choice.opts.no_record = !p->o->record;
    p->choice.opts.plan_file = products;
    int rc = b->open(&p->device, &p->choice.opts, err);
    p->choice.opts.plan_file = NULL;
    free(products);
    if (rc == 0) log_info(&p->tool->log, "%s", b->describe(p->device));
    return rc;
}

/* ------------------------------------------------------------------ several ranks */

static int share_bytes(void *control, void *data, size_t bytes, struct err *err) {
    struct comm *c = control;
    return c->broadcast(c, data, bytes, 0, err);
}

/* Meets the other ranks. */
static int join_ranks(struct plan *p, struct err *err) {
    const double patience = 300; /* seconds; launchers start ranks at about the same time */
    if (p->place.size == 1) return 0;
    int rc = comm_tcp(&p->control, &p->place, patience, err);
    struct comm_opts o = {
        .rank = p->place.rank, .size = p->place.size, .share = share_bytes, .ctx = p->control};
    if (rc == 0 && p->choice.cuda)
        rc = cuda_module_comm(&p->comm, p->device, &o, err);
    else
        p->comm = p->control;
    if (rc == 0) log_info(&p->tool->log, "%d ranks, over %s", p->place.size, p->comm->name);
    p->t.comm = p->comm;
    p->t.control = p->control;
    return rc < 0 ? err_prefix(err, "ranks") : 0;
}

static void leave_ranks(struct plan *p) {
    if (p->comm && p->comm != p->control) p->comm->close(p->comm);
    if (p->control) p->control->close(p->control);
}

/* The part of rank 1 and on. */
static int work(struct plan *p, struct err *err) {
    const struct backend *b = p->choice.backend;
    struct model *model = NULL;
    int rc = model_new(&model, &p->config, b, p->device, p->choice.opts.dtype, true, err);
    if (rc == 0) model_set_recompute(model, p->recompute);
    if (rc == 0) rc = trainer_work(model, b, p->device, &p->train, &p->t, err);
    if (rc == 0 && signals_stop())
        rc = err_set(err, ERR_STOPPED, "stopped; rank 0 has saved what was done");
    model_free(model);
    return rc < 0 ? err_prefix(err, "rank %d", p->place.rank) : 0;
}

/* ------------------------------------------------------------------ the run */

/* A run that is refused must not have pushed what its folder held before. */
static int start_pushing(void *pusher, struct err *err) {
    return pusher_start(pusher, err);
}

static int train(struct plan *p, struct err *err) {
    struct device *device = p->device;
    struct model *model = NULL;
    struct buf yaml = {0};
    struct trainer_result r = {0};
    struct pusher *pusher = NULL;
    const struct backend *b = p->choice.backend;
    int rc = opt_yaml(&p->tool->program, &yaml, err);
    p->t.config_yaml = rc == 0 ? buf_cstr(&yaml) : NULL;
    p->o->push.run = p->o->output;
    p->o->push.log = &p->tool->log;
    if (rc == 0 && p->o->push.target) rc = pusher_new(&pusher, &p->o->push, err);
    if (pusher) p->t.begun = start_pushing;
    p->t.ctx = pusher;
    if (rc == 0) rc = model_new(&model, &p->config, b, device, p->choice.opts.dtype, true, err);
    if (rc == 0) model_set_recompute(model, p->recompute);
    if (rc == 0)
        rc = trainer_run(model, b, device, &p->train, p->has_valid ? &p->valid : NULL, &p->t, &r,
                         &p->tool->log, err);
    if (rc == 0 && b->notes && *b->notes(device)) log_info(&p->tool->log, "%s", b->notes(device));
    if (rc == 0) rc = say_result(p, &r);
    pusher_finish(pusher, p->o->push_wait);
    model_free(model);
    buf_release(&yaml);
    return rc;
}

static int run(struct options *o, struct opt *table, struct tool *t) {
    struct plan p = {.o = o, .table = table, .tool = t};
    if (t->operands->n)
        return err_set(&t->err, ERR_USAGE, "unexpected \"%s\"; shards are given with --train",
                       t->operands->v[0]);
    struct memory_plan m = {0};
    int rc = make_plan(&p, &t->err);
    if (p.place.rank > 0) t->quiet = true; /* rank 0 tells it */
    if (rc == 0 && (!o->dry_run || p.choice.cuda)) rc = open_device(&p, &t->err);
    if (rc == 0) rc = plan_memory(&p, &m, &t->err);
    if (rc == 0) {
        if (!p.has_valid) log_info(&t->log, "no --valid: nothing will be evaluated");
        say_plan(&p, &m);
    }
    if (rc == 0 && o->dry_run) rc = p.place.rank > 0 ? 0 : tool_print_json(t, plan_json(&p, &m));
    if (rc == 0 && !o->dry_run) rc = check_memory(&p, &m, &t->err);
    if (rc == 0 && !o->dry_run) rc = join_ranks(&p, &t->err);
    if (rc == 0 && !o->dry_run) rc = (p.place.rank > 0 ? work : train)(&p, &t->err);
    if (rc == ERR_NOMEM) hint_memory(&p, &m, &t->err);
    leave_ranks(&p);
    if (p.device) p.choice.backend->close(p.device);
    release_plan(&p);
    return rc;
}

static const char text[] =
    "Shards are made by shard; those of llm.c are read as they are. The run's folder becomes a "
    "model "
    "itself when the run is finished: it holds checkpoints that transformers loads, metrics.jsonl, "
    "and "
    "event files for TensorBoard.\n\n"
    "A run that was stopped goes on with the same command, from its newest whole checkpoint, to "
    "the same "
    "result bit for bit. Ctrl-C, SIGTERM and SIGHUP (not under nohup) save first; SIGUSR1 saves "
    "and "
    "goes on.\n\n"
    "Started by torchrun --no-python, mpirun or srun as several processes, they train one run "
    "together; "
    "rank 0 listens at MASTER_ADDR, MASTER_PORT (127.0.0.1, 29500).";
static const char examples[] =
    "lmtrain --train shards/ --valid shards/\tGPT-2 from scratch, or on with the run in run/\n"
    "lmtrain --train shards/ --layers 8 --width 320 --epochs 1 -o small/\ta small model\n"
    "lmtrain --model gpt2-dir/ --train shards/ --lr 5e-5 --epochs 3\tgoes on from given weights\n"
    "lmtrain --train shards/ --push-to hf://me/small\tpushes each checkpoint to a branch of its "
    "own";

static int lmtrain_main(int argc, char **argv) {
    struct options o = {.output = "run",
                        .resume = "auto",
                        .window = "gpt",
                        .order = "shuffled",
                        .batch = 12,
                        .accumulate = 1,
                        .steps = 150000,
                        .lr = 5e-4,
                        .beta1 = 0.9,
                        .beta2 = 0.999,
                        .eps = 1e-8,
                        .weight_decay = 0.1,
                        .clip = 1,
                        .decay = "hf",
                        .decay_shape = "cosine",
                        .cycles = 1,
                        .power = 1,
                        .skips = 5,
                        .dropout = -1, /* the configuration's */
                        .tied = true,
                        .activation = "gelu_new",
                        .warmup = 2000,
                        .schedule = "cosine",
                        .warmup_style = "hf",
                        .eval_every = {.steps = 15000},
                        .save_every = {.steps = 15000},
                        .save_best = true,
                        .keep = 3,
                        .eval_tokens = 1000000,
                        .dtype = "auto",
                        .recompute = "auto",
                        .record = true,
                        .device = "auto",
                        .push_wait = 600,
                        .layers = 12,
                        .width = 768,
                        .heads = 12};
    struct opt opts[] = {
        {"Data", .type = OPT_GROUP},
        {"train", 0, OPT_STRS, &o.train, "DIR|FILE…",
         "shards to train on: a folder, or .bin files (repeatable)", .many = true},
        {"train-weights", 0, OPT_STR, &o.train_weights, "W,W…",
         "shares of several --train in each step (default: as many windows as each has)"},
        {"valid", 0, OPT_STRS, &o.valid, "DIR|FILE…", "shards to evaluate on (repeatable)",
         .many = true},
        {"tokenizer", 't', OPT_STR, &o.tokenizer, "TOK",
         "tokenizer to put beside the model (default: the shards')"},
        {"seq-len", 0, OPT_U64, &o.seq_len, "T", "tokens of a window (default: the shards')",
         .min = 1, .max = 1 << 20},
        {"window", 0, OPT_CHOICE, &o.window, "KIND",
         "T+1 tokens and T targets, or T and T-1 as transformers", "gpt|hf"},
        {"order", 0, OPT_CHOICE, &o.order, "ORDER", "order of the windows", "shuffled|sequential"},
        {"Model", .type = OPT_GROUP},
        {"model", 'm', OPT_STR, &o.model, "DIR",
         "weights to begin with: a folder, hf://NS/NAME, llm.c's .bin; or the name of a shape "
         "(gpt2, gpt2-xl, d12 …)"},
        {"from-scratch", 0, OPT_FLAG, &o.from_scratch, NULL, "take only the shape of --model"},
        {"layers", 0, OPT_U64, &o.layers, "L", "layers of a new model", .min = 1, .max = 1024},
        {"width", 0, OPT_U64, &o.width, "C", "width of a new model", .min = 1, .max = 65536},
        {"heads", 0, OPT_U64, &o.heads, "N", "attention heads of a new model", .min = 1,
         .max = 1024},
        {"inner", 0, OPT_U64, &o.inner, "N", "width inside the MLP (default: 4 C)", .min = 1,
         .max = 1 << 19},
        {"positions", 0, OPT_U64, &o.positions, "P",
         "positions of a new model (default: those of a window)", .min = 1, .max = 1 << 20},
        {"tied", 0, OPT_FLAG, &o.tied, NULL,
         "the embeddings are the output matrix, too; --no-tied: it is one of its own"},
        {"activation", 0, OPT_CHOICE, &o.activation, "NAME", "of a new model's MLP",
         "gelu_new|gelu"},
        {"scale-attn-by-inverse-layer-idx", 0, OPT_FLAG, &o.by_layer, NULL,
         "attention scores of layer i divided by i + 1"},
        {"reorder-and-upcast-attn", 0, OPT_FLAG, &o.upcast, NULL,
         "noted in config.json; scores are computed in fp32 anyway"},
        {"vocab", 0, OPT_U64, &o.vocab, "V", "vocabulary (default: the shards', else the model's)",
         .min = 1, .max = 1 << 24},
        {"dropout", 0, OPT_F64, &o.dropout, "P",
         "probability in all three places (default: the model's)", .min = 0, .max = 0.999},
        {"init-range", 0, OPT_F64, &o.init_range, "X",
         "standard deviation of a new model's weights; narrow ones like more than 0.02",
         .min = 1e-6, .max = 10},
        {"Steps", .type = OPT_GROUP},
        {"recipe", 0, OPT_CHOICE, &o.recipe, "NAME",
         "a whole set of the options below, as others train",
         "codeparrot|codeparrot-small|hf-trainer|llmc"},
        {"batch", 0, OPT_U64, &o.batch, "B", "windows at a time", .min = 1, .max = 1 << 20},
        {"accumulate", 0, OPT_U64, &o.accumulate, "N", "batches to a step", .min = 1,
         .max = 1 << 20},
        {"batch-tokens", 0, OPT_U64, &o.batch_tokens, "N",
         "tokens of a step, instead of --accumulate", .min = 1, .max = 1e12},
        {"steps", 0, OPT_U64, &o.steps, "N", "steps of the run; 0: save the beginning and stop",
         .min = 0, .max = 1e12},
        {"epochs", 0, OPT_F64, &o.epochs, "X", "length of the run in passes over the data",
         .min = 0, .max = 1e6},
        {"tokens", 0, OPT_U64, &o.tokens, "N", "length of the run in tokens", .min = 1,
         .max = 1e15},
        {"Optimizer", .type = OPT_GROUP},
        {"lr", 0, OPT_F64, &o.lr, "X", "peak learning rate", .min = 0, .max = 1e30},
        {"schedule", 0, OPT_CHOICE, &o.schedule, "KIND", "fall of the learning rate",
         "cosine|linear|constant|wsd|constant_with_warmup|cosine_with_restarts|polynomial|"
         "inverse_sqrt|cosine_with_min_lr|cosine_warmup_with_min_lr|warmup_stable_decay"},
        {"warmup", 0, OPT_F64, &o.warmup, "N",
         "steps of warmup, or a share of the run, e.g. 0.03 (default: 2000, at most a tenth of the "
         "run; none where the rate is constant)",
         .min = 0, .max = 1e12},
        {"warmup-style", 0, OPT_CHOICE, &o.warmup_style, "KIND",
         "first step with lr 0 (hf) or lr/N (llmc)", "hf|llmc"},
        {"min-lr", 0, OPT_F64, &o.min_lr, "X", "learning rate at the end", .min = 0, .max = 1e30},
        {"cycles", 0, OPT_F64, &o.cycles, "N", "falls of cosine_with_restarts", .min = 1,
         .max = 1e6},
        {"power", 0, OPT_F64, &o.power, "X", "exponent of polynomial", .min = 0.01, .max = 100},
        {"decay-steps", 0, OPT_U64, &o.decay_steps, "N",
         "length of the fall of wsd and warmup_stable_decay (default: the last fifth)", .min = 1,
         .max = 1e12},
        {"decay-shape", 0, OPT_CHOICE, &o.decay_shape, "SHAPE",
         "fall of warmup_stable_decay; wsd's is 1-sqrt unless told", "cosine|linear|1-sqrt"},
        {"beta1", 0, OPT_F64, &o.beta1, "X", "decay of AdamW's first moment", .min = 0,
         .max = 0.999999},
        {"beta2", 0, OPT_F64, &o.beta2, "X", "decay of AdamW's second moment", .min = 0,
         .max = 0.999999},
        {"eps", 0, OPT_F64, &o.eps, "X", "AdamW's epsilon", .min = 0, .max = 1},
        {"weight-decay", 0, OPT_F64, &o.weight_decay, "X", "of the tensors that --decay names",
         .min = 0, .max = 1e6},
        {"decay", 0, OPT_CHOICE, &o.decay, "RULE",
         "all but biases and LayerNorm (hf), matrices (llmc: the same for a GPT-2), or everything",
         "hf|llmc|all"},
        {"clip", 0, OPT_F64, &o.clip, "X", "largest gradient norm; 0: any", .min = 0, .max = 1e30},
        {"freeze", 0, OPT_STRS, &o.freeze, "PATTERN",
         "leave parameters as they are, e.g. 'wte.*' or 'h.[0-5].*' (repeatable)"},
        {"spike", 0, OPT_F64, &o.spike, "Z",
         "skip a step whose loss or norm is Z deviations above the last 128; 0: never", .min = 0,
         .max = 1e6},
        {"skips", 0, OPT_U64, &o.skips, "N", "skipped steps in a row that end the run", .min = 1,
         .max = 1e9},
        {"Run", .type = OPT_GROUP},
        TOOL_OUTPUT(&o.output, "folder of the run"),
        {"resume", 0, OPT_STR, &o.resume, "auto|never|DIR",
         "go on with the run in -o, refuse to, or branch off DIR"},
        {"eval-every", 0, OPT_STEPS, &o.eval_every, "STEPS|TIME", "time between evaluations"},
        {"eval-tokens", 0, OPT_U64, &o.eval_tokens, "N",
         "tokens of an evaluation, rounded up to whole windows; at the end always all", .min = 1,
         .max = 1e15},
        {"eval-steps", 0, OPT_U64, &o.eval_steps, "N",
         "batches of an evaluation, instead of --eval-tokens", .min = 1, .max = 1e12},
        {"patience", 0, OPT_U64, &o.patience, "N",
         "end after N evaluations in a row without a better one; 0: never", .min = 0, .max = 1e9},
        {"patience-threshold", 0, OPT_F64, &o.patience_threshold, "X",
         "how much lower a loss must be to be better", .min = 0, .max = 1e6},
        {"save-every", 0, OPT_STEPS, &o.save_every, "STEPS|TIME",
         "time between checkpoints; every 30 minutes besides"},
        {"save-best", 0, OPT_FLAG, &o.save_best, NULL,
         "save besides after each evaluation that is the best so far; --no-save-best: the best is "
         "that of the checkpoints saved anyway"},
        {"keep", 0, OPT_U64, &o.keep, "N", "newest checkpoints to keep, besides the best; 0: all",
         .min = 0, .max = 1e9},
        {"force", 0, OPT_FLAG, &o.force, NULL,
         "begin even if the disk will not hold all the checkpoints"},
        {"push-to", 0, OPT_STR, &o.push.target, "hf://NS/NAME",
         "push what is saved to the Hub, in the background, to a branch of its own",
         .sensitive = true},
        {"run-name", 0, OPT_STR, &o.push.name, "NAME", "name of that branch (default: made up)"},
        {"push-private", 0, OPT_FLAG, &o.push.secret, NULL, "a repository that is made is private"},
        {"push-wait", 0, OPT_DURATION, &o.push_wait, "TIME",
         "longest time for what is left to push at the end"},
        {"dry-run", 0, OPT_FLAG, &o.dry_run, NULL, "print the plan as JSON and stop"},
        {"device", 0, OPT_CHOICE, &o.device, "NAME", "where to compute", "auto|cpu|cuda|ref"},
        {"dtype", 0, OPT_STR, &o.dtype, "auto|fp32|bf16",
         "type of the products; auto: the checkpoint's, where the processor multiplies it"},
        {"recompute", 0, OPT_CHOICE, &o.recompute, "WHAT",
         "compute again on the way back, to the same bits: nothing, the GELU, all of a block; "
         "auto: "
         "the GELU, but nothing where a GPU's memory holds it",
         "auto|none|gelu|block"},
        {"record", 0, OPT_FLAG, &o.record, NULL,
         "on a GPU, a batch's kernels as one submission (a CUDA graph); --no-record: one by one, "
         "to "
         "look for faults"},
        {0}};
    struct program p = {.name = "lmtrain",
                        .summary = "trains a GPT-2 on token shards",
                        .usage = "--train DIR|FILE… [--valid DIR|FILE…] [--model DIR] [-o run/]\n"
                                 "export FORMAT [MODEL] -o FILE",
                        .text = text,
                        .examples = examples,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) {
        signals_install();
        rc = run(&o, opts, &t);
    }
    return tool_end(&t, rc);
}

int main(int argc, char **argv) {
    backend_spin_less(argv);
    static const struct subcommand subs[] = {
        {"export", "write a model as the file of another trainer", lmtrain_export}, {0}};
    static const struct family f = {"lmtrain", "trains a GPT-2 on token shards", subs,
                                    lmtrain_main};
    return tool_dispatch(&f, argc, argv);
}
