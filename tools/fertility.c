/* fertility: how well vocabularies fit a text. The text is read once per vocabulary, so that the
 * counts of one do not cost the memory of the others. */
#include <stdlib.h>
#include <string.h>
#include "base/signals.h"
#include "report/table.h"
#include "tokenizer/fertility.h"
#include "tools/common.h"
#include "tools/input.h"

struct one { /* vocabulary */
    const char *name;
    struct tokenizer *t;
    struct fertility sum;
    char digest[SHA256_HEX];
};

struct worker { /* one per thread */
    struct encoder *encoder;
    struct fertility f;
};

struct counting {
    struct docs *docs;
    const struct source_list *list;
    struct worker *workers;
    const struct log *log;
    const char *name;
};

/* ------------------------------------------------------------------ counting */

static int count_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct counting *c = ctx;
    struct worker *w = &c->workers[thread];
    for (size_t i = 0; i < b->n; i++) {
        int rc = fertility_count(&w->f, w->encoder, b->v[i].text, b->v[i].n, err);
        if (rc < 0)
            return err_prefix(err, "%s:%llu", c->list->v[b->file].name,
                              (unsigned long long)b->v[i].line_no);
    }
    return 0;
}

static int batch_done(void *ctx, struct batch *b, int thread, struct err *err) {
    struct counting *c = ctx;
    struct docs_totals now;
    (void)b;
    (void)thread;
    docs_totals(c->docs, &now);
    log_progress(c->log,
                 &(struct progress){"counting", now.stored_bytes, now.stored_total, "B", c->name});
    return signals_stop() ? err_set(err, ERR_STOPPED, "interrupted") : 0;
}

static int read_docs(struct counting *c, const struct input *in, int threads, struct err *err) {
    int rc = docs_open(&c->docs, &in->list, &in->opts, err);
    if (rc < 0) return rc;
    rc = docs_run(c->docs, threads, count_batch, batch_done, c, err);
    int closed = docs_close(c->docs, rc >= 0 ? err : NULL);
    return rc < 0 ? rc : closed;
}

static int count_one(struct one *v, const struct input *in, struct tool *t) {
    int threads = tool_threads(t), rc = 0;
    struct counting c = {.list = &in->list, .log = &t->log, .name = v->name};
    c.workers = mem_array((size_t)threads, sizeof *c.workers);
    if (!c.workers) return err_nomem(&t->err, (uint64_t)threads * sizeof *c.workers);
    for (int i = 0; i < threads && rc >= 0; i++) {
        rc = encoder_new(&c.workers[i].encoder, v->t, &t->err);
        if (rc >= 0) rc = fertility_init(&c.workers[i].f, v->t, &t->err);
    }
    if (rc >= 0) rc = fertility_init(&v->sum, v->t, &t->err);
    if (rc >= 0) rc = read_docs(&c, in, threads, &t->err);
    for (int i = 0; i < threads; i++) {
        if (rc >= 0) fertility_add(&v->sum, &c.workers[i].f);
        fertility_release(&c.workers[i].f);
        encoder_free(c.workers[i].encoder);
    }
    free(c.workers);
    return rc;
}

/* ------------------------------------------------------------------ results */

static double per(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

static cJSON *as_json(const struct one *v) {
    const struct fertility *f = &v->sum;
    const struct {
        const char *key;
        double value;
    } members[] = {{"vocab", tokenizer_size(v->t)},
                   {"documents", (double)f->documents},
                   {"bytes", (double)f->bytes},
                   {"chars", (double)f->chars},
                   {"lines", (double)f->lines},
                   {"tokens", (double)f->tokens},
                   {"words", (double)f->words},
                   {"word_tokens", (double)f->word_tokens},
                   {"continued_words", (double)f->continued},
                   {"byte_tokens", (double)f->byte_tokens},
                   {"used", fertility_distinct(f)},
                   {"bytes_per_token", per(f->bytes, f->tokens)},
                   {"chars_per_token", per(f->chars, f->tokens)},
                   {"tokens_per_word", per(f->word_tokens, f->words)},
                   {"tokens_per_line", per(f->tokens, f->lines)},
                   {"continued_share", per(f->continued, f->words)},
                   {"used_share", per(fertility_distinct(f), tokenizer_size(v->t))}};
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "tokenizer", v->name);
    cJSON_AddStringToObject(o, "digest", v->digest);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        cJSON_AddNumberToObject(o, members[i].key, members[i].value);
    return o;
}

/* One vocabulary: its numbers at the top. Several: an array besides, and the first at the top. */
static int print_json(struct tool *t, const struct one *v, size_t n) {
    cJSON *tree = as_json(&v[0]), *list = cJSON_CreateArray();
    for (size_t i = 0; i < n; i++) cJSON_AddItemToArray(list, as_json(&v[i]));
    cJSON_AddItemToObject(tree, "tokenizers", list);
    return tool_print_json(t, tree);
}

