/* Causal attention on Hopper's warpgroup products (wgmma, sm_90a), head size 64: the GPT-2
 * family's.
 *
 * As attention_mma.cu, but a warpgroup (four warps) owns 64 rows, and the right operands are
 * read from shared memory once for all four, by the tensor cores themselves, while threads go
 * on. The accumulators are laid out as mma.sync's (attention_rows.cuh), so a product's result is
 * again the next one's left operand.
 *
 *   tile: [row][64] bf16, 1024-byte aligned, chunk c (16 bytes) of row r at c ^ (r & 7)
 *         (the 128-byte swizzle). It serves as B with n = row, k = column, and as B with k = row.
 *
 *   forward, one step     softmax(j) ──▶ P ──▶ [ y += P V(j) ][ S = Q K(j+1) ] ──▶ softmax(j+1) …
 *                         exponentials        tensor cores; others make exponentials
 *
 * Tiles come by cp.async, three stages deep in the forward pass, so that one barrier a step is
 * enough; a proxy fence stands between those writes and the products that read them. */
#include "cuda/attention_rows.cuh"
#include "cuda/wgmma.cuh"

namespace {

constexpr int HS = 64, STEP = 64; /* keys or queries at a time                  */
constexpr int TILE = 64 * HS;     /* elements of a tile of 64 rows              */

/* ------------------------------------------------------------------ tiles */

__device__ bf16 *swizzled(bf16 *tile, int r, int chunk) {
    return tile + r * HS + ((chunk ^ (r & 7)) * 8);
}

/* A thread's rows are multiples of 8 apart, so its chunk is swizzled to the same place in each. */
template <int THREADS> struct swizzled_loader : tile_loader<8, THREADS, HS> {
    static_assert(THREADS / 8 % 8 == 0, "see above");
    __device__ swizzled_loader(const bf16 *matrix, size_t stride)
        : tile_loader<8, THREADS, HS>(matrix, stride, HS) {
        this->at ^= (this->row & 7) * 8;
    }
};

/* A warp's 16 rows from `row` of a tile as the left operand. */
__device__ void left_of_tile(uint32_t (&a)[4][4], bf16 *tile, int row) {
#pragma unroll
    for (int k = 0; k < 4; k++)
        ldmatrix_x4(a[k], swizzled(tile, row + (lane() & 15), 2 * k + (lane() >> 4)));
}

/* As attention_mma.cu's: through the warp's 16 rows of a tile that no product reads any more. */
__device__ void store_rows(bf16 *to, size_t stride, int first, int T, bf16 *tile, int row,
                           const float (&acc)[8][4], const float (&scale)[2]) {
    int g = lane() >> 2, q = lane() & 3;
    __syncwarp();
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            *(uint32_t *)(swizzled(tile, row + g + 8 * half, n) + 2 * q) =
                pack_bf16(acc[n][2 * half] * scale[half], acc[n][2 * half + 1] * scale[half]);
    __syncwarp();
    for (int i = lane(); i < 16 * 8; i += 32) {
        int r = i / 8, c = i % 8;
        if (first + r < T)
            store16(to + (size_t)(first + r) * stride + c * 8, load16(swizzled(tile, row + r, c)));
    }
}

/* ------------------------------------------------------------------ products: 64 × 64 × 64 */

/* acc = A B (or += if ADD), started, not waited for. B's tile has rows n, or rows k if
 * ROWS_ARE_K: then 16 of k are 2048 bytes further on, else 32. A: registers, or a tile with rows
 * m. */
template <bool ROWS_ARE_K, bool ADD>
__device__ void product(float (&acc)[8][4], const uint32_t (&a)[4][4], bf16 *tile) {
    const int next = ROWS_ARE_K ? 2048 : 32;
    uint64_t b = wgmma_tile(tile);
    wgmma_64x64x16<ROWS_ARE_K, ADD>(acc, a[0], b);
#pragma unroll
    for (int k = 1; k < 4; k++)
        wgmma_64x64x16<ROWS_ARE_K, true>(acc, a[k], wgmma_advance(b, k * next));
}
template <bool ROWS_ARE_K, bool ADD>
__device__ void product(float (&acc)[8][4], bf16 *left, bf16 *tile) {
    const int next = ROWS_ARE_K ? 2048 : 32;
    uint64_t a = wgmma_tile(left), b = wgmma_tile(tile);
    wgmma_64x64x16<ROWS_ARE_K, ADD>(acc, a, b);
#pragma unroll
    for (int k = 1; k < 4; k++)
        wgmma_64x64x16<ROWS_ARE_K, true>(acc, wgmma_advance(a, k * 32), wgmma_advance(b, k * next));
}

/* Own cp.async writes so far, all threads' writes, visible to the tensor cores. */
template <int LEFT> __device__ void tiles_arrived() {
    cp_async_wait<LEFT>();
    fence_proxy_async();
    __syncthreads();
}

/* ------------------------------------------------------------ forward: 128 queries a block */

constexpr int FORWARD_THREADS = 256, FORWARD_ROWS = 128, STAGES = 3;

struct forward_tiles { /* tiles begin at multiples of 1024 bytes */
    bf16 q[2 * TILE], k[STAGES][TILE], v[STAGES][TILE];
    int lows[FORWARD_THREADS / 32];
};

template <bool DROP>
__global__ void __launch_bounds__(FORWARD_THREADS, 2) forward(const attention_bf16 a) {
    forward_tiles &m = *shared_memory<forward_tiles>();
    int b = blockIdx.z, h = blockIdx.y;
    int i0 = (int)(gridDim.x - 1 - blockIdx.x) * FORWARD_ROWS, w0 = warp() * 16;
    swizzled_loader<FORWARD_THREADS> qkv(a.head_q(b, h), (size_t)3 * a.C);
    row_pair rows = make_rows(a, b, h, i0 + w0);
    int low = lowest_key<FORWARD_ROWS>(a, b, i0, m.lows);
    int j_low = low / STEP, j_end = (min(i0 + FORWARD_ROWS, a.T) - 1) / STEP;
    /* Commits in any case, so that groups can be counted. */
    auto load_keys = [&](int j) {
        if (j <= j_end) {
            int stage = j % STAGES;
            qkv.load<STEP>(m.k[stage], j * STEP, a.T, a.C);
            qkv.load<STEP>(m.v[stage], j * STEP, a.T, 2 * a.C);
        }
        cp_async_commit();
    };

    qkv.load<FORWARD_ROWS>(m.q, i0, a.T);
    load_keys(j_low);
    load_keys(j_low + 1);
    tiles_arrived<1>();

    uint32_t left_q[4][4], left_p[4][4];
    float acc[8][4], s[8][4], top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    clear(acc);
    left_of_tile(left_q, m.q, w0);
    wgmma_ready(acc);
    if (j_low <= j_end) {
        wgmma_begin();
        product<false, false>(s, left_q, m.k[j_low % STAGES]);
        wgmma_commit();
        wgmma_wait<0>(s);
        for (int j = j_low;; j++) {
            softmax_step<DROP>(s, acc, top, sum, a, rows, j * STEP);
            as_left(left_p, s);
            wgmma_ready(acc);
            wgmma_begin();
            product<true, true>(acc, left_p, m.v[j % STAGES]);
            wgmma_commit();
            if (j == j_end) break;
            tiles_arrived<0>(); /* and all are done with step j - 1, whose stage is filled next */
            load_keys(j + 2);
            wgmma_begin();
            product<false, false>(s, left_q, m.k[(j + 1) % STAGES]);
            wgmma_commit();
            wgmma_wait<0>(acc);
            wgmma_wait<0>(s);
        }
        wgmma_wait<0>(acc);
    }
    cp_async_wait<0>();
    float inverse[2];
    softmax_end(inverse, top, sum, a, rows);
    store_rows(a.y + (size_t)b * a.T * a.C + (size_t)h * HS, a.C, i0 + w0, a.T, m.q, w0, acc,
               inverse);
}

/* ------------------------------------------------------------ backward: 64 rows a warpgroup */

constexpr int BACKWARD_THREADS = 128;

struct backward_tiles {
    bf16 own[2][TILE];      /* q, dy; or k, v               */
    bf16 other[2][2][TILE]; /* two stages of k, v; or q, dy */
    query_facts<STEP> facts[2];
    int lows[BACKWARD_THREADS / 32];
};

template <bool DROP>
__global__ void __launch_bounds__(BACKWARD_THREADS, 3) backward_q(const attention_bf16 a) {
    backward_tiles &m = *shared_memory<backward_tiles>();
    int b = blockIdx.z, h = blockIdx.y, i0 = (int)(gridDim.x - 1 - blockIdx.x) * 64,
        w0 = warp() * 16;
    const bf16 *Q = a.head_q(b, h);
    const size_t stride = (size_t)3 * a.C;
    swizzled_loader<BACKWARD_THREADS> qkv(Q, stride),
        dy(a.dy + (size_t)b * a.T * a.C + (size_t)h * HS, a.C);
    auto load_keys = [&](int j, int stage) {
        qkv.load<STEP>(m.other[stage][0], j * STEP, a.T, a.C);
        qkv.load<STEP>(m.other[stage][1], j * STEP, a.T, 2 * a.C);
    };
    row_pair rows = make_rows(a, b, h, i0 + w0);
    float lse[2], delta[2];
    query_rows(lse, delta, a, rows);
    int low = lowest_key<64>(a, b, i0, m.lows);
    int j_low = low / STEP, j_end = (min(i0 + 64, a.T) - 1) / STEP;

    qkv.load<64>(m.own[0], i0, a.T);
    dy.load<64>(m.own[1], i0, a.T);
    if (j_low <= j_end) load_keys(j_low, 0);
    cp_async_commit();

    uint32_t left_ds[4][4];
    float dq[8][4], s[8][4], dp[8][4];
    clear(dq);
    for (int j = j_low, stage = 0; j <= j_end; j++, stage ^= 1) {
        if (j < j_end) load_keys(j + 1, stage ^ 1);
        cp_async_commit();
        tiles_arrived<1>();
        wgmma_begin();
        product<false, false>(s, m.own[0], m.other[stage][0]);
        product<false, false>(dp, m.own[1], m.other[stage][1]);
        wgmma_commit();
        wgmma_wait<0>(s);
        wgmma_wait<0>(dp);
        ds_rows<DROP>(s, dp, lse, delta, a, rows, j * STEP);
        as_left(left_ds, s);
        wgmma_begin();
        product<true, true>(dq, left_ds, m.other[stage][0]);
        wgmma_commit();
        wgmma_wait<0>(dq);
        __syncthreads();
    }
    cp_async_wait<0>();
    __syncthreads();
    float scale[2] = {a.scale, a.scale};
    store_rows(a.dqkv + (Q - a.qkv), stride, i0 + w0, a.T, m.own[0], w0, dq, scale);
}

template <bool DROP>
__global__ void __launch_bounds__(BACKWARD_THREADS, 3) backward_kv(const attention_bf16 a) {
    backward_tiles &m = *shared_memory<backward_tiles>();
    int b = blockIdx.z, h = blockIdx.y, j0 = (int)blockIdx.x * 64, w0 = warp() * 16;
    const bf16 *Q = a.head_q(b, h);
    const size_t stride = (size_t)3 * a.C;
    swizzled_loader<BACKWARD_THREADS> qkv(Q, stride),
        dy(a.dy + (size_t)b * a.T * a.C + (size_t)h * HS, a.C);
    auto load_queries = [&](int i, int stage) {
        qkv.load<STEP>(m.other[stage][0], i * STEP, a.T);
        dy.load<STEP>(m.other[stage][1], i * STEP, a.T);
        load_facts(m.facts[stage], a, b, h, i * STEP);
    };
    qkv.load<64>(m.own[0], j0, a.T, a.C);
    qkv.load<64>(m.own[1], j0, a.T, 2 * a.C);
    int now = next_queries<STEP>(a, b, j0 / STEP, j0 + 64);
    if (now * STEP < a.T) load_queries(now, 0);
    cp_async_commit();

    uint32_t left_p[4][4], left_ds[4][4];
    float dk[8][4], dv[8][4], s[8][4], dp[8][4];
    clear(dk);
    clear(dv);
    for (int stage = 0, next; now * STEP < a.T; now = next, stage ^= 1) {
        bf16 *now_q = m.other[stage][0], *now_dy = m.other[stage][1];
        next = next_queries<STEP>(a, b, now + 1, j0 + 64);
        if (next * STEP < a.T) load_queries(next, stage ^ 1);
        cp_async_commit();
        tiles_arrived<1>();
        wgmma_begin();
        product<false, false>(s, m.own[0], now_q);
        product<false, false>(dp, m.own[1], now_dy);
        wgmma_commit();
        wgmma_wait<0>(s);
        wgmma_wait<0>(dp);
        ds_columns<DROP, STEP>(s, dp, m.facts[stage], a, b, h, j0 + w0, now * STEP);
        as_left(left_p, s);
        as_left(left_ds, dp);
        wgmma_begin();
        product<true, true>(dv, left_p, now_dy);
        product<true, true>(dk, left_ds, now_q);
        wgmma_commit();
        wgmma_wait<0>(dv);
        wgmma_wait<0>(dk);
        __syncthreads();
    }
    cp_async_wait<0>();
    __syncthreads();
    float scale[2] = {a.scale, a.scale}, one[2] = {1, 1};
    bf16 *dK = a.dqkv + (Q - a.qkv) + a.C;
    store_rows(dK, stride, j0 + w0, a.T, m.own[0], w0, dk, scale);
    store_rows(dK + a.C, stride, j0 + w0, a.T, m.own[1], w0, dv, one);
}

} // namespace

template <bool DROP> static void launch_backward(struct device *d, const attention_bf16 &a) {
    dim3 grid(blocks_for(a.T, 64), a.NH, a.B);
    size_t bytes = sizeof(backward_tiles);
    launch(d, "attention dq, sm90", backward_q<DROP>, grid, BACKWARD_THREADS, bytes, a);
    launch(d, "attention dk dv, sm90", backward_kv<DROP>, grid, BACKWARD_THREADS, bytes, a);
}

void attention_forward_sm90(struct device *d, const attention_bf16 &a) {
    dim3 grid(blocks_for(a.T, FORWARD_ROWS), a.NH, a.B);
    launch(d, "attention forward, sm90", a.drop.rule.threshold ? forward<true> : forward<false>,
           grid, FORWARD_THREADS, sizeof(forward_tiles), a);
}
void attention_backward_sm90(struct device *d, const attention_bf16 &a) {
    a.drop.rule.threshold ? launch_backward<true>(d, a) : launch_backward<false>(d, a);
}
