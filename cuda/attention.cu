/* Causal attention: which family of kernels runs, and what they share. The mathematics is in
 * train/ref/attention.c. */
#include "cuda/attention.cuh"

namespace {

enum { DELTA_THREADS = 256, DELTA_LANES = 8 /* an entry's */ };

/* delta[b,h,t] = sum over the head's channels of y dy: what the softmax's derivative takes off.
 * Eight lanes an entry, N channels at a time each: at head size 64 one load of 16 bytes. */
template <class A, int N>
__global__ void delta_kernel(float *delta, const A *y, const A *dy, int B, int T, int NH, int HS) {
    size_t e = (size_t)blockIdx.x * (DELTA_THREADS / DELTA_LANES) + threadIdx.x / DELTA_LANES;
    bool inside = e < (size_t)B * T * NH; /* (b, t, h) */
    size_t row = e / NH, h = e % NH, at = row * NH * HS + h * HS;
    float sum = 0;
    for (int c = threadIdx.x % DELTA_LANES * N; inside && c < HS; c += DELTA_LANES * N) {
        piece<A, N> p, q;
        p.load(y + at + c);
        q.load(dy + at + c);
#pragma unroll
        for (int i = 0; i < N; i++) sum += p.v[i] * q.v[i];
    }
    for (int o = DELTA_LANES / 2; o > 0; o /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, o);
    if (inside && threadIdx.x % DELTA_LANES == 0) delta[(row / T * NH + h) * T + row % T] = sum;
}

template <class A>
attention_args<A> make_args(const void *qkv, const int32_t *start, int B, int T, int C, int NH,
                            float scale, const struct dropout &drop) {
    attention_args<A> a = {};
    a.qkv = static_cast<const A *>(qkv);
    a.start = start;
    a.B = B, a.T = T, a.C = C, a.NH = NH, a.HS = C / NH;
    a.scale = scale;
    a.scale_log2 = scale * ATTENTION_LOG2E;
    a.drop = attention_drop_of(drop, T);
    return a;
}

bool fits_mma(int HS) {
    return HS % 8 == 0 && HS <= 128;
}

/* Bytes of the bits that dropout keeps, by queries: for the kernels with tensor cores. */
template <class A> size_t bytes_of_bits(struct device *d, const attention_args<A> &a) {
    bool wanted = a.drop.rule.threshold && cuda_is_bf16(d) && fits_mma(a.HS);
    return wanted ? attention_keep_bytes(a.drop, a.B * a.NH) : 0;
}

/* False, and noted: a shape that no family takes. */
bool takes(struct device *d, int HS) {
    if (HS <= 256) return true;
    cuda_fail(d, ERR_USAGE, "attention: heads of %d channels; 256 at most: use more heads", HS);
    return false;
}

/* Milliseconds of run(false) and run(true), in turns, the better of two each. */
template <class Run> void time_both(struct device *d, float (&ms)[2], Run run) {
    cudaEvent_t from = NULL, to = NULL;
    bool ok = cudaEventCreateWithFlags(&from, 0) == cudaSuccess &&
              cudaEventCreateWithFlags(&to, 0) == cudaSuccess;
    ms[0] = ms[1] = INFINITY;
    for (int i = 0; i < 4 && ok; i++) {
        float one = INFINITY;
        ok = cudaEventRecord(from, cuda_stream(d)) == cudaSuccess;
        run(i % 2 == 1);
        ok = ok && cudaEventRecord(to, cuda_stream(d)) == cudaSuccess &&
             cudaEventSynchronize(to) == cudaSuccess &&
             cudaEventElapsedTime(&one, from, to) == cudaSuccess;
        ms[i % 2] = fminf(ms[i % 2], one);
    }
    if (from) cudaEventDestroy(from);
    if (to) cudaEventDestroy(to);
}

/* Whether the copy engine brings the tiles of run(by_engine), which writes the same bits either
 * way: the faster one, as found at the first call that fills the device. */
template <class Run>
bool engine_is_faster(struct device *d, attention_choice *c, const attention_args<bf16> &a,
                      const char *what, Run run) {
    float ms[2];
    bool fills = (size_t)a.B * a.NH * (a.T / 128 + 1) >= (size_t)cuda_multiprocessors(d);
    if (!cuda_attention_ways(d)->engine) return false;
    if (c->measured || !fills || cuda_recording(d) || !cuda_may_launch(d)) return c->by_engine;
    time_both(d, ms, run);
    c->by_engine = ms[1] <= ms[0];
    c->measured = true;
    cuda_note(d, "%s, tiles by the copy engine %.3f ms, by threads %.3f", what, ms[1], ms[0]);
    return c->by_engine;
}

/* Here it is decided who does a call (attention.cuh). */
void forward(struct device *d, const attention_args<float> &a) {
    attention_forward_any(d, a);
}
void forward(struct device *d, const attention_args<bf16> &a) {
    attention_ways *ways = cuda_attention_ways(d);
    auto sm90 = [&](bool by_engine) { attention_forward_sm90(d, a, by_engine); };
    if (a.HS == 64 && ways->warpgroups)
        sm90(engine_is_faster(d, &ways->forward, a, "attention forward", sm90));
    else if (fits_mma(a.HS))
        attention_forward_mma(d, a);
    else
        attention_forward_any(d, a);
}
void backward(struct device *d, const attention_args<float> &a) {
    attention_backward_any(d, a);
}
void backward(struct device *d, const attention_args<bf16> &a) {
    attention_ways *ways = cuda_attention_ways(d);
    auto sm90 = [&](bool by_engine) { attention_backward_sm90(d, a, by_engine); };
    if (a.HS == 64 && ways->warpgroups)
        sm90(engine_is_faster(d, &ways->backward, a, "attention backward", sm90));
    else if (fits_mma(a.HS))
        attention_backward_mma(d, a);
    else
        attention_backward_any(d, a);
}

template <class A>
void whole_backward(struct device *d, attention_args<A> a, void *dqkv, const void *dy,
                    const void *y, const float *lse) {
    size_t deltas = ((size_t)a.B * a.NH * a.T + 1) / 2 * 2; /* what is behind has eight bytes */
    size_t bits = 2 * bytes_of_bits(d, a);
    float *delta = static_cast<float *>(cuda_work(d, bits + deltas * sizeof(float)));
    if (!delta) return;
    if (bits)
        attention_keep(d, &a.drop, a.B, a.NH, reinterpret_cast<uint64_t *>(delta + deltas), true);
    attention_delta(d, delta, static_cast<const A *>(y), static_cast<const A *>(dy), a.B, a.T, a.NH,
                    a.HS);
    a.dqkv = static_cast<A *>(dqkv);
    a.dy = static_cast<const A *>(dy);
    a.y = static_cast<A *>(const_cast<void *>(y)); /* read only */
    a.lse = const_cast<float *>(lse);              /* the same  */
    a.delta = delta;
    backward(d, a);
}

} // namespace

