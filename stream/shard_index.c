/* index.json: what a folder of shards says of itself. Everything in it is checked here for type and
 * range, and one part against the other; whether the files agree with it is for the one who opens
 * them. */
#include "stream/shard_index.h"

#include <stdlib.h>
#include <string.h>
#include "base/json.h"

static const char *const eot_names[] = {"after", "before", "none"}; /* by enum shard_eot */

const char *shard_eot_name(enum shard_eot eot) {
    return eot_names[eot];
}

int shard_eot_parse(enum shard_eot *ret, const char *name, struct err *err) {
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, eot_names[i])) {
            *ret = (enum shard_eot)i;
            return 0;
        }
    return err_set(err, ERR_USAGE, "the end of a text is marked after, before or none, not \"%s\"",
                   name);
}

static bool is_sha256(const char *s) {
    return strlen(s) == SHA256_HEX - 1 && strspn(s, "0123456789abcdef") == SHA256_HEX - 1;
}

/* A member that must be there: json_str leaves a missing one alone. */
static int need_str(const cJSON *o, const char *key, const char **ret, const char *what,
                    struct err *err) {
    *ret = NULL;
    int rc = json_str(o, key, ret, what, err);
    if (rc == 0 && !*ret) rc = err_set(err, ERR_CORRUPT, "%s: no \"%s\"", what, key);
    return rc;
}

static int need_u64(const cJSON *o, const char *key, uint64_t max, uint64_t *ret, const char *what,
                    struct err *err) {
    if (!json_get(o, key)) return err_set(err, ERR_CORRUPT, "%s: no \"%s\"", what, key);
    return json_u64(o, key, max, ret, what, err);
}

static int load_file(struct shard_index_file *f, const cJSON *o, const char *what,
                     struct err *err) {
    const uint64_t max = UINT64_C(1) << 53;
    const char *name, *sha, *mask = NULL;
    int rc = need_str(o, "name", &name, what, err);
    if (rc == 0) rc = need_u64(o, "bytes", max, &f->bytes, what, err);
    if (rc == 0) rc = need_u64(o, "tokens", SHARD_TOKENS_MAX, &f->tokens, what, err);
    if (rc == 0) rc = need_u64(o, "documents", max, &f->documents, what, err);
    if (rc == 0) rc = json_u64(o, "text_bytes", max, &f->text_bytes, what, err);
    if (rc == 0) rc = need_str(o, "sha256", &sha, what, err);
    if (rc == 0) rc = json_str(o, "mask_sha256", &mask, what, err);
    if (rc == 0 && mask) rc = need_u64(o, "targets", f->tokens, &f->targets, what, err);
    if (rc < 0) return rc;
    /* The name is joined to the folder: it must not lead out of it. */
    if (!*name || *name == '.' || strpbrk(name, "/\\"))
        return err_set(err, ERR_CORRUPT, "%s: a shard cannot have the name \"%s\"", what, name);
    if (!is_sha256(sha) || (mask && !is_sha256(mask)))
        return err_set(err, ERR_CORRUPT, "%s: sha256 of %s is not 64 hex digits", what, name);
    memcpy(f->sha256, sha, SHA256_HEX);
    f->masked = mask != NULL;
    if (mask) memcpy(f->mask_sha256, mask, SHA256_HEX);
    f->name = strdup(name);
    return f->name ? 0 : err_nomem(err, strlen(name));
}

int shard_index_parse_split(struct shard_index_split *s, const cJSON *o, const char *what,
                            struct err *err) {
    const cJSON *files = json_get(o, "files"), *f;
    if (!cJSON_IsArray(files))
        return err_set(err, ERR_CORRUPT, "%s: split \"%s\" has no list of files", what, o->string);
    s->name = strdup(o->string);
    s->v = mem_array((size_t)cJSON_GetArraySize(files), sizeof *s->v);
    if (!s->name || (!s->v && files->child)) return err_nomem(err, sizeof *s->v);
    cJSON_ArrayForEach(f, files) {
        struct shard_index_file *to = &s->v[s->n];
        int rc = load_file(to, f, what, err);
        if (rc < 0) return rc;
        s->n++;
        s->tokens += to->tokens; /* each < 2^31, so the sums hold */
        s->documents += to->documents;
        s->text_bytes += to->text_bytes;
        s->targets += to->targets;
    }
    return 0;
}

/* ------------------------------------------------------------------ contradictions */

static int contradicts(const char *what, const struct shard_index_split *s, const char *key,
                       uint64_t said, uint64_t sum, struct err *err) {
    err_set(err, ERR_CORRUPT, "%s: split \"%s\": \"%s\" is %llu, its files have %llu in all", what,
            s->name, key, (unsigned long long)said, (unsigned long long)sum);
    return err_hint(err, "it was changed after shard wrote it; make the shards again");
}

