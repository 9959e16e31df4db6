/* A model's weights as files: transformers' model.safetensors, whole or in shards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/file.h"
#include "train/llmc_model.h"
#include "train/model_inside.h"
#include "train/safetensors.h"

enum { CHUNK = 1 << 20 /* elements that go through host memory at a time */ };

static const char prefix[] = "transformer.";

/* ------------------------------------------------------------------ reading */

/* openai-community/gpt2 has no prefix, what GPT2LMHeadModel saves has one. */
static const struct st_tensor *find(const struct safetensors *s, const char *name) {
    const struct st_tensor *t = safetensors_find(s, name);
    size_t n = sizeof prefix - 1;
    if (!t && strncmp(name, prefix, n) == 0) t = safetensors_find(s, name + n);
    return t;
}

/* Causal masks that old files carry as if they were weights. */
static bool is_mask(const char *name) {
    return path_ends(name, ".attn.bias") || path_ends(name, ".attn.masked_bias");
}

/* "[50257,768]" */
static void put_shape(struct buf *out, const uint64_t *dims, size_t n) {
    int rc = buf_char(out, '[', NULL);
    for (size_t i = 0; rc == 0 && i < n && i < 8; i++)
        rc = buf_printf(out, NULL, "%s%llu", i ? "," : "", (unsigned long long)dims[i]);
    if (rc == 0) buf_char(out, ']', NULL);
}

static int check_shape(const struct st_tensor *t, const struct param *p, const char *path,
                       struct err *err) {
    uint64_t want[2] = {(uint64_t)p->dims[0], (uint64_t)p->dims[1]};
    bool same = t->n_dims == (size_t)p->n_dims;
    struct buf a = {0}, b = {0};
    const char *is, *should;
    for (size_t i = 0; same && i < t->n_dims; i++) same = t->dims[i] == want[i];
    if (same) return 0;
    put_shape(&a, t->dims, t->n_dims);
    put_shape(&b, want, (size_t)p->n_dims);
    is = buf_cstr(&a);
    should = buf_cstr(&b);
    err_set(err, ERR_CORRUPT, "%s: %s has the shape %s; by config.json it is %s", path, t->name,
            is ? is : "?", should ? should : "?");
    buf_release(&a);
    buf_release(&b);
    return ERR_CORRUPT;
}

/* An output matrix stored beside the embeddings that it is tied to must be the same. */
static int check_tied(const struct st_tensor *head, const struct st_tensor *wte, const char *path,
                      struct err *err) {
    if (head->dtype == wte->dtype && head->bytes == wte->bytes &&
        memcmp(head->data, wte->data, (size_t)head->bytes) == 0)
        return 0;
    return err_set(err, ERR_CORRUPT,
                   "%s: lm_head.weight is not the embedding, but config.json ties them", path);
}

static int upload(struct model *m, const struct param *p, const struct st_tensor *t, float *host,
                  struct err *err) {
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < p->n; at += CHUNK) {
        size_t n = p->n - at < CHUNK ? p->n - at : CHUNK;
        rc = st_read_f32(t, at, n, host, err);
        if (rc == 0) m->ops->upload(m->device, p->master + at, host, n * sizeof *host);
    }
    return rc;
}

static int check_type(const struct st_tensor *t, const char *path, struct err *err) {
    if (t->dtype == ST_F32 || t->dtype == ST_BF16 || t->dtype == ST_F16) return 0;
    return err_set(err, ERR_CORRUPT, "%s: %s is %s; F32, BF16 and F16 can be read", path, t->name,
                   st_dtype_name(t->dtype));
}

static int load_params(struct model *m, const struct safetensors *s, const char *path,
                       struct err *err) {
    float *host = mem_array(CHUNK, sizeof *host);
    int rc = host ? 0 : err_nomem(err, CHUNK * sizeof *host);
    for (size_t i = 0; rc == 0 && i < m->n_params; i++) {
        const struct param *p = &m->params[i];
        if ((rc = upload(m, p, find(s, p->name), host, err)) < 0) err_prefix(err, "%s", path);
        if (rc < 0) break;
        model_narrow(m, p);
        st_forget(find(s, p->name));
    }
    free(host);
    return rc;
}

/* Every parameter has its tensor, of the right shape and a type that can be read. */
static int check_params(const struct model *m, const struct safetensors *s, const char *path,
                        struct err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->n_params; i++) {
        const struct param *p = &m->params[i];
        const struct st_tensor *t = find(s, p->name);
        rc = t ? check_shape(t, p, path, err)
               : err_set(err, ERR_CORRUPT, "%s: no tensor %s", path, p->name);
        if (rc == 0) rc = check_type(t, path, err);
    }
    return rc;
}

/* A tensor that no parameter takes would be lost in silence. */
static int check_extra(const struct model *m, const struct safetensors *s, const char *path,
                       struct err *err) {
    for (size_t i = 0; i < s->n; i++) {
        const char *name = s->v[i].name;
        bool known = is_mask(name) || (m->config.tied && strcmp(name, "lm_head.weight") == 0);
        for (size_t k = 0; !known && k < m->n_params; k++)
            known = find(s, m->params[k].name) == &s->v[i];
        if (!known) return err_set(err, ERR_CORRUPT, "%s: no place for tensor %s", path, name);
    }
    return 0;
}

