/* lmgen: continues texts with a model.
 *
 *   prompts ─▶ ids ─▶ jobs (prompt × completion) ─▶ groups that fit the cache ─▶ texts, ids or JSON
 *
 * Completion k of prompt i draws from random stream (i, k) of the seed, whatever stands beside
 * it. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "tokenizer/tokenizer.h"
#include "tools/backend.h"
#include "tools/common.h"
#include "tools/gen_stop.h"
#include "tools/open_model.h"
#include "train/generate.h"

static const char RULE[] = "========================================"
                           "========================================";
enum { ROWS_MAX = 32, CACHE_MAX = 1 << 30 /* bytes of keys and values at a time */ };

struct options {
    const char *model, *tokenizer, *prompts, *prompt_ids, *ids, *device, *dtype, *preset;
    uint64_t max_new, max_length, n, top_k;
    double temperature, top_p, min_p, repetition_penalty;
    bool greedy, no_stop, first_block, heal;
    struct strs stop, stop_regex;
};

struct prompt {
    struct u32s ids;
    struct buf text; /* as it was given                                                  */
    uint32_t healed; /* --heal: bytes of the last token, which was taken back            */
    bool *first;     /* (V) the ids that may stand in its place; NULL: none was          */
};

/* One completion. */
struct job {
    const struct prompt *prompt;
    struct rng rng;
    struct u32s ids;
    struct buf text;  /* of the new ids, as bytes */
    size_t open;      /* of text: what stands before is settled */
    size_t shown;     /* of text, when it is printed as it comes */
    bool stopped;     /* at a stop, which is cut off */
    const char *stop; /* … as it was given; NULL: none */
    enum finish finish;
};

struct session {
    struct tool *t;
    struct options *o;
    struct open_model m;
    struct tokenizer *tokenizer; /* NULL: ids in, ids out */
    struct prompt *prompts;
    size_t n_prompts;
    struct stops stops;
    struct sampling sampling;
    struct job *jobs; /* of the group at hand */
    bool live;        /* print as it comes */
    cJSON *results;   /* --json */
    uint64_t new_ids;
    double seconds;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ------------------------------------------------------------------ prompts */

static struct prompt *new_prompt(struct session *s, struct err *err) {
    struct prompt *v = mem_resize(s->prompts, s->n_prompts + 1, sizeof *v);
    if (!v) {
        err_nomem(err, (s->n_prompts + 1) * sizeof *v);
        return NULL;
    }
    s->prompts = v;
    v[s->n_prompts] = (struct prompt){0};
    return &v[s->n_prompts++];
}

static int add_text(struct session *s, const char *text, size_t n, struct err *err) {
    struct prompt *p = new_prompt(s, err);
    return p ? buf_append(&p->text, text, n, err) : ERR_NOMEM;
}

/* "1 2 3", "1,2,3" or "[1, 2, 3]" */
static int add_ids(struct session *s, const char *text, struct err *err) {
    struct prompt *p = new_prompt(s, err);
    int rc = p ? 0 : ERR_NOMEM;
    while (rc == 0 && *text) {
        char *end;
        if (isspace((unsigned char)*text) || strchr(",[]", *text)) {
            text++;
            continue;
        }
        errno = 0;
        unsigned long id = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : ULONG_MAX;
        if (errno || id > UINT32_MAX)
            return err_set(err, ERR_USAGE, "--prompt-ids: \"%.20s\" is not an id", text);
        rc = u32s_push(&p->ids, (uint32_t)id, err);
        text = end;
    }
    return rc;
}

/* One line of --prompts: the line itself, or its "prompt" where the file is JSONL. */
static int add_line(struct session *s, const char *line, size_t n, bool json, uint64_t number,
                    struct err *err) {
    cJSON *tree = NULL;
    const char *text = NULL;
    int rc;
    if (!json) return add_text(s, line, n, err);
    rc = json_parse(&tree, line, n, s->o->prompts, err);
    if (rc == 0) rc = json_str(tree, "prompt", &text, s->o->prompts, err);
    if (rc == 0 && !text)
        rc = err_set(err, ERR_DATA, "%s: line %" PRIu64 ": no string \"prompt\"", s->o->prompts,
                     number);
    if (rc == 0) rc = add_text(s, text, strlen(text), err);
    cJSON_Delete(tree);
    return rc == ERR_CORRUPT ? ERR_DATA : rc;
}

static int add_file(struct session *s, const char *path, struct err *err) {
    struct buf b = {0};
    bool json = path_ends(path, ".jsonl");
    uint64_t number = 0;
    int rc = file_read(path, UINT32_MAX, &b, err);
    for (size_t at = 0; rc == 0 && at < b.n;) {
        const char *nl = memchr(b.v + at, '\n', b.n - at);
        size_t end = nl ? (size_t)(nl - b.v) : b.n, n = end - at;
        if (n && b.v[at + n - 1] == '\r') n--;
        number++;
        if (n) rc = add_line(s, b.v + at, n, json, number, err);
        at = end + 1;
    }
    buf_release(&b);
    return rc;
}

static int add_stdin(struct session *s, struct err *err) {
    struct prompt *p = new_prompt(s, err);
    char block[1 << 14];
    size_t n;
    int rc = p ? 0 : ERR_NOMEM;
    while (rc == 0 && (n = fread(block, 1, sizeof block, stdin)) > 0)
        rc = buf_append(&p->text, block, n, err);
    if (rc == 0 && ferror(stdin)) rc = err_errno(err, "stdin");
    return rc;
}

static int collect(struct session *s, struct err *err) {
    const struct strs *named = s->t->operands;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < named->n; i++)
        rc = strcmp(named->v[i], "-") == 0 ? add_stdin(s, err)
                                           : add_text(s, named->v[i], strlen(named->v[i]), err);
    if (rc == 0 && s->o->prompts) rc = add_file(s, s->o->prompts, err);
    if (rc == 0 && s->o->prompt_ids) rc = add_ids(s, s->o->prompt_ids, err);
    if (rc == 0 && s->n_prompts == 0 && !s->o->prompts) rc = add_text(s, "", 0, err);
    if (rc == 0 && s->n_prompts == 0)
        rc = err_set(err, ERR_DATA, "%s: no prompts in it", s->o->prompts);
    return rc;
}

