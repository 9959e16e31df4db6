/* llm.c's model files: see llmc_model.h. Everything about the file is checked by its header and
 * length; after that tensors are only copied, matrices across. */
#include "train/llmc_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/file.h"
#include "train/model_inside.h"

enum { MAGIC = 20240326, VERSION_F32 = 3, VERSION_BF16 = 5, HEADER_BYTES = 1024 };
enum { H_MAGIC, H_VERSION, H_POSITIONS, H_V, H_L, H_NH, H_C, H_VP };

/* One kind of tensor: (rows, cols) as it stands in the file, once or in every layer. */
struct kind {
    const char *name; /* in transformers, behind "transformer." or "transformer.h.N." */
    bool layers, across;
    uint64_t rows, cols;
};
enum { KINDS = 16 };

static void list_kinds(struct kind v[KINDS], const struct model_config *c, uint64_t Vp) {
    uint64_t C = (uint64_t)c->C, P = (uint64_t)c->P;
    const struct kind kinds[KINDS] = {
        {"wte.weight", false, false, Vp, C},          {"wpe.weight", false, false, P, C},
        {"ln_1.weight", true, false, 1, C},           {"ln_1.bias", true, false, 1, C},
        {"attn.c_attn.weight", true, true, 3 * C, C}, {"attn.c_attn.bias", true, false, 1, 3 * C},
        {"attn.c_proj.weight", true, true, C, C},     {"attn.c_proj.bias", true, false, 1, C},
        {"ln_2.weight", true, false, 1, C},           {"ln_2.bias", true, false, 1, C},
        {"mlp.c_fc.weight", true, true, 4 * C, C},    {"mlp.c_fc.bias", true, false, 1, 4 * C},
        {"mlp.c_proj.weight", true, true, C, 4 * C},  {"mlp.c_proj.bias", true, false, 1, C},
        {"ln_f.weight", false, false, 1, C},          {"ln_f.bias", false, false, 1, C},
    };
    memcpy(v, kinds, sizeof kinds);
}

/* A file being read. */
struct reading {
    const char *path;
    struct mapping map;
    struct model_config config;
    struct kind kinds[KINDS];
    uint64_t Vp;
    unsigned bytes; /* of an element */
};

static int32_t header_at(const struct reading *r, int i) {
    const uint8_t *p = r->map.v + 4 * i;
    return (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                     (uint32_t)p[3] << 24);
}

static int read_header(struct reading *r, struct err *err) {
    struct model_config *c = &r->config;
    int32_t version = header_at(r, H_VERSION), Vp = header_at(r, H_VP);
    if (header_at(r, H_MAGIC) != MAGIC)
        return err_set(err, ERR_CORRUPT, "%s: not a model of llm.c: magic %" PRId32, r->path,
                       header_at(r, H_MAGIC));
    if (version != VERSION_F32 && version != VERSION_BF16)
        return err_set(err, ERR_CORRUPT,
                       "%s: version %" PRId32 "; 3 (fp32) and 5 (bf16) can be read", r->path,
                       version);
    *c = model_config_gpt2;
    c->P = header_at(r, H_POSITIONS);
    c->V = header_at(r, H_V);
    c->L = header_at(r, H_L);
    c->NH = header_at(r, H_NH);
    c->C = header_at(r, H_C);
    c->inner = c->C > 0 && c->C < INT32_MAX / 4 ? 4 * c->C : 0;
    c->embd_pdrop = c->attn_pdrop = c->resid_pdrop = 0;
    if (c->V != model_config_gpt2.V) c->bos = c->eos = -1;
    c->dtype = version == VERSION_BF16 ? DTYPE_BF16 : DTYPE_F32;
    r->bytes = (unsigned)dtype_bytes(c->dtype);
    int rc = model_config_check(c, ERR_CORRUPT, r->path, err);
    if (rc == 0 && (Vp < c->V || Vp > c->V + (1 << 16)))
        rc = err_set(err, ERR_CORRUPT, "%s: a vocabulary of %d padded to %" PRId32, r->path, c->V,
                     Vp);
    r->Vp = (uint64_t)Vp;
    return rc;
}

