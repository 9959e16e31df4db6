/* CSV rows to JSON lines: see csv.h.
 *
 *   text ─▶ raw [ taken | row | …… ]    a row ends at a newline outside quotes; what is cut off at
 *                                       the buffer's end waits for more */
#include "stream/csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "stream/cursor_parts.h"
#include "stream/rows.h"

enum { READ_BYTES = 256 << 10, LINES_BYTES = 128 << 10 };

struct csv {
    struct codec *text;
    char *name;
    char separator;
    uint64_t max;
    struct buf raw;
    size_t at; /* of raw, taken */
    bool ended;
    uint64_t line; /* of the file, at `at` */
    size_t seen;   /* bytes of the row at `at` that row_bytes() has looked at, and what it found */
    uint64_t lines;
    enum {
        FIELD,
        BARE,
        QUOTED,
        QUOTE
    } inside; /* at a field's beginning; in one without quotes; in
                                                   one with; at a quote in it: is it doubled? */
    struct strs header;
    struct buf field;
    size_t *ends; /* of the row's fields in `field` */
    size_t n_ends, cap_ends;
};

static int more(struct csv *c, struct err *err) {
    if (c->at) {
        memmove(c->raw.v, c->raw.v + c->at, c->raw.n - c->at);
        c->raw.n -= c->at;
        c->at = 0;
    }
    if (buf_reserve(&c->raw, READ_BYTES, err) < 0) return ERR_NOMEM;
    long got = codec_read(c->text, c->raw.v + c->raw.n, READ_BYTES, err);
    if (got < 0) return (int)got;
    c->ended = got == 0;
    c->raw.n += (size_t)got;
    return 0;
}

/* The length of the row at c->at with its newline (LF, CRLF or CR); 0 if it is not all there. Goes
 * on where it stopped when there was less of it. A quote means something at a field's beginning
 * only: 5" is a field like any other. */
static size_t row_bytes(struct csv *c) {
    const char *v = c->raw.v + c->at;
    size_t n = c->raw.n - c->at, i = c->seen;
    bool whole = false;
    for (; i < n && !whole; i++) {
        if (c->inside == QUOTED) {
            if (v[i] == '"') c->inside = QUOTE;
            c->lines += v[i] == '\n';
        } else if (v[i] == '"' && c->inside != BARE)
            c->inside = QUOTED; /* opened, or a doubled one */
        else if (v[i] == c->separator)
            c->inside = FIELD;
        else if (v[i] == '\r' && i + 1 == n && !c->ended)
            break; /* what follows may be its LF */
        else if (v[i] == '\n' || (v[i] == '\r' && (i + 1 == n || v[i + 1] != '\n'))) {
            c->lines++;
            whole = true;
        } else
            c->inside = BARE;
    }
    c->seen = i;
    return whole || (c->ended && c->inside != QUOTED) ? i : 0;
}

static void take_row(struct csv *c, size_t bytes) {
    c->at += bytes;
    c->line += c->lines;
    c->seen = c->lines = 0;
    c->inside = FIELD;
}

