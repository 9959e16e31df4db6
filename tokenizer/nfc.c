/* Form C by its definition, on the few stretches of a text that need it. */
#include "tokenizer/nfc.h"

#include <stdlib.h>
#include <string.h>
#include <unictype.h>
#include <uninorm.h>
#include "tokenizer/unicode.h"

enum {
    TABLE = 0x20000, /* above it only the compatibility ideographs are unsteady */
    IDEOGRAPHS = 0x2F800,
    IDEOGRAPHS_END = 0x2FA20
};

struct nfc {
    uint8_t unsteady[TABLE / 8]; /* a bit each: is no starter, may join the character before it, or
                                  * is written otherwise in form C */
    uint8_t joins[TABLE / 8];    /* may join the character before it */
};

/* Characters that Unicode 9 does not know, of those that later versions order or compose; of
 * Unicode 16 whole blocks. Compared with HF's normalizer for all characters up to Unicode 15. */
static const uint32_t newer[][2] = {
    {0x7FD, 0x7FD},     {0x897, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x105C0, 0x105FF},
    {0x10D24, 0x10D27}, {0x10D40, 0x10D8F}, {0x10EAB, 0x10EAC}, {0x10EFC, 0x10EFF},
    {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B},
    {0x11380, 0x113FF}, {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11938, 0x11938},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
    {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16100, 0x1613F}, {0x16D40, 0x16D7F},
    {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1E5D0, 0x1E5FF},
};

static bool is_newer(uint32_t c) {
    for (size_t i = 0; i < sizeof newer / sizeof *newer && newer[i][0] <= c; i++)
        if (c <= newer[i][1]) return true;
    return false;
}

int nfc_new(struct nfc **ret, struct err *err) {
    struct nfc *f = calloc(1, sizeof *f);
    if (!f) return err_nomem(err, sizeof *f);
    for (uint32_t c = 0; c < TABLE; c++) {
        ucs4_t part[UC_DECOMPOSITION_MAX_LENGTH];
        if (is_newer(c) || (c >= 0xD800 && c < 0xE000)) continue;
        int n = uc_canonical_decomposition(c, part);
        if (uc_combining_class(c) || n == 1 || (n == 2 && uc_composition(part[0], part[1]) != c))
            f->unsteady[c / 8] |= (uint8_t)(1 << c % 8);
        if (n == 2 && part[1] < TABLE) {
            f->unsteady[part[1] / 8] |= (uint8_t)(1 << part[1] % 8);
            f->joins[part[1] / 8] |= (uint8_t)(1 << part[1] % 8);
        }
    }
    *ret = f;
    return 0;
}

void nfc_free(struct nfc *f) {
    free(f);
}

static bool steady(const struct nfc *f, uint32_t c) {
    if (c >= TABLE) return c < IDEOGRAPHS || c >= IDEOGRAPHS_END;
    return !(f->unsteady[c / 8] >> c % 8 & 1);
}

/* The first unsteady character of p[0..end), or `end`. Nothing below U+0300, whose lead byte is CC,
 * is unsteady; *before gets the start of the character before it. */
static const uint8_t *unsteady(const struct nfc *f, const uint8_t *p, const uint8_t *end,
                               const uint8_t **before) {
    uint32_t c;
    *before = p;
    while (p < end) {
        size_t n = *p < 0xCC ? 1 : unicode_decode(p, end, &c);
        if (*p >= 0xCC && !steady(f, c)) return p;
        if ((*p & 0xC0) != 0x80) *before = p;
        p += n;
    }
    return end;
}

bool nfc_is(const struct nfc *f, const char *text, size_t n) {
    const uint8_t *p = (const uint8_t *)text, *before;
    return unsteady(f, p, p + n, &before) == p + n;
}

/* ------------------------------------------------------------------ places to cut */

/* Does nothing before c join it, or what it becomes, or change places with that? */
static bool begins(const struct nfc *f, uint32_t c) {
    ucs4_t part[UC_DECOMPOSITION_MAX_LENGTH];
    if (c == UNICODE_BAD || steady(f, c)) return true;
    while (!is_newer(c) && uc_canonical_decomposition(c, part) > 0) c = part[0];
    return is_newer(c) || (!uc_combining_class(c) && !(c < TABLE && f->joins[c / 8] >> c % 8 & 1));
}

size_t nfc_sure(const struct nfc *f, const char *text, size_t n) {
    const uint8_t *base = (const uint8_t *)text, *end = base + n;
    while (end > base) {
        const uint8_t *p = end - 1;
        uint32_t c;
        while (p > base && end - p < 4 && (*p & 0xC0) == 0x80) p--;
        if (p + unicode_decode(p, end, &c) != end) return (size_t)(end - 1 - base); /* a bad byte */
        if (begins(f, c)) return (size_t)(p - base);
        end = p;
    }
    return 0;
}

/* ------------------------------------------------------------------ one stretch */

/* A character on its way. `change`: how many more characters there are than were read, as HF counts
 * it for its offsets: 1 behind the first of a decomposition, less by one for each absorbed. */
struct part {
    uint32_t c, order;
    int change;
    uint8_t class;
};

struct parts {
    struct part *v;
    size_t n, cap;
};

