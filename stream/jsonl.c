/* One pass over the line: the members of the top object in order, every value validated, the string
 * that was asked for unescaped on the way. Strings, which are nearly all of a corpus, go through
 * scan.h.
 *
 * A line may be a mapping of a file that memory should not hold (jsonl_field_mapped). It is walked
 * in strides, and the pages behind the cursor are given back. */
#include "stream/jsonl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "stream/scan.h"

enum { DEPTH_MAX = 1024, STRIDE = 1 << 20 };

struct cursor {
    const char *v;
    size_t n, at;
    const struct scan *scan;
    bool high; /* a string has bytes that are not ASCII */
    bool mapped;
    size_t kept; /* if mapped: pages that lie wholly before it are given back */
};

/* Gives back the pages behind `at`, now and then. They come again from the file when asked for. */
static void forget_behind(struct cursor *c, size_t at) {
    if (!c->mapped || at - c->kept < STRIDE) return;
    mapping_forget(c->v, c->kept, at);
    c->kept = at;
}

/* How many of the bytes from `at` on to look at now: all, or a stride. */
static size_t stride(const struct cursor *c, size_t at) {
    size_t left = c->n - at;
    return c->mapped && left > STRIDE ? STRIDE : left;
}

/* One member of the top object; the cursor then stands at its value. */
struct member {
    const char *key; /* as it stands in the line, without quotes */
    size_t key_n;
    bool key_escaped;
};

static int bad(size_t at, struct err *err, const char *what) {
    err_set(err, ERR_DATA, "%s", what);
    err_place(err, 0, at + 1, at);
    return ERR_DATA;
}

static void blanks(struct cursor *c) {
    size_t end;
    do {
        end = c->at + stride(c, c->at);
        while (c->at < end && (c->v[c->at] == ' ' || c->v[c->at] == '\t' || c->v[c->at] == '\r' ||
                               c->v[c->at] == '\n'))
            c->at++;
        forget_behind(c, c->at);
    } while (c->at == end && end < c->n);
}

/* The next byte that is no blank, 0 at the end (a NUL in the line is no JSON either). */
static char peek(struct cursor *c) {
    blanks(c);
    return c->at < c->n ? c->v[c->at] : 0;
}

static int expect(struct cursor *c, char want, struct err *err) {
    char got = peek(c);
    if (got == want) {
        c->at++;
        return 0;
    }
    char what[] = "bad JSON: expected ' '";
    what[sizeof what - 3] = want;
    return bad(c->at, err, c->at < c->n ? what : "bad JSON: the record ends too early");
}

static int string_end(struct cursor *c, enum scan_end end, size_t at, struct err *err) {
    c->at += at;
    switch (end) {
    case SCAN_QUOTE: c->at++; return 0;
    case SCAN_CONTROL: return bad(c->at, err, "bad JSON: control character in a string");
    case SCAN_ESCAPE: return bad(c->at, err, "bad JSON: unknown escape in a string");
    default: return bad(c->n, err, "bad JSON: the record ends within a string");
    }
}

/* Behind the opening quote; goes behind the closing one. */
static int skip_string(struct cursor *c, bool *escaped, struct err *err) {
    enum { ESCAPE_BYTES = 6 }; /* backslash, u, four digits */
    for (;;) {
        size_t n = stride(c, c->at), at;
        enum scan_end end = c->scan->find_end(c->v + c->at, n, &at, escaped, &c->high);
        bool more = c->at + n < c->n;
        bool cut = end == SCAN_OPEN || (end == SCAN_ESCAPE && n - at < ESCAPE_BYTES);
        if (!more || !cut) return string_end(c, end, at, err);
        c->at += at; /* the stride ended in it, perhaps within an escape */
        forget_behind(c, c->at);
    }
}

static size_t digits(struct cursor *c) {
    size_t from = c->at;
    while (c->at < c->n && c->v[c->at] >= '0' && c->v[c->at] <= '9') c->at++;
    return c->at - from;
}

