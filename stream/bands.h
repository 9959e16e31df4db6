/* Which documents share a band of their signature: (key, document) pairs, grouped by key.
 *
 *   add(document, keys) ─▶ 256 parts by the key's first byte ─▶ in memory, or a file each
 *   group()             ─▶ part by part: sorted, keys of one document alone dropped
 *                       ─▶ of each document, its groups (at most 13)
 *
 * Within the budget everything is in memory; beyond it, the parts are unlinked files and one part
 * at a time is in memory. Documents are added in ascending order. One thread at a time. */
#ifndef LORY_STREAM_BANDS_H
#define LORY_STREAM_BANDS_H

#include <stdint.h>
#include "base/err.h"
#include "stream/minhash.h"
#include "stream/scratch.h"

struct bands;

/* `budget` bytes for pairs before they go to files in s->dir. */
int bands_new(struct bands **ret, uint64_t budget, struct scratch *s, struct err *err);
int bands_add(struct bands *b, uint32_t document, const uint64_t keys[MINHASH_BANDS],
              struct err *err);

/* groups[13 d … 13 d + 12]: the groups that document d is in, from 1 on, each once, then 0. */
struct band_groups {
    uint32_t *v; /* (documents * MINHASH_BANDS), of the scratch memory */
    uint32_t n;  /* groups; numbers 1 … n                              */
};
/* ERR_DATA for more than 2^32 - 2 groups. The pairs are gone afterwards. */
int bands_group(struct bands *b, uint32_t documents, struct band_groups *ret, struct err *err);
void bands_free(struct bands *b); /* NULL is fine */

#endif
