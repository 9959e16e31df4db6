/* The subcommands of corpus: each in its own file, corpus_NAME.c, and what they share. */
#ifndef LORY_TOOLS_CORPUS_H
#define LORY_TOOLS_CORPUS_H

#include <cjson/cJSON.h>
#include "stream/docs.h"
#include "stream/records.h"
#include "tools/common.h"
#include "tools/input.h"

/* Each is a program of its own: argv[0] is its name, the result the exit code. */
int corpus_cat(int argc, char **argv);
int corpus_clean(int argc, char **argv);
int corpus_dedup(int argc, char **argv);
int corpus_info(int argc, char **argv);
int corpus_pack(int argc, char **argv);
int corpus_split(int argc, char **argv);
int corpus_stats(int argc, char **argv);
int corpus_tokenize(int argc, char **argv);

/* For the end of a write callback: moves the progress line; ERR_STOPPED after a signal. */
int corpus_tell(const struct docs *d, const struct log *log, const char *stage, struct err *err);

/* The record as one JSON line, without its newline: as it stands, or, of a text file, with the one
 * field "text" (in `room`). */
int corpus_record(const struct doc *doc, struct buf *room, const char **ret, size_t *ret_n,
                  struct err *err);

/* records_put(), as a docs_put and a jsonl_put. */
int corpus_put(void *records, const char *v, size_t n, struct err *err);
/* Writes the record, wherever it lies; `room` is scratch. */
int corpus_write(struct records *to, const struct doc *doc, struct buf *room, struct err *err);

/* ------------------------------------------------------------------ steps that write records */

/* What a step did: how much went in, what was left out and why, how much came out. */
struct corpus_count {
    const char *name; /* of a reason, or of an output; borrowed */
    uint64_t documents, text_bytes;
};

enum { CORPUS_COUNTS_MAX = 64 };

struct corpus_report {
    const char *step;
    struct corpus_count removed[CORPUS_COUNTS_MAX], out[CORPUS_COUNTS_MAX];
    size_t n_removed, n_out; /* several outputs: the splits of corpus split */
    cJSON *more;             /* further members of the JSON, or NULL; the report deletes it */
};

/* What such a step is asked to do; the step adds its own rows to the table. */
struct corpus_step {
    struct input in;
    const char *output, *report;
    uint64_t per_file;
};
enum { CORPUS_STEP_ROWS = 4 };
/* Rows -o, --per-file, --report. */
size_t corpus_step_rows(struct opt *rows, struct corpus_step *s);
/* ERR_USAGE where records and --json would both go to stdout. */
int corpus_step_check(const struct corpus_step *s, struct tool *t);
/* Resolves the sources; ERR_USAGE where the output, or the report, would be written over one. */
int corpus_step_resolve(struct corpus_step *s, struct tool *t);
/* The table on stdout (on stderr if the records go to stdout), or one JSON object (--json); in
 * DIR.report.json beside an output folder, or in the file --report. */
int corpus_report_show(struct corpus_report *r, const struct corpus_step *s, struct tool *t,
                       const struct docs_totals *in);
/* Adds to a counter. */
void corpus_count_add(struct corpus_count *c, uint64_t text_bytes);

#endif
