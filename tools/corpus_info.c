/* corpus info: what a stranger asks of a corpus: which splits and files, how many rows, which
 * columns of which types, which labels, what a record looks like.
 *
 * Each thread keeps a table of the columns it has met; they are put together at the end, in the
 * order in which the records name them. */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "stream/jsonl_edit.h"
#include "tools/corpus.h"

enum { COLUMNS_MAX = 256, LABELS_MAX = 24, LABEL_BYTES = 48, SHOWN_BYTES = 1000, CHAR_BYTES = 4 };
enum { T_NULL = 1, T_BOOL = 2, T_INT = 4, T_FLOAT = 8, T_STRING = 16, T_LIST = 32, T_STRUCT = 64 };
static const char *const type_names[] = {"null",   "bool", "int64", "float64",
                                         "string", "list", "struct"};

struct column {
    char *name; /* its text */
    unsigned types;
    uint64_t rows, nulls, bytes;
    struct strs labels; /* different values, while they are few and short */
    bool many;          /* too many, or too long                          */
    uint64_t order;     /* batch and place where it was first met         */
};

struct table {
    struct column v[COLUMNS_MAX];
    size_t n;
    uint64_t more; /* members beyond COLUMNS_MAX */
};

struct informing {
    struct input in;
    struct docs *docs;
    struct table *tables; /* one per thread */
    struct buf first;     /* the first record, or what is shown of it */
    size_t first_max;
    const struct log *log;
};

/* ------------------------------------------------------------------ looking */

static unsigned type_of(const char *v, size_t n) {
    switch (*v) {
    case '"': return T_STRING;
    case '[': return T_LIST;
    case '{': return T_STRUCT;
    case 'n': return T_NULL;
    case 't':
    case 'f': return T_BOOL;
    }
    for (size_t i = 0; i < n; i++)
        if (v[i] == '.' || v[i] == 'e' || v[i] == 'E') return T_FLOAT;
    return T_INT;
}

static struct column *find(struct table *t, const char *name, size_t n, size_t guess,
                           uint64_t order, struct err *err) {
    for (size_t k = 0; k < t->n; k++) { /* records mostly have their members in the same order */
        struct column *c = &t->v[(guess + k) % t->n];
        if (!strncmp(c->name, name, n) && !c->name[n]) return c;
    }
    if (t->n == COLUMNS_MAX) {
        t->more++;
        return NULL;
    }
    char *copy = strndup(name, n);
    if (!copy) {
        err_nomem(err, n);
        return NULL;
    }
    t->v[t->n] = (struct column){.name = copy, .order = order};
    return &t->v[t->n++];
}

static int add_label(struct column *c, const char *v, size_t n, struct err *err) {
    char text[LABEL_BYTES + 1];
    for (size_t i = 0; i < c->labels.n; i++)
        if (strlen(c->labels.v[i]) == n && !memcmp(c->labels.v[i], v, n)) return 0;
    if (n > LABEL_BYTES || c->labels.n == LABELS_MAX) {
        c->many = true;
        strs_release(&c->labels);
        return 0;
    }
    memcpy(text, v, n);
    text[n] = 0;
    return strs_push(&c->labels, text, err);
}

/* The column of a member. One with a NUL in its name goes by what is written. */
static int column_of(struct table *t, const struct jsonl_member *m, size_t guess, uint64_t order,
                     struct column **ret, struct err *err) {
    struct buf room = {0};
    const char *key;
    size_t n;
    int rc = jsonl_text(m->key, m->key_n, &room, &key, &n, err);
    if (rc == 0 && memchr(key, 0, n)) key = m->key, n = m->key_n;
    if (rc == 0) *ret = find(t, key, n, guess, order, err);
    buf_release(&room);
    return rc < 0 ? rc : err->code;
}

static int label(struct column *c, const struct jsonl_member *m, struct err *err) {
    struct buf room = {0};
    const char *value = m->value;
    size_t n = m->value_n;
    /* Six bytes stand for one at most: what is as long as this is no label. */
    int rc = n > 6 * LABEL_BYTES + 2 ? 0 : jsonl_value(m, &room, &value, &n, err);
    if (rc == 0) rc = add_label(c, value, n, err);
    buf_release(&room);
    return rc;
}

