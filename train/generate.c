/* Generation with a cache of keys and values.
 *
 *   prompts ─▶ one pass over all their positions, keys and values copied into the cache (prefill)
 *          ─▶ then, per new id: one position of every row against the cache            (step)
 *
 *   cache, per layer:  k (B,NH,P,HS)   v (B,NH,P,HS)   row b holds n_past[b] positions
 *
 * P is the model's context, or less where texts stay shorter. */
#include "train/generate.h"

#include <stdlib.h>
#include <string.h>
#include "train/model_inside.h"

/* A row's state while it is being continued. */
struct row {
    struct u32s text; /* prompt and new ids; the cache holds the last n_past of them   */
    uint32_t next;    /* the newest id, not yet in the cache                           */
    int new_ids;
    bool done;
    bool full; /* the context is: read again instead of stepping               */
};

/* A text to be read into the cache. Texts are read together, one behind the other as one batch row,
 * so that each matrix is read once for all of them; only attention is asked for text by text:
 *
 *   tokens   a a a a a b b c c c        at: 0, 5, 7
 *   pos      0 1 2 3 4 0 1 0 1 2 */
struct part {
    int row; /* of the cache */
    const uint32_t *ids;
    int T, at; /* so many ids; the first one's row */
};

enum { READ_ROWS = 2048 }; /* positions read at a time, but for one text that has more */

struct generator {
    struct model *m;
    int B, P;
    struct acts read, step;       /* activations for prompts, and for one position of B rows   */
    void **k, **v;                /* (L) caches on the device                                   */
    void *cache;                  /* the block they lie in                                      */
    float *logits_device, *fresh; /* (B,V) of each row's last position; (B,V) of those just read */
    void *ids_device, *unit_device; /* (B) what a device draws, and with what                     */
    float *logits, *probs;          /* (B,V), (V) on the host, where it draws                     */
    double *weights;                /* (2,V) there                                                */
    int32_t *ids;                   /* (B)                                                        */
    double *unit;                   /* (B)                                                        */
    struct kept kept;               /* a step of kept_rows rows                                   */
    int kept_rows;
    int32_t *n_past, *pos, *tokens; /* (B)                                               */
    struct row *rows;               /* (B)                                                        */
    struct part *parts;             /* (B)                                                        */
    int32_t *read_ids;              /* (2,read.rows) tokens and positions of what is being read   */
};

/* Of one layer's keys, or values. */
static size_t row_bytes(const struct generator *g) {
    const struct model *m = g->m;
    return (size_t)m->config.C * (size_t)g->P * dtype_bytes(m->dtype);
}

static int context(const struct model *m, int positions) {
    return positions > 0 && positions < m->config.P ? positions : m->config.P;
}

uint64_t generator_row_bytes(const struct model *m, int positions) {
    return 2 * (uint64_t)m->config.L * (uint64_t)m->config.C * (uint64_t)context(m, positions) *
           dtype_bytes(m->dtype);
}

