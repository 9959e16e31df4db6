/* Opening shards: one file, a list of files, or a split of a folder. Every count is checked against
 * the length of the mapping before it is used; nothing is allocated by a number that a file names.
 *
 *   folder with index.json ──▶ the split's files, each checked against its entry
 *   folder without         ──▶ *train*.bin or *val*.bin by name (llm.c, modded-nanogpt)
 *   file.bin               ──▶ itself; its entry in the index.json beside it, if there is one */
#include "stream/shard_index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ------------------------------------------------------------------ one file */

static int check_bin(struct shard *s, struct err *err) {
    const char *path = s->path;
    size_t bytes = s->map.bytes;
    if (bytes < SHARD_HEADER_BYTES)
        return err_set(err, ERR_CORRUPT, "%s: %zu bytes; a shard begins with a header of %d", path,
                       bytes, SHARD_HEADER_BYTES);
    int32_t head[3];
    memcpy(head, s->map.v, sizeof head);
    if (head[0] == SHARD_MAGIC_EVAL)
        return err_set(err, ERR_CORRUPT, "%s: is an evaluation file of llm.c, not tokens", path);
    if (head[0] != SHARD_MAGIC_U16 && head[0] != SHARD_MAGIC_U32)
        return err_set(err, ERR_CORRUPT,
                       "%s: bad magic %d, not a shard of tokens (%d or %d); make it with shard",
                       path, head[0], SHARD_MAGIC_U16, SHARD_MAGIC_U32);
    bool narrow = head[0] == SHARD_MAGIC_U16;
    if (head[1] != (narrow ? SHARD_VERSION_U16 : SHARD_VERSION_U32))
        return err_set(err, ERR_CORRUPT, "%s: bad version %d for magic %d", path, head[1], head[0]);
    s->token_bytes = narrow ? 2 : 4;
    uint64_t here = (bytes - SHARD_HEADER_BYTES) / s->token_bytes;
    if (head[2] < 0) return err_set(err, ERR_CORRUPT, "%s: bad number of tokens %d", path, head[2]);
    if ((uint64_t)head[2] != here || (bytes - SHARD_HEADER_BYTES) % s->token_bytes)
        return err_set(err, ERR_CORRUPT, "%s: the header says %d tokens, the file holds %llu%s",
                       path, head[2], (unsigned long long)here,
                       (bytes - SHARD_HEADER_BYTES) % s->token_bytes ? " and a part of one" : "");
    s->n = here;
    s->tokens = s->map.v + SHARD_HEADER_BYTES;
    return 0;
}

/* What the headers of .idx and .mask must be. */
struct kind {
    const char *what, *magic;
    uint32_t version, flags; /* flags that are known */
};

static int read_head(const struct kind *kind, const struct mapping *m, const char *path,
                     struct shard_idx_header *ret, struct err *err) {
    if (m->bytes < sizeof *ret)
        return err_set(err, ERR_CORRUPT, "%s: %zu bytes; the header alone has %zu", path, m->bytes,
                       sizeof *ret);
    memcpy(ret, m->v, sizeof *ret);
    if (memcmp(ret->magic, kind->magic, sizeof ret->magic))
        return err_set(err, ERR_CORRUPT, "%s: bad magic, not %s", path, kind->what);
    if (ret->version != kind->version)
        return err_set(err, ERR_CORRUPT, "%s: bad version %u", path, ret->version);
    if (ret->flags & ~kind->flags)
        return err_set(err, ERR_CORRUPT, "%s: unknown flags 0x%x", path, ret->flags);
    return 0;
}

static int check_idx(struct shard *s, const char *path, struct err *err) {
    static const struct kind kind = {"an index of documents", SHARD_IDX_MAGIC, SHARD_IDX_VERSION,
                                     SHARD_IDX_CONTINUES};
    struct shard_idx_header head;
    size_t bytes = s->idx.bytes;
    int rc = read_head(&kind, &s->idx, path, &head, err);
    if (rc < 0) return rc;
    if (head.count != (bytes - sizeof head) / sizeof *s->ends || bytes % sizeof *s->ends)
        return err_set(err, ERR_CORRUPT,
                       "%s: the header says %llu documents, the file has %zu bytes", path,
                       (unsigned long long)head.count, bytes);
    s->ends = (const uint64_t *)(const void *)(s->idx.v + sizeof head); /* 24 bytes: aligned */
    s->documents = head.count;
    for (uint64_t i = 1; i < head.count; i++)
        if (s->ends[i] < s->ends[i - 1])
            return err_set(err, ERR_CORRUPT, "%s: document %llu ends before the one before it",
                           path, (unsigned long long)i);
    uint64_t last = head.count ? s->ends[head.count - 1] : 0;
    if (last != s->n)
        return err_set(err, ERR_CORRUPT, "%s: the last document ends at token %llu of %llu", path,
                       (unsigned long long)last, (unsigned long long)s->n);
    return 0;
}

