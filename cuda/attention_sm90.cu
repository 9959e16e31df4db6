/* Causal attention on Hopper's warpgroup products (wgmma, sm_90a), head size 64: the GPT-2
 * family's.
 *
 * As attention_mma.cu, but a warpgroup (four warps) owns 64 rows, and the right operands are
 * read from shared memory once for all four, by the tensor cores themselves, while threads go
 * on. The accumulators are laid out as mma.sync's (attention_rows.cuh), so a product's result is
 * again the next one's left operand.
 *
 *   tile: 64 rows in the 128-byte swizzle (attention_feed.cuh). It serves as B with n = row,
 *         k = column, and as B with k = row.
 *
 *   forward, one step     softmax(j) ──▶ P ──▶ [ y += P V(j) ][ S = Q K(j+1) ] ──▶ softmax(j+1) …
 *                         exponentials        tensor cores; others make exponentials
 *
 * Tiles come as Feed brings them, by threads or by the copy engine, three stages deep. */
#include "cuda/attention_feed.cuh"

namespace {

constexpr int HS = TILE_COLUMNS, STEP = TILE_ROWS; /* keys or queries at a time */

/* ------------------------------------------------------------------ tiles */

__device__ bf16 *swizzled(bf16 *tile, int r, int chunk) {
    return tile + r * HS + ((chunk ^ (r & 7)) * 8);
}

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

/* ------------------------------------------------------------ forward: 128 queries a block */

constexpr int FORWARD_THREADS = 256, FORWARD_ROWS = 128;

template <class Feed> struct forward_tiles { /* tiles begin at multiples of 1024 bytes */
    bf16 q[2 * TILE], k[STAGES][TILE], v[STAGES][TILE];
    typename Feed::barriers barriers;
    int lows[FORWARD_THREADS / 32];
};

template <class Feed, bool DROP>
__global__ void __launch_bounds__(FORWARD_THREADS, 2)
    forward(const attention_bf16 a, const __grid_constant__ typename Feed::maps maps) {
    forward_tiles<Feed> &m = *shared_memory<forward_tiles<Feed>>();
    int b = blockIdx.z, h = blockIdx.y;
    int i0 = (int)(gridDim.x - 1 - blockIdx.x) * FORWARD_ROWS, w0 = warp() * 16;
    Feed feed(a, maps, m.barriers, b, h);
    place now = {0, 0};
    row_pair rows = make_rows(a, b, h, i0 + w0);
    int low = lowest_key<FORWARD_ROWS>(a, b, i0, m.lows);
    int j_low = low / STEP, j_end = (min(i0 + FORWARD_ROWS, a.T) - 1) / STEP;
    auto add_keys = [&](place p, int j) {
        if (j > j_end) return;
        feed.template tile<STEP>(p, m.k[p.stage], MATRIX_K, j * STEP);
        feed.template tile<STEP>(p, m.v[p.stage], MATRIX_V, j * STEP);
    };
    auto fill = [&](place p, int j) { /* also past the end, so that fillings can be counted */
                                      feed.begin(p);
                                      add_keys(p, j);
                                      feed.end(p);
    };

    feed.begin(now);
    feed.template tile<FORWARD_ROWS>(now, m.q, MATRIX_Q, i0);
    add_keys(now, j_low);
    feed.end(now);
    fill(now.after(1), j_low + 1);
    feed.template arrived<1>(now);

    uint32_t left_q[4][4], left_p[4][4];
    float acc[8][4], s[8][4], top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    clear(acc);
    left_of_tile(left_q, m.q, w0);
    wgmma_ready(acc);
    if (j_low <= j_end) {
        wgmma_begin();
        product<false, false>(s, left_q, m.k[now.stage]);
        wgmma_commit();
        kept keep = kept_rows<DROP>(a, rows, j_low * STEP);
        wgmma_wait<0>(s);
        for (int j = j_low;; j++) {
            softmax_step<DROP>(s, acc, top, sum, a, rows, keep, j * STEP);
            as_left(left_p, s);
            wgmma_ready(acc);
            wgmma_begin();
            product<true, true>(acc, left_p, m.v[now.stage]);
            wgmma_commit();
            if (j == j_end) break;
            place was = now;
            now = now.after(1);
            feed.template arrived<0>(now);
            fill(now.after(1), j + 2); /* where step j - 1 was: all are, or soon will be, done */
            wgmma_begin();
            product<false, false>(s, left_q, m.k[now.stage]);
            wgmma_commit();
            keep = kept_rows<DROP>(a, rows, (j + 1) * STEP);
            wgmma_wait<0>(acc);
            wgmma_wait<0>(s);
            feed.done(was);
        }
        wgmma_wait<0>(acc);
    }
    cp_async_wait<0>();
    float inverse[2];
    softmax_end(inverse, top, sum, a, rows);
    inverse[0] = feed.checked(inverse[0]), inverse[1] = feed.checked(inverse[1]);
    store_rows(a.y + (size_t)b * a.T * a.C + (size_t)h * HS, a.C, i0 + w0, a.T, m.q, w0, acc,
               inverse);
}

/* ------------------------------------------------------------ backward: 64 rows a warpgroup */

constexpr int BACKWARD_THREADS = 128;

template <class Feed> struct backward_tiles {
    bf16 own[2][TILE];           /* q, dy; or k, v */
    bf16 other[STAGES][2][TILE]; /* k, v; or q, dy */
    query_facts<STEP> facts[STAGES];
    typename Feed::barriers barriers;
    int lows[BACKWARD_THREADS / 32];
};

template <class Feed, bool DROP>
__global__ void __launch_bounds__(BACKWARD_THREADS, 3)
    backward_q(const attention_bf16 a, const __grid_constant__ typename Feed::maps maps) {
    backward_tiles<Feed> &m = *shared_memory<backward_tiles<Feed>>();
    int b = blockIdx.z, h = blockIdx.y, i0 = (int)(gridDim.x - 1 - blockIdx.x) * 64,
        w0 = warp() * 16;
    const bf16 *Q = a.head_q(b, h);
    Feed feed(a, maps, m.barriers, b, h);
    place now = {0, 0};
    row_pair rows = make_rows(a, b, h, i0 + w0);
    float lse[2], delta[2];
    query_rows(lse, delta, a, rows);
    int low = lowest_key<64>(a, b, i0, m.lows);
    int j_low = low / STEP, j_end = (min(i0 + 64, a.T) - 1) / STEP;
    auto add_keys = [&](place p, int j) {
        if (j > j_end) return;
        feed.template tile<STEP>(p, m.other[p.stage][0], MATRIX_K, j * STEP);
        feed.template tile<STEP>(p, m.other[p.stage][1], MATRIX_V, j * STEP);
    };
    auto fill = [&](place p, int j) {
        feed.begin(p);
        add_keys(p, j);
        feed.end(p);
    };

    feed.begin(now);
    feed.template tile<64>(now, m.own[0], MATRIX_Q, i0);
    feed.template tile<64>(now, m.own[1], MATRIX_DY, i0);
    add_keys(now, j_low);
    feed.end(now);
    fill(now.after(1), j_low + 1);
    feed.template arrived<1>(now);

    uint32_t left_ds[4][4];
    float dq[8][4], s[8][4], dp[8][4];
    clear(dq);
    for (int j = j_low; j <= j_end; j++) {
        fill(now.after(2), j + 2); /* where step j - 1 was */
        wgmma_begin();
        product<false, false>(s, m.own[0], m.other[now.stage][0]);
        product<false, false>(dp, m.own[1], m.other[now.stage][1]);
        wgmma_commit();
        kept keep = kept_rows<DROP>(a, rows, j * STEP);
        wgmma_wait<0>(s);
        wgmma_wait<0>(dp);
        ds_rows<DROP>(s, dp, lse, delta, a, rows, keep, j * STEP);
        as_left(left_ds, s);
        wgmma_begin();
        product<true, true>(dq, left_ds, m.other[now.stage][0]);
        wgmma_commit();
        wgmma_wait<0>(dq);
        feed.done(now);
        now = now.after(1);
        if (j < j_end) feed.template arrived<1>(now);
    }
    cp_async_wait<0>();
    __syncthreads();
    float scale[2] = {feed.checked(a.scale), feed.checked(a.scale)};
    store_rows(a.dqkv + (Q - a.qkv), (size_t)3 * a.C, i0 + w0, a.T, m.own[0], w0, dq, scale);
}

template <class Feed, bool DROP>
__global__ void __launch_bounds__(BACKWARD_THREADS, 3)
    backward_kv(const attention_bf16 a, const __grid_constant__ typename Feed::maps maps) {
    backward_tiles<Feed> &m = *shared_memory<backward_tiles<Feed>>();
    int b = blockIdx.z, h = blockIdx.y, j0 = (int)blockIdx.x * 64, w0 = warp() * 16;
    const bf16 *Q = a.head_q(b, h);
    Feed feed(a, maps, m.barriers, b, h);
    place now = {0, 0};
    auto add_queries = [&](place p, int i) {
        if (i * STEP >= a.T) return;
        feed.template tile<STEP>(p, m.other[p.stage][0], MATRIX_Q, i * STEP);
        feed.template tile<STEP>(p, m.other[p.stage][1], MATRIX_DY, i * STEP);
        load_facts(m.facts[p.stage], a, b, h, i * STEP);
    };
    auto fill = [&](place p, int i) {
        feed.begin(p);
        add_queries(p, i);
        feed.end(p);
    };
    auto after = [&](int i) { return next_queries<STEP>(a, b, i + 1, j0 + 64); };

    int i = after(j0 / STEP - 1), i1 = after(i), i2; /* blocks of queries: this, and the next two */
    feed.begin(now);
    feed.template tile<64>(now, m.own[0], MATRIX_K, j0);
    feed.template tile<64>(now, m.own[1], MATRIX_V, j0);
    add_queries(now, i);
    feed.end(now);
    fill(now.after(1), i1);
    feed.template arrived<1>(now);

    uint32_t left_p[4][4], left_ds[4][4];
    float dk[8][4], dv[8][4], s[8][4], dp[8][4];
    clear(dk);
    clear(dv);
    while (i * STEP < a.T) {
        bf16 *now_q = m.other[now.stage][0], *now_dy = m.other[now.stage][1];
        i2 = after(i1);
        fill(now.after(2), i2); /* where the step before was */
        wgmma_begin();
        product<false, false>(s, m.own[0], now_q);
        product<false, false>(dp, m.own[1], now_dy);
        wgmma_commit();
        kept keep = kept_columns<DROP>(a, b, h, j0 + w0 + (lane() >> 2), i * STEP);
        wgmma_wait<0>(s);
        wgmma_wait<0>(dp);
        ds_columns<DROP, STEP>(s, dp, m.facts[now.stage], a, keep, j0 + w0, i * STEP);
        as_left(left_p, s);
        as_left(left_ds, dp);
        wgmma_begin();
        product<true, true>(dv, left_p, now_dy);
        product<true, true>(dk, left_ds, now_q);
        wgmma_commit();
        wgmma_wait<0>(dv);
        wgmma_wait<0>(dk);
        feed.done(now);
        now = now.after(1), i = i1, i1 = i2;
        if (i * STEP < a.T) feed.template arrived<1>(now);
    }
    cp_async_wait<0>();
    __syncthreads();
    float one = feed.checked(1), scale[2] = {one * a.scale, one * a.scale}, ones[2] = {one, one};
    bf16 *dK = a.dqkv + (Q - a.qkv) + a.C;
    store_rows(dK, (size_t)3 * a.C, j0 + w0, a.T, m.own[0], w0, dk, scale);
    store_rows(dK + a.C, (size_t)3 * a.C, j0 + w0, a.T, m.own[1], w0, dv, ones);
}

} // namespace

