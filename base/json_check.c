/* A checker for JSON texts that builds nothing: it finds what cJSON would let pass or lose, and
 * says where. Recursion is bounded by JSON_DEPTH. One function per rule of RFC 8259; each leaves
 * `at` behind what it read, or records the first fault. */
#include "base/json_inside.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct scan {
    const unsigned char *v;
    size_t n, at;
    uint64_t key, stop_at_key;
    struct json_fault fault;
};

static bool fault_at(struct scan *s, size_t at, const char *why) {
    s->fault = (struct json_fault){.why = why, .at = at};
    return false;
}

static bool fault(struct scan *s, const char *why) {
    return fault_at(s, s->at, s->at < s->n ? why : "the text ends too early");
}

/* The byte at hand; 0 at the end (a NUL in the text is refused wherever it stands). */
static unsigned char here(const struct scan *s) {
    return s->at < s->n ? s->v[s->at] : 0;
}

static void skip_space(struct scan *s) {
    while (s->at < s->n && (s->v[s->at] == ' ' || s->v[s->at] == '\n' || s->v[s->at] == '\r' ||
                            s->v[s->at] == '\t'))
        s->at++;
}

/* Four hexadecimal digits behind \u, or -1. */
static long hex4(struct scan *s) {
    long x = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        unsigned c = here(s), low = c | 0x20;
        if (c >= '0' && c <= '9')
            x = x * 16 + (long)(c - '0');
        else if (low >= 'a' && low <= 'f')
            x = x * 16 + (long)(low - 'a' + 10);
        else
            return -1;
    }
    return x;
}

/* At the backslash. */
static bool escape(struct scan *s) {
    size_t start = s->at++;
    unsigned char c = here(s);
    if (c != 'u') {
        if (!c || !strchr("\"\\/bfnrt", c)) return fault(s, "unknown escape");
        s->at++;
        return true;
    }
    s->at++;
    long x = hex4(s);
    if (x < 0) return fault(s, "four hexadecimal digits must follow \\u");
    if (x == 0) return fault_at(s, start, "NUL (\\u0000) in a string");
    if (x < 0xD800 || x > 0xDFFF) return true;
    bool pair = x < 0xDC00 && here(s) == '\\' && s->at + 1 < s->n && s->v[s->at + 1] == 'u';
    if (pair) {
        s->at += 2;
        x = hex4(s);
        pair = x >= 0xDC00 && x <= 0xDFFF;
    }
    return pair || fault_at(s, start, "half of a surrogate pair");
}

static bool string(struct scan *s) {
    size_t start = s->at++;
    for (;;) {
        if (s->at >= s->n) return fault_at(s, start, "the string does not end");
        unsigned char c = s->v[s->at];
        if (c == '"') break;
        if (c == '\\') {
            if (!escape(s)) return false;
        } else if (c < 0x20) {
            return fault(s, c ? "control character in a string" : "NUL in a string");
        } else if (c < 0x80) {
            s->at++;
        } else {
            int step = utf8_step(s->v + s->at, s->n - s->at);
            if (step < 0) return fault(s, "invalid UTF-8");
            s->at += (size_t)step;
        }
    }
    s->at++;
    return true;
}

static bool digits(struct scan *s) {
    if (here(s) < '0' || here(s) > '9') return fault(s, "a digit is missing");
    while (here(s) >= '0' && here(s) <= '9') s->at++;
    return true;
}

static bool number(struct scan *s) {
    size_t start = s->at;
    if (here(s) == '-') s->at++;
    if (here(s) == '0')
        s->at++;
    else if (!digits(s))
        return false;
    if (here(s) == '.') {
        s->at++;
        if (!digits(s)) return false;
    }
    if (here(s) == 'e' || here(s) == 'E') {
        s->at++;
        if (here(s) == '+' || here(s) == '-') s->at++;
        if (!digits(s)) return false;
    }
    char copy[JSON_NUMBER_BYTES + 1];
    size_t n = s->at - start;
    if (n > JSON_NUMBER_BYTES) return fault_at(s, start, "number of more than 63 characters");
    memcpy(copy, s->v + start, n);
    copy[n] = 0;
    return isfinite(strtod(copy, NULL)) || fault_at(s, start, "number too large");
}

static bool word(struct scan *s, const char *text) {
    size_t n = strlen(text);
    if (s->n - s->at < n || memcmp(s->v + s->at, text, n)) return fault(s, "unknown word");
    s->at += n;
    return true;
}

static bool value(struct scan *s, int depth);

static bool member(struct scan *s, int depth) {
    if (here(s) != '"') return fault(s, "a key in double quotes is missing");
    if (s->key++ == s->stop_at_key) return fault(s, "duplicate key");
    if (!string(s)) return false;
    skip_space(s);
    if (here(s) != ':') return fault(s, "':' is missing");
    s->at++;
    return value(s, depth);
}

/* An object or array, at its bracket. */
static bool nested(struct scan *s, int depth) {
    bool object = here(s) == '{';
    unsigned char end = object ? '}' : ']';
    if (depth >= JSON_DEPTH) return fault(s, "nested deeper than 64");
    s->at++;
    skip_space(s);
    if (here(s) == end) {
        s->at++;
        return true;
    }
    for (;;) {
        if (!(object ? member(s, depth + 1) : value(s, depth + 1))) return false;
        unsigned char c = here(s);
        if (c != ',' && c != end)
            return fault(s, object ? "',' or '}' is missing" : "',' or ']' is missing");
        s->at++;
        if (c == end) return true;
        skip_space(s);
    }
}

/* A value and the space around it. */
static bool value(struct scan *s, int depth) {
    skip_space(s);
    unsigned char c = here(s);
    bool ok;
    if (c == '{' || c == '[')
        ok = nested(s, depth);
    else if (c == '"')
        ok = string(s);
    else if (c == '-' || (c >= '0' && c <= '9'))
        ok = number(s);
    else if (c == 't')
        ok = word(s, "true");
    else if (c == 'f')
        ok = word(s, "false");
    else if (c == 'n')
        ok = word(s, "null");
    else
        ok = fault(s, "not a JSON value");
    if (ok) skip_space(s);
    return ok;
}

struct json_fault json_check(const char *text, size_t n, uint64_t stop_at_key) {
    struct scan s = {.v = (const unsigned char *)text, .n = n, .stop_at_key = stop_at_key};
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) s.at = 3; /* a byte order mark */
    if (value(&s, 0) && s.at < n) fault(&s, "something stands behind the value");
    return s.fault;
}
