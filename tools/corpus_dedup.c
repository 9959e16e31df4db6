/* corpus dedup: exact and near copies (stream/dedup.h). */
#include <string.h>
#include "base/file.h"
#include "base/signals.h"
#include "stream/dedup.h"
#include "stream/jsonl.h"
#include "stream/jsonl_edit.h"
#include "stream/rows.h"
#include "tools/corpus.h"

struct deduping {
    struct corpus_step step;
    const char *mode, *tmp, *clusters_path;
    struct dedup_opts o;
    struct dedup *dedup;
    struct clusters *clusters; /* NULL: not asked for */
    struct records *out;
    struct corpus_report report;
    struct buf room;
};

static int far_field(const char *line, size_t n, const char *field, struct buf *room,
                     const char **ret, size_t *ret_n) {
    int rc = jsonl_field_mapped(line, n, field, strlen(field), ret, ret_n, NULL);
    return rc < 0 ? rc : jsonl_text(*ret, *ret_n, room, ret, ret_n, NULL);
}

/* What a cluster says of a document, beside its number: these fields, if it has them. */
static int add_names(const struct doc *doc, struct buf *names, struct err *err) {
    static const char *const fields[] = {"repo_name", "path"};
    struct buf room = {0};
    const char *v, *line = doc->line;
    size_t n, line_n = doc->line_n;
    int rc = doc->far ? docs_far_map(doc, &line, &line_n, err) : 0;
    for (size_t i = 0; rc == 0 && line && i < sizeof fields / sizeof *fields; i++) {
        room.n = 0;
        int found =
            doc->far ? far_field(line, line_n, fields[i], &room, &v, &n)
                     : jsonl_field(line, line_n, fields[i], strlen(fields[i]), &room, &v, &n, NULL);
        if (found < 0) continue;
        rc = buf_printf(names, err, ", \"%s\": ", fields[i]);
        if (rc == 0) rc = rows_quote(names, v, n, err);
    }
    if (doc->far) docs_far_unmap(doc, line);
    buf_release(&room);
    return rc;
}

static int note_clusters(struct deduping *d, const struct doc *doc, const struct dedup_verdict *v,
                         struct err *err) {
    if (!d->clusters || !v->n_in) return 0;
    d->room.n = 0;
    int rc = add_names(doc, &d->room, err);
    for (int i = 0; rc == 0 && i < v->n_in; i++)
        rc = clusters_add(d->clusters, &v->in[i], d->room.n ? d->room.v : "", d->room.n, err);
    return rc;
}

static int fate(void *ctx, const struct doc *doc, const struct dedup_verdict *v, struct err *err) {
    struct deduping *d = ctx;
    int rc = note_clusters(d, doc, v, err);
    if (rc < 0) return rc;
    if (v->fate != DEDUP_STAYS) {
        bool both = d->report.n_removed == 2;
        corpus_count_add(&d->report.removed[v->fate == DEDUP_NEAR && both], doc->n);
        return 0;
    }
    corpus_count_add(&d->report.out[0], doc->n);
    return corpus_write(d->out, doc, &d->room, err);
}

static int check_sources(const struct deduping *d, struct tool *t) {
    const struct source_list *l = &d->step.in.list;
    for (size_t i = 0; d->o.near && i < l->n; i++)
        if (!strcmp(l->v[i].path, "-"))
            return err_set(&t->err, ERR_USAGE,
                           "near copies take two readings, and standard input has one; "
                           "write it to a file first, or ask for --mode exact");
    return 0;
}

static int begin(struct deduping *d, struct tool *t) {
    d->o.exact = strcmp(d->mode, "near") != 0;
    d->o.near = strcmp(d->mode, "exact") != 0;
    d->o.threads = tool_threads(t);
    d->o.log = &t->log;
    d->o.dir = d->tmp;
    if (d->o.exact) d->report.removed[d->report.n_removed++].name = "exact copy";
    if (d->o.near) d->report.removed[d->report.n_removed++].name = "near copy";
    d->report.out[0].name = "out";
    d->report.n_out = 1;
    int rc = corpus_step_check(&d->step, t);
    if (rc == 0 && d->clusters_path && !d->o.near)
        rc = err_set(&t->err, ERR_USAGE, "--clusters: exact copies make no clusters");
    docs_stay_far(&d->step.in.opts);
    if (rc == 0) rc = corpus_step_resolve(&d->step, t);
    if (rc == 0 && d->clusters_path)
        rc = input_check_output(&d->step.in.list, d->clusters_path, &t->err);
    if (rc == 0) rc = check_sources(d, t);
    return rc < 0 ? rc : dedup_new(&d->dedup, &d->o, &t->err);
}

static int find(struct deduping *d, struct tool *t) {
    struct docs *docs;
    if (!d->o.near) return 0;
    int rc = docs_open(&docs, &d->step.in.list, &d->step.in.opts, &t->err);
    if (rc < 0) return rc;
    rc = dedup_find(d->dedup, docs, &t->err);
    int closed = docs_close(docs, rc == 0 ? &t->err : NULL);
    return rc < 0 ? rc : closed;
}

