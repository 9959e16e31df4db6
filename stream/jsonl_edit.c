/* See jsonl_edit.h. */
#include "stream/jsonl_edit.h"

#include <string.h>
#include "base/json.h"
#include "stream/scan.h"

static size_t skip_space(const char *v, size_t n, size_t i) {
    while (i < n && (v[i] == ' ' || v[i] == '\t' || v[i] == '\r' || v[i] == '\n')) i++;
    return i;
}

/* v[i] is the opening quote; the place behind the closing one. */
static size_t skip_string(const char *v, size_t n, size_t i) {
    for (i++; i < n && v[i] != '"'; i++)
        if (v[i] == '\\') i++;
    return i < n ? i + 1 : n;
}

static size_t skip_value(const char *v, size_t n, size_t i) {
    size_t depth = 0;
    while (i < n) {
        char c = v[i];
        if (c == '"') {
            i = skip_string(v, n, i);
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
    return n;
}

bool jsonl_next(const char *line, size_t n, size_t *at, struct jsonl_member *ret) {
    size_t i = skip_space(line, n, *at);
    if (i == n || (line[i] != '{' && line[i] != ',')) return false;
    i = skip_space(line, n, i + 1);
    if (i == n || line[i] != '"') return false;
    size_t end = skip_string(line, n, i);
    ret->key = line + i + 1;
    ret->key_n = end - i - 2;
    i = skip_space(line, n, end);
    i = skip_space(line, n, i + 1); /* the colon */
    end = skip_value(line, n, i);
    ret->value = line + i;
    ret->value_n = end - i;
    *at = end;
    return true;
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
    size_t key_n;
    int rc = jsonl_text(m->key, m->key_n, &room, &key, &key_n, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = strlen(names[i]) == key_n && !memcmp(names[i], key, key_n);
    buf_release(&room);
    return rc;
}

int jsonl_open(const char *line, size_t n, const char *const *without, size_t n_without,
               struct buf *out, struct err *err) {
    struct jsonl_member m;
    size_t at = 0;
    bool all = true, none = true;
    int named = 0;
    while (all && jsonl_next(line, n, &at, &m)) {
        named = is_named(&m, without, n_without, err);
        if (named < 0) return named;
        all = !named;
        none = false;
    }
    if (all && !none) return buf_append(out, line, at, err); /* as it stands, up to the brace */
    int rc = buf_char(out, '{', err);
    bool first = true;
    for (at = 0; rc == 0 && jsonl_next(line, n, &at, &m);) {
        named = is_named(&m, without, n_without, err);
        if (named < 0) return named;
        if (named) continue;
        if (!first) rc = buf_str(out, ", ", err);
        first = false;
        if (rc == 0) rc = buf_char(out, '"', err);
        if (rc == 0) rc = buf_append(out, m.key, m.key_n, err);
        if (rc == 0) rc = buf_str(out, "\": ", err);
        if (rc == 0) rc = buf_append(out, m.value, m.value_n, err);
    }
    return rc;
}

int jsonl_begin_member(struct buf *out, const char *key, struct err *err) {
    int rc = out->n && out->v[out->n - 1] != '{' ? buf_str(out, ", ", err) : 0;
    if (rc == 0) rc = json_quote(out, key, strlen(key), err);
    return rc < 0 ? rc : buf_str(out, ": ", err);
}
