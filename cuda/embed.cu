/* Token and position embedding; the mathematics is in train/ref/embed.c.
 *
 * Backward adds each place's gradient to the row of its token. Rows of one table are dealt out to
 * groups by their number modulo the number of groups, a block each: it reads all keys, gathers the
 * places of its group in order, and adds them in that order. No sort, no atomics, and the order of
 * every sum is that of the places. Positions that are those in the row need no search. */
#include "cuda/kernel.cuh"

namespace {

enum { THREADS = 256, AHEAD = 4 };
enum { KEYS = 8 /* a thread's, at a time */, ROUND = THREADS * KEYS, LIST = 2 * ROUND };

template <class A, int N>
__global__ void embed_forward_kernel(A *x, const int32_t *tokens, const int32_t *pos, const A *wte,
                                     const A *wpe, size_t rows, int T, int C, drop_rule rule) {
    int per_row = C / N;
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * per_row) return;
    size_t r = i / per_row, t = r % T;
    int c = (int)(i % per_row) * N;
    piece<A, N> token, place;
    token.load(wte + (size_t)tokens[r] * C + c);
    place.load(wpe + (pos ? (size_t)pos[r] : t) * C + c);
#pragma unroll
    for (int k = 0; k < N; k++) token.v[k] += place.v[k];
    token.drop(rule, (int)(r / T), (uint64_t)t * C + c);
    token.store(x + r * C + c);
}

struct scatter {
    int n;                    /* in the list */
    int before[THREADS / 32]; /* of each warp, in the round under way */
    int32_t key[LIST], place[LIST];
};

/* Adds the listed places to their rows: a thread has columns of its own. A row's sum stays in
 * registers while the key stays. AHEAD places are read before the first of them is added, as a
 * frequent token's block does little but wait for memory. */
template <class A, int N>
__device__ void scatter_add(const scatter &s, float *dw, const A *dx, int T, int C,
                            drop_rule rule) {
    for (int c = threadIdx.x * N; c < C; c += THREADS * N) {
        float sum[N] = {};
        int32_t key = -1;
        for (int first = 0; first < s.n; first += AHEAD) {
            piece<A, N> d[AHEAD];
#pragma unroll
            for (int i = 0; i < AHEAD; i++)
                if (first + i < s.n) d[i].load(dx + (size_t)s.place[first + i] * C + c);
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                if (first + i >= s.n) break;
                size_t r = (size_t)s.place[first + i];
                d[i].drop(rule, (int)(r / T), (uint64_t)(r % T) * C + c);
                if (s.key[first + i] != key) {
                    for (int k = 0; key >= 0 && k < N; k++) dw[(size_t)key * C + c + k] = sum[k];
                    key = s.key[first + i];
#pragma unroll
                    for (int k = 0; k < N; k++) sum[k] = dw[(size_t)key * C + c + k];
                }
#pragma unroll
                for (int k = 0; k < N; k++) sum[k] += d[i].v[k];
            }
        }
        for (int k = 0; key >= 0 && k < N; k++) dw[(size_t)key * C + c + k] = sum[k];
    }
}

/* dw[keys[r]] += dx[r] for the keys of this block's group. */
template <class A, int N>
__global__ void embed_scatter_kernel(float *dw, const A *dx, const int32_t *keys, size_t rows,
                                     int T, int C, drop_rule rule) {
    scatter &s = *shared_memory<scatter>();
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (threadIdx.x == 0) s.n = 0;
    for (size_t from = 0; from < rows; from += ROUND) {
        size_t r = from + (size_t)threadIdx.x * KEYS;
        int32_t key[KEYS];
        bool mine[KEYS];
        int at = 0, of_warp = 0; /* how many of the group lower lanes, and all of them, have */
#pragma unroll
        for (int i = 0; i < KEYS; i++) key[i] = r + i < rows ? keys[r + i] : -1;
#pragma unroll
        for (int i = 0; i < KEYS; i++) {
            mine[i] = key[i] >= 0 && (unsigned)key[i] % gridDim.x == blockIdx.x;
            unsigned who = __ballot_sync(ALL_LANES, mine[i]);
            at += __popc(who & ((1u << lane) - 1));
            of_warp += __popc(who);
        }
        if (lane == 0) s.before[warp] = of_warp;
        __syncthreads();
        int all = s.n;
        at += all;
        for (int w = 0; w < THREADS / 32; w++) {
            at += w < warp ? s.before[w] : 0;
            all += s.before[w];
        }
        __syncthreads(); /* all have read n and before */
#pragma unroll
        for (int i = 0; i < KEYS; i++)
            if (mine[i]) {
                s.key[at] = key[i];
                s.place[at++] = (int32_t)(r + i);
            }
        if (threadIdx.x == 0) s.n = all;
        __syncthreads();
        if (all > LIST - ROUND || from + ROUND >= rows) {
            scatter_add<A, N>(s, dw, dx, T, C, rule);
            __syncthreads();
            if (threadIdx.x == 0) s.n = 0;
        }
    }
}

