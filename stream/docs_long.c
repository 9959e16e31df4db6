/* JSON records longer than a part should be: they go through a scratch file, so that no length of
 * one is held in memory. So do texts of which something is to be known before their first part
 * (docs_opts.see_whole).
 *
 *   reader ─▶ scratch file [{"id": 7, "text": "…\n… … … …", "n": 1}]   the record as it stands
 *                                            └── slice ──┴─ slice ─┴ … ┘
 *
 * When its turn comes, the whole record is mapped and validated, and its text found; only then does
 * the text leave, in slices that are parts of their own, each unescaped by the thread that took it.
 * So nothing of a record that is broken at its end was ever handed out.
 *
 * A slice ends where a text may be cut (docs_cut.c), or anywhere (docs_opts.cut_anywhere).
 *
 * Who needs no text, but the record, or the text as bytes, gets one document that stays where it is
 * (docs_opts.stay_far). */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/hash.h"
#include "base/json.h"
#include "stream/docs_parts.h"
#include "stream/scan.h"
#include "stream/scratch.h"
#include "tokenizer/tokenizer.h"

enum { PIECE = 1 << 20 };

int long_new(struct long_record **ret, const char *dir, struct err *err) {
    struct long_record *l = calloc(1, sizeof *l);
    if (!l) return err_nomem(err, sizeof *l);
    int rc = scratch_file(dir, &l->fd, err);
    if (rc < 0) {
        free(l);
        return rc;
    }
    atomic_init(&l->users, 1);
    l->blank = true;
    *ret = l;
    return 0;
}

struct long_record *long_share(struct long_record *l) {
    atomic_fetch_add(&l->users, 1);
    return l;
}

void long_drop(struct long_record *l) {
    if (!l || atomic_fetch_sub(&l->users, 1) != 1) return;
    close(l->fd);
    free(l);
}

int long_add(struct long_record *l, const char *v, size_t n, struct err *err) {
    l->bytes += n;
    l->blank = l->blank && docs_is_blank(v, n);
    return scratch_write(l->fd, v, n, err);
}

int long_map(const struct long_record *l, const char **ret, struct err *err) {
    void *v = mmap(NULL, l->bytes, PROT_READ, MAP_SHARED, l->fd, 0);
    if (v == MAP_FAILED) return err_errno(err, "a scratch file");
    *ret = v;
    return 0;
}

void long_unmap(const struct long_record *l, const char *v) {
    munmap((void *)v, l->bytes);
}

/* ------------------------------------------------------------------ slices */

/* The last place in (from, to] of the record; `from` if there is none. Looked for backwards, in
 * windows that overlap by what is looked at before a place. */
static int find_cut(const struct long_record *l, uint64_t from, uint64_t to, uint64_t *ret,
                    struct err *err) {
    char v[4096];
    *ret = from;
    while (to > from + CUT_BYTES) {
        size_t n = to - from < sizeof v ? (size_t)(to - from) : sizeof v;
        int rc = scratch_read(l->fd, to - n, v, n, err);
        if (rc < 0) return rc;
        size_t cut = l->is_text ? docs_cut_text(v, n) : docs_cut_json(v, n);
        if (cut) *ret = to - n + cut;
        if (cut || n < sizeof v) return 0;
        to -= n - 2 * CUT_BYTES;
    }
    return 0;
}

/* Steps forwards from `from` to the last place in (from, to]; `from` if there is none. */
static int find_step(const struct long_record *l, uint64_t from, uint64_t to, uint64_t *ret,
                     struct err *err) {
    char v[1 << 14];
    size_t step = 1;
    *ret = from;
    while (*ret < to && step) {
        size_t n = to - *ret < sizeof v ? (size_t)(to - *ret) : sizeof v;
        int rc = scratch_read(l->fd, *ret, v, n, err);
        if (rc < 0) return rc;
        step = l->is_text ? decode_whole(v, n) : docs_step_json(v, n);
        *ret += step;
    }
    return 0;
}

int long_slice(const struct long_record *l, uint64_t at, size_t want, bool anywhere, size_t *ret_n,
               bool *ret_followed, struct err *err) {
    uint64_t cut = at;
    int rc = 0;
    *ret_followed = false;
    for (uint64_t n = want; rc == 0 && cut == at && n < l->end - at; n *= 2) {
        rc = find_cut(l, at, at + n, &cut, err);
        if (rc == 0 && cut == at && anywhere) {
            rc = find_step(l, at, at + n, &cut, err);
            *ret_followed = cut > at;
        }
    }
    *ret_n = (size_t)((cut > at ? cut : l->end) - at);
    return rc;
}

/* Does raw[0..n), which became text[0..text_n), end in an escape that may be half of a pair of
 * surrogates? Alone it became U+FFFD; which, unescaped, does not end in ASCII. */
static bool ends_in_half(const char *raw, size_t n, const char *text, size_t text_n) {
    return n && !(raw[n - 1] & 0x80) && text_n >= 3 &&
           !memcmp(text + text_n - 3, "\xEF\xBF\xBD", 3);
}

int long_place(const struct long_record *l, uint64_t at, uint64_t *ret_line, uint64_t *ret_column,
               struct err *err) {
    char v[1 << 14];
    *ret_line = *ret_column = 1;
    for (uint64_t from = 0; from < at;) {
        size_t n = at - from < sizeof v ? (size_t)(at - from) : sizeof v;
        int rc = scratch_read(l->fd, from, v, n, err);
        if (rc < 0) return rc;
        for (size_t i = 0; i < n; i++) {
            *ret_column = v[i] == '\n' ? 1 : *ret_column + 1;
            *ret_line += v[i] == '\n';
        }
        from += n;
    }
    return 0;
}

