/* cl100k's pattern (also Llama 3's and Qwen 2's) and o200k's on bit masks: where a piece starts is
 * a boolean expression of the classes around, 64 places at a time. R is CR or LF, Q other white
 * space, S both, B U+0020, L a letter, N a number, P the rest. All bytes of a character have its
 * class.
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
 *      and no blank leads that.
 * Contractions are rare and moved one by one.
 *
 * For o200k a mark is an L, or behind a P one, too: see place_marks(). Words are [upper]*[lower]+
 * or else [upper]+, so that a capital starts one
 *   behind a small letter, and behind letters without case and marks that are behind one: [lower]+
 *   has taken them;
 *   behind others of these, if there are only capitals from there on: [upper]* had to give back the
 *   last of them, for it is [lower], too. These are looked for one by one.
 *
 *   ªXx   1 . .       ªXX,   1 1 . 1       xªXx   1 . 1 .
 *
 * The text goes in windows that end where every piece ends whatever stands around, so that nothing
 * reaches across: see scan_sure(). Where there is no such place, or bytes that are no character, or
 * any outside ASCII and scan_wide_fast() has nothing, scan_runs() goes on for a while: it stops at
 * ends of pieces only. The windows after that are small, and grow again: their masks must not be
 * made for nothing all the time. */
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
    size_t runs_to;    /* where scan_runs() may stop, if the window is not cut */
    bool wide;         /* characters outside ASCII                             */
    bool wide_numbers; /* numbers among them                                   */
    struct scan_masks m;
    uint64_t taken[SCAN_WORDS];  /* newlines, and slashes behind them, that belong to P's piece */
    uint64_t before[SCAN_WORDS]; /* white space, and a newline follows in the same run */
    uint64_t maybe[SCAN_WORDS];  /* capitals behind letters without case            */
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
    uint64_t start, number; /* of the word before                         */
    unsigned n;             /* numbers in the last one, if there are wide */
};

static inline uint64_t group_starts(struct groups *g, uint64_t N, unsigned digits) {
    uint64_t on = N; /* numbers with digits-1 numbers before them */
    for (unsigned i = 1; i < digits; i++) on &= N << i | g->number >> (64 - i);
    uint64_t first = N & ~(N << 1 | g->number >> 63);
    uint64_t all = first | (on & (g->start >> (64 - digits)));
    for (uint64_t more = all; more; all |= more) more = more << digits & on & ~all;
    *g = (struct groups){.start = all, .number = N};
    return all;
}

/* The same where some have several bytes. */
static uint64_t wide_group_starts(struct groups *g, uint64_t N, uint64_t tail, unsigned digits) {
    uint64_t first = N & ~(N << 1 | g->number >> 63), all = 0;
    for (uint64_t x = N & ~tail; x; x &= x - 1) {
        uint64_t bit = x & -x;
        if (first & bit || g->n == digits) {
            all |= bit;
            g->n = 0;
        }
        g->n++;
    }
    g->number = N;
    return all;
}

/* `wide` is v->wide, known when this is compiled. */
static inline __attribute__((always_inline)) void find_starts(struct window *v, bool o200k,
                                                              bool wide) {
    const struct scan_masks *m = &v->m;
    struct groups groups = {0};
    /* Of the word before; a window is cut as if it were alone. */
    uint64_t L = 0, U = 0, S = 0, R = 0, B = 0, P = 0, alone = 0, taken = 0, both = 0, lower = 0;
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
        uint64_t symbol = P0 & ~P1 & ~B1, alone0 = symbol;
        if (wide) alone0 = scan_with_tails(symbol, m->tail[w], alone);
        uint64_t led = (S1 & ~R1) | alone0 << 1 | alone >> 63;
        uint64_t letter = L0 & ~L1 & ~led;
        if (o200k && wide) {
            uint64_t both0 = m->both[w], both1 = both0 << 1 | both >> 63, small = L0 & ~U0 & ~both0;
            uint64_t lower0 = small | flood_runs(both0, (small << 1 | lower >> 63) & both0);
            v->maybe[w] = U0 & both1 & ~(lower0 << 1 | lower >> 63);
            letter |= U0 & (lower0 << 1 | lower >> 63);
            both = both0, lower = lower0;
        } else if (o200k) {
            letter |= U0 & L1 & ~U1;
        }
        uint64_t number = wide && v->wide_numbers
                              ? wide_group_starts(&groups, N0, m->tail[w], v->form->digits)
                              : group_starts(&groups, N0, v->form->digits);
        v->start[w] = white | symbol | letter | number;
        L = L0, U = U0, S = S0, R = R0, B = B0, P = P0, alone = alone0, taken = T0;
    }
    size_t bits = v->to - v->from;
    v->start[v->words - 1] &= ~0ull >> (63 - ((bits - 1) & 63));
}

