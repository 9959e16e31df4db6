/* A part's bytes to documents. Runs in the thread that asked for the batch, without a lock;
 * everything it finds goes into the part, and docs_settle() deals with it when it is the part's
 * turn. */
#include <stdlib.h>
#include <string.h>
#include "stream/docs_parts.h"
#include "stream/jsonl.h"
#include "stream/rows.h"
#include "stream/scan.h"
#include "tokenizer/tokenizer.h"

enum { COMPLAINTS_MAX = 5 };

static int add_doc(struct part *p, const struct doc *doc, struct err *err) {
    struct doc *v = mem_grown(p->batch.v, p->batch.n, &p->docs_cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    p->batch.v = v;
    v[p->batch.n++] = *doc;
    p->batch.text_bytes += doc->n;
    return 0;
}

/* One record as it lies in a part. */
struct piece {
    const char *v;
    size_t n;
    uint32_t file;
    uint64_t line_no;
    bool mapped; /* a long one, which is not to be held in memory: jsonl_field_mapped() */
};

static int text_doc(const struct docs *d, struct part *p, const struct piece *r, struct err *err) {
    if (d->opts.where.n || d->opts.prompt)
        return err_set(err, ERR_USAGE, "%s: a text file has no fields for --%s to look at",
                       d->list->v[r->file].name, d->opts.prompt ? "prompt" : "where");
    if (!d->opts.any_bytes && !scan_best()->utf8(r->v, r->n)) {
        size_t at = utf8_error(r->v, r->n);
        uint64_t line = r->line_no, column = p->continues ? p->first_column : 0;
        for (size_t i = 0; i < at; i++, column++)
            if (r->v[i] == '\n') line++, column = UINT64_MAX;
        err_set(err, ERR_DATA, "not UTF-8");
        err_place(err, line, column + 1, (p->continues ? p->begin : 0) + at);
        return ERR_DATA;
    }
    if (!docs_chosen(d, r->v, r->n)) return 0;
    const struct doc doc = {.text = r->v,
                            .n = r->n,
                            .line_no = r->line_no,
                            .continues = p->continues,
                            .goes_on = p->goes_on,
                            .follows = p->follows,
                            .followed = p->followed};
    return add_doc(p, &doc, err);
}

bool docs_is_blank(const char *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (v[i] != ' ' && v[i] != '\t' && v[i] != '\r') return false;
    return true;
}

/* Good JSON, but the text is not there or not text. */
static bool lacks_text(const struct err *err) {
    return !strncmp(err->msg, "no string field", 15) || !strncmp(err->msg, "field \"", 7);
}

/* The text of one field, or of two: the prompt's and the other's, joined in p->text. There is room:
 * together they are not longer than the line. */
static int get_text(const struct docs *d, struct part *p, const struct piece *r, struct doc *doc,
                    struct err *err) {
    const char *field = p->field, *prompt = d->opts.prompt;
    size_t field_n = strlen(field), from = p->text.n, n;
    const char *v;
    if (!prompt) return jsonl_field(r->v, r->n, field, field_n, &p->text, &doc->text, &doc->n, err);
    int rc = jsonl_field(r->v, r->n, prompt, strlen(prompt), &p->text, &v, &n, err);
    if (rc == 0 && p->text.n == from) rc = buf_append(&p->text, v, n, err);
    size_t behind = p->text.n;
    if (rc == 0) rc = jsonl_field(r->v, r->n, field, field_n, &p->text, &v, &doc->n, err);
    if (rc == 0 && p->text.n == behind) rc = buf_append(&p->text, v, doc->n, err);
    doc->text = p->text.v + from;
    doc->prompt_n = n;
    doc->n += n;
    return rc;
}

static int guess_field(const struct piece *r, char **ret, struct err *err) {
    return r->mapped ? jsonl_guess_field_mapped(r->v, r->n, ret, err)
                     : jsonl_guess_field(r->v, r->n, ret, err);
}

/* What to do about a record that is not as it should be. */
static void advise(const struct docs *d, const struct piece *r, struct err *err) {
    char *other = NULL;
    if (!strncmp(err->msg, "no string field \"", 17) && !d->opts.prompt &&
        guess_field(r, &other, NULL) == 0)
        err_hint(err, "choose another with --field %s, or --on-error skip", other);
    else if (lacks_text(err))
        err_hint(err, "leave such records out with --on-error skip");
    else if (r->line_no == 1 && *r->v == '<')
        err_hint(err, "it seems to be a web page, perhaps what a server said instead");
    else if (r->line_no == 1 && *r->v == '[')
        err_hint(err, "jq -c '.[]' makes that of a list");
    else if (r->line_no == 1 && *r->v == '{' && !r->mapped && docs_is_blank(r->v + 1, r->n - 1))
        err_hint(err, "a record is one line; jq -c . makes that of it");
    free(other);
}

/* A record that --where leaves out need not have the field, but has to be JSON. */
static int json_doc(const struct docs *d, struct part *p, const struct piece *r, struct err *err) {
    struct doc doc = {.line = r->v, .line_n = r->n, .line_no = r->line_no};
    char *other = NULL;
    int rc = p->field ? get_text(d, p, r, &doc, err) : guess_field(r, &other, err);
    free(other);
    bool wanted = docs_where(d, r->v, r->n);
    if (rc == 0) return wanted && docs_chosen(d, doc.text, doc.n) ? add_doc(p, &doc, err) : 0;
    if (rc == ERR_DATA && !wanted && lacks_text(err)) return 0;
    err->line = r->line_no;
    if (rc == ERR_DATA) advise(d, r, err);
    return rc;
}

static void say_place(const struct docs *d, const struct piece *r, struct err *err) {
    err_prefix(err, "%s:%llu:%llu", d->list->v[r->file].name, (unsigned long long)err->line,
               (unsigned long long)err->column);
}

static int too_long(const struct docs *d, const struct piece *r, struct err *err) {
    err_set(err, ERR_DATA, "the record is longer than %llu bytes (--max-line)",
            (unsigned long long)d->opts.max_record);
    err_place(err, r->line_no, 1, 0);
    return ERR_DATA;
}

/* \x01 MESSAGE \x01 ROW: a row that is none. */
static int bad_row(const struct piece *r, struct err *err) {
    const char *end = memchr(r->v + 1, ROWS_BAD, r->n - 1);
    int n = (int)(end ? end - r->v - 1 : 0);
    err_set(err, ERR_DATA, "%.*s", n, r->v + 1);
    err_place(err, r->line_no, 1, 0);
    return ERR_DATA;
}

static int record(const struct docs *d, struct part *p, const struct piece *r, bool is_text,
                  struct err *err) {
    bool none = p->is_table && r->n && *r->v == ROWS_BAD;
    int rc = p->too_long || r->n > d->opts.max_record ? too_long(d, r, err)
             : none                                   ? bad_row(r, err)
             : is_text                                ? text_doc(d, p, r, err)
                                                      : json_doc(d, p, r, err);
    if (rc == ERR_DATA) say_place(d, r, err);
    return rc;
}

/* A record or the codec failed. True: the part goes on; false: p->failed stands. */
static bool tolerate(const struct docs *d, struct part *p, const struct piece *r,
                     const struct err *failed) {
    if (failed->code != ERR_DATA || d->on_error == ON_ERROR_STOP) {
        p->failed = *failed;
        return false;
    }
    p->n_bad++;
    if (p->complaints.n < COMPLAINTS_MAX) strs_push(&p->complaints, failed->msg, NULL);
    if (d->on_error == ON_ERROR_FILE && r) {
        const char *v = r->v;
        if (p->is_table && r->n > 1 && *v == ROWS_BAD) v = memchr(v + 1, ROWS_BAD, r->n - 1) + 1;
        size_t from = p->bad.n;
        int rc = buf_append(&p->bad, v, (size_t)(r->v + r->n - v), &p->failed);
        for (size_t i = from; v != r->v && i < p->bad.n; i++)
            if (p->bad.v[i] == ROWS_NEWLINE) p->bad.v[i] = '\n';
        if (rc == 0) rc = buf_char(&p->bad, '\n', &p->failed);
        return rc == 0;
    }
    return true;
}

/* False: the part ends here. */
static bool one(const struct docs *d, struct part *p, const struct piece *r, bool is_text) {
    struct err err = {0};
    return record(d, p, r, is_text, &err) == 0 || tolerate(d, p, r, &err);
}

/* The next line of a part that holds JSON lines, without its newline and CR. False at the end. */
static bool next_line(const struct part *p, size_t *at, uint64_t *line_no, struct piece *r) {
    const char *v = p->data.v, *end;
    if (*at == 0 && p->first_line == 1 && p->data.n >= 3 && !memcmp(v, "\xef\xbb\xbf", 3)) *at = 3;
    while (*at < p->data.n) {
        r->v = v + *at;
        end = memchr(r->v, '\n', p->data.n - *at);
        r->n = end ? (size_t)(end - r->v) : p->data.n - *at;
        r->line_no = (*line_no)++;
        *at += r->n + 1;
        if (r->n && r->v[r->n - 1] == '\r') r->n--;
        if (!docs_is_blank(r->v, r->n)) return true;
    }
    return false;
}

static void extract(struct docs *d, struct part *p) {
    struct err codec_failed = p->failed;
    struct piece r = {.file = p->batch.file, .line_no = p->first_line};
    uint64_t line_no = p->first_line;
    size_t at = 0;
    bool on = true;
    p->failed.code = 0;
    /* Texts are never longer than what they stand in: one reservation, and pointers stay. A prompt
     * may stand behind the text that it comes to be before: twice as much. */
    size_t room = p->data.n * (d->opts.prompt ? 2 : 1) + SCAN_SLACK;
    if (!p->is_text && buf_reserve(&p->text, room, &p->failed) < 0) return;
    if (p->n_origins) {
        for (size_t i = 0; on && i < p->n_origins; i++) {
            const struct origin *o = &p->origins[i];
            r = (struct piece){
                .v = p->data.v + o->at, .n = o->n, .file = o->file, .line_no = o->line_no};
            on = one(d, p, &r, o->is_text);
        }
    } else if (p->too_long)
        on = one(d, p, &r, p->is_text);
    else if (p->is_text && !codec_failed.code) {
        r.v = p->data.v ? p->data.v : "";
        r.n = p->data.n;
        on = one(d, p, &r, true);
    } else if (!p->is_text)
        while (on && next_line(p, &at, &line_no, &r)) on = one(d, p, &r, false);
    if (on && codec_failed.code) tolerate(d, p, NULL, &codec_failed);
}

/* ------------------------------------------------------------------ long records */

/* Its text, as it stands in the record: validates all of it. */
static int find_text(const struct docs *d, const struct part *p, const struct piece *r,
                     const char **ret, size_t *ret_n, struct err *err) {
    const char *field = p->field;
    char *none = NULL;
    int rc = field ? jsonl_field_mapped(r->v, r->n, field, strlen(field), ret, ret_n, err)
                   : guess_field(r, &none, err);
    free(none);
    if (rc != ERR_DATA) return rc;
    err->line = r->line_no;
    advise(d, r, err);
    say_place(d, r, err);
    return rc;
}

struct text_part doc_part(const struct doc *d) {
    return (struct text_part){.text = d->text,
                              .n = d->n,
                              .begins = !d->continues,
                              .follows = d->follows,
                              .followed = d->followed};
}

/* A text that lies in a scratch file is UTF-8. */
static int check_text(const struct docs *d, const struct part *p, struct err *err) {
    uint64_t line, column, at;
    bool good = true;
    int rc = d->opts.any_bytes ? 0 : long_valid(p->record, &good, &at, err);
    if (rc == 0 && !good) rc = long_place(p->record, at, &line, &column, err);
    if (rc < 0 || good) return rc;
    return err_set(err, ERR_DATA, "%s:%llu:%llu: not UTF-8", d->list->v[p->batch.file].name,
                   (unsigned long long)line, (unsigned long long)column);
}

static bool begins_with_bom(const struct part *p, const char *v, size_t n) {
    return p->first_line == 1 && n >= 3 && !memcmp(v, "\xef\xbb\xbf", 3);
}

void docs_open_record(struct docs *d, struct part *p) {
    struct long_record *l = p->record;
    struct piece r = {.file = p->batch.file, .line_no = p->first_line, .mapped = true};
    struct err err = {0};
    const char *map, *text = NULL;
    size_t n;
    if (l->is_text) {
        l->has_text = check_text(d, p, &p->failed) == 0;
        l->end = l->bytes;
        return;
    }
    if (long_map(l, &map, &p->failed) < 0) return;
    size_t skip = begins_with_bom(p, map, l->bytes) ? 3 : 0;
    r.v = map + skip;
    r.n = l->bytes - skip;
    if (r.v[r.n - 1] == '\r') r.n--;
    if (l->blank) {
        long_unmap(l, map);
        return;
    }
    if (find_text(d, p, &r, &text, &n, &err) < 0)
        tolerate(d, p, NULL, &err);
    else if (text) {
        l->has_text = true;
        l->at = l->text_at = (uint64_t)(text - map);
        l->end = l->at + n;
        l->line_at = skip;
        l->line_n = r.n;
    }
    long_unmap(l, map);
}

static void extract_slice(struct part *p) {
    struct doc doc = {.line_no = p->first_line,
                      .continues = p->continues,
                      .goes_on = p->goes_on,
                      .follows = p->follows,
                      .followed = p->followed,
                      .far = p->record};
    if (long_text(p->record, p->raw_at, p->raw_n, &p->data, &p->text, &p->failed) < 0) return;
    doc.text = p->text.v;
    doc.n = p->text.n;
    add_doc(p, &doc, &p->failed);
}

static int count_text(void *ctx, const char *v, size_t n, struct err *err) {
    struct doc *doc = ctx;
    (void)v, (void)err;
    doc->n += n;
    return 0;
}

static void extract_far(struct part *p) {
    struct doc doc = {.line_no = p->first_line, .far = p->record};
    doc.line_n = p->record->line_n;
    if (docs_far_text(&doc, count_text, &doc, &p->failed) == 0) add_doc(p, &doc, &p->failed);
}

void docs_extract(struct docs *d, struct part *p) {
    if (p->is_slice)
        extract_slice(p);
    else if (p->is_far)
        extract_far(p);
    else if (!p->record)
        extract(d, p);
    p->broken = p->failed.code || (p->is_slice && p->goes_on); /* nowhere to go on from */
    if (p->failed.code) p->batch.last_of_file = false;         /* nobody may count it as read */
}

/* 0 is the best. */
static int rank(const char *field) {
    return !strcmp(field, "content") ? 0 : !strcmp(field, "text") ? 1 : 2;
}

static bool choose_by_record(struct docs *d, const struct part *p) {
    const char *v;
    if (p->record->blank || long_map(p->record, &v, NULL) < 0) return false;
    size_t n = p->record->bytes, skip = begins_with_bom(p, v, n) ? 3 : 0;
    jsonl_guess_field_mapped(v + skip, n - skip, &d->field, NULL);
    long_unmap(p->record, v);
    if (d->field) log_info(d->opts.log, "reading the field \"%s\"", d->field);
    return d->field != NULL;
}

/* Looks at more than one record: the first may be the one that lacks the field of all others. */
bool docs_choose_field(struct docs *d, const struct part *p) {
    enum { RECORDS_MAX = 64 };
    struct piece r = {0};
    size_t at = 0;
    uint64_t line_no = 1;
    char *field;
    if (d->field || p->is_text || p->too_long) return d->field != NULL;
    if (p->record) return choose_by_record(d, p);
    for (int i = 0; i < RECORDS_MAX && next_line(p, &at, &line_no, &r); i++) {
        if (!docs_where(d, r.v, r.n) || jsonl_guess_field(r.v, r.n, &field, NULL) < 0) continue;
        bool better = !d->field || rank(field) < rank(d->field);
        free(better ? d->field : field);
        if (better) d->field = field;
        if (rank(d->field) == 0) break;
    }
    if (d->field) log_info(d->opts.log, "reading the field \"%s\"", d->field);
    return d->field != NULL;
}
