/* Causal attention on tensor cores, for any NVIDIA GPU since Ampere (mma.sync m16n8k16, bf16 in,
 * fp32 out). The mathematics is in train/ref/attention.c; the tiles are those of
 * FlashAttention-2 (Dao 2023): a block of rows meets blocks of keys, scores live in registers,
 * T×T is never in memory.
 *
 *              keys  (64 at a time, two stages of shared memory)
 *            ┌────┬────┬────┐
 *   queries  │ ▓▓ │ ▓▓ │ ▓\ │   forward, dq: one block of threads owns rows of this picture
 *   (rows)   ├────┼────┼────┤   dk, dv:      … owns columns, and computes the scores transposed
 *            │ ▓▓ │ ▓▓ │    │
 *
 * Nothing is added by atomics: dq and dk/dv are made by two kernels, each of which computes the
 * scores again (7 products instead of 5), so that every sum has one order and runs are bitwise
 * equal. A warp owns 16 rows of a product (forward: 16 * MT): its accumulators are, register for
 * register, the left operand of the next product, so probabilities never leave the warp.
 *
 * Shared tiles are [row][HSP + 8] bf16: the 16 bytes of padding spread the eight rows that an
 * ldmatrix reads over all banks. Head sizes that are multiples of 8 run in the next of 64 and
 * 128, the columns between them zero. */
#include "cuda/attention_rows.cuh"

