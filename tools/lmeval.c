/* lmeval: judges a model. `loss`: its loss over token shards, every target once and weighted
 * equally; `bigram`: the loss of the simplest model worth beating, over the same targets. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "base/signals.h"
#include "stream/shard.h"
#include "tokenizer/tokenizer.h"
#include "tools/backend.h"
#include "tools/common.h"
#include "tools/open_model.h"
#include "tools/same_tokens.h"
#include "train/bigram.h"
#include "train/evaluate.h"
#include "train/sliding.h"

struct options {
    const char *model, *tokenizer, *window, *device, *dtype;
    struct strs valid, text;
    uint64_t seq_len, stride, batch, eval_steps, eval_tokens;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool stopped(void *ctx) {
    (void)ctx;
    return signals_stop() != 0;
}

static int print_loss(struct tool *t, const struct open_model *m, const struct shard_set *set,
                      uint64_t stride, const struct evaluate_result *r, double seconds) {
    double loss = r->sum / (double)r->targets, bpb = evaluate_bits_per_byte(set, r);
    if (!isfinite(loss))
        return err_set(&t->err, ERR_CORRUPT,
                       "%s: the loss is not finite: the weights are damaged, or the model diverged "
                       "when it was trained",
                       m->dir);
    if (!t->json) {
        FILE *out = tool_out(t);
        fprintf(out, "loss %.6f  perplexity %.7g  tokens %" PRIu64, loss, exp(loss), r->targets);
        if (isfinite(bpb)) fprintf(out, "  bits per byte %.4f", bpb);
        fprintf(out, "\n");
        return 0;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", m->dir);
    cJSON_AddNumberToObject(o, "loss", loss);
    cJSON_AddNumberToObject(o, "perplexity", exp(loss));
    cJSON_AddNumberToObject(o, "tokens", (double)r->targets);
    cJSON_AddNumberToObject(o, "windows", (double)r->windows);
    if (stride) cJSON_AddNumberToObject(o, "stride", (double)stride);
    if (isfinite(bpb)) cJSON_AddNumberToObject(o, "bits_per_byte", bpb);
    cJSON_AddNumberToObject(o, "seconds", seconds);
    cJSON_AddNumberToObject(o, "tokens_per_s", (double)r->targets / seconds);
    return tool_print_json(t, o);
}

static int evaluate(struct tool *t, const struct options *o, struct open_model *m,
                    const struct shard_set *set, struct err *err) {
    uint64_t T = o->seq_len ? o->seq_len : set->seq_len ? set->seq_len : (uint64_t)m->config.P;
    struct loader l = {0};
    struct evaluate_opts opts = {.B = (int)o->batch, .stop = stopped, .log = &t->log};
    struct evaluate_result r = {0};
    double begin = now();
    int rc = fits_positions(T, o->seq_len > 0, m->config.P, m->dir, err);
    if (rc < 0) return rc;
    if (o->eval_steps) opts.windows = o->eval_steps * o->batch;
    if (o->eval_tokens) opts.windows = (o->eval_tokens + T - 1) / T;
    rc = loader_open(&l, set, (int)T, o->window && o->window[0] == 'h' ? WINDOW_HF : WINDOW_GPT,
                     false, 1, true, err);
    if (rc == 0) rc = model_plan(m->model, opts.B, (int)T, false, NULL, err);
    if (rc == 0) rc = evaluate_loss(m->model, &l, &opts, &r, err);
    if (rc == 0 && r.stopped) rc = err_set(err, ERR_STOPPED, "interrupted");
    if (rc == 0 && !r.targets) rc = err_set(err, ERR_DATA, "the shards hold no targets");
    if (rc == 0) rc = print_loss(t, m, set, 0, &r, now() - begin);
    loader_close(&l);
    return rc;
}

/* Windows that overlap, over each shard by itself, or over a text's ids. */
static int slide(struct tool *t, const struct options *o, struct open_model *m,
                 const struct shard_set *set, const struct u32s *texts, struct err *err) {
    uint64_t T = o->seq_len ? o->seq_len : (uint64_t)m->config.P,
             stride = o->stride ? o->stride : T;
    size_t n = set->n ? set->n : o->text.n;
    struct evaluate_opts opts = {.B = (int)o->batch, .stop = stopped, .log = &t->log};
    struct evaluate_result r = {0};
    double begin = now();
    int rc = fits_positions(T, o->seq_len > 0, m->config.P, m->dir, err);
    if (rc == 0 && stride > T)
        rc = err_set(err, ERR_USAGE,
                     "--stride %" PRIu64 " is more than a window of %" PRIu64
                     " tokens: those between would not be scored",
                     stride, T);
    if (o->eval_steps) opts.windows = o->eval_steps * o->batch;
    if (o->eval_tokens) opts.windows = (o->eval_tokens + stride - 1) / stride;
    if (rc == 0) rc = model_plan(m->model, opts.B, (int)T, false, NULL, err);
    for (size_t i = 0; rc == 0 && i < n && !(opts.windows && r.windows >= opts.windows); i++) {
        struct sliding s = {.T = (int)T, .stride = (int)stride};
        if (set->n)
            s.shard = &set->v[i], s.path = set->v[i].path, s.n = set->v[i].n;
        else
            s.ids = texts[i].v, s.path = o->text.v[i], s.n = texts[i].n;
        rc = evaluate_sliding(m->model, &s, &opts, &r, err);
        if (rc == 0 && r.stopped) rc = err_set(err, ERR_STOPPED, "interrupted");
    }
    if (rc == 0 && !r.targets) rc = err_set(err, ERR_DATA, "there are no targets in it");
    return rc == 0 ? print_loss(t, m, set, stride, &r, now() - begin) : rc;
}

