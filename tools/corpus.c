/* corpus: looks at text corpora and writes them anew. */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "stream/codec.h"
#include "stream/docs.h"
#include "stream/pack.h"
#include "tools/common.h"
#include "tools/input.h"

/* ------------------------------------------------------------------ what cat and stats share */

struct reading {
    struct docs *docs;
    struct codec_writer *writer; /* of cat */
    const struct log *log;
    struct buf line;
};

static void tell_progress(const struct reading *r) {
    struct docs_totals now;
    docs_totals(r->docs, &now);
    log_progress(r->log,
                 &(struct progress){"reading", now.stored_bytes, now.stored_total, "B", NULL});
}

/* A text file becomes a record, so that what is written can be read like any corpus. */
static int text_record(struct reading *r, const struct doc *doc, struct err *err) {
    r->line.n = 0;
    int rc = buf_str(&r->line, "{\"text\": ", err);
    if (rc == 0) rc = json_quote(&r->line, doc->text, doc->n, err);
    if (rc == 0) rc = buf_char(&r->line, '}', err);
    return rc < 0 ? rc : codec_write(r->writer, r->line.v, r->line.n, err);
}

static int write_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct reading *r = ctx;
    int rc = 0;
    (void)thread;
    for (size_t i = 0; rc == 0 && i < b->n && r->writer; i++) {
        const struct doc *doc = &b->v[i];
        rc = doc->line ? codec_write(r->writer, doc->line, doc->line_n, err)
                       : text_record(r, doc, err);
        if (rc == 0) rc = codec_write(r->writer, "\n", 1, err);
    }
    tell_progress(r);
    if (rc == 0 && signals_stop()) rc = err_set(err, ERR_STOPPED, "interrupted");
    return rc;
}

/* ------------------------------------------------------------------ cat */

static int cat(struct input *in, const char *output, struct tool *t) {
    struct reading r = {.log = &t->log};
    int rc = input_resolve(in, t, "corpus");
    if (rc == 0) rc = docs_open(&r.docs, &in->list, &in->opts, &t->err);
    if (rc < 0) return rc;
    rc = codec_writer_open(&r.writer, output, &t->err);
    bool opened = rc == 0;
    if (rc == 0) rc = docs_run(r.docs, in->opts.threads, NULL, write_batch, &r, &t->err);
    /* What came before a bad record is still worth having in a pipe; a file is all or nothing. */
    if (opened && (rc == 0 || (rc == ERR_DATA && !strcmp(output, "-")))) {
        int end = codec_writer_commit(r.writer, rc == 0 ? &t->err : NULL);
        if (rc == 0) rc = end;
    } else if (opened)
        codec_writer_abort(r.writer);
    int closed = docs_close(r.docs, rc == 0 ? &t->err : NULL);
    buf_release(&r.line);
    return rc == 0 ? closed : rc;
}

static int cat_main(int argc, char **argv) {
    const char *output = "-";
    struct input in = {.opts = docs_defaults};
    struct opt opts[INPUT_ROWS + 3] = {{.name = "Reading", .type = OPT_GROUP}};
    size_t n = 1 + docs_option_rows(opts + 1, INPUT_ROWS, &in.opts);
    opts[n++] = (struct opt)TOOL_OUTPUT(&output, "file to write; .gz and .zst are compressed");
    opts[n] = (struct opt){0};
    struct program p = {
        .name = "corpus cat",
        .summary = "write the records of a corpus, unchanged, one a line",
        .usage = "[SOURCE…] [-o FILE]",
        .text = "A SOURCE is a file, a folder, a glob, - for standard input, an address, or "
                "hf://datasets/NAME. Without one, corpus/ is read. gzip and zstd are recognised "
                "by their contents. A text file becomes a record with the field \"text\".",
        .examples = "corpus cat data/*.json.gz -o all.jsonl.zst\tjoin and compress again\n"
                    "corpus cat big.jsonl --shuffle-buffer 10000 --take 100\ta sample",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    signals_install();
    if (rc == 0) rc = cat(&in, output, &t);
    input_release(&in);
    return tool_end(&t, rc);
}

/* ------------------------------------------------------------------ stats */

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
    fprintf(out, "%12llu %15llu %15llu %9llu  %s\n", (unsigned long long)v->documents,
            (unsigned long long)v->text_bytes, (unsigned long long)v->stored_bytes,
            (unsigned long long)v->bad_records, name);
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
    rc = docs_run(r.docs, in->opts.threads, NULL, write_batch, &r, &t->err);
    if (rc == 0 && t->json)
        rc = print_json(t, r.docs, &in->list);
    else if (rc == 0)
        print_table(t, r.docs, &in->list);
    int closed = docs_close(r.docs, rc == 0 ? &t->err : NULL);
    return rc == 0 ? closed : rc;
}

