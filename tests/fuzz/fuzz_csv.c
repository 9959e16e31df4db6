/* A CSV or TSV file; the first byte says which, the second in which steps it is read. What comes
 * out are lines, each a JSON object of strings or a bad row, whatever the steps. */
#include "base/json.h"
#include "stream/csv.h"
#include "stream/rows.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_feed.h"

static int read_rows(const uint8_t *data, size_t n, char separator, size_t piece, struct buf *out) {
    struct memory_feed m = {data, n, 0, piece};
    struct codec *text = NULL, *c = NULL;
    struct err err = {0};
    int rc = codec_open_feed(&text, "fuzz", memory_feed(&m), &err);
    if (rc == 0) rc = csv_codec(&c, "fuzz", text, separator, 1 << 20, &err);
    if (rc == 0) rc = memory_unpack(c, 1 << 16, out, &err);
    fuzz_told(rc, &err);
    codec_close(c);
    return rc;
}

/* Every whole line that is no bad row is an object. */
static void are_lines(const struct buf *b) {
    for (const char *p = b->v, *end = p + b->n, *nl; p < end; p = nl + 1) {
        cJSON *tree = NULL;
        nl = memchr(p, '\n', (size_t)(end - p));
        FUZZ_CHECK(nl, "the last line does not end");
        if (*p == ROWS_BAD) continue;
        struct err err = {0};
        int rc = json_parse(&tree, p, (size_t)(nl - p), "line", &err);
        bool odd = rc < 0 && (strstr(err.msg, "UTF-8") || strstr(err.msg, "twice") ||
                              strstr(err.msg, "\\u0000")); /* told by who reads the line */
        FUZZ_CHECK(odd || cJSON_IsObject(tree), "%s: %.*s", err.msg, (int)(nl - p), p);
        cJSON_Delete(tree);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct buf one = {0}, two = {0};
    char separator = fuzz_byte(&data, &n) & 1 ? '\t' : ',';
    size_t piece = 1 + fuzz_byte(&data, &n);
    int a = read_rows(data, n, separator, 1 << 16, &one);
    int b = read_rows(data, n, separator, piece, &two);
    FUZZ_CHECK(a == b, "at once %d, in steps %d", a, b);
    FUZZ_CHECK(a < 0 || (one.n == two.n && (!one.n || !memcmp(one.v, two.v, one.n))), "other rows");
    if (a == 0 && one.n) are_lines(&one);
    buf_release(&one);
    buf_release(&two);
    return 0;
}