/* The ids of each --text, and in *ret_set how many bytes and tokens they are. */
static int encode_texts(const struct options *o, const struct open_model *m, struct u32s *ret,
                        struct shard_set *ret_set, struct err *err) {
    struct tokenizer *k = NULL;
    struct encoder *e = NULL;
    struct buf b = {0};
    int rc = tokenizer_open(&k, o->tokenizer ? o->tokenizer : m->dir, NULL, err);
    if (rc < 0 && !o->tokenizer) err_hint(err, "name the model's tokenizer with -t");
    if (rc == 0) rc = encoder_new(&e, k, err);
    for (size_t i = 0; rc == 0 && i < o->text.n; i++) {
        const char *name = strcmp(o->text.v[i], "-") ? o->text.v[i] : "/dev/stdin";
        b.n = 0;
        rc = file_read(name, UINT32_MAX, &b, err);
        if (rc == 0) rc = encode(e, b.n ? b.v : "", b.n, TOKENIZER_SPECIAL_ALL, &ret[i], err);
        if (rc == 0 && ret[i].n < 2)
            rc = err_set(err, ERR_DATA, "%s: too short to be scored", o->text.v[i]);
        ret_set->text_bytes += b.n;
        ret_set->tokens += ret[i].n;
    }
    buf_release(&b);
    encoder_free(e);
    tokenizer_free(k);
    return rc;
}

static int slide_texts(struct tool *t, const struct options *o, struct open_model *m,
                       struct err *err) {
    struct shard_set set = {0}; /* no shards, only how many bytes and tokens */
    struct u32s *texts = mem_array(o->text.n, sizeof *texts);
    int rc = texts ? encode_texts(o, m, texts, &set, err) : err_nomem(err, 0);
    if (rc == 0) rc = slide(t, o, m, &set, texts, err);
    for (size_t i = 0; texts && i < o->text.n; i++) u32s_release(&texts[i]);
    free(texts);
    return rc;
}

/* Ids in range may still be those of another tokenizer: then the loss says nothing. */
static int warn_of_tokens(struct tool *t, const struct options *o, const struct open_model *m,
                          struct err *err) {
    struct err other = {0};
    char *beside = shards_tokenizer(o->valid.v[0]);
    int rc = beside ? same_tokens(m->dir, beside, &other) : err_nomem(err, 0);
    if (rc == ERR_USAGE) log_warn(&t->log, "%s", other.msg);
    free(beside);
    return beside ? 0 : rc;
}