static int allocate(struct generator *g, struct err *err) {
    struct model *m = g->m;
    size_t B = (size_t)g->B, L = (size_t)m->config.L, V = (size_t)m->config.V;
    size_t each = B * row_bytes(g);
    int rc = 0;
    g->k = mem_array(L, sizeof *g->k);
    g->v = mem_array(L, sizeof *g->v);
    g->logits = mem_array(B * V, sizeof *g->logits);
    g->probs = mem_array(V, sizeof *g->probs);
    g->weights = mem_array(2 * V, sizeof *g->weights);
    g->ids = mem_array(B, sizeof *g->ids);
    g->unit = mem_array(B, sizeof *g->unit);
    g->n_past = mem_array(B, sizeof *g->n_past);
    g->pos = mem_array(B, sizeof *g->pos);
    g->tokens = mem_array(B, sizeof *g->tokens);
    g->rows = mem_array(B, sizeof *g->rows);
    g->parts = mem_array(B, sizeof *g->parts);
    if (!g->k || !g->v || !g->logits || !g->probs || !g->weights || !g->n_past || !g->pos ||
        !g->tokens || !g->rows || !g->parts || !g->ids || !g->unit)
        return err_nomem(err, B * V * sizeof *g->logits);
    rc = m->ops->alloc(m->device, &g->cache, 2 * L * each, err);
    void *logits = NULL, *fresh = NULL;
    if (rc == 0) rc = m->ops->alloc(m->device, &logits, B * V * sizeof(float), err);
    if (rc == 0) rc = m->ops->alloc(m->device, &fresh, B * V * sizeof(float), err);
    g->logits_device = logits, g->fresh = fresh;
    if (rc == 0) rc = m->ops->alloc(m->device, &g->ids_device, B * sizeof *g->ids, err);
    if (rc == 0) rc = m->ops->alloc(m->device, &g->unit_device, B * sizeof *g->unit, err);
    if (rc == 0) rc = acts_plan(&g->step, m, B, false, err);
    for (size_t l = 0; rc == 0 && l < L; l++) {
        g->k[l] = (char *)g->cache + 2 * l * each;
        g->v[l] = (char *)g->cache + (2 * l + 1) * each;
    }
    return rc;
}

int generator_new(struct generator **ret, struct model *m, int B, int positions, struct err *err) {
    struct generator *g = mem_array(1, sizeof *g);
    int rc;
    if (!g) return err_nomem(err, sizeof *g);
    g->m = m;
    g->B = B;
    g->P = context(m, positions);
    rc = allocate(g, err);
    if (rc < 0)
        generator_free(g);
    else
        *ret = g;
    return rc;
}

void generator_free(struct generator *g) {
    if (!g) return;
    acts_release(&g->read, g->m);
    acts_release(&g->step, g->m);
    g->m->ops->free(g->m->device, g->cache);
    kept_forget(g->m, &g->kept);
    g->m->ops->free(g->m->device, g->logits_device);
    g->m->ops->free(g->m->device, g->fresh);
    g->m->ops->free(g->m->device, g->ids_device);
    g->m->ops->free(g->m->device, g->unit_device);
    for (int b = 0; g->rows && b < g->B; b++) u32s_release(&g->rows[b].text);
    free(g->k);
    free(g->v);
    free(g->logits);
    free(g->probs);
    free(g->weights);
    free(g->ids);
    free(g->unit);
    free(g->n_past);
    free(g->pos);
    free(g->tokens);
    free(g->rows);
    free(g->parts);
    free(g->read_ids);
    free(g);
}

/* ------------------------------------------------------------------ reading a text */

/* Keys and values of one layer, from (T,3,NH,HS) into row b of the cache. */
static void store(struct generator *g, int l, int b, const void *qkv, int T) {
    const struct model *m = g->m;
    size_t e = dtype_bytes(m->dtype), NH = (size_t)m->config.NH, C = (size_t)m->config.C,
           P = (size_t)g->P, HS = C / NH;
    for (size_t h = 0; h < NH; h++) {
        size_t at = ((size_t)b * NH + h) * P * HS * e;
        const char *k = (const char *)qkv + (C + h * HS) * e, *v = k + C * e;
        m->ops->copy_rows(m->device, (char *)g->k[l] + at, HS * e, k, 3 * C * e, HS * e, (size_t)T);
        m->ops->copy_rows(m->device, (char *)g->v[l] + at, HS * e, v, 3 * C * e, HS * e, (size_t)T);
    }
}

/* Room for `rows` positions at a time. */
static int make_room(struct generator *g, size_t rows, struct err *err) {
    if (g->read.rows >= rows) return 0;
    acts_release(&g->read, g->m);
    free(g->read_ids);
    g->read_ids = mem_array(2 * rows, sizeof *g->read_ids);
    if (!g->read_ids) return err_nomem(err, 2 * (uint64_t)rows * sizeof *g->read_ids);
    return acts_plan(&g->read, g->m, rows, false, err);
}

