/* Generation: bound by reading the cache and w, each element once. Mathematics: ref/decode.c. */
#include "train/cpu/gemm.h"
#include "train/cpu/ops.h"

INLINE float dot(const void *a, size_t ai, const void *b, size_t bi, size_t n, bool bf16) {
    vf sum = {0};
    for (size_t c = 0; c < n; c += VL) {
        int w = lanes(c, n);
        sum += ld(a, ai + c, w, bf16) * ld(b, bi + c, w, bf16);
    }
    return vf_sum(sum);
}

struct cache {
    void *k, *v;         /* (P,HS) of one head */
    size_t n, first, HS; /* the new position; the first one seen */
};

INLINE void decode_head(void *y, size_t y0, const void *qkv, size_t q0, size_t C,
                        const struct cache *c, float scale, float *s, float *out, bool bf16) {
    size_t HS = c->HS, bytes = bf16 ? 2 : 4;
    memcpy(at_out(c->k, c->n * HS, bf16), at(qkv, q0 + C, bf16), HS * bytes);
    memcpy(at_out(c->v, c->n * HS, bf16), at(qkv, q0 + 2 * C, bf16), HS * bytes);
    float max = -INFINITY, sum = 0;
    for (size_t j = c->first; j <= c->n; j++) {
        s[j] = scale * dot(qkv, q0, c->k, j * HS, HS, bf16);
        if (s[j] > max) max = s[j];
    }
    memset(out, 0, round_up(HS, 16) * sizeof *out);
    for (size_t j = c->first; j <= c->n; j++) {
        float p = vf_exp(vf_all(s[j] - max))[0];
        sum += p;
        for (size_t i = 0; i < HS; i += VL)
            stf(out + i, ldf(out + i) + p * ld(c->v, j * HS + i, lanes(i, HS), bf16));
    }
    float inverse = sum > 0 ? 1 / sum : 0;
    for (size_t i = 0; i < HS; i += VL) st(y, y0 + i, lanes(i, HS), bf16, ldf(out + i) * inverse);
}

void cpu_attention_decode(struct device *d, void *y, void *k_cache, void *v_cache, const void *qkv,
                          const int32_t *n_past, const int32_t *start, int B, int P, int C_,
                          int NH_, float scale) {
    size_t C = (size_t)C_, NH = (size_t)NH_, HS = C / NH, out = round_up(HS, 16);
    size_t per_thread = round_up((size_t)P, 16) + out;
    float *work = cpu_work(d, WORK_THREAD, (size_t)d->threads * per_thread * sizeof *work);
    if (!work) return;
    bool bf16 = d->bf16;
#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (size_t bh = 0; bh < (size_t)B * NH; bh++) {
        size_t b = bh / NH, h = bh % NH, at_head = bh * (size_t)P * HS;
        float *mine = work + (size_t)omp_get_thread_num() * per_thread;
        struct cache c = {at_out(k_cache, at_head, bf16), at_out(v_cache, at_head, bf16),
                          (size_t)n_past[b], start ? (size_t)start[b] : 0, HS};
        size_t q0 = b * 3 * C + h * HS, y0 = b * C + h * HS;
        if (bf16)
            decode_head(y, y0, qkv, q0, C, &c, scale, mine + out, mine, true);
        else
            decode_head(y, y0, qkv, q0, C, &c, scale, mine + out, mine, false);
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
    if (rows > 8) {
        struct logits l = {logits, V};
        struct matrix left = {x, C, false, d->bf16, false}, right = {w, C, true, d->bf16, false};
        gemm_run(d, rows, V, C, &left, &right, WORK_PACK, false, logits_out, &l);
        return;
    }
#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (size_t v = 0; v < V; v++)
        for (size_t r = 0; r < rows; r++)
            logits[r * V + v] =
                d->bf16 ? dot(x, r * C, w, v * C, C, true) : dot(x, r * C, w, v * C, C, false);
}
