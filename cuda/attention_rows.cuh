/* What happens between the products of attention, on the accumulators of one warp: 16 rows × N
 * columns in the layout of mma m16n8 (wgmma's is the same):
 *
 *   lane = 4 g + q       acc[n][0], acc[n][1]:  row g,      columns 8 n + 2 q, + 1
 *                        acc[n][2], acc[n][3]:  row g + 8,  the same columns
 *
 * Shared by attention_mma.cu and attention_sm90.cu. */
#ifndef LORY_CUDA_ATTENTION_ROWS_CUH
#define LORY_CUDA_ATTENTION_ROWS_CUH

#include "cuda/attention.cuh"

using attention_bf16 = attention_args<bf16>;

/* ------------------------------------------------------------------ which keys queries see */

__device__ inline int warp_latest(int key) {
#pragma unroll
    for (int s = 16; s > 0; s /= 2) key = max(key, __shfl_xor_sync(ALL_LANES, key, s));
    return key;
}
/* Not -warp_latest(-key): nvcc 13.0 makes that a minimum of three for sm_90, and loses the sign
 * before it. */
__device__ inline int warp_earliest(int key) {
#pragma unroll
    for (int s = 16; s > 0; s /= 2) key = min(key, __shfl_xor_sync(ALL_LANES, key, s));
    return key;
}

/* The first key that one of ROWS queries from i0 on sees. All threads of the block call it, at
 * least ROWS of them; `lows` is shared memory. */
template <int ROWS, int WARPS>
__device__ int lowest_key(const attention_args<bf16> &a, int b, int i0, int (&lows)[WARPS]) {
    int key = (int)threadIdx.x < ROWS ? first_key(a, b, i0 + (int)threadIdx.x) : NOTHING;
    key = warp_earliest(key);
    if (lane() == 0) lows[warp()] = key;
    __syncthreads();
#pragma unroll
    for (int w = 0; w < WARPS; w++) key = min(key, lows[w]);
    return key;
}

/* ------------------------------------------------------------------ tiles */

/* One thread's part in loading tiles of a (T, HS) matrix: the same 16 bytes of every STEP-th row,
 * so that what can be known before is known before. A tile's rows are LD elements apart. */
template <int CHUNKS /* of 16 bytes, in a row */, int THREADS, int LD> struct tile_loader {
    static constexpr int STEP = THREADS / CHUNKS;
    const bf16 *from; /* this thread's part of row `row`               */
    size_t stride;    /* of the matrix                                 */
    int row, at;      /* the first row of a tile that it loads, and to */
    bool inside;      /* HS reaches so far                             */

    __device__ tile_loader(const bf16 *matrix, size_t stride_, int HS)
        : stride(stride_), row((int)threadIdx.x / CHUNKS) {
        int chunk = (int)threadIdx.x % CHUNKS;
        from = matrix + (size_t)row * stride + chunk * 8;
        at = row * LD + chunk * 8;
        inside = chunk * 8 < HS;
    }
    /* Rows [first, first + ROWS); those past T, and columns past HS, become 0. `further`: elements
     * from this matrix to one that lies beside it. Asynchronous: the caller commits and waits. */
    template <int ROWS> __device__ void load(bf16 *tile, int first, int T, int further = 0) const {
        static_assert(ROWS % STEP == 0, "every thread loads as much");
        const bf16 *p = from + (size_t)first * stride + further;
#pragma unroll
        for (int r = 0; r < ROWS; r += STEP)
            cp_async16(tile + at + r * LD, p + (size_t)r * stride, inside && first + row + r < T);
    }
};

/* ------------------------------------------------------------------ registers */

template <int N> __device__ void clear(float (&acc)[N][4]) {
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) acc[n][e] = 0;
}

/* Accumulators (16 × 8 N8) as the left operand of the next product, 16 of its k at a time. */
template <int N8> __device__ void as_left(uint32_t (&a)[N8 / 2][4], const float (&acc)[N8][4]) {
#pragma unroll
    for (int k = 0; k < N8 / 2; k++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            a[k][2 * half] = pack_bf16(acc[2 * k + half][0], acc[2 * k + half][1]);
            a[k][2 * half + 1] = pack_bf16(acc[2 * k + half][2], acc[2 * k + half][3]);
        }
}

/* ------------------------------------------------------------------ between the products */

