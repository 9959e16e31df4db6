/* Whether shards suit a model: see same_tokens.h. Another tokenizer of the same size would go
 * unnoticed otherwise: its ids are in range, and the weights are taught another language. */
#include "tools/same_tokens.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "tokenizer/tokenizer.h"

char *shards_tokenizer(const char *shards) {
    char *dir = file_kind(shards) == FILE_FOLDER ? strdup(shards) : path_dir(shards);
    char *beside = dir ? path_join(dir, "tokenizer") : NULL;
    free(dir);
    return beside;
}

static int refuse(const char *model_dir, const char *tokenizer_dir, uint32_t id,
                  const struct tokenizer *a, const struct tokenizer *b, struct err *err) {
    struct buf text[2] = {{0}, {0}};
    const struct tokenizer *t[2] = {a, b};
    const char *quoted[2];
    for (int i = 0; i < 2; i++) {
        size_t n;
        const uint8_t *bytes = tokenizer_bytes(t[i], id, &n);
        json_quote(&text[i], (const char *)bytes, n, NULL);
        quoted[i] = buf_cstr(&text[i]);
    }
    err_set(err, ERR_USAGE, "token %" PRIu32 " is %s for %s, but %s for %s", id,
            quoted[0] ? quoted[0] : "?", model_dir, quoted[1] ? quoted[1] : "?", tokenizer_dir);
    buf_release(&text[0]);
    buf_release(&text[1]);
    return err_hint(err, "encode the texts with shard -t %s", model_dir);
}

static int compare(const char *model_dir, const char *tokenizer_dir, const struct tokenizer *a,
                   const struct tokenizer *b, struct err *err) {
    for (uint32_t id = 0; id < tokenizer_size(a) && id < tokenizer_size(b); id++) {
        size_t n, m;
        const uint8_t *x = tokenizer_bytes(a, id, &n), *y = tokenizer_bytes(b, id, &m);
        if (n && m && (n != m || memcmp(x, y, n)))
            return refuse(model_dir, tokenizer_dir, id, a, b, err);
    }
    return 0;
}

static bool holds_one(const char *dir) {
    char *path = path_join(dir, "tokenizer.json");
    bool is = path && file_kind(path) == FILE_REGULAR;
    free(path);
    return is;
}

/* The usual case: the shards were encoded with the model's own files, which lie beside them as they
 * were found. To read two vocabularies takes a hundred times as long as to compare their files. */
static bool same_file(const char *a_dir, const char *b_dir) {
    char *a = path_join(a_dir, "tokenizer.json"), *b = path_join(b_dir, "tokenizer.json");
    struct mapping x = {0}, y = {0};
    bool same = a && b && mapping_open(&x, a, NULL) == 0 && mapping_open(&y, b, NULL) == 0 &&
                x.bytes && x.bytes == y.bytes && !memcmp(x.v, y.v, x.bytes);
    mapping_close(&x);
    mapping_close(&y);
    free(a);
    free(b);
    return same;
}

int same_tokens(const char *model_dir, const char *tokenizer_dir, struct err *err) {
    struct tokenizer *a = NULL, *b = NULL;
    if (!strcmp(model_dir, tokenizer_dir)) return 0;
    if (!holds_one(model_dir) || !holds_one(tokenizer_dir)) return 0;
    if (same_file(model_dir, tokenizer_dir)) return 0;
    int rc = tokenizer_open(&a, model_dir, NULL, err);
    if (rc == 0) rc = tokenizer_open(&b, tokenizer_dir, NULL, err);
    if (rc == 0) rc = compare(model_dir, tokenizer_dir, a, b, err);
    tokenizer_free(a);
    tokenizer_free(b);
    return rc;
}

int fits_positions(uint64_t T, bool given, int positions, const char *model_dir, struct err *err) {
    if (T <= (uint64_t)positions) return 0;
    err_set(err, ERR_USAGE, "%s %" PRIu64 " is more than the %d positions of %s",
            given ? "--seq-len" : "the shards' sequence length", T, positions, model_dir);
    return err_hint(err, "--seq-len %d is the most", positions);
}
