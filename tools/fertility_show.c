/* The counts of fertility as a table, as JSON, and as a page with plots. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "report/html.h"
#include "report/svg.h"
#include "report/table.h"
#include "tools/fertility_parts.h"

static const double ALPHA = 2.5; /* of Rényi's entropy, as in Zouhar et al. 2023 */

static double per(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

/* Mean over documents of each one's own tokens/word. */
static double macro(const struct fertility *f) {
    return per(f->rate_sum, f->rated) / (double)(1u << FERTILITY_RATE_BITS);
}

/* Entropy over the largest possible one, that of V equally frequent ids. */
static double efficiency(const struct one *v, double alpha) {
    uint32_t size = tokenizer_size(v->t);
    return size > 1 ? fertility_entropy(&v->sum, alpha) / log2(size) : 0;
}

static int by_number(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Gini's coefficient of the files' tokens per byte: 0 when all cost the same. NAN: no file. */
static double gini(const struct one *v, size_t files) {
    double *cost = mem_array(files, sizeof *cost), sum = 0, weighted = 0;
    size_t n = 0;
    for (size_t i = 0; cost && i < files; i++)
        if (v->parts[i].bytes) cost[n++] = per(v->parts[i].tokens, v->parts[i].bytes);
    if (cost && n) qsort(cost, n, sizeof *cost, by_number);
    for (size_t i = 0; i < n; i++) {
        sum += cost[i];
        weighted += (2 * (double)i + 1 - (double)n) * cost[i];
    }
    free(cost);
    return n && sum > 0 ? weighted / ((double)n * sum) : NAN;
}

/* ------------------------------------------------------------------ JSON */

static void add_ratios(cJSON *o, const struct one *v, const struct results *r) {
    const struct fertility *f = &v->sum;
    uint32_t used = fertility_distinct(f);
    uint64_t distinct = 0, single = 0, one_in = 1;
    if (f->seen) fertility_words_count(f->seen, &distinct, &single, &one_in);
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
                   {"tokens_not_utf8", (double)fertility_not_utf8(f)},
                   {"lossless_documents", (double)f->lossless},
                   {"documents_with_words", (double)f->rated},
                   {"used", used},
                   {"unreachable", (double)v->unreachable.n},
                   {"distinct_words", (double)distinct},
                   {"distinct_words_of_one_token", (double)single},
                   {"distinct_words_kept_one_in", (double)one_in},
                   {"bytes_per_token", per(f->bytes, f->tokens)},
                   {"tokens_per_byte", per(f->tokens, f->bytes)},
                   {"chars_per_token", per(f->chars, f->tokens)},
                   {"tokens_per_word", per(f->word_tokens, f->words)},
                   {"tokens_per_word_mean_of_documents", macro(f)},
                   {"tokens_per_line", per(f->tokens, f->lines)},
                   {"tokens_per_document", per(f->tokens, f->documents)},
                   {"tokens_of_first", per(f->tokens, r->v[0].sum.tokens)},
                   {"continued_share", per(f->continued, f->words)},
                   {"single_token_share", per(single, distinct)},
                   {"byte_token_share", per(f->byte_tokens, f->tokens)},
                   {"used_share", per(used, tokenizer_size(v->t))},
                   {"shannon_bits", fertility_entropy(f, 1)},
                   {"shannon_efficiency", efficiency(v, 1)},
                   {"renyi_alpha", ALPHA},
                   {"renyi_bits", fertility_entropy(f, ALPHA)},
                   {"renyi_efficiency", efficiency(v, ALPHA)},
                   {"gini_of_files", gini(v, r->files->n)}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        cJSON_AddItemToObject(o, members[i].key,
                              isfinite(members[i].value) ? cJSON_CreateNumber(members[i].value)
                                                         : cJSON_CreateNull());
}

static void add_code(cJSON *o, const struct fertility_code *c) {
    cJSON *code = cJSON_AddObjectToObject(o, "code"), *indent;
    cJSON_AddNumberToObject(code, "keywords", c->keywords);
    cJSON_AddNumberToObject(code, "keywords_of_one_token", c->whole_keywords);
    cJSON_AddNumberToObject(code, "keywords_of_one_token_after_a_blank", c->whole_keywords_blank);
    cJSON_AddNumberToObject(code, "operators", c->operators);
    cJSON_AddNumberToObject(code, "operators_of_one_token", c->whole_operators);
    indent = cJSON_AddArrayToObject(code, "tokens_of_indentation");
    for (size_t i = 0; i < FERTILITY_INDENTS; i++)
        cJSON_AddItemToArray(indent, cJSON_CreateNumber(c->indent[i]));
}

static int add_words(cJSON *o, const struct one *v, size_t show, struct err *err) {
    struct fertility_word *w = mem_array(show, sizeof *w);
    cJSON *list = cJSON_AddArrayToObject(o, "costly_words");
    struct buf text = {0};
    if (!w) return err_nomem(err, show * sizeof *w);
    size_t n = v->sum.seen ? fertility_words_costly(v->sum.seen, w, show) : 0;
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        cJSON *one = cJSON_CreateObject();
        text.n = 0;
        rc = buf_append(&text, w[i].text, w[i].n, err);
        if (rc >= 0 && !buf_cstr(&text)) rc = err_nomem(err, w[i].n);
        if (rc >= 0) cJSON_AddStringToObject(one, "word", text.v);
        cJSON_AddNumberToObject(one, "count", (double)w[i].count);
        cJSON_AddNumberToObject(one, "tokens", (double)w[i].tokens);
        cJSON_AddItemToArray(list, one);
    }
    free(w);
    buf_release(&text);
    return rc;
}

static void add_files(cJSON *o, const struct one *v, const struct source_list *files) {
    cJSON *list = cJSON_AddArrayToObject(o, "files");
    for (size_t i = 0; i < files->n; i++) {
        const struct part *p = &v->parts[i];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "file", files->v[i].name);
        cJSON_AddNumberToObject(one, "documents", (double)p->documents);
        cJSON_AddNumberToObject(one, "bytes", (double)p->bytes);
        cJSON_AddNumberToObject(one, "tokens", (double)p->tokens);
        cJSON_AddNumberToObject(one, "words", (double)p->words);
        cJSON_AddNumberToObject(one, "word_tokens", (double)p->word_tokens);
        cJSON_AddItemToArray(list, one);
    }
}