/* A prompt may end in the middle of what a text would have as one token: "def " in front of "
 * main", whose blank belongs to the name. So the last token is taken back, and the first new one
 * must begin with its bytes (token healing). */
static int heal(struct session *s, struct prompt *p, int64_t eos, struct err *err) {
    uint32_t V = tokenizer_size(s->tokenizer), last = p->text.n ? p->ids.v[p->ids.n - 1] : 0;
    size_t n = 0, m;
    const uint8_t *tail = tokenizer_bytes(s->tokenizer, last, &n);
    if (!p->text.n || n == 0 || (p->ids.n == 1 && eos < 0)) return 0;
    p->first = mem_array((size_t)s->m.config.V, sizeof *p->first);
    if (!p->first) return err_nomem(err, (uint64_t)s->m.config.V);
    for (uint32_t id = 0; id < V; id++) {
        const uint8_t *v = tokenizer_bytes(s->tokenizer, id, &m);
        p->first[id] = m >= n && memcmp(v, tail, n) == 0;
    }
    p->healed = (uint32_t)n;
    if (--p->ids.n == 0) return u32s_push(&p->ids, (uint32_t)eos, err);
    return 0;
}

/* A prompt without ids begins as documents do: behind an end of text. */
static int encode_prompts(struct session *s, int64_t eos, struct err *err) {
    struct encoder *e = NULL;
    int rc = s->tokenizer ? encoder_new(&e, s->tokenizer, err) : 0;
    for (size_t i = 0; rc == 0 && i < s->n_prompts; i++) {
        struct prompt *p = &s->prompts[i];
        if (p->ids.n && s->tokenizer)
            rc = decode(s->tokenizer, p->ids.v, p->ids.n, false, &p->text, err);
        if (p->ids.n) continue;
        rc = p->text.n ? encode(e, p->text.v, p->text.n, TOKENIZER_SPECIAL_ALL, &p->ids, err) : 0;
        if (rc == 0 && p->ids.n == 0)
            rc = eos >= 0 ? u32s_push(&p->ids, (uint32_t)eos, err)
                          : err_set(err, ERR_USAGE, "no prompt was given");
        if (rc == 0 && s->o->heal && s->tokenizer) rc = heal(s, p, eos, err);
    }
    encoder_free(e);
    return rc;
}

