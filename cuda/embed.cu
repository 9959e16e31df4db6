/* Token and position embedding; the mathematics is in train/ref/embed.c.
 *
 * Backward adds each place's gradient to the row of its token. Rows of one table are dealt out to
 * groups by their number modulo the number of groups, a block each: it reads all keys, gathers the
 * places of its group in order, and adds them in that order. No sort, and the order of every sum is
 * that of the places. Positions that are those in the row need no search.
 *
 * A frequent key would keep its block busy long after the others: of a program's text, every fourth
 * token is the same one. Those that come too often are summed apart:
 *
 *   counts of all keys ─▶ the frequent ones, numbered ─▶ sums (frequent, slice of the places, C)
 *                                                   ─▶ added to their rows, slice by slice
 *
 * What number a key gets is chance; what is summed, and in which order, is not. */
#include "cuda/kernel.cuh"
#include "cuda/table.h"

namespace {

enum { THREADS = 256, AHEAD = 4 };
enum { KEYS = 8 /* a thread's, at a time */, ROUND = THREADS * KEYS, LIST = 2 * ROUND };
enum { SLICE = 512, SLICES = 128 /* at least so long, and at most so many */ };

template <class A, int N>
__global__ void embed_forward_kernel(A *x, const int32_t *tokens, const int32_t *pos, const A *wte,
                                     const A *wpe, size_t rows, int T, int C, drop_rule rule) {
    int per_row = C / N;
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    next_may_begin();
    wait_for_earlier();
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

/* Keys that come more than `slice` times, of which there are fewer than slices. */
struct frequent {
    size_t slice;    /* places                                                    */
    int slices;      /* 0: nothing is frequent, and the rest is not there         */
    int *n;          /* how many keys are                                         */
    int32_t *number; /* (keys) of each key: how often it comes, then its number + 1, or 0 */
    int32_t *key;    /* (slices) of each number                                   */
    float *sums;     /* (slices numbers, slices, C)                               */
};

__global__ void embed_count_kernel(frequent f, const int32_t *keys, size_t rows) {
    size_t r = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (r < rows) atomicAdd(&f.number[keys[r]], 1);
}

__global__ void embed_number_kernel(frequent f, int n_keys) {
    int key = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (key >= n_keys) return;
    int number = (size_t)f.number[key] > f.slice ? atomicAdd(f.n, 1) : -1;
    if (number >= 0) f.key[number] = key;
    f.number[key] = number + 1;
}

/* A list is filled in order, a thread's entries behind those of the threads before it: adds to
 * `at`, which counts the lower lanes', those of the lower warps, and returns all of the block's.
 * before: of each warp, until the next barrier. */
__device__ __forceinline__ int behind_warps(int *before, int of_warp, int *at) {
    int warp = threadIdx.x / 32, all = 0;
    if (threadIdx.x % 32 == 0) before[warp] = of_warp;
    __syncthreads();
    for (int w = 0; w < THREADS / 32; w++) {
        *at += w < warp ? before[w] : 0;
        all += before[w];
    }
    return all;
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

/* dw[keys[r]] += dx[r] for the keys of this block's group that are not frequent. */
template <class A, int N>
__global__ void embed_scatter_kernel(float *dw, const A *dx, const int32_t *keys, size_t rows,
                                     int T, int C, frequent f, drop_rule rule) {
    scatter &s = *shared_memory<scatter>();
    int lane = threadIdx.x % 32;
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
            if (mine[i] && f.slices) mine[i] = !f.number[key[i]];
            unsigned who = __ballot_sync(ALL_LANES, mine[i]);
            at += __popc(who & ((1u << lane) - 1));
            of_warp += __popc(who);
        }
        int all = behind_warps(s.before, of_warp, &at) + s.n;
        at += s.n;
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

struct slice_list {
    int before[THREADS / 32]; /* of each warp */
    int32_t place[THREADS];
};

/* A frequent key's sum over a slice: block (slice, number). THREADS places at a time are listed in
 * order, then added. */
template <class A, int N>
__global__ void embed_slice_kernel(const A *dx, const int32_t *keys, size_t rows, int T, int C,
                                   frequent f, drop_rule rule) {
    slice_list &s = *shared_memory<slice_list>();
    int number = (int)blockIdx.y, lane = threadIdx.x % 32;
    if (number >= *f.n) return;
    int32_t key = f.key[number];
    size_t begin = blockIdx.x * f.slice, end = begin + f.slice < rows ? begin + f.slice : rows;
    float *to = f.sums + ((size_t)number * f.slices + blockIdx.x) * C;
    for (size_t from = begin; from < end; from += THREADS) {
        size_t r = from + threadIdx.x;
        bool mine = r < end && keys[r] == key;
        unsigned who = __ballot_sync(ALL_LANES, mine);
        int at = __popc(who & ((1u << lane) - 1));
        int all = behind_warps(s.before, __popc(who), &at);
        if (mine) s.place[at] = (int32_t)r;
        __syncthreads();
        for (int c = threadIdx.x * N; c < C; c += THREADS * N) {
            float sum[N];
#pragma unroll
            for (int k = 0; k < N; k++) sum[k] = from == begin ? 0 : to[c + k];
            for (int first = 0; first < all; first += AHEAD) {
                piece<A, N> d[AHEAD];
#pragma unroll
                for (int i = 0; i < AHEAD; i++)
                    if (first + i < all) d[i].load(dx + (size_t)s.place[first + i] * C + c);
#pragma unroll
                for (int i = 0; i < AHEAD; i++) {
                    if (first + i >= all) break;
                    size_t p = (size_t)s.place[first + i];
                    d[i].drop(rule, (int)(p / T), (uint64_t)(p % T) * C + c);
#pragma unroll
                    for (int k = 0; k < N; k++) sum[k] += d[i].v[k];
                }
            }
#pragma unroll
            for (int k = 0; k < N; k++) to[c + k] = sum[k];
        }
        __syncthreads();
    }
}

/* dw[key] += the sums of its slices: block (columns, number). */
__global__ void embed_slices_kernel(float *dw, frequent f, int C) {
    int number = (int)blockIdx.y, c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (number >= *f.n || c >= C) return;
    float *to = dw + (size_t)f.key[number] * C + c, sum = *to;
    for (int s = 0; s < f.slices; s++) sum += f.sums[((size_t)number * f.slices + s) * C + c];
    *to = sum;
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
    launch_early(d, "embed_forward", embed_forward_kernel<A, N>,
                 blocks_for(rows * (C / N), THREADS), THREADS, 0, (A *)x, tokens, pos,
                 (const A *)wte, (const A *)wpe, rows, T, C, drop_rule_of(drop));
}

/* Finds the frequent ones of keys < n_keys. What is returned is in the workspace; without slices if
 * none can be. */
frequent find_frequent(struct device *d, const int32_t *keys, int n_keys, size_t rows, int C) {
    frequent f = {};
    f.slice = rows / SLICES > SLICE ? (rows + SLICES - 1) / SLICES : (size_t)SLICE;
    int slices = (int)((rows + f.slice - 1) / f.slice);
    size_t sums = (size_t)slices * slices * C, ints = 1 + (size_t)n_keys + slices;
    if (slices < 2) return f;
    f.sums = static_cast<float *>(cuda_work(d, (sums + ints) * sizeof *f.sums));
    if (!f.sums) return f;
    f.slices = slices;
    f.n = reinterpret_cast<int *>(f.sums + sums);
    f.number = f.n + 1, f.key = f.number + n_keys;
    cuda_zero(d, f.n, ints * sizeof *f.n);
    launch(d, "embed_count", embed_count_kernel, blocks_for(rows, THREADS), THREADS, 0, f, keys,
           rows);
    launch(d, "embed_number", embed_number_kernel, blocks_for(n_keys, THREADS), THREADS, 0, f,
           n_keys);
    return f;
}

template <class A, int N>
void scatter_rows(struct device *d, float *dw, const void *dx, const int32_t *keys, int n_keys,
                  size_t rows, int T, int C, const frequent &f, const drop_rule &rule) {
    /* As many as run at once: each of them reads all keys, and waits most of that time. */
    unsigned most = (unsigned)cuda_multiprocessors(d) * 6, groups = (unsigned)n_keys;
    launch(d, "embed_scatter", embed_scatter_kernel<A, N>, groups < most ? groups : most, THREADS,
           sizeof(scatter), dw, (const A *)dx, keys, rows, T, C, f, rule);
}

template <class A, int N>
void add_slices(struct device *d, float *dw, const void *dx, const int32_t *keys, size_t rows,
                int T, int C, const frequent &f, const drop_rule &rule) {
    unsigned slices = (unsigned)f.slices;
    launch(d, "embed_slice", embed_slice_kernel<A, N>, dim3(slices, slices), THREADS,
           sizeof(slice_list), (const A *)dx, keys, rows, T, C, f, rule);
    launch(d, "embed_slices", embed_slices_kernel, dim3((unsigned)blocks_for(C, THREADS), slices),
           THREADS, 0, dw, f, C);
}

template <class A, int N>
void backward(struct device *d, float *dwte, float *dwpe, const void *dx, const int32_t *tokens,
              const int32_t *pos, int B, int T, int C, int V, struct dropout drop) {
    size_t rows = (size_t)B * T;
    drop_rule rule = drop_rule_of(drop);
    frequent f = find_frequent(d, tokens, V, rows, C);
    scatter_rows<A, N>(d, dwte, dx, tokens, V, rows, T, C, f, rule);
    if (f.slices) add_slices<A, N>(d, dwte, dx, tokens, rows, T, C, f, rule);
    if (pos)
        scatter_rows<A, N>(d, dwpe, dx, pos, T, rows, T, C, {}, rule);
    else
        launch(d, "embed_positions", embed_positions_kernel<A, N>,
               blocks_for((size_t)T * C / N, THREADS), THREADS, 0, dwpe, (const A *)dx, B, T, C,
               rule);
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
