/* See jsonl_edit.h. */
#include "stream/jsonl_edit.h"

#include <stdint.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "stream/scan.h"

/* A line, which may be a mapping: then strides of it that were walked through are given back. */
struct walk {
    const char *v;
    size_t n;
    size_t next; /* where the stride ends; of what is no mapping, nowhere */
};

enum { STRIDE = 1 << 20 };

static struct walk walk_from(const char *v, size_t n, size_t at, bool mapped) {
    return (struct walk){v, n, mapped ? at / STRIDE * STRIDE + STRIDE : SIZE_MAX};
}

static void forget(struct walk *w, size_t i) {
    mapping_forget(w->v, w->next - STRIDE, i);
    w->next = i / STRIDE * STRIDE + STRIDE;
}

static size_t skip_space(struct walk *w, size_t i) {
    const char *v = w->v;
    for (; i < w->n && (v[i] == ' ' || v[i] == '\t' || v[i] == '\r' || v[i] == '\n'); i++)
        if (i >= w->next) forget(w, i);
    return i;
}

/* v[i] is the opening quote; the place behind the closing one. */
static size_t skip_string(struct walk *w, size_t i) {
    for (i++; i < w->n && w->v[i] != '"'; i++) {
        if (w->v[i] == '\\') i++;
        if (i >= w->next) forget(w, i);
    }
    return i < w->n ? i + 1 : w->n;
}

static size_t skip_value(struct walk *w, size_t i) {
    size_t depth = 0;
    while (i < w->n) {
        char c = w->v[i];
        if (i >= w->next) forget(w, i);
        if (c == '"') {
            i = skip_string(w, i);
            if (!depth) return i;
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']') {
            if (!depth) return i;
            if (!--depth) return i + 1;
        } else if (!depth && (c == ',' || c == ' ' || c == '\t' || c == '\r'))
            return i;
        i++;
    }
    return w->n;
}

static bool next(struct walk *w, size_t *at, struct jsonl_member *ret) {
    const char *line = w->v;
    size_t n = w->n, i = skip_space(w, *at);
    if (i == n || (line[i] != '{' && line[i] != ',')) return false;
    i = skip_space(w, i + 1);
    if (i == n || line[i] != '"') return false;
    size_t end = skip_string(w, i);
    ret->key = line + i + 1;
    ret->key_n = end - i - 2;
    i = skip_space(w, end);
    i = skip_space(w, i + 1); /* the colon */
    end = skip_value(w, i);
    ret->value = line + i;
    ret->value_n = end - i;
    *at = end;
    return true;
}

bool jsonl_next(const char *line, size_t n, size_t *at, struct jsonl_member *ret) {
    struct walk w = walk_from(line, n, *at, false);
    return next(&w, at, ret);
}

bool jsonl_next_mapped(const char *line, size_t n, size_t *at, struct jsonl_member *ret) {
    struct walk w = walk_from(line, n, *at, true);
    return next(&w, at, ret);
}

int jsonl_text(const char *v, size_t n, struct buf *room, const char **ret, size_t *ret_n,
               struct err *err) {
    size_t at, text_n;
    bool high;
    *ret = v;
    *ret_n = n;
    if (!memchr(v, '\\', n)) return 0;
    room->n = 0;
    int rc = buf_reserve(room, n + SCAN_SLACK, err);
    if (rc < 0) return rc;
    if (scan_bytes_plain.unescape(room->v, v, n, &at, &text_n, &high) != SCAN_OPEN) return 0;
    *ret = room->v;
    *ret_n = room->n = text_n;
    return 0;
}

int jsonl_value(const struct jsonl_member *m, struct buf *room, const char **ret, size_t *ret_n,
                struct err *err) {
    struct buf text = {0};
    *ret = m->value;
    *ret_n = m->value_n;
    if (*m->value != '"' || !memchr(m->value, '\\', m->value_n)) return 0;
    room->n = 0;
    int rc = jsonl_text(m->value + 1, m->value_n - 2, &text, ret, ret_n, err);
    if (rc == 0) rc = json_quote(room, *ret, *ret_n, err);
    *ret = room->v;
    *ret_n = room->n;
    buf_release(&text);
    return rc;
}

