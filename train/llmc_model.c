/* llm.c's model files: see llmc_model.h. Everything about the file is checked by its header and
 * length; after that tensors are only copied, matrices across. */
#include "train/llmc_model.h"

#include <inttypes.h>
#include <math.h>
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

/* The model's tensor of that kind in that layer; NULL: it has another shape. */
static struct param *find(const struct model *m, const struct kind *k, int layer) {
    char name[96];
    if (k->layers)
        snprintf(name, sizeof name, "transformer.h.%d.%s", layer, k->name);
    else
        snprintf(name, sizeof name, "transformer.%s", k->name);
    for (size_t i = 0; i < m->n_params; i++)
        if (!strcmp(m->params[i].name, name))
            return m->params[i].n > k->rows * k->cols ? NULL : &m->params[i];
    return NULL;
}

/* One tensor of one layer, which begins at element `at`. */
static int load_tensor(struct model *m, const struct reading *r, const struct kind *k, int layer,
                       uint64_t at, struct err *err) {
    struct param *p = find(m, k, layer);
    if (!p) return err_set(err, ERR_OTHER, "%s: the model has another shape", r->path);
    float *host = mem_array(p->n, sizeof *host);
    if (!host) return err_nomem(err, p->n * sizeof *host);
    for (uint64_t i = 0; i < p->n; i++) /* the rows behind V are left out */
        host[k->across ? i % k->cols * k->rows + i / k->cols : i] = element(r, at + i);
    m->ops->upload(m->device, p->master, host, p->n * sizeof *host);
    model_narrow(m, p);
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

/* ------------------------------------------------------------------ writing */

enum { PAD_V = 128, CHUNK = 1 << 16 /* elements on their way out */ };

/* What the format has no word for, or NULL. */
static const char *misfit(const struct model_config *c) {
    return !c->tied                    ? "an output matrix of its own (tie_word_embeddings)"
           : c->act != ACT_GELU_TANH   ? "activation_function gelu; llm.c's is gelu_new"
           : c->inner != 4 * c->C      ? "an n_inner that is not 4 n_embd"
           : !c->scale_attn            ? "scale_attn_weights false"
           : c->scale_by_layer         ? "scale_attn_by_inverse_layer_idx"
           : fabsf(c->eps - 1e-5f) > 0 ? "a layer_norm_epsilon that is not 1e-5"
                                       : NULL;
}

/* `host` (p->n) as it lies in the model; behind it, as zeros, what the kind has more. */
static int put_tensor(struct outfile *f, const struct kind *k, const float *host, uint64_t n,
                      enum dtype stored, struct err *err) {
    union {
        float f32[CHUNK];
        uint16_t bf16[CHUNK];
    } *out = malloc(sizeof *out);
    uint64_t total = k->rows * k->cols;
    int rc = out ? 0 : err_nomem(err, sizeof *out);
    for (uint64_t at = 0; rc == 0 && at < total; at += CHUNK) {
        uint64_t take = total - at < CHUNK ? total - at : CHUNK;
        for (uint64_t j = 0; j < take; j++) {
            uint64_t i = at + j; /* (out, in) there, (in, out) here */
            float x = i >= n ? 0 : host[k->across ? i % k->cols * k->rows + i / k->cols : i];
            if (stored == DTYPE_BF16)
                out->bf16[j] = bf16_of_f32(x);
            else
                out->f32[j] = x;
        }
        rc = outfile_write(f, out, (size_t)take * dtype_bytes(stored), err);
    }
    free(out);
    return rc;
}

static int save_tensor(struct model *m, struct outfile *f, const struct kind *k, int layer,
                       enum dtype stored, struct err *err) {
    struct param *p = find(m, k, layer);
    if (!p) return err_set(err, ERR_OTHER, "the model has no %s of the shape wanted", k->name);
    float *host = mem_array(p->n, sizeof *host);
    if (!host) return err_nomem(err, p->n * sizeof *host);
    m->ops->download(m->device, host, p->master, p->n * sizeof *host);
    int rc = m->ops->sync(m->device, err);
    if (rc == 0) rc = put_tensor(f, k, host, p->n, stored, err);
    free(host);
    return rc;
}

int llmc_save(struct model *m, const char *path, enum dtype stored, struct err *err) {
    const struct model_config *c = &m->config;
    const char *odd = misfit(c);
    int32_t Vp = (c->V + PAD_V - 1) / PAD_V * PAD_V;
    const int32_t head[HEADER_BYTES / 4] = {
        [H_MAGIC] = MAGIC,    [H_VERSION] = stored == DTYPE_BF16 ? VERSION_BF16 : VERSION_F32,
        [H_POSITIONS] = c->P, [H_V] = c->V,
        [H_L] = c->L,         [H_NH] = c->NH,
        [H_C] = c->C,         [H_VP] = Vp};
    struct kind kinds[KINDS];
    struct outfile *f;
    if (odd) return err_set(err, ERR_DATA, "llm.c's files have no place for %s", odd);
    list_kinds(kinds, c, (uint64_t)Vp);
    int rc = outfile_open(&f, path, err);
    if (rc < 0) return rc;
    rc = outfile_write(f, head, sizeof head, err);
    for (int k = 0; rc == 0 && k < KINDS; k++)
        for (int l = 0; rc == 0 && l < (kinds[k].layers ? c->L : 1); l++)
            rc = save_tensor(m, f, &kinds[k], l, stored, err);
    if (rc == 0) return outfile_commit(f, err);
    outfile_abort(f);
    return rc;
}
