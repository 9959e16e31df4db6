/* Generation: bound by reading the cache and w, each element once. Mathematics: ref/decode.c. */
#include "train/cpu/few.h"
#include "train/cpu/gemm.h"
#include "train/cpu/ops.h"

struct cache {
    void *k, *v;         /* (P,HS) of one head */
    size_t n, first, HS; /* the new position; the first one seen */
    size_t keys;         /* from the one to the other */
    const void *next_k;  /* of the head that comes next */
};

/* Asks for n rows of HS elements from row j on of what begins at p. */
INLINE void ask_rows(const void *p, size_t j, size_t n, size_t HS, bool bf16) {
    const char *from = at(p, j * HS, bf16), *to = at(p, (j + n) * HS, bf16);
    for (; from < to; from += 64) __builtin_prefetch(from, 0, 2);
}

/* s[j] = scale q . k_(first + j), VL keys at a time, -infinity up to a whole vector; their largest.
 * q is fp32, zero beyond HS. */
INLINE float all_scores(float *s, const float *q, const struct cache *c, float scale, bool bf16) {
    size_t HS = c->HS, keys = c->keys;
    vf top = vf_all(-INFINITY);
    for (size_t j = 0; j < keys; j += VL) {
        vf r[VL], index, all;
        ask_rows(c->v, c->first + j, VL, HS, bf16);
        for (size_t i = 0; i < VL; i++) {
            size_t key = (c->first + (j + i < keys ? j + i : j)) * HS, e = 0;
            index[i] = (float)(j + i);
            r[i] = (vf){0};
            for (; e + VL <= HS; e += VL) r[i] += ldf(q + e) * ld(c->k, key + e, VL, bf16);
            if (e < HS) r[i] += ldf(q + e) * ld(c->k, key + e, (int)(HS - e), bf16);
        }
        all = vf_pick(index < (float)keys, vf_sums(r) * scale, vf_all(-INFINITY));
        top = vf_max(top, all);
        stf(s + j, all);
    }
    return vf_top(top);
}

/* Elements e … of the sum of p[j] v_(first + j): up to eight vectors, in registers. */
INLINE void add_values(float *out, const float *p, const struct cache *c, size_t e, size_t n,
                       bool bf16) {
    vf sum[8] = {{0}};
    for (size_t j = 0; j < c->keys; j++) {
        vf pj = vf_all(p[j]);
        if (e == 0) ask_rows(c->next_k, c->first + j, 1, c->HS, bf16);
        _Pragma("GCC unroll 8") for (size_t i = 0; i < 8; i++) if (i * VL < n) sum[i] +=
            pj * ld(c->v, (c->first + j) * c->HS + e + i * VL, lanes(i * VL, n), bf16);
    }
    for (size_t i = 0; i * VL < n; i++) stf(out + i * VL, sum[i]);
}

/* `q`, `out`: HS rounded up to 16; `s`: the keys rounded up to VL. */
INLINE void decode_head(void *y, size_t y0, const void *qkv, size_t q0, size_t C,
                        const struct cache *c, float scale, float *q, float *out, float *s,
                        bool bf16) {
    size_t HS = c->HS, bytes = bf16 ? 2 : 4;
    memcpy(at_out(c->k, c->n * HS, bf16), at(qkv, q0 + C, bf16), HS * bytes);
    memcpy(at_out(c->v, c->n * HS, bf16), at(qkv, q0 + 2 * C, bf16), HS * bytes);
    for (size_t i = 0; i < HS; i += VL) stf(q + i, ld(qkv, q0 + i, lanes(i, HS), bf16));
    float max = all_scores(s, q, c, scale, bf16);
    vf total = {0};
    for (size_t j = 0; j < c->keys; j += VL) {
        vf p = vf_exp(ldf(s + j) - max);
        stf(s + j, p);
        total += p;
    }
    for (size_t e = 0; e < HS; e += 8 * VL) {
        if (HS - e >= 8 * VL)
            add_values(out + e, s, c, e, 8 * VL, bf16);
        else
            add_values(out + e, s, c, e, HS - e, bf16);
    }
    float sum = vf_sum(total), inverse = sum > 0 ? 1 / sum : 0;
    for (size_t i = 0; i < HS; i += VL) st(y, y0 + i, lanes(i, HS), bf16, ldf(out + i) * inverse);
}

void cpu_attention_decode(struct device *d, void *y, void *k_cache, void *v_cache, const void *qkv,
                          const int32_t *n_past, const int32_t *start, int B, int P, int C_,
                          int NH_, float scale) {
    size_t C = (size_t)C_, NH = (size_t)NH_, HS = C / NH, row = round_up(HS, 16);
    size_t per_thread = round_up((size_t)P, 16) + 2 * row;
    float *work = cpu_work(d, WORK_THREAD, (size_t)d->threads * per_thread * sizeof *work);
    if (!work) return;
    bool bf16 = d->bf16;
#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (size_t bh = 0; bh < (size_t)B * NH; bh++) {
        size_t b = bh / NH, h = bh % NH, at_head = bh * (size_t)P * HS;
        float *mine = work + (size_t)omp_get_thread_num() * per_thread;
        struct cache c = {at_out(k_cache, at_head, bf16),
                          at_out(v_cache, at_head, bf16),
                          (size_t)n_past[b],
                          start ? (size_t)start[b] : 0,
                          HS,
                          0,
                          at(k_cache, at_head + (size_t)P * HS, bf16)};
        if (c.first <= c.n) c.keys = c.n + 1 - c.first;
        size_t q0 = b * 3 * C + h * HS, y0 = b * C + h * HS;
        if (bf16)
            decode_head(y, y0, qkv, q0, C, &c, scale, mine, mine + row, mine + 2 * row, true);
        else
            decode_head(y, y0, qkv, q0, C, &c, scale, mine, mine + row, mine + 2 * row, false);
    }
}

struct logits {
    float *p;
    size_t V;
};

static void logits_out(const void *ctx, const float *tile, size_t ld_tile, size_t m0, size_t m,
                       size_t n0, size_t n) {
    const struct logits *l = ctx;
    for (size_t i = 0; i < m; i++)
        memcpy(l->p + (m0 + i) * l->V + n0, tile + i * ld_tile, n * sizeof *tile);
}

void cpu_logits(struct device *d, float *logits, const void *x, const void *w, int rows_, int C_,
                int V_) {
    if (d->first.code) return;
    size_t rows = (size_t)rows_, C = (size_t)C_, V = (size_t)V_;
    if (rows <= FEW_ROWS) {
        few_across(d, logits, x, w, rows, C, V);
        return;
    }
    struct logits l = {logits, V};
    struct matrix left = {x, C, false, d->bf16, false}, right = {w, C, true, d->bf16, false};
    struct gemm_to to = {.out = logits_out, .ctx = &l};
    gemm_run(d, rows, V, C, &left, &right, WORK_PACK, false, &to);
}
