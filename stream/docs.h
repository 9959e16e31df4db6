/* Documents: the records of a list of files, in batches, to any number of threads.
 *
 *   files ─▶ decode (read ahead, bounded) ─▶ batches of whole records, numbered ─▶ fields
 *
 * All of it is done by the threads that call docs_next(), each what is to be done next; so one
 * thread is one thread. Only pipes and HTTP have threads of their own, which wait for them.
 *
 * Batches are numbered 0, 1, 2 … in the order of the input; whoever writes results in order waits
 * for its number. A batch holds at most about `batch_bytes`, more only for one
 * long record.
 *
 *     struct docs *d;
 *     docs_open(&d, &list, &opts, err);
 *     in every worker:   struct batch *b;
 *                        while ((rc = docs_next(d, &b, err)) > 0) { …; docs_release(d, b); }
 *     docs_close(d);
 *
 * Memory: about threads × (batch_bytes + the longest record) and the read-ahead, whatever the
 * corpus. */
#ifndef LORY_STREAM_DOCS_H
#define LORY_STREAM_DOCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/log.h"
#include "base/opt.h"
#include "stream/source.h"

/* One record. Pointers are borrowed from the batch: valid until docs_release(). */
struct doc {
    const char *text; /* the chosen field, or the whole file (text), valid UTF-8                */
    size_t n;
    size_t
        prompt_n; /* so many bytes at its beginning are those of docs_opts.prompt               */
    const char *line; /* the record as it stands in the file, without its newline; of a table, the
                         row as an object; NULL for text                                         */
    size_t line_n;
    uint64_t line_no; /* in its file, from 1; of a table, the row                                */
    bool continues; /* the rest of the text before it (docs_opts.cut_texts, cut_records) …     */
    bool goes_on;   /* … and the text goes on in the next document                             */
    bool follows;   /* it begins anywhere in its text, not at one of the places where texts …  */
    bool followed;  /* … are cut; so does the next document (docs_opts.cut_anywhere)           */
    const struct long_record *far; /* the record, or text, that it comes from lies in a scratch
                                      file: docs_far_text(), docs_far_line(); else NULL        */
};

/* The document for an encoder: tokenizer/tokenizer.h. */
struct text_part;
struct text_part doc_part(const struct doc *d);

struct batch {
    uint64_t seq;  /* 0, 1, 2 … over the whole input                                         */
    uint32_t file; /* index in the source list; of the first record, when shuffled           */
    bool last_of_file; /* the file was read to its end; not so where docs_next() fails next      */
    struct doc *v;
    size_t n; /* may be 0 (a file without records still has a last batch)               */
    uint64_t text_bytes;
    uint32_t lane; /* below docs_opts.threads: with any_order, which of the files that are read at
                      once; else 0                                                           */
    void *made;    /* the caller's, NULL at first; of docs_run_ahead() */
};

enum docs_format { DOCS_AUTO, DOCS_JSONL, DOCS_TEXT, DOCS_CSV, DOCS_TSV, DOCS_PARQUET };

