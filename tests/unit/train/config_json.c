/* config.json: transformers' own file is what we write, and what would give other numbers is
 * refused. */
#include "golden_help.h"

static void compare_files(const char *dir, const char *name) {
    struct buf a = {0}, b = {0};
    struct err err = {0};
    char *ours = path_join(dir, name), *theirs = path_join(TINY, name);
    check_ok(file_read(ours, 1 << 20, &a, &err), &err);
    check_ok(file_read(theirs, 1 << 20, &b, &err), &err);
    assert_string_equal(buf_cstr(&a), buf_cstr(&b));
    buf_release(&a);
    buf_release(&b);
    free(ours);
    free(theirs);
}

static void the_file_of_transformers_byte_for_byte(void **state) {
    struct model_config c;
    struct err err = {0};
    check_ok(model_config_load(&c, TINY, &err), &err);
    assert_int_equal(c.V, 515);
    assert_int_equal(c.inner, 256);
    assert_true(c.init_range == 0.15f && c.eps == 1e-5f && c.tied && c.pad == -1 && c.eos == 514);
    check_ok(model_config_save(&c, *state, &err), &err);
    compare_files(*state, "config.json");
    compare_files(*state, "generation_config.json");
}

/* Reads {…, MEMBERS} over a small good configuration. */
static int load(const char *dir, const char *members, struct model_config *c, struct err *err) {
    char text[1024], *path = path_join(dir, "config.json");
    snprintf(text, sizeof text, "{\"model_type\": \"gpt2\"%s%s}", *members ? ", " : "", members);
    assert_int_equal(file_write(path, text, strlen(text), err), 0);
    free(path);
    return model_config_load(c, dir, err);
}

static void what_is_missing_is_gpt2_small(void **state) {
    struct model_config c;
    struct err err = {0};
    check_ok(load(*state, "", &c, &err), &err);
    assert_int_equal(model_config_params(&c), 124439808); /* openai-community/gpt2 */
    assert_true(c.attn_pdrop == 0.1f && c.eos == 50256 && c.act == ACT_GELU_TANH);
    check_ok(load(*state, "\"n_embd\": 1024, \"n_inner\": null, \"n_head\": 16", &c, &err), &err);
    assert_int_equal(c.inner, 4096);
    check_ok(load(*state, "\"hidden_size\": 64, \"num_attention_heads\": 4", &c, &err), &err);
    assert_int_equal(c.C, 64);
    check_ok(load(*state, "\"eos_token_id\": [7, 8], \"bos_token_id\": null", &c, &err), &err);
    assert_true(c.eos == 7 && c.bos == -1 && c.n_eos_more == 1 && c.eos_more[0] == 8);
    check_ok(load(*state, "\"eos_token_id\": []", &c, &err), &err);
    assert_true(c.eos == -1 && c.n_eos_more == 0);
    check_ok(
        load(*state, "\"activation_function\": \"gelu\", \"torch_dtype\": \"bfloat16\"", &c, &err),
        &err);
    assert_true(c.act == ACT_GELU_ERF && c.dtype == DTYPE_BF16);
}

static void what_cannot_be_is_refused(void **state) {
    static const char *const bad[] = {
        "\"n_embd\": 770", /* not a multiple of 12 heads */
        "\"n_layer\": 0",
        "\"n_head\": -12",
        "\"vocab_size\": 4294967297",
        "\"vocab_size\": 99999999",
        "\"n_positions\": \"1024\"",
        "\"n_positions\": 10.5",
        "\"n_embd\": 2147483647",
        "\"n_inner\": 0",
        "\"attn_pdrop\": 1",
        "\"resid_pdrop\": -0.1",
        "\"layer_norm_epsilon\": 0",
        "\"initializer_range\": -1",
        "\"activation_function\": \"relu\"",
        "\"add_cross_attention\": true",
        "\"tie_word_embeddings\": 1",
        "\"eos_token_id\": 1.5",
        "\"n_embd\": 768, \"n_embd\": 768",
    };
    struct model_config c;
    struct err err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (load(*state, bad[i], &c, &err) != ERR_CORRUPT) fail_msg("not refused: %s", bad[i]);
    char *path = path_join(*state, "config.json");
    assert_int_equal(file_write(path, "{\"model_type\": \"llama\"}", 23, &err), 0);
    assert_int_equal(model_config_load(&c, *state, &err), ERR_CORRUPT);
    file_remove(path, NULL);
    assert_int_equal(model_config_load(&c, *state, &err), ERR_IO);
    free(path);
}

static void sizes_have_their_known_counts(void **state) {
    static const struct {
        const char *name;
        uint64_t params;
    } sizes[] = {{"gpt2", 124439808},     {"gpt2-medium", 354823168}, {"gpt2-large", 774030080},
                 {"gpt2-xl", 1557611200}, {"d12", 124439808},         {"distilgpt2", 81912576}};
    struct model_config c;
    struct err err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_ok(model_config_preset(&c, sizes[i].name, &err), &err);
        check_ok(model_config_check(&c, ERR_USAGE, "preset", &err), &err);
        assert_int_equal(model_config_params(&c), sizes[i].params);
    }
    assert_int_equal(model_config_preset(&c, "gpt2-mediun", &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "gpt2-medium"));
}

/* Floats as Python writes them: whole ones keep a fraction, and fp32's noise does not show. */
static void numbers_look_as_they_were_given(void **state) {
    struct model_config c = model_config_gpt2, again;
    struct buf text = {0};
    struct err err = {0};
    char *path = path_join(*state, "config.json");
    c.embd_pdrop = 0;
    c.attn_pdrop = 0.05f;
    c.eps = 1;
    c.inner = 100;
    c.scale_by_layer = c.reorder_upcast = true;
    c.tied = false;
    check_ok(model_config_save(&c, *state, &err), &err);
    check_ok(file_read(path, 1 << 20, &text, &err), &err);
    assert_non_null(strstr(buf_cstr(&text), "\"embd_pdrop\": 0.0,"));
    assert_non_null(strstr(buf_cstr(&text), "\"attn_pdrop\": 0.05,"));
    assert_non_null(strstr(buf_cstr(&text), "\"layer_norm_epsilon\": 1.0,"));
    assert_non_null(strstr(buf_cstr(&text), "\"n_inner\": 100,"));
    check_ok(model_config_load(&again, *state, &err), &err);
    assert_true(again.scale_by_layer && again.reorder_upcast && !again.tied && again.inner == 100);
    assert_true(again.attn_pdrop == 0.05f && again.eps == 1);
    buf_release(&text);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_of_transformers_byte_for_byte),
        cmocka_unit_test(what_is_missing_is_gpt2_small),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(sizes_have_their_known_counts),
        cmocka_unit_test(numbers_look_as_they_were_given),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