static int loss(struct tool *t, struct options *o) {
    struct open_model m = {0};
    struct shard_set set = {0};
    struct err *err = &t->err;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->operands->n; i++) /* shards, without --valid before them */
        rc = strs_push(&o->valid, t->operands->v[i], err);
    if (rc < 0) return rc;
    if (!o->valid.n == !o->text.n) {
        err_set(err, ERR_USAGE, "--valid %s --text %s", o->valid.n ? "and" : "or",
                o->valid.n ? "do not go together" : "is missing");
        return err_hint(err, "name what to score: --valid shards/, or --text FILE");
    }
    if ((o->stride || o->text.n) && o->window && o->window[0] == 'g')
        return err_set(err, ERR_USAGE, "--window gpt: those of --stride and --text are hf's");
    if (o->valid.n)
        rc = shard_set_open(&set, (const char *const *)o->valid.v, o->valid.n, "valid", err);
    if (rc == 0) rc = open_model(&m, o->model, o->device, o->dtype, tool_threads(t), &t->log, err);
    if (rc == 0 && o->valid.n) rc = warn_of_tokens(t, o, &m, err);
    if (rc == 0 && set.vocab > (uint32_t)m.config.V)
        rc = err_set(err, ERR_USAGE,
                     "the shards have a vocabulary of %" PRIu32 ", the model one of %d", set.vocab,
                     m.config.V);
    if (rc == 0)
        rc = o->text.n   ? slide_texts(t, o, &m, err)
             : o->stride ? slide(t, o, &m, &set, NULL, err)
                         : evaluate(t, o, &m, &set, err);
    open_model_close(&m);
    shard_set_close(&set);
    return rc;
}

static int loss_main(int argc, char **argv) {
    struct options o = {.model = "run", .device = "auto", .dtype = "auto", .batch = 8};
    /* clang-format off: a line an option */
    struct opt opts[] = {
        {"model", 'm', OPT_STR, &o.model, "DIR",
         "a run, a checkpoint, any GPT-2's folder, hf://NS/NAME, or llm.c's .bin (default: run)"},
        {"valid", 0, OPT_STRS, &o.valid, "DIR|FILE…",
         "shards to score: a folder, or .bin files (repeatable)", .many = true},
        {"text", 0, OPT_STRS, &o.text, "FILE…|-",
         "a plain text to score, as one piece, by windows of --seq-len with --stride (repeatable)",
         .many = true},
        {"tokenizer", 't', OPT_STR, &o.tokenizer, "TOK",
         "of --text (default: the one beside the model)"},
        {"stride", 0, OPT_U64, &o.stride, "N",
         "windows that overlap: each begins N tokens behind the last, and only its new tokens "
         "count",
         .min = 1, .max = 1 << 20},
        {"seq-len", 0, OPT_U64, &o.seq_len, "T",
         "tokens of a window (default: the shards'; with --stride or --text the model's context)",
         .min = 2, .max = 1 << 20},
        {"window", 0, OPT_CHOICE, &o.window, "KIND",
         "T+1 tokens and T targets (default), or T and T-1 as transformers", "gpt|hf"},
        {"batch", 0, OPT_U64, &o.batch, "B", "windows at a time", .min = 1, .max = 4096},
        {"eval-steps", 0, OPT_U64, &o.eval_steps, "N", "score only the first N batches", .min = 1,
         .max = 1e12},
        {"eval-tokens", 0, OPT_U64, &o.eval_tokens, "N",
         "score only so many tokens, rounded up to whole windows", .min = 1, .max = 1e15},
        {"device", 0, OPT_CHOICE, &o.device, "NAME", "where to compute", "auto|cpu|cuda|ref"},
        {"dtype", 0, OPT_STR, &o.dtype, "auto|fp32|bf16", "type of the products"},
        {0}};
    /* clang-format on */
    struct program p = {.name = "lmeval loss",
                        .summary = "a model's loss over token shards",
                        .usage = "-m DIR [--valid] SHARDS… [--seq-len T] [--window gpt|hf]\n"
                                 "-m DIR --text FILE… --stride N",
                        .text =
                            "Every token but the first of a window is a target once, the tails of "
                            "shards included, prompts (shard --prompt) left out; the loss is "
                            "their plain mean. --stride N is the Hugging Face guide's sliding "
                            "window, T tokens long, with every target weighted equally. "
                            "A perplexity that overflows is inf, in JSON null.",
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) {
        signals_install();
        rc = loss(&t, &o);
    }
    strs_release(&o.valid);
    strs_release(&o.text);
    return tool_end(&t, rc);
}

