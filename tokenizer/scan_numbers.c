/* Numbers cut off what stands around them, before another pattern cuts that: HF's Digits.
 *
 *   "v1.25½ x"   digits 1: "v" "1" "." "2" "5" "½" " x"     no limit: "v" "1" "." "25½" " x" */
#include "tokenizer/scan.h"

int scan_numbers(const struct scan_form *f, const uint8_t *text, size_t n, struct u32s *out,
                 struct err *err) {
    size_t from = 0, len = 1; /* of the piece at hand */
    uint32_t digits = 0;      /* in it; 0: it is none of numbers */
    int rc = 0;
    for (size_t at = 0; at < n && rc == 0; at += len) {
        bool number = scan_class(text + at, text + n, &len) & SCAN_N;
        bool ends = number ? digits == 0 || digits == f->digits : digits > 0;
        if (ends && at > from) rc = u32s_push(out, (uint32_t)at, err);
        if (ends) from = at, digits = 0;
        digits += number;
    }
    return rc == 0 && n > from ? u32s_push(out, (uint32_t)n, err) : rc;
}
