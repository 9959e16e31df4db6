/* cl100k's pattern (also Llama 3's and Qwen 2's) and o200k's on bit masks, for ASCII: where a piece
 * starts is a boolean expression of the classes around, 64 places at a time. R is CR or LF, Q other
 * white space, S both, B U+0020, L a letter, N a number, P the rest.
 *
 *   text    x = [ 0 ] \n _ _ \n _ _ _ _ f ( ' a ' )         (_ is U+0020)
 *   start   1 1 . 1 1 . .  1 . .  1 . . 1 . 1 . 1 1 1        x| =| [|0|]\n|__\n|___|_f|('|a|'|)
 *
 * White space first. Newlines right behind P belong to P's piece ("]\n"); the rest of a run has
 *   a start at its beginning,
 *   a start behind its last newline (\s*[\r\n]+ takes all up to there),
 *   a start on its last character, if it is no newline and something follows: \s+(?!\S) leaves it.
 * Then the others:
 *   P  starts behind anything but P and B (which leads it),
 *   N  starts behind no N, and after every `digits` of them,
 *   L  starts behind no L, unless the character before leads it: Q does; P does if it is one alone
 *      and no blank leads that; o200k starts a word at a capital behind a small letter, too.
 * Contractions are rare and moved one by one.
 *
 * The text goes in windows that end where every piece ends whatever stands around, so that nothing
 * reaches across: see scan_sure(). Where there is no such place, or a character outside ASCII,
 * scan_runs() goes on for a while: it stops at ends of pieces only. The windows after that are
 * small, and grow again: their masks must not be made for nothing all the time. */
#include <string.h>
#include "tokenizer/scan.h"
#include "tokenizer/scan_masks.h"

enum {
    WINDOW = 64 * SCAN_WORDS,
    WINDOW_LEAST = 512,
    STRIDE = 64 /* fewer bytes are left to scan_runs() */
};

/* A window: text[from .. to). */
struct window {
    const struct scan_form *form;
    const uint8_t *text;
    size_t from, to, n; /* n: bytes of the text */
    size_t words;
    size_t runs_to; /* where scan_runs() may stop, if the window is not cut */
    struct scan_masks m;
    uint64_t taken[SCAN_WORDS];  /* newlines, and slashes behind them, that belong to P's piece */
    uint64_t before[SCAN_WORDS]; /* white space, and a newline follows in the same run */
    uint64_t start[SCAN_WORDS];
};

/* The whole runs of `run` that begin with a bit of `first`: in the sum they carry to behind their
 * end, the others stay. */
static inline uint64_t flood_runs(uint64_t run, uint64_t first) {
    return run & ~(run + first);
}

/* Bits of `run` from those of `first` (a subset) on upwards, as long as `run` has no gap. */
static inline uint64_t flood_up(uint64_t run, uint64_t first) {
    for (int by = 1; by < 64; by *= 2) {
        first |= run & first << by;
        run &= run << by;
    }
    return first;
}

/* Bits of `run` from those of `last` (a subset) on downwards, as long as `run` has no gap. */
static inline uint64_t flood_down(uint64_t run, uint64_t last) {
    for (int by = 1; by < 64; by *= 2) {
        last |= run & last >> by;
        run &= run >> by;
    }
    return last;
}

/* o200k's [\r\n/]*: a slash behind a taken newline is taken, too, and what is behind that. */
static void find_taken(struct window *v, bool o200k) {
    uint64_t symbol = 0, taken = 0; /* is the byte before bit 0 P; taken? */
    for (size_t w = 0; w < v->words; w++) {
        uint64_t S = v->m.space[w], R = v->m.newline[w], P = ~(S | v->m.letter[w] | v->m.number[w]);
        uint64_t first = R & (P << 1 | symbol | taken), slash = v->m.slash[w];
        if (o200k && slash & (R << 1 | taken))
            v->taken[w] = flood_up(R | slash, first | (slash & taken));
        else
            v->taken[w] = flood_runs(R, first);
        symbol = P >> 63;
        taken = v->taken[w] >> 63;
    }
}

