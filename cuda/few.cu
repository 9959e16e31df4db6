/* Products of few rows: an id of up to FEW_ROWS texts. The mathematics is in train/ref/linear.c and
 * decode.c.
 *
 * Each weight is read once, and that is what takes the time: 16 bytes a thread at a time go by way
 * of shared memory, some rounds of LOADS of them under way, asked for before the kernel waits for
 * the one that makes x. A thread reads there only what it has copied itself, so there is
 * no barrier between:
 *
 *   place of load j of a round, thread t:  (round % depth, j, t)
 *
 *   x w     a block has 32 bytes of columns and all of K: two threads have the halves of LOADS
 *           neighbouring rows of w, the next two those behind them. (A memory line of 128 bytes is
 *           that of four blocks, which come there at about the same time.)
 *   x w^T   a warp has LOADS rows of w, its lanes 16 bytes each of all of them
 *
 * Sums are fp32: a thread's own in order, then lanes by halves, then warps in order. Nothing of
 * that depends on the number of rows, so neither do a row's bits. */
#include "cuda/few.h"
#include "cuda/act.cuh"

namespace {

enum { THREADS = 256, WARPS = THREADS / 32, LOADS = 4 };
enum { DEPTH = 8, LOGITS_DEPTH = 4 /* rounds under way: of x w, of x w^T */ };
enum { PAIRS = THREADS / 2, ROUND_ROWS = PAIRS * LOADS /* of w, in x w */ };

template <class A> struct few_args {
    A *y, *pre; /* x w: pre NULL without an activation */
    float *logits;
    const A *x, *w, *b;
    int rows, K, N;     /* w (K,N), or (N,K) for x w^T     */
    int rounds, places; /* places: rounds that have room   */
    int act;
};

__device__ __forceinline__ uint4 *place(uint4 *ring, int slot, int load) {
    return ring + ((size_t)slot * LOADS + load) * THREADS + threadIdx.x;
}

/* x as it is, to shared memory: (rows,K). What was asked for before is there then, too. */
template <class A> __device__ __forceinline__ void take_x(A *to, const few_args<A> &a) {
    constexpr int N = 16 / sizeof(A);
    for (int i = threadIdx.x * N; i < a.rows * a.K; i += THREADS * N) cp_async16(to + i, a.x + i);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
}

/* Adds up M sums over lanes that differ in the bits FROM, FROM / 2 … TO of their number. Each step
 * halves what a lane has: at the end the first max(1, M / 2^steps) of s are complete, and what is
 * returned is where they begin among the M; -1: another lane has the same. */
template <int M, int FROM, int TO> __device__ __forceinline__ int fold(float *s, int lane) {
    if constexpr (FROM < TO) {
        return 0;
    } else if constexpr (M == 1) {
        s[0] += __shfl_xor_sync(ALL_LANES, s[0], FROM);
        int at = fold<1, FROM / 2, TO>(s, lane);
        return lane & FROM ? -1 : at;
    } else {
        bool upper = lane & FROM;
#pragma unroll
        for (int i = 0; i < M / 2; i++) {
            float mine = upper ? s[i + M / 2] : s[i], other = upper ? s[i] : s[i + M / 2];
            s[i] = mine + __shfl_xor_sync(ALL_LANES, other, FROM);
        }
        int at = fold<M / 2, FROM / 2, TO>(s, lane);
        return at < 0 ? at : at + (upper ? M / 2 : 0);
    }
}

/* ------------------------------------------------------------------ x w */

/* s (R,N) += x of these LOADS rows of w, times them. */
template <class A, int R, int N>
__device__ __forceinline__ void add_round(float (&s)[R * N], const few_args<A> &a, const A *x,
                                          uint4 *ring, int round, int k) {
    float xs[R][LOADS];
#pragma unroll
    for (int r = 0; r < R; r++) {
        if (r >= a.rows) { /* of no meaning, never stored */
            for (int j = 0; j < LOADS; j++) xs[r][j] = 0;
        } else if constexpr (sizeof(A) == 2) {
            uint2 u = load_vector<uint2>(x + r * a.K + k);
            float2 p = unpack_bf16(u.x), q = unpack_bf16(u.y);
            xs[r][0] = p.x, xs[r][1] = p.y, xs[r][2] = q.x, xs[r][3] = q.y;
        } else {
            float4 u = load_vector<float4>(x + r * a.K + k);
            xs[r][0] = u.x, xs[r][1] = u.y, xs[r][2] = u.z, xs[r][3] = u.w;
        }
    }
#pragma unroll
    for (int j = 0; j < LOADS; j++) {
        pack16<A> w = unpack16<A>(load16(place(ring, round % DEPTH, j)));
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int c = 0; c < N; c++) s[r * N + c] += xs[r][j] * w.v[c];
    }
}