static int check_mask(struct shard *s, const char *path, struct err *err) {
    static const struct kind kind = {"a mask", SHARD_MASK_MAGIC, SHARD_MASK_VERSION, 0};
    struct shard_idx_header head;
    size_t bytes = s->mask_map.bytes;
    int rc = read_head(&kind, &s->mask_map, path, &head, err);
    if (rc < 0) return rc;
    if (head.count != s->n || bytes - sizeof head != (s->n + 7) / 8)
        return err_set(err, ERR_CORRUPT,
                       "%s: %zu bytes for %llu tokens; the shard has %llu of them", path, bytes,
                       (unsigned long long)head.count, (unsigned long long)s->n);
    s->mask = s->mask_map.v + sizeof head;
    if (s->n % 8 && s->mask[s->n / 8] >> s->n % 8)
        return err_set(err, ERR_CORRUPT, "%s: has bits behind the last token", path);
    return 0;
}

static int open_mask(struct shard *s, struct err *err) {
    char *path = path_ends(s->path, ".bin") ? shard_beside(s->path, "mask") : strdup("");
    int rc = path ? 0 : err_nomem(err, strlen(s->path));
    if (rc == 0 && file_kind(path) == FILE_REGULAR) {
        s->mask_fd = open(path, O_RDONLY | O_CLOEXEC);
        rc = s->mask_fd < 0 ? err_errno(err, "%s", path) : mapping_open(&s->mask_map, path, err);
        if (rc == 0) rc = check_mask(s, path, err);
    }
    free(path);
    return rc;
}

char *shard_beside(const char *bin, const char *end) {
    size_t stem = strlen(bin) - 3, n = strlen(end) + 1;
    char *path = malloc(stem + n);
    if (!path) return NULL;
    memcpy(path, bin, stem);
    memcpy(path + stem, end, n);
    return path;
}

static bool is_llmc(const struct mapping *m) {
    int32_t magic = 0;
    if (m->bytes >= SHARD_HEADER_BYTES) memcpy(&magic, m->v, sizeof magic);
    return magic == SHARD_MAGIC_U16 || magic == SHARD_MAGIC_U32;
}

static int check(struct shard *s, const char *idx, struct err *err) {
    bool has_idx = *idx && file_kind(idx) == FILE_REGULAR;
    int rc = has_idx ? mapping_open(&s->idx, idx, err) : 0;
    if (rc < 0) return rc;
    if (!is_llmc(&s->map) && (rc = shard_foreign(s, err)) != 0) return rc < 0 ? rc : 0;
    rc = check_bin(s, err);
    if (rc == 0 && has_idx) rc = check_idx(s, idx, err);
    return rc < 0 ? rc : open_mask(s, err);
}

int shard_open(struct shard *ret, const char *path, struct err *err) {
    memset(ret, 0, sizeof *ret);
    char *idx = path_ends(path, ".bin") ? shard_beside(path, "idx") : strdup("");
    ret->mask_fd = -1;
    ret->path = strdup(path);
    ret->fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = ret->path && idx ? 0 : err_nomem(err, strlen(path));
    if (rc == 0 && ret->fd < 0) rc = err_errno(err, "%s", path);
    if (rc == 0) rc = mapping_open(&ret->map, path, err);
    if (rc == 0) rc = check(ret, idx, err);
    free(idx);
    if (rc < 0) shard_close(ret);
    return rc;
}

void shard_close(struct shard *s) {
    mapping_close(&s->map);
    mapping_close(&s->idx);
    mapping_close(&s->mask_map);
    if (s->path && s->fd >= 0) close(s->fd);
    if (s->path && s->mask_fd >= 0) close(s->mask_fd);
    free(s->made_ends);
    free(s->path);
    memset(s, 0, sizeof *s);
}

/* ------------------------------------------------------------------ tokens */

/* Bytes [at, at + n) of a file that had `bytes` when it was opened; of the shard, or its mask. */
static int read_at(const struct shard *s, bool mask, uint64_t at, size_t n, void *to,
                   struct err *err) {
    size_t got = 0;
    while (got < n) {
        int fd = mask ? s->mask_fd : s->fd;
        ssize_t r = pread(fd, (char *)to + got, n - got, (off_t)(at + got));
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return err_errno(err, "%s%s", s->path, mask ? ": its mask" : "");
        if (r == 0)
            return err_set(err, ERR_CORRUPT,
                           "%s%s: ends at byte %llu, where there were %zu bytes when it was "
                           "opened; it must not change while it is read",
                           s->path, mask ? ": its mask" : "", (unsigned long long)(at + got),
                           mask ? s->mask_map.bytes : s->map.bytes);
        got += (size_t)r;
    }
    return 0;
}