static void find_before(struct window *v) {
    uint64_t carry = 0;
    for (size_t w = v->words; w-- > 0;) {
        uint64_t S = v->m.space[w];
        v->before[w] = flood_down(S, v->m.newline[w] | (S & carry << 63));
        carry = v->before[w] & 1;
    }
}

/* The groups of numbers: a start, and then every `digits` bits while numbers go on. */
struct groups {
    uint64_t start, number; /* of the word before */
};

static inline uint64_t group_starts(struct groups *g, uint64_t N, unsigned digits) {
    uint64_t on = N; /* numbers with digits-1 numbers before them */
    for (unsigned i = 1; i < digits; i++) on &= N << i | g->number >> (64 - i);
    uint64_t first = N & ~(N << 1 | g->number >> 63);
    uint64_t all = first | (on & (g->start >> (64 - digits)));
    for (uint64_t more = all; more; all |= more) more = more << digits & on & ~all;
    *g = (struct groups){all, N};
    return all;
}

static void find_starts(struct window *v, bool o200k) {
    const struct scan_masks *m = &v->m;
    struct groups groups = {0, 0};
    /* Of the word before; nothing is before a window but a letter or the text's beginning. */
    uint64_t L = 0, U = 0, S = 0, R = 0, B = 0, P = 0, alone = 0, taken = 0;
    for (size_t w = 0; w < v->words; w++) {
        uint64_t L0 = m->letter[w], N0 = m->number[w], S0 = m->space[w], R0 = m->newline[w],
                 B0 = m->blank[w], T0 = v->taken[w], P0 = ~(L0 | N0 | S0 | T0), U0 = m->upper[w];
        uint64_t L1 = L0 << 1 | L >> 63, S1 = S0 << 1 | S >> 63, R1 = R0 << 1 | R >> 63,
                 B1 = B0 << 1 | B >> 63, P1 = P0 << 1 | P >> 63, T1 = T0 << 1 | taken >> 63,
                 U1 = U0 << 1 | U >> 63;
        uint64_t next = w + 1 < v->words ? m->space[w + 1] << 63 : 0;
        if (w + 1 == v->words) /* the text may end, which is as before white space */
            next = 1ull << ((v->to - v->from - 1) & 63);
        uint64_t Q0 = S0 & ~R0, free0 = S0 & ~T0, free1 = S1 & ~T1;
        uint64_t white = (free0 & ~free1) | (Q0 & R1 & ~v->before[w]) | (Q0 & ~(S0 >> 1 | next));
        uint64_t alone0 = P0 & ~P1 & ~B1, alone1 = alone0 << 1 | alone >> 63;
        uint64_t led = (S1 & ~R1) | alone1;
        uint64_t letter = L0 & ~L1 & ~led;
        if (o200k) letter |= U0 & L1 & ~U1;
        v->start[w] = white | alone0 | letter | group_starts(&groups, N0, v->form->digits);
        L = L0, U = U0, S = S0, R = R0, B = B0, P = P0, alone = alone0, taken = T0;
    }
    size_t bits = v->to - v->from;
    v->start[v->words - 1] &= ~0ull >> (63 - ((bits - 1) & 63));
}

static inline void clear_bits(uint64_t *v, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) v[i >> 6] &= ~(1ull << (i & 63));
}

/* An apostrophe may begin (cl100k) or go on (o200k) with 's, 't, 're … */
static void move_contractions(struct window *v, bool o200k) {
    size_t bits = v->to - v->from, ended = 0; /* where the last contraction did */
    for (size_t w = 0; w < v->words; w++)
        for (uint64_t x = v->m.quote[w]; x; x &= x - 1) {
            size_t b = 64 * w + (size_t)__builtin_ctzll(x);
            const uint8_t *p = v->text + v->from + b;
            bool begins = v->start[w] >> (b & 63) & 1;
            bool behind_word =
                b > 0 && b != ended && (p[-1] | 0x20) >= 'a' && (p[-1] | 0x20) <= 'z';
            if (!(o200k ? behind_word : begins)) continue;
            size_t len = scan_contraction(p, v->text + v->to, true);
            if (!len) continue;
            ended = b + len;
            clear_bits(v->start, b + !o200k, ended);
            if (ended < bits) v->start[ended >> 6] |= 1ull << (ended & 63);
        }
}

