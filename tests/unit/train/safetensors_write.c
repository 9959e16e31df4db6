/* Writing safetensors, shards by index, and a model's weights there and back. */
#include "golden_help.h"

static char *path_in(void **state, const char *name) {
    char *p = path_join(*state, name);
    assert_non_null(p);
    return p;
}

static int same_bytes(const char *a, const char *b) {
    struct buf x = {0}, y = {0};
    struct err err = {0};
    check_ok(file_read(a, 1 << 24, &x, &err), &err);
    check_ok(file_read(b, 1 << 24, &y, &err), &err);
    int same = x.n == y.n && memcmp(x.v, y.v, x.n) == 0;
    buf_release(&x);
    buf_release(&y);
    return same;
}

/* The crate's test_serialization and its forced alignment: the very bytes. */
static void bytes_of_the_crate(void **state) {
    static const float data[6] = {0, 1, 2, 3, 4, 5};
    static const int64_t dims[4] = {1, 1, 2, 3};
    static const char want[] = "\x48\0\0\0\0\0\0\0"
                               "{\"attn0\":{\"dtype\":\"F32\",\"shape\":[1,1,2,3],"
                               "\"data_offsets\":[0,24]}}       ";
    struct st_out t = {.name = "attn0", .dtype = ST_F32, .n_dims = 4, .dims = dims, .data = data};
    static const char *const none[] = {NULL};
    struct buf got = {0};
    struct err err = {0};
    char *path = path_in(state, "crate.safetensors");
    check_ok(safetensors_write(path, &t, 1, none, NULL, &err), &err);
    check_ok(file_read(path, 1 << 20, &got, &err), &err);
    assert_int_equal(got.n, 8 + 72 + 24);
    assert_memory_equal(got.v, want, 80);
    assert_memory_equal(got.v + 80, data, 24);
    buf_release(&got);
    free(path);
}

/* Tensors of larger alignment come first, then names by their bytes. */
static void order_of_the_crate(void **state) {
    static const uint8_t zeros[64];
    static const int64_t one[1] = {1};
    struct st_out v[] = {{.name = "a", .dtype = ST_U8},
                         {.name = "c", .dtype = ST_F32},
                         {.name = "b", .dtype = ST_F32},
                         {.name = "d", .dtype = ST_I64},
                         {.name = "e", .dtype = ST_BF16}};
    static const char *const order[] = {"\"d\"", "\"b\"", "\"c\"", "\"e\"", "\"a\""};
    struct buf got = {0};
    struct err err = {0};
    char *path = path_in(state, "order.safetensors");
    const char *at, *next;
    for (size_t i = 0; i < 5; i++) v[i].n_dims = 1, v[i].dims = one, v[i].data = zeros;
    check_ok(safetensors_write(path, v, 5, NULL, NULL, &err), &err);
    check_ok(file_read(path, 1 << 20, &got, &err), &err);
    at = buf_cstr(&got) + 8;
    for (size_t i = 0; i < 5; i++, at = next) {
        next = strstr(at, order[i]);
        if (!next) fail_msg("%s is out of order", order[i]);
    }
    v[0].name = "b", v[0].dtype = ST_F32;
    assert_true(safetensors_write(path, v, 5, NULL, NULL, &err) < 0); /* a name twice */
    buf_release(&got);
    free(path);
}

/* transformers' own file, read and written again, is the same file. */
static void a_model_comes_back_byte_for_byte(void **state) {
    struct golden g;
    struct err err = {0};
    char *path = path_in(state, "model.safetensors");
    check_ok(golden_open(&g, backend_ref(), false, &err), &err);
    check_ok(model_save(g.model, *state, DTYPE_F32, &err), &err);
    assert_true(same_bytes(path, TINY "/model.safetensors"));
    golden_close(&g);
    free(path);
}

/* bf16 keeps 8 bits: each weight within half a unit of its last place, and what was bf16 stays. */
static void a_model_in_bf16(void **state) {
    struct golden g;
    struct err err = {0};
    struct param *p;
    check_ok(golden_open(&g, backend_ref(), false, &err), &err);
    float *before = malloc(515 * 64 * sizeof *before), *after = malloc(515 * 64 * sizeof *after);
    model_params(g.model, &p);
    memcpy(before, p[0].master, 515 * 64 * sizeof *before);
    for (int round = 0; round < 2; round++) {
        check_ok(model_save(g.model, *state, DTYPE_BF16, &err), &err);
        check_ok(model_load(g.model, *state, &err), &err);
        memcpy(after, p[0].master, 515 * 64 * sizeof *after);
        for (int i = 0; i < 515 * 64; i++)
            if (fabsf(after[i] - before[i]) > (round ? 0 : fabsf(before[i]) * 0x1p-8f))
                fail_msg("%g became %g", before[i], after[i]);
        memcpy(before, after, 515 * 64 * sizeof *before);
    }
    free(before);
    free(after);
    golden_close(&g);
}

