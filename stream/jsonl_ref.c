/* See jsonl_ref.h. Every function parses one rule of the grammar and returns false where it does
 * not fit; nothing here is clever, and nothing is shared with jsonl.c. */
#include "stream/jsonl_ref.h"

#include <stdint.h>
#include <string.h>

enum { DEPTH_MAX = 1024 };

struct text {
    const unsigned char *p, *end;
};

static bool value(struct text *t, int depth, struct buf *str);

static bool take(struct text *t, int c) {
    if (t->p == t->end || *t->p != c) return false;
    t->p++;
    return true;
}

static void ws(struct text *t) {
    while (take(t, ' ') || take(t, '\t') || take(t, '\r') || take(t, '\n')) {}
}

static bool put(struct buf *out, uint32_t u) {
    char v[4];
    int n = u < 0x80 ? 1 : u < 0x800 ? 2 : u < 0x10000 ? 3 : 4;
    static const uint32_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (int i = n - 1; i > 0; i--, u >>= 6) v[i] = (char)(0x80 | (u & 0x3f));
    v[0] = (char)(lead[n] | u);
    return buf_append(out, v, (size_t)n, NULL) == 0;
}

/* One character of UTF-8: decode it, then ask whether this was the way to write it. */
static bool character(struct text *t, struct buf *out) {
    uint32_t b = *t->p++;
    int more = b < 0x80 ? 0 : b >> 5 == 6 ? 1 : b >> 4 == 14 ? 2 : b >> 3 == 30 ? 3 : -1;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (more < 0) return false;
    uint32_t u = more == 0 ? b : b & (0x3fu >> more);
    for (int i = 0; i < more; i++) {
        if (t->p == t->end || *t->p >> 6 != 2) return false;
        u = u << 6 | (*t->p++ & 0x3f);
    }
    if (u < least[more] || u > 0x10ffff || (u >= 0xd800 && u <= 0xdfff)) return false;
    return put(out, u);
}

static bool hex(struct text *t, uint32_t *u) {
    *u = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *d = t->p < t->end && *t->p ? strchr(digits, *t->p) : NULL;
        if (!d) return false;
        *u = *u * 16 + (uint32_t)((d - digits) % 16);
        t->p++;
    }
    return true;
}

static bool escape(struct text *t, struct buf *out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (t->p == t->end) return false;
    unsigned char c = *t->p++;
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) return put(out, (unsigned char)to[simple - from]);
    uint32_t u, low;
    if (c != 'u' || !hex(t, &u)) return false;
    if (u < 0xd800 || u > 0xdfff) return put(out, u);
    struct text pair = *t;
    if (u <= 0xdbff && take(&pair, '\\') && take(&pair, 'u') && hex(&pair, &low) && low >= 0xdc00 &&
        low <= 0xdfff) {
        *t = pair;
        return put(out, 0x10000 + (u - 0xd800) * 0x400 + (low - 0xdc00));
    }
    return put(out, 0xfffd);
}

static bool string(struct text *t, struct buf *out) {
    if (!take(t, '"')) return false;
    while (t->p < t->end && *t->p != '"') {
        if (*t->p < 0x20) return false;
        if (take(t, '\\') ? !escape(t, out) : !character(t, out)) return false;
    }
    return take(t, '"');
}

static bool digits(struct text *t) {
    const unsigned char *from = t->p;
    while (t->p < t->end && *t->p >= '0' && *t->p <= '9') t->p++;
    return t->p > from;
}

static bool number(struct text *t) {
    take(t, '-');
    if (!take(t, '0') && !digits(t)) return false;
    if (take(t, '.') && !digits(t)) return false;
    if (take(t, 'e') || take(t, 'E')) {
        if (!take(t, '+')) take(t, '-');
        return digits(t);
    }
    return true;
}

static bool word(struct text *t, const char *w) {
    size_t n = strlen(w);
    if ((size_t)(t->end - t->p) < n || memcmp(t->p, w, n)) return false;
    t->p += n;
    return true;
}

static bool array(struct text *t, int depth) {
    struct buf scratch = {0};
    bool good = take(t, '[');
    ws(t);
    if (good && take(t, ']')) return true;
    do good = good && value(t, depth + 1, &scratch), ws(t);
    while (good && take(t, ','));
    buf_release(&scratch);
    return good && take(t, ']');
}

struct wanted {
    const char *field;
    size_t n;
    struct buf *out;
    int found; /* members of that name */
    bool is_string;
};

/* With `want`, the top object: the member of that name is looked out for. */
static bool object(struct text *t, int depth, struct wanted *want) {
    struct buf key = {0}, str = {0};
    bool good = take(t, '{');
    ws(t);
    if (good && take(t, '}')) return true;
    do {
        key.n = str.n = 0;
        ws(t);
        good = good && string(t, &key);
        ws(t);
        good = good && take(t, ':');
        ws(t);
        bool is_string = t->p < t->end && *t->p == '"';
        good = good && value(t, depth + 1, &str);
        ws(t);
        if (good && want && key.n == want->n && !memcmp(key.v, want->field, key.n)) {
            want->found++;
            want->is_string = is_string;
            buf_append(want->out, str.v, str.n, NULL);
        }
    } while (good && take(t, ','));
    buf_release(&key);
    buf_release(&str);
    return good && take(t, '}');
}

static bool value(struct text *t, int depth, struct buf *str) {
    ws(t);
    if (t->p == t->end || depth > DEPTH_MAX) return false;
    switch (*t->p) {
    case '"': return string(t, str);
    case '{': return depth < DEPTH_MAX && object(t, depth, NULL);
    case '[': return depth < DEPTH_MAX && array(t, depth);
    case 't': return word(t, "true");
    case 'f': return word(t, "false");
    case 'n': return word(t, "null");
    default: return number(t);
    }
}

int jsonl_field_ref(const char *line, size_t n, const char *field, size_t field_n,
                    struct buf *out) {
    struct text t = {(const unsigned char *)line, (const unsigned char *)line + n};
    struct wanted want = {.field = field, .n = field_n, .out = out};
    ws(&t);
    bool good = object(&t, 0, &want);
    ws(&t);
    return good && t.p == t.end && want.found == 1 && want.is_string ? 0 : ERR_DATA;
}