/* "\s++$": white space up to the end of the text is one piece. */
static void join_end(struct window *v) {
    size_t bits = v->to - v->from, b = bits;
    while (b > 0 && (v->m.space[(b - 1) >> 6] & ~v->taken[(b - 1) >> 6]) >> ((b - 1) & 63) & 1) b--;
    if (b < bits) clear_bits(v->start, b + 1, bits);
}

/* Behind the characters outside ASCII that begin in word w: at two words without any. */
static size_t narrow_again(const struct window *v, size_t w) {
    while (w < v->words && (v->m.wide[w] | (w + 1 < v->words ? v->m.wide[w + 1] : 0))) w++;
    return w < v->words ? v->from + 64 * w : v->to;
}

/* The last sure place of the window, in bytes from its beginning, before its byte `limit`. */
static size_t last_place(const struct window *v, size_t limit, bool o200k) {
    for (size_t w = (limit + 63) / 64; w-- > 0;) {
        uint64_t sure = scan_sure_bits(&v->m, v->words, w, o200k);
        if (limit <= 64 * w + 64) sure &= (1ull << (limit - 64 * w - 1)) - 1;
        if (sure) return 64 * w + 64 - (size_t)__builtin_clzll(sure);
    }
    return 0;
}

/* Makes the masks, and lets the window end at a sure place. False: there is none. */
static bool begin_window(struct window *v, scan_masks_fn masks, bool o200k) {
    size_t bits = v->to - v->from, w = 0;
    v->words = (bits + 63) / 64;
    v->runs_to = v->to;
    if (masks(&v->m, v->text + v->from, bits)) {
        while (!v->m.wide[w]) w++;
        bits = 64 * w + (size_t)__builtin_ctzll(v->m.wide[w]);
        v->runs_to = narrow_again(v, w);
    } else if (v->to == v->n) {
        return true;
    }
    bits = last_place(v, bits, o200k);
    v->to = v->from + bits;
    if (bits < STRIDE) return false;
    v->words = (bits + 63) / 64;
    v->m.quote[v->words - 1] &= ~0ull >> (63 - ((bits - 1) & 63)); /* of the others none matters */
    return true;
}

static void cut_window(struct window *v, bool o200k) {
    find_taken(v, o200k);
    find_before(v);
    find_starts(v, o200k);
    move_contractions(v, o200k);
    if (v->to == v->n && v->form->end_run) join_end(v);
    v->start[0] &= ~1ull; /* the window's first byte ends nothing */
}

static int scan(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
                struct err *err) {
    scan_masks_fn masks = scan_masks_best();
    struct window v = {.form = f, .text = text, .n = n};
    bool o200k = f->kind == SCAN_O200K;
    size_t size = WINDOW;
    int rc = 0;
    while (v.from < n && rc == 0) {
        size_t from = v.from, begin = out->n;
        v.to = n - from <= size ? n : from + size;
        if (begin_window(&v, masks, o200k)) {
            cut_window(&v, o200k);
            rc = u32s_reserve(out, v.to - from + 9, err); /* 8: scan_write_starts() in groups */
            if (rc < 0) return rc;
            uint32_t *o = scan_write_starts(v.start, v.words, (uint32_t)from, out->v + begin);
            *o++ = (uint32_t)v.to;
            out->n = (size_t)(o - out->v);
            v.from = v.to;
            size = 2 * size < WINDOW ? 2 * size : WINDOW;
        } else {
            rc = scan_runs(f, text, n, &v.from, v.runs_to, out, err);
            size = WINDOW_LEAST;
        }
    }
    return rc;
}

int scan_cl100k(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
                struct err *err) {
    return scan(f, text, n, out, err);
}

int scan_o200k(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
               struct err *err) {
    return scan(f, text, n, out, err);
}