static inline void clear_bits(uint64_t *v, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) v[i >> 6] &= ~(1ull << (i & 63));
}

static inline bool has_bit(const uint64_t *v, size_t i) {
    return v[i >> 6] >> (i & 63) & 1;
}

/* A capital behind letters without case starts a word, unless behind the capitals there is a letter
 * of another kind. */
static void find_capitals(struct window *v) {
    for (size_t w = 0; w < v->words; w++)
        for (uint64_t x = v->maybe[w]; x; x &= x - 1) {
            size_t bits = v->to - v->from, b = 64 * w + (size_t)__builtin_ctzll(x), end = b;
            while (end < bits && has_bit(v->m.upper, end)) end++;
            if (end == bits || !has_bit(v->m.letter, end)) v->start[w] |= 1ull << (b & 63);
        }
}

/* The word that begins at `at`, with letters without case, does so behind a contraction. */
static void cut_again(struct window *v, size_t at) {
    size_t bits = v->to - v->from, end = at, last = at;
    for (; end < bits && (has_bit(v->m.upper, end) || has_bit(v->m.both, end)); end++)
        if (has_bit(v->m.both, end)) last = end + 1;
    clear_bits(v->start, at + 1, end);
    if (last < end && !(end < bits && has_bit(v->m.letter, end)))
        v->start[last >> 6] |= 1ull << (last & 63);
}

/* An apostrophe may begin (cl100k) or go on (o200k) with 's, 't, 're … */
static void move_contractions(struct window *v, bool o200k) {
    size_t bits = v->to - v->from, ended = 0; /* where the last contraction did */
    for (size_t w = 0; w < v->words; w++)
        for (uint64_t x = v->m.quote[w]; x; x &= x - 1) {
            size_t b = 64 * w + (size_t)__builtin_ctzll(x);
            const uint8_t *p = v->text + v->from + b;
            bool begins = v->start[w] >> (b & 63) & 1;
            bool behind_word = b > 0 && b != ended && has_bit(v->m.letter, b - 1);
            if (!(o200k ? behind_word : begins)) continue;
            size_t len = scan_contraction(p, v->text + v->to, true);
            if (!len) continue;
            ended = b + len;
            clear_bits(v->start, b + !o200k, ended);
            if (ended < bits) v->start[ended >> 6] |= 1ull << (ended & 63);
            if (o200k && v->wide && ended < bits && has_bit(v->m.both, ended)) cut_again(v, ended);
        }
}

/* "\s++$": white space up to the end of the text is one piece. */
static void join_end(struct window *v) {
    size_t bits = v->to - v->from, b = bits;
    while (b > 0 && (v->m.space[(b - 1) >> 6] & ~v->taken[(b - 1) >> 6]) >> ((b - 1) & 63) & 1) b--;
    if (b < bits) clear_bits(v->start, b + 1, bits);
}

/* Behind the odd bytes that begin in word w: at two words without any. */
static size_t narrow_again(const struct window *v, const uint64_t *odd, size_t w) {
    while (w < v->words && (odd[w] | (w + 1 < v->words ? odd[w + 1] : 0))) w++;
    return w < v->words ? v->from + 64 * w : v->to;
}

/* o200k's marks: they become letters or P. In a run of both
 *
 *   "MM" "!M" "!MM" "!!M!M"       behind P that is alone a mark begins a word, which P leads;
 *                      " !M!M"    behind two of P, or one that a blank leads, all are P
 *
 * A run with slashes that may belong to newlines before is odd. */
