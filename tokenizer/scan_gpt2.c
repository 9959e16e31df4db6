/* GPT-2's pattern on bit masks: 64 bytes become four words (letters, numbers, spaces, U+0020), and
 * where a piece starts is then a boolean expression of neighbouring bits.
 *
 *   text     d e f _ f ( x ) : \n _ _ y       (_ is U+0020)
 *   space    . . . 1 . . . . . 1  1 1 .
 *   start    1 . . 1 . 1 1 1 . 1  . 1 .       def| f|(|x|):|\n_|_y: the last space leads " y"
 *
 * A start is
 *   - a space after a non-space (a run of spaces begins),
 *   - a space before a non-space (\s+(?!\S) leaves the last one; U+0020 then leads the next piece),
 *   - a non-space after a space other than U+0020,
 *   - a non-space after a non-space of another class (letter, number, the rest),
 * and contractions move a start from behind the apostrophe to behind the ending. Characters of
 * several bytes have their class on all their bytes, so that none is cut.
 *
 * The text goes through in windows; what reaches across their borders is in struct carry. */
#include <string.h>
#include "tokenizer/scan.h"
#include "tokenizer/scan_masks.h"

enum { WINDOW = 64 * SCAN_WORDS };

struct carry {
    uint64_t letter, number, space, blank; /* bit 0: class of the byte before the window         */
    uint64_t drop, set; /* starts that a contraction took from / gave to this window */
};

/* Where the window that begins at `from` ends: not inside a character. */
static size_t window_end(const uint8_t *text, size_t from, size_t n) {
    size_t to = from + WINDOW;
    if (to >= n) return n;
    for (size_t back = 1; back <= 3 && (text[to - back + 1] & 0xc0) == 0x80; back++) {
        uint32_t cp;
        if (text[to - back] >= 0xc0 && unicode_decode(text + to - back, text + n, &cp) > back)
            return to - back;
    }
    return to;
}

static void set_bits(uint64_t *v, size_t from, size_t to) {
    for (size_t w = from >> 6; w <= (to - 1) >> 6; w++) {
        uint64_t bits = ~0ull;
        if (w == from >> 6) bits &= ~0ull << (from & 63);
        if (w == (to - 1) >> 6) bits &= ~0ull >> (63 - ((to - 1) & 63));
        v[w] |= bits;
    }
}

/* Puts text[at …) into the masks, as long as it goes on outside ASCII and in one class; returns
 * where that ends. Sentences of Chinese are one call. */
static size_t mark_run(struct scan_masks *m, const uint8_t *text, size_t from, size_t at, size_t to,
                       size_t n) {
    size_t len, end = at;
    unsigned cls = scan_class(text + at, text + n, &len);
    do {
        end += len;
        if (cls == scan_cat_class[CAT_LO]) /* that of all of them */
            while (to - end >= 4 && scan_asian(text + end)) end += 3;
    } while (end < to && text[end] >= 0x80 && !(cls & SCAN_S) &&
             scan_class(text + end, text + n, &len) == cls);
    if (cls & SCAN_L) set_bits(m->letter, at - from, end - from);
    if (cls & SCAN_N) set_bits(m->number, at - from, end - from);
    if (cls & SCAN_S) {
        set_bits(m->space, at - from, end - from);
        if (end > at + 1) set_bits(m->tail, at + 1 - from, end - from);
        m->wide_space = true;
    }
    return end;
}

/* Puts the classes of the characters outside ASCII into the masks. */
static void mark_wide(struct scan_masks *m, const uint8_t *text, size_t from, size_t to, size_t n) {
    size_t words = (to - from + 63) / 64, next = 0; /* next: a place in the window */
    for (size_t w = 0; w < words; w++)
        while (next < 64 * w + 64) {
            uint64_t x = m->wide[w] & (next > 64 * w ? ~0ull << (next & 63) : ~0ull);
            if (!x) break;
            size_t at = from + 64 * w + (size_t)__builtin_ctzll(x);
            next = mark_run(m, text, from, at, to, n) - from;
        }
}

