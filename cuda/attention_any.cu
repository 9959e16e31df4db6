/* Causal attention for any head size up to 256, in fp32 arithmetic on fp32 or bf16 tensors: what
 * --dtype fp32 runs, what odd head sizes run, and the plain twin of attention_mma.cu. The
 * mathematics is in train/ref/attention.c.
 *
 * A warp owns four rows (queries; for dk and dv: keys) and walks over the others 32 at a time,
 * one a lane: each lane makes the scores of its own key with the four rows; then lanes are
 * channels, and scores are passed round by shuffles:
 *
 *   scores   lane = key      s[r] = q_r · k_lane           tiles in shared memory, rows apart(HS)
 *   sums     lane = channel  o[r][c] += p[r] of lane j * v_j[c]
 *
 * Sums have one order, so runs are bitwise equal. */
#include "cuda/attention.cuh"

namespace {

constexpr int ROWS = 4;             /* of a warp                     */
constexpr int WARPS = 4;            /* of a block                    */
constexpr int OWNED = ROWS * WARPS; /* rows of a block               */
constexpr int STEP = 32;            /* of the other kind, at a time  */
constexpr int CHUNKS = 8;           /* of 32 channels: HS <= 256     */

/* Between the rows of a tile: odd, so that the lanes' keys, a row each, lie in different banks. */
__host__ __device__ constexpr int apart(int HS) {
    return HS | 1;
}

/* `n` rows from `first` of a (T, HS) matrix into shared memory as fp32, rows LD apart; 0 past T. */
template <class A>
__device__ void load_rows(float *tile, int n, const A *from, size_t stride, int first, int T,
                          int HS) {
    for (int i = threadIdx.x; i < n * HS; i += WARPS * 32) {
        int r = i / HS, c = i % HS;
        tile[r * apart(HS) + c] =
            first + r < T ? to_float(from[(size_t)(first + r) * stride + c]) : 0;
    }
}

__device__ float dot(const float *x, const float *y, int n) {
    float s = 0;
    for (int c = 0; c < n; c++) s += x[c] * y[c];
    return s;
}

/* sums[c] += sum over the 32 lanes j of w (of lane j) * tile[j][c], lanes being channels. */
__device__ void gather(float (&sums)[CHUNKS], float w, const float *tile, int HS) {
    for (int j = 0; j < STEP; j++) {
        float wj = __shfl_sync(ALL_LANES, w, j);
#pragma unroll
        for (int m = 0; m < CHUNKS; m++)
            if (m * 32 + lane() < HS) sums[m] += wj * tile[j * apart(HS) + m * 32 + lane()];
    }
}

template <class A>
__device__ void store_row(A *to, const float (&sums)[CHUNKS], float scale, int HS) {
#pragma unroll
    for (int m = 0; m < CHUNKS; m++)
        if (m * 32 + lane() < HS) to[m * 32 + lane()] = from_float<A>(sums[m] * scale);
}

/* The smallest first key of the block's OWNED queries. */
template <class A> __device__ int lowest_key(const attention_args<A> &a, int b, int i0) {
    int low = NOTHING;
    for (int r = 0; r < OWNED; r++) low = min(low, first_key(a, b, i0 + r));
    return low;
}

template <class A>
__global__ void __launch_bounds__(WARPS * 32) forward(const attention_args<A> a) {
    float *memory = shared_memory<float>();
    const int HS = a.HS, LD = apart(HS);
    float *own = memory, *tile_k = own + OWNED * LD, *tile_v = tile_k + STEP * LD;
    int b = blockIdx.z, h = blockIdx.y, i0 = (int)blockIdx.x * OWNED, w0 = warp() * ROWS;
    const A *Q = a.head_q(b, h);
    const size_t stride = (size_t)3 * a.C;
    float o[ROWS][CHUNKS] = {}, top[ROWS], sum[ROWS];
    int first[ROWS];
    for (int r = 0; r < ROWS; r++) {
        top[r] = -INFINITY, sum[r] = 0;
        first[r] = first_key(a, b, i0 + w0 + r);
    }
    load_rows(own, OWNED, Q, stride, i0, a.T, HS);
    for (int j0 = lowest_key(a, b, i0) / STEP * STEP; j0 < min(i0 + OWNED, a.T); j0 += STEP) {
        __syncthreads();
        load_rows(tile_k, STEP, Q + a.C, stride, j0, a.T, HS);
        load_rows(tile_v, STEP, Q + 2 * a.C, stride, j0, a.T, HS);
        __syncthreads();
        int key = j0 + lane();
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            int i = i0 + w0 + r;
            bool sees = key >= first[r] && key <= i;
            float s =
                sees ? a.scale * dot(own + (w0 + r) * LD, tile_k + lane() * LD, HS) : -INFINITY;
            float m = fmaxf(top[r], warp_max(s)), base = m == -INFINITY ? 0 : m;
            float fade = expf(top[r] - base), p = expf(s - base);
            top[r] = m;
            sum[r] = sum[r] * fade + warp_sum(p);
            if (sees) p *= a.drop.factor(b, h, i, key);
#pragma unroll
            for (int c = 0; c < CHUNKS; c++) o[r][c] *= fade;
            gather(o[r], p, tile_v, HS);
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        int i = i0 + w0 + r;
        if (i >= a.T) continue;
        bool any = sum[r] > 0;
        store_row(a.y + ((size_t)b * a.T + i) * a.C + (size_t)h * HS, o[r], any ? 1 / sum[r] : 0,
                  HS);
        if (lane() == 0) a.lse[((size_t)b * a.NH + h) * a.T + i] = any ? top[r] + logf(sum[r]) : 0;
    }
}

template <class A>
__global__ void __launch_bounds__(WARPS * 32) backward_q(const attention_args<A> a) {
    float *memory = shared_memory<float>();
    const int HS = a.HS, LD = apart(HS);
    float *own_q = memory, *own_dy = own_q + OWNED * LD;
    float *tile_k = own_dy + OWNED * LD, *tile_v = tile_k + STEP * LD;
    int b = blockIdx.z, h = blockIdx.y, i0 = (int)blockIdx.x * OWNED, w0 = warp() * ROWS;
    const A *Q = a.head_q(b, h);
    const size_t stride = (size_t)3 * a.C, heads = ((size_t)b * a.NH + h) * a.T;
    float dq[ROWS][CHUNKS] = {};
    load_rows(own_q, OWNED, Q, stride, i0, a.T, HS);
    load_rows(own_dy, OWNED, a.dy + (size_t)b * a.T * a.C + (size_t)h * HS, a.C, i0, a.T, HS);
    for (int j0 = lowest_key(a, b, i0) / STEP * STEP; j0 < min(i0 + OWNED, a.T); j0 += STEP) {
        __syncthreads();
        load_rows(tile_k, STEP, Q + a.C, stride, j0, a.T, HS);
        load_rows(tile_v, STEP, Q + 2 * a.C, stride, j0, a.T, HS);
        __syncthreads();
        int key = j0 + lane();
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            int i = i0 + w0 + r;
            float ds = 0;
            if (key >= first_key(a, b, i) && key <= i) {
                float s = a.scale * dot(own_q + (w0 + r) * LD, tile_k + lane() * LD, HS);
                float dp = dot(own_dy + (w0 + r) * LD, tile_v + lane() * LD, HS);
                ds = expf(s - a.lse[heads + i]) *
                     (a.drop.factor(b, h, i, key) * dp - a.delta[heads + i]);
            }
            gather(dq[r], ds, tile_k, HS);
        }
    }
    A *dQ = a.dqkv + (Q - a.qkv);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (i0 + w0 + r < a.T) store_row(dQ + (size_t)(i0 + w0 + r) * stride, dq[r], a.scale, HS);
}

