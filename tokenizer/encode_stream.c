/* Encoding a text that comes in parts. What encode.c does to a whole text one after the other is
 * done here to what is certain of it, each step holding what is not:
 *
 *   given ─▶ specials ─▶ form C ─▶ specials ─▶ pieces (cut_stream.h) ─▶ ids
 *              └──────────────────────┴──▶ ids, in their place among the others; what is between
 *                                          two of them is a span, a text of its own to the steps
 *
 * A pattern of several steps is several such cutters. A piece that leaves in parts is merged in
 * parts.
 *
 *   piece   s o m e t h i n g l o n g w i t h o u t b l a n k s …
 *   window  some|thing|long|wi|tho          ids up to the boundary wait until the next window …
 *                      long|without|bl|an   … begins with the token that was behind it: long
 *
 * That a boundary can then be relied on, whatever the vocabulary, is shown in bpe_windows.c, whose
 * windows are smaller. If the next window begins otherwise, the two are merged as one; if that one
 * begins otherwise than the ids that have left already want it, the piece is refused: merges would
 * have to reach from one window to the other, over thousands of tokens. */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/bpe.h"
#include "tokenizer/cut_stream.h"
#include "tokenizer/encode_inside.h"
#include "tokenizer/unicode.h"

enum { TAIL_SHARE = 4 };

/* What is merged of a long piece. */
struct tail {
    struct buf bytes;
    size_t boundary;    /* in `bytes`; 0: none yet                                     */
    struct u32s ids;    /* of the bytes before it                                      */
    uint32_t behind;    /* the token behind it                                         */
    uint32_t first;     /* the token that bytes have to begin with, or TOKENIZER_NO_ID */
    size_t least, wait; /* bytes of a window; bytes that are worth merging             */
};

/* Text that waits, and where in the text given each byte's character stands, as start and end (2 x
 * text.n), if anybody wants to know. */
struct held {
    struct buf text;
    struct u32s places;
};

struct encode_stream {
    const struct tokenizer *t;
    struct held given;                /* a character that is not whole */
    uint64_t at;                      /* where in the text it stands   */
    struct special_stream special[2]; /* of the two passes …           */
    struct u32s special_places[2];
    struct held raw, formed; /* what is to be in form C, and is it */
    size_t raw_wait;         /* bytes that are worth looking at again */
    struct cut_stream *cut;  /* (steps) of the pattern, each of the pieces of the one before */
    size_t steps;
    struct tail tail;
    struct u32s span_places; /* of what is held of the span, a blank before it included */
    struct u32s ids;         /* scratch */
    bool begun;              /* a byte of the span was seen */
};

/* What one call of encode_part_places() works with. */
struct call {
    struct encoder *e;
    struct encode_stream *s;
    const struct special_tree *tree; /* (2), or NULL */
    struct u32s *out, *places;       /* places may be NULL */
    struct err *err;
};

/* A bit of text on its way. */
struct bit {
    const char *v;
    size_t n;
    const uint32_t *places; /* (2 x n), or NULL */
};

enum { BIT = 1 << 18 };

static void held_release(struct held *h) {
    buf_release(&h->text);
    u32s_release(&h->places);
}

static int places_add(struct u32s *to, const uint32_t *places, size_t n, struct err *err) {
    return places ? u32s_append(to, places, 2 * n, err) : 0;
}

/* Those of the first n bytes. */
static void places_drop(struct u32s *p, size_t n) {
    if (!n || !p->n) return;
    p->n -= 2 * n;
    memmove(p->v, p->v + 2 * n, p->n * sizeof *p->v);
}

static int held_add(struct held *h, const struct bit *b, struct err *err) {
    int rc = buf_append(&h->text, b->v, b->n, err);
    return rc < 0 ? rc : places_add(&h->places, b->places, b->n, err);
}

static void held_drop(struct held *h, size_t n) {
    places_drop(&h->places, n);
    h->text.n -= n;
    if (n) memmove(h->text.v, h->text.v + n, h->text.n);
}

/* h.text[0..n) */
static struct bit held_bit(const struct held *h, size_t n) {
    return (struct bit){h->text.v, n, h->places.n ? h->places.v : NULL};
}

