/* Shards as the files of other projects, byte by byte in docs/formats.md.
 *
 *   megatron   NAME.bin + NAME.idx      i32 tokens, u16 where the vocabulary is below 65,500
 *   nanogpt    NAME.bin                 u16 tokens, nothing else
 *   datatrove  NAME.ds + .ds.index + .ds.metadata, of masked shards also .ds.loss
 *   jsonl      NAME.jsonl.gz            {"text": …} a document; of masked shards {"prompt": …,
 *                                       "completion": …}
 *
 * The others have no place for masks; a warning says so. */
#ifndef LORY_STREAM_SHARD_EXPORT_H
#define LORY_STREAM_SHARD_EXPORT_H

#include <stdint.h>
#include "base/err.h"
#include "base/log.h"
#include "stream/shard.h"
#include "tokenizer/tokenizer.h"

struct shard_export {
    const struct shard_set *set;
    const char *path; /* of the files, without what follows NAME above            */
    /* Where documents end in shards without .idx, and what is taken off them in jsonl. */
    enum shard_eot eot;
    uint32_t eot_id;                   /* UINT32_MAX: unknown                     */
    const struct tokenizer *tokenizer; /* of jsonl                                */
    const char *tokenizer_name;        /* of datatrove's metadata                 */
    int threads;
    const struct log *log;
    uint64_t documents, tokens; /* out */
};

/* Before anything is written: ERR_USAGE if a file that would be (`path` as in struct shard_export)
 * is one of the set's, or there is no such format. */
int shard_export_check(const char *format, const struct shard_set *set, const char *path,
                       struct err *err);
/* `format` is one of the names above, else ERR_USAGE. ERR_DATA: what the format cannot hold (tokens
 * above 65,535 in nanogpt, documents above 2^31 - 1 tokens in megatron), or documents that cannot
 * be told apart. Files appear whole; ERR_STOPPED after a signal. */
int shard_export(const char *format, struct shard_export *x, struct err *err);

#endif
