/* tokenizer_config.json, special_tokens_map.json and chat_template.jinja: as transformers 4 and 5
 * write them they are read, kept and written again; what contradicts the vocabulary is refused. */
#include "tests/unit/tokenizer/encode_help.h"

#define HF GOLDEN "/tok-hf"

static void copy(const char *dir, const char *name) {
    struct buf b = {0};
    struct err e = {0};
    check_ok(file_mkdirs(dir, &e), &e);
    check_ok(file_read(in(HF, name), 1 << 20, &b, &e), &e);
    check_ok(file_write(in(dir, name), b.v, b.n, &e), &e);
    buf_release(&b);
}

static void put(const char *dir, const char *name, const char *text) {
    struct err e = {0};
    check_ok(file_write(in(dir, name), text, strlen(text), &e), &e);
}

static struct tokenizer *opened(const char *path) {
    struct tokenizer *t = NULL;
    struct err e = {0};
    check_ok(tokenizer_open(&t, path, NULL, &e), &e);
    return t;
}

static void same_file(const char *a, const char *b) {
    struct buf x = {0}, y = {0};
    struct err e = {0};
    check_ok(file_read(a, 1 << 24, &x, &e), &e);
    check_ok(file_read(b, 1 << 24, &y, &e), &e);
    assert_string_equal(buf_cstr(&x), buf_cstr(&y));
    buf_release(&x);
    buf_release(&y);
}

/* As transformers 4 writes them: 1e30 is no limit, tokens are objects in the map. */
static const char v4[] = "{\n  \"added_tokens_decoder\": {\n    \"0\": {\n"
                         "      \"content\": \"<|endoftext|>\",\n"
                         "      \"normalized\": true,\n      \"special\": true\n    }\n  },\n"
                         "  \"chat_template\": [\n    {\n      \"name\": \"tools\",\n"
                         "      \"template\": \"{{ tools }}\"\n    },\n"
                         "    {\n      \"name\": \"default\",\n"
                         "      \"template\": \"{{ messages }}\"\n    }\n  ],\n"
                         "  \"eos_token\": \"<|endoftext|>\",\n"
                         "  \"model_max_length\": 1000000000000000019884624838656,\n"
                         "  \"padding_side\": \"left\",\n"
                         "  \"tokenizer_class\": \"GPT2Tokenizer\"\n}\n";
#define MAP "{\n  \"pad_token\": {\n    \"content\": \"<pad>\",\n    \"lstrip\": false\n  }\n}\n"

static void version_4_is_kept(void **state) {
    copy(*state, "tokenizer.json");
    put(*state, "tokenizer_config.json", v4);
    put(*state, "special_tokens_map.json", MAP);
    struct tokenizer *t = opened(*state);
    const struct tokenizer_settings *s = tokenizer_settings(t);
    struct err e = {0};
    assert_true(s->model_max_length == UINT64_MAX);
    assert_string_equal(s->padding_side, "left");
    assert_null(s->truncation_side);
    assert_string_equal(s->chat_template, "{{ messages }}");
    assert_string_equal(s->eos, "<|endoftext|>");
    assert_string_equal(s->pad, "<pad>");
    assert_string_equal(s->tokenizer_class, "GPT2Tokenizer");
    check_ok(tokenizer_save(t, in(*state, "saved"), &e), &e);
    same_file(in(*state, "tokenizer_config.json"), in(*state, "saved/tokenizer_config.json"));
    same_file(in(*state, "special_tokens_map.json"), in(*state, "saved/special_tokens_map.json"));
    tokenizer_free(t);
}

/* Version 5: no map, the template in a file of its own. */
static void version_5_is_kept(void **state) {
    copy(*state, "tokenizer.json");
    put(*state, "tokenizer_config.json",
        "{\n  \"backend\": \"tokenizers\",\n  \"model_max_length\": 77,\n  \"truncation_side\": "
        "\"right\"\n}\n");
    put(*state, "chat_template.jinja", "{{ x }}\n");
    struct tokenizer *t = opened(in(*state, "tokenizer.json"));
    const struct tokenizer_settings *s = tokenizer_settings(t);
    struct err e = {0};
    assert_int_equal(s->model_max_length, 77);
    assert_string_equal(s->chat_template, "{{ x }}\n");
    check_ok(tokenizer_save(t, in(*state, "saved"), &e), &e);
    same_file(in(*state, "chat_template.jinja"), in(*state, "saved/chat_template.jinja"));
    same_file(in(*state, "tokenizer_config.json"), in(*state, "saved/tokenizer_config.json"));
    assert_int_equal(file_kind(in(*state, "saved/special_tokens_map.json")), FILE_NONE);
    tokenizer_free(t);
}

