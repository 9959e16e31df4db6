/* Text into ids: specials cut the text, the pattern cuts what is between, and the pieces go through
 * the caches of encode_pieces.c. A long text goes in windows, so that what an encoder holds has a
 * bound, whatever the text. */
#include <stdlib.h>
#include "tokenizer/encode_inside.h"
#include "tokenizer/places.h"
#include "tokenizer/scan.h"

enum { WINDOW = 1 << 18 };

/* ------------------------------------------------------------------ life */

int encoder_new(struct encoder **ret, const struct tokenizer *t, struct err *err) {
    struct encoder *e = calloc(1, sizeof *e);
    if (!e) return err_nomem(err, sizeof *e);
    e->t = t;
    e->fill = batch_fill_at(0);
    e->many = bpe_many_at(t, 0);
    e->run = seams_run_at(0);
    e->sort = parts_sort_at(0);
    int rc = scanner_new(&e->scanner, t->pattern, err);
    if (rc >= 0) rc = caches_begin(&e->whole, err);
    if (rc < 0) {
        encoder_free(e);
        return rc;
    }
    *ret = e;
    return 0;
}

void encoder_free(struct encoder *e) {
    if (!e) return;
    scanner_free(e->scanner);
    caches_release(&e->whole);
    caches_release(&e->part);
    free(e->wide);
    u32s_release(&e->ends);
    for (int i = 0; i < 2; i++) free(e->segments[i].v);
    for (int i = 0; i < 2; i++) special_tree_release(&e->allowed[i]);
    buf_release(&e->prefixed);
    buf_release(&e->formed);
    u32s_release(&e->formed_places);
    bpe_scratch_release(&e->scratch);
    free(e);
}

int encoder_allow(struct encoder *e, const char *const *texts, size_t n, struct err *err) {
    const struct tokenizer *t = e->t;
    for (int i = 0; i < 2; i++) special_tree_release(&e->allowed[i]);
    for (size_t i = 0; i < n; i++) {
        uint32_t at = 0;
        while (at < t->n_specials && strcmp(t->specials[at].text, texts[i]) != 0) at++;
        if (at == t->n_specials)
            return err_set(err, ERR_USAGE, "\"%.60s\" is no special token of this vocabulary",
                           texts[i]);
        int rc = special_plant(t, e->allowed, at, err);
        if (rc < 0) return rc;
    }
    int rc = 0;
    for (uint32_t i = 0; i < t->n_specials && rc >= 0; i++)
        if (!t->specials[i].special) rc = special_plant(t, e->allowed, i, err);
    return rc;
}

void encoder_refuse_special(struct encoder *e, bool refuse) {
    e->refuse = refuse;
}

static int refuse(const struct encoder *e, const char *text, size_t n, uint64_t from, bool last,
                  enum tokenizer_special allow, size_t *ret_n, struct err *err) {
    *ret_n = n;
    if (!e->refuse || allow == TOKENIZER_SPECIAL_ALL) return 0;
    return specials_refuse(e->t, allow == TOKENIZER_SPECIAL_LIST ? e->allowed : NULL, text, n, from,
                           last, ret_n, err);
}

int encoder_refuse(const struct encoder *e, struct refusal *r, const char *v, size_t n, bool last,
                   enum tokenizer_special allow, struct err *err) {
    size_t looked;
    int rc = buf_append(&r->held, v, n, err);
    if (rc >= 0) rc = refuse(e, r->held.v, r->held.n, r->at, last, allow, &looked, err);
    if (rc < 0) return rc;
    r->at += looked;
    r->held.n -= looked;
    if (r->held.n) memmove(r->held.v, r->held.v + looked, r->held.n);
    return 0;
}

/* ------------------------------------------------------------------ text */

/* Where the window that begins at `from` ends: at a place where every named pattern cuts. A user's
 * expression may look anywhere: it gets all. */
static size_t window_end(const struct encoder *e, const char *text, size_t from, size_t n) {
    if (!pattern_known(e->t->pattern)) return n;
    for (size_t to = from + WINDOW; to < n; to += WINDOW) {
        size_t at = scan_sure_end((const uint8_t *)text, to - WINDOW / 2, to);
        if (at > to - WINDOW / 2) return at;
    }
    return n;
}

