/* Writing a folder of shards.
 *
 *   shard_writer ─▶ split "train" ─▶ [00000 committed][00001 committed][00002 open: .bin .idx …]
 *                └▶ split "valid" ─▶ [00000 open]
 *
 * Order on disk: the old index.json goes, then the old shards; a shard grows in .NAME.partial and
 * commits its .idx, its .mask, and then its .bin; the new index.json comes last. So at any instant
 * the folder is the old run, the new run, or without an index, and an .idx or .progress.json
 * without an index.json tells readers that a run was interrupted.
 *
 * The header of a .bin holds its number of tokens, which is known at the end only: sha256 therefore
 * reads the file back once, from the page cache (2 GB/s). */
#include "stream/shard_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/version.h"

enum { CHUNK_TOKENS = 8192, DEFAULT_SHARD_TOKENS = 100000000 };

struct split {
    char name[32];
    struct outfile *bin, *idx, *mask;       /* of the open shard, or NULL */
    uint64_t tokens, documents, text_bytes; /* of the open shard */
    uint64_t targets;                       /* the same, by its mask */
    uint8_t bits;                           /* the mask's last byte, while it is not full */
    uint64_t total_documents;               /* of the split: a document in two shards counts once */
    struct shard_index_file *v;             /* committed */
    size_t n;
};

struct shard_writer {
    char *dir;
    char digest[SHA256_HEX];
    struct shard_opts o;
    struct split *splits;
    size_t n;
    struct split *open; /* of them, while a document comes */
    cJSON *notes;
    uint32_t chunk[CHUNK_TOKENS]; /* tokens on their way out; u16 are packed in its front */
};

/* ------------------------------------------------------------------ the folder */

/* "train-00012.bin", "valid-00000.idx", ".train-00012.bin.partial": a name that only this writer
 * gives. */
static bool is_ours(const char *name) {
    bool part = *name == '.';
    name += part;
    size_t n = strcspn(name, "-");
    if ((n != 5 || strncmp(name, "train", n)) && (n != 5 || strncmp(name, "valid", n)))
        return false;
    if (!name[n]) return false;
    const char *digits = name + n + 1;
    size_t d = strspn(digits, "0123456789");
    const char *end = digits + d;
    size_t e = !strncmp(end, ".mask", 5) ? 5 : 4;
    if (d < 5 || (e == 4 && strncmp(end, ".bin", 4) && strncmp(end, ".idx", 4))) return false;
    return !strcmp(end + e, part ? ".partial" : "");
}

bool shard_writer_makes(const char *name) {
    return is_ours(name) || !strcmp(name, SHARD_INDEX_NAME) || !strcmp(name, SHARD_PROGRESS_NAME);
}

static int remove_in(const char *dir, const char *name, struct err *err) {
    char *path = path_join(dir, name);
    int rc = path ? file_remove(path, err) : err_nomem(err, strlen(dir));
    free(path);
    return rc;
}

static bool exists_in(const char *dir, const char *name) {
    char *path = path_join(dir, name);
    bool there = path && file_kind(path) != FILE_NONE;
    free(path);
    return there;
}

/* Makes the folder ours: nothing of an earlier run is left, and its index goes first. */
static int clear_folder(const char *dir, struct err *err) {
    struct shard_index old;
    struct strs names = {0};
    int rc = file_mkdirs(dir, err);
    if (rc < 0) return rc;
    rc = shard_index_load(&old, dir, NULL); /* a damaged one is replaced like a good one */
    shard_index_release(&old);
    if (rc == 0 && exists_in(dir, SHARD_INDEX_NAME))
        return err_set(err, ERR_USAGE, "%s: its %s is not of token shards; choose another folder",
                       dir, SHARD_INDEX_NAME);
    rc = remove_in(dir, SHARD_INDEX_NAME, err);
    if (rc == 0) rc = remove_in(dir, SHARD_PROGRESS_NAME, err);
    if (rc == 0) rc = file_sync_dir(dir, err);
    if (rc == 0) rc = file_sweep(dir, err);
    if (rc == 0) rc = file_list(dir, &names, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++)
        if (is_ours(names.v[i])) rc = remove_in(dir, names.v[i], err);
    strs_release(&names);
    return rc;
}