static int settle(struct deduping *d, struct tool *t, struct docs_totals *in) {
    struct docs *docs;
    int rc = docs_open(&docs, &d->step.in.list, &d->step.in.opts, &t->err);
    if (rc < 0) return rc;
    rc = dedup_settle(d->dedup, docs, fate, d, &t->err);
    docs_totals(docs, in);
    int closed = docs_close(docs, rc == 0 ? &t->err : NULL);
    return rc < 0 ? rc : closed;
}

static int open_clusters(struct deduping *d, struct tool *t) {
    struct dedup_totals v;
    dedup_totals(d->dedup, &v);
    return clusters_new(&d->clusters, (uint32_t)v.clusters, d->tmp, &t->err);
}

static cJSON *more(const struct deduping *d) {
    struct dedup_totals v;
    cJSON *o = cJSON_CreateObject();
    dedup_totals(d->dedup, &v);
    cJSON_AddStringToObject(o, "mode", d->mode);
    if (!d->o.near) return o;
    cJSON_AddNumberToObject(o, "threshold", d->o.threshold);
    cJSON_AddNumberToObject(o, "clusters", (double)v.clusters);
    cJSON_AddNumberToObject(o, "largest_cluster", (double)v.largest);
    cJSON_AddNumberToObject(o, "compared", (double)v.compared);
    return o;
}

static int dedup(struct deduping *d, struct tool *t) {
    struct docs_totals in = {0};
    struct records_opts ro = {.per_file = d->step.per_file, .threads = tool_threads(t)};
    signals_install();
    int rc = begin(d, t);
    if (rc == 0) rc = find(d, t);
    if (rc == 0 && d->clusters_path) rc = open_clusters(d, t);
    if (rc == 0) rc = records_open(&d->out, d->step.output, &ro, &t->err);
    if (rc == 0) {
        rc = settle(d, t, &in);
        if (rc == 0 && d->clusters) rc = clusters_write(d->clusters, d->clusters_path, &t->err);
        int end = 0;
        if (rc == 0)
            end = records_commit(d->out, &t->err);
        else
            records_abort(d->out);
        if (rc == 0) rc = end;
    }
    if (rc == 0) {
        d->report.more = more(d);
        rc = corpus_report_show(&d->report, &d->step, t, &in);
    }
    clusters_free(d->clusters);
    dedup_free(d->dedup);
    buf_release(&d->room);
    return rc;
}

static const char dedup_text[] =
    "Exact copies are equal but for white space; the first one stays. Near copies are found as "
    "CodeParrot does: MinHash of the set of words with 256 permutations, 13 bands of 19; documents "
    "that share a band form a cluster, and within it, in the order of the input, one goes if its "
    "set of words has a Jaccard similarity of at least the threshold with one that stays. "
    "Documents of fewer than 10 words are no near copies.\n"
    "The sources are read twice. What is kept does not depend on threads or on --memory: beyond "
    "it, what can be large goes to unlinked files in --tmp (about 210 bytes a document, and the "
    "words of clusters still open).\n"
    "--clusters writes what CodeParrot's duplicate_clusters.json holds: a list of clusters, each a "
    "list of its documents with base_index (a record's number in the input, from 0), repo_name and "
    "path where it has them, is_extreme (it stays), and of those that stay copies (itself and what "
    "goes because of it).";

int corpus_dedup(int argc, char **argv) {
    struct deduping d = {.step = {.in = {.opts = docs_defaults}, .output = "-", .per_file = 100000},
                         .mode = "both",
                         .tmp = "/tmp",
                         .o = {.threshold = 0.85, .memory = 1 << 30},
                         .report = {.step = "dedup"}};
    struct opt opts[INPUT_ROWS + CORPUS_STEP_ROWS + 8] = {
        {"Copies", .type = OPT_GROUP},
        {"mode", 0, OPT_CHOICE, &d.mode, "KIND", "which copies", "exact|near|both"},
        {"threshold", 0, OPT_F64, &d.o.threshold, "J", "least Jaccard similarity of near copies",
         .min = 0.01, .max = 1},
        {"clusters", 0, OPT_STR, &d.clusters_path, "FILE",
         "which documents are near copies of which, as JSON"},
        {"memory", 0, OPT_U64, &d.o.memory, "BYTES", "memory for what can go to files",
         .min = 1 << 16, .max = 1e15},
        {"tmp", 0, OPT_STR, &d.tmp, "DIR", "folder for these files"},
    };
    size_t n = 6;
    n += corpus_step_rows(opts + n, &d.step);
    opts[n++] = (struct opt){.name = "Reading", .type = OPT_GROUP};
    docs_option_rows(opts + n, INPUT_ROWS, &d.step.in.opts);
    struct program p = {.name = "corpus dedup",
                        .summary = "leave out copies, exact and near",
                        .usage = "[SOURCE…] [-o FILE|DIR/]",
                        .text = dedup_text,
                        .examples = "corpus dedup clean/ -o unique/\texact and near copies\n"
                                    "corpus dedup --mode exact - < a.jsonl > b.jsonl\tin one pass",
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = dedup(&d, &t);
    input_release(&d.step.in);
    return tool_end(&t, rc);
}
