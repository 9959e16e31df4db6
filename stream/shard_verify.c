/* `shard verify`: everything index.json claims, checked against the bytes. Goes on after a fault,
 * so that one run names them all. One pass over each file: the tokens are looked at while the page
 * cache has them for the digest. */
#include "stream/shard_index.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verify {
    const char *dir;
    const struct shard_index *x;
    void (*found)(void *ctx, const char *text);
    void *ctx;
    const struct log *log;
    uint64_t faults, done, total; /* bytes */
    bool continued;               /* the last document of the file before goes on in the next */
    uint64_t cuts;                /* documents that go on so, in the split */
};

static void fault(struct verify *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fault(struct verify *v, const char *fmt, ...) {
    char text[ERR_MSG_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    v->faults++;
    if (v->found) v->found(v->ctx, text);
}

static int check_tokens(struct verify *v, const struct shard *s, struct err *err) {
    enum { CHUNK = 16384 };
    uint32_t vocab = v->x->vocab, tokens[CHUNK];
    for (uint64_t at = 0, n; at < s->n; at += n) {
        n = s->n - at < CHUNK ? s->n - at : CHUNK;
        int rc = shard_read(s, at, n, tokens, err);
        if (rc < 0) return rc;
        uint64_t i = 0;
        while (i < n && tokens[i] < vocab) i++;
        if (i == n) continue;
        fault(v, "%s: token %u at %llu; the vocabulary has %u", s->path, tokens[i],
              (unsigned long long)(at + i), vocab);
        return 0; /* one says it all: the rest is likely as bad */
    }
    return 0;
}

/* The end-of-text token stands where the index says that documents end, or begin. What is cut has
 * its end in the file behind, or its beginning in the one before. */
static void check_ends(struct verify *v, const struct shard *s, bool continues) {
    bool after = v->x->eot == SHARD_EOT_AFTER;
    uint64_t first = !after && v->continued, end = s->documents - (after && continues);
    if (v->x->eot == SHARD_EOT_NONE) return;
    for (uint64_t i = first; i < end; i++) {
        uint64_t at = after ? s->ends[i] - 1 : i ? s->ends[i - 1] : 0;
        if (at < s->n && shard_token(s, at) == v->x->eot_id) continue;
        fault(v, "%s: no end-of-text token at %llu, where document %llu %s", s->path,
              (unsigned long long)at, (unsigned long long)i, after ? "ends" : "begins");
        return;
    }
}

static void check_documents(struct verify *v, const struct shard *s) {
    const struct shard_idx_header *head = (const void *)s->idx.v;
    bool continues = head->flags & SHARD_IDX_CONTINUES;
    if (s->documents) check_ends(v, s, continues);
    v->continued = continues;
    v->cuts += continues;
}

static int check_mask(struct verify *v, const struct shard *s, const struct shard_index_file *f,
                      struct err *err) {
    char sha[SHA256_HEX];
    if (!f->masked != !s->mask)
        fault(v, f->masked ? "%s: its .mask is missing" : "%s: %s knows of no .mask", s->path,
              SHARD_INDEX_NAME);
    if (!f->masked || !s->mask) return 0;
    uint64_t targets = shard_mask_targets(s->mask, (s->n + 7) / 8);
    if (targets != f->targets)
        fault(v, "%s: %llu targets; %s says %llu", s->path, (unsigned long long)targets,
              SHARD_INDEX_NAME, (unsigned long long)f->targets);
    char *path = shard_beside(s->path, "mask");
    if (!path) return err_nomem(err, strlen(s->path));
    int rc = sha256_file(path, sha, err);
    if (rc == 0 && strcmp(sha, f->mask_sha256))
        fault(v, "%s: sha256 is %s; %s says %s", path, sha, SHARD_INDEX_NAME, f->mask_sha256);
    free(path);
    return rc;
}

static void check_counts(struct verify *v, const struct shard *s,
                         const struct shard_index_file *f) {
    if (s->n != f->tokens)
        fault(v, "%s: %llu tokens; %s says %llu", s->path, (unsigned long long)s->n,
              SHARD_INDEX_NAME, (unsigned long long)f->tokens);
    if (s->map.bytes != f->bytes)
        fault(v, "%s: %zu bytes; %s says %llu", s->path, s->map.bytes, SHARD_INDEX_NAME,
              (unsigned long long)f->bytes);
    if (s->token_bytes != v->x->token_bytes)
        fault(v, "%s: tokens of %u bytes; %s says %u", s->path, s->token_bytes, SHARD_INDEX_NAME,
              v->x->token_bytes);
    if (!s->ends)
        fault(v, "%s: its .idx is missing", s->path);
    else if (s->documents != f->documents)
        fault(v, "%s: %llu documents; %s says %llu", s->path, (unsigned long long)s->documents,
              SHARD_INDEX_NAME, (unsigned long long)f->documents);
}

static int check_file(struct verify *v, const struct shard_index_file *f, struct err *err) {
    char sha[SHA256_HEX];
    struct shard s;
    char *path = path_join(v->dir, f->name);
    if (!path) return err_nomem(err, strlen(v->dir));
    int rc = sha256_file(path, sha, err);
    if (rc == 0 && strcmp(sha, f->sha256))
        fault(v, "%s: sha256 is %s; %s says %s", path, sha, SHARD_INDEX_NAME, f->sha256);
    if (rc == 0) rc = shard_open(&s, path, err);
    if (rc == 0) {
        check_counts(v, &s, f);
        rc = check_tokens(v, &s, err);
        if (rc == 0 && s.ends) check_documents(v, &s);
        if (rc == 0) rc = check_mask(v, &s, f, err);
        shard_close(&s);
    }
    if (rc < 0 && rc != ERR_NOMEM) { /* a missing or broken file is a fault like others */
        fault(v, "%s", err->msg);
        rc = 0;
    }
    v->done += f->bytes;
    log_progress(v->log, &(struct progress){"verifying", v->done, v->total, "B", f->name});
    free(path);
    return rc;
}

/* Files have the names that the writer gives, in its order: a split is trained on by the name that
 * the index has for it, and found by those of the files where the index is lost. */
static void check_names(struct verify *v, const struct shard_index_split *s) {
    size_t split = strlen(s->name);
    for (size_t i = 0; i < s->n; i++) {
        const char *name = s->v[i].name;
        char end[32];
        snprintf(end, sizeof end, "-%05zu.bin", i);
        if (!strncmp(name, s->name, split) && !strcmp(name + split, end)) continue;
        fault(v, "%s/%s: file %zu of split \"%s\" is called %s, not %s%s", v->dir, SHARD_INDEX_NAME,
              i, s->name, name, s->name, end);
        return; /* those behind it are likely shifted */
    }
}

static int check_split(struct verify *v, const struct shard_index_split *s, struct err *err) {
    check_names(v, s);
    uint64_t documents = 0, faults = v->faults;
    int rc = 0;
    v->continued = false;
    v->cuts = 0;
    for (size_t i = 0; rc == 0 && i < s->n; i++) {
        rc = check_file(v, &s->v[i], err);
        documents += s->v[i].documents;
    }
    if (rc == 0 && v->faults == faults && documents - v->cuts != s->documents)
        fault(v, "%s/%s: split \"%s\": \"documents\" is %llu, its files have %llu", v->dir,
              SHARD_INDEX_NAME, s->name, (unsigned long long)s->documents,
              (unsigned long long)(documents - v->cuts));
    return rc;
}

/* What came from the sources is what the splits have. */
static void check_sources(struct verify *v) {
    const struct shard_amount *least = &v->x->sources.least, *most = &v->x->sources.most;
    struct shard_amount all = {0};
    for (size_t i = 0; i < v->x->n; i++) {
        all.documents += v->x->v[i].documents;
        all.text_bytes += v->x->v[i].text_bytes;
    }
    bool fits = all.documents >= least->documents && all.documents <= most->documents &&
                all.text_bytes >= least->text_bytes && all.text_bytes <= most->text_bytes;
    if (!v->x->sources.named || fits) return;
    fault(v, "%s/%s: its sources are %llu documents of %llu bytes in all, its splits %llu of %llu",
          v->dir, SHARD_INDEX_NAME, (unsigned long long)most->documents,
          (unsigned long long)most->text_bytes, (unsigned long long)all.documents,
          (unsigned long long)all.text_bytes);
}

/* Whether a file is one of a shard's: its .bin, or one that stands beside that. */
static bool is_listed(const struct shard_index *x, const char *name) {
    size_t stem = (size_t)(strrchr(name, '.') - name) + 1; /* train-00000. */
    for (size_t i = 0; i < x->n; i++)
        for (size_t j = 0; j < x->v[i].n; j++) {
            const char *bin = x->v[i].v[j].name;
            if (!strncmp(bin, name, stem) && !strcmp(bin + stem, "bin")) return true;
        }
    return false;
}

/* A .bin that no index names would be read by tools that go by names (llm.c's pattern); an .idx or
 * a .mask tells that one was there. */
static int check_strays(struct verify *v, struct err *err) {
    static const char *const ends[] = {".bin", ".idx", ".mask"};
    struct strs names = {0};
    int rc = file_list(v->dir, &names, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        const char *name = names.v[i];
        bool shards = false;
        for (size_t e = 0; e < sizeof ends / sizeof *ends; e++)
            shards = shards || (path_ends(name, ends[e]) && *name != '.');
        if (shards && !is_listed(v->x, name))
            fault(v, "%s/%s: is of no shard in %s", v->dir, name, SHARD_INDEX_NAME);
    }
    strs_release(&names);
    return rc;
}

int shard_verify(const char *dir, void (*found)(void *ctx, const char *text), void *ctx,
                 const struct log *log, struct err *err) {
    struct shard_index x;
    struct err local = {0};
    if (!err) err = &local;
    if (file_kind(dir) != FILE_FOLDER) return err_set(err, ERR_IO, "%s: no such folder", dir);
    int rc = shard_index_load(&x, dir, err);
    if (rc < 0) return rc;
    struct verify v = {.dir = dir, .x = &x, .found = found, .ctx = ctx, .log = log};
    if (rc == 0)
        return err_set(err, ERR_CORRUPT, "%s: no %s, nothing to verify by", dir, SHARD_INDEX_NAME);
    rc = 0;
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.v[i].n; j++) v.total += x.v[i].v[j].bytes;
    for (size_t i = 0; rc == 0 && i < x.n; i++) rc = check_split(&v, &x.v[i], err);
    check_sources(&v);
    if (rc == 0) rc = check_strays(&v, err);
    shard_index_release(&x);
    if (rc == 0 && v.faults)
        rc = err_set(err, ERR_CORRUPT, "%s: %llu fault%s", dir, (unsigned long long)v.faults,
                     v.faults == 1 ? "" : "s");
    return rc;
}
