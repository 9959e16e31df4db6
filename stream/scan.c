/* The plain versions, and the choice between all of them: see scan.h. */
#include "stream/scan.h"

#include <stdint.h>
#include <string.h>

/* One byte at a time: what the loop means. */
enum { STEP = 1 };
#define SPECIAL(p) (uint64_t)(*(p) == '"' || *(p) == '\\' || (unsigned char)*(p) < 0x20)
#define HIGH(p)    (uint64_t)((unsigned char)*(p) >> 7)
#define COPY(d, p) (void)(*(d) = *(p))
#include "stream/scan_loop.h"

/* Length of the sequence at p[0..n), 0 if it is not UTF-8 (Unicode 16, table 3-7). */
static size_t sequence(const uint8_t *p, size_t n) {
    if (p[0] < 0x80) return 1;
    size_t len = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (len == 0 || len > n) return 0;
    uint8_t low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return len;
}

size_t utf8_error(const char *text, size_t n) {
    const uint8_t *p = (const uint8_t *)text;
    size_t i = 0;
    while (i < n) {
        uint64_t eight;
        if (n - i >= 8 && (memcpy(&eight, p + i, 8), !(eight & 0x8080808080808080u))) {
            i += 8;
            continue;
        }
        size_t len = sequence(p + i, n - i);
        if (!len) break;
        i += len;
    }
    return i;
}

static bool utf8(const char *p, size_t n) {
    return utf8_error(p, n) == n;
}

const struct scan scan_bytes_plain = {find_end, unescape, utf8, "plain"};

const struct scan *scan_best(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi2"))
        return &scan_bytes_avx512;
    if (__builtin_cpu_supports("avx2")) return &scan_bytes_avx2;
#endif
    return &scan_bytes_plain;
}
