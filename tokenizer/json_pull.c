/* A pull reader for JSON: the text is checked to be UTF-8 once, then values are taken from the
 * front. */
#include "tokenizer/json_pull.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "tokenizer/unicode.h"

enum { PULL_DEPTH = 64 };

int pull_fail(struct pull *p, const char *fmt, ...) {
    char msg[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    uint64_t line = 1;
    const char *from = p->start, *nl;
    while ((nl = memchr(from, '\n', (size_t)(p->at - from))) != NULL) {
        line++;
        from = nl + 1;
    }
    uint64_t column = (uint64_t)(p->at - from) + 1;
    int rc = err_set(p->err, ERR_CORRUPT, "%s:%llu:%llu: %s", p->what, (unsigned long long)line,
                     (unsigned long long)column, msg);
    err_place(p->err, line, column, (uint64_t)(p->at - p->start));
    return rc;
}

int pull_begin(struct pull *p, const char *text, size_t n, const char *what, struct err *err) {
    *p = (struct pull){.start = text, .at = text, .end = text + n, .what = what, .err = err};
    const uint8_t *at = (const uint8_t *)text, *end = at + n;
    while (at < end) {
        uint64_t eight;
        uint32_t c;
        if (end - at >= 8 && (memcpy(&eight, at, 8), !(eight & 0x8080808080808080u))) {
            at += 8;
            continue;
        }
        at += unicode_decode(at, end, &c);
        if (c == UNICODE_BAD) {
            p->at = (const char *)at - 1;
            return pull_fail(p, "invalid UTF-8");
        }
    }
    return n ? 0 : err_set(err, ERR_CORRUPT, "%s: the file is empty", what);
}

void pull_release(struct pull *p) {
    buf_release(&p->text);
}

char pull_peek(struct pull *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r'))
        p->at++;
    return p->at < p->end ? *p->at : 0;
}

static int expected(struct pull *p, const char *what) {
    return pull_fail(p, p->at < p->end ? "%s expected" : "the file ends where %s is expected",
                     what);
}

int pull_open(struct pull *p, char bracket) {
    if (pull_peek(p) != bracket) return expected(p, bracket == '{' ? "an object" : "an array");
    p->at++;
    return 0;
}

/* Stands at the next element, 1, or behind the closing bracket, 0. */
static int next(struct pull *p, size_t *i, char close) {
    char c = pull_peek(p);
    if (c == close) {
        p->at++;
        return 0;
    }
    if (*i) {
        if (c != ',') return expected(p, close == '}' ? "\",\" or \"}\"" : "\",\" or \"]\"");
        p->at++;
    }
    ++*i;
    return 1;
}

int pull_item(struct pull *p, size_t *i) {
    return next(p, i, ']');
}

int pull_key(struct pull *p, size_t *i, const char **ret, size_t *ret_n) {
    int rc = next(p, i, '}');
    if (rc <= 0) return rc;
    rc = pull_string(p, ret, ret_n);
    if (rc < 0) return rc;
    if (pull_peek(p) != ':') return expected(p, "\":\"");
    p->at++;
    return 1;
}

static int hex4(struct pull *p, uint32_t *ret) {
    *ret = 0;
    for (int i = 0; i < 4; i++, p->at++) {
        char c = p->at < p->end ? *p->at : 0;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) return expected(p, "a hexadecimal digit");
        *ret = *ret << 4 | digit;
    }
    return 0;
}

/* Behind the backslash: appends the character to p->text. */
static int escape(struct pull *p) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = p->at < p->end ? *p->at : 0;
    const char *plain = c ? strchr(from, c) : NULL;
    p->at++;
    if (plain) return buf_char(&p->text, to[plain - from], p->err);
    if (c != 'u') {
        p->at--;
        return pull_fail(p, "unknown escape");
    }
    uint32_t x, low = 0;
    int rc = hex4(p, &x);
    if (rc < 0) return rc;
    if (x >= 0xD800 && x < 0xE000) {
        if (x >= 0xDC00 || p->end - p->at < 2 || p->at[0] != '\\' || p->at[1] != 'u')
            return pull_fail(p, "half of a surrogate pair");
        p->at += 2;
        rc = hex4(p, &low);
        if (rc < 0) return rc;
        if (low < 0xDC00 || low > 0xDFFF) return pull_fail(p, "half of a surrogate pair");
        x = 0x10000 + ((x - 0xD800) << 10) + (low - 0xDC00);
    }
    char utf8[4];
    return buf_append(&p->text, utf8, unicode_encode(x, utf8), p->err);
}