/* -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static int skip_number(struct cursor *c, struct err *err) {
    size_t from = c->at;
    if (c->v[c->at] == '-') c->at++;
    bool zero = c->at < c->n && c->v[c->at] == '0';
    size_t whole = digits(c);
    bool good = whole == 1 || (whole > 1 && !zero);
    if (good && c->at < c->n && c->v[c->at] == '.') {
        c->at++;
        good = digits(c) > 0;
    }
    if (good && c->at < c->n && (c->v[c->at] | 0x20) == 'e') {
        c->at++;
        if (c->at < c->n && (c->v[c->at] == '+' || c->v[c->at] == '-')) c->at++;
        good = digits(c) > 0;
    }
    return good ? 0 : bad(from, err, "bad JSON: not a number");
}

/* A number, true, false or null. */
static int skip_scalar(struct cursor *c, struct err *err) {
    static const char *const words[] = {"true", "false", "null"};
    char first = c->at < c->n ? c->v[c->at] : 0;
    if (first == '-' || (first >= '0' && first <= '9')) return skip_number(c, err);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i]);
        if (c->n - c->at >= n && !memcmp(c->v + c->at, words[i], n)) {
            c->at += n;
            return 0;
        }
    }
    return bad(c->at, err,
               c->at < c->n ? "bad JSON: expected a value" : "bad JSON: the record ends too early");
}

static int skip_key(struct cursor *c, struct err *err) {
    int rc = expect(c, '"', err);
    if (rc == 0) rc = skip_string(c, NULL, err);
    return rc == 0 ? expect(c, ':', err) : rc;
}

/* Any value. What is open is one bit a level, so depth costs no stack: 1 is an object. */
static int skip_value(struct cursor *c, struct err *err) {
    uint64_t open[DEPTH_MAX / 64];
    size_t depth = 0;
    int rc;
    do {
        char first = peek(c);
        if (first == '{' || first == '[') {
            if (depth == DEPTH_MAX - 1) /* the top object is a level too */
                return bad(c->at, err, "bad JSON: nested deeper than 1024");
            uint64_t bit = (uint64_t)1 << depth % 64;
            if (first == '{')
                open[depth / 64] |= bit;
            else
                open[depth / 64] &= ~bit;
            depth++;
            c->at++;
            if (peek(c) != (first == '{' ? '}' : ']')) {
                if (first == '{' && (rc = skip_key(c, err)) < 0) return rc;
                continue;
            }
        } else if (first == '"') {
            c->at++;
            if ((rc = skip_string(c, NULL, err)) < 0) return rc;
        } else if ((rc = skip_scalar(c, err)) < 0)
            return rc;
        forget_behind(c, c->at);
        for (; depth; depth--) { /* close what ends here, or go on to the next of its values */
            bool object = open[(depth - 1) / 64] >> (depth - 1) % 64 & 1;
            char next = peek(c);
            if (next == ',') {
                c->at++;
                if (object && (rc = skip_key(c, err)) < 0) return rc;
                break;
            }
            if ((rc = expect(c, object ? '}' : ']', err)) < 0) return rc;
        }
    } while (depth);
    return 0;
}

static int check_utf8(struct cursor *c, struct err *err) {
    c->kept = 0;
    for (size_t at = 0, n; at < c->n; at += n) {
        n = stride(c, at);
        for (int i = 0; i < 3 && at + n < c->n && (c->v[at + n] & 0xc0) == 0x80; i++)
            n--; /* not within a character */
        if (!c->scan->utf8(c->v + at, n))
            return bad(at + utf8_error(c->v + at, c->n - at), err, "not UTF-8");
        forget_behind(c, at + n);
    }
    return 0;
}

/* The last word on a line: one that is not UTF-8 is nothing else. Beside strings only ASCII gets
 * past the parser, so without other bytes in them there is nothing to check. */
static int verdict(struct cursor *c, int rc, struct err *err) {
    bool doubt = rc == 0 ? c->high : rc == ERR_DATA;
    int other = doubt ? check_utf8(c, err) : 0;
    return other < 0 ? other : rc;
}

