/* lmgen: continues texts with a model. Options, and the run: which prompts go through the model
 * together (lmgen_parts.h has the picture).
 *
 * Completion k of prompt i draws from random stream (i, k) of the seed, whatever stands beside
 * it. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/signals.h"
#include "tools/backend.h"
#include "tools/lmgen_parts.h"

enum { ROWS_MAX = 32, CACHE_MAX = 1 << 30 /* bytes of keys and values at a time */ };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ------------------------------------------------------------------ the run */

/* New ids for a prompt: --max-new, and --max-length with the prompt in it. */
static int wanted(const struct session *s, const struct prompt *p) {
    const struct options *o = s->o;
    uint64_t n = o->max_new;
    if (o->max_length) {
        uint64_t left = o->max_length > p->ids.n ? o->max_length - p->ids.n : 0;
        if (n > left) n = left;
    }
    return n > INT32_MAX ? INT32_MAX : (int)n;
}

/* Says which prompts leave no room: an empty completion looks like a model with nothing to say. And
 * which are not seen whole. */
static void warn_of_length(const struct session *s) {
    if (s->o->min_new > s->o->max_new)
        log_warn(&s->t->log,
                 "--min-new %" PRIu64 " is not reached: --max-new ends a text at %" PRIu64,
                 s->o->min_new, s->o->max_new);
    for (size_t i = 0; i < s->n_prompts; i++) {
        size_t n = s->prompts[i].ids.n;
        if (s->o->max_new && wanted(s, &s->prompts[i]) == 0)
            log_warn(&s->t->log,
                     "prompt %zu has %zu tokens already; --max-length %" PRIu64
                     " leaves no room for more",
                     i + 1, n, s->o->max_length);
        else if (n > (size_t)s->m.config.P)
            log_warn(&s->t->log,
                     "prompt %zu has %zu tokens; the model's context is %d: only the last %d are "
                     "read",
                     i + 1, n, s->m.config.P, s->m.config.P);
    }
}

static int longest_text(const struct session *s) {
    uint64_t longest = 1;
    for (size_t i = 0; i < s->n_prompts; i++) {
        uint64_t n = s->prompts[i].ids.n + (uint64_t)wanted(s, &s->prompts[i]);
        if (n > longest) longest = n;
    }
    return longest > INT32_MAX ? INT32_MAX : (int)longest;
}

/* Jobs [first, first + n): together through the model, then printed in their order. */
static int run_group(struct session *s, struct generator *g, size_t first, int n, size_t total,
                     int64_t eos, struct err *err) {
    struct gen_row rows[ROWS_MAX];
    double begin = now();
    int rc = 0;
    for (int b = 0; b < n; b++) {
        size_t i = (first + (size_t)b) / s->o->n, k = (first + (size_t)b) % s->o->n;
        struct job *j = &s->jobs[b];
        const struct prompt *p = &s->prompts[i];
        j->prompt = p;
        j->rng = (struct rng){.key = s->t->seed, .stream = (uint64_t)i << 32 | k};
        j->ids.n = j->text.n = j->shown = j->open = 0;
        j->stopped = false;
        j->stop = NULL;
        rows[b] = (struct gen_row){.prompt = p->ids.v,
                                   .n = p->ids.n,
                                   .max_new = wanted(s, p),
                                   .rng = &j->rng,
                                   .ends = s->m.config.eos_more,
                                   .n_ends = s->o->no_stop ? 0 : s->m.config.n_eos_more,
                                   .rules = s->obeyed,
                                   .first = p->first,
                                   .out = &j->ids};
        if (s->live) rc = show_prompt(s, j, err);
    }
    if (rc == 0)
        rc = generate_rows(g, rows, n, s->o->no_stop ? -1 : eos, &s->sampling, show_id, s, err);
    s->seconds += now() - begin;
    if (rc == 0 && s->t->err.code) rc = s->t->err.code; /* from show_id */
    for (int b = 0; rc == 0 && b < n; b++) {
        struct job *j = &s->jobs[b];
        j->finish = rows[b].finish;
        rc = show_done(s, j, first + (size_t)b, total, err);
    }
    return rc;
}