/* Writes the golden model's tensors [from, to) under their names without "transformer.". */
static void write_part(const struct safetensors *s, const char *path, size_t from, size_t to,
                       const char *extra) {
    struct st_out v[64];
    static const int64_t mask_dims[4] = {1, 1, 2, 2};
    static const float mask[4];
    int64_t dims[64][2];
    struct err err = {0};
    size_t n = 0;
    for (size_t i = from; i < to; i++, n++) {
        for (size_t d = 0; d < s->v[i].n_dims; d++) dims[n][d] = (int64_t)s->v[i].dims[d];
        v[n] = (struct st_out){.name = s->v[i].name + strlen("transformer."),
                               .dtype = s->v[i].dtype,
                               .n_dims = s->v[i].n_dims,
                               .dims = dims[n],
                               .data = s->v[i].data};
    }
    if (extra)
        v[n++] = (struct st_out){
            .name = extra, .dtype = ST_F32, .n_dims = 4, .dims = mask_dims, .data = mask};
    check_ok(safetensors_write(path, v, n, NULL, NULL, &err), &err);
}

static void write_index(void **state, const struct safetensors *s, size_t cut, bool lie) {
    struct buf b = {0};
    struct err err = {0};
    char *path = path_in(state, "model.safetensors.index.json");
    buf_str(&b, "{\"metadata\":{},\"weight_map\":{", &err);
    for (size_t i = 0; i < s->n; i++)
        buf_printf(&b, &err, "%s\"%s\":\"part-%d.safetensors\"", i ? "," : "",
                   s->v[i].name + strlen("transformer."), (i < cut) != (lie && i == 3) ? 1 : 2);
    buf_str(&b, "}}", &err);
    check_ok(file_write(path, b.v, b.n, &err), &err);
    buf_release(&b);
    free(path);
}

/* Shards by an index, names without prefix, the masks of old files: all as openai-community's. */
static void shards_and_old_names(void **state) {
    struct safetensors s = {0};
    struct golden g;
    struct err err = {0};
    char *whole = path_in(state, "model.safetensors"), *one = path_in(state, "part-1.safetensors"),
         *two = path_in(state, "part-2.safetensors");
    check_ok(golden_open(&g, backend_ref(), false, &err), &err);
    check_ok(safetensors_open(&s, TINY "/model.safetensors", &err), &err);
    file_remove(whole, NULL);
    write_part(&s, one, 0, 10, "h.0.attn.bias");
    write_part(&s, two, 10, s.n, NULL);
    write_index(state, &s, 10, false);
    check_ok(model_load(g.model, *state, &err), &err);
    check_ok(model_save(g.model, *state, DTYPE_F32, &err), &err);
    assert_true(same_bytes(whole, TINY "/model.safetensors"));
    file_remove(whole, NULL);
    write_index(state, &s, 10, true); /* names the wrong file for one tensor */
    assert_int_equal(model_load(g.model, *state, &err), ERR_CORRUPT);
    write_index(state, &s, 10, false);
    write_part(&s, two, 11, s.n, NULL); /* one is missing */
    assert_int_equal(model_load(g.model, *state, &err), ERR_CORRUPT);
    write_part(&s, two, 10, s.n, "h.1.attn.what"); /* one too many */
    assert_int_equal(model_load(g.model, *state, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "h.1.attn.what"));
    file_remove(two, NULL);
    assert_int_equal(model_load(g.model, *state, &err), ERR_IO);
    safetensors_close(&s);
    golden_close(&g);
    free(whole);
    free(one);
    free(two);
}

static void an_index_cannot_leave_its_folder(void **state) {
    static const char *const names[] = {
        "../x.safetensors", "/etc/passwd", "a/b", "a\\\\b", "", "."};
    struct safetensors s = {0};
    struct err err = {0};
    char *path = path_in(state, "bad.safetensors.index.json");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        check_ok(file_write(path, text, strlen(text), &err), &err);
        assert_int_equal(safetensors_open(&s, path, &err), ERR_CORRUPT);
    }
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_the_crate),
        cmocka_unit_test(order_of_the_crate),
        cmocka_unit_test(a_model_comes_back_byte_for_byte),
        cmocka_unit_test(a_model_in_bf16),
        cmocka_unit_test(shards_and_old_names),
        cmocka_unit_test(an_index_cannot_leave_its_folder),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
