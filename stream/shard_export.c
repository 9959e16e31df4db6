/* See shard_export.h. Documents are walked in pieces, so that one may be of any length:
 *
 *   walk_next() ─▶ (shard, at, n, last piece of its document?) ─▶ a writer per format */
#include "stream/shard_export.h"

#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/signals.h"
#include "stream/records.h"
#include "stream/shard_index.h"

enum { PIECE_TOKENS = 1 << 16, MEGATRON_U16_VOCAB = 65500 };

struct walk {
    const struct shard_export *x;
    size_t shard;
    uint64_t document; /* in the shard           */
    uint64_t at;       /* the next token         */
    bool begun;        /* inside a document      */
};

struct piece {
    const struct shard *shard;
    uint64_t at, n;
    bool last;
};

static bool continues(const struct shard *s) {
    if (!s->idx.v || s->made_ends) return false;
    const struct shard_idx_header *head = (const void *)s->idx.v;
    return head->flags & SHARD_IDX_CONTINUES;
}

/* By the end-of-text token: behind it, or before the next one. */
static uint64_t find_end(const struct walk *w, const struct shard *s, bool *found) {
    uint64_t limit = s->n - w->at > PIECE_TOKENS ? w->at + PIECE_TOKENS : s->n;
    bool before = w->x->eot == SHARD_EOT_BEFORE;
    *found = false;
    for (uint64_t i = w->at; i < limit; i++) {
        if (shard_token(s, i) != w->x->eot_id || (before && i == w->at && !w->begun)) continue;
        *found = true;
        return before ? i : i + 1;
    }
    return limit;
}

/* The next piece; false at the end. A shard's end ends a document, unless its index says that it
 * goes on. */
static bool walk_next(struct walk *w, struct piece *ret) {
    const struct shard_set *set = w->x->set;
    for (; w->shard < set->n; w->shard++, w->at = w->document = 0) {
        const struct shard *s = &set->v[w->shard];
        bool by_index = s->ends != NULL;
        if (by_index ? w->document == s->documents : w->at == s->n) continue;
        bool found;
        uint64_t end = by_index ? s->ends[w->document] : find_end(w, s, &found);
        *ret = (struct piece){s, w->at, end - w->at, true};
        if (ret->n > PIECE_TOKENS) {
            ret->n = PIECE_TOKENS;
            ret->last = false;
        } else if (by_index) {
            w->document++;
            ret->last = !(w->document == s->documents && continues(s));
        } else
            ret->last = found || end == s->n;
        w->at += ret->n;
        w->begun = !ret->last;
        return true;
    }
    return false;
}

static int check_documents(const struct shard_export *x, struct err *err) {
    for (size_t i = 0; i < x->set->n; i++)
        if (!x->set->v[i].ends && x->eot_id == UINT32_MAX)
            return err_set(err, ERR_DATA,
                           "%s: no .idx says where documents end; name the end-of-text token with "
                           "--eot-id",
                           x->set->v[i].path);
    return 0;
}

/* ------------------------------------------------------------------ tokens */

struct out {
    struct shard_export *x;
    struct outfile *tokens, *idx;
    unsigned bytes; /* of a token */
    uint32_t wide[PIECE_TOKENS];
    uint16_t narrow[PIECE_TOKENS];
};

static int open_file(struct outfile **ret, const struct shard_export *x, const char *end,
                     struct err *err) {
    struct buf name = {0};
    int rc = buf_printf(&name, err, "%s%s", x->path, end);
    if (rc == 0) rc = buf_cstr(&name) ? outfile_open(ret, name.v, err) : err_nomem(err, name.n);
    buf_release(&name);
    return rc;
}

static int put_piece(struct out *o, const struct piece *p, struct err *err) {
    int rc = shard_read(p->shard, p->at, p->n, o->wide, err);
    if (rc < 0) return rc;
    if (o->bytes == 4) return outfile_write(o->tokens, o->wide, p->n * 4, err);
    for (uint64_t i = 0; i < p->n; i++) {
        if (o->wide[i] > UINT16_MAX)
            return err_set(err, ERR_DATA, "%s: token %u does not go into 16 bits", p->shard->path,
                           o->wide[i]);
        o->narrow[i] = (uint16_t)o->wide[i];
    }
    return outfile_write(o->tokens, o->narrow, p->n * 2, err);
}

static int tell(const struct shard_export *x, struct err *err) {
    uint64_t all = x->set->tokens;
    log_progress(x->log, &(struct progress){"exporting", x->tokens, all, "tokens", NULL});
    return signals_stop() ? err_set(err, ERR_STOPPED, "interrupted") : 0;
}

