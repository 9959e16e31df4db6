/* What the scanners share (inside tokenizer/ only): the kinds of patterns, and characters in the
 * terms in which the patterns speak.
 *
 * For each named pattern there are two functions that must agree on every byte string:
 *   scan_NAME         fast, by hand
 *   scan_NAME_plain   the alternatives of the expression, one function each (scan_plain.c) */
#ifndef LORY_TOKENIZER_SCAN_H
#define LORY_TOKENIZER_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/buf.h"
#include "base/err.h"
#include "tokenizer/unicode.h"

enum scan_kind { SCAN_GPT2, SCAN_CL100K, SCAN_O200K, SCAN_NUMBERS, SCAN_REGEX };

/* Which spelling of the pattern. The published ones differ in two points only. */
struct scan_form {
    enum scan_kind kind;
    uint32_t digits; /* \p{N}{1,digits}                                                       */
    bool end_run;    /* `\s++$` comes before `\s*[\r\n]`: white space up to the end is one piece */
};

struct scanner;
/* One step of its pattern alone: the spelling; the ends of the pieces of text[0..n), appended; and,
 * of an expression, what matches it. */
const struct scan_form *scanner_form(const struct scanner *s, size_t step);
int scanner_step(struct scanner *s, size_t step, const uint8_t *text, size_t n, struct u32s *out,
                 struct err *err);
struct scan_matcher *scanner_matcher(const struct scanner *s, size_t step);

/* Appends the ends of the pieces of text[0..n) to `out`. Only memory can fail. */
typedef int (*scan_fn)(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
                       struct err *err);
int scan_gpt2(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
              struct err *err);
int scan_cl100k(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
                struct err *err);
int scan_o200k(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
               struct err *err);
int scan_plain(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
               struct err *err); /* any kind but the last two */
/* \p{N}{1,digits}, and what is between them (scan_numbers.c); its plain twin is PCRE2. */
int scan_numbers(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
                 struct err *err);

/* cl100k's and o200k's kinds by runs, any bytes: appends the ends of pieces from text[*at] on,
 * where one begins, until one ends at or behind `to`; *at is then that end (scan_runs.c). What
 * scan_bits.c falls back on. */
int scan_runs(const struct scan_form *f, const uint8_t *text, size_t n, size_t *at, size_t to,
              struct u32s *out, struct err *err);

/* Any other expression, compiled by PCRE2 after its classes were written out (scan_pcre.c). */
struct scan_pcre;    /* the compiled expression; shared */
struct scan_matcher; /* one per thread */
int scan_pcre_new(struct scan_pcre **ret, const char *regex, struct err *err);
/* Whether it can match the empty string. */
bool scan_pcre_may_be_empty(const struct scan_pcre *p);
/* Length of the \p{…} at p, if it names a set of characters that we know, else 0. */
size_t scan_pcre_property(const char *p);
void scan_pcre_free(struct scan_pcre *p);
int scan_matcher_new(struct scan_matcher **ret, const struct scan_pcre *p, struct err *err);
void scan_matcher_free(struct scan_matcher *m);
int scan_matcher_cut(struct scan_matcher *m, const uint8_t *text, size_t n, struct u32s *out,
                     struct err *err);
/* The same of text[from..n), which text may follow unless it is the last; what is before `from` is
 * looked at only. The ends that are certain, and in *ret how much of what is behind the last of
 * them is surely between two matches. `goes`: so was what ended at `from`. */
int scan_matcher_cut_part(struct scan_matcher *m, const uint8_t *text, size_t n, size_t from,
                          bool goes, bool last, struct u32s *out, size_t *ret, struct err *err);
/* How many bytes before a place a match there may look at, and one character at least. */
size_t scan_matcher_behind(const struct scan_matcher *m);

/* Classes of a character, as bits. Other characters, and bytes that are none, have no bit. */
enum {
    SCAN_L = 1,      /* \p{L}                              */
    SCAN_N = 2,      /* \p{N}                              */
    SCAN_S = 4,      /* \s                                 */
    SCAN_NL = 8,     /* CR, LF (SCAN_S too)                */
    SCAN_UPPER = 16, /* o200k's [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] */
    SCAN_LOWER = 32  /* o200k's [\p{Ll}\p{Lm}\p{Lo}\p{M}]       */
};

extern const uint8_t scan_ascii[128]; /* class bits of ASCII */