/* Weights that are there in PyTorch's own form, which is a program to be run, and so not read. */
static void hint_pickle(const char *dir, struct err *err) {
    static const char *const names[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    for (int i = 0; i < 2; i++) {
        char *path = path_join(dir, names[i]);
        if (path && file_kind(path) == FILE_REGULAR)
            err_hint(err,
                     "%s is not read here: save_pretrained() of transformers writes safetensors",
                     names[i]);
        free(path);
    }
}

/* Opens the files of `dir` and checks them against the table of m; *ret_path is for messages. */
static int open_weights(const struct model *m, const char *dir, struct safetensors *s,
                        char **ret_path, struct err *err) {
    char *path = path_join(dir, "model.safetensors");
    int rc = path ? 0 : err_nomem(err, 0);
    if (rc == 0 && file_kind(path) == FILE_NONE) { /* shards, if there are any */
        char *index = path_join(dir, "model.safetensors.index.json");
        if (index && file_kind(index) != FILE_NONE) {
            free(path);
            path = index;
        } else {
            free(index);
        }
    }
    *ret_path = path;
    if (rc == 0 && (rc = safetensors_open(s, path, err)) == ERR_IO) hint_pickle(dir, err);
    if (rc == 0) rc = check_params(m, s, path, err);
    if (rc == 0) rc = check_extra(m, s, path, err);
    const struct st_tensor *head = safetensors_find(s, "lm_head.weight");
    const struct st_tensor *wte = find(s, m->top.wte->name);
    if (rc == 0 && m->config.tied && head && wte) rc = check_tied(head, wte, path, err);
    return rc;
}

int model_check_files(const struct model_config *c, const char *dir, struct err *err) {
    struct model m = {.config = *c};
    struct safetensors s = {0};
    char *path = NULL;
    if (file_kind(dir) == FILE_REGULAR) return 0; /* its length was checked with its header */
    int rc = model_table(&m, err);
    if (rc == 0) rc = open_weights(&m, dir, &s, &path, err);
    safetensors_close(&s);
    free(path);
    free(m.params);
    free(m.layer);
    return rc;
}

int model_load(struct model *m, const char *dir, struct err *err) {
    struct safetensors s = {0};
    char *path = NULL;
    bool llmc = file_kind(dir) == FILE_REGULAR;
    int rc = llmc ? llmc_load(m, dir, err) : open_weights(m, dir, &s, &path, err);
    if (rc == 0 && !llmc) rc = load_params(m, &s, path, err);
    safetensors_close(&s);
    free(path);
    return rc < 0 ? rc : m->ops->sync(m->device, err);
}

/* ------------------------------------------------------------------ writing */

/* What a tensor being written is filled from. */
struct filling {
    struct model *m;
    const struct param *p;
    float *host; /* (CHUNK), shared */
};

static int fill_f32(const struct st_out *t, uint64_t at, size_t bytes, void *to, struct err *err) {
    const struct filling *f = t->ctx;
    f->m->ops->download(f->m->device, to, f->p->master + at / 4, bytes);
    return f->m->ops->sync(f->m->device, err);
}

static int fill_bf16(const struct st_out *t, uint64_t at, size_t bytes, void *to, struct err *err) {
    const struct filling *f = t->ctx;
    uint16_t *out = to;
    for (size_t done = 0, n = bytes / 2; done < n; done += CHUNK) {
        size_t take = n - done < CHUNK ? n - done : CHUNK;
        f->m->ops->download(f->m->device, f->host, f->p->master + at / 2 + done, take * 4);
        for (size_t i = 0; i < take; i++) out[done + i] = bf16_of_f32(f->host[i]);
    }
    return f->m->ops->sync(f->m->device, err);
}

int model_save(struct model *m, const char *dir, enum dtype stored, struct err *err) {
    struct st_out *v = mem_array(m->n_params, sizeof *v);
    struct filling *f = mem_array(m->n_params, sizeof *f);
    float *host = mem_array(CHUNK, sizeof *host);
    char *path = path_join(dir, "model.safetensors");
    int rc = v && f && host && path ? 0 : err_nomem(err, CHUNK * sizeof *host);
    for (size_t i = 0; rc == 0 && i < m->n_params; i++) {
        struct param *p = &m->params[i];
        f[i] = (struct filling){.m = m, .p = p, .host = host};
        v[i] = (struct st_out){.name = p->name,
                               .dtype = stored == DTYPE_BF16 ? ST_BF16 : ST_F32,
                               .n_dims = (size_t)p->n_dims,
                               .dims = p->dims,
                               .ctx = &f[i]};
    }
    if (rc == 0)
        rc = safetensors_write(path, v, m->n_params, NULL,
                               stored == DTYPE_BF16 ? fill_bf16 : fill_f32, err);
    free(v);
    free(f);
    free(host);
    free(path);
    return rc;
}
