/* The named patterns as they are written: at each place the alternatives are tried in order, the
 * first that matches is the piece. Slow (a text becomes an array of characters first) and easy to
 * compare with the expressions, which stand above each list. The fast scanners are tested against
 * this. */
#include <stdlib.h>
#include "tokenizer/scan.h"

/* text "é 1" ─▶ cls: L|LOWER, S, N, 0;  at: 0, 2, 3, 4 */
struct chars {
    uint8_t *cls; /* (n + 1) class bits, 0 behind the end */
    uint32_t *at; /* (n + 1) byte offsets                 */
    size_t n;
    const uint8_t *text;
    const struct scan_form *form;
};

/* End of the match at i, or i if there is none. */
typedef size_t (*alternative)(const struct chars *c, size_t i);

static size_t run(const struct chars *c, size_t i, unsigned mask) {
    while (i < c->n && c->cls[i] & mask) i++;
    return i;
}

static bool is_byte(const struct chars *c, size_t i, char byte) {
    return i < c->n && c->text[c->at[i]] == (uint8_t)byte;
}

static bool is_symbol(const struct chars *c, size_t i) { /* [^\s\p{L}\p{N}] */
    return i < c->n && !(c->cls[i] & (SCAN_S | SCAN_L | SCAN_N));
}

static bool is_lead(const struct chars *c, size_t i) { /* [^\r\n\p{L}\p{N}] */
    return i < c->n && !(c->cls[i] & (SCAN_NL | SCAN_L | SCAN_N));
}

static size_t contraction(const struct chars *c, size_t i, bool fold) {
    if (i >= c->n) return i;
    size_t len = scan_contraction(c->text + c->at[i], c->text + c->at[c->n], fold), j = i;
    while (c->at[j] < c->at[i] + len) j++;
    return j;
}

static size_t contraction_cased(const struct chars *c, size_t i) {
    return contraction(c, i, false);
}
static size_t contraction_folded(const struct chars *c, size_t i) {
    return contraction(c, i, true);
}

static size_t spaced_run(const struct chars *c, size_t i, unsigned mask) { /* " ?CLASS+" */
    size_t from = i + is_byte(c, i, ' '), end = run(c, from, mask);
    return end > from ? end : i;
}

static size_t spaced_letters(const struct chars *c, size_t i) {
    return spaced_run(c, i, SCAN_L);
}
static size_t spaced_numbers(const struct chars *c, size_t i) {
    return spaced_run(c, i, SCAN_N);
}

static size_t spaced_symbols(const struct chars *c, size_t i) { /* " ?[^\s\p{L}\p{N}]+" */
    size_t from = i + is_byte(c, i, ' '), end = from;
    while (is_symbol(c, end)) end++;
    return end > from ? end : i;
}

static size_t symbols_newlines(const struct chars *c, size_t i) { /* the same and [\r\n]* */
    size_t end = spaced_symbols(c, i);
    return end > i ? run(c, end, SCAN_NL) : i;
}

static size_t symbols_newlines_slash(const struct chars *c, size_t i) { /* the same and [\r\n/]* */
    size_t end = spaced_symbols(c, i);
    while (end > i && end < c->n && (c->cls[end] & SCAN_NL || is_byte(c, end, '/'))) end++;
    return end;
}

static size_t lead_letters(const struct chars *c, size_t i) { /* "[^\r\n\p{L}\p{N}]?\p{L}+" */
    size_t from = i + is_lead(c, i), end = run(c, from, SCAN_L);
    return end > from ? end : i;
}

static size_t numbers(const struct chars *c, size_t i) { /* "\p{N}{1,digits}" */
    size_t end = run(c, i, SCAN_N);
    return end - i > c->form->digits ? i + c->form->digits : end;
}

static size_t space_to_end(const struct chars *c, size_t i) { /* "\s++$" */
    return c->form->end_run && run(c, i, SCAN_S) == c->n ? c->n : i;
}