int shard_read(const struct shard *s, uint64_t at, uint64_t n, uint32_t *out, struct err *err) {
    if (!s->map.v) { /* tokens in memory */
        shard_tokens(s, at, n, out);
        return 0;
    }
    uint64_t from = (uint64_t)((const uint8_t *)s->tokens - s->map.v) + at * s->token_bytes;
    size_t bytes = (size_t)n * s->token_bytes;
    /* Narrow tokens are read into the upper half of `out` and widened from its front. */
    char *to = (char *)out + (n * sizeof *out - bytes);
    int rc = read_at(s, false, from, bytes, to, err);
    if (rc == 0 && s->token_bytes == 2)
        for (uint64_t i = 0; i < n; i++) {
            uint16_t token;
            memcpy(&token, to + 2 * i, sizeof token);
            out[i] = token;
        }
    return rc;
}

int shard_read_mask(const struct shard *s, uint64_t at, uint64_t n, uint8_t *out, struct err *err) {
    if (!s->mask || !n) {
        memset(out, 1, n);
        return 0;
    }
    enum { CHUNK = 4096 };
    uint8_t bytes[CHUNK];
    for (uint64_t i = 0; i < n;) {
        uint64_t first = (at + i) / 8, last = (at + n - 1) / 8;
        uint64_t have = last - first + 1 < CHUNK ? last - first + 1 : CHUNK;
        uint64_t from = s->mask_map.v ? (uint64_t)(s->mask - s->mask_map.v) + first : 0;
        int rc = 0;
        if (s->mask_map.v)
            rc = read_at(s, true, from, have, bytes, err);
        else
            memcpy(bytes, s->mask + first, have);
        if (rc < 0) return rc;
        for (; i < n && (at + i) / 8 < first + have; i++)
            out[i] = bytes[(at + i) / 8 - first] >> (at + i) % 8 & 1;
    }
    return 0;
}

uint64_t shard_mask_targets(const uint8_t *mask, uint64_t n) {
    uint64_t targets = 0;
    for (uint64_t i = 0; i < n; i++) targets += (uint64_t)__builtin_popcount(mask[i]);
    return targets;
}

void shard_will_need(const struct shard *s, uint64_t at, uint64_t n) {
    if (!s->map.v) return;
    uint64_t from = (uint64_t)((const uint8_t *)s->tokens - s->map.v) + at * s->token_bytes;
    posix_fadvise(s->fd, (off_t)from, (off_t)(n * s->token_bytes), POSIX_FADV_WILLNEED);
}

void shard_tokens(const struct shard *s, uint64_t at, uint64_t n, uint32_t *out) {
    if (s->token_bytes == 2) {
        const uint16_t *t = (const uint16_t *)s->tokens + at;
        for (uint64_t i = 0; i < n; i++) out[i] = t[i];
    } else
        memcpy(out, (const uint32_t *)s->tokens + at, n * sizeof *out);
}

/* ------------------------------------------------------------------ several */

/* What the set's digest is made of: a line per shard. */
struct opening {
    struct shard_set *set;
    struct buf identity;
    bool mixed; /* the set's sizes of text are not known for every shard */
};

enum { IDENTITY_WHOLE = 8 << 20, IDENTITY_BLOCK = 64 << 10, IDENTITY_BLOCKS = 32 };

/* Stands for the contents of a file without a recorded sha256: all of it up to 8 MiB, else 32
 * blocks spread over it, so that opening a hundred shards of a public set does not read them all.
 */
static void content_digest(const struct mapping *m, char ret[XXH128_HEX]) {
    if (m->bytes <= IDENTITY_WHOLE) {
        xxh128_bytes(m->v, m->bytes, ret);
        madvise((void *)(uintptr_t)m->v, m->bytes, MADV_DONTNEED); /* shard_read() it is */
        return;
    }
    uint64_t h[IDENTITY_BLOCKS];
    size_t step = (m->bytes - IDENTITY_BLOCK) / (IDENTITY_BLOCKS - 1);
    for (size_t i = 0; i < IDENTITY_BLOCKS; i++)
        h[i] = xxh64_bytes(m->v + i * step, IDENTITY_BLOCK, i);
    xxh128_bytes(h, sizeof h, ret);
}

