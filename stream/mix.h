/* Several sources as one stream, record by record: interleave_datasets() of the Python library
 * `datasets` (5.2.0), number for number.
 *
 *   without probabilities   one record of each source in turn
 *   with them               numpy's choice(), seeded
 *
 * The end: FIRST, as soon as one source has given its last record; ALL, when every source has,
 * those that ended before begin again; EACH, the same, but what has ended is left out from then
 * on. */
#ifndef LORY_STREAM_MIX_H
#define LORY_STREAM_MIX_H

#include "stream/docs.h"

enum mix_end { MIX_FIRST, MIX_ALL, MIX_EACH };

struct mix_opts {
    const double *probabilities; /* one a source, 1 in all; NULL: in turn */
    enum mix_end end;
    uint64_t seed, skip, take; /* of the mixed stream; take 0: all      */
};

/* Calls write() for each record of the mixed stream, in order; the document is valid within the
 * call alone. Each source is read with `docs` (its skip and take are those of each source).
 * ERR_USAGE for probabilities that are none. */
typedef int (*mix_fn)(void *ctx, const struct doc *doc, struct err *err);
int mix_documents(const struct source_list *lists, size_t n, const struct docs_opts *docs,
                  const struct mix_opts *o, mix_fn write, void *ctx, struct err *err);

#endif
