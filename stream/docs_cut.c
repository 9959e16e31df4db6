/* Where a text may be cut, so that whoever counts or encodes words finds the same ones in its parts
 * as in the whole (docs_opts.cut_texts).
 *
 *   … seven| eight …      before a blank behind a letter
 *   … seven\n|eight …     behind a newline that stands alone between two characters that are no
 *                         white space: texts of Asia have few other places
 *
 * Of a newline: the expressions of all published tokenizers end a piece behind it. They would not
 * behind "\r\n" or "\n\n", as what white space at the end of a text becomes is its own rule, nor
 * before '/', which o200k counts to line ends.
 *
 * In a JSON string the newline is an escape, its neighbours may be; what stands behind an uneven
 * number of backslashes is none of its own. Both functions look backwards, and only ever at what is
 * within CUT_BYTES of a place.
 *
 * Where there is no such place, it may be cut between any two characters (cut_anywhere); in a JSON
 * string these are found forwards, from escape to escape. */
#include <string.h>
#include "base/utf8.h"
#include "stream/docs_parts.h"
#include "tokenizer/tokenizer.h"

/* Bytes of the character that v[0..n) begins with, if it surely is no white space; else 0. White
 * space beyond ASCII is U+0085, U+00A0, some of U+1680 to U+205F, and U+3000. */
static size_t dark(const char *v, size_t n) {
    const unsigned char *c = (const unsigned char *)v;
    int bytes = n ? utf8_step(c, n) : 0;
    if (bytes <= 0 || c[0] <= ' ' || c[0] == 0x7F) return 0;
    bool light = c[0] == 0xC2 || c[0] == 0xE1 || c[0] == 0xE2 ||
                 (bytes == 3 && !memcmp(v, "\xE3\x80\x80", 3));
    return light ? 0 : (size_t)bytes;
}

/* Does v[0..at) end with such a character? */
static bool dark_before(const char *v, size_t at) {
    for (size_t bytes = 1; bytes <= 4 && bytes <= at; bytes++)
        if (dark(v + at - bytes, bytes) == bytes) return true;
    return false;
}

static bool blank_cut(const char *v, size_t at) {
    unsigned char before = (unsigned char)v[at - 1] | 0x20;
    return v[at] == ' ' && before >= 'a' && before <= 'z';
}

static bool line_cut(const char *v, size_t n, size_t at) {
    return v[at - 1] == '\n' && v[at] != '/' && dark(v + at, n - at) && dark_before(v, at - 1);
}

size_t docs_cut_text(const char *v, size_t n) {
    for (size_t at = n; at-- > 1;)
        if (blank_cut(v, at) || line_cut(v, n, at)) return at;
    return 0;
}

/* ------------------------------------------------------------------ in a JSON string */

_Static_assert(CUT_BYTES > 2 * ESCAPE_BYTES + 2, "an escape, a newline, an escape");

static bool no_escape(const char *v, size_t from, size_t to) {
    return !memchr(v + from, '\\', to - from);
}

/* Is v[0..6) the escape of a character above U+3000, or of half of one? */
static bool dark_escape(const char *v) {
    static const char hex[] = "0123456789abcdefABCDEF";
    if (v[0] != '\\' || v[1] != 'u') return false;
    for (int i = 2; i < ESCAPE_BYTES; i++)
        if (!memchr(hex, v[i], sizeof hex - 1)) return false;
    return v[2] > '3' || (v[2] == '3' && memcmp(v + 3, "000", 3) != 0);
}

static bool json_line_cut(const char *v, size_t n, size_t at) {
    size_t line = at - 2; /* the newline's escape */
    if (at < 2 + ESCAPE_BYTES + 1 || v[line] != '\\' || v[line + 1] != 'n') return false;
    size_t before = line - ESCAPE_BYTES;
    bool raw = no_escape(v, before, line) && dark_before(v, line);
    if (!raw && (v[before - 1] == '\\' || !dark_escape(v + before))) return false;
    if (v[at] != '\\') return v[at] != '/' && v[at] != '"' && dark(v + at, n - at);
    return (n - at >= 2 && (v[at + 1] == '"' || v[at + 1] == '\\')) ||
           (n - at >= ESCAPE_BYTES && dark_escape(v + at));
}

size_t docs_cut_json(const char *v, size_t n) {
    for (size_t at = n; at-- > ESCAPE_BYTES;)
        if ((blank_cut(v, at) && no_escape(v, at - ESCAPE_BYTES, at)) || json_line_cut(v, n, at))
            return at;
    return 0;
}

/* Is it the escape of half a pair of surrogates, its second digit one of these? */
static bool half(const char *v, const char *digits) {
    return !memcmp(v, "\\u", 2) && (v[2] | 0x20) == 'd' && strchr(digits, v[3] | 0x20);
}

/* Bytes of the escape that v[0..n) begins with; of a pair of surrogates all. What is not there
 * counts as that of a pair. */
static size_t escape_bytes(const char *v, size_t n) {
    if (n < 2 || v[1] != 'u') return 2;
    if (n < 2 * ESCAPE_BYTES) return n < 4 || half(v, "89ab") ? 2 * ESCAPE_BYTES : ESCAPE_BYTES;
    return half(v, "89ab") && half(v + ESCAPE_BYTES, "cdef") ? 2 * ESCAPE_BYTES : ESCAPE_BYTES;
}

size_t docs_step_json(const char *v, size_t n) {
    size_t at = 0, bytes;
    for (const char *e; (e = memchr(v + at, '\\', n - at)); at += bytes) {
        at = (size_t)(e - v);
        bytes = escape_bytes(e, n - at);
        if (at + bytes > n) return at;
    }
    return decode_whole(v, n);
}
