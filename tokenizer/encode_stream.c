/* Encoding a text that comes in parts: cut_stream.h cuts it; here a piece that leaves in parts is
 * merged in parts.
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

struct encode_stream {
    const struct tokenizer *t;
    struct cut_stream cut;
    struct tail tail;
    struct u32s ids; /* scratch */
    bool begun;      /* a byte of the text was seen */
};

int encode_stream_new(struct encode_stream **ret, const struct tokenizer *t, struct err *err) {
    struct encode_stream *s = calloc(1, sizeof *s);
    if (!s) return err_nomem(err, sizeof *s);
    s->t = t;
    s->tail.first = TOKENIZER_NO_ID;
    s->tail.least = CUT_LONG;
    int rc = cut_stream_init(&s->cut, t->pattern, err);
    if (rc < 0) {
        encode_stream_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void encode_stream_free(struct encode_stream *s) {
    if (!s) return;
    cut_stream_release(&s->cut);
    buf_release(&s->tail.bytes);
    u32s_release(&s->tail.ids);
    u32s_release(&s->ids);
    free(s);
}

void encode_stream_least(struct encode_stream *s, size_t piece, size_t window) {
    s->cut.least = piece;
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

/* ------------------------------------------------------------------ text */

/* What was found certain. */
static int take(struct encoder *e, struct encode_stream *s, struct u32s *out, struct err *err) {
    const struct cut_stream *c = &s->cut;
    const char *v = c->text.v;
    size_t i = 0, from = 0;
    int rc = 0;
    if (c->stands_in && c->ends.n) { /* the end of the long piece */
        from = c->ends.v[i++];
        rc = tail_add(e, s, v + c->stands_in, from - c->stands_in, true, out, err);
    }
    if (rc >= 0 && i < c->ends.n)
        rc = encode_pieces(e, v, c->text.n, from, c->ends.v + i, c->ends.n - i, out, err);
    if (rc < 0 || !c->open) return rc;
    size_t end = c->ends.n ? c->ends.v[c->ends.n - 1] : 0, gone = end ? 0 : c->stands_in;
    return tail_add(e, s, v + end + gone, c->open - gone, false, out, err);
}

/* Forgets the text before. */
static void begin(struct encode_stream *s, bool first) {
    s->begun = !first;
    s->cut.text.n = s->cut.stands_in = s->cut.wait = 0;
    s->tail.bytes.n = s->tail.boundary = s->tail.wait = 0;
    s->tail.first = TOKENIZER_NO_ID;
}

static int add(struct encoder *e, struct encode_stream *s, const char *text, size_t n, bool last,
               struct u32s *out, struct err *err) {
    enum { BIT = 1 << 18 };
    size_t bit, at = 0;
    int rc;
    do {
        bit = n - at < BIT ? n - at : BIT;
        rc = cut_stream_add(&s->cut, text + at, bit, last && at + bit == n, err);
        if (rc >= 0) rc = take(e, s, out, err);
        cut_stream_take(&s->cut);
        at += bit;
    } while (rc >= 0 && at < n);
    return rc;
}

int encode_part(struct encoder *e, struct encode_stream *s, const struct text_part *p,
                enum tokenizer_special allow, struct u32s *out, struct err *err) {
    size_t first = out->n;
    int rc = 0;
    if (!p->follows && !p->followed)
        return p->begins ? encode(e, p->text, p->n, allow, out, err)
                         : encode_rest(e, p->text, p->n, allow, out, err);
    if (!p->follows) begin(s, p->begins);
    if (!s->begun && p->n && s->t->prefix_space && *p->text != ' ')
        rc = cut_stream_add(&s->cut, " ", 1, false, err);
    s->begun |= p->n > 0;
    if (rc >= 0) rc = add(e, s, p->text, p->n, !p->followed, out, err);
    if (rc < 0) out->n = first;
    return rc;
}

/* ------------------------------------------------------------------ what may be cut */

/* Only the pattern and the specials look at more than a piece; and a special may be no part of what
 * decides on a place to cut: neither by its text, nor by what it swallows, nor as the end of a
 * text, behind which there would be a blank. NFC composes nothing with what is behind such a
 * place. */
bool tokenizer_cuts(const struct tokenizer *t, enum tokenizer_special allow) {
    if (!pattern_known(t->pattern) || (t->nfc && t->prefix_space)) return false;
    if (allow == TOKENIZER_SPECIAL_NONE || !t->n_specials) return true;
    for (uint32_t i = 0; i < t->n_specials; i++) {
        const struct special *s = &t->specials[i];
        if (strpbrk(s->text, " \n") || s->lstrip || s->rstrip) return false;
    }
    return !t->prefix_space;
}

bool tokenizer_streams(const struct tokenizer *t, enum tokenizer_special allow) {
    bool specials = allow != TOKENIZER_SPECIAL_NONE && t->n_specials;
    if (specials || t->nfc || !pattern_covers(t->pattern)) return false;
    for (uint32_t id = 0; id < t->n; id++)
        if (t->start[id + 1] - t->start[id] > CUT_LONG / TAIL_SHARE) return false;
    return true;
}