#define MORE "additional_chat_templates"

/* Version 5 with templates of several names: where one stands in a file, the configuration's does
 * not count. */
static void additional_chat_templates_are_kept(void **state) {
    static const char *const names[] = {"rag.jinja", "tool_use.jinja"};
    char *dir[3], name[100];
    copy(*state, "tokenizer.json");
    put(*state, "tokenizer_config.json", "{\"chat_template\": \"{{ old }}\"}");
    struct err e = {0};
    check_ok(file_mkdirs(in(*state, MORE), &e), &e);
    for (int i = 0; i < 2; i++) put(in(*state, MORE), names[i], names[i]);
    put(in(*state, MORE), "notes.txt", "no template");
    struct tokenizer *t = opened(*state);
    assert_string_equal(tokenizer_settings(t)->chat_template, names[0]); /* none is the default */
    tokenizer_free(t);
    put(*state, "chat_template.jinja", "{{ x }}");
    t = opened(*state);
    assert_string_equal(tokenizer_settings(t)->chat_template, "{{ x }}");
    dir[0] = strdup(in(*state, "saved"));
    dir[1] = strdup(in(*state, "model"));
    dir[2] = strdup(in(*state, "of-saved"));
    check_ok(tokenizer_save(t, dir[0], &e), &e);
    check_ok(tokenizer_save_beside_model(t, dir[1], &e), &e);
    tokenizer_free(t);
    t = opened(dir[0]);
    check_ok(tokenizer_save(t, dir[2], &e), &e);
    tokenizer_free(t);
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof name, MORE "/%s", names[i]);
            same_file(in(*state, name), in(dir[k], name));
        }
        assert_int_equal(file_kind(in(dir[k], MORE "/notes.txt")), FILE_NONE);
        same_file(in(*state, "chat_template.jinja"), in(dir[k], "chat_template.jinja"));
        free(dir[k]);
    }
    put(in(*state, MORE), "default.jinja", "{{ y }}"); /* wins, as in transformers */
    t = opened(*state);
    assert_string_equal(tokenizer_settings(t)->chat_template, "{{ y }}");
    tokenizer_free(t);
}

/* What the older one in the folder had and the new one has not was kept beside the new one. */
static void an_older_tokenizer_left_its_files_behind(void **state) {
    static const char *const stale[] = {"added_tokens.json", "chat_template.jinja",
                                        "special_tokens_map.json", MORE "/rag.jinja"};
    struct err e = {0};
    copy(*state, "tokenizer.json");
    put(*state, "tokenizer_config.json", "{}"); /* version 5: there is no map */
    struct tokenizer *t = opened(*state);
    for (int beside = 0; beside < 2; beside++) {
        char *dir = strdup(in(*state, beside ? "model" : "saved"));
        check_ok(file_mkdirs(in(dir, MORE), &e), &e);
        for (size_t i = 0; i < sizeof stale / sizeof *stale; i++) put(dir, stale[i], "{}");
        check_ok(beside ? tokenizer_save_beside_model(t, dir, &e) : tokenizer_save(t, dir, &e), &e);
        for (size_t i = 0; i < sizeof stale / sizeof *stale; i++)
            assert_int_equal(file_kind(in(dir, stale[i])), FILE_NONE);
        assert_int_equal(file_kind(in(dir, MORE)), FILE_NONE);
        free(dir);
    }
    tokenizer_free(t);
    check_ok(file_mkdirs(in(*state, MORE), &e), &e);
    put(*state, MORE "/tool_use.jinja", "{{ x }}");
    check_ok(file_mkdirs(in(*state, "saved/" MORE), &e), &e);
    put(*state, "saved/" MORE "/rag.jinja", "of the older one");
    put(*state, "saved/" MORE "/notes.txt", "no template");
    t = opened(*state);
    check_ok(tokenizer_save(t, in(*state, "saved"), &e), &e);
    same_file(in(*state, "saved/" MORE "/tool_use.jinja"), in(*state, MORE "/tool_use.jinja"));
    assert_int_equal(file_kind(in(*state, "saved/" MORE "/rag.jinja")), FILE_NONE);
    assert_int_equal(file_kind(in(*state, "saved/" MORE "/notes.txt")), FILE_REGULAR);
    tokenizer_free(t);
}