static size_t space_newline(const struct chars *c, size_t i) { /* "\s*[\r\n]+" */
    size_t end = run(c, i, SCAN_S);
    while (end > i && !(c->cls[end - 1] & SCAN_NL)) end--;
    return end;
}

static size_t space_before_space(const struct chars *c, size_t i) { /* "\s+(?!\S)" */
    size_t end = run(c, i, SCAN_S);
    return end == c->n || end == i ? end : end - 1;
}

static size_t space(const struct chars *c, size_t i) {
    return run(c, i, SCAN_S);
} /* "\s+" */

/* "[upper]*[lower]+" from `i`: the greedy run of upper gives back what lower needs. */
static size_t upper_then_lower(const struct chars *c, size_t i) {
    size_t upper = run(c, i, SCAN_UPPER);
    for (size_t from = upper + 1; from-- > i;) {
        size_t end = run(c, from, SCAN_LOWER);
        if (end > from) return end;
    }
    return i;
}

static size_t upper_some(const struct chars *c, size_t i) { /* "[upper]+[lower]*" */
    size_t upper = run(c, i, SCAN_UPPER);
    return upper > i ? run(c, upper, SCAN_LOWER) : i;
}

/* "[^\r\n\p{L}\p{N}]?WORD(?i:'s|…)?": with the lead if WORD follows it, else without. */
static size_t lead_word(const struct chars *c, size_t i, alternative word) {
    for (size_t lead = is_lead(c, i) + 1u; lead-- > 0;) {
        size_t end = word(c, i + lead);
        if (end > i + lead) return contraction(c, end, true);
    }
    return i;
}

static size_t lead_upper_lower(const struct chars *c, size_t i) {
    return lead_word(c, i, upper_then_lower);
}
static size_t lead_upper(const struct chars *c, size_t i) {
    return lead_word(c, i, upper_some);
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static const alternative gpt2[] = {contraction_cased,
                                   spaced_letters,
                                   spaced_numbers,
                                   spaced_symbols,
                                   space_before_space,
                                   space,
                                   NULL};

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
 * \s*[\r\n]+|\s+(?!\S)|\s+ */
static const alternative cl100k[] = {contraction_folded, lead_letters, numbers,
                                     symbols_newlines,   space_to_end, space_newline,
                                     space_before_space, space,        NULL};

/* LEAD?UPPER*LOWER+('s…)?|LEAD?UPPER+LOWER*('s…)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|
 * \s+(?!\S)|\s+ */
static const alternative o200k[] = {lead_upper_lower,       lead_upper,   numbers,
                                    symbols_newlines_slash, space_to_end, space_newline,
                                    space_before_space,     space,        NULL};

static int cut(const struct chars *c, struct u32s *out, struct err *err) {
    const alternative *list = c->form->kind == SCAN_GPT2     ? gpt2
                              : c->form->kind == SCAN_CL100K ? cl100k
                                                             : o200k;
    for (size_t i = 0; i < c->n;) {
        size_t end = i;
        for (const alternative *a = list; *a && end == i; a++) end = (*a)(c, i);
        i = end > i ? end : i + 1; /* the lists match every character; never stand still */
        int rc = u32s_push(out, c->at[i], err);
        if (rc < 0) return rc;
    }
    return 0;
}

int scan_plain(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
               struct err *err) {
    struct chars c = {
        .cls = mem_array(n + 1, 1), .at = mem_array(n + 1, 4), .text = text, .form = f};
    int rc = c.cls && c.at ? 0 : err_nomem(err, 5 * n);
    for (size_t p = 0, len; rc == 0 && p < n; p += len) {
        c.cls[c.n] = (uint8_t)scan_class(text + p, text + n, &len);
        c.at[c.n++] = (uint32_t)p;
    }
    if (rc == 0) {
        c.at[c.n] = (uint32_t)n;
        rc = cut(&c, out, err);
    }
    free(c.cls);
    free(c.at);
    return rc;
}
