/* tokenize pieces: what the pattern alone cuts a text into, before anything is merged. */
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/signals.h"
#include "tokenizer/pattern.h"
#include "tools/input.h"
#include "tools/tokenize.h"

struct worker { /* one per thread */
    struct scanner *scanner;
    struct u32s ends, places;
    struct buf out; /* of the batch at hand */
};

struct cutting {
    struct pattern *pattern;
    bool json;
    const char *unit; /* "chars" or "bytes" */
    struct docs *docs;
    const struct source_list *list;
    struct worker *workers;
    struct outfile *file;
};

/* "START <TAB> END <TAB> PIECE" a line. */
static int put_lines(struct worker *w, const char *text, struct err *err) {
    int rc = 0;
    for (size_t i = 0, from = 0; i < w->ends.n && rc >= 0; from = w->ends.v[i++]) {
        rc = buf_printf(&w->out, err, "%u\t%u\t", w->places.v[2 * i], w->places.v[2 * i + 1]);
        if (rc >= 0)
            rc = show_bytes((const uint8_t *)text + from, w->ends.v[i] - from, &w->out, err);
        if (rc >= 0) rc = buf_char(&w->out, '\n', err);
    }
    return rc < 0 ? rc : buf_char(&w->out, '\n', err);
}

/* {"pieces": [{"start": …, "end": …, "text": …}, …]} */
static int put_json(struct worker *w, const char *text, struct err *err) {
    int rc = buf_str(&w->out, "{\"pieces\":[", err);
    for (size_t i = 0, from = 0; i < w->ends.n && rc >= 0; from = w->ends.v[i++]) {
        rc = buf_printf(&w->out, err, "%s{\"start\":%u,\"end\":%u,\"text\":", i ? "," : "",
                        w->places.v[2 * i], w->places.v[2 * i + 1]);
        if (rc >= 0) rc = json_quote(&w->out, text + from, w->ends.v[i] - from, err);
        if (rc >= 0) rc = buf_char(&w->out, '}', err);
    }
    return rc < 0 ? rc : buf_str(&w->out, "]}\n", err);
}

static int cut_document(struct cutting *c, struct worker *w, const struct doc *d, struct err *err) {
    int rc = scanner_cut(w->scanner, d->text, d->n, &w->ends, err);
    w->places.n = 0;
    for (size_t i = 0; i < w->ends.n && rc >= 0; i++) {
        rc = u32s_push(&w->places, i ? w->ends.v[i - 1] : 0, err);
        if (rc >= 0) rc = u32s_push(&w->places, w->ends.v[i], err);
    }
    if (rc < 0) return rc;
    if (!strcmp(c->unit, "chars")) places_in_chars(d->text, d->n, w->places.v, w->places.n);
    return c->json ? put_json(w, d->text, err) : put_lines(w, d->text, err);
}

static int cut_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct cutting *c = ctx;
    struct worker *w = &c->workers[thread];
    w->out.n = 0;
    for (size_t i = 0; i < b->n; i++) {
        int rc = cut_document(c, w, &b->v[i], err);
        if (rc < 0)
            return err_prefix(err, "%s:%llu", c->list->v[b->file].name,
                              (unsigned long long)b->v[i].line_no);
    }
    return 0;
}

static int write_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct cutting *c = ctx;
    (void)b;
    if (signals_stop()) return err_set(err, ERR_STOPPED, "interrupted");
    return outfile_write(c->file, c->workers[thread].out.v, c->workers[thread].out.n, err);
}

/* The pattern by its name or expression, else that of a vocabulary. */
static int choose_pattern(struct cutting *c, const char *pattern, const char *tok,
                          struct err *err) {
    struct tokenizer *t = NULL;
    if (pattern) {
        int rc = pattern_check_names(pattern, err);
        if (rc >= 0) rc = pattern_open(&c->pattern, pattern, err);
        return rc < 0 ? err_prefix(err, "--pattern") : rc;
    }
    int rc = tokenizer_open(&t, tok, NULL, err);
    if (rc >= 0) rc = pattern_open(&c->pattern, tokenizer_pattern(t), err);
    tokenizer_free(t);
    return rc;
}

static int cut_all(struct cutting *c, struct input *in, const char *tok, const char *output,
                   struct tool *t) {
    int threads = tool_threads(t);
    c->workers = mem_array((size_t)threads, sizeof *c->workers);
    int rc = c->workers ? 0 : err_nomem(&t->err, sizeof *c->workers);
    for (int i = 0; i < threads && rc >= 0; i++)
        rc = scanner_new(&c->workers[i].scanner, c->pattern, &t->err);
    if (rc >= 0) rc = input_resolve(in, t, "-");
    if (rc >= 0) rc = input_check_output(&in->list, output, &t->err);
    if (rc >= 0 && tok) rc = input_check_tokenizer(tok, output, &t->err);
    if (rc >= 0) rc = docs_open(&c->docs, &in->list, &in->opts, &t->err);
    if (rc < 0) return rc;
    c->list = &in->list;
    rc = outfile_open(&c->file, output, &t->err);
    bool opened = rc >= 0;
    if (rc >= 0) rc = docs_run(c->docs, threads, cut_batch, write_batch, c, &t->err);
    if (opened && rc >= 0)
        rc = outfile_commit(c->file, &t->err);
    else if (opened)
        outfile_abort(c->file);
    int closed = docs_close(c->docs, rc >= 0 ? &t->err : NULL);
    return rc < 0 ? rc : closed;
}

static void release(struct cutting *c, int threads) {
    for (int i = 0; i < threads && c->workers; i++) {
        scanner_free(c->workers[i].scanner);
        u32s_release(&c->workers[i].ends);
        u32s_release(&c->workers[i].places);
        buf_release(&c->workers[i].out);
    }
    free(c->workers);
    pattern_free(c->pattern);
}

int pieces_main(int argc, char **argv) {
    const char *tok = "tok", *output = "-", *pattern = NULL;
    struct cutting c = {.unit = "chars"};
    struct input in = {.opts = docs_defaults};
    struct opt opts[INPUT_ROWS + 7] = {
        {"Cutting", .type = OPT_GROUP},
        TOK_OPTION(&tok),
        {"pattern", 0, OPT_STR, &pattern, "NAME|REGEX", "this pattern in place of TOK's"},
        {"offsets", 0, OPT_CHOICE, &c.unit, "UNIT", "what start and end count",
         .choices = "chars|bytes"},
        TOOL_OUTPUT(&output, "file to write"),
        {"Reading", .type = OPT_GROUP}};
    size_t n = 6;
    n += docs_option_rows(opts + n, INPUT_ROWS, &in.opts);
    opts[n] = (struct opt){0};
    struct program p = {
        .name = "tokenize pieces",
        .summary = "show what a pattern cuts a text into",
        .usage = "[-t TOK | --pattern P] [SOURCE…|-]",
        .text = "A line a piece: start, end, text; an empty line behind each record. With --json a "
                "JSON object a record. Specials, normalizers and added blanks have no part in it.",
        .examples = "echo \"I'm 42\" | tokenize pieces --pattern gpt2\tI 'm ␣42",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    signals_install();
    c.json = t.json;
    if (rc == 0) rc = choose_pattern(&c, pattern, tok, &t.err);
    if (rc == 0) rc = cut_all(&c, &in, pattern ? NULL : tok, output, &t);
    release(&c, tool_threads(&t));
    input_release(&in);
    return tool_end(&t, rc);
}
