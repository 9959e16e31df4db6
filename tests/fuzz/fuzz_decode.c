/* Decoding as a stream: bytes come in steps, whole characters go out. Nothing is lost, and what
 * goes out never ends inside a character that could still become one. */
#include "tests/fuzz/fuzz.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

/* Characters and bad bytes of v[0..n): the number, and how many are bad. */
static size_t characters(const uint8_t *v, size_t n, size_t *ret_bad) {
    size_t many = 0;
    uint32_t c;
    *ret_bad = 0;
    for (size_t i = 0; i < n; many++) {
        i += unicode_decode(v + i, v + n, &c);
        *ret_bad += c == UNICODE_BAD;
    }
    return many;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    size_t step = 1 + fuzz_byte(&data, &n) % 7, out = 0, all_bad, bad, parts = 0, parts_bad = 0;
    for (size_t have = 0; have < n || out < n;) {
        have = n - have < step ? n : have + step;
        size_t whole = decode_whole((const char *)data + out, have - out);
        FUZZ_CHECK(whole <= have - out && have - out - whole <= 3, "holds back too much");
        if (have == n && whole == 0) whole = n - out; /* the end of the stream */
        parts += characters(data + out, whole, &bad);
        parts_bad += bad;
        out += whole;
    }
    FUZZ_CHECK(parts == characters(data, n, &all_bad) && parts_bad == all_bad,
               "a character was cut: %zu bad, not %zu", parts_bad, all_bad);
    return 0;
}
