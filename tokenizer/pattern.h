/* Cutting text into pieces before BPE: the regular expressions of GPT-2, cl100k, o200k … by hand,
 * any other through PCRE2 with its classes expanded from our Unicode tables.
 *
 *   "I'm 42 years"  ──▶  "I" "'m" " 42" " years"       ends: 1 3 6 12
 *
 * Pieces follow one another without gaps for the named patterns. A pattern is read-only and shared;
 * a scanner belongs to one thread. Invalid UTF-8: each bad byte is a character that is neither a
 * letter, nor a number, nor white space. */
#ifndef LORY_TOKENIZER_PATTERN_H
#define LORY_TOKENIZER_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

struct pattern;
struct scanner;

/* `name`: "gpt2", "cl100k", "o200k", "llama3", "qwen2", "qwen3.5", "starcoder", or a regular
 * expression. A published expression of a named pattern (HF's or tiktoken's spelling) is recognised
 * and gets the hand-written scanner, if there is one. Several, a line each, are steps (HF: a
 * Sequence of Splits): each cuts the pieces that the one before left, as if each were a text of its
 * own; "starcoder" is "\p{N}" and "gpt2". ERR_USAGE, with the position: an expression does not
 * compile, is not pattern_portable(), or can match nothing at all. */
int pattern_open(struct pattern **ret, const char *name, struct err *err);
void pattern_free(struct pattern *p);
/* ERR_USAGE, with the nearest name, where what somebody typed looks like the name of a pattern and
 * is none ("gpt-2"): as an expression it would find that text alone, and cut nothing else. */
int pattern_check_names(const char *given, struct err *err);
/* Whether an expression means the same to HF tokenizers, to tiktoken and here; else ERR_USAGE names
 * the first thing that does not, with its position (pattern_dialect.c). \w is HF's. */
int pattern_portable(const char *regex, struct err *err);
/* The line that *at begins with, a step, its length, and *at at the next; NULL behind the last. */
const char *pattern_line(const char **at, size_t *ret_n);
/* Appends an expression of tokenizer.json as HF reads it in the terms that all share: ^ and $, of
 * lines there, become look-around, a newline \n. */
int pattern_of_hf(struct buf *out, const char *regex, struct err *err);
/* Appends an expression that matches `text` and nothing else. */
int pattern_of_text(struct buf *out, const char *text, struct err *err);
/* The name, or the expressions, a line each. Borrowed. */
const char *pattern_name(const struct pattern *p);
size_t pattern_steps(const struct pattern *p); /* 1, or how many lines */
/* A step's expression as HF's tokenizer.json spells it; NULL for "gpt2" as the last one, which HF
 * calls ByteLevel(use_regex). */
const char *pattern_regex(const struct pattern *p, size_t step);

/* Whether every character is a part of a match: of the named patterns, each alone. */
bool pattern_covers(const struct pattern *p);
/* False for a user's expression, which may look anywhere in the text. */
bool pattern_known(const struct pattern *p);

int scanner_new(struct scanner **ret, const struct pattern *p, struct err *err);
void scanner_free(struct scanner *s);
/* Sets out->n to 0 and appends the end offset of every piece of text[0..n), in order; the last is
 * n. n < 4 GiB. ERR_DATA: a user's expression ran into PCRE2's limits, with the byte position. */
int scanner_cut(struct scanner *s, const char *text, size_t n, struct u32s *out, struct err *err);

#endif
