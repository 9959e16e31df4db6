/* Embedding. Backward adds rows into a table at random places; each table row has one owner among
 * the threads, which adds in the order of positions: no atomics, the same bits for any number of
 * threads. Mathematics: ref/embed.c. */
#include "train/cpu/ops.h"

INLINE void forward_row(void *x, size_t r, const void *wte, size_t token, const void *wpe, size_t p,
                        size_t C, const float *keep, bool bf16) {
    for (size_t c = 0; c < C; c += VL) {
        int w = lanes(c, C);
        vf v = ld(wte, token * C + c, w, bf16) + ld(wpe, p * C + c, w, bf16);
        st(x, r * C + c, w, bf16, keep ? v * ldf(keep + c) : v);
    }
}

struct forward {
    void *x;
    const int32_t *tokens, *pos;
    const void *wte, *wpe;
    size_t T, C;
    const struct dropout *drop; /* NULL: none */
    bool bf16;
};

static void forward_one(const struct forward *f, size_t r, float *factors) {
    float *keep = f->drop ? factors : NULL;
    if (keep) dropout_row(keep, f->drop, (int)(r / f->T), (uint64_t)(r % f->T) * f->C, f->C);
    size_t p = f->pos ? (size_t)f->pos[r] : r % f->T, token = (size_t)f->tokens[r];
    if (f->bf16)
        forward_row(f->x, r, f->wte, token, f->wpe, p, f->C, keep, true);
    else
        forward_row(f->x, r, f->wte, token, f->wpe, p, f->C, keep, false);
}

void cpu_embed_forward(struct device *d, void *x, const int32_t *tokens, const int32_t *pos,
                       const void *wte, const void *wpe, int B, int T, int C, struct dropout drop) {
    struct forward f = {x, tokens, pos, wte, wpe, (size_t)T, (size_t)C, NULL, d->bf16};
    size_t rows = (size_t)B * (size_t)T, row = round_up((size_t)C, 16);
    float *factors = cpu_work(d, WORK_THREAD, (size_t)d->threads * row * sizeof *factors);
    if (!factors) return;
    if (drop.p > 0) f.drop = &drop;
    if (rows < ROWS_TO_SHARE) {
        for (size_t r = 0; r < rows; r++) forward_one(&f, r, factors);
        return;
    }
#pragma omp parallel for num_threads(d->threads) schedule(static)
    for (size_t r = 0; r < rows; r++)
        forward_one(&f, r, factors + (size_t)omp_get_thread_num() * row);
}

INLINE void add_row(float *to, const void *dx, size_t r, size_t C, const float *keep, bool bf16) {
    for (size_t c = 0; c < C; c += VL) {
        int w = lanes(c, C);
        vf v = ld(dx, r * C + c, w, bf16);
        if (keep) v *= ldf(keep + c);
        st(to, c, w, false, ld(to, c, w, false) + v);
    }
}

void cpu_embed_backward(struct device *d, float *dwte, float *dwpe, const void *dx,
                        const int32_t *tokens, const int32_t *pos, int B, int T_, int C_, int V,
                        struct dropout drop) {
    (void)V;
    size_t T = (size_t)T_, C = (size_t)C_, row = round_up(C, 16);
    float *factors = cpu_work(d, WORK_THREAD, (size_t)d->threads * row * sizeof *factors);
    if (!factors) return;
#pragma omp parallel num_threads(d->threads)
    {
        size_t me = (size_t)omp_get_thread_num(), team = (size_t)omp_get_num_threads();
        float *keep = drop.p > 0 ? factors + me * row : NULL;
        for (size_t r = 0; r < (size_t)B * T; r++) {
            size_t p = pos ? (size_t)pos[r] : r % T, token = (size_t)tokens[r];
            bool mine = token % team == me, mine_p = p % team == me;
            if (!mine && !mine_p) continue;
            if (keep) dropout_row(keep, &drop, (int)(r / T), (uint64_t)(r % T) * C, C);
            if (mine && d->bf16)
                add_row(dwte + token * C, dx, r, C, keep, true);
            else if (mine)
                add_row(dwte + token * C, dx, r, C, keep, false);
            if (mine_p && d->bf16)
                add_row(dwpe + p * C, dx, r, C, keep, true);
            else if (mine_p)
                add_row(dwpe + p * C, dx, r, C, keep, false);
        }
    }
}