/* The tokenizer lies beside the model; ids in and ids out need none. */
static int open_tokenizer(struct session *s, struct err *err) {
    const struct options *o = s->o;
    const char *dir = o->tokenizer ? o->tokenizer : s->m.dir;
    bool ids_only = o->prompt_ids && !s->t->operands->n && !o->prompts && o->ids &&
                    strcmp(o->ids, "json") == 0 && !s->stops.n && !s->t->json;
    int rc;
    if (ids_only) return 0;
    rc = tokenizer_open(&s->tokenizer, dir, NULL, err);
    if (rc < 0 && !o->tokenizer) {
        err_hint(err, "name its tokenizer with -t, or use --prompt-ids with --ids json");
        return rc;
    }
    if (rc == 0 && tokenizer_size(s->tokenizer) > (uint32_t)s->m.config.V)
        return err_set(err, ERR_USAGE, "%s has %" PRIu32 " tokens, the model only %d", dir,
                       tokenizer_size(s->tokenizer), s->m.config.V);
    return rc;
}

/* ------------------------------------------------------------------ while ids come */

/* How much of the text so far may be shown: no half character, nothing that may yet become a stop,
 * and of code no blanks that may turn out to be its last. */
static size_t showable(const struct session *s, const struct job *j) {
    size_t n = j->stopped ? j->text.n : j->open;
    return s->o->first_block ? stops_strip(j->text.v, n) : n;
}

/* What of a text is settled, and whether it ends there; `more`: it goes on. */
static int look_for_stops(struct session *s, struct job *j, bool more, struct err *err) {
    size_t whole = decode_whole(j->text.v, j->text.n), at;
    int rc = stops_find(&s->stops, j->text.v, whole, j->open, more, &at, &j->open, &j->stop, err);
    if (rc < 0 || !j->stop) return rc;
    j->stopped = true;
    j->text.n = at;
    return 0;
}

static void show(struct session *s, struct job *j, size_t to) {
    FILE *out = tool_out(s->t);
    if (to <= j->shown) return;
    fwrite(j->text.v + j->shown, 1, to - j->shown, out);
    fflush(out);
    j->shown = to;
}

static int on_id(void *ctx, int row, uint32_t id) {
    struct session *s = ctx;
    struct job *j = &s->jobs[row];
    size_t before = j->text.n;
    s->new_ids++;
    if (signals_stop()) return 1;
    if (!s->tokenizer) return 0;
    if (id >= tokenizer_size(s->tokenizer))
        return 0; /* a padded vocabulary: no text, as HF has it */
    if (decode(s->tokenizer, &id, 1, true, &j->text, &s->t->err) < 0) return 1;
    if (before == 0 && j->ids.n == 1 &&
        j->prompt->healed) { /* the prompt has these bytes already */
        j->text.n -= j->prompt->healed;
        memmove(j->text.v, j->text.v + j->prompt->healed, j->text.n);
    }
    if (j->text.n && look_for_stops(s, j, true, &s->t->err) < 0) return 1;
    if (s->live) show(s, j, showable(s, j));
    return j->stopped;
}

/* ------------------------------------------------------------------ what came of it */

static const char *finish_name(const struct job *j) {
    return j->stopped || j->finish == FINISH_STOP ? "stop" : "length";
}

static int print_ids(struct session *s, const struct job *j, struct err *err) {
    struct buf b = {0};
    const struct u32s *parts[2] = {&j->prompt->ids, &j->ids};
    bool first = true;
    int rc = buf_char(&b, '[', err);
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; rc == 0 && i < parts[k]->n; i++, first = false)
            rc = buf_printf(&b, err, "%s%" PRIu32, first ? "" : ", ", parts[k]->v[i]);
    if (rc == 0) rc = buf_str(&b, "]\n", err);
    if (rc == 0) fwrite(b.v, 1, b.n, tool_out(s->t));
    buf_release(&b);
    return rc;
}