static int look_at_line(struct table *t, const char *line, size_t n, bool mapped, uint64_t order,
                        struct err *err) {
    struct jsonl_member m;
    size_t at = 0, i = 0;
    int rc = 0;
    for (; rc == 0 && (mapped ? jsonl_next_mapped : jsonl_next)(line, n, &at, &m); i++) {
        struct column *c = NULL;
        rc = column_of(t, &m, i, order + i, &c, err);
        if (rc < 0) return rc;
        if (!c) continue;
        unsigned type = m.value_n ? type_of(m.value, m.value_n) : T_NULL;
        c->types |= type;
        c->rows++;
        c->nulls += type == T_NULL;
        c->bytes += m.value_n;
        if (!c->many && (type & (T_STRING | T_INT | T_BOOL))) rc = label(c, &m, err);
    }
    return rc;
}

static int look_at_far(struct table *t, const struct doc *d, uint64_t order, struct err *err) {
    const char *line;
    size_t n;
    int rc = docs_far_map(d, &line, &n, err);
    if (rc == 0 && line) rc = look_at_line(t, line, n, true, order, err);
    docs_far_unmap(d, line);
    return rc;
}

static int look(void *ctx, struct batch *b, int thread, struct err *err) {
    struct informing *x = ctx;
    struct err mine = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        const struct doc *d = &b->v[i];
        uint64_t order = b->seq << 32 | (uint64_t)i << 10;
        if (d->far)
            rc = look_at_far(&x->tables[thread], d, order, &mine);
        else if (d->line)
            rc = look_at_line(&x->tables[thread], d->line, d->line_n, false, order, &mine);
    }
    if (rc < 0 && err) *err = mine;
    return rc;
}

static int keep(void *ctx, const char *v, size_t n, struct err *err) {
    struct informing *x = ctx;
    size_t room = x->first_max - x->first.n;
    return buf_append(&x->first, v, n < room ? n : room, err);
}

static int keep_first(void *ctx, struct batch *b, int thread, struct err *err) {
    struct informing *x = ctx;
    const char *line;
    size_t n;
    struct buf room = {0};
    (void)thread;
    int rc = 0;
    if (!x->first.n && b->n && b->v[0].far)
        rc = docs_far_line(&b->v[0], keep, x, err);
    else if (!x->first.n && b->n) {
        rc = corpus_record(&b->v[0], &room, &line, &n, err);
        if (rc == 0) rc = keep(x, line, n, err);
        buf_release(&room);
    }
    return rc < 0 ? rc : corpus_tell(x->docs, x->log, "looking", err);
}

/* ------------------------------------------------------------------ putting together */

static int join(struct table *to, const struct table *from, struct err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < from->n; i++) {
        const struct column *f = &from->v[i];
        struct column *c = find(to, f->name, strlen(f->name), i, f->order, err);
        if (!c) return err->code;
        c->types |= f->types;
        c->rows += f->rows;
        c->nulls += f->nulls;
        c->bytes += f->bytes;
        if (f->order < c->order) c->order = f->order;
        if (f->many && !c->many) {
            c->many = true;
            strs_release(&c->labels);
        }
        for (size_t k = 0; rc == 0 && !c->many && k < f->labels.n; k++)
            rc = add_label(c, f->labels.v[k], strlen(f->labels.v[k]), err);
    }
    return rc;
}