/* The sums of all threads are in part (WARPS, 2, R, N): adds the warps', and what follows. */
template <class A, int R, int N>
__device__ __forceinline__ void finish(const few_args<A> &a, const float *part, float bias) {
    int t = threadIdx.x, half = t / (R * N), r = t / N % R;
    int n = ((int)blockIdx.x * 2 + half) * N + t % N;
    if (t >= 2 * R * N || r >= a.rows || n >= a.N) return;
    float y = bias;
#pragma unroll
    for (int w = 0; w < WARPS; w++) y += part[w * 2 * R * N + t];
    size_t at = (size_t)r * a.N + n;
    A stored = from_float<A>(y);
    if (a.pre) {
        a.pre[at] = stored;
        stored = from_float<A>(act_of(to_float(stored), a.act));
    }
    a.y[at] = stored;
}

/* Shared: the ring of places, the parts, x. */
template <class A, int R>
__global__ void __launch_bounds__(THREADS) few_linear_kernel(const few_args<A> a) {
    constexpr int N = 16 / sizeof(A), M = R * N;
    uint4 *ring = shared_memory<uint4>();
    float *part = reinterpret_cast<float *>(ring + (size_t)a.places * LOADS * THREADS);
    A *x = reinterpret_cast<A *>(part + WARPS * 2 * M);
    int t = threadIdx.x, lane = t % 32, half = t % 2, k = t / 2 * LOADS;
    int n = ((int)blockIdx.x * 2 + half) * N, own = ((int)blockIdx.x * 2 + t / M % 2) * N + t % N;
    auto ask = [&](int round) {
        int row = round * ROUND_ROWS + k;
        for (int j = 0; j < LOADS && row < a.K && n < a.N; j++)
            cp_async16_line(place(ring, round % DEPTH, j), a.w + (size_t)(row + j) * a.N + n);
        cp_async_commit();
    };
#pragma unroll
    for (int round = 0; round < DEPTH; round++) ask(round);
    float bias = a.b && t < 2 * M && own < a.N ? to_float(a.b[own]) : 0, s[M] = {};
    next_may_begin();
    wait_for_earlier();
    take_x(x, a);
    for (int round = 0; round < a.rounds; round++) {
        int row = round * ROUND_ROWS + k;
        cp_async_wait<DEPTH - 1>();
        if (row < a.K && n < a.N) add_round<A, R, N>(s, a, x, ring, round, row);
        ask(round + DEPTH);
    }
    int at = fold<M, 16, 2>(s, lane);
    float *mine = part + (t / 32 * 2 + half) * M + at;
    constexpr int LEFT = M >= 16 ? M / 16 : 1;
    if constexpr (LEFT == 4)
        store_vector(mine, make_float4(s[0], s[1], s[2], s[3]));
    else if constexpr (LEFT == 2)
        store_vector(mine, make_float2(s[0], s[1]));
    else if (at >= 0)
        mine[0] = s[0];
    __syncthreads();
    finish<A, R, N>(a, part, bias);
}

/* ------------------------------------------------------------------ x w^T */

