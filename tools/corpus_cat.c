/* corpus cat: records as they stand, one a line. */
#include "base/signals.h"
#include "stream/copy.h"
#include "tools/common.h"
#include "tools/corpus.h"
#include "tools/input.h"

struct flags {
    const char *output, *state;
    uint64_t every, at;
    bool at_given;
};

static int tell(const struct docs *d, void *ctx, struct err *err) {
    const struct tool *t = ctx;
    return corpus_tell(d, &t->log, "reading", err);
}

static int cat(struct input *in, const struct flags *f, struct tool *t) {
    struct copy_opts o = {f->output, f->state, f->every, tell, t};
    if (f->at_given && (in->opts.skip || in->opts.take))
        return err_set(&t->err, ERR_USAGE, "--at stands for --skip N --take 1: one or the other");
    if (f->at_given) {
        in->opts.skip = f->at;
        in->opts.take = 1;
    }
    int rc = input_resolve(in, t, "corpus");
    return rc < 0 ? rc : copy_documents(&in->list, &in->opts, &o, &t->err);
}

int corpus_cat(int argc, char **argv) {
    struct flags f = {.output = "-"};
    struct input in = {.opts = docs_defaults};
    struct opt opts[INPUT_ROWS + 7] = {{.name = "Reading", .type = OPT_GROUP}};
    size_t n = 1 + docs_option_rows(opts + 1, INPUT_ROWS, &in.opts);
    struct opt *at = &opts[n];
    opts[n++] = (struct opt){.name = "at",
                             .type = OPT_U64,
                             .to = &f.at,
                             .arg = "N",
                             .help = "record N alone, counted from 0 in the order asked for",
                             .max = 1e18};
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
