/* Token shards: llm.c's .bin files, with an index beside them (byte by byte in docs/formats.md).
 *
 *   shards/train-00000.bin   256 int32 header (magic, version, tokens), then u16 or u32 tokens
 *   shards/train-00000.idx   magic, version, flags, count, u64 ends of documents in tokens
 *   shards/train-00000.mask  magic, version, flags, count, a bit a token: whether it is a target;
 *                            only of documents that are made of a prompt and a completion
 *   shards/index.json        written last: splits → files with counts, sha256; tokenizer digest …
 *
 * Readers accept llm.c's own files, without .idx and index.json; Megatron's .bin with its .idx; and
 * nanoGPT's train.bin and val.bin (u16 without a header, known by these names). */
#ifndef LORY_STREAM_SHARD_H
#define LORY_STREAM_SHARD_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"

enum { SHARD_HEADER_BYTES = 1024 };

enum shard_eot { SHARD_EOT_AFTER, SHARD_EOT_BEFORE, SHARD_EOT_NONE };

/* ------------------------------------------------------------------ writing */

struct shard_opts {
    uint32_t vocab;  /* V: <= 65536 gives u16 tokens                                */
    uint32_t eot_id; /* ignored with SHARD_EOT_NONE                                 */
    enum shard_eot eot;
    bool masked;           /* a .mask beside each .bin                                    */
    uint64_t seq_len;      /* recorded; what a trainer takes as its default               */
    uint64_t shard_tokens; /* cut at about this many (default 100M), at a document's end  */
    uint64_t max_tokens;   /* no shard holds more, a longer document is cut in two; 0: 2^31 - 1 */
    const char *tokenizer_digest; /* sha256 hex, or "" if unknown                             */
};

struct shard_writer; /* one folder being written; one thread at a time */

/* Takes over `dir` (made if missing): an index.json there is removed first, so that a stop leaves
 * no index that lies, then the shards of an earlier run. ERR_USAGE if the index.json is of another
 * project. */
int shard_writer_open(struct shard_writer **ret, const char *dir, const struct shard_opts *opts,
                      struct err *err);
/* Whether a file of this name, in such a folder, is a writer's to remove or make. */
bool shard_writer_makes(const char *name);
/* Appends one document to a split ("train", "valid"). Adds the EOT token by the convention, so that
 * an empty document is one token. The first n_prompt of its n tokens are no targets (of a masked
 * writer; else 0); the EOT token always is one. ERR_DATA for an id that is not below V. */
int shard_writer_add(struct shard_writer *w, const char *split, const uint32_t *ids, size_t n,
                     size_t n_prompt, uint64_t text_bytes, struct err *err);
/* The same, of n ids that come one part after the other; begin, any number of puts, end. Nothing
 * else may be added meanwhile. */
int shard_writer_begin(struct shard_writer *w, const char *split, uint64_t n, struct err *err);
int shard_writer_put(struct shard_writer *w, const uint32_t *ids, size_t n, bool targets,
                     struct err *err);
int shard_writer_end(struct shard_writer *w, uint64_t text_bytes, struct err *err);
/* Sets a member of index.json beyond those the writer knows: raw JSON text ("sources", "options",
 * …). */
int shard_writer_note(struct shard_writer *w, const char *key, const char *json, struct err *err);
/* Commits the last shards, then index.json. Frees w whatever happens; after a failure the files
 * stay where there is a .progress.json to go on by, and go where there is none. */
int shard_writer_finish(struct shard_writer *w, struct err *err);
void shard_writer_abort(struct shard_writer *w); /* leaves no file of its own; NULL is fine */

/* Writing that survives its writer: what shard_writer_mark() says, kept somewhere safe, lets
 * another writer go on from there, and the folder becomes the same to the byte. */

/* Everything added so far is on the disk when this returns 0. Appends to `json` where the writer
 * stands: one JSON object. */
