/* Residual addition and LayerNorm; the mathematics is in train/ref/norm.c.
 *
 * A warp takes a row. It is copied to shared memory first, all of it at once, as it is the memory
 * that is waited for; from there each lane reads what it has copied itself, N elements at a time
 * (16 bytes' worth where C allows, else 1), once for each pass, so that nothing has to stay in
 * registers and no barrier is needed. Backward copies the next row while it works on one.
 *
 * dg and db are summed into accumulators of the warp's own in shared memory, which are added up in
 * a fixed order: warps of a block, then blocks by a second kernel. They lie there by fours, each
 * where the lanes' first, second, … fours are side by side, so that lanes read and write 16 bytes
 * at a time and meet in no bank:
 *
 * Up to EARLY_ROWS rows, as in generation, are a block's each, and stay in registers.
 *
 *   columns, N = 8     0 … 3 | 4 … 7 | 8 … 11 | 12 … 15 | … | 252 … 255 | 256 …
 *   as they lie        0 … 3 | 8 … 11 | 16 … 19 | … | 4 … 7 | 12 … 15 | … | 256 …
 */
#include "cuda/few.h"
#include "cuda/kernel.cuh"

namespace {

enum { FORWARD_WARPS = 4, BACKWARD_WARPS = 12, REDUCE_WARPS = 8 };

/* Elements that C columns take in shared memory. */
template <int N> int padded(int C) {
    return (C + 32 * N - 1) / (32 * N) * (32 * N);
}
/* The column of a row that lies at `at`. */
template <int N> __device__ __forceinline__ int column(int at) {
    if constexpr (N == 1) {
        return at;
    } else {
        int four = at / 4, round = four / 32 / (N / 4), i = four / 32 % (N / 4);
        return (round * 32 + four % 32) * N + i * 4 + at % 4;
    }
}

/* sums += x, of the columns from c on. */
template <int N>
__device__ __forceinline__ void add_columns(float *sums, int c, const float (&x)[N]) {
    if constexpr (N == 1) {
        sums[c] += x[0];
    } else {
        int p = c / N; /* piece */
#pragma unroll
        for (int i = 0; i < N; i += 4) {
            float *at = sums + ((p / 32 * (N / 4) + i / 4) * 32 + p % 32) * 4;
            float4 s = load_vector<float4>(at);
            store_vector(at,
                         make_float4(s.x + x[i], s.y + x[i + 1], s.z + x[i + 2], s.w + x[i + 3]));
        }
    }
}

/* Starts the copy of this lane's part of a row; cp_async_commit() and _wait() as for others. */
template <class A, int N> __device__ __forceinline__ void copy_row(A *to, const A *row, int C) {
    for (int c = threadIdx.x % 32 * N; c < C; c += 32 * N) {
        if constexpr (N == 1)
            to[c] = row[c];
        else
            cp_async16(to + c, row + c);
    }
}

/* Shared: x and add of each warp's row, (warps, 2, room). */
template <class A, int N>
__global__ void norm_forward_kernel(A *y, A *sum, float *mean, float *rstd, const A *x,
                                    const A *add, const A *g, const A *b, size_t rows, int T, int C,
                                    int room, float eps, drop_rule rule) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    size_t r = (size_t)blockIdx.x * (blockDim.x / 32) + warp;
    A *row = shared_memory<A>() + (size_t)warp * 2 * room, *added = row + room;
    if (r >= rows) return;
    copy_row<A, N>(row, x + r * C, C);
    if (add) copy_row<A, N>(added, add + r * C, C);
    cp_async_commit();
    cp_async_wait<0>();
    float m = 0, var = 0;
    for (int c = lane * N; c < C; c += 32 * N) {
        piece<A, N> s;
        s.load(row + c);
        if (add) {
            piece<A, N> a;
            a.load(added + c);
            a.drop(rule, (int)(r / T), (uint64_t)(r % T) * C + c);
#pragma unroll
            for (int i = 0; i < N; i++) s.v[i] = to_float(from_float<A>(s.v[i] + a.v[i]));
            s.store(row + c);
            s.store(sum + r * C + c);
        }
#pragma unroll
        for (int i = 0; i < N; i++) m += s.v[i];
    }
    m = warp_sum(m) / (float)C;
    for (int c = lane * N; c < C; c += 32 * N) {
        piece<A, N> s;
        s.load(row + c);
#pragma unroll
        for (int i = 0; i < N; i++) var += (s.v[i] - m) * (s.v[i] - m);
    }
    float rs = rsqrtf(warp_sum(var) / (float)C + eps);
#pragma unroll 4
    for (int c = lane * N; c < C; c += 32 * N) {
        piece<A, N> s, gs, bs;
        gs.load(g + c);
        bs.load(b + c);
        s.load(row + c);
#pragma unroll
        for (int i = 0; i < N; i++) s.v[i] = gs.v[i] * ((s.v[i] - m) * rs) + bs.v[i];
        s.store(y + r * C + c);
    }
    if (lane == 0) {
        mean[r] = m;
        rstd[r] = rs;
    }
}

