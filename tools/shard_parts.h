/* What the files of `shard SOURCE…` share: the run and its options (shard_make.c), what is read
 * (shard_sources.c), going on with a run that was ended (shard_resume.c), and whether the disk will
 * hold it (shard_space.c). */
#ifndef LORY_TOOLS_SHARD_PARTS_H
#define LORY_TOOLS_SHARD_PARTS_H

#include "stream/shard_progress.h"
#include "tools/input.h"
#include "tools/shard.h"

struct options {
    const char *tok, *output, *valid, *eot, *weights, *prompt;
    uint64_t seq_len, shard_tokens, docs, max_tokens;
    double valid_fraction;
    bool fraction_given, force;
};

/* When to look at the disk next, in stored bytes read of a list, and how many both lists have. */
struct shard_space {
    uint64_t next, every;
    double of[2]; /* train, valid; each file by its share */
};

/* What a run reads and writes. */
struct sharding {
    struct tool *t;
    struct options *o;
    struct input *in;         /* the training sources                             */
    double *weight;           /* of each training file: how often it is taken     */
    struct source_list train; /* the files of in->list, again for each time       */
    struct shard_share *shares;
    struct source_list valid; /* the files of the validation set                  */
    double fraction;          /* > 0: part of the training sources, by hash       */
    int lock;                 /* the output folder, open and locked, or -1 */
    struct shard_progress progress;
    bool resumable, saved; /* saved: progress is in the folder                 */
    double last_save, save_cost;
    struct shard_space space;
    struct tokenizer *tokenizer;
    struct shard_writer *writer;
    struct shard_encode e;
    double seconds;
};

/* The lists of files to train on and to validate with. ERR_USAGE, and what input_resolve() says. */
int sharding_sources(struct sharding *r, struct err *err);

/* Sets r->progress.plan and r->resumable, and takes up what an earlier run with the same plan has
 * done in the output folder: 1, with r->writer; else 0. */
int sharding_take_up(struct sharding *r, const struct shard_opts *s, struct err *err);
/* For struct shard_encode, of resumable runs; ctx is the run. */
int sharding_file_done(void *ctx, size_t i, const char *field, struct err *err);
double sharding_now(void); /* seconds, monotonic */

/* Before each list is read. */
void sharding_space_begin(struct sharding *r);
/* For struct shard_encode; ctx is the run. ERR_IO: the disk will be full before the end. */
int sharding_space(void *ctx, const struct docs_totals *read, struct err *err);

#endif
