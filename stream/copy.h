/* Documents to a file of records, one a line: what `corpus cat` does. With a state file it can be
 * stopped anywhere, any number of times, and the file becomes what it would have become at once.
 *
 *   OUT  ◀─rename─ .OUT.partial  [ counts: `at` bytes | written since: cut off when going on ]
 *   STATE  "LORYCPY1"  at  done  state of the documents (docs_save)  XXH3-128 of all before
 *
 * Compressed output ends its member or frame wherever a state may be saved; these places follow
 * from the records alone. */
#ifndef LORY_STREAM_COPY_H
#define LORY_STREAM_COPY_H

#include "stream/codec.h"
#include "stream/docs.h"

struct copy_opts {
    const char *output; /* "-": stdout, without a state                                     */
    const char *state;  /* NULL: none. Removed when all is done                             */
    uint64_t every;     /* bytes of output from state to state; 0: 32 MiB, and rarely
                           enough that saving takes less than a tenth of the time           */
    /* Called behind every batch: a code below 0 ends it. */
    int (*tell)(const struct docs *d, void *ctx, struct err *err);
    void *ctx;
};

/* Opens the documents (docs_open) and copies them. ERR_DATA: what came before the bad record is in
 * a pipe, and nowhere else. */
int copy_documents(const struct source_list *list, const struct docs_opts *docs,
                   const struct copy_opts *o, struct err *err);
/* One document as copied: its line as it stands, or {"text": …}; with a newline. `line` is
 * scratch. */
int copy_record(struct codec_writer *to, const struct doc *doc, struct buf *line, struct err *err);

#endif