/* 1 if the member has one of these names. */
static int is_named(const struct jsonl_member *m, const char *const *names, size_t n,
                    struct err *err) {
    struct buf room = {0};
    const char *key;
    size_t key_n, longest = 0;
    for (size_t i = 0; i < n; i++)
        if (strlen(names[i]) > longest) longest = strlen(names[i]);
    if (m->key_n > 6 * longest) return 0; /* six bytes stand for one at most */
    int rc = jsonl_text(m->key, m->key_n, &room, &key, &key_n, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = strlen(names[i]) == key_n && !memcmp(names[i], key, key_n);
    buf_release(&room);
    return rc;
}

/* v[from..to) of the line. */
static int put_bytes(struct walk *w, size_t from, size_t to, jsonl_put put, void *ctx,
                     struct err *err) {
    int rc = 0;
    for (size_t n; rc == 0 && from < to; from += n) {
        n = w->next == SIZE_MAX || to - from < STRIDE ? to - from : STRIDE;
        rc = put(ctx, w->v + from, n, err);
        if (w->next != SIZE_MAX) mapping_forget(w->v, from, from + n);
    }
    return rc;
}

/* Finds out whether the object has members at all, and one of these names. */
static int look(struct walk *w, const char *const *without, size_t n_without, size_t *ret_end,
                bool *ret_none, struct err *err) {
    struct jsonl_member m;
    int named = 0;
    *ret_end = 0;
    *ret_none = true;
    while (!named && next(w, ret_end, &m)) {
        named = is_named(&m, without, n_without, err);
        *ret_none = false;
    }
    return named;
}

static int open_to(const char *line, size_t n, bool mapped, const char *const *without,
                   size_t n_without, jsonl_put put, void *ctx, struct err *err) {
    struct walk w = walk_from(line, n, 0, mapped);
    struct jsonl_member m;
    size_t at;
    bool none;
    int named = look(&w, without, n_without, &at, &none, err);
    if (named < 0) return named;
    if (!named && !none) /* as it stands, up to the brace */
        return put_bytes(&w, 0, at, put, ctx, err);
    int rc = put(ctx, "{", 1, err);
    bool first = true;
    w = walk_from(line, n, 0, mapped);
    for (at = 0; rc == 0 && next(&w, &at, &m);) {
        size_t key = (size_t)(m.key - line), value = (size_t)(m.value - line);
        named = is_named(&m, without, n_without, err);
        if (named < 0) return named;
        if (named) continue;
        rc = first ? put(ctx, "\"", 1, err) : put(ctx, ", \"", 3, err);
        first = false;
        if (rc == 0) rc = put_bytes(&w, key, key + m.key_n, put, ctx, err);
        if (rc == 0) rc = put(ctx, "\": ", 3, err);
        if (rc == 0) rc = put_bytes(&w, value, value + m.value_n, put, ctx, err);
    }
    return rc;
}

static int append(void *ctx, const char *v, size_t n, struct err *err) {
    return buf_append(ctx, v, n, err);
}

int jsonl_open(const char *line, size_t n, const char *const *without, size_t n_without,
               struct buf *out, struct err *err) {
    return open_to(line, n, false, without, n_without, append, out, err);
}

int jsonl_open_mapped(const char *line, size_t n, const char *const *without, size_t n_without,
                      jsonl_put put, void *ctx, struct err *err) {
    return open_to(line, n, true, without, n_without, put, ctx, err);
}

int jsonl_begin_member(struct buf *out, const char *key, struct err *err) {
    int rc = out->n && out->v[out->n - 1] != '{' ? buf_str(out, ", ", err) : 0;
    if (rc == 0) rc = json_quote(out, key, strlen(key), err);
    return rc < 0 ? rc : buf_str(out, ": ", err);
}
