/* Text into ids: specials cut the text, the pattern cuts what is between, every piece is looked
 * up in a cache and merged (bpe.c) the first time it is seen.
 *
 *   short cache    pieces up to 15 bytes whose ids are 4 at most: key and ids in half a cache line,
 *                  two slots a line, a new piece takes the first and moves that to the second
 *
 *       | 15 bytes of text, zero-filled | ids:4 len:4 | id id id id |
 *
 *   long cache     other pieces up to LONG_BYTES, compared in full; emptied when it is full
 *
 * Both have a fixed size: an encoder never grows beyond it, whatever the text. */
#include <stdlib.h>
#include "tokenizer/bpe.h"
#include "tokenizer/places.h"

enum {
    SHORT_BYTES = 15,
    SHORT_IDS = 4,
    SHORT_LINES = 1 << 15, /* x 64 bytes = 2 MiB */
    LONG_BYTES = 512,
    LONG_SLOTS = 1 << 13,
    LONG_POOL = 1 << 20, /* bytes of text, and ids */
};

struct short_slot {
    uint64_t low, high; /* the top byte of high: ids << 4 | length */
    uint32_t id[SHORT_IDS];
};
struct short_line {
    struct short_slot way[2];
};

struct long_slot {
    uint64_t hash;
    uint32_t at, len;    /* in `text`; len 0: free */
    uint32_t ids, n_ids; /* in `ids`              */
};

struct encoder {
    const struct tokenizer *t;
    struct scanner *scanner;
    struct short_line *lines;
    struct long_slot *slots;
    struct buf text; /* of the long cache */
    struct u32s ids;
    struct u32s ends;               /* of the pieces at hand */
    struct segments segments[2];    /* of the two passes over specials */
    struct special_tree allowed[2]; /* TOKENIZER_SPECIAL_LIST */
    bool refuse;                    /* special tokens that are not recognised */
    struct buf prefixed, formed;    /* with a blank before it; in form C */
    struct u32s formed_places;      /* (2 x formed.n) see nfc.h */
    struct bpe_scratch scratch;
};

int encoder_new(struct encoder **ret, const struct tokenizer *t, struct err *err) {
    struct encoder *e = calloc(1, sizeof *e);
    if (!e) return err_nomem(err, sizeof *e);
    e->t = t;
    int rc = scanner_new(&e->scanner, t->pattern, err);
    if (rc >= 0) {
        e->lines = aligned_alloc(64, SHORT_LINES * sizeof *e->lines);
        e->slots = mem_array(LONG_SLOTS, sizeof *e->slots);
        if (!e->lines || !e->slots) rc = err_nomem(err, SHORT_LINES * sizeof *e->lines);
    }
    if (rc < 0) {
        encoder_free(e);
        return rc;
    }
    memset(e->lines, 0, SHORT_LINES * sizeof *e->lines);
    *ret = e;
    return 0;
}

void encoder_free(struct encoder *e) {
    if (!e) return;
    scanner_free(e->scanner);
    free(e->lines);
    free(e->slots);
    buf_release(&e->text);
    u32s_release(&e->ids);
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
    return 0;
}

void encoder_refuse_special(struct encoder *e, bool refuse) {
    e->refuse = refuse;
}

/* ------------------------------------------------------------------ pieces */

static int piece_new(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                     struct err *err) {
    if (e->t->ignore_merges) {
        uint32_t whole = finder_get(&e->t->finder, e->t, p, n);
        if (whole != TOKENIZER_NO_ID) return u32s_push(out, whole, err);
    }
    return bpe_merge(e->t, &e->scratch, p, n, out, err);
}

static int long_store(struct encoder *e, struct long_slot *s, uint64_t hash, const uint8_t *p,
                      size_t n, const uint32_t *ids, size_t n_ids, struct err *err) {
    if (e->text.n + n > LONG_POOL || e->ids.n + n_ids > LONG_POOL) {
        memset(e->slots, 0, LONG_SLOTS * sizeof *e->slots);
        e->text.n = e->ids.n = 0;
    }
    *s = (struct long_slot){.hash = hash,
                            .at = (uint32_t)e->text.n,
                            .len = (uint32_t)n,
                            .ids = (uint32_t)e->ids.n,
                            .n_ids = (uint32_t)n_ids};
    int rc = buf_append(&e->text, p, n, err);
    if (rc >= 0) rc = u32s_append(&e->ids, ids, n_ids, err);
    if (rc < 0) s->len = 0;
    return rc;
}

/* A piece that is not in the short cache. */
static int piece_long(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                      struct err *err) {
    if (n > LONG_BYTES) return piece_new(e, p, n, out, err);
    uint64_t hash = vocab_hash(p, n);
    struct long_slot *s = &e->slots[hash & (LONG_SLOTS - 1)];
    if (s->hash == hash && s->len == n && memcmp(e->text.v + s->at, p, n) == 0)
        return u32s_append(out, e->ids.v + s->ids, s->n_ids, err);
    size_t first = out->n;
    int rc = piece_new(e, p, n, out, err);
    if (rc < 0 || (n <= SHORT_BYTES && out->n - first <= SHORT_IDS)) return rc;
    return long_store(e, s, hash, p, n, out->v + first, out->n - first, err);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "keys are packed by their first byte");

/* A piece on its way through the short cache. */
struct look {
    const uint8_t *p;
    size_t n;
    uint64_t low, high; /* the key */
    struct short_line *line;
};

