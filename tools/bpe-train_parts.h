/* What bpe-train's files share: the option table and the run (bpe-train.c), what is to be made and
 * of what (bpe-train_plan.c), and what is told of it (bpe-train_report.c). */
#ifndef LORY_TOOLS_BPE_TRAIN_PARTS_H
#define LORY_TOOLS_BPE_TRAIN_PARTS_H

#include "base/hash.h"
#include "base/pool.h"
#include "tokenizer/train.h"
#include "tools/input.h"

#define TRAINING "training.json"

struct options {
    uint64_t vocab, min_frequency, max_token_length, limit_alphabet, memory;
    struct strs special; /* as given */
    bool no_special;
    const char *output, *mode, *pattern, *counts_out, *nested, *tie, *like, *extend, *alphabet;
    struct strs from_counts;
};

/* One vocabulary to make. */
struct made {
    uint32_t vocab;
    char *folder;
    struct tokenizer *tokenizer;
    struct bpe_train_result result;
};

struct bpe_run {
    struct tool *t;
    struct options *o;
    struct input *in;
    char (*hash)[XXH128_HEX]; /* (in->list) empty: not a local file */
    struct words *words;
    struct docs *docs;
    struct pool *pool;
    struct strs specials;
    struct tokenizer *like; /* --like or --extend, or NULL */
    char *spill_dir;        /* beside what is written: /tmp may well lie in memory */
    struct made *made;      /* (n_made) by rising size; none with --vocab 0 */
    size_t n_made;
    struct docs_totals totals;
    uint64_t distinct, pieces;
    double begun, seconds;
};

/* Everything that is known before a word is counted: the vocabularies to make, the tokenizer they
 * follow, special tokens, the inputs. ERR_USAGE: options that exclude each other, or an output that
 * is read. */
int bpe_plan(struct bpe_run *r, bool vocab_given, struct err *err);

/* Reads the sources once more, for what training.json says of them. */
int bpe_hash(struct bpe_run *r, struct err *err);
/* training.json in each folder: sources with sizes and hashes, options, counts, version, time. */
int bpe_record(struct bpe_run *r, struct err *err);
/* The result, on stdout. */
int bpe_report(struct bpe_run *r);

#endif
