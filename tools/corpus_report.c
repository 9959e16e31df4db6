/* What a step on a corpus did, as a table and as JSON: see corpus.h. The JSON holds no times, so
 * that the same step gives the same report. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "base/version.h"
#include "tools/corpus.h"

size_t corpus_step_rows(struct opt *rows, struct corpus_step *s) {
    const struct opt all[] = {
        TOOL_OUTPUT(&s->output, "file (.gz and .zst are compressed), or folder (DIR/) of files"),
        {"per-file", 0, OPT_U64, &s->per_file, "N", "records in each file of a folder", .min = 1,
         .max = 1e12},
        {"report", 0, OPT_STR, &s->report, "FILE",
         "what went in and out and why, as JSON (of a folder: DIR.report.json)"},
    };
    memcpy(rows, all, sizeof all);
    return sizeof all / sizeof *all;
}

int corpus_step_check(const struct corpus_step *s, struct tool *t) {
    if (t->json && !strcmp(s->output, "-"))
        return err_set(&t->err, ERR_USAGE,
                       "the records go to stdout; name a file with -o, or use --report FILE");
    return 0;
}

int corpus_step_resolve(struct corpus_step *s, struct tool *t) {
    int rc = input_resolve(&s->in, t, "corpus");
    if (rc == 0) rc = input_check_output(&s->in.list, s->output, &t->err);
    if (rc == 0 && s->report) rc = input_check_output(&s->in.list, s->report, &t->err);
    return rc;
}

void corpus_count_add(struct corpus_count *c, uint64_t text_bytes) {
    c->documents++;
    c->text_bytes += text_bytes;
}

/* ------------------------------------------------------------------ JSON */

static cJSON *count_tree(const struct corpus_count *c, const char *key) {
    cJSON *o = cJSON_CreateObject();
    if (key) cJSON_AddStringToObject(o, key, c->name);
    cJSON_AddNumberToObject(o, "documents", (double)c->documents);
    cJSON_AddNumberToObject(o, "text_bytes", (double)c->text_bytes);
    return o;
}

static struct corpus_count total_out(const struct corpus_report *r) {
    struct corpus_count sum = {.name = "out"};
    for (size_t i = 0; i < r->n_out; i++) {
        sum.documents += r->out[i].documents;
        sum.text_bytes += r->out[i].text_bytes;
    }
    return sum;
}

static cJSON *report_tree(struct corpus_report *r, const struct corpus_step *s,
                          const struct docs_totals *in) {
    cJSON *o = cJSON_CreateObject(), *list;
    struct corpus_count read = {"in", in->documents, in->text_bytes}, out = total_out(r);
    cJSON_AddStringToObject(o, "step", r->step);
    cJSON_AddStringToObject(o, "tool", "lory " LORY_VERSION);
    list = cJSON_AddArrayToObject(o, "sources");
    for (size_t i = 0; i < s->in.list.n; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(s->in.list.v[i].name));
    cJSON_AddItemToObject(o, "in", count_tree(&read, NULL));
    cJSON_AddNumberToObject(o, "bad_records", (double)in->bad_records);
    list = cJSON_AddArrayToObject(o, "removed");
    for (size_t i = 0; i < r->n_removed; i++)
        cJSON_AddItemToArray(list, count_tree(&r->removed[i], "reason"));
    cJSON_AddItemToObject(o, "out", count_tree(&out, NULL));
    if (r->n_out > 1) {
        list = cJSON_AddObjectToObject(o, "splits");
        for (size_t i = 0; i < r->n_out; i++)
            cJSON_AddItemToObject(list, r->out[i].name, count_tree(&r->out[i], NULL));
    }
    for (cJSON *m = r->more ? r->more->child : NULL, *next; m; m = next) {
        next = m->next;
        cJSON_AddItemToObject(o, m->string, cJSON_Duplicate(m, true));
    }
    return o;
}

/* ------------------------------------------------------------------ the table */

static void row(FILE *to, const char *name, const char *indent, uint64_t documents, uint64_t bytes,
                uint64_t of) {
    fprintf(to, "%s%-*s %13llu %16llu", indent, 24 - (int)strlen(indent), name,
            (unsigned long long)documents, (unsigned long long)bytes);
    if (of) fprintf(to, " %7.2f %%", 100 * (double)documents / (double)of);
    fputc('\n', to);
}

static void table(const struct corpus_report *r, FILE *to, const struct docs_totals *in) {
    struct corpus_count out = total_out(r);
    fprintf(to, "%-24s %13s %16s %9s\n", r->step, "documents", "text bytes", "share");
    row(to, "in", "", in->documents, in->text_bytes, in->documents);
    for (size_t i = 0; i < r->n_removed; i++)
        row(to, r->removed[i].name, "  - ", r->removed[i].documents, r->removed[i].text_bytes,
            in->documents);
    row(to, "out", "", out.documents, out.text_bytes, in->documents);
    for (size_t i = 0; r->n_out > 1 && i < r->n_out; i++)
        row(to, r->out[i].name, "  ", r->out[i].documents, r->out[i].text_bytes, in->documents);
}

/* "clean/" -> "clean.report.json": beside the folder, the folder itself holds records only. */
static char *beside(const char *folder) {
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    struct buf name = {0};
    if (buf_append(&name, folder, n, NULL) < 0 || buf_str(&name, ".report.json", NULL) < 0 ||
        !buf_cstr(&name))
        buf_release(&name);
    return name.v;
}

int corpus_report_show(struct corpus_report *r, const struct corpus_step *s, struct tool *t,
                       const struct docs_totals *in) {
    cJSON *o = report_tree(r, s, in);
    char *inside = records_is_folder(s->output) ? beside(s->output) : NULL;
    const char *path = s->report ? s->report : inside;
    int rc = tool_json_whole(o, &t->err);
    if (rc == 0 && path) rc = json_save(path, o, true, &t->err);
    free(inside);
    if (rc == 0 && t->json) {
        rc = tool_print_json(t, o);
        o = NULL;
    } else if (rc == 0 && !t->quiet)
        table(r, strcmp(s->output, "-") ? tool_out(t) : stderr, in);
    cJSON_Delete(o);
    cJSON_Delete(r->more);
    r->more = NULL;
    return rc;
}
