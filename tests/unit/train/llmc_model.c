/* llm.c's model files: the golden model written as train_gpt2.py would, read back the same; files
 * that lie are refused before anything is allocated by them. */
#include "golden_help.h"
#include "train/llmc_model.h"

static char dir[] = "/tmp/lory-llmc-XXXXXX", path[64];

/* Kinds in llm.c's order; across: (out, in) there. */
static const struct {
    const char *name;
    bool layers, across;
} kinds[] = {
    {"wte.weight", false, false},       {"wpe.weight", false, false},
    {"ln_1.weight", true, false},       {"ln_1.bias", true, false},
    {"attn.c_attn.weight", true, true}, {"attn.c_attn.bias", true, false},
    {"attn.c_proj.weight", true, true}, {"attn.c_proj.bias", true, false},
    {"ln_2.weight", true, false},       {"ln_2.bias", true, false},
    {"mlp.c_fc.weight", true, true},    {"mlp.c_fc.bias", true, false},
    {"mlp.c_proj.weight", true, true},  {"mlp.c_proj.bias", true, false},
    {"ln_f.weight", false, false},      {"ln_f.bias", false, false},
};

/* bf16: to the nearest; of two as near, to the even one. */
static void put(FILE *f, float x, bool bf16) {
    uint32_t u, rest;
    memcpy(&u, &x, sizeof u);
    uint16_t h = (uint16_t)(u >> 16);
    rest = u & 0xFFFF;
    h = (uint16_t)(h + (rest > 0x8000 || (rest == 0x8000 && (h & 1))));
    if (bf16)
        fwrite(&h, 2, 1, f);
    else
        fwrite(&u, 4, 1, f);
}

static const struct param *find(const struct golden *g, const char *name, int layer) {
    struct param *p;
    size_t n = model_params(g->model, &p);
    char full[96];
    if (layer < 0)
        snprintf(full, sizeof full, "transformer.%s", name);
    else
        snprintf(full, sizeof full, "transformer.h.%d.%s", layer, name);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(p[i].name, full)) return &p[i];
    fail_msg("no %s", full);
    return NULL;
}

static void write_model(const struct golden *g, bool bf16) {
    const struct model_config *c = model_get_config(g->model);
    int Vp = (c->V + 127) / 128 * 128;
    int32_t head[256] = {20240326, bf16 ? 5 : 3, c->P, c->V, c->L, c->NH, c->C, Vp};
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(head, 4, 256, f);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int l = 0; l < (kinds[k].layers ? c->L : 1); l++) {
            const struct param *p = find(g, kinds[k].name, kinds[k].layers ? l : -1);
            int64_t K = p->dims[0], N = p->dims[1];
            for (size_t i = 0; i < p->n; i++) {
                size_t at = kinds[k].across ? (i % (size_t)K) * (size_t)N + i / (size_t)K : i;
                put(f, p->master[at], bf16);
            }
            for (int i = 0; k == 0 && i < (Vp - c->V) * c->C; i++) put(f, 0, bf16);
        }
    fclose(f);
}

static void the_same_model_comes_back(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct golden g;
        struct err err = {0};
        struct model_config c, *want;
        struct model *m;
        struct param *a, *b;
        check_ok(golden_open(&g, backend_ref(), false, &err), &err);
        write_model(&g, bf16);
        check_ok(model_config_load(&c, path, &err), &err);
        want = (struct model_config *)model_get_config(g.model);
        assert_true(c.V == want->V && c.P == want->P && c.L == want->L && c.C == want->C &&
                    c.NH == want->NH && c.inner == 4 * c.C && c.tied && c.embd_pdrop == 0);
        assert_int_equal(c.dtype, bf16 ? DTYPE_BF16 : DTYPE_F32);
        check_ok(model_check_files(&c, path, &err), &err);
        check_ok(model_new(&m, &c, g.ops, g.device, DTYPE_F32, false, &err), &err);
        check_ok(model_load(m, path, &err), &err);
        size_t n = model_params(g.model, &a);
        assert_int_equal(model_params(m, &b), n);
        for (size_t i = 0; i < n; i++)
            for (size_t e = 0; e < a[i].n; e++) {
                float x = a[i].master[e], y = b[i].master[e];
                if (bf16 ? fabsf(x - y) > fabsf(x) / 128 : x != y)
                    fail_msg("%s[%zu]: %g, not %g", a[i].name, e, (double)y, (double)x);
            }
        model_free(m);
        golden_close(&g);
    }
}