/* A row, a piece of it a thread. Shared: two rows of sums for reductions (64). */
template <class A, int N>
__global__ void norm_row_kernel(A *y, A *sum, float *mean, float *rstd, const A *x, const A *add,
                                const A *g, const A *b, int T, int C, float eps, drop_rule rule) {
    float *part = shared_memory<float>();
    size_t r = blockIdx.x;
    int c = threadIdx.x * N;
    bool mine = c < C;
    piece<A, N> gain = {}, shift = {}, s = {};
    if (mine) gain.load(g + c), shift.load(b + c);
    next_may_begin();
    wait_for_earlier();
    if (mine) s.load(x + r * C + c);
    if (mine && add) {
        piece<A, N> a;
        a.load(add + r * C + c);
        a.drop(rule, (int)(r / T), (uint64_t)(r % T) * C + c);
#pragma unroll
        for (int i = 0; i < N; i++) s.v[i] = to_float(from_float<A>(s.v[i] + a.v[i]));
        s.store(sum + r * C + c);
    }
    float m = 0, var = 0;
#pragma unroll
    for (int i = 0; i < N; i++) m += s.v[i];
    m = block_sum(m, part) / (float)C;
#pragma unroll
    for (int i = 0; i < N && mine; i++) var += (s.v[i] - m) * (s.v[i] - m);
    float rs = rsqrtf(block_sum(var, part + 32) / (float)C + eps);
#pragma unroll
    for (int i = 0; i < N; i++) s.v[i] = gain.v[i] * ((s.v[i] - m) * rs) + shift.v[i];
    if (mine) s.store(y + r * C + c);
    if (threadIdx.x == 0) {
        mean[r] = m;
        rstd[r] = rs;
    }
}

/* What backward reads of a row. */
template <class A> struct norm_rows {
    const A *dy, *sum;
    A *dsum;
    const float *mean, *rstd;
    size_t n;
};

/* Shared: g (room), a warp's three rows of this and of the next step, and its accumulators:
 *
 *   g | warp 0: dy sum dsum, dy sum dsum | warp 1: … | warp 0: dg db add_db (fp32) | warp 1: …
 *
 * partial: (gridDim.x, SUMS, room), as columns lie. SUMS 2: without add_db. */