/* A map without a configuration: what is written beside it says nothing that was not said. */
static void a_map_alone_keeps_its_roles(void **state) {
    copy(*state, "tokenizer.json");
    put(*state, "special_tokens_map.json", "{\"pad_token\": \"<|endoftext|>\"}");
    struct tokenizer *t = opened(in(*state, "tokenizer.json"));
    struct err e = {0};
    check_ok(tokenizer_save(t, in(*state, "saved"), &e), &e);
    tokenizer_free(t);
    t = opened(in(*state, "saved/tokenizer.json"));
    const struct tokenizer_settings *s = tokenizer_settings(t);
    assert_string_equal(s->pad, "<|endoftext|>");
    assert_null(s->bos);
    assert_null(s->eos);
    assert_true(s->model_max_length == UINT64_MAX);
    tokenizer_free(t);
}

/* truncation and padding of tokenizer.json belong to a call; they come back as they were. */
static void truncation_is_kept(void **state) {
    struct buf text = {0};
    struct err e = {0};
    check_ok(file_read(HF "/tokenizer.json", 1 << 20, &text, &e), &e);
    static const char from[] = "\"truncation\": null,\n  \"padding\": null",
                      to[] = "\"truncation\": {\n    \"direction\": \"Left\",\n    "
                             "\"max_length\": 5\n  },\n  \"padding\": null";
    char *at = strstr(buf_cstr(&text), from);
    assert_non_null(at);
    struct buf changed = {0};
    buf_append(&changed, text.v, (size_t)(at - text.v), NULL);
    buf_str(&changed, to, NULL);
    buf_str(&changed, at + strlen(from), NULL);
    put(*state, "tokenizer.json", buf_cstr(&changed));
    struct tokenizer *t = opened(*state);
    check_ok(tokenizer_save(t, in(*state, "saved"), &e), &e);
    same_file(in(*state, "tokenizer.json"), in(*state, "saved/tokenizer.json"));
    tokenizer_free(t);
    buf_release(&text);
    buf_release(&changed);
}

/* GPT-2's slow tokenizer: flags and tokens beyond vocab.json stand in the configuration. */
static void plain_files_take_their_specials_from_the_config(void **state) {
    const struct special *s;
    copy(*state, "vocab.json");
    copy(*state, "merges.txt");
    put(*state, "tokenizer_config.json",
        "{\"add_prefix_space\":true,\"added_tokens_decoder\":{\"1\":{\"content\":\"<pad>\","
        "\"lstrip\":true,\"special\":true},\"365\":{\"content\":\"<new>\",\"special\":false}}}");
    struct tokenizer *t = opened(*state);
    assert_int_equal(tokenizer_specials(t, &s), 3);
    assert_true(s[1].lstrip && s[1].special && !s[1].normalized);
    assert_string_equal(s[2].text, "<new>");
    assert_true(s[2].id == 365 && !s[2].special && t->prefix_space);
    tokenizer_free(t);
    unlink(in(*state, "tokenizer_config.json"));
    put(*state, "added_tokens.json", "{\"<old>\": 365}");
    t = opened(in(*state, "vocab.json"));
    assert_int_equal(tokenizer_find(t, "<old>", 5), 365);
    tokenizer_free(t);
}

/* A list has no keys that would be ids: it was taken for an object. */
static void a_list_of_added_tokens_is_refused(void **state) {
    static const struct {
        const char *name, *json;
    } lists[] = {{"tokenizer_config.json", "{\"added_tokens_decoder\":[{\"content\":\"x\"}]}"},
                 {"added_tokens.json", "[365]"}};
    copy(*state, "vocab.json");
    copy(*state, "merges.txt");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct tokenizer *t;
        struct err e = {0};
        put(*state, lists[i].name, lists[i].json);
        check_fails(tokenizer_open(&t, *state, NULL, &e), ERR_CORRUPT, &e, "no JSON object");
        unlink(in(*state, lists[i].name));
    }
}

