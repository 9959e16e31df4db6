/* What a vocabulary makes of program text in general: keywords, operators, indentation. */
#include <string.h>
#include "tokenizer/fertility.h"

/* Python's, of its reference's section 2.3.1. */
static const char *const keywords[] = {
    "False", "None",     "True",  "and",    "as",   "assert", "async",  "await",    "break",
    "class", "continue", "def",   "del",    "elif", "else",   "except", "finally",  "for",
    "from",  "global",   "if",    "import", "in",   "is",     "lambda", "nonlocal", "not",
    "or",    "pass",     "raise", "return", "try",  "while",  "with",   "yield"};
static const char *const operators[] = {"==", "!=", "<=", ">=", "->", ":=",  "+=", "-=", "*=",
                                        "/=", "//", "**", "<<", ">>", "():", "[]", "{}", "'''"};

static int tokens_of(struct encoder *e, const char *s, size_t n, size_t *ret, struct err *err) {
    struct u32s ids = {0};
    int rc = encode(e, s, n, TOKENIZER_SPECIAL_NONE, &ids, err);
    *ret = ids.n;
    u32s_release(&ids);
    return rc;
}

int fertility_code(struct encoder *e, struct fertility_code *ret, struct err *err) {
    size_t n, bare;
    int rc = 0;
    *ret = (struct fertility_code){.keywords = sizeof keywords / sizeof *keywords,
                                   .operators = sizeof operators / sizeof *operators};
    for (size_t i = 0; i < ret->keywords && rc >= 0; i++) {
        char blank[16] = " ";
        size_t len = strlen(keywords[i]);
        memcpy(blank + 1, keywords[i], len + 1);
        rc = tokens_of(e, blank + 1, len, &n, err);
        ret->whole_keywords += n == 1;
        if (rc >= 0) rc = tokens_of(e, blank, len + 1, &n, err);
        ret->whole_keywords_blank += n == 1;
    }
    for (size_t i = 0; i < ret->operators && rc >= 0; i++) {
        rc = tokens_of(e, operators[i], strlen(operators[i]), &n, err);
        ret->whole_operators += n == 1;
    }
    if (rc >= 0) rc = tokens_of(e, "x\nx", 3, &bare, err);
    for (uint32_t i = 0; i < FERTILITY_INDENTS && rc >= 0; i++) {
        char line[FERTILITY_INDENTS + 4] = "x\n";
        memset(line + 2, ' ', i + 1);
        line[i + 3] = 'x';
        rc = tokens_of(e, line, i + 4, &n, err);
        ret->indent[i] = n > bare ? (uint32_t)(n - bare) : 0;
    }
    return rc;
}
