/* The counts of fertility as JSON and as a table. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "report/table.h"
#include "tools/fertility_parts.h"

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
                   {"bytes_per_token", ratio(f->bytes, f->tokens)},
                   {"tokens_per_byte", ratio(f->tokens, f->bytes)},
                   {"chars_per_token", ratio(f->chars, f->tokens)},
                   {"tokens_per_word", ratio(f->word_tokens, f->words)},
                   {"tokens_per_word_mean_of_documents", ratio_of_documents(f)},
                   {"tokens_per_line", ratio(f->tokens, f->lines)},
                   {"tokens_per_document", ratio(f->tokens, f->documents)},
                   {"tokens_of_first", ratio(f->tokens, r->v[0].sum.tokens)},
                   {"continued_share", ratio(f->continued, f->words)},
                   {"single_token_share", ratio(single, distinct)},
                   {"byte_token_share", ratio(f->byte_tokens, f->tokens)},
                   {"used_share", ratio(used, tokenizer_size(v->t))},
                   {"shannon_bits", fertility_entropy(f, 1)},
                   {"shannon_efficiency", ratio_of_entropy(v, 1)},
                   {"renyi_alpha", RENYI_ALPHA},
                   {"renyi_bits", fertility_entropy(f, RENYI_ALPHA)},
                   {"renyi_efficiency", ratio_of_entropy(v, RENYI_ALPHA)},
                   {"gini_of_files", ratio_gini(v, r->files->n)}};
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
    if (rc >= 0) rc = table_f64(table, ratio(f->bytes, f->tokens), 3, err);
    if (rc >= 0) rc = table_f64(table, ratio(f->chars, f->tokens), 3, err);
    if (rc >= 0) rc = table_u64(table, f->word_tokens, err);
    if (rc >= 0) rc = table_f64(table, ratio(f->word_tokens, f->words), 3, err);
    if (rc >= 0) rc = table_share(table, f->continued, f->words, err);
    if (rc >= 0) rc = table_f64(table, ratio(f->tokens, f->lines), 2, err);
    if (rc >= 0) rc = table_f64(table, ratio_of_entropy(v, RENYI_ALPHA), 3, err);
    return rc < 0 ? rc : table_share(table, fertility_distinct(f), tokenizer_size(v->t), err);
}

int results_table(struct table **ret, const struct results *r, struct err *err) {
    int rc = table_new(ret,
                       "tokenizer|V|tokens|of first|bytes/token|chars/token|tokens of words|"
                       "tokens/word|continued|tokens/line|Rényi|V used",
                       "lrrrrrrrrrrr", err);
    for (size_t i = 0; i < r->n && rc >= 0; i++) rc = add_row(*ret, &r->v[i], &r->v[0], err);
    return rc;
}

int results_totals(const struct fertility *f, struct buf *out, struct err *err) {
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
    int rc = results_totals(&r->v[0].sum, &text, &t->err);
    if (rc >= 0) rc = buf_str(&text, "\n\n", &t->err);
    if (rc >= 0) rc = results_table(&table, r, &t->err);
    if (rc >= 0) rc = table_text(table, &text, &t->err);
    table_free(table);
    if (rc >= 0) fwrite(text.v, 1, text.n, tool_out(t));
    buf_release(&text);
    return rc;
}
