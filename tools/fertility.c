/* fertility: how well vocabularies fit a text. The text is read once per vocabulary, so that the
 * counts of one do not cost the memory of the others. What was counted is shown by
 * fertility_show.c. */
#include <stdlib.h>
#include <string.h>
#include "base/signals.h"
#include "tools/fertility_parts.h"
#include "tools/input.h"

enum { SAMPLES = 3, SAMPLE_BYTES = 500 };

struct worker { /* one per thread */
    struct encoder *encoder;
    struct fertility f;
    struct part *parts;            /* (files) */
    struct fertility_document doc; /* of the part of one at hand */
};

struct counting {
    struct docs *docs;
    const struct source_list *list;
    struct worker *workers;
    const struct log *log;
    const char *name;
    struct strs *samples; /* NULL: they are there already */
    const struct tokenizer *t;
    struct fertility_document doc; /* what was seen of one that comes in parts */
};

/* ------------------------------------------------------------------ counting */

static int count_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct counting *c = ctx;
    struct worker *w = &c->workers[thread];
    struct part *p = &w->parts[b->file];
    struct fertility *f = &w->f;
    for (size_t i = 0; i < b->n; i++) {
        struct part was = {f->documents, f->bytes, f->tokens, f->words, f->word_tokens};
        const struct doc *d = &b->v[i];
        w->doc = (struct fertility_document){0};
        const struct text_part part = doc_part(d);
        int rc = fertility_count_part(f, w->encoder, &part, !d->goes_on, &w->doc, err);
        if (rc >= 0 && !d->continues && !d->goes_on) fertility_end(f, &w->doc);
        if (rc < 0)
            return err_prefix(err, "%s:%llu", c->list->v[b->file].name,
                              (unsigned long long)b->v[i].line_no);
        p->documents += f->documents - was.documents;
        p->bytes += f->bytes - was.bytes;
        p->tokens += f->tokens - was.tokens;
        p->words += f->words - was.words;
        p->word_tokens += f->word_tokens - was.word_tokens;
    }
    return 0;
}

/* A document in parts, each of which is a batch of its own, and comes here in order. */
static void gather(struct counting *c, const struct batch *b, struct worker *w) {
    const struct doc *d = b->v;
    if (b->n != 1 || !(d->continues || d->goes_on)) return;
    c->doc.words += w->doc.words;
    c->doc.word_tokens += w->doc.word_tokens;
    c->doc.lossy |= w->doc.lossy;
    if (d->goes_on) return;
    fertility_end(&w->f, &c->doc);
    w->parts[b->file].documents++;
    c->doc = (struct fertility_document){0};
}

/* Keeps the beginnings of the first documents, whole characters of them. */
static int keep_samples(struct counting *c, const struct batch *b, struct err *err) {
    for (size_t i = 0; i < b->n && c->samples->n < SAMPLES; i++) {
        char text[SAMPLE_BYTES + 1];
        if (b->v[i].continues) continue;
        size_t n = b->v[i].n < SAMPLE_BYTES ? b->v[i].n : SAMPLE_BYTES;
        if (n < b->v[i].n) n = decode_whole(b->v[i].text, n);
        memcpy(text, b->v[i].text, n);
        text[n] = 0;
        int rc = text[0] ? strs_push(c->samples, text, err) : 0;
        if (rc < 0) return rc;
    }
    return 0;
}

static int batch_done(void *ctx, struct batch *b, int thread, struct err *err) {
    struct counting *c = ctx;
    struct docs_totals now;
    gather(c, b, &c->workers[thread]);
    docs_totals(c->docs, &now);
    log_progress(c->log,
                 &(struct progress){"counting", now.stored_bytes, now.stored_total, "B", c->name});
    if (signals_stop()) return err_set(err, ERR_STOPPED, "interrupted");
    return c->samples ? keep_samples(c, b, err) : 0;
}

static int read_docs(struct counting *c, const struct input *in, int threads, struct err *err) {
    struct docs_opts opts = in->opts;
    opts.cut_texts = opts.cut_records = tokenizer_cuts(c->t, TOKENIZER_SPECIAL_NONE);
    int rc = docs_open(&c->docs, &in->list, &opts, err);
    if (rc < 0) return rc;
    rc = docs_run(c->docs, threads, count_batch, batch_done, c, err);
    int closed = docs_close(c->docs, rc >= 0 ? err : NULL);
    return rc < 0 ? rc : closed;
}

static void add_parts(struct part *to, const struct part *from, size_t n) {
    for (size_t i = 0; i < n; i++) {
        to[i].documents += from[i].documents;
        to[i].bytes += from[i].bytes;
        to[i].tokens += from[i].tokens;
        to[i].words += from[i].words;
        to[i].word_tokens += from[i].word_tokens;
    }
}

static int make_worker(struct worker *w, const struct one *v, size_t files, bool words,
                       struct err *err) {
    w->parts = mem_array(files, sizeof *w->parts);
    if (!w->parts) return err_nomem(err, files * sizeof *w->parts);
    int rc = encoder_new(&w->encoder, v->t, err);
    if (rc >= 0) rc = fertility_init(&w->f, v->t, err);
    return rc >= 0 && words ? fertility_keep_words(&w->f, err) : rc;
}

