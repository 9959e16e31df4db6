/* Records out: to one file, or to a folder of numbered files, compressed on several threads.
 *
 *   add() ─▶ [block: whole records, about 1 MiB] ─▶ ring ─▶ threads deflate ─▶ written in order
 *
 * Every block is a gzip member (or zstd frame) of its own, cut by the contents alone: the same
 * records give the same bytes for any number of threads, and each block can be read alone.
 *
 *   out.jsonl.gz   one file; "-" is stdout; compressed by the end of the name
 *   out/           file-000000000001.json.gz … of `per_file` records each, as CodeParrot's data
 *
 * A long record's block is compressed by the caller, while it comes; gzip's bytes are those of the
 * whole, zstd's frame does not say how long it is.
 *
 * Each file appears whole or not at all. One thread at a time calls in. */
#ifndef LORY_STREAM_RECORDS_H
#define LORY_STREAM_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct records;

struct records_opts {
    uint64_t per_file; /* of a folder; 0: 100,000                     */
    int threads;       /* that compress; at least 1                   */
};

/* Whether `path` means a folder: it ends in '/', or is one. */
bool records_is_folder(const char *path);
/* Makes the folder. ERR_IO. */
int records_open(struct records **ret, const char *path, const struct records_opts *opts,
                 struct err *err);
/* One record without its newline. */
int records_add(struct records *w, const char *line, size_t n, struct err *err);
/* The same in pieces: its next bytes, and its end. What is long by then leaves while it comes. */
int records_put(struct records *w, const char *v, size_t n, struct err *err);
int records_end(struct records *w, struct err *err);
/* Ends the file; of a folder, the next record begins a new one. */
int records_cut(struct records *w, struct err *err);
/* Plain bytes taken, newlines included. */
uint64_t records_bytes(const struct records *w);
/* Files committed so far. */
uint64_t records_files(const struct records *w);
/* Ends and commits; of a folder, higher-numbered files of an earlier run are removed. A folder has
 * at least one file. Frees w whatever happens. */
int records_commit(struct records *w, struct err *err);
/* Leaves no file of its own under a final name but those that were already whole. NULL is fine. */
void records_abort(struct records *w);

#endif