/* As AutoTokenizer has it, which was passed over: ids of texts with special tokens differed. */
static void the_configuration_decides_over_flags(void **state) {
    const struct special *s;
    struct u32s ids = {0};
    struct encoder *e;
    copy(*state, "tokenizer.json");
    put(*state, "tokenizer_config.json",
        "{\"added_tokens_decoder\":{\"1\":{\"content\":\"<pad>\",\"rstrip\":true,\"special\":true},"
        "\"2\":{\"content\":\"!\"}}}");
    struct tokenizer *t = opened(*state);
    assert_int_equal(tokenizer_specials(t, &s), 3);
    assert_true(s[0].special && s[0].id == 0);
    assert_true(s[1].rstrip && s[1].special && !s[1].normalized);
    assert_true(s[2].id == 2 && !s[2].special && s[2].normalized); /* a token of the vocabulary */
    assert_int_equal(encoder_new(&e, t, NULL), 0);
    assert_int_equal(encode(e, "<pad>  !", 8, TOKENIZER_SPECIAL_ALL, &ids, NULL), 0);
    assert_int_equal(ids.n, 2);
    encoder_free(e);
    tokenizer_free(t);
    u32s_release(&ids);
    t = opened(in(*state, "tokenizer.json"));
    assert_int_equal(tokenizer_specials(t, &s), 3); /* its folder speaks, too */
    tokenizer_free(t);
}

/* "数" was trained as a token and added as another one; "e\xCC\x81" is looked for in form C. Both
 * were sought as bytes of the vocabulary, and refused. */
static void added_tokens_go_by_their_text(void **state) {
    put(*state, "tokenizer.json",
        "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_"
        "space\":"
        "false},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"æ\":"
        "0,\"ķ\":1,"
        "\"°\":2,\"æķ\":3,\"æķ°\":4},\"merges\":[[\"æ\",\"ķ\"],[\"æķ\",\"°\"]]},\"added_tokens\":[{"
        "\"id\":5,"
        "\"content\":\"数\",\"special\":true,\"normalized\":false},{\"id\":6,\"content\":"
        "\"e\xCC\x81\","
        "\"special\":false,\"normalized\":true}]}");
    put(*state, "tokenizer_config.json",
        "{\"added_tokens_decoder\":{\"5\":{\"content\":\"数\",\"special\":true},\"6\":{\"content\":"
        "\"e\xCC\x81\"}}}");
    struct tokenizer *t = opened(*state);
    assert_int_equal(tokenizer_named(t, "数"), 5);
    assert_int_equal(tokenizer_find(t, "数", 3), 4);
    assert_int_equal(tokenizer_named(t, "e\xCC\x81"), 6);
    assert_int_equal(tokenizer_named(t, "\xE6\x95"), 3);
    tokenizer_free(t);
}

/* What AutoTokenizer of transformers 5.24 adds, in its order: "text id flags" each, S special, N
 * normalized, L lstrip, R rstrip. They were passed over: such a folder had fewer tokens than
 * there. */
static const struct {
    const char *config, *map, *added, *want;
} lacking[] = {
    {"{\"pad_token\":\"<q>\"}", NULL, NULL, "<q> 365 S; "},
    {NULL, NULL, "{\"<x>\":365}", "<x> 365 N; "},
    {"{\"additional_special_tokens\":[\"<y1>\",\"<y2>\"]}", NULL, NULL, "<y1> 365 S; <y2> 366 S; "},
    {"{\"extra_special_tokens\":{\"image\":\"<i>\"},\"b_token\":\"<b>\"}", NULL, NULL,
     "<b> 365 S; <i> 366 S; "},
    {"{\"extra_special_tokens\":[\"<x>\"],\"mask_token\":\"<m>\",\"i_token\":\"<i>\",\"pad_token\":"
     "\"<p>\",\"bos_token\":\"<b>\",\"additional_special_tokens\":[\"<y>\"]}",
     NULL, NULL, "<b> 365 S; <p> 366 S; <m> 367 S; <i> 368 S; <x> 369 S; "},
    {"{\"pad_token\":{\"__type\":\"AddedToken\",\"content\":\"<p>\",\"lstrip\":true,\"normalized\":"
     "true},"
     "\"extra_special_tokens\":[{\"__type\":\"AddedToken\",\"content\":\"<x>\",\"special\":false}]"
     "}",
     NULL, NULL, "<p> 365 SNL; <x> 366 N; "},
    {"{\"pad_token\":\"<c>\"}",
     "{\"pad_token\":{\"content\":\"<m>\",\"lstrip\":true},\"additional_special_tokens\":[\"<y>\"]"
     "}",
     NULL, "<m> 365 SL; <y> 366 S; "},
    {"{\"pad_token\":\"<c>\",\"added_tokens_decoder\":{\"366\":{\"content\":\"<d6>\",\"rstrip\":"
     "true},"
     "\"365\":{\"content\":\"<d5>\",\"special\":true}}}",
     "{\"pad_token\":\"<m>\",\"additional_special_tokens\":[\"<y>\"]}", "{\"<z>\":365}",
     "<d5> 365 S; <d6> 366 NR; <c> 367 S; "},
    {"{\"pad_token\":\"<x>\"}", NULL, "{\"<y>\":366,\"<x>\":365}", "<x> 365 S; <y> 366 N; "},
    {"{\"pad_token\":\"!\"}", NULL, NULL, "! 2 S; "}, /* of the vocabulary, as a special token */
};