static int print_bigram(struct tool *t, const struct bigram_result *r) {
    if (!t->json) {
        fprintf(tool_out(t), "bigram loss %.6f  perplexity %.7g  tokens %" PRIu64 "\n", r->loss,
                exp(r->loss), r->targets);
        return 0;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "loss", r->loss);
    cJSON_AddNumberToObject(o, "perplexity", exp(r->loss));
    cJSON_AddNumberToObject(o, "tokens", (double)r->targets);
    cJSON_AddNumberToObject(o, "train_tokens", (double)r->train_tokens);
    cJSON_AddNumberToObject(o, "pairs", (double)r->pairs);
    cJSON_AddNumberToObject(o, "discount", r->discount);
    return tool_print_json(t, o);
}

/* The vocabulary's size: what the shards say, else one more than the largest id. */
static uint32_t ids_of(const struct shard_set *train, const struct shard_set *valid) {
    const struct shard_set *sets[] = {train, valid};
    if (train->vocab) return train->vocab;
    uint32_t V = 1;
    for (int k = 0; k < 2; k++)
        for (size_t s = 0; s < sets[k]->n; s++)
            for (uint64_t i = 0; i < sets[k]->v[s].n; i++)
                if (shard_token(&sets[k]->v[s], i) >= V) V = shard_token(&sets[k]->v[s], i) + 1;
    return V;
}

static int bigram(struct tool *t, const struct strs *train_paths, const struct strs *valid_paths) {
    struct shard_set train = {0}, valid = {0};
    struct bigram_result r = {0};
    struct err *err = &t->err;
    if (!train_paths->n || !valid_paths->n)
        return err_set(err, ERR_USAGE, "--train and --valid are both needed");
    int rc =
        shard_set_open(&train, (const char *const *)train_paths->v, train_paths->n, "train", err);
    if (rc == 0)
        rc = shard_set_open(&valid, (const char *const *)valid_paths->v, valid_paths->n, "valid",
                            err);
    if (rc == 0) rc = bigram_loss(&train, &valid, ids_of(&train, &valid), &r, err);
    if (rc == 0) rc = print_bigram(t, &r);
    shard_set_close(&train);
    shard_set_close(&valid);
    return rc;
}

static int bigram_main(int argc, char **argv) {
    struct strs train = {0}, valid = {0};
    struct opt opts[] = {
        {"train", 0, OPT_STRS, &train, "DIR|FILE…", "shards to count pairs in (repeatable)",
         .many = true},
        {"valid", 0, OPT_STRS, &valid, "DIR|FILE…", "shards to score (repeatable)", .many = true},
        {0}};
    struct program p = {.name = "lmeval bigram",
                        .summary = "the loss of a bigram model over token shards",
                        .usage = "--train SHARDS --valid SHARDS",
                        .text = "What the token before alone can say about the next one "
                                "(interpolated Kneser-Ney): the loss a trained model has to beat.",
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0 && t.operands->n)
        rc = err_set(&t.err, ERR_USAGE,
                     "unexpected \"%s\"; shards are given with --train and --valid",
                     t.operands->v[0]);
    if (rc == 0) rc = bigram(&t, &train, &valid);
    strs_release(&train);
    strs_release(&valid);
    return tool_end(&t, rc);
}

int main(int argc, char **argv) {
    backend_spin_less(argv);
    static const struct subcommand subs[] = {
        {"loss", "loss, perplexity and bits per byte over token shards", loss_main},
        {"bigram", "the loss of a bigram model, to compare with", bigram_main},
        {0}};
    static const struct family family = {
        .name = "lmeval", .summary = "judges a trained model", .subs = subs};
    return tool_dispatch(&family, argc, argv);
}
