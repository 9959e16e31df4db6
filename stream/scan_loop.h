/* The string loop, included by each version after it has defined
 *
 *   STEP           bytes looked at at once
 *   SPECIAL(p)     bit i set if p[i] is '"', '\\' or below 0x20, for i < STEP
 *   HIGH(p)        not 0 if one of p[0..STEP) is not ASCII
 *   COPY(d, p)     copies STEP bytes
 *   BLOCKS         if it has a block(), defined behind the #include, that does the simple escapes
 *                  of STEP bytes at once
 *   RUNS           if it has a unicode_run(), too, for \u that stand side by side
 *
 * A block is copied whole before its first special byte is known: what was copied too much is
 * written over by what follows. That is why dst needs slack, and why a short tail goes byte by
 * byte. */
#include <stdint.h>
#include "stream/scan.h"

/* What stands for the letter behind a backslash; 0: not a simple escape. */
static const char simple_escape[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                        ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};

/* A hexadecimal digit + 1; 0: none. */
static const unsigned char hex_digit[256] = {
    ['0'] = 1, 2,  3,  4,  5,  6,          7,  8,  9,  10, ['A'] = 11,
    12,        13, 14, 15, 16, ['a'] = 11, 12, 13, 14, 15, 16};

/* Four hexadecimal digits, or -1. */
static inline int hex4(const char *p) {
    const unsigned char *q = (const unsigned char *)p;
    const int a = hex_digit[q[0]], b = hex_digit[q[1]], c = hex_digit[q[2]], d = hex_digit[q[3]];
    if (!a || !b || !c || !d) return -1;
    return (a - 1) << 12 | (b - 1) << 8 | (c - 1) << 4 | (d - 1);
}

static inline size_t put_utf8(char *d, uint32_t u) {
    if (u < 0x80) return d[0] = (char)u, 1;
    if (u < 0x800) return d[0] = (char)(0xc0 | u >> 6), d[1] = (char)(0x80 | (u & 63)), 2;
    if (u < 0x10000) {
        d[0] = (char)(0xe0 | u >> 12);
        d[1] = (char)(0x80 | (u >> 6 & 63));
        d[2] = (char)(0x80 | (u & 63));
        return 3;
    }
    d[0] = (char)(0xf0 | u >> 18);
    d[1] = (char)(0x80 | (u >> 12 & 63));
    d[2] = (char)(0x80 | (u >> 6 & 63));
    d[3] = (char)(0x80 | (u & 63));
    return 4;
}

