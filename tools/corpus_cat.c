/* corpus cat: records as they stand, one a line. */
#include <string.h>
#include "base/signals.h"
#include "stream/codec.h"
#include "stream/docs.h"
#include "tools/common.h"
#include "tools/corpus.h"
#include "tools/input.h"

struct reading {
    struct docs *docs;
    struct codec_writer *writer;
    const struct log *log;
    struct buf line;
};

static int write_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct reading *r = ctx;
    int rc = 0;
    (void)thread;
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        const char *line;
        size_t n;
        rc = corpus_record(&b->v[i], &r->line, &line, &n, err);
        if (rc == 0) rc = codec_write(r->writer, line, n, err);
        if (rc == 0) rc = codec_write(r->writer, "\n", 1, err);
    }
    return rc < 0 ? rc : corpus_tell(r->docs, r->log, "reading", err);
}

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

int corpus_cat(int argc, char **argv) {
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
