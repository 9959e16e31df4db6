/* corpus stats: what there is, per file. */
#include "base/signals.h"
#include "stream/docs.h"
#include "tools/common.h"
#include "tools/console.h"
#include "tools/corpus.h"
#include "tools/input.h"

struct reading {
    struct docs *docs;
    const struct log *log;
};

static int tell(void *ctx, struct batch *b, int thread, struct err *err) {
    const struct reading *r = ctx;
    (void)b, (void)thread;
    return corpus_tell(r->docs, r->log, "reading", err);
}

static void add_totals(cJSON *o, const struct docs_totals *v) {
    cJSON_AddNumberToObject(o, "documents", (double)v->documents);
    cJSON_AddNumberToObject(o, "text_bytes", (double)v->text_bytes);
    cJSON_AddNumberToObject(o, "bad_records", (double)v->bad_records);
    cJSON_AddNumberToObject(o, "plain_bytes", (double)v->plain_bytes);
    cJSON_AddNumberToObject(o, "stored_bytes", (double)v->stored_bytes);
}

static int print_json(struct tool *t, const struct docs *docs, const struct source_list *list) {
    struct docs_totals v;
    cJSON *tree = cJSON_CreateObject(), *sources;
    docs_totals(docs, &v);
    add_totals(tree, &v);
    if (docs_field(docs)) cJSON_AddStringToObject(tree, "field", docs_field(docs));
    sources = cJSON_AddArrayToObject(tree, "sources");
    for (size_t i = 0; i < list->n; i++) {
        cJSON *one = cJSON_CreateObject();
        docs_totals_of(docs, (uint32_t)i, &v);
        cJSON_AddStringToObject(one, "name", list->v[i].name);
        add_totals(one, &v);
        cJSON_AddItemToArray(sources, one);
    }
    return tool_print_json(t, tree);
}

static void print_row(FILE *out, const struct docs_totals *v, const char *name) {
    struct buf safe = {0};
    console_safe(&safe, name);
    fprintf(out, "%12llu %15llu %15llu %9llu  %s\n", (unsigned long long)v->documents,
            (unsigned long long)v->text_bytes, (unsigned long long)v->stored_bytes,
            (unsigned long long)v->bad_records, buf_cstr(&safe) ? safe.v : "");
    buf_release(&safe);
}

static void print_table(struct tool *t, const struct docs *docs, const struct source_list *list) {
    struct docs_totals v;
    FILE *out = tool_out(t);
    fprintf(out, "%12s %15s %15s %9s  %s\n", "documents", "text bytes", "stored bytes", "bad",
            "source");
    for (size_t i = 0; i < list->n; i++) {
        docs_totals_of(docs, (uint32_t)i, &v);
        print_row(out, &v, list->v[i].name);
    }
    docs_totals(docs, &v);
    if (list->n != 1) print_row(out, &v, "total");
}

static int stats(struct input *in, struct tool *t) {
    struct reading r = {.log = &t->log};
    int rc = input_resolve(in, t, "corpus");
    if (rc == 0) rc = docs_open(&r.docs, &in->list, &in->opts, &t->err);
    if (rc < 0) return rc;
    rc = docs_run(r.docs, in->opts.threads, NULL, tell, &r, &t->err);
    if (rc == 0 && t->json)
        rc = print_json(t, r.docs, &in->list);
    else if (rc == 0)
        print_table(t, r.docs, &in->list);
    int closed = docs_close(r.docs, rc == 0 ? &t->err : NULL);
    return rc == 0 ? closed : rc;
}

int corpus_stats(int argc, char **argv) {
    struct input in = {.opts = docs_defaults};
    struct opt opts[INPUT_ROWS + 2] = {{.name = "Reading", .type = OPT_GROUP}};
    size_t n = 1 + docs_option_rows(opts + 1, INPUT_ROWS, &in.opts);
    opts[n] = (struct opt){0};
    in.opts.text_only = in.opts.any_order = true;
    in.opts.cut_texts = in.opts.cut_records = in.opts.cut_anywhere = true;
    struct program p = {.name = "corpus stats",
                        .summary = "count documents, bytes of text and bad records, per file",
                        .usage = "[SOURCE…] [--json]",
                        .text = "Reads the corpus once. With --on-error skip, bad records are "
                                "counted instead of ending the count.",
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    signals_install();
    if (rc == 0) rc = stats(&in, &t);
    input_release(&in);
    return tool_end(&t, rc);
}