static int end_field(struct csv *c, struct err *err) {
    size_t *v = mem_grown(c->ends, c->n_ends, &c->cap_ends, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    c->ends = v;
    v[c->n_ends++] = c->field.n;
    return 0;
}

/* The field at v: appends it to c->field; behind it, or NULL if text follows its closing quote. */
static const char *take_field(struct csv *c, const char *v, const char *end) {
    char *o = c->field.v + c->field.n;
    if (v < end && *v == '"') {
        for (v++; v < end; v++) {
            if (*v == '"' && (v + 1 == end || v[1] != '"')) break;
            if (*v == '"') v++;
            *o++ = *v;
        }
        v += v < end;
        if (v < end && *v != c->separator) return NULL;
    } else
        while (v < end && *v != c->separator) *o++ = *v++;
    c->field.n = (size_t)(o - c->field.v);
    return v;
}

/* Cuts v[0..n), a row without its newline, into fields. 1, 0 if it is none, or a negative code. */
static int cut_fields(struct csv *c, const char *v, size_t n, struct err *err) {
    const char *end = v + n;
    c->field.n = c->n_ends = 0;
    if (buf_reserve(&c->field, n + 1, err) < 0) return ERR_NOMEM;
    for (;;) {
        v = take_field(c, v, end);
        if (!v) return 0;
        if (end_field(c, err) < 0) return ERR_NOMEM;
        if (v == end) return 1;
        v++;
    }
}

static int at_line(const struct csv *c, struct err *err, const char *what) {
    err_set(err, ERR_DATA, "%s:%llu:1: %s", c->name, (unsigned long long)c->line, what);
    err_place(err, c->line, 1, 0);
    return ERR_DATA;
}

static int too_long(const struct csv *c, struct err *err) {
    char what[96];
    snprintf(what, sizeof what, "a row longer than %llu bytes; is a quote not closed?",
             (unsigned long long)c->max);
    return at_line(c, err, what);
}

/* The next row that is not blank, its fields cut: 1, 0 at the end, or a negative code. The row is
 * raw[at..at + *n), *bytes with its newline, and not taken yet; *wrong if it is not CSV. */
static int next_row(struct csv *c, size_t *n, size_t *bytes, bool *wrong, struct err *err) {
    for (;;) {
        int rc;
        while (!(*bytes = row_bytes(c)) && !c->ended) {
            if (c->raw.n - c->at > c->max) return too_long(c, err);
            if ((rc = more(c, err)) < 0) return rc;
        }
        if (!*bytes && c->at == c->raw.n) return 0;
        if (!*bytes) return at_line(c, err, "a quote is opened and never closed");
        const char *v = c->raw.v + c->at;
        *n = *bytes;
        if (v[*n - 1] == '\n') --*n;
        if (*n && v[*n - 1] == '\r') --*n;
        if (*n) {
            rc = cut_fields(c, v, *n, err);
            *wrong = rc == 0;
            return rc < 0 ? rc : 1;
        }
        take_row(c, *bytes);
    }
}

/* ------------------------------------------------------------------ the header */

static int name_column(struct csv *c, const char *v, size_t n, struct err *err) {
    char made[32];
    if (!n) n = (size_t)snprintf(made, sizeof made, "column_%zu", c->header.n + 1), v = made;
    char *name = strndup(v, n);
    int rc = name ? 0 : err_nomem(err, n);
    for (size_t i = 0; rc == 0 && i < c->header.n; i++)
        if (!strcmp(c->header.v[i], name)) {
            char what[128];
            snprintf(what, sizeof what, "two columns are called \"%.60s\"", name);
            rc = at_line(c, err, what);
        }
    if (rc == 0) rc = strs_push(&c->header, name, err);
    free(name);
    return rc;
}

static int read_header(struct csv *c, struct err *err) {
    size_t n, bytes;
    bool wrong = false;
    int rc = 0;
    while (rc == 0 && c->raw.n < 3 && !c->ended) rc = more(c, err);
    if (rc < 0) return rc;
    if (c->raw.n >= 3 && !memcmp(c->raw.v, "\xef\xbb\xbf", 3)) c->at = 3;
    if (c->raw.n >= 2 && (!memcmp(c->raw.v, "\xff\xfe", 2) || !memcmp(c->raw.v, "\xfe\xff", 2)))
        return at_line(c, err, "not UTF-8 but UTF-16; iconv -f UTF-16 -t UTF-8 makes it that");
    rc = next_row(c, &n, &bytes, &wrong, err);
    if (rc == 0) return at_line(c, err, "empty: a header is wanted");
    if (rc > 0 && wrong) return at_line(c, err, "the header is not CSV: text behind a quote");
    if (rc < 0) return rc;
    rc = 0;
    for (size_t i = 0, from = 0; rc == 0 && i < c->n_ends; from = c->ends[i++])
        rc = name_column(c, c->field.v + from, c->ends[i] - from, err);
    take_row(c, bytes);
    return rc;
}

/* ------------------------------------------------------------------ rows */

static int put_row(struct csv *c, struct buf *to, struct err *err) {
    int rc = buf_char(to, '{', err);
    for (size_t i = 0, from = 0; rc == 0 && i < c->n_ends; from = c->ends[i++]) {
        if (i) rc = buf_str(to, ", ", err);
        if (rc == 0) rc = rows_quote(to, c->header.v[i], strlen(c->header.v[i]), err);
        if (rc == 0) rc = buf_str(to, ": ", err);
        if (rc == 0) rc = rows_quote(to, c->field.v + from, c->ends[i] - from, err);
    }
    return rc < 0 ? rc : buf_str(to, "}\n", err);
}

static int put_bad(struct csv *c, size_t n, bool quote, struct buf *to, struct err *err) {
    int rc = quote ? buf_printf(to, err, "\x01text behind a closing quote (line %llu)\x01",
                                (unsigned long long)c->line)
                   : buf_printf(to, err, "\x01%zu fields, the header has %zu (line %llu)\x01",
                                c->n_ends, c->header.n, (unsigned long long)c->line);
    size_t from = to->n;
    if (rc == 0) rc = buf_append(to, c->raw.v + c->at, n, err);
    for (size_t i = from; rc == 0 && i < to->n; i++)
        if (to->v[i] == '\n') to->v[i] = ROWS_NEWLINE;
    return rc < 0 ? rc : buf_char(to, '\n', err);
}

static int csv_next(void *ctx, struct buf *lines, struct err *err) {
    struct csv *c = ctx;
    size_t before = lines->n, n, bytes;
    bool wrong;
    while (lines->n < LINES_BYTES) {
        int rc = next_row(c, &n, &bytes, &wrong, err);
        if (rc < 0) return rc;
        if (rc == 0) break;
        bool good = !wrong && c->n_ends == c->header.n;
        rc = good ? put_row(c, lines, err) : put_bad(c, n, wrong, lines, err);
        if (rc < 0) return rc;
        take_row(c, bytes);
    }
    return lines->n > before;
}

static void csv_close(void *ctx) {
    struct csv *c = ctx;
    codec_close(c->text);
    buf_release(&c->raw);
    buf_release(&c->field);
    strs_release(&c->header);
    free(c->ends);
    free(c->name);
    free(c);
}

static uint64_t csv_stored(void *ctx) {
    return codec_stored(((struct csv *)ctx)->text);
}

/* Where the text stands, and what of it is not taken yet. */
static int csv_save(void *ctx, struct buf *to, struct err *err) {
    struct csv *c = ctx;
    size_t before = to->n;
    int rc = put_u64(to, c->line, err);
    if (rc == 0) rc = put_bytes(to, c->raw.v + c->at, c->raw.n - c->at, err);
    if (rc == 0) rc = codec_save(c->text, to, err);
    if (rc <= 0) to->n = before;
    return rc;
}

static int csv_resume(void *ctx, struct cursor *from, struct err *err) {
    struct csv *c = ctx;
    size_t n;
    uint64_t line = cursor_u64(from);
    const uint8_t *raw = cursor_bytes(from, &n);
    struct buf left = {0};
    if (from->bad) return 0;
    int rc = buf_append(&left, raw, n, err);
    /* The header has been read from the beginning already: the text goes on behind it. */
    if (rc == 0) rc = codec_resume(c->text, from->at, from->left, err);
    if (rc <= 0) {
        buf_release(&left);
        return rc;
    }
    buf_release(&c->raw);
    c->raw = left;
    c->at = c->seen = c->lines = 0;
    c->ended = false;
    c->inside = FIELD;
    c->line = line;
    return 1;
}

int csv_codec(struct codec **ret, const char *name, struct codec *text, char separator,
              uint64_t max, struct err *err) {
    struct csv *c = calloc(1, sizeof *c);
    char *copy = strdup(name);
    if (!c || !copy) {
        free(c);
        free(copy);
        codec_close(text);
        return err_nomem(err, sizeof *c);
    }
    *c = (struct csv){.text = text, .name = copy, .separator = separator, .max = max, .line = 1};
    int rc = read_header(c, err);
    if (rc < 0) {
        csv_close(c);
        return rc;
    }
    struct rows rows = {csv_next, csv_close, csv_stored, csv_save, csv_resume, c};
    return rows_codec(ret, name, rows, err);
}
