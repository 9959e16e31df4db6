/* How well a vocabulary fits a text: counts, always with numerator and denominator.
 *
 *   word:       a maximal run of characters that are not white space, with the one space before
 *               it if there is one (so that GPT-2's " word" tokens count as what they are)
 *   fertility:  tokens of words / words           continued: words of two tokens or more / words
 *
 * The text is encoded as a whole; a token belongs to the first word that it shares a byte with,
 * so what is counted are the tokens a model will see. Text between words (newlines, indentation)
 * counts in tokens and bytes, not in words. */
#ifndef LORY_TOKENIZER_FERTILITY_H
#define LORY_TOKENIZER_FERTILITY_H

#include "tokenizer/tokenizer.h"

struct fertility {
    uint64_t documents, bytes, chars, lines; /* of the text                                     */
    uint64_t tokens;                         /* of the text, specials' text as ordinary text    */
    uint64_t words, word_tokens;             /* fertility = word_tokens / words                 */
    uint64_t continued;                      /* words of two tokens or more                     */
    uint64_t byte_tokens;                    /* tokens of a single byte                         */
    uint64_t *used;                          /* (tokenizer_size) how often each id occurred     */
    uint32_t n_used;                         /* length of `used`                                */
    const struct tokenizer *t;
    struct u32s ids; /* scratch */
};

int fertility_init(struct fertility *f, const struct tokenizer *t, struct err *err);
/* Counts one document. One fertility per thread; add them up with fertility_add(). `e` is an
 * encoder of the same tokenizer. */
int fertility_count(struct fertility *f, struct encoder *e, const char *text, size_t n,
                    struct err *err);
void fertility_add(struct fertility *to, const struct fertility *from);
/* Ids that occurred at least once. */
uint32_t fertility_distinct(const struct fertility *f);
void fertility_release(struct fertility *f);

#endif