/* Packs p[0..n), n <= SHORT_BYTES, and asks for its line; `room` bytes may be read at p. */
static inline void look_up(const struct encoder *e, struct look *k, const uint8_t *p, size_t n,
                           size_t room) {
    uint64_t v[2] = {0, 0};
    if (room >= 16) {
        memcpy(v, p, 16);
        v[0] &= n >= 8 ? UINT64_MAX : ((uint64_t)1 << 8 * n) - 1;
        v[1] &= n <= 8 ? 0 : ((uint64_t)1 << (8 * n - 64)) - 1;
    } else {
        memcpy(v, p, n);
    }
    k->low = v[0];
    k->high = v[1] | (uint64_t)n << 56;
    uint64_t h = (k->low ^ k->high * 0xE7037ED1A0B428DBu) * 0x9E3779B97F4A7C15u;
    k->line = &e->lines[(h >> 40) & (SHORT_LINES - 1)];
    __builtin_prefetch(k->line);
}

static inline bool same_key(const struct short_slot *s, const struct look *k) {
    return s->low == k->low && (s->high ^ k->high) << 4 == 0;
}

/* Merges a piece that is not in its line, and puts it there. */
static int miss(struct encoder *e, const struct look *k, struct u32s *out, struct err *err) {
    size_t first = out->n;
    int rc = piece_long(e, k->p, k->n, out, err);
    size_t n_ids = out->n - first;
    if (rc < 0 || n_ids > SHORT_IDS) return rc;
    struct short_slot s = {.low = k->low, .high = k->high | (uint64_t)n_ids << 60};
    memcpy(s.id, out->v + first, n_ids * sizeof *out->v);
    k->line->way[1] = k->line->way[0];
    k->line->way[0] = s;
    return 0;
}

/* Appends the ids of one piece. */
static inline int piece(struct encoder *e, const struct look *k, struct u32s *out,
                        struct err *err) {
    if (k->n > SHORT_BYTES) return piece_long(e, k->p, k->n, out, err);
    const struct short_slot *hit = same_key(&k->line->way[0], k)   ? &k->line->way[0]
                                   : same_key(&k->line->way[1], k) ? &k->line->way[1]
                                                                   : NULL;
    if (!hit) return miss(e, k, out, err);
    if (out->cap - out->n < SHORT_IDS) {
        int rc = u32s_reserve(out, SHORT_IDS, err);
        if (rc < 0) return rc;
    }
    memcpy(out->v + out->n, hit->id, sizeof hit->id); /* all four: no branch on their number */
    out->n += hit->high >> 60;
    return 0;
}

int encode_piece(struct encoder *e, const char *p, size_t n, struct u32s *out, struct err *err) {
    struct look k = {.p = (const uint8_t *)p, .n = n};
    if (n == 0) return 0;
    if (n <= SHORT_BYTES) look_up(e, &k, k.p, n, n);
    return piece(e, &k, out, err);
}

/* ------------------------------------------------------------------ text */

/* Pieces of text[0..n) that end at e->ends, a few at a time: all their lines are asked for
 * before the first is looked at, so that memory answers them together. */
static int pieces(struct encoder *e, const uint8_t *text, size_t n, struct u32s *out,
                  struct err *err) {
    enum { AT_ONCE = 16 };
    struct look k[AT_ONCE];
    size_t from = 0, i = 0;
    while (i < e->ends.n) {
        size_t many = 0;
        for (; many < AT_ONCE && i < e->ends.n; i++) {
            size_t len = e->ends.v[i] - from;
            k[many].p = text + from;
            k[many].n = len;
            if (len <= SHORT_BYTES) look_up(e, &k[many], text + from, len, n - from);
            from = e->ends.v[i];
            many += len > 0;
        }
        for (size_t j = 0; j < many; j++) {
            int rc = piece(e, &k[j], out, err);
            if (rc < 0) return rc;
        }
    }
    return 0;
}

/* Text without specials. */
static int span(struct encoder *e, const struct stretch *s, struct u32s *out, struct u32s *places,
                struct err *err) {
    const char *text = s->v;
    size_t n = s->n, first = out->n;
    bool prefixed = e->t->prefix_space && n && text[0] != ' ';
    int rc = 0;
    if (prefixed) {
        e->prefixed.n = 0;
        rc = buf_char(&e->prefixed, ' ', err);
        if (rc >= 0) rc = buf_append(&e->prefixed, text, n, err);
        if (rc < 0) return rc;
        text = e->prefixed.v;
        n++;
    }
    rc = scanner_cut(e->scanner, text, n, &e->ends, err);
    if (rc >= 0) rc = pieces(e, (const uint8_t *)text, n, out, err);
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

int encode_places(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
                  struct u32s *out, struct u32s *places, struct err *err) {
    size_t first = out->n, first_place = places ? places->n : 0;
    struct stretch whole = {.v = text, .n = n};
    int rc = 0;
    if (n >= UINT32_MAX) return err_set(err, ERR_DATA, "a text of %zu bytes; 4 GiB is the most", n);
    if (n == 0) return 0;
    if (e->refuse && allow != TOKENIZER_SPECIAL_ALL) {
        rc = specials_refuse(e->t, allow == TOKENIZER_SPECIAL_LIST ? e->allowed : NULL, text, n,
                             err);
        if (rc < 0) return rc;
    }
    if (allow == TOKENIZER_SPECIAL_NONE || !e->t->n_specials)
        rc = between(e, NULL, whole, out, places, err);
    else
        rc = pass(e, allow == TOKENIZER_SPECIAL_LIST ? e->allowed : e->t->tree, 0, &whole, out,
                  places, err);
    if (rc < 0) out->n = first;
    if (rc < 0 && places) places->n = first_place;
    return rc;
}

int encode(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
           struct u32s *out, struct err *err) {
    return encode_places(e, text, n, allow, out, NULL, err);
}