static int add_row(struct table *table, const struct one *v, struct err *err) {
    const struct fertility *f = &v->sum;
    int rc = table_str(table, v->name, err);
    if (rc >= 0) rc = table_u64(table, tokenizer_size(v->t), err);
    if (rc >= 0) rc = table_u64(table, f->tokens, err);
    if (rc >= 0) rc = table_f64(table, per(f->bytes, f->tokens), 3, err);
    if (rc >= 0) rc = table_f64(table, per(f->chars, f->tokens), 3, err);
    if (rc >= 0) rc = table_u64(table, f->word_tokens, err);
    if (rc >= 0) rc = table_f64(table, per(f->word_tokens, f->words), 3, err);
    if (rc >= 0) rc = table_share(table, f->continued, f->words, err);
    return rc < 0 ? rc : table_share(table, fertility_distinct(f), tokenizer_size(v->t), err);
}

static int print_table(struct tool *t, const struct one *v, size_t n) {
    const struct fertility *f = &v->sum;
    struct table *table;
    struct buf text = {0};
    char documents[28], bytes[28], chars[28], words[28];
    int rc = table_new(&table,
                       "tokenizer|V|tokens|bytes/token|chars/token|tokens of words|tokens/word|"
                       "continued|V used",
                       "lrrrrrrrr", &t->err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < n && rc >= 0; i++) rc = add_row(table, &v[i], &t->err);
    if (rc >= 0) rc = table_text(table, &text, &t->err);
    table_free(table);
    text_thousands(f->documents, documents);
    text_thousands(f->bytes, bytes);
    text_thousands(f->chars, chars);
    text_thousands(f->words, words);
    FILE *out = tool_out(t);
    if (rc >= 0)
        fprintf(out, "%s documents, %s bytes, %s characters, %s words\n\n%.*s", documents, bytes,
                chars, words, (int)text.n, text.v);
    buf_release(&text);
    return rc;
}

static int run(struct input *in, const struct strs *names, struct tool *t) {
    static char first[] = "tok";
    char *otherwise[] = {first};
    size_t n = names->n ? names->n : 1;
    char **name = names->n ? names->v : otherwise;
    struct one *v = mem_array(n, sizeof *v);
    int rc = v ? 0 : err_nomem(&t->err, n * sizeof *v);
    for (size_t i = 0; i < n && rc >= 0; i++) {
        v[i].name = name[i];
        rc = tokenizer_open(&v[i].t, name[i], NULL, &t->err);
        if (rc >= 0) tokenizer_digest(v[i].t, v[i].digest);
    }
    if (rc >= 0) rc = input_resolve(in, t, "corpus");
    for (size_t i = 0; i < in->list.n && rc >= 0; i++)
        if (n > 1 && !strcmp(in->list.v[i].path, "-"))
            rc = err_set(&t->err, ERR_USAGE,
                         "standard input can be read for one vocabulary only; name a file");
    for (size_t i = 0; i < n && rc >= 0; i++) rc = count_one(&v[i], in, t);
    if (rc >= 0) rc = t->json ? print_json(t, v, n) : print_table(t, v, n);
    for (size_t i = 0; i < n && v; i++) {
        fertility_release(&v[i].sum);
        tokenizer_free(v[i].t);
    }
    free(v);
    return rc;
}

int main(int argc, char **argv) {
    struct strs names = {0};
    struct input in = {.opts = docs_defaults};
    struct opt opts[INPUT_ROWS + 4] = {
        {"Vocabularies", .type = OPT_GROUP},
        {"tokenizer", 't', OPT_STRS, &names, "TOK", "folder or file of a vocabulary (repeatable)"},
        {"Reading", .type = OPT_GROUP}};
    size_t n = 3;
    n += docs_option_rows(opts + n, INPUT_ROWS, &in.opts);
    opts[n] = (struct opt){0};
    struct program p = {
        .name = "fertility",
        .summary = "count how many tokens vocabularies need for a text",
        .usage = "[-t TOK]… [SOURCE…]",
        .text =
            "Without -t the vocabulary is tok/, without a SOURCE the text is corpus/. A word is "
            "a run of characters that are not white space, with the one space before it; "
            "tokens/word counts the tokens that hold a part of one. A word is continued if it "
            "takes two tokens or more. With --json all counts are printed.",
        .examples = "fertility -t tok -t gpt2/tokenizer.json corpus\ttwo vocabularies side by side",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    signals_install();
    if (rc == 0) rc = run(&in, &names, &t);
    strs_release(&names);
    input_release(&in);
    return tool_end(&t, rc);
}
