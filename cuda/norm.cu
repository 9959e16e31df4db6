/* Residual addition and LayerNorm; the mathematics is in train/ref/norm.c.
 *
 * A warp takes a row. Forward keeps the row in shared memory as fp32 between its passes; backward
 * reads it twice (the second time from the cache) and sums dg and db into accumulators of the
 * warp's own, which are added up in fixed order: warps of a block, then blocks by a second kernel.
 *
 * N is the number of elements a lane takes at a time: 16 bytes' worth where C allows, else 1. In
 * shared memory they lie apart, each where the lanes' first, second, … elements are side by side,
 * so that no two lanes meet in a bank:
 *
 *   columns, N = 4     0 1 2 3 | 4 5 6 7 | … | 124 … 127 | 128 …
 *   as they lie        0 4 8 … 124 | 1 5 9 … 125 | 2 … | 3 … 127 | 128 132 …
 */
#include "cuda/kernel.cuh"

namespace {

enum { FORWARD_WARPS = 4, BACKWARD_WARPS = 8 };

/* Floats in which C columns lie. */
template <int N> int padded(int C) {
    return (C + 32 * N - 1) / (32 * N) * (32 * N);
}
/* Where column c lies, and the column that lies there. */
template <int N> __device__ __forceinline__ int place(int c) {
    if constexpr (N == 1) return c;
    int p = c / N, i = c % N; /* piece and element in it */
    return (p / 32 * N + i) * 32 + p % 32;
}
template <int N> __device__ __forceinline__ int column(int at) {
    if constexpr (N == 1) return at;
    int round = at / 32 / N, i = at / 32 % N;
    return (round * 32 + at % 32) * N + i;
}

template <class A, int N>
__global__ void norm_forward_kernel(A *y, A *sum, float *mean, float *rstd, const A *x,
                                    const A *add, const A *g, const A *b, size_t rows, int T, int C,
                                    int room, float eps, drop_rule rule) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    size_t r = (size_t)blockIdx.x * (blockDim.x / 32) + warp;
    float *row = shared_memory<float>() + (size_t)warp * room; /* of this warp */
    if (r >= rows) return;
    const A *xr = x + r * C;
    float m = 0, var = 0;
    for (int c = lane * N; c < C; c += 32 * N) {
        piece<A, N> s;
        s.load(xr + c);
        if (add) {
            piece<A, N> a;
            a.load(add + r * C + c);
            a.drop(rule, (int)(r / T), (uint64_t)(r % T) * C + c);
#pragma unroll
            for (int i = 0; i < N; i++) s.v[i] = to_float(from_float<A>(s.v[i] + a.v[i]));
            s.store(sum + r * C + c);
        }
#pragma unroll
        for (int i = 0; i < N; i++) {
            m += s.v[i];
            row[place<N>(c + i)] = s.v[i];
        }
    }
    m = warp_sum(m) / (float)C;
    for (int c = lane * N; c < C; c += 32 * N)
#pragma unroll
        for (int i = 0; i < N; i++) {
            float x = row[place<N>(c + i)] - m;
            var += x * x;
        }
    float rs = rsqrtf(warp_sum(var) / (float)C + eps);
    for (int c = lane * N; c < C; c += 32 * N) {
        piece<A, N> gs, bs, out;
        gs.load(g + c);
        bs.load(b + c);
#pragma unroll
        for (int i = 0; i < N; i++)
            out.v[i] = gs.v[i] * ((row[place<N>(c + i)] - m) * rs) + bs.v[i];
        out.store(y + r * C + c);
    }
    if (lane == 0) {
        mean[r] = m;
        rstd[r] = rs;
    }
}