template <class A>
__global__ void __launch_bounds__(WARPS * 32) backward_kv(const attention_args<A> a) {
    float *memory = shared_memory<float>();
    const int HS = a.HS, LD = apart(HS);
    float *own_k = memory, *own_v = own_k + OWNED * LD;
    float *tile_q = own_v + OWNED * LD, *tile_dy = tile_q + STEP * LD;
    int b = blockIdx.z, h = blockIdx.y, j0 = (int)blockIdx.x * OWNED, w0 = warp() * ROWS;
    const A *Q = a.head_q(b, h);
    const size_t stride = (size_t)3 * a.C, heads = ((size_t)b * a.NH + h) * a.T;
    float dk[ROWS][CHUNKS] = {}, dv[ROWS][CHUNKS] = {};
    load_rows(own_k, OWNED, Q + a.C, stride, j0, a.T, HS);
    load_rows(own_v, OWNED, Q + 2 * a.C, stride, j0, a.T, HS);
    for (int i0 = j0 / STEP * STEP; i0 < a.T; i0 += STEP) {
        int i = i0 + lane(), first = first_key(a, b, i); /* the same for all warps */
        if (__all_sync(ALL_LANES, first >= j0 + OWNED)) continue;
        __syncthreads();
        load_rows(tile_q, STEP, Q, stride, i0, a.T, HS);
        load_rows(tile_dy, STEP, a.dy + (size_t)b * a.T * a.C + (size_t)h * HS, a.C, i0, a.T, HS);
        __syncthreads();
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            int key = j0 + w0 + r;
            float p = 0, ds = 0;
            if (key >= first && key <= i) {
                float s = a.scale * dot(own_k + (w0 + r) * LD, tile_q + lane() * LD, HS);
                float dp = dot(own_v + (w0 + r) * LD, tile_dy + lane() * LD, HS);
                float keep = a.drop.factor(b, h, i, key);
                p = expf(s - a.lse[heads + i]);
                ds = p * (keep * dp - a.delta[heads + i]);
                p *= keep;
            }
            gather(dv[r], p, tile_dy, HS);
            gather(dk[r], ds, tile_q, HS);
        }
    }
    A *dK = a.dqkv + (Q - a.qkv) + a.C;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (j0 + w0 + r < a.T) {
            store_row(dK + (size_t)(j0 + w0 + r) * stride, dk[r], a.scale, HS);
            store_row(dK + a.C + (size_t)(j0 + w0 + r) * stride, dv[r], 1, HS);
        }
}

} // namespace