static cJSON *as_json(const struct one *v, const struct results *r, int *rc, struct err *err) {
    cJSON *o = cJSON_CreateObject(), *lengths;
    cJSON_AddStringToObject(o, "tokenizer", v->name);
    cJSON_AddStringToObject(o, "digest", v->digest);
    add_ratios(o, v, r);
    lengths = cJSON_AddArrayToObject(o, "words_by_tokens");
    for (size_t i = 0; i < FERTILITY_LENGTHS; i++)
        cJSON_AddItemToArray(lengths, cJSON_CreateNumber((double)v->sum.by_length[i]));
    add_code(o, &v->code);
    add_files(o, v, r->files);
    if (*rc >= 0) *rc = add_words(o, v, r->show, err);
    return o;
}

/* One vocabulary: its numbers at the top. Several: an array besides, and the first at the top. */
int show_json(struct tool *t, const struct results *r) {
    int rc = 0;
    cJSON *tree = as_json(&r->v[0], r, &rc, &t->err), *list = cJSON_CreateArray();
    for (size_t i = 0; i < r->n; i++)
        cJSON_AddItemToArray(list, as_json(&r->v[i], r, &rc, &t->err));
    cJSON_AddItemToObject(tree, "tokenizers", list);
    if (rc >= 0) return tool_print_json(t, tree);
    cJSON_Delete(tree);
    return rc;
}

/* ------------------------------------------------------------------ tables */

static int add_row(struct table *table, const struct one *v, const struct one *first,
                   struct err *err) {
    const struct fertility *f = &v->sum;
    int rc = table_str(table, v->name, err);
    if (rc >= 0) rc = table_u64(table, tokenizer_size(v->t), err);
    if (rc >= 0) rc = table_u64(table, f->tokens, err);
    if (rc >= 0) rc = table_share(table, f->tokens, first->sum.tokens, err);
    if (rc >= 0) rc = table_f64(table, per(f->bytes, f->tokens), 3, err);
    if (rc >= 0) rc = table_f64(table, per(f->chars, f->tokens), 3, err);
    if (rc >= 0) rc = table_u64(table, f->word_tokens, err);
    if (rc >= 0) rc = table_f64(table, per(f->word_tokens, f->words), 3, err);
    if (rc >= 0) rc = table_share(table, f->continued, f->words, err);
    if (rc >= 0) rc = table_f64(table, per(f->tokens, f->lines), 2, err);
    if (rc >= 0) rc = table_f64(table, efficiency(v, ALPHA), 3, err);
    return rc < 0 ? rc : table_share(table, fertility_distinct(f), tokenizer_size(v->t), err);
}

static int main_table(struct table **ret, const struct results *r, struct err *err) {
    int rc = table_new(ret,
                       "tokenizer|V|tokens|of first|bytes/token|chars/token|tokens of words|"
                       "tokens/word|continued|tokens/line|Rényi|V used",
                       "lrrrrrrrrrrr", err);
    for (size_t i = 0; i < r->n && rc >= 0; i++) rc = add_row(*ret, &r->v[i], &r->v[0], err);
    return rc;
}

static int totals(const struct fertility *f, struct buf *out, struct err *err) {
    char documents[28], bytes[28], chars[28], words[28], lines[28];
    text_thousands(f->documents, documents);
    text_thousands(f->bytes, bytes);
    text_thousands(f->chars, chars);
    text_thousands(f->words, words);
    text_thousands(f->lines, lines);
    return buf_printf(out, err, "%s documents, %s bytes, %s characters, %s words, %s lines",
                      documents, bytes, chars, words, lines);
}

int show_table(struct tool *t, const struct results *r) {
    struct table *table = NULL;
    struct buf text = {0};
    int rc = totals(&r->v[0].sum, &text, &t->err);
    if (rc >= 0) rc = buf_str(&text, "\n\n", &t->err);
    if (rc >= 0) rc = main_table(&table, r, &t->err);
    if (rc >= 0) rc = table_text(table, &text, &t->err);
    table_free(table);
    if (rc >= 0) fwrite(text.v, 1, text.n, tool_out(t));
    buf_release(&text);
    return rc;
}

/* ------------------------------------------------------------------ the page */

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
            p.y[i * FERTILITY_LENGTHS + k] = 100 * per(r->v[i].sum.by_length[k], r->v[i].sum.words);
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
                    100 * per(f->used[id], f->tokens);
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
    return main_table(t, r, err);
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
        if (rc >= 0) rc = table_f64(*t, efficiency(v, 1), 3, err);
        if (rc >= 0) rc = table_f64(*t, gini(v, r->files->n), 3, err);
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
        if (rc >= 0) rc = table_f64(*t, per(w[i].tokens, w[i].count), 2, err);
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
        if (rc >= 0) rc = table_f64(*t, per(p->bytes, p->tokens), 3, err);
        if (rc >= 0) rc = table_u64(*t, p->words, err);
        if (rc >= 0) rc = table_f64(*t, per(p->word_tokens, p->words), 3, err);
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
    rc = totals(&r->v[0].sum, &text, err);
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
