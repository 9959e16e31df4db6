/* The counts of fertility as a page with tables and plots. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "report/html.h"
#include "report/svg.h"
#include "tools/fertility_parts.h"

enum { RANKS = 200, LONGEST = 24, FILES = 60 };

/* One series of `n` values for each vocabulary, drawn by `bars` or as curves. */
struct plot {
    struct svg_series *series; /* (vocabularies) */
    double *x, *y;             /* (vocabularies x n) */
};

static int plot_new(struct plot *p, const struct results *r, size_t n, struct err *err) {
    p->series = mem_array(r->n, sizeof *p->series);
    p->x = mem_array(r->n * n, sizeof *p->x);
    p->y = mem_array(r->n * n, sizeof *p->y);
    if (!p->series || !p->x || !p->y) return err_nomem(err, r->n * n * sizeof *p->y);
    for (size_t i = 0; i < r->n; i++)
        p->series[i] = (struct svg_series){r->v[i].name, p->x + i * n, p->y + i * n, n};
    return 0;
}

static void plot_free(struct plot *p) {
    free(p->series);
    free(p->x);
    free(p->y);
}

static void draw_bars(struct html *h, const struct results *r, const struct plot *p, size_t n,
                      size_t first, const char *title, const char *x) {
    char text[LONGEST + 2][12];
    const char *labels[LONGEST + 2];
    struct err err = {0};
    for (size_t i = 0; i < n; i++) {
        snprintf(text[i], sizeof text[i], i + 1 == n ? "%zu+" : "%zu", i + first);
        labels[i] = text[i];
    }
    html_failed(h,
                svg_bars(html_body(h), &(struct svg_axes){.title = title, .x = x, .y = "%"}, labels,
                         n, p->series, r->n, &err),
                &err);
}

static void draw_word_lengths(struct html *h, const struct results *r) {
    struct plot p = {0};
    struct err err = {0};
    int rc = plot_new(&p, r, FERTILITY_LENGTHS, &err);
    for (size_t i = 0; i < r->n && rc >= 0; i++)
        for (size_t k = 0; k < FERTILITY_LENGTHS; k++)
            p.y[i * FERTILITY_LENGTHS + k] =
                100 * ratio(r->v[i].sum.by_length[k], r->v[i].sum.words);
    html_failed(h, rc, &err);
    if (rc >= 0) draw_bars(h, r, &p, FERTILITY_LENGTHS, 0, "Words by their tokens", "tokens");
    plot_free(&p);
}

static void draw_token_lengths(struct html *h, const struct results *r) {
    struct plot p = {0};
    struct err err = {0};
    int rc = plot_new(&p, r, LONGEST, &err);
    for (size_t i = 0; i < r->n && rc >= 0; i++) {
        const struct fertility *f = &r->v[i].sum;
        for (uint32_t id = 0; id < f->n_used; id++) {
            size_t n;
            tokenizer_bytes(r->v[i].t, id, &n);
            if (f->used[id])
                p.y[i * LONGEST + (n < LONGEST ? n - 1 : LONGEST - 1)] +=
                    100 * ratio(f->used[id], f->tokens);
        }
    }
    html_failed(h, rc, &err);
    if (rc >= 0) draw_bars(h, r, &p, LONGEST, 1, "Tokens of the text by their bytes", "bytes");
    plot_free(&p);
}

