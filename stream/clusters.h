/* Which documents are near copies of which, as a file like the duplicate_clusters.json that
 * CodeParrot's preprocessing.py leaves (keys: scripts/minhash_deduplication.py), a cluster a line:
 *
 *     [
 *     [{"base_index": 3, "repo_name": "a/b", "path": "x.py", "is_extreme": true, "copies": 2},
 *      {"base_index": 9, "repo_name": "c/d", "path": "y.py", "is_extreme": false}],
 *     …
 *     ]
 *
 * Members come document by document, clusters mixed ─▶ buckets by the cluster's number ─▶ a bucket
 * at a time, sorted. Memory: 8 bytes a cluster, and the members of a 128th of them, or of the
 * largest. */
#ifndef LORY_STREAM_CLUSTERS_H
#define LORY_STREAM_CLUSTERS_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct cluster_member {
    uint32_t cluster;  /* its number, from 1                                                   */
    uint32_t document; /* its number, from 0                                                   */
    uint32_t by;       /* that of the one which stays and is near; its own: it stays, as far as
                          this cluster goes                                                    */
    uint32_t own;      /* the cluster that was opened on it, which makes it stay; 0: none      */
};

struct clusters;
/* Of `n` clusters; files in `dir`, which is borrowed. */
int clusters_new(struct clusters **ret, uint32_t n, const char *dir, struct err *err);
void clusters_free(struct clusters *c); /* NULL is fine */
/* Documents in ascending order, so the first of a cluster is the one that it was opened on.
 * `names`: JSON that follows the index, as `, "path": "x.py"`. */
int clusters_add(struct clusters *c, const struct cluster_member *m, const char *names, size_t n,
                 struct err *err);
/* Writes the file, once. */
int clusters_write(struct clusters *c, const char *path, struct err *err);

#endif
