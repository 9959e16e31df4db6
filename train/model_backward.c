/* The losses and the way back.
 *
 * d_res is the gradient of the residual stream. Each norm adds its own to it; the sum is then also
 * the gradient of the branch that was added there, with dropout through its mask (d_branch). */
#include <stdlib.h>
#include "base/buf.h"
#include "train/model_inside.h"

static uint64_t count_targets(const struct model_batch *b) {
    size_t rows = (size_t)b->B * (size_t)b->T;
    uint64_t targets = 0;
    for (size_t r = 0; r < rows; r++) targets += b->labels[r] != LABEL_IGNORED;
    return targets;
}

/* Sums the losses on the host, in double and in the order of the positions; ignored ones are 0. */
static int sum_losses(const struct model *m, const struct model_batch *b, double *ret_sum,
                      struct err *err) {
    size_t rows = (size_t)b->B * (size_t)b->T;
    float *loss = mem_array(rows, sizeof *loss);
    double sum = 0;
    if (!loss) return err_nomem(err, rows * sizeof *loss);
    m->ops->download(m->device, loss, m->acts.loss, rows * sizeof *loss);
    int rc = m->ops->sync(m->device, err);
    for (size_t r = 0; r < rows; r++) sum += loss[r];
    free(loss);
    *ret_sum = sum;
    return rc;
}

/* Back through a norm: its part of d_res, and the gradient of the branch that it had added, which
 * is returned: d_res itself where nothing was dropped. branch_bias: what that branch ended with, or
 * NULL; its gradient is the sum of that one's rows. */
static void *norm_back(const struct model *m, const struct model_batch *b, const void *sum,
                       const float *mean, const float *rstd, const struct param *g,
                       const struct param *bias, struct dropout drop,
                       const struct param *branch_bias) {
    const struct acts *a = &m->acts;
    void *d_branch = drop.p > 0 ? a->d_branch : NULL;
    m->ops->norm_backward(m->device, a->d_res, d_branch, g->grad, bias->grad,
                          branch_bias ? branch_bias->grad : NULL, a->d_norm, sum, mean, rstd,
                          g->act, b->B, b->T, m->config.C, drop);
    return d_branch ? d_branch : a->d_res;
}

/* bias: NULL if a norm sums its gradient. */
static void linear_back(const struct model *m, int rows, void *dx, const void *dy, const void *x,
                        const struct param *w, const struct param *bias, const void *prev_pre,
                        enum act prev_act) {
    m->ops->linear_backward(m->device, dx, w->grad, bias ? bias->grad : NULL, dy, x,
                            model_weights(m, w), prev_pre, prev_act, rows, (int)w->dims[0],
                            (int)w->dims[1]);
}

/* A norm's output once more, from the sum that it left. */
static void norm_again(const struct model *m, const struct model_batch *b, void *y, float *mean,
                       float *rstd, const void *sum, const struct param *g,
                       const struct param *bias) {
    m->ops->norm_forward(m->device, y, NULL, mean, rstd, sum, NULL, g->act, bias->act, b->B, b->T,
                         m->config.C, m->config.eps, (struct dropout){0});
}

/* What layer l needs on its way back and did not keep, from what it did. The layer's own output
 * is not needed. */
static void layer_again(const struct model *m, const struct model_batch *b, int l) {
    const struct model_config *c = &m->config;
    const struct layer_acts *x = &m->acts.layer[l];
    const struct layer_params *p = &m->layer[l];
    size_t n = (size_t)b->B * (size_t)b->T * (size_t)c->inner;
    if (l == c->L - 1 || m->acts.again == RECOMPUTE_NONE) return; /* the last one is still there */
    if (m->acts.again == RECOMPUTE_GELU) {
        m->ops->act_forward(m->device, x->gelu, x->fc, n, c->act);
        if (!model_norms_again(m)) return;
        norm_again(m, b, x->ln1, x->ln1_mean, x->ln1_rstd, x->res, p->ln1_g, p->ln1_b);
        norm_again(m, b, x->ln2, x->ln2_mean, x->ln2_rstd, x->mid, p->ln2_g, p->ln2_b);
        return;
    }
    model_layer_in(m, &m->acts, b, l, true);
    model_layer_attention(m, &m->acts, b, l);
    model_layer_mid(m, &m->acts, b, l);
}