static int check_opts(struct shard_opts *o, struct err *err) {
    if (!o->vocab) return err_set(err, ERR_USAGE, "an empty vocabulary");
    if (o->eot != SHARD_EOT_NONE && o->eot_id >= o->vocab)
        return err_set(err, ERR_USAGE, "the tokenizer has no token for the end of a text");
    if (!o->shard_tokens) o->shard_tokens = DEFAULT_SHARD_TOKENS;
    if (!o->max_tokens || o->max_tokens > SHARD_TOKENS_MAX) o->max_tokens = SHARD_TOKENS_MAX;
    if (o->shard_tokens > o->max_tokens) o->shard_tokens = o->max_tokens;
    return 0;
}

static int new_writer(struct shard_writer **ret, const char *dir, const struct shard_opts *opts,
                      struct err *err) {
    struct shard_writer *w = calloc(1, sizeof *w);
    if (!w) return err_nomem(err, sizeof *w);
    w->o = *opts;
    w->dir = strdup(*dir ? dir : ".");
    w->notes = cJSON_CreateObject();
    int rc = w->dir && w->notes ? check_opts(&w->o, err) : err_nomem(err, strlen(dir));
    if (opts->tokenizer_digest && strlen(opts->tokenizer_digest) < sizeof w->digest)
        snprintf(w->digest, sizeof w->digest, "%s", opts->tokenizer_digest);
    w->o.tokenizer_digest = w->digest;
    if (rc == 0)
        *ret = w;
    else
        shard_writer_abort(w);
    return rc;
}

int shard_writer_open(struct shard_writer **ret, const char *dir, const struct shard_opts *opts,
                      struct err *err) {
    struct shard_writer *w;
    int rc = new_writer(&w, dir, opts, err);
    if (rc < 0) return rc;
    rc = clear_folder(w->dir, err);
    if (rc == 0)
        *ret = w;
    else
        shard_writer_abort(w);
    return rc;
}

/* ------------------------------------------------------------------ one shard */

static char *shard_path(const struct shard_writer *w, const struct split *s, const char *end) {
    char name[64];
    snprintf(name, sizeof name, "%s-%05zu.%s", s->name, s->n, end);
    return path_join(w->dir, name);
}

static int begin_mask(struct shard_writer *w, struct split *s, uint64_t at, struct err *err) {
    if (!w->o.masked) return 0;
    char *mask = shard_path(w, s, "mask");
    int rc = mask ? outfile_resume(&s->mask, mask, at, err) : err_nomem(err, strlen(w->dir));
    free(mask);
    return rc;
}

static int begin_shard(struct shard_writer *w, struct split *s, struct err *err) {
    static const char zeros[SHARD_HEADER_BYTES];
    const size_t head = sizeof(struct shard_idx_header);
    char *bin = shard_path(w, s, "bin"), *idx = shard_path(w, s, "idx");
    int rc = bin && idx ? 0 : err_nomem(err, strlen(w->dir));
    if (rc == 0) rc = outfile_resume(&s->bin, bin, 0, err);
    if (rc == 0) rc = outfile_resume(&s->idx, idx, 0, err);
    if (rc == 0) rc = begin_mask(w, s, 0, err);
    if (rc == 0) rc = outfile_write(s->bin, zeros, SHARD_HEADER_BYTES, err);
    if (rc == 0) rc = outfile_write(s->idx, zeros, head, err);
    if (rc == 0 && s->mask) rc = outfile_write(s->mask, zeros, head, err);
    s->tokens = s->documents = s->text_bytes = s->targets = 0;
    s->bits = 0;
    free(bin);
    free(idx);
    return rc;
}