template <class A>
void attention_delta(struct device *d, float *delta, const A *y, const A *dy, int B, int T, int NH,
                     int HS) {
    constexpr int N = 16 / sizeof(A);
    launch(d, "attention delta", HS % N == 0 ? delta_kernel<A, N> : delta_kernel<A, 1>,
           blocks_for((size_t)B * T * NH, DELTA_THREADS / DELTA_LANES), DELTA_THREADS, 0, delta, y,
           dy, B, T, NH, HS);
}

template void attention_delta<float>(struct device *, float *, const float *, const float *, int,
                                     int, int, int);
template void attention_delta<bf16>(struct device *, float *, const bf16 *, const bf16 *, int, int,
                                    int, int);

void cuda_attention_forward(struct device *d, void *y, float *lse, const void *qkv,
                            const int32_t *start, int B, int T, int C, int NH, float scale,
                            struct dropout drop) {
    if (!takes(d, C / NH)) return;
    if (cuda_is_bf16(d)) {
        attention_args<bf16> a = make_args<bf16>(qkv, start, B, T, C, NH, scale, drop);
        a.y = static_cast<bf16 *>(y), a.lse = lse;
        size_t bits = bytes_of_bits(d, a);
        uint64_t *room = static_cast<uint64_t *>(bits ? cuda_work(d, bits) : NULL);
        if (bits && !room) return;
        if (bits) attention_keep(d, &a.drop, B, NH, room, false);
        forward(d, a);
    } else {
        attention_args<float> a = make_args<float>(qkv, start, B, T, C, NH, scale, drop);
        a.y = static_cast<float *>(y), a.lse = lse;
        forward(d, a);
    }
}

void cuda_attention_backward(struct device *d, void *dqkv, const void *dy, const void *y,
                             const float *lse, const void *qkv, const int32_t *start, int B, int T,
                             int C, int NH, float scale, struct dropout drop) {
    if (!takes(d, C / NH)) return;
    if (cuda_is_bf16(d))
        whole_backward(d, make_args<bf16>(qkv, start, B, T, C, NH, scale, drop), dqkv, dy, y, lse);
    else
        whole_backward(d, make_args<float>(qkv, start, B, T, C, NH, scale, drop), dqkv, dy, y, lse);
}
