/* See gemm_onednn.h. Builds against oneDNN 2 (Debian's 2.6) and 3, whose descriptors differ. */
#include "train/cpu/gemm_onednn.h"
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"

enum { A, B, C, SCRATCH, SIDES };

struct primitive {
    struct onednn_tile tile;
    dnnl_primitive_t primitive;
    dnnl_memory_t *memory; /* (threads, SIDES): handles are set at each run */
    size_t scratch;
};

struct onednn {
    dnnl_engine_t engine;
    dnnl_stream_t *stream; /* (threads) */
    int threads, n, cap;
    struct primitive *v;
};

const char *onednn_version(void) {
    static char text[32];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

typedef dnnl_memory_desc_t desc; /* 2: a struct; 3: a handle */
#if DNNL_VERSION_MAJOR >= 3
static bool desc_make(desc *d, dnnl_dims_t dims, dnnl_data_type_t type, dnnl_dims_t strides) {
    return dnnl_memory_desc_create_with_strides(d, 2, dims, type, strides) == dnnl_success;
}
static void desc_free(desc *d) {
    dnnl_memory_desc_destroy(*d);
}
static dnnl_status_t memory_make(dnnl_memory_t *m, const desc *d, dnnl_engine_t e) {
    return dnnl_memory_create(m, *d, e, DNNL_MEMORY_NONE);
}
static dnnl_status_t matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const desc d[3],
                            const_dnnl_primitive_attr_t attr) {
    return dnnl_matmul_primitive_desc_create(pd, e, d[A], d[B], NULL, d[C], attr);
}
#else
static bool desc_make(desc *d, dnnl_dims_t dims, dnnl_data_type_t type, dnnl_dims_t strides) {
    return dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides) == dnnl_success;
}
static void desc_free(desc *d) {
    (void)d;
}
static dnnl_status_t memory_make(dnnl_memory_t *m, const desc *d, dnnl_engine_t e) {
    return dnnl_memory_create(m, d, e, DNNL_MEMORY_NONE);
}
static dnnl_status_t matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const desc d[3],
                            const_dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t m;
    dnnl_status_t rc = dnnl_matmul_desc_init(&m, &d[A], &d[B], NULL, &d[C]);
    return rc == dnnl_success ? dnnl_primitive_desc_create(pd, &m, attr, e, NULL) : rc;
}
#endif

/* (Expressions that are the same text for both versions.) */
static dnnl_status_t scratch_make(dnnl_memory_t *m, const_dnnl_primitive_desc_t pd,
                                  dnnl_engine_t e) {
    return dnnl_memory_create(m, dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0), e,
                              DNNL_MEMORY_NONE);
}
static size_t scratch_bytes(const_dnnl_primitive_desc_t pd) {
    return dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0));
}

struct onednn *onednn_new(int threads) {
    struct onednn *o = calloc(1, sizeof *o);
    if (!o) return NULL;
    o->threads = threads;
    o->stream = mem_array((size_t)threads, sizeof *o->stream);
    bool ok = o->stream && dnnl_engine_create(&o->engine, dnnl_cpu, 0) == dnnl_success;
    for (int t = 0; ok && t < threads; t++)
        ok =
            dnnl_stream_create(&o->stream[t], o->engine, dnnl_stream_default_flags) == dnnl_success;
    if (ok) return o;
    onednn_free(o);
    return NULL;
}

static void primitive_free(struct primitive *p, int threads) {
    for (int i = 0; p->memory && i < threads * SIDES; i++)
        if (p->memory[i]) dnnl_memory_destroy(p->memory[i]);
    free(p->memory);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
}

void onednn_free(struct onednn *o) {
    if (!o) return;
    for (int i = 0; i < o->n; i++) primitive_free(&o->v[i], o->threads);
    for (int t = 0; o->stream && t < o->threads; t++)
        if (o->stream[t]) dnnl_stream_destroy(o->stream[t]);
    if (o->engine) dnnl_engine_destroy(o->engine);
    free(o->stream);
    free(o->v);
    free(o);
}

static bool same(const struct onednn_tile *x, const struct onednn_tile *y) {
    return x->m == y->m && x->n == y->n && x->K == y->K && x->lda == y->lda && x->ldb == y->ldb &&
           x->ldc == y->ldc && x->a_across == y->a_across && x->b_across == y->b_across &&
           x->bf16 == y->bf16;
}

