/* Documents into shards: decode, encode and write in one pass, with any number of threads. Of a
 * document with a prompt (docs.prompt), as many tokens are no targets as the prompt alone has.
 *
 *   docs ─▶ batch ─▶ worker: encode(), choose the split ─▶ in the input's order ─▶ shard_writer
 *
 * What is written depends on the input, the tokenizer and the options; never on the threads. */
#ifndef LORY_STREAM_SHARD_ENCODE_H
#define LORY_STREAM_SHARD_ENCODE_H

#include <stdint.h>
#include "base/err.h"
#include "base/log.h"
#include "stream/docs.h"
#include "stream/shard.h"
#include "stream/source.h"
#include "tokenizer/tokenizer.h"

struct shard_counts {
    uint64_t documents, tokens, text_bytes; /* tokens with those that end documents */
    uint64_t targets;                       /* of the tokens: those that the masks leave */
    bool masked;                            /* there are masks                           */
};

/* How much of a file is taken. */
struct shard_share {
    double share; /* of its documents, by keyed hash of the text; 1: all           */
    bool again;   /* read before in this run: what is for validation is left out   */
};

struct shard_encode {
    struct shard_writer *writer;
    const struct tokenizer *tokenizer;
    struct docs_opts docs; /* `threads` of it is the number of workers                    */
    const char *split;     /* where the documents go, "train" or "valid"                  */
    /* > 0: documents whose keyed hash is below this fraction go to "valid" instead; if that is none
     * of at least two, the last one does. The rule is in docs/formats.md. */
    double valid_fraction;
    uint64_t seed; /* the key                                                     */
    bool eot;      /* the writer adds a token to each document: for the counts    */
    size_t first;  /* files of the list before this one are done                  */
    const struct shard_share *shares;   /* of each file of the list; NULL: all of all        */
    uint64_t max_documents, max_tokens; /* of `split`: nothing is added once it has as many; 0 */
    /* Called in order when all of file `i` of the list has gone to the writer, with `field`, and
     * files[i] is filled. Not while the rule above may still move a document. NULL is fine. */
    int (*file_done)(void *ctx, size_t i, const char *field, struct err *err);
    /* Called when a batch has gone to the writer, with what was read of the list. NULL is fine. */
    int (*batch_done)(void *ctx, const struct docs_totals *read, struct err *err);
    void *ctx;
    const struct log *log;
    struct shard_counts train, valid; /* out, added to                                         */
    uint64_t bad_records;             /* out, added to                                         */
    uint64_t odd_prompts; /* out, added to: documents whose first tokens are not their prompt's */
    struct docs_totals *files; /* out: what each file of the list held, or NULL         */
    struct encoders *encoders; /* NULL at first; see shard_encode_release()           */
    bool full;                 /* out: max_documents or max_tokens was reached          */
};

/* All documents of `list`. ERR_STOPPED after a signal; the writer is the caller's to abort. Several
 * lists may follow each other, with the same tokenizer and threads. */
int shard_encode(struct shard_encode *e, const struct source_list *list, struct err *err);
/* Frees what shard_encode() keeps from list to list. */
void shard_encode_release(struct shard_encode *e);

/* Whether the rule above puts a text into the validation set. */
bool shard_is_valid(const char *text, size_t n, uint64_t seed, double fraction);
/* Whether a text is in the share of a file that is taken in part. */
bool shard_is_taken(const char *text, size_t n, uint64_t seed, double share);

#endif