static int by_order(const void *a, const void *b) {
    const struct column *x = a, *y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void finish(struct table *t, uint64_t rows) {
    if (t->n) qsort(t->v, t->n, sizeof *t->v, by_order);
    for (size_t i = 0; i < t->n; i++) {
        struct column *c = &t->v[i];
        /* As many values as rows are no labels. */
        if (c->many || rows < 2 * c->labels.n || !(c->types & (T_STRING | T_INT | T_BOOL)))
            strs_release(&c->labels);
        strs_sort(c->labels.v, c->labels.n);
    }
}

/* "string or null" */
static void type_text(unsigned types, char *to, size_t room) {
    size_t n = 0;
    *to = 0;
    for (int i = 6; i >= 0; i--)
        if (types >> i & 1)
            n += (size_t)snprintf(to + n, n < room ? room - n : 0, "%s%s", n ? " or " : "",
                                  type_names[i]);
}

/* ------------------------------------------------------------------ splits by names */

/* A word of `datasets`' list stands in the name between marks that are no letters. */
static bool has_word(const char *name, const char *word) {
    size_t n = strlen(word);
    for (const char *p = strstr(name, word); p; p = strstr(p + 1, word)) {
        bool begins = p == name || strchr("/-._ 0123456789", p[-1]);
        bool ends = !p[n] || strchr("/-._ 0123456789", p[n]);
        if (begins && ends) return true;
    }
    return false;
}

static int split_of(const char *name) {
    static const struct {
        const char *word;
        int split;
    } words[] = {{"train", 0}, {"training", 0}, {"validation", 1}, {"valid", 1}, {"dev", 1},
                 {"val", 1},   {"test", 2},     {"testing", 2},    {"eval", 2},  {"evaluation", 2}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (has_word(name, words[i].word)) return words[i].split;
    return 0;
}
static const char *const split_names[] = {"train", "validation", "test"};

struct split_sum {
    size_t files;
    struct docs_totals of;
};

static void sum_splits(const struct informing *x, struct split_sum to[3]) {
    for (size_t i = 0; i < x->in.list.n; i++) {
        struct docs_totals v;
        struct split_sum *s = &to[split_of(x->in.list.v[i].name)];
        docs_totals_of(x->docs, (uint32_t)i, &v);
        s->files++;
        s->of.documents += v.documents;
        s->of.text_bytes += v.text_bytes;
        s->of.stored_bytes += x->in.list.v[i].bytes;
    }
}

/* ------------------------------------------------------------------ showing */

static cJSON *tree(const struct informing *x, const struct table *t, const struct split_sum *s) {
    struct docs_totals v;
    cJSON *o = cJSON_CreateObject(), *list;
    char type[128];
    docs_totals(x->docs, &v);
    cJSON_AddNumberToObject(o, "files", (double)x->in.list.n);
    cJSON_AddNumberToObject(o, "rows", (double)v.documents);
    cJSON_AddNumberToObject(o, "text_bytes", (double)v.text_bytes);
    if (docs_field(x->docs)) cJSON_AddStringToObject(o, "field", docs_field(x->docs));
    list = cJSON_AddObjectToObject(o, "splits");
    for (int i = 0; i < 3; i++) {
        if (!s[i].files) continue;
        cJSON *one = cJSON_AddObjectToObject(list, split_names[i]);
        cJSON_AddNumberToObject(one, "files", (double)s[i].files);
        cJSON_AddNumberToObject(one, "rows", (double)s[i].of.documents);
        cJSON_AddNumberToObject(one, "text_bytes", (double)s[i].of.text_bytes);
    }
    list = cJSON_AddArrayToObject(o, "columns");
    for (size_t i = 0; i < t->n; i++) {
        const struct column *c = &t->v[i];
        cJSON *one = cJSON_CreateObject(), *labels;
        type_text(c->types, type, sizeof type);
        cJSON_AddStringToObject(one, "name", c->name);
        cJSON_AddStringToObject(one, "type", type);
        cJSON_AddNumberToObject(one, "rows", (double)c->rows);
        cJSON_AddNumberToObject(one, "nulls", (double)c->nulls);
        cJSON_AddNumberToObject(one, "bytes", (double)c->bytes);
        labels = c->labels.n ? cJSON_AddArrayToObject(one, "values") : NULL;
        for (size_t k = 0; k < c->labels.n; k++)
            cJSON_AddItemToArray(labels, cJSON_CreateRaw(c->labels.v[k]));
        cJSON_AddItemToArray(list, one);
    }
    if (x->first.n) cJSON_AddItemToObject(o, "first", cJSON_CreateRaw(x->first.v));
    return o;
}

static void print(const struct informing *x, const struct table *t, const struct split_sum *s,
                  FILE *to) {
    struct docs_totals v;
    char type[128];
    docs_totals(x->docs, &v);
    fprintf(to, "%-12s %9s %14s %16s %14s\n", "split", "files", "rows", "text bytes", "stored");
    for (int i = 0; i < 3; i++)
        if (s[i].files)
            fprintf(to, "%-12s %9zu %14llu %16llu %14llu\n", split_names[i], s[i].files,
                    (unsigned long long)s[i].of.documents, (unsigned long long)s[i].of.text_bytes,
                    (unsigned long long)s[i].of.stored_bytes);
    fprintf(to, "\n%-24s %-18s %12s %9s  %s\n", "column", "type", "rows", "mean B", "values");
    for (size_t i = 0; i < t->n; i++) {
        const struct column *c = &t->v[i];
        type_text(c->types, type, sizeof type);
        fprintf(to, "%-24s %-18s %12llu %9.1f ", c->name, type, (unsigned long long)c->rows,
                c->rows ? (double)c->bytes / (double)c->rows : 0);
        for (size_t k = 0; k < c->labels.n; k++) fprintf(to, " %s", c->labels.v[k]);
        fputc('\n', to);
    }
    if (t->more) fprintf(to, "and more than %d columns\n", COLUMNS_MAX);
    bool cut = x->first.n > SHOWN_BYTES;
    size_t shown = cut ? SHOWN_BYTES : x->first.n;
    while (cut && ((unsigned char)x->first.v[shown] & 0xc0) == 0x80) shown--;
    if (shown) fprintf(to, "\n%.*s%s\n", (int)shown, x->first.v, cut ? "…" : "");
}

static int show(struct informing *x, struct tool *t, int threads) {
    struct split_sum s[3] = {{0}};
    struct docs_totals v;
    int rc = 0;
    for (int i = 1; rc == 0 && i < threads; i++) rc = join(&x->tables[0], &x->tables[i], &t->err);
    if (rc < 0) return rc;
    docs_totals(x->docs, &v);
    finish(&x->tables[0], v.documents);
    sum_splits(x, s);
    if (!buf_cstr(&x->first)) return err_nomem(&t->err, x->first.n);
    if (t->json) return tool_print_json(t, tree(x, &x->tables[0], s));
    print(x, &x->tables[0], s, tool_out(t));
    return 0;
}

static void release(struct informing *x, int threads) {
    for (int i = 0; x->tables && i < threads; i++)
        for (size_t k = 0; k < x->tables[i].n; k++) {
            free(x->tables[i].v[k].name);
            strs_release(&x->tables[i].v[k].labels);
        }
    free(x->tables);
    buf_release(&x->first);
}

static int info(struct informing *x, struct tool *t) {
    int threads = tool_threads(t);
    signals_install();
    x->log = &t->log;
    x->tables = mem_array((size_t)threads, sizeof *x->tables);
    if (!x->tables) return err_nomem(&t->err, (size_t)threads * sizeof *x->tables);
    x->first_max = t->json ? SIZE_MAX : SHOWN_BYTES + CHAR_BYTES;
    docs_stay_far(&x->in.opts);
    int rc = input_resolve(&x->in, t, "corpus");
    if (rc == 0) rc = docs_open(&x->docs, &x->in.list, &x->in.opts, &t->err);
    if (rc == 0) rc = docs_run(x->docs, threads, look, keep_first, x, &t->err);
    if (rc == 0) rc = show(x, t, threads);
    int closed = docs_close(x->docs, rc == 0 ? &t->err : NULL);
    release(x, threads);
    return rc < 0 ? rc : closed;
}

int corpus_info(int argc, char **argv) {
    struct informing x = {.in = {.opts = docs_defaults}};
    struct opt opts[INPUT_ROWS + 2] = {{.name = "Reading", .type = OPT_GROUP}};
    docs_option_rows(opts + 1, INPUT_ROWS, &x.in.opts);
    struct program p = {
        .name = "corpus info",
        .summary = "splits, columns, types, one record",
        .usage = "[SOURCE…] [--json]",
        .text = "Reads the corpus once (--take N: the first N records) and shows its splits by the "
                "names of files and folders, every column with its type, the values of columns "
                "that have few (labels, licences), and the first record.",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = info(&x, &t);
    input_release(&x.in);
    return tool_end(&t, rc);
}