static void say_added(const struct tokenizer *t, struct buf *out) {
    const struct special *s;
    uint32_t n = tokenizer_specials(t, &s);
    out->n = 0;
    for (uint32_t i = 2; i < n; i++)
        buf_printf(out, NULL, "%s %u %s%s%s%s; ", s[i].text, s[i].id, s[i].special ? "S" : "",
                   s[i].normalized ? "N" : "", s[i].lstrip ? "L" : "", s[i].rstrip ? "R" : "");
}

static void tokens_that_only_the_configuration_names_were_lost(void **state) {
    struct buf is = {0};
    struct err e = {0};
    copy(*state, "tokenizer.json");
    for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++) {
        const char *const texts[] = {lacking[i].config, lacking[i].map, lacking[i].added};
        static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json",
                                            "added_tokens.json"};
        for (int k = 0; k < 3; k++)
            if (texts[k]) put(*state, names[k], texts[k]);
        struct tokenizer *t = opened(*state);
        say_added(t, &is);
        assert_string_equal(buf_cstr(&is), lacking[i].want);
        check_ok(tokenizer_save(t, in(*state, "saved"), &e), &e);
        tokenizer_free(t);
        t = opened(in(*state, "saved")); /* its tokenizer.json has them */
        say_added(t, &is);
        assert_string_equal(buf_cstr(&is), lacking[i].want);
        tokenizer_free(t);
        for (int k = 0; k < 3; k++) unlink(in(*state, names[k]));
    }
    buf_release(&is);
}

/* The padding of tokenizer.json names a token, which AutoTokenizer adds unless another is named. */
static void the_token_of_padding_was_lost(void **state) {
    struct buf text = {0}, is = {0};
    struct err e = {0};
    static const char none[] = "\"padding\": null",
                      some[] = "\"padding\": {\"pad_token\": \"[PAD]\"}";
    check_ok(file_read(HF "/tokenizer.json", 1 << 20, &text, &e), &e);
    char *at = strstr(buf_cstr(&text), none);
    assert_non_null(at);
    struct buf changed = {0};
    buf_append(&changed, text.v, (size_t)(at - text.v), NULL);
    buf_str(&changed, some, NULL);
    buf_str(&changed, at + strlen(none), NULL);
    put(*state, "tokenizer.json", buf_cstr(&changed));
    struct tokenizer *t = opened(*state);
    say_added(t, &is);
    assert_string_equal(buf_cstr(&is), "[PAD] 365 S; ");
    tokenizer_free(t);
    put(*state, "tokenizer_config.json", "{\"pad_token\":\"<pad>\"}");
    t = opened(*state);
    assert_int_equal(tokenizer_size(t), 365);
    tokenizer_free(t);
    buf_release(&text);
    buf_release(&changed);
    buf_release(&is);
}

/* An added token that is not special becomes so where the configuration gives it a role. */
static void a_role_makes_an_added_token_special(void **state) {
    struct buf text = {0};
    struct err e = {0};
    const struct special *s;
    check_ok(file_read(HF "/tokenizer.json", 1 << 20, &text, &e), &e);
    char *at = strstr(strstr(buf_cstr(&text), "<pad>"), "\"special\": true");
    assert_non_null(at);
    memcpy(at, "\"special\":false", 15);
    put(*state, "tokenizer.json", text.v);
    struct tokenizer *t = opened(*state);
    assert_true(tokenizer_specials(t, &s) == 2 && !s[1].special);
    tokenizer_free(t);
    put(*state, "tokenizer_config.json", "{\"pad_token\":\"<pad>\"}");
    t = opened(*state);
    assert_true(tokenizer_specials(t, &s) == 2 && s[1].special);
    tokenizer_free(t);
    buf_release(&text);
}

