/* Copies out of a corpus: exact ones, and near ones as CodeParrot finds them.
 *
 *   1st reading: dedup_find()    workers: digest, words, signature ─▶ in order: exact copies,
 *                                bands (stream/bands.h)
 *   between:     clusters, document by document, as CodeParrot's index grows: a document that
 *                shares a band with earlier ones joins the cluster of the lowest of them that has
 *                one of its own, else it opens one on the lowest of them
 *   2nd reading: dedup_settle()  within a cluster, in the order of the input: a document goes if
 *                its words have a Jaccard similarity of at least the threshold with those of one
 *                that stays; the one a cluster was opened on always stays
 *
 * That is CodeParrot's rule (scripts/minhash_deduplication.py); where its outcome hangs on the
 * order of a Python set, the lowest number decides. A document with fewer than 10 words is never a
 * near copy. What is kept does not depend on threads or on the memory given.
 *
 * Memory: 16 bytes a document for exact copies (up to 32 while the table grows), 8 for clusters;
 * pairs, groups and the words of open clusters go to unlinked files beyond the budget. */
#ifndef LORY_STREAM_DEDUP_H
#define LORY_STREAM_DEDUP_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "stream/clusters.h"
#include "stream/docs.h"

struct dedup_opts {
    bool exact, near;
    double threshold; /* of the Jaccard similarity; CodeParrot: 0.85        */
    uint64_t memory;  /* bytes, for what can go to files                    */
    const char *dir;  /* for the files                                      */
    int threads;
    const struct log *log;
};

enum dedup_fate { DEDUP_STAYS, DEDUP_EXACT, DEDUP_NEAR };

/* What becomes of a document. It is in two clusters at most: in one that was opened on an earlier
 * document, and in the one that was opened on it. */
struct dedup_verdict {
    enum dedup_fate fate;
    struct cluster_member in[2]; /* clusters.h */
    int n_in;
};

struct dedup_totals {
    uint64_t documents, clusters, largest; /* documents of the largest cluster */
    uint64_t compared, scratch_bytes;
};

struct dedup;
int dedup_new(struct dedup **ret, const struct dedup_opts *o, struct err *err);
void dedup_free(struct dedup *d); /* NULL is fine */

/* The first reading. In both of them documents may stay far (docs_stay_far). ERR_STOPPED after a
 * signal. */
int dedup_find(struct dedup *d, struct docs *docs, struct err *err);
/* The second: calls `fate` for each document, in order, one at a time. ERR_DATA if the sources are
 * not what they were. With exact copies only, this alone does it, in one reading. */
typedef int (*dedup_fn)(void *ctx, const struct doc *doc, const struct dedup_verdict *v,
                        struct err *err);
int dedup_settle(struct dedup *d, struct docs *docs, dedup_fn fate, void *ctx, struct err *err);
void dedup_totals(const struct dedup *d, struct dedup_totals *ret);

#endif