/* The two queries of a thread in a row tile. */
struct row_pair {
    int b, h, i;     /* rows i and i + 8                                        */
    int first[2];    /* their first visible keys                                */
    int low, latest; /* over the warp's 16 rows: smallest i, largest first key  */
};
__device__ inline row_pair make_rows(const attention_bf16 &a, int b, int h, int tile_row) {
    int i = tile_row + (lane() >> 2);
    row_pair r = {b, h, i, {first_key(a, b, i), first_key(a, b, i + 8)}, tile_row, 0};
    r.latest = warp_latest(max(r.first[0], r.first[1]));
    return r;
}
/* True if none of the warp's rows hides one of the keys [key0, key0 + n). */
__device__ inline bool sees_all(const row_pair &r, int key0, int n) {
    return key0 + n - 1 <= r.low && key0 >= r.latest;
}
__device__ inline bool hidden(const row_pair &r, int half, int key) {
    return key > r.i + 8 * half || key < r.first[half];
}

/* What dropout keeps of a thread's part of two rows, eight apart, 64 columns each. Loaded before
 * the products are waited for. */
struct kept {
    uint32_t word[2][2]; /* row, half; from the thread's first column on */

    __device__ void row(int half, uint64_t bits) {
        bits >>= 2 * (lane() & 3);
        word[half][0] = (uint32_t)bits;
        word[half][1] = (uint32_t)(bits >> 32);
    }
    /* Element e of n-tile n of the accumulators. */
    __device__ bool operator()(int n, int e) const {
        return word[e >> 1][n / 4] >> (8 * (n % 4) + (e & 1)) & 1;
    }
};
template <bool DROP>
__device__ kept kept_rows(const attention_bf16 &a, const row_pair &r, int key0) {
    kept k = {};
    int head = r.b * a.NH + r.h;
    if (DROP) k.row(0, a.drop.query_word(head, r.i, key0));
    if (DROP) k.row(1, a.drop.query_word(head, r.i + 8, key0));
    return k;
}
/* Of keys key, key + 8 and the queries from i0 on. */
template <bool DROP>
__device__ kept kept_columns(const attention_bf16 &a, int b, int h, int key, int i0) {
    kept k = {};
    if (DROP) k.row(0, a.drop.key_word(b * a.NH + h, i0, key));
    if (DROP) k.row(1, a.drop.key_word(b * a.NH + h, i0, key + 8));
    return k;
}

/* Scores of keys that a row does not see become -inf. Nearly all steps see all of theirs. */
template <int N8> __device__ void hide(float (&s)[N8][4], const row_pair &r, int key0) {
    if (sees_all(r, key0, 8 * N8)) return;
#pragma unroll
    for (int n = 0; n < N8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (hidden(r, e >> 1, key0 + n * 8 + 2 * (lane() & 3) + (e & 1))) s[n][e] = -INFINITY;
}

/* Online softmax (Milakov, Gimelshein 2018): products s of keys [key0, …) become
 * exp(scale (s - top)), or 0 where dropout does not keep them; top and sum go on, and acc fades to
 * the new top. scale > 0. */
template <bool DROP, int N8, int H8>
__device__ void softmax_step(float (&s)[N8][4], float (&acc)[H8][4], float (&top)[2],
                             float (&sum)[2], const attention_bf16 &a, const row_pair &r,
                             const kept &keep, int key0) {
    hide(s, r, key0);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float m = top[half], part = 0;
#pragma unroll
        for (int n = 0; n < N8; n++)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) m = fmaxf(m, s[n][e]);
        m = fmaxf(m, __shfl_xor_sync(ALL_LANES, m, 1));
        m = fmaxf(m, __shfl_xor_sync(ALL_LANES, m, 2));
        float base = m == -INFINITY ? 0 : m * a.scale_log2;
        float fade = exp2_fast(top[half] * a.scale_log2 - base);
        top[half] = m;
#pragma unroll
        for (int n = 0; n < N8; n++)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) {
                s[n][e] = exp2_fast(s[n][e] * a.scale_log2 - base);
                part += s[n][e];
            }
        sum[half] = sum[half] * fade + part;
#pragma unroll
        for (int n = 0; n < H8; n++) {
            acc[n][2 * half] *= fade;
            acc[n][2 * half + 1] *= fade;
        }
    }
#pragma unroll
    for (int n = 0; DROP && n < N8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[n][e] = keep(n, e) ? s[n][e] : 0;
}

/* The end of a row: writes lse, and returns in `inverse` what makes acc y: 1 / sum, times dropout's
 * scale (0 for rows that see nothing). */