static int check_entry(const struct shard *s, const struct shard_index_file *f,
                       const struct shard_index *x, struct err *err) {
    if (s->map.bytes != f->bytes || s->n != f->tokens)
        return err_set(err, ERR_CORRUPT, "%s: %zu bytes with %llu tokens; %s says %llu with %llu",
                       s->path, s->map.bytes, (unsigned long long)s->n, SHARD_INDEX_NAME,
                       (unsigned long long)f->bytes, (unsigned long long)f->tokens);
    if (s->ends && s->documents != f->documents)
        return err_set(err, ERR_CORRUPT, "%s: %llu documents; %s says %llu", s->path,
                       (unsigned long long)s->documents, SHARD_INDEX_NAME,
                       (unsigned long long)f->documents);
    if (s->token_bytes != x->token_bytes)
        return err_set(err, ERR_CORRUPT, "%s: tokens of %u bytes; %s says %u", s->path,
                       s->token_bytes, SHARD_INDEX_NAME, x->token_bytes);
    if (f->masked != (s->mask != NULL))
        return err_set(err, ERR_CORRUPT,
                       f->masked ? "%s: its .mask is missing"
                                 : "%s: there is a .mask that %s does not name",
                       s->path, SHARD_INDEX_NAME);
    return 0;
}

/* Takes over what an index.json says, or refuses if an earlier one says otherwise. */
static int take_index(struct shard_set *set, const struct shard_index *x, const char *path,
                      struct err *err) {
    if (set->n > 1 && set->vocab &&
        (set->vocab != x->vocab || strcmp(set->tokenizer_digest, x->tokenizer_digest)))
        return err_set(err, ERR_DATA, "%s: was made with another tokenizer than %s", path,
                       set->v[0].path);
    set->vocab = x->vocab;
    set->eot_id = x->eot_id;
    set->seq_len = x->seq_len;
    memcpy(set->tokenizer_digest, x->tokenizer_digest, sizeof set->tokenizer_digest);
    return 0;
}

/* Adds one file; `f` and `x` are its entry in an index.json, or NULL. */
static int add_file(struct opening *o, const char *path, const struct shard_index_file *f,
                    const struct shard_index *x, struct err *err) {
    struct shard_set *set = o->set;
    struct shard *v = mem_resize(set->v, set->n + 1, sizeof *v);
    if (!v) return err_nomem(err, (set->n + 1) * sizeof *v);
    set->v = v;
    struct shard *s = &v[set->n];
    int rc = shard_open(s, path, err);
    if (rc < 0) return rc;
    set->n++; /* from here on shard_set_close() ends it */
    set->tokens += s->n;
    char digest[SHA256_HEX], mask[SHA256_HEX] = "";
    if (f) {
        rc = check_entry(s, f, x, err);
        if (rc == 0) rc = take_index(set, x, path, err);
        if (rc < 0) return rc;
        set->text_bytes += f->text_bytes;
        memcpy(digest, f->sha256, sizeof digest);
        memcpy(mask, f->mask_sha256, sizeof mask);
    } else {
        o->mixed = true;
        content_digest(&s->map, digest);
        if (s->mask) content_digest(&s->mask_map, mask);
    }
    set->masked = set->masked || s->mask;
    set->targets += !s->mask ? s->n : f ? f->targets : shard_mask_targets(s->mask, (s->n + 7) / 8);
    return buf_printf(&o->identity, err, "%s %zu %s%s%s\n", path_base(path), s->map.bytes, digest,
                      *mask ? " " : "", mask);
}

static int add_in(struct opening *o, const char *dir, const char *name,
                  const struct shard_index_file *f, const struct shard_index *x, struct err *err) {
    char *path = path_join(dir, name);
    int rc = path ? add_file(o, path, f, x, err) : err_nomem(err, strlen(dir));
    free(path);
    return rc;
}

static int add_split(struct opening *o, const char *dir, const struct shard_index *x,
                     const char *split, struct err *err) {
    const struct shard_index_split *s = shard_index_split(x, split);
    if (!s) {
        err_set(err, ERR_DATA, "%s: there is no split \"%s\"", dir, split);
        return x->n ? err_hint(err, "there is \"%s\"", x->v[0].name) : ERR_DATA;
    }
    if (!s->n) return err_set(err, ERR_DATA, "%s: the split \"%s\" has no documents", dir, split);
    for (size_t i = 0; i < s->n; i++) {
        int rc = add_in(o, dir, s->v[i].name, &s->v[i], x, err);
        if (rc < 0) return rc;
    }
    return 0;
}

/* Whether a name, in a folder without index.json, belongs to a split: "fineweb_train_000001.bin".
 */