static int patch_headers(struct shard_writer *w, struct split *s, bool continues, struct err *err) {
    bool narrow = w->o.vocab <= 65536;
    const int32_t bin[3] = {narrow ? SHARD_MAGIC_U16 : SHARD_MAGIC_U32,
                            narrow ? SHARD_VERSION_U16 : SHARD_VERSION_U32, (int32_t)s->tokens};
    const struct shard_idx_header idx = {.magic = SHARD_IDX_MAGIC,
                                         .version = SHARD_IDX_VERSION,
                                         .flags = continues ? SHARD_IDX_CONTINUES : 0,
                                         .count = s->documents};
    const struct shard_idx_header mask = {
        .magic = SHARD_MASK_MAGIC, .version = SHARD_MASK_VERSION, .count = s->tokens};
    int rc = outfile_patch(s->bin, 0, bin, sizeof bin, err);
    if (rc == 0 && s->mask) rc = outfile_patch(s->mask, 0, &mask, sizeof mask, err);
    return rc < 0 ? rc : outfile_patch(s->idx, 0, &idx, sizeof idx, err);
}

static int commit(struct outfile **f, struct err *err) {
    struct outfile *done = *f;
    *f = NULL; /* commit frees it in any case */
    return outfile_commit(done, err);
}

static int digest_of(const struct shard_writer *w, const struct split *s, const char *end,
                     char ret[SHA256_HEX], struct err *err) {
    char *path = shard_path(w, s, end);
    int rc = path ? sha256_file(path, ret, err) : err_nomem(err, strlen(w->dir));
    free(path);
    return rc;
}

/* The last bits, padded with 0. */
static int end_mask(struct split *s, struct err *err) {
    return s->mask && s->tokens % 8 ? outfile_write(s->mask, &s->bits, 1, err) : 0;
}

/* `continues`: the document at its end goes on in the next shard. */
static int end_shard(struct shard_writer *w, struct split *s, bool continues, struct err *err) {
    struct shard_index_file *v = mem_resize(s->v, s->n + 1, sizeof *v);
    if (!v) return err_nomem(err, (s->n + 1) * sizeof *v);
    s->v = v;
    struct shard_index_file *f = &v[s->n];
    *f = (struct shard_index_file){.tokens = s->tokens,
                                   .documents = s->documents,
                                   .text_bytes = s->text_bytes,
                                   .bytes = outfile_tell(s->bin),
                                   .masked = s->mask != NULL,
                                   .targets = s->targets};
    char *path = shard_path(w, s, "bin");
    f->name = path ? strdup(path_base(path)) : NULL;
    free(path);
    if (!f->name) return err_nomem(err, strlen(w->dir));
    int rc = end_mask(s, err);
    if (rc == 0) rc = patch_headers(w, s, continues, err);
    if (rc == 0) rc = commit(&s->idx, err);
    if (rc == 0 && s->mask) rc = commit(&s->mask, err);
    if (rc == 0) rc = commit(&s->bin, err);
    if (rc == 0) rc = digest_of(w, s, "bin", f->sha256, err);
    if (rc == 0 && f->masked) rc = digest_of(w, s, "mask", f->mask_sha256, err);
    s->n++; /* abort removes it, whole or in part */
    return rc;
}

/* ------------------------------------------------------------------ documents */

static struct split *find_split(struct shard_writer *w, const char *name, struct err *err) {
    for (size_t i = 0; i < w->n; i++)
        if (!strcmp(w->splits[i].name, name)) return &w->splits[i];
    struct split *v = mem_resize(w->splits, w->n + 1, sizeof *v);
    if (!v) {
        err_nomem(err, (w->n + 1) * sizeof *v);
        return NULL;
    }
    w->splits = v;
    memset(&v[w->n], 0, sizeof *v);
    snprintf(v[w->n].name, sizeof v->name, "%s", name);
    return &v[w->n++];
}

/* Narrows and writes at most CHUNK_TOKENS ids that fit into the open shard. */
static int put_chunk(struct shard_writer *w, struct split *s, const uint32_t *ids, size_t n,
                     struct err *err) {
    bool narrow = w->o.vocab <= 65536;
    uint16_t *half = (uint16_t *)(void *)w->chunk;
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        most = ids[i] > most ? ids[i] : most;
        if (narrow) half[i] = (uint16_t)ids[i];
    }
    if (most >= w->o.vocab)
        return err_set(err, ERR_DATA, "token %u; the vocabulary has %u", most, w->o.vocab);
    s->tokens += n;
    return outfile_write(s->bin, narrow ? (const void *)half : ids, n * (narrow ? 2 : 4), err);
}

