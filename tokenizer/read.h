/* What the readers of tokenizer.json and of vocab.json + merges.txt share. */
#ifndef LORY_TOKENIZER_READ_H
#define LORY_TOKENIZER_READ_H

#include "base/json.h"
#include "tokenizer/json_pull.h"
#include "tokenizer/vocab.h"

#define READ_MAX_FILE (UINT64_C(1) << 30)

struct slice {
    const char *v; /* NULL: absent */
    size_t n;
};

struct merge_list {
    struct merge *v;
    size_t n, cap;
};

struct reading {
    struct tokenizer *t;
    const char *path;
    struct buf file;
    struct pull pull;  /* over the whole file; its place moves between the slices */
    struct finder raw; /* tokens outside the byte alphabet, by their text         */
    struct buf key;    /* scratch                                                 */
    struct special *specials;
    uint32_t n_specials;
    char **foreign; /* added tokens whose text the byte map takes for other bytes, sorted */
    size_t n_foreign;
    cJSON *added, *normalizer, *pre, *post, *decoder; /* NULL: null or absent */
    struct err *err;
};

/* Whether bytes are UTF-8. */
bool read_is_text(const uint8_t *p, size_t n);
/* ERR_CORRUPT "path: what". */
int read_refuse(struct reading *r, const char *what);
/* The object "token": id, … into r->t, tokens outside the byte alphabet and r->foreign also into
 * r->raw, which has room for r->n_specials more. */
int read_vocab(struct reading *r, struct slice s);
/* One more token at the end, a special. */
int read_append(struct reading *r, const char *text);
/* The array of pairs (or of "a b") as merges of r->t. */
int read_merges(struct reading *r, struct slice s);
/* The lines of merges.txt; `path` is its name for messages. */
int read_merge_lines(struct reading *r, const char *text, size_t n, const char *path);
/* Frees what the reading holds besides the tokenizer and the trees. */
void read_release(struct reading *r);

#endif