/* dwpe[t] += the sum of rows t, T + t, 2 T + t …: N columns a thread. */
template <class A, int N>
__global__ void embed_positions_kernel(float *dwpe, const A *dx, int B, int T, int C,
                                       drop_rule rule) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x, at = i * N; /* in (T,C) */
    if (at >= (size_t)T * C) return;
    float sum[N];
#pragma unroll
    for (int k = 0; k < N; k++) sum[k] = dwpe[at + k];
#pragma unroll 4
    for (int b = 0; b < B; b++) {
        piece<A, N> d;
        d.load(dx + (size_t)b * T * C + at);
        d.drop(rule, b, at);
#pragma unroll
        for (int k = 0; k < N; k++) sum[k] += d.v[k];
    }
#pragma unroll
    for (int k = 0; k < N; k++) dwpe[at + k] = sum[k];
}

template <class A, int N>
void forward(struct device *d, void *x, const int32_t *tokens, const int32_t *pos, const void *wte,
             const void *wpe, size_t rows, int T, int C, struct dropout drop) {
    launch(d, "embed_forward", embed_forward_kernel<A, N>, blocks_for(rows * (C / N), THREADS),
           THREADS, 0, (A *)x, tokens, pos, (const A *)wte, (const A *)wpe, rows, T, C,
           drop_rule_of(drop));
}

template <class A, int N>
void scatter_rows(struct device *d, float *dw, const void *dx, const int32_t *keys, int n_keys,
                  size_t rows, int T, int C, struct dropout drop) {
    /* As many as run at once: each of them reads all keys, and waits most of that time. */
    unsigned most = (unsigned)cuda_multiprocessors(d) * 6, groups = (unsigned)n_keys;
    launch(d, "embed_scatter", embed_scatter_kernel<A, N>, groups < most ? groups : most, THREADS,
           sizeof(scatter), dw, (const A *)dx, keys, rows, T, C, drop_rule_of(drop));
}

template <class A, int N>
void backward(struct device *d, float *dwte, float *dwpe, const void *dx, const int32_t *tokens,
              const int32_t *pos, int B, int T, int C, int V, struct dropout drop) {
    size_t rows = (size_t)B * T;
    scatter_rows<A, N>(d, dwte, dx, tokens, V, rows, T, C, drop);
    if (pos)
        scatter_rows<A, N>(d, dwpe, dx, pos, T, rows, T, C, drop);
    else
        launch(d, "embed_positions", embed_positions_kernel<A, N>,
               blocks_for((size_t)T * C / N, THREADS), THREADS, 0, dwpe, (const A *)dx, B, T, C,
               drop_rule_of(drop));
}

} // namespace

void cuda_embed_forward(struct device *d, void *x, const int32_t *tokens, const int32_t *pos,
                        const void *wte, const void *wpe, int B, int T, int C,
                        struct dropout drop) {
    PIECES(d, C, forward)(d, x, tokens, pos, wte, wpe, (size_t)B * T, T, C, drop);
}

void cuda_embed_backward(struct device *d, float *dwte, float *dwpe, const void *dx,
                         const int32_t *tokens, const int32_t *pos, int B, int T, int C, int V,
                         struct dropout drop) {
    PIECES(d, C, backward)(d, dwte, dwpe, dx, tokens, pos, B, T, C, V, drop);
}
