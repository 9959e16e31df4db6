/* How far the writing of a folder of shards has come: shards/.progress.json (SHARD_PROGRESS_NAME),
 * replaced after input files until index.json is there. With it a run that was ended anywhere goes
 * on behind the last file noted, to the same bytes.
 *
 * `plan` is a digest of everything that decides what is in the shards (sources with their sizes and
 * times, options, tokenizer, version): another plan begins anew. */
#ifndef LORY_STREAM_SHARD_PROGRESS_H
#define LORY_STREAM_SHARD_PROGRESS_H

#include <stddef.h>
#include "base/err.h"
#include "base/hash.h"
#include "stream/docs.h"
#include "stream/shard_encode.h"
#include "stream/shard_index.h"

/* The files of one list (training, validation) that are done, and what they held. */
struct shard_done {
    struct docs_totals *v; /* documents, text_bytes, bad_records of each file */
    size_t n, done;        /* files in the list; of which are done            */
};

struct shard_progress {
    char plan[XXH128_HEX];
    struct shard_done lists[2]; /* v is the caller's, n places            */
    struct shard_counts train, valid;
    char *field; /* that documents are read from, or NULL  */
    char *mark;  /* of shard_writer_mark()                 */
};

/* Fills *p for the folder: 1 if there is progress with this plan; 0 if there is none, or of another
 * plan, or it cannot be read. p->plan and lists[].v, .n are given. Release in any case. */
int shard_progress_load(struct shard_progress *p, const char *dir, struct err *err);
/* Replaces the file; `mark` and `field` are p's. */
int shard_progress_save(const struct shard_progress *p, const char *dir, struct err *err);
void shard_progress_release(struct shard_progress *p); /* field and mark */

#endif