static int run_jobs(struct session *s, int64_t eos, struct err *err) {
    struct generator *g = NULL;
    size_t total = s->n_prompts * s->o->n;
    int positions = longest_text(s), rows = ROWS_MAX, rc;
    warn_of_length(s);
    uint64_t each = generator_row_bytes(s->m.model, positions);
    if ((uint64_t)rows > CACHE_MAX / each) rows = each > CACHE_MAX ? 1 : (int)(CACHE_MAX / each);
    if ((size_t)rows > total) rows = (int)total;
    s->jobs = mem_array((size_t)rows, sizeof *s->jobs);
    rc = s->jobs ? generator_new(&g, s->m.model, rows, positions, err) : err_nomem(err, 0);
    for (size_t at = 0; rc == 0 && at < total; at += (size_t)rows) {
        int n = total - at < (size_t)rows ? (int)(total - at) : rows;
        rc = run_group(s, g, at, n, total, eos, err);
        if (total > (size_t)rows)
            log_progress(&s->t->log, &(struct progress){.stage = "generating",
                                                        .done = at + (size_t)n,
                                                        .total = total,
                                                        .unit = "texts"});
        if (rc == 0 && signals_stop()) rc = err_set(err, ERR_STOPPED, "interrupted");
    }
    for (int b = 0; s->jobs && b < rows; b++) {
        u32s_release(&s->jobs[b].ids);
        buf_release(&s->jobs[b].text);
    }
    free(s->jobs);
    generator_free(g);
    return rc;
}

/* ------------------------------------------------------------------ what it begins with */

/* The tokenizer lies beside the model; ids in and ids out need none. */
static int open_tokenizer(struct session *s, struct err *err) {
    const struct options *o = s->o;
    const char *dir = o->tokenizer ? o->tokenizer : s->m.dir;
    bool ids_only = o->prompt_ids && !s->t->operands->n && !o->prompts && o->ids &&
                    strcmp(o->ids, "json") == 0 && !s->stops.n && !s->t->json && !o->bad_words.n &&
                    !o->sequence_bias.n;
    int rc;
    if (ids_only) return 0;
    rc = tokenizer_open(&s->tokenizer, dir, NULL, err);
    if (rc < 0 && !o->tokenizer) {
        err_hint(err, "name its tokenizer with -t, or use --prompt-ids with --ids json");
        return rc;
    }
    if (rc < 0 || tokenizer_size(s->tokenizer) <= (uint32_t)s->m.config.V) return rc;
    if (o->tokenizer)
        return err_set(err, ERR_USAGE, "%s has %" PRIu32 " tokens, the model only %d", dir,
                       tokenizer_size(s->tokenizer), s->m.config.V);
    log_warn(&s->t->log, "the tokenizer has %" PRIu32 " tokens, the model only the first %d",
             tokenizer_size(s->tokenizer), s->m.config.V); /* a [PAD] that was added to it alone */
    return 0;
}

/* What --stop, --stop-regex and --first-block say. The latter is CodeParrot's rule: where a
 * function's completion goes over to something else. */
static int make_stops(struct session *s, struct err *err) {
    static const char *const ends[] = {"\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif"};
    const struct options *o = s->o;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < o->stop.n; i++)
        rc = stops_add_string(&s->stops, o->stop.v[i], err);
    for (size_t i = 0; rc == 0 && i < o->stop_regex.n; i++)
        rc = stops_add_regex(&s->stops, o->stop_regex.v[i], err);
    for (size_t i = 0; rc == 0 && o->first_block && i < sizeof ends / sizeof *ends; i++)
        rc = stops_add_string(&s->stops, ends[i], err);
    return rc;
}

/* Also at a temperature at which fp32's logits, divided by it, would be too large for it. */
static bool is_greedy(const struct options *o) {
    return o->greedy || o->temperature < 1e-6;
}

static int prepare(struct session *s, int64_t *ret_eos, struct err *err) {
    const struct options *o = s->o;
    int rc;
    rc = make_stops(s, err);
    if (rc == 0)
        rc = open_model(&s->m, o->model, o->device, o->dtype, tool_threads(s->t), &s->t->log, err);
    if (rc == 0) rc = config_take(s, err);
    if (rc == 0) rc = open_tokenizer(s, err);
    s->sampling = (struct sampling){.greedy = is_greedy(o),
                                    .temperature = (float)o->temperature,
                                    .top_k = (int)o->top_k,
                                    .top_p = (float)o->top_p,
                                    .min_p = (float)o->min_p,
                                    .typical_p = (float)o->typical_p,
                                    .epsilon_cutoff = (float)o->epsilon_cutoff,
                                    .eta_cutoff = (float)o->eta_cutoff};
    if (rc < 0) return rc;
    *ret_eos = s->m.config.eos < s->m.config.V ? s->m.config.eos : -1;
    if (*ret_eos < 0 && s->tokenizer && tokenizer_eot(s->tokenizer) != TOKENIZER_NO_ID)
        *ret_eos = tokenizer_eot(s->tokenizer);
    rc = rules_make(s, *ret_eos, &s->obeyed, err);
    if (rc == 0) rc = prompts_collect(s, err);
    if (rc == 0) rc = prompts_encode(s, *ret_eos, err);
    s->text.terminal = isatty(STDOUT_FILENO);
    s->live = s->text.terminal && s->n_prompts == 1 && o->n == 1 && !o->ids && !s->t->json;
    if (rc == 0 && s->t->json && !(s->results = cJSON_CreateArray())) rc = err_nomem(err, 0);
    return rc;
}