/* Opens the top object. */
static int begin(struct cursor *c, const char *line, size_t n, bool mapped, struct err *err) {
    *c = (struct cursor){.v = line, .n = n, .scan = scan_best(), .mapped = mapped};
    char first = peek(c);
    if (first != '{')
        return bad(c->at, err,
                   first == '[' ? "not an object but a list (one record a line is wanted)"
                                : "not a JSON object");
    c->at++;
    return 0;
}

/* 1: a member, 0: the object and the line ended. */
static int next_member(struct cursor *c, bool first, struct member *m, struct err *err) {
    int rc;
    if (peek(c) == '}') {
        c->at++;
        if (peek(c) || c->at < c->n)
            return bad(c->at, err, "bad JSON: something follows the record");
        return 0;
    }
    if (!first && (rc = expect(c, ',', err)) < 0) return rc;
    if ((rc = expect(c, '"', err)) < 0) return rc;
    *m = (struct member){.key = c->v + c->at};
    if ((rc = skip_string(c, &m->key_escaped, err)) < 0) return rc;
    m->key_n = (size_t)(c->v + c->at - 1 - m->key);
    rc = expect(c, ':', err);
    blanks(c);
    return rc < 0 ? rc : 1;
}

/* 1 if the key is `field`. */
static int key_is(const struct member *m, const char *field, size_t field_n, struct err *err) {
    if (!m->key_escaped) return m->key_n == field_n && !memcmp(m->key, field, field_n);
    if (m->key_n > 6 * field_n) return 0; /* six bytes stand for one at most */
    char *key = malloc(m->key_n + SCAN_SLACK);
    if (!key) return err_nomem(err, m->key_n);
    size_t at, n;
    bool high;
    scan_bytes_plain.unescape(key, m->key, m->key_n, &at, &n, &high);
    bool same = n == field_n && !memcmp(key, field, field_n);
    free(key);
    return same;
}

/* The string at the cursor. An escape is never shorter than what it stands for: equal lengths mean
 * that there was none, and the line itself will do. */
static int take_string(struct cursor *c, struct buf *out, const char **ret, size_t *ret_n,
                       struct err *err) {
    const char *src = c->v + ++c->at;
    size_t left = c->n - c->at, at, n;
    int rc = buf_reserve(out, left + SCAN_SLACK, err);
    if (rc < 0) return rc;
    char *dst = out->v + out->n;
    enum scan_end end = c->scan->unescape(dst, src, left, &at, &n, &c->high);
    *ret = n == at ? src : dst;
    *ret_n = n;
    if (n != at) out->n += n;
    return string_end(c, end, at, err);
}

/* The same, as it stands in the line. */
static int find_string(struct cursor *c, const char **ret, size_t *ret_n, struct err *err) {
    const char *from = c->v + ++c->at;
    int rc = skip_string(c, NULL, err);
    *ret = from;
    *ret_n = (size_t)(c->v + c->at - from) - 1;
    return rc;
}

static int wrong_kind(const struct cursor *c, const char *field, size_t field_n, struct err *err) {
    char first = c->at < c->n ? c->v[c->at] : 0;
    const char *kind = first == '{'                   ? "an object"
                       : first == '['                 ? "a list"
                       : first == 'n'                 ? "null"
                       : first == 't' || first == 'f' ? "a truth value"
                                                      : "a number";
    err_set(err, ERR_DATA, "field \"%.*s\" is %s, not a string", (int)field_n, field, kind);
    err_place(err, 0, c->at + 1, c->at);
    return ERR_DATA;
}