static int count_one(struct one *v, const struct input *in, struct strs *samples, bool words,
                     struct tool *t) {
    int threads = tool_threads(t), rc = 0;
    struct counting c = {
        .list = &in->list, .log = &t->log, .name = v->name, .samples = samples, .t = v->t};
    c.workers = mem_array((size_t)threads, sizeof *c.workers);
    if (!c.workers) return err_nomem(&t->err, (uint64_t)threads * sizeof *c.workers);
    for (int i = 0; i < threads && rc >= 0; i++)
        rc = make_worker(&c.workers[i], v, in->list.n, words, &t->err);
    v->parts = mem_array(in->list.n, sizeof *v->parts);
    if (rc >= 0 && !v->parts) rc = err_nomem(&t->err, in->list.n * sizeof *v->parts);
    if (rc >= 0) rc = fertility_init(&v->sum, v->t, &t->err);
    if (rc >= 0 && words) rc = fertility_keep_words(&v->sum, &t->err);
    if (rc >= 0) rc = read_docs(&c, in, threads, &t->err);
    for (int i = 0; i < threads; i++) {
        if (rc >= 0) rc = fertility_add(&v->sum, &c.workers[i].f, &t->err);
        if (rc >= 0) add_parts(v->parts, c.workers[i].parts, in->list.n);
        fertility_release(&c.workers[i].f);
        encoder_free(c.workers[i].encoder);
        free(c.workers[i].parts);
    }
    free(c.workers);
    return rc;
}

/* What needs no text: keywords, indentation, ids that nothing yields. */
static int examine(struct one *v, struct err *err) {
    int rc = encoder_new(&v->encoder, v->t, err);
    if (rc >= 0) rc = fertility_code(v->encoder, &v->code, err);
    return rc < 0 ? rc : fertility_unreachable(v->t, v->encoder, &v->unreachable, err);
}

static int open_all(struct one *v, const struct strs *names, const struct log *log,
                    struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < names->n && rc >= 0; i++) {
        v[i].name = names->v[i];
        rc = tokenizer_open(&v[i].t, names->v[i], &(struct tokenizer_open_opts){.log = log}, err);
        if (rc >= 0) rc = tokenizer_digest(v[i].t, v[i].digest, err);
    }
    return rc;
}

static void release_all(struct one *v, size_t n) {
    for (size_t i = 0; i < n && v; i++) {
        fertility_release(&v[i].sum);
        encoder_free(v[i].encoder);
        tokenizer_free(v[i].t);
        u32s_release(&v[i].unreachable);
        free(v[i].parts);
    }
    free(v);
}

struct wanted {
    const char *html;
    uint64_t show;
};

static int run(struct input *in, struct strs *names, const struct wanted *want, struct tool *t) {
    struct strs samples = {0};
    bool words = want->html || t->json; /* who looks at single words */
    int rc = names->n ? 0 : strs_push(names, "tok", &t->err);
    struct one *v = mem_array(names->n, sizeof *v);
    if (!v) rc = err_nomem(&t->err, names->n * sizeof *v);
    if (rc >= 0) rc = open_all(v, names, &t->log, &t->err);
    if (rc >= 0) rc = input_resolve(in, t, "corpus");
    if (rc >= 0 && want->html) rc = input_check_output(&in->list, want->html, &t->err);
    for (size_t i = 0; i < names->n && rc >= 0 && want->html; i++)
        rc = input_check_tokenizer(names->v[i], want->html, &t->err);
    for (size_t i = 0; i < in->list.n && rc >= 0; i++)
        if (names->n > 1 && !strcmp(in->list.v[i].path, "-"))
            rc = err_set(&t->err, ERR_USAGE,
                         "standard input can be read for one vocabulary only; name a file");
    for (size_t i = 0; i < names->n && rc >= 0; i++) {
        rc = count_one(&v[i], in, i ? NULL : &samples, words, t);
        if (rc >= 0 && words) rc = examine(&v[i], &t->err);
    }
    struct results r = {v, names->n, &in->list, &samples, (size_t)want->show};
    if (rc >= 0 && want->html) rc = show_html(want->html, &r, &t->err);
    if (rc >= 0) rc = t->json ? show_json(t, &r) : show_table(t, &r);
    release_all(v, v ? names->n : 0);
    strs_release(&samples);
    return rc;
}

int main(int argc, char **argv) {
    struct strs names = {0};
    struct input in = {.opts = docs_defaults};
    struct wanted want = {.show = 20};
    struct opt opts[INPUT_ROWS + 7] = {
        {"Vocabularies", .type = OPT_GROUP},
        {"tokenizer", 't', OPT_STRS, &names, "TOK", "folder or file of a vocabulary (repeatable)"},
        {"Showing", .type = OPT_GROUP},
        {"html", 0, OPT_STR, &want.html, "FILE", "write a report as one self-contained page"},
        {"show", 'n', OPT_U64, &want.show, "N", "words in the list of those that cost most",
         .max = 10000},
        {"Reading", .type = OPT_GROUP}};
    size_t n = 6;
    n += docs_option_rows(opts + n, INPUT_ROWS, &in.opts);
    in.opts.text_only = true;
    opts[n] = (struct opt){0};
    struct program p = {
        .name = "fertility",
        .summary = "count how many tokens vocabularies need for a text",
        .usage = "[-t TOK]… [--html FILE] [SOURCE…]",
        .text =
            "Without -t the vocabulary is tok/, without a SOURCE the text is corpus/. A word is "
            "a run of characters that are not white space, with the one space before it; "
            "tokens/word counts the tokens that hold a part of one. A word is continued if it "
            "takes two tokens or more. With --json all counts are printed, so that any ratio can "
            "be computed anew; --html FILE draws them.",
        .examples =
            "fertility -t tok -t gpt2/tokenizer.json corpus\ttwo vocabularies side by side\n"
            "fertility -t tok --html fertility.html corpus\ta page to keep",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    signals_install();
    if (rc == 0) rc = run(&in, &names, &want, &t);
    strs_release(&names);
    input_release(&in);
    return tool_end(&t, rc);
}