/* Ids and positions of parts[0..n), `rows` in all, as one batch, taken to the device. */
static int take_parts(struct generator *g, const struct part *parts, int n, int rows,
                      struct model_batch *ret_batch, struct err *err) {
    int rc = make_room(g, (size_t)rows, err);
    if (rc < 0) return rc;
    int32_t *tokens = g->read_ids, *pos = tokens + rows;
    for (int i = 0; i < n; i++)
        for (int t = 0; t < parts[i].T; t++) {
            uint32_t id = parts[i].ids[t];
            tokens[parts[i].at + t] = id <= INT32_MAX ? (int32_t)id : -1;
            pos[parts[i].at + t] = t;
        }
    *ret_batch = (struct model_batch){.B = 1, .T = rows, .tokens = tokens, .pos = pos};
    return model_take(g->m, &g->read, ret_batch, err);
}

/* Attention of one layer, text by text, whose keys and values stay in the cache. */
static void read_attention(struct generator *g, const struct part *parts, int n, int l) {
    const struct model *m = g->m;
    const struct layer_acts *x = &g->read.layer[l];
    size_t C = (size_t)m->config.C, row = C * dtype_bytes(m->dtype);
    for (int i = 0; i < n; i++) {
        size_t at = (size_t)parts[i].at;
        const char *qkv = (const char *)x->qkv + 3 * at * row;
        m->ops->attention_forward(m->device, (char *)x->att + at * row,
                                  x->lse + at * (size_t)m->config.NH, qkv, NULL, 1, parts[i].T,
                                  m->config.C, m->config.NH, model_attention_scale(m, l),
                                  (struct dropout){0});
        store(g, l, parts[i].row, qkv, parts[i].T);
    }
}

/* Behind the last layer's attention only the last position of each text is wanted: those rows go on
 * as a step's do. */
static void read_ends(struct generator *g, const struct part *parts, int n) {
    const struct model *m = g->m;
    const struct model_config *c = &m->config;
    const struct layer_acts *from = &g->read.layer[c->L - 1], *to = &g->step.layer[c->L - 1];
    struct model_batch ends = {.B = n, .T = 1};
    size_t row = (size_t)c->C * dtype_bytes(m->dtype), V = (size_t)c->V;
    for (int i = 0; i < n; i++) {
        size_t last = (size_t)(parts[i].at + parts[i].T - 1);
        m->ops->copy(m->device, (char *)to->att + (size_t)i * row,
                     (const char *)from->att + last * row, row);
        m->ops->copy(m->device, (char *)to->res + (size_t)i * row,
                     (const char *)from->res + last * row, row);
    }
    model_layer_out(m, &g->step, &ends, c->L - 1);
    model_final_norm(m, &g->step, &ends);
    m->ops->logits(m->device, g->fresh, g->step.lnf, model_head(m)->act, n, c->C, c->V);
    for (int i = 0; i < n; i++)
        m->ops->copy(m->device, g->logits_device + (size_t)parts[i].row * V,
                     g->fresh + (size_t)i * V, V * sizeof(float));
}

/* Reads parts[0..n) together; the logits behind each are its row's. */
static int read_together(struct generator *g, const struct part *parts, int n, struct err *err) {
    const struct model *m = g->m;
    int rows = parts[n - 1].at + parts[n - 1].T, L = m->config.L;
    struct model_batch batch;
    int rc = take_parts(g, parts, n, rows, &batch, err);
    if (rc < 0) return rc;
    model_embed(m, &g->read, &batch);
    for (int l = 0; l < L; l++) {
        model_layer_in(m, &g->read, &batch, l, false);
        read_attention(g, parts, n, l);
        if (l < L - 1) model_layer_out(m, &g->read, &batch, l);
    }
    read_ends(g, parts, n);
    for (int i = 0; i < n; i++) g->n_past[parts[i].row] = parts[i].T;
    return 0;
}