/* Of two files the map decides, as in transformers, unless there is an added_tokens_decoder. */
static void the_map_decides_over_roles(void **state) {
    copy(*state, "tokenizer.json");
    put(*state, "tokenizer_config.json", "{\"eos_token\":\"<pad>\"}");
    put(*state, "special_tokens_map.json", "{\"eos_token\":\"<|endoftext|>\"}");
    struct tokenizer *t = opened(*state);
    assert_string_equal(tokenizer_settings(t)->eos, "<|endoftext|>");
    tokenizer_free(t);
    put(*state, "tokenizer_config.json", "{\"eos_token\":\"<pad>\",\"added_tokens_decoder\":{}}");
    t = opened(*state);
    assert_string_equal(tokenizer_settings(t)->eos, "<pad>");
    tokenizer_free(t);
}

static const struct {
    const char *name, *json, *words;
} hostile[] = {
    {"tokenizer_config.json", "", "too early"},
    {"tokenizer_config.json", "[]", "no JSON object"},
    {"tokenizer_config.json", "{\"model_max_length\":-1}", "model_max_length"},
    {"tokenizer_config.json", "{\"model_max_length\":0.5}", "model_max_length"},
    {"tokenizer_config.json", "{\"model_max_length\":\"8\"}", "model_max_length"},
    {"tokenizer_config.json", "{\"padding_side\":\"up\"}", "padding_side"},
    {"tokenizer_config.json", "{\"truncation_side\":7}", "truncation_side"},
    {"tokenizer_config.json", "{\"eos_token\":7}", "eos_token"},
    {"tokenizer_config.json", "{\"eos_token\":{\"content\":[]}}", "eos_token"},
    {"tokenizer_config.json", "{\"chat_template\":7}", "chat_template"},
    {"tokenizer_config.json", "{\"chat_template\":[{\"name\":\"x\"}]}", "chat_template"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{\"content\":\"y\"}}}", "no id"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"0\":7}}", "no id"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":[{\"content\":\"<pad>\"}]}",
     "added_tokens_decoder is no JSON object"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"0\":{\"content\":\"<pad>\"}}}",
     "has id 1 in the vocabulary, not 0"},
    {"tokenizer_config.json",
     "{\"added_tokens_decoder\":{\"1\":{\"content\":\"<pad>\",\"lstrip\":1}}}", "lstrip"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"400\":{\"content\":\"<x>\"}}}",
     "\"<x>\" gets id 365, not 400"},
    {"tokenizer_config.json", "{\"pad_token\":\"\u0120\"}", "is how other bytes are spelt"},
    {"tokenizer_config.json", "{\"extra_special_tokens\":\"<x>\"}", "no list of tokens"},
    {"tokenizer_config.json", "{\"extra_special_tokens\":[7]}", "no token"},
    {"added_tokens.json", "{\"<x>\":400}", "\"<x>\" gets id 365, not 400"},
    {"added_tokens.json", "{\"<x>\":0}", "\"<x>\" gets id 365, not 0"},
    {"added_tokens.json", "{\"<pad>\":365}", "has id 1 in the vocabulary, not 365"},
    {"added_tokens.json", "{\"<x>\":\"365\"}", "has no id"},
    {"special_tokens_map.json", "{\"pad_token\":[]}", "pad_token"},
    {"special_tokens_map.json", "{\"a\":1,\"a\":2}", "special_tokens_map.json"},
};

static void hostile_configs_are_refused(void **state) {
    copy(*state, "tokenizer.json");
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct tokenizer *t;
        struct err e = {0};
        put(*state, hostile[i].name, hostile[i].json);
        check_fails(tokenizer_open(&t, *state, NULL, &e), ERR_CORRUPT, &e, hostile[i].words);
        if (!strstr(e.msg, *state)) fail_msg("the path is missing: %s", e.msg);
        unlink(in(*state, hostile[i].name));
    }
}

#define FOLDER_TEST(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(version_4_is_kept),
        FOLDER_TEST(version_5_is_kept),
        FOLDER_TEST(additional_chat_templates_are_kept),
        FOLDER_TEST(an_older_tokenizer_left_its_files_behind),
        FOLDER_TEST(a_map_alone_keeps_its_roles),
        FOLDER_TEST(truncation_is_kept),
        FOLDER_TEST(plain_files_take_their_specials_from_the_config),
        FOLDER_TEST(a_list_of_added_tokens_is_refused),
        FOLDER_TEST(the_configuration_decides_over_flags),
        FOLDER_TEST(added_tokens_go_by_their_text),
        FOLDER_TEST(tokens_that_only_the_configuration_names_were_lost),
        FOLDER_TEST(the_token_of_padding_was_lost),
        FOLDER_TEST(a_role_makes_an_added_token_special),
        FOLDER_TEST(the_map_decides_over_roles),
        FOLDER_TEST(hostile_configs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