static int put_end(struct split *s, struct err *err) {
    s->documents++;
    return outfile_write(s->idx, &s->tokens, sizeof s->tokens, err);
}

/* The mask of the n tokens that come next: all targets, or none. */
static int put_bits(struct split *s, bool target, size_t n, struct err *err) {
    uint8_t bytes[CHUNK_TOKENS / 8 + 1];
    size_t full = 0, at = (size_t)(s->tokens % 8);
    if (!s->mask) return 0;
    for (size_t left = n; left;) {
        size_t now = left < 8 - at ? left : 8 - at;
        if (target) s->bits |= (uint8_t)(((1u << now) - 1) << at);
        left -= now;
        at += now;
        if (at < 8) break;
        bytes[full++] = s->bits;
        s->bits = 0;
        at = 0;
    }
    s->targets += target ? n : 0;
    return outfile_write(s->mask, bytes, full, err);
}

/* Writes tokens of one document, all targets or none; it goes on in a new shard when the open one
 * can hold no more. */
static int put_tokens(struct shard_writer *w, struct split *s, const uint32_t *ids, size_t n,
                      bool target, struct err *err) {
    while (n) {
        int rc = 0;
        if (s->tokens == w->o.max_tokens) {
            rc = put_end(s, err);
            if (rc == 0) rc = end_shard(w, s, true, err);
            if (rc == 0) rc = begin_shard(w, s, err);
            if (rc < 0) return rc;
        }
        uint64_t room = w->o.max_tokens - s->tokens;
        size_t now = n < CHUNK_TOKENS ? n : CHUNK_TOKENS;
        if (now > room) now = (size_t)room;
        rc = put_bits(s, target, now, err);
        if (rc == 0) rc = put_chunk(w, s, ids, now, err);
        if (rc < 0) return rc;
        ids += now;
        n -= now;
    }
    return 0;
}

int shard_writer_begin(struct shard_writer *w, const char *split, uint64_t n, struct err *err) {
    struct split *s = find_split(w, split, err);
    if (!s) return ERR_NOMEM;
    uint64_t more = n + (w->o.eot != SHARD_EOT_NONE);
    int rc = 0;
    w->open = s;
    if (s->bin && s->tokens && s->tokens + more > w->o.shard_tokens)
        rc = end_shard(w, s, false, err);
    if (rc == 0 && !s->bin) rc = begin_shard(w, s, err);
    if (rc == 0 && w->o.eot == SHARD_EOT_BEFORE) rc = put_tokens(w, s, &w->o.eot_id, 1, true, err);
    return rc;
}

int shard_writer_put(struct shard_writer *w, const uint32_t *ids, size_t n, bool targets,
                     struct err *err) {
    return put_tokens(w, w->open, ids, n, targets, err);
}

int shard_writer_end(struct shard_writer *w, uint64_t text_bytes, struct err *err) {
    struct split *s = w->open;
    int rc = 0;
    if (w->o.eot == SHARD_EOT_AFTER) rc = put_tokens(w, s, &w->o.eot_id, 1, true, err);
    if (rc == 0) rc = put_end(s, err);
    s->text_bytes += text_bytes;
    s->total_documents++;
    return rc;
}

int shard_writer_add(struct shard_writer *w, const char *split, const uint32_t *ids, size_t n,
                     size_t n_prompt, uint64_t text_bytes, struct err *err) {
    int rc = shard_writer_begin(w, split, n, err);
    if (rc == 0) rc = shard_writer_put(w, ids, n_prompt, false, err);
    if (rc == 0) rc = shard_writer_put(w, ids + n_prompt, n - n_prompt, true, err);
    return rc < 0 ? rc : shard_writer_end(w, text_bytes, err);
}

/* ------------------------------------------------------------------ index.json */

int shard_writer_note(struct shard_writer *w, const char *key, const char *json, struct err *err) {
    cJSON *v;
    int rc = json_parse(&v, json, strlen(json), key, err);
    if (rc < 0) return rc;
    cJSON_DeleteItemFromObjectCaseSensitive(w->notes, key);
    if (cJSON_AddItemToObject(w->notes, key, v)) return 0;
    cJSON_Delete(v);
    return err_nomem(err, strlen(json));
}