template <class A, int N, int SUMS>
__global__ void norm_backward_kernel(norm_rows<A> rows, A *dadd, float *partial, const A *g, int T,
                                     int C, int room, drop_rule rule) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    A *gain = shared_memory<A>(), *mine = gain + room + (size_t)warp * 6 * room;
    float *all = reinterpret_cast<float *>(gain + room + (size_t)warps * 6 * room);
    float *dg = all + (size_t)warp * SUMS * room, *db = dg + room, *add_db = db + room;
    const size_t step = (size_t)gridDim.x * warps;
    auto copy = [&](size_t r, int at) { /* rows past the end, too, so that copies can be counted */
                                        A *to = mine + at * 3 * room;
                                        if (r < rows.n) {
                                            copy_row<A, N>(to, rows.dy + r * C, C);
                                            copy_row<A, N>(to + room, rows.sum + r * C, C);
                                            copy_row<A, N>(to + 2 * room, rows.dsum + r * C, C);
                                        }
                                        cp_async_commit();
    };
    size_t r = (size_t)blockIdx.x * warps + warp;
    copy(r, 0);
    for (int c = threadIdx.x; c < C; c += blockDim.x) gain[c] = g[c];
    for (int c = lane; c < SUMS * room; c += 32) dg[c] = 0;
    __syncthreads();
    for (int at = 0; r < rows.n; r += step, at ^= 1) {
        const A *dy = mine + at * 3 * room, *sum = dy + room, *dsum = sum + room;
        float m = rows.mean[r], rs = rows.rstd[r], avg = 0, avg_n = 0;
        copy(r + step, at ^ 1);
        cp_async_wait<1>();
        for (int c = lane * N; c < C; c += 32 * N) {
            piece<A, N> d, s, w;
            d.load(dy + c);
            s.load(sum + c);
            w.load(gain + c);
#pragma unroll
            for (int i = 0; i < N; i++) {
                float n = (s.v[i] - m) * rs, dn = d.v[i] * w.v[i];
                avg += dn;
                avg_n += dn * n;
                s.v[i] = d.v[i] * n;
            }
            add_columns<N>(dg, c, s.v);
            add_columns<N>(db, c, d.v);
        }
        avg = warp_sum(avg) / (float)C;
        avg_n = warp_sum(avg_n) / (float)C;
        for (int c = lane * N; c < C; c += 32 * N) {
            piece<A, N> d, s, w, out;
            d.load(dy + c);
            s.load(sum + c);
            w.load(gain + c);
            out.load(dsum + c);
#pragma unroll
            for (int i = 0; i < N; i++) {
                float n = (s.v[i] - m) * rs, dn = d.v[i] * w.v[i];
                out.v[i] = to_float(from_float<A>(out.v[i] + rs * (dn - avg - n * avg_n)));
            }
            out.store(rows.dsum + r * C + c);
            if (dadd) {
                out.drop(rule, (int)(r / T), (uint64_t)(r % T) * C + c);
                out.store(dadd + r * C + c);
                out.round();
            }
            if constexpr (SUMS == 3) add_columns<N>(add_db, c, out.v);
        }
    }
    cp_async_wait<0>();
    __syncthreads();
    for (int at = threadIdx.x; at < SUMS * room; at += blockDim.x) {
        float s = 0;
        for (int w = 0; w < warps; w++) s += all[(size_t)w * SUMS * room + at];
        partial[(size_t)blockIdx.x * SUMS * room + at] = s;
    }
}

/* dg, db, add_db += the sums over `n` blocks, each of `sums` rooms: a block takes 32 places, its
 * warps every 8th of the sums. */
template <int N>
__global__ void norm_reduce_kernel(float *dg, float *db, float *add_db, const float *partial, int n,
                                   int sums, int C, int room) {
    float(*part)[32] = shared_memory<float[32]>(); /* (REDUCE_WARPS, 32) */
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, at = blockIdx.x * 32 + lane;
    float s = 0;
    for (int i = warp; i < n; i += REDUCE_WARPS) s += partial[(size_t)i * sums * room + at];
    part[warp][lane] = s;
    __syncthreads();
    int c = column<N>(at % room);
    if (warp != 0 || c >= C) return;
    for (int w = 1; w < REDUCE_WARPS; w++) s += part[w][lane];
    (at < room ? dg : at < 2 * room ? db : add_db)[c] += s;
}

/* As many warps, at most `most`, as have `each` bytes of shared memory beside `common`. */
int warps_for(struct device *d, int most, size_t common, size_t each) {
    size_t fit = (cuda_shared_limit(d) - common) / each;
    return fit < 1 ? 1 : fit < (size_t)most ? (int)fit : most;
}

