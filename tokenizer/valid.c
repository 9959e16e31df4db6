/* Bytes that are not UTF-8: kept, replaced, or refused, by name. */
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

/* Length of the longest prefix of p that begins a valid character, at least 1 (Unicode Standard,
 * section 3.9: maximal subpart). Only asked where there is no valid character. */
static size_t maximal_part(const uint8_t *p, const uint8_t *end) {
    size_t want = p[0] < 0xC2 || p[0] > 0xF4 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4, n = 1;
    while (n < want && p + n < end && (p[n] & 0xC0) == 0x80) {
        bool no = n == 1 && ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
                             (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F));
        if (no) break;
        n++;
    }
    return n;
}

int tokenizer_valid(const char *text, size_t n, enum tokenizer_invalid how, struct buf *scratch,
                    const char **ret, size_t *ret_n, struct err *err) {
    const uint8_t *p = (const uint8_t *)text, *end = p + n, *done = p;
    int rc = 0;
    *ret = text;
    *ret_n = n;
    scratch->n = 0;
    while (p < end && how != TOKENIZER_INVALID_KEEP && rc >= 0) {
        uint32_t c;
        size_t len = unicode_decode(p, end, &c);
        if (c != UNICODE_BAD) {
            p += len;
            continue;
        }
        if (how == TOKENIZER_INVALID_REFUSE) {
            size_t at = (size_t)(p - (const uint8_t *)text);
            rc = err_set(err, ERR_DATA, "byte %zu (0x%02X) is not UTF-8", at, *p);
            err_place(err, 0, 0, at);
            return rc;
        }
        rc = buf_append(scratch, done, (size_t)(p - done), err);
        if (rc >= 0) rc = buf_str(scratch, "\xEF\xBF\xBD", err);
        done = p += maximal_part(p, end);
    }
    if (rc < 0 || done == (const uint8_t *)text) return rc;
    rc = buf_append(scratch, done, (size_t)(end - done), err);
    *ret = scratch->v;
    *ret_n = scratch->n;
    return rc;
}