/* partial: (gridDim.x, 2, room), as columns lie. */
template <class A, int N>
__global__ void norm_backward_kernel(A *dsum, A *dadd, float *partial, const A *dy, const A *sum,
                                     const float *mean, const float *rstd, const A *g, size_t rows,
                                     int T, int C, int room, drop_rule rule) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    float *all = shared_memory<float>(); /* (warps, 2, room) */
    float *dg = all + (size_t)warp * 2 * room, *db = dg + room;
    for (int c = lane; c < 2 * room; c += 32) dg[c] = 0;
    __syncwarp();
    for (size_t r = (size_t)blockIdx.x * warps + warp; r < rows; r += (size_t)gridDim.x * warps) {
        float m = mean[r], rs = rstd[r], avg = 0, avg_n = 0;
        for (int c = lane * N; c < C; c += 32 * N) {
            piece<A, N> d, s, w;
            d.load(dy + r * C + c);
            s.load(sum + r * C + c);
            w.load(g + c);
#pragma unroll
            for (int i = 0; i < N; i++) {
                float n = (s.v[i] - m) * rs, dn = d.v[i] * w.v[i];
                avg += dn;
                avg_n += dn * n;
                dg[place<N>(c + i)] += d.v[i] * n;
                db[place<N>(c + i)] += d.v[i];
            }
        }
        avg = warp_sum(avg) / (float)C;
        avg_n = warp_sum(avg_n) / (float)C;
        for (int c = lane * N; c < C; c += 32 * N) {
            piece<A, N> d, s, w, out;
            d.load(dy + r * C + c);
            s.load(sum + r * C + c);
            w.load(g + c);
            out.load(dsum + r * C + c);
#pragma unroll
            for (int i = 0; i < N; i++) {
                float n = (s.v[i] - m) * rs, dn = d.v[i] * w.v[i];
                out.v[i] = to_float(from_float<A>(out.v[i] + rs * (dn - avg - n * avg_n)));
            }
            out.store(dsum + r * C + c);
            if (dadd) {
                out.drop(rule, (int)(r / T), (uint64_t)(r % T) * C + c);
                out.store(dadd + r * C + c);
            }
        }
    }
    __syncthreads();
    for (int at = threadIdx.x; at < 2 * room; at += blockDim.x) {
        float s = 0;
        for (int w = 0; w < warps; w++) s += all[(size_t)w * 2 * room + at];
        partial[(size_t)blockIdx.x * 2 * room + at] = s;
    }
}

/* dg, db += the sums over `n` blocks: a block takes 32 places, its warps every 8th of the sums. */
template <int N>
__global__ void norm_reduce_kernel(float *dg, float *db, const float *partial, int n, int C,
                                   int room) {
    float(*part)[32] = shared_memory<float[32]>(); /* (8,32) */
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, at = blockIdx.x * 32 + lane;
    float s = 0;
    for (int i = warp; i < n; i += 8) s += partial[(size_t)i * 2 * room + at];
    part[warp][lane] = s;
    __syncthreads();
    int c = column<N>(at % room);
    if (warp != 0 || c >= C) return;
    for (int w = 1; w < 8; w++) s += part[w][lane];
    (at < room ? dg : db)[c] += s;
}

template <class A, int N>
void forward(struct device *d, void *y, void *sum, float *mean, float *rstd, const void *x,
             const void *add, const void *g, const void *b, size_t rows, int T, int C, float eps,
             struct dropout drop) {
    int warps = FORWARD_WARPS, room = padded<N>(C);
    while (warps > 1 && (size_t)warps * room * sizeof(float) > 96 * 1024) warps /= 2;
    launch(d, "norm_forward", norm_forward_kernel<A, N>, blocks_for(rows, warps), 32 * warps,
           (size_t)warps * room * sizeof(float), (A *)y, (A *)sum, mean, rstd, (const A *)x,
           (const A *)add, (const A *)g, (const A *)b, rows, T, C, room, eps, drop_rule_of(drop));
}

template <class A, int N>
void backward(struct device *d, void *dsum, void *dadd, float *dg, float *db, const void *dy,
              const void *sum, const float *mean, const float *rstd, const void *g, size_t rows,
              int T, int C, struct dropout drop) {
    int warps = BACKWARD_WARPS, room = padded<N>(C);
    while (warps > 1 && (size_t)warps * 2 * room * sizeof(float) > 110 * 1024) warps /= 2;
    unsigned blocks = blocks_for(rows, warps), most = (unsigned)cuda_multiprocessors(d) * 2;
    if (blocks > most) blocks = most;
    float *partial = (float *)cuda_work(d, (size_t)blocks * 2 * room * sizeof(float));
    launch(d, "norm_backward", norm_backward_kernel<A, N>, blocks, 32 * warps,
           (size_t)warps * 2 * room * sizeof(float), (A *)dsum, (A *)dadd, partial, (const A *)dy,
           (const A *)sum, mean, rstd, (const A *)g, rows, T, C, room, drop_rule_of(drop));
    launch(d, "norm_reduce", norm_reduce_kernel<N>, 2 * (unsigned)room / 32, 256,
           8 * 32 * sizeof(float), dg, db, (const float *)partial, (int)blocks, C, room);
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
                        const void *dy, const void *sum, const float *mean, const float *rstd,
                        const void *g, int B, int T, int C, struct dropout drop) {
    size_t rows = (size_t)B * T;
    auto *f = PIECES(d, C, backward);
    f(d, dsum, dadd, dg, db, dy, sum, mean, rstd, g, rows, T, C, drop);
}
