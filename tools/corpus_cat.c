/* corpus cat: records as they stand, one a line. */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/signals.h"
#include "stream/copy.h"
#include "stream/mix.h"
#include "tools/common.h"
#include "tools/corpus.h"
#include "tools/input.h"
#include "tools/outputs.h"

struct flags {
    const char *output, *state;
    uint64_t every, at;
    bool at_given;
    bool interleave;
    const char *probabilities, *stopping;
};

static int check_outputs(const struct source_list *l, const struct flags *f, struct err *err) {
    int rc = input_check_output(l, f->output, err);
    if (rc < 0 || !f->state) return rc;
    if (!strcmp(f->output, f->state))
        return err_set(err, ERR_USAGE, "%s: is both the output and its state", f->state);
    rc = output_check(f->output, f->state, err);
    return rc < 0 ? rc : input_check_output(l, f->state, err);
}

static int tell(const struct docs *d, void *ctx, struct err *err) {
    const struct tool *t = ctx;
    return corpus_tell(d, &t->log, "reading", err);
}

/* ------------------------------------------------------------------ several sources as one */

struct mixing {
    struct codec_writer *writer;
    struct buf line;
    uint64_t records;
    struct tool *t;
};

static int write_mixed(void *ctx, const struct doc *doc, struct err *err) {
    struct mixing *m = ctx;
    int rc = copy_record(m->writer, doc, &m->line, err);
    m->records++;
    log_progress(&m->t->log, &(struct progress){"mixing", m->records, 0, "records", NULL});
    return rc == 0 && signals_stop() ? err_set(err, ERR_STOPPED, "interrupted") : rc;
}

/* "0.7,0.3" */
static int read_probabilities(const char *text, double *to, size_t n, struct err *err) {
    for (size_t i = 0; i < n; i++) {
        char *end;
        to[i] = strtod(text, &end);
        bool last = i + 1 == n;
        if (end == text || *end != (last ? 0 : ','))
            return err_set(err, ERR_USAGE, "--probabilities wants %zu numbers, \"P,P…\"", n);
        text = end + 1;
    }
    return 0;
}

static int mix_to(struct input *in, const struct flags *f, const struct source_list *lists,
                  const struct mix_opts *o, struct tool *t) {
    struct mixing m = {.t = t};
    struct docs_opts each = in->opts;
    each.skip = each.take = 0;
    docs_stay_far(&each);
    int rc = codec_writer_open(&m.writer, f->output, &t->err);
    if (rc < 0) return rc;
    rc = mix_documents(lists, t->operands->n, &each, o, write_mixed, &m, &t->err);
    if (rc == 0)
        rc = codec_writer_commit(m.writer, &t->err);
    else
        codec_writer_abort(m.writer);
    buf_release(&m.line);
    return rc;
}

static int interleave(struct input *in, const struct flags *f, struct tool *t) {
    size_t n = t->operands->n;
    struct mix_opts o = {.seed = t->seed, .skip = in->opts.skip, .take = in->opts.take};
    o.end = !strcmp(f->stopping, "first_exhausted") ? MIX_FIRST
            : !strcmp(f->stopping, "all_exhausted") ? MIX_ALL
                                                    : MIX_EACH;
    if (f->state) return err_set(&t->err, ERR_USAGE, "--state does not go with --interleave");
    struct source_list *lists = mem_array(n + 1, sizeof *lists);
    double *probabilities = mem_array(n + 1, sizeof *probabilities);
    int rc = lists && probabilities ? 0 : err_nomem(&t->err, n * sizeof *lists);
    input_settle(in, t);
    if (rc == 0 && f->probabilities) {
        rc = read_probabilities(f->probabilities, probabilities, n, &t->err);
        o.probabilities = probabilities;
    }
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = input_resolve_operand(in, t, t->operands->v[i], &lists[i]);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = check_outputs(&lists[i], f, &t->err);
    if (rc == 0) rc = mix_to(in, f, lists, &o, t);
    for (size_t i = 0; lists && i < n; i++) source_list_release(&lists[i]);
    free(lists);
    free(probabilities);
    return rc;
}