/* A string of any bytes: cJSON's own would end at a NUL. */
static int put_text(cJSON *o, const char *key, const struct buf *text, size_t n, struct err *err) {
    struct buf b = {0};
    int rc = json_quote(&b, n ? text->v : "", n, err);
    if (rc == 0 && (!buf_cstr(&b) || !cJSON_AddRawToObject(o, key, b.v))) rc = err_nomem(err, b.n);
    buf_release(&b);
    return rc;
}

static int keep_json(struct session *s, const struct job *j, size_t n, struct err *err) {
    cJSON *o = cJSON_CreateObject(), *ids = cJSON_CreateArray();
    int rc = o && ids ? 0 : err_nomem(err, sizeof *o);
    if (rc == 0) rc = put_text(o, "prompt", &j->prompt->text, j->prompt->text.n, err);
    if (rc == 0) rc = put_text(o, "completion", &j->text, n, err);
    for (size_t i = 0; rc == 0 && i < j->ids.n; i++)
        cJSON_AddItemToArray(ids, cJSON_CreateNumber(j->ids.v[i]));
    if (rc < 0) {
        cJSON_Delete(o);
        cJSON_Delete(ids);
        return rc;
    }
    cJSON_AddItemToObject(o, "ids", ids);
    cJSON_AddNumberToObject(o, "prompt_tokens", (double)j->prompt->ids.n);
    cJSON_AddStringToObject(o, "finish_reason", finish_name(j));
    if (j->stop)
        cJSON_AddStringToObject(o, "stop", j->stop);
    else
        cJSON_AddNullToObject(o, "stop");
    cJSON_AddItemToArray(s->results, o);
    return 0;
}

/* The completion as it is to be read: without half a character; of code, its first block. */
static size_t readable(const struct session *s, const struct job *j) {
    size_t n = j->text.n && !j->stopped ? decode_whole(j->text.v, j->text.n) : j->text.n;
    return s->o->first_block ? stops_strip(j->text.v, n) : n;
}

static int print_text(struct session *s, struct job *j, size_t number, size_t total) {
    FILE *out = tool_out(s->t);
    size_t n = readable(s, j);
    if (!s->live) {
        if (s->o->preset && number)
            fprintf(out, "%s\n", RULE);
        else if (!s->o->preset && total > 1)
            fprintf(out, "%s--- %zu of %zu\n", number ? "\n" : "", number + 1, total);
        if (!s->o->first_block && j->prompt->text.n)
            fwrite(j->prompt->text.v, 1, j->prompt->text.n, out);
        if (n) fwrite(j->text.v, 1, n, out);
    } else {
        show(s, j, n);
    }
    fputc('\n', out);
    fflush(out);
    return 0;
}