/* `branch`: the gradient of what the layer's MLP added. Returns that of the layer before. */
static void *layer_back(const struct model *m, const struct model_batch *b, int l, void *branch) {
    const struct model_config *c = &m->config;
    const struct acts *a = &m->acts;
    const struct layer_acts *x = &a->layer[l];
    const struct layer_params *p = &m->layer[l];
    int rows = b->B * b->T;
    struct dropout none = {0};
    linear_back(m, rows, a->d_fc, branch, x->gelu, p->mlp_w, NULL, x->fc, c->act);
    linear_back(m, rows, a->d_norm, a->d_fc, x->ln2, p->fc_w, p->fc_b, NULL, ACT_NONE);
    branch = norm_back(m, b, x->mid, x->ln2_mean, x->ln2_rstd, p->ln2_g, p->ln2_b,
                       model_dropout(m, a, b, l, SITE_ATTENTION_OUT), p->attn_b);
    linear_back(m, rows, a->d_att, branch, x->att, p->attn_w, NULL, NULL, ACT_NONE);
    m->ops->attention_backward(
        m->device, a->d_qkv, a->d_att, x->att, x->lse, x->qkv, b->start ? a->start : NULL, b->B,
        b->T, c->C, c->NH, model_attention_scale(m, l), model_dropout(m, a, b, l, SITE_ATTENTION));
    linear_back(m, rows, a->d_norm, a->d_qkv, x->ln1, p->qkv_w, p->qkv_b, NULL, ACT_NONE);
    return norm_back(m, b, x->res, x->ln1_mean, x->ln1_rstd, p->ln1_g, p->ln1_b,
                     l > 0 ? model_dropout(m, a, b, l - 1, SITE_MLP_OUT) : none,
                     l > 0 ? m->layer[l - 1].mlp_b : NULL);
}

static void backward(const struct model *m, const struct model_batch *b) {
    const struct model_config *c = &m->config;
    const struct acts *a = &m->acts;
    size_t rows = (size_t)b->B * (size_t)b->T;
    void *branch;
    m->ops->zero(m->device, a->d_res, rows * (size_t)c->C * dtype_bytes(m->dtype));
    branch = norm_back(m, b, a->resf, a->lnf_mean, a->lnf_rstd, m->top.lnf_g, m->top.lnf_b,
                       model_dropout(m, a, b, c->L - 1, SITE_MLP_OUT), m->layer[c->L - 1].mlp_b);
    for (int l = c->L - 1; l >= 0; l--) {
        layer_again(m, b, l);
        branch = layer_back(m, b, l, branch);
    }
    m->ops->embed_backward(m->device, m->top.wte->grad, m->top.wpe->grad, a->d_res, a->tokens,
                           b->pos ? a->pos : NULL, b->B, b->T, c->C, c->V,
                           model_dropout(m, a, b, 0, SITE_EMBED));
}

void model_there_and_back(const struct model *m, const struct model_batch *b) {
    const struct acts *a = &m->acts;
    int rows = b->B * b->T;
    model_forward(m, a, b);
    m->ops->classifier(m->device, a->loss, a->d_norm, model_head(m)->grad, a->lnf,
                       model_head(m)->act, a->labels, rows, m->config.C, m->config.V, a->scale);
    m->ops->loss_sum(m->device, m->loss_sum, a->loss, (size_t)rows);
    backward(m, b);
}

int model_loss(struct model *m, const struct model_batch *b, double *ret_sum, uint64_t *ret_targets,
               struct err *err) {
    const struct acts *a = &m->acts;
    int rc = model_take(m, a, b, err);
    if (rc < 0) return rc;
    model_forward(m, a, b);
    m->ops->classifier(m->device, a->loss, NULL, NULL, a->lnf, model_head(m)->act, a->labels,
                       b->B * b->T, m->config.C, m->config.V, NULL);
    *ret_targets = count_targets(b);
    return sum_losses(m, b, ret_sum, err);
}

int model_forward_backward(struct model *m, const struct model_batch *b, float scale,
                           double *ret_sum, uint64_t *ret_targets, struct err *err) {
    if (!m->grads || !m->acts.train)
        return err_set(err, ERR_OTHER, "the model was not made or planned for training");
    int rc = model_take(m, &m->acts, b, err);
    if (rc < 0) return rc;
    m->ops->upload(m->device, m->acts.scale, &scale, sizeof scale);
    model_there_and_back_again(m, b);
    *ret_targets = count_targets(b);
    return ret_sum ? sum_losses(m, b, ret_sum, err) : 0;
}
