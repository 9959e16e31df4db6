/* The scanners: the hand-written one, its plain twin and PCRE2 with the published expression must
 * cut any bytes in the same places. The first byte chooses the pattern. */
#include "tests/fuzz/fuzz.h"
#include "tests/published.h"
#include "tokenizer/pattern.h"
#include "tokenizer/scan.h"

static struct {
    struct pattern *pattern;
    struct scanner *scanner;
    struct scan_pcre *pcre;
    struct scan_matcher *matcher;
} made[PUBLISHED];

static void make(size_t k) {
    struct err err = {0};
    const char *regex = published[k].regex;
    int rc = pattern_open(&made[k].pattern, regex, &err);
    if (rc == 0) rc = scanner_new(&made[k].scanner, made[k].pattern, &err);
    if (rc == 0) rc = scan_pcre_new(&made[k].pcre, regex, &err);
    if (rc == 0) rc = scan_matcher_new(&made[k].matcher, made[k].pcre, &err);
    FUZZ_CHECK(rc == 0 && strcmp(pattern_name(made[k].pattern), regex) != 0, "%s", err.msg);
}

static void same(const char *what, size_t k, const struct u32s *a, const struct u32s *b) {
    size_t i = 0;
    while (i < a->n && i < b->n && a->v[i] == b->v[i]) i++;
    FUZZ_CHECK(i == a->n && i == b->n, "pattern %zu, %s: piece %zu", k, what, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct u32s fast = {0}, plain = {0}, pcre = {0};
    struct err err = {0};
    size_t k = fuzz_byte(&data, &n) % PUBLISHED;
    if (!made[k].matcher) make(k);
    int rc = scanner_cut(made[k].scanner, (const char *)data, n, &fast, &err);
    FUZZ_CHECK(rc == 0, "%s", err.msg);
    FUZZ_CHECK(scan_plain(&published[k].form, data, n, &plain, &err) == 0, "%s", err.msg);
    FUZZ_CHECK(scan_matcher_cut(made[k].matcher, data, n, &pcre, &err) == 0, "%s", err.msg);
    same("plain and fast", k, &plain, &fast);
    same("plain and PCRE2", k, &plain, &pcre);
    u32s_release(&fast);
    u32s_release(&plain);
    u32s_release(&pcre);
    return 0;
}