/* Bit by bit: a slice that cannot be cut is in memory once, not twice. */
int long_text(const struct long_record *l, uint64_t at, size_t n, struct buf *raw, struct buf *text,
              struct err *err) {
    enum { BIT = 1 << 20 };
    bool high;
    raw->n = text->n = 0;
    int rc = buf_reserve(raw, n < BIT ? n : BIT, err);
    if (rc == 0) rc = buf_reserve(text, n + SCAN_SLACK, err);
    if (rc == 0 && l->is_text) {
        text->n = n;
        return scratch_read(l->fd, at, text->v, n, err);
    }
    while (n && rc == 0) {
        size_t bit = n < BIT ? n : BIT, looked, made;
        rc = scratch_read(l->fd, at, raw->v, bit, err);
        if (rc < 0) break;
        char *to = text->v + text->n;
        scan_best()->unescape(to, raw->v, bit, &looked, &made, &high);
        if (bit < n && ends_in_half(raw->v, looked, to, made)) {
            looked -= ESCAPE_BYTES;
            made -= 3;
        }
        if (!looked) return err_set(err, ERR_CORRUPT, "a scratch file has changed");
        text->n += made;
        at += looked;
        n -= looked;
    }
    return rc;
}

int long_valid(const struct long_record *l, bool *ret, uint64_t *ret_at, struct err *err) {
    const char *v;
    int rc = long_map(l, &v, err);
    *ret = true;
    for (uint64_t at = 0, n; rc == 0 && *ret && at < l->bytes; at += n) {
        n = l->bytes - at < PIECE ? l->bytes - at : PIECE;
        for (int i = 0; i < 3 && at + n < l->bytes && (v[at + n] & 0xc0) == 0x80; i++)
            n--; /* not within a character */
        *ret = scan_best()->utf8(v + at, n);
        if (!*ret) *ret_at = at + utf8_error(v + at, l->bytes - at);
        mapping_forget(v, at, at + n);
    }
    if (rc == 0) long_unmap(l, v);
    return rc;
}

/* ------------------------------------------------------------------ what stays far */

void docs_stay_far(struct docs_opts *o) {
    o->cut_texts = o->cut_records = o->see_whole = o->stay_far = true;
}

int docs_far_text(const struct doc *doc, docs_put put, void *ctx, struct err *err) {
    const struct long_record *l = doc->far;
    struct buf raw = {0}, text = {0};
    size_t n = 0;
    bool followed;
    int rc = 0;
    for (uint64_t at = l->text_at; rc == 0 && at < l->end; at += n) {
        rc = long_slice(l, at, PIECE, true, &n, &followed, err);
        if (rc == 0) rc = long_text(l, at, n, &raw, &text, err);
        if (rc == 0) rc = put(ctx, text.v, text.n, err);
    }
    buf_release(&raw);
    buf_release(&text);
    return rc;
}

static int hash_more(void *ctx, const char *v, size_t n, struct err *err) {
    (void)err;
    xxh64_add(ctx, v, n);
    return 0;
}

int docs_text_hash(const struct doc *doc, uint64_t seed, uint64_t *ret, struct err *err) {
    if (!doc->far) {
        *ret = xxh64_bytes(doc->text, doc->n, seed);
        return 0;
    }
    struct xxh64 *x = xxh64_new(seed);
    if (!x) return err_nomem(err, 1);
    int rc = docs_far_text(doc, hash_more, x, err);
    *ret = xxh64_end(x);
    return rc;
}

int docs_far_map(const struct doc *doc, const char **ret, size_t *ret_n, struct err *err) {
    const struct long_record *l = doc->far;
    const char *map;
    *ret = NULL;
    *ret_n = 0;
    if (l->is_text) return 0;
    int rc = long_map(l, &map, err);
    if (rc < 0) return rc;
    *ret = map + l->line_at;
    *ret_n = l->line_n;
    return 0;
}

void docs_far_unmap(const struct doc *doc, const char *line) {
    if (line) long_unmap(doc->far, line - doc->far->line_at);
}

/* A string of JSON in pieces. */
struct quoting {
    docs_put put;
    void *ctx;
    struct buf quoted;
};

static int quote(void *ctx, const char *v, size_t n, struct err *err) {
    struct quoting *q = ctx;
    q->quoted.n = 0;
    int rc = json_quote(&q->quoted, v, n, err);
    return rc < 0 ? rc : q->put(q->ctx, q->quoted.v + 1, q->quoted.n - 2, err);
}

int docs_far_quoted(const struct doc *doc, docs_put put, void *ctx, struct err *err) {
    struct quoting q = {.put = put, .ctx = ctx};
    int rc = put(ctx, "\"", 1, err);
    if (rc == 0) rc = docs_far_text(doc, quote, &q, err);
    if (rc == 0) rc = put(ctx, "\"", 1, err);
    buf_release(&q.quoted);
    return rc;
}

static int put_text(const struct doc *doc, docs_put put, void *ctx, struct err *err) {
    static const char begin[] = "{\"text\": ";
    int rc = put(ctx, begin, sizeof begin - 1, err);
    if (rc == 0) rc = docs_far_quoted(doc, put, ctx, err);
    return rc < 0 ? rc : put(ctx, "}", 1, err);
}

int docs_far_line(const struct doc *doc, docs_put put, void *ctx, struct err *err) {
    const char *line;
    size_t n, all;
    if (doc->far->is_text) return put_text(doc, put, ctx, err);
    int rc = docs_far_map(doc, &line, &all, err);
    for (size_t at = 0; rc == 0 && at < all; at += n) {
        n = all - at < PIECE ? all - at : PIECE;
        rc = put(ctx, line + at, n, err);
        mapping_forget(line, at, at + n);
    }
    docs_far_unmap(doc, line);
    return rc;
}
