/* What the two halves of fertility share: counting (fertility.c) and showing (fertility_show.c). */
#ifndef LORY_TOOLS_FERTILITY_PARTS_H
#define LORY_TOOLS_FERTILITY_PARTS_H

#include "stream/source.h"
#include "tokenizer/fertility.h"
#include "tools/common.h"

struct part { /* of one file */
    uint64_t documents, bytes, tokens, words, word_tokens;
};

struct one { /* vocabulary */
    const char *name;
    struct tokenizer *t;
    struct encoder *encoder;
    struct fertility sum;
    struct part *parts; /* (files) */
    struct fertility_code code;
    struct u32s unreachable;
    char digest[SHA256_HEX];
};

struct results {
    const struct one *v; /* (n) */
    size_t n;
    const struct source_list *files;
    const struct strs *samples; /* beginnings of the first documents */
    size_t show;                /* words and tokens in lists         */
};

int show_json(struct tool *t, const struct results *r);
int show_table(struct tool *t, const struct results *r);
int show_html(const char *path, const struct results *r, struct err *err);

#endif
