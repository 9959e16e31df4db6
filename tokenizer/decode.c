/* Ids back into bytes. */
#include "tokenizer/vocab.h"

/* Whether the id is a special that "without specials" leaves out. */
static bool is_left_out(const struct tokenizer *t, uint32_t id) {
    uint32_t from = 0, to = t->n_specials;
    if (!(t->kind[id] & TOKEN_SPECIAL)) return false;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (t->specials[mid].id < id)
            from = mid + 1;
        else
            to = mid;
    }
    return from < t->n_specials && t->specials[from].id == id && t->specials[from].special;
}

int decode(const struct tokenizer *t, const uint32_t *ids, size_t n, bool skip_special,
           struct buf *out, struct err *err) {
    size_t first = out->n;
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const uint8_t *p = ids[i] < t->n ? vocab_token(t, ids[i], &len) : NULL;
        if (!len) {
            out->n = first;
            return err_set(err, ERR_DATA, "id %u (number %zu) has no token; the vocabulary has %u",
                           ids[i], i, t->n);
        }
        if (skip_special && is_left_out(t, ids[i])) continue;
        if (out->cap - out->n < len) {
            int rc = buf_reserve(out, len, err);
            if (rc < 0) {
                out->n = first;
                return rc;
            }
        }
        memcpy(out->v + out->n, p, len);
        out->n += len;
    }
    return 0;
}

int decode_step(const struct tokenizer *t, struct decode_stream *s, const uint32_t *ids, size_t n,
                bool skip_special, struct buf *out, struct err *err) {
    size_t first = out->n;
    int rc = buf_append(out, s->held, s->n, err);
    if (rc >= 0) rc = decode(t, ids, n, skip_special, out, err);
    if (rc < 0) {
        out->n = first;
        return rc;
    }
    size_t whole = out->n == first ? 0 : decode_whole(out->v + first, out->n - first);
    s->n = (uint8_t)(out->n - first - whole); /* at most 3 */
    if (s->n) memcpy(s->held, out->v + first + whole, s->n);
    out->n = first + whole;
    return 0;
}

int decode_end(struct decode_stream *s, struct buf *out, struct err *err) {
    int rc = buf_append(out, s->held, s->n, err);
    if (rc >= 0) s->n = 0;
    return rc;
}

/* Bytes that a lead byte announces; 1 for what cannot lead. */
static size_t announced(uint8_t c) {
    return c < 0xC2 || c > 0xF4 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

/* Only the last three bytes can belong to a character that is not whole; one that can no longer
 * become valid counts as whole, so that a stream does not wait for ever. */
size_t decode_whole(const char *bytes, size_t n) {
    const uint8_t *p = (const uint8_t *)bytes;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        uint8_t c = p[n - back];
        if ((c & 0xC0) == 0x80) continue;
        if (announced(c) <= back) return n;
        if (back >= 2) { /* the second byte decides the overlong and the surrogates */
            uint8_t second = p[n - back + 1];
            if ((c == 0xE0 && second < 0xA0) || (c == 0xED && second > 0x9F) ||
                (c == 0xF0 && second < 0x90) || (c == 0xF4 && second > 0x8F))
                return n;
        }
        return n - back;
    }
    return n;
}
