/* What a file of the list is, and opening it: compressed or not, a member of an archive, a
 * table. */
#include <stdlib.h>
#include <string.h>
#include "stream/csv.h"
#include "stream/docs_parts.h"
#include "stream/feed.h"
#include "stream/parquet.h"
#include "stream/remote.h"
#include "stream/archive.h"

/* The name without what names a compression, and without the query of an address. */
static bool named(const char *name, const char *const *ends, size_t n_ends) {
    size_t n = strcspn(name, "?");
    if (n > 3 && !memcmp(name + n - 3, ".gz", 3))
        n -= 3;
    else if (n > 4 && !memcmp(name + n - 4, ".zst", 4))
        n -= 4;
    for (size_t i = 0; i < n_ends; i++) {
        size_t k = strlen(ends[i]);
        if (n > k && !memcmp(name + n - k, ends[i], k)) return true;
    }
    return false;
}

bool docs_is_text(const struct docs *d, const char *name, const struct buf *head) {
    static const char *const json[] = {".json", ".jsonl", ".ndjson"};
    static const char *const text[] = {".txt", ".text", ".md", ".rst", ".py", ".c", ".h"};
    if (d->format != DOCS_AUTO) return d->format == DOCS_TEXT;
    if (named(name, json, sizeof json / sizeof *json)) return false;
    if (named(name, text, sizeof text / sizeof *text)) return true;
    size_t i = head->n >= 3 && !memcmp(head->v, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (i < head->n && strchr(" \t\r\n", head->v[i])) i++;
    return i < head->n && head->v[i] != '{';
}

/* What lies in the place of a file now and then. Better named than called bad JSON, or taken for a
 * text. */
static int refuse(const char *name, const char *v, size_t n, bool any_bytes, struct err *err) {
    static const char lfs[] = "version https://git-lfs.github.com/spec/";
    enum { TAR_MAGIC_AT = 257 };
    if (n >= sizeof lfs - 1 && !memcmp(v, lfs, sizeof lfs - 1))
        return err_set(err, ERR_DATA,
                       "%s: is a Git LFS pointer, not the file itself; git lfs pull fetches that",
                       name);
    if (n >= TAR_MAGIC_AT + 5 && !memcmp(v + TAR_MAGIC_AT, "ustar", 5))
        return err_set(err, ERR_DATA, "%s: is a tar archive, which is not read here; unpack it",
                       name);
    if (!any_bytes && n >= 2 && (!memcmp(v, "\xff\xfe", 2) || !memcmp(v, "\xfe\xff", 2)))
        return err_set(err, ERR_DATA,
                       "%s:1:1: not UTF-8 but UTF-16; iconv -f UTF-16 -t UTF-8 makes it that",
                       name);
    return 0;
}

int docs_refuse(const struct docs *d, const char *name, const struct buf *head, struct err *err) {
    return refuse(name, head->v, head->n, d->opts.any_bytes, err);
}

/* ------------------------------------------------------------------ tables */

/* 0: no CSV. */
static char separator(const struct docs *d, const char *name) {
    static const char *const csv[] = {".csv"}, *const tsv[] = {".tsv"};
    if (d->format == DOCS_CSV) return ',';
    if (d->format == DOCS_TSV) return '\t';
    if (d->format != DOCS_AUTO) return 0;
    return named(name, csv, 1) ? ',' : named(name, tsv, 1) ? '\t' : 0;
}

/* The columns that a text and its choice can need. */
static int needed(const struct docs *d, const char *name, const struct blob *from,
                  struct strs *only, struct err *err) {
    char *field = d->opts.field ? strdup(d->opts.field) : NULL;
    int rc = 0;
    if (!d->opts.field) rc = parquet_guess_field(&field, name, from, err);
    if (rc == 0 && field) rc = strs_push(only, field, err);
    if (rc == 0 && field && d->opts.prompt) rc = strs_push(only, d->opts.prompt, err);
    for (size_t i = 0; rc == 0 && field && i < d->opts.where.n; i++) {
        const char *where = d->opts.where.v[i];
        char *column = strndup(where, strcspn(where, "="));
        rc = column ? strs_push(only, column, err) : err_nomem(err, strlen(where));
        free(column);
    }
    free(field);
    return rc;
}

static int open_parquet(struct docs *d, const struct source_file *src, struct blob from,
                        struct codec **ret, struct err *err) {
    struct strs only = {0};
    int rc = d->opts.text_only ? needed(d, src->name, &from, &only, err) : 0;
    if (rc < 0)
        from.close(from.ctx);
    else
        rc = parquet_codec(ret, src->name, from, only.n ? &only : NULL, d->opts.max_record, err);
    strs_release(&only);
    return rc;
}

/* 1 and a blob if the file is Parquet, else 0. Only what can be read from anywhere is looked at. */
static int parquet_blob(const struct docs *d, const struct source_file *src, struct blob *ret,
                        struct err *err) {
    static const char *const ends[] = {".parquet"};
    char head[48] = "";
    bool asked = d->format == DOCS_PARQUET;
    if (!asked && d->format != DOCS_AUTO) return 0;
    if (src->member || !strcmp(src->path, "-")) {
        if (!asked) return 0;
        return err_set(err, ERR_USAGE, "%s: Parquet is read from a file or an address only",
                       src->name);
    }
    if (remote_is_http(src->path)) {
        if (!asked && !named(src->name, ends, 1)) return 0;
        int rc = remote_blob(src, d->opts.hub, ret, err);
        return rc < 0 ? rc : 1;
    }
    if (file_kind(src->path) != FILE_REGULAR && !asked) return 0;
    int rc = blob_file(ret, src->path, err);
    size_t n = rc == 0 && ret->bytes < sizeof head ? (size_t)ret->bytes : sizeof head;
    if (rc == 0) rc = ret->read(ret->ctx, 0, head, n, err);
    if (rc == 0 && (asked || !memcmp(head, "PAR1", 4))) return 1;
    if (rc == 0 && named(src->name, ends, 1)) {
        rc = refuse(src->name, head, n, false, err);
        if (rc == 0)
            rc = err_set(err, ERR_DATA, "%s: %s; --format says what else it is", src->name,
                         n ? "does not begin as a Parquet file does" : "is empty");
    }
    if (ret->ctx) ret->close(ret->ctx);
    return rc;
}

/* ------------------------------------------------------------------ opening */

/* Whether the stream goes on within this file, from a place that spares reading what is before. */
static bool is_resumed(const struct docs *d, uint32_t file) {
    for (size_t g = 0; g < d->n_lanes; g++) {
        const struct place *p = &d->lanes[g].start;
        if (p->seek && p->at < d->list->n && d->sequence[p->at] == file) return true;
    }
    return false;
}

int docs_open_file(struct docs *d, uint32_t file, struct codec **ret, int *live, struct err *err) {
    const struct source_file *src = &d->list->v[file];
    struct blob blob = {0};
    struct codec *text;
    struct feed feed;
    *live = -1;
    int rc = parquet_blob(d, src, &blob, err);
    if (rc < 0) return rc;
    if (rc > 0) return open_parquet(d, src, blob, ret, err);
    if (remote_is_http(src->path) && !src->member)
        rc = codec_open(&text, src, d->opts.hub, is_resumed(d, file), err);
    else {
        rc = src->member ? zip_feed(src, d->opts.hub, &feed, err)
                         : feed_live(src->path, d->wake, &feed, live, err);
        if (rc == 0) rc = codec_open_feed(&text, src->name, feed, err);
    }
    if (rc < 0) return rc;
    if (d->opts.state_every) codec_keep_places(text);
    char by = separator(d, src->name);
    if (by) return csv_codec(ret, src->name, text, by, d->opts.max_record, err);
    *ret = text;
    return 0;
}