static int emit(struct session *s, struct job *j, size_t number, size_t total, struct err *err) {
    if (s->t->json) return keep_json(s, j, readable(s, j), err);
    if (s->o->ids && strcmp(s->o->ids, "json") == 0) return print_ids(s, j, err);
    return print_text(s, j, number, total);
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

/* Says which prompts leave no room: an empty completion looks like a model with nothing to say. */
static void warn_of_length(const struct session *s) {
    for (size_t i = 0; i < s->n_prompts; i++)
        if (s->o->max_new && wanted(s, &s->prompts[i]) == 0)
            log_warn(&s->t->log,
                     "prompt %zu has %zu tokens already; --max-length %" PRIu64
                     " leaves no room for more",
                     i + 1, s->prompts[i].ids.n, s->o->max_length);
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
    int rc;
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
                                   .first = p->first,
                                   .out = &j->ids};
        if (s->live && p->text.n && !s->o->first_block)
            fwrite(p->text.v, 1, p->text.n, tool_out(s->t));
    }
    rc = generate_rows(g, rows, n, s->o->no_stop ? -1 : eos, &s->sampling, on_id, s, err);
    s->seconds += now() - begin;
    if (rc == 0 && s->t->err.code) rc = s->t->err.code; /* from on_id */
    for (int b = 0; rc == 0 && b < n; b++) {
        struct job *j = &s->jobs[b];
        j->finish = rows[b].finish;
        if (s->tokenizer && !j->stopped && j->text.n) rc = look_for_stops(s, j, false, err);
        if (rc == 0) rc = emit(s, j, first + (size_t)b, total, err);
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

static int print_results(struct session *s) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", s->m.dir);
    cJSON_AddItemToObject(o, "completions", s->results);
    s->results = NULL;
    cJSON_AddNumberToObject(o, "new_tokens", (double)s->new_ids);
    cJSON_AddNumberToObject(o, "seconds", s->seconds);
    return tool_print_json(s->t, o);
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

static int prepare(struct session *s, int64_t *ret_eos, struct err *err) {
    const struct options *o = s->o;
    int rc;
    s->sampling = (struct sampling){.greedy = o->greedy || o->temperature == 0,
                                    .temperature = (float)o->temperature,
                                    .top_k = (int)o->top_k,
                                    .top_p = (float)o->top_p,
                                    .min_p = (float)o->min_p,
                                    .repetition_penalty = (float)o->repetition_penalty};
    rc = make_stops(s, err);
    if (rc == 0)
        rc = open_model(&s->m, o->model, o->device, o->dtype, tool_threads(s->t), &s->t->log, err);
    if (rc == 0) rc = open_tokenizer(s, err);
    if (rc < 0) return rc;
    *ret_eos = s->m.config.eos < s->m.config.V ? s->m.config.eos : -1;
    if (*ret_eos < 0 && s->tokenizer && tokenizer_eot(s->tokenizer) != TOKENIZER_NO_ID)
        *ret_eos = tokenizer_eot(s->tokenizer);
    rc = collect(s, err);
    if (rc == 0) rc = encode_prompts(s, *ret_eos, err);
    s->live = isatty(STDOUT_FILENO) && s->n_prompts == 1 && o->n == 1 && !o->ids && !s->t->json;
    if (s->t->json) s->results = cJSON_CreateArray();
    return rc;
}

/* --preset code samples as CodeParrot's own demonstration does; what is given besides wins. */
static void apply_preset(struct options *o, const struct opt *table) {
    static const struct {
        const char *name;
        double value;
    } code[] = {{"temperature", 0.4}, {"top-p", 0.95}, {"top-k", 0}, {"n", 4}, {"max-length", 64}};
    if (!o->preset) return;
    o->first_block = true;
    for (const struct opt *p = table; p->type != OPT_END; p++)
        for (size_t i = 0; i < sizeof code / sizeof *code; i++) {
            if (p->type == OPT_GROUP || p->given || strcmp(p->name, code[i].name) != 0) continue;
            if (p->type == OPT_F64)
                *(double *)p->to = code[i].value;
            else
                *(uint64_t *)p->to = (uint64_t)code[i].value;
        }
}

static int run(struct options *o, struct tool *t) {
    struct session s = {.t = t, .o = o};
    int64_t eos = -1;
    int rc = prepare(&s, &eos, &t->err);
    if (rc == 0) rc = run_jobs(&s, eos, &t->err);
    if (rc == 0 && t->json) rc = print_results(&s);
    if (rc == 0 && s.seconds > 0)
        log_debug(&t->log, "%" PRIu64 " tokens, %.1f a second", s.new_ids,
                  (double)s.new_ids / s.seconds);
    for (size_t i = 0; i < s.n_prompts; i++) {
        u32s_release(&s.prompts[i].ids);
        buf_release(&s.prompts[i].text);
        free(s.prompts[i].first);
    }
    free(s.prompts);
    stops_release(&s.stops);
    cJSON_Delete(s.results);
    tokenizer_free(s.tokenizer);
    open_model_close(&s.m);
    return rc;
}

static const char text[] = "PROMPT is a text; - reads one from stdin; none at all begins a new "
                           "document. Printed are the prompt "
                           "and its completion. A model is a run of lmtrain (its best checkpoint, "
                           "else its last), a checkpoint, or "
                           "any folder with the config.json and model.safetensors of a GPT-2.";
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
        {"max-length", 0, OPT_U64, &o.max_length, "N", "the same with the prompt counted", .min = 1,
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
        {"repetition-penalty", 0, OPT_F64, &o.repetition_penalty, "X",
         "above 1: less of what was there already", .min = 1e-3, .max = 1e3},
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
        apply_preset(&o, opts);
        rc = run(&o, &t);
    }
    strs_release(&o.stop);
    strs_release(&o.stop_regex);
    return tool_end(&t, rc);
}