static int stats_main(int argc, char **argv) {
    struct input in = {.opts = docs_defaults};
    struct opt opts[INPUT_ROWS + 2] = {{.name = "Reading", .type = OPT_GROUP}};
    size_t n = 1 + docs_option_rows(opts + 1, INPUT_ROWS, &in.opts);
    opts[n] = (struct opt){0};
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

/* ------------------------------------------------------------------ pack */

static int print_packed(struct tool *t, const struct pack_totals *v) {
    if (t->json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddNumberToObject(o, "documents", (double)v->documents);
        cJSON_AddNumberToObject(o, "text_bytes", (double)v->text_bytes);
        cJSON_AddNumberToObject(o, "duplicates", (double)v->duplicates);
        cJSON_AddNumberToObject(o, "not_utf8", (double)v->not_utf8);
        cJSON_AddNumberToObject(o, "too_large", (double)v->too_large);
        cJSON_AddNumberToObject(o, "empty", (double)v->empty);
        return tool_print_json(t, o);
    }
    log_info(&t->log,
             "%llu documents, %llu bytes of text; left out: %llu copies, %llu not UTF-8, "
             "%llu too large, %llu empty",
             (unsigned long long)v->documents, (unsigned long long)v->text_bytes,
             (unsigned long long)v->duplicates, (unsigned long long)v->not_utf8,
             (unsigned long long)v->too_large, (unsigned long long)v->empty);
    return 0;
}

static int pack_main(int argc, char **argv) {
    const char *output = "corpus";
    struct strs exts = {0}, excludes = {0};
    struct pack_opts o = {.files = 1, .max_bytes = 1000000, .license = "unknown"};
    struct opt opts[] = {
        {"Packing", .type = OPT_GROUP},
        {"ext", 0, OPT_STRS, &exts, "END", "endings of the names to take (repeatable)"},
        {"exclude", 0, OPT_STRS, &excludes, "NAME",
         "leave out files and folders of this name, at any depth (repeatable)"},
        {"files", 0, OPT_U64, &o.files, "N", "number of files to write", .min = 1, .max = 100000},
        {"max-bytes", 0, OPT_U64, &o.max_bytes, "N", "leave out larger files", .min = 1,
         .max = 1 << 30},
        {"repo", 0, OPT_STR, &o.repo, "NAME", "repo_name of the records (local/FOLDER)"},
        {"license", 0, OPT_STR, &o.license, "NAME", "license of the records"},
        TOOL_OUTPUT(&output, "folder to write"),
        {0}};
    struct program p = {
        .name = "corpus pack",
        .summary = "make a corpus of the source files in folders",
        .usage = "DIR… [-o OUT]",
        .text = "Writes gzip JSON lines with the fields of the CodeParrot data (repo_name, path, "
                "copies, size, content, license), in an order that depends on the seed. Of equal "
                "files one is taken; hidden files, files that are not UTF-8 and empty ones are "
                "left out and counted.",
        .examples = "corpus pack /usr/lib/python3 -o corpus --files 8 --license psf\t"
                    "the Python files of this machine",
        .opts = opts};
    struct tool t;
    struct pack_totals totals;
    int rc = strs_push(&exts, ".py", NULL);
    rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) {
        o.exts = &exts;
        o.excludes = &excludes;
        o.seed = t.seed;
        o.threads = tool_threads(&t);
        o.log = &t.log;
        rc = t.operands->n ? pack(t.operands, output, &o, &totals, &t.err)
                           : err_set(&t.err, ERR_USAGE, "no folder named");
        if (rc == 0) rc = print_packed(&t, &totals);
    }
    strs_release(&exts);
    strs_release(&excludes);
    return tool_end(&t, rc);
}

int main(int argc, char **argv) {
    static const struct subcommand subs[] = {
        {"cat", "write the records of a corpus", cat_main},
        {"stats", "count documents, bytes and bad records", stats_main},
        {"pack", "make a corpus of source files", pack_main},
        {0}};
    static const struct family family = {"corpus", "looks at text corpora and writes them anew",
                                         subs, NULL};
    return tool_dispatch(&family, argc, argv);
}
