/* How well a vocabulary fits a text: counts, always with numerator and denominator.
 *
 *   word:       a maximal run of characters that are not white space, with the one space before
 *               it if there is one (so that GPT-2's " word" tokens count as what they are)
 *   fertility:  tokens of words / words           continued: words of two tokens or more / words
 *
 * The text is encoded as a whole; a token belongs to the first word that it shares a byte with,
 * so what is counted are the tokens a model will see. Text between words (newlines, indentation)
 * counts in tokens and bytes, not in words. Sums are whole numbers: they do not depend on the order
 * of documents or on threads. */
#ifndef LORY_TOKENIZER_FERTILITY_H
#define LORY_TOKENIZER_FERTILITY_H

#include "tokenizer/tokenizer.h"

enum {
    FERTILITY_LENGTHS = 17,  /* words by their tokens: 0 … 15, and 16 or more */
    FERTILITY_WORD_MAX = 64, /* bytes; longer words are not told apart        */
    FERTILITY_RATE_BITS = 20
};

struct fertility_words; /* the distinct words; fertility_words.c */

struct fertility {
    uint64_t documents, bytes, chars, lines; /* of the text                                     */
    uint64_t tokens;                         /* of the text, specials' text as ordinary text    */
    uint64_t words, word_tokens;             /* fertility = word_tokens / words                 */
    uint64_t continued;                      /* words of two tokens or more                     */
    uint64_t byte_tokens;                    /* tokens of a single byte                         */
    uint64_t lossless;                       /* documents that decode to the same bytes         */
    uint64_t rated, rate_sum; /* documents with words; the sum of each one's own fertility, in
                               * units of 2^-20: their mean gives every document the same weight */
    uint64_t by_length[FERTILITY_LENGTHS]; /* words by their number of tokens           */
    uint64_t *used;                        /* (tokenizer_size) how often each id occurred     */
    uint32_t n_used;                       /* length of `used`                                */
    struct fertility_words *seen;          /* NULL unless fertility_keep_words() was called   */
    const struct tokenizer *t;
    struct u32s ids; /* scratch */
    struct buf text; /* scratch */
};

int fertility_init(struct fertility *f, const struct tokenizer *t, struct err *err);
/* From now on also keeps the distinct words (about 30 MB; of more than 262,144 a sample). */
int fertility_keep_words(struct fertility *f, struct err *err);
/* Counts one document. One fertility per thread; add them up with fertility_add(). `e` is an
 * encoder of the same tokenizer. */
int fertility_count(struct fertility *f, struct encoder *e, const char *text, size_t n,
                    struct err *err);
/* The same in parts, none of which follows or is followed (struct text_part): what the parts have
 * in sum is counted with each, by any thread; what there is once a document is gathered in order,
 * and counted by fertility_end(). Zero is a document of which nothing was seen. */
struct fertility_document {
    uint64_t words, word_tokens;
    bool lossy;
};
int fertility_count_part(struct fertility *f, struct encoder *e, const struct text_part *part,
                         bool is_last, struct fertility_document *d, struct err *err);
void fertility_end(struct fertility *f, const struct fertility_document *d);
int fertility_add(struct fertility *to, const struct fertility *from, struct err *err);
/* Ids that occurred at least once. */
uint32_t fertility_distinct(const struct fertility *f);
/* Tokens whose bytes alone are no UTF-8. */
uint64_t fertility_not_utf8(const struct fertility *f);
/* Rényi entropy of the ids' frequencies in bits; alpha 1: Shannon's. 0 for no tokens. */
double fertility_entropy(const struct fertility *f, double alpha);
/* Ids that merging their own bytes does not give. Specials do not count. */
int fertility_unreachable(const struct tokenizer *t, struct encoder *e, struct u32s *out,
                          struct err *err);
void fertility_release(struct fertility *f);

/* Tokens of program text, without any text to count: how many of Python's keywords (alone, and with
 * a blank before) and of common operators are one token; what 1 … 32 blanks at the beginning of a
 * line add. */
enum { FERTILITY_INDENTS = 32 };
struct fertility_code {
    uint32_t keywords, whole_keywords, whole_keywords_blank;
    uint32_t operators, whole_operators;
    uint32_t indent[FERTILITY_INDENTS];
};
int fertility_code(struct encoder *e, struct fertility_code *ret, struct err *err);

/* ------------------------------------------------------------------ distinct words */

struct fertility_word {
    const char *text; /* borrowed */
    size_t n;
    uint64_t count, tokens;
};

int fertility_words_new(struct fertility_words **ret, struct err *err);
void fertility_words_free(struct fertility_words *w); /* NULL is fine */
int fertility_words_add(struct fertility_words *w, const char *s, size_t n, uint64_t tokens,
                        struct err *err);
int fertility_words_join(struct fertility_words *to, const struct fertility_words *from,
                         struct err *err);
/* Distinct words kept, those that took one token wherever they stood, and what share of all
 * distinct words is kept: one in so many. */
void fertility_words_count(const struct fertility_words *w, uint64_t *distinct, uint64_t *single,
                           uint64_t *one_in);
/* The words with the most tokens beyond one an occurrence, the most costly first; how many. */
size_t fertility_words_costly(const struct fertility_words *w, struct fertility_word *v,
                              size_t most);

#endif