template <class A, int N>
void forward(struct device *d, void *y, void *sum, float *mean, float *rstd, const void *x,
             const void *add, const void *g, const void *b, size_t rows, int T, int C, float eps,
             struct dropout drop) {
    unsigned threads = blocks_for((size_t)C, 32 * N) * 32;
    if (rows <= EARLY_ROWS && N > 1 && threads <= 1024) {
        launch_early(d, "norm_row", norm_row_kernel<A, N>, (unsigned)rows, threads,
                     64 * sizeof(float), (A *)y, (A *)sum, mean, rstd, (const A *)x, (const A *)add,
                     (const A *)g, (const A *)b, T, C, eps, drop_rule_of(drop));
        return;
    }
    int room = padded<N>(C);
    size_t each = 2 * (size_t)room * sizeof(A);
    int warps = warps_for(d, FORWARD_WARPS, 0, each);
    launch(d, "norm_forward", norm_forward_kernel<A, N>, blocks_for(rows, warps), 32 * warps,
           warps * each, (A *)y, (A *)sum, mean, rstd, (const A *)x, (const A *)add, (const A *)g,
           (const A *)b, rows, T, C, room, eps, drop_rule_of(drop));
}

template <class A, int N, int SUMS>
void backward_sums(struct device *d, void *dsum, void *dadd, float *dg, float *db, float *add_db,
                   const void *dy, const void *sum, const float *mean, const float *rstd,
                   const void *g, size_t rows, int T, int C, struct dropout drop) {
    int room = padded<N>(C);
    size_t common = (size_t)room * sizeof(A),
           each = (size_t)room * (6 * sizeof(A) + SUMS * sizeof(float));
    int warps = warps_for(d, BACKWARD_WARPS, common, each);
    unsigned blocks = blocks_for(rows, warps), most = (unsigned)cuda_multiprocessors(d);
    if (blocks > most) blocks = most;
    float *partial = (float *)cuda_work(d, (size_t)blocks * SUMS * room * sizeof(float));
    norm_rows<A> in = {(const A *)dy, (const A *)sum, (A *)dsum, mean, rstd, rows};
    launch(d, "norm_backward", norm_backward_kernel<A, N, SUMS>, blocks, 32 * warps,
           common + warps * each, in, (A *)dadd, partial, (const A *)g, T, C, room,
           drop_rule_of(drop));
    launch(d, "norm_reduce", norm_reduce_kernel<N>, SUMS * (unsigned)room / 32, 32 * REDUCE_WARPS,
           REDUCE_WARPS * 32 * sizeof(float), dg, db, add_db, (const float *)partial, (int)blocks,
           SUMS, C, room);
}

template <class A, int N>
void backward(struct device *d, void *dsum, void *dadd, float *dg, float *db, float *add_db,
              const void *dy, const void *sum, const float *mean, const float *rstd, const void *g,
              size_t rows, int T, int C, struct dropout drop) {
    auto *f = add_db ? backward_sums<A, N, 3> : backward_sums<A, N, 2>;
    f(d, dsum, dadd, dg, db, add_db, dy, sum, mean, rstd, g, rows, T, C, drop);
}

} // namespace

void cuda_norm_forward(struct device *d, void *y, void *sum, float *mean, float *rstd,
                       const void *x, const void *add, const void *g, const void *b, int B, int T,
                       int C, float eps, struct dropout drop) {
    size_t rows = (size_t)B * T;
    auto *f = PIECES(d, C, forward);
    f(d, y, sum, mean, rstd, x, add, g, b, rows, T, C, eps, drop);
}

void cuda_norm_backward(struct device *d, void *dsum, void *dadd, float *dg, float *db,
                        float *add_db, const void *dy, const void *sum, const float *mean,
                        const float *rstd, const void *g, int B, int T, int C,
                        struct dropout drop) {
    size_t rows = (size_t)B * T;
    auto *f = PIECES(d, C, backward);
    f(d, dsum, dadd, dg, db, add_db, dy, sum, mean, rstd, g, rows, T, C, drop);
}