/* A start on the last byte of a space of several bytes belongs on its first. */
static void move_to_lead(struct scan_masks *m, uint64_t *start, size_t words) {
    for (size_t w = 0; w < words; w++) {
        for (uint64_t x = start[w] & m->tail[w]; x; x &= x - 1) {
            size_t b = 64 * w + (size_t)__builtin_ctzll(x);
            start[w] &= ~(x & -x);
            while (m->tail[b >> 6] >> (b & 63) & 1) b--;
            start[b >> 6] |= 1ull << (b & 63);
        }
    }
}

/* `space_after`: the character behind the window is a space, or the text ends. */
static void find_starts(const struct scan_masks *m, struct carry *c, uint64_t *start, size_t words,
                        size_t bytes, bool space_after) {
    uint64_t letter = c->letter, number = c->number, space = c->space, blank = c->blank;
    for (size_t w = 0; w < words; w++) {
        uint64_t L = m->letter[w], N = m->number[w], S = m->space[w];
        uint64_t after = w + 1 < words ? m->space[w + 1] << 63 : 0;
        if (w + 1 == words) /* the first bit behind the text */
            after = (uint64_t)space_after << ((bytes - 1) & 63);
        uint64_t L1 = L << 1 | letter, N1 = N << 1 | number, S1 = S << 1 | space,
                 B1 = m->blank[w] << 1 | blank;
        uint64_t differs = ~S & ~S1 & ((L ^ L1) | (N ^ N1));
        start[w] = (S & ~S1) | (S & ~(S >> 1 | after)) | (~S & S1 & ~B1) | differs;
        letter = L >> 63, number = N >> 63, space = S >> 63, blank = m->blank[w] >> 63;
    }
    size_t last = (bytes - 1) & 63, w = words - 1;
    start[w] &= ~0ull >> (63 - last);
    c->letter = m->letter[w] >> last & 1;
    c->number = m->number[w] >> last & 1;
    c->space = m->space[w] >> last & 1;
    c->blank = m->blank[w] >> last & 1;
}

/* An apostrophe that starts a piece may be 's, 't, 're … */
static void move_contractions(const struct scan_masks *m, struct carry *c, uint64_t *start,
                              size_t words, size_t bytes, const uint8_t *text, const uint8_t *end) {
    c->drop = c->set = 0;
    for (size_t w = 0; w < words; w++) {
        for (uint64_t x = m->quote[w] & start[w]; x; x &= x - 1) {
            size_t b = 64 * w + (size_t)__builtin_ctzll(x);
            size_t len = scan_contraction(text + b, end, false);
            if (!len) continue;
            size_t drop = b + 1, set = b + len;
            if (drop < bytes)
                start[drop >> 6] &= ~(1ull << (drop & 63));
            else
                c->drop |= 1ull << (drop - bytes);
            if (set < bytes)
                start[set >> 6] |= 1ull << (set & 63);
            else
                c->set |= 1ull << (set - bytes);
        }
    }
}

int scan_gpt2(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
              struct err *err) {
    (void)f;
    scan_masks_fn masks = scan_masks_best();
    struct scan_masks m;
    struct carry c = {0};
    uint64_t start[SCAN_WORDS];
    for (size_t from = 0, to; from < n; from = to) {
        to = window_end(text, from, n);
        size_t bytes = to - from, words = (bytes + 63) / 64, len;
        int rc = u32s_reserve(out, bytes + 9, err); /* 8: scan_write_starts() writes in groups */
        if (rc < 0) return rc;
        bool wide = masks(&m, text + from, bytes);
        m.wide_space = false;
        if (wide) {
            memset(m.tail, 0, words * sizeof m.tail[0]);
            mark_wide(&m, text, from, to, n);
        }
        bool space_after = to == n || scan_class(text + to, text + n, &len) & SCAN_S;
        uint64_t drop = c.drop, set = c.set;
        find_starts(&m, &c, start, words, bytes, space_after);
        start[0] =
            ((start[0] & ~drop) | set | (from == 0)) & (bytes < 64 ? (1ull << bytes) - 1 : ~0ull);
        if (m.wide_space) move_to_lead(&m, start, words);
        move_contractions(&m, &c, start, words, bytes, text + from, text + n);
        if (from == 0) start[0] &= ~1ull; /* the start of the text ends no piece */
        out->n =
            (size_t)(scan_write_starts(start, words, (uint32_t)from, out->v + out->n) - out->v);
    }
    return n ? u32s_push(out, (uint32_t)n, err) : 0;
}