/* Shared: the ring of places, x. */
template <class A, int R>
__global__ void __launch_bounds__(THREADS) few_logits_kernel(const few_args<A> a) {
    constexpr int N = 16 / sizeof(A), M = R * LOADS;
    uint4 *ring = shared_memory<uint4>();
    A *x = reinterpret_cast<A *>(ring + (size_t)a.places * LOADS * THREADS);
    int lane = threadIdx.x % 32, v = ((int)blockIdx.x * WARPS + threadIdx.x / 32) * LOADS;
    auto ask = [&](int round) {
        int c = (round * 32 + lane) * N;
        for (int j = 0; j < LOADS && c < a.K && v + j < a.N; j++)
            cp_async16(place(ring, round % LOGITS_DEPTH, j), a.w + (size_t)(v + j) * a.K + c);
        cp_async_commit();
    };
#pragma unroll
    for (int round = 0; round < LOGITS_DEPTH; round++) ask(round);
    float s[M] = {};
    next_may_begin();
    wait_for_earlier();
    take_x(x, a);
    for (int round = 0; round < a.rounds; round++) {
        int c = (round * 32 + lane) * N;
        cp_async_wait<LOGITS_DEPTH - 1>();
        if (c < a.K) {
            pack16<A> w[LOADS];
#pragma unroll
            for (int j = 0; j < LOADS; j++)
                w[j] = v + j < a.N ? unpack16<A>(load16(place(ring, round % LOGITS_DEPTH, j)))
                                   : pack16<A>{};
#pragma unroll
            for (int r = 0; r < R; r++) {
                if (r >= a.rows) break;
                pack16<A> xs = load_pack(x + r * a.K + c);
#pragma unroll
                for (int j = 0; j < LOADS; j++)
#pragma unroll
                    for (int i = 0; i < N; i++) s[r * LOADS + j] += xs.v[i] * w[j].v[i];
            }
        }
        ask(round + LOGITS_DEPTH);
    }
    int at = fold<M, 16, 1>(s, lane), r = at / LOADS, j = at % LOADS;
    if (at >= 0 && r < a.rows && v + j < a.N) a.logits[(size_t)r * a.N + v + j] = s[0];
}

/* ------------------------------------------------------------------ launching */

/* Bytes of shared memory, the parts (x w) included. */
template <class A> size_t room_for(const few_args<A> &a, int R, bool parts) {
    size_t sums = parts ? WARPS * 2 * R * (16 / sizeof(A)) * sizeof(float) : 0;
    return (size_t)a.places * LOADS * THREADS * 16 + sums + (size_t)a.rows * a.K * sizeof(A);
}

template <class A, int R> bool run(struct device *d, few_args<A> a, bool logits) {
    constexpr int N = 16 / sizeof(A);
    a.rounds = (int)blocks_for((size_t)a.K, logits ? 32 * N : ROUND_ROWS);
    int depth = logits ? (int)LOGITS_DEPTH : (int)DEPTH;
    a.places = a.rounds < depth ? a.rounds : depth;
    size_t shared = room_for(a, R, !logits);
    if (shared > cuda_shared_limit(d)) return false;
    if (logits)
        launch_early(d, "few_logits", few_logits_kernel<A, R>,
                     blocks_for((size_t)a.N, WARPS * LOADS), THREADS, shared, a);
    else
        launch_early(d, "few_linear", few_linear_kernel<A, R>, blocks_for((size_t)a.N, 2 * N),
                     THREADS, shared, a);
    return true;
}

template <class A> bool run_rows(struct device *d, const few_args<A> &a, bool logits) {
    auto *f = a.rows <= 1   ? run<A, 1>
              : a.rows <= 2 ? run<A, 2>
              : a.rows <= 4 ? run<A, 4>
                            : run<A, 8>;
    return f(d, a, logits);
}

template <class A>
bool linear(struct device *d, void *y, void *pre, const void *x, const void *w, const void *b,
            int rows, int K, int N, enum act act) {
    few_args<A> a = {};
    a.y = (A *)y, a.pre = act == ACT_NONE ? nullptr : (A *)pre;
    a.x = (const A *)x, a.w = (const A *)w, a.b = (const A *)b;
    a.rows = rows, a.K = K, a.N = N, a.act = (int)act;
    return run_rows(d, a, false);
}

template <class A>
bool logits_of(struct device *d, float *logits, const void *x, const void *w, int rows, int C,
               int V) {
    few_args<A> a = {};
    a.logits = logits;
    a.x = (const A *)x, a.w = (const A *)w;
    a.rows = rows, a.K = C, a.N = V;
    return run_rows(d, a, true);
}

bool whole_vectors(struct device *d, int n) {
    return n % (cuda_is_bf16(d) ? 8 : 4) == 0;
}

} // namespace

bool few_linear(struct device *d, void *y, void *pre, const void *x, const void *w, const void *b,
                int rows, int K, int N, enum act act) {
    if (rows > FEW_ROWS || !whole_vectors(d, K) || !whole_vectors(d, N)) return false;
    return (cuda_is_bf16(d) ? linear<bf16> : linear<float>)(d, y, pre, x, w, b, rows, K, N, act);
}

bool few_logits(struct device *d, float *logits, const void *x, const void *w, int rows, int C,
                int V) {
    if (rows > FEW_ROWS || !whole_vectors(d, C)) return false;
    return (cuda_is_bf16(d) ? logits_of<bf16> : logits_of<float>)(d, logits, x, w, rows, C, V);
}
