/* A user's regular expression, and a text for it behind "%%": pieces rise and stay in the text. */
#include "tests/fuzz/fuzz.h"
#include "tokenizer/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    size_t regex_n;
    const uint8_t *part = fuzz_part(&data, &n, &regex_n);
    char *regex = strndup((const char *)part, regex_n);
    struct pattern *p = NULL;
    struct scanner *s = NULL;
    struct u32s ends = {0};
    struct err err = {0};
    FUZZ_CHECK(regex, "out of memory");
    int rc = pattern_open(&p, regex, &err);
    if (rc == 0) rc = scanner_new(&s, p, &err);
    if (rc == 0) rc = scanner_cut(s, (const char *)data, n, &ends, &err);
    fuzz_told(rc, &err);
    for (size_t i = 0; rc == 0 && i < ends.n; i++)
        FUZZ_CHECK(ends.v[i] <= n && (!i || ends.v[i] >= ends.v[i - 1]), "piece %zu", i);
    if (rc == 0) FUZZ_CHECK(!n || (ends.n && ends.v[ends.n - 1] == n), "the end is not cut");
    scanner_free(s);
    pattern_free(p);
    u32s_release(&ends);
    free(regex);
    return 0;
}