extern const uint8_t scan_cat_class[CAT_COUNT]; /* class bits of general categories */

/* Class of the character at p < end, and its length in bytes. */
static inline unsigned scan_class(const uint8_t *p, const uint8_t *end, size_t *len) {
    if (*p < 0x80) {
        *len = 1;
        return scan_ascii[*p];
    }
    uint32_t cp;
    *len = unicode_decode(p, end, &cp);
    return scan_cat_class[unicode_cat(cp)];
}

/* Is the character at p, with four bytes to be read, one of these letters of Asia (\p{Lo}, or
 * \p{Lm}), each of three bytes: U+3041-3096, U+30A1-30FA, U+30FC-30FF, U+4E00-9FFF, U+AC00-D7A3?
 * All are both upper and lower. Numbers with the first byte highest have the order of code
 * points. */
static inline bool scan_asian(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
    if ((x & 0xc0c0f0) != 0x8080e0) return false;
    x = __builtin_bswap32(x) >> 8;
    return (x - 0xe4b880 <= 0xe9bfbf - 0xe4b880) | (x - 0xe38181 <= 0xe38296 - 0xe38181) |
           (x - 0xe382a1 <= 0xe383ba - 0xe382a1) | (x - 0xe383bc <= 0xe383bf - 0xe383bc) |
           (x - 0xeab080 <= 0xed9ea3 - 0xeab080);
}

/* How many of four characters of two bytes each, the first byte of x the lowest, are U+first to
 * U+last, up to the first that is not one; `first` and `last` from 0x80 to 0x7ff. */
static inline size_t scan_two_bytes(uint64_t x, uint64_t first, uint64_t last) {
    const uint64_t each = 0x0001000100010001, top = each << 15;
    uint64_t lead = x & each * 0x1f, behind = x >> 8 & each * 0x3f, u = lead << 6 | behind;
    uint64_t odd = (x & each * 0xc0e0) ^ each * 0x80c0; /* is no such character */
    odd |= (odd & ~top) + each * 0x7fff;
    uint64_t in = (u + each * (0x8000 - first)) & ~(u + each * (0x7fff - last)) & ~odd & top;
    return in == top ? 4 : (size_t)__builtin_ctzll(in ^ top) / 16;
}

/* Do all named patterns cut between the bytes a and b, whatever stands around, and what is on
 * either side as if it were alone? So they do
 *
 *   between a letter and what is neither a letter nor an apostrophe,
 *   between a digit and what is none,
 *   between a symbol and a digit, or white space but CR and LF,
 *
 * all of them ASCII. For
 *   - no alternative goes on behind a letter but with letters, marks, which are not ASCII, or with
 *     an apostrophe; nor behind a number but with numbers; nor behind symbols but with letters,
 *     symbols, CR and LF;
 *   - none looks back, and only those of white space look ahead, which does not end what is before.
 * scan_sure_bits() says the same of masks. */
static inline bool scan_sure(uint8_t a, uint8_t b) {
    if ((a | b) & 0x80) return false;
    unsigned x = scan_ascii[a], y = scan_ascii[b];
    if (x & SCAN_L) return !(y & SCAN_L) && b != '\'';
    if (x & SCAN_N) return !(y & SCAN_N);
    return !(x & SCAN_S) && (y & SCAN_N || (y & (SCAN_S | SCAN_NL)) == SCAN_S);
}

/* The last such place in text(from..to]; `from` if there is none. text[to] can be read. */
static inline size_t scan_sure_end(const uint8_t *text, size_t from, size_t to) {
    while (to > from && !scan_sure(text[to - 1], text[to])) to--;
    return to;
}

/* Length of 's 't 're 've 'm 'll 'd at p, else 0. `fold`: (?i:…), where the long s (U+017F) is an
 * s. */
static inline size_t scan_contraction(const uint8_t *p, const uint8_t *end, bool fold) {
    if (end - p < 2 || p[0] != '\'') return 0;
    uint8_t bit = fold ? 0x20 : 0, a = p[1] | bit;
    if (a >= 0x80) return fold && end - p >= 3 && p[1] == 0xc5 && p[2] == 0xbf ? 3 : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (end - p < 3) return 0;
    uint8_t b = p[2] | bit;
    return (b == 'e' && (a == 'r' || a == 'v')) || (a == 'l' && b == 'l') ? 3 : 0;
}

#endif