int encode_stream_new(struct encode_stream **ret, const struct tokenizer *t, struct err *err) {
    struct encode_stream *s = calloc(1, sizeof *s);
    if (!s) return err_nomem(err, sizeof *s);
    s->t = t;
    s->tail.first = TOKENIZER_NO_ID;
    s->tail.least = CUT_LONG;
    for (uint32_t i = 0; i < t->n_specials; i++)
        for (int k = 0; k < 2; k++) s->special[k].lstrip |= t->specials[i].lstrip;
    size_t steps = pattern_steps(t->pattern);
    s->cut = mem_array(steps, sizeof *s->cut);
    int rc = s->cut ? 0 : err_nomem(err, steps * sizeof *s->cut);
    while (rc >= 0 && s->steps < steps) {
        rc = cut_stream_init(&s->cut[s->steps], t->pattern, s->steps, err);
        s->steps++;
    }
    if (rc < 0) {
        encode_stream_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void encode_stream_free(struct encode_stream *s) {
    if (!s) return;
    held_release(&s->given);
    held_release(&s->raw);
    held_release(&s->formed);
    for (int k = 0; k < 2; k++) special_stream_release(&s->special[k]);
    for (int k = 0; k < 2; k++) u32s_release(&s->special_places[k]);
    for (size_t k = 0; k < s->steps; k++) cut_stream_release(&s->cut[k]);
    free(s->cut);
    buf_release(&s->tail.bytes);
    u32s_release(&s->tail.ids);
    u32s_release(&s->span_places);
    u32s_release(&s->ids);
    free(s);
}

void encode_stream_least(struct encode_stream *s, size_t piece, size_t window) {
    for (size_t k = 0; k < s->steps; k++) s->cut[k].least = piece;
    s->tail.least = window;
}

/* ------------------------------------------------------------------ long pieces */

/* Merges bytes[from..) into s->ids. False: they begin otherwise than `first` says. */
static int merge_from(struct encoder *e, struct encode_stream *s, size_t from, uint32_t first,
                      bool *ret, struct err *err) {
    const struct tail *t = &s->tail;
    s->ids.n = 0;
    int rc = encode_piece(e, t->bytes.v + from, t->bytes.n - from, &s->ids, err);
    *ret = first == TOKENIZER_NO_ID || (s->ids.n && s->ids.v[0] == first);
    return rc;
}

/* Merges what there is behind the boundary, or from the beginning on. */
static int merge_tail(struct encoder *e, struct encode_stream *s, struct u32s *out,
                      struct err *err) {
    struct tail *t = &s->tail;
    bool good = false;
    int rc = 0;
    if (t->boundary) {
        rc = merge_from(e, s, t->boundary, t->behind, &good, err);
        if (rc >= 0 && good) rc = u32s_append(out, t->ids.v, t->ids.n, err);
        if (rc < 0) return rc;
    }
    if (good) {
        t->first = t->behind;
        t->bytes.n -= t->boundary;
        memmove(t->bytes.v, t->bytes.v + t->boundary, t->bytes.n);
    } else {
        rc = merge_from(e, s, 0, t->first, &good, err);
        if (rc >= 0 && !good)
            rc = err_set(err, ERR_DATA,
                         "a run of characters in which tokens depend on others more than %zu bytes "
                         "away; it can be encoded only as a part of a shorter text",
                         t->bytes.n - t->boundary);
    }
    t->boundary = 0;
    return rc;
}

/* More of the long piece, and its end if it is `last`. */
static int tail_add(struct encoder *e, struct encode_stream *s, const char *v, size_t n, bool last,
                    struct u32s *out, struct err *err) {
    struct tail *t = &s->tail;
    int rc = buf_append(&t->bytes, v, n, err);
    if (rc < 0 || (!last && (t->bytes.n < t->wait || t->bytes.n < t->least))) return rc;
    rc = merge_tail(e, s, out, err);
    if (rc < 0) return rc;
    if (last) {
        t->bytes.n = t->wait = 0;
        t->first = TOKENIZER_NO_ID;
        return u32s_append(out, s->ids.v, s->ids.n, err);
    }
    size_t before =
        bpe_boundary(s->t, s->ids.v, s->ids.n, t->bytes.n, t->least / TAIL_SHARE, &t->boundary);
    t->wait = before ? t->boundary + t->least : 2 * t->bytes.n;
    t->ids.n = 0;
    if (!before) return 0; /* one token so far: more of it */
    t->behind = s->ids.v[before];
    return u32s_append(&t->ids, s->ids.v, before, err);
}

/* ------------------------------------------------------------------ spans */

/* What the last step found certain. */
static int take(const struct call *c, const struct cut_stream *cut) {
    const char *v = cut->text.v;
    size_t i = 0, from = cut->stands_in;
    int rc = 0;
    if (cut->goes && cut->ends.n) { /* the end of the long piece */
        from = cut->ends.v[i++];
        rc = tail_add(c->e, c->s, v + cut->stands_in, from - cut->stands_in, true, c->out, c->err);
    }
    if (rc >= 0 && i < cut->ends.n)
        rc = encode_pieces(c->e, v, cut->text.n, from, cut->ends.v + i, cut->ends.n - i, c->out,
                           c->err);
    if (rc < 0 || !cut->open) return rc;
    size_t end = cut->ends.n ? cut->ends.v[cut->ends.n - 1] : 0, gone = end ? 0 : cut->stands_in;
    return tail_add(c->e, c->s, v + end + gone, cut->open - gone, false, c->out, c->err);
}

/* More of a text that step k cuts. */
static int step(const struct call *c, size_t k, const char *text, size_t n, bool last);

/* What step k found certain: each piece is a text to the next. */
static int hand_on(const struct call *c, size_t k) {
    const struct cut_stream *cut = &c->s->cut[k];
    const char *v = cut->text.v;
    size_t from = cut->stands_in;
    int rc = 0;
    for (size_t i = 0; i < cut->ends.n && rc >= 0; from = cut->ends.v[i++])
        rc = step(c, k + 1, v + from, cut->ends.v[i] - from, true);
    if (rc < 0 || !cut->open) return rc;
    size_t end = cut->ends.n ? cut->ends.v[cut->ends.n - 1] : 0;
    return step(c, k + 1, v + from, end + cut->open - from, false);
}

/* Forgets the text before. */
static void cut_begin(struct cut_stream *c) {
    c->text.n = c->stands_in = c->wait = 0;
    c->goes = false;
}

/* Forgets the span before. */
static void span_begin(struct encode_stream *s, bool first) {
    s->begun = !first;
    for (size_t k = 0; k < s->steps; k++) cut_begin(&s->cut[k]);
    s->tail.bytes.n = s->tail.boundary = s->tail.wait = 0;
    s->tail.first = TOKENIZER_NO_ID;
    s->span_places.n = 0;
}

static int step(const struct call *c, size_t k, const char *text, size_t n, bool last) {
    struct cut_stream *cut = &c->s->cut[k];
    size_t bit, at = 0;
    int rc;
    do {
        bit = n - at < BIT ? n - at : BIT;
        const char *more = at ? text + at : text; /* of no bytes it may be NULL */
        rc = cut_stream_add(cut, more, bit, last && at + bit == n, c->err);
        if (rc >= 0) rc = k + 1 < c->s->steps ? hand_on(c, k) : take(c, cut);
        cut_stream_take(cut);
        at += bit;
    } while (rc >= 0 && at < n);
    if (last) cut_begin(cut);
    return rc;
}

/* The places of the ids from out[first] on, whose bytes are the first of the span that are held. */
static int span_places(const struct call *c, size_t first) {
    struct u32s *held = &c->s->span_places;
    size_t at = 0;
    int rc = 0;
    for (size_t i = first; i < c->out->n && rc >= 0; i++) {
        size_t n;
        vocab_token(c->s->t, c->out->v[i], &n);
        uint32_t both[2] = {held->v[2 * at], held->v[2 * (at + n - 1) + 1]};
        rc = u32s_append(c->places, both, 2, c->err);
        at += n;
    }
    places_drop(held, at);
    return rc;
}

/* More of the span, and its end if it is `last`. */
static int span(const struct call *c, const struct bit *b, bool last) {
    struct encode_stream *s = c->s;
    size_t first = c->out->n;
    int rc = 0;
    if (!s->begun && b->n && s->t->prefix_space && *b->v != ' ') {
        rc = cut_stream_add(&s->cut[0], " ", 1, false, c->err);
        if (rc >= 0) rc = places_add(&s->span_places, b->places, 1, c->err);
    }
    s->begun |= b->n > 0;
    if (rc >= 0) rc = places_add(&s->span_places, b->places, b->n, c->err);
    if (rc >= 0) rc = step(c, 0, b->v, b->n, last);
    if (rc >= 0 && c->places) rc = span_places(c, first);
    if (last) span_begin(s, true);
    return rc;
}

/* ------------------------------------------------------------------ specials, and form C */

/* More of what lies between two specials of the first pass. */
static int form(const struct call *c, const struct bit *b, bool last);

static int between(const struct call *c, int number, const struct bit *b, bool last) {
    return number == 0 ? form(c, b, last) : span(c, b, last);
}

/* More of the text that a pass over specials looks at. */
static int pass(const struct call *c, int number, const struct bit *b, bool last) {
    static const struct bit none = {0};
    const struct special_tree *tree = c->tree ? &c->tree[number] : NULL;
    struct special_stream *s = &c->s->special[number];
    struct u32s *places = &c->s->special_places[number];
    if (!tree || !tree->n) return between(c, number, b, last);
    s->whole = c->places != NULL;
    int rc = special_stream_add(s, c->s->t, tree, b->v, b->n, last, c->err);
    if (rc >= 0) rc = places_add(places, b->places, b->n, c->err);
    for (size_t i = 0; i < s->found.n && rc >= 0; i++) {
        const struct segment *f = &s->found.v[i];
        const struct bit part = {s->text.v + f->start, f->end - f->start,
                                 places->n ? places->v + 2 * f->start : NULL};
        if (f->id == TOKENIZER_NO_ID) {
            rc = between(c, number, &part, false);
            continue;
        }
        rc = between(c, number, &none, true);
        if (rc >= 0) rc = u32s_push(c->out, f->id, c->err);
        if (rc < 0 || !c->places) continue;
        uint32_t both[2] = {part.places[0], part.places[2 * part.n - 1]};
        rc = u32s_append(c->places, both, 2, c->err);
    }
    places_drop(places, special_stream_take(s));
    if (rc < 0 || !last) return rc;
    special_stream_begin(s);
    places->n = 0;
    return between(c, number, &none, true);
}

/* The first n bytes that wait to be in form C, in that form. */
static int write_formed(const struct call *c, size_t n) {
    const struct held *raw = &c->s->raw;
    struct held *to = &c->s->formed;
    to->text.n = to->places.n = 0;
    int rc =
        nfc_write(c->s->t->nfc, raw->text.v, n, &to->text, c->places ? &to->places : NULL, c->err);
    for (size_t i = 0; i < to->places.n; i += 2) {
        uint32_t *place = to->places.v + i;
        place[0] = raw->places.v[2 * place[0]];
        place[1] = raw->places.v[2 * place[1] - 1];
    }
    return rc;
}

static int form(const struct call *c, const struct bit *b, bool last) {
    struct encode_stream *s = c->s;
    struct held *raw = &s->raw;
    if (!s->t->nfc) return pass(c, 1, b, last);
    int rc = held_add(raw, b, c->err);
    if (rc < 0 || (!last && raw->text.n < s->raw_wait)) return rc;
    size_t n = raw->text.n;
    if (!last) n = nfc_sure(s->t->nfc, raw->text.v, decode_whole(raw->text.v, n));
    struct bit formed = held_bit(raw, n);
    if (n && !nfc_is(s->t->nfc, raw->text.v, n)) {
        rc = write_formed(c, n);
        formed = held_bit(&s->formed, s->formed.text.n);
    }
    if (rc >= 0) rc = pass(c, 1, &formed, last);
    held_drop(raw, n);
    s->raw_wait = raw->text.n > CUT_LONG ? 2 * raw->text.n : 0;
    return rc;
}

/* ------------------------------------------------------------------ the text given */

/* More of the text, whole characters of which go on with their places. */
static int given(const struct call *c, const struct bit *b, bool last) {
    struct encode_stream *s = c->s;
    struct held *g = &s->given;
    if (!c->places) return pass(c, 0, b, last);
    int rc = held_add(g, b, c->err);
    size_t n = rc < 0 ? 0 : last ? g->text.n : decode_whole(g->text.v, g->text.n);
    if (s->at + n >= UINT32_MAX)
        return err_set(c->err, ERR_DATA, "a text of more than %llu bytes; 4 GiB is the most",
                       (unsigned long long)s->at);
    if (rc >= 0) rc = u32s_reserve(&g->places, 2 * n, c->err);
    if (rc < 0) return rc;
    const uint8_t *v = (const uint8_t *)g->text.v;
    for (size_t at = 0, len; at < n; at += len) {
        uint32_t cp, from = (uint32_t)(s->at + at);
        len = unicode_decode(v + at, v + n, &cp);
        for (size_t i = 0; i < len; i++) {
            g->places.v[g->places.n++] = from;
            g->places.v[g->places.n++] = from + (uint32_t)len;
        }
    }
    const struct bit whole = held_bit(g, n);
    rc = pass(c, 0, &whole, last);
    held_drop(g, n);
    s->at += n;
    return rc;
}

/* Forgets the text before. */
static void begin(struct encode_stream *s, bool first) {
    s->given.text.n = s->given.places.n = s->raw.text.n = s->raw.places.n = 0;
    s->at = s->raw_wait = 0;
    for (int k = 0; k < 2; k++) {
        special_stream_begin(&s->special[k]);
        s->special_places[k].n = 0;
    }
    span_begin(s, first);
}

int encode_part_places(struct encoder *e, struct encode_stream *s, const struct text_part *p,
                       enum tokenizer_special allow, struct u32s *out, struct u32s *places,
                       struct err *err) {
    const struct call c = {e, s, encoder_specials(e, allow), out, places, err};
    size_t first = out->n, first_place = places ? places->n : 0, at = 0;
    int rc;
    if (!p->follows && !p->followed)
        return p->begins ? encode_places(e, p->text, p->n, allow, out, places, err)
                         : encode_rest(e, p->text, p->n, allow, out, places, err);
    if (!p->follows) begin(s, p->begins);
    do {
        const struct bit b = {p->text + at, p->n - at < BIT ? p->n - at : BIT, NULL};
        at += b.n;
        rc = given(&c, &b, !p->followed && at == p->n);
    } while (rc >= 0 && at < p->n);
    if (rc < 0) out->n = first;
    if (rc < 0 && places) places->n = first_place;
    return rc;
}

int encode_part(struct encoder *e, struct encode_stream *s, const struct text_part *p,
                enum tokenizer_special allow, struct u32s *out, struct err *err) {
    return encode_part_places(e, s, p, allow, out, NULL, err);
}

/* ------------------------------------------------------------------ what may be cut */

/* Only the pattern and the specials look at more than a piece; and a special may be no part of what
 * decides on a place to cut: neither by its text, nor by what it swallows, nor as the end of a
 * text, behind which there would be a blank. NFC composes nothing with what is behind such a
 * place. */
bool tokenizer_cuts(const struct tokenizer *t, enum tokenizer_special allow) {
    if (!pattern_known(t->pattern) || (t->nfc && t->prefix_space)) return false;
    bool none = allow == TOKENIZER_SPECIAL_NONE && !special_tree_any(t->plain);
    if (none || !t->n_specials) return true;
    for (uint32_t i = 0; i < t->n_specials; i++) {
        const struct special *s = &t->specials[i];
        if (strpbrk(s->text, " \n") || s->lstrip || s->rstrip) return false;
    }
    return !t->prefix_space;
}

bool tokenizer_streams(const struct tokenizer *t) {
    for (uint32_t id = 0; id < t->n; id++)
        if (vocab_length(t, id) > CUT_LONG / TAIL_SHARE) return false;
    return true;
}