static void place_marks(struct window *v) {
    struct scan_masks *m = &v->m;
    uint64_t P = 0, X = 0, R = 0, B = 0; /* of the word before; X: the run */
    bool led = false, slashed = false;   /* the run it ends with: all are P; it has such slashes */
    for (size_t w = 0; w < v->words; w++) {
        const uint64_t mark = m->mark[w];
        uint64_t P0 = ~(m->letter[w] | mark | m->number[w] | m->space[w]);
        const uint64_t X0 = P0 | mark, P1 = P0 << 1 | P >> 63, goes_on = X0 & X >> 63;
        uint64_t first = P0 & ((P1 & ~m->tail[w]) | m->blank[w] << 1 | B >> 63);
        uint64_t slashes = m->slash[w] & (m->newline[w] << 1 | R >> 63);
        first |= goes_on & led;
        slashes |= goes_on & slashed;
        led = first > ~X0; /* behind what is no run */
        slashed = slashes > ~X0;
        if (mark & P1) {
            if (slashes)
                m->odd[w] |= mark & P1;
            else
                P0 |= flood_up(X0, first);
        }
        m->letter[w] |= mark & ~P0;
        m->both[w] &= ~(mark & P0);
        P = P0, X = X0, R = m->newline[w], B = m->blank[w];
    }
}

/* Adds to the masks what is not ASCII. Returns the bytes before the first odd one. */
static size_t add_wide(struct window *v, scan_wide_fn add, bool o200k) {
    const uint64_t *odd = add ? v->m.odd : v->m.wide;
    size_t w = 0;
    v->to = scan_whole(v->text, v->to, v->n);
    v->words = (v->to - v->from + 63) / 64;
    if (add) add(&v->m, v->text + v->from, v->to - v->from);
    if (add && o200k) place_marks(v);
    v->wide = add;
    v->wide_numbers = false;
    for (size_t i = 0; add && i < v->words; i++)
        v->wide_numbers |= (v->m.number[i] & v->m.wide[i]) != 0;
    while (w < v->words && !odd[w]) w++;
    v->runs_to = narrow_again(v, odd, w);
    size_t bits = v->to - v->from;
    if (w == v->words) return bits;
    size_t at = 64 * w + (size_t)__builtin_ctzll(odd[w]);
    return at < bits ? at : bits;
}

/* The last sure place of the window, in bytes from its beginning, before its byte `limit`. */
static size_t last_place(const struct window *v, size_t limit, bool o200k) {
    for (size_t w = (limit + 63) / 64; w-- > 0;) {
        uint64_t sure = scan_sure_bits(&v->m, v->words, w, o200k, v->wide);
        if (limit <= 64 * w + 64) sure &= (1ull << (limit - 64 * w - 1)) - 1;
        if (sure) return 64 * w + 64 - (size_t)__builtin_clzll(sure);
    }
    return 0;
}

/* Makes the masks, and lets the window end at a sure place. False: there is none. */
static bool begin_window(struct window *v, scan_masks_fn masks, scan_wide_fn add, bool o200k) {
    size_t bits = v->to - v->from;
    v->words = (bits + 63) / 64;
    v->runs_to = v->to;
    v->wide = false;
    if (masks(&v->m, v->text + v->from, bits)) bits = add_wide(v, add, o200k);
    if (v->from + bits == v->n) return true;
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
    if (v->wide) {
        find_starts(v, o200k, true);
        if (o200k) find_capitals(v);
        scan_move_to_first(&v->m, v->start, v->words);
    } else {
        find_starts(v, o200k, false);
    }
    move_contractions(v, o200k);
    if (v->to == v->n && v->form->end_run) join_end(v);
    v->start[0] &= ~1ull; /* the window's first byte ends nothing */
}

static int scan(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
                struct err *err) {
    scan_masks_fn masks = scan_masks_best();
    scan_wide_fn add = scan_wide_fast();
    struct window v = {.form = f, .text = text, .n = n};
    bool o200k = f->kind == SCAN_O200K;
    size_t size = WINDOW;
    int rc = 0;
    while (v.from < n && rc == 0) {
        size_t from = v.from, begin = out->n;
        v.to = n - from <= size ? n : from + size;
        if (begin_window(&v, masks, add, o200k)) {
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