static void put_file(cJSON *files, const struct shard_index_file *v, bool *ok) {
    cJSON *f = cJSON_CreateObject();
    json_put_str(f, "name", v->name, ok);
    json_put_number(f, "bytes", (double)v->bytes, ok);
    json_put_number(f, "tokens", (double)v->tokens, ok);
    json_put_number(f, "documents", (double)v->documents, ok);
    json_put_number(f, "text_bytes", (double)v->text_bytes, ok);
    json_put_str(f, "sha256", v->sha256, ok);
    if (v->masked) {
        json_put_number(f, "targets", (double)v->targets, ok);
        json_put_str(f, "mask_sha256", v->mask_sha256, ok);
    }
    json_put_item(files, NULL, f, ok);
}

static void put_files(cJSON *o, const struct split *s, bool *ok) {
    cJSON *files = json_put_array(o, "files", ok);
    for (size_t i = 0; i < s->n; i++) put_file(files, &s->v[i], ok);
}

static void put_split(cJSON *splits, const struct split *s, bool masked, bool *ok) {
    uint64_t tokens = 0, text_bytes = 0, targets = 0;
    for (size_t i = 0; i < s->n; i++) {
        tokens += s->v[i].tokens;
        targets += s->v[i].targets;
        text_bytes += s->v[i].text_bytes;
    }
    cJSON *o = json_put_object(splits, s->name, ok);
    json_put_number(o, "documents", (double)s->total_documents, ok);
    json_put_number(o, "tokens", (double)tokens, ok);
    json_put_number(o, "text_bytes", (double)text_bytes, ok);
    if (masked) json_put_number(o, "targets", (double)targets, ok);
    put_files(o, s, ok);
}

/* NULL: no memory. A member that is missing would be an index that lies. */
static cJSON *index_tree(const struct shard_writer *w) {
    cJSON *o = cJSON_CreateObject(), *splits;
    bool ok = true, eot = w->o.eot != SHARD_EOT_NONE;
    json_put_str(o, "format", SHARD_INDEX_FORMAT, &ok);
    json_put_number(o, "version", w->o.masked ? SHARD_INDEX_MASKED : SHARD_INDEX_VERSION, &ok);
    json_put_str(o, "tool", "lory " LORY_VERSION, &ok);
    json_put_number(o, "vocab", w->o.vocab, &ok);
    json_put_number(o, "token_bytes", w->o.vocab <= 65536 ? 2 : 4, &ok);
    json_put_str(o, "eot", shard_eot_name(w->o.eot), &ok);
    json_put_item(o, "eot_id", eot ? cJSON_CreateNumber(w->o.eot_id) : cJSON_CreateNull(), &ok);
    json_put_number(o, "seq_len", (double)w->o.seq_len, &ok);
    json_put_str(o, "tokenizer_digest", w->digest, &ok);
    splits = json_put_object(o, "splits", &ok);
    for (size_t i = 0; i < w->n; i++) put_split(splits, &w->splits[i], w->o.masked, &ok);
    for (const cJSON *note = w->notes->child; note; note = note->next)
        json_put_item(o, note->string, cJSON_Duplicate(note, true), &ok);
    if (ok) return o;
    cJSON_Delete(o);
    return NULL;
}

static int save_index(struct shard_writer *w, struct err *err) {
    cJSON *o = index_tree(w);
    char *path = path_join(w->dir, SHARD_INDEX_NAME);
    int rc = o && path ? json_save(path, o, true, err) : err_nomem(err, strlen(w->dir));
    free(path);
    cJSON_Delete(o);
    return rc;
}

/* ------------------------------------------------------------------ marks
 *
 *   {"splits": {"train": {"total": 7, "files": [… as in index.json], "open": {"tokens": 9, …}}}}
 *
 * The bits of a mask that do not fill a byte yet are in the mark alone. */

