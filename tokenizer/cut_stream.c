/* See cut_stream.h. What can be said of a text whose end is not known yet, of all named patterns:
 *
 *   - they look ahead only, so that a piece depends on nothing before it;
 *   - a piece is decided by its own characters and one more, or three bytes more where that is an
 *     apostrophe ('ll); with two exceptions, which look to the end of a run:
 *   - white space: how far up to its last newline, and its last character, depend on what follows;
 *   - o200k's capitals behind a letter without case, which join it if a small letter follows.
 *
 * So if the text ends within such a run, the pieces from its beginning on are held: the bound is
 * missed where white space goes on and on behind a newline (cl100k, o200k), or capitals behind a
 * letter without case (o200k). No encoder of one pass could do without.
 *
 * Of an expression of the user's own PCRE2 says whether a match touches the end of what is there;
 * then it, and what follows, is held. */
#include "tokenizer/cut_stream.h"

#include "tokenizer/scan.h"
#include "tokenizer/tokenizer.h"

enum { AHEAD = 3 };

int cut_stream_init(struct cut_stream *c, const struct pattern *p, size_t step, struct err *err) {
    *c = (struct cut_stream){.least = CUT_LONG, .step = step};
    return scanner_new(&c->scanner, p, err);
}

void cut_stream_release(struct cut_stream *c) {
    buf_release(&c->text);
    u32s_release(&c->ends);
    scanner_free(c->scanner);
    *c = (struct cut_stream){0};
}

/* A stretch of text, in characters. */
struct view {
    const uint8_t *v;
    size_t n;
    const struct scan_form *form;
};

static unsigned class_at(const struct view *t, size_t at) {
    size_t len;
    return at < t->n ? scan_class(t->v + at, t->v + t->n, &len) : 0;
}

static size_t next(const struct view *t, size_t at) {
    uint32_t cp;
    return at + unicode_decode(t->v + at, t->v + t->n, &cp);
}

/* Where the character before `at` begins. */
static size_t before(const struct view *t, size_t at) {
    uint32_t cp;
    if ((t->v[at - 1] & 0xC0) == 0x80)
        for (size_t len = 2; len <= 4 && len <= at; len++)
            if (unicode_decode(t->v + at - len, t->v + at, &cp) == len) return at - len;
    return at - 1;
}

/* Where the run of characters begins that the text ends with, all of which have a bit of `any` and
 * none of `none`. */
static size_t last_run(const struct view *t, unsigned any, unsigned none) {
    size_t at = t->n;
    while (at > 0) {
        size_t p = before(t, at);
        unsigned cls = class_at(t, p);
        if (!(cls & any) || (cls & none)) break;
        at = p;
    }
    return at;
}

/* ------------------------------------------------------------------ what is certain */

/* Drops the ends from the first uncertain one on. */
static void drop_uncertain(const struct view *t, struct u32s *ends) {
    const unsigned both = SCAN_UPPER | SCAN_LOWER;
    size_t space = last_run(t, SCAN_S, 0), capitals = t->n;
    if (t->form->kind == SCAN_O200K) capitals = last_run(t, SCAN_UPPER, SCAN_LOWER);
    bool joins =
        capitals > 0 && capitals < t->n && (class_at(t, before(t, capitals)) & both) == both;
    while (ends->n) {
        size_t end = ends->v[ends->n - 1], from = ends->n > 1 ? ends->v[ends->n - 2] : 0;
        if (end + AHEAD <= t->n && !(end > space && from >= space) && !(joins && end == capitals))
            break;
        ends->n--;
    }
}

/* ------------------------------------------------------------------ long pieces */

/* Does a word begin at `at`, behind no lead? */
static bool is_word(const struct view *t, size_t at) {
    return class_at(t, at) & (t->form->kind == SCAN_O200K ? SCAN_UPPER | SCAN_LOWER : SCAN_L);
}

/* A word of o200k without its 's, 't …: what comes next depends on whether it has small letters,
 * and, if not, on whether its last one has a case. */
static const char *cased_word(const struct view *t, size_t from, size_t *to) {
    unsigned cls = 0;
    bool lower = false;
    for (size_t at = from; at < *to; at = next(t, at)) {
        unsigned here = class_at(t, at) & (SCAN_UPPER | SCAN_LOWER);
        if (!here) {
            *to = at;
            break;
        }
        cls = here;
        lower |= cls == SCAN_LOWER;
    }
    return lower ? "x" : cls == SCAN_UPPER ? "X" : "\xC2\xAA"; /* U+00AA, as short as there are */
}

/* Numbers, or what is between them. A group of so many digits is held. */
static const char *numbers(const struct view *t, size_t *to) {
    bool number = class_at(t, 0) & SCAN_N;
    if (number && t->form->digits < UINT32_MAX) *to = 0;
    return number ? "0" : "x";
}

static const char *symbols(const struct view *t, size_t to) {
    return memchr(t->v, '\n', to) || memchr(t->v, '\r', to) ? "!!\n" : "!!";
}

