/* The bytes of a folder of shards, and what its index.json says (docs/formats.md has both in full).
 *
 *   train-00000.bin   i32 magic, version, tokens, 0 × 253 │ token, token, …            u16 or u32
 *   train-00000.idx   "LORYIDX\0" │ u32 version, flags │ u64 count │ u64 end × count
 *   train-00000.mask  "LORYMSK\0" │ u32 version, flags │ u64 tokens │ a bit a token
 *   index.json        splits → files → bytes, tokens, documents, text bytes, sha256
 *
 * For programs that show or check a folder; a trainer needs only stream/shard.h. */
#ifndef LORY_STREAM_SHARD_INDEX_H
#define LORY_STREAM_SHARD_INDEX_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/hash.h"
#include "stream/shard.h"

/* All numbers are little-endian and are read where they lie in the mapping. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "shards are mapped as little-endian");

enum {
    SHARD_MAGIC_U16 = 20240520,  /* llm.c, GPT-2 data: version 1, u16 */
    SHARD_MAGIC_U32 = 20240801,  /* llm.c, Llama 3 data: version 7, u32 */
    SHARD_MAGIC_EVAL = 20240522, /* llm.c, HellaSwag and the like: not tokens */
    SHARD_VERSION_U16 = 1,
    SHARD_VERSION_U32 = 7,
    SHARD_IDX_VERSION = 1,
    SHARD_IDX_CONTINUES = 1, /* flag: the last document goes on in the next shard */
    SHARD_MASK_VERSION = 1,
    SHARD_INDEX_VERSION = 1,
    SHARD_INDEX_MASKED =
        2 /* the version of one with masks: who does not know them must not read on */
};
#define SHARD_IDX_MAGIC     "LORYIDX" /* with its NUL: 8 bytes */
#define SHARD_MASK_MAGIC    "LORYMSK"
#define SHARD_INDEX_NAME    "index.json"
#define SHARD_PROGRESS_NAME ".progress.json" /* while there is no index: see shard_progress.h */
#define SHARD_INDEX_FORMAT  "lory-shards"
#define SHARD_TOKENS_MAX    ((uint64_t)INT32_MAX) /* header[2] is an i32 */

/* .idx and .mask begin alike; what is counted is documents there, tokens here. */
struct shard_idx_header {
    char magic[8];
    uint32_t version, flags;
    uint64_t count;
};
_Static_assert(sizeof(struct shard_idx_header) == 24, "no padding");

struct shard_index_file {
    char *name; /* a plain name in the same folder */
    uint64_t bytes, tokens, documents, text_bytes;
    char sha256[SHA256_HEX];
    bool masked; /* of its .mask:  */
    uint64_t targets;
    char mask_sha256[SHA256_HEX];
};

struct shard_index_split {
    char *name; /* "train", "valid" */
    uint64_t tokens, documents, text_bytes;
    uint64_t targets; /* of files with a mask */
    struct shard_index_file *v;
    size_t n;
};

struct shard_index {
    uint32_t vocab;
    uint32_t eot_id; /* UINT32_MAX with SHARD_EOT_NONE */
    enum shard_eot eot;
    unsigned token_bytes;
    bool masked; /* some file has a mask */
    uint64_t seq_len;
    char tokenizer_digest[SHA256_HEX];
    struct shard_index_split *v;
    size_t n;
    /* What all sources together say that the splits hold. The two are the same without weights: it
     * is only of a source taken in part that nobody knows how much of it was. */
    struct {
        bool named; /* else nothing is known of them */
        struct shard_amount {
            uint64_t documents, text_bytes;
        } least, most;
    } sources;
};

/* Reads and validates dir/index.json. Returns 1 if there is one of ours, 0 if there is none (or one
 * of another project), else a negative code: ERR_CORRUPT also where it contradicts itself, by a
 * split's numbers that are not the sums over its files, or a file that is listed twice. Caller:
 * shard_index_release(). */
int shard_index_load(struct shard_index *ret, const char *dir, struct err *err);
/* NULL if the split is not there. */
const struct shard_index_split *shard_index_split(const struct shard_index *x, const char *name);
/* The entry of a file, by its plain name; NULL if it is not listed. */
const struct shard_index_file *shard_index_file(const struct shard_index *x, const char *name);
void shard_index_release(struct shard_index *x); /* zeroes it */

/* One member of "splits": its list of files, checked; the sums over them, whatever it says itself.
 * `what` is for messages. Release in any case. */
int shard_index_parse_split(struct shard_index_split *ret, const cJSON *o, const char *what,
                            struct err *err);
void shard_index_release_split(struct shard_index_split *s); /* zeroes it */

/* "after", "before", "none". */
const char *shard_eot_name(enum shard_eot eot);
/* ERR_USAGE for another word. */
int shard_eot_parse(enum shard_eot *ret, const char *name, struct err *err);

/* shard_foreign.c: a .bin that is not llm.c's, but one of Megatron (its .idx is s->idx) or nanoGPT.
 * 1 and s->tokens, token_bytes, n, ends, documents; 0 if it is neither; ERR_CORRUPT. */
int shard_foreign(struct shard *s, struct err *err);
bool shard_is_megatron(const struct mapping *idx);

/* Of n bytes of a mask. */
uint64_t shard_mask_targets(const uint8_t *mask, uint64_t n);
/* "dir/train-00000.bin" -> "dir/train-00000." + end; malloc'd, NULL: no memory. */
char *shard_beside(const char *bin, const char *end);

/* Maps one .bin, and its .idx and .mask if there are any, and checks them. */
int shard_open(struct shard *ret, const char *path, struct err *err);
void shard_close(struct shard *s); /* zeroes it */

#endif