/* Text without specials. */
static int span(struct encoder *e, const struct stretch *s, struct u32s *out, struct u32s *places,
                struct err *err) {
    const char *text = s->v;
    size_t n = s->n, first = out->n;
    bool prefixed = e->t->prefix_space && !e->inside && n && text[0] != ' ';
    int rc = 0;
    if (prefixed) {
        e->prefixed.n = 0;
        rc = buf_char(&e->prefixed, ' ', err);
        if (rc >= 0) rc = buf_append(&e->prefixed, text, n, err);
        if (rc < 0) return rc;
        text = e->prefixed.v;
        n++;
    }
    for (size_t from = 0, to; from < n && rc >= 0; from = to) {
        to = window_end(e, text, from, n);
        rc = scanner_cut(e->scanner, text + from, to - from, &e->ends, err);
        if (rc >= 0)
            rc = encode_pieces(e, text + from, to - from, 0, e->ends.v, e->ends.n, out, err);
    }
    if (rc < 0 || !places) return rc;
    return places_of_ids(e->t, s, prefixed, out->v + first, out->n - first, places, err);
}

/* Cuts a stretch at the specials of one pass: ids go out, what is between goes to the next. */
static int pass(struct encoder *e, const struct special_tree *tree, int number,
                const struct stretch *s, struct u32s *out, struct u32s *places, struct err *err);

/* What the first pass left: in the form that the normalizer gives it, to the second pass. */
static int between(struct encoder *e, const struct special_tree *tree, struct stretch s,
                   struct u32s *out, struct u32s *places, struct err *err) {
    if (e->t->nfc && !nfc_is(e->t->nfc, s.v, s.n)) {
        e->formed.n = e->formed_places.n = 0;
        int rc = nfc_write(e->t->nfc, s.v, s.n, &e->formed, places ? &e->formed_places : NULL, err);
        if (rc < 0) return rc;
        s.v = e->formed.v;
        s.n = e->formed.n;
        s.places = e->formed_places.v;
    }
    return tree ? pass(e, &tree[1], 1, &s, out, places, err) : span(e, &s, out, places, err);
}

static int pass(struct encoder *e, const struct special_tree *tree, int number,
                const struct stretch *s, struct u32s *out, struct u32s *places, struct err *err) {
    struct segments *cut = &e->segments[number];
    int rc = specials_cut(e->t, tree, s->v, s->n, cut, err);
    for (size_t i = 0; i < cut->n && rc >= 0; i++) {
        const struct segment *c = &cut->v[i];
        struct stretch part = stretch_part(s, c->start, c->end);
        if (c->id != TOKENIZER_NO_ID) {
            rc = u32s_push(out, c->id, err);
            if (rc >= 0 && places) rc = places_of_all(&part, places, err);
        } else {
            rc = number == 0 ? between(e, tree, part, out, places, err)
                             : span(e, &part, out, places, err);
        }
    }
    return rc;
}

const struct special_tree *encoder_specials(const struct encoder *e, enum tokenizer_special allow) {
    const struct tokenizer *t = e->t;
    bool none = allow == TOKENIZER_SPECIAL_NONE;
    if (!t->n_specials || (none && !special_tree_any(t->plain))) return NULL;
    return none ? t->plain : allow == TOKENIZER_SPECIAL_LIST ? e->allowed : t->tree;
}

int encode_places(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
                  struct u32s *out, struct u32s *places, struct err *err) {
    size_t first = out->n, first_place = places ? places->n : 0;
    struct stretch whole = {.v = text, .n = n};
    int rc = 0;
    if (n >= UINT32_MAX) return err_set(err, ERR_DATA, "a text of %zu bytes; 4 GiB is the most", n);
    if (n == 0) return 0;
    size_t looked;
    rc = refuse(e, text, n, 0, true, allow, &looked, err);
    if (rc < 0) return rc;
    const struct special_tree *tree = encoder_specials(e, allow);
    rc = tree ? pass(e, tree, 0, &whole, out, places, err)
              : between(e, NULL, whole, out, places, err);
    if (rc < 0) out->n = first;
    if (rc < 0 && places) places->n = first_place;
    return rc;
}

int encode(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
           struct u32s *out, struct err *err) {
    return encode_places(e, text, n, allow, out, NULL, err);
}

int encode_rest(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
                struct u32s *out, struct u32s *places, struct err *err) {
    e->inside = true;
    int rc = encode_places(e, text, n, allow, out, places, err);
    e->inside = false;
    return rc;
}