/* A split may leave a number out; else it is the sum over the files. */
static int check_sum(const struct shard_index_split *s, const cJSON *o, const char *key,
                     uint64_t sum, const char *what, struct err *err) {
    uint64_t said = sum;
    int rc = json_u64(o, key, UINT64_MAX, &said, what, err);
    return rc < 0 || said == sum ? rc : contradicts(what, s, key, said, sum, err);
}

/* A document that is cut counts in both files and once in the split, which says how many those are;
 * at each border between two files there can be one. */
static int take_documents(struct shard_index_split *s, const cJSON *o, const char *what,
                          struct err *err) {
    uint64_t sum = s->documents, borders = s->n ? s->n - 1 : 0;
    int rc = json_u64(o, "documents", UINT64_MAX, &s->documents, what, err);
    if (rc < 0 || (s->documents <= sum && s->documents + borders >= sum)) return rc;
    return contradicts(what, s, "documents", s->documents, sum, err);
}

static int check_split(struct shard_index_split *s, const cJSON *o, const char *what,
                       struct err *err) {
    int rc = take_documents(s, o, what, err);
    if (rc == 0) rc = check_sum(s, o, "tokens", s->tokens, what, err);
    if (rc == 0) rc = check_sum(s, o, "text_bytes", s->text_bytes, what, err);
    return rc < 0 ? rc : check_sum(s, o, "targets", s->targets, what, err);
}

struct listed {
    const char *name, *split;
};

static int by_name(const void *a, const void *b) {
    const struct listed *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->split, y->split);
}

/* A file that is listed twice would be trained on, and counted, twice. */
static int check_once(const struct shard_index *x, const char *what, struct err *err) {
    size_t n = 0, room = 0;
    for (size_t i = 0; i < x->n; i++) room += x->v[i].n;
    struct listed *v = mem_array(room, sizeof *v);
    if (!v && room) return err_nomem(err, room * sizeof *v);
    for (size_t i = 0; i < x->n; i++)
        for (size_t j = 0; j < x->v[i].n; j++)
            v[n++] = (struct listed){x->v[i].v[j].name, x->v[i].name};
    if (n) qsort(v, n, sizeof *v, by_name);
    int rc = 0;
    for (size_t i = 1; rc == 0 && i < n; i++) {
        if (strcmp(v[i].name, v[i - 1].name)) continue;
        err_set(err, ERR_CORRUPT, "%s: lists %s twice, in split \"%s\" and in split \"%s\"", what,
                v[i].name, v[i - 1].split, v[i].split);
        rc = err_hint(err, "it was changed after shard wrote it; make the shards again");
    }
    free(v);
    return rc;
}

/* ------------------------------------------------------------------ the whole */

static int load_head(struct shard_index *x, const cJSON *o, const char *what, struct err *err) {
    uint64_t version = 0, vocab = 0, eot_id = UINT32_MAX, token_bytes = 0;
    const char *eot, *digest;
    int rc = need_u64(o, "version", UINT32_MAX, &version, what, err);
    if (rc == 0 && version != SHARD_INDEX_VERSION && version != SHARD_INDEX_MASKED)
        rc = err_set(err, ERR_CORRUPT, "%s: version %llu; this program reads versions %d and %d",
                     what, (unsigned long long)version, SHARD_INDEX_VERSION, SHARD_INDEX_MASKED);
    if (rc == 0) rc = need_u64(o, "vocab", UINT32_MAX, &vocab, what, err);
    if (rc == 0) rc = need_u64(o, "token_bytes", 4, &token_bytes, what, err);
    if (rc == 0) rc = need_str(o, "eot", &eot, what, err);
    if (rc == 0 && shard_eot_parse(&x->eot, eot, err) < 0)
        rc = err_set(err, ERR_CORRUPT, "%s: eot \"%s\"", what, eot);
    if (rc == 0) rc = json_u64(o, "eot_id", UINT32_MAX, &eot_id, what, err);
    if (rc == 0) rc = json_u64(o, "seq_len", UINT32_MAX, &x->seq_len, what, err);
    if (rc == 0) rc = need_str(o, "tokenizer_digest", &digest, what, err);
    if (rc < 0) return rc;
    if (!vocab || token_bytes != (vocab <= 65536 ? 2 : 4))
        return err_set(err, ERR_CORRUPT, "%s: %llu tokens do not go with %llu bytes each", what,
                       (unsigned long long)vocab, (unsigned long long)token_bytes);
    if ((x->eot == SHARD_EOT_NONE) != (eot_id == UINT32_MAX))
        return err_set(err, ERR_CORRUPT, "%s: eot \"%s\" does not go with %s eot_id", what, eot,
                       eot_id == UINT32_MAX ? "no" : "an");
    if (*digest && !is_sha256(digest))
        return err_set(err, ERR_CORRUPT, "%s: tokenizer_digest is not 64 hex digits", what);
    memcpy(x->tokenizer_digest, digest, strlen(digest) + 1); /* 64 or nothing */
    x->vocab = (uint32_t)vocab;
    x->eot_id = (uint32_t)eot_id;
    x->token_bytes = (unsigned)token_bytes;
    return 0;
}