static bool tile_descs(desc d[3], const struct onednn_tile *t) {
    dnnl_data_type_t type = t->bf16 ? dnnl_bf16 : dnnl_f32;
    dnnl_dim_t m = (dnnl_dim_t)t->m, n = (dnnl_dim_t)t->n, K = (dnnl_dim_t)t->K;
    dnnl_dim_t lda = (dnnl_dim_t)t->lda, ldb = (dnnl_dim_t)t->ldb, ldc = (dnnl_dim_t)t->ldc;
    dnnl_dims_t a = {m, K}, b = {K, n}, c = {m, n}, sc = {ldc, 1};
    dnnl_dims_t sa = {t->a_across ? 1 : lda, t->a_across ? lda : 1};
    dnnl_dims_t sb = {t->b_across ? 1 : ldb, t->b_across ? ldb : 1};
    return desc_make(&d[A], a, type, sa) && desc_make(&d[B], b, type, sb) &&
           desc_make(&d[C], c, dnnl_f32, sc);
}

static bool primitive_make(struct primitive *p, struct onednn *o, const struct onednn_tile *tile) {
    desc d[3];
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_attr_t attr = NULL;
    *p = (struct primitive){.tile = *tile};
    if (!tile_descs(d, tile)) return false;
    bool ok =
        dnnl_primitive_attr_create(&attr) == dnnl_success &&
        dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success &&
        matmul(&pd, o->engine, d, attr) == dnnl_success &&
        dnnl_primitive_create(&p->primitive, pd) == dnnl_success &&
        (p->memory = mem_array((size_t)o->threads * SIDES, sizeof *p->memory)) != NULL;
    for (int t = 0; ok && t < o->threads; t++) {
        dnnl_memory_t *m = p->memory + t * SIDES;
        for (int side = A; ok && side <= C; side++)
            ok = memory_make(&m[side], &d[side], o->engine) == dnnl_success;
        ok = ok && scratch_make(&m[SCRATCH], pd, o->engine) == dnnl_success;
    }
    if (ok) p->scratch = scratch_bytes(pd);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (attr) dnnl_primitive_attr_destroy(attr);
    for (int side = A; side <= C; side++) desc_free(&d[side]);
    if (!ok) primitive_free(p, o->threads);
    return ok;
}

int onednn_prepare(struct onednn *o, const struct onednn_tile *tile) {
    for (int i = 0; i < o->n; i++)
        if (same(&o->v[i].tile, tile)) return i;
    if (o->n == o->cap) {
        int cap = o->cap ? 2 * o->cap : 32;
        struct primitive *v = mem_resize(o->v, (size_t)cap, sizeof *v);
        if (!v) return -1;
        o->v = v;
        o->cap = cap;
    }
    int threads = omp_get_max_threads(); /* what a primitive is made for is asked when it is made */
    omp_set_num_threads(1);
    bool ok = primitive_make(&o->v[o->n], o, tile);
    omp_set_num_threads(threads);
    return ok ? o->n++ : -1;
}

size_t onednn_scratch(const struct onednn *o, int primitive) {
    return o->v[primitive].scratch;
}

bool onednn_run(struct onednn *o, int primitive, int thread, const void *a, const void *b, float *c,
                void *scratch) {
    dnnl_memory_t *m = o->v[primitive].memory + thread * SIDES;
    union {
        const void *in;
        void *handle;
    } sides[SIDES] = {{a}, {b}, {c}, {scratch}};
    for (int side = 0; side < SIDES; side++)
        if (dnnl_memory_set_data_handle(m[side], sides[side].handle) != dnnl_success) return false;
    dnnl_exec_arg_t args[SIDES] = {{DNNL_ARG_SRC, m[A]},
                                   {DNNL_ARG_WEIGHTS, m[B]},
                                   {DNNL_ARG_DST, m[C]},
                                   {DNNL_ARG_SCRATCHPAD, m[SCRATCH]}};
    return dnnl_primitive_execute(o->v[primitive].primitive, o->stream[thread], SIDES, args) ==
               dnnl_success &&
           dnnl_stream_wait(o->stream[thread]) == dnnl_success;
}