/* The same of any number of them, as many at a time as READ_ROWS has room for. */
static int prefill(struct generator *g, struct part *parts, int n, struct err *err) {
    int rc = 0;
    for (int first = 0, end; rc == 0 && first < n; first = end) {
        int rows = 0;
        for (end = first; end < n && (end == first || rows + parts[end].T <= READ_ROWS); end++) {
            parts[end].at = rows;
            rows += parts[end].T;
        }
        rc = read_together(g, parts + first, end - first, err);
    }
    return rc;
}

/* Row b becomes what row `from` is. */
static void share(struct generator *g, int b, int from) {
    const struct model *m = g->m;
    size_t bytes = row_bytes(g), V = (size_t)m->config.V;
    for (int l = 0; l < m->config.L; l++) {
        char *k = g->k[l], *v = g->v[l];
        m->ops->copy(m->device, k + (size_t)b * bytes, k + (size_t)from * bytes, bytes);
        m->ops->copy(m->device, v + (size_t)b * bytes, v + (size_t)from * bytes, bytes);
    }
    m->ops->copy(m->device, g->logits_device + (size_t)b * V, g->logits_device + (size_t)from * V,
                 V * sizeof *g->logits);
    g->n_past[b] = g->n_past[from];
}

static bool same_prompt(const struct gen_row *rows, int b) {
    return b > 0 && rows[b].prompt == rows[b - 1].prompt && rows[b].n == rows[b - 1].n;
}

static int start(struct generator *g, const struct gen_row *rows, int n, struct err *err) {
    int rc = 0, P = g->P, k = 0;
    for (int b = 0; rc == 0 && b < n; b++) {
        struct row *r = &g->rows[b];
        size_t keep = rows[b].n < (size_t)P ? rows[b].n : (size_t)P;
        r->text.n = 0;
        r->new_ids = 0;
        r->done = rows[b].max_new <= 0;
        if (rows[b].n == 0) return err_set(err, ERR_USAGE, "the prompt is empty");
        rc = u32s_append(&r->text, rows[b].prompt, rows[b].n, err);
        if (!same_prompt(rows, b))
            g->parts[k++] =
                (struct part){.row = b, .ids = rows[b].prompt + (rows[b].n - keep), .T = (int)keep};
    }
    if (rc == 0) rc = prefill(g, g->parts, k, err);
    for (int b = 0; rc == 0 && b < n; b++)
        if (same_prompt(rows, b)) share(g, b, b - 1);
    return rc;
}

/* ------------------------------------------------------------------ one id more */

/* Whether the device draws by itself, so that no logits are moved: not with what only the host
 * knows, nor where the first ids are restricted. */
static bool draws_there(const struct generator *g, const struct gen_row *rows, int n,
                        const struct sampling *s) {
    if (!g->m->ops->sample) return false;
    if (!s->greedy && (s->typical_p > 0 || s->epsilon_cutoff > 0 || s->eta_cutoff > 0))
        return false;
    for (int b = 0; b < n; b++) {
        if (g->rows[b].done) continue;
        if (rows[b].rules || (rows[b].first && g->rows[b].new_ids == 0)) return false;
    }
    return true;
}

static int refuse_logits(struct err *err) {
    return err_set(err, ERR_CORRUPT,
                   "the model's output is not finite: its weights are damaged, or it diverged when "
                   "it was trained");
}

/* Each row's next id from its logits, on the device. */
static int draw_there(struct generator *g, const struct gen_row *rows, int n,
                      const struct sampling *s, struct err *err) {
    const struct model *m = g->m;
    for (int b = 0; b < n; b++)
        g->unit[b] = s->greedy || g->rows[b].done ? 0 : rng_unit(rows[b].rng);
    m->ops->upload(m->device, g->unit_device, g->unit, (size_t)n * sizeof *g->unit);
    m->ops->sample(m->device, g->ids_device, g->logits_device, g->unit_device, s, n, m->config.V);
    m->ops->download(m->device, g->ids, g->ids_device, (size_t)n * sizeof *g->ids);
    int rc = m->ops->sync(m->device, err);
    for (int b = 0; b < n && rc == 0; b++) {
        if (g->rows[b].done) continue;
        if (g->ids[b] < 0) return refuse_logits(err);
        g->rows[b].next = (uint32_t)g->ids[b];
    }
    return rc;
}