/* --preset code samples as CodeParrot's own demonstration does; what is given besides wins. */
static void apply_preset(struct options *o, struct opt *table) {
    static const struct {
        const char *name;
        double value;
    } code[] = {{"temperature", 0.4}, {"top-p", 0.95}, {"top-k", 0}, {"n", 4}, {"max-length", 64}};
    if (!o->preset) return;
    o->first_block = true;
    for (size_t i = 0; i < sizeof code / sizeof *code; i++) {
        struct opt *p = opt_find(table, code[i].name, strlen(code[i].name));
        if (p->given) continue;
        p->given = true;
        if (p->type == OPT_F64)
            *(double *)p->to = code[i].value;
        else
            *(uint64_t *)p->to = (uint64_t)code[i].value;
    }
}

/* --max-length alone is the whole limit: the default of --max-new does not count beside it. */
static void free_length(struct options *o, struct opt *table) {
    if (o->max_length && !opt_find(table, "max-new", strlen("max-new"))->given)
        o->max_new = o->max_length;
}

/* What was asked for and does nothing beside --greedy. */
static void warn_of_greedy(const struct options *o, struct opt *table, const struct log *log) {
    static const char *const idle[] = {"temperature", "top-k",          "top-p",     "min-p",
                                       "typical-p",   "epsilon-cutoff", "eta-cutoff"};
    for (size_t i = 0; o->greedy && i < sizeof idle / sizeof *idle; i++)
        if (opt_find(table, idle[i], strlen(idle[i]))->given)
            log_warn(log, "--greedy draws nothing: --%s has no effect", idle[i]);
}

static void warn_of_equals(const struct options *o, const struct log *log) {
    if (o->n > 1 && is_greedy(o))
        log_warn(log, "--greedy: the %" PRIu64 " completions of a prompt are the same", o->n);
}

static int run(struct options *o, struct opt *table, struct tool *t) {
    struct session s = {.t = t, .o = o, .table = table};
    int64_t eos = -1;
    int rc = prepare(&s, &eos, &t->err);
    if (rc == 0) rc = run_jobs(&s, eos, &t->err);
    if ((rc == 0 || rc == ERR_STOPPED) && s.results && show_results(&s) < 0) rc = t->err.code;
    if (rc == 0 && s.seconds > 0)
        log_debug(&t->log, "%" PRIu64 " tokens, %.1f a second", s.new_ids,
                  (double)s.new_ids / s.seconds);
    prompts_release(&s);
    stops_release(&s.stops);
    text_out_release(&s.text);
    rules_release(&s.rules);
    cJSON_Delete(s.results);
    tokenizer_free(s.tokenizer);
    open_model_close(&s.m);
    return rc;
}

static const char text[] =
    "PROMPT is a text; - reads one from stdin; none at all begins a new "
    "document. Printed are the prompt "
    "and its completion. A model is a run of lmtrain (its best checkpoint, "
    "else its last), a checkpoint, or "
    "any folder with the config.json and model.safetensors of a GPT-2. A text that grows beyond "
    "the model's context goes on from its younger half.";
static const char examples[] =
    "lmgen \"def fibonacci(n):\"\twith the model in run/\n"
    "lmgen -m gpt2/ --greedy --max-new 40 \"The answer is\"\tthe most likely text\n"
    "lmgen --prompts tasks.jsonl --n 20 --temperature 0.4 --top-p 0.95 --first-block --json\t"
    "completions of functions, as CodeParrot samples them";