static bool name_fits(const char *name, const char *split) {
    if (*name == '.' || !path_ends(name, ".bin")) return false;
    bool valid = strstr(name, "val") != NULL;
    if (!strcmp(split, "valid")) return valid;
    return !valid && strstr(name, split);
}

static bool is_megatrons(const char *dir, const char *name) {
    char *path = path_join(dir, name);
    struct mapping m = {0};
    bool is = path && mapping_open(&m, path, NULL) == 0 && shard_is_megatron(&m);
    mapping_close(&m);
    free(path);
    return is;
}

/* A .bin with an .idx and no index.json is Megatron's, or ours and was left by a run that did not
 * come to its end. */
static int refuse_half(const char *dir, const struct strs *names, struct err *err) {
    for (size_t i = 0; i < names->n; i++) {
        const char *name = names->v[i];
        bool side = path_ends(name, ".idx") || path_ends(name, ".mask");
        if (strcmp(name, SHARD_PROGRESS_NAME) && (*name == '.' || !side)) continue;
        if (path_ends(name, ".idx") && is_megatrons(dir, name)) continue;
        return err_set(err, ERR_CORRUPT,
                       "%s: there is %s but no %s: its writing was interrupted; run shard again",
                       dir, name, SHARD_INDEX_NAME);
    }
    return 0;
}

static int add_by_name(struct opening *o, const char *dir, const char *split, struct err *err) {
    struct strs names = {0};
    int rc = file_list(dir, &names, err);
    if (rc == 0) rc = refuse_half(dir, &names, err);
    size_t before = o->set->n;
    for (size_t i = 0; rc == 0 && i < names.n; i++)
        if (name_fits(names.v[i], split)) rc = add_in(o, dir, names.v[i], NULL, NULL, err);
    strs_release(&names);
    if (rc == 0 && o->set->n == before)
        rc = err_set(err, ERR_IO, "%s: no %s and no *%s*.bin; make shards with shard", dir,
                     SHARD_INDEX_NAME, strcmp(split, "valid") ? split : "val");
    return rc;
}

static int add_folder(struct opening *o, const char *dir, const char *split, struct err *err) {
    struct shard_index x;
    int rc = shard_index_load(&x, dir, err);
    if (rc < 0) return rc;
    rc = rc ? add_split(o, dir, &x, split, err) : add_by_name(o, dir, split, err);
    shard_index_release(&x);
    return rc;
}

/* One file: with what the index.json beside it says of it. */
static int add_named(struct opening *o, const char *path, struct err *err) {
    struct shard_index x = {0};
    char *dir = path_dir(path);
    int rc = dir ? shard_index_load(&x, dir, err) : err_nomem(err, strlen(path));
    const struct shard_index_file *f = rc > 0 ? shard_index_file(&x, path_base(path)) : NULL;
    if (rc >= 0) rc = add_file(o, path, f, f ? &x : NULL, err);
    shard_index_release(&x);
    free(dir);
    return rc;
}

static int add_path(struct opening *o, const char *path, const char *split, struct err *err) {
    switch (file_kind(path)) {
    case FILE_FOLDER: return add_folder(o, path, split, err);
    case FILE_NONE:
        return err_set(err, ERR_IO, "%s: no such file or folder; make shards with shard", path);
    case FILE_REGULAR: return add_named(o, path, err);
    default: return err_set(err, ERR_IO, "%s: is no regular file; shards are mapped", path);
    }
}

int shard_set_open(struct shard_set *ret, const char *const *paths, size_t n, const char *split,
                   struct err *err) {
    memset(ret, 0, sizeof *ret);
    ret->eot_id = UINT32_MAX;
    struct opening o = {.set = ret};
    int rc = n ? 0 : err_set(err, ERR_USAGE, "no shards named");
    ret->path_first = mem_array(n + 1, sizeof *ret->path_first);
    if (rc == 0 && !ret->path_first) rc = err_nomem(err, n * sizeof *ret->path_first);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = add_path(&o, paths[i], split, err);
        ret->path_first[i + 1] = ret->n;
    }
    ret->n_paths = n;
    if (rc == 0) xxh128_bytes(o.identity.v, o.identity.n, ret->digest);
    if (o.mixed) ret->text_bytes = 0;
    buf_release(&o.identity);
    if (rc < 0) shard_set_close(ret);
    return rc;
}

void shard_set_close(struct shard_set *s) {
    for (size_t i = 0; i < s->n; i++) shard_close(&s->v[i]);
    free(s->v);
    free(s->path_first);
    memset(s, 0, sizeof *s);
}
