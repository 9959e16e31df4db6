/* --where, --contains and --sample: which records are wanted at all. Runs where extraction does,
 * without a lock. */
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "stream/docs_parts.h"
#include "stream/jsonl.h"
#include "stream/jsonl_edit.h"

static const uint64_t SAMPLE_KEY = 0x73616d706c650000; /* "sample": not the split of shard's hash */

static const char *skip_space(const char *v, const char *end) {
    while (v < end && strchr(" \t\r\n", *v) && *v) v++;
    return v;
}

/* v stands at the opening quote. Behind the closing one, or NULL. */
static const char *skip_string(const char *v, const char *end) {
    for (v++; v < end && *v != '"'; v++)
        if (*v == '\\') v++;
    return v < end ? v + 1 : NULL;
}

/* Behind a value, or NULL. What is within braces is not looked at closer: whether the record is
 * good JSON is told by jsonl.c. */
static const char *skip_value(const char *v, const char *end) {
    size_t depth = 0;
    while (v && v < end) {
        if (*v == '"') {
            v = skip_string(v, end);
            if (!depth) return v;
            continue;
        }
        if (*v == '{' || *v == '[')
            depth++;
        else if (depth && (*v == '}' || *v == ']')) {
            if (!--depth) return v + 1;
        } else if (!depth && strchr(",} \t\r\n", *v))
            return v;
        v++;
    }
    return NULL;
}

static bool equal(const char *a, size_t a_n, const char *b, size_t b_n) {
    return a_n == b_n && !memcmp(a, b, a_n);
}

/* Whether a key, as it is written, is `field`. */
static bool is_key(const char *key, size_t key_n, const char *field, size_t n) {
    struct buf room = {0};
    bool is = jsonl_text(key, key_n, &room, &key, &key_n, NULL) == 0 && equal(key, key_n, field, n);
    buf_release(&room);
    return is;
}

/* The value of a member of the object, as it is written. */
static bool member(const char *v, const char *end, const char *field, size_t n, const char **ret,
                   size_t *ret_n) {
    v = skip_space(v, end);
    if (v == end || *v != '{') return false;
    while (v < end && (*v == '{' || *v == ',')) {
        const char *key = skip_space(v + 1, end);
        const char *behind = key < end && *key == '"' ? skip_string(key, end) : NULL;
        const char *colon = behind ? skip_space(behind, end) : end;
        if (colon == end || *colon != ':') return false;
        const char *value = skip_space(colon + 1, end);
        v = skip_value(value, end);
        if (!v) return false;
        if (is_key(key + 1, (size_t)(behind - key) - 2, field, n)) {
            *ret = value;
            *ret_n = (size_t)(v - value);
            return true;
        }
        v = skip_space(v, end);
    }
    return false;
}

/* `where` is FIELD=VALUE. Strings are compared by their text, all else as it is written. */
static bool holds(const char *line, size_t n, const char *where) {
    size_t field_n = strcspn(where, "="), want_n = strlen(where + field_n + 1), value_n;
    const char *want = where + field_n + 1, *value;
    if (!member(line, line + n, where, field_n, &value, &value_n)) return false;
    if (*value != '"') return equal(value, value_n, want, want_n);
    if (!memchr(value, '\\', value_n)) return equal(value + 1, value_n - 2, want, want_n);
    struct buf text = {0};
    bool is = jsonl_field(line, n, where, field_n, &text, &value, &value_n, NULL) == 0 &&
              equal(value, value_n, want, want_n);
    buf_release(&text);
    return is;
}

bool docs_where(const struct docs *d, const char *line, size_t n) {
    for (size_t i = 0; i < d->opts.where.n; i++)
        if (!holds(line, n, d->opts.where.v[i])) return false;
    return true;
}

bool docs_chosen(const struct docs *d, const char *text, size_t n) {
    for (size_t i = 0; i < d->opts.contains.n; i++) {
        const char *want = d->opts.contains.v[i];
        if (!memmem(text, n, want, strlen(want))) return false;
    }
    if (d->opts.sample >= 1) return true;
    uint64_t hash = xxh64_bytes(text, n, d->opts.seed ^ SAMPLE_KEY);
    return (double)(hash >> 11) * 0x1p-53 < d->opts.sample;
}

int docs_where_check(const struct docs *d, struct err *err) {
    for (size_t i = 0; i < d->opts.where.n; i++) {
        const char *where = d->opts.where.v[i];
        if (*where == '=' || !strchr(where, '='))
            return err_set(err, ERR_USAGE, "--where %s: wanted is FIELD=VALUE", where);
    }
    return 0;
}
