/* What the files of fertility share: counting (fertility.c), what is worked out from it
 * (fertility_ratios.c), and showing it in the terminal (fertility_show.c) and as a page
 * (fertility_html.c). */
#ifndef LORY_TOOLS_FERTILITY_PARTS_H
#define LORY_TOOLS_FERTILITY_PARTS_H

#include "report/table.h"
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

double ratio(uint64_t a, uint64_t b); /* 0 for b == 0 */
/* Mean over documents of each one's own tokens/word. */
double ratio_of_documents(const struct fertility *f);
/* Rényi's entropy of the ids over the largest possible one, that of V equally frequent ids. 1:
 * Shannon's; else as in Zouhar et al. 2023, who take 2.5. */
#define RENYI_ALPHA 2.5
double ratio_of_entropy(const struct one *v, double alpha);
/* Gini's coefficient of the files' tokens per byte: 0 when all cost the same. NAN: no file. */
double ratio_gini(const struct one *v, size_t files);

/* A row for each vocabulary, and the size of the text in a line of words. */
int results_table(struct table **ret, const struct results *r, struct err *err);
int results_totals(const struct fertility *f, struct buf *out, struct err *err);

int show_json(struct tool *t, const struct results *r);
int show_table(struct tool *t, const struct results *r);
int show_html(const char *path, const struct results *r, struct err *err);

#endif