__device__ inline void softmax_end(float (&inverse)[2], const float (&top)[2],
                                   const float (&sum)[2], const attention_bf16 &a,
                                   const row_pair &r) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float l = sum[half];
        l += __shfl_xor_sync(ALL_LANES, l, 1);
        l += __shfl_xor_sync(ALL_LANES, l, 2);
        inverse[half] = l > 0 ? a.drop.rule.scale / l : 0;
        int i = r.i + 8 * half;
        if ((lane() & 3) == 0 && i < a.T)
            a.lse[((size_t)r.b * a.NH + r.h) * a.T + i] =
                l > 0 ? top[half] * a.scale + log2f(l) * ATTENTION_LN2 : 0;
    }
}

/* Backward, rows are queries: s = q·k, dp = dy·v  →  s = ds = p (keep dp - D). lse in base 2. */
template <bool DROP, int N8>
__device__ void ds_rows(float (&s)[N8][4], const float (&dp)[N8][4], const float (&lse)[2],
                        const float (&delta)[2], const attention_bf16 &a, const row_pair &r,
                        const kept &keep, int key0) {
    hide(s, r, key0);
#pragma unroll
    for (int n = 0; n < N8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            float p = exp2_fast(s[n][e] * a.scale_log2 - lse[e >> 1]);
            float k = !DROP ? 1 : keep(n, e) ? a.drop.rule.scale : 0;
            s[n][e] = p * (k * dp[n][e] - delta[e >> 1]);
        }
}

/* What the backward pass knows of a thread's two queries (lse in base 2) … */
__device__ inline void query_rows(float (&lse)[2], float (&delta)[2], const attention_bf16 &a,
                                  const row_pair &r) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        size_t row = ((size_t)r.b * a.NH + r.h) * a.T + r.i + 8 * half;
        bool sees = r.first[half] != NOTHING;
        lse[half] = sees ? a.lse[row] * ATTENTION_LOG2E : 0;
        delta[half] = sees ? a.delta[row] : 0;
    }
}

/* … and of a step of queries, in shared memory. */
template <int STEP> struct query_facts {
    alignas(16) float lse[STEP], delta[STEP]; /* lse in base 2 */
    int first[STEP];
};
template <int STEP>
__device__ void load_facts(query_facts<STEP> &f, const attention_bf16 &a, int b, int h, int i0) {
    if (threadIdx.x >= STEP) return;
    int i = i0 + (int)threadIdx.x, first = first_key(a, b, i);
    size_t row = ((size_t)b * a.NH + h) * a.T + i;
    f.first[threadIdx.x] = first;
    f.lse[threadIdx.x] = first == NOTHING ? 0 : a.lse[row] * ATTENTION_LOG2E;
    f.delta[threadIdx.x] = first == NOTHING ? 0 : a.delta[row];
}

/* Backward, rows are keys (key, key + 8 of this thread): s = k·q, dp = v·dy of queries [i0, …)
 * →  s = keep p,  dp = ds. */
template <bool DROP, int STEP, int N8>
__device__ void ds_columns(float (&s)[N8][4], float (&dp)[N8][4], const query_facts<STEP> &f,
                           const attention_bf16 &a, const kept &keep, int tile_key, int i0) {
    int g = lane() >> 2, q = lane() & 3;
    /* Without segments: the warp's keys are all before the step's queries, none of which is past
     * T. */
    bool all = !a.start && tile_key + 15 <= i0 && i0 + STEP <= a.T;
    if (!all)
#pragma unroll
        for (int n = 0; n < N8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int c = n * 8 + 2 * q + (e & 1), key = tile_key + g + 8 * (e >> 1);
                bool hides = (key > i0 + c) | (key < f.first[c]); /* no branch for each */
                s[n][e] = hides ? -INFINITY : s[n][e];
            }
#pragma unroll
    for (int n = 0; n < N8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int c = n * 8 + 2 * q + (e & 1);
            float p = exp2_fast(s[n][e] * a.scale_log2 - f.lse[c]);
            float k = !DROP ? 1 : keep(n, e) ? a.drop.rule.scale : 0;
            s[n][e] = k * p;
            dp[n][e] = p * (k * dp[n][e] - f.delta[c]);
        }
}

/* The first block of STEP queries, from block `at` on, in which one sees a key below `key_end`;
 * T / STEP or more if there is none. All threads of the block call it and get the same. */
template <int STEP>
__device__ int next_queries(const attention_bf16 &a, int b, int at, int key_end) {
    if (!a.start) return at;
    for (; at * STEP < a.T; at++) {
        int i = at * STEP + (int)threadIdx.x;
        if (__syncthreads_or((int)threadIdx.x < STEP && first_key(a, b, i) < key_end)) break;
    }
    return at;
}

#endif
