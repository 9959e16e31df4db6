/* Which file a path means. A folder is tokenizer.json, else vocab.json + merges.txt, else its only
 * .tiktoken; a file is judged by its name, then by its first byte. */
#include <stdlib.h>
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "tokenizer/vocab.h"

/* `name` in the folder of `path`, or in `path` if that is a folder; *ret NULL: it is not there. */
static int beside(char **ret, const char *path, const char *name, struct err *err) {
    char *dir = file_kind(path) == FILE_FOLDER ? strdup(path) : path_dir(path);
    char *full = dir ? path_join(dir, name) : NULL;
    free(dir);
    *ret = NULL;
    if (!full) return err_nomem(err, strlen(path) + strlen(name));
    if (file_kind(full) == FILE_REGULAR)
        *ret = full;
    else
        free(full);
    return 0;
}

static int open_pair(struct tokenizer *t, const char *path, const char *vocab, const char *merges,
                     const char *pattern, struct err *err) {
    char *v = NULL, *m = NULL, *dir = NULL;
    int rc = beside(&v, path, vocab, err);
    if (rc >= 0) rc = beside(&m, path, merges, err);
    if (rc >= 0 && !m) rc = err_set(err, ERR_CORRUPT, "%s: no %s beside it", path, merges);
    if (rc >= 0 && !(dir = path_dir(m))) rc = err_nomem(err, strlen(m));
    if (rc >= 0) rc = config_read(&t->config, dir, err);
    if (rc >= 0) rc = read_vocab_merges(t, v, m, pattern, err);
    if (rc >= 0) rc = config_added(t, dir, err);
    free(v);
    free(m);
    free(dir);
    return rc;
}

static int open_folder(struct tokenizer *t, const char *path, const char *pattern,
                       struct err *err) {
    char *json = NULL, *merges = NULL;
    struct strs names = {0};
    int rc = beside(&json, path, "tokenizer.json", err);
    if (rc >= 0) rc = beside(&merges, path, "merges.txt", err);
    if (rc < 0) {
        free(json);
        return rc;
    }
    if (json) {
        rc = read_tokenizer_json(t, json, err);
    } else if (merges) {
        rc = open_pair(t, path, "vocab.json", "merges.txt", pattern, err);
    } else {
        const char *found = NULL;
        size_t n = 0;
        rc = file_list(path, &names, err);
        for (size_t i = 0; rc >= 0 && i < names.n; i++)
            if (path_ends(names.v[i], ".tiktoken")) found = names.v[i], n++;
        char *full = n == 1 ? path_join(path, found) : NULL;
        if (full)
            rc = read_tiktoken(t, full, pattern, err);
        else if (rc >= 0 && n == 1)
            rc = err_nomem(err, strlen(path) + strlen(found));
        else if (rc >= 0)
            rc = err_set(err, ERR_CORRUPT,
                         "%s: no tokenizer here (tokenizer.json, vocab.json + merges.txt, "
                         "or one .tiktoken file)",
                         path);
        free(full);
    }
    free(json);
    free(merges);
    strs_release(&names);
    return rc;
}

/* What a file of an unknown name is, by how it begins. */
static int open_unknown(struct tokenizer *t, const char *path, const char *pattern,
                        struct err *err) {
    struct mapping m;
    int rc = mapping_open(&m, path, err);
    if (rc < 0) return rc;
    size_t i = 0;
    while (i < m.bytes && (m.v[i] == ' ' || m.v[i] == '\n')) i++;
    bool json = i == m.bytes || m.v[i] == '{';
    bool merges = m.bytes >= 8 && memcmp(m.v, "#version", 8) == 0;
    mapping_close(&m);
    if (json) return read_tokenizer_json(t, path, err);
    return merges ? read_vocab_merges(t, NULL, path, pattern, err)
                  : read_tiktoken(t, path, pattern, err);
}

static int open_file(struct tokenizer *t, const char *path, const char *pattern, struct err *err) {
    const char *name = path_base(path);
    if (strcmp(name, "vocab.json") == 0 || strcmp(name, "merges.txt") == 0)
        return open_pair(t, path, "vocab.json", "merges.txt", pattern, err);
    if (strcmp(name, "encoder.json") == 0 || strcmp(name, "vocab.bpe") == 0)
        return open_pair(t, path, "encoder.json", "vocab.bpe", pattern, err);
    if (path_ends(name, ".json")) return read_tokenizer_json(t, path, err);
    if (path_ends(name, ".tiktoken")) return read_tiktoken(t, path, pattern, err);
    return open_unknown(t, path, pattern, err);
}

/* AutoTokenizer sets ByteLevel's add_prefix_space by tokenizer_config.json where the tokenizer's
 * class is that of a family, tokenizers by tokenizer.json: where they differ, one of the two gives
 * other ids than are meant. */
static void warn_of_prefix(const struct tokenizer *t, const struct log *log) {
    const cJSON *said = json_get(t->config.config, "add_prefix_space");
    if (!log || !cJSON_IsBool(said) || (cJSON_IsTrue(said) != 0) == t->prefix_space) return;
    log_warn(log,
             "%s: add_prefix_space is %s in tokenizer.json, which counts here, and %s in "
             "tokenizer_config.json, which counts for some classes of transformers",
             t->folder, t->prefix_space ? "true" : "false", t->prefix_space ? "false" : "true");
}

int tokenizer_open(struct tokenizer **ret, const char *path, const struct tokenizer_open_opts *opts,
                   struct err *err) {
    const char *pattern = opts ? opts->pattern : NULL;
    enum file_kind kind = file_kind(path);
    if (kind == FILE_NONE)
        return err_set(err, ERR_IO, "%s: no such file or folder; make a tokenizer with bpe-train",
                       path);
    struct tokenizer *t = vocab_new();
    if (!t) return err_nomem(err, sizeof *t);
    int rc =
        kind == FILE_FOLDER ? open_folder(t, path, pattern, err) : open_file(t, path, pattern, err);
    bool in_folder = kind == FILE_FOLDER || strcmp(path_base(path), "tokenizer.json") == 0;
    char *json = NULL;
    if (rc >= 0 && in_folder) rc = beside(&json, path, "tokenizer.json", err);
    if (json) {
        t->folder = kind == FILE_FOLDER ? strdup(path) : path_dir(path);
        if (!t->folder) rc = err_nomem(err, strlen(path));
        if (rc >= 0) rc = config_read(&t->config, t->folder, err);
        if (rc >= 0) rc = config_added(t, t->folder, err);
        if (rc >= 0) warn_of_prefix(t, opts ? opts->log : NULL);
        free(json);
    }
    if (rc < 0) {
        tokenizer_free(t);
        return rc;
    }
    if (t->guessed && opts && opts->log)
        log_warn(opts->log,
                 "%s: %u tokens are those of no published vocabulary: texts are cut as for GPT-2; "
                 "tokenize convert --pattern makes files that say another pattern",
                 path, t->n);
    *ret = t;
    return 0;
}