/* What every program that reads shares; docs_options() lists it for a table of options. */
struct docs_opts {
    const char *format; /* "auto" (by name and first byte), "jsonl", "text" (one document a file),
                           "csv", "tsv", "parquet": a row is a record                          */
    const char *config,
        *split;           /* of a dataset; what source_resolve_split() is given, by whoever calls
                                   it: docs_open() does not look at them                       */
    const char *field;    /* NULL: content, text, or the first string field; announced once  */
    const char *prompt;   /* a field whose text stands before that of `field`; NULL: none. Not of
                             text files                                                      */
    const char *on_error; /* "stop", "skip", or a file that collects the bad records         */
    const char *order;    /* "source", or as `datasets` shuffles: "hf5", "hf4" (stream/order.h) */
    uint64_t shuffle_buffer; /* 0: in order; with hf5 and hf4: 1000                             */
    uint64_t shuffle_bytes;  /* order "source": the buffer holds fewer records if they are larger
                                in all (256 MiB)                                                */
    bool perfect;            /* order "source": a uniform shuffle of all, through files in spill */
    const char *spill;       /* a folder; NULL: the working folder                              */
    struct strs where;       /* "FIELD=VALUE"; records for which one is not so are left out     */
    struct strs contains;    /* so are documents whose text has not all of these                */
    double sample;           /* the share of documents to take, by a hash of seed and text      */
    uint64_t skip, take;     /* records, after shuffling; take 0: all                           */
    uint64_t seed, epoch;    /* of what is shuffled                                             */
    bool any_bytes;          /* text files need not be UTF-8                                    */
    bool cut_texts;          /* a text file may come in documents of about batch_bytes, one after
                                the other; see `goes_on`. Each but the first begins with a blank
                                (U+0020) behind a letter of ASCII; or with any character but
                                white space and '/', behind a newline before which there is no
                                white space. Not where something asks for texts as a whole: order,
                                contains, sample, on_error                                     */
    bool cut_records;        /* so may the text of a JSON record of four times batch_bytes or
                                more, without doc.line. Not with order, contains, sample, where,
                                prompt, rejected records in a file. Such a record lies in a scratch
                                file in `spill` meanwhile, and is known to be good before its first
                                part comes                                                      */
    bool cut_anywhere;       /* with either of these: where about batch_bytes have no such place,
                                between any two characters. Of documents in a lane that follow or
                                are followed in this way, one at a time is handed out: the next
                                one comes when its batch is released                           */
    bool cut_loose;          /* with cut_anywhere: there are no places of the first kind, all count
                                as any                                                          */
    bool see_whole;          /* docs_far_text() will be asked for: with cut_texts, a text of four
                                times batch_bytes or more lies in a scratch file, too, as it does
                                where max_record is given                                      */
    bool stay_far;           /* docs_stay_far(): what would be cut is not, but comes as one document
                                without text and line: `far` tells them, n and line_n count
                                them. So skip and take may be given, too                        */
    bool text_only;          /* nobody looks at doc.line: columns of a table that no text comes
                                from need not be read                                           */
    bool any_order;          /* what is made of the batches does not depend on their order: local
                                files are read side by side, one a thread, with on_error "stop"
                                and neither shuffle, skip, take nor state; else no difference   */
    uint64_t max_record;     /* bytes; a longer record is a bad record. 0: one of 256 MiB that is to
                                be held in memory                                               */
    uint64_t batch_bytes;    /* default 1 MiB                                                   */
    int threads;             /* workers that will call docs_next(); sizes the read-ahead        */
    uint64_t state_every;    /* docs_save() will be called, after so many bytes or later; 0: it
                                will not                                                        */
    const void *state;       /* what docs_save() gave, to go on from there; NULL: the beginning */
    size_t state_bytes;
    const struct hub *hub;
    const struct log *log;
};
extern const struct docs_opts docs_defaults;
/* For who takes what is long from where it lies: sets stay_far and what goes with it. */
void docs_stay_far(struct docs_opts *o);

/* The rows for a program's table of options: --format --data-config --split --field --on-error
 * --shuffle-buffer --shuffle-bytes --perfect --spill --max-line --skip --take --order --epoch
 * --where --contains --sample. Writes at most `max` rows that point into *o; returns how many. */
size_t docs_option_rows(struct opt *rows, size_t max, struct docs_opts *o);

struct docs;

struct docs_totals {
    uint64_t documents, text_bytes; /* handed out                                    */
    uint64_t plain_bytes;           /* decoded                                       */
    uint64_t stored_bytes;          /* read, of stored_total                         */
    uint64_t stored_total;          /* 0 if a size is unknown                        */
    uint64_t bad_records;
};

/* Opens the first file (so that a missing one is told at once) and starts the readers. Borrows
 * `list` and the strings of `opts` until docs_close(). */
