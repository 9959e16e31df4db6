/* Offsets as HF's NormalizedString has them, quirks included; see places.h. */
#include "tokenizer/places.h"

#include "tokenizer/unicode.h"

/* The character that holds byte i of p[0..n): its first byte, and the one behind it. A byte that
 * belongs to none is one. */
static void around(const uint8_t *p, size_t n, size_t i, size_t *start, size_t *end) {
    uint32_t c;
    for (size_t back = 0; back < 4 && back <= i; back++) {
        size_t len = unicode_decode(p + i - back, p + n, &c);
        if (c == UNICODE_BAD || len <= back) continue;
        *start = i - back;
        *end = *start + len;
        return;
    }
    *start = i;
    *end = i + 1;
}

/* Bytes [from, to) of a stretch, from < to, as a place in the text given. */
static int put(const struct stretch *s, size_t from, size_t to, struct u32s *places,
               struct err *err) {
    size_t start, end, skip;
    if (s->places) {
        start = s->places[2 * from];
        end = s->places[2 * (to - 1) + 1];
    } else {
        around((const uint8_t *)s->v, s->n, from, &start, &skip);
        around((const uint8_t *)s->v, s->n, to - 1, &skip, &end);
    }
    uint32_t both[2] = {(uint32_t)(s->at + start), (uint32_t)(s->at + end)};
    return u32s_append(places, both, 2, err);
}

int places_of_ids(const struct tokenizer *t, const struct stretch *s, bool prefixed,
                  const uint32_t *ids, size_t n, struct u32s *places, struct err *err) {
    size_t pos = 0; /* of the prefixed text */
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        size_t len;
        vocab_token(t, ids[i], &len);
        size_t from = pos > prefixed ? pos - prefixed : 0; /* the blank stands for the first byte */
        pos += len;
        size_t to = pos > prefixed ? pos - prefixed : 1;
        rc = put(s, from, to, places, err);
    }
    return rc;
}

int places_of_all(const struct stretch *s, struct u32s *places, struct err *err) {
    return put(s, 0, s->n, places, err);
}

/* ------------------------------------------------------------------ trim_offsets */

static bool is_blank(uint32_t c) {
    return c == 0x120 || (c != UNICODE_BAD && UNICODE_IN(unicode_cat(c), UNICODE_SPACE));
}

/* Blanks at the beginning and at the end of a token, in characters. A special's token is the text
 * it was found as. */
static void count_blanks(const struct tokenizer *t, uint32_t id, const uint8_t *p, size_t n,
                         size_t *before, size_t *behind) {
    *before = *behind = 0;
    if (!(t->kind[id] & TOKEN_SPECIAL)) {
        p = vocab_token(t, id, &n);
        while (*before < n && p[*before] == ' ') ++*before;
        while (*behind < n && p[n - 1 - *behind] == ' ') ++*behind;
        return;
    }
    bool still = true;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        i += unicode_decode(p + i, p + n, &c);
        still = still && is_blank(c);
        *before += still;
        *behind = is_blank(c) ? *behind + 1 : 0;
    }
}

void places_trim(const struct tokenizer *t, const char *text, uint64_t at, const uint32_t *ids,
                 size_t n, uint32_t *places) {
    const uint8_t *base = (const uint8_t *)text;
    for (size_t i = 0; i < n && t->trim_offsets; i++) {
        uint32_t *start = &places[2 * i], *end = &places[2 * i + 1], c;
        size_t before, behind, a, b;
        count_blanks(t, ids[i], base + *start, *end - *start, &before, &behind);
        if (at + *start == 0 && t->trim_prefix && before == 1)
            before = 0; /* the blank that was added; of several HF takes none for that */
        while (before-- && *start < *end)
            *start += (uint32_t)unicode_decode(base + *start, base + *end, &c);
        while (behind-- && *end > *start) {
            around(base, *end, *end - 1, &a, &b);
            *end = (uint32_t)(a > *start ? a : *start);
        }
    }
}

/* ------------------------------------------------------------------ characters */

void places_in_chars(const char *text, size_t n, uint32_t *places, size_t n_places) {
    const uint8_t *base = (const uint8_t *)text;
    size_t byte = 0, chars = 0; /* a cursor that mostly moves forward */
    for (size_t i = 0; i < n_places; i++) {
        if (places[i] < byte) {
            size_t back = byte - places[i] < 4 ? byte - places[i] : byte;
            if (back == byte) byte = chars = 0;
            while (byte > places[i]) {
                size_t end;
                around(base, n, byte - 1, &byte, &end);
                chars--;
            }
        }
        while (byte < places[i] && byte < n) {
            uint32_t c;
            byte += unicode_decode(base + byte, base + n, &c);
            chars++;
        }
        places[i] = (uint32_t)chars;
    }
}