/* White space: what follows the last newline, or else the last character, may be another piece. */
static const char *space(const struct view *t, size_t *to) {
    size_t run = 0, newline = 0, last = 0;
    for (; run < t->n && class_at(t, run) & SCAN_S; run = next(t, run)) {
        last = run;
        if (class_at(t, run) & SCAN_NL) newline = run + 1;
    }
    bool lines = newline && t->form->kind != SCAN_GPT2;
    if (run == t->n) *to = lines ? newline : last;
    return lines ? "\n" : " ";
}

/* How many bytes of the piece that t begins with, and that ends at *to as far as is known, are
 * certain; and what stands in for them. */
static const char *open_piece(const struct view *t, size_t *to) {
    const bool gpt2 = t->form->kind == SCAN_GPT2, o200k = t->form->kind == SCAN_O200K;
    const unsigned first = class_at(t, 0), second = class_at(t, next(t, 0));
    const size_t behind = next(t, 0);
    if (t->form->kind == SCAN_NUMBERS) return numbers(t, to);
    const bool blank = t->v[0] == ' ', lead = gpt2 ? blank : !(first & (SCAN_NL | SCAN_L | SCAN_N));
    if (is_word(t, 0)) return o200k ? cased_word(t, 0, to) : "x";
    if (lead && is_word(t, behind)) return o200k ? cased_word(t, behind, to) : "x";
    if (first & SCAN_N || (blank && second & SCAN_N)) return "0";
    if (!(first & SCAN_S) || (blank && !(second & SCAN_S))) return symbols(t, *to);
    return space(t, to);
}

static void find_open(struct cut_stream *c, const struct view *whole, size_t end) {
    size_t from = c->ends.n ? c->ends.v[c->ends.n - 1] : 0, stands_in = from ? 0 : c->stands_in;
    struct view t = {whole->v + from, whole->n - from, whole->form};
    size_t to = end - from;
    if (t.n < c->least && !stands_in) return;
    const char *after = open_piece(&t, &to);
    if (to <= stands_in) return;
    c->after = after;
    c->open = to;
}

/* ------------------------------------------------------------------ the stream */

/* So that what is left is not looked at time and again. */
static int wait_for_more(struct cut_stream *c) {
    size_t left = c->text.n - c->open - (c->ends.n ? c->ends.v[c->ends.n - 1] : 0);
    c->wait = left > c->least ? 2 * left : 0;
    return 0;
}

/* By an expression: what no match can begin in any more is open. */
static int match(struct cut_stream *c, const struct view *t, bool last, struct err *err) {
    size_t between;
    int rc = scan_matcher_cut_part(scanner_matcher(c->scanner, c->step), t->v, t->n, c->stands_in,
                                   c->goes, last, &c->ends, &between, err);
    if (rc < 0 || last) return rc;
    if (between && !c->whole && (between >= c->least || (c->goes && !c->ends.n)))
        c->open = between + (c->ends.n ? 0 : c->stands_in);
    return wait_for_more(c);
}

/* Of what an expression has left behind it, keeps what it may look back at. */
static void look_back(struct cut_stream *c, size_t gone) {
    size_t behind = scan_matcher_behind(scanner_matcher(c->scanner, c->step));
    size_t from = gone > behind ? gone - behind : 0;
    while (from < gone && ((uint8_t)c->text.v[from] & 0xC0) == 0x80) from++;
    if (from == gone && gone) from--; /* bytes that are no characters */
    c->text.n -= from;
    if (from) memmove(c->text.v, c->text.v + from, c->text.n);
    c->stands_in = gone - from;
}

int cut_stream_add(struct cut_stream *c, const char *v, size_t n, bool last, struct err *err) {
    c->ends.n = c->open = 0;
    int rc = buf_append(&c->text, v, n, err);
    if (rc < 0) return rc;
    if (!last && c->text.n < c->wait) return 0;
    struct view t = {.v = (const uint8_t *)c->text.v, .n = c->text.n};
    t.form = scanner_form(c->scanner, c->step);
    if (!last) t.n = decode_whole(c->text.v, t.n);
    if (t.form->kind == SCAN_REGEX) return match(c, &t, last, err);
    rc = t.n ? scanner_step(c->scanner, c->step, t.v, t.n, &c->ends, err) : 0;
    if (rc < 0 || last) return rc;
    size_t pieces = c->ends.n;
    drop_uncertain(&t, &c->ends);
    if (c->ends.n < pieces && !c->whole) find_open(c, &t, c->ends.v[c->ends.n]);
    return wait_for_more(c);
}

void cut_stream_take(struct cut_stream *c) {
    size_t from = c->ends.n ? c->ends.v[c->ends.n - 1] : 0;
    c->goes = c->open || (!c->ends.n && c->goes);
    if (scanner_form(c->scanner, c->step)->kind == SCAN_REGEX) {
        if (c->ends.n || c->open) look_back(c, from + c->open);
        c->ends.n = c->open = 0;
        return;
    }
    size_t gone = from + c->open, in = c->open ? strlen(c->after) : from ? 0 : c->stands_in;
    if (!from && !c->open) gone = c->stands_in;
    /* What stands in is not longer than what left. */
    c->text.n -= gone - in;
    if (gone > in) memmove(c->text.v + in, c->text.v + gone, c->text.n - in);
    if (c->open) memcpy(c->text.v, c->after, in);
    c->stands_in = in;
    c->ends.n = c->open = 0;
}