/* All tokens, one after the other; documents are counted if they can be told apart. */
static int put_tokens(struct out *o, struct err *err) {
    struct walk w = {.x = o->x};
    struct piece p;
    int rc = 0;
    while (rc == 0 && walk_next(&w, &p)) {
        rc = put_piece(o, &p, err);
        o->x->tokens += p.n;
        o->x->documents += p.last;
        if (rc == 0 && p.last) rc = o->x->documents % 256 ? 0 : tell(o->x, err);
    }
    return rc;
}

/* ------------------------------------------------------------------ the formats */

static int nanogpt(struct out *o, struct err *err) {
    o->bytes = 2;
    return put_tokens(o, err);
}

/* Calls for the length of each document in tokens. */
static int each_length(struct out *o, int (*put)(struct out *o, uint64_t n, struct err *err),
                       struct err *err) {
    struct walk w = {.x = o->x};
    struct piece p;
    uint64_t n = 0;
    int rc = 0;
    while (rc == 0 && walk_next(&w, &p)) {
        n += p.n;
        if (!p.last) continue;
        rc = put(o, n, err);
        n = 0;
    }
    return rc;
}

static int put_length(struct out *o, uint64_t n, struct err *err) {
    if (n > INT32_MAX)
        return err_set(err, ERR_DATA, "a document of %llu tokens; Megatron counts to 2^31 - 1",
                       (unsigned long long)n);
    int32_t length = (int32_t)n;
    return outfile_write(o->idx, &length, sizeof length, err);
}

static int put_offset(struct out *o, uint64_t n, struct err *err) {
    int rc = outfile_write(o->idx, &o->x->tokens, sizeof o->x->tokens, err);
    o->x->tokens += n * o->bytes;
    return rc;
}

static int put_end(struct out *o, uint64_t n, struct err *err) {
    o->x->tokens += n;
    return outfile_write(o->idx, &o->x->tokens, sizeof o->x->tokens, err);
}

static int megatron(struct out *o, struct err *err) {
    struct shard_export *x = o->x;
    bool small = x->set->vocab && x->set->vocab < MEGATRON_U16_VOCAB;
    o->bytes = small || (!x->set->vocab && x->set->v[0].token_bytes == 2) ? 2 : 4;
    int rc = put_tokens(o, err);
    uint64_t tokens = x->tokens, documents = x->documents, head[2] = {documents, documents + 1};
    const uint64_t version = 1;
    const uint8_t type = o->bytes == 2 ? 8 : 4;
    if (rc == 0) rc = outfile_write(o->idx, "MMIDIDX\0\0", 9, err);
    if (rc == 0) rc = outfile_write(o->idx, &version, sizeof version, err);
    if (rc == 0) rc = outfile_write(o->idx, &type, 1, err);
    if (rc == 0) rc = outfile_write(o->idx, head, sizeof head, err);
    if (rc == 0) rc = each_length(o, put_length, err);
    x->tokens = 0; /* counts bytes meanwhile */
    if (rc == 0) rc = each_length(o, put_offset, err);
    for (uint64_t i = 0; rc == 0 && i <= documents; i++)
        rc = outfile_write(o->idx, &i, sizeof i, err);
    x->tokens = tokens;
    return rc;
}

static int write_metadata(const struct shard_export *x, unsigned bytes, struct err *err) {
    static const char *const units[] = {"", " K", " M", " B", " T"};
    double n = (double)x->tokens;
    int unit = 0;
    for (; n >= 1000 && unit < 4; unit++) n /= 1000;
    struct outfile *f;
    int rc = open_file(&f, x, ".ds.metadata", err);
    if (rc < 0) return rc;
    rc = outfile_printf(f, err, "%s|%u\n%llu\n%.3g%s", x->tokenizer_name, bytes,
                        (unsigned long long)x->tokens, n, units[unit]);
    if (rc == 0) return outfile_commit(f, err);
    outfile_abort(f);
    return rc;
}

/* A byte a token: whether it is a target. */
static int put_loss(const struct shard_export *x, struct outfile *f, struct err *err) {
    enum { CHUNK = 16384 };
    uint8_t mask[CHUNK];
    for (size_t k = 0; k < x->set->n; k++) {
        const struct shard *s = &x->set->v[k];
        for (uint64_t at = 0, n; at < s->n; at += n) {
            n = s->n - at < CHUNK ? s->n - at : CHUNK;
            int rc = shard_read_mask(s, at, n, mask, err);
            if (rc == 0) rc = outfile_write(f, mask, n, err);
            if (rc < 0) return rc;
        }
    }
    return 0;
}

