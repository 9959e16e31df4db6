/* What the attention kernels share: the tensors of one call, dropout's factors, and the
 * launchers of the three families:
 *
 *   attention_any.cu    any head size up to 256, fp32 arithmetic: --dtype fp32, odd head sizes
 *   attention_mma.cu    bf16, head sizes that are multiples of 8 up to 128: any tensor cores
 *   attention_sm90.cu   bf16, head size 64, on Hopper
 *
 * Shapes: qkv, dqkv (B,T,3,NH,HS); y, dy (B,T,C); lse, delta (B,NH,T) fp32; start (B,T) or NULL. */
#ifndef LORY_CUDA_ATTENTION_CUH
#define LORY_CUDA_ATTENTION_CUH

#include "cuda/kernel.cuh"

constexpr float ATTENTION_LOG2E = 1.4426950408889634f, ATTENTION_LN2 = 0.6931471805599453f;

/* Dropout's factors (train/dropout.h). Elements come in Philox blocks of 8 neighbouring keys. The
 * kernels for tensor cores find ready what is kept (attention_keep.cu), a bit each, in tiles of 64
 * queries and 64 keys; of the tiles those on the diagonal and below, row by row. */
struct attention_drop {
    drop_rule rule;
    uint64_t row_blocks;        /* of one query: T8 / 8 */
    int T, tiles;               /* tiles of one head    */
    const uint64_t *of_queries; /* (B,NH,tiles,64): a query's 64 keys                 */
    const uint64_t *of_keys;    /* (B,NH,tiles,64): a key's 64 queries; backward only */

    /* The block that holds key j of query i. */
    __device__ uint64_t block(int h, int i, int j) const {
        return ((uint64_t)h * (uint64_t)T + (uint64_t)i) * row_blocks + (uint64_t)(j / 8);
    }
    __device__ float factor(int b, int h, int i, int j) const { /* the slow form */
        return drop_one(rule, b, block(h, i, j) * 8 + (uint64_t)(j % 8));
    }
    /* Where the tile of query i, key j begins; head: b NH + h. */
    __device__ size_t place(int head, int i, int j) const {
        int row = i / 64;
        return ((size_t)head * tiles + row * (row + 1) / 2 + j / 64) * 64;
    }
    /* Query i and the keys from j on, or key j and the queries from i on: up to the tile's end.
     * Nothing of a tile above the diagonal, or past T. */
    __device__ uint64_t query_word(int head, int i, int j) const {
        if (i >= T || j / 64 > i / 64) return 0;
        return __ldg(of_queries + place(head, i, j) + i % 64) >> j % 64;
    }
    __device__ uint64_t key_word(int head, int i, int j) const {
        if (i >= T || j / 64 > i / 64) return 0;
        return __ldg(of_keys + place(head, i, j) + j % 64) >> i % 64;
    }
};

static inline attention_drop attention_drop_of(const struct dropout &d, int T) {
    int rows = (T + 63) / 64;
    return {drop_rule_of(d), ((uint64_t)T + 7) / 8, T, rows * (rows + 1) / 2, NULL, NULL};
}

template <class A> struct attention_args {
    const A *qkv;
    A *y;        /* forward: out; backward: what forward gave */
    float *lse;  /* the same                                  */
    const A *dy; /* backward only, as the next two            */
    A *dqkv;
    const float *delta; /* sum over the head of y dy                 */
    const int32_t *start;
    int B, T, C, NH, HS;
    float scale, scale_log2; /* scale * log2 e */
    attention_drop drop;

    /* The queries of (b, h): T rows, 3 C apart. Keys lie C further on, values 2 C. */
    __device__ const A *head_q(int b, int h) const {
        return qkv + (size_t)b * T * 3 * C + (size_t)h * HS;
    }
};

__device__ inline int lane() {
    return threadIdx.x & 31;
}
__device__ inline int warp() {
    return threadIdx.x >> 5;
}

constexpr int NOTHING = 1 << 30; /* a first key that no query reaches */

/* A query's first visible key; NOTHING for rows past the end and for padding before its segment. */
template <class A> __device__ int first_key(const attention_args<A> &a, int b, int i) {
    if (i >= a.T) return NOTHING;
    int s = a.start ? a.start[(size_t)b * a.T + i] : 0;
    return s <= i ? s : NOTHING;
}

/* delta of y and dy: (B,NH,T) from (B,T,NH,HS). */
template <class A>
void attention_delta(struct device *d, float *delta, const A *y, const A *dy, int B, int T, int NH,
                     int HS);

/* Bytes of the bits of so many heads (B NH); and those bits into `room`, where `drop` has them
 * then. `keys`: also by keys, in as many bytes behind. */
size_t attention_keep_bytes(const attention_drop &drop, int heads);
void attention_keep(struct device *d, attention_drop *drop, int B, int NH, uint64_t *room,
                    bool keys);

template <class A> void attention_forward_any(struct device *d, const attention_args<A> &a);
template <class A> void attention_backward_any(struct device *d, const attention_args<A> &a);

/* Head sizes they take: a multiple of 8 up to 128. */
void attention_forward_mma(struct device *d, const attention_args<bf16> &a);
void attention_backward_mma(struct device *d, const attention_args<bf16> &a);

/* Head size 64, a device of compute capability 9.0, code that was built for sm_90a. Tiles are
 * copied by threads, or, where the driver can describe the tensors to it, by the copy engine; the
 * results are the same to the bit. */
void attention_forward_sm90(struct device *d, const attention_args<bf16> &a, bool by_engine);
void attention_backward_sm90(struct device *d, const attention_args<bf16> &a, bool by_engine);

#endif
