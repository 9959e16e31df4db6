/* The way forward.
 *
 *   layer l:  res = mid(l-1) + branch ─▶ ln1 ─▶ qkv ─▶ att ─▶ branch = att c_proj
 *             mid = res + branch      ─▶ ln2 ─▶ fc ─▶ gelu ─▶ branch = gelu c_proj
 *
 * Every addition to the residual stream is done by the norm behind it, with the branch's
 * dropout. */
#include <math.h>
#include <stdlib.h>
#include "train/model_inside.h"

struct dropout model_dropout(const struct model *m, const struct acts *a,
                             const struct model_batch *b, int layer, int site) {
    const struct model_config *c = &m->config;
    float p = site == SITE_EMBED       ? c->embd_pdrop
              : site == SITE_ATTENTION ? c->attn_pdrop
                                       : c->resid_pdrop;
    return (struct dropout){.p = b->dropout ? p : 0,
                            .key = b->dropout_key,
                            .site = (uint32_t)(3 * layer + site),
                            .more = a->sample0};
}

float model_attention_scale(const struct model *m, int layer) {
    const struct model_config *c = &m->config;
    double scale = c->scale_attn ? 1 / sqrt((double)(c->C / c->NH)) : 1;
    return (float)(c->scale_by_layer ? scale / (layer + 1) : scale);
}

void model_layer_in(const struct model *m, const struct acts *a, const struct model_batch *b, int l,
                    bool again) {
    const struct layer_params *p = &m->layer[l];
    const struct layer_acts *x = &a->layer[l];
    int C = m->config.C, rows = b->B * b->T;
    if (l == 0 || again) /* the embedding wrote res itself, or it is there from the first time */
        m->ops->norm_forward(m->device, x->ln1, NULL, x->ln1_mean, x->ln1_rstd, x->res, NULL,
                             p->ln1_g->act, p->ln1_b->act, b->B, b->T, C, m->config.eps,
                             (struct dropout){0});
    else
        m->ops->norm_forward(m->device, x->ln1, x->res, x->ln1_mean, x->ln1_rstd,
                             a->layer[l - 1].mid, a->branch, p->ln1_g->act, p->ln1_b->act, b->B,
                             b->T, C, m->config.eps, model_dropout(m, a, b, l - 1, SITE_MLP_OUT));
    m->ops->linear_forward(m->device, x->qkv, NULL, x->ln1, model_weights(m, p->qkv_w),
                           p->qkv_b->act, rows, C, 3 * C, ACT_NONE);
}

void model_layer_attention(const struct model *m, const struct acts *a, const struct model_batch *b,
                           int l) {
    const struct layer_acts *x = &a->layer[l];
    m->ops->attention_forward(m->device, x->att, x->lse, x->qkv, b->start ? a->start : NULL, b->B,
                              b->T, m->config.C, m->config.NH, model_attention_scale(m, l),
                              model_dropout(m, a, b, l, SITE_ATTENTION));
}

void model_layer_mid(const struct model *m, const struct acts *a, const struct model_batch *b,
                     int l) {
    const struct layer_params *p = &m->layer[l];
    const struct layer_acts *x = &a->layer[l];
    int C = m->config.C, rows = b->B * b->T;
    m->ops->linear_forward(m->device, a->branch, NULL, x->att, model_weights(m, p->attn_w),
                           p->attn_b->act, rows, C, C, ACT_NONE);
    m->ops->norm_forward(m->device, x->ln2, x->mid, x->ln2_mean, x->ln2_rstd, x->res, a->branch,
                         p->ln2_g->act, p->ln2_b->act, b->B, b->T, C, m->config.eps,
                         model_dropout(m, a, b, l, SITE_ATTENTION_OUT));
    m->ops->linear_forward(m->device, x->gelu, x->fc, x->ln2, model_weights(m, p->fc_w),
                           p->fc_b->act, rows, C, m->config.inner, m->config.act);
}

void model_layer_out(const struct model *m, const struct acts *a, const struct model_batch *b,
                     int l) {
    const struct layer_params *p = &m->layer[l];
    model_layer_mid(m, a, b, l);
    m->ops->linear_forward(m->device, a->branch, NULL, a->layer[l].gelu, model_weights(m, p->mlp_w),
                           p->mlp_b->act, b->B * b->T, m->config.inner, m->config.C, ACT_NONE);
}

