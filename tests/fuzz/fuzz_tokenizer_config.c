/* What stands beside a tokenizer.json: tokenizer_config.json, special_tokens_map.json,
 * chat_template.jinja and one of additional_chat_templates, with "%%" between them; an empty part
 * is no file. What opens is the same tokenizer with the same settings after saving. */
#include "tests/fuzz/fuzz.h"
#include "tokenizer/vocab.h"

static const char tiny[] =
    "{\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}],"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
    "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[[\"a\",\"b\"]]}}";

static void part(const uint8_t **data, size_t *n, const char *name) {
    size_t part_n;
    char path[512];
    const uint8_t *v = fuzz_part(data, n, &part_n);
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    if (part_n)
        fuzz_put(name, v, part_n);
    else
        unlink(path);
}

static void make_folder(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FUZZ_CHECK(file_mkdirs(path, NULL) == 0, "cannot make %s", path);
}

static bool same(const char *a, const char *b) {
    return a == b || (a && b && !strcmp(a, b));
}

static void saved_and_opened(const struct tokenizer *t) {
    struct tokenizer *again = NULL;
    struct err err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/saved", fuzz_folder());
    int rc = tokenizer_save(t, path, &err);
    FUZZ_CHECK(rc == 0, "%s", err.msg);
    rc = tokenizer_open(&again, path, NULL, &err);
    FUZZ_CHECK(rc == 0, "saved, but: %s", err.msg);
    const struct tokenizer_settings *a = tokenizer_settings(t), *b = tokenizer_settings(again);
    bool read = t->config.config || t->config.map; /* else the defaults are written */
    FUZZ_CHECK(!read || (a->model_max_length == b->model_max_length && same(a->bos, b->bos) &&
                         same(a->eos, b->eos) && same(a->pad, b->pad) && same(a->unk, b->unk) &&
                         same(a->padding_side, b->padding_side) &&
                         same(a->truncation_side, b->truncation_side) &&
                         same(a->chat_template, b->chat_template)),
               "other settings");
    tokenizer_free(again);
    file_remove(path, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct tokenizer *t = NULL;
    struct err err = {0};
    fuzz_put("tokenizer.json", tiny, sizeof tiny - 1);
    make_folder("additional_chat_templates");
    part(&data, &n, "tokenizer_config.json");
    part(&data, &n, "special_tokens_map.json");
    part(&data, &n, "chat_template.jinja");
    part(&data, &n, "additional_chat_templates/tool_use.jinja");
    int rc = tokenizer_open(&t, fuzz_folder(), NULL, &err);
    fuzz_told(rc, &err);
    if (rc == 0) saved_and_opened(t);
    tokenizer_free(t);
    return 0;
}