/* Floats of `rows` rows in shared memory. */
static size_t row_bytes(int HS, int rows) {
    return (size_t)rows * (size_t)apart(HS) * sizeof(float);
}

template <class A> void attention_forward_any(struct device *d, const attention_args<A> &a) {
    dim3 grid(blocks_for(a.T, OWNED), a.NH, a.B);
    launch(d, "attention forward, any", forward<A>, grid, WARPS * 32,
           row_bytes(a.HS, OWNED + 2 * STEP), a);
}
template <class A> void attention_backward_any(struct device *d, const attention_args<A> &a) {
    dim3 grid(blocks_for(a.T, OWNED), a.NH, a.B);
    size_t bytes = row_bytes(a.HS, 2 * OWNED + 2 * STEP);
    launch(d, "attention dq, any", backward_q<A>, grid, WARPS * 32, bytes, a);
    launch(d, "attention dk dv, any", backward_kv<A>, grid, WARPS * 32, bytes, a);
}
template void attention_forward_any<float>(struct device *, const attention_args<float> &);
template void attention_forward_any<bf16>(struct device *, const attention_args<bf16> &);
template void attention_backward_any<float>(struct device *, const attention_args<float> &);
template void attention_backward_any<bf16>(struct device *, const attention_args<bf16> &);