/* The same on the host. */
static int draw_here(struct generator *g, const struct gen_row *rows, int n,
                     const struct sampling *s, struct err *err) {
    const struct model *m = g->m;
    int V = m->config.V;
    m->ops->download(m->device, g->logits, g->logits_device,
                     (size_t)n * (size_t)V * sizeof *g->logits);
    int rc = m->ops->sync(m->device, err);
    for (int b = 0; b < n && rc == 0; b++) {
        struct row *r = &g->rows[b];
        if (r->done) continue;
        float *logits = g->logits + (size_t)b * (size_t)V;
        if (!sampling_possible(logits, V)) return refuse_logits(err);
        if (rows[b].first && r->new_ids == 0)
            for (int i = 0; i < V; i++)
                if (!rows[b].first[i]) logits[i] = -INFINITY;
        if (rows[b].rules &&
            !sampling_obey(rows[b].rules, logits, V, r->text.v, r->text.n, rows[b].n, g->probs))
            return err_set(err, ERR_USAGE, "no token may follow %zu others: all are forbidden",
                           r->text.n);
        sampling_warp(s, logits, V, g->probs, g->weights);
        r->next = sampling_draw(g->probs, V, s->greedy ? 0 : rng_unit(rows[b].rng));
    }
    return rc;
}

static bool ends(const struct gen_row *row, uint32_t id, int64_t eos) {
    bool found = (int64_t)id == eos;
    for (int i = 0; i < row->n_ends; i++) found |= row->ends[i] == id;
    return found;
}

/* Draws each row's next id, ends the rows that end here, returns how many go on. */
static int draw(struct generator *g, struct gen_row *rows, int n, int64_t eos,
                const struct sampling *s, int (*on_id)(void *ctx, int row, uint32_t id), void *ctx,
                struct err *err) {
    int going = 0;
    int rc = (draws_there(g, rows, n, s) ? draw_there : draw_here)(g, rows, n, s, err);
    for (int b = 0; rc == 0 && b < n; b++) {
        struct row *r = &g->rows[b];
        if (r->done) continue;
        if (ends(&rows[b], r->next, eos)) {
            rows[b].finish = FINISH_STOP;
            r->done = true;
            continue;
        }
        rc = u32s_push(&r->text, r->next, err);
        if (rc == 0) rc = u32s_push(rows[b].out, r->next, err);
        if (rc < 0) return rc;
        r->new_ids++;
        if (on_id && on_id(ctx, b, r->next)) {
            rows[b].finish = FINISH_CALLER;
            r->done = true;
        } else if (r->new_ids >= rows[b].max_new) {
            rows[b].finish = FINISH_LENGTH;
            r->done = true;
        }
        going += !r->done;
    }
    return rc < 0 ? rc : going;
}

struct step {
    struct generator *g;
    const struct model_batch *batch;
};

/* The operations of a step, from what was taken to the device. */
static void step_operations(void *ctx) {
    const struct step *step = ctx;
    struct generator *g = step->g;
    const struct model_batch *b = step->batch;
    struct model *m = g->m;
    const struct model_config *c = &m->config;
    model_embed(m, &g->step, b);
    for (int l = 0; l < c->L; l++) {
        const struct layer_acts *x = &g->step.layer[l];
        model_layer_in(m, &g->step, b, l, false);
        /* A position's number is how many are before it. */
        m->ops->attention_decode(m->device, x->att, g->k[l], g->v[l], x->qkv, g->step.pos, NULL,
                                 b->B, g->P, c->C, c->NH, model_attention_scale(m, l));
        model_layer_out(m, &g->step, b, l);
    }
    model_final_norm(m, &g->step, b);
    m->ops->logits(m->device, g->logits_device, g->step.lnf, model_head(m)->act, b->B, c->C, c->V);
}