static void put_mark(cJSON *splits, const struct split *s, bool *ok) {
    cJSON *o = json_put_object(splits, s->name, ok), *open;
    json_put_number(o, "total", (double)s->total_documents, ok);
    put_files(o, s, ok);
    if (!s->bin) return;
    open = json_put_object(o, "open", ok);
    json_put_number(open, "tokens", (double)s->tokens, ok);
    json_put_number(open, "documents", (double)s->documents, ok);
    json_put_number(open, "text_bytes", (double)s->text_bytes, ok);
    if (!s->mask) return;
    json_put_number(open, "targets", (double)s->targets, ok);
    json_put_number(open, "bits", s->bits, ok);
}

int shard_writer_mark(struct shard_writer *w, struct buf *json, struct err *err) {
    bool ok = true;
    cJSON *o = cJSON_CreateObject(), *splits = json_put_object(o, "splits", &ok);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < w->n; i++) {
        struct split *s = &w->splits[i];
        if (s->bin) rc = outfile_sync(s->bin, err);
        if (rc == 0 && s->idx) rc = outfile_sync(s->idx, err);
        if (rc == 0 && s->mask) rc = outfile_sync(s->mask, err);
        if (rc == 0) put_mark(splits, s, &ok);
    }
    if (rc == 0 && !ok) rc = err_nomem(err, 64);
    /* The parts' names, too, survive a power cut. */
    if (rc == 0) rc = file_sync_dir(w->dir, err);
    if (rc == 0) rc = json_text(json, o, false, err);
    cJSON_Delete(o);
    return rc;
}

static int resume_open(struct shard_writer *w, struct split *s, const cJSON *open,
                       struct err *err) {
    const uint64_t max = UINT64_C(1) << 53, head = sizeof(struct shard_idx_header);
    uint64_t bits = 0;
    int rc = json_u64(open, "tokens", SHARD_TOKENS_MAX, &s->tokens, "mark", err);
    if (rc == 0) rc = json_u64(open, "documents", max, &s->documents, "mark", err);
    if (rc == 0) rc = json_u64(open, "text_bytes", max, &s->text_bytes, "mark", err);
    if (rc == 0) rc = json_u64(open, "targets", max, &s->targets, "mark", err);
    if (rc == 0) rc = json_u64(open, "bits", UINT8_MAX, &bits, "mark", err);
    s->bits = (uint8_t)bits;
    char *bin = shard_path(w, s, "bin"), *idx = shard_path(w, s, "idx");
    if (rc == 0 && !(bin && idx)) rc = err_nomem(err, strlen(w->dir));
    uint64_t bytes = SHARD_HEADER_BYTES + s->tokens * (w->o.vocab <= 65536 ? 2 : 4);
    uint64_t ends = head + s->documents * sizeof(uint64_t);
    if (rc == 0) rc = outfile_resume(&s->bin, bin, bytes, err);
    if (rc == 0) rc = outfile_resume(&s->idx, idx, ends, err);
    if (rc == 0) rc = begin_mask(w, s, head + s->tokens / 8, err);
    free(bin);
    free(idx);
    return rc;
}

static int resume_split(struct shard_writer *w, const cJSON *o, struct err *err) {
    struct shard_index_split parsed = {0};
    struct split *s = find_split(w, o->string, err);
    if (!s) return ERR_NOMEM;
    int rc = shard_index_parse_split(&parsed, o, "mark", err);
    if (rc == 0) { /* the files become ours, names and all */
        s->v = parsed.v;
        s->n = parsed.n;
        parsed.v = NULL;
        parsed.n = 0;
        rc = json_u64(o, "total", UINT64_C(1) << 53, &s->total_documents, "mark", err);
    }
    shard_index_release_split(&parsed);
    const cJSON *open = json_get(o, "open");
    if (rc == 0 && open) rc = resume_open(w, s, open, err);
    return rc;
}

/* Whether `name` is one of those that the mark knows. */
static bool is_marked(const struct shard_writer *w, const char *name) {
    char known[80];
    for (size_t i = 0; i < w->n; i++) {
        const struct split *s = &w->splits[i];
        for (size_t j = 0; j < s->n; j++) {
            size_t stem = strlen(s->v[j].name) - 3; /* train-00000. */
            if (!strncmp(name, s->v[j].name, stem) && name[stem - 1] == '.') return true;
        }
        snprintf(known, sizeof known, ".%s-%05zu.", s->name, s->n);
        if (s->bin && !strncmp(name, known, strlen(known))) return true;
    }
    return false;
}