/* ------------------------------------------------------------------ the program */

static int cat(struct input *in, const struct flags *f, struct tool *t) {
    struct copy_opts o = {f->output, f->state, f->every, tell, t};
    if (f->at_given && (in->opts.skip || in->opts.take))
        return err_set(&t->err, ERR_USAGE, "--at stands for --skip N --take 1: one or the other");
    if (f->at_given) {
        in->opts.skip = f->at;
        in->opts.take = 1;
    }
    if (f->interleave) return interleave(in, f, t);
    if (f->probabilities)
        return err_set(&t->err, ERR_USAGE, "--probabilities: of what --interleave mixes");
    int rc = input_resolve(in, t, "corpus");
    if (rc == 0) rc = check_outputs(&in->list, f, &t->err);
    if (rc == 0 && f->state) rc = source_pin(&in->list, in->opts.hub, &t->err);
    return rc < 0 ? rc : copy_documents(&in->list, &in->opts, &o, &t->err);
}

int corpus_cat(int argc, char **argv) {
    struct flags f = {.output = "-", .stopping = "first_exhausted"};
    struct input in = {.opts = docs_defaults};
    struct opt opts[INPUT_ROWS + 10] = {{.name = "Reading", .type = OPT_GROUP}};
    size_t n = 1 + docs_option_rows(opts + 1, INPUT_ROWS, &in.opts);
    struct opt *at = &opts[n];
    opts[n++] = (struct opt){.name = "at",
                             .type = OPT_U64,
                             .to = &f.at,
                             .arg = "N",
                             .help = "record N alone, counted from 0 in the order asked for",
                             .max = 1e18};
    opts[n++] = (struct opt){.name = "interleave",
                             .type = OPT_FLAG,
                             .to = &f.interleave,
                             .help = "the sources record by record, as interleave_datasets()"};
    opts[n++] = (struct opt){.name = "probabilities",
                             .type = OPT_STR,
                             .to = &f.probabilities,
                             .arg = "P,P…",
                             .help = "of the sources that are interleaved (else: in turn)"};
    opts[n++] =
        (struct opt){.name = "stopping",
                     .type = OPT_CHOICE,
                     .to = &f.stopping,
                     .arg = "WHEN",
                     .help = "when the sources that are interleaved end",
                     .choices = "first_exhausted|all_exhausted|all_exhausted_without_replacement"};
    opts[n++] = (struct opt){.name = "Writing", .type = OPT_GROUP};
    opts[n++] = (struct opt)TOOL_OUTPUT(&f.output, "file to write; .gz and .zst are compressed");
    opts[n++] = (struct opt){.name = "state",
                             .type = OPT_STR,
                             .to = &f.state,
                             .arg = "FILE",
                             .help = "keep in FILE where it stands, and go on from there"};
    opts[n++] = (struct opt){.name = "state-every",
                             .type = OPT_U64,
                             .to = &f.every,
                             .arg = "SIZE",
                             .help = "keep it after so much output (default: 32Mi, or rarer)",
                             .max = 1e15};
    opts[n] = (struct opt){0};
    struct program p = {
        .name = "corpus cat",
        .summary = "write the records of a corpus, unchanged, one a line",
        .usage = "[SOURCE…] [-o FILE]",
        .text = "A SOURCE is a file, a folder, a glob, - for standard input, an address, or "
                "hf://datasets/NAME. Without one, corpus/ is read. gzip and zstd are recognised "
                "by their contents. A text file becomes a record with the field \"text\".",
        .examples = "corpus cat data/*.json.gz -o all.jsonl.zst\tjoin and compress again\n"
                    "corpus cat big.jsonl --shuffle-buffer 10000 --take 100\ta sample\n"
                    "corpus cat data/*.json.gz -o all.jsonl.zst --state all.state\t"
                    "goes on after any stop",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    signals_install();
    f.at_given = at->given;
    if (rc == 0) rc = cat(&in, &f, &t);
    input_release(&in);
    return tool_end(&t, rc);
}
