/* A codec whose plain bytes are made, not decoded: see rows.h. */
#include "stream/rows.h"

#include <stdlib.h>
#include <string.h>
#include "stream/codec_parts.h"

struct rows_state {
    struct rows rows;
    struct buf lines;
    size_t at; /* of `lines`, already given */
};

static int rows_open(struct codec *c, struct err *err) {
    (void)c, (void)err;
    return 0;
}

static long rows_read(struct codec *c, void *bytes, size_t n, struct err *err) {
    struct rows_state *s = c->state;
    if (s->at == s->lines.n) {
        s->at = s->lines.n = 0;
        int rc = s->rows.next(s->rows.ctx, &s->lines, err);
        c->in.fed = s->rows.stored(s->rows.ctx);
        if (rc <= 0) return rc;
    }
    size_t left = s->lines.n - s->at;
    if (n > left) n = left;
    memcpy(bytes, s->lines.v + s->at, n);
    s->at += n;
    return (long)n;
}

static void rows_close(struct codec *c) {
    struct rows_state *s = c->state;
    if (!s) return;
    s->rows.close(s->rows.ctx);
    buf_release(&s->lines);
    free(s);
}

static int rows_save(struct codec *c, struct buf *to, struct err *err) {
    struct rows_state *s = c->state;
    return s->at < s->lines.n ? 0 : s->rows.save(s->rows.ctx, to, err);
}

static int rows_resume(struct codec *c, struct cursor *from, struct err *err) {
    struct rows_state *s = c->state;
    return s->rows.resume(s->rows.ctx, from, err);
}

static const struct decoder codec_rows = {rows_open, rows_read,   rows_close,
                                          rows_save, rows_resume, 'r'};

bool codec_has_rows(const struct codec *c) {
    return c->decoder == &codec_rows;
}

/* A feed that has nothing: the rows read for themselves. */
static long no_bytes(void *ctx, void *bytes, size_t n, struct err *err) {
    (void)ctx, (void)bytes, (void)n, (void)err;
    return 0;
}

static int no_seek(void *ctx, uint64_t to, struct err *err) {
    (void)ctx, (void)to, (void)err;
    return 0;
}

static void no_close(void *ctx) {
    (void)ctx;
}

int rows_codec(struct codec **ret, const char *name, struct rows rows, struct err *err) {
    struct rows_state *s = calloc(1, sizeof *s);
    if (!s) {
        rows.close(rows.ctx);
        return err_nomem(err, sizeof *s);
    }
    s->rows = rows;
    struct feed none = {no_bytes, no_close, NULL, no_seek};
    int rc = codec_open_as(ret, name, none, &codec_rows, s, err);
    if (rc < 0) {
        rows.close(rows.ctx);
        free(s);
    }
    return rc;
}

int rows_quote(struct buf *to, const char *v, size_t n, struct err *err) {
    static const char hex[] = "0123456789abcdef";
    if (buf_reserve(to, 6 * n + 2, err) < 0) return ERR_NOMEM;
    char *o = to->v + to->n;
    *o++ = '"';
    for (size_t i = 0; i < n; i++) {
        unsigned char b = (unsigned char)v[i];
        if (b >= 0x20 && b != '"' && b != '\\') {
            *o++ = (char)b;
            continue;
        }
        *o++ = '\\';
        if (b == '\n')
            *o++ = 'n';
        else if (b >= 0x20)
            *o++ = (char)b;
        else {
            memcpy(o, "u00", 3);
            o[3] = hex[b >> 4];
            o[4] = hex[b & 15];
            o += 5;
        }
    }
    *o++ = '"';
    to->n = (size_t)(o - to->v);
    return 0;
}