/* The bounds of model_config_check keep the sum far below 2^64. */
static int check_length(const struct reading *r, struct err *err) {
    uint64_t want = 0;
    for (int k = 0; k < KINDS; k++)
        want +=
            r->kinds[k].rows * r->kinds[k].cols * (r->kinds[k].layers ? (uint64_t)r->config.L : 1);
    want = want * r->bytes + HEADER_BYTES;
    if (want == r->map.bytes) return 0;
    return err_set(err, ERR_CORRUPT, "%s has %zu bytes; by its header they are %" PRIu64, r->path,
                   r->map.bytes, want);
}

static int start(struct reading *r, const char *path, struct err *err) {
    *r = (struct reading){.path = path};
    int rc = mapping_open(&r->map, path, err);
    if (rc == 0 && r->map.bytes < HEADER_BYTES)
        rc = err_set(err, ERR_CORRUPT, "%s: not a model of llm.c: %zu bytes", path, r->map.bytes);
    if (rc == 0) rc = read_header(r, err);
    if (rc == 0) {
        list_kinds(r->kinds, &r->config, r->Vp);
        rc = check_length(r, err);
    }
    return rc;
}

int llmc_config(struct model_config *ret, const char *path, struct err *err) {
    struct reading r;
    int rc = start(&r, path, err);
    if (rc == 0) *ret = r.config;
    mapping_close(&r.map);
    return rc;
}

/* ------------------------------------------------------------------ weights */

static float element(const struct reading *r, uint64_t at) {
    const uint8_t *p = r->map.v + HEADER_BYTES + at * r->bytes;
    uint32_t u = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    float x;
    u = r->bytes == 4 ? u | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : u << 16;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* One tensor of one layer, which begins at element `at`. */
static int load_tensor(struct model *m, const struct reading *r, const struct kind *k, int layer,
                       uint64_t at, struct err *err) {
    char name[96];
    struct param *p = NULL;
    if (k->layers)
        snprintf(name, sizeof name, "transformer.h.%d.%s", layer, k->name);
    else
        snprintf(name, sizeof name, "transformer.%s", k->name);
    for (size_t i = 0; i < m->n_params && !p; i++)
        if (!strcmp(m->params[i].name, name)) p = &m->params[i];
    if (!p || p->n > k->rows * k->cols)
        return err_set(err, ERR_OTHER, "%s: the model has another shape", r->path);
    float *host = mem_array(p->n, sizeof *host);
    if (!host) return err_nomem(err, p->n * sizeof *host);
    for (uint64_t i = 0; i < p->n; i++) /* the rows behind V are left out */
        host[k->across ? i % k->cols * k->rows + i / k->cols : i] = element(r, at + i);
    m->ops->upload(m->device, p->master, host, p->n * sizeof *host);
    int rc = m->ops->sync(m->device, err);
    free(host);
    return rc;
}

int llmc_load(struct model *m, const char *path, struct err *err) {
    struct reading r;
    int rc = start(&r, path, err);
    uint64_t at = 0;
    if (rc == 0 && (r.config.L != m->config.L || r.config.C != m->config.C ||
                    r.config.V != m->config.V || r.config.P != m->config.P || !m->config.tied))
        rc = err_set(err, ERR_OTHER, "%s: the model has another shape", path);
    for (int k = 0; rc == 0 && k < KINDS; k++)
        for (int l = 0; rc == 0 && l < (r.kinds[k].layers ? r.config.L : 1); l++) {
            rc = load_tensor(m, &r, &r.kinds[k], l, at, err);
            at += r.kinds[k].rows * r.kinds[k].cols;
        }
    mapping_close(&r.map);
    return rc;
}
