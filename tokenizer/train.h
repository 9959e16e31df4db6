/* Training a vocabulary: count the pieces of the text, then merge the most frequent pair again and
 * again. Byte for byte the result of HF's BpeTrainer as train_new_from_iterator() calls it.
 *
 *   text ─▶ pattern ─▶ pieces ─▶ words (piece -> count, u64) ─▶ merges ─▶ struct tokenizer
 *
 * The result depends on the multiset of texts only: not on threads, files or their order. */
#ifndef LORY_TOKENIZER_TRAIN_H
#define LORY_TOKENIZER_TRAIN_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/pool.h"
#include "tokenizer/tokenizer.h"

/* ------------------------------------------------------------------ words: piece -> count */

struct words; /* one table per thread while counting, one table after words_finish() */

struct words_opts {
    const char *pattern; /* see pattern.h; NULL: that of `like`, or "gpt2"               */
    bool lines;          /* HF's file mode: each line, with its \n, is a text of its own */
    int threads;         /* texts are added by threads 0 … threads-1                     */
    const struct tokenizer *like; /* gives its add_prefix_space and normalizer too; or NULL */
    uint64_t memory;       /* about so many bytes for all words; more go to disk. 0: no bound */
    const char *spill_dir; /* there, in files without a name; NULL: the working folder        */
};

int words_new(struct words **ret, const struct words_opts *opts, struct err *err);
/* Counts the pieces of one text. Different `thread` numbers may call at the same time. Copies what
 * it keeps. Invalid UTF-8 is counted as it stands, byte for byte. */
int words_add(struct words *w, int thread, const char *text, size_t n, struct err *err);
/* The same of a part of a text (struct text_part). Those that follow or are followed come in order,
 * those of one text at a time to each lane, which are numbered below `threads`. A piece is held
 * until it ends, however long, and then kept: it is a word. */
int words_add_part(struct words *w, int thread, uint32_t lane, const struct text_part *part,
                   struct err *err);
/* Whether texts may be added in parts: as tokenizer_cuts(), and as tokenizer_streams(). Not by
 * lines. */
bool words_cut(const struct words *w);
bool words_stream(const struct words *w);
/* Adds `count` to one piece (a line of --from-counts). ERR_DATA: all that a thread added would be
 * 2^62 bytes of text or more, and pairs could not be counted. */
int words_add_count(struct words *w, int thread, const char *piece, size_t n, uint64_t count,
                    struct err *err);
/* Adds the words of a file ("-": stdin) with lines COUNT<TAB>WORD, where \xHH in WORD is a byte.
 * Not while other threads add. ERR_DATA: "file:line:column: what". */
int words_read_counts(struct words *w, const char *path, struct err *err);
/* Writes all words in that form, sorted by their bytes. After words_finish(); changes the order of
 * words_get(). */
int words_write_counts(struct words *w, const char *path, struct err *err);
/* Combines the threads' tables. After it only the readers below. */
int words_finish(struct words *w, struct pool *pool, struct err *err);
uint64_t words_distinct(
    const struct words *w); /* also before words_finish, then a quick upper bound */
uint64_t words_total(const struct words *w); /* pieces counted */
/* The i-th distinct piece after words_finish(), in no particular order; borrowed. */
const char *words_get(const struct words *w, uint64_t i, size_t *ret_n, uint64_t *ret_count);
/* Puts the pieces in the order of their bytes, for words_get(). */
void words_sort(struct words *w);
/* Gives the memory of the counts back; only words_free() may follow. */
void words_drop(struct words *w);
void words_free(struct words *w); /* NULL is fine */

/* ------------------------------------------------------------------ merges */

struct bpe_train_opts {
    uint32_t vocab;              /* total size: specials and the 256 bytes included              */
    const char *const *specials; /* ids 0, 1, …; repeats are ignored                             */
    size_t n_specials;
    uint64_t min_frequency;    /* a pair must occur so often; 0 as train_new_from_iterator     */
    uint32_t max_token_length; /* HF's rule (strictly less); 0: no limit                       */
    const char *pattern;       /* written into the tokenizer; NULL: that of `like`, or "gpt2"  */

    /* The alphabet: all 256 bytes, or only those that occur; at most limit_alphabet of them (0: no
     * limit), the most frequent, among equals the smaller mapped character. Bytes that are not in
     * it are left out of words, so that their neighbours become neighbours of each other (HF). */
    bool seen_alphabet;
    uint32_t limit_alphabet;
    /* Bytes get their ids by value, not by mapped character: among equal counts the smaller pair
     * of ids wins, as rustbpe has it. */
    bool byte_order;
    /* The other settings, the flags of its specials, and behind the last id, which `vocab` does not
     * count, its added tokens that are not special, as AutoTokenizer's train_new_from_iterator()
     * keeps them; or NULL: GPT-2's. */
    const struct tokenizer *like;
    /* Goes on from this vocabulary (extend.c): its ids, merges, specials and settings stay; then
     * come the specials, then the new merges. Takes the place of `like`, `pattern`, `byte_order`
     * and the alphabet; or NULL. */
    const struct tokenizer *extend;
};

struct bpe_train_result {
    uint64_t merges;     /* learned                                             */
    uint64_t last_count; /* occurrences of the last merged pair; 0 if none      */
    bool ran_out;        /* no pair was left before `vocab` was reached         */
};

/* Learns the merges. Uses up `words` (its memory becomes the trainer's; only words_free() may
 * follow). *ret is owned by the caller: tokenizer_free(). ret_result may be NULL. */
int bpe_train(struct tokenizer **ret, struct words *words, const struct bpe_train_opts *opts,
              struct pool *pool, const struct log *log, struct bpe_train_result *ret_result,
              struct err *err);

/* Several vocabularies of one run, for rising sizes[0..n), n > 0; ret and ret_result (or NULL) have
 * n places. Each is what bpe_train() gives for its size: a vocabulary is the beginning of every
 * larger one. opts->vocab does not count. */
int bpe_train_nested(struct tokenizer **ret, const uint32_t *sizes, size_t n, struct words *words,
                     const struct bpe_train_opts *opts, struct pool *pool, const struct log *log,
                     struct bpe_train_result *ret_result, struct err *err);

/* The same by the textbook: recount everything, take the best pair, rewrite every word. Quadratic,
 * short, and what bpe_train() is compared with. Leaves `words` as it is. */
int bpe_train_ref(struct tokenizer **ret, const struct words *words,
                  const struct bpe_train_opts *opts, struct err *err);

#endif
