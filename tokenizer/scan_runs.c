/* cl100k's pattern (also Llama 3's and Qwen 2's) and o200k's, by runs: the class of the first
 * character decides which alternatives can match at all, and each run is walked once.
 *
 * White space is the delicate part. A run of it, up to the next other character:
 *
 *   s s \n s \n s s s X     \s*[\r\n]+ takes up to the last newline, \s+(?!\S) all the rest but
 *   └──────────┘ └─┘ │      one character, and that one leads X's piece, or stands alone
 *
 * Tested against scan_plain.c, where the alternatives stand one by one. */
#include <string.h>
#include "tokenizer/scan.h"

const uint8_t scan_ascii[128] = {
#define UP     SCAN_L | SCAN_UPPER
#define LOW    SCAN_L | SCAN_LOWER
#define X5(c)  c, c, c, c, c
#define X26(c) X5(c), X5(c), X5(c), X5(c), X5(c), c
    [9] = SCAN_S,   [10] = SCAN_S | SCAN_NL, SCAN_S,     SCAN_S,          SCAN_S | SCAN_NL,
    [' '] = SCAN_S, ['0'] = X5(SCAN_N),      X5(SCAN_N), ['A'] = X26(UP), ['a'] = X26(LOW)};

#define BOTH SCAN_UPPER | SCAN_LOWER
const uint8_t scan_cat_class[CAT_COUNT] = {[CAT_LU] = SCAN_L | SCAN_UPPER,
                                           [CAT_LL] = SCAN_L | SCAN_LOWER,
                                           [CAT_LT] = SCAN_L | SCAN_UPPER,
                                           [CAT_LM] = SCAN_L | BOTH,
                                           [CAT_LO] = SCAN_L | BOTH,
                                           [CAT_MN] = BOTH,
                                           [CAT_MC] = BOTH,
                                           [CAT_ME] = BOTH,
                                           [CAT_ND] = SCAN_N,
                                           [CAT_NL] = SCAN_N,
                                           [CAT_NO] = SCAN_N,
                                           [CAT_ZS] = SCAN_S,
                                           [CAT_ZL] = SCAN_S,
                                           [CAT_ZP] = SCAN_S,
                                           [CAT_CW] = SCAN_S};

struct cursor {
    const uint8_t *text, *end;
    const struct scan_form *form;
};

#define BYTES(x) ((x)*0x0101010101010101u)

