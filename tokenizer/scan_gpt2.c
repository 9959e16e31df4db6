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
    scan_wide_fn add_wide = scan_wide_fast();
    struct scan_masks m;
    struct carry c = {0};
    uint64_t start[SCAN_WORDS];
    for (size_t from = 0, to; from < n; from = to) {
        to = scan_whole(text, from + WINDOW, n);
        size_t bytes = to - from, words = (bytes + 63) / 64, len;
        int rc = u32s_reserve(out, bytes + 9, err); /* 8: scan_write_starts() writes in groups */
        if (rc < 0) return rc;
        bool wide = masks(&m, text + from, bytes);
        if (wide) (add_wide ? add_wide : scan_wide_plain)(&m, text + from, bytes);
        bool space_after = to == n || scan_class(text + to, text + n, &len) & SCAN_S;
        uint64_t drop = c.drop, set = c.set;
        find_starts(&m, &c, start, words, bytes, space_after);
        start[0] =
            ((start[0] & ~drop) | set | (from == 0)) & (bytes < 64 ? (1ull << bytes) - 1 : ~0ull);
        if (wide) scan_move_to_first(&m, start, words);
        move_contractions(&m, &c, start, words, bytes, text + from, text + n);
        if (from == 0) start[0] &= ~1ull; /* the start of the text ends no piece */
        out->n =
            (size_t)(scan_write_starts(start, words, (uint32_t)from, out->v + out->n) - out->v);
    }
    return n ? u32s_push(out, (uint32_t)n, err) : 0;
}
