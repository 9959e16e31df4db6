/* How the tiles of attention_sm90.cu come into shared memory: two ways with the same bytes in the
 * same places, so that results are the same to the bit.
 *
 *   thread_feed   every thread copies its 16 bytes of every row (cp.async); barriers of the whole
 *                 block say when tiles are there and when their place is free again
 *   engine_feed   one thread has the copy engine bring whole tiles; two barriers a stage say so to
 *                 those who wait, and nobody waits for the block
 *
 *                fill: begin, tiles, end          use: arrived, products, done
 *   full[s]      one arrival of each filler       ──▶ everybody waits
 *                and every byte of the tiles
 *   empty[s]     the fillers wait  ◀──             one arrival of each warp
 *
 * A step's tiles are a filling of one stage, and stages take turns (struct place). Fillings are
 * waited for in the order in which they were begun. All threads of a block call all of this.
 *
 *   tile: [row][64] bf16, 1024-byte aligned, chunk c (16 bytes) of row r at c ^ (r & 7): what the
 *         copy engine and wgmma call the 128-byte swizzle. Rows past T are zeros. */
#ifndef LORY_CUDA_ATTENTION_FEED_CUH
#define LORY_CUDA_ATTENTION_FEED_CUH

#include "cuda/attention_rows.cuh"
#include "cuda/wgmma.cuh"

constexpr int TILE_ROWS = 64, TILE_COLUMNS = 64, TILE = TILE_ROWS * TILE_COLUMNS;
constexpr int STAGES = 3;

/* Which stage, and the parity of how often all have been used. */
struct place {
    int stage;
    unsigned parity;

    __device__ place after(int fillings) const { /* fewer than STAGES */
        int s = stage + fillings;
        return s < STAGES ? place{s, parity} : place{s - STAGES, parity ^ 1};
    }
};

/* Of a tile, in rows of the matrices of one head. */
enum matrix { MATRIX_Q, MATRIX_K, MATRIX_V, MATRIX_DY };

/* ------------------------------------------------------------------ by threads */

/* A thread's rows are multiples of 8 apart, so its chunk is swizzled to the same place in each. */
template <int THREADS> struct swizzled_loader : tile_loader<8, THREADS, TILE_COLUMNS> {
    static_assert(THREADS / 8 % 8 == 0, "see above");
    __device__ swizzled_loader(const bf16 *matrix, size_t stride)
        : tile_loader<8, THREADS, TILE_COLUMNS>(matrix, stride, TILE_COLUMNS) {
        this->at ^= (this->row & 7) * 8;
    }
};

template <int THREADS> struct thread_feed {
    struct maps {};
    struct barriers {};
    swizzled_loader<THREADS> qkv, other;
    int T, C;

    __device__ thread_feed(const attention_bf16 &a, const maps &, barriers &, int b, int h)
        : qkv(a.head_q(b, h), (size_t)3 * a.C),
          other(a.dy + (size_t)b * a.T * a.C + (size_t)h * TILE_COLUMNS, a.C), T(a.T), C(a.C) {}

    __device__ void begin(place) {}
    template <int ROWS> __device__ void tile(place, bf16 *to, matrix which, int row) const {
        if (which == MATRIX_DY)
            other.template load<ROWS>(to, row, T);
        else
            qkv.template load<ROWS>(to, row, T, which * C);
    }
    __device__ void end(place) { cp_async_commit(); }

    /* The place's tiles are there, LEFT younger fillings need not be; and every thread is done
     * with the tiles before. */
    template <int LEFT> __device__ void arrived(place) {
        cp_async_wait<LEFT>();
        fence_proxy_async();
        __syncthreads();
    }
    __device__ void done(place) {}
    __device__ float checked(float x) const { return x; }
};

/* ------------------------------------------------------------------ by the copy engine */

struct engine_maps {
    CUtensorMap qkv, dy; /* (B,T,3 C) and (B,T,C), boxes of one tile; dy: backward only */
};

/* A filling is the work of threads 0 … FILLERS - 1: the first asks for the tiles, all of them may
 * write what else belongs to the stage between begin() and end(). */
template <int THREADS, int FILLERS> struct engine_feed {
    using maps = engine_maps;
    struct barriers {
        mbarrier full[STAGES], empty[STAGES];
        int late; /* something never came: what is computed is nothing */
    };
    const maps &m;
    barriers &bar;
    int b, column, C;

    __device__ engine_feed(const attention_bf16 &a, const maps &m_, barriers &bar_, int b_, int h)
        : m(m_), bar(bar_), b(b_), column(h * TILE_COLUMNS), C(a.C) {
        if (threadIdx.x == 0) {
            for (int s = 0; s < STAGES; s++) {
                mbarrier_init(&bar.full[s], FILLERS);
                mbarrier_init(&bar.empty[s], THREADS / 32);
            }
            bar.late = 0;
            mbarriers_are_set();
        }
        __syncthreads();
    }
    __device__ void wait(mbarrier *on, unsigned parity) { mbarrier_wait(on, parity, &bar.late); }

    /* All warps are done with what was in the stage; the first time round they are. */
    __device__ void begin(place p) {
        if (threadIdx.x < FILLERS) wait(&bar.empty[p.stage], p.parity ^ 1);
    }
    template <int ROWS> __device__ void tile(place p, bf16 *to, matrix which, int row) const {
        if (threadIdx.x != 0) return;
        mbarrier *full = &bar.full[p.stage];
        mbarrier_expect(full, ROWS * TILE_COLUMNS * sizeof(bf16));
#pragma unroll
        for (int r = 0; r < ROWS; r += TILE_ROWS)
            bulk_copy(to + r * TILE_COLUMNS, which == MATRIX_DY ? &m.dy : &m.qkv,
                      column + (which == MATRIX_DY ? 0 : which * C), row + r, b, full);
    }
    __device__ void end(place p) {
        if (threadIdx.x < FILLERS) mbarrier_arrive(&bar.full[p.stage]);
    }

    template <int LEFT> __device__ void arrived(place p) {
        wait(&bar.full[p.stage], p.parity);
    }
    /* This warp's threads and products read the stage no more. */
    __device__ void done(place p) {
        __syncwarp();
        if (lane() == 0) mbarrier_arrive(&bar.empty[p.stage]);
    }
    /* x; NaN where tiles did not come, so that nobody takes the results for results. */
    __device__ float checked(float x) const {
        return bar.late ? NAN : x;
    }
};

#endif