static inline uint64_t load8(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

/* How many of the 8 bytes of x, from the lowest on, lie in a-z; after x | BYTES(0x20): are letters.
 * Seven bits of each byte are looked at by an addition that carries into the eighth. */
static inline size_t letters8(uint64_t x) {
    uint64_t low = x & BYTES(0x7f);
    uint64_t in = (low + BYTES(128 - 'a')) & ~(low + BYTES(127 - 'z')) & ~x & BYTES(0x80);
    uint64_t out = in ^ BYTES(0x80);
    return out ? (size_t)__builtin_ctzll(out) / 8 : 8;
}

/* Passes a-z, with `fold` A-Z too, eight at a time; what is left at the end is for the caller's
 * loop. */
static inline const uint8_t *skip_ascii(const struct cursor *c, const uint8_t *p, bool fold) {
    for (size_t n = 8; n == 8 && c->end - p >= 8; p += n)
        n = letters8(load8(p) | (fold ? BYTES(0x20) : 0));
    return p;
}

/* Passes letters of Asia, which have the bits of all of them. */
static inline const uint8_t *skip_asian(const struct cursor *c, const uint8_t *p) {
    while (c->end - p >= 4 && scan_asian(p)) p += 3;
    return p;
}

/* Passes four at a time small letters of Russian and its kin, U+0430-045F, or letters of Arabic,
 * U+0620-064A, which have the bits of all letters. */
static inline const uint8_t *skip_two_bytes(const struct cursor *c, const uint8_t *p,
                                            uint64_t first, uint64_t last) {
    for (size_t n = 4; n == 4 && c->end - p >= 8; p += 2 * n)
        n = scan_two_bytes(load8(p), first, last);
    return p;
}

static inline const uint8_t *skip_russian(const struct cursor *c, const uint8_t *p) {
    return skip_two_bytes(c, p, 0x430, 0x45f);
}
static inline const uint8_t *skip_arabic(const struct cursor *c, const uint8_t *p) {
    return skip_two_bytes(c, p, 0x620, 0x64a);
}

/* Passes what repeats the character of `len` bytes before p, as hostile texts do. */
static inline const uint8_t *skip_same(const struct cursor *c, const uint8_t *p, size_t len) {
    const uint8_t *from = p;
    while (c->end - p >= 8 && load8(p) == load8(p - len)) p += 8;
    return p - (size_t)(p - from) % len;
}

/* First character from p on that has no bit of `mask` (SCAN_L or SCAN_LOWER). */
static inline const uint8_t *skip(const struct cursor *c, const uint8_t *p, unsigned mask) {
    p = skip_ascii(c, p, mask == SCAN_L);
    while (p < c->end) {
        size_t len = 1;
        unsigned cls = *p < 0x80 ? scan_ascii[*p] : scan_class(p, c->end, &len);
        if (!(cls & mask)) break;
        p += len;
        if (len == 3) p = skip_asian(c, p);
        if (len == 2 && p < c->end) p = *p >= 0xd8 ? skip_arabic(c, p) : skip_russian(c, p);
        p = skip_same(c, p, len);
    }
    return p;
}

/* The same for [^\s\p{L}\p{N}]. */
static inline const uint8_t *skip_symbols(const struct cursor *c, const uint8_t *p) {
    while (p < c->end) {
        size_t len = 1;
        unsigned cls = *p < 0x80 ? scan_ascii[*p] : scan_class(p, c->end, &len);
        if (cls & (SCAN_L | SCAN_N | SCAN_S)) break;
        p += len;
    }
    return p;
}

static const uint8_t *numbers(const struct cursor *c, const uint8_t *p) {
    for (uint32_t i = 0; i < c->form->digits && p < c->end; i++) {
        size_t len;
        if (!(scan_class(p, c->end, &len) & SCAN_N)) break;
        p += len;
    }
    return p;
}

/* Behind symbols: [\r\n]*, for o200k [\r\n/]*. */
static const uint8_t *newlines(const struct cursor *c, const uint8_t *p, bool slash) {
    while (p < c->end && (*p == '\n' || *p == '\r' || (slash && *p == '/'))) p++;
    return p;
}

/* "[upper]*[lower]+|[upper]+[lower]*" from p; p if neither matches. The greedy upper run may have
 * to give back characters that are also lower (marks, letters without case): the last of them ends
 * it. */
static const uint8_t *cased_word(const struct cursor *c, const uint8_t *p) {
    const uint8_t *q = p, *shared = NULL;
    while (q < c->end) {
        size_t len = 1;
        unsigned cls = *q < 0x80 ? scan_ascii[*q] : scan_class(q, c->end, &len);
        if (!(cls & SCAN_UPPER)) break;
        q += len;
        if (len == 3 && cls & SCAN_LOWER) q = skip_asian(c, q);
        if (len == 2 && cls & SCAN_LOWER) q = skip_arabic(c, q);
        if (cls & SCAN_LOWER) shared = q;
    }
    const uint8_t *end = skip(c, q, SCAN_LOWER);
    return end > q ? end : shared ? shared : q;
}

/* A word from `p`, whose first character has `len` bytes and may be its lead; NULL if there is
 * none. */
static const uint8_t *o200k_word(const struct cursor *c, const uint8_t *p, unsigned cls,
                                 size_t len) {
    const uint8_t *end = NULL;
    if (!(cls &
          (SCAN_NL | SCAN_L | SCAN_N))) { /* the first alternative with the lead, then without */
        const uint8_t *q = cased_word(c, p + len);
        bool lower = false;
        for (const uint8_t *r = p + len; r < q && !lower;) {
            size_t l;
            lower = scan_class(r, c->end, &l) & SCAN_LOWER;
            r += l;
        }
        if (q > p + len && (lower || !(cls & SCAN_LOWER))) end = q;
    }
    if (!end) {
        end = cased_word(c, p);
        if (end == p) return NULL;
    }
    return end + scan_contraction(end, c->end, true);
}

static const uint8_t *cl100k_word(const struct cursor *c, const uint8_t *p, unsigned cls,
                                  size_t len) {
    size_t contraction = *p == '\'' ? scan_contraction(p, c->end, true) : 0;
    if (contraction) return p + contraction;
    if (cls & SCAN_L) return skip(c, p + len, SCAN_L);
    if (cls & (SCAN_NL | SCAN_N)) return NULL;
    const uint8_t *q = skip(c, p + len, SCAN_L);
    return q > p + len ? q : NULL;
}

/* White space from p on that leads no word and no symbols. */
static const uint8_t *space(const struct cursor *c, const uint8_t *p) {
    const uint8_t *q = p, *last = p, *newline = NULL;
    while (q < c->end) {
        size_t len;
        if (c->end - q >= 8) { /* indentation */
            uint64_t other = load8(q) ^ BYTES((uint64_t)' ');
            size_t blanks = other ? (size_t)__builtin_ctzll(other) / 8 : 8;
            if (blanks) last = q + blanks - 1;
            q += blanks;
            if (blanks == 8) continue;
        }
        unsigned cls = scan_class(q, c->end, &len);
        if (!(cls & SCAN_S)) break;
        last = q;
        q += len;
        if (cls & SCAN_NL) newline = q;
    }
    if (q == c->end && c->form->end_run) return q;
    if (newline) return newline;
    return q == c->end || last == p ? q : last;
}

static inline const uint8_t *piece(const struct cursor *c, const uint8_t *p, bool o200k) {
    size_t len;
    unsigned cls = scan_class(p, c->end, &len);
    const uint8_t *q = o200k ? o200k_word(c, p, cls, len) : cl100k_word(c, p, cls, len);
    if (q) return q;
    if (cls & SCAN_N) return numbers(c, p);
    if (!(cls & SCAN_S) || *p == ' ') { /* " ?[^\s\p{L}\p{N}]+" */
        const uint8_t *from = p + (*p == ' ');
        q = skip_symbols(c, from);
        if (q > from) return newlines(c, q, o200k);
    }
    return space(c, p);
}

int scan_runs(const struct scan_form *f, const uint8_t *text, size_t n, size_t *at, size_t to,
              struct u32s *out, struct err *err) {
    struct cursor c = {text, text + n, f};
    const uint8_t *p = text + *at;
    bool o200k = f->kind == SCAN_O200K;
    int rc = 0;
    while (p < text + to && rc == 0) {
        p = o200k ? piece(&c, p, true) : piece(&c, p, false);
        rc = u32s_push(out, (uint32_t)(p - text), err);
    }
    *at = (size_t)(p - text);
    return rc;
}