void model_final_norm(const struct model *m, const struct acts *a, const struct model_batch *b) {
    int last = m->config.L - 1;
    m->ops->norm_forward(m->device, a->lnf, a->resf, a->lnf_mean, a->lnf_rstd, a->layer[last].mid,
                         a->branch, m->top.lnf_g->act, m->top.lnf_b->act, b->B, b->T, m->config.C,
                         m->config.eps, model_dropout(m, a, b, last, SITE_MLP_OUT));
}

static int check_range(const int32_t *v, size_t n, int limit, int32_t also, const char *what,
                       struct err *err) {
    for (size_t i = 0; v && i < n; i++)
        if ((v[i] < 0 || v[i] >= limit) && v[i] != also)
            return err_set(err, ERR_DATA, "%s %d is not below %d; is the model of this vocabulary?",
                           what, v[i], limit);
    return 0;
}

/* What reaches a kernel is an index into memory there: all of it is checked here. */
static int check_batch(const struct model *m, const struct acts *a, const struct model_batch *b,
                       struct err *err) {
    const struct model_config *c = &m->config;
    size_t rows = (size_t)b->B * (size_t)b->T;
    int rc;
    if (b->B < 1 || b->T < 1 || rows > a->rows)
        return err_set(err, ERR_OTHER, "a batch of %d x %d positions; %zu were planned", b->B, b->T,
                       a->rows);
    if (!b->pos && b->T > c->P)
        return err_set(err, ERR_USAGE, "%d tokens; the model's context is %d", b->T, c->P);
    rc = check_range(b->tokens, rows, c->V, 0, "token", err);
    if (rc == 0) rc = check_range(b->labels, rows, c->V, LABEL_IGNORED, "label", err);
    if (rc == 0) rc = check_range(b->pos, rows, c->P, 0, "position", err);
    if (rc == 0) rc = check_range(b->start, rows, INT32_MAX, 0, "segment start", err);
    return rc;
}

int model_take(const struct model *m, const struct acts *a, const struct model_batch *b,
               struct err *err) {
    size_t bytes = (size_t)b->B * (size_t)b->T * sizeof(int32_t);
    int rc = check_batch(m, a, b, err);
    if (rc < 0) return rc;
    m->ops->upload(m->device, a->tokens, b->tokens, bytes);
    if (b->labels) m->ops->upload(m->device, a->labels, b->labels, bytes);
    if (b->pos) m->ops->upload(m->device, a->pos, b->pos, bytes);
    if (b->start) m->ops->upload(m->device, a->start, b->start, bytes);
    if (b->dropout) m->ops->upload(m->device, a->sample0, &b->sample0, sizeof b->sample0);
    return 0;
}

void model_embed(const struct model *m, const struct acts *a, const struct model_batch *b) {
    m->ops->embed_forward(m->device, a->layer[0].res, a->tokens, b->pos ? a->pos : NULL,
                          m->top.wte->act, m->top.wpe->act, b->B, b->T, m->config.C,
                          model_dropout(m, a, b, 0, SITE_EMBED));
}

void model_forward(const struct model *m, const struct acts *a, const struct model_batch *b) {
    model_embed(m, a, b);
    for (int l = 0; l < m->config.L; l++) {
        model_layer_in(m, a, b, l, false);
        model_layer_attention(m, a, b, l);
        model_layer_out(m, a, b, l);
    }
    model_final_norm(m, a, b);
}

/* Logits of every position, a few rows at a time: (rows,V) may be larger than the model. */
int model_logits(struct model *m, const struct model_batch *b, float *out_host, struct err *err) {
    enum { ROWS = 64 };
    size_t rows = (size_t)b->B * (size_t)b->T, V = (size_t)m->config.V, C = (size_t)m->config.C;
    void *logits = NULL;
    int rc = model_take(m, &m->acts, b, err);
    if (rc == 0) model_forward(m, &m->acts, b);
    if (rc == 0) rc = m->ops->alloc(m->device, &logits, ROWS * V * sizeof(float), err);
    for (size_t r = 0; rc == 0 && r < rows; r += ROWS) {
        size_t n = rows - r < ROWS ? rows - r : ROWS;
        const char *x = (const char *)m->acts.lnf + r * C * dtype_bytes(m->dtype);
        m->ops->logits(m->device, logits, x, model_head(m)->act, (int)n, (int)C, (int)V);
        m->ops->download(m->device, out_host + r * V, logits, n * V * sizeof(float));
    }
    if (rc == 0) rc = m->ops->sync(m->device, err);
    if (logits) m->ops->free(m->device, logits);
    return rc;
}