/* The line is known to be good JSON: names its members. `field` NULL: any would have done. */
static int no_field(const char *line, size_t n, bool mapped, const char *field, size_t field_n,
                    struct err *err) {
    enum { NAMES_MAX = 8 };
    struct cursor c;
    struct member m;
    char names[400];
    size_t used = 0, count = 0;
    int rc = begin(&c, line, n, mapped, err);
    for (bool first = true; rc == 0 && next_member(&c, first, &m, err) > 0; first = false) {
        size_t need = m.key_n + (count ? 2 : 0);
        if (count++ < NAMES_MAX && used + need < sizeof names - 8) {
            if (used) names[used++] = ',', names[used++] = ' ';
            memcpy(names + used, m.key, m.key_n);
            used += m.key_n;
        } else if (count <= NAMES_MAX + 1 || used + 8 >= sizeof names) {
            memcpy(names + used, ", …", 5);
            used += 5;
            break;
        }
        rc = skip_value(&c, err);
    }
    if (rc < 0) return rc;
    err_set(err, ERR_DATA, "no string field%s%.*s%s (record has %.*s)", field ? " \"" : "",
            (int)field_n, field ? field : "", field ? "\"" : "", used ? (int)used : 10,
            used ? names : "no members");
    err_place(err, 0, 1, 0);
    return ERR_DATA;
}

/* Both ways to look for a field. Without `out` the line is mapped, and the text where it stands. */
static int field_of(const char *line, size_t n, const char *field, size_t field_n, struct buf *out,
                    const char **ret, size_t *ret_n, struct err *err) {
    struct cursor c;
    struct member m;
    bool found = false, wrong = false;
    size_t wrong_at = 0, out_n = out ? out->n : 0;
    int rc = begin(&c, line, n, !out, err), more = 0;
    for (bool first = true; rc == 0 && (more = next_member(&c, first, &m, err)) > 0;
         first = false) {
        int same = key_is(&m, field, field_n, err);
        if (same < 0)
            rc = same;
        else if (same && (found || wrong))
            rc = bad((size_t)(m.key - line) - 1, err, "the field stands in the record twice");
        else if (same && c.at < n && line[c.at] == '"') {
            found = true;
            rc = out ? take_string(&c, out, ret, ret_n, err) : find_string(&c, ret, ret_n, err);
        } else {
            if (same) wrong = true, wrong_at = c.at;
            rc = skip_value(&c, err);
        }
    }
    rc = verdict(&c, rc == 0 ? more : rc, err);
    if (rc == 0 && wrong) {
        c.at = wrong_at;
        rc = wrong_kind(&c, field, field_n, err);
    }
    if (rc == 0 && !found) rc = no_field(line, n, !out, field, field_n, err);
    if (rc < 0 && out) out->n = out_n;
    return rc;
}

int jsonl_field(const char *line, size_t n, const char *field, size_t field_n, struct buf *out,
                const char **ret, size_t *ret_n, struct err *err) {
    return field_of(line, n, field, field_n, out, ret, ret_n, err);
}

int jsonl_field_mapped(const char *line, size_t n, const char *field, size_t field_n,
                       const char **ret, size_t *ret_n, struct err *err) {
    return field_of(line, n, field, field_n, NULL, ret, ret_n, err);
}

static int guess_field(const char *line, size_t n, bool mapped, char **ret, struct err *err) {
    struct cursor c;
    struct member m;
    const char *best = NULL;
    size_t best_n = 0;
    int best_rank = 3, more = 0; /* content 0, text 1, the first 2 */
    int rc = begin(&c, line, n, mapped, err);
    for (bool first = true; rc == 0 && (more = next_member(&c, first, &m, err)) > 0;
         first = false) {
        int rank = m.key_n == 7 && !memcmp(m.key, "content", 7) ? 0
                   : m.key_n == 4 && !memcmp(m.key, "text", 4)  ? 1
                                                                : 2;
        if (c.at < n && line[c.at] == '"' && rank < best_rank && !m.key_escaped)
            best = m.key, best_n = m.key_n, best_rank = rank;
        rc = skip_value(&c, err);
    }
    rc = verdict(&c, rc == 0 ? more : rc, err);
    if (rc < 0) return rc;
    if (!best) return no_field(line, n, mapped, NULL, 0, err);
    *ret = strndup(best, best_n);
    return *ret ? 0 : err_nomem(err, best_n);
}

int jsonl_guess_field(const char *line, size_t n, char **ret, struct err *err) {
    return guess_field(line, n, false, ret, err);
}

int jsonl_guess_field_mapped(const char *line, size_t n, char **ret, struct err *err) {
    return guess_field(line, n, true, ret, err);
}