int main(int argc, char **argv) {
    backend_spin_less(argv);
    struct options o = {.model = "run",
                        .max_new = 128,
                        .n = 1,
                        .temperature = 1,
                        .top_p = 1,
                        .typical_p = 1,
                        .repetition_penalty = 1,
                        .device = "auto",
                        .dtype = "auto"};
    /* clang-format off: a line an option */
    struct opt opts[] = {
        {"Model", .type = OPT_GROUP},
        {"model", 'm', OPT_STR, &o.model, "DIR",
         "a run, a checkpoint, or any GPT-2's folder (default: run)"},
        {"tokenizer", 't', OPT_STR, &o.tokenizer, "TOK",
         "its tokenizer (default: the one beside the model)"},
        {"device", 0, OPT_CHOICE, &o.device, "NAME", "where to compute", "auto|cpu|cuda|ref"},
        {"dtype", 0, OPT_CHOICE, &o.dtype, "TYPE", "type of the products", "auto|fp32|bf16"},
        {"Prompts", .type = OPT_GROUP},
        {"prompts", 0, OPT_STR, &o.prompts, "FILE",
         "a prompt a line; of .jsonl the string \"prompt\""},
        {"prompt-ids", 0, OPT_STR, &o.prompt_ids, "IDS", "a prompt as ids: \"1 2 3\""},
        {"n", 'n', OPT_U64, &o.n, "K", "completions per prompt", .min = 1, .max = 1 << 20},
        {"heal", 0, OPT_FLAG, &o.heal, NULL,
         "a prompt's last token may become a longer one: the blank of \"def \" joins the name"},
        {"Length", .type = OPT_GROUP},
        {"max-new", 0, OPT_U64, &o.max_new, "N", "tokens to add at most", .min = 0, .max = 1e9},
        {"max-length", 0, OPT_U64, &o.max_length, "N",
         "the same with the prompt counted; alone, --max-new does not count", .min = 1, .max = 1e9},
        {"min-new", 0, OPT_U64, &o.min_new, "N", "no end of text before so many new tokens",
         .min = 0, .max = 1e9},
        {"min-length", 0, OPT_U64, &o.min_length, "N", "the same with the prompt counted", .min = 0,
         .max = 1e9},
        {"stop", 0, OPT_STRS, &o.stop, "S", "end before this text (repeatable)"},
        {"stop-regex", 0, OPT_STRS, &o.stop_regex, "RE",
         "end before the first match of this expression (PCRE2; repeatable)"},
        {"no-stop", 0, OPT_FLAG, &o.no_stop, NULL, "go on behind an end of text"},
        {"first-block", 0, OPT_FLAG, &o.first_block, NULL,
         "of code: the completion alone, up to the next definition"},
        {"Sampling", .type = OPT_GROUP},
        {"preset", 0, OPT_CHOICE, &o.preset, "NAME",
         "code: --temperature 0.4 --top-p 0.95 --n 4 --max-length 64 --first-block, as CodeParrot",
         "code"},
        {"greedy", 0, OPT_FLAG, &o.greedy, NULL, "always the most likely token"},
        {"temperature", 0, OPT_F64, &o.temperature, "X",
         "below 1 bolder in the likely, above 1 wilder; 0: greedy", .min = 0, .max = 1e6},
        {"top-k", 0, OPT_U64, &o.top_k, "K", "only the K likeliest; 0: all", .min = 0,
         .max = 1 << 24},
        {"top-p", 0, OPT_F64, &o.top_p, "P", "only the likeliest that make up P together", .min = 0,
         .max = 1},
        {"min-p", 0, OPT_F64, &o.min_p, "P",
         "only those at least P times as likely as the likeliest", .min = 0, .max = 1},
        {"typical-p", 0, OPT_F64, &o.typical_p, "P",
         "only those whose surprise is nearest to the expected one, P together", .min = 1e-6,
         .max = 1},
        {"epsilon-cutoff", 0, OPT_F64, &o.epsilon_cutoff, "P", "only those of at least P; 0: all",
         .min = 0, .max = 1},
        {"eta-cutoff", 0, OPT_F64, &o.eta_cutoff, "P",
         "the same, with less asked for where many are likely; 0: all", .min = 0, .max = 1},
        {"repetition-penalty", 0, OPT_F64, &o.repetition_penalty, "X",
         "above 1: less of what was there already", .min = 1e-3, .max = 1e3},
        {"no-repeat-ngram-size", 0, OPT_U64, &o.no_repeat_ngram_size, "N",
         "no N tokens in a row come twice, the prompt's included; 0: they may", .min = 0,
         .max = 1e6},
        {"bad-words", 0, OPT_STRS, &o.bad_words, "S",
         "never this text, as its own tokens: \" word\" is another than \"word\" (repeatable)"},
        {"suppress-tokens", 0, OPT_STR, &o.suppress_tokens, "IDS", "never these ids: \"1 2 3\""},
        {"sequence-bias", 0, OPT_STRS, &o.sequence_bias, "S=X",
         "adds X to the score of the text S, as its own tokens (repeatable)"},
        {"generation-config", 0, OPT_STR, &o.generation_config, "FILE",
         "defaults of all these from here, not from the model's generation_config.json; none: from "
         "neither"},
        {"Output", .type = OPT_GROUP},
        {"ids", 0, OPT_CHOICE, &o.ids, "FORM",
         "ids instead of text: prompt and completion, an array a line", "json"},
        {0}};
    /* clang-format on */
    struct program p = {.name = "lmgen",
                        .summary = "continues texts with a trained model",
                        .usage = "[-m DIR] [PROMPT…]",
                        .text = text,
                        .examples = examples,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) {
        signals_install();
        warn_of_greedy(&o, opts, &t.log);
        apply_preset(&o, opts);
        free_length(&o, opts);
        warn_of_equals(&o, &t.log);
        rc = run(&o, opts, &t);
    }
    strs_release(&o.stop);
    strs_release(&o.stop_regex);
    strs_release(&o.bad_words);
    strs_release(&o.sequence_bias);
    return tool_end(&t, rc);
}