static int more_first(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* How often the k-th most frequent id occurs, at ranks that look evenly spaced. */
static int frequencies(const struct fertility *f, double *x, double *y, size_t *ret_n,
                       struct err *err) {
    uint64_t *v = mem_array(f->n_used, sizeof *v);
    size_t n = 0;
    if (!v) return err_nomem(err, f->n_used * sizeof *v);
    memcpy(v, f->used, f->n_used * sizeof *v);
    qsort(v, f->n_used, sizeof *v, more_first);
    double rank = 1, factor = pow(f->n_used > 1 ? f->n_used : 2, 1.0 / (RANKS - 1));
    for (size_t last = 0; n < RANKS && rank <= f->n_used + 0.5; rank *= factor) {
        size_t k = (size_t)(rank + 0.5);
        if (k == last || k > f->n_used || !v[k - 1]) continue;
        last = k;
        x[n] = (double)k;
        y[n++] = (double)v[k - 1];
    }
    *ret_n = n;
    free(v);
    return 0;
}

static void draw_frequencies(struct html *h, const struct results *r) {
    struct plot p = {0};
    struct err err = {0};
    int rc = plot_new(&p, r, RANKS, &err);
    for (size_t i = 0; i < r->n && rc >= 0; i++)
        rc = frequencies(&r->v[i].sum, p.x + i * RANKS, p.y + i * RANKS, &p.series[i].n, &err);
    const struct svg_axes axes = {"Occurrences of the ids by rank", "rank", "times", true, true};
    if (rc >= 0) rc = svg_lines(html_body(h), &axes, p.series, r->n, &err);
    html_failed(h, rc, &err);
    plot_free(&p);
}

static void draw_indentation(struct html *h, const struct results *r) {
    struct plot p = {0};
    struct err err = {0};
    int rc = plot_new(&p, r, FERTILITY_INDENTS, &err);
    for (size_t i = 0; i < r->n && rc >= 0; i++)
        for (size_t k = 0; k < FERTILITY_INDENTS; k++) {
            p.x[i * FERTILITY_INDENTS + k] = (double)(k + 1);
            p.y[i * FERTILITY_INDENTS + k] = r->v[i].code.indent[k];
        }
    const struct svg_axes axes = {"Tokens of a line's indentation", "blanks", "tokens", false,
                                  false};
    if (rc >= 0) rc = svg_lines(html_body(h), &axes, p.series, r->n, &err);
    html_failed(h, rc, &err);
    plot_free(&p);
}

/* Adds a table that `fill` makes to the page. */
static void add_table(struct html *h, const struct results *r, const struct one *v,
                      int (*fill)(struct table **, const struct results *, const struct one *,
                                  struct err *)) {
    struct table *t = NULL;
    struct err err = {0};
    int rc = fill(&t, r, v, &err);
    html_failed(h, rc, &err);
    if (rc >= 0) html_table(h, t);
    table_free(t);
}

static int fill_main(struct table **t, const struct results *r, const struct one *v,
                     struct err *err) {
    (void)v;
    return results_table(t, r, err);
}

static int fill_vocabulary(struct table **t, const struct results *r, const struct one *unused,
                           struct err *err) {
    (void)unused;
    int rc = table_new(t,
                       "tokenizer|pattern|single bytes|not UTF-8 alone|documents that come back|"
                       "unreachable ids|keywords of one token|after a blank|operators|Shannon|Gini",
                       "llrrrrrrrrr", err);
    for (size_t i = 0; i < r->n && rc >= 0; i++) {
        const struct one *v = &r->v[i];
        const char *pattern = tokenizer_pattern(v->t);
        rc = table_str(*t, v->name, err);
        if (rc >= 0) rc = table_str(*t, strlen(pattern) > 24 ? "of its own" : pattern, err);
        if (rc >= 0) rc = table_share(*t, v->sum.byte_tokens, v->sum.tokens, err);
        if (rc >= 0) rc = table_share(*t, fertility_not_utf8(&v->sum), v->sum.tokens, err);
        if (rc >= 0) rc = table_share(*t, v->sum.lossless, v->sum.documents, err);
        if (rc >= 0) rc = table_u64(*t, v->unreachable.n, err);
        if (rc >= 0) rc = table_share(*t, v->code.whole_keywords, v->code.keywords, err);
        if (rc >= 0) rc = table_share(*t, v->code.whole_keywords_blank, v->code.keywords, err);
        if (rc >= 0) rc = table_share(*t, v->code.whole_operators, v->code.operators, err);
        if (rc >= 0) rc = table_f64(*t, ratio_of_entropy(v, 1), 3, err);
        if (rc >= 0) rc = table_f64(*t, ratio_gini(v, r->files->n), 3, err);
    }
    return rc;
}

static int fill_words(struct table **t, const struct results *r, const struct one *v,
                      struct err *err) {
    struct fertility_word *w = mem_array(r->show, sizeof *w);
    struct buf word = {0};
    int rc = w ? table_new(t, "word|times|tokens|tokens each|beyond one", "lrrrr", err)
               : err_nomem(err, r->show * sizeof *w);
    size_t n = rc < 0 ? 0 : fertility_words_costly(v->sum.seen, w, r->show);
    for (size_t i = 0; i < n && rc >= 0; i++) {
        word.n = 0;
        rc = buf_append(&word, w[i].text, w[i].n, err);
        if (rc >= 0 && !buf_cstr(&word)) rc = err_nomem(err, w[i].n);
        if (rc >= 0) rc = table_str(*t, word.v, err);
        if (rc >= 0) rc = table_u64(*t, w[i].count, err);
        if (rc >= 0) rc = table_u64(*t, w[i].tokens, err);
        if (rc >= 0) rc = table_f64(*t, ratio(w[i].tokens, w[i].count), 2, err);
        if (rc >= 0) rc = table_u64(*t, w[i].tokens - w[i].count, err);
    }
    free(w);
    buf_release(&word);
    return rc;
}

static int fill_files(struct table **t, const struct results *r, const struct one *v,
                      struct err *err) {
    int rc =
        table_new(t, "file|documents|bytes|tokens|bytes/token|words|tokens/word", "lrrrrrr", err);
    for (size_t i = 0; i < r->files->n && i < FILES && rc >= 0; i++) {
        const struct part *p = &v->parts[i];
        rc = table_str(*t, r->files->v[i].name, err);
        if (rc >= 0) rc = table_u64(*t, p->documents, err);
        if (rc >= 0) rc = table_u64(*t, p->bytes, err);
        if (rc >= 0) rc = table_u64(*t, p->tokens, err);
        if (rc >= 0) rc = table_f64(*t, ratio(p->bytes, p->tokens), 3, err);
        if (rc >= 0) rc = table_u64(*t, p->words, err);
        if (rc >= 0) rc = table_f64(*t, ratio(p->word_tokens, p->words), 3, err);
    }
    return rc;
}

/* A text cut into its tokens, each on a ground of its own. */
static int segmented(struct buf *out, const struct one *v, const char *text, struct err *err) {
    struct u32s ids = {0};
    int rc = encode(v->encoder, text, strlen(text), TOKENIZER_SPECIAL_NONE, &ids, err);
    if (rc >= 0) rc = buf_str(out, "<pre>", err);
    for (size_t i = 0; i < ids.n && rc >= 0; i++) {
        size_t n;
        const char *p = (const char *)tokenizer_bytes(v->t, ids.v[i], &n);
        rc = buf_str(out, "<mark>", err);
        if (rc >= 0) rc = html_text(out, p, n, err);
        if (rc >= 0) rc = buf_str(out, "</mark>", err);
    }
    u32s_release(&ids);
    return rc < 0 ? rc : buf_str(out, "</pre>\n", err);
}

static void add_samples(struct html *h, const struct results *r) {
    struct err err = {0};
    for (size_t s = 0; s < r->samples->n; s++)
        for (size_t i = 0; i < r->n; i++) {
            html_para(h, r->v[i].name);
            html_failed(h, segmented(html_body(h), &r->v[i], r->samples->v[s], &err), &err);
        }
}

static void add_lists(struct html *h, const struct results *r) {
    char text[400];
    for (size_t i = 0; i < r->n; i++) {
        uint64_t distinct, single, one_in;
        fertility_words_count(r->v[i].sum.seen, &distinct, &single, &one_in);
        snprintf(text, sizeof text,
                 "%s: %llu of %llu distinct words are one token wherever they stand%s",
                 r->v[i].name, (unsigned long long)single, (unsigned long long)distinct,
                 one_in > 1 ? " (a sample by hash)." : ".");
        html_para(h, text);
        add_table(h, r, &r->v[i], fill_words);
    }
    html_heading(h, "Files");
    for (size_t i = 0; i < r->n; i++) {
        html_para(h, r->v[i].name);
        add_table(h, r, &r->v[i], fill_files);
    }
    if (r->files->n > FILES) html_para(h, "The first files only; --json has all.");
}

static const char meanings[] =
    "A word is a run of characters that are not white space, with the one space before it. "
    "tokens/word: tokens that hold a part of a word, over words; continued: words of two tokens or "
    "more, over words. of first: tokens over those of the first vocabulary (normalized sequence "
    "length). Rényi and Shannon: entropy of the ids' frequencies (alpha 2.5 and 1) over log2 V. V "
    "used: ids that occur, over V; it grows with the text. Gini: of the files' tokens per byte. "
    "Unreachable ids: merging their own bytes gives others. Fewer tokens are not a better model: "
    "compare loss per byte.";

int show_html(const char *path, const struct results *r, struct err *err) {
    struct html *h;
    struct buf text = {0};
    int rc = html_new(&h, "Fertility", err);
    if (rc < 0) return rc;
    rc = results_totals(&r->v[0].sum, &text, err);
    if (rc >= 0 && !buf_cstr(&text)) rc = err_nomem(err, text.n);
    if (rc < 0) {
        html_free(h);
        buf_release(&text);
        return rc;
    }
    html_para(h, text.v);
    add_table(h, r, NULL, fill_main);
    add_table(h, r, NULL, fill_vocabulary);
    html_para(h, meanings);
    html_heading(h, "Lengths and frequencies");
    draw_word_lengths(h, r);
    draw_token_lengths(h, r);
    draw_frequencies(h, r);
    draw_indentation(h, r);
    html_heading(h, "How texts are cut");
    add_samples(h, r);
    html_heading(h, "Words that cost most");
    add_lists(h, r);
    text.n = 0;
    rc = html_end(h, &text, err);
    if (rc >= 0) rc = file_write(path, text.v, text.n, err);
    buf_release(&text);
    return rc;
}