static void lies_are_refused(void **state) {
    static const struct {
        int at;
        int32_t value;
        const char *said;
    } lies[] = {
        {0, 20240520, "magic"},  {1, 4, "version"},    {2, 1 << 30, "n_positions"},
        {2, -1, "n_positions"},  {3, 0, "vocab_size"}, {4, 1 << 20, "n_layer"},
        {4, 3, "by its header"}, {5, 7, "n_head"},     {6, INT32_MAX, "n_embd"},
        {6, 1 << 16, ""},        {7, 1, "padded"},     {7, INT32_MAX, "padded"},
    };
    struct golden g;
    struct err err = {0};
    struct buf b = {0};
    struct model_config c;
    (void)state;
    check_ok(golden_open(&g, backend_ref(), false, &err), &err);
    write_model(&g, false);
    golden_close(&g);
    check_ok(file_read(path, UINT64_MAX, &b, &err), &err);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        char *copy = malloc(b.n);
        memcpy(copy, b.v, b.n);
        memcpy(copy + 4 * lies[i].at, &lies[i].value, 4);
        check_ok(file_write(path, copy, b.n, &err), &err);
        if (model_config_load(&c, path, &err) != ERR_CORRUPT || !strstr(err.msg, lies[i].said))
            fail_msg("header[%d] = %d: \"%s\"", lies[i].at, lies[i].value, err.msg);
        free(copy);
    }
    for (size_t n = 0; n < b.n; n += n < 1100 ? 61 : b.n / 9) {
        check_ok(file_write(path, b.v, n, &err), &err);
        if (model_config_load(&c, path, &err) != ERR_CORRUPT) fail_msg("%zu bytes were taken", n);
    }
    buf_release(&b);
}

static void what_is_saved_is_that_file(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct golden g;
        struct err err = {0};
        struct buf want = {0}, got = {0};
        char other[80];
        snprintf(other, sizeof other, "%s/saved.bin", dir);
        check_ok(golden_open(&g, backend_ref(), false, &err), &err);
        write_model(&g, bf16);
        check_ok(llmc_save(g.model, other, bf16 ? DTYPE_BF16 : DTYPE_F32, &err), &err);
        check_ok(file_read(path, UINT64_MAX, &want, &err), &err);
        check_ok(file_read(other, UINT64_MAX, &got, &err), &err);
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.v, want.v, want.n);
        buf_release(&want);
        buf_release(&got);
        golden_close(&g);
    }
}

/* What llm.c would compute something else from is not written. */
static void models_without_a_place_are_refused(void **state) {
    static const char *const said[] = {"output matrix",      "gelu_new",      "n_inner",
                                       "scale_attn_weights", "inverse_layer", "epsilon"};
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct model_config c;
        struct device_opts opts = {.dtype = DTYPE_F32, .threads = 1};
        struct device *device;
        struct model *m;
        struct err err = {0};
        check_ok(model_config_load(&c, TINY, &err), &err);
        c.tied = i != 0;
        c.act = i == 1 ? ACT_GELU_ERF : ACT_GELU_TANH;
        c.inner = i == 2 ? c.C : 4 * c.C;
        c.scale_attn = i != 3;
        c.scale_by_layer = i == 4;
        c.eps = i == 5 ? 1e-6f : 1e-5f;
        check_ok(backend_ref()->open(&device, &opts, &err), &err);
        check_ok(model_new(&m, &c, backend_ref(), device, DTYPE_F32, false, &err), &err);
        int rc = llmc_save(m, path, DTYPE_F32, &err);
        if (rc != ERR_DATA || !strstr(err.msg, said[i])) fail_msg("%d: \"%s\"", rc, err.msg);
        model_free(m);
        backend_ref()->close(device);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_model_comes_back), cmocka_unit_test(what_is_saved_is_that_file),
        cmocka_unit_test(models_without_a_place_are_refused), cmocka_unit_test(lies_are_refused)};
    if (!mkdtemp(dir)) return 1;
    snprintf(path, sizeof path, "%s/model.bin", dir);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    file_remove(dir, NULL);
    return rc;
}