/* p[0..n) is behind "\u". Bytes used, 0 if that is no escape. */
static inline size_t unicode_escape(const char *p, size_t n, char *dst, size_t *dst_n) {
    int u = n < 4 ? -1 : hex4(p), low = -1;
    if (u < 0) return 0;
    if (u >= 0xd800 && u < 0xdc00 && n >= 10 && p[4] == '\\' && p[5] == 'u') low = hex4(p + 6);
    if (low >= 0xdc00 && low < 0xe000) {
        if (dst)
            *dst_n += put_utf8(dst + *dst_n,
                               0x10000 + ((uint32_t)(u - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
        return 10;
    }
    if (u >= 0xd800 && u < 0xe000) u = 0xfffd;
    if (dst) *dst_n += put_utf8(dst + *dst_n, (uint32_t)u);
    return 4;
}

#ifdef RUNS
/* As many escapes \uXXXX as src[0..STEP) begins with and that are no surrogates: what they stand
 * for to dst, *written bytes of it, and at most STEP bytes in all. Returns how many bytes of src
 * they are. */
static inline size_t unicode_run(char *dst, const char *src, size_t *written);
#endif

static inline bool is_unicode(const char *src, size_t n) {
    return n >= 2 && src[0] == '\\' && src[1] == 'u';
}

/* The escapes \uXXXX that stand side by side at src[0..n), the first of which is one: JSON that is
 * ASCII alone is full of them. Returns how many bytes they are, as far as they are valid. */
static inline size_t unicode_escapes(char *dst, const char *src, size_t n, size_t *dst_n) {
    size_t s = 0, used;
    *dst_n = 0;
    do {
        used = 0;
#ifdef RUNS
        size_t written;
        if (dst && n - s >= STEP && is_unicode(src + s + 6, 2)) { /* it is not alone */
            used = unicode_run(dst + *dst_n, src + s, &written);
            if (used) *dst_n += written;
        }
#endif
        if (!used) {
            used = unicode_escape(src + s + 2, n - s - 2, dst, dst_n);
            if (!used) break;
            used += 2;
        }
        s += used;
    } while (is_unicode(src + s, n - s));
    return s;
}

/* The loop; a constant NULL dst makes the version that only looks. */
static inline __attribute__((always_inline)) enum scan_end string_loop(char *dst, const char *src,
                                                                       size_t n, size_t *at,
                                                                       size_t *dst_n, bool *escaped,
                                                                       bool *high) {
    size_t s = 0, d = 0;
    uint64_t seen = 0;
    enum scan_end end = SCAN_OPEN;
    for (;;) {
        if (n - s >= STEP) {
            uint64_t special = SPECIAL(src + s);
            seen |= HIGH(src + s);
            if (dst) COPY(dst + d, src + s);
            size_t k = special ? (size_t)__builtin_ctzll(special) : STEP;
            s += k;
            d += k;
            if (!special) continue;
        } else {
            while (s < n && src[s] != '"' && src[s] != '\\' && (unsigned char)src[s] >= 0x20) {
                if (dst) dst[d] = src[s];
                seen |= (unsigned char)src[s] >> 7;
                d++;
                s++;
            }
            if (s == n) break;
        }
        if (src[s] != '\\') {
            end = src[s] == '"' ? SCAN_QUOTE : SCAN_CONTROL;
            break;
        }
        if (escaped) *escaped = true;
        char c = n - s >= 2 ? simple_escape[(unsigned char)src[s + 1]] : 0;
        if (__builtin_expect(c != 0, 1)) {
            if (dst) dst[d] = c;
            d++;
            s += 2;
            continue;
        }
        size_t used = 0, written;
        if (is_unicode(src + s, n - s)) {
            used = unicode_escapes(dst ? dst + d : NULL, src + s, n - s, &written);
            d += written;
        }
        if (!used) {
            end = SCAN_ESCAPE;
            break;
        }
        s += used;
    }
    *at = s;
    if (dst_n) *dst_n = d;
    if (seen) *high = true;
    return end;
}

static enum scan_end find_end(const char *src, size_t n, size_t *at, bool *escaped, bool *high) {
    return string_loop(NULL, src, n, at, NULL, escaped, high);
}

#ifdef BLOCKS

/* Writes what src[0..STEP) stands for, *written bytes of it, and at most STEP bytes in all. Returns
 * how many bytes of src are done with; *stop: the byte there needs a closer look: it ends the
 * string, or begins an escape that block() does not know. *seen is no longer 0 if one of them is
 * not ASCII. */
static inline size_t block(char *dst, const char *src, size_t *written, bool *stop, uint64_t *seen);

static enum scan_end unescape(char *dst, const char *src, size_t n, size_t *at, size_t *dst_n,
                              bool *high) {
    size_t s = 0, d = 0, written, rest_at, rest_n;
    uint64_t seen = 0;
    while (n - s >= STEP) {
        bool stop;
        s += block(dst + d, src + s, &written, &stop, &seen);
        d += written;
        if (!stop) continue;
        *at = s;
        *dst_n = d;
        if (seen) *high = true;
        if (src[s] == '"') return SCAN_QUOTE;
        if (src[s] != '\\') return SCAN_CONTROL;
        char c = simple_escape[(unsigned char)src[s + 1]];
        size_t used = 0;
        if (c) {
            dst[d++] = c;
            used = 2;
        } else if (src[s + 1] == 'u') {
            used = unicode_escapes(dst + d, src + s, n - s, &written);
            d += written;
        }
        if (!used) return SCAN_ESCAPE;
        s += used;
    }
    enum scan_end end = string_loop(dst + d, src + s, n - s, &rest_at, &rest_n, NULL, high);
    if (seen) *high = true;
    *at = s + rest_at;
    *dst_n = d + rest_n;
    return end;
}

#else

static enum scan_end unescape(char *dst, const char *src, size_t n, size_t *at, size_t *dst_n,
                              bool *high) {
    return string_loop(dst, src, n, at, dst_n, NULL, high);
}

#endif