/* Shards begun after the mark go. */
static int clear_later(struct shard_writer *w, struct err *err) {
    struct strs names = {0};
    int rc = file_list(w->dir, &names, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++)
        if (is_ours(names.v[i]) && !is_marked(w, names.v[i]))
            rc = remove_in(w->dir, names.v[i], err);
    strs_release(&names);
    return rc;
}

int shard_writer_resume(struct shard_writer **ret, const char *dir, const struct shard_opts *opts,
                        const char *mark, struct err *err) {
    struct shard_writer *w;
    cJSON *o = NULL;
    int rc = new_writer(&w, dir, opts, err);
    if (rc < 0) return rc;
    rc = remove_in(dir, SHARD_INDEX_NAME, err); /* of a run that could not remove its progress */
    if (rc == 0) rc = file_sync_dir(dir, err);
    if (rc == 0) rc = json_parse(&o, mark, strlen(mark), "mark", err);
    const cJSON *splits = rc == 0 ? json_get(o, "splits") : NULL, *s;
    if (rc == 0 && !cJSON_IsObject(splits))
        rc = err_set(err, ERR_CORRUPT, "%s: a mark without splits", dir);
    cJSON_ArrayForEach(s, splits) {
        if (rc == 0) rc = resume_split(w, s, err);
    }
    if (rc == 0) rc = file_sweep(dir, err);
    if (rc == 0) rc = clear_later(w, err);
    cJSON_Delete(o);
    if (rc == 0)
        *ret = w;
    else
        shard_writer_keep(w);
    return rc;
}

/* ------------------------------------------------------------------ the end */

static void free_writer(struct shard_writer *w) {
    for (size_t i = 0; i < w->n; i++) {
        struct split *s = &w->splits[i];
        for (size_t j = 0; j < s->n; j++) free(s->v[j].name);
        free(s->v);
    }
    free(w->splits);
    cJSON_Delete(w->notes);
    free(w->dir);
    free(w);
}

int shard_writer_finish(struct shard_writer *w, struct err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < w->n; i++)
        if (w->splits[i].bin) rc = end_shard(w, &w->splits[i], false, err);
    if (rc == 0) rc = save_index(w, err);
    if (rc == 0) rc = remove_in(w->dir, SHARD_PROGRESS_NAME, err);
    if (rc == 0)
        free_writer(w);
    else if (exists_in(w->dir, SHARD_PROGRESS_NAME))
        shard_writer_keep(w);
    else {
        remove_in(w->dir, SHARD_INDEX_NAME, NULL);
        shard_writer_abort(w);
    }
    return rc;
}

void shard_writer_keep(struct shard_writer *w) {
    if (!w) return;
    for (size_t i = 0; i < w->n; i++) {
        outfile_abort(w->splits[i].bin);
        outfile_abort(w->splits[i].idx);
        outfile_abort(w->splits[i].mask);
    }
    free_writer(w);
}

/* The files of shard i of a split, whole or in part; the .bin first: without it the others mean
 * nothing. */
static void remove_shard(const struct shard_writer *w, const struct split *s, size_t i) {
    static const char *const ends[] = {"bin", "idx", "mask"};
    char name[80];
    for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
        snprintf(name, sizeof name, ".%s-%05zu.%s.partial", s->name, i, ends[e]);
        remove_in(w->dir, name, NULL);
        name[strlen(name) - sizeof ".partial" + 1] = 0;
        remove_in(w->dir, name + 1, NULL);
    }
}

void shard_writer_abort(struct shard_writer *w) {
    if (!w) return;
    for (size_t i = 0; i < w->n; i++) {
        struct split *s = &w->splits[i];
        outfile_abort(s->bin);
        outfile_abort(s->idx);
        outfile_abort(s->mask);
        for (size_t j = 0; j <= s->n; j++) remove_shard(w, s, j);
    }
    free_writer(w);
}
