/* Whether this device's warpgroup kernels (attention_sm90.cu) compute what the portable ones do,
 * and the same bits with tiles from the copy engine: asked once, when a Hopper is opened, on a
 * small problem that has every feature: rows that end inside a tile, more tiles than there are
 * stages, segments, padding, dropout. A compiler or driver that breaks them costs speed, not a
 * run. */
#include <stdlib.h>
#include <string.h>
#include "cuda/attention.cuh"
#include "cuda/table.h"
#include "cuda/wgmma.cuh"

namespace {

enum { T = 270, NH = 1, HS = 64, C = NH * HS };
enum { PORTABLE, BY_THREADS, BY_ENGINE, WAYS };
enum { N_Y = T * C, N_QKV = 3 * N_Y, N_ROWS = NH * T };
enum { TILES = (T + 63) / 64, N_BITS = NH * TILES * (TILES + 1) / 2 * 64 /* attention_drop */ };

struct problem { /* on the device, in one allocation */
    alignas(16) bf16 qkv[N_QKV];
    alignas(16) bf16 dy[N_Y];
    int32_t start[T];
    alignas(8) uint64_t bits[2 * N_BITS];
    struct {
        alignas(16) bf16 y[N_Y];
        alignas(16) bf16 dqkv[N_QKV];
        float lse[N_ROWS], delta[N_ROWS];
    } of[WAYS];
};

/* Values in (-1, 1), the same at each call. */
bf16 value(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u; /* Numerical Recipes */
    return __float2bfloat16_rn((float)(int32_t)*state * 0x1p-31f);
}

void fill(problem *p) {
    uint32_t state = 1;
    for (bf16 &x : p->qkv) x = value(&state);
    for (bf16 &x : p->dy) x = value(&state);
    /* Padding, a short segment, a long one that fills each stage again, another short one. */
    for (int t = 0; t < T; t++) p->start[t] = t < 40 ? 5 : t < 262 ? 40 : 262;
}

attention_args<bf16> args(problem *p, int which) { /* p: device memory */
    struct dropout drop = {0.1f, 1, 2, 3, NULL};
    attention_args<bf16> a = {};
    a.qkv = p->qkv;
    a.y = p->of[which].y;
    a.lse = p->of[which].lse;
    a.dy = p->dy;
    a.dqkv = p->of[which].dqkv;
    a.delta = p->of[which].delta;
    a.start = p->start;
    a.B = 1, a.T = T, a.C = C, a.NH = NH, a.HS = HS;
    a.scale = 0.125f;
    a.scale_log2 = a.scale * ATTENTION_LOG2E;
    a.drop = attention_drop_of(drop, T);
    return a;
}

/* |x - y| <= 2 % of |y|, in L2: two roundings to bf16 are 0.5 % apart. False for NaN. */
bool near(const bf16 *x, const bf16 *y, size_t n) {
    double apart = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double a = __bfloat162float(x[i]), b = __bfloat162float(y[i]);
        apart += (a - b) * (a - b);
        size += b * b;
    }
    return apart <= 0.02 * 0.02 * size;
}

__global__ void built_kernel(int *built) {
    if (threadIdx.x == 0) *built = wgmma_is_here();
}

bool sm90_is_built(struct device *d) {
    int built = 0, *there = static_cast<int *>(cuda_work(d, sizeof *there));
    launch(d, "sm_90a code?", built_kernel, 1, 32, 0, there);
    if (there) cuda_download(d, &built, there, sizeof built);
    return built;
}

} // namespace

/* One way's forward and backward pass. p: device memory. */
static void run(struct device *d, problem *p, int which) {
    attention_args<bf16> a = args(p, which);
    bool by_engine = which == BY_ENGINE;
    attention_keep(d, &a.drop, 1, NH, p->bits, true);
    which == PORTABLE ? attention_forward_mma(d, a) : attention_forward_sm90(d, a, by_engine);
    attention_delta(d, p->of[which].delta, (const bf16 *)a.y, a.dy, 1, T, NH, HS);
    which == PORTABLE ? attention_backward_mma(d, a) : attention_backward_sm90(d, a, by_engine);
}

void attention_find_ways(struct device *d, struct attention_ways *ret) {
    if (!sm90_is_built(d)) {
        cuda_note(d, "no sm_90a code in this build: slower attention; see -Dgpu_arch");
        return;
    }
    bool engine = cuda_map_encoder(d) != NULL;
    problem *host = (problem *)calloc(1, sizeof *host);
    problem *p = host ? (problem *)cuda_work(d, sizeof *p) : NULL;
    if (p) {
        fill(host);
        cuda_upload(d, p, host, sizeof *p);
        for (int which = 0; which < (engine ? WAYS : BY_ENGINE); which++) run(d, p, which);
        cuda_download(d, host, p, sizeof *p);
    }
    ret->warpgroups = p && cuda_sync(d, NULL) == 0 &&
                      near(host->of[BY_THREADS].y, host->of[PORTABLE].y, N_Y) &&
                      near(host->of[BY_THREADS].dqkv, host->of[PORTABLE].dqkv, N_QKV);
    if (!ret->warpgroups)
        cuda_note(d, "warpgroup attention gives other results here and is left alone");
    ret->engine = ret->warpgroups && engine &&
                  memcmp(&host->of[BY_ENGINE], &host->of[BY_THREADS], sizeof host->of[0]) == 0;
    if (ret->warpgroups && engine && !ret->engine)
        cuda_note(d, "tiles by the copy engine give other results here; threads copy them");
    ret->forward.by_engine = ret->backward.by_engine = ret->engine;
    free(host);
}