namespace {

constexpr int PAD = 8;       /* elements between the rows of a tile */
constexpr int THREADS = 128; /* four warps                          */

/* ------------------------------------------------------------------ tiles */

template <int HSP> using loader = tile_loader<HSP / 8, THREADS, HSP + PAD>;

/* Accumulators of a warp (16 × HSP, row g times scale[0], g + 8 times scale[1]) to rows [first,
 * …) of a (T, HS) matrix, by way of the warp's own 16 rows of a tile, so that memory sees 16
 * bytes at a time. */
template <int HSP>
__device__ void store_rows(bf16 *to, size_t stride, int first, int T, int HS, bf16 *rows,
                           const float (&acc)[HSP / 8][4], const float (&scale)[2]) {
    constexpr int LD = HSP + PAD, CHUNKS = HSP / 8;
    int g = lane() >> 2, q = lane() & 3;
    __syncwarp();
#pragma unroll
    for (int n = 0; n < HSP / 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            *(uint32_t *)(rows + (g + 8 * half) * LD + n * 8 + 2 * q) =
                pack_bf16(acc[n][2 * half] * scale[half], acc[n][2 * half + 1] * scale[half]);
    __syncwarp();
    for (int i = lane(); i < 16 * CHUNKS; i += 32) {
        int r = i / CHUNKS, c = i % CHUNKS * 8;
        if (first + r < T && c < HS)
            store16(to + (size_t)(first + r) * stride + c, load16(rows + r * LD + c));
    }
}

/* ------------------------------------------------------------------ products */

/* The left operand: 16 rows of a tile, K wide, as fragments (PTX ISA, "Matrix fragments for
 * mma.m16n8k16"). */
template <int K> __device__ void left_of_tile(uint32_t (&a)[K / 16][4], const bf16 *rows) {
    constexpr int LD = K + PAD;
#pragma unroll
    for (int k = 0; k < K / 16; k++)
        ldmatrix_x4(a[k], rows + (lane() & 15) * LD + k * 16 + (lane() >> 4) * 8);
}

/* acc (MT × 16 rows, 8 N8) += A (MT × 16 rows, 16 K16) B. The tile, whose rows are LD apart, is
 * B's transpose (its rows are n), or B itself (its rows are k) if `ROWS_ARE_K`. */
template <bool ROWS_ARE_K, int LD, int MT, int N8, int K16>
__device__ void product(float (&acc)[MT][N8][4], const uint32_t (&a)[MT][K16][4],
                        const bf16 *tile) {
    int l7 = lane() & 7, l8 = lane() >> 3 & 1, l16 = lane() >> 4;
#pragma unroll
    for (int k = 0; k < K16; k++)
#pragma unroll
        for (int n = 0; n < N8 / 2; n++) {
            uint32_t b[4]; /* two n-tiles */
            if (ROWS_ARE_K)
                ldmatrix_x4_trans(b, tile + (k * 16 + l7 + l8 * 8) * LD + n * 16 + l16 * 8);
            else
                ldmatrix_x4(b, tile + (n * 16 + l7 + l16 * 8) * LD + k * 16 + l8 * 8);
#pragma unroll
            for (int t = 0; t < MT; t++) {
                mma_bf16(acc[t][2 * n], a[t][k], b);
                mma_bf16(acc[t][2 * n + 1], a[t][k], b + 2);
            }
        }
}

/* ------------------------------------------------------------------ forward */

/* Shared memory of the forward kernel. */
template <int HSP> struct forward_tiles {
    static constexpr int MT = HSP == 64 ? 2 : 1, ROWS = 64 * MT, STEP = 64, LD = HSP + PAD;
    alignas(16) bf16 q[ROWS * LD], k[2][STEP * LD], v[2][STEP * LD];
    int lows[THREADS / 32];
};

template <int HSP, bool DROP>
__global__ void __launch_bounds__(THREADS) forward(const attention_bf16 a) {
    using tiles = forward_tiles<HSP>;
    constexpr int MT = tiles::MT, ROWS = tiles::ROWS, STEP = tiles::STEP, LD = tiles::LD;
    tiles &m = *shared_memory<tiles>();
    int b = blockIdx.z, h = blockIdx.y;
    int i0 = (int)(gridDim.x - 1 - blockIdx.x) * ROWS; /* the longest rows first */
    int w0 = warp() * 16 * MT;                         /* this warp's first row in the tile */
    const loader<HSP> qkv(a.head_q(b, h), (size_t)3 * a.C, a.HS);
    auto load_keys = [&](int j, int stage) {
        qkv.template load<STEP>(m.k[stage], j * STEP, a.T, a.C);
        qkv.template load<STEP>(m.v[stage], j * STEP, a.T, 2 * a.C);
    };

    row_pair rows[MT];
#pragma unroll
    for (int t = 0; t < MT; t++) rows[t] = make_rows(a, b, h, i0 + w0 + t * 16);
    int low = lowest_key<ROWS>(a, b, i0, m.lows);
    int j_low = low / STEP, j_end = (min(i0 + ROWS, a.T) - 1) / STEP; /* blocks of keys */

    qkv.template load<ROWS>(m.q, i0, a.T);
    if (j_low <= j_end) load_keys(j_low, 0);
    cp_async_commit();

    uint32_t left_q[MT][HSP / 16][4], left_p[MT][STEP / 16][4];
    float acc[MT][HSP / 8][4], s[MT][STEP / 8][4], top[MT][2], sum[MT][2];
#pragma unroll
    for (int t = 0; t < MT; t++) {
        clear(acc[t]);
        top[t][0] = top[t][1] = -INFINITY, sum[t][0] = sum[t][1] = 0;
    }
    for (int j = j_low, stage = 0; j <= j_end; j++, stage ^= 1) {
        if (j < j_end) load_keys(j + 1, stage ^ 1);
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
#pragma unroll
        for (int t = 0; t < MT; t++) {
            if (j == j_low) left_of_tile<HSP>(left_q[t], m.q + (w0 + t * 16) * LD);
            clear(s[t]);
        }
        product<false, LD>(s, left_q, m.k[stage]);
#pragma unroll
        for (int t = 0; t < MT; t++) {
            kept keep = kept_rows<DROP>(a, rows[t], j * STEP);
            softmax_step<DROP>(s[t], acc[t], top[t], sum[t], a, rows[t], keep, j * STEP);
            as_left(left_p[t], s[t]);
        }
        product<true, LD>(acc, left_p, m.v[stage]);
        __syncthreads(); /* the next load goes where this stage was */
    }
    cp_async_wait<0>();
    __syncthreads();
    bf16 *y = a.y + (size_t)b * a.T * a.C + (size_t)h * a.HS;
#pragma unroll
    for (int t = 0; t < MT; t++) {
        float inverse[2];
        softmax_end(inverse, top[t], sum[t], a, rows[t]);
        store_rows<HSP>(y, a.C, i0 + w0 + t * 16, a.T, a.HS, m.q + (w0 + t * 16) * LD, acc[t],
                        inverse);
    }
}

/* ------------------------------------------------------------------ backward */

/* Shared memory of both backward kernels. */
template <int HSP> struct backward_tiles {
    static constexpr int ROWS = 64;                  /* owned: queries (dq), keys (dk, dv) */
    static constexpr int STEP = HSP == 64 ? 64 : 32; /* of the other kind, at a time       */
    static constexpr int LD = HSP + PAD;
    alignas(16) bf16 own[2][ROWS * LD];      /* q, dy; or k, v             */
    alignas(16) bf16 other[2][2][STEP * LD]; /* two stages of k, v; or q, dy */
    query_facts<STEP> facts[2];
    int lows[THREADS / 32];
};

/* dq_i = scale sum_j ds_ij k_j: owns 64 queries, walks over their keys. */
template <int HSP, bool DROP>
__global__ void __launch_bounds__(THREADS) backward_q(const attention_bf16 a) {
    using tiles = backward_tiles<HSP>;
    constexpr int ROWS = tiles::ROWS, STEP = tiles::STEP, LD = tiles::LD;
    tiles &m = *shared_memory<tiles>();
    int b = blockIdx.z, h = blockIdx.y, w0 = warp() * 16;
    int i0 = (int)(gridDim.x - 1 - blockIdx.x) * ROWS;
    const bf16 *Q = a.head_q(b, h);
    const size_t stride = (size_t)3 * a.C;
    const loader<HSP> qkv(Q, stride, a.HS),
        dy(a.dy + (size_t)b * a.T * a.C + (size_t)h * a.HS, a.C, a.HS);
    auto load_keys = [&](int j, int stage) {
        qkv.template load<STEP>(m.other[stage][0], j * STEP, a.T, a.C);
        qkv.template load<STEP>(m.other[stage][1], j * STEP, a.T, 2 * a.C);
    };

    row_pair rows = make_rows(a, b, h, i0 + w0);
    float lse[2], delta[2];
    query_rows(lse, delta, a, rows);
    int low = lowest_key<ROWS>(a, b, i0, m.lows);
    int j_low = low / STEP, j_end = (min(i0 + ROWS, a.T) - 1) / STEP;

    qkv.template load<ROWS>(m.own[0], i0, a.T);
    dy.template load<ROWS>(m.own[1], i0, a.T);
    if (j_low <= j_end) load_keys(j_low, 0);
    cp_async_commit();

    uint32_t left_q[1][HSP / 16][4], left_dy[1][HSP / 16][4], left_ds[1][STEP / 16][4];
    float dq[1][HSP / 8][4], s[1][STEP / 8][4], dp[1][STEP / 8][4];
    clear(dq[0]);
    for (int j = j_low, stage = 0; j <= j_end; j++, stage ^= 1) {
        if (j < j_end) load_keys(j + 1, stage ^ 1);
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
        if (j == j_low) {
            left_of_tile<HSP>(left_q[0], m.own[0] + w0 * LD);
            left_of_tile<HSP>(left_dy[0], m.own[1] + w0 * LD);
        }
        kept keep = kept_rows<DROP>(a, rows, j * STEP);
        clear(s[0]);
        product<false, LD>(s, left_q, m.other[stage][0]);
        clear(dp[0]);
        product<false, LD>(dp, left_dy, m.other[stage][1]);
        ds_rows<DROP>(s[0], dp[0], lse, delta, a, rows, keep, j * STEP);
        as_left(left_ds[0], s[0]);
        product<true, LD>(dq, left_ds, m.other[stage][0]);
        __syncthreads();
    }
    cp_async_wait<0>();
    __syncthreads();
    float scale[2] = {a.scale, a.scale};
    store_rows<HSP>(a.dqkv + (Q - a.qkv), stride, i0 + w0, a.T, a.HS, m.own[0] + w0 * LD, dq[0],
                    scale);
}

/* dk_j = scale sum_i ds_ij q_i, dv_j = sum_i keep p_ij dy_i: owns 64 keys, walks over the
 * queries from the diagonal on; rows are keys. */
template <int HSP, bool DROP>
__global__ void __launch_bounds__(THREADS) backward_kv(const attention_bf16 a) {
    using tiles = backward_tiles<HSP>;
    constexpr int ROWS = tiles::ROWS, STEP = tiles::STEP, LD = tiles::LD;
    tiles &m = *shared_memory<tiles>();
    int b = blockIdx.z, h = blockIdx.y, j0 = (int)blockIdx.x * ROWS, w0 = warp() * 16;
    const bf16 *Q = a.head_q(b, h);
    const size_t stride = (size_t)3 * a.C;
    const loader<HSP> qkv(Q, stride, a.HS),
        dy(a.dy + (size_t)b * a.T * a.C + (size_t)h * a.HS, a.C, a.HS);
    auto load_queries = [&](int i, int stage) {
        qkv.template load<STEP>(m.other[stage][0], i * STEP, a.T);
        dy.template load<STEP>(m.other[stage][1], i * STEP, a.T);
        load_facts(m.facts[stage], a, b, h, i * STEP);
    };

    qkv.template load<ROWS>(m.own[0], j0, a.T, a.C);
    qkv.template load<ROWS>(m.own[1], j0, a.T, 2 * a.C);
    int now = next_queries<STEP>(a, b, j0 / STEP, j0 + ROWS); /* blocks of queries */
    if (now * STEP < a.T) load_queries(now, 0);
    cp_async_commit();

    uint32_t left[1][HSP / 16][4], left_p[1][STEP / 16][4];
    float dk[1][HSP / 8][4], dv[1][HSP / 8][4], s[1][STEP / 8][4], dp[1][STEP / 8][4];
    clear(dk[0]);
    clear(dv[0]);
    for (int stage = 0, next; now * STEP < a.T; now = next, stage ^= 1) {
        const bf16 *now_q = m.other[stage][0], *now_dy = m.other[stage][1];
        next = next_queries<STEP>(a, b, now + 1, j0 + ROWS);
        if (next * STEP < a.T) load_queries(next, stage ^ 1);
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
        kept keep = kept_columns<DROP>(a, b, h, j0 + w0 + (lane() >> 2), now * STEP);
        left_of_tile<HSP>(left[0], m.own[0] + w0 * LD);
        clear(s[0]);
        product<false, LD>(s, left, now_q);
        left_of_tile<HSP>(left[0], m.own[1] + w0 * LD);
        clear(dp[0]);
        product<false, LD>(dp, left, now_dy);
        ds_columns<DROP, STEP>(s[0], dp[0], m.facts[stage], a, keep, j0 + w0, now * STEP);
        as_left(left_p[0], s[0]);
        product<true, LD>(dv, left_p, now_dy);
        as_left(left_p[0], dp[0]);
        product<true, LD>(dk, left_p, now_q);
        __syncthreads();
    }
    cp_async_wait<0>();
    __syncthreads();
    float scale[2] = {a.scale, a.scale}, one[2] = {1, 1};
    bf16 *dK = a.dqkv + (Q - a.qkv) + a.C;
    store_rows<HSP>(dK, stride, j0 + w0, a.T, a.HS, m.own[0] + w0 * LD, dk[0], scale);
    store_rows<HSP>(dK + a.C, stride, j0 + w0, a.T, a.HS, m.own[1] + w0 * LD, dv[0], one);
}

} // namespace

template <int HSP, bool DROP> void launch_forward(struct device *d, const attention_bf16 &a) {
    using tiles = forward_tiles<HSP>;
    dim3 grid(blocks_for(a.T, tiles::ROWS), a.NH, a.B);
    launch(d, "attention forward", forward<HSP, DROP>, grid, THREADS, sizeof(tiles), a);
}
template <int HSP, bool DROP> void launch_backward(struct device *d, const attention_bf16 &a) {
    using tiles = backward_tiles<HSP>;
    dim3 grid(blocks_for(a.T, tiles::ROWS), a.NH, a.B);
    launch(d, "attention dq", backward_q<HSP, DROP>, grid, THREADS, sizeof(tiles), a);
    launch(d, "attention dk dv", backward_kv<HSP, DROP>, grid, THREADS, sizeof(tiles), a);
}

void attention_forward_mma(struct device *d, const attention_bf16 &a) {
    bool drop = a.drop.rule.threshold > 0;
    if (a.HS <= 64)
        drop ? launch_forward<64, true>(d, a) : launch_forward<64, false>(d, a);
    else
        drop ? launch_forward<128, true>(d, a) : launch_forward<128, false>(d, a);
}
void attention_backward_mma(struct device *d, const attention_bf16 &a) {
    bool drop = a.drop.rule.threshold > 0;
    if (a.HS <= 64)
        drop ? launch_backward<64, true>(d, a) : launch_backward<64, false>(d, a);
    else
        drop ? launch_backward<128, true>(d, a) : launch_backward<128, false>(d, a);
}