/* From the first backslash on: the string is unescaped into p->text. */
static int string_slow(struct pull *p, const char *from, const char **ret, size_t *ret_n) {
    p->text.n = 0;
    for (;;) {
        int rc = buf_append(&p->text, from, (size_t)(p->at - from), p->err);
        if (rc < 0) return rc;
        if (p->at == p->end) return expected(p, "the end of a string");
        if (*p->at == '"') break;
        if (*p->at != '\\') return pull_fail(p, "control character in a string");
        p->at++;
        rc = escape(p);
        if (rc < 0) return rc;
        from = p->at;
        while (p->at < p->end && *p->at != '"' && *p->at != '\\' && (uint8_t)*p->at >= 0x20)
            p->at++;
    }
    p->at++;
    *ret = p->text.v ? p->text.v : "";
    *ret_n = p->text.n;
    return 0;
}

int pull_string(struct pull *p, const char **ret, size_t *ret_n) {
    if (pull_peek(p) != '"') return expected(p, "a string");
    const char *from = ++p->at;
    while (p->at < p->end && *p->at != '"' && *p->at != '\\' && (uint8_t)*p->at >= 0x20) p->at++;
    if (p->at == p->end || *p->at != '"') return string_slow(p, from, ret, ret_n);
    *ret = from;
    *ret_n = (size_t)(p->at++ - from);
    return 0;
}

static bool digit(const struct pull *p) {
    return p->at < p->end && *p->at >= '0' && *p->at <= '9';
}

int pull_u64(struct pull *p, uint64_t *ret) {
    uint64_t x = 0;
    pull_peek(p);
    const char *from = p->at;
    for (; digit(p); p->at++)
        if (__builtin_mul_overflow(x, 10, &x) ||
            __builtin_add_overflow(x, (uint64_t)(*p->at - '0'), &x))
            return pull_fail(p, "a number that is too large");
    if (p->at == from || (*from == '0' && p->at - from > 1) ||
        (p->at < p->end && strchr(".eE", *p->at)))
        return expected(p, "a whole number");
    *ret = x;
    return 0;
}

static int digits(struct pull *p) {
    if (!digit(p)) return expected(p, "a digit");
    while (digit(p)) p->at++;
    return 0;
}

static int skip_number(struct pull *p) {
    if (*p->at == '-') p->at++;
    const char *from = p->at;
    int rc = digits(p);
    if (rc >= 0 && *from == '0' && p->at - from > 1)
        return pull_fail(p, "a number with a leading 0");
    if (rc >= 0 && p->at < p->end && *p->at == '.') {
        p->at++;
        rc = digits(p);
    }
    if (rc >= 0 && p->at < p->end && (*p->at == 'e' || *p->at == 'E')) {
        p->at++;
        if (p->at < p->end && (*p->at == '+' || *p->at == '-')) p->at++;
        rc = digits(p);
    }
    return rc;
}

static int skip_word(struct pull *p, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, word, n) != 0) return expected(p, "a value");
    p->at += n;
    return 0;
}

static int skip(struct pull *p, int depth) {
    const char *s;
    size_t n, i = 0;
    int rc;
    char c = pull_peek(p);
    if (depth >= PULL_DEPTH) return pull_fail(p, "nested deeper than %d", PULL_DEPTH);
    switch (c) {
    case '"': return pull_string(p, &s, &n);
    case 't': return skip_word(p, "true");
    case 'f': return skip_word(p, "false");
    case 'n': return skip_word(p, "null");
    case '{':
        p->at++;
        while ((rc = pull_key(p, &i, &s, &n)) > 0)
            if ((rc = skip(p, depth + 1)) < 0) break;
        return rc;
    case '[':
        p->at++;
        while ((rc = pull_item(p, &i)) > 0)
            if ((rc = skip(p, depth + 1)) < 0) break;
        return rc;
    }
    return c == '-' || (c >= '0' && c <= '9') ? skip_number(p) : expected(p, "a value");
}

int pull_skip(struct pull *p, const char **ret, size_t *ret_n) {
    pull_peek(p);
    const char *from = p->at;
    int rc = skip(p, 1);
    if (ret) {
        *ret = from;
        *ret_n = (size_t)(p->at - from);
    }
    return rc;
}

int pull_end(struct pull *p) {
    pull_peek(p);
    return p->at == p->end ? 0 : pull_fail(p, "text after the end");
}