static int write_loss(const struct shard_export *x, struct err *err) {
    struct outfile *f;
    int rc = open_file(&f, x, ".ds.loss", err);
    if (rc < 0) return rc;
    rc = put_loss(x, f, err);
    if (rc == 0) return outfile_commit(f, err);
    outfile_abort(f);
    return rc;
}

static int datatrove(struct out *o, struct err *err) {
    struct shard_export *x = o->x;
    o->bytes = x->set->v[0].token_bytes;
    int rc = put_tokens(o, err);
    x->tokens = 0;
    if (rc == 0) rc = each_length(o, put_end, err);
    if (rc == 0 && x->set->masked) rc = write_loss(x, err);
    return rc < 0 ? rc : write_metadata(x, o->bytes, err);
}

/* ------------------------------------------------------------------ text */

/* A document on its way to its line. */
struct text {
    struct u32s ids;
    struct u8s mask; /* of a masked shard: whether each is a target */
    struct buf text, line;
};

static void text_release(struct text *t) {
    u32s_release(&t->ids);
    u8s_release(&t->mask);
    buf_release(&t->text);
    buf_release(&t->line);
}

static int add_piece(struct text *t, const struct piece *p, struct err *err) {
    int rc = u32s_reserve(&t->ids, p->n, err);
    if (rc == 0) rc = shard_read(p->shard, p->at, p->n, t->ids.v + t->ids.n, err);
    if (rc == 0) rc = u8s_reserve(&t->mask, p->n, err);
    if (rc == 0) rc = shard_read_mask(p->shard, p->at, p->n, t->mask.v + t->mask.n, err);
    t->ids.n += p->n;
    t->mask.n += p->n;
    return rc;
}

static int put_member(struct text *t, const char *key, size_t from, size_t to, struct err *err) {
    int rc = buf_printf(&t->line, err, "%s\"%s\": ", t->line.n ? ", " : "{", key);
    return rc < 0 ? rc : json_quote(&t->line, t->text.v + from, to - from, err);
}

/* A prompt and a completion: the text is parted where its targets begin, or at the next character.
 * `from`, `n`: its tokens without that of its end. */
static int put_parted(const struct shard_export *x, struct text *t, size_t from, size_t n,
                      struct err *err) {
    struct buf prompt = {0};
    size_t n_prompt = 0, at;
    while (n_prompt < n && !t->mask.v[from + n_prompt]) n_prompt++;
    for (size_t i = n_prompt; i < n; i++)
        if (!t->mask.v[from + i])
            return err_set(err, ERR_DATA,
                           "document %llu: is no prompt with its completion: targets stand before "
                           "others that are none",
                           (unsigned long long)x->documents);
    int rc = decode(x->tokenizer, t->ids.v + from, n_prompt, false, &prompt, err);
    for (at = prompt.n; at < t->text.n && ((uint8_t)t->text.v[at] & 0xC0) == 0x80;) at++;
    buf_release(&prompt);
    if (rc == 0) rc = put_member(t, "prompt", 0, at, err);
    return rc < 0 ? rc : put_member(t, "completion", at, t->text.n, err);
}

static int put_text(struct shard_export *x, struct records *to, struct text *t, struct err *err) {
    const uint32_t *ids = t->ids.v;
    size_t from = 0, n = t->ids.n;
    if (x->eot == SHARD_EOT_BEFORE && n && ids[0] == x->eot_id) from++, n--;
    if (x->eot == SHARD_EOT_AFTER && n && ids[n - 1] == x->eot_id) n--;
    t->text.n = t->line.n = 0;
    int rc = decode(x->tokenizer, ids + from, n, false, &t->text, err);
    if (rc == 0 && x->set->masked)
        rc = put_parted(x, t, from, n, err);
    else if (rc == 0)
        rc = put_member(t, "text", 0, t->text.n, err);
    if (rc == 0) rc = buf_char(&t->line, '}', err);
    x->documents++;
    x->tokens += t->ids.n;
    t->ids.n = t->mask.n = 0;
    return rc < 0 ? rc : records_add(to, t->line.v, t->line.n, err);
}