/* The newest id of every row through the model, to the logits behind it. Rows that are done or full
 * go along with a token of no meaning; what it leaves in their cache is written over or never
 * read. */
static int step(struct generator *g, int n, struct err *err) {
    struct model *m = g->m;
    struct model_batch batch = {.B = n, .T = 1, .tokens = g->tokens, .pos = g->pos};
    struct step whole = {g, &batch};
    int rc;
    for (int b = 0; b < n; b++) {
        g->pos[b] = g->n_past[b] < g->P ? g->n_past[b] : g->P - 1;
        g->tokens[b] = g->rows[b].done || g->rows[b].full ? 0 : (int32_t)g->rows[b].next;
    }
    rc = model_take(m, &g->step, &batch, err);
    if (rc < 0) return rc;
    if (g->kept_rows != n) kept_forget(m, &g->kept);
    g->kept_rows = n;
    kept_do(m, &g->kept, step_operations, &whole);
    for (int b = 0; b < n; b++) g->n_past[b] += !g->rows[b].done && !g->rows[b].full;
    return 0;
}

/* Every row that goes on to its next logits. A full context goes on with its younger half, read
 * again from position 0. */
static int advance(struct generator *g, int n, struct err *err) {
    int rc = 0, P = g->P, keep = P - P / 2, k = 0;
    bool any = false;
    for (int b = 0; b < n; b++) {
        struct row *r = &g->rows[b];
        r->full = !r->done && g->n_past[b] == P;
        any = any || (!r->done && !r->full);
    }
    if (any) rc = step(g, n, err);
    for (int b = 0; rc == 0 && b < n; b++) {
        const struct u32s *text = &g->rows[b].text;
        if (g->rows[b].full)
            g->parts[k++] =
                (struct part){.row = b, .ids = text->v + (text->n - (size_t)keep), .T = keep};
    }
    return rc < 0 ? rc : prefill(g, g->parts, k, err);
}

int generate_rows(struct generator *g, struct gen_row *rows, int n, int64_t eos,
                  const struct sampling *s, int (*on_id)(void *ctx, int row, uint32_t id),
                  void *ctx, struct err *err) {
    int rc;
    if (n < 1 || n > g->B) return err_set(err, ERR_USAGE, "%d rows for a cache of %d", n, g->B);
    bool any = false;
    for (int b = 0; b < n; b++) {
        rows[b].finish = FINISH_LENGTH;
        any = any || rows[b].max_new > 0;
    }
    if (!any) return 0; /* nothing to read for */
    rc = start(g, rows, n, err);
    while (rc == 0) {
        rc = draw(g, rows, n, eos, s, on_id, ctx, err);
        if (rc <= 0) break; /* all done, or a failure */
        rc = advance(g, n, err);
    }
    return rc;
}

/* ------------------------------------------------------------------ one text */

struct one {
    int (*on_id)(void *ctx, uint32_t id);
    void *ctx;
};

static int on_row(void *ctx, int row, uint32_t id) {
    const struct one *o = ctx;
    (void)row;
    return o->on_id(o->ctx, id);
}

int generate(struct generator *g, const uint32_t *prompt, size_t n, int max_new, int64_t eos,
             const struct sampling *s, struct rng *rng, int (*on_id)(void *ctx, uint32_t id),
             void *ctx, struct u32s *out, enum finish *ret_finish, struct err *err) {
    struct gen_row row = {.prompt = prompt, .n = n, .max_new = max_new, .rng = rng, .out = out};
    struct one one = {.on_id = on_id, .ctx = ctx};
    int rc = generate_rows(g, &row, 1, eos, s, on_id ? on_row : NULL, &one, err);
    if (ret_finish) *ret_finish = row.finish;
    return rc;
}