/* A tensor (B,T,columns) for the copy engine, in boxes of one tile. False: it cannot have it. */
static bool make_map(struct device *d, CUtensorMap *map, const bf16 *at, int B, int T,
                     int columns) {
    auto encode = (decltype(&cuTensorMapEncodeTiled))cuda_map_encoder(d);
    size_t row = (size_t)columns * sizeof(bf16);
    cuuint64_t size[3] = {(cuuint64_t)columns, (cuuint64_t)T, (cuuint64_t)B};
    cuuint64_t stride[2] = {row, row * (size_t)T};
    cuuint32_t box[3] = {TILE_COLUMNS, TILE_ROWS, 1}, step[3] = {1, 1, 1};
    return encode && encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<bf16 *>(at), size,
                            stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                            CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                            CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

template <class Feed>
static void run_forward(struct device *d, const attention_bf16 &a,
                        const typename Feed::maps &maps) {
    dim3 grid(blocks_for(a.T, FORWARD_ROWS), a.NH, a.B);
    launch(d, "attention forward, sm90",
           a.drop.rule.threshold ? forward<Feed, true> : forward<Feed, false>, grid,
           FORWARD_THREADS, sizeof(forward_tiles<Feed>), a, maps);
}

template <class Feed>
static void run_backward_q(struct device *d, const attention_bf16 &a,
                           const typename Feed::maps &maps) {
    launch(d, "attention dq, sm90",
           a.drop.rule.threshold ? backward_q<Feed, true> : backward_q<Feed, false>,
           dim3(blocks_for(a.T, 64), a.NH, a.B), BACKWARD_THREADS, sizeof(backward_tiles<Feed>), a,
           maps);
}

template <class Feed>
static void run_backward_kv(struct device *d, const attention_bf16 &a,
                            const typename Feed::maps &maps) {
    launch(d, "attention dk dv, sm90",
           a.drop.rule.threshold ? backward_kv<Feed, true> : backward_kv<Feed, false>,
           dim3(blocks_for(a.T, 64), a.NH, a.B), BACKWARD_THREADS, sizeof(backward_tiles<Feed>), a,
           maps);
}

void attention_forward_sm90(struct device *d, const attention_bf16 &a, bool by_engine) {
    constexpr int THREADS = FORWARD_THREADS;
    engine_maps maps = {};
    if (by_engine && make_map(d, &maps.qkv, a.qkv, a.B, a.T, 3 * a.C))
        run_forward<engine_feed<THREADS, 1>>(d, a, maps);
    else
        run_forward<thread_feed<THREADS>>(d, a, {});
}
void attention_backward_sm90(struct device *d, const attention_bf16 &a, bool by_engine) {
    constexpr int THREADS = BACKWARD_THREADS;
    engine_maps maps = {};
    if (by_engine && make_map(d, &maps.qkv, a.qkv, a.B, a.T, 3 * a.C) &&
        make_map(d, &maps.dy, a.dy, a.B, a.T, a.C)) {
        run_backward_q<engine_feed<THREADS, 1>>(d, a, maps);
        run_backward_kv<engine_feed<THREADS, STEP>>(d, a, maps);
    } else {
        run_backward_q<thread_feed<THREADS>>(d, a, {});
        run_backward_kv<thread_feed<THREADS>>(d, a, {});
    }
}