static int jsonl(struct shard_export *x, struct err *err) {
    struct walk w = {.x = x};
    struct piece p;
    struct records *to;
    struct text text = {0};
    struct buf name = {0};
    struct records_opts ro = {.threads = x->threads};
    int rc = buf_printf(&name, err, "%s.jsonl.gz", x->path);
    if (rc == 0 && !buf_cstr(&name)) rc = err_nomem(err, name.n);
    if (rc == 0) rc = records_open(&to, name.v, &ro, err);
    buf_release(&name);
    if (rc < 0) return rc;
    while (rc == 0 && walk_next(&w, &p)) {
        rc = add_piece(&text, &p, err);
        if (rc == 0 && p.last) rc = put_text(x, to, &text, err);
        if (rc == 0 && p.last && x->documents % 256 == 0) rc = tell(x, err);
    }
    text_release(&text);
    if (rc == 0) return records_commit(to, err);
    records_abort(to);
    return rc;
}

/* ------------------------------------------------------------------ all of them */

enum { ENDS = 4 };

static const struct {
    const char *name;
    const char *ends[ENDS]; /* of the files' names: tokens, index, others */
    int (*run)(struct out *o, struct err *err);
} formats[] = {{"megatron", {".bin", ".idx"}, megatron},
               {"nanogpt", {".bin"}, nanogpt},
               {"datatrove", {".ds", ".ds.index", ".ds.metadata", ".ds.loss"}, datatrove},
               {"jsonl", {".jsonl.gz"}, NULL}};

static int find_format(const char *format, size_t *ret, struct err *err) {
    for (*ret = 0; *ret < sizeof formats / sizeof *formats; ++*ret)
        if (!strcmp(formats[*ret].name, format)) return 0;
    return err_set(err, ERR_USAGE,
                   "there is no format %s, but megatron, nanogpt, datatrove and jsonl", format);
}

/* Whether a file is a shard of the set, or lies beside one. */
static int check_file(const struct shard_set *set, const char *path, struct err *err) {
    static const char *const beside[] = {"idx", "mask"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < set->n; i++) {
        bool same = file_same(path, set->v[i].path);
        for (int k = 0; rc == 0 && k < 2 && path_ends(set->v[i].path, ".bin"); k++) {
            char *other = shard_beside(set->v[i].path, beside[k]);
            if (!other) rc = err_nomem(err, strlen(path));
            same |= other && file_same(path, other);
            free(other);
        }
        if (rc == 0 && same)
            rc = err_set(err, ERR_USAGE, "%s: is read and would be written; name another folder",
                         path);
    }
    return rc;
}

int shard_export_check(const char *format, const struct shard_set *set, const char *path,
                       struct err *err) {
    size_t f = 0;
    int rc = find_format(format, &f, err);
    for (int i = 0; rc == 0 && i < ENDS && formats[f].ends[i]; i++) {
        struct buf name = {0};
        rc = buf_printf(&name, err, "%s%s", path, formats[f].ends[i]);
        if (rc == 0) rc = buf_cstr(&name) ? check_file(set, name.v, err) : err_nomem(err, name.n);
        buf_release(&name);
    }
    return rc;
}

static int run_binary(struct out *o, size_t f, struct err *err) {
    const char *idx_end = formats[f].ends[1];
    int rc = open_file(&o->tokens, o->x, formats[f].ends[0], err);
    if (rc == 0 && idx_end) rc = open_file(&o->idx, o->x, idx_end, err);
    if (rc == 0) rc = formats[f].run(o, err);
    struct outfile *tokens = o->tokens, *idx = o->idx;
    if (rc == 0) {
        rc = outfile_commit(tokens, err);
        tokens = NULL;
    }
    if (rc == 0 && idx) {
        rc = outfile_commit(idx, err);
        idx = NULL;
    }
    outfile_abort(tokens);
    outfile_abort(idx);
    return rc;
}

int shard_export(const char *format, struct shard_export *x, struct err *err) {
    size_t f = 0;
    bool text = !strcmp(format, "jsonl");
    int found = find_format(format, &f, err);
    if (found < 0) return found;
    int rc = strcmp(format, "nanogpt") ? check_documents(x, err) : 0;
    if (rc < 0) return rc;
    if (text) return jsonl(x, err);
    if (x->set->masked && strcmp(format, "datatrove"))
        log_warn(x->log, "%s has no masks: there, prompts are as much to be learnt as the rest",
                 format);
    struct out *o = calloc(1, sizeof *o);
    if (!o) return err_nomem(err, sizeof *o);
    o->x = x;
    rc = run_binary(o, f, err);
    free(o);
    return rc;
}
