/* JSON of configuration files and replies: what is read is what is written and read again. */
#include "base/json.h"
#include "tests/fuzz/fuzz.h"

static int parse(const char *text, size_t n, bool pretty, struct buf *out) {
    cJSON *tree = NULL;
    struct err err = {0};
    int rc = json_parse(&tree, text, n, "fuzz", &err);
    fuzz_told(rc, &err);
    if (rc == 0) rc = json_text(out, tree, pretty, &err);
    fuzz_told(rc, &err);
    cJSON_Delete(rc == 0 || tree ? tree : NULL);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct buf one = {0}, two = {0};
    bool pretty = n & 1;
    if (parse((const char *)data, n, pretty, &one) == 0) {
        FUZZ_CHECK(parse(one.v, one.n, pretty, &two) == 0, "not read again: %.*s", (int)one.n,
                   one.v);
        FUZZ_CHECK(one.n == two.n && !memcmp(one.v, two.v, one.n), "%.*s became %.*s", (int)one.n,
                   one.v, (int)two.n, two.v);
    }
    buf_release(&one);
    buf_release(&two);
    return 0;
}
