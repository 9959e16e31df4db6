/* Counted pieces that do not fit into memory (inside tokenizer/): sorted runs on disk, and their
 * union, in the order of the bytes, with the counts of equal pieces added up.
 *
 *   full table ─▶ sort ─▶ run   [count, n, bytes][count, n, bytes]…      one file per struct spill
 *   runs ─▶ heap of the runs' next pieces ─▶ the smallest, once          read in small blocks
 *
 * The files have no name (unlinked when made): they are gone with the process, however it ends. */
#ifndef LORY_TOKENIZER_SPILL_H
#define LORY_TOKENIZER_SPILL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "base/err.h"

/* A file for reading and writing in `dir`, without a name; NULL and *err on failure. */
FILE *spill_file(const char *dir, struct err *err);

struct spill; /* one thread's runs */

int spill_new(struct spill **ret, const char *dir, struct err *err);
/* The next piece of the run being written; pieces rise. */
int spill_add(struct spill *s, const char *piece, size_t n, uint64_t count, struct err *err);
/* Ends a run. */
int spill_end_run(struct spill *s, struct err *err);
void spill_free(struct spill *s); /* NULL is fine */

struct spill_union;

/* Reads all runs of from[0..n) (NULLs among them are passed over) with about `memory` bytes. */
int spill_union_new(struct spill_union **ret, struct spill *const *from, size_t n, uint64_t memory,
                    struct err *err);
/* The next piece, borrowed until the next call: 1; 0 at the end; or a negative code. */
int spill_union_next(struct spill_union *u, const char **ret, size_t *ret_n, uint64_t *ret_count,
                     struct err *err);
void spill_union_free(struct spill_union *u); /* NULL is fine */

#endif
