/* One JSON line: the extractor beside its slow twin, and beside cJSON where cJSON can follow (it
 * keeps no NULs and refuses lone surrogates). */
#include <cjson/cJSON.h>
#include "stream/jsonl.h"
#include "stream/jsonl_ref.h"
#include "tests/fuzz/fuzz.h"

static void as_cjson(const char *line, size_t n, const char *text, size_t text_n) {
    if (memmem(line, n, "\\ud", 3) || memmem(line, n, "\\uD", 3) || memchr(text, 0, text_n)) return;
    cJSON *tree = cJSON_ParseWithLength(line, n);
    FUZZ_CHECK(tree, "cJSON refuses it");
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(tree, "text");
    FUZZ_CHECK(cJSON_IsString(member), "no string");
    FUZZ_CHECK(strlen(member->valuestring) == text_n && !memcmp(member->valuestring, text, text_n),
               "another text");
    cJSON_Delete(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *line = (const char *)data, *text = NULL;
    struct buf fast = {0}, slow = {0};
    struct err err = {0};
    char *guessed = NULL;
    size_t text_n = 0;
    int a = jsonl_field(line, n, "text", 4, &fast, &text, &text_n, &err);
    int b = jsonl_field_ref(line, n, "text", 4, &slow);
    FUZZ_CHECK(a == b, "fast %d, slow %d", a, b);
    fuzz_told(a, &err);
    if (a == 0) {
        FUZZ_CHECK(text_n == slow.n && (!text_n || !memcmp(text, slow.v, text_n)), "other texts");
        as_cjson(line, n, text ? text : "", text_n);
    } else {
        FUZZ_CHECK(err.column >= 1 && err.column <= n + 1, "column %llu of %zu",
                   (unsigned long long)err.column, n);
    }
    int c = jsonl_guess_field(line, n, &guessed, &err);
    fuzz_told(c, &err);
    if (c == 0) free(guessed);
    buf_release(&fast);
    buf_release(&slow);
    return 0;
}