static void add_amount(struct shard_amount *to, const struct shard_amount *of) {
    to->documents += of->documents;
    to->text_bytes += of->text_bytes;
}

/* With weights a source is listed again for each time that it is read. Then documents are left out
 * of one with a share, and, where the validation set is chosen by hash, those chosen before. */
static int load_sources(struct shard_index *x, const cJSON *o, const char *what, struct err *err) {
    bool weights = json_get(json_get(o, "options"), "weights") != NULL;
    const cJSON *s;
    cJSON_ArrayForEach(s, json_get(o, "sources")) {
        struct shard_amount of = {0};
        const char *split = "";
        int rc = need_u64(s, "documents", UINT64_MAX, &of.documents, what, err);
        if (rc == 0) rc = need_u64(s, "text_bytes", UINT64_MAX, &of.text_bytes, what, err);
        if (rc == 0) rc = json_str(s, "split", &split, what, err);
        if (rc < 0) return rc;
        bool whole = !weights || (!json_get(s, "share") && strcmp(split, "by hash") != 0);
        x->sources.named = true;
        add_amount(&x->sources.most, &of);
        if (whole) add_amount(&x->sources.least, &of);
    }
    return 0;
}

static int load_tree(struct shard_index *x, const cJSON *o, const char *what, struct err *err) {
    int rc = load_head(x, o, what, err);
    if (rc < 0) return rc;
    const cJSON *splits = json_get(o, "splits"), *s;
    if (!cJSON_IsObject(splits)) return err_set(err, ERR_CORRUPT, "%s: no \"splits\"", what);
    x->v = mem_array((size_t)cJSON_GetArraySize(splits), sizeof *x->v);
    if (!x->v && splits->child) return err_nomem(err, sizeof *x->v);
    cJSON_ArrayForEach(s, splits) {
        struct shard_index_split *to = &x->v[x->n++];
        rc = shard_index_parse_split(to, s, what, err);
        if (rc < 0) return rc;
        for (size_t i = 0; i < to->n; i++) x->masked = x->masked || to->v[i].masked;
    }
    rc = check_once(x, what, err);
    for (size_t i = 0; rc == 0 && i < x->n; i++)
        rc = check_split(&x->v[i], json_get(splits, x->v[i].name), what, err);
    return rc < 0 ? rc : load_sources(x, o, what, err);
}

int shard_index_load(struct shard_index *ret, const char *dir, struct err *err) {
    memset(ret, 0, sizeof *ret);
    char *path = path_join(dir, SHARD_INDEX_NAME);
    if (!path) return err_nomem(err, strlen(dir));
    int rc = 0;
    cJSON *tree = NULL;
    if (file_kind(path) == FILE_REGULAR) {
        rc = json_load(&tree, path, err);
        /* MosaicML's and litdata's folders have an index.json too. */
        const cJSON *format = rc == 0 ? json_get(tree, "format") : NULL;
        if (cJSON_IsString(format) && !strcmp(format->valuestring, SHARD_INDEX_FORMAT)) {
            rc = load_tree(ret, tree, path, err);
            if (rc == 0) rc = 1;
        }
    }
    cJSON_Delete(tree);
    free(path);
    if (rc < 0) shard_index_release(ret);
    return rc;
}

const struct shard_index_split *shard_index_split(const struct shard_index *x, const char *name) {
    for (size_t i = 0; i < x->n; i++)
        if (!strcmp(x->v[i].name, name)) return &x->v[i];
    return NULL;
}

const struct shard_index_file *shard_index_file(const struct shard_index *x, const char *name) {
    for (size_t i = 0; i < x->n; i++)
        for (size_t j = 0; j < x->v[i].n; j++)
            if (!strcmp(x->v[i].v[j].name, name)) return &x->v[i].v[j];
    return NULL;
}

void shard_index_release_split(struct shard_index_split *s) {
    for (size_t j = 0; j < s->n; j++) free(s->v[j].name);
    free(s->v);
    free(s->name);
    *s = (struct shard_index_split){0};
}

void shard_index_release(struct shard_index *x) {
    for (size_t i = 0; i < x->n; i++) shard_index_release_split(&x->v[i]);
    free(x->v);
    memset(x, 0, sizeof *x);
}
