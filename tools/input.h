/* SOURCEs of a command line, for every program that reads documents.
 *
 *     struct input in = INPUT_DEFAULTS;
 *     struct opt opts[INPUT_ROWS + …]; size_t n = docs_option_rows(opts, INPUT_ROWS, &in.opts);
 *     …
 *     rc = input_resolve(&in, &t, "corpus/");       the operands, or corpus/
 *     if (rc == 0) rc = docs_open(&docs, &in.list, &in.opts, &t.err);
 *     …
 *     input_release(&in);
 *
 * The Hub's environment is read, and a connection made, only if a source asks for it. */
#ifndef LORY_TOOLS_INPUT_H
#define LORY_TOOLS_INPUT_H

#include "stream/docs.h"
#include "stream/hub.h"
#include "stream/source.h"
#include "tools/common.h"

enum { INPUT_ROWS = 17 };

struct input {
    struct docs_opts opts;
    struct source_list list;
    struct hub hub; /* empty unless needed */
    bool has_hub;
};

/* Resolves the operands, or `otherwise` if there are none, into in->list; fills in->opts' seed,
 * threads, log and hub from *t. */
int input_resolve(struct input *in, struct tool *t, const char *otherwise);
/* in->opts' seed, threads and log from *t: input_resolve() does it. */
void input_settle(struct input *in, struct tool *t);
/* One source, as an operand is: --split and --data-config count. */
int input_resolve_operand(struct input *in, struct tool *t, const char *source,
                          struct source_list *to);
/* One more source (--valid SOURCE) into another list; the Hub is shared. */
int input_resolve_one(struct input *in, struct tool *t, const char *source, struct source_list *to);
/* ERR_USAGE if writing `path` would change what is read: the file is one of `l` (outputs.h), or,
 * where `path` means a folder (records.h), files of `l` lie in it. Of --on-error's file it is asked
 * here, as sources are resolved. */
int input_check_output(const struct source_list *l, const char *path, struct err *err);
/* The same of a tokenizer, a folder or a file: `path` is a file. */
int input_check_tokenizer(const char *tok, const char *path, struct err *err);
void input_release(struct input *in);

#endif