int shard_writer_mark(struct shard_writer *w, struct buf *json, struct err *err);
/* Opens a folder whose writer went away, at a mark. What was added after it is cut off. The options
 * must be those of the first writer. ERR_CORRUPT: the mark or the files are not what they were. */
int shard_writer_resume(struct shard_writer **ret, const char *dir, const struct shard_opts *opts,
                        const char *mark, struct err *err);
/* Ends without a result; the files stay for shard_writer_resume(). Frees w; NULL is fine. */
void shard_writer_keep(struct shard_writer *w);

/* ------------------------------------------------------------------ reading */

struct shard {
    char *path;
    struct mapping map;
    const void *tokens;   /* u16 or u32, little-endian, borrowed from the mapping  */
    unsigned token_bytes; /* 2 or 4                                                */
    uint64_t n;           /* tokens                                                */
    const uint64_t *ends; /* document ends in tokens, ascending, the last is n; NULL without .idx */
    uint64_t documents;   /* 0 without .idx                                        */
    struct mapping idx;
    uint64_t *made_ends; /* what `ends` points to, of another project's index */
    /* Bit i % 8 of byte i / 8: token i is a target. NULL: every token is one. Borrowed. */
    const uint8_t *mask;
    struct mapping mask_map;
    int fd, mask_fd; /* for shard_read() and shard_read_mask()            */
};

struct shard_set {
    struct shard *v;
    size_t n;
    uint64_t tokens;                   /* over all shards              */
    uint64_t targets;                  /* by the masks; tokens where there are none */
    bool masked;                       /* some shard has a mask        */
    uint64_t text_bytes;               /* 0 if unknown                 */
    uint32_t vocab;                    /* 0 if unknown (no index.json) */
    uint32_t eot_id;                   /* UINT32_MAX if unknown        */
    uint64_t seq_len;                  /* 0 if unknown                 */
    size_t n_paths;                    /* that it was opened from      */
    size_t *path_first;                /* (n_paths + 1) the first shard of each */
    char tokenizer_digest[SHA256_HEX]; /* "" if unknown  */
    /* Identity: of the shards' names, sizes and sha256 (or contents, where no index.json gives
     * it). */
    char digest[XXH128_HEX];
};

/* Opens the shards of `split` in the folder `path`, or the one file `path` (a .bin), or several:
 * paths [0..n). ERR_CORRUPT names the file and what is wrong: magic, version, a count that is not
 * the file's length, an .idx that does not fit. Validates before it allocates. */
int shard_set_open(struct shard_set *ret, const char *const *paths, size_t n, const char *split,
                   struct err *err);
void shard_set_close(struct shard_set *s); /* zeroes it */
/* Token i of a shard. */
static inline uint32_t shard_token(const struct shard *s, uint64_t i) {
    return s->token_bytes == 2 ? ((const uint16_t *)s->tokens)[i]
                               : ((const uint32_t *)s->tokens)[i];
}
/* Copies tokens [at, at+n) of a shard, widened. */
void shard_tokens(const struct shard *s, uint64_t at, uint64_t n, uint32_t *out);
/* The same by a read instead of the mapping: nothing stays mapped in, and where the file has
 * shrunk since it was opened, that is ERR_CORRUPT with its name and the place, not a signal. Any
 * thread. */
int shard_read(const struct shard *s, uint64_t at, uint64_t n, uint32_t *out, struct err *err);
/* Whether tokens [at, at+n) are targets, 1 or 0 each; all 1 without a mask. As shard_read(). */
int shard_read_mask(const struct shard *s, uint64_t at, uint64_t n, uint8_t *out, struct err *err);
/* Asks the system to read these tokens in soon. */
void shard_will_need(const struct shard *s, uint64_t at, uint64_t n);

/* `shard verify`: sha256 of every file against index.json, every token below V, .idx consistent,
 * names as the writer gives them, no other shards. Calls `found(ctx, text)` for each fault; returns
 * 0 if there was none, else ERR_CORRUPT. */
int shard_verify(const char *dir, void (*found)(void *ctx, const char *text), void *ctx,
                 const struct log *log, struct err *err);

#endif