static int push(struct parts *s, uint32_t c, int change, struct err *err) {
    struct part *v = mem_grown(s->v, s->n, &s->cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    s->v = v;
    uint8_t class = c == UNICODE_BAD || is_newer(c) ? 0 : (uint8_t)uc_combining_class(c);
    s->v[s->n] = (struct part){c, (uint32_t)s->n, change, class};
    s->n++;
    return 0;
}

/* The first part decomposes further, the second never does. At most four parts. */
static int decompose(struct parts *s, uint32_t c, struct err *err) {
    ucs4_t tail[4], part[UC_DECOMPOSITION_MAX_LENGTH];
    size_t n_tail = 0;
    while (c != UNICODE_BAD && !is_newer(c) && n_tail < 4) {
        int n = uc_canonical_decomposition(c, part);
        if (n <= 0) break;
        if (n == 2) tail[n_tail++] = part[1];
        c = part[0];
    }
    int rc = push(s, c, 0, err);
    while (n_tail && rc >= 0) rc = push(s, tail[--n_tail], 1, err);
    return rc;
}

static int by_class(const void *a, const void *b) {
    const struct part *x = a, *y = b;
    if (x->class != y->class) return x->class < y->class ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Marks between starters stand by rising class, otherwise in their order. */
static void put_in_order(struct parts *s) {
    for (size_t i = 0, to; i < s->n; i = to + 1) {
        for (to = i; to < s->n && s->v[to].class; to++) continue;
        if (to - i > 1) qsort(s->v + i, to - i, sizeof *s->v, by_class);
    }
}

static uint32_t composed(uint32_t a, uint32_t b) {
    if (a == UNICODE_BAD || b == UNICODE_BAD || is_newer(a) || is_newer(b)) return 0;
    uint32_t c = uc_composition(a, b);
    return is_newer(c) ? 0 : c;
}

/* Each character joins the last starter before it unless one between has its class or a higher. */
static void compose(struct parts *s) {
    size_t n = 0, starter = SIZE_MAX;
    for (size_t i = 0; i < s->n; i++) {
        struct part p = s->v[i];
        bool beside = starter != SIZE_MAX && n == starter + 1;
        bool free_way = beside || (starter != SIZE_MAX && s->v[n - 1].class < p.class);
        uint32_t c = free_way ? composed(s->v[starter].c, p.c) : 0;
        if (c) {
            s->v[starter].c = c;
            s->v[starter].change += p.change - 1;
            continue;
        }
        if (!p.class) starter = n;
        s->v[n++] = p;
    }
    s->n = n;
}

/* Where HF's offsets stand: the next character of the text that is not used up. */
struct reader {
    const uint8_t *base, *at, *end;
    uint32_t last[2]; /* of the character used up last */
};

static void next_place(struct reader *r, int change, uint32_t place[2]) {
    uint32_t c;
    for (int used = 0; used <= -change && r->at < r->end; used++) {
        uint32_t from = (uint32_t)(r->at - r->base);
        r->at += unicode_decode(r->at, r->end, &c);
        r->last[0] = from;
        r->last[1] = (uint32_t)(r->at - r->base);
        if (used == 0) memcpy(place, r->last, sizeof r->last);
    }
    if (change > 0) memcpy(place, r->last, sizeof r->last);
}

static int write_parts(const struct parts *s, struct reader *r, struct buf *out,
                       struct u32s *places, struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < s->n && rc >= 0; i++) {
        char utf8[4];
        uint32_t place[2] = {r->last[0], r->last[1]};
        size_t n = unicode_encode(s->v[i].c, utf8);
        next_place(r, s->v[i].change, place);
        rc = buf_append(out, utf8, n, err);
        while (places && n-- && rc >= 0) rc = u32s_append(places, place, 2, err);
    }
    return rc;
}

/* Steady characters as they are. */
static int copy(struct reader *r, const uint8_t *to, struct buf *out, struct u32s *places,
                struct err *err) {
    int rc = buf_append(out, r->at, (size_t)(to - r->at), err);
    if (!places) r->at = to;
    while (r->at < to && rc >= 0) {
        uint32_t place[2];
        next_place(r, 0, place);
        for (uint32_t k = place[0]; k < place[1] && rc >= 0; k++)
            rc = u32s_append(places, place, 2, err);
    }
    return rc;
}

int nfc_write(const struct nfc *f, const char *text, size_t n, struct buf *out, struct u32s *places,
              struct err *err) {
    const uint8_t *base = (const uint8_t *)text, *end = base + n, *from, *p = base;
    struct reader r = {base, base, end, {0, 0}};
    struct parts s = {0};
    int rc = 0;
    while (rc >= 0 && (p = unsteady(f, p, end, &from)) < end) {
        uint32_t c;
        if (from < r.at) from = r.at;
        unicode_decode(from, end, &c);
        if (c == UNICODE_BAD) from = p; /* a byte that is no character joins nothing */
        rc = copy(&r, from, out, places, err);
        s.n = 0;
        for (p = from; p < end && rc >= 0;) {
            size_t len = unicode_decode(p, end, &c);
            if (p > from && (c == UNICODE_BAD || steady(f, c))) break;
            rc = decompose(&s, c, err);
            p += len;
        }
        put_in_order(&s);
        compose(&s);
        if (rc >= 0) rc = write_parts(&s, &r, out, places, err);
        r.at = p;
    }
    free(s.v);
    return rc < 0 ? rc : copy(&r, end, out, places, err);
}