int docs_open(struct docs **ret, const struct source_list *list, const struct docs_opts *opts,
              struct err *err);
/* The next batch: 1 and *ret, 0 at the end, or a negative code (the same for every later call). A
 * bad record is ERR_DATA "file:line:column: what" (with --on-error stop). Any thread. */
int docs_next(struct docs *d, struct batch **ret, struct err *err);
void docs_release(struct docs *d, struct batch *b);
/* Makes every docs_next() that waits or follows return ERR_STOPPED. Any thread. */
void docs_stop(struct docs *d);
/* Counts so far; final after docs_next() said 0. Any thread. */
void docs_totals(const struct docs *d, struct docs_totals *ret);
/* The same for one file. */
void docs_totals_of(const struct docs *d, uint32_t file, struct docs_totals *ret);
/* Where the stream stands behind batch b, appended to `to`: opened with it as opts.state, and the
 * same sources and options, the stream goes on with what follows b, whatever the threads. Before
 * docs_release(b), and in a stream opened with state_every. 1; 0: not behind this batch (of a
 * shuffled stream there is a state every state_every bytes, or four times what the buffer holds);
 * or a negative code. */
int docs_save(struct docs *d, const struct batch *b, struct buf *to, struct err *err);
/* All of the text that doc->far holds, piece by piece, none of which ends within a character: `put`
 * gets it, and ends it with a code below 0. Any thread, before docs_release(). */
typedef int (*docs_put)(void *ctx, const char *v, size_t n, struct err *err);
int docs_far_text(const struct doc *doc, docs_put put, void *ctx, struct err *err);
/* The line of the record that doc->far holds, as it stands, without its newline: a shared mapping,
 * whose pages mapping_forget() gives back. NULL of a text. Any thread; docs_far_unmap() ends it. */
int docs_far_map(const struct doc *doc, const char **ret, size_t *ret_n, struct err *err);
void docs_far_unmap(const struct doc *doc, const char *line); /* NULL is fine */
/* The same, piece by piece; of a text, {"text": …}. */
int docs_far_line(const struct doc *doc, docs_put put, void *ctx, struct err *err);
/* xxh64_bytes() of the whole text that doc holds, or, in parts, is the first part of. */
int docs_text_hash(const struct doc *doc, uint64_t seed, uint64_t *ret, struct err *err);
/* The text as a string of JSON, with its quotes, piece by piece. */
int docs_far_quoted(const struct doc *doc, docs_put put, void *ctx, struct err *err);
/* The field in use; NULL before the first record. Borrowed. */
const char *docs_field(const struct docs *d);
/* Ends the readers, closes a --on-error file. NULL is fine. Its failure is that of writing that
 * file. */
int docs_close(struct docs *d, struct err *err);

/* Runs `work` on every batch with `threads` threads, then `write` on every batch, one at a time, in
 * order of seq (with any_order, as they come). Both are given the thread that took the batch, as an
 * index of what each thread has of its own, though another thread may do the writing. The common
 * shape of the programs that read. `work` or `write` may be NULL. The first failure ends it. */
typedef int (*docs_fn)(void *ctx, struct batch *b, int thread, struct err *err);
int docs_run(struct docs *d, int threads, docs_fn work, docs_fn write, void *ctx, struct err *err);
/* The same, but a thread does not wait for its batch to be written, perhaps by another thread: it
 * goes on with the next. So what `work` makes is not the thread's but the batch's: b->made points
 * to `bytes` bytes, which are zero or as a batch that is written left them. `release`, which may be
 * NULL, frees what hangs on them in the end. The shape of shard, tokenize encode and corpus
 * tokenize. */
struct docs_made {
    size_t bytes;
    void (*release)(void *made);
};
int docs_run_ahead(struct docs *d, int threads, docs_fn work, docs_fn write,
                   const struct docs_made *made, void *ctx, struct err *err);

#endif
